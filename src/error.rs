//! All errors, in one enum, grouped by exit status.
//!
//! An error knows its own consequences: [`Error::status`], [`Error::abort`],
//! [`Error::hint`], [`Error::totals`], and its message ([`fmt::Display`]).

use crate::auth::keys;
use crate::protocol::handshake::{self, Peer};
use crate::protocol::session::{self, Counters, Reason};
use crate::sys;
use crate::sys::socket::Refusal;
use crate::text::{Bytes, Rounded, plain};
use std::borrow::Cow;
use std::fmt;
use std::io;
use std::net::Ipv6Addr;
use std::path::Path;
use std::time::Duration;

/// Everything that can end a run.
#[derive(Debug)]
pub enum Error {
    // 1: a local failure
    /// The operating system refused something that scat needs: what, and why.
    System(&'static str, io::Error),
    /// Reading standard input failed.
    Input(io::Error),
    /// Writing standard output failed, other than with EPIPE (see `OutputClosed`).
    Output(io::Error),
    /// scat was started with standard output closed.
    NoOutput,
    /// The system has no random numbers.
    Random,
    /// A key file cannot be used.
    Key(keys::Error),
    /// The address to listen on, or to connect from, cannot be used.
    Bind {
        /// Address and port.
        at: String,
        /// The system's reason.
        err: io::Error,
    },

    /// A link-local address with an interface that this machine does not have.
    Zone {
        /// What the user asked for.
        name: String,
        /// The interface.
        zone: String,
    },
    /// The address to listen on, or to connect from, cannot be found.
    Own {
        /// What the user asked for.
        name: String,
        /// The resolver's message.
        err: String,
    },

    // 2: usage
    /// The command line is wrong, and no retry can help.
    Usage {
        /// What is wrong with it.
        what: String,
        /// What to write instead.
        hint: String,
    },
    /// The address to connect from has another family than the one to connect to.
    Source {
        /// Address and port to connect to.
        to: String,
    },
    /// An argument of `--peer` that is not a key.
    Argument(keys::Error),
    /// `--fd` without `--peer`, `--psk` or `-c`.
    Unverified,
    /// `-c` without a terminal, or with one that cannot be opened: why.
    NoTerminal(Option<io::Error>),

    // 3: no session; nothing was sent or revealed
    /// A name or service was not found.
    Resolve {
        /// What the user asked for.
        name: String,
        /// The resolver's message.
        err: String,
        /// No name server answered, so a later attempt may succeed.
        is_temporary: bool,
    },
    /// No address accepted the connection; the last one's reason.
    Connect {
        /// Address and port, or name and port.
        to: String,
        /// The system's reason.
        err: io::Error,
    },
    /// `-w` passed before there was a session, in this stage.
    Waited(Duration, Stage),
    /// The listener accepted the connection and closed it without sending anything.
    Silent,
    /// The other end speaks another protocol: what it looks like.
    NotScat(String),
    /// The connection ended during the handshake.
    HandshakeCut(Option<io::Error>),
    /// The listener did not answer in time.
    HandshakeTimeout,
    /// The listener did not answer in time, and its TCP acknowledged nothing.
    Unheard,
    /// Flight 2 does not verify.
    HandshakeAltered,
    /// The only caller of `-l --fd` gave up or does not speak scat; the listener's
    /// reason.
    CallerFailed(String, Cause),
    /// The listener has a session and keeps its port only for that one.
    Busy,

    /// A failure at one of the addresses of a name.
    At {
        /// The name, the address and the port.
        at: String,
        /// The failure.
        error: Box<Error>,
    },

    // 3 or 6: the connector has revealed its share of the words, and the listener has not
    /// The connection ended before OPEN, possibly for this reason.
    NotOpened(Unopened, Option<io::Error>),
    /// The listener did not open its commitment in time.
    OpenTimeout(Unopened),

    // 4: identity
    /// The other end's preface has another version, or something that this one lacks: the
    /// version's byte, if it is a printable one.
    Version(Option<char>),
    /// Both ends connect.
    SameRole,
    /// Only one side has a pre-shared key: whether it is this one.
    OnePsk(bool),
    /// The listener could not read a flight 1 made with our pre-shared key.
    PskDiffers,
    /// The only caller of `-l --fd` was rejected; the listener's reason.
    CallerRefused(String, Cause),
    /// Connected to oneself.
    Myself,
    /// The listener's key, given here, is not one of `--peer`.
    OtherKey(Peer),
    /// The user typed other words than the other end's.
    WordsDiffer,
    /// The user refused.
    NotAccepted,
    /// The user left before the words were compared.
    Left,
    /// ABORT 1 instead of OPEN: our key is not one of the listener's `--peer`.
    KeyRefused {
        /// The key was given with `-i`, not made for this run.
        long_lived: bool,
    },

    // 5: corrupted or forged
    /// A frame is forged, or breaks the protocol.
    Session(session::Error),

    // 6: cut off
    /// The connection was lost before both ends had finished; why.
    Cut(Option<io::Error>),
    /// The connection was lost, and no other one came within this time.
    NotBack(Duration),
    /// After a reconnection, the peer needs bytes that are no longer kept.
    LetGo,
    /// A terminal of this side has hung up.
    HungUp,
    /// The listener keeps sending but never answers REKEY1.
    RatchetTimeout,
    /// No data has passed for the time of `--idle`.
    Idle(Duration),

    // 7: an output was closed early
    /// Nobody reads our standard output any more.
    OutputClosed,
    /// Standard output is a terminal, and the peer's data is not text.
    NoText,

    // 4 to 7, depending on the reason
    /// The peer's ABORT.
    Aborted(Reason),
    /// The same in a chat, where the other person pressed Ctrl-C or closed the window.
    PersonLeft,

    /// Any of these, with the byte counts of the session.
    Early(Box<Error>, Totals),

    /// A signal, by which the process then ends.
    Signal(i32),
}

/// How to treat a connector's failure before OPEN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unopened {
    /// Keys alone verify the listener, so the words do not matter and a retry is safe.
    Safe,
    /// People compare the words, so each retry gives a man in the middle another guess.
    Revealed,
}

