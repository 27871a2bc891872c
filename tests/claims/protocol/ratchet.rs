//! Exchanges of fresh keys during a session: under load, at its end, broken, and against an
//! attacker who has copied the keys of one side.

use crate::support::ends::{
    self, End, Forger, NEVER, Pair, accepted, bytes, connector, feed, fill, is_ratchet_due, keys,
    listener, listener_with, open, open_all, start_ratchet, start_time, write,
};
use proptest::prelude::*;
use scat::protocol::cipher::Cipher;
use scat::protocol::frame::{self, Kind, Opener, Sealer};
use scat::protocol::noise;
use scat::protocol::ratchet::{Fresh, REKEY1_LEN, REKEY2_LEN};
use scat::protocol::role::Role;
use scat::protocol::session::{Error, Event, Reason, Schedule, Session};
use scat::sys::random;
use std::time::{Duration, Instant};

const FORGED: Error = Error::Frame(frame::Error::Forged);

/// Starts an exchange whenever none is under way.
const ALWAYS: Schedule = Schedule { interval: Duration::ZERO, ..NEVER };

// ---- under load ----

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), 1..600usize, 1..70_000usize, 1..600_000usize]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn exchanges_never_stall_or_lose_a_saturated_session(
        c in 0..3_000_000usize,
        l in 0..3_000_000usize,
        bytes_between in 1..400_000u64,
        always in any::<bool>(),
        sizes in prop::collection::vec(prop::array::uniform8(size()), 1..12),
        rounds in 0..300usize,
    ) {
        let interval = if always { Duration::ZERO } else { Duration::MAX };
        let schedule = Schedule { interval, bytes: bytes_between, ..NEVER };
        let c = End::new(connector(schedule, false), bytes(c, 1));
        let l = End::new(listener(false), bytes(l, 2));
        let mut pair = Pair::new(c, l);
        pair.run(&sizes, rounds);
        prop_assert_eq!(pair.c.session.ratchets(), pair.l.session.ratchets());
    }
}

#[test]
fn an_exchange_every_few_frames_survives_a_saturated_session() {
    let schedule = Schedule { bytes: 100_000, ..NEVER };
    let c = End::new(connector(schedule, false), bytes(20_000_000, 1));
    let l = End::new(listener(false), bytes(20_000_000, 2));
    let mut pair = Pair::new(c, l);
    pair.run(&[[100_000; 8]], 1000);
    assert!(pair.c.session.ratchets() > 50, "{}", pair.c.session.ratchets());
}

// ---- when one is due ----

/// A connector that may exchange data at once.
fn opened(schedule: Schedule) -> (Session, Forger) {
    ends::opened(schedule, false)
}

/// Answers the exchange that `session`, a connector, has started.
fn finish_exchange(session: &mut Session, peer: &mut Forger) {
    let (_, rekey1) = peer.recv(session).pop().unwrap();
    let (rekey2, fresh) = peer.rekey2(&rekey1);
    peer.send(session, Kind::Rekey2, &rekey2).unwrap();
    peer.switch_sealer(&fresh);
    assert_eq!(peer.kinds(session), [Kind::Rekey3]);
    peer.switch_opener(&fresh);
}

#[test]
fn an_exchange_is_due_after_120_s_or_2_to_the_36_bytes() {
    assert_eq!(Schedule::STANDARD.interval, Duration::from_secs(120));
    assert_eq!(Schedule::STANDARD.bytes, 68_719_476_736);
    let (mut session, mut peer) = opened(Schedule::STANDARD);
    let due = Some(start_time() + Duration::from_secs(120));
    // No exchange is due on an idle connection.
    assert_eq!(session.poll_timeout(), None);
    fill(&mut session, b"x");
    assert_eq!(session.poll_timeout(), due);
    peer.recv(&mut session);
    // At most one exchange is under way.
    start_ratchet(&mut session);
    assert_eq!(session.poll_timeout(), None);
    finish_exchange(&mut session, &mut peer);
    assert_eq!(session.poll_timeout(), None);
    peer.send(&mut session, Kind::Data, b"x").unwrap();
    assert_eq!(session.poll_timeout(), due);
    assert_eq!(session.ratchets(), 1);
    // The listener starts no exchange.
    assert!(!listener(false).may_start_ratchet());
}

#[test]
fn a_ratchet_that_finds_no_room_is_not_due_before_there_is_some() {
    let (mut session, _) = opened(ALWAYS);
    while let Some(room) = session.room() {
        let len = room.iter().map(|piece| piece.len()).sum();
        session.filled(len).unwrap();
    }
    // Otherwise a loop that waits until an exchange is due would spin.
    assert_eq!(session.poll_timeout(), None);
    let sealed = session.sealed().len();
    session.drained(sealed);
    assert!(is_ratchet_due(&session));
}

