//! The three flights between both ends in memory: altered, cut, mixed up, reflected, and from a
//! hostile peer.

use crate::support::hex;
use crate::support::peer::{self, Handshake, Options};
use scat::protocol::cipher::Cipher;
use scat::protocol::handshake::{
    Accepted, Connected, Error, FLIGHT2_LEN, FLIGHT3_LEN, Features, Initiator, Local, Mismatch,
    PREFACE_LEN, Preface, Responder, ResponderReply, check_preface, flight1_len, preface,
};
use scat::protocol::noise::{self, Ephemerals};
use scat::protocol::role::Role;
use scat::protocol::sas;
use scat::protocol::secret::Secret;

/// Fixed values for everything that one side draws, so that a test can repeat a handshake with
/// one byte changed.
fn fresh(seed: u8) -> Ephemerals {
    Ephemerals { e: key(seed), e1: [key(seed ^ 0x40), key(seed ^ 0x40)], m: key(seed ^ 0x80) }
}

fn key(byte: u8) -> Secret {
    Secret::copy(&[byte; 32])
}

const N_C: [u8; 32] = [0xc0; 32];
const N_L: [u8; 32] = [0x10; 32];

/// The settings of connector and listener, with the same pre-shared key or none.
fn locals(psk: bool) -> (Local, Local) {
    locals_with(psk, [Features::NONE; 2])
}

/// The same, with what the connector offers and the listener would choose.
fn locals_with(psk: bool, [offers, chooses]: [Features; 2]) -> (Local, Local) {
    let psk = || psk.then(|| key(9));
    let c = Local::new(key(1), false, psk(), offers);
    (c, Local::new(key(2), true, psk(), chooses))
}

/// Every combination of what can be offered or chosen.
fn features() -> [Features; 4] {
    [(false, false), (true, false), (false, true), (true, true)]
        .map(|(aes, reconnect)| Features { aes, reconnect })
}

fn connect(local: &Local) -> (Initiator<'_>, Vec<u8>) {
    Initiator::new(local, fresh(3), &N_C).unwrap()
}

fn answer<'a>(
    local: &'a Local,
    flight1: &[u8],
) -> Result<(ResponderReply<'a>, [u8; FLIGHT2_LEN]), Error> {
    Responder::new(local).answer(flight1, fresh(4), &N_L)
}

/// Performs the connector's steps from flight 2 to flight 3, preface first.
fn finish(
    local: &Local,
    initiator: Initiator<'_>,
    flight2: &[u8; FLIGHT2_LEN],
) -> Option<(Connected, [u8; FLIGHT3_LEN])> {
    if check_preface(flight2, Role::Listener, local.has_psk()) != Preface::Fits {
        return None;
    }
    initiator.read_flight2(flight2).ok()?.write_flight3().ok()
}

/// All three flights of an undisturbed handshake.
fn flights(psk: bool) -> (Vec<u8>, [u8; FLIGHT2_LEN], [u8; FLIGHT3_LEN]) {
    flights_of(&locals(psk))
}

fn flights_of((c, l): &(Local, Local)) -> (Vec<u8>, [u8; FLIGHT2_LEN], [u8; FLIGHT3_LEN]) {
    let (initiator, flight1) = connect(c);
    let (_, flight2) = answer(l, &flight1).unwrap();
    let (_, flight3) = finish(c, initiator, &flight2).unwrap();
    (flight1, flight2, flight3)
}

fn public(secret: u8) -> [u8; 32] {
    let secret = x25519_dalek::StaticSecret::from([secret; 32]);
    x25519_dalek::PublicKey::from(&secret).to_bytes()
}

fn refusal<T>(result: Result<T, Error>) -> Error {
    result.err().expect("not accepted")
}

const BAD_KEY: Error = Error::Noise(noise::Error::BadKey);
const FORGED: Error = Error::Noise(noise::Error::Forged);
const LENGTH: Error = Error::Noise(noise::Error::Length);

