//! Two sessions under a schedule of losses: connections are cut, attempts to replace them fail
//! at any step, an old first flight is replayed, and outputs block. The output must be a prefix
//! of the input, and all of it, at both ends, once the network allows.

#![no_main]

use libfuzzer_sys::fuzz_target;
use scat::protocol::cipher::Cipher;
use scat::protocol::handshake::{Accepted, Connected, Keys, Peer};
use scat::protocol::reconnect::{Answered, Asked, NONCELEN, R1_LEN, R2_LEN, R3_LEN, Refused};
use scat::protocol::role::Role;
use scat::protocol::sas;
use scat::protocol::secret::Secret;
use scat::protocol::session::{Buffers, Error, Schedule, Session};
use scat_fuzz::input::Input;
use scat_fuzz::wire::ephemerals;
use std::collections::VecDeque;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

const H1: [u8; 32] = [0x11; 32];
const H3: [u8; 32] = [0x13; 32];
const N_L: [u8; 32] = [0x10; 32];
const PEER: Peer = Peer { key: [0x50; 32], long_lived: false };
const KEPT: u64 = 1 << 17;

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

fn keys() -> Keys {
    let key = |byte| Secret::copy(&[byte; 32]);
    let (c2l, l2c, rk, kr) = (key(1), key(2), key(3), Some(key(4)));
    Keys { c2l, l2c, rk, kr, h3: H3, cipher: Cipher::AesGcm }
}

/// The byte at `at` of the data from `role`, as in `schedule`.
fn byte(role: Role, at: u64) -> u8 {
    (at % 251) as u8 ^ (at >> 8) as u8 ^ if role == Role::Listener { 0x80 } else { 0 }
}

struct End {
    session: Session,
    role: Role,
    /// The size of its input, and how many bytes of it it took and of the other's it wrote.
    total: u64,
    taken: u64,
    written: u64,
    is_blocked: bool,
    /// Whether an attempt is under way, during which the connection in use is not read.
    is_paused: bool,
    exchanges: u8,
    /// Whether it may have discarded bytes.
    was_full: bool,
}

impl End {
    fn fill(&mut self, most: u64) {
        let Some(mut room) = self.session.room() else { return };
        let before = self.taken;
        let end = self.total.min(self.taken.saturating_add(most));
        for place in room.iter_mut().flat_map(|piece| piece.iter_mut()) {
            if self.taken == end {
                break;
            }
            *place = byte(self.role, self.taken);
            self.taken += 1;
        }
        self.session.filled((self.taken - before) as usize).unwrap();
        if self.taken == self.total && most > 0 {
            self.session.end_input().unwrap();
        }
    }

    fn send(&mut self, wire: &mut VecDeque<u8>, most: usize, room: usize) {
        let sealed = self.session.sealed();
        let n = sealed.len().min(most).min(room.saturating_sub(wire.len()));
        wire.extend(&sealed[..n]);
        self.was_full |= !self.session.has_space();
        self.session.drained(n);
    }

    fn receive(&mut self, wire: &mut VecDeque<u8>, most: usize, now: Instant) {
        if self.is_paused {
            return;
        }
        let space = self.session.space();
        let n = space.len().min(most).min(wire.len());
        for (to, from) in space.iter_mut().zip(wire.drain(..n)) {
            *to = from;
        }
        self.session.received(n);
        loop {
            let fresh = || {
                self.exchanges += 1;
                Ok::<_, Error>(ephemerals(self.exchanges))
            };
            if self.session.open(now, fresh).expect("an honest peer").is_none() {
                break;
            }
        }
    }

    fn write(&mut self, most: usize) {
        if self.is_blocked || !self.session.wants_output() {
            return;
        }
        let mut n = 0;
        for piece in self.session.plain() {
            for got in &piece[..piece.len().min(most - n)] {
                assert_eq!(*got, byte(self.role.peer(), self.written), "other bytes come out");
                self.written += 1;
                n += 1;
            }
        }
        self.session.written(n).unwrap();
    }