#[test]
fn the_bytes_of_either_direction_make_an_exchange_due() {
    let schedule = Schedule { bytes: 10, ..NEVER };
    let (mut session, mut peer) = opened(schedule);
    let due = is_ratchet_due;
    fill(&mut session, &[0; 9]);
    peer.send(&mut session, Kind::Data, &[0; 9]).unwrap();
    assert!(!due(&session));
    fill(&mut session, &[0; 1]);
    assert!(due(&session));
    start_ratchet(&mut session);
    finish_exchange(&mut session, &mut peer);
    assert!(!due(&session));
    peer.send(&mut session, Kind::Data, &[0; 9]).unwrap();
    assert!(!due(&session));
    peer.send(&mut session, Kind::Data, &[0; 1]).unwrap();
    assert!(due(&session));
}

#[test]
fn no_exchange_starts_after_eof_and_done() {
    let (mut session, mut peer) = opened(ALWAYS);
    fill(&mut session, b"x");
    session.end_input().unwrap();
    assert!(is_ratchet_due(&session));
    peer.send(&mut session, Kind::Eof, &[]).unwrap();
    assert_eq!(peer.kinds(&mut session), [Kind::Data, Kind::Eof, Kind::Done]);
    assert_eq!(session.poll_timeout(), None);
}

// ---- ends, aborts and cuts at every point of an exchange ----

/// Makes the choices of a run. Repeated runs cover every combination once.
#[derive(Default)]
struct Choices {
    picked: Vec<(usize, usize)>,
    at: usize,
}

impl Choices {
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        if self.at == self.picked.len() {
            self.picked.push((0, from.len()));
        }
        let (pick, of) = self.picked[self.at];
        assert_eq!(of, from.len(), "a run that depends on more than its choices");
        self.at += 1;
        from[pick]
    }

    /// Advances to the next combination, if there is one.
    fn advance(&mut self) -> bool {
        self.at = 0;
        while let Some((pick, of)) = self.picked.pop() {
            if pick + 1 < of {
                self.picked.push((pick + 1, of));
                return true;
            }
        }
        false
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// C starts an exchange.
    Start,
    /// One side sends all its input (one frame or none) and its end.
    End(Role),
    /// One side receives one frame.
    Deliver(Role),
    Abort(Role),
}

/// Two sessions, and the frames in transit between them.
struct World {
    c: End,
    l: End,
    started: bool,
    to_l: Vec<u8>,
    to_c: Vec<u8>,
    aborts: Vec<Role>,
}

impl World {
    /// Starts after OPEN has arrived.
    fn new(c: &[u8], l: &[u8]) -> Self {
        let mut world = World {
            c: End::new(connector(ALWAYS, false), c.to_vec()),
            l: End::new(listener(false), l.to_vec()),
            started: false,
            to_l: Vec::new(),
            to_c: Vec::new(),
            aborts: Vec::new(),
        };
        world.collect();
        world.act(Act::Deliver(Role::Connector));
        world
    }

    fn collect(&mut self) {
        let sides = [(&mut self.c.session, &mut self.to_l), (&mut self.l.session, &mut self.to_c)];
        for (session, wire) in sides {
            wire.extend_from_slice(session.sealed());
            session.drained(session.sealed().len());
        }
    }

    fn enabled(&self) -> Vec<Act> {
        let mut acts = Vec::new();
        if !self.started && self.c.session.may_start_ratchet() {
            acts.push(Act::Start);
        }
        for (role, end, wire) in
            [(Role::Connector, &self.c, &self.to_c), (Role::Listener, &self.l, &self.to_l)]
        {
            if !end.session.input_ended() {
                acts.push(Act::End(role));
            }
            if !wire.is_empty() {
                acts.push(Act::Deliver(role));
            }
        }
        acts
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Start => {
                start_ratchet(&mut self.c.session);
                self.started = true;
            }
            Act::End(role) => {
                let end = self.end(role).0;
                fill(&mut end.session, &end.input);
                end.session.end_input().unwrap();
            }
            Act::Abort(role) => self.end(role).0.session.abort(Reason::Interrupted).unwrap(),
            Act::Deliver(role) => {
                let (end, wire) = self.end(role);
                let len = 2 + usize::from(u16::from_be_bytes([wire[0], wire[1]]));
                feed(&mut end.session, &wire[..len]);
                wire.drain(..len);
                match open(&mut end.session) {
                    Ok(Some(Event::Abort(Reason::Interrupted))) => {
                        assert!(wire.is_empty(), "something follows ABORT");
                        self.aborts.push(role);
                    }
                    Ok(Some(_)) => end.output.extend(write(&mut end.session, usize::MAX)),
                    other => panic!("{other:?}"),
                }
            }
        }
        self.collect();
        // If a side is finished, everything has arrived.
        for (end, peer) in [(&self.c, &self.l), (&self.l, &self.c)] {
            if end.session.is_finished() {
                assert!(end.output == peer.input && peer.output == end.input);
            }
        }
    }

    fn end(&mut self, role: Role) -> (&mut End, &mut Vec<u8>) {
        match role {
            Role::Connector => (&mut self.c, &mut self.to_c),
            Role::Listener => (&mut self.l, &mut self.to_l),
        }
    }
}

