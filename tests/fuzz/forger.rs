//! A peer that has the keys and ignores all rules, against one session in either role. The
//! oracle is a second implementation of scat-protocol(7), which predicts for each frame whether
//! it is accepted, and for each call which bytes are sealed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use scat::protocol::cipher::Cipher;
use scat::protocol::frame::{self, MAX_CONTENT};
use scat::protocol::handshake::{Accepted, Connected, Keys, Peer};
use scat::protocol::noise::HandshakeState;
use scat::protocol::role::Role;
use scat::protocol::sas::{self, Sas};
use scat::protocol::secret::Secret;
use scat::protocol::session::{Buffers, Counters, Error, Event, Reason, Schedule, Session};
use scat_fuzz::input::Input;
use scat_fuzz::wire::{Chain, Direction, ephemerals, plaintext};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

const H1: [u8; 32] = [0x11; 32];
const H3: [u8; 32] = [0x13; 32];
const N_L: [u8; 32] = [0x10; 32];
const START: Chain = Chain { c2l: [1; 32], l2c: [2; 32], rk: [3; 32], hp: H3 };
/// A listener answers `BURST` exchanges at once, and then one per `SPACING`.
const SPACING: Duration = Duration::from_secs(1);
const BURST: u32 = 16;
const INTERVAL: Duration = Duration::from_secs(120);

// Frame types.
const DATA: u8 = 0;
const EOF: u8 = 1;
const DONE: u8 = 2;
const OPEN: u8 = 3;
const REKEY1: u8 = 4;
const REKEY2: u8 = 5;
const REKEY3: u8 = 6;
const ABORT: u8 = 7;

/// The model counts its time from here; a session takes an `Instant`.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Why a frame is fatal.
#[derive(Debug, PartialEq, Eq)]
enum Fatal {
    Forged,
    Malformed,
    Commitment,
    Rule,
}

impl From<Error> for Fatal {
    fn from(error: Error) -> Self {
        match error {
            Error::Frame(frame::Error::Forged) => Fatal::Forged,
            Error::Frame(_) => Fatal::Malformed,
            Error::Commitment => Fatal::Commitment,
            Error::Rule(_) | Error::Ratchet(_) => Fatal::Rule,
            Error::LetGo => unreachable!("no connection is lost here"),
        }
    }
}

/// Which of the frames that end a direction one side has sealed or opened.
#[derive(Clone, Copy, Default, PartialEq)]
struct Ends {
    eof: bool,
    done: bool,
}

const BOTH: Ends = Ends { eof: true, done: true };

/// A session by scat-protocol(7), in the simplest form.
struct Model {
    role: Role,
    chain: Chain,
    sealing: Direction,
    opening: Direction,
    held: bool,
    has_open: bool,
    /// Whether N_L opens the commitment.
    is_committed: bool,
    sent: Ends,
    received: Ends,
    has_aborted: bool,
    is_over: bool,
    /// A connector's exchange, and whether it had sealed EOF before.
    asked: Option<(HandshakeState, bool)>,
    next_c2l: Option<[u8; 32]>,
    /// Sealed bytes up to the end of REKEY2. Before they are drained, no peer can have its keys.
    unread: usize,
    exchanges: u8,
    /// How long the exchanges so far take at the rate that a listener allows.
    debt: Duration,
    debt_at: Duration,
    keyed_at: Option<Duration>,
    /// Received bytes, not opened yet.
    wire: Vec<u8>,
    /// Sealed bytes, not drained yet.
    sealed: Vec<u8>,
    /// Accepted data, and how much of it has been written.
    data: Vec<u8>,
    written: usize,
    discarded: usize,
    taken: u64,
}

