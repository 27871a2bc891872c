//! Why scat ends other than well: one enum, grouped as the exit statuses are.
//!
//! [`Error::account`] has, for each error in one place, its exit status, its line,
//! its hint and what the peer is told.

use crate::auth::keys;
use crate::protocol::handshake::{self, Mismatch};
use crate::protocol::session::{self, Counters, Reason};
use crate::sys;
use crate::sys::socket::Refusal;
use crate::text::{Rounded, plain};
use std::fmt;
use std::io;
use std::path::Path;
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
    /// Started with standard output closed.
    NoOutput,
    /// No randomness.
    Random,
    /// A key file.
    Key(keys::Error),
    /// The address to listen on, or to connect from, was not to be had.
    Bind {
        /// Address and port.
        at: String,
        /// The system's reason.
        why: io::Error,
    },

    /// The address to listen on, or to connect from, cannot be found.
    Own {
        /// What was asked for.
        name: String,
        /// The resolver's words.
        why: String,
    },

    // 2: usage
    /// A command line that makes no sense, or that no retry can mend.
    Usage {
        /// What is wrong with it.
        what: String,
        /// What to write instead.
        hint: String,
    },
    /// The address to connect from is not of the same kind as the one to connect to.
    Source {
        /// Address and port to connect to.
        to: String,
    },
    /// A key among the arguments that is none.
    Argument(keys::Error),
    /// An option of the netcat family that scat lacks.
    Foreign {
        /// As it was given.
        option: String,
        /// What to do instead.
        instead: &'static str,
    },
    /// `-l --fd` with nothing and nobody that verifies the caller.
    Unverified,
    /// `-c` without a terminal, or with one that cannot be opened: why.
    NoTerminal(Option<io::Error>),

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
    /// `-w` passed before there was a session, in this stage.
    Waited(Duration, Stage),
    /// The listener took the connection and closed it without a word.
    Silent,
    /// Who answers speaks something else: what that looks like.
    NotScat(String),
    /// The connection ended in the middle of the handshake.
    HandshakeCut(Option<io::Error>),
    /// The listener was silent for too long.
    HandshakeTimeout,
    /// Flight 2 does not verify.
    HandshakeAltered,
    /// The one caller of `-l --fd` broke off, or speaks something else; the listener's reason.
    CallerFailed(String),

    // 3 or 4: the listener's preface does not fit ours
    /// How, and whether this side has a pre-shared key.
    Preface {
        /// How it differs.
        mismatch: Mismatch,
        /// Whether this side has a pre-shared key.
        psk: bool,
    },

    // 4: identity
    /// The listener could not read a flight 1 made with our pre-shared key.
    PskDiffers,
    /// The one caller of `-l --fd` is not wanted, or cannot be understood; the listener's reason.
    CallerRefused(String),
    /// Connected to oneself.
    Myself,
    /// The listener's key is not one of `--peer`.
    OtherKey,
    /// What was typed here are not the other end's words.
    WordsDiffer,
    /// The person here refused.
    NotAccepted,
    /// ABORT 1 in the place of OPEN: our key is not one of the listener's `--peer`.
    KeyRefused,

    // 5: corrupted or forged
    /// A frame that cannot be the peer's, or must not come now.
    Session(session::Error),

    // 6: cut off
    /// The connection ended before the authenticated end; why, and how far it had come
    /// if that is to be told.
    Cut(Option<io::Error>, Option<Totals>),
    /// A terminal of this side has gone.
    HungUp,
    /// The listener did not open its commitment in time.
    OpenTimeout,
    /// The listener goes on and does not answer REKEY1.
    RatchetTimeout(Option<Totals>),

    // 7: an output was closed early
    /// Nobody reads our standard output any more.
    OutputClosed,

    // 4 to 7, as its reason says
    /// The peer's ABORT, and how far the session had come if that is to be told.
    Aborted(Reason, Option<Totals>),

    /// A signal; the process ends by it.
    Signal(i32),
}

/// What is waited for.
#[derive(Clone, Debug)]
pub enum Stage {
    /// A key that comes through a FIFO of this name.
    KeyFile(String),
    /// The resolver's answer about this name.
    Resolving(String),
    /// This address takes the connection.
    Connecting(String),
    /// This address has taken it, and answers as a scat does.
    Answer(String),
    /// The caller of `-l --fd` says something.
    Caller,
    /// A peer comes; whether the user was told of somebody who could not be it.
    Listening {
        /// Somebody was.
        refused: bool,
    },
}