#[test]
fn eof_and_done_may_fall_anywhere_into_an_exchange() {
    let mut choices = Choices::default();
    let (mut runs, mut exchanged, mut unanswered) = (0, 0, 0);
    loop {
        let mut world = World::new(b"from c", b"from l");
        loop {
            let acts = world.enabled();
            if acts.is_empty() {
                break;
            }
            let act = choices.pick(&acts);
            world.act(act);
        }
        assert!(world.c.session.is_finished() && world.l.session.is_finished());
        let counts = [&world.c, &world.l].map(|end| end.session.ratchets());
        assert_eq!(counts[0], counts[1]);
        runs += 1;
        exchanged += counts[0];
        unanswered += u64::from(world.started) - counts[0];
        if !choices.advance() {
            break;
        }
    }
    assert!(runs > 1000 && exchanged > 500 && unanswered > 0, "{runs} {exchanged} {unanswered}");
}

#[test]
fn abort_or_a_cut_may_fall_anywhere_into_an_exchange() {
    let mut choices = Choices::default();
    let (mut runs, mut told) = (0, 0);
    // Each run starts with the exchange, because only points within it matter.
    loop {
        let mut world = World::new(b"", b"");
        world.act(Act::Start);
        let mut aborted = None;
        while aborted.is_none() {
            let mut acts = world.enabled();
            // A finished side sends nothing more, not even ABORT.
            let ends = [(Role::Connector, &world.c), (Role::Listener, &world.l)];
            let unfinished = ends.into_iter().filter(|(_, end)| !end.session.is_finished());
            acts.extend(unfinished.map(|(role, _)| Act::Abort(role)));
            if acts.is_empty() {
                break;
            }
            let act = choices.pick(&acts);
            if let Act::Abort(role) = act {
                // A cut at this point needs no run of its own: act() checks after every step that
                // only a side that has everything is finished.
                aborted = Some(role);
            }
            world.act(act);
        }
        // The other end receives the frames sealed before, and then the reason.
        if let Some(other) = aborted.map(Role::peer) {
            while !world.end(other).1.is_empty() {
                world.act(Act::Deliver(other));
            }
            assert_eq!(world.aborts, [other]);
            told += 1;
        }
        runs += 1;
        if !choices.advance() {
            break;
        }
    }
    assert!(runs > 1000 && told > runs / 2, "{told} of {runs}");
}

#[test]
fn a_listener_at_its_end_does_not_answer_and_still_finishes() {
    let (mut session, mut peer) = accepted(false);
    session.end_input().unwrap();
    peer.send(&mut session, Kind::Eof, &[]).unwrap();
    assert_eq!(peer.kinds(&mut session), [Kind::Eof, Kind::Done]);
    let rekey1 = peer.rekey1();
    assert_eq!(peer.send(&mut session, Kind::Rekey1, &rekey1), Ok(Event::Control));
    assert!(session.sealed().is_empty() && session.ratchets() == 0);
    peer.send(&mut session, Kind::Done, &[]).unwrap();
    assert!(session.is_finished());
}

#[test]
fn a_connector_answers_after_its_own_eof_and_done() {
    let (mut session, mut peer) = opened(ALWAYS);
    start_ratchet(&mut session);
    session.end_input().unwrap();
    peer.send(&mut session, Kind::Eof, &[]).unwrap();
    let frames = peer.recv(&mut session);
    let kinds: Vec<_> = frames.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [Kind::Rekey1, Kind::Eof, Kind::Done]);
    let (rekey2, fresh) = peer.rekey2(&frames[0].1);
    assert_eq!(peer.send(&mut session, Kind::Rekey2, &rekey2), Ok(Event::Ratchet));
    assert_eq!(peer.kinds(&mut session), [Kind::Rekey3]);
    peer.switch_sealer(&fresh);
    peer.send(&mut session, Kind::Done, &[]).unwrap();
    assert!(session.is_finished());
}

#[test]
fn a_lost_rekey3_after_eof_and_done_does_no_harm_but_a_lost_done_does() {
    for takes_done in [true, false] {
        let (mut session, mut peer) = opened(NEVER);
        start_ratchet(&mut session);
        session.end_input().unwrap();
        let frames = peer.recv(&mut session);
        assert!(session.has_told());
        peer.send(&mut session, Kind::Eof, &[]).unwrap();
        assert!(!session.has_told());
        if takes_done {
            assert_eq!(peer.kinds(&mut session), [Kind::Done]);
        }
        let (rekey2, fresh) = peer.rekey2(&frames[0].1);
        peer.send(&mut session, Kind::Rekey2, &rekey2).unwrap();
        peer.switch_sealer(&fresh);
        peer.send(&mut session, Kind::Done, &[]).unwrap();
        assert!(session.is_finished() && !session.sealed().is_empty());
        session.lost();
        assert_eq!(session.has_told(), takes_done);
        assert!(session.sealed().is_empty());
    }
}