impl Model {
    fn new(cipher: Cipher, role: Role, held: bool) -> Self {
        let (to, from) = match role {
            Role::Connector => (START.c2l, START.l2c),
            Role::Listener => (START.l2c, START.c2l),
        };
        let mut model = Model {
            role,
            chain: START,
            sealing: Direction::new(cipher, to),
            opening: Direction::new(cipher, from),
            held,
            has_open: role == Role::Listener,
            is_committed: true,
            sent: Ends::default(),
            received: Ends::default(),
            has_aborted: false,
            is_over: false,
            asked: None,
            next_c2l: None,
            unread: 0,
            exchanges: 0,
            debt: Duration::ZERO,
            debt_at: Duration::ZERO,
            keyed_at: None,
            wire: Vec::new(),
            sealed: Vec::new(),
            data: Vec::new(),
            written: 0,
            discarded: 0,
            taken: 0,
        };
        if role == Role::Listener {
            model.seal(OPEN, &N_L);
            model.keyed_at = Some(Duration::ZERO);
        }
        model
    }

    fn seal(&mut self, kind: u8, content: &[u8]) {
        assert!(!self.has_aborted, "a frame behind ABORT");
        let frame = self.sealing.seal(&plaintext(kind, content));
        self.sealed.extend(frame);
    }

    fn may_stream(&self) -> bool {
        !self.held && self.has_open && !self.has_aborted
    }

    fn waiting(&self) -> usize {
        self.data.len() - self.written - self.discarded
    }

    fn is_finished(&self) -> bool {
        self.sent == BOTH && self.received == BOTH
    }

    fn may_start(&self) -> bool {
        self.role == Role::Connector
            && self.has_open
            && self.asked.is_none()
            && self.sent != BOTH
            && self.received != BOTH
            && !self.has_aborted
            && !self.is_over
    }

    fn acknowledge(&mut self) {
        let is_written = self.received.eof && self.waiting() == 0;
        if is_written && self.may_stream() && !self.sent.done {
            self.seal(DONE, &[]);
            self.sent.done = true;
        }
    }

    fn end_input(&mut self) {
        if self.may_stream() && !self.sent.eof {
            self.seal(EOF, &[]);
            self.sent.eof = true;
        }
    }

    fn abort(&mut self, reason: Reason) {
        if !self.has_aborted && !self.is_finished() {
            self.seal(ABORT, &[reason as u8]);
            self.has_aborted = true;
        }
    }

    fn start(&mut self) {
        self.exchanges += 1;
        let (noise, rekey1) = self.chain.ask(self.exchanges);
        self.seal(REKEY1, &rekey1);
        self.asked = Some((noise, self.sent.eof));
    }

    /// Opens the next frame, and answers REKEY1.
    fn open(&mut self, now: Duration) -> Result<Option<Event>, Fatal> {
        if self.is_over {
            return Ok(None);
        }
        let Some((len, rest)) = self.wire.split_first_chunk() else { return Ok(None) };
        let len = usize::from(u16::from_be_bytes(*len));
        if len >= 19 && rest.len() < len {
            return Ok(None);
        }
        self.is_over = true;
        if len < 19 {
            return Err(Fatal::Malformed);
        }
        let plain = self.opening.open(&rest[..len]).ok_or(Fatal::Forged)?;
        self.wire.drain(..2 + len);
        let clen = usize::from(u16::from_be_bytes([plain[1], plain[2]]));
        let sizes =
            [None, Some(0), Some(0), Some(32), Some(1248), Some(1152), Some(0), Some(1), Some(8)];
        let (Some(size), Some(content)) =
            (sizes.get(usize::from(plain[0])), plain.get(3..3 + clen))
        else {
            return Err(Fatal::Malformed);
        };
        let has_size = size.is_none_or(|size| size == clen);
        if !has_size || !self.has_open && ![OPEN, ABORT].contains(&plain[0]) {
            return Err(Fatal::Rule);
        }
        let event = self.apply(plain[0], content, now)?;
        self.is_over = matches!(event, Event::Abort(_));
        Ok(Some(event))
    }

