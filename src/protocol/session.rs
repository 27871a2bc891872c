//! The rules of a session: which frame may come when, and what is owed to the
//! peer. Pure: bytes go in and out through [`Outbound`] and [`Inbound`].
//!
//! A side is finished when it has sent EOF and DONE and received EOF and DONE.
//! Nothing else is an end.

use crate::protocol::frame::{self, Kind};
use crate::protocol::handshake::{Accepted, Connected, Keys, Peer};
use crate::protocol::inbound::{Inbound, PIECES};
use crate::protocol::noise::{self, Ephemerals};
use crate::protocol::outbound::Outbound;
use crate::protocol::ratchet::Ratchet;
use crate::protocol::role::Role;
use crate::protocol::sas::{self, Sas};
use crate::protocol::secret::Key;
use std::io::{self, IoSlice, IoSliceMut};
use std::time::Duration;

/// When the connector starts an exchange of fresh keys.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Time after the last one.
    pub interval: Duration,
    /// Bytes of data in either direction after the last one.
    pub bytes: u64,
}

impl Schedule {
    /// What scat-protocol(7) says: 120 s, 2^36 bytes.
    pub const STANDARD: Schedule = Schedule { interval: Duration::from_secs(120), bytes: 1 << 36 };
}

/// Why a side ends early, as ABORT tells the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// The words or the key were refused.
    Refused = 1,
    /// The output was closed.
    OutputClosed = 2,
    /// The peer broke the protocol, or somebody altered its bytes.
    Protocol = 3,
    /// A deadline passed.
    Timeout = 4,
    /// A person or a signal ended it.
    Interrupted = 5,
    /// Writing the output failed.
    OutputFailed = 6,
    /// Reading the input failed.
    InputFailed = 7,
}

impl Reason {
    fn new(code: u8) -> Option<Reason> {
        Some(match code {
            1 => Reason::Refused,
            2 => Reason::OutputClosed,
            3 => Reason::Protocol,
            4 => Reason::Timeout,
            5 => Reason::Interrupted,
            6 => Reason::OutputFailed,
            7 => Reason::InputFailed,
            _ => return None,
        })
    }
}

/// What a received frame means for the loop around the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Bytes wait for the output.
    Data,
    /// The listener opened its commitment, and it fits.
    Open(Sas),
    /// The peer's data has ended.
    Eof,
    /// The peer has written out everything that this side sent.
    Done,
    /// An exchange of fresh keys went a step on.
    Rekey,
    /// The peer ends the session early; nothing follows.
    Abort(Reason),
}

/// Why a session cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A frame does not verify or is malformed.
    Frame(frame::Error),
    /// A frame that is not allowed in this state: which one.
    Rule(&'static str),
    /// OPEN does not fit the commitment.
    Commitment,
    /// An exchange of fresh keys failed.
    Exchange(noise::Error),
    /// The operating system gave no randomness.
    Random,
}

impl From<frame::Error> for Error {
    fn from(error: frame::Error) -> Self {
        Error::Frame(error)
    }
}

impl From<noise::Error> for Error {
    fn from(error: noise::Error) -> Self {
        Error::Exchange(error)
    }
}

impl From<getrandom::Error> for Error {
    fn from(_: getrandom::Error) -> Self {
        Error::Random
    }
}

/// Bytes of data so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Taken from the input and sealed.
    pub sent: u64,
    /// Opened.
    pub received: u64,
    /// Taken by the output.
    pub written: u64,
}

/// Which of the frames that end a direction have passed, one way.
#[derive(Clone, Copy, Default)]
struct Ends {
    eof: bool,
    done: bool,
}

impl Ends {
    fn both(self) -> bool {
        self.eof && self.done
    }
}