// ---- too often, and not at all ----

/// Performs a whole exchange, started by the peer. Returns the result of its REKEY1.
fn ask(session: &mut Session, peer: &mut Forger, now: Instant) -> Result<Event, Error> {
    let rekey1 = peer.rekey1();
    let event = peer.send_at(session, Kind::Rekey1, &rekey1, now)?;
    let [(Kind::Rekey2, rekey2)] = &peer.recv(session)[..] else { panic!() };
    let fresh = peer.ratchet.read_answer(rekey2).unwrap();
    peer.switch_opener(&fresh);
    peer.send_at(session, Kind::Rekey3, &[], now)?;
    peer.switch_sealer(&fresh);
    Ok(event)
}

#[test]
fn a_listener_answers_16_exchanges_at_once_and_then_one_a_second() {
    let mut session = listener_with(keys(), Schedule::STANDARD, false);
    let mut peer = Forger::new(Role::Connector);
    peer.recv(&mut session);
    let mut now = start_time();
    for _ in 0..16 {
        assert_eq!(ask(&mut session, &mut peer, now), Ok(Event::Ratchet));
    }
    for _ in 0..5 {
        now += Duration::from_secs(1);
        assert_eq!(ask(&mut session, &mut peer, now), Ok(Event::Ratchet));
    }
    now += Duration::from_millis(999);
    let result = ask(&mut session, &mut peer, now);
    assert_eq!(result, Err(Error::Rule("REKEY1 too often")));
}

/// A connector that has sent `sent` bytes of data and then REKEY1.
fn asking(schedule: Schedule, sent: usize) -> (Session, Forger) {
    let (mut session, mut peer) = opened(schedule);
    for _ in 0..sent.div_ceil(1000) {
        fill(&mut session, &[0; 1000]);
        peer.recv(&mut session);
    }
    start_ratchet(&mut session);
    peer.recv(&mut session);
    (session, peer)
}

/// Sends frames in each of `minutes`. Returns after how many of them the answer is overdue.
fn minutes_until_overdue(
    session: &mut Session,
    peer: &mut Forger,
    minutes: impl Iterator<Item = u64>,
) -> Option<usize> {
    let mut minutes = minutes.map(|minute| start_time() + Duration::from_secs(60 * minute));
    let overdue = |now| {
        for _ in 0..3 {
            peer.send_at(session, Kind::Data, b"x", now).unwrap();
            let written = session.plain().iter().map(|piece| piece.len()).sum();
            session.written(written).unwrap();
        }
        session.is_ratchet_overdue()
    };
    minutes.position(overdue)
}

#[test]
fn a_listener_that_speaks_in_60_minutes_and_does_not_answer_is_overdue() {
    let (mut session, mut peer) = asking(Schedule::STANDARD, 10_000);
    assert_eq!(minutes_until_overdue(&mut session, &mut peer, 0..100), Some(59));
    // A late answer is still accepted.
    let (mut session, mut peer, rekey2, _) = started();
    assert_eq!(minutes_until_overdue(&mut session, &mut peer, 0..60), Some(59));
    peer.send(&mut session, Kind::Rekey2, &rekey2).unwrap();
    assert!(!session.is_ratchet_overdue());
}

#[test]
fn a_listener_that_was_stopped_for_long_is_not_overdue() {
    // The listener is stopped again and again, for a day each time.
    let (mut session, mut peer) = asking(Schedule::STANDARD, 10_000);
    let days = (0..50).map(|day| 24 * 60 * day);
    assert_eq!(minutes_until_overdue(&mut session, &mut peer, days), None);
}

#[test]
fn a_listener_whose_output_may_be_stuck_is_not_overdue_until_it_says_done() {
    let (mut session, mut peer) = asking(Schedule::STANDARD, 300_000);
    assert_eq!(minutes_until_overdue(&mut session, &mut peer, 0..10_000), None);

    let (mut session, mut peer) = opened(Schedule::STANDARD);
    (0..300).for_each(|_| {
        fill(&mut session, &[0; 1000]);
        peer.recv(&mut session);
    });
    session.end_input().unwrap();
    start_ratchet(&mut session);
    peer.recv(&mut session);
    assert_eq!(minutes_until_overdue(&mut session, &mut peer, 0..10_000), None);
    peer.send(&mut session, Kind::Done, &[]).unwrap();
    assert_eq!(minutes_until_overdue(&mut session, &mut peer, 0..100), Some(59));
}

