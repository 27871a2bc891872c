//! From names and addresses to one established peer.
//!
//! [`resolve`] asks for addresses; [`connect`] and [`listen`] turn them into a
//! peer whose handshake is done: the one tries addresses in turn (`dial`) and makes one
//! `attempt` after the other, the other one has many a `candidate`;
//! [`inherited`] does the same with a connection that somebody else made;
//! [`link`] is the connection itself; [`reconnect`] replaces one that is lost; `dialect` guesses what those speak who do not speak
//! scat.

mod attempt;
mod candidate;
pub mod connect;
mod dial;
mod dialect;
pub mod inherited;
pub mod link;
pub mod listen;
pub mod reconnect;
pub mod resolve;

use crate::auth::policy::Policy;
use crate::error::{Error, Unopened};
use crate::protocol::handshake::{Accepted, Connected, Local};
use crate::protocol::sas::Sas;
use crate::protocol::session::{Buffers, Session};
use crate::sys::poller::{LINK, Poller};
use crate::ui::report::Report;
use crate::ui::waiting::{Deadline, Patience};
use connect::Target;
use link::Link;
use reconnect::Reconnect;
use std::time::{Duration, Instant};

/// How long the other end may take. Only `--idle` and `--reconnect` are options; tests have
/// shorter ones.
#[derive(Clone, Copy)]
pub struct Limits {
    /// For each step of the handshake.
    pub step: Duration,
    /// For an address that says nothing, once another one has said no and `-w` tries both
    /// again.
    pub patience: Duration,
    /// To acknowledge what was sent: a peer that does not has vanished.
    pub vanished: Duration,
    /// To send something, while nobody here reads what it sends.
    pub unread: Duration,
    /// To close, once this end has closed.
    pub close: Duration,
    /// `--idle`: to send, receive or write out any data.
    pub idle: Option<Duration>,
    /// `--reconnect`: to come back over another connection.
    pub away: Option<Duration>,
    /// For a connection that replaces a lost one.
    pub reconnect: reconnect::Times,
    /// Until a person is told what goes on.
    pub tell: Patience,
}

impl Default for Limits {
    /// scat-protocol(7), LISTENING; scat(1), A peer that vanishes.
    fn default() -> Self {
        Limits {
            step: Duration::from_secs(10),
            patience: Duration::from_secs(3),
            vanished: Duration::from_secs(300),
            unread: Duration::from_secs(10),
            close: Duration::from_secs(2),
            idle: None,
            away: None,
            reconnect: reconnect::Times::default(),
            tell: Patience::default(),
        }
    }
}

/// What every way to a peer needs, and the session after it.
pub struct Setup<'a> {
    /// This side's part of the handshake.
    pub local: &'a Local,
    /// Who may be the peer.
    pub policy: &'a Policy,
    /// When there has to be one.
    pub deadline: &'a Deadline,
    /// How long each step on the way there may take.
    pub limits: Limits,
    /// Where it is said how that goes.
    pub report: &'a Report,
    /// The session's memory.
    pub buffers: Buffers,
}

/// A peer whose handshake is done.
pub struct Established {
    /// The connection, registered as [`LINK`].
    pub link: Link,
    /// The session, not begun.
    pub session: Session,
    /// What this side still waits for, or already has.
    pub opening: Opening,
    /// How long the other end may take.
    pub limits: Limits,
    /// What replaces a lost connection, where both ends have agreed on that.
    pub reconnect: Option<Reconnect>,
}

/// The listener's opening of its commitment.
pub enum Opening {
    /// The listener has the words: they are shown before OPEN leaves.
    Ours(Sas),
    /// The connector has them when OPEN comes, which has to be by then; what it comes to
    /// if it does not.
    Theirs(Instant, Unopened),
}

impl Established {
    /// A listener's peer.
    fn listener(
        poller: &Poller,
        mut link: Link,
        accepted: Accepted,
        setup: Setup<'_>,
    ) -> Result<Self, Error> {
        link.rewatch(poller, LINK)?;
        let (session, sas) = Session::listener(accepted, setup.buffers, Instant::now())?;
        let limits = setup.limits;
        Ok(Established { link, session, opening: Opening::Ours(sas), limits, reconnect: None })
    }

    /// A connector's peer, which owes OPEN until `open_by`.
    fn connector(link: Link, connected: Connected, open_by: Instant, setup: Setup<'_>) -> Self {
        let session = Session::connector(connected, setup.buffers);
        let opening = Opening::Theirs(open_by, attempt::unopened(setup.policy));
        Established { link, session, opening, limits: setup.limits, reconnect: None }
    }

    /// A connector's peer, whose addresses are dialled again when the connection is lost, if
    /// both ends have agreed on that.
    fn redialled(self, to: &Target) -> Result<Self, Error> {
        let Some(within) = self.limits.away.filter(|_| self.session.may_reconnect()) else {
            return Ok(self);
        };
        let mut addresses = to.addresses.clone();
        let in_use = addresses.iter().position(|address| Some(*address) == self.link.peer());
        if let Some(at) = in_use {
            addresses[..=at].rotate_right(1); // to the front
        }
        let times = self.limits.reconnect;
        let dialer = Reconnect::dialer(&self.link, addresses, &to.sources, within, times);
        let reconnect = Some(dialer.map_err(|err| Error::System("socket", err))?);
        Ok(Established { reconnect, ..self })
    }
}
