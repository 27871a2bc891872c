//! Both ends of a session in memory, the wires between them, and a peer that can forge any
//! frame with the session's own keys. No socket, no clock.

use scat::protocol::cipher::Cipher;
use scat::protocol::frame::{CONTENT_AT, Kind, Opener, Sealer, frame_len};
use scat::protocol::handshake::{Accepted, Connected, Keys, Peer};
use scat::protocol::ratchet::{Fresh, Ratchet};
use scat::protocol::role::Role;
use scat::protocol::sas;
use scat::protocol::secret::Secret;
use scat::protocol::session::{Buffers, Error, Event, Schedule, Session};
use scat::sys::random;
use std::collections::VecDeque;
use std::io::Read;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub const N_L: [u8; 32] = [0x10; 32];
pub const H1: [u8; 32] = [0x11; 32];
pub const H3: [u8; 32] = [0x13; 32];
pub const KR: [u8; 32] = [4; 32];
const PEER: Peer = Peer { key: [0x50; 32], long_lived: false };

/// No exchange of fresh keys unless a test starts one.
pub const NEVER: Schedule = Schedule {
    interval: Duration::MAX,
    probe: Duration::MAX,
    bytes: u64::MAX,
    spacing: Duration::ZERO,
    ..Schedule::STANDARD
};

fn key(byte: u8) -> Secret {
    Secret::copy(&[byte; 32])
}

/// The keys of both ends after the handshake.
pub fn keys() -> Keys {
    Keys { c2l: key(1), l2c: key(2), rk: key(3), kr: None, h3: H3, cipher: Cipher::ChaChaPoly }
}

/// The same if both agreed on reconnection.
pub fn lasting_keys() -> Keys {
    Keys { kr: Some(Secret::copy(&KR)), ..keys() }
}

pub fn connector(schedule: Schedule, held: bool) -> Session {
    connector_with(keys(), schedule, held)
}

pub fn connector_with(keys: Keys, schedule: Schedule, held: bool) -> Session {
    let connected = Connected { keys, peer: PEER, h1: H1, commit: sas::commit(&H1, &N_L) };
    let session = Session::connector(connected, Buffers::new().unwrap());
    prepared(session, schedule, held)
}

pub fn listener(held: bool) -> Session {
    listener_with(keys(), NEVER, held)
}

pub fn listener_with(keys: Keys, schedule: Schedule, held: bool) -> Session {
    let accepted = Accepted { keys, peer: PEER, n_l: Secret::copy(&N_L) };
    let listener = Session::listener(accepted, Buffers::new().unwrap(), start_time());
    prepared(listener.unwrap().0, schedule, held)
}

fn prepared(session: Session, schedule: Schedule, held: bool) -> Session {
    let mut session = session.with_schedule(schedule);
    if held {
        session.hold();
    }
    session
}

/// When every session here begins. The time stays the same unless a test changes it.
pub fn start_time() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// Opens the next frame.
pub fn open(session: &mut Session) -> Result<Option<Event>, Error> {
    open_at(session, start_time())
}

/// The same at time `now`.
pub fn open_at(session: &mut Session, now: Instant) -> Result<Option<Event>, Error> {
    session.open(now, || Ok(random::ephemerals().unwrap()))
}

/// Starts a ratchet.
pub fn start_ratchet(session: &mut Session) {
    session.start_ratchet(random::ephemerals().unwrap()).unwrap();
}

/// Whether a ratchet is due at the start.
pub fn is_ratchet_due(session: &Session) -> bool {
    session.poll_timeout().is_some_and(|at| at <= start_time())
}

/// A connector that has received OPEN, and its peer.
pub fn opened(schedule: Schedule, held: bool) -> (Session, Forger) {
    let mut session = connector(schedule, held);
    let mut peer = Forger::new(Role::Listener);
    peer.send(&mut session, Kind::Open, &N_L).unwrap();
    (session, peer)
}

/// A listener whose peer has read OPEN, and that peer.
pub fn accepted(held: bool) -> (Session, Forger) {
    let mut session = listener(held);
    let mut peer = Forger::new(Role::Connector);
    assert_eq!(peer.kinds(&mut session), [Kind::Open]);
    (session, peer)
}

/// Input without repetition.
pub fn bytes(len: usize, first: u8) -> Vec<u8> {
    let block: Vec<u8> = (0..251).map(|i| first.wrapping_add(i)).collect();
    let mut bytes = block.repeat(len.div_ceil(block.len()));
    bytes.truncate(len);
    bytes
}

