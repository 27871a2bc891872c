//! The rules of a session: which frame may come when, and what is owed to the
//! peer. Bytes go in and out through [`Outbound`] and [`Inbound`]; the time and
//! randomness come in as arguments.
//!
//! A side is finished when it has sent EOF and DONE and received EOF and DONE.
//! Nothing else is an end.

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

/// When the connector starts a ratchet, how often the listener lets it, and what is kept
/// for another connection.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Connector: time after the last one, or after OPEN, if data has moved since.
    pub interval: Duration,
    /// Connector: bytes of data in either direction after the last one.
    pub bytes: u64,
    /// Listener: time for each, of which [`BURST`] may be used at once.
    pub spacing: Duration,
    /// Bytes of sealed frames that are kept for another connection, at which no more
    /// input is taken.
    pub kept: u64,
    /// Bytes of the peer's frames until they are acknowledged at once.
    pub unacknowledged: u64,
}

impl Schedule {
    /// What scat-protocol(7) says: 120 s, 2^36 bytes; one a second; 64 MiB; 256 KiB.
    pub const STANDARD: Schedule = Schedule {
        interval: Duration::from_secs(120),
        bytes: 1 << 36,
        spacing: Duration::from_secs(1),
        kept: 1 << 26,
        unacknowledged: 1 << 18,
    };
}

/// Ratchets that a listener answers at once.
pub const BURST: u32 = 16;
/// Bytes of frames that every listener can read although its output takes nothing.
const HELD: u64 = 1 << 18;
/// From one frame to the next that shows anew that a listener is alive.
const SIGN: Duration = Duration::from_secs(60);
/// Such frames until REKEY2 is overdue.
const SIGNS: u32 = 60;

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
    /// A person left before the words were compared.
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
    /// REKEY1 was answered, or REKEY2 came: the keys of one or both directions are new.
    Ratchet,
    /// Nothing for the loop: ACK, REKEY3, or a REKEY1 that this side no longer answers.
    Control,
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
    /// A message of the ratchet does not verify.
    Ratchet(noise::Error),
    /// What the peer lacks after a lost connection is not kept any more: neither end is
    /// to blame.
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

/// The memory of a session's two directions: to be had before the peer is met, so that
/// no peer is taken and then lost for want of it.
pub struct Buffers {
    outbound: Box<[u8]>,
    inbound: Box<[u8]>,
}

impl Buffers {
    /// About 1.3 MB, none of which is touched yet.
    ///
    /// # Errors
    /// There is no memory.
    pub fn new() -> Result<Self, TryReserveError> {
        Ok(Buffers { outbound: zeroed(outbound::CAPACITY)?, inbound: zeroed(inbound::CAPACITY)? })
    }
}

fn zeroed(len: usize) -> Result<Box<[u8]>, TryReserveError> {
    // Only reserving may fail without ending the process, and only a zeroed vector is had
    // without touching it: so the one right behind the other.
    Vec::<u8>::new().try_reserve_exact(len)?;
    Ok(vec![0; len].into())
}

/// What became of a frame.
enum Opened {
    /// All that it asks for is done.
    Event(Event),
    /// It is a REKEY1 to be answered: its content.
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
    /// Connector: what OPEN must fit, until it has come.
    commitment: Option<Commitment>,
    /// Connector: REKEY1 on its way, until it is answered.
    asked: Option<Asked>,
    /// Listener: when the ratchets so far would have come at an even pace.
    paced_to: Option<Instant>,
    /// Listener: the key to receive with from REKEY3 on, until that has come.
    next_c2l: Option<Secret>,
    /// Nothing of the stream may move before a person has accepted the peer.
    unconfirmed: bool,
    /// The output has yet to say that what was written is stored.
    unstored: bool,
    sent: Ends,
    received: Ends,
    /// Bytes that a socket took, each counted once.
    drained: u64,
    /// Where a lost connection may be replaced.
    resumption: Option<Resumption>,
    /// Bytes for the socket up to the end of EOF and DONE, as far as they are sealed.
    told_at: u64,
    /// Bytes of space that the last read had.
    offered: usize,
    /// The last read filled its space: the connection may hold more.
    is_behind: bool,
    /// DATA or EOF has come.
    peer_streams: bool,
    /// The first of it was DATA without content: a person there has accepted.
    peer_accepted: bool,
    /// ABORT is sealed: nothing may follow.
    abort_sent: bool,
    /// ABORT or a frame that is not allowed was received: nothing more is opened.
    receive_closed: bool,
    counters: Counters,
    /// When the present keys came into use; for a connector, not before OPEN.
    keyed_at: Option<Instant>,
    /// The counters at that moment.
    keyed_with: Counters,
}

