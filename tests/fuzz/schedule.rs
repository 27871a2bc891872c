//! Two sessions, the wires between them, and an arbitrary schedule: who reads, writes, ends,
//! aborts or exchanges keys, and in pieces of which size. The output must be a prefix of the
//! input, and all of it once an end says so. A reader with all keys decrypts the frames.

#![no_main]

use libfuzzer_sys::fuzz_target;
use scat::protocol::cipher::Cipher;
use scat::protocol::handshake::{Accepted, Connected, Keys, Peer};
use scat::protocol::role::Role;
use scat::protocol::sas;
use scat::protocol::secret::Secret;
use scat::protocol::session::{Buffers, Error, Event, Reason, Schedule, Session};
use scat_fuzz::input::Input;
use scat_fuzz::wire::{Chain, Direction, ephemerals};
use std::collections::VecDeque;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

const H1: [u8; 32] = [0x11; 32];
const N_L: [u8; 32] = [0x10; 32];
const START: Chain = Chain { c2l: [1; 32], l2c: [2; 32], rk: [3; 32], hp: [0x13; 32] };

/// Capacity of a wire, in bytes.
const WIRE: usize = 300_000;

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// One side, and the wire that it writes to.
struct End {
    session: Session,
    role: Role,
    wire: VecDeque<u8>,
    /// Bytes of its input that it took, and of the other's that it wrote.
    taken: u64,
    written: u64,
    /// Whether its input has ended.
    has_ended: bool,
    has_aborted: bool,
    /// Whether the peer's ABORT has arrived.
    is_told: bool,
    /// Exchanges that it has started or answered.
    exchanges: u8,
    reader: Reader,
}

/// A reader of one direction, with its keys.
struct Reader {
    key: Direction,
    bytes: Vec<u8>,
    has_opened: bool,
    has_eof: bool,
    has_done: bool,
    has_aborted: bool,
    read: u64,
}

/// The byte at `at` of the data from `role`. 251 and 256 have no common factor, so no piece
/// equals another one.
fn byte(role: Role, at: u64) -> u8 {
    (at % 251) as u8 ^ (at >> 8) as u8 ^ if role == Role::Listener { 0x80 } else { 0 }
}

fn keys() -> Keys {
    let key = Secret::copy;
    let (c2l, l2c, rk) = (key(&START.c2l), key(&START.l2c), key(&START.rk));
    Keys { c2l, l2c, rk, kr: None, h3: START.hp, cipher: Cipher::AesGcm }
}

impl End {
    fn new(role: Role, session: Session) -> Self {
        let key = if role == Role::Connector { START.c2l } else { START.l2c };
        End {
            session,
            role,
            wire: VecDeque::new(),
            taken: 0,
            written: 0,
            has_ended: false,
            has_aborted: false,
            is_told: false,
            exchanges: 0,
            reader: Reader {
                key: Direction::new(Cipher::AesGcm, key),
                bytes: Vec::new(),
                has_opened: role == Role::Connector,
                has_eof: false,
                has_done: false,
                has_aborted: false,
                read: 0,
            },
        }
    }

    fn fill(&mut self, most: usize) {
        let Some(mut room) = self.session.room() else { return };
        let (mut taken, mut rest) = (self.taken, most);
        for piece in &mut room {
            let len = piece.len().min(rest);
            for place in &mut piece[..len] {
                *place = byte(self.role, taken);
                taken += 1;
            }
            rest -= len;
        }
        self.session.filled((taken - self.taken) as usize).unwrap();
        self.taken = taken;
    }

    fn end_input(&mut self) {
        self.session.end_input().unwrap();
        self.has_ended = self.session.input_ended();
    }