impl Stage {
    /// What the user can do about one that lasts too long.
    pub fn hint(&self) -> &'static str {
        match self {
            Stage::KeyFile(_) => "nobody writes a key to it",
            Stage::Resolving(_) => "no name server answers; an address needs none",
            Stage::Connecting(_) => "is the address right? a firewall may drop what comes there",
            Stage::Answer(_) => "is it scat that listens there?",
            Stage::Caller => "does the other end listen as well? only one of the two may have -l",
            Stage::Listening { refused: true } => "somebody came, and was sent away as said above",
            Stage::Listening { refused: false } => {
                "can the other end reach this machine, and that port?"
            }
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stage::KeyFile(path) => write!(f, "waiting for the key in {path}"),
            Stage::Resolving(name) => write!(f, "resolving {name}"),
            Stage::Connecting(to) => write!(f, "connecting to {to}"),
            Stage::Answer(of) => write!(f, "waiting for an answer from {of}"),
            Stage::Caller => f.write_str("waiting for the caller"),
            Stage::Listening { .. } => f.write_str("listening"),
        }
    }
}

/// How far a session had come when it ended early.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Bytes so far.
    pub counters: Counters,
    /// Whether the peer had said that it wrote out all that was sent.
    pub acknowledged: bool,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counters { sent, received, written } = self.counters;
        let acknowledged = if self.acknowledged { "confirmed" } else { "not confirmed" };
        match (sent, received) {
            (0, 0) => return write!(f, "nothing was sent or received"),
            (0, _) => write!(f, "sent nothing; ")?,
            _ => write!(f, "sent {sent} bytes, {acknowledged}; ")?,
        }
        match received {
            0 => write!(f, "received nothing"),
            _ if written == received => write!(f, "wrote {written} bytes"),
            _ => write!(f, "wrote {written} of {received} bytes received"),
        }
    }
}

/// The exit statuses, as in scat(1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// A local failure.
    Failure = 1,
    /// A command line that no retry can mend.
    Usage = 2,
    /// No session; nothing was sent or revealed, so a retry is safe.
    NoSession = 3,
    /// The other end is not who it should be, or not accepted.
    Identity = 4,
    /// Corrupted or forged data.
    Forged = 5,
    /// The session was cut off.
    Cut = 6,
    /// An output was closed early, or the peer's failed.
    Output = 7,
}

/// What the user can do about it.
const IN_THE_MIDDLE: &str = "talk to each other before you try again, and try another network";

/// What an error comes to.
pub struct Account {
    /// The exit status.
    pub status: Status,
    /// What to tell the peer, if it is there to be told and does not know.
    pub abort: Option<Reason>,
    /// What the user is told.
    pub line: String,
    /// How far the session had come.
    pub totals: Option<Totals>,
    /// What the user can do about it.
    pub hint: Option<String>,
}

impl Status {
    fn line(self, line: impl Into<String>) -> Account {
        Account { status: self, abort: None, line: line.into(), totals: None, hint: None }
    }

    fn key(self, error: &keys::Error) -> Account {
        Account { hint: error.hint().map(str::to_owned), ..self.line(error.to_string()) }
    }
}

impl Account {
    fn abort(self, reason: Reason) -> Self {
        Account { abort: Some(reason), ..self }
    }

    fn totals(self, totals: &Option<Totals>) -> Self {
        Account { totals: *totals, ..self }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Account { hint: Some(hint.into()), ..self }
    }
}