#[test]
fn both_ends_reach_the_same_keys_and_know_each_other() {
    for psk in [false, true] {
        let (c, l) = locals(psk);
        let (initiator, flight1) = connect(&c);
        assert_eq!(flight1.len(), flight1_len(psk));
        assert_eq!(flight1_len(psk), if psk { 1256 } else { 1224 });
        let (reply, flight2) = answer(&l, &flight1).unwrap();
        let (connected, flight3) = finish(&c, initiator, &flight2).unwrap();
        let accepted = reply.read_flight3(&flight3).unwrap();

        let (a, b) = (&connected.keys, &accepted.keys);
        let bytes =
            |keys: &scat::protocol::handshake::Keys| (*keys.c2l, *keys.l2c, *keys.rk, keys.h3);
        assert_eq!(bytes(a), bytes(b));
        assert!(*a.c2l != *a.l2c && *a.l2c != *a.rk);
        assert_eq!((connected.peer.key, connected.peer.long_lived), (public(2), true));
        assert_eq!((accepted.peer.key, accepted.peer.long_lived), (public(1), false));
        assert_eq!(connected.commit, sas::commit(&connected.h1, &accepted.n_l));
    }
}

#[test]
fn both_ends_agree_on_the_features_that_both_have() {
    for psk in [false, true] {
        for offers in features() {
            for chooses in features() {
                let (c, l) = locals_with(psk, [offers, chooses]);
                let (initiator, flight1) = connect(&c);
                let (reply, flight2) = answer(&l, &flight1).unwrap();
                let (connected, flight3) = finish(&c, initiator, &flight2).unwrap();
                let accepted = reply.read_flight3(&flight3).unwrap();

                let flags = psk as u8 | (offers.aes as u8) << 1 | (offers.reconnect as u8) << 2;
                assert_eq!(flight1[..PREFACE_LEN], [&b"SCAT1C"[..], &[flags, b'\n']].concat());
                assert_eq!(flight2[..PREFACE_LEN], preface(Role::Listener, psk, Features::NONE));
                let aes = offers.aes && chooses.aes;
                let reconnect = offers.reconnect && chooses.reconnect;
                let cipher = if aes { Cipher::AesGcm } else { Cipher::ChaChaPoly };
                let (a, b) = (&connected.keys, &accepted.keys);
                assert_eq!((a.cipher, b.cipher), (cipher, cipher));
                assert_eq!((a.kr.is_some(), b.kr.is_some()), (reconnect, reconnect));
                assert_eq!(a.kr.as_deref(), b.kr.as_deref());
                assert_ne!(a.kr.as_deref(), Some(&*a.rk));
                // The features do not affect whether a key counts as long-lived.
                assert!(connected.peer.long_lived && !accepted.peer.long_lived);
            }
        }
    }
}

#[test]
fn two_handshakes_have_no_value_in_common() {
    let (c, l) = locals(false);
    let run = |seed: u8| -> (Connected, Accepted) {
        let (initiator, flight1) = Initiator::new(&c, fresh(seed), &N_C).unwrap();
        let (reply, flight2) = answer(&l, &flight1).unwrap();
        let (connected, flight3) = finish(&c, initiator, &flight2).unwrap();
        (connected, reply.read_flight3(&flight3).unwrap())
    };
    let ((a, _), (b, _)) = (run(3), run(5));
    assert!(*a.keys.c2l != *b.keys.c2l && a.keys.h3 != b.keys.h3 && a.commit != b.commit);
}

// ---- altered in transit ----

/// Each byte of `flight` with one bit flipped; in the last byte of an X25519 key, the highest,
/// which X25519 ignores.
fn alterations(flight: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..flight.len()).map(move |at| {
        let mut altered = flight.to_vec();
        altered[at] ^= 1 << (at % 8);
        (at, altered)
    })
}

/// Neither side gets a session. The listener refuses the flight or, because flight 1 is not
/// authenticated without a pre-shared key, answers with a flight 2 that the connector refuses;
/// and the listener refuses the flight 3 of the unaltered handshake.
#[test]
fn no_byte_of_flight_1_can_be_altered_without_a_psk() {
    let (c, l) = locals(false);
    let (flight1, _, flight3) = flights(false);
    let mut answered = 0;
    for (at, altered) in alterations(&flight1) {
        if at < PREFACE_LEN {
            assert_ne!(check_preface(&altered, Role::Connector, false), Preface::Fits, "byte {at}");
            continue; // The flag bits that are valid anyway have their own test.
        }
        let Ok((reply, flight2)) = answer(&l, &altered) else {
            continue;
        };
        answered += 1;
        let (initiator, _) = connect(&c);
        assert!(finish(&c, initiator, &flight2).is_none(), "byte {at}");
        assert!(reply.read_flight3(&flight3).is_err(), "byte {at}");
    }
    assert!(answered > 500, "only {answered} got as far as flight 2");
}

