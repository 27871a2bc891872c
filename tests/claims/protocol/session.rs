//! The rules of a session: two ends that obey them, and peers that break each one.

use crate::support::ends::{
    self, End, Forger, N_L, NEVER, Pair, STEPS, accepted, bytes, connector, feed, fill, keys,
    listener, open, open_all, start_ratchet, write,
};
use proptest::prelude::*;
use scat::protocol::frame::{self, Kind, MAX_CONTENT, MAX_FRAME};
use scat::protocol::inbound::CAPACITY;
use scat::protocol::noise;
use scat::protocol::outbound::BULK;
use scat::protocol::role::Role;
use scat::protocol::sas::Sas;
use scat::protocol::session::{Error, Event, Reason, Session};

// ---- two ends that obey the rules ----

/// The size of one step: nothing, a few bytes, parts of frames, everything.
fn size() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), 1..4usize, 1..600usize, 1..70_000usize, 1..600_000usize]
}

fn input() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![Just(0), 1..3000usize, 1..2_000_000usize];
    (len, any::<u8>()).prop_map(|(len, first)| bytes(len, first))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn all_bytes_arrive_both_ways_and_both_ends_finish(
        c in input(),
        l in input(),
        sizes in prop::collection::vec(prop::array::uniform8(size()), 1..20),
        rounds in 0..500usize,
    ) {
        let c = End::new(connector(NEVER, false), c);
        let l = End::new(listener(false), l);
        Pair::new(c, l).run(&sizes, rounds);
    }

    #[test]
    fn memory_is_bounded_while_nobody_reads_and_nothing_is_lost(
        lens in prop::collection::vec(prop_oneof![0..300usize, 0..=MAX_CONTENT], 1..6),
        reads in prop_oneof![
            19 => prop::collection::vec(1..200_000usize, 1..6),
            1 => Just(vec![1, 1, 2, 997]),
        ],
        held in any::<bool>(),
    ) {
        let mut session = listener(held);
        let mut peer = Forger::new(Role::Connector);
        let mut wire = Vec::new();
        let mut sent = Vec::new();
        let mut lens = lens.iter().cycle();
        while wire.len() < CAPACITY + 200_000 {
            let content = bytes(*lens.next().unwrap(), wire.len() as u8);
            wire.extend(peer.seal(Kind::Data, &content));
            sent.extend(content);
        }
        wire.extend(peer.seal(Kind::Eof, &[]));
        let mut rest = &wire[..];
        let some = |session: &mut Session, rest: &mut &[u8]| {
            let n = session.space().len().min(rest.len());
            feed(session, &rest[..n]);
            *rest = &rest[n..];
            open_all(session).unwrap();
            n
        };
        while some(&mut session, &mut rest) > 0 {}
        let most = CAPACITY;
        // Empty frames need no memory, so all of them may pass.
        if !sent.is_empty() {
            prop_assert!(session.space().is_empty());
            prop_assert!(wire.len() - rest.len() <= most);
            // A waiting side should hold at least this much (scat-protocol(7), POLICIES).
            prop_assert!(wire.len() - rest.len() >= 256 << 10);
        }
        if held {
            prop_assert!(!session.wants_output());
            session.confirm().unwrap();
        }
        let mut out = Vec::new();
        for read in reads.iter().cycle() {
            let written = write(&mut session, *read);
            out.extend_from_slice(&written);
            if some(&mut session, &mut rest) == 0 && written.is_empty() {
                break;
            }
        }
        prop_assert!(rest.is_empty() && out == sent);
        prop_assert!(session.output_ended());
    }
}

#[test]
fn one_byte_at_a_time_arrives() {
    let c = End::new(connector(NEVER, false), bytes(2000, 1));
    let l = End::new(listener(false), bytes(3000, 2));
    let mut pair = Pair::new(c, l);
    // 2000 frames of one byte, carried byte by byte.
    pair.run(&[[1, 1, 1, 1, 1, 1, 1, 1]], 1_000_000);
    assert_eq!(STEPS, 8);
}

