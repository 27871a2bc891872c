//! Everything that can be wrong with a key, and what the user can do about it.

use super::keys::Kind;
use crate::text::plain;
use std::fmt;
use std::io;

/// A key that cannot be used.
#[derive(Debug)]
pub struct Error {
    /// The file as the user named it, or the option that the key was given with.
    pub place: String,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a key.
#[derive(Debug)]
pub enum Fault {
    /// The system's error.
    System(io::Error),
    /// The file does not exist; a key of this kind was expected.
    Missing(Kind),
    /// Other users may read or write the file.
    Exposed,
    /// Other users may write the file of public keys.
    Writable,
    /// The file belongs to another user, who is not root.
    AnotherUsers,
    /// The file contains no key; one of this kind was expected.
    Empty(Kind),
    /// More than one key where only one is allowed.
    Several,
    /// A secret key or a pre-shared key of 32 zero bytes.
    Zero,
    /// The file is longer than a file of such keys can be.
    TooLong(Kind),
    /// UTF-16, as some Windows programs write it.
    Utf16,
    /// Not the prefix of this kind followed by 32 bytes in base64.
    Malformed(Kind),
    /// 32 bytes in base64 without a prefix; a key of this kind was expected.
    Bare(Kind),
    /// A key of another program such as ssh or openssl; one of this kind was expected.
    Foreign(Kind),
    /// A key of the wrong kind.
    Kind {
        /// The kind of the key.
        is: Kind,
        /// The expected kind.
        wanted: Kind,
    },
    /// A key that has no public half, or is one already.
    NoPublic(Kind),
    /// A secret among the arguments, where every user of the machine can read it.
    OnCommandLine,
    /// The file exists and would be overwritten.
    Exists,
}

impl Fault {
    /// Adds the file or option where the key was found.
    pub fn at(self, place: impl Into<String>) -> Error {
        Error { place: place.into(), fault: self }
    }
}

impl Error {
    /// Returns what the user can do about it.
    pub fn hint(&self) -> Option<String> {
        use Kind::{Psk, Public, Secret};
        let place = &self.place;
        let hint = match &self.fault {
            Fault::Missing(Secret) => return Some(format!("to make one: scat --genkey {place}")),
            Fault::Utf16 => "save it as UTF-8 or ASCII text",
            Fault::AnotherUsers => {
                "copy it to a file of yours, or if you trust its owner: <(cat FILE)"
            }
            Fault::Missing(Psk) => {
                return Some(format!("--psk takes a file; to make it: scat --genpsk {place}"));
            }
            Fault::Exposed => "chmod 600, or <(cat FILE); a new key is needed if others read it",
            Fault::Writable => {
                return Some(format!("check the keys in it, then: chmod go-w {place}"));
            }
            Fault::Exists => "scat never overwrites a key: name another file",
            Fault::Missing(Public) | Fault::Empty(Public) | Fault::TooLong(Public) => {
                "--peer @FILE takes one key a line, as scat --pubkey prints it"
            }
            Fault::Malformed(Public) | Fault::Foreign(Public) => {
                "give the key as scat --pubkey prints it, or a file: --peer @FILE"
            }
            Fault::Empty(Psk)
            | Fault::Malformed(Psk)
            | Fault::Foreign(Psk)
            | Fault::TooLong(Psk) => "to make a pre-shared key: scat --genpsk FILE",
            Fault::Empty(Secret)
            | Fault::Malformed(Secret)
            | Fault::Foreign(Secret)
            | Fault::TooLong(Secret) => "to make a key: scat --genkey FILE",
            Fault::Several | Fault::Zero => {
                "use the file as scat --genkey or scat --genpsk made it"
            }
            Fault::Bare(Secret) => "if it is a secret key, put scat-secret: before it",
            Fault::Bare(Psk) => "if --genpsk made it, put scat-psk: before it",
            Fault::Bare(Public) => "if --pubkey printed it, put scat-public: before it",
            Fault::Kind { is: Public, wanted: Psk } => {
                "a public key is no secret; --psk takes the file that --genpsk made"
            }
            Fault::Kind { is: Public, .. } => {
                "it is for --peer at the other end; -i takes the file of --genkey"
            }
            Fault::Kind { is: Secret, wanted: Public } => {
                "keep it to yourself; scat --pubkey FILE prints what --peer takes"
            }
            Fault::Kind { is: Secret, .. } => {
                "give it with -i; scat --genpsk FILE makes one for --psk"
            }
            Fault::Kind { is: Psk, .. } => "give it with --psk, at both ends",
            Fault::NoPublic(Public) => "give it to --peer as it is: --peer @FILE",
            Fault::NoPublic(_) => "both ends take the same file: --psk FILE",
            Fault::OnCommandLine => "other users can read that: make a new key, and name its file",
            Fault::System(_) => return None,
        };
        Some(hint.to_owned())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        match &self.fault {
            Fault::System(err) => f.write_str(&plain(err)),
            Fault::Missing(_) => f.write_str("no such file"),
            Fault::Exposed => f.write_str("other users can read or write this file"),
            Fault::Writable => f.write_str("other users can write this file"),
            Fault::AnotherUsers => f.write_str("this file belongs to another user"),
            Fault::Empty(_) => f.write_str("contains no key"),
            Fault::Several => f.write_str("contains more than one key"),
            Fault::Zero => f.write_str("the key is all zeros"),
            Fault::TooLong(_) => f.write_str("too long for a key file"),
            Fault::Utf16 => f.write_str("UTF-16 text"),
            Fault::Malformed(wanted) => {
                write!(f, "not {wanted} ({} and 44 base64 characters)", wanted.prefix())
            }
            Fault::Foreign(_) => f.write_str("a key of ssh or another program, not of scat"),
            Fault::Bare(wanted) => write!(f, "the prefix {} is missing", wanted.prefix()),
            Fault::Kind { is, wanted } => write!(f, "{is}, not {wanted}"),
            Fault::NoPublic(Kind::Public) => f.write_str("this is a public key already"),
            Fault::NoPublic(is) => write!(f, "{is}, which has no public key"),
            Fault::OnCommandLine => f.write_str("a secret key on the command line"),
            Fault::Exists => f.write_str("this file exists"),
        }
    }
}