#[test]
fn no_byte_of_flight_1_can_be_altered_with_a_psk() {
    let (_, l) = locals(true);
    let (flight1, ..) = flights(true);
    for (at, altered) in alterations(&flight1) {
        if at < PREFACE_LEN {
            assert_ne!(check_preface(&altered, Role::Connector, true), Preface::Fits, "byte {at}");
        } else {
            assert_eq!(refusal(answer(&l, &altered)), FORGED, "byte {at}");
        }
    }
}

#[test]
fn no_byte_of_flight_2_can_be_altered() {
    for psk in [false, true] {
        let (c, _) = locals(psk);
        let (_, flight2, _) = flights(psk);
        for (at, altered) in alterations(&flight2) {
            let altered: [u8; FLIGHT2_LEN] = altered.try_into().unwrap();
            if at < PREFACE_LEN {
                assert_ne!(
                    check_preface(&altered, Role::Listener, psk),
                    Preface::Fits,
                    "byte {at}"
                );
            } else {
                let (initiator, _) = connect(&c);
                assert_eq!(refusal(initiator.read_flight2(&altered)), FORGED, "byte {at}");
            }
        }
    }
}

#[test]
fn no_byte_of_flight_3_can_be_altered() {
    for psk in [false, true] {
        let (_, l) = locals(psk);
        let (flight1, _, flight3) = flights(psk);
        for (at, altered) in alterations(&flight3) {
            let (reply, _) = answer(&l, &flight1).unwrap();
            let altered = altered.try_into().unwrap();
            assert_eq!(refusal(reply.read_flight3(&altered)), FORGED, "byte {at}");
        }
    }
}

#[test]
fn a_flight_1_of_any_other_length_is_refused() {
    // Flights 2 and 3 are arrays: another length does not compile.
    for psk in [false, true] {
        let (_, l) = locals(psk);
        let (mut flight1, ..) = flights(psk);
        for len in 0..flight1.len() {
            let error = refusal(answer(&l, &flight1[..len]));
            assert!(matches!(error, LENGTH | FORGED), "{len}: {error:?}");
        }
        for _ in 0..64 {
            flight1.push(0);
            let error = refusal(answer(&l, &flight1));
            assert!(matches!(error, LENGTH | FORGED), "{}: {error:?}", flight1.len());
        }
    }
}

// ---- prefaces ----

#[test]
fn a_preface_fits_when_it_is_whole_and_not_before() {
    for psk in [false, true] {
        let (flight1, flight2, _) = flights(psk);
        for (flight, role) in [(&flight1[..], Role::Connector), (&flight2[..], Role::Listener)] {
            for len in 0..=flight.len() {
                let expected = match len {
                    ..PREFACE_LEN => Preface::Unfinished,
                    _ => Preface::Fits,
                };
                assert_eq!(check_preface(&flight[..len], role, psk), expected, "{len}");
            }
        }
    }
}

#[test]
fn a_preface_that_does_not_fit_is_judged_by_its_first_difference() {
    const SAME_ROLE: Preface = Preface::Differs(Mismatch::SameRole);
    const PSK: Preface = Preface::Differs(Mismatch::Psk);
    let version = |byte| Preface::Differs(Mismatch::Version(byte));
    // How a listener without a pre-shared key judges a preface.
    for (received, expected) in [
        (&b""[..], Preface::Unfinished),
        (b"G", Preface::Foreign),
        (b"SCA", Preface::Unfinished),
        (b"SCAN", Preface::Foreign),
        (b"scat1C\x00\n", Preface::Foreign),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", Preface::Foreign),
        (b"SSH-2.0-", Preface::Foreign),
        (b"GET / HT", Preface::Foreign),
        // These begin like scat's; the rest of the preface decides.
        (b"SCAT2", Preface::Unfinished),
        (b"SCAT2C\x00", Preface::Unfinished),
        (b"SCAT1L\x00", Preface::Unfinished),
        (b"SCAT2C\x00\n", version(b'2')),
        (b"SCAT2L\x01\n", version(b'2')),
        (b"SCAT\x00\x00\x00\x00", version(0)),
        (b"SCAT1L\x00\n", SAME_ROLE),
        (b"SCAT1L\x01\n", SAME_ROLE),
        (b"SCAT1C\x01\n", PSK),
        (b"SCAT1C\x07\n", PSK),
        (b"SCAT1C\x01\nand more", PSK),
        (b"SCAT1C\x06\n", Preface::Fits),
        (b"SCAT1C\x08\n", Preface::Differs(Mismatch::Unknown)),
        (b"SCAT1C\x0f\n", Preface::Differs(Mismatch::Unknown)),
    ] {
        let shown = received.escape_ascii();
        assert_eq!(check_preface(received, Role::Connector, false), expected, "{shown}");
    }
    // The other combinations of role and pre-shared key.
    let c = |psk| preface(Role::Connector, psk, Features::NONE);
    let l = |psk| preface(Role::Listener, psk, Features::NONE);
    assert_eq!(check_preface(&c(false), Role::Connector, true), PSK);
    assert_eq!(check_preface(&l(false), Role::Listener, true), PSK);
    assert_eq!(check_preface(&l(true), Role::Listener, false), PSK);
    assert_eq!(check_preface(&c(true), Role::Listener, true), SAME_ROLE);
    assert_eq!(check_preface(&c(false), Role::Listener, true), SAME_ROLE);
    let offering = preface(Role::Connector, false, Features::ALL);
    assert_eq!(check_preface(&offering, Role::Connector, true), PSK);
    assert_eq!(check_preface(&offering, Role::Listener, false), SAME_ROLE);
    // A listener offers nothing.
    let unknown = Preface::Differs(Mismatch::Unknown);
    assert_eq!(check_preface(b"SCAT1L\x02\n", Role::Listener, false), unknown);
    assert_eq!(check_preface(b"SCAT1L\x05\n", Role::Listener, true), unknown);
}