    /// Does what is due at `now`.
    fn tick(&mut self, now: Instant) {
        if self.session.ack_at(now).is_some_and(|at| at <= now) {
            self.session.send_ack().unwrap();
        }
        if self.session.poll_timeout().is_some_and(|at| at <= now) {
            self.exchanges += 1;
            self.session.start_ratchet(ephemerals(self.exchanges)).unwrap();
        }
        assert!(!self.session.is_ratchet_overdue(), "REKEY2 is overdue");
    }
}

/// The state of an attempt. A flight either arrives or ends the attempt.
enum Attempt {
    R1(Asked, [u8; R1_LEN]),
    R2(Asked, [u8; R2_LEN], Answered),
    R3([u8; R3_LEN], Answered),
}

struct Network {
    ends: [End; 2],
    /// The wire from each end.
    wires: [VecDeque<u8>; 2],
    room: usize,
    is_up: bool,
    attempt: Option<Attempt>,
    recorded: Option<[u8; R1_LEN]>,
    nonce: u32,
    now: Instant,
}

impl Network {
    fn new(input: &mut Input<'_>) -> Self {
        let options = input.byte();
        let schedule = Schedule {
            interval: Duration::from_secs(120),
            spacing: Duration::ZERO,
            kept: KEPT,
            unacknowledged: 1 << 13,
            ..Schedule::STANDARD
        };
        let connected =
            Connected { keys: keys(), peer: PEER, h1: H1, commit: sas::commit(&H1, &N_L) };
        let connector = Session::connector(connected, Buffers::new().unwrap());
        let accepted = Accepted { keys: keys(), peer: PEER, n_l: Secret::copy(&N_L) };
        let (listener, _) = Session::listener(accepted, Buffers::new().unwrap(), *EPOCH).unwrap();
        let mut end = |session: Session, is_held: bool| {
            let mut session = session.with_schedule(schedule);
            if is_held {
                session.hold();
            }
            let role = session.role();
            let total = input.size().min(if options & 8 != 0 { 1 << 20 } else { 50_000 }) as u64;
            let (taken, written, exchanges) = (0, 0, 0);
            let (is_blocked, is_paused, was_full) = (false, false, false);
            End { session, role, total, taken, written, is_blocked, is_paused, exchanges, was_full }
        };
        let ends = [end(connector, options & 1 != 0), end(listener, options & 2 != 0)];
        Network {
            ends,
            wires: Default::default(),
            room: if options & 4 != 0 { 700 } else { 300_000 },
            is_up: true,
            attempt: None,
            recorded: None,
            nonce: 0,
            now: *EPOCH,
        }
    }

    fn nonce(&mut self) -> [u8; NONCELEN] {
        self.nonce += 1;
        let mut nonce = [0; NONCELEN];
        nonce[..4].copy_from_slice(&self.nonce.to_be_bytes());
        nonce
    }

    /// Cuts the connection; `left` bytes in flight may still be read.
    fn cut(&mut self, left: [usize; 2]) {
        self.is_up = false;
        for (wire, left) in self.wires.iter_mut().zip(left) {
            wire.truncate(left);
        }
    }

    fn step(&mut self, input: &mut Input<'_>) -> Result<(), Error> {
        let action = input.byte();
        let side = usize::from(action >> 7);
        match action & 0x7f {
            0..16 => self.ends[side].fill(input.size() as u64),
            16..32 => self.send(side, input.size()),
            32..48 => self.receive(side, input.size()),
            48..60 => self.ends[side].write(input.size()),
            60..70 => {
                self.now += Duration::from_millis(u64::from(input.byte()) * 20);
                self.ends.iter_mut().for_each(|end| end.tick(self.now));
            }
            70..78 => {
                let left = [input.size(), input.size()];
                self.cut(left);
            }
            78..94 => return self.advance(),
            94..98 => self.give_up(),
            98..104 => self.ends[side].is_blocked ^= true,
            104..108 => self.ends[side].session.confirm().unwrap(),
            108..112 => {
                if let Some(r1) = self.recorded {
                    let nonce = self.nonce();
                    let answer = self.ends[1].session.answer(&r1, &nonce);
                    assert_eq!(answer.err(), Some(Refused), "answered twice");
                }
            }
            _ => self.round(),
        }
        Ok(())
    }