    fn apply(&mut self, kind: u8, content: &[u8], now: Duration) -> Result<Event, Fatal> {
        let is_connector = self.role == Role::Connector;
        Ok(match kind {
            DATA if !self.received.eof => {
                self.data.extend_from_slice(content);
                Event::Data
            }
            EOF if !self.received.eof => {
                self.received.eof = true;
                self.acknowledge();
                Event::Eof
            }
            DONE if self.sent.eof && !self.received.done => {
                // If EOF followed REKEY1, DONE must follow REKEY2.
                if self.asked.as_ref().is_some_and(|(_, is_behind_eof)| !is_behind_eof) {
                    return Err(Fatal::Rule);
                }
                self.received.done = true;
                Event::Done
            }
            OPEN if !self.has_open => {
                if content != N_L || !self.is_committed {
                    return Err(Fatal::Commitment);
                }
                self.has_open = true;
                self.keyed_at = Some(now);
                Event::Open(Sas::new(&H3, &N_L))
            }
            REKEY1 if !is_connector && self.next_c2l.is_none() && self.received != BOTH => {
                self.debt = self.debt.saturating_sub(now - self.debt_at) + SPACING;
                self.debt_at = now;
                if self.debt > BURST * SPACING {
                    return Err(Fatal::Rule);
                }
                if self.sent == BOTH || self.has_aborted {
                    return Ok(Event::Control);
                }
                let answer = self.chain.answer(content, self.exchanges + 1);
                let (rekey2, next) = answer.map_err(|_| Fatal::Rule)?;
                self.exchanges += 1;
                self.seal(REKEY2, &rekey2);
                self.unread = self.sealed.len();
                self.sealing.switch(next.l2c);
                self.next_c2l = Some(next.c2l);
                self.chain = next;
                Event::Ratchet
            }
            REKEY2 if self.asked.is_some() && self.received != BOTH => {
                let (noise, _) = self.asked.take().unwrap();
                let next = Chain::finish(noise, content).map_err(|_| Fatal::Rule)?;
                self.opening.switch(next.l2c);
                if !self.has_aborted {
                    self.seal(REKEY3, &[]);
                    self.sealing.switch(next.c2l);
                }
                self.chain = next;
                self.keyed_at = Some(now);
                Event::Ratchet
            }
            REKEY3 if self.next_c2l.is_some() => {
                self.opening.switch(self.next_c2l.take().unwrap());
                self.keyed_at = Some(now);
                Event::Control
            }
            ABORT => Event::Abort(match content[0] {
                1 => Reason::Refused,
                8 => Reason::Left,
                2 => Reason::OutputClosed,
                4 => Reason::Timeout,
                5 => Reason::Interrupted,
                6 => Reason::OutputFailed,
                7 => Reason::InputFailed,
                _ => Reason::Protocol,
            }),
            _ => return Err(Fatal::Rule),
        })
    }
}

/// The peer, which makes frames from everything that the model knows.
struct Forger {
    sealing: Direction,
    /// A connector's exchange, started from this chain.
    asked: Option<u8>,
    /// Bytes made, but not given to the session yet.
    wire: Vec<u8>,
}

struct Game {
    session: Session,
    model: Model,
    forger: Forger,
    now: Duration,
    /// Whether everything arrives and is opened at once.
    is_prompt: bool,
}

