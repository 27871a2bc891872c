//! From names and addresses to one authenticated peer.
//!
//! [`resolve`] looks up addresses. [`connect`] and [`listen`] return a peer whose
//! handshake is complete: the former tries addresses in turn (`dial`) and makes one
//! `attempt` after another, the latter chooses among any number of `candidate`s.
//! [`inherited`] does the same with a connection that another program made. [`link`] is
//! the connection itself, and [`reconnect`] replaces a lost one. `dialect` guesses which
//! protocol a non-scat peer speaks.

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

/// Time limits for the other end. Only `--idle` and `--reconnect` are options; tests use
/// shorter ones.
#[derive(Clone, Copy)]
pub struct Limits {
    /// For each step of the handshake.
    pub step: Duration,
    /// For a silent address, once another one has answered, or if `-w` tries both again.
    pub patience: Duration,
    /// Until a peer that acknowledges nothing counts as vanished.
    pub vanished: Duration,
    /// Until a session ends whose output nobody reads, if no data arrives.
    pub unread: Duration,
    /// For the peer to close, after this end has closed.
    pub close: Duration,
    /// `--idle`: until a session without data in either direction ends.
    pub idle: Option<Duration>,
    /// `--reconnect`: until a lost connection is given up.
    pub away: Option<Duration>,
    /// For a connection that replaces a lost one.
    pub reconnect: reconnect::Times,
    /// Until scat prints what it waits for.
    pub tell: Patience,
    /// For the reader of the last messages, before the process ends.
    pub last: Duration,
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
            last: Duration::from_secs(2),
        }
    }
}

/// What connecting, listening and then the session need.
pub struct Setup<'a> {
    /// This side's part of the handshake.
    pub local: &'a Local,
    /// The policy for the peer.
    pub policy: &'a Policy,
    /// When the handshake must be complete.
    pub deadline: &'a Deadline,
    /// Time limits of the steps.
    pub limits: Limits,
    /// Where progress is reported.
    pub report: &'a Report,
    /// Buffers of the session.
    pub buffers: Buffers,
}

/// A peer whose handshake is complete.
pub struct Established {
    /// The connection, registered as [`LINK`].
    pub link: Link,
    /// The session, not started yet.
    pub session: Session,
    /// The commitment's opening, or when it must arrive.
    pub opening: Opening,
    /// Time limits for the other end.
    pub limits: Limits,
    /// Replaces a lost connection, if both ends agreed on that.
    pub reconnect: Option<Reconnect>,
}

/// The opening of the listener's commitment.
pub enum Opening {
    /// At the listener: the words, shown before OPEN is sent.
    Ours(Sas),
    /// At the connector: when OPEN must arrive, and how to treat it if it does not.
    Theirs(Instant, Unopened),
}

impl Established {
    /// Makes a listener's peer.
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

    /// Makes a connector's peer, which must send OPEN before `open_by`.
    fn connector(link: Link, connected: Connected, open_by: Instant, setup: Setup<'_>) -> Self {
        let session = Session::connector(connected, setup.buffers);
        let opening = Opening::Theirs(open_by, attempt::unopened(setup.policy));
        Established { link, session, opening, limits: setup.limits, reconnect: None }
    }

    /// Lets a connector dial the addresses again if the connection is lost and both ends
    /// agreed on that.
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