#[test]
fn both_ends_show_the_same_string() {
    let sas = Sas::new(&keys().h3, &N_L);
    let mut peer = Forger::new(Role::Listener);
    let mut c = connector(NEVER, false);
    assert_eq!(peer.send(&mut c, Kind::Open, &N_L), Ok(Event::Open(sas)));
    let mut l = listener(false);
    assert_eq!(Forger::new(Role::Connector).recv(&mut l), [(Kind::Open, N_L.to_vec())]);
}

// ---- who may send when ----

/// A connector that starts no exchange of fresh keys.
fn opened(held: bool) -> (Session, Forger) {
    ends::opened(NEVER, held)
}

#[test]
fn a_connector_sends_nothing_before_open_but_abort() {
    let mut session = connector(NEVER, false);
    let mut peer = Forger::new(Role::Listener);
    assert!(!session.wants_input() && !session.wants_output());
    assert!(!session.may_start_ratchet());
    session.end_input().unwrap();
    assert!(!session.input_ended() && session.sealed().is_empty());
    session.abort(Reason::Timeout).unwrap();
    assert_eq!(peer.recv(&mut session), [(Kind::Abort, vec![4])]);
}

#[test]
fn a_held_side_sends_no_data_eof_or_done_and_writes_nothing() {
    for (mut session, mut peer) in [opened(true), accepted(true)] {
        assert!(!session.wants_input());
        session.end_input().unwrap();
        peer.send(&mut session, Kind::Data, b"secret").unwrap();
        peer.send(&mut session, Kind::Eof, &[]).unwrap();
        assert!(!session.wants_input() && !session.wants_output());
        assert!(session.sealed().is_empty());
        // The user accepts.
        session.confirm().unwrap();
        assert!(session.wants_input());
        assert_eq!(peer.recv(&mut session), [(Kind::Data, vec![])]);
        assert_eq!(write(&mut session, 99), b"secret");
        fill(&mut session, b"answer");
        session.end_input().unwrap();
        assert_eq!(peer.kinds(&mut session), [Kind::Done, Kind::Data, Kind::Eof]);
    }
}

#[test]
fn a_held_side_confirms_an_empty_stream_only_when_released() {
    for (mut session, mut peer) in [opened(true), accepted(true)] {
        peer.send(&mut session, Kind::Eof, &[]).unwrap();
        assert!(session.sealed().is_empty());
        session.confirm().unwrap();
        assert_eq!(peer.kinds(&mut session), [Kind::Data, Kind::Done]);
    }
}

/// Only the first frame of a stream can show that the user has accepted.
#[test]
fn a_stream_that_begins_with_empty_data_was_accepted_by_a_person() {
    for (first, then, is_told) in [(&b""[..], &b"x"[..], true), (b"x", b"", false)] {
        for (mut session, mut peer) in [opened(true), self::accepted(true)] {
            assert!(!session.peer_accepted());
            for content in [first, then] {
                peer.send(&mut session, Kind::Data, content).unwrap();
            }
            assert_eq!(session.peer_accepted(), is_told, "{first:?}");
            session.confirm().unwrap();
            assert_eq!(write(&mut session, 99), b"x");
        }
    }
}

#[test]
fn a_held_side_exchanges_keys_and_aborts() {
    let (mut session, mut peer) = opened(true);
    start_ratchet(&mut session);
    let [(Kind::Rekey1, rekey1)] = &peer.recv(&mut session)[..] else { panic!() };
    let (rekey2, fresh) = peer.rekey2(rekey1);
    assert_eq!(peer.send(&mut session, Kind::Rekey2, &rekey2), Ok(Event::Ratchet));
    assert_eq!(peer.kinds(&mut session), [Kind::Rekey3]);
    peer.switch_opener(&fresh);
    session.abort(Reason::Refused).unwrap();
    assert_eq!(peer.recv(&mut session), [(Kind::Abort, vec![1])]);

    let (mut session, mut peer) = accepted(true);
    let rekey1 = peer.rekey1();
    assert_eq!(peer.send(&mut session, Kind::Rekey1, &rekey1), Ok(Event::Ratchet));
    assert_eq!(peer.kinds(&mut session), [Kind::Rekey2]);
}