#[test]
fn unknown_roles_and_flags_never_fit() {
    for at in 5..PREFACE_LEN {
        for byte in 0..=255 {
            for (role, psk) in [(Role::Connector, false), (Role::Listener, true)] {
                let mut received = preface(role, psk, Features::NONE);
                received[at] = byte;
                let mut fitting = vec![Features::NONE];
                if role == Role::Connector {
                    fitting.extend(features());
                }
                let fits = fitting.iter().any(|&offers| received == preface(role, psk, offers));
                assert_eq!(check_preface(&received, role, psk) == Preface::Fits, fits);
            }
        }
    }
}

// ---- mixed up ----

#[test]
fn a_flight_made_for_another_handshake_is_refused() {
    for psk in [false, true] {
        let (c, l) = locals(psk);
        let (_, flight1) = connect(&c);
        let (other, other1) = Initiator::new(&c, fresh(5), &N_C).unwrap();
        // A flight 2 in answer to another flight 1.
        let (_, flight2) = answer(&l, &flight1).unwrap();
        assert_eq!(refusal(other.read_flight2(&flight2)), FORGED);
        // A flight 3 in answer to another flight 2.
        let (_, _, flight3) = flights(psk);
        let (reply, _) = answer(&l, &other1).unwrap();
        assert_eq!(refusal(reply.read_flight3(&flight3)), FORGED);
        // The flights 2 differ only in the nonce.
        let (reply, _) = Responder::new(&l).answer(&flight1, fresh(4), &N_C).unwrap();
        assert_eq!(refusal(reply.read_flight3(&flight3)), FORGED);
    }
}

#[test]
fn an_altered_flag_makes_no_session() {
    // Each side computes the prologue from its own configuration.
    let (plain_c, plain_l) = locals(false);
    let (psk_c, psk_l) = locals(true);
    let (_, mut flight1) = connect(&plain_c);
    flight1[..PREFACE_LEN].copy_from_slice(&preface(Role::Connector, true, Features::NONE));
    flight1.resize(flight1_len(true), 0);
    assert_eq!(refusal(answer(&psk_l, &flight1)), FORGED);

    let (_, mut flight1) = connect(&psk_c);
    flight1[..PREFACE_LEN].copy_from_slice(&preface(Role::Connector, false, Features::NONE));
    flight1.truncate(flight1_len(false));
    if let Ok((_, mut flight2)) = answer(&plain_l, &flight1) {
        flight2[..PREFACE_LEN].copy_from_slice(&preface(Role::Listener, true, Features::NONE));
        let (initiator, _) = connect(&psk_c);
        assert!(finish(&psk_c, initiator, &flight2).is_none());
    }
}

/// An attacker who wants another cipher adds, removes or replaces an offer.
#[test]
fn an_offer_cannot_be_altered_in_transit() {
    for psk in [false, true] {
        for offers in features() {
            let (c, l) = locals_with(psk, [offers, Features::ALL]);
            let (_, _, flight3) = flights_of(&(c, l));
            let (c, l) = locals_with(psk, [offers, Features::ALL]);
            for altered in features().into_iter().filter(|&altered| altered != offers) {
                let (initiator, mut flight1) = connect(&c);
                flight1[..PREFACE_LEN].copy_from_slice(&preface(Role::Connector, psk, altered));
                assert_eq!(check_preface(&flight1, Role::Connector, psk), Preface::Fits);
                let answered = answer(&l, &flight1);
                if psk {
                    assert_eq!(refusal(answered), FORGED);
                    continue;
                }
                let (reply, flight2) = answered.unwrap();
                assert_eq!(refusal(initiator.read_flight2(&flight2)), FORGED);
                assert_eq!(refusal(reply.read_flight3(&flight3)), FORGED);
            }
        }
    }
}

