//! A session continues over other connections: two ends, a network that cuts, loses and stalls,
//! and attempts that fail at every step. Exactly the sent bytes are written out, and both ends
//! finish as soon as the network allows. Then each rule by itself.
//!
//! `RECONNECT_SEEDS=20000` runs more schedules than usual, `RECONNECT_SEED` only the one with
//! that number.

use crate::support::ends::{
    Forger, KR, N_L, NEVER, connector_with, feed, fill, lasting_keys, listener, listener_with,
    open_all, open_at, start_ratchet, start_time, write,
};
use scat::protocol::frame::{Kind, MAX_CONTENT, frame_len};
use scat::protocol::inbound;
use scat::protocol::outbound::CAPACITY;
use scat::protocol::reconnect::{
    Answered, Asked, NONCELEN, R1_LEN, R2_LEN, R3_LEN, Refused, Tickets,
};
use scat::protocol::role::Role;
use scat::protocol::secret::Secret;
use scat::protocol::session::{Error, Event, Reason, Schedule, Session};
use std::collections::VecDeque;
use std::env;
use std::io::Read;
use std::time::{Duration, Instant};

// ---- a random network ----

/// SplitMix64 (Steele, Lea and Flood 2014).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 up to but not including `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// True once in `n` times.
    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick(&mut self, from: &[u64]) -> u64 {
        from[self.below(from.len() as u64) as usize]
    }

    fn nonce(&mut self) -> [u8; NONCELEN] {
        std::array::from_fn(|_| self.next() as u8)
    }
}

/// The byte at `at` of the data from `role`. 251 and 256 have no common factor, so no piece
/// equals another one.
fn byte(role: Role, at: u64) -> u8 {
    (at % 251) as u8 ^ (at >> 8) as u8 ^ if role == Role::Listener { 0x80 } else { 0 }
}

struct Side {
    role: Role,
    session: Session,
    /// Size of its input, and how much of it the session has taken, in bytes.
    total: u64,
    taken: u64,
    /// Bytes written out.
    written: u64,
    /// Its output is blocked until the session has taken this much input.
    writes_after: u64,
    is_blocked: bool,
    /// Whether an attempt is under way, during which it does not read the connection in use.
    is_paused: bool,
}

impl Side {
    fn new(session: Session, total: u64) -> Self {
        let role = session.role();
        Side {
            role,
            session,
            total,
            taken: 0,
            written: 0,
            writes_after: 0,
            is_blocked: false,
            is_paused: false,
        }
    }

    fn fill(&mut self, most: u64) {
        let Some(mut room) = self.session.room() else { return };
        let (role, mut at) = (self.role, self.taken);
        let end = self.total.min(at + most);
        for place in room.iter_mut().flat_map(|piece| piece.iter_mut()) {
            if at == end {
                break;
            }
            *place = byte(role, at);
            at += 1;
        }
        let filled = (at - self.taken) as usize;
        self.session.filled(filled).unwrap();
        match filled {
            0 => self.session.end_input().unwrap(),
            n => self.taken += n as u64,
        }
    }

    fn receive(&mut self, wire: &mut VecDeque<u8>, most: u64, now: Instant) -> Result<(), Error> {
        if self.is_paused {
            return Ok(());
        }
        let space = self.session.space();
        let most = space.len().min(most as usize);
        let n = wire.read(&mut space[..most]).unwrap();
        self.session.received(n);
        while open_at(&mut self.session, now)?.is_some() {}
        Ok(())
    }

    fn send(&mut self, wire: &mut VecDeque<u8>, most: u64, room: usize) {
        let sealed = self.session.sealed();
        let n = sealed.len().min(most as usize).min(room.saturating_sub(wire.len()));
        wire.extend(&sealed[..n]);
        self.session.drained(n);
    }

    fn write(&mut self, most: u64) {
        if self.is_blocked || self.taken < self.writes_after {
            return;
        }
        for received in write(&mut self.session, most as usize) {
            assert_eq!(received, byte(self.role.peer(), self.written), "at {}", self.written);
            self.written += 1;
        }
    }

    fn ack(&mut self, now: Instant) {
        if self.session.ack_at(now).is_some_and(|at| at <= now) {
            self.session.send_ack().unwrap();
        }
    }
}