impl Error {
    /// Everything that follows from an error.
    pub fn account(&self) -> Account {
        use Status::{Cut, Failure, Forged, Identity, NoSession, Output, Usage};
        match self {
            Error::System(what, why) => {
                Failure.line(format!("{what}: {}", plain(why))).abort(Reason::Interrupted)
            }
            Error::Input(why) => Failure
                .line(format!("read standard input: {}", plain(why)))
                .abort(Reason::InputFailed),
            Error::Output(why) => Failure
                .line(format!("write standard output: {}", plain(why)))
                .abort(Reason::OutputFailed),
            Error::NoOutput => Failure
                .line("standard output is closed")
                .hint("> /dev/null throws away what arrives"),
            Error::Random => {
                Failure.line("the system gives no random numbers").abort(Reason::Interrupted)
            }
            Error::Key(error) => Failure.key(error),
            Error::Bind { at, why } => {
                let account = Failure.line(format!("bind {at}: {}", plain(why)));
                match why.kind() {
                    io::ErrorKind::AddrInUse => account.hint(
                        "another program has that port: take another one, or 0 for a free one",
                    ),
                    io::ErrorKind::AddrNotAvailable => {
                        account.hint("not an address of this machine; leave it out to use any")
                    }
                    io::ErrorKind::PermissionDenied => {
                        account.hint("ports below 1024 are for root: take a higher one")
                    }
                    _ => account,
                }
            }
            Error::Own { name, why } => Failure
                .line(format!("resolve {name}: {why}"))
                .hint("an address of this machine is wanted; leave it out to use any"),

            Error::Usage { what, hint } => Usage.line(what.as_str()).hint(hint.as_str()),
            Error::Source { to } => Usage
                .line(format!("connect {to}: -s is an address of the other kind"))
                .hint("IPv4 goes with IPv4, IPv6 with IPv6"),
            Error::Argument(error) => Usage.key(error),
            Error::Foreign { option, instead } => Usage.line(format!("{option}: {instead}")),
            Error::Unverified => Usage.line(
                "-l --fd needs --peer, --psk or -c: \
                 each caller would get a try at the words that nobody sees",
            ),
            Error::NoTerminal(why) => match why {
                None => Usage.line("-c needs a terminal"),
                Some(err) => Usage.line(format!("open the terminal: {}", plain(err))),
            }
            .hint("start it in a terminal (over ssh: ssh -t), or verify with --peer or --psk"),

            Error::Resolve { name, why } => {
                let account = NoSession.line(format!("resolve {name}: {why}"));
                match name.split_once(" port ") {
                    Some((host, _)) if Path::new(host).exists() => {
                        account.hint("to send a file: scat HOST PORT < FILE")
                    }
                    _ => account,
                }
            }
            Error::Connect { to, why } => {
                let line = format!("connect {to}: {}", plain(why));
                match Refusal::of(why) {
                    Refusal::Refused => {
                        let port = to.rsplit(' ').next().unwrap_or_default();
                        let listen = format!("at the other end: scat -l {port}");
                        NoSession.line(line).hint(format!("nobody listens there yet? {listen}"))
                    }
                    // The system will say no the next time as well.
                    Refusal::Invalid if to.starts_with("fe80:") => Usage
                        .line(line)
                        .hint("a link-local address needs its interface: fe80::1%eth0"),
                    Refusal::Invalid | Refusal::Forbidden => Failure.line(line),
                    Refusal::Other => NoSession.line(line),
                }
            }
            Error::Waited(time, stage) => NoSession
                .line(format!("no session within {}: still {stage}", Rounded(*time)))
                .hint(stage.hint()),
            Error::Silent => NoSession
                .line("the other end closed without a word")
                .hint("is scat listening there? a port forwarder accepts for nobody as well"),
            Error::NotScat(looks) => NoSession
                .line(format!("the other end {looks}"))
                .hint("is it scat that listens there, at that port?"),
            Error::HandshakeCut(None) => NoSession.line("the handshake was cut off"),
            Error::HandshakeCut(Some(why)) => {
                NoSession.line(format!("the handshake was cut off: {}", plain(why)))
            }
            Error::HandshakeTimeout => NoSession
                .line("the other end does not answer")
                .hint("the port is open, but is it scat that listens there?"),
            Error::HandshakeAltered => NoSession.line("the handshake was altered on its way"),
            Error::CallerFailed(why) => NoSession.line(format!("caller rejected: {why}")),

            Error::Preface { mismatch, psk } => match mismatch {
                Mismatch::Version(byte) if byte.is_ascii_graphic() => {
                    let version = char::from(*byte);
                    Identity
                        .line(format!("the other end speaks version {version}"))
                        .hint("use the same version of scat at both ends")
                }
                Mismatch::Version(_) | Mismatch::Unknown => Identity
                    .line("the other end speaks an unknown version")
                    .hint("use the same version of scat at both ends"),
                Mismatch::SameRole => Identity
                    .line("both ends are connecting")
                    .hint("one of them has to listen, with -l"),
                Mismatch::Psk if *psk => Identity
                    .line("the listener has no pre-shared key")
                    .hint("start the listener with --psk too, or leave it out here"),
                Mismatch::Psk => Identity
                    .line("the listener wants a pre-shared key")
                    .hint("ask for the key file and give it with --psk"),
            },

            Error::PskDiffers => Identity
                .line("the listener hung up: the pre-shared keys may differ")
                .hint("both ends need a copy of one file that scat --genpsk made"),
            Error::CallerRefused(why) => Identity.line(format!("caller rejected: {why}")),
            Error::Myself => Identity.line("connected to myself: both ends have the same key"),
            Error::OtherKey => Identity
                .line("the listener's key is not the one expected: someone may be in the middle")
                .hint("without -i at their end, they have a new key each time"),
            Error::WordsDiffer => Identity
                .line("those are not the words: someone may be in the middle; nothing was sent")
                .hint(IN_THE_MIDDLE)
                .abort(Reason::Refused),
            Error::NotAccepted => {
                Identity.line("you refused; nothing was sent").abort(Reason::Refused)
            }
            Error::KeyRefused => {
                Identity.line("the listener refused our key; nothing was sent").hint(
                    "give your key with -i; they need, for --peer, what scat --pubkey prints of it",
                )
            }

            Error::Session(why) => Forged.line(why.to_string()).abort(Reason::Protocol),

            Error::Cut(None, totals) => {
                Cut.line("cut off: the connection ended too early").totals(totals)
            }
            Error::Cut(Some(why), totals) => {
                Cut.line(format!("cut off: {}", plain(why))).totals(totals)
            }
            Error::HungUp => Cut.line("the terminal was closed").abort(Reason::Interrupted),
            Error::OpenTimeout => Cut
                .line("cut off: the other end did not finish the handshake")
                .abort(Reason::Timeout),
            Error::RatchetTimeout(totals) => Cut
                .line("cut off: the other end does not renew the keys")
                .totals(totals)
                .abort(Reason::Timeout),

            Error::OutputClosed => {
                Output.line("standard output was closed").abort(Reason::OutputClosed)
            }

            Error::Aborted(reason, totals) => match reason {
                Reason::Refused => Identity
                    .line("the other end refused the words: someone may be in the middle")
                    .hint(IN_THE_MIDDLE),
                Reason::OutputClosed => Output.line("the other end's output was closed"),
                Reason::Protocol => Forged.line("the other end received corrupted or forged data"),
                Reason::Timeout => Cut.line("cut off: the other end gave up waiting"),
                Reason::Interrupted => {
                    Cut.line("cut off: the other end was interrupted by Ctrl-C or a signal")
                }
                Reason::OutputFailed => Output.line("the other end could not write its output"),
                Reason::InputFailed => Cut.line("cut off: the other end could not read its input"),
                Reason::Left => {
                    Identity.line("the other person left before the words were compared")
                }
            }
            .totals(totals),

            // The shell's own account of a signal is 128 + n; this is for the case
            // that the default action did not end the process.
            Error::Signal(number) => {
                Cut.line(format!("ended by signal {number}")).abort(Reason::Interrupted)
            }
        }
    }

