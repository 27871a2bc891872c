//! `--fd`: a connection that somebody else made, be it a proxy, a superserver or a
//! shell. There is one caller, and no second try.

use super::candidate::{Candidate, Progress, Rejection};
use super::link::Link;
use super::{Established, Setup, connect};
use crate::error::{Error, Stage};
use crate::protocol::handshake::{Mismatch, Peer};
use crate::sys::poller::{LINK, Poller};
use crate::sys::socket::{Socket, Unfit};
use crate::text::Address;
use crate::ui::waiting::Waiting;

/// A connected stream socket, whatever made it.
pub struct Inherited(Socket);

impl Inherited {
    /// Takes the descriptor `fd`, before anything else is opened and could get its number.
    ///
    /// # Errors
    /// [`Error::Usage`] for all that is no connected stream socket, or is standard
    /// input, output or error as well.
    pub fn take(fd: i32) -> Result<Self, Error> {
        Socket::inherited(fd).map(Inherited).map_err(|unfit| match unfit {
            Unfit::Usage(what) => Error::Usage {
                what: format!("--fd {fd}: {what}"),
                hint: "see scat(1), CONNECTIONS MADE ELSEWHERE".to_owned(),
            },
            Unfit::Reset(err) => Error::HandshakeCut(Some(err)),
            Unfit::System(err) => Error::System("socket", err),
        })
    }

    /// Plays the connector. However late the listener comes, it is waited for.
    ///
    /// # Errors
    /// As for [`connect::connect`].
    pub fn connect(self, poller: &mut Poller, setup: Setup<'_>) -> Result<Established, Error> {
        connect::connect_over(poller, self.link(poller)?, setup)
    }

    /// Plays the listener for the one caller, whose time runs from its first byte.
    ///
    /// # Errors
    /// [`Error::CallerFailed`] or [`Error::CallerRefused`] for a caller that a listening
    /// socket would let go to wait for the next one; [`Error::Waited`].
    pub fn listen(self, poller: &mut Poller, setup: Setup<'_>) -> Result<Established, Error> {
        let Setup { local, policy, deadline, limits, report, .. } = setup;
        let link = self.link(poller)?;
        let mut waiting = Waiting::new(Stage::Caller, deadline, report);
        let mut has_begun = false;
        while !has_begun {
            waiting.poll(poller, None)?;
            has_begun = poller.ready().any(|ready| ready.token == LINK && ready.readable);
        }
        let mut candidate = Candidate::new(link, LINK, limits.step);
        loop {
            match candidate.advance(local, policy)? {
                Progress::Accepted(accepted) => {
                    return Established::listener(poller, candidate.link, *accepted, setup);
                }
                Progress::Rejected(why) => {
                    if let Rejection::OtherKey(Peer { key, long_lived: true }) = why {
                        report.unverified_key(&key);
                    }
                    return Err(failure(&candidate, why));
                }
                Progress::Waiting => {}
            }
            if candidate.limit.is_up() {
                return Err(failure(&candidate, candidate.late()));
            }
            waiting.poll(poller, candidate.limit.at())?;
            for ready in poller.ready().filter(|ready| ready.token == LINK) {
                candidate.link.note(ready);
            }
        }
    }

    fn link(self, poller: &Poller) -> Result<Link, Error> {
        Link::new(self.0, poller, LINK).map_err(|err| Error::System("socket", err))
    }
}

/// What a rejection comes to where there is no next caller.
fn failure(caller: &Candidate<'_>, why: Rejection) -> Error {
    let error = match why {
        Rejection::Myself => Error::Myself,
        Rejection::Preface(Mismatch::SameRole) => {
            Error::CallerRefused(why.to_string(), why.cause())
        }
        why if why.concerns_user() => Error::CallerRefused(why.to_string(), why.cause()),
        why => Error::CallerFailed(why.to_string(), why.cause()),
    };
    match caller.link.peer() {
        // For logs, and for what blocks addresses.
        Some(peer) => Error::At { at: Address(peer).to_string(), error: Box::new(error) },
        None => error,
    }
}