impl Unopened {
    fn status(self) -> Status {
        match self {
            Unopened::Safe => Status::NoSession,
            Unopened::Revealed => Status::Cut,
        }
    }
}

/// What scat waits for.
#[derive(Clone, Debug)]
pub enum Stage {
    /// A key from a FIFO of this name.
    KeyFile(String),
    /// The resolver's answer for this name.
    Resolving(String),
    /// This address to accept the connection.
    Connecting(String),
    /// A scat's answer from this address, which has accepted.
    Answer(String),
    /// The next attempt: how the last one failed, and the hint for that.
    Failing(String, String),
    /// The first byte from the caller of `-l --fd`.
    Caller,
    /// A caller.
    Listening {
        /// A caller is in the middle of the handshake.
        hangs: bool,
        /// scat has reported a caller that could not be the peer.
        refused: bool,
    },
}

impl Stage {
    /// Returns the stage after an attempt that failed with `err`.
    pub fn failing(err: &Error) -> Self {
        Stage::Failing(err.to_string(), err.hint().unwrap_or_default().into_owned())
    }

    /// Returns what the user can do if the stage takes long.
    pub fn hint(&self) -> &str {
        match self {
            Stage::Failing(_, hint) => hint,
            Stage::KeyFile(_) => "nothing has written a key to this FIFO",
            Stage::Resolving(_) => "no DNS server answers; try a numeric address",
            Stage::Connecting(_) => "check the address; a firewall may block the port",
            Stage::Answer(_) => UNANSWERED,
            Stage::Caller => "are both ends using -l? only one should",
            Stage::Listening { hangs: true, .. } => {
                "somebody is connected, and has not finished the handshake"
            }
            Stage::Listening { refused: true, .. } => {
                "a caller was rejected: see the message above"
            }
            Stage::Listening { refused: false, .. } => {
                "can the other end reach this machine and this port?"
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
            Stage::Failing(line, _) => write!(f, "failing: {line}"),
            Stage::Caller => f.write_str("waiting for the caller"),
            Stage::Listening { .. } => f.write_str("listening"),
        }
    }
}

/// The byte counts of a session that ended early.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Bytes so far.
    pub counters: Counters,
    /// Whether the peer had confirmed that it wrote out everything.
    pub acknowledged: bool,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let acknowledged = if self.acknowledged { "confirmed" } else { "not confirmed" };
        match self.counters {
            Counters { sent: 0, received: 0, .. } => write!(f, "nothing was sent or received"),
            Counters { sent: 0, .. } => write!(f, "sent nothing; {}", Received(self.counters)),
            Counters { sent, .. } => {
                write!(f, "sent {}, {acknowledged}; {}", Bytes(sent), Received(self.counters))
            }
        }
    }
}