/// Gives `bytes` to a session, which must have room for them, and opens nothing.
pub fn feed(session: &mut Session, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let space = session.space();
        let n = space.len().min(bytes.len());
        assert!(n > 0, "no room");
        space[..n].copy_from_slice(&bytes[..n]);
        session.received(n);
        bytes = &bytes[n..];
    }
}

/// Opens everything that has arrived.
pub fn open_all(session: &mut Session) -> Result<Vec<Event>, Error> {
    let mut events = Vec::new();
    while let Some(event) = open(session)? {
        events.push(event);
    }
    Ok(events)
}

/// Lets the session take `input`, which must fit.
pub fn fill(session: &mut Session, mut input: &[u8]) {
    while !input.is_empty() {
        assert!(session.wants_input(), "no room");
        let n = fill_some(session, input);
        input = &input[n..];
    }
}

fn fill_some(session: &mut Session, input: &[u8]) -> usize {
    let mut rest = input;
    for piece in session.room().iter_mut().flatten() {
        let (head, tail) = rest.split_at(piece.len().min(rest.len()));
        piece[..head.len()].copy_from_slice(head);
        rest = tail;
    }
    let n = input.len() - rest.len();
    session.filled(n).unwrap();
    n
}

/// Writes out at most `most` bytes.
pub fn write(session: &mut Session, most: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while session.wants_output() && out.len() < most {
        let mut now = Vec::new();
        for piece in session.plain() {
            let n = piece.len().min(most - out.len() - now.len());
            now.extend_from_slice(&piece[..n]);
        }
        assert!(!now.is_empty(), "wants output and has none");
        session.written(now.len()).unwrap();
        out.extend(now);
    }
    out
}

// ---- two sessions ----

/// One end, with its input and its output.
pub struct End {
    pub session: Session,
    pub input: Vec<u8>,
    pub taken: usize,
    pub output: Vec<u8>,
}

/// Capacity of a wire, in bytes.
const WIRE: usize = 300_000;

impl End {
    pub fn new(session: Session, input: Vec<u8>) -> Self {
        End { session, input, taken: 0, output: Vec::new() }
    }

    /// Each step handles at most `most` bytes and returns whether it did anything.
    fn fill(&mut self, most: usize) -> bool {
        if !self.session.wants_input() {
            return false;
        }
        let rest = &self.input[self.taken..];
        let n = fill_some(&mut self.session, &rest[..rest.len().min(most)]);
        self.taken += n;
        if n == 0 {
            self.session.end_input().unwrap();
        }
        true
    }

    fn send(&mut self, wire: &mut VecDeque<u8>, most: usize) -> bool {
        let sealed = self.session.sealed();
        let n = sealed.len().min(most).min(WIRE - wire.len());
        wire.extend(&sealed[..n]);
        self.session.drained(n);
        n > 0
    }

    fn receive(&mut self, wire: &mut VecDeque<u8>, most: usize) -> bool {
        let space = self.session.space();
        let most = space.len().min(most);
        let n = wire.read(&mut space[..most]).unwrap();
        self.session.received(n);
        open_all(&mut self.session).unwrap();
        n > 0
    }

    fn write(&mut self, most: usize) -> bool {
        let out = write(&mut self.session, most);
        self.output.extend_from_slice(&out);
        !out.is_empty()
    }

    /// Starts a connector's ratchet, if one is due and there is room.
    fn ratchet(&mut self) -> bool {
        let due = is_ratchet_due(&self.session);
        if due {
            start_ratchet(&mut self.session);
        }
        due
    }
}

/// Steps of both ends in one round.
pub const STEPS: usize = 8;

/// Both ends and the wires.
pub struct Pair {
    pub c: End,
    pub l: End,
    pub c2l: VecDeque<u8>,
    pub l2c: VecDeque<u8>,
}

impl Pair {
    pub fn new(c: End, l: End) -> Self {
        Pair { c, l, c2l: VecDeque::new(), l2c: VecDeque::new() }
    }

    /// Performs one step of one end, of at most `most` bytes; 0 skips it.
    pub fn step(&mut self, which: usize, most: usize) -> bool {
        let Pair { c, l, c2l, l2c } = self;
        if most == 0 {
            return false;
        }
        match which {
            0 => c.ratchet() | c.fill(most),
            1 => c.send(c2l, most),
            2 => l.receive(c2l, most),
            3 => l.write(most),
            4 => l.fill(most),
            5 => l.send(l2c, most),
            6 => c.receive(l2c, most),
            _ => c.write(most),
        }
    }