/// One side of a session, from the end of the handshake.
pub struct Session {
    role: Role,
    peer: Peer,
    outbound: Outbound,
    inbound: Inbound,
    ratchet: Ratchet,
    schedule: Schedule,
    /// Connector: what OPEN must fit, until it came.
    unopened: Option<Unopened>,
    /// Listener: the key to receive with after REKEY3, while that is due.
    due: Option<Key>,
    /// Nothing of the stream may move before a person has accepted the peer.
    held: bool,
    sent: Ends,
    received: Ends,
    /// ABORT is sealed: nothing may follow.
    aborted: bool,
    /// ABORT or a frame out of order was received: nothing may follow.
    over: bool,
    counters: Counters,
    /// Counters at the last exchange.
    exchanged: Counters,
}

struct Unopened {
    h1: [u8; 32],
    h3: [u8; 32],
    commit: [u8; 32],
}

impl Session {
    /// The connector's side. It sends nothing but ABORT before OPEN has come.
    /// With `held`, nothing of the stream moves before [`Session::release`].
    pub fn connector(connected: Connected, schedule: Schedule, held: bool) -> Self {
        let Connected { keys, peer, h1, commit } = connected;
        let unopened = Unopened { h1, h3: keys.h3, commit };
        Session::new(Role::Connector, peer, keys, Some(unopened), schedule, held)
    }

    /// The listener's side, OPEN its first frame. By taking [`Accepted`] it makes
    /// sure that no opening is revealed twice.
    ///
    /// # Errors
    /// None that a peer can cause.
    pub fn listener(
        accepted: Accepted,
        schedule: Schedule,
        held: bool,
    ) -> Result<(Self, Sas), Error> {
        let Accepted { keys, peer, n_l } = accepted;
        let sas = Sas::new(&keys.h3, &n_l);
        let mut session = Session::new(Role::Listener, peer, keys, None, schedule, held);
        session.outbound.control(Kind::Open, &*n_l)?;
        Ok((session, sas))
    }

    fn new(
        role: Role,
        peer: Peer,
        keys: Keys,
        unopened: Option<Unopened>,
        schedule: Schedule,
        held: bool,
    ) -> Self {
        let (to_peer, from_peer) = match role {
            Role::Connector => (keys.c2l, keys.l2c),
            Role::Listener => (keys.l2c, keys.c2l),
        };
        Session {
            role,
            peer,
            outbound: Outbound::new(&to_peer),
            inbound: Inbound::new(&from_peer),
            ratchet: Ratchet::new(keys.rk, keys.h3),
            schedule,
            unopened,
            due: None,
            held,
            sent: Ends::default(),
            received: Ends::default(),
            aborted: false,
            over: false,
            counters: Counters::default(),
            exchanged: Counters::default(),
        }
    }

    /// Which end this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Who is at the other end, by its static key.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Bytes of data so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How many exchanges of fresh keys there were.
    pub fn exchanges(&self) -> u64 {
        self.ratchet.finished()
    }

    // The way out.

    /// Whether more of the input may be taken now.
    pub fn wants_input(&self) -> bool {
        self.may_stream() && !self.sent.eof && self.outbound.has_room()
    }