#[test]
fn a_rekey1_that_has_not_left_is_not_overdue() {
    let (mut session, mut peer) = opened(Schedule::STANDARD);
    start_ratchet(&mut session);
    peer.take(&mut session, 1000);
    assert_eq!(minutes_until_overdue(&mut session, &mut peer, 0..100), None);
}

#[test]
fn a_listener_that_reads_what_makes_the_next_exchange_due_is_overdue() {
    let schedule = Schedule { bytes: 1_000_000, ..NEVER };
    let (mut session, mut peer) = asking(schedule, 0);
    // The connector has not read everything that arrived; the answer may be among it.
    let full: Vec<u8> = (0..12).flat_map(|_| peer.seal(Kind::Data, &[0; 65_000])).collect();
    let room = session.space().len();
    feed(&mut session, &full[..room]);
    open_all(&mut session).unwrap();
    for _ in 0..1_000 {
        assert!(!session.is_ratchet_overdue());
        fill(&mut session, &[0; 1000]);
        peer.recv(&mut session);
    }
    assert!(!session.is_ratchet_overdue());
    while session.wants_output() {
        let written = session.plain().iter().map(|piece| piece.len()).sum();
        session.written(written).unwrap();
    }
    feed(&mut session, &full[room..]);
    assert!(session.is_ratchet_overdue());
}

#[test]
fn done_for_an_eof_behind_rekey1_does_not_come_before_rekey2() {
    let (mut session, mut peer) = asking(NEVER, 0);
    session.end_input().unwrap();
    peer.recv(&mut session);
    let result = peer.send(&mut session, Kind::Done, &[]);
    assert_eq!(result, Err(Error::Rule("DONE before REKEY2")));
}

// ---- broken ----

/// A listener that has answered and waits for REKEY3; also the next keys.
fn answering() -> (Session, Forger, Fresh) {
    let (mut session, mut peer) = accepted(false);
    let rekey1 = peer.rekey1();
    assert_eq!(rekey1.len(), REKEY1_LEN);
    assert_eq!(peer.send(&mut session, Kind::Rekey1, &rekey1), Ok(Event::Ratchet));
    let [(Kind::Rekey2, rekey2)] = &peer.recv(&mut session)[..] else { panic!() };
    assert_eq!(rekey2.len(), REKEY2_LEN);
    let fresh = peer.ratchet.read_answer(rekey2).unwrap();
    peer.switch_opener(&fresh);
    (session, peer, fresh)
}

/// A connector that has started an exchange, and the REKEY2 that it waits for.
fn started() -> (Session, Forger, Vec<u8>, Fresh) {
    let (mut session, mut peer) = opened(NEVER);
    start_ratchet(&mut session);
    let (_, rekey1) = peer.recv(&mut session).pop().unwrap();
    let (rekey2, fresh) = peer.rekey2(&rekey1);
    (session, peer, rekey2, fresh)
}

/// Checks that a frame with this content, valid otherwise, breaks `rule`.
#[track_caller]
fn breaks(
    rule: &'static str,
    session: &mut Session,
    peer: &mut Forger,
    kind: Kind,
    content: &[u8],
) {
    assert_eq!(peer.send(session, kind, content), Err(Error::Rule(rule)));
}

#[test]
fn rekey1_comes_in_its_turn_from_the_connector() {
    let breaks = |(mut session, mut peer): (Session, Forger)| {
        let rekey1 = peer.rekey1();
        breaks("REKEY1 out of turn", &mut session, &mut peer, Kind::Rekey1, &rekey1);
    };
    // From a listener that plays the initiator, and during another exchange.
    breaks(opened(NEVER));
    let (session, peer, ..) = started();
    breaks((session, peer));
    let (session, peer, _) = answering();
    breaks((session, peer));
    for ends in [[Kind::Eof, Kind::Done], [Kind::Done, Kind::Eof]] {
        let (mut session, mut peer) = accepted(false);
        session.end_input().unwrap();
        for end in ends {
            peer.send(&mut session, end, &[]).unwrap();
        }
        breaks((session, peer));
    }
}

#[test]
fn rekey1_has_its_length_even_where_it_is_ignored() {
    for len in [0, REKEY1_LEN - 1, REKEY1_LEN + 1] {
        let (session, peer) = accepted(false);
        let (mut at_its_end, mut late) = accepted(false);
        at_its_end.end_input().unwrap();
        late.send(&mut at_its_end, Kind::Eof, &[]).unwrap();
        let (mut aborted, other) = accepted(false);
        aborted.abort(Reason::Interrupted).unwrap();
        for (mut session, mut peer) in [(session, peer), (at_its_end, late), (aborted, other)] {
            let result = peer.send(&mut session, Kind::Rekey1, &vec![0; len]);
            assert_eq!(result, Err(Error::Ratchet(noise::Error::Length)), "{len} bytes");
        }
    }
}

