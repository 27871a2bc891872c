//! `--status-fd`: events for programs, one per line.
//!
//! The format is stable, and scat(1), STATUS LINES, documents it: fields are only added
//! at the end, and readers skip unknown events.

use crate::auth::keys;
use crate::error::{Cause, Error};
use crate::protocol::sas::Half;
use crate::protocol::session::{Counters, Reason};
use crate::text::Ip;
use std::fmt;
use std::net::SocketAddr;

/// An event.
pub enum Line<'a> {
    /// The port is open.
    Listening(SocketAddr),
    /// The handshake is complete. A peer of `--fd` may have no address.
    Connected(Option<SocketAddr>),
    /// The words that the user here reads out.
    OwnWords(Half),
    /// The words of the other user; never if the user here has to type them.
    PeerWords(Half),
    /// How the peer was verified, and its name in a file of `--peer`.
    Verified(&'a str, Option<&'a str>),
    /// The long-lived public key (32 bytes) of the peer.
    PeerKey(&'a [u8; 32]),
    /// A line is expected at `--confirm-fd`: what the other person says. With how many more
    /// wrong complete answers end the comparison, and what was wrong with the last line.
    Ask(u8, Option<&'a str>),
    /// The number of exchanges of fresh keys.
    Ratchet(u64),
    /// Bytes so far.
    Progress(Counters),
    /// The peer has sent everything.
    Eof,
    /// The peer has written everything that was sent to it.
    Done,
    /// The peer gives up.
    Abort(Reason),
    /// A caller was rejected: why, and its key (32 bytes) if that is long-lived but not
    /// admitted.
    Rejected(SocketAddr, Cause, Option<&'a [u8; 32]>),
    /// The connection is lost and may come back: why, also in the system's words.
    Lost(Cause, &'a str),
    /// Another connection has replaced it.
    Back(Option<SocketAddr>),
    /// The last line: the error, unless the run succeeded.
    Exit(Option<&'a Error>),
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |f: &mut fmt::Formatter<'_>, event: &str, at: &SocketAddr| {
            write!(f, "{event} {} {}", Ip(*at), at.port())
        };
        let words = |f: &mut fmt::Formatter<'_>, who: &str, half: &Half| {
            write!(f, "WORDS {who} {} {:08}", half.words().join(" "), half.number())
        };
        match self {
            Line::Listening(address) => at(f, "LISTENING", address),
            Line::Connected(Some(address)) => at(f, "CONNECTED", address),
            Line::Connected(None) => f.write_str("CONNECTED - -"),
            Line::OwnWords(half) => words(f, "you", half),
            Line::PeerWords(half) => words(f, "they", half),
            Line::Verified(by, None) => write!(f, "VERIFIED {by}"),
            Line::Verified(by, Some(name)) => write!(f, "VERIFIED {by} {name}"),
            Line::PeerKey(key) => write!(f, "PEERKEY {}", keys::public_text(key)),
            Line::Ask(tries, None) => write!(f, "ASK {tries}"),
            Line::Ask(tries, Some(reply)) => write!(f, "ASK {tries} {reply}"),
            Line::Ratchet(count) => write!(f, "RATCHET {count}"),
            Line::Progress(Counters { sent, received, written }) => {
                write!(f, "PROGRESS {sent} {received} {written}")
            }
            Line::Eof => f.write_str("EOF"),
            Line::Done => f.write_str("DONE"),
            Line::Abort(reason) => write!(f, "ABORT {} {}", *reason as u8, name(*reason)),
            Line::Rejected(address, cause, key) => {
                at(f, "REJECTED", address)?;
                write!(f, " {cause}")?;
                key.map_or(Ok(()), |key| write!(f, " {}", keys::public_text(key)))
            }
            Line::Lost(cause, text) => write!(f, "LOST {cause} {text}"),
            Line::Back(Some(address)) => at(f, "BACK", address),
            Line::Back(None) => f.write_str("BACK - -"),
            Line::Exit(None) => f.write_str("EXIT 0 complete"),
            Line::Exit(Some(error)) => {
                // As the shell reports it.
                let signal = error.signal().map(|number| 128 + number);
                let status = signal.unwrap_or(error.status() as i32);
                write!(f, "EXIT {status} {} {error}", error.cause())?;
                error.totals().map_or(Ok(()), |totals| write!(f, "; {totals}"))
            }
        }
    }
}

/// Returns the name of an ABORT code.
fn name(reason: Reason) -> &'static str {
    match reason {
        Reason::Refused => "refused",
        Reason::OutputClosed => "output-closed",
        Reason::Protocol => "protocol",
        Reason::Timeout => "timeout",
        Reason::Interrupted => "interrupted",
        Reason::OutputFailed => "output-failed",
        Reason::InputFailed => "input-failed",
        Reason::Left => "left",
    }
}