/// What was received, and how much of it was written if not all.
pub struct Received(pub Counters);

impl fmt::Display for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Counters { received: 0, .. } => write!(f, "received nothing"),
            Counters { received, written, .. } if received == written => {
                write!(f, "received {}", Bytes(received))
            }
            Counters { received, written, .. } => {
                write!(f, "wrote {} of {} received", Bytes(written), Bytes(received))
            }
        }
    }
}

/// The exit statuses, as in scat(1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// A local failure.
    Failure = 1,
    /// A wrong command line, which no retry can help.
    Usage = 2,
    /// No session; nothing was sent or revealed, so a retry is safe.
    NoSession = 3,
    /// The other end is not the right one, or was refused.
    Identity = 4,
    /// Corrupted or forged data.
    Forged = 5,
    /// The connection was lost.
    Cut = 6,
    /// An output was closed early, or the peer's output failed.
    Output = 7,
}

/// Why a run ended, a caller was rejected or a connection was lost, in one word for
/// programs. The list is stable: scat(1), STATUS LINES.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Nothing listens there.
    Refused,
    /// The other machine cannot be reached.
    Unreachable,
    /// The name has no address.
    Unresolved,
    /// Something did not happen in time.
    Timeout,
    /// The listener has another peer.
    Busy,
    /// The other end does not speak scat.
    Foreign,
    /// The other end closed the connection without sending anything.
    Silent,
    /// The words were wrong or refused.
    Words,
    /// A public key is not the one expected.
    Key,
    /// The pre-shared keys do not match.
    Psk,
    /// The two ends speak different versions.
    Version,
    /// Something was corrupted or forged, or breaks the protocol.
    Forged,
    /// The connection ended early.
    Cut,
    /// A lost connection was not replaced.
    Lost,
    /// `--idle`: no data passed.
    Idle,
    /// The user left before the words were compared.
    Left,
    /// An output was closed or failed, here or at the other end.
    Output,
    /// An input failed, here or at the other end.
    Input,
    /// A signal or a closed terminal ended this end or the other one.
    Signal,
    /// The command line is wrong, or those of the two ends do not match.
    Usage,
    /// Something else failed on this machine.
    Local,
}

impl Cause {
    /// Classifies an error of a connection; `otherwise` if it is nothing special.
    pub fn of(err: Option<&io::Error>, otherwise: Cause) -> Cause {
        match err.map(io::Error::kind) {
            Some(io::ErrorKind::TimedOut) => Cause::Timeout,
            Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
                Cause::Unreachable
            }
            _ => otherwise,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Each name is the word.
        f.write_str(&format!("{self:?}").to_ascii_lowercase())
    }
}

/// Hint for a listener that accepts the connection and sends nothing.
const UNANSWERED: &str = "is scat running there? if so, large packets may be lost (path MTU)";

/// Hint for words that differ.
const IN_THE_MIDDLE: &str = "talk to each other before you try again, and use another network";

/// Hint for a link-local address without its interface.
const ZONE: &str = "a link-local address needs its interface: fe80::1%eth0";