#[test]
fn rekey2_comes_once_when_asked_and_not_after_eof_and_done() {
    let breaks = |mut session: Session, mut peer: Forger, rekey2: &[u8]| {
        breaks("REKEY2 unasked", &mut session, &mut peer, Kind::Rekey2, rekey2);
    };
    for (session, peer) in [opened(NEVER), accepted(false)] {
        breaks(session, peer, &[0; REKEY2_LEN]);
    }
    let (mut session, mut peer, rekey2, fresh) = started();
    peer.send(&mut session, Kind::Rekey2, &rekey2).unwrap();
    peer.switch_sealer(&fresh);
    breaks(session, peer, &rekey2);

    let (mut session, mut peer) = opened(NEVER);
    session.end_input().unwrap();
    start_ratchet(&mut session);
    let (_, rekey1) = peer.recv(&mut session).pop().unwrap();
    let (rekey2, _) = peer.rekey2(&rekey1);
    peer.send(&mut session, Kind::Eof, &[]).unwrap();
    peer.send(&mut session, Kind::Done, &[]).unwrap();
    breaks(session, peer, &rekey2);
}

#[test]
fn rekey3_comes_once_when_due_from_the_connector() {
    let breaks = |mut session: Session, mut peer: Forger| {
        breaks("REKEY3 unasked", &mut session, &mut peer, Kind::Rekey3, &[]);
    };
    for (session, peer) in [opened(NEVER), accepted(false)] {
        breaks(session, peer);
    }
    let (session, peer, ..) = started();
    breaks(session, peer);
    let (mut session, mut peer, fresh) = answering();
    peer.send(&mut session, Kind::Rekey3, &[]).unwrap();
    peer.switch_sealer(&fresh);
    breaks(session, peer);
}

#[test]
fn eof_and_done_pass_under_the_old_key_while_rekey3_is_due() {
    let (mut session, mut peer, fresh) = answering();
    session.end_input().unwrap();
    for kind in [Kind::Data, Kind::Eof, Kind::Done] {
        peer.send(&mut session, kind, &[]).unwrap();
    }
    assert!(session.is_finished());
    assert_eq!(peer.send(&mut session, Kind::Rekey3, &[]), Ok(Event::Control));
    peer.switch_sealer(&fresh);
    let abort = peer.send(&mut session, Kind::Abort, &[1]);
    assert_eq!(abort, Ok(Event::Abort(Reason::Refused)));
}

#[test]
fn each_switch_has_its_one_place() {
    // At the listener, a frame under the new key before REKEY3, or under the old key after it.
    let (mut session, mut peer, fresh) = answering();
    peer.switch_sealer(&fresh);
    assert_eq!(peer.send(&mut session, Kind::Data, b"x"), Err(FORGED));
    let (mut session, mut peer, _) = answering();
    peer.send(&mut session, Kind::Rekey3, &[]).unwrap();
    assert_eq!(peer.send(&mut session, Kind::Data, b"x"), Err(FORGED));
    // The same at the connector with REKEY2.
    let (mut session, mut peer, _, fresh) = started();
    peer.switch_sealer(&fresh);
    assert_eq!(peer.send(&mut session, Kind::Data, b"x"), Err(FORGED));
    let (mut session, mut peer, rekey2, _) = started();
    peer.send(&mut session, Kind::Rekey2, &rekey2).unwrap();
    assert_eq!(peer.send(&mut session, Kind::Data, b"x"), Err(FORGED));
}

#[test]
fn every_byte_of_an_exchange_counts() {
    // The frames are sealed with the right keys, so only the exchange itself can detect the
    // change.
    let (_, mut peer) = accepted(false);
    let rekey1 = peer.rekey1();
    for at in 0..rekey1.len() {
        let mut altered = rekey1.clone();
        altered[at] ^= 0x80;
        let (mut session, mut peer) = accepted(false);
        let result = peer.send(&mut session, Kind::Rekey1, &altered);
        assert_eq!(result, Err(Error::Ratchet(noise::Error::Forged)), "byte {at}");
    }
    for at in (0..REKEY2_LEN).step_by(13).chain([31, 32, REKEY2_LEN - 17, REKEY2_LEN - 1]) {
        let (mut session, mut peer, mut rekey2, _) = started();
        rekey2[at] ^= 0x80;
        let result = peer.send(&mut session, Kind::Rekey2, &rekey2);
        assert_eq!(result, Err(Error::Ratchet(noise::Error::Forged)), "byte {at}");
    }
}