    fn write(&mut self, most: usize) {
        if !self.session.wants_output() {
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
        assert!(n > 0 || most == 0, "output is wanted, and there is none");
        self.session.written(n).unwrap();
    }

    /// Starts a connector's exchange when it is due.
    fn ratchet(&mut self, now: Duration) {
        if self.session.poll_timeout().is_some_and(|at| at <= *EPOCH + now) {
            self.exchanges += 1;
            self.session.start_ratchet(ephemerals(self.exchanges)).unwrap();
        }
    }
}

struct Pair {
    ends: [End; 2],
    /// The reader's state of the exchange under way.
    chain: Chain,
    read: u8,
    rekey2: Option<Vec<u8>>,
    now: Duration,
    is_cut: bool,
    held: [bool; 2],
    /// Bytes that may still be taken; each fill also costs a frame.
    budget: usize,
}

impl Pair {
    fn new(input: &mut Input<'_>) -> Self {
        let options = input.byte();
        let held = [options & 1 == 1, options & 2 == 2];
        let bytes = if options & 4 == 4 { 1 << 17 } else { 1 << 36 };
        let interval = Duration::from_secs(120);
        let schedule = Schedule { interval, bytes, spacing: Duration::ZERO, ..Schedule::STANDARD };
        let peer = Peer { key: [0x50; 32], long_lived: false };
        let connected = Connected { keys: keys(), peer, h1: H1, commit: sas::commit(&H1, &N_L) };
        let connector = Session::connector(connected, Buffers::new().unwrap());
        let accepted = Accepted { keys: keys(), peer, n_l: Secret::copy(&N_L) };
        let (listener, _) = Session::listener(accepted, Buffers::new().unwrap(), *EPOCH).unwrap();
        let [connector, listener] =
            [(connector, held[0]), (listener, held[1])].map(|(session, is_held)| {
                let mut session = session.with_schedule(schedule);
                if is_held {
                    session.hold();
                }
                session
            });
        Pair {
            ends: [End::new(Role::Connector, connector), End::new(Role::Listener, listener)],
            chain: START,
            read: 0,
            rekey2: None,
            now: Duration::ZERO,
            is_cut: false,
            held,
            budget: 1 << 20,
        }
    }

    fn fill(&mut self, side: usize, most: usize) {
        self.ends[side].fill(most.min(self.budget));
        self.budget = self.budget.saturating_sub(most.saturating_add(400));
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let action = input.byte();
        let side = usize::from(action >> 7);
        match action & 0x7f {
            0..16 => self.fill(side, input.size()),
            16..32 => self.send(side, input.size()),
            32..48 => self.receive(side, input.size()),
            48..64 => self.ends[side].write(input.size()),
            64..72 => self.ends[side].end_input(),
            72..80 => self.ends[side].ratchet(self.now),
            80..88 => {
                self.now += Duration::from_secs(input.byte().into());
                self.ends[0].ratchet(self.now);
            }
            88..94 => self.confirm(side),
            // Many frames, so that the counter passes a symmetric rekey.
            94..104 => {
                let len = usize::from(input.byte());
                for _ in 0..4 * usize::from(input.byte()) {
                    if self.budget == 0 {
                        break;
                    }
                    self.fill(side, len);
                    self.send(side, usize::MAX);
                    self.receive(1 - side, usize::MAX);
                    self.ends[1 - side].write(usize::MAX);
                }
            }
            104 => {
                if !self.ends[side].session.is_finished() {
                    self.ends[side].session.abort(Reason::Interrupted).unwrap();
                    self.ends[side].has_aborted = true;
                }
            }
            // Lose the bytes in flight and the connection.
            105 => {
                self.is_cut = true;
                self.ends.iter_mut().for_each(|end| end.wire.clear());
            }
            // Every step, like a program that never waits.
            _ => drop(self.round(usize::MAX)),
        }
    }

    fn confirm(&mut self, side: usize) {
        self.held[side] = false;
        self.ends[side].session.confirm().unwrap();
    }

    /// Performs every step once for each side. Returns whether any did something.
    fn round(&mut self, most: usize) -> bool {
        let before = self.progress();
        for side in [0, 1] {
            self.ends[side].ratchet(self.now);
            self.send(side, most);
            self.receive(1 - side, most);
            self.ends[1 - side].write(most);
        }
        before != self.progress()
    }

    fn progress(&self) -> [(usize, usize, u64, u64, u8); 2] {
        self.ends.each_ref().map(|end| {
            let (sealed, wire) = (end.session.sealed().len(), end.wire.len());
            (sealed, wire, end.written, end.session.counters().received, end.exchanges)
        })
    }

    fn send(&mut self, side: usize, most: usize) {
        let end = &mut self.ends[side];
        let sealed = end.session.sealed();
        let n = sealed.len().min(most).min(WIRE - end.wire.len());
        end.reader.bytes.extend_from_slice(&sealed[..n]);
        if !self.is_cut {
            end.wire.extend(&sealed[..n]);
        }
        end.session.drained(n);
        while self.read_along(side) {}
    }

