//! From names and addresses to one established peer.
//!
//! [`resolve`] asks for addresses; [`connect`] and [`listen`] turn them into a
//! peer whose handshake is done, the latter by way of many a `candidate`;
//! [`inherited`] does the same with a connection that somebody else made;
//! [`link`] is the connection itself.

mod candidate;
pub mod connect;
pub mod inherited;
pub mod link;
pub mod listen;
pub mod resolve;

use crate::error::Error;
use crate::event_loop::{EventLoop, LINK};
use crate::protocol::handshake::{Accepted, Connected};
use crate::protocol::sas::Sas;
use crate::protocol::session::{Buffers, Schedule, Session};
use link::Link;
use std::time::{Duration, Instant};

/// Time for each step of the handshake, and for each address while others remain.
const STEP: Duration = Duration::from_secs(10);

/// A peer whose handshake is done.
pub struct Established {
    /// The connection, registered as [`LINK`].
    pub link: Link,
    /// The session, not begun.
    pub session: Session,
    /// What this side still waits for, or already has.
    pub opening: Opening,
}

/// The listener's opening of its commitment.
pub enum Opening {
    /// The listener has the words: they are shown before OPEN leaves.
    Ours(Sas),
    /// The connector has them when OPEN comes, which has to be by then.
    Theirs(Instant),
}

impl Established {
    /// A listener's peer. `confirm` says whether a person is to accept it.
    fn listener(
        events: &EventLoop,
        mut link: Link,
        accepted: Accepted,
        confirm: bool,
        buffers: Buffers,
    ) -> Result<Self, Error> {
        link.reregister(events.registry(), LINK)?;
        let (session, sas) =
            Session::listener(accepted, Schedule::STANDARD, confirm, buffers, Instant::now())?;
        Ok(Established { link, session, opening: Opening::Ours(sas) })
    }

    /// A connector's peer, which owes OPEN until `open_by`.
    fn connector(
        link: Link,
        connected: Connected,
        confirm: bool,
        buffers: Buffers,
        open_by: Instant,
    ) -> Self {
        let session = Session::connector(connected, Schedule::STANDARD, confirm, buffers);
        Established { link, session, opening: Opening::Theirs(open_by) }
    }
}
