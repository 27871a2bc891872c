//! Why scat ends other than well: one enum, one line, one exit status each.

use crate::keys;
use crate::protocol::handshake;
use crate::protocol::session::{self, Counters, Reason};
use std::fmt;
use std::io;
use std::time::Duration;

/// What ended the run.
#[derive(Debug)]
pub enum Error {
    // 1: a local failure
    /// The operating system refused what scat needs: what, and why.
    System(&'static str, io::Error),
    /// Reading standard input.
    Input(io::Error),
    /// Writing standard output, for another reason than that nobody reads it.
    Output(io::Error),
    /// No randomness.
    Random,
    /// A key file.
    Key(keys::Error),

    // 2: usage
    /// A command line that makes no sense.
    Usage(String),
    /// An option of netcat's that scat has not; what to do instead.
    Elsewhere(&'static str),
    /// `-c` without a terminal.
    NoTerminal(io::Error),

    // 3: no session; nothing was sent or revealed
    /// A name or service without an address.
    Resolve {
        /// What was asked for.
        name: String,
        /// The resolver's words.
        why: String,
    },
    /// No address took the connection; the last one's reason.
    Connect {
        /// Address and port, or name and port.
        to: String,
        /// The system's reason.
        why: io::Error,
    },
    /// The address to listen on, or to connect from, was not to be had.
    Bind {
        /// Address and port.
        at: String,
        /// The system's reason.
        why: io::Error,
    },
    /// `-w` passed before there was a session.
    Waited(Duration),
    /// The listener took the connection and said nothing.
    Silent,
    /// The other side speaks something else.
    NotScat,
    /// The connection ended in the middle of the handshake.
    HandshakeCut(Option<io::Error>),
    /// The listener was silent for too long.
    HandshakeTimeout,
    /// Flight 2 does not verify.
    HandshakeAltered,

    // 4: identity
    /// The listener has a pre-shared key, this side none.
    PskWanted,
    /// This side has a pre-shared key, the listener none.
    PskUnwanted,
    /// The listener could not read a flight 1 made with our pre-shared key.
    PskDiffers,
    /// The other side speaks another version; its byte.
    Version(u8),
    /// The other side connects as well.
    BothConnect,
    /// Connected to oneself.
    Myself,
    /// The listener's key is not one of `--peer`.
    OtherKey,
    /// What was typed here are not the other side's words.
    WordsDiffer,
    /// The person here refused.
    NotAccepted,
    /// Our key is not one of the listener's `--peer`.
    KeyRefused,
    /// The other side's person refused the words.
    Refused(Ended),

    // 5: corrupted or forged
    /// A frame that cannot be the peer's, or must not come now.
    Session(session::Error),
    /// The peer says so of ours.
    PeerProtocol,

    // 6: cut off
    /// The connection ended before the authenticated end.
    Cut(Ended, Option<io::Error>),
    /// The listener did not open its commitment in time.
    OpenTimeout,
    /// The peer gave up waiting.
    PeerTimeout(Ended),
    /// The peer was interrupted.
    PeerInterrupted(Ended),
    /// The peer could not read its input.
    PeerInput(Ended),

    // 7: an output was closed early, or the peer's failed
    /// Nobody reads our standard output any more.
    OutputClosed,
    /// Nobody reads the peer's.
    PeerOutputClosed(Ended),
    /// The peer could not write its output.
    PeerOutput(Ended),

    /// A signal; the process ends by it.
    Signal(i32),
}

/// What had happened when a session ended early.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Bytes so far.
    pub counters: Counters,
    /// Whether the peer had confirmed all that was sent.
    pub confirmed: bool,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counters { sent, received, .. } = self.counters;
        if (sent, received) == (0, 0) {
            return write!(f, "nothing was sent or received");
        }
        let confirmed = if self.confirmed { "confirmed" } else { "not confirmed" };
        write!(f, "sent {sent} bytes, {confirmed}; received {received} bytes")
    }
}

impl Error {
    /// What a peer's ABORT means here.
    pub fn from_abort(reason: Reason, ended: Ended) -> Error {
        match reason {
            Reason::Refused => Error::Refused(ended),
            Reason::OutputClosed => Error::PeerOutputClosed(ended),
            Reason::Protocol => Error::PeerProtocol,
            Reason::Timeout => Error::PeerTimeout(ended),
            Reason::Interrupted => Error::PeerInterrupted(ended),
            Reason::OutputFailed => Error::PeerOutput(ended),
            Reason::InputFailed => Error::PeerInput(ended),
        }
    }

