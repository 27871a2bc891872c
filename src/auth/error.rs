//! What is wrong with a key, and what the user can do about it.

use super::keys::Kind;
use crate::text::plain;
use std::fmt;
use std::io;

/// A key that is no use: which one, and why.
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
    /// The system's reason.
    System(io::Error),
    /// Somebody else may read or write the file.
    Exposed,
    /// Somebody else may write the file of public keys.
    Writable,
    /// The file belongs to another user, who is not root.
    AnotherUsers,
    /// A file with no key in it; wanted was this.
    Empty(Kind),
    /// More than one key where one is wanted.
    Several,
    /// A secret key or a pre-shared key of 32 zero bytes.
    Zero,
    /// More bytes than a file of such keys has.
    TooLong(Kind),
    /// UTF-16, as some Windows programs write it.
    Utf16,
    /// Not the word for this kind and 32 bytes in base64.
    Malformed(Kind),
    /// 32 bytes in base64 without a word that says what they are; wanted was this.
    Bare(Kind),
    /// A key of the wrong kind.
    Kind {
        /// What it is.
        is: Kind,
        /// What was wanted.
        wanted: Kind,
    },
    /// The public key of what has none, or is one already.
    NoPublic(Kind),
    /// A secret in the arguments, where every user of the machine can read it.
    OnCommandLine,
    /// It would have to be overwritten.
    Exists,
}

impl Why {
    /// At the file or option of that name.
    pub fn at(self, place: impl Into<String>) -> Error {
        Error { place: place.into(), why: self }
    }
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        use Kind::{Psk, Public, Secret};
        Some(match &self.why {
            Why::Exposed => "chmod 600, or <(cat FILE); a new key is needed if others read it",
            Why::AnotherUsers => "make a copy of your own, or if you trust its owner: <(cat FILE)",
            Why::Utf16 => "save it as UTF-8 or ASCII text",
            Why::Writable => "chmod go-w, and see whether all keys in it are still the right ones",
            Why::Exists => "keys are never overwritten: name another file",
            Why::Empty(Public) | Why::TooLong(Public) => {
                "--peer @FILE wants one key a line, each as scat --pubkey prints it"
            }
            Why::Malformed(Public) => {
                "a key as scat --pubkey prints it; a file of such keys is --peer @FILE"
            }
            Why::Empty(_) | Why::Malformed(_) | Why::Several | Why::TooLong(_) | Why::Zero => {
                "scat --genkey FILE makes a secret key, scat --genpsk FILE a pre-shared one"
            }
            Why::Bare(Secret) => {
                "if --genkey made it, put scat-secret: in front of it; a public key is for --peer"
            }
            Why::Bare(Psk) => {
                "if --genpsk made it, put scat-psk: in front of it; never with a public key"
            }
            Why::Bare(Public) => "if --pubkey printed it, put scat-public: in front of it",
            Why::Kind { is: Public, wanted: Psk } => {
                "everybody may have a public key; --psk wants the file that --genpsk made"
            }
            Why::Kind { is: Public, .. } => {
                "it is for --peer at the other end; -i wants the file that --genkey made"
            }
            Why::Kind { is: Secret, wanted: Public } => {
                "it belongs to its owner alone; scat --pubkey FILE prints what --peer takes"
            }
            Why::Kind { is: Secret, .. } => {
                "give it with -i; scat --genpsk FILE makes one for --psk"
            }
            Why::Kind { is: Psk, .. } => "give it with --psk, at both ends",
            Why::NoPublic(Public) => "give it to --peer as it is: --peer @FILE",
            Why::NoPublic(_) => "both ends take the same file: --psk FILE",
            Why::OnCommandLine => "others may have read it: make a new key, and name its file",
            Why::System(_) => return None,
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        match &self.why {
            Why::System(why) => f.write_str(&plain(why)),
            Why::Exposed => f.write_str("others may read or write this file"),
            Why::Writable => f.write_str("others may write this file"),
            Why::AnotherUsers => f.write_str("this file belongs to another user"),
            Why::Empty(_) => f.write_str("no key in it"),
            Why::Several => f.write_str("more than one key in it"),
            Why::Zero => f.write_str("a key of zeros only"),
            Why::TooLong(_) => f.write_str("too long for a file of keys"),
            Why::Utf16 => f.write_str("UTF-16 text"),
            Why::Malformed(wanted) => {
                write!(f, "not {wanted}: {} and 44 characters of base64", wanted.prefix())
            }
            Why::Bare(wanted) => write!(f, "a key that does not say that it is {wanted}"),
            Why::Kind { is, wanted } => write!(f, "{is}, not {wanted}"),
            Why::NoPublic(Kind::Public) => f.write_str("this is the public key already"),
            Why::NoPublic(is) => write!(f, "{is}, which has no public key"),
            Why::OnCommandLine => f.write_str("a secret key on the command line"),
            Why::Exists => f.write_str("file exists"),
        }
    }
}