    fn receive(&mut self, side: usize, most: usize) {
        let [ref mut c, ref mut l] = self.ends;
        let (end, peer) = if side == 0 { (c, l) } else { (l, c) };
        if end.is_told {
            return;
        }
        let space = end.session.space();
        let n = space.len().min(most).min(peer.wire.len());
        for (to, from) in space.iter_mut().zip(peer.wire.drain(..n)) {
            *to = from;
        }
        end.session.received(n);
        loop {
            let fresh = || {
                end.exchanges += 1;
                Ok::<_, Error>(ephemerals(end.exchanges))
            };
            let opened = end.session.open(*EPOCH + self.now, fresh);
            let Some(event) = opened.expect("an honest peer") else { break };
            match event {
                Event::Open(sas) => assert_eq!(sas, sas::Sas::new(&START.hp, &N_L)),
                Event::Abort(reason) => {
                    assert!(peer.has_aborted && reason == Reason::Interrupted);
                    end.is_told = true;
                }
                Event::Eof => assert!(peer.has_ended),
                Event::Done => assert!(end.has_ended && peer.written == end.taken),
                Event::Data | Event::Ratchet | Event::Control => {}
            }
        }
    }

    /// Decrypts the next frame from `side` with the reader's keys.
    fn read_along(&mut self, side: usize) -> bool {
        let (role, is_held) = (self.ends[side].role, self.held[side]);
        let reader = &mut self.ends[side].reader;
        let Some((len, rest)) = reader.bytes.split_first_chunk() else { return false };
        let len = usize::from(u16::from_be_bytes(*len));
        let Some(sealed) = rest.get(..len) else { return false };
        let plain = reader.key.open(sealed).expect("the keys are in step");
        reader.bytes.drain(..2 + len);
        let clen = usize::from(u16::from_be_bytes([plain[1], plain[2]]));
        let (content, padding) = plain[3..].split_at(clen);
        assert!(plain.len().is_multiple_of(256) && padding.len() < 256, "another padding");
        assert!(padding.iter().all(|byte| *byte == 0), "padding with something in it");
        assert!(!reader.has_aborted, "a frame behind ABORT");
        assert_eq!(plain[0] == 3, !std::mem::replace(&mut reader.has_opened, true));
        match plain[0] {
            0..=2 if is_held => panic!("something of the stream before the person's answer"),
            0 => {
                assert!(!reader.has_eof, "DATA behind EOF");
                for got in content {
                    assert_eq!(*got, byte(role, reader.read));
                    reader.read += 1;
                }
            }
            1 => assert!(!std::mem::replace(&mut reader.has_eof, true)),
            2 => assert!(!std::mem::replace(&mut reader.has_done, true)),
            3 => assert_eq!(content, N_L),
            4 => {
                self.read += 1;
                let (_, rekey1) = self.chain.ask(self.read);
                assert!(content == rekey1 && self.rekey2.is_none());
                let (rekey2, chain) = self.chain.answer(content, self.read).unwrap();
                self.chain = chain;
                self.rekey2 = Some(rekey2);
            }
            5 => {
                assert_eq!(self.rekey2.take().as_deref(), Some(content));
                reader.key.switch(self.chain.l2c);
            }
            6 => reader.key.switch(self.chain.c2l),
            7 => {
                assert_eq!(content, [Reason::Interrupted as u8]);
                reader.has_aborted = true;
            }
            kind => panic!("a frame of type {kind}"),
        }
        true
    }

    fn check(&self) {
        let [c, l] = &self.ends;
        for (end, peer) in [(c, l), (l, c)] {
            let counters = end.session.counters();
            assert_eq!((counters.sent, counters.written), (end.taken, end.written));
            assert!(counters.written <= counters.received && counters.received <= peer.taken);
            let has_all = end.has_ended && peer.written == end.taken;
            assert!(!end.session.is_acknowledged() || has_all, "not all was written");
            if end.session.is_finished() {
                let has_theirs = peer.has_ended && end.written == peer.taken;
                assert!(has_all && has_theirs, "finished too early");
            }
        }
    }

    /// Finishes the game without further disturbance.
    fn finish(&mut self) {
        for side in [0, 1] {
            self.confirm(side);
        }
        // Ends at the first round that does nothing.
        while self.round(usize::MAX) {
            self.check();
        }
        for end in &mut self.ends {
            end.end_input();
        }
        while self.round(usize::MAX) {
            self.check();
        }
        let is_whole = !self.is_cut && !self.ends.iter().any(|end| end.has_aborted);
        for end in &self.ends {
            assert!(end.session.is_finished() || !is_whole, "came to a stand");
            assert!(end.session.sealed().is_empty() && end.reader.bytes.is_empty());
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let mut pair = Pair::new(&mut input);
    // More steps cost time and reach nothing new.
    for _ in 0..400 {
        if input.is_empty() {
            break;
        }
        pair.step(&mut input);
        pair.check();
    }
    pair.finish();
});