#[test]
fn nothing_follows_abort() {
    for (mut session, mut peer) in [opened(false), accepted(false)] {
        fill(&mut session, b"before");
        session.abort(Reason::Interrupted).unwrap();
        assert!(!session.wants_input() && !session.wants_output());
        assert!(!session.may_start_ratchet());
        session.end_input().unwrap();
        session.abort(Reason::Protocol).unwrap();
        session.confirm().unwrap();
        peer.send(&mut session, Kind::Eof, &[]).unwrap();
        let frames = peer.recv(&mut session);
        assert_eq!(frames, [(Kind::Data, b"before".to_vec()), (Kind::Abort, vec![5])]);
    }
    let (mut session, mut peer) = accepted(false);
    session.abort(Reason::Interrupted).unwrap();
    let rekey1 = peer.rekey1();
    peer.send(&mut session, Kind::Rekey1, &rekey1).unwrap();
    assert_eq!(peer.kinds(&mut session), [Kind::Abort]);
}

#[test]
fn done_waits_until_the_last_byte_is_written() {
    for (mut session, mut peer) in [opened(false), accepted(false)] {
        peer.send(&mut session, Kind::Data, b"abc").unwrap();
        peer.send(&mut session, Kind::Data, &[]).unwrap();
        peer.send(&mut session, Kind::Eof, &[]).unwrap();
        assert_eq!(write(&mut session, 2), b"ab");
        assert!(!session.output_ended() && session.sealed().is_empty());
        assert_eq!(write(&mut session, 2), b"c");
        assert!(session.output_ended());
        assert_eq!(peer.kinds(&mut session), [Kind::Done]);
        assert!(!session.is_finished());
        session.end_input().unwrap();
        session.end_input().unwrap();
        assert_eq!(peer.kinds(&mut session), [Kind::Eof]);
        assert!(!session.is_acknowledged());
        peer.send(&mut session, Kind::Done, &[]).unwrap();
        assert!(session.is_acknowledged() && session.is_finished());
    }
}

// ---- a full outbound ----

/// Takes input until there is no room for more.
fn stuff(session: &mut Session) {
    for _ in 0..100 {
        let Some(room) = session.room() else { return };
        let n = room.iter().map(|piece| piece.len()).sum();
        assert!(n > 0);
        session.filled(n).unwrap();
    }
    panic!("never full");
}

#[test]
fn a_full_listener_still_answers_everything() {
    // OPEN is still queued, or data takes all of the room.
    for read_open in [false, true] {
        let mut session = listener(false);
        let mut peer = Forger::new(Role::Connector);
        if read_open {
            peer.recv(&mut session);
        }
        stuff(&mut session);
        assert!(session.sealed().len() > BULK - MAX_FRAME);
        let rekey1 = peer.rekey1();
        peer.send(&mut session, Kind::Rekey1, &rekey1).unwrap();
        peer.send(&mut session, Kind::Data, b"in").unwrap();
        peer.send(&mut session, Kind::Eof, &[]).unwrap();
        session.end_input().unwrap();
        assert_eq!(write(&mut session, 99), b"in");
        session.abort(Reason::Interrupted).unwrap();

        peer.take(&mut session, usize::MAX);
        let mut kinds = Vec::new();
        while let Some((kind, content)) = peer.open() {
            if kind == Kind::Rekey2 {
                let fresh = peer.ratchet.read_answer(&content).unwrap();
                peer.switch_opener(&fresh);
            }
            kinds.push(kind);
        }
        kinds.retain(|kind| !matches!(kind, Kind::Data | Kind::Open));
        assert_eq!(kinds, [Kind::Rekey2, Kind::Eof, Kind::Done, Kind::Abort]);
    }
}

