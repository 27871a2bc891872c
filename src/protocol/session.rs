//! The rules of a session: which frame is allowed when, and what this side owes the peer.
//! Bytes pass through [`Outbound`] and [`Inbound`]; the time and random values are
//! arguments.
//!
//! A side is finished when it has sent EOF and DONE and received EOF and DONE. Nothing
//! else ends a session successfully.

use crate::protocol::cipher::Cipher;
use crate::protocol::frame::{self, Kind};
use crate::protocol::handshake::{Accepted, Connected, Keys, Peer};
use crate::protocol::inbound::{self, Inbound, PIECES};
use crate::protocol::kept::{self, Kept, Owed};
use crate::protocol::noise::{self, Ephemerals};
use crate::protocol::outbound::{self, Outbound, SLOTS};
use crate::protocol::ratchet::{REKEY1_LEN, Ratchet};
use crate::protocol::reconnect::{self, Proven, R1_LEN, R2_LEN, Refused, Tickets};
use crate::protocol::role::Role;
use crate::protocol::sas::{self, Sas};
use crate::protocol::secret::Secret;
use std::collections::TryReserveError;
use std::fmt;
use std::io::{IoSlice, IoSliceMut};
use std::time::{Duration, Instant};

/// When the connector starts a ratchet, how often the listener allows one, and how much
/// is kept for another connection.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Connector: time after the last ratchet, or after OPEN, if data was sent or
    /// received since.
    pub interval: Duration,
    /// Connector: the same with reconnection, whether or not data was sent or received,
    /// because a missing answer shows that the connection may be dead.
    pub probe: Duration,
    /// Connector: bytes of data in either direction since the last ratchet.
    pub bytes: u64,
    /// Listener: time that each ratchet uses up; [`BURST`] of them may come at once.
    pub spacing: Duration,
    /// Bytes of sealed frames kept for another connection at which input stops.
    pub kept: u64,
    /// Bytes of the peer's frames after which an ACK is due at once.
    pub unacknowledged: u64,
}

impl Schedule {
    /// The values of scat-protocol(7): 120 s or 30 s, 2^36 bytes; one per second; 64 MiB;
    /// 256 KiB.
    pub const STANDARD: Schedule = Schedule {
        interval: Duration::from_secs(120),
        probe: Duration::from_secs(30),
        bytes: 1 << 36,
        spacing: Duration::from_secs(1),
        kept: 1 << 26,
        unacknowledged: 1 << 18,
    };
}

/// Ratchets that a listener answers at once.
pub const BURST: u32 = 16;
/// Bytes of frames that every listener can read while its output is blocked.
const HELD: u64 = 1 << 18;
/// Shortest time between two frames that each count as a sign of life from the listener.
const SIGN: Duration = Duration::from_secs(60);
/// Signs of life after which REKEY2 is overdue.
const SIGNS: u32 = 60;

/// Why a side ends early: the code of its ABORT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// The words or the key were refused.
    Refused = 1,
    /// The output was closed.
    OutputClosed = 2,
    /// The peer broke the protocol, or its bytes were altered.
    Protocol = 3,
    /// A deadline passed.
    Timeout = 4,
    /// The user or a signal ended it.
    Interrupted = 5,
    /// Writing the output failed.
    OutputFailed = 6,
    /// Reading the input failed.
    InputFailed = 7,
    /// The user left before the words were compared.
    Left = 8,
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
            8 => Reason::Left,
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
    /// REKEY1 was answered, or REKEY2 arrived: the keys of one or both directions are
    /// new.
    Ratchet,
    /// Nothing for the loop to do: ACK, REKEY3, or a REKEY1 that this side no longer
    /// answers.
    Control,
    /// The peer ends the session early; nothing follows.
    Abort(Reason),
}

/// Why a session cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A frame does not verify or is malformed.
    Frame(frame::Error),
    /// The named frame is not allowed in this state.
    Rule(&'static str),
    /// OPEN does not match the commitment.
    Commitment,
    /// A message of the ratchet does not verify.
    Ratchet(noise::Error),
    /// After a lost connection the peer needs bytes that are no longer kept. Neither end
    /// is to blame.
    LetGo,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Frame(frame::Error::Forged) => write!(f, "corrupted or forged data received"),
            Error::Frame(_) => write!(f, "malformed frame received"),
            Error::Rule(which) => write!(f, "protocol error: {which}"),
            Error::Commitment => {
                write!(f, "forged handshake: the opening does not fit the commitment")
            }
            Error::Ratchet(_) => write!(f, "protocol error: a bad key exchange"),
            Error::LetGo => write!(f, "too much was lost with the connection"),
        }
    }
}