/// Whether `ADDRESS port PORT` is a link-local address without its interface.
fn lacks_zone(at: &str) -> bool {
    let address = at.split(' ').next().and_then(|address| address.parse::<Ipv6Addr>().ok());
    address.is_some_and(|address| address.is_unicast_link_local())
}

/// Returns the port of `ADDRESS port PORT`.
fn port(at: &str) -> Option<u16> {
    at.rsplit(' ').next()?.parse().ok()
}

impl Error {
    /// Makes an error of the command line: what is wrong with it, and what to write instead.
    pub fn usage(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Error::Usage { what: what.into(), hint: hint.into() }
    }

    /// Returns the exit status.
    pub fn status(&self) -> Status {
        match self {
            Error::At { error, .. } | Error::Early(error, _) => error.status(),
            Error::NotOpened(unopened, _) | Error::OpenTimeout(unopened) => unopened.status(),
            Error::System(..)
            | Error::Input(_)
            | Error::Output(_)
            | Error::NoOutput
            | Error::Random
            | Error::Key(_)
            | Error::Bind { .. }
            | Error::Zone { .. }
            | Error::Own { .. } => Status::Failure,
            Error::Usage { .. }
            | Error::Source { .. }
            | Error::Argument(_)
            | Error::Unverified
            | Error::NoTerminal(_) => Status::Usage,
            Error::Connect { to, err } => match Refusal::of(err) {
                // A retry would fail as well.
                Refusal::Invalid if lacks_zone(to) => Status::Usage,
                Refusal::Invalid | Refusal::Forbidden => Status::Failure,
                Refusal::Refused | Refusal::Other => Status::NoSession,
            },
            Error::Resolve { .. }
            | Error::Waited(..)
            | Error::Silent
            | Error::NotScat(_)
            | Error::HandshakeCut(_)
            | Error::Busy
            | Error::HandshakeTimeout
            | Error::Unheard
            | Error::HandshakeAltered
            | Error::CallerFailed(..) => Status::NoSession,
            Error::Version(_)
            | Error::SameRole
            | Error::OnePsk(_)
            | Error::PskDiffers
            | Error::CallerRefused(..)
            | Error::Myself
            | Error::OtherKey(_)
            | Error::WordsDiffer
            | Error::NotAccepted
            | Error::Left
            | Error::KeyRefused { .. } => Status::Identity,
            Error::Session(_) => Status::Forged,
            Error::Cut(_)
            | Error::NotBack(_)
            | Error::LetGo
            | Error::HungUp
            | Error::RatchetTimeout
            | Error::Idle(_)
            | Error::PersonLeft => Status::Cut,
            Error::OutputClosed | Error::NoText => Status::Output,
            Error::Aborted(reason) => match reason {
                Reason::Refused | Reason::Left => Status::Identity,
                Reason::Protocol => Status::Forged,
                Reason::Timeout | Reason::Interrupted | Reason::InputFailed => Status::Cut,
                Reason::OutputClosed | Reason::OutputFailed => Status::Output,
            },
            // Only seen if the signal's default action did not end the process. (A shell
            // reports a signal as 128 + n.)
            Error::Signal(_) => Status::Cut,
        }
    }