    /// What to tell the peer, if it is there to be told and does not know.
    pub fn reason(&self) -> Option<Reason> {
        Some(match self {
            Error::System(..) | Error::Random | Error::Signal(_) => Reason::Interrupted,
            Error::Input(_) => Reason::InputFailed,
            Error::Output(_) => Reason::OutputFailed,
            Error::OutputClosed => Reason::OutputClosed,
            Error::Session(_) => Reason::Protocol,
            Error::OpenTimeout => Reason::Timeout,
            Error::WordsDiffer | Error::NotAccepted => Reason::Refused,
            _ => return None,
        })
    }

    /// The exit status, as in scat(1).
    pub fn status(&self) -> u8 {
        match self {
            Error::System(..) | Error::Input(_) | Error::Output(_) | Error::Random => 1,
            Error::Key(_) => 1,
            Error::Usage(_) | Error::Elsewhere(_) | Error::NoTerminal(_) => 2,
            Error::Resolve { .. }
            | Error::Connect { .. }
            | Error::Bind { .. }
            | Error::Waited(_)
            | Error::Silent
            | Error::NotScat
            | Error::HandshakeCut(_)
            | Error::HandshakeTimeout
            | Error::HandshakeAltered => 3,
            Error::PskWanted
            | Error::PskUnwanted
            | Error::PskDiffers
            | Error::Version(_)
            | Error::BothConnect
            | Error::Myself
            | Error::OtherKey
            | Error::WordsDiffer
            | Error::NotAccepted
            | Error::KeyRefused
            | Error::Refused(_) => 4,
            Error::Session(_) | Error::PeerProtocol => 5,
            Error::Cut(..)
            | Error::OpenTimeout
            | Error::PeerTimeout(_)
            | Error::PeerInterrupted(_)
            | Error::PeerInput(_)
            // The shell's own account of a signal is 128 + n; this is for the
            // case that the default action did not end the process.
            | Error::Signal(_) => 6,
            Error::OutputClosed | Error::PeerOutputClosed(_) | Error::PeerOutput(_) => 7,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Error::Usage(_) => "see scat --help",
            Error::NoTerminal(_) => "start it in a terminal, or verify with --peer or --psk",
            Error::Key(keys::Error { why: keys::Why::Readable, .. }) => {
                "chmod 600, and make a new one if others may have read it"
            }
            Error::Key(keys::Error { why: keys::Why::Exists, .. }) => {
                "keys are never overwritten: name another file"
            }
            Error::Silent | Error::NotScat => "is it scat that listens there?",
            Error::PskWanted => "ask for the key file and give it with --psk",
            Error::PskUnwanted => "start the listener with --psk too, or leave it out here",
            Error::BothConnect => "one of the two sides has to listen: scat -l PORT",
            Error::KeyRefused => {
                "give your key with -i; they need, for --peer, what scat --pubkey prints of it"
            }
            Error::OtherKey => "without -i at their end, their key is a new one each time",
            Error::Version(_) => "use the same version of scat at both ends",
            _ => return None,
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::System(what, why) => write!(f, "{what}: {}", plain(why)),
            Error::Input(why) => write!(f, "read standard input: {}", plain(why)),
            Error::Output(why) => write!(f, "write standard output: {}", plain(why)),
            Error::Random => write!(f, "the system gives no random numbers"),
            Error::Usage(what) => write!(f, "{what}"),
            Error::Elsewhere(instead) => write!(f, "{instead}"),
            Error::NoTerminal(why) => write!(f, "-c needs a terminal: {}", plain(why)),
            Error::Key(keys::Error { path, why }) => match why {
                keys::Why::System(why) => write!(f, "{path}: {}", plain(why)),
                keys::Why::Readable => write!(f, "{path}: others may read or write this file"),
                keys::Why::Malformed => {
                    write!(f, "{path}: not a key: one line of base64, 32 bytes")
                }
                keys::Why::Exists => write!(f, "{path}: file exists"),
            },
            Error::Resolve { name, why } => write!(f, "resolve {name}: {why}"),
            Error::Connect { to, why } => write!(f, "connect {to}: {}", plain(why)),
            Error::Bind { at, why } => write!(f, "bind {at}: {}", plain(why)),
            Error::Waited(time) => {
                write!(f, "no session within {time:?}")
            }
            Error::Silent => write!(f, "the other side closed without a word"),
            Error::NotScat => write!(f, "the other side does not speak scat"),
            Error::HandshakeCut(None) => write!(f, "the handshake was cut off"),
            Error::HandshakeCut(Some(why)) => {
                write!(f, "the handshake was cut off: {}", plain(why))
            }
            Error::HandshakeTimeout => write!(f, "the other side does not answer"),
            Error::HandshakeAltered => {
                write!(f, "the handshake was altered on its way")
            }
            Error::PskWanted => write!(f, "the listener wants a pre-shared key"),
            Error::PskUnwanted => write!(f, "the listener has no pre-shared key"),
            Error::PskDiffers => {
                write!(f, "the listener hung up: the pre-shared keys may differ")
            }
            Error::Version(byte) if byte.is_ascii_graphic() => {
                write!(f, "the other side speaks version {}", char::from(*byte))
            }
            Error::Version(_) => write!(f, "the other side speaks an unknown version"),
            Error::BothConnect => write!(f, "both sides are connecting"),
            Error::Myself => write!(f, "connected to myself: both ends have the same key"),
            Error::OtherKey => {
                write!(
                    f,
                    "the listener's key is not the one expected: someone may be in the middle"
                )
            }
            Error::WordsDiffer => {
                write!(f, "those are not the words: someone may be in the middle; nothing was sent")
            }
            Error::NotAccepted => write!(f, "you refused; nothing was sent"),
            Error::KeyRefused => write!(f, "the listener refused our key; nothing was sent"),
            Error::Refused(ended) => {
                write!(f, "the other side refused the words: someone may be in the middle; {ended}")
            }
            Error::Session(why) => write!(f, "{why}"),
            Error::PeerProtocol => {
                write!(f, "the other side received corrupted or forged data")
            }
            Error::Cut(ended, None) => {
                write!(f, "cut off: the connection ended too early; {ended}")
            }
            Error::Cut(ended, Some(why)) => write!(f, "cut off: {}; {ended}", plain(why)),
            Error::OpenTimeout => {
                write!(f, "cut off: the other side did not finish the handshake")
            }
            Error::PeerTimeout(ended) => {
                write!(f, "cut off: the other side gave up waiting; {ended}")
            }
            Error::PeerInterrupted(ended) => {
                write!(f, "cut off: the other side was interrupted; {ended}")
            }
            Error::PeerInput(ended) => {
                write!(f, "cut off: the other side could not read its input; {ended}")
            }
            Error::OutputClosed => write!(f, "standard output was closed"),
            Error::PeerOutputClosed(ended) => {
                write!(f, "the other side's output was closed; {ended}")
            }
            Error::PeerOutput(ended) => {
                write!(f, "the other side could not write its output; {ended}")
            }
            Error::Signal(number) => write!(f, "ended by signal {number}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<session::Error> for Error {
    fn from(error: session::Error) -> Self {
        match error {
            session::Error::Random => Error::Random,
            error => Error::Session(error),
        }
    }
}

impl From<handshake::Error> for Error {
    fn from(error: handshake::Error) -> Self {
        match error {
            handshake::Error::Random => Error::Random,
            handshake::Error::Myself => Error::Myself,
            handshake::Error::Noise(_) | handshake::Error::UnknownId => Error::HandshakeAltered,
        }
    }
}

impl From<keys::Error> for Error {
    fn from(error: keys::Error) -> Self {
        Error::Key(error)
    }
}

impl From<getrandom::Error> for Error {
    fn from(_: getrandom::Error) -> Self {
        Error::Random
    }
}

impl fmt::Display for session::Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            session::Error::Frame(crate::protocol::frame::Error::Forged) => {
                write!(f, "corrupted or forged data received")
            }
            session::Error::Frame(_) => write!(f, "malformed frame received"),
            session::Error::Rule(which) => write!(f, "protocol error: {which}"),
            session::Error::Commitment => {
                write!(f, "forged handshake: the opening does not fit the commitment")
            }
            session::Error::Exchange(_) => write!(f, "protocol error: a bad key exchange"),
            session::Error::Random => write!(f, "the system gives no random numbers"),
        }
    }
}

/// The system's words without the number, in lower case: `connection refused`.
pub fn plain(why: &io::Error) -> String {
    let text = why.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        // Not an abbreviation.
        Some(first) if letters.as_str().starts_with(char::is_lowercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_string(),
    }
}