impl Game {
    fn new(input: &mut Input<'_>) -> Self {
        let options = input.byte();
        let (is_listener, held) = (options & 1 == 1, options & 2 == 2);
        let cipher = if options & 0x40 == 0 { Cipher::ChaChaPoly } else { Cipher::AesGcm };
        let keys = Keys {
            c2l: Secret::copy(&START.c2l),
            l2c: Secret::copy(&START.l2c),
            rk: Secret::copy(&START.rk),
            kr: None,
            h3: H3,
            cipher,
        };
        let peer = Peer { key: [0x50; 32], long_lived: false };
        let schedule =
            Schedule { interval: INTERVAL, bytes: 1 << 20, spacing: SPACING, ..Schedule::STANDARD };
        let buffers = Buffers::new().unwrap();
        let (role, session) = if is_listener {
            let accepted = Accepted { keys, peer, n_l: Secret::copy(&N_L) };
            let listener = Session::listener(accepted, buffers, *EPOCH);
            let (session, sas) = listener.unwrap();
            assert_eq!(sas, Sas::new(&H3, &N_L));
            (Role::Listener, session)
        } else {
            let mut commit = sas::commit(&H1, &N_L);
            if options & 8 == 8 {
                let bit = input.byte();
                commit[usize::from(bit / 8)] ^= 1 << (bit % 8);
            }
            let connected = Connected { keys, peer, h1: H1, commit };
            (Role::Connector, Session::connector(connected, buffers))
        };
        let mut session = session.with_schedule(schedule);
        if held {
            session.hold();
        }
        let mut model = Model::new(cipher, role, held);
        model.is_committed = options & 8 == 0;
        let mut forger = Forger { sealing: model.opening.clone(), asked: None, wire: Vec::new() };
        // Most games start after OPEN.
        if !is_listener && options & 4 == 0 {
            forger.wire = forger.sealing.seal(&plaintext(OPEN, &N_L));
        }
        let is_prompt = options & 0x10 == 0;
        let mut game = Game { session, model, forger, now: Duration::ZERO, is_prompt };
        // In most, the listener's OPEN has been drained.
        if options & 0x20 == 0 {
            game.drain(usize::MAX);
        }
        game
    }

    fn step(&mut self, input: &mut Input<'_>) {
        // Actions that end a session are rarer, so that most games last for a while.
        let action = input.byte();
        let is_bold = action >= 225;
        let model = &self.model;
        match action % 25 {
            0 => {
                let len = input.size().min(MAX_CONTENT);
                self.forge(DATA, &vec![self.now.subsec_nanos() as u8; len]);
            }
            1 if is_bold || !model.received.eof => self.forge(EOF, &[]),
            2 if is_bold || model.sent.eof && !model.received.done => self.forge(DONE, &[]),
            3 if is_bold || !model.has_open => {
                let mut n_l = N_L;
                let bit = input.byte();
                n_l[usize::from(bit / 8)] ^= input.byte() & 1 << (bit % 8);
                self.forge(OPEN, &n_l);
            }
            4 if is_bold => self.forge(ABORT, &[input.byte()]),
            5 => self.exchange(input),
            // Any type, with content of the right or another size.
            6 if is_bold => {
                let (kind, clen, len) = (input.byte(), input.short(), input.size());
                let mut plain = vec![kind, (clen >> 8) as u8, clen as u8];
                plain.extend_from_slice(input.take(len.min(2000)));
                plain.resize(len.clamp(plain.len(), 65_535 - 16), 0);
                self.forger.wire.extend(self.forger.sealing.seal(&plain));
            }
            // Bytes that no key has sealed.
            7 if is_bold => {
                let len = input.size().min(300);
                self.forger.wire.extend_from_slice(input.take(len));
            }
            // Flip one bit in flight.
            8 if is_bold => {
                let at = input.short();
                if let Some(byte) = self.forger.wire.get_mut(at) {
                    *byte ^= 1 << (input.byte() % 8);
                }
            }
            // The first bytes in flight are lost, or arrive twice.
            9 if is_bold => {
                let n = input.short().min(self.forger.wire.len());
                self.forger.wire.drain(..n);
            }
            10 if is_bold => {
                let n = input.short().min(self.forger.wire.len());
                self.forger.wire.extend_from_within(..n);
            }
            11 | 12 => self.give(input.size()),
            13 => drop(self.open()),
            14 => while self.open() {},
            15 => self.fill(if is_bold { usize::MAX } else { input.size() }),
            16 => {
                self.session.end_input().unwrap();
                self.model.end_input();
            }
            17 if is_bold => {
                let reason = input.pick(&[
                    Reason::Refused,
                    Reason::OutputClosed,
                    Reason::Protocol,
                    Reason::Timeout,
                    Reason::Interrupted,
                    Reason::OutputFailed,
                    Reason::InputFailed,
                    Reason::Left,
                ]);
                self.session.abort(reason).unwrap();
                self.model.abort(reason);
            }
            18 => self.drain(input.size()),
            19 => self.write(input.size()),
            20 => {
                self.session.confirm().unwrap();
                if std::mem::take(&mut self.model.held) && self.model.may_stream() {
                    self.model.seal(DATA, &[]);
                }
                self.model.acknowledge();
            }
            21 => {
                // Only a side that gives up drops received data.
                if self.model.has_aborted {
                    self.session.discard();
                    self.model.discarded += self.model.waiting();
                }
            }
            22 => {
                if self.session.may_start_ratchet() {
                    self.session.start_ratchet(ephemerals(self.model.exchanges + 1)).unwrap();
                    self.model.start();
                }
            }
            // Many exchanges in a row.
            23 if is_bold => {
                for _ in 0..input.byte() % 40 {
                    self.exchange(input);
                    self.give(usize::MAX);
                    while self.open() {}
                    self.drain(usize::MAX);
                }
            }
            _ => self.now += Duration::from_millis(100) * u32::from(input.byte()),
        }
    }