#[test]
fn a_full_connector_still_answers_everything() {
    for first in [false, true] {
        let (mut session, mut peer) = opened(false);
        start_ratchet(&mut session);
        if first {
            // REKEY1 has been sent, and data takes all of the room.
            peer.take(&mut session, usize::MAX);
        }
        stuff(&mut session);
        if !first {
            peer.take(&mut session, usize::MAX);
        }
        let (kind, rekey1) = peer.open().unwrap();
        assert_eq!(kind, Kind::Rekey1);
        stuff(&mut session);
        assert!(!session.may_start_ratchet(), "would start without room");
        let (rekey2, fresh) = peer.rekey2(&rekey1);
        peer.send(&mut session, Kind::Rekey2, &rekey2).unwrap();
        peer.switch_sealer(&fresh);
        peer.send(&mut session, Kind::Eof, &[]).unwrap();
        session.end_input().unwrap();
        session.abort(Reason::Interrupted).unwrap();

        peer.take(&mut session, usize::MAX);
        let mut kinds = Vec::new();
        while let Some((kind, _)) = peer.open() {
            if kind == Kind::Rekey3 {
                peer.switch_opener(&fresh);
            }
            kinds.push(kind);
        }
        kinds.retain(|kind| *kind != Kind::Data);
        assert_eq!(kinds, [Kind::Rekey3, Kind::Done, Kind::Eof, Kind::Abort]);
    }
}

// ---- every rule broken once ----

/// Returns the result of the last of `frames`; the others are allowed. If `ended`, the session
/// has sent its own EOF.
fn hears(
    (mut session, mut peer): (Session, Forger),
    ended: bool,
    frames: &[(Kind, &[u8])],
) -> Result<Event, Error> {
    if ended {
        session.end_input().unwrap();
    }
    let ((kind, content), before) = frames.split_last().unwrap();
    for (kind, content) in before {
        peer.send(&mut session, *kind, content).unwrap();
    }
    peer.send(&mut session, *kind, content)
}

#[track_caller]
fn breaks(
    rule: &'static str,
    side: fn(bool) -> (Session, Forger),
    ended: bool,
    frames: &[(Kind, &[u8])],
) {
    assert_eq!(hears(side(false), ended, frames), Err(Error::Rule(rule)), "{frames:?}");
    // The rules also hold while the user has not answered.
    if !ended {
        assert_eq!(hears(side(true), ended, frames), Err(Error::Rule(rule)), "{frames:?}");
    }
}

const EOF: (Kind, &[u8]) = (Kind::Eof, &[]);
const DONE: (Kind, &[u8]) = (Kind::Done, &[]);

#[test]
fn the_stream_has_one_end_and_nothing_after_it() {
    for side in [opened, accepted] {
        breaks("DATA after EOF", side, false, &[EOF, (Kind::Data, b"x")]);
        breaks("DATA after EOF", side, false, &[EOF, (Kind::Data, b"")]);
        breaks("DATA after EOF", side, true, &[EOF, DONE, (Kind::Data, b"x")]);
        breaks("EOF twice", side, false, &[(Kind::Data, b"x"), EOF, EOF]);
        breaks("EOF twice", side, true, &[EOF, DONE, EOF]);
    }
}

#[test]
fn done_comes_once_and_after_our_eof() {
    for side in [opened, accepted] {
        breaks("DONE before our EOF", side, false, &[DONE]);
        breaks("DONE before our EOF", side, false, &[EOF, DONE]);
        breaks("DONE twice", side, true, &[DONE, DONE]);
        breaks("DONE twice", side, true, &[EOF, DONE, DONE]);
        // The peer may send EOF and DONE in either order.
        assert_eq!(hears(side(false), true, &[DONE, (Kind::Data, b"x")]), Ok(Event::Data));
        assert_eq!(hears(side(false), true, &[DONE, EOF]), Ok(Event::Eof));
    }
}

#[test]
fn bare_frames_are_bare() {
    for side in [opened, accepted] {
        breaks("content in a bare frame", side, false, &[(Kind::Eof, b"x")]);
        breaks("content in a bare frame", side, true, &[(Kind::Done, b"x")]);
    }
    let (mut session, mut peer) = accepted(false);
    let rekey1 = peer.rekey1();
    peer.send(&mut session, Kind::Rekey1, &rekey1).unwrap();
    let error = peer.send(&mut session, Kind::Rekey3, b"x");
    assert_eq!(error, Err(Error::Rule("content in a bare frame")));
}