    /// Takes input by way of `read`, as [`Outbound::fill`].
    ///
    /// # Errors
    /// Those of `read`.
    ///
    /// # Panics
    /// Unless [`Session::wants_input`].
    pub fn fill(
        &mut self,
        read: impl FnOnce(&mut [IoSliceMut<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        // The one rule that must not be broken is not left to the caller.
        assert!(self.may_stream() && !self.sent.eof, "input taken before it may move");
        let filled = self.outbound.fill(read)?;
        self.counters.sent += filled as u64;
        Ok(filled)
    }

    /// The input has ended.
    ///
    /// # Errors
    /// None that a peer can cause.
    pub fn end_input(&mut self) -> Result<(), Error> {
        if self.may_stream() && !self.sent.eof {
            self.outbound.control(Kind::Eof, &[])?;
            self.sent.eof = true;
        }
        Ok(())
    }

    /// Whether the input's end is sealed.
    pub fn input_ended(&self) -> bool {
        self.sent.eof
    }

    /// Ends the session early, behind what is sealed already. One that is
    /// finished has nothing more to say.
    ///
    /// # Errors
    /// None that a peer can cause.
    pub fn abort(&mut self, reason: Reason) -> Result<(), Error> {
        if !self.aborted && !self.is_finished() {
            self.outbound.control(Kind::Abort, &[reason as u8])?;
            self.aborted = true;
        }
        Ok(())
    }

    /// What waits for the socket.
    pub fn sealed(&self) -> &[u8] {
        self.outbound.sealed()
    }

    /// The socket took the first `n` bytes of [`Session::sealed`].
    pub fn drained(&mut self, n: usize) {
        self.outbound.drained(n);
    }

    // The way in.

    /// Where the next bytes from the socket go; empty while the buffer is full.
    pub fn space(&mut self) -> &mut [u8] {
        self.inbound.space()
    }

    /// The socket gave `n` bytes.
    pub fn received(&mut self, n: usize) {
        self.inbound.received(n);
    }

    /// Opens the next frame, if all of it is here, and does what it asks for.
    ///
    /// # Errors
    /// [`Error`]: the session is over, and [`Reason::Protocol`] is to be told.
    /// After it, and after the peer's ABORT, nothing more is opened.
    pub fn open(&mut self) -> Result<Option<Event>, Error> {
        if self.over {
            return Ok(None);
        }
        // Only a frame that is in order leaves the way open for the next one.
        self.over = true;
        let event = self.open_next()?;
        self.over = matches!(event, Some(Event::Abort(_)));
        Ok(event)
    }

    fn open_next(&mut self) -> Result<Option<Event>, Error> {
        let Some((kind, content)) = self.inbound.open()? else {
            return Ok(None);
        };
        if self.unopened.is_some() && !matches!(kind, Kind::Open | Kind::Abort) {
            return Err(Error::Rule("a frame before OPEN"));
        }
        let event = match kind {
            Kind::Data => {
                if self.received.eof {
                    return Err(Error::Rule("DATA after EOF"));
                }
                self.counters.received += content.len() as u64;
                Event::Data
            }
            Kind::Eof => {
                empty(content)?;
                if self.received.eof {
                    return Err(Error::Rule("EOF twice"));
                }
                self.received.eof = true;
                self.acknowledge()?;
                Event::Eof
            }
            Kind::Done => {
                empty(content)?;
                if !self.sent.eof {
                    return Err(Error::Rule("DONE before our EOF"));
                }
                if self.received.done {
                    return Err(Error::Rule("DONE twice"));
                }
                self.received.done = true;
                Event::Done
            }
            Kind::Open => {
                let unopened = self.unopened.as_ref().ok_or(Error::Rule("OPEN unasked"))?;
                let n_l = content.try_into().map_err(|_| Error::Rule("OPEN's length"))?;
                if sas::commit(&unopened.h1, n_l) != unopened.commit {
                    return Err(Error::Commitment);
                }
                let sas = Sas::new(&unopened.h3, n_l);
                self.unopened = None;
                Event::Open(sas)
            }
            Kind::Abort => {
                let &[code] = content else {
                    return Err(Error::Rule("ABORT's length"));
                };
                // A code that does not exist yet is an ABORT all the same.
                Event::Abort(Reason::new(code).unwrap_or(Reason::Protocol))
            }
            Kind::Rekey1 => {
                let answer_due = self.role == Role::Listener && self.due.is_none();
                if !answer_due || self.received.both() {
                    return Err(Error::Rule("REKEY1 out of turn"));
                }
                // After both of its own ends, a listener has nothing left to protect.
                if !self.sent.both() && !self.aborted {
                    let (rekey2, fresh) = self.ratchet.answer(content, Ephemerals::random()?)?;
                    self.outbound.control(Kind::Rekey2, &rekey2)?;
                    self.outbound.switch(&fresh.l2c);
                    self.due = Some(fresh.c2l);
                    self.exchanged = self.counters;
                }
                Event::Rekey
            }
            Kind::Rekey2 => {
                if !self.ratchet.is_started() || self.received.both() {
                    return Err(Error::Rule("REKEY2 unasked"));
                }
                let fresh = self.ratchet.read_answer(content)?;
                self.inbound.switch(&fresh.l2c);
                if !self.is_finished() && !self.aborted {
                    self.outbound.control(Kind::Rekey3, &[])?;
                    self.outbound.switch(&fresh.c2l);
                }
                self.exchanged = self.counters;
                Event::Rekey
            }
            Kind::Rekey3 => {
                empty(content)?;
                let c2l = self.due.take().ok_or(Error::Rule("REKEY3 unasked"))?;
                self.inbound.switch(&c2l);
                Event::Rekey
            }
        };
        self.inbound.accept();
        Ok(Some(event))
    }

    /// Whether bytes wait for the output and may be written. What was authentic
    /// stays so after our own ABORT.
    pub fn wants_output(&self) -> bool {
        !self.held && self.unopened.is_none() && self.inbound.plain_len() > 0
    }

    /// The next pieces for the output, in order; unused places are empty.
    pub fn plain(&self) -> [IoSlice<'_>; PIECES] {
        self.inbound.plain()
    }

    /// The output took the first `n` bytes of [`Session::plain`].
    ///
    /// # Errors
    /// None that a peer can cause.
    pub fn written(&mut self, n: usize) -> Result<(), Error> {
        self.inbound.written(n);
        self.counters.written += n as u64;
        self.acknowledge()
    }

    /// Whether the peer's data has ended, may be written out, and is.
    pub fn output_ended(&self) -> bool {
        !self.held && self.received.eof && self.inbound.plain_len() == 0
    }

    // The session as a whole.

    /// A person has accepted the peer: the stream may move.
    ///
    /// # Errors
    /// None that a peer can cause.
    pub fn release(&mut self) -> Result<(), Error> {
        self.held = false;
        self.acknowledge()
    }

    /// Whether the peer has confirmed that it wrote out all that was sent.
    pub fn is_confirmed(&self) -> bool {
        self.received.done
    }

    /// Whether both ends of both directions are sealed and opened: nothing is
    /// left but to drain what is sealed.
    pub fn is_finished(&self) -> bool {
        self.sent.both() && self.received.both()
    }

    /// How long from now until an exchange of fresh keys is due, `since` being
    /// the time since the last one (or since OPEN); `None` where this side
    /// starts none now, or has no room for one before the outbound drains.
    pub fn exchange_due(&self, since: Duration) -> Option<Duration> {
        let may_start = self.role == Role::Connector
            && self.unopened.is_none()
            && !self.ratchet.is_started()
            && !self.sent.both()
            && !self.received.both()
            && !self.aborted
            && self.outbound.has_room();
        if !may_start {
            return None;
        }
        let sent = self.counters.sent - self.exchanged.sent;
        let received = self.counters.received - self.exchanged.received;
        if sent.max(received) >= self.schedule.bytes {
            return Some(Duration::ZERO);
        }
        Some(self.schedule.interval.saturating_sub(since))
    }

    /// Starts an exchange of fresh keys, unless the outbound is full: then the
    /// caller asks again when it has drained. Tells whether it has started.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn start_exchange(&mut self) -> Result<bool, Error> {
        if !self.outbound.has_room() {
            return Ok(false);
        }
        let rekey1 = self.ratchet.start(Ephemerals::random()?)?;
        self.outbound.control(Kind::Rekey1, &rekey1)?;
        Ok(true)
    }

    fn may_stream(&self) -> bool {
        !self.held && !self.aborted && self.unopened.is_none()
    }

    /// Seals DONE as soon as it is true.
    fn acknowledge(&mut self) -> Result<(), Error> {
        if self.may_stream() && self.output_ended() && !self.sent.done {
            self.outbound.control(Kind::Done, &[])?;
            self.sent.done = true;
        }
        Ok(())
    }
}

fn empty(content: &[u8]) -> Result<(), Error> {
    if content.is_empty() { Ok(()) } else { Err(Error::Rule("content in a bare frame")) }
}