    fn drain(&mut self, most: usize) {
        let n = most.min(self.model.sealed.len());
        self.session.drained(n);
        self.model.sealed.drain(..n);
        self.model.unread = self.model.unread.saturating_sub(n);
    }

    fn forge(&mut self, kind: u8, content: &[u8]) {
        let frame = self.forger.sealing.seal(&plaintext(kind, content));
        self.forger.wire.extend(frame);
    }

    /// Sends a message of an exchange, in turn or not, whole, with one wrong bit, or cut.
    fn exchange(&mut self, input: &mut Input<'_>) {
        let (wrong, at) = (input.byte(), input.short());
        let spoil = |mut content: Vec<u8>| {
            let at = at % content.len();
            content[at] ^= 1u8.checked_shl(u32::from(255 - wrong)).unwrap_or(0);
            if wrong == 0 {
                content.truncate(at);
            }
            content
        };
        match self.model.role {
            // Answer the exchange that the session has started, if it has.
            Role::Connector if self.model.asked.is_some() => {
                let n = self.model.exchanges;
                let (_, rekey1) = self.model.chain.ask(n);
                let (rekey2, next) = self.model.chain.answer(&rekey1, n).unwrap();
                self.forge(REKEY2, &spoil(rekey2));
                self.forger.sealing.switch(next.l2c);
            }
            Role::Connector => self.forge(REKEY2, &[0; 1152]),
            // The session has answered, so switch. A bad REKEY3 has content.
            Role::Listener => match (self.forger.asked, self.model.next_c2l) {
                (Some(_), Some(c2l)) if self.model.unread == 0 => {
                    self.forger.asked = None;
                    self.forge(REKEY3, if wrong == 255 { &[0] } else { &[] });
                    self.forger.sealing.switch(c2l);
                }
                _ => {
                    let (_, rekey1) = self.model.chain.ask(input.byte());
                    self.forger.asked = Some(0);
                    self.forge(REKEY1, &spoil(rekey1));
                }
            },
        }
    }

    fn give(&mut self, most: usize) {
        let has_space = self.session.has_space();
        let space = self.session.space();
        assert_eq!(has_space, !space.is_empty());
        let n = most.min(space.len()).min(self.forger.wire.len());
        space[..n].copy_from_slice(&self.forger.wire[..n]);
        self.session.received(n);
        self.model.wire.extend(self.forger.wire.drain(..n));
    }

    /// Opens one frame, and returns whether the game may continue.
    fn open(&mut self) -> bool {
        assert_eq!(self.session.may_open(), !self.model.is_over);
        let n = self.model.exchanges + 1;
        let opened = self.session.open(*EPOCH + self.now, || Ok::<_, Error>(ephemerals(n)));
        let expected = self.model.open(self.now);
        assert_eq!(opened.map_err(Fatal::from), expected);
        matches!(expected, Ok(Some(_)))
    }