#[test]
fn an_exchange_is_bound_to_the_one_before() {
    // The REKEY1 of a past exchange, sealed with the current key.
    let (mut session, mut peer) = accepted(false);
    let rekey1 = peer.rekey1();
    peer.send(&mut session, Kind::Rekey1, &rekey1).unwrap();
    let (_, rekey2) = peer.recv(&mut session).pop().unwrap();
    let fresh = peer.ratchet.read_answer(&rekey2).unwrap();
    peer.send(&mut session, Kind::Rekey3, &[]).unwrap();
    peer.switch_sealer(&fresh);
    let result = peer.send(&mut session, Kind::Rekey1, &rekey1);
    assert_eq!(result, Err(Error::Ratchet(noise::Error::Forged)));

    // The same with REKEY2.
    let (mut session, mut peer, rekey2, fresh) = started();
    peer.send(&mut session, Kind::Rekey2, &rekey2).unwrap();
    peer.switch_sealer(&fresh);
    start_ratchet(&mut session);
    let result = peer.send(&mut session, Kind::Rekey2, &rekey2);
    assert_eq!(result, Err(Error::Ratchet(noise::Error::Forged)));
}

// ---- healing ----

/// Delivers everything sealed at `from` to all of `to`, and returns it.
fn pass(from: &mut Session, to: &mut [&mut Session]) -> Vec<u8> {
    let sealed = from.sealed().to_vec();
    from.drained(sealed.len());
    for session in to {
        feed(session, &sealed);
    }
    sealed
}

/// A connector and a listener after some data, and a copy of each with the same keys and
/// counters.
struct Stolen {
    c: Session,
    l: Session,
    copy_of_c: Session,
    copy_of_l: Session,
}

fn stolen() -> Stolen {
    let mut all = Stolen {
        c: connector(NEVER, false),
        l: listener(false),
        copy_of_c: connector(NEVER, false),
        copy_of_l: listener(false),
    };
    let Stolen { c, l, copy_of_c, copy_of_l } = &mut all;
    pass(l, &mut [c, copy_of_c]);
    pass(copy_of_l, &mut []);
    for session in [&mut *c, &mut *copy_of_c] {
        assert!(matches!(open(session), Ok(Some(Event::Open(_)))));
        fill(session, b"from c");
    }
    for session in [&mut *l, &mut *copy_of_l] {
        fill(session, b"from l");
    }
    let sealed = pass(c, &mut [l, copy_of_l]);
    assert!(pass(copy_of_c, &mut []) == sealed, "not a copy of the connector");
    let sealed = pass(l, &mut [c, copy_of_c]);
    assert!(pass(copy_of_l, &mut []) == sealed, "not a copy of the listener");
    for session in [c, l, copy_of_c, copy_of_l] {
        assert_eq!(open_all(session), Ok(vec![Event::Data]));
        write(session, usize::MAX);
    }
    all
}

/// Performs an exchange without the copies. Returns REKEY1, REKEY2 and REKEY3 as sent, for the
/// copies to hear.
fn exchange(c: &mut Session, l: &mut Session) -> [Vec<u8>; 3] {
    start_ratchet(c);
    let rekey1 = pass(c, &mut [l]);
    assert_eq!(open_all(l), Ok(vec![Event::Ratchet]));
    let rekey2 = pass(l, &mut [c]);
    assert_eq!(open_all(c), Ok(vec![Event::Ratchet]));
    let rekey3 = pass(c, &mut [l]);
    assert_eq!(open_all(l), Ok(vec![Event::Control]));
    [rekey1, rekey2, rekey3]
}

/// Returns the next data frame from `from`.
fn next_data(from: &mut Session) -> Vec<u8> {
    fill(from, b"secret");
    pass(from, &mut [])
}

fn reads(session: &mut Session, frame: &[u8]) -> Result<Vec<u8>, Error> {
    feed(session, frame);
    open_all(session)?;
    Ok(write(session, usize::MAX))
}

#[test]
fn before_an_exchange_a_copy_reads_and_writes() {
    let Stolen { mut c, mut l, mut copy_of_c, mut copy_of_l } = stolen();
    assert_eq!(reads(&mut copy_of_l, &next_data(&mut c)), Ok(b"secret".to_vec()));
    assert_eq!(reads(&mut copy_of_c, &next_data(&mut l)), Ok(b"secret".to_vec()));
    let Stolen { mut c, mut l, mut copy_of_c, mut copy_of_l } = stolen();
    assert_eq!(reads(&mut l, &next_data(&mut copy_of_c)), Ok(b"secret".to_vec()));
    assert_eq!(reads(&mut c, &next_data(&mut copy_of_l)), Ok(b"secret".to_vec()));
}

#[test]
fn after_an_exchange_a_copy_of_the_connector_is_shut_out() {
    // The copy only listens, or has started an exchange of its own.
    for starts in [false, true] {
        let expected = if starts {
            Error::Ratchet(noise::Error::Forged)
        } else {
            Error::Rule("REKEY2 unasked")
        };
        let after = || {
            let Stolen { mut c, mut l, mut copy_of_c, .. } = stolen();
            let [_, rekey2, _] = exchange(&mut c, &mut l);
            if starts {
                start_ratchet(&mut copy_of_c);
                pass(&mut copy_of_c, &mut []);
            }
            (l, copy_of_c, rekey2)
        };
        let (mut l, mut copy_of_c, rekey2) = after();
        assert_eq!(reads(&mut copy_of_c, &rekey2), Err(expected));
        assert_eq!(reads(&mut l, &next_data(&mut copy_of_c)), Err(FORGED));
        let (mut l, mut copy_of_c, _) = after();
        assert_eq!(reads(&mut copy_of_c, &next_data(&mut l)), Err(FORGED));
    }
}