#[test]
fn another_psk_is_refused_in_flight_1() {
    let (c, _) = locals(true);
    let l = Local::new(key(2), true, Some(key(10)), Features::NONE);
    let (_, flight1) = connect(&c);
    assert_eq!(refusal(answer(&l, &flight1)), FORGED);
}

#[test]
fn both_ends_refuse_their_own_key() {
    // A program connected to itself, or, with a pre-shared key, an attacker without the key who
    // relays a connection to the user's own listener.
    for psk in [false, true] {
        let (_, me) = locals(psk);
        let (initiator, flight1) = connect(&me);
        let (_, flight2) = answer(&me, &flight1).unwrap();
        assert_eq!(refusal(initiator.read_flight2(&flight2)), Error::Myself);

        let mut c = connector(Options { static_key: [2; 32], ..options(psk) });
        let (reply, flight2) = answer(&me, &c.flight1().unwrap()).unwrap();
        c.read_flight2(&flight2).unwrap();
        let flight3 = c.flight3().unwrap().try_into().unwrap();
        assert_eq!(refusal(reply.read_flight3(&flight3)), Error::Myself);
    }
}

#[test]
fn a_reflected_flight_is_refused() {
    for psk in [false, true] {
        let (c, l) = locals(psk);
        let (initiator, flight1) = connect(&c);
        let (reply, flight2) = answer(&l, &flight1).unwrap();
        // Unchanged, the preface gives the flight away.
        assert_eq!(
            check_preface(&flight1, Role::Listener, psk),
            Preface::Differs(Mismatch::SameRole)
        );
        assert_eq!(
            check_preface(&flight2, Role::Connector, psk),
            Preface::Differs(Mismatch::SameRole)
        );
        // The same flights with the expected preface.
        let mut to_c = [0; FLIGHT2_LEN];
        let len = flight1.len().min(FLIGHT2_LEN);
        to_c[..len].copy_from_slice(&flight1[..len]);
        to_c[..PREFACE_LEN].copy_from_slice(&preface(Role::Listener, psk, Features::NONE));
        assert_eq!(refusal(initiator.read_flight2(&to_c)), FORGED);
        let mut to_l = flight2.to_vec();
        to_l.resize(flight1_len(psk), 0);
        to_l[..PREFACE_LEN].copy_from_slice(&preface(Role::Connector, psk, Features::NONE));
        assert!(answer(&l, &to_l).is_err());
        // The listener's own static key and payload as flight 3.
        assert_eq!(refusal(reply.read_flight3(flight2.last_chunk().unwrap())), FORGED);
    }
}

// ---- from a hostile peer that breaks one rule ----

fn options(psk: bool) -> Options {
    Options { psk: psk.then_some([9; 32]), features: 0, ..Options::default() }
}

fn connector(options: Options) -> Handshake {
    Handshake::new(peer::Role::Connector, options).unwrap()
}

/// Gives a connector the flight 2 of a listener with `options`.
fn flight2_to_connector(options: Options, offers: Features) -> Result<(), Error> {
    let (c, _) = locals_with(options.psk.is_some(), [offers, Features::NONE]);
    let (initiator, flight1) = connect(&c);
    let mut l = Handshake::new(peer::Role::Listener, options).unwrap();
    l.read_flight1(&flight1).unwrap();
    let flight2 = l.flight2().unwrap().try_into().unwrap();
    initiator.read_flight2(&flight2).map(|_| ())
}

/// Gives a listener the flight 3 of a connector with `options`.
fn flight3_to_listener(options: Options) -> Result<(), Error> {
    let (_, l) = locals(options.psk.is_some());
    let mut c = connector(options);
    let (reply, flight2) = answer(&l, &c.flight1().unwrap())?;
    c.read_flight2(&flight2).unwrap();
    let flight3 = c.flight3().unwrap().try_into().unwrap();
    reply.read_flight3(&flight3).map(|_| ())
}