/// The state of an attempt. It needs no wires, because a flight either arrives or ends the
/// attempt.
enum Attempt {
    R1(Asked, [u8; R1_LEN]),
    R2(Asked, [u8; R2_LEN], Answered),
    R3([u8; R3_LEN], Answered),
}

struct Network {
    dice: Dice,
    now: Instant,
    c: Side,
    l: Side,
    c2l: VecDeque<u8>,
    l2c: VecDeque<u8>,
    is_up: bool,
    /// Capacity of a wire, in bytes.
    room: usize,
    attempt: Option<Attempt>,
    /// An R1 that an attacker has recorded.
    recorded: Option<[u8; R1_LEN]>,
    cuts: u64,
    ratchets: u64,
}

/// The result of a schedule.
#[derive(Default)]
struct Outcome {
    cuts: u64,
    let_go: u64,
}

impl Network {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let small = Schedule { kept: 24_000, unacknowledged: 4_000, ..NEVER };
        // A side stops reading only if more than an inbound buffer arrives.
        let is_big = dice.one_in(16);
        let most = if is_big { 2_500_000 } else { dice.pick(&[500, 5_000, 60_000]) };
        let mut c = Side::new(connector_with(lasting_keys(), small, false), dice.below(most));
        let l = Side::new(listener_with(lasting_keys(), small, false), dice.below(most));
        if dice.one_in(if is_big { 1 } else { 3 }) {
            c.writes_after = c.total;
        }
        let room = dice.pick(if is_big { &[300_000] } else { &[700, 5_000, 300_000] }) as usize;
        Network {
            now: start_time(),
            c,
            l,
            c2l: VecDeque::new(),
            l2c: VecDeque::new(),
            is_up: true,
            room,
            attempt: None,
            recorded: None,
            cuts: 0,
            ratchets: 0,
            dice,
        }
    }

    /// Runs until both ends know that both are finished.
    fn run(&mut self) -> Result<(), Error> {
        let bulk = self.c.total.max(self.l.total);
        let calm = self.dice.pick(&[100, 1_000, 4_000]);
        let piece = (bulk / 100).max(600);
        for step in 0..calm + 20_000 + bulk / 20 {
            let [c, l] = [&self.c, &self.l].map(|side| side.session.is_settled());
            // One that leaves now leaves nobody behind.
            assert!(!c || self.l.session.is_finished(), "the connector would leave too early");
            assert!(!l || self.c.session.is_finished(), "the listener would leave too early");
            if c && l {
                assert_eq!((self.c.written, self.l.written), (self.l.total, self.c.total));
                assert!(self.c.session.is_acknowledged() && self.l.session.is_acknowledged());
                return Ok(());
            }
            let is_calm = step > calm;
            self.now += Duration::from_millis(self.dice.below(100));
            if is_calm {
                (self.c.is_blocked, self.l.is_blocked) = (false, false);
            } else {
                self.disturb();
            }
            self.advance(is_calm)?;
            for role in [Role::Connector, Role::Listener] {
                self.step(role, piece)?;
            }
        }
        let (c, l) = (self.c.session.counters(), self.l.session.counters());
        panic!("came to a stand: {c:?} of {}, {l:?} of {}", self.c.total, self.l.total);
    }

    fn disturb(&mut self) {
        if self.is_up && self.dice.one_in(60) {
            self.cut();
        }
        if self.dice.one_in(50) {
            self.c.is_blocked ^= true;
        }
        if self.dice.one_in(50) {
            self.l.is_blocked ^= true;
        }
        if self.ratchets < 3 && self.dice.one_in(100) && self.c.session.may_start_ratchet() {
            start_ratchet(&mut self.c.session);
            self.ratchets += 1;
        }
        if let Some(r1) = self.recorded.filter(|_| self.dice.one_in(20)) {
            let n_l = self.dice.nonce();
            assert_eq!(self.l.session.answer(&r1, &n_l).err(), Some(Refused), "answered twice");
        }
    }

    /// Cuts the connection. Some of the bytes in flight may still arrive.
    fn cut(&mut self) {
        self.is_up = false;
        self.cuts += 1;
        for wire in [&mut self.c2l, &mut self.l2c] {
            let left = self.dice.below(wire.len() as u64 + 1);
            wire.truncate(if self.dice.one_in(2) { 0 } else { left as usize });
        }
    }

    /// Performs one step of a reconnection. The connector may try even while the connection works.
    fn advance(&mut self, is_calm: bool) -> Result<(), Error> {
        let Network { dice, c, l, .. } = self;
        match self.attempt.take() {
            None => {
                if !self.is_up && dice.one_in(3) || self.is_up && !is_calm && dice.one_in(200) {
                    let (asked, r1) = c.session.ask(&dice.nonce()).unwrap();
                    c.is_paused = true;
                    self.attempt = Some(Attempt::R1(asked, r1));
                }
            }
            Some(attempt) if !is_calm && dice.one_in(6) => {
                (c.is_paused, l.is_paused) = (false, false);
                // C has already left the old connection, and L never switches to the new one.
                if let Attempt::R3(..) = attempt {
                    self.cut();
                    self.c2l.clear();
                    self.l2c.clear();
                }
            }
            Some(Attempt::R1(asked, r1)) => {
                let (answered, r2) = l.session.answer(&r1, &dice.nonce()).unwrap();
                l.is_paused = true;
                self.recorded = Some(r1);
                self.attempt = Some(Attempt::R2(asked, r2, answered));
            }
            Some(Attempt::R2(asked, r2, answered)) => {
                let (proven, r3) = asked.read_r2(&r2).unwrap();
                c.session.go_on(proven)?;
                c.is_paused = false;
                // L no longer reads the old connection, and C neither reads nor writes it.
                self.c2l.clear();
                self.l2c.clear();
                self.is_up = true;
                self.attempt = Some(Attempt::R3(r3, answered));
            }
            Some(Attempt::R3(r3, answered)) => {
                l.session.go_on(answered.read_r3(&r3).unwrap())?;
                l.is_paused = false;
            }
        }
        Ok(())
    }

    /// Performs one step of one side.
    fn step(&mut self, role: Role, piece: u64) -> Result<(), Error> {
        let Network { dice, c, l, c2l, l2c, room, now, .. } = self;
        // Before R3 arrives, L still writes to the old connection, and these bytes are lost.
        let is_behind = matches!(self.attempt, Some(Attempt::R3(..)));
        let mut lost = VecDeque::new();
        let (side, out, into) = match role {
            Role::Connector => (c, c2l, l2c),
            Role::Listener if is_behind => (l, &mut lost, c2l),
            Role::Listener => (l, l2c, c2l),
        };
        let most = 1 + dice.below(piece);
        match dice.below(6) {
            0 => side.fill(most),
            1 if self.is_up => side.send(out, most, *room),
            2 | 3 => side.receive(into, most, *now)?,
            4 => side.write(most),
            _ => side.ack(*now),
        }
        Ok(())
    }
}