    /// Performs `rounds` with steps of these sizes, then without limits until both ends are
    /// finished. Fails if neither makes progress before that.
    pub fn run(&mut self, sizes: &[[usize; STEPS]], rounds: usize) {
        for sizes in sizes.iter().cycle().take(rounds) {
            for (which, most) in sizes.iter().enumerate() {
                self.step(which, *most);
            }
        }
        while (0..STEPS).fold(false, |any, which| self.step(which, usize::MAX) | any) {}
        for (end, peer) in [(&self.c, &self.l), (&self.l, &self.c)] {
            assert!(end.session.is_finished(), "came to a stand");
            assert!(end.session.is_acknowledged() && end.session.sealed().is_empty());
            assert!(end.output == peer.input, "other bytes arrived");
            let (own, other) = (end.session.counters(), peer.session.counters());
            assert_eq!(own.sent, end.input.len() as u64);
            assert_eq!((own.sent, own.sent), (other.received, other.written));
        }
        assert!(self.c2l.is_empty() && self.l2c.is_empty());
    }
}

// ---- a session and a peer that forges ----

/// The other end of one session, which ignores all rules.
pub struct Forger {
    role: Role,
    pub sealer: Sealer,
    pub opener: Opener,
    pub ratchet: Ratchet,
    /// Received bytes, not opened yet.
    received: Vec<u8>,
}

impl Forger {
    /// Plays `role` against a session of the other role.
    pub fn new(role: Role) -> Self {
        let Keys { c2l, l2c, rk, h3, .. } = keys();
        let (own, other) = match role {
            Role::Connector => (c2l, l2c),
            Role::Listener => (l2c, c2l),
        };
        Forger {
            role,
            sealer: Sealer::new(Cipher::ChaChaPoly, &own),
            opener: Opener::new(Cipher::ChaChaPoly, &other),
            ratchet: Ratchet::new(rk, h3),
            received: Vec::new(),
        }
    }

    pub fn seal(&mut self, kind: Kind, content: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; frame_len(content.len())];
        frame[CONTENT_AT..][..content.len()].copy_from_slice(content);
        self.sealer.seal(kind, &mut frame, content.len()).unwrap();
        frame
    }

    /// Seals a frame and lets `session` open it.
    pub fn send(
        &mut self,
        session: &mut Session,
        kind: Kind,
        content: &[u8],
    ) -> Result<Event, Error> {
        self.send_at(session, kind, content, start_time())
    }

    /// The same at time `now`.
    pub fn send_at(
        &mut self,
        session: &mut Session,
        kind: Kind,
        content: &[u8],
        now: Instant,
    ) -> Result<Event, Error> {
        let frame = self.seal(kind, content);
        feed(session, &frame);
        Ok(open_at(session, now)?.expect("a whole frame"))
    }

    /// Opens everything that `session` has sealed.
    pub fn recv(&mut self, session: &mut Session) -> Vec<(Kind, Vec<u8>)> {
        let mut frames = Vec::new();
        self.take(session, usize::MAX);
        while let Some(frame) = self.open() {
            frames.push(frame);
        }
        frames
    }

    /// Takes at most `most` sealed bytes and opens nothing.
    pub fn take(&mut self, session: &mut Session, most: usize) {
        let n = session.sealed().len().min(most);
        self.received.extend_from_slice(&session.sealed()[..n]);
        session.drained(n);
    }

    /// Returns the next whole frame. After REKEY2 or REKEY3, the caller must set the new key before
    /// it continues.
    pub fn open(&mut self) -> Option<(Kind, Vec<u8>)> {
        let opened = self.opener.open(&mut self.received).expect("authentic")?;
        let content = self.received[opened.content].to_vec();
        self.received.drain(..opened.len);
        Some((opened.kind, content))
    }

    /// The kinds of the frames that [`Forger::recv`] returns.
    pub fn kinds(&mut self, session: &mut Session) -> Vec<Kind> {
        self.recv(session).into_iter().map(|(kind, _)| kind).collect()
    }

    pub fn rekey1(&mut self) -> Vec<u8> {
        self.ratchet.start(random::ephemerals().unwrap()).unwrap()
    }

    pub fn rekey2(&mut self, rekey1: &[u8]) -> (Vec<u8>, Fresh) {
        self.ratchet.answer(rekey1, random::ephemerals().unwrap()).unwrap()
    }

    /// Seals with the new key from now on.
    pub fn switch_sealer(&mut self, fresh: &Fresh) {
        self.sealer = Sealer::new(
            Cipher::ChaChaPoly,
            match self.role {
                Role::Connector => &fresh.c2l,
                Role::Listener => &fresh.l2c,
            },
        );
    }

    /// Opens with the new key from now on.
    pub fn switch_opener(&mut self, fresh: &Fresh) {
        self.opener = Opener::new(
            Cipher::ChaChaPoly,
            match self.role {
                Role::Connector => &fresh.l2c,
                Role::Listener => &fresh.c2l,
            },
        );
    }
}