#[test]
fn another_implementation_is_accepted() {
    for psk in [false, true] {
        assert_eq!(flight2_to_connector(options(psk), Features::NONE), Ok(()));
        assert_eq!(flight3_to_listener(options(psk)), Ok(()));
    }
}

#[test]
fn a_kem_key_that_fails_the_modulus_check_is_refused() {
    for psk in [false, true] {
        let mut options = options(psk);
        options.ephemerals.kem_overflow = true;
        assert_eq!(flight3_to_listener(options), Err(BAD_KEY));
    }
}

#[test]
fn an_all_zero_exchange_is_refused_for_every_token() {
    for psk in [false, true] {
        let mut zero_e = options(psk);
        zero_e.ephemerals.e = [0; 32];
        let zero_s = Options { static_key: [0; 32], ..options(psk) };
        assert_eq!(flight2_to_connector(zero_e.clone(), Features::NONE), Err(BAD_KEY), "ee at C");
        assert_eq!(flight2_to_connector(zero_s.clone(), Features::NONE), Err(BAD_KEY), "es at C");
        assert_eq!(flight3_to_listener(zero_e), Err(BAD_KEY), "ee at L");
        assert_eq!(flight3_to_listener(zero_s), Err(BAD_KEY), "se at L");
    }
}

#[test]
fn every_point_of_low_order_is_refused() {
    let p = |last: u8| {
        let mut point = [0xff; 32];
        (point[0], point[31]) = (last, 0x7f);
        point
    };
    let mut one = [0; 32];
    one[0] = 1;
    // Two points of order 8, on the curve and on its twist.
    let eight = [
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    ]
    .map(|point| hex(point).try_into().unwrap());
    let (c, l) = locals(false);
    let (_, flight1) = connect(&c);
    // p - 1, and p and p + 1, which encode 0 and 1 a second time.
    for point in [[0; 32], one, eight[0], eight[1], p(0xec), p(0xed), p(0xee)] {
        for high_bit in [0, 0x80] {
            let mut altered = flight1.clone();
            altered[PREFACE_LEN..][..32].copy_from_slice(&point);
            altered[PREFACE_LEN + 31] |= high_bit;
            assert_eq!(refusal(answer(&l, &altered)), BAD_KEY, "{point:x?}");
        }
    }
}

#[test]
fn an_id_with_a_bit_that_is_unknown_or_was_not_offered_is_refused() {
    for psk in [false, true] {
        // None, one or all of the unknown bits, combined with the known ones.
        for id in (0..=255_u8).filter(|id| matches!(id >> 3, 0 | 1 | 2 | 4 | 8 | 16 | 31)) {
            let with_id = Options { id, ..options(psk) };
            for (offers, known) in features().into_iter().zip([0x01, 0x03, 0x05, 0x07]) {
                let expected = if id & !known == 0 { Ok(()) } else { Err(Error::UnknownId) };
                assert_eq!(flight2_to_connector(with_id.clone(), offers), expected, "{id:#x}");
            }
            // Flight 3 has no choices.
            let expected = if id <= 1 { Ok(()) } else { Err(Error::UnknownId) };
            assert_eq!(flight3_to_listener(with_id), expected, "{id:#x}");
        }
    }
}

#[test]
fn a_payload_in_flight_1_is_refused() {
    for psk in [false, true] {
        let (_, l) = locals(psk);
        let flight1 = connector(options(psk)).flight1_with(b"x").unwrap();
        assert_eq!(refusal(answer(&l, &flight1)), LENGTH);
    }
}

#[test]
fn a_commitment_carried_over_from_another_handshake_does_not_open() {
    // A relay passes on to the connector the commitment that the listener made to the relay. The
    // opening does not match, because the two transcripts differ in h1.
    let (c, l) = locals(false);
    let mut eve = connector(options(false));
    let (_, flight2) = answer(&l, &eve.flight1().unwrap()).unwrap();
    eve.read_flight2(&flight2).unwrap();
    assert_eq!(eve.commit, sas::commit(&eve.h[0], &N_L));

    let (initiator, flight1) = connect(&c);
    let mut relay = Handshake::new(peer::Role::Listener, options(false)).unwrap();
    relay.read_flight1(&flight1).unwrap();
    let flight2 = relay.flight2_with(&[&[0][..], &eve.commit].concat()).unwrap();
    let (connected, _) = finish(&c, initiator, &flight2.try_into().unwrap()).unwrap();
    assert_eq!(connected.commit, eve.commit);
    assert_ne!(connected.commit, sas::commit(&connected.h1, &N_L));
}
