//! `--fd`: a connection that somebody else made, be it a proxy, a superserver or a
//! shell. There is one caller, and no second try.

use super::candidate::{Candidate, Progress, Rejection};
use super::link::Link;
use super::{Established, Setup, connect};
use crate::auth::keys;
use crate::error::{Error, Stage};
use crate::protocol::handshake::{Mismatch, Peer};
use crate::sys::poller::{EventLoop, LINK, is_readable};
use crate::sys::stream;
use crate::ui::waiting::Waiting;
use rustix::fd::{OwnedFd, RawFd};
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::net::{SocketType, sockopt};
use socket2::SockRef;
use std::net::SocketAddr;
use std::time::Instant;

/// A connected stream socket, whatever made it.
pub struct Inherited {
    socket: OwnedFd,
    peer: Option<SocketAddr>,
}

impl Inherited {
    /// Takes the descriptor `fd`, before anything else is opened and could get its number.
    ///
    /// # Errors
    /// [`Error::Usage`] for all that is no connected stream socket, or is standard
    /// input, output or error as well.
    pub fn take(fd: RawFd) -> Result<Self, Error> {
        let usage = |what: &str| Error::Usage {
            what: format!("--fd {fd}: {what}"),
            hint: "see scat(1), CONNECTIONS MADE ELSEWHERE".to_owned(),
        };
        let system = |why: Errno| match why {
            Errno::BADF => usage("not open"),
            Errno::NOTSOCK => usage("not a socket"),
            why => Error::System("socket", why.into()),
        };
        let given = stream::inherited(fd).map_err(system)?;
        let socket = rustix::io::fcntl_dupfd_cloexec(given, 3).map_err(system)?;
        if sockopt::socket_type(&socket).map_err(system)? != SocketType::STREAM {
            return Err(usage("not a stream socket"));
        }
        for (name, standard) in [
            ("input", rustix::stdio::stdin()),
            ("output", rustix::stdio::stdout()),
            ("error", rustix::stdio::stderr()),
        ] {
            if stream::are_same(FileType::Socket, given, standard) {
                return Err(usage(&format!("standard {name} is the same connection")));
            }
        }
        let peer = match SockRef::from(&socket).peer_addr() {
            Ok(address) => address.as_socket(),
            // It was reset, or never connected.
            Err(_) => match SockRef::from(&socket).take_error() {
                Ok(Some(why)) => return Err(Error::HandshakeCut(Some(why))),
                _ => return Err(usage("not connected; a listening socket will not do")),
            },
        };
        Ok(Inherited { socket, peer })
    }

    /// Plays the connector. However late the listener comes, it is waited for.
    ///
    /// # Errors
    /// As for [`connect::connect`].
    pub fn connect(self, events: &mut EventLoop, setup: Setup<'_>) -> Result<Established, Error> {
        connect::handshake(events, self.link(events)?, None, setup)
    }

    /// Plays the listener for the one caller, whose time runs from its first byte.
    ///
    /// # Errors
    /// [`Error::CallerFailed`] or [`Error::CallerRefused`] for a caller that a listening
    /// socket would let go to wait for the next one; [`Error::Waited`].
    pub fn listen(self, events: &mut EventLoop, setup: Setup<'_>) -> Result<Established, Error> {
        let Setup { local, policy, deadline, limits, report, .. } = setup;
        let link = self.link(events)?;
        let mut waiting = Waiting::new(Stage::Caller, deadline, report);
        let mut has_begun = false;
        while !has_begun {
            waiting.poll(events, None)?;
            has_begun = events.events().any(|event| event.token() == LINK && is_readable(event));
        }
        let mut candidate = Candidate::new(link, LINK, limits.step);
        let mut is_late = false;
        loop {
            match candidate.advance(local, policy) {
                Progress::Accepted(accepted) => {
                    return Established::listener(events, candidate.link, *accepted, setup);
                }
                Progress::Rejected(why) => {
                    // So that it can be added.
                    if let Rejection::OtherKey(Peer { key, long_lived: true }) = why {
                        report.peer_key(keys::public_text(&key));
                    }
                    return Err(failure(why));
                }
                Progress::Waiting if candidate.is_queued() => {
                    candidate.answer(local)?;
                    continue;
                }
                Progress::Waiting => {}
            }
            if is_late {
                return Err(failure(candidate.late()));
            }
            // What has come by then is read before it is judged.
            is_late = candidate.give_up <= Instant::now();
            waiting.poll(events, Some(candidate.give_up))?;
            for event in events.events().filter(|event| event.token() == LINK) {
                candidate.link.note(event);
            }
        }
    }

    fn link(self, events: &EventLoop) -> Result<Link, Error> {
        Link::new(self.socket, self.peer, events.registry(), LINK)
            .map_err(|why| Error::System("socket", why))
    }
}

/// What a rejection comes to where there is no next caller.
fn failure(why: Rejection) -> Error {
    match why {
        Rejection::Myself => Error::Myself,
        Rejection::Preface(Mismatch::SameRole) => Error::CallerRefused(why.to_string()),
        why if why.concerns_user() => Error::CallerRefused(why.to_string()),
        why => Error::CallerFailed(why.to_string()),
    }
}
