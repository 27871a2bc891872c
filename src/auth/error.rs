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
    pub why: Why,
}

/// What is wrong with a key.
#[derive(Debug)]
pub enum Why {
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

impl Why {
    /// Adds the file or option where the key was found.
    pub fn at(self, place: impl Into<String>) -> Error {
        Error { place: place.into(), why: self }
    }
}

impl Error {
    /// Returns what the user can do about it.
    pub fn hint(&self) -> Option<String> {
        use Kind::{Psk, Public, Secret};
        let place = &self.place;
        let hint = match &self.why {
            Why::Missing(Secret) => return Some(format!("to make one: scat --genkey {place}")),
            Why::Utf16 => "save it as UTF-8 or ASCII text",
            Why::AnotherUsers => {
                "copy it to a file of yours, or if you trust its owner: <(cat FILE)"
            }
            Why::Missing(Psk) => {
                return Some(format!("--psk takes a file; to make it: scat --genpsk {place}"));
            }
            Why::Exposed => "chmod 600, or <(cat FILE); a new key is needed if others read it",
            Why::Writable => {
                return Some(format!("check the keys in it, then: chmod go-w {place}"));
            }
            Why::Exists => "scat never overwrites a key: name another file",
            Why::Missing(Public) | Why::Empty(Public) | Why::TooLong(Public) => {
                "--peer @FILE takes one key a line, as scat --pubkey prints it"
            }
            Why::Malformed(Public) | Why::Foreign(Public) => {
                "give the key as scat --pubkey prints it, or a file: --peer @FILE"
            }
            Why::Empty(Psk) | Why::Malformed(Psk) | Why::Foreign(Psk) | Why::TooLong(Psk) => {
                "to make a pre-shared key: scat --genpsk FILE"
            }
            Why::Empty(Secret)
            | Why::Malformed(Secret)
            | Why::Foreign(Secret)
            | Why::TooLong(Secret) => "to make a key: scat --genkey FILE",
            Why::Several | Why::Zero => "use the file as scat --genkey or scat --genpsk made it",
            Why::Bare(Secret) => "if it is a secret key, put scat-secret: before it",
            Why::Bare(Psk) => "if --genpsk made it, put scat-psk: before it",
            Why::Bare(Public) => "if --pubkey printed it, put scat-public: before it",
            Why::Kind { is: Public, wanted: Psk } => {
                "a public key is no secret; --psk takes the file that --genpsk made"
            }
            Why::Kind { is: Public, .. } => {
                "it is for --peer at the other end; -i takes the file of --genkey"
            }
            Why::Kind { is: Secret, wanted: Public } => {
                "keep it to yourself; scat --pubkey FILE prints what --peer takes"
            }
            Why::Kind { is: Secret, .. } => {
                "give it with -i; scat --genpsk FILE makes one for --psk"
            }
            Why::Kind { is: Psk, .. } => "give it with --psk, at both ends",
            Why::NoPublic(Public) => "give it to --peer as it is: --peer @FILE",
            Why::NoPublic(_) => "both ends take the same file: --psk FILE",
            Why::OnCommandLine => "other users can read that: make a new key, and name its file",
            Why::System(_) => return None,
        };
        Some(hint.to_owned())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        match &self.why {
            Why::System(why) => f.write_str(&plain(why)),
            Why::Missing(_) => f.write_str("no such file"),
            Why::Exposed => f.write_str("other users can read or write this file"),
            Why::Writable => f.write_str("other users can write this file"),
            Why::AnotherUsers => f.write_str("this file belongs to another user"),
            Why::Empty(_) => f.write_str("contains no key"),
            Why::Several => f.write_str("contains more than one key"),
            Why::Zero => f.write_str("the key is all zeros"),
            Why::TooLong(_) => f.write_str("too long for a key file"),
            Why::Utf16 => f.write_str("UTF-16 text"),
            Why::Malformed(wanted) => {
                write!(f, "not {wanted} ({} and 44 base64 characters)", wanted.prefix())
            }
            Why::Foreign(_) => f.write_str("a key of ssh or another program, not of scat"),
            Why::Bare(wanted) => write!(f, "the prefix {} is missing", wanted.prefix()),
            Why::Kind { is, wanted } => write!(f, "{is}, not {wanted}"),
            Why::NoPublic(Kind::Public) => f.write_str("this is a public key already"),
            Why::NoPublic(is) => write!(f, "{is}, which has no public key"),
            Why::OnCommandLine => f.write_str("a secret key on the command line"),
            Why::Exists => f.write_str("this file exists"),
        }
    }
}