/// A REKEY1, and the signs that a listener has read it and does not answer.
struct Asked {
    /// Bytes for the socket up to its end.
    end: u64,
    /// EOF was not sealed before it.
    before_eof: bool,
    /// Frames that came since, each [`SIGN`] or more after the one before.
    signs: u32,
    last_sign: Option<Instant>,
}

/// What a session has so that it can go on over another connection.
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
    /// The connector's side. It sends nothing but ABORT before OPEN has come.
    pub fn connector(connected: Connected, buffers: Buffers) -> Self {
        let Connected { keys, peer, h1, commit } = connected;
        let commitment = Commitment { h1, h3: keys.h3, commit };
        Session::new(Role::Connector, peer, keys, Some(commitment), buffers)
    }

    /// The listener's side, OPEN its first frame. Because it takes [`Accepted`], no
    /// opening is revealed twice.
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

    /// The same with another schedule than [`Schedule::STANDARD`], for tests.
    pub fn with_schedule(self, schedule: Schedule) -> Self {
        Session { schedule, ..self }
    }

    /// Which end this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Who is at the other end, by its static key.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// What seals the frames.
    pub fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// Bytes of data so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How many ratchets there were.
    pub fn ratchets(&self) -> u64 {
        self.ratchet.finished()
    }

    /// When the present keys came into use; `None` at a connector before OPEN.
    pub fn keyed_at(&self) -> Option<Instant> {
        self.keyed_at
    }

    // The way out.

    /// Whether more of the input may be taken now.
    pub fn wants_input(&self) -> bool {
        // One that reads nothing hears of no ACK: it goes on, and lets the oldest go.
        let may_keep = self
            .resumption
            .as_ref()
            .is_none_or(|it| it.kept.amount() < self.schedule.kept || !self.inbound.has_space());
        self.may_stream() && !self.sent.eof && self.outbound.has_room() && may_keep
    }

    /// Where the next bytes of input go; `None` unless [`Session::wants_input`], so that a
    /// read of no bytes is the end of the input and nothing else.
    pub fn room(&mut self) -> Option<[IoSliceMut<'_>; SLOTS]> {
        self.wants_input().then(|| self.outbound.room())
    }

    /// The input gave `n` bytes, now at the start of [`Session::room`].
    ///
    /// # Errors
    /// [`Error::Frame`] after 2^64 - 1 frames.
    pub fn filled(&mut self, n: usize) -> Result<(), Error> {
        self.outbound.filled(n)?;
        self.counters.sent += n as u64;
        Ok(())
    }

    /// The input has ended.
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

    /// Whether the input's end is sealed.
    pub fn input_ended(&self) -> bool {
        self.sent.eof
    }

    /// Ends the session early, behind what is sealed already. One that is
    /// finished has nothing more to say.
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

    /// What waits for the socket, or the first part of it.
    pub fn sealed(&self) -> &[u8] {
        match &self.resumption {
            Some(Resumption { kept, .. }) if !kept.lacking().is_empty() => kept.lacking(),
            _ => self.outbound.sealed(),
        }
    }

    /// The socket took the first `n` bytes of [`Session::sealed`].
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

    /// The socket takes nothing any more, and no other one will: what waits for it is
    /// thrown away.
    pub fn lost(&mut self) {
        self.resumption = None;
        self.outbound.drained(self.outbound.sealed().len());
    }

    /// Bytes for the socket so far, taken or not.
    fn sealed_at(&self) -> u64 {
        self.drained + self.outbound.sealed().len() as u64
    }

    // The way in.

    /// Whether more can be received now.
    pub fn has_space(&self) -> bool {
        self.inbound.has_space()
    }

    /// Where the next bytes from the socket go; empty while the buffer is full.
    pub fn space(&mut self) -> &mut [u8] {
        let space = self.inbound.space();
        self.offered = space.len();
        space
    }

    /// The socket gave `n` bytes.
    pub fn received(&mut self, n: usize) {
        self.inbound.received(n);
        self.is_behind = n == self.offered;
    }

    /// Whether another frame can be opened: the peer has not ended by ABORT, nor broken
    /// a rule.
    pub fn may_open(&self) -> bool {
        !self.receive_closed
    }

    /// Opens the next frame, if all of it is here, and does what it asks for. `fresh`
    /// gives the random values for the answer to a REKEY1.
    ///
    /// # Errors
    /// [`Error`]: the session cannot go on, and the peer is to be told
    /// [`Reason::Protocol`]. Those of `fresh`. After them, and after the peer's ABORT,
    /// nothing more is opened.
    pub fn open<E: From<Error>>(
        &mut self,
        now: Instant,
        fresh: impl FnOnce() -> Result<Ephemerals, E>,
    ) -> Result<Option<Event>, E> {
        if self.receive_closed {
            return Ok(None);
        }
        // Only a frame that is allowed lets another one follow.
        self.receive_closed = true;
        let event = match self.open_next(now)? {
            Some(Opened::Event(event)) => Some(event),
            Some(Opened::Request(rekey1)) => Some(self.answer_ratchet(&rekey1, fresh()?)?),
            None => None,
        };
        self.receive_closed = matches!(event, Some(Event::Abort(_)));
        Ok(event)
    }

    /// Checks a frame's shape, and leaves its rules to the function for its kind.
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
                // A code that does not exist yet is an ABORT all the same.
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

    /// The frame just opened keeps the rules.
    fn accept(&mut self, kind: Kind, now: Instant) {
        let len = self.inbound.accept();
        if let Some(Resumption { owed, .. }) = &mut self.resumption {
            owed.note(len, kind == Kind::Ack, now);
        }
        // An ACK may be an old one that is sent again, and shows nothing.
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
        // It comes after our EOF was read, and so REKEY1 before that.
        if self.asked.as_ref().is_some_and(|asked| asked.before_eof) {
            return Err(Error::Rule("DONE before REKEY2"));
        }
        self.received.done = true;
        Ok(Event::Done)
    }

    /// Connector: the listener opens its commitment.
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

    /// Listener: whether REKEY1, which has come, is to be answered.
    fn open_rekey1(&mut self, now: Instant) -> Result<bool, Error> {
        let is_our_turn = self.role == Role::Listener && self.next_c2l.is_none();
        if !is_our_turn || self.received.both() {
            return Err(Error::Rule("REKEY1 out of turn"));
        }
        pace(&mut self.paced_to, self.schedule.spacing, now)?;
        // After both of its own ends, a listener has nothing left to protect.
        Ok(!self.sent.both() && !self.abort_sent)
    }

    /// Listener: answers REKEY1 with REKEY2, and seals with the new key behind it.
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

    /// Connector: receives with the new key from here on, and answers REKEY2 with REKEY3,
    /// behind which it seals with the new key.
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

    /// So much of this side's frames has verified at the peer.
    fn open_ack(&mut self, count: u64) -> Result<Event, Error> {
        let resumption = self.resumption.as_mut().ok_or(Error::Rule("ACK unasked"))?;
        resumption.kept.acknowledge(count)?;
        Ok(Event::Control)
    }

    /// A frame came. If it is not the answer to REKEY1, it is a sign that the listener is
    /// alive; but one whose output is stuck reads on only as long as it has room.
    fn note_sign(&mut self, now: Instant) {
        let Some(asked) = &mut self.asked else { return };
        let has_left = self.drained >= asked.end;
        let can_be_read = self.received.done || asked.end <= HELD;
        if has_left && can_be_read && asked.last_sign.is_none_or(|last| now >= last + SIGN) {
            asked.signs += 1;
            asked.last_sign = Some(now);
        }
    }

    /// Connector: whether REKEY2 is overdue, so that the keys would stay old in silence.
    /// Time alone does not tell: a listener that is stopped, or whose output is stuck,
    /// need not have read REKEY1. These do, while what comes is read to its end: as many
    /// bytes were taken behind it as make the next exchange due; or frames have come
    /// through 60 minutes from a listener that has nothing to hold.
    pub fn is_ratchet_overdue(&self) -> bool {
        self.asked.as_ref().is_some_and(|asked| {
            let taken = self.drained.saturating_sub(asked.end);
            !self.is_behind && (taken >= self.schedule.bytes || asked.signs >= SIGNS)
        })
    }

    /// Whether bytes wait for the output and may be written. What was authentic
    /// stays so after our own ABORT.
    pub fn wants_output(&self) -> bool {
        !self.unconfirmed && self.commitment.is_none() && self.inbound.plain_len() > 0
    }

    /// The next pieces for the output, in order; unused places are empty.
    pub fn plain(&self) -> [IoSlice<'_>; PIECES] {
        self.inbound.plain()
    }

    /// The output took the first `n` bytes of [`Session::plain`].
    ///
    /// # Errors
    /// [`Error::Frame`] after 2^64 - 1 frames.
    pub fn written(&mut self, n: usize) -> Result<(), Error> {
        self.inbound.written(n);
        self.counters.written += n as u64;
        self.acknowledge()
    }

    /// Throws away what waits for the output. It stays received, and is not written.
    pub fn discard(&mut self) {
        self.inbound.discard();
    }

    /// Whether anything of the peer's stream has come. A side that asks its person sends
    /// nothing of it before that.
    pub fn peer_streams(&self) -> bool {
        self.peer_streams
    }

    /// Whether the peer's data has ended.
    pub fn peer_has_ended(&self) -> bool {
        self.received.eof
    }

    /// Whether the other end has said that its person accepted this side. One that asks
    /// nobody says nothing of the kind.
    pub fn peer_accepted(&self) -> bool {
        self.peer_accepted
    }

    /// Whether the peer's data has ended, may be written out, and is.
    pub fn output_ended(&self) -> bool {
        !self.unconfirmed && self.received.eof && self.inbound.plain_len() == 0
    }

    // Another connection.

    /// Whether the session can go on over another connection: agreed on, and no ABORT was
    /// sealed or opened.
    pub fn may_reconnect(&self) -> bool {
        self.resumption.is_some() && !self.abort_sent && !self.receive_closed
    }

    /// Whether OPEN has passed.
    pub fn is_open(&self) -> bool {
        self.commitment.is_none()
    }

    /// Connector: R1 for another connection, with the fresh nonce `n_c`. Until the attempt
    /// is over nothing may be received.
    pub fn ask(&self, n_c: &[u8; reconnect::NONCELEN]) -> Option<(reconnect::Asked, [u8; R1_LEN])> {
        let Resumption { tickets, owed, .. } = self.resumption.as_ref()?;
        Some(tickets.ask(n_c, owed.verified()))
    }

    /// Listener: answers R1 with R2, with the fresh nonce `n_l`. Until the attempt is over
    /// nothing may be received.
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

    /// Another connection is there: all goes on from where each side has the other's
    /// frames.
    ///
    /// # Errors
    /// [`Error::Rule`] if the peer cannot be there, [`Error::LetGo`].
    pub fn go_on(&mut self, from: Proven) -> Result<(), Error> {
        if let Some(Resumption { kept, .. }) = &mut self.resumption {
            kept.go_on(from.offset())?;
        }
        self.inbound.forget_rest();
        // The new connection may hold something.
        self.is_behind = true;
        Ok(())
    }

    /// When [`Session::send_ack`] has to be called, if an ACK is owed and may be sent.
    pub fn ack_at(&self, now: Instant) -> Option<Instant> {
        let Resumption { owed, acked_at, .. } = self.resumption.as_ref()?;
        let may_send = self.commitment.is_none() && !self.abort_sent && !self.is_finished();
        // No second one before the first has left: there is one place.
        let is_free = self.drained >= *acked_at;
        owed.due(self.schedule.unacknowledged, now).filter(|_| may_send && is_free)
    }

    /// Tells the peer how much of its frames has verified.
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

    /// Bytes up to the last frame other than ACK, as far as a socket took them.
    pub fn spoken(&self) -> u64 {
        match &self.resumption {
            Some(it) if self.drained <= it.acked_at => self.drained.min(it.spoke_at),
            _ => self.drained,
        }
    }

    /// Whether a socket took frames that the peer has to acknowledge and has not.
    pub fn wants_answer(&self) -> bool {
        self.resumption.as_ref().is_some_and(|it| self.spoken() > it.kept.acknowledged())
    }

    /// Bytes that have come to be acknowledged, here and there. More than before means
    /// that the connection is of use.
    pub fn progress(&self) -> u64 {
        self.resumption.as_ref().map_or(0, |it| it.owed.verified() + it.kept.acknowledged())
    }

    // The session as a whole.

    /// What is written is not stored by that alone: DONE waits for [`Session::stored`].
    pub fn await_store(&mut self) {
        self.unstored = true;
    }

    /// All that was written is stored. Call it when [`Session::output_ended`].
    ///
    /// # Errors
    /// [`Error::Frame`] after 2^64 - 1 frames.
    pub fn stored(&mut self) -> Result<(), Error> {
        self.unstored = false;
        self.acknowledge()
    }

    /// A person is to accept the peer first: nothing of the stream moves before
    /// [`Session::confirm`].
    pub fn hold(&mut self) {
        self.unconfirmed = true;
    }

    /// A person has accepted the peer: the stream may move, and begins with DATA that has
    /// no content, which tells the other end.
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

    /// Whether the peer has said (DONE) that it wrote out all that was sent.
    pub fn is_acknowledged(&self) -> bool {
        self.received.done
    }

    /// Whether the socket took our EOF and DONE, as far as they are sealed. A REKEY3
    /// behind them is no loss.
    pub fn has_told(&self) -> bool {
        self.drained >= self.told_at
    }

    /// Whether both ends of both directions are sealed and opened: nothing is
    /// left but to drain what is sealed.
    pub fn is_finished(&self) -> bool {
        self.sent.both() && self.received.both()
    }

    /// Whether this is a connector that may start a ratchet now: one at a time, after
    /// OPEN, before its own ends, and with room for REKEY1.
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

    /// When the connector has to call [`Session::start_ratchet`], if it may. Never while no
    /// data has moved under the present keys: REKEY1 on an idle line that is dead would
    /// keep TCP from sending keepalives.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let keyed_at = self.keyed_at.filter(|_| self.may_start_ratchet())?;
        let sent = self.counters.sent - self.keyed_with.sent;
        let received = self.counters.received - self.keyed_with.received;
        match sent.max(received) {
            0 => None,
            bytes if bytes >= self.schedule.bytes => Some(keyed_at),
            _ => keyed_at.checked_add(self.schedule.interval),
        }
    }

    /// Connector: starts a ratchet with REKEY1; does nothing unless
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

    /// Seals DONE as soon as it is true.
    fn acknowledge(&mut self) -> Result<(), Error> {
        if self.may_stream() && self.output_ended() && !self.unstored && !self.sent.done {
            self.outbound.control(Kind::Done, &[])?;
            self.sent.done = true;
            self.told_at = self.sealed_at();
        }
        Ok(())
    }
}

/// A peer that may ask for ratchet after ratchet would spend the listener's time: more
/// than [`BURST`] ahead of one each `spacing` are too many.
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