    fn fill(&mut self, most: usize) {
        let Some(mut room) = self.session.room() else { return };
        let (mut taken, mut filled) = (self.model.taken, Vec::new());
        // A piece is the content of one frame.
        let content = room[0].len().max(1);
        for piece in &mut room {
            let len = piece.len().min(most - filled.len());
            for byte in &mut piece[..len] {
                *byte = (taken % 251) as u8;
                filled.push(*byte);
                taken += 1;
            }
        }
        self.session.filled(filled.len()).unwrap();
        assert!(self.model.may_stream() && !self.model.sent.eof, "input taken too early or late");
        self.model.taken = taken;
        assert!(content <= MAX_CONTENT);
        for content in filled.chunks(content) {
            self.model.seal(DATA, content);
        }
    }

    fn write(&mut self, most: usize) {
        if !self.session.wants_output() {
            return;
        }
        let shown: Vec<u8> = self.session.plain().iter().flat_map(|piece| piece.to_vec()).collect();
        let waiting = &self.model.data[self.model.written + self.model.discarded..];
        assert!(!shown.is_empty() && waiting.starts_with(&shown), "other bytes come out");
        let n = most.min(shown.len());
        self.session.written(n).unwrap();
        self.model.written += n;
        self.model.acknowledge();
    }

    fn check(&self) {
        let (session, model) = (&self.session, &self.model);
        assert!(session.sealed() == model.sealed, "other bytes are sealed");
        assert_eq!(session.is_finished(), model.is_finished());
        assert_eq!(session.is_acknowledged(), model.received.done);
        assert_eq!(session.input_ended(), model.sent.eof);
        let may_write = !model.held && model.has_open;
        assert_eq!(session.wants_output(), may_write && model.waiting() > 0);
        let has_ended = !model.held && model.received.eof && model.waiting() == 0;
        assert_eq!(session.output_ended(), has_ended);
        let may_take = model.may_stream() && !model.sent.eof;
        // A full buffer takes nothing, and an empty one something.
        assert!(may_take || !session.wants_input());
        assert!(!may_take || session.wants_input() || !model.sealed.is_empty());
        assert!(model.may_start() || !session.may_start_ratchet());
        assert!(!model.may_start() || session.may_start_ratchet() || !model.sealed.is_empty());
        assert!(session.may_start_ratchet() || session.poll_timeout().is_none());
        if let Some(at) = session.poll_timeout() {
            assert!(at <= *EPOCH + model.keyed_at.unwrap() + INTERVAL);
        }
        let counters = Counters {
            sent: model.taken,
            received: model.data.len() as u64,
            written: model.written as u64,
        };
        assert_eq!(session.counters(), counters);
    }

    /// Delivers everything in flight, and writes it out; the peer sends nothing more.
    fn finish(&mut self) {
        loop {
            let left = (self.forger.wire.len(), self.model.waiting());
            self.give(usize::MAX);
            // A buffer full of empty frames takes nothing until they are opened.
            let mut has_opened = false;
            while self.open() {
                has_opened = true;
                self.check();
            }
            self.write(usize::MAX);
            self.check();
            if !has_opened && left == (self.forger.wire.len(), self.model.waiting()) {
                break;
            }
        }
        let is_stuck = self.model.held || !self.model.has_open || self.model.is_over;
        assert!(is_stuck || self.forger.wire.is_empty(), "came to a stand");
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let mut game = Game::new(&mut input);
    game.check();
    // More steps cost time and reach nothing new.
    for _ in 0..200 {
        if input.is_empty() {
            break;
        }
        game.step(&mut input);
        game.check();
        if game.is_prompt {
            game.give(usize::MAX);
            while game.open() {
                game.check();
            }
            game.check();
        }
    }
    game.finish();
});