    /// Performs every step once, like programs that never wait.
    fn round(&mut self) {
        for side in [0, 1] {
            self.ends[side].fill(u64::MAX);
            self.send(side, usize::MAX);
            self.receive(1 - side, usize::MAX);
            self.ends[1 - side].write(usize::MAX);
            self.ends[side].tick(self.now);
        }
    }

    fn send(&mut self, side: usize, most: usize) {
        if !self.is_up {
            return;
        }
        // Before R3 arrives, L still writes to the old connection, and these bytes are lost.
        let is_behind = side == 1 && matches!(self.attempt, Some(Attempt::R3(..)));
        let mut lost = VecDeque::new();
        let wire = if is_behind { &mut lost } else { &mut self.wires[side] };
        self.ends[side].send(wire, most, self.room);
    }

    fn receive(&mut self, side: usize, most: usize) {
        self.ends[side].receive(&mut self.wires[1 - side], most, self.now);
    }

    /// Performs one step of a reconnection. The connector may try while the connection works.
    fn advance(&mut self) -> Result<(), Error> {
        let nonce = self.nonce();
        let [c, l] = &mut self.ends;
        match self.attempt.take() {
            None => {
                let (asked, r1) = c.session.ask(&nonce).unwrap();
                c.is_paused = true;
                self.attempt = Some(Attempt::R1(asked, r1));
            }
            Some(Attempt::R1(asked, r1)) => {
                let (answered, r2) = l.session.answer(&r1, &nonce).unwrap();
                l.is_paused = true;
                self.recorded = Some(r1);
                self.attempt = Some(Attempt::R2(asked, r2, answered));
            }
            Some(Attempt::R2(asked, r2, answered)) => {
                let (proven, r3) = asked.read_r2(&r2).unwrap();
                c.session.go_on(proven)?;
                c.is_paused = false;
                self.wires.iter_mut().for_each(VecDeque::clear);
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

    fn give_up(&mut self) {
        let attempt = self.attempt.take();
        self.ends.iter_mut().for_each(|end| end.is_paused = false);
        // C has left the old connection, and L never switches to the new one.
        if let Some(Attempt::R3(..)) = attempt {
            self.cut([0, 0]);
        }
    }

    fn check(&self) {
        let [c, l] = &self.ends;
        for (end, peer) in [(c, l), (l, c)] {
            let is_left_behind = end.session.is_settled() && !peer.session.is_finished();
            assert!(!is_left_behind, "one end would leave too early");
        }
        for end in &self.ends {
            let counters = end.session.counters();
            assert_eq!((counters.sent, counters.written), (end.taken, end.written));
        }
    }

    /// Finishes the game without further disturbance.
    fn finish(&mut self) -> Result<(), Error> {
        for end in &mut self.ends {
            end.is_blocked = false;
            end.session.confirm().unwrap();
        }
        self.room = 300_000;
        for _ in 0..2_000 {
            if self.ends.iter().all(|end| end.session.is_settled()) {
                break;
            }
            if !self.is_up || self.attempt.is_some() {
                self.advance()?;
            }
            self.round();
            self.now += Duration::from_secs(1);
        }
        let [c, l] = &self.ends;
        for (end, peer) in [(c, l), (l, c)] {
            assert!(end.session.is_settled(), "came to a stand");
            assert!(end.session.is_acknowledged() && end.written == peer.total);
        }
        Ok(())
    }
}

fn run(network: &mut Network, input: &mut Input<'_>) -> Result<(), Error> {
    for _ in 0..400 {
        if input.is_empty() {
            break;
        }
        network.step(input)?;
        network.check();
    }
    network.finish()
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let mut network = Network::new(&mut input);
    match run(&mut network, &mut input) {
        Ok(()) => {}
        // Only a side that could not read may discard bytes.
        Err(Error::LetGo) => assert!(network.ends.iter().any(|end| end.was_full)),
        Err(err) => panic!("{err}"),
    }
});
