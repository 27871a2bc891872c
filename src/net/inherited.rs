//! `--fd`: a connection that another program made, such as a proxy, a superserver or a
//! shell. There is only one caller, and no second attempt.

use super::candidate::{Candidate, Progress, Rejection};
use super::link::Link;
use super::{Established, Setup, connect};
use crate::error::{Error, Stage};
use crate::protocol::handshake::Peer;
use crate::sys::poller::{LINK, Poller};
use crate::sys::socket::{Socket, Unfit};
use crate::text::Address;
use crate::ui::waiting::Waiting;

/// A connected stream socket of any kind.
pub struct Inherited(Socket);

impl Inherited {
    /// Takes the descriptor `fd`. Call it before anything else is opened and could get
    /// that number.
    ///
    /// # Errors
    /// [`Error::Usage`] unless it is a connected stream socket, and if it is also standard
    /// input, output or error.
    pub fn take(fd: i32) -> Result<Self, Error> {
        Socket::inherited(fd).map(Inherited).map_err(|unfit| match unfit {
            Unfit::Usage(what) => {
                let what = format!("--fd {fd}: {what}");
                Error::usage(what, "see scat(1), CONNECTIONS MADE ELSEWHERE")
            }
            Unfit::Reset(err) => Error::HandshakeCut(Some(err)),
            Unfit::System(err) => Error::System("socket", err),
        })
    }

    /// Acts as the connector, and waits for the listener without limit.
    ///
    /// # Errors
    /// As for [`connect::connect`].
    pub fn connect(self, poller: &mut Poller, setup: Setup<'_>) -> Result<Established, Error> {
        connect::connect_over(poller, self.link(poller)?, setup)
    }

    /// Acts as the listener for the only caller, whose time limit starts at its first
    /// byte.
    ///
    /// # Errors
    /// [`Error::CallerFailed`] or [`Error::CallerRefused`] where a listener with a port would
    /// reject the caller and wait for the next one; [`Error::Waited`].
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
            let rejection = match candidate.advance(local, policy)? {
                Progress::Accepted(accepted) => {
                    return Established::listener(poller, candidate.link, *accepted, setup);
                }
                Progress::Rejected(rejection) => Some(rejection),
                Progress::Waiting => candidate.limit.is_up().then(|| candidate.late()),
            };
            if let Some(rejection) = rejection {
                if let Rejection::OtherKey(Peer { key, long_lived: true }) = rejection {
                    report.unverified_key(&key);
                }
                return Err(failure(&candidate, rejection));
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

/// Converts a rejection into an error, because no other caller will come.
fn failure(caller: &Candidate<'_>, rejection: Rejection) -> Error {
    let error = match rejection {
        Rejection::Myself => Error::Myself,
        rejection if rejection.concerns_user() => {
            Error::CallerRefused(rejection.to_string(), rejection.cause())
        }
        rejection => Error::CallerFailed(rejection.to_string(), rejection.cause()),
    };
    match caller.link.peer() {
        // For logs, and for programs that block addresses.
        Some(peer) => Error::At { at: Address(peer).to_string(), error: Box::new(error) },
        None => error,
    }
}