    /// The same of an address that this machine should have, where no retry helps.
    pub fn of_own(self) -> Self {
        match self {
            Error::Resolve { name, why } => Error::Own { name, why },
            other => other,
        }
    }

    /// How far the session had come, for an error that tells it.
    pub fn with_totals(self, totals: Totals) -> Self {
        match self {
            Error::Cut(why, _) => Error::Cut(why, Some(totals)),
            Error::Aborted(reason, _) => Error::Aborted(reason, Some(totals)),
            Error::RatchetTimeout(_) => Error::RatchetTimeout(Some(totals)),
            other => other,
        }
    }

    /// Which of two errors the exit status is for: the greater one. Whoever sends a
    /// signal is to see that it worked; that somebody may be in the middle matters more
    /// than what failed here, and that more than that the peer has gone.
    pub fn weight(&self) -> u8 {
        match (self, self.account().status) {
            (Error::Signal(_), _) => 4,
            (_, Status::Identity | Status::Forged) => 3,
            (_, Status::Failure | Status::Usage) => 2,
            (_, Status::Output) => 1,
            (_, Status::NoSession | Status::Cut) => 0,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.account().line)
    }
}

impl std::error::Error for Error {}

impl From<sys::Error> for Error {
    fn from(err: sys::Error) -> Self {
        match err {
            sys::Error::System(what, why) => Error::System(what, why),
            sys::Error::Random => Error::Random,
            sys::Error::Signal(number) => Error::Signal(number),
        }
    }
}

impl From<session::Error> for Error {
    fn from(error: session::Error) -> Self {
        Error::Session(error)
    }
}

impl From<handshake::Error> for Error {
    fn from(error: handshake::Error) -> Self {
        match error {
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