fn run(seed: u64) -> Outcome {
    let mut network = Network::new(seed);
    let mut outcome = Outcome::default();
    match network.run() {
        Ok(()) => {}
        Err(Error::LetGo) => outcome.let_go = 1,
        Err(err) => panic!("{err}"),
    }
    outcome.cuts = network.cuts;
    outcome
}

#[test]
fn whatever_the_network_does_exactly_the_sent_bytes_arrive() {
    let number = |name| env::var(name).ok().map(|it| it.parse::<u64>().unwrap());
    let seeds = match number("RECONNECT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("RECONNECT_SEEDS").unwrap_or(500),
    };
    let mut total = Outcome::default();
    for seed in seeds.clone() {
        let outcome = std::panic::catch_unwind(|| run(seed));
        let outcome = outcome.unwrap_or_else(|_| panic!("RECONNECT_SEED={seed}"));
        total.cuts += outcome.cuts;
        total.let_go += outcome.let_go;
    }
    println!("{} runs, {} cuts, {} let go", seeds.count(), total.cuts, total.let_go);
}

// ---- the flights ----

fn tickets() -> Tickets {
    Tickets::new(Secret::copy(&KR))
}

#[test]
fn no_bit_of_a_flight_can_be_another() {
    let (c, mut l) = (tickets(), tickets());
    let mut nonces = Dice(1);
    let mut attempt = || {
        let (asked, r1) = c.ask(&nonces.nonce(), 7);
        let (answered, r2) = l.answer(&r1, &N_L, 8).unwrap();
        (asked, r1, answered, r2)
    };
    for bit in 0..8 * R1_LEN {
        let (_, mut r1) = tickets().ask(&[bit as u8; NONCELEN], 7);
        r1[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(tickets().answer(&r1, &N_L, 8).err(), Some(Refused), "bit {bit} of R1");
    }
    for bit in 0..8 * R2_LEN {
        let (asked, _, _, mut r2) = attempt();
        r2[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(asked.read_r2(&r2).err(), Some(Refused), "bit {bit} of R2");
    }
    for bit in 0..8 * R3_LEN {
        let (asked, _, answered, r2) = attempt();
        let (_, mut r3) = asked.read_r2(&r2).unwrap();
        r3[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(answered.read_r3(&r3), Err(Refused), "bit {bit} of R3");
    }
}

#[test]
fn flights_of_another_session_or_another_attempt_are_refused() {
    let (c, mut l) = (tickets(), tickets());
    let mut other = Tickets::new(Secret::copy(&[9; 32]));
    let (asked, r1) = c.ask(&[1; NONCELEN], 0);
    assert_eq!(other.answer(&r1, &N_L, 0).err(), Some(Refused));
    let (answered, r2) = l.answer(&r1, &N_L, 0).unwrap();
    // The same R1 again, recorded or left in a queue.
    assert_eq!(l.answer(&r1, &[2; NONCELEN], 0).err(), Some(Refused));
    // The answer to another R1.
    let (asked_2, r1_2) = c.ask(&[2; NONCELEN], 0);
    assert_eq!(asked_2.read_r2(&r2).err(), Some(Refused));
    let (_, r3) = asked.read_r2(&r2).unwrap();
    // The R3 of another attempt, and the answer to an R1 that C has given up.
    let (answered_2, _) = l.answer(&r1_2, &N_L, 0).unwrap();
    assert_eq!(answered_2.read_r3(&r3), Err(Refused));
    assert_eq!(answered.read_r3(&r3).unwrap().offset(), 0);
}

// ---- acknowledgements ----

const FRAME: u64 = frame_len(0) as u64;

/// A session after OPEN that agreed on reconnection, and its peer.
fn lasting(role: Role, schedule: Schedule, held: bool) -> (Session, Forger) {
    let mut peer = Forger::new(role.peer());
    let mut session = match role {
        Role::Connector => connector_with(lasting_keys(), schedule, held),
        Role::Listener => listener_with(lasting_keys(), schedule, held),
    };
    match role {
        Role::Connector => assert!(peer.send(&mut session, Kind::Open, &N_L).is_ok()),
        Role::Listener => assert_eq!(peer.kinds(&mut session), [Kind::Open]),
    }
    (session, peer)
}

fn both(schedule: Schedule, held: bool) -> [(Session, Forger); 2] {
    [Role::Connector, Role::Listener].map(|role| lasting(role, schedule, held))
}

fn acks(session: &mut Session, peer: &mut Forger, now: Instant) -> Vec<u64> {
    while session.ack_at(now).is_some_and(|at| at <= now) {
        session.send_ack().unwrap();
    }
    let count = |content: Vec<u8>| u64::from_be_bytes(content.try_into().unwrap());
    let acks = peer.recv(session).into_iter().filter(|(kind, _)| *kind == Kind::Ack);
    acks.map(|(_, content)| count(content)).collect()
}

#[test]
fn an_ack_is_due_one_second_after_a_frame_or_at_256_kib() {
    let (now, second) = (start_time(), Duration::from_secs(1));
    for (mut session, mut peer) in both(NEVER, false) {
        // A connector must acknowledge OPEN, too.
        let open = if session.role() == Role::Connector { FRAME } else { 0 };
        peer.send(&mut session, Kind::Data, b"x").unwrap();
        assert_eq!(session.ack_at(now), Some(now + second));
        assert!(acks(&mut session, &mut peer, now).is_empty());
        assert_eq!(acks(&mut session, &mut peer, now + second), [open + FRAME]);
        assert_eq!(session.ack_at(now + 9 * second), None);
        // A single ACK is not acknowledged, many are.
        let before = open + FRAME;
        let mut most = 1 << 18;
        for n in 1..=(most / FRAME) {
            peer.send_at(&mut session, Kind::Ack, &0u64.to_be_bytes(), now + second).unwrap();
            let at = session.ack_at(now + 9 * second);
            assert_eq!(at, None, "{n} ACKs");
        }
        peer.send_at(&mut session, Kind::Ack, &0u64.to_be_bytes(), now + second).unwrap();
        most = most / FRAME * FRAME + FRAME;
        assert_eq!(acks(&mut session, &mut peer, now + second), [before + most]);
    }
}

#[test]
fn acks_go_on_while_a_person_is_asked_and_after_both_ends() {
    let later = start_time() + Duration::from_secs(1);
    for (mut session, mut peer) in both(NEVER, true) {
        peer.send(&mut session, Kind::Data, b"x").unwrap();
        assert_eq!(acks(&mut session, &mut peer, later).len(), 1);
        session.confirm().unwrap();
        write(&mut session, 9);
        session.end_input().unwrap();
        peer.send(&mut session, Kind::Eof, &[]).unwrap();
        // After EOF and DONE, a side still acknowledges frames from the peer.
        assert_eq!(acks(&mut session, &mut peer, later).len(), 1);
    }
    for (mut session, mut peer) in both(NEVER, false) {
        peer.send(&mut session, Kind::Data, b"x").unwrap();
        session.abort(Reason::Interrupted).unwrap();
        assert_eq!(session.ack_at(later), None);
        assert!(!session.may_reconnect());
    }
    // Before OPEN, a connector sends nothing but ABORT.
    let mut session = connector_with(lasting_keys(), NEVER, false);
    assert_eq!(session.ack_at(later), None);
    let mut peer = Forger::new(Role::Listener);
    let early = peer.send(&mut session, Kind::Ack, &[0; 8]);
    assert_eq!(early, Err(Error::Rule("a frame before OPEN")));
    assert!(!session.may_reconnect());
}

#[test]
fn the_last_frame_is_acknowledged_at_once_and_that_ack_by_none() {
    let now = start_time();
    for (mut session, mut peer) in both(NEVER, false) {
        session.end_input().unwrap();
        peer.send(&mut session, Kind::Eof, &[]).unwrap();
        assert!(acks(&mut session, &mut peer, now).is_empty());
        peer.send(&mut session, Kind::Done, &[]).unwrap();
        assert!(session.is_finished() && session.has_told());
        let open = if session.role() == Role::Connector { FRAME } else { 0 };
        assert_eq!(acks(&mut session, &mut peer, now), [open + 2 * FRAME]);
        // All but the last byte of DONE has come.
        let told = session.spoken();
        let ack = |count: u64| count.to_be_bytes();
        peer.send(&mut session, Kind::Ack, &ack(told - 1)).unwrap();
        assert!(!session.is_settled());
        peer.send(&mut session, Kind::Ack, &ack(told)).unwrap();
        assert!(session.is_settled());
        assert_eq!(session.ack_at(now), None);
    }
    let mut session = listener(false);
    assert!(Forger::new(Role::Connector).recv(&mut session).len() == 1 && session.has_told());
    assert!(!session.is_settled());
}

#[test]
fn one_ack_waits_and_has_its_place_behind_a_full_outbound() {
    let later = start_time() + Duration::from_secs(1);
    for (mut session, mut peer) in both(NEVER, false) {
        let is_connector = session.role() == Role::Connector;
        if is_connector {
            start_ratchet(&mut session);
            peer.take(&mut session, usize::MAX);
        }
        while session.wants_input() {
            fill(&mut session, &[7; MAX_CONTENT]);
        }
        // Let the peer make every control frame due.
        if is_connector {
            let (_, rekey1) = peer.open().unwrap();
            let (rekey2, fresh) = peer.rekey2(&rekey1);
            peer.send(&mut session, Kind::Rekey2, &rekey2).unwrap();
            peer.switch_sealer(&fresh);
        } else {
            let rekey1 = peer.rekey1();
            peer.send(&mut session, Kind::Rekey1, &rekey1).unwrap();
        }
        for _ in 0..2000 {
            peer.send_at(&mut session, Kind::Data, &[1; 300], later).unwrap();
            write(&mut session, 300);
            if session.ack_at(later).is_some_and(|at| at <= later) {
                session.send_ack().unwrap();
                assert_eq!(session.ack_at(later + Duration::from_secs(9)), None, "a second one");
            }
        }
        peer.send(&mut session, Kind::Eof, &[]).unwrap();
        session.end_input().unwrap();
        session.abort(Reason::Interrupted).unwrap();
        assert!(session.sealed().len() <= CAPACITY);
    }
}

#[test]
fn an_ack_has_a_count_that_grows_and_was_given_to_a_socket() {
    let breaks = |session: &mut Session, peer: &mut Forger, content: &[u8], rule| {
        let result = peer.send(session, Kind::Ack, content);
        assert_eq!(result, Err(Error::Rule(rule)), "{content:?}");
        assert!(!session.may_reconnect());
    };
    for len in [0, 7, 9] {
        let (mut session, mut peer) = lasting(Role::Connector, NEVER, false);
        breaks(&mut session, &mut peer, &[0; 9][..len], "ACK's length");
    }
    for (mut session, mut peer) in both(NEVER, false) {
        let open = if session.role() == Role::Listener { FRAME } else { 0 };
        fill(&mut session, b"x");
        // Sealed, but not given to a socket.
        let ack = |count: u64| count.to_be_bytes();
        assert!(session.sealed().len() as u64 >= FRAME);
        peer.take(&mut session, 1);
        assert_eq!(peer.send(&mut session, Kind::Ack, &ack(open + 1)), Ok(Event::Control));
        assert_eq!(peer.send(&mut session, Kind::Ack, &ack(open + 1)), Ok(Event::Control));
        breaks(&mut session, &mut peer, &ack(open + 2), "an acknowledgement of what was not sent");
    }
    for (mut session, mut peer) in both(NEVER, false) {
        fill(&mut session, b"x");
        peer.take(&mut session, usize::MAX);
        peer.send(&mut session, Kind::Ack, &FRAME.to_be_bytes()).unwrap();
        breaks(&mut session, &mut peer, &0u64.to_be_bytes(), "an acknowledgement that goes back");
    }
    // Without reconnection, ACK is not allowed.
    let (mut session, mut peer) = (listener(false), Forger::new(Role::Connector));
    breaks(&mut session, &mut peer, &[0; 8], "ACK unasked");
}

#[test]
fn only_frames_other_than_ack_want_an_answer() {
    for (mut session, mut peer) in both(NEVER, false) {
        let mut later = start_time();
        let before = session.spoken();
        assert_eq!(session.wants_answer(), session.role() == Role::Listener, "OPEN");
        peer.send(&mut session, Kind::Ack, &before.to_be_bytes()).unwrap();
        assert!(!session.wants_answer());
        for _ in 0..3 {
            peer.send_at(&mut session, Kind::Data, b"x", later).unwrap();
            later += Duration::from_secs(1);
            assert_eq!(acks(&mut session, &mut peer, later).len(), 1);
            assert_eq!(session.spoken(), before);
            assert!(!session.wants_answer());
        }
        fill(&mut session, b"y");
        assert_eq!(session.spoken(), before);
        peer.take(&mut session, usize::MAX);
        assert_eq!(session.spoken(), before + 4 * FRAME);
        assert!(session.wants_answer());
    }
}

/// A connector that only receives, behind a relay that acknowledges everything, has no
/// other way to find out that nothing arrives any more.
#[test]
fn an_idle_connector_exchanges_keys_every_30_s() {
    let (mut session, mut peer) = lasting(Role::Connector, Schedule::STANDARD, false);
    let half_a_minute = Duration::from_secs(30);
    assert_eq!(session.poll_timeout(), Some(start_time() + half_a_minute));
    start_ratchet(&mut session);
    assert!(!session.wants_answer());
    peer.take(&mut session, usize::MAX);
    assert!(session.wants_answer());
    let (_, rekey1) = peer.open().unwrap();
    let (rekey2, _) = peer.rekey2(&rekey1);
    let later = start_time() + half_a_minute;
    peer.send_at(&mut session, Kind::Rekey2, &rekey2, later).unwrap();
    assert_eq!(session.poll_timeout(), Some(later + half_a_minute));
}

/// The ACK may be an old one, sent again.
#[test]
fn an_ack_does_not_show_that_the_listener_has_read_rekey1() {
    let minute = Duration::from_secs(60);
    for (kind, content, is_overdue) in
        [(Kind::Ack, &[0; 8][..], false), (Kind::Data, &b"x"[..], true)]
    {
        let (mut session, mut peer) = lasting(Role::Connector, NEVER, false);
        start_ratchet(&mut session);
        peer.take(&mut session, usize::MAX);
        for n in 1..=61 {
            peer.send_at(&mut session, kind, content, start_time() + n * minute).unwrap();
        }
        assert_eq!(session.is_ratchet_overdue(), is_overdue, "{kind:?}");
        // REKEY2 may be waiting on another connection.
        let offset = session.spoken();
        reconnect(&mut session, 1, offset).unwrap();
        assert!(!session.is_ratchet_overdue());
    }
}

// ---- offsets, and what is kept ----

/// Replaces the connection, for the `n`th time; the peer has received up to `offset`.
fn reconnect(session: &mut Session, n: u8, offset: u64) -> Result<(), Error> {
    let mut peer = tickets();
    let proven = match session.role() {
        Role::Connector => {
            let (asked, r1) = session.ask(&[n; NONCELEN]).unwrap();
            asked.read_r2(&peer.answer(&r1, &N_L, offset).unwrap().1).unwrap().0
        }
        Role::Listener => {
            let (asked, r1) = peer.ask(&[n; NONCELEN], offset);
            let (answered, r2) = session.answer(&r1, &N_L).unwrap();
            answered.read_r3(&asked.read_r2(&r2).unwrap().1).unwrap()
        }
    };
    session.go_on(proven)
}

#[test]
fn an_offset_is_judged_like_an_ack() {
    for (mut session, mut peer) in both(NEVER, false) {
        let start = session.spoken();
        fill(&mut session, &[5; 10_000]);
        peer.take(&mut session, 5_000);
        let progress = session.progress();
        peer.send(&mut session, Kind::Ack, &(start + FRAME).to_be_bytes()).unwrap();
        // Progress: the ACK itself, and the bytes that it acknowledges.
        assert_eq!(session.progress(), progress + FRAME + start + FRAME);
        let sealed = session.sealed().to_vec();
        reconnect(&mut session, 1, start + 4_000).unwrap();
        // The session sends the last 1000 bytes again unchanged, and then the rest.
        assert_eq!(session.sealed().len(), 1_000);
        session.drained(1_000);
        assert_eq!(session.sealed(), sealed);
        assert_eq!(session.spoken(), start + 5_000);
        // An ACK from before the offset, sent again, changes nothing.
        let progress = session.progress();
        peer.send(&mut session, Kind::Ack, &(start + FRAME).to_be_bytes()).unwrap();
        assert_eq!(session.progress(), progress + FRAME);
        let beyond = Error::Rule("an acknowledgement of what was not sent");
        assert_eq!(reconnect(&mut session, 2, start + 5_001), Err(beyond));
    }
    for (mut session, mut peer) in both(NEVER, false) {
        let start = session.spoken();
        fill(&mut session, &[5; 10_000]);
        peer.take(&mut session, 5_000);
        peer.send(&mut session, Kind::Ack, &(start + FRAME).to_be_bytes()).unwrap();
        let back = Error::Rule("an acknowledgement that goes back");
        assert_eq!(reconnect(&mut session, 1, start + FRAME - 1), Err(back));
    }
}

/// An honest peer does not do this.
#[test]
fn bytes_that_the_peer_acknowledges_are_not_sent_again() {
    for (mut session, mut peer) in both(NEVER, false) {
        let start = session.spoken();
        fill(&mut session, &[5; 10_000]);
        peer.take(&mut session, 5_000);
        let sealed = session.sealed().to_vec();
        reconnect(&mut session, 1, start + 1_000).unwrap();
        let ack = (start + 5_000).to_be_bytes();
        assert_eq!(peer.send(&mut session, Kind::Ack, &ack), Ok(Event::Control));
        assert_eq!(session.sealed(), sealed);
    }
}

#[test]
fn a_frame_that_has_begun_comes_again_whole() {
    for (mut session, mut peer) in both(NEVER, false) {
        let frame = peer.seal(Kind::Data, b"once");
        feed(&mut session, &frame[..100]);
        assert_eq!(open_all(&mut session), Ok(vec![]));
        reconnect(&mut session, 1, 0).unwrap();
        feed(&mut session, &frame);
        assert_eq!(open_all(&mut session), Ok(vec![Event::Data]));
        assert_eq!(write(&mut session, 99), b"once");
    }
}

#[test]
fn kept_bytes_are_bounded_and_an_ack_makes_room() {
    const KEPT: u64 = 1 << 20;
    for (mut session, mut peer) in both(Schedule { kept: KEPT, ..NEVER }, false) {
        let mut sent = 0;
        while session.wants_input() {
            fill(&mut session, &[1; 50_000]);
            peer.take(&mut session, usize::MAX);
            sent += frame_len(50_000) as u64;
        }
        assert!(sent >= KEPT && sent < KEPT + CAPACITY as u64, "{sent}");
        // A side that can read discards nothing.
        let start = session.spoken() - sent;
        reconnect(&mut session, 1, start).unwrap();
        assert!(!session.sealed().is_empty());
        // Control frames are sent even so.
        session.end_input().unwrap();
        assert!(!session.sealed().is_empty());
    }
    for (mut session, mut peer) in both(Schedule { kept: KEPT, ..NEVER }, false) {
        while session.wants_input() {
            fill(&mut session, &[1; 50_000]);
            peer.take(&mut session, usize::MAX);
        }
        peer.send(&mut session, Kind::Ack, &(1u64 << 19).to_be_bytes()).unwrap();
        assert!(session.wants_input());
    }
    assert_eq!(Schedule::STANDARD.kept, 64 << 20);
}

/// A side whose output is blocked does not see the peer's ACKs, and still continues.
#[test]
fn a_side_that_cannot_read_goes_on_and_drops_the_oldest_bytes() {
    const KEPT: u64 = 1 << 18;
    for (mut session, mut peer) in both(Schedule { kept: KEPT, ..NEVER }, true) {
        while session.has_space() {
            let n = session.space().len().min(frame_len(50_000));
            let frame = peer.seal(Kind::Data, &[0; 50_000]);
            feed(&mut session, &frame[..n]);
            open_all(&mut session).unwrap();
        }
        session.confirm().unwrap();
        for number in 0..100 {
            assert!(session.wants_input(), "stopped after {number}");
            fill(&mut session, &[1; 50_000]);
            peer.take(&mut session, usize::MAX);
        }
        let sent = session.spoken();
        assert!(sent > 10 * KEPT && inbound::CAPACITY as u64 > KEPT);
        // Only the bytes that it still keeps can be sent again.
        reconnect(&mut session, 1, sent - KEPT).unwrap();
        assert!(!session.sealed().is_empty());
        if session.role() == Role::Listener {
            continue;
        }
        let mut again = 0;
        while again < KEPT {
            let n = session.sealed().len();
            session.drained(n);
            again += n as u64;
        }
        assert_eq!((again, session.sealed().len()), (KEPT, 0));
    }
    for (mut session, mut peer) in both(Schedule { kept: KEPT, ..NEVER }, true) {
        while session.has_space() {
            let n = session.space().len().min(frame_len(50_000));
            let frame = peer.seal(Kind::Data, &[0; 50_000]);
            feed(&mut session, &frame[..n]);
            open_all(&mut session).unwrap();
        }
        session.confirm().unwrap();
        for _ in 0..10 {
            fill(&mut session, &[1; 50_000]);
            peer.take(&mut session, usize::MAX);
        }
        assert_eq!(reconnect(&mut session, 1, FRAME), Err(Error::LetGo));
    }
}