#[test]
fn after_an_exchange_a_copy_of_the_listener_is_shut_out() {
    let Stolen { mut c, mut l, mut copy_of_l, .. } = stolen();
    let [rekey1, _, rekey3] = exchange(&mut c, &mut l);
    // The copy answers like the listener, with its own ephemeral keys.
    feed(&mut copy_of_l, &rekey1);
    assert_eq!(open_all(&mut copy_of_l), Ok(vec![Event::Ratchet]));
    pass(&mut copy_of_l, &mut []);
    feed(&mut copy_of_l, &rekey3);
    assert_eq!(open_all(&mut copy_of_l), Ok(vec![Event::Control]));
    assert_eq!(reads(&mut copy_of_l, &next_data(&mut c)), Err(FORGED));
    assert_eq!(reads(&mut c, &next_data(&mut copy_of_l)), Err(FORGED));
}

#[test]
fn after_an_exchange_no_key_that_a_thief_can_make_opens_or_seals() {
    let Stolen { mut c, mut l, .. } = stolen();
    // The thief has all keys of both ends, ignores the rules, and hears everything.
    let mut thief = Forger::new(Role::Connector);
    let content = |frame: &[u8], opener: &mut Opener| {
        let mut frame = frame.to_vec();
        let opened = opener.open(&mut frame).unwrap().unwrap();
        frame[opened.content].to_vec()
    };
    let [rekey1, rekey2, _] = exchange(&mut c, &mut l);
    // OPEN and one data frame precede REKEY2, and one frame precedes REKEY1.
    let keys = ends::keys();
    let skip = |k: &[u8; 32], n: usize| {
        let (mut sealer, mut opener) =
            (Sealer::new(Cipher::ChaChaPoly, k), Opener::new(Cipher::ChaChaPoly, k));
        let mut frame = vec![0; 274];
        for _ in 0..n {
            sealer.seal(Kind::Data, &mut frame, 0).unwrap();
            opener.open(&mut frame).unwrap().unwrap();
        }
        (sealer, opener)
    };
    let (mut old_sealer, mut old_c2l) = skip(&keys.c2l, 1);
    let (_, mut old_l2c) = skip(&keys.l2c, 2);
    let rekey1 = content(&rekey1, &mut old_c2l);
    let rekey2 = content(&rekey2, &mut old_l2c);
    assert_eq!((rekey1.len(), rekey2.len()), (REKEY1_LEN, REKEY2_LEN));

    // As the initiator, the thief cannot read the answer, which was made for another key.
    thief.rekey1();
    assert!(matches!(thief.ratchet.read_answer(&rekey2), Err(noise::Error::Forged)));
    // As the responder, the thief reads REKEY1, and gets other keys.
    let (_, own) = thief.ratchet.answer(&rekey1, random::ephemerals().unwrap()).unwrap();

    let (from_c, from_l) = (next_data(&mut c), next_data(&mut l));
    let openers = [
        (&from_c, old_c2l),
        (&from_l, old_l2c),
        (&from_c, Opener::new(Cipher::ChaChaPoly, &keys.c2l)),
        (&from_l, Opener::new(Cipher::ChaChaPoly, &keys.l2c)),
        (&from_c, Opener::new(Cipher::ChaChaPoly, &own.c2l)),
        (&from_l, Opener::new(Cipher::ChaChaPoly, &own.l2c)),
        (&from_c, Opener::new(Cipher::ChaChaPoly, &keys.rk)),
    ];
    for (frame, mut opener) in openers {
        assert_eq!(opener.open(&mut frame.clone()), Err(frame::Error::Forged));
    }
    // REKEY1 and REKEY3 have used two counters of the old key.
    let mut frame = vec![0; 274];
    for _ in 0..2 {
        old_sealer.seal(Kind::Rekey3, &mut frame, 0).unwrap();
    }
    for sealer in [
        &mut old_sealer,
        &mut Sealer::new(Cipher::ChaChaPoly, &own.c2l),
        &mut Sealer::new(Cipher::ChaChaPoly, &keys.c2l),
    ] {
        let Stolen { mut c, mut l, .. } = stolen();
        exchange(&mut c, &mut l);
        sealer.seal(Kind::Data, &mut frame, 0).unwrap();
        assert_eq!(reads(&mut l, &frame), Err(FORGED));
    }
    // The two sides continue.
    assert_eq!(reads(&mut l, &from_c), Ok(b"secret".to_vec()));
    assert_eq!(reads(&mut c, &from_l), Ok(b"secret".to_vec()));
}