#[test]
fn open_is_the_listeners_first_frame() {
    let unopened = |held| (connector(NEVER, held), Forger::new(Role::Listener));
    for kind in [Kind::Data, Kind::Eof, Kind::Done, Kind::Rekey1, Kind::Rekey2, Kind::Rekey3] {
        breaks("a frame before OPEN", unopened, false, &[(kind, &[])]);
    }
    breaks("OPEN unasked", opened, false, &[(Kind::Open, &N_L)]);
    breaks("OPEN unasked", accepted, false, &[(Kind::Open, &N_L)]);
    for wrong in [&[][..], &N_L[..31], &[0; 33], &[0; 1000]] {
        breaks("OPEN's length", unopened, false, &[(Kind::Open, wrong)]);
    }
    let mut other = N_L;
    for at in 0..32 {
        other[at] ^= 1;
        let result = hears(unopened(false), false, &[(Kind::Open, &other)]);
        assert_eq!(result, Err(Error::Commitment));
        other[at] ^= 1;
    }
}

#[test]
fn a_failed_opening_opens_nothing() {
    let mut other = N_L;
    other[0] ^= 1;
    for wrong in [&other[..], &N_L[..31], &[]] {
        let mut session = connector(NEVER, false);
        Forger::new(Role::Listener).send(&mut session, Kind::Open, wrong).unwrap_err();
        assert!(!session.wants_input(), "{} bytes", wrong.len());
        session.end_input().unwrap();
        assert!(session.sealed().is_empty());
    }
}

#[test]
fn abort_has_one_known_code() {
    let unopened = |held| (connector(NEVER, held), Forger::new(Role::Listener));
    let reasons = [
        Reason::Refused,
        Reason::OutputClosed,
        Reason::Protocol,
        Reason::Timeout,
        Reason::Interrupted,
        Reason::OutputFailed,
        Reason::InputFailed,
        Reason::Left,
    ];
    for side in [unopened, opened, accepted] {
        for (reason, code) in reasons.into_iter().zip(1..) {
            assert_eq!(reason as u8, code);
            let abort: &[(Kind, &[u8])] = &[(Kind::Abort, &[code])];
            assert_eq!(hears(side(true), false, abort), Ok(Event::Abort(reason)));
        }
        for code in [0, 9, 255] {
            // A code of a later version also ends the session.
            let abort: &[(Kind, &[u8])] = &[(Kind::Abort, &[code])];
            let end = Ok(Event::Abort(Reason::Protocol));
            assert_eq!(hears(side(true), false, abort), end);
        }
        for wrong in [&[][..], &[1, 1], &[0; 32]] {
            breaks("ABORT's length", side, false, &[(Kind::Abort, wrong)]);
        }
    }
}

#[test]
fn a_garbled_exchange_is_an_error() {
    for (wrong, err) in [
        (&[][..], noise::Error::Length),
        (&[0; 31], noise::Error::Length),
        (&[0; 1247], noise::Error::Length),
        (&[0; 1248], noise::Error::Forged),
        (&[0; 1249], noise::Error::Length),
    ] {
        let result = hears(accepted(false), false, &[(Kind::Rekey1, wrong)]);
        assert_eq!(result, Err(Error::Ratchet(err)), "{} bytes", wrong.len());
    }
    for len in [0, 31, 1151, 1152, 1153] {
        let (mut session, mut peer) = opened(false);
        start_ratchet(&mut session);
        let result = peer.send(&mut session, Kind::Rekey2, &vec![9; len]);
        assert!(matches!(result, Err(Error::Ratchet(_))), "{len}: {result:?}");
    }
    // A right one with one byte too many.
    let (mut session, mut peer) = accepted(false);
    let mut rekey1 = peer.rekey1();
    rekey1.push(0);
    let result = peer.send(&mut session, Kind::Rekey1, &rekey1);
    assert!(matches!(result, Err(Error::Ratchet(_))), "{result:?}");
}

#[test]
fn a_frame_of_another_direction_is_refused() {
    // The session's own frame, reflected.
    let (mut session, _) = accepted(false);
    fill(&mut session, b"mine");
    let mine = session.sealed().to_vec();
    feed(&mut session, &mine);
    assert_eq!(open(&mut session), Err(Error::Frame(frame::Error::Forged)));
    assert!(!session.wants_output());
}