    /// Returns the reason, for programs.
    pub fn cause(&self) -> Cause {
        match self {
            Error::At { error, .. } | Error::Early(error, _) => error.cause(),
            Error::System(..)
            | Error::Random
            | Error::Key(_)
            | Error::Bind { .. }
            | Error::Zone { .. }
            | Error::Own { .. } => Cause::Local,
            Error::Input(_) | Error::Aborted(Reason::InputFailed) => Cause::Input,
            Error::Output(_)
            | Error::NoOutput
            | Error::OutputClosed
            | Error::NoText
            | Error::Aborted(Reason::OutputClosed | Reason::OutputFailed) => Cause::Output,
            Error::Usage { .. }
            | Error::Source { .. }
            | Error::Argument(_)
            | Error::Unverified
            | Error::NoTerminal(_)
            | Error::SameRole
            | Error::Myself => Cause::Usage,
            Error::Resolve { .. } => Cause::Unresolved,
            Error::Connect { err, .. } => match self.status() {
                Status::Usage => Cause::Usage,
                Status::Failure => Cause::Local,
                _ if Refusal::of(err) == Refusal::Refused => Cause::Refused,
                _ => Cause::of(Some(err), Cause::Unreachable),
            },
            Error::Waited(..)
            | Error::HandshakeTimeout
            | Error::Unheard
            | Error::OpenTimeout(_)
            | Error::RatchetTimeout
            | Error::Aborted(Reason::Timeout) => Cause::Timeout,
            Error::Silent => Cause::Silent,
            Error::NotScat(_) => Cause::Foreign,
            Error::HandshakeCut(err) | Error::NotOpened(_, err) | Error::Cut(err) => {
                Cause::of(err.as_ref(), Cause::Cut)
            }
            Error::HandshakeAltered | Error::Session(_) | Error::Aborted(Reason::Protocol) => {
                Cause::Forged
            }
            Error::CallerFailed(_, cause) | Error::CallerRefused(_, cause) => *cause,
            Error::Busy => Cause::Busy,
            Error::Version(_) => Cause::Version,
            Error::OnePsk(_) | Error::PskDiffers => Cause::Psk,
            Error::OtherKey(_) | Error::KeyRefused { .. } => Cause::Key,
            Error::WordsDiffer | Error::NotAccepted | Error::Aborted(Reason::Refused) => {
                Cause::Words
            }
            Error::Left | Error::Aborted(Reason::Left) => Cause::Left,
            Error::NotBack(_) | Error::LetGo => Cause::Lost,
            Error::Idle(_) => Cause::Idle,
            Error::HungUp
            | Error::Signal(_)
            | Error::Aborted(Reason::Interrupted)
            | Error::PersonLeft => Cause::Signal,
        }
    }

    /// Returns what to tell the peer, if it does not know yet.
    pub fn abort(&self) -> Option<Reason> {
        Some(match self {
            Error::At { error, .. } | Error::Early(error, _) => return error.abort(),
            Error::System(..) | Error::Random | Error::HungUp | Error::Signal(_) => {
                Reason::Interrupted
            }
            Error::Input(_) => Reason::InputFailed,
            Error::Output(_) => Reason::OutputFailed,
            Error::OutputClosed | Error::NoText => Reason::OutputClosed,
            Error::WordsDiffer | Error::NotAccepted => Reason::Refused,
            Error::Left => Reason::Left,
            Error::Session(_) => Reason::Protocol,
            Error::OpenTimeout(_) | Error::RatchetTimeout | Error::Idle(_) => Reason::Timeout,
            _ => return None,
        })
    }

    /// Returns the byte counts, if they should be shown.
    pub fn totals(&self) -> Option<Totals> {
        match self {
            Error::Early(_, totals) => Some(*totals),
            _ => None,
        }
    }

    /// Returns the signal that ended the run.
    pub fn signal(&self) -> Option<i32> {
        match self {
            Error::Signal(number) => Some(*number),
            Error::Early(error, _) => error.signal(),
            _ => None,
        }
    }

    /// Returns what else the user needs to know: the byte counts, or whose key it was.
    pub fn details(&self) -> Option<String> {
        match self {
            Error::At { error, .. } => error.details(),
            Error::Early(error, totals) => Some(error.details().unwrap_or(totals.to_string())),
            Error::OtherKey(Peer { key, long_lived: true }) => {
                Some(format!("its key: {}", keys::public_text(key)))
            }
            _ => None,
        }
    }