impl From<frame::Error> for Error {
    fn from(error: frame::Error) -> Self {
        Error::Frame(error)
    }
}

impl From<noise::Error> for Error {
    fn from(error: noise::Error) -> Self {
        Error::Ratchet(error)
    }
}

impl From<kept::Error> for Error {
    fn from(error: kept::Error) -> Self {
        match error {
            kept::Error::Beyond => Error::Rule("an acknowledgement of what was not sent"),
            kept::Error::Back => Error::Rule("an acknowledgement that goes back"),
            kept::Error::LetGo => Error::LetGo,
        }
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

/// Which of the frames that end a direction one side has sent.
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

/// Buffers for both directions, allocated before a peer is accepted, so that an accepted
/// peer is never lost to a failed allocation.
pub struct Buffers {
    outbound: Box<[u8]>,
    inbound: Box<[u8]>,
}

impl Buffers {
    /// Allocates about 1.3 MB, none of which is touched yet.
    ///
    /// # Errors
    /// [`TryReserveError`]: out of memory.
    pub fn new() -> Result<Self, TryReserveError> {
        Ok(Buffers { outbound: zeroed(outbound::CAPACITY)?, inbound: zeroed(inbound::CAPACITY)? })
    }
}

fn zeroed(len: usize) -> Result<Box<[u8]>, TryReserveError> {
    // `vec![0; n]` (calloc) leaves its pages untouched but aborts when memory is out;
    // `try_reserve` reports that. So probe with the one and allocate with the other.
    Vec::<u8>::new().try_reserve_exact(len)?;
    Ok(vec![0; len].into())
}

/// Result of opening a frame.
enum Opened {
    /// Handled completely.
    Event(Event),
    /// A REKEY1 that must be answered: its content.
    Request(Box<[u8; REKEY1_LEN]>),
}

/// One side of a session, from the end of the handshake.
pub struct Session {
    role: Role,
    peer: Peer,
    cipher: Cipher,
    outbound: Outbound,
    inbound: Inbound,
    ratchet: Ratchet,
    schedule: Schedule,
    /// Connector: what OPEN must match, until it has arrived.
    commitment: Option<Commitment>,
    /// Connector: an unanswered REKEY1.
    asked: Option<Asked>,
    /// Listener: when the ratchets so far would be over at the allowed rate.
    paced_to: Option<Instant>,
    /// Listener: the key to receive with once REKEY3 has arrived.
    next_c2l: Option<Secret>,
    /// No data may pass before the user has accepted the peer.
    unconfirmed: bool,
    /// The output has not yet confirmed that everything written is stored.
    unstored: bool,
    sent: Ends,
    received: Ends,
    /// Bytes that a socket took, each counted once even if it was sent again.
    drained: u64,
    /// State for reconnections, if they were agreed on.
    resumption: Option<Resumption>,
    /// Bytes for the socket up to the end of EOF and DONE, as far as they are sealed.
    told_at: u64,
    /// Size of the space for the last read, in bytes.
    offered: usize,
    /// The last read filled its space, so the socket may hold more.
    is_behind: bool,
    /// DATA or EOF has arrived.
    peer_streams: bool,
    /// The first of them was empty DATA: the user there has accepted.
    peer_accepted: bool,
    /// ABORT is sealed; nothing may follow.
    abort_sent: bool,
    /// ABORT or a forbidden frame was received; nothing more is opened.
    receive_closed: bool,
    counters: Counters,
    /// When the current keys came into use; for a connector, not before OPEN.
    keyed_at: Option<Instant>,
    /// The counters at that moment.
    keyed_with: Counters,
}

/// A REKEY1, and the signs that the listener has read it without answering.
struct Asked {
    /// Bytes for the socket up to its end.
    end: u64,
    /// EOF was not yet sealed before it.
    before_eof: bool,
    /// Frames since then, each [`SIGN`] or more after the one before.
    signs: u32,
    last_sign: Option<Instant>,
}

/// What a session needs to continue over another connection.
struct Resumption {
    tickets: Tickets,
    kept: Kept,
    owed: Owed,
    /// Bytes for the socket up to the end of the last ACK, and up to the end of the last
    /// other frame before that.
    acked_at: u64,
    spoke_at: u64,
}

/// What the connector keeps to check OPEN.
struct Commitment {
    h1: [u8; 32],
    h3: [u8; 32],
    commit: [u8; 32],
}

impl Session {
    /// Starts the connector's side. Before OPEN has arrived it sends nothing but ABORT.
    pub fn connector(connected: Connected, buffers: Buffers) -> Self {
        let Connected { keys, peer, h1, commit } = connected;
        let commitment = Commitment { h1, h3: keys.h3, commit };
        Session::new(Role::Connector, peer, keys, Some(commitment), buffers)
    }

    /// Starts the listener's side, with OPEN as its first frame. It consumes
    /// [`Accepted`], so that no opening is revealed twice.
    ///
    /// # Errors
    /// [`Error::Frame`] if OPEN cannot be sealed; the cipher allows it.
    pub fn listener(
        accepted: Accepted,
        buffers: Buffers,
        now: Instant,
    ) -> Result<(Self, Sas), Error> {
        let Accepted { keys, peer, n_l } = accepted;
        let sas = Sas::new(&keys.h3, &n_l);
        let mut session = Session::new(Role::Listener, peer, keys, None, buffers);
        session.outbound.control(Kind::Open, &*n_l)?;
        session.keyed_at = Some(now);
        Ok((session, sas))
    }

    fn new(
        role: Role,
        peer: Peer,
        keys: Keys,
        commitment: Option<Commitment>,
        buffers: Buffers,
    ) -> Self {
        let (to_peer, from_peer) = match role {
            Role::Connector => (keys.c2l, keys.l2c),
            Role::Listener => (keys.l2c, keys.c2l),
        };
        let resumption = keys.kr.map(|kr| Resumption {
            tickets: Tickets::new(kr),
            kept: Kept::default(),
            owed: Owed::default(),
            acked_at: 0,
            spoke_at: 0,
        });
        Session {
            role,
            peer,
            cipher: keys.cipher,
            outbound: Outbound::new(keys.cipher, &to_peer, buffers.outbound),
            inbound: Inbound::new(keys.cipher, &from_peer, buffers.inbound),
            ratchet: Ratchet::new(keys.rk, keys.h3),
            schedule: Schedule::STANDARD,
            commitment,
            asked: None,
            paced_to: None,
            next_c2l: None,
            unconfirmed: false,
            unstored: false,
            sent: Ends::default(),
            received: Ends::default(),
            drained: 0,
            resumption,
            told_at: 0,
            offered: 0,
            is_behind: false,
            peer_streams: false,
            peer_accepted: false,
            abort_sent: false,
            receive_closed: false,
            counters: Counters::default(),
            keyed_at: None,
            keyed_with: Counters::default(),
        }
    }

    /// Uses another schedule than [`Schedule::STANDARD`], for tests.
    pub fn with_schedule(self, schedule: Schedule) -> Self {
        Session { schedule, ..self }
    }

    /// Returns which end this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Returns the other end's identity, its static key.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Returns the cipher of the frames.
    pub fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// Returns the bytes of data so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Returns how many ratchets have finished.
    pub fn ratchets(&self) -> u64 {
        self.ratchet.finished()
    }

    /// Returns when the current keys came into use; `None` at a connector before OPEN.
    pub fn keyed_at(&self) -> Option<Instant> {
        self.keyed_at
    }

    // Sending.

    /// Whether this side may read more input now.
    pub fn wants_input(&self) -> bool {
        // A side that cannot read sees no ACKs: it keeps sending and drops the oldest
        // kept bytes.
        let may_keep = self
            .resumption
            .as_ref()
            .is_none_or(|it| it.kept.amount() < self.schedule.kept || !self.inbound.has_space());
        self.may_stream() && !self.sent.eof && self.outbound.has_room() && may_keep
    }

    /// Returns where the next bytes of input go; `None` unless [`Session::wants_input`],
    /// so that a read of no bytes can only mean the end of the input.
    pub fn room(&mut self) -> Option<[IoSliceMut<'_>; SLOTS]> {
        self.wants_input().then(|| self.outbound.room())
    }

    /// Seals the `n` bytes of input that are now at the start of [`Session::room`].
    ///
    /// # Errors
    /// [`Error::Frame`] after 2^64 - 1 frames.
    pub fn filled(&mut self, n: usize) -> Result<(), Error> {
        self.outbound.filled(n)?;
        self.counters.sent += n as u64;
        Ok(())
    }

    /// Seals EOF: the input has ended.
    ///
    /// # Errors
    /// [`Error::Frame`] after 2^64 - 1 frames.
    pub fn end_input(&mut self) -> Result<(), Error> {
        if self.may_stream() && !self.sent.eof {
            self.outbound.control(Kind::Eof, &[])?;
            self.sent.eof = true;
            self.told_at = self.sealed_at();
        }
        Ok(())
    }

    /// Whether EOF is sealed.
    pub fn input_ended(&self) -> bool {
        self.sent.eof
    }

    /// Seals ABORT behind what is already sealed, unless this side is finished.
    ///
    /// # Errors
    /// [`Error::Frame`] after 2^64 - 1 frames.
    pub fn abort(&mut self, reason: Reason) -> Result<(), Error> {
        if !self.abort_sent && !self.is_finished() {
            self.outbound.control(Kind::Abort, &[reason as u8])?;
            self.abort_sent = true;
        }
        Ok(())
    }

    /// Returns what waits for the socket, or the first part of it.
    pub fn sealed(&self) -> &[u8] {
        match &self.resumption {
            Some(Resumption { kept, .. }) if !kept.lacking().is_empty() => kept.lacking(),
            _ => self.outbound.sealed(),
        }
    }

    /// Records that the socket took the first `n` bytes of [`Session::sealed`].
    pub fn drained(&mut self, n: usize) {
        if let Some(Resumption { kept, .. }) = &mut self.resumption {
            if !kept.lacking().is_empty() {
                return kept.resent(n);
            }
            kept.sent(&self.outbound.sealed()[..n]);
            if !self.inbound.has_space() {
                kept.let_go_beyond(self.schedule.kept);
            }
        }
        self.outbound.drained(n);
        self.drained += n as u64;
    }

    /// Drops what waits for the socket: the connection is lost and will not be replaced.
    pub fn lost(&mut self) {
        self.resumption = None;
        self.outbound.drained(self.outbound.sealed().len());
    }

    /// Returns the bytes sealed so far, whether or not a socket took them.
    fn sealed_at(&self) -> u64 {
        self.drained + self.outbound.sealed().len() as u64
    }

    // Receiving.

    /// Whether this side can receive more now.
    pub fn has_space(&self) -> bool {
        self.inbound.has_space()
    }

    /// Returns where the next bytes from the socket go; empty while the buffer is full.
    pub fn space(&mut self) -> &mut [u8] {
        let space = self.inbound.space();
        self.offered = space.len();
        space
    }

    /// Records `n` bytes from the socket.
    pub fn received(&mut self, n: usize) {
        self.inbound.received(n);
        self.is_behind = n == self.offered;
    }

    /// Whether another frame may be opened: the peer has neither sent ABORT nor broken a
    /// rule.
    pub fn may_open(&self) -> bool {
        !self.receive_closed
    }

    /// Opens the next frame, if it is complete, and does what it requires. `fresh`
    /// supplies the random values for the answer to a REKEY1.
    ///
    /// # Errors
    /// [`Error`]: the session has failed; send the peer [`Reason::Protocol`]. Errors of `fresh`.
    /// After either, and after the peer's ABORT, nothing more is opened.
    pub fn open<E: From<Error>>(
        &mut self,
        now: Instant,
        fresh: impl FnOnce() -> Result<Ephemerals, E>,
    ) -> Result<Option<Event>, E> {
        if self.receive_closed {
            return Ok(None);
        }
        // Opening continues only after a frame that is allowed.
        self.receive_closed = true;
        let event = match self.open_next(now)? {
            Some(Opened::Event(event)) => Some(event),
            Some(Opened::Request(rekey1)) => Some(self.answer_ratchet(&rekey1, fresh()?)?),
            None => None,
        };
        self.receive_closed = matches!(event, Some(Event::Abort(_)));
        Ok(event)
    }

    /// Checks a frame's shape; the function for its kind checks its rules.
    fn open_next(&mut self, now: Instant) -> Result<Option<Opened>, Error> {
        let Some((kind, content)) = self.inbound.open()? else {
            return Ok(None);
        };
        if self.commitment.is_some() && !matches!(kind, Kind::Open | Kind::Abort) {
            return Err(Error::Rule("a frame before OPEN"));
        }
        let event = match kind {
            Kind::Data => {
                let len = content.len();
                self.open_data(len)?
            }
            Kind::Eof => {
                empty(content)?;
                self.open_eof()?
            }
            Kind::Done => {
                empty(content)?;
                self.open_done()?
            }
            Kind::Open => {
                let n_l = content.try_into().map_err(|_| Error::Rule("OPEN's length"))?;
                self.open_open(n_l, now)?
            }
            Kind::Abort => {
                let &[code] = content else {
                    return Err(Error::Rule("ABORT's length"));
                };
                // An unknown code still is an ABORT.
                Event::Abort(Reason::new(code).unwrap_or(Reason::Protocol))
            }
            Kind::Rekey1 => {
                let rekey1 = content.try_into().map_err(|_| noise::Error::Length)?;
                if self.open_rekey1(now)? {
                    self.accept(kind, now);
                    return Ok(Some(Opened::Request(Box::new(rekey1))));
                }
                Event::Control
            }
            Kind::Rekey2 => {
                let rekey2 = content.to_vec();
                self.open_rekey2(&rekey2, now)?
            }
            Kind::Rekey3 => {
                empty(content)?;
                self.open_rekey3(now)?
            }
            Kind::Ack => {
                let count = content.try_into().map_err(|_| Error::Rule("ACK's length"))?;
                self.open_ack(u64::from_be_bytes(count))?
            }
        };
        self.accept(kind, now);
        Ok(Some(Opened::Event(event)))
    }

    /// Accepts the frame just opened.
    fn accept(&mut self, kind: Kind, now: Instant) {
        let len = self.inbound.accept();
        if let Some(Resumption { owed, .. }) = &mut self.resumption {
            owed.note(len, kind == Kind::Ack, now);
        }
        // An ACK may be an old one sent again, so it is no sign of life.
        if kind != Kind::Ack {
            self.note_sign(now);
        }
    }

    fn open_data(&mut self, len: usize) -> Result<Event, Error> {
        if self.received.eof {
            return Err(Error::Rule("DATA after EOF"));
        }
        self.peer_accepted |= !self.peer_streams && len == 0;
        self.peer_streams = true;
        self.counters.received += len as u64;
        Ok(Event::Data)
    }

    fn open_eof(&mut self) -> Result<Event, Error> {
        if self.received.eof {
            return Err(Error::Rule("EOF twice"));
        }
        self.peer_streams = true;
        self.received.eof = true;
        self.acknowledge()?;
        Ok(Event::Eof)
    }

    fn open_done(&mut self) -> Result<Event, Error> {
        if !self.sent.eof {
            return Err(Error::Rule("DONE before our EOF"));
        }
        if self.received.done {
            return Err(Error::Rule("DONE twice"));
        }
        // DONE follows the peer's reading of our EOF, and so of REKEY1 before it.
        if self.asked.as_ref().is_some_and(|asked| asked.before_eof) {
            return Err(Error::Rule("DONE before REKEY2"));
        }
        self.received.done = true;
        Ok(Event::Done)
    }

    /// Connector: checks the listener's opening.
    fn open_open(&mut self, n_l: [u8; 32], now: Instant) -> Result<Event, Error> {
        let Commitment { h1, h3, commit } =
            self.commitment.as_ref().ok_or(Error::Rule("OPEN unasked"))?;
        if sas::commit(h1, &n_l) != *commit {
            return Err(Error::Commitment);
        }
        let sas = Sas::new(h3, &n_l);
        self.commitment = None;
        self.keyed_at = Some(now);
        Ok(Event::Open(sas))
    }

    /// Listener: checks REKEY1 and returns whether it must be answered.
    fn open_rekey1(&mut self, now: Instant) -> Result<bool, Error> {
        let is_our_turn = self.role == Role::Listener && self.next_c2l.is_none();
        if !is_our_turn || self.received.both() {
            return Err(Error::Rule("REKEY1 out of turn"));
        }
        pace(&mut self.paced_to, self.schedule.spacing, now)?;
        // Once its EOF and DONE are sent, a listener has nothing left to protect.
        Ok(!self.sent.both() && !self.abort_sent)
    }

    /// Listener: answers REKEY1 with REKEY2, and then seals with the new key.
    fn answer_ratchet(
        &mut self,
        rekey1: &[u8; REKEY1_LEN],
        fresh: Ephemerals,
    ) -> Result<Event, Error> {
        let (rekey2, fresh) = self.ratchet.answer(rekey1, fresh)?;
        self.outbound.control(Kind::Rekey2, &rekey2)?;
        self.outbound.switch(&fresh.l2c);
        self.next_c2l = Some(fresh.c2l);
        self.keyed_with = self.counters;
        Ok(Event::Ratchet)
    }

    /// Connector: receives with the new key from here on, answers REKEY2 with REKEY3, and
    /// then seals with the new key.
    fn open_rekey2(&mut self, rekey2: &[u8], now: Instant) -> Result<Event, Error> {
        if !self.ratchet.is_started() || self.received.both() {
            return Err(Error::Rule("REKEY2 unasked"));
        }
        let fresh = self.ratchet.read_answer(rekey2)?;
        self.asked = None;
        self.inbound.switch(&fresh.l2c);
        if !self.is_finished() && !self.abort_sent {
            self.outbound.control(Kind::Rekey3, &[])?;
            self.outbound.switch(&fresh.c2l);
        }
        self.keyed_at = Some(now);
        self.keyed_with = self.counters;
        Ok(Event::Ratchet)
    }

    /// Listener: receives with the new key from here on.
    fn open_rekey3(&mut self, now: Instant) -> Result<Event, Error> {
        let c2l = self.next_c2l.take().ok_or(Error::Rule("REKEY3 unasked"))?;
        self.inbound.switch(&c2l);
        self.keyed_at = Some(now);
        Ok(Event::Control)
    }

    /// Handles an ACK: `count` bytes of this side's frames have verified at the peer.
    fn open_ack(&mut self, count: u64) -> Result<Event, Error> {
        let resumption = self.resumption.as_mut().ok_or(Error::Rule("ACK unasked"))?;
        resumption.kept.acknowledge(count)?;
        Ok(Event::Control)
    }

    /// Counts a frame as proof that the listener is alive without answering REKEY1. It
    /// counts at most once in [`SIGN`], and only if the listener had room to read REKEY1
    /// even with its output blocked.
    fn note_sign(&mut self, now: Instant) {
        let Some(asked) = &mut self.asked else { return };
        let has_left = self.drained >= asked.end;
        let can_be_read = self.received.done || asked.end <= HELD;
        if has_left && can_be_read && asked.last_sign.is_none_or(|last| now >= last + SIGN) {
            asked.signs += 1;
            asked.last_sign = Some(now);
        }
    }

    /// Connector: whether REKEY2 is overdue, so that the keys would silently stay old.
    ///
    /// Elapsed time is not enough: a suspended listener, or one with blocked output, may
    /// not have read REKEY1. So it is overdue only if everything received was read and
    /// either the socket took as many bytes since as make the next ratchet due, or frames
    /// have arrived through 60 minutes from a listener that nothing can block.
    pub fn is_ratchet_overdue(&self) -> bool {
        self.asked.as_ref().is_some_and(|asked| {
            let taken = self.drained.saturating_sub(asked.end);
            !self.is_behind && (taken >= self.schedule.bytes || asked.signs >= SIGNS)
        })
    }

    /// Whether bytes wait for the output and may be written. Data that verified stays
    /// valid after our own ABORT.
    pub fn wants_output(&self) -> bool {
        !self.unconfirmed && self.commitment.is_none() && self.inbound.plain_len() > 0
    }

    /// Returns the next pieces for the output, in order; unused places are empty.
    pub fn plain(&self) -> [IoSlice<'_>; PIECES] {
        self.inbound.plain()
    }

    /// Records that the output took the first `n` bytes of [`Session::plain`].
    ///
    /// # Errors
    /// [`Error::Frame`] after 2^64 - 1 frames.
    pub fn written(&mut self, n: usize) -> Result<(), Error> {
        self.inbound.written(n);
        self.counters.written += n as u64;
        self.acknowledge()
    }

    /// Drops what waits for the output. It counts as received but not as written.
    pub fn discard(&mut self) {
        self.inbound.discard();
    }

    /// Whether any of the peer's stream has arrived. A side that asks its user sends none
    /// of it before the user has accepted.
    pub fn peer_streams(&self) -> bool {
        self.peer_streams
    }

    /// Whether the peer's EOF has arrived.
    pub fn peer_has_ended(&self) -> bool {
        self.received.eof
    }

    /// Whether the peer has signalled that its user accepted this side. A side that asks
    /// nobody does not signal that.
    pub fn peer_accepted(&self) -> bool {
        self.peer_accepted
    }

    /// Whether the peer's data has ended and all of it is written out.
    pub fn output_ended(&self) -> bool {
        !self.unconfirmed && self.received.eof && self.inbound.plain_len() == 0
    }

    // Reconnection.

    /// Whether the session can continue over another connection: it was agreed on, and no
    /// ABORT was sealed or opened.
    pub fn may_reconnect(&self) -> bool {
        self.resumption.is_some() && !self.abort_sent && !self.receive_closed
    }

    /// Connector: starts an attempt with R1 and the fresh nonce `n_c`. Nothing may be
    /// received until the attempt is over.
    pub fn ask(&self, n_c: &[u8; reconnect::NONCELEN]) -> Option<(reconnect::Asked, [u8; R1_LEN])> {
        let Resumption { tickets, owed, .. } = self.resumption.as_ref()?;
        Some(tickets.ask(n_c, owed.verified()))
    }

    /// Listener: answers R1 with R2 and the fresh nonce `n_l`. Nothing may be received
    /// until the attempt is over.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn answer(
        &mut self,
        r1: &[u8; R1_LEN],
        n_l: &[u8; reconnect::NONCELEN],
    ) -> Result<(reconnect::Answered, [u8; R2_LEN]), Refused> {
        let Resumption { tickets, owed, .. } = self.resumption.as_mut().ok_or(Refused)?;
        tickets.answer(r1, n_l, owed.verified())
    }

    /// Switches to another connection, and continues each direction from where its
    /// receiver is.
    ///
    /// # Errors
    /// [`Error::Rule`] if the peer's offset is impossible, [`Error::LetGo`].
    pub fn go_on(&mut self, from: Proven) -> Result<(), Error> {
        if let Some(Resumption { kept, .. }) = &mut self.resumption {
            kept.go_on(from.offset())?;
        }
        self.inbound.forget_rest();
        // The new connection may already hold data.
        self.is_behind = true;
        Ok(())
    }

    /// Returns when to call [`Session::send_ack`], if an ACK is owed and allowed.
    pub fn ack_at(&self, now: Instant) -> Option<Instant> {
        let Resumption { owed, acked_at, .. } = self.resumption.as_ref()?;
        // There is one place for an ACK, so the previous one must have left.
        let may_send = !self.abort_sent && self.drained >= *acked_at;
        let at = owed.due(self.schedule.unacknowledged, now).filter(|_| may_send)?;
        // The peer waits for the ACK of its last frame.
        Some(if self.is_finished() { now } else { at })
    }

    /// Seals an ACK for the peer's frames that have verified.
    ///
    /// # Errors
    /// [`Error::Frame`] after 2^64 - 1 frames.
    pub fn send_ack(&mut self) -> Result<(), Error> {
        let sealed_at = self.sealed_at();
        if let Some(it) = &mut self.resumption {
            if it.acked_at < sealed_at {
                it.spoke_at = sealed_at;
            }
            self.outbound.control(Kind::Ack, &it.owed.settle().to_be_bytes())?;
            it.acked_at = sealed_at + frame::frame_len(8) as u64;
        }
        Ok(())
    }

    /// Returns the bytes up to the last frame other than ACK, as far as a socket took
    /// them.
    pub fn spoken(&self) -> u64 {
        match &self.resumption {
            Some(it) if self.drained <= it.acked_at => self.drained.min(it.spoke_at),
            _ => self.drained,
        }
    }

    /// Whether a socket took frames that the peer must acknowledge and has not.
    pub fn wants_answer(&self) -> bool {
        self.resumption.as_ref().is_some_and(|it| self.spoken() > it.kept.acknowledged())
    }

    /// Returns how many bytes have been acknowledged, in both directions together. If it
    /// grows, the connection works.
    pub fn progress(&self) -> u64 {
        self.resumption.as_ref().map_or(0, |it| it.owed.verified() + it.kept.acknowledged())
    }

    // The whole session.

    /// Delays DONE until [`Session::stored`], for an output where written is not yet
    /// stored.
    pub fn await_store(&mut self) {
        self.unstored = true;
    }

    /// Confirms that everything written is stored. Call it when
    /// [`Session::output_ended`].
    ///
    /// # Errors
    /// [`Error::Frame`] after 2^64 - 1 frames.
    pub fn stored(&mut self) -> Result<(), Error> {
        self.unstored = false;
        self.acknowledge()
    }

    /// Holds the stream back until the user has accepted the peer: see
    /// [`Session::confirm`].
    pub fn hold(&mut self) {
        self.unconfirmed = true;
    }

    /// The user has accepted the peer: releases the stream, which begins with empty DATA
    /// to tell the other end.
    ///
    /// # Errors
    /// [`Error::Frame`] after 2^64 - 1 frames.
    pub fn confirm(&mut self) -> Result<(), Error> {
        let was_held = std::mem::take(&mut self.unconfirmed);
        if was_held && self.may_stream() {
            self.outbound.control(Kind::Data, &[])?;
        }
        self.acknowledge()
    }

    /// Whether the peer has confirmed with DONE that it wrote out everything.
    pub fn is_acknowledged(&self) -> bool {
        self.received.done
    }

    /// Whether the socket took our EOF and DONE, as far as they are sealed. Losing a
    /// REKEY3 after them is harmless.
    pub fn has_told(&self) -> bool {
        self.drained >= self.told_at
    }

    /// Whether both directions have ended and both ends have confirmed it: only sealed
    /// bytes are left to send.
    pub fn is_finished(&self) -> bool {
        self.sent.both() && self.received.both()
    }

    /// Whether each side is finished and can know that the other is: the peer has
    /// acknowledged EOF and DONE, and an ACK for its own is sealed. Without reconnection
    /// nobody knows that.
    pub fn is_settled(&self) -> bool {
        self.is_finished()
            && self.resumption.as_ref().is_some_and(|Resumption { kept, owed, .. }| {
                kept.acknowledged() >= self.told_at && owed.is_settled()
            })
    }

    /// Whether this is a connector that may start a ratchet now: none is under way, OPEN
    /// has arrived, EOF and DONE are not both sent, and there is room for REKEY1.
    pub fn may_start_ratchet(&self) -> bool {
        self.role == Role::Connector
            && self.commitment.is_none()
            && !self.ratchet.is_started()
            && !self.sent.both()
            && !self.received.both()
            && !self.abort_sent
            && !self.receive_closed
            && self.outbound.has_room()
    }

    /// Returns when the connector has to call [`Session::start_ratchet`], if it may.
    /// Without reconnection there is no such time while no data was sent or received under
    /// the current keys: REKEY1 on a dead idle connection would keep TCP from sending
    /// keepalives.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let keyed_at = self.keyed_at.filter(|_| self.may_start_ratchet())?;
        let sent = self.counters.sent - self.keyed_with.sent;
        let received = self.counters.received - self.keyed_with.received;
        match sent.max(received) {
            bytes if bytes >= self.schedule.bytes => Some(keyed_at),
            _ if self.resumption.is_some() => keyed_at.checked_add(self.schedule.probe),
            0 => None,
            _ => keyed_at.checked_add(self.schedule.interval),
        }
    }