    /// Returns what the user can do about it.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match self {
            Error::At { error, .. } | Error::Early(error, _) => return error.hint(),
            Error::NoOutput => "to discard what arrives: > /dev/null",
            Error::NoText => "start again with > FILE",
            Error::Key(error) | Error::Argument(error) => return error.hint().map(Cow::from),
            Error::Bind { at, err } => match err.kind() {
                io::ErrorKind::AddrInUse => "choose another port, or find out who has it: ss -ltnp",
                io::ErrorKind::AddrNotAvailable => "leave it out to use any address",
                io::ErrorKind::PermissionDenied if port(at).is_some_and(|port| port < 1024) => {
                    "choose a port from 1024 up"
                }
                io::ErrorKind::InvalidInput if lacks_zone(at) => ZONE,
                _ => return None,
            },
            Error::Zone { .. } => "ip link lists the interfaces; fe80::1%eth0 has one of them",
            Error::Own { .. } => "use an address of this machine, or leave it out to use any",
            Error::Usage { hint, .. } => hint,
            Error::Source { .. } => "use IPv4 for both, or IPv6",
            Error::Unverified => "without one, an attacker could keep guessing the words unnoticed",
            Error::NoTerminal(_) => {
                "use a terminal (ssh -t), --peer or --psk; --no-confirm asks nobody"
            }
            Error::Resolve { name, is_temporary, .. } => match name.split_once(" port ") {
                Some((host, _)) if Path::new(host).exists() => {
                    "to send a file: scat HOST PORT < FILE"
                }
                Some((host, _)) if !host.is_ascii() => {
                    "write the name in ASCII: idn2 NAME prints its form with xn--"
                }
                Some((_, port)) if !is_temporary => {
                    return Some(
                        format!("check the name; to listen instead: scat -l {port}").into(),
                    );
                }
                _ => return None,
            },
            Error::Connect { to, err } => match Refusal::of(err) {
                Refusal::Refused => {
                    let port = to.rsplit(' ').next().unwrap_or_default();
                    return Some(format!("start the listener first: scat -l {port}").into());
                }
                Refusal::Invalid if lacks_zone(to) => ZONE,
                _ => return None,
            },
            Error::Waited(_, stage) if stage.hint().is_empty() => return None,
            Error::Waited(_, stage) => stage.hint(),
            Error::Silent => "is scat running there? (a port forwarder accepts in any case)",
            Error::NotScat(_) => "check that scat is what listens on that port",
            Error::HandshakeTimeout => UNANSWERED,
            Error::HandshakeAltered => "if it happens again, use another network",
            Error::Unheard => "large packets may be lost: try an MTU of 1280 here",
            Error::Busy => "try again later; -w SECS retries until then",
            Error::Version(_) => "use the same version of scat at both ends",
            Error::SameRole => "one of them has to listen: scat -l PORT",
            // Anyone on the network can send these eight bytes, so they must not persuade
            // the user to drop the key.
            Error::OnePsk(true) => {
                "give the listener --psk, too (an attacker can also send this answer)"
            }
            Error::OnePsk(false) => "ask for the key file, and give it with --psk",
            Error::NotOpened(Unopened::Safe, _) | Error::OpenTimeout(Unopened::Safe) => {
                "the listener probably took another caller; it is safe to try again"
            }
            Error::NotOpened(Unopened::Revealed, _) => "the listener probably took another caller",
            Error::PskDiffers => "both ends need a copy of the same file from scat --genpsk",
            Error::OtherKey(Peer { long_lived: true, .. }) => {
                "ask them first whether it is theirs; then give it to --peer"
            }
            Error::OtherKey(_) => {
                "have them start with -i; if they did, someone may be in the middle"
            }
            Error::WordsDiffer | Error::Aborted(Reason::Refused) => IN_THE_MIDDLE,
            Error::Aborted(Reason::OutputClosed) => {
                "the program that reads it ended early, or > FILE is missing there"
            }
            Error::Aborted(Reason::OutputFailed) => "the disk there may be full",
            Error::KeyRefused { long_lived: true } => {
                "they have to add the output of scat --pubkey KEYFILE to their --peer"
            }
            Error::KeyRefused { .. } => {
                "use -i KEYFILE; they add what scat --pubkey KEYFILE prints to --peer"
            }
            _ => return None,
        };
        Some(hint.into())
    }

    /// Converts a failed look-up of one of this machine's addresses: no retry helps.
    pub fn of_own(self) -> Self {
        match self {
            Error::Resolve { name, err, .. } => Error::Own { name, err },
            other => other,
        }
    }

    /// Adds the byte counts, unless the message says that nothing was sent.
    pub fn with_totals(self, totals: Totals) -> Self {
        match self {
            Error::WordsDiffer
            | Error::NotAccepted
            | Error::Left
            | Error::KeyRefused { .. }
            | Error::NotOpened(..)
            | Error::OpenTimeout(_) => self,
            other => Error::Early(Box::new(other), totals),
        }
    }

    /// Whether the same attempt may succeed in a moment and reveals nothing, so that `-w`
    /// retries it.
    pub fn may_pass(&self) -> bool {
        match self {
            Error::At { error, .. } => error.may_pass(),
            Error::Connect { .. } => self.status() == Status::NoSession,
            Error::Resolve { is_temporary, .. } => *is_temporary,
            Error::Silent
            | Error::Busy
            | Error::HandshakeCut(_)
            | Error::HandshakeTimeout
            | Error::Unheard => true,
            Error::NotOpened(unopened, _) | Error::OpenTimeout(unopened) => {
                *unopened == Unopened::Safe
            }
            _ => false,
        }
    }

    /// Returns the rank of an error: of several, the highest sets the exit status. A
    /// signal comes first, then a possible attack, then a local failure, then a lost
    /// peer.
    pub fn weight(&self) -> u8 {
        match self.status() {
            _ if self.signal().is_some() => 4,
            Status::Identity | Status::Forged => 3,
            Status::Failure | Status::Usage => 2,
            Status::Output => 1,
            Status::NoSession | Status::Cut => 0,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = match self {
            Error::At { at, error } => return write!(f, "{at}: {error}"),
            Error::Early(error, _) => return error.fmt(f),
            Error::System(what, err) => return write!(f, "{what}: {}", plain(err)),
            Error::Input(err) => return write!(f, "read standard input: {}", plain(err)),
            Error::Output(err) => return write!(f, "write standard output: {}", plain(err)),
            Error::NoOutput => "standard output is closed",
            Error::Random => "the system provides no random numbers",
            Error::Key(error) | Error::Argument(error) => return error.fmt(f),
            Error::Bind { at, err } => {
                let (address, number) = at.split_once(" port ").unwrap_or((at, ""));
                return match err.kind() {
                    io::ErrorKind::AddrInUse => write!(f, "port {number} is already in use"),
                    io::ErrorKind::AddrNotAvailable => {
                        write!(f, "{address} is not an address of this machine")
                    }
                    io::ErrorKind::PermissionDenied if port(at).is_some_and(|port| port < 1024) => {
                        write!(f, "port {number} is for root only")
                    }
                    _ => write!(f, "bind {at}: {}", plain(err)),
                };
            }
            Error::Zone { name, zone } => {
                return write!(f, "{name}: this machine has no interface {zone}");
            }
            Error::Own { name, err } | Error::Resolve { name, err, .. } => {
                return write!(f, "resolve {name}: {err}");
            }
            Error::Usage { what, .. } => what,
            Error::Source { to } => {
                return write!(f, "connect {to}: -s has an address of the other IP version");
            }
            Error::Unverified => "--fd needs --peer, --psk or -c",
            Error::NoTerminal(None) => "cannot ask for the words without a terminal",
            Error::NoTerminal(Some(err)) => return write!(f, "open the terminal: {}", plain(err)),
            Error::Connect { to, err } => return write!(f, "connect {to}: {}", plain(err)),
            Error::Waited(time, Stage::Failing(line, _)) => {
                return write!(f, "no session in {}: {line}", Rounded(*time));
            }
            Error::Waited(time, stage) => {
                return write!(f, "no session in {}: still {stage}", Rounded(*time));
            }
            Error::Silent => "the other end closed the connection without sending anything",
            Error::NotScat(looks) => return write!(f, "the other end {looks}"),
            Error::HandshakeCut(None) => "connection lost during the handshake",
            Error::HandshakeCut(Some(err)) => {
                return write!(f, "connection lost during the handshake: {}", plain(err));
            }
            Error::HandshakeTimeout => "the other end does not answer",
            Error::Unheard => "the other end has not acknowledged any data",
            Error::Busy => "the listener is busy with another peer",
            Error::HandshakeAltered => "the handshake was altered on the network",
            Error::CallerFailed(reason, _) | Error::CallerRefused(reason, _) => {
                return write!(f, "caller rejected: {reason}");
            }
            Error::Version(Some(version)) => {
                return write!(f, "the other end speaks protocol version {version}");
            }
            Error::Version(None) => "the other end speaks an unknown protocol version",
            Error::SameRole => "both ends are connecting",
            Error::OnePsk(true) => "the listener has no pre-shared key",
            Error::OnePsk(false) => "the listener requires a pre-shared key",
            Error::NotOpened(_, None) => "cut off before the session; nothing was sent",
            Error::NotOpened(_, Some(err)) => {
                let err = plain(err);
                return write!(f, "cut off before the session ({err}); nothing was sent");
            }
            Error::OpenTimeout(_) => {
                "cut off: the other end did not finish the handshake; nothing was sent"
            }
            Error::PskDiffers => {
                "the listener closed the connection: the pre-shared keys may differ"
            }
            Error::Myself => "connected to itself, or both ends have the same key",
            Error::OtherKey(Peer { long_lived: true, .. }) => {
                "the listener's key is not the one expected: someone may be in the middle"
            }
            Error::OtherKey(_) => "the listener gave no key (-i), so it is not the one expected",
            Error::WordsDiffer => {
                "three wrong answers: someone may be in the middle; nothing was sent"
            }
            Error::NotAccepted => "you rejected the other person; nothing was sent",
            Error::Left => "you left before the words were compared; nothing was sent",
            Error::KeyRefused { long_lived: true } => {
                "the listener does not accept your key; nothing was sent"
            }
            Error::KeyRefused { .. } => {
                "the listener does not accept you without a key; nothing was sent"
            }
            Error::Session(err) => return err.fmt(f),
            Error::Cut(None) => "cut off: the connection ended too early",
            Error::Cut(Some(err)) => return write!(f, "cut off: {}", plain(err)),
            Error::NotBack(within) => {
                return write!(f, "connection lost, and not restored within {}", Rounded(*within));
            }
            Error::LetGo => "cut off: this end no longer has all of the data that was lost",
            Error::HungUp => "the terminal was closed",
            Error::RatchetTimeout => "cut off: the other end does not renew the keys",
            Error::Idle(time) => {
                return write!(
                    f,
                    "idle: no data was sent, received or written for {}",
                    Rounded(*time)
                );
            }
            Error::OutputClosed => "standard output was closed early",
            Error::NoText => "binary data is not shown on a terminal",
            Error::Aborted(reason) => match reason {
                Reason::Refused => {
                    "the other person typed 'no' or wrong words: someone may be in the middle"
                }
                Reason::OutputClosed => "the other end's output was closed",
                Reason::Protocol => "the other end received corrupted or forged data",
                Reason::Timeout => "cut off: the other end gave up waiting",
                Reason::Interrupted => {
                    "cut off: the other end was interrupted by Ctrl-C or a signal"
                }
                Reason::OutputFailed => "the other end could not write its output",
                Reason::InputFailed => "cut off: the other end could not read its input",
                Reason::Left => "the other person left before the words were compared",
            },
            Error::PersonLeft => "the other person has left",
            Error::Signal(number) => return write!(f, "ended by signal {number}"),
        };
        f.write_str(said)
    }
}

impl std::error::Error for Error {}

impl From<sys::Error> for Error {
    fn from(err: sys::Error) -> Self {
        match err {
            sys::Error::System(what, err) => Error::System(what, err),
            sys::Error::Random => Error::Random,
            sys::Error::Signal(number) => Error::Signal(number),
        }
    }
}

impl From<session::Error> for Error {
    fn from(error: session::Error) -> Self {
        match error {
            session::Error::LetGo => Error::LetGo,
            error => Error::Session(error),
        }
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