    /// Connector: starts a ratchet by sealing REKEY1; does nothing unless
    /// [`Session::may_start_ratchet`].
    ///
    /// # Errors
    /// [`Error::Frame`] after 2^64 - 1 frames.
    pub fn start_ratchet(&mut self, fresh: Ephemerals) -> Result<(), Error> {
        if !self.may_start_ratchet() {
            return Ok(());
        }
        let rekey1 = self.ratchet.start(fresh)?;
        self.outbound.control(Kind::Rekey1, &rekey1)?;
        self.asked = Some(Asked {
            end: self.sealed_at(),
            before_eof: !self.sent.eof,
            signs: 0,
            last_sign: None,
        });
        Ok(())
    }

    fn may_stream(&self) -> bool {
        !self.unconfirmed && !self.abort_sent && self.commitment.is_none()
    }

    /// Seals DONE as soon as everything is written and stored.
    fn acknowledge(&mut self) -> Result<(), Error> {
        if self.may_stream() && self.output_ended() && !self.unstored && !self.sent.done {
            self.outbound.control(Kind::Done, &[])?;
            self.sent.done = true;
            self.told_at = self.sealed_at();
        }
        Ok(())
    }
}

/// Limits the rate of ratchets, which cost a listener computation: one per `spacing`,
/// with [`BURST`] in advance.
fn pace(paced_to: &mut Option<Instant>, spacing: Duration, now: Instant) -> Result<(), Error> {
    let at = paced_to.map_or(now, |at| at.max(now)) + spacing;
    if at - now > spacing * BURST {
        return Err(Error::Rule("REKEY1 too often"));
    }
    *paced_to = Some(at);
    Ok(())
}

fn empty(content: &[u8]) -> Result<(), Error> {
    if content.is_empty() { Ok(()) } else { Err(Error::Rule("content in a bare frame")) }
}
