//! The readers of the three flights and of the preface, in both roles: with flights from an
//! honest peer, altered by an attacker, and from a hostile peer that can compute every tag.

#![no_main]

use libfuzzer_sys::fuzz_target;
use scat::protocol::cipher::Cipher;
use scat::protocol::handshake::{
    Accepted, Connected, Error, FLIGHT2_LEN, FLIGHT3_LEN, Features, Initiator, Local, Mismatch,
    Preface, Responder, check_preface, flight1_len, preface,
};
use scat::protocol::noise::{self, HandshakeState, Pattern, Token};
use scat::protocol::role::Role;
use scat::protocol::sas;
use scat::protocol::secret::Secret;
use scat_fuzz::input::Input;
use scat_fuzz::wire::ephemerals;

const N_C: [u8; 32] = [0xc0; 32];
const N_L: [u8; 32] = [0x10; 32];

/// Names and messages of the protocols, from scat-protocol(7).
const MESSAGES: [&[Token]; 3] = [
    &[Token::Psk, Token::E, Token::E1],
    &[Token::E, Token::Ee, Token::Ekem1, Token::S, Token::Es],
    &[Token::S, Token::Se],
];
const P0: Pattern = Pattern {
    name: "Noise_XXhfs_25519+MLKEM768_ChaChaPoly_BLAKE2s",
    messages: &[&[Token::E, Token::E1], MESSAGES[1], MESSAGES[2]],
};
const P1: Pattern =
    Pattern { name: "Noise_XXhfs+psk0_25519+MLKEM768_ChaChaPoly_BLAKE2s", messages: &MESSAGES };

/// One side's configuration.
#[derive(Clone, Copy)]
struct Side {
    s: [u8; 32],
    long_lived: bool,
    psk: Option<[u8; 32]>,
    /// What it offers, or would choose: bits of the preface's flags and of the id.
    features: u8,
}

/// The bits of C's preface, other than that of the pre-shared key.
const FEATURES: u8 = 0x06;

impl Side {
    fn new(input: &mut Input<'_>, s: u8) -> Self {
        let options = input.byte();
        Side {
            // Sometimes both have the same key.
            s: [if options & 0x70 == 0x70 { 1 } else { s }; 32],
            long_lived: options & 1 == 1,
            psk: (options & 2 == 2).then_some([options >> 2 & 1; 32]),
            features: options >> 1 & FEATURES,
        }
    }

    fn local(&self) -> Local {
        let psk = self.psk.map(|psk| Secret::copy(&psk));
        Local::new(Secret::copy(&self.s), self.long_lived, psk, features(self.features))
    }

    fn public(&self) -> [u8; 32] {
        *noise::public(&Secret::copy(&self.s)).as_bytes()
    }

    /// The same side, without the rules for payloads.
    fn noise(&self, initiator: bool, prologue: &[u8], n: u8) -> HandshakeState {
        let pattern = if self.psk.is_some() { &P1 } else { &P0 };
        let psks = self.psk.iter().map(Secret::copy).collect();
        let s = Some(Secret::copy(&self.s));
        HandshakeState::new(pattern, initiator, prologue, s, ephemerals(n), psks)
    }

    /// The prologue if C offers `offered`.
    fn prologue(&self, offered: u8) -> Vec<u8> {
        let flags = u8::from(self.psk.is_some());
        [b"SCAT1C", &[flags | offered][..], b"\nSCAT1L", &[flags], b"\n"].concat()
    }
}

fn features(bits: u8) -> Features {
    Features { aes: bits & 2 == 2, reconnect: bits & 4 == 4 }
}

/// Passes a flight on unchanged, or with one or several changes.
fn relay(input: &mut Input<'_>, sent: &[u8]) -> Vec<u8> {
    let mut flight = sent.to_vec();
    for _ in 0..input.byte() % 4 {
        let at = input.short() % flight.len().max(1);
        match input.byte() % 8 {
            0 => flight.truncate(at),
            1 => flight.extend_from_slice(&[0; 16][..at % 17]),
            2 => flight.iter_mut().skip(at).take(32).for_each(|byte| *byte = 0),
            3 => flight.iter_mut().skip(at).take(32).for_each(|byte| *byte = 0xff),
            4 => {
                let bytes = input.take(at % 64);
                flight.splice(at..flight.len().min(at + bytes.len()), bytes.iter().copied());
            }
            _ => {
                if let Some(byte) = flight.get_mut(at) {
                    *byte ^= 1 << (input.byte() % 8);
                }
            }
        }
    }
    flight
}

/// A flight of the right length; the caller of the readers checks that.
fn whole<const N: usize>(flight: &[u8]) -> Option<&[u8; N]> {
    flight.try_into().ok()
}

/// Two honest sides, and an attacker between them.
fn relayed(input: &mut Input<'_>) {
    let (c, l) = (Side::new(input, 1), Side::new(input, 2));
    let (local_c, local_l) = (c.local(), l.local());
    let is_same = c.psk == l.psk;
    let (initiator, flight1) = Initiator::new(&local_c, ephemerals(1), &N_C).unwrap();
    assert_eq!(flight1.len(), flight1_len(c.psk.is_some()));
    let has_psk = c.psk.is_some();
    assert!(flight1.starts_with(&preface(Role::Connector, has_psk, features(c.features))));

    // The preface is checked separately; the readers use only its offers.
    let got1 = relay(input, &flight1);
    let is_whole = |sent: &[u8], got: &[u8]| got.get(8..) == sent.get(8..);
    let offered = got1.get(6).map_or(0, |flags| flags & FEATURES);
    let answer = Responder::new(&local_l).answer(&got1, ephemerals(2), &N_L);
    let is_intact1 = is_same && is_whole(&flight1, &got1) && offered == c.features;
    let Ok((responder, flight2)) = answer else {
        assert!(!is_intact1, "an intact flight 1 is refused");
        return;
    };
    assert_eq!(got1.len(), flight1_len(l.psk.is_some()), "a flight 1 of another length");
    assert!(is_intact1 || l.psk.is_none(), "a tag that does not fit");
    assert!(flight2.starts_with(&preface(Role::Listener, l.psk.is_some(), Features::NONE)));

    let got2 = relay(input, &flight2);
    let Some(got2) = whole::<FLIGHT2_LEN>(&got2) else { return };
    let is_intact2 = is_intact1 && is_whole(&flight2, got2);
    let reply = match initiator.read_flight2(got2) {
        Ok(reply) => reply,
        Err(Error::Myself) if is_intact2 && c.s == l.s => return,
        Err(err) => {
            assert!(!is_intact2, "an intact flight 2 is refused: {err:?}");
            return;
        }
    };
    assert!(is_intact2 && c.s != l.s, "a flight 2 that was not sent so");
    assert_eq!((reply.peer.key, reply.peer.long_lived), (l.public(), l.long_lived));
    let (Connected { keys, h1, commit, .. }, flight3) = reply.write_flight3().unwrap();
    assert_eq!(commit, sas::commit(&h1, &N_L));

    let got3 = relay(input, &flight3);
    let Some(got3) = whole::<FLIGHT3_LEN>(&got3) else { return };
    match responder.read_flight3(got3) {
        Ok(Accepted { keys: other, peer, n_l }) => {
            assert_eq!(*got3, flight3, "a flight 3 that was not sent so");
            assert_eq!((peer.key, peer.long_lived), (c.public(), c.long_lived));
            assert_eq!(*n_l, N_L);
            assert!(*keys.c2l == *other.c2l && *keys.l2c == *other.l2c && *keys.rk == *other.rk);
            assert!(keys.h3 == other.h3 && *keys.c2l != *keys.l2c && *keys.rk != *keys.c2l);
            let agreed = features(c.features & l.features);
            let cipher = if agreed.aes { Cipher::AesGcm } else { Cipher::ChaChaPoly };
            assert!(keys.cipher == cipher && other.cipher == cipher);
            assert_eq!(keys.kr.is_some(), agreed.reconnect);
            assert!(keys.kr.as_deref() == other.kr.as_deref());
        }
        Err(err) => assert_ne!(*got3, flight3, "an intact flight 3 is refused: {err:?}"),
    }
}

/// A payload: an id, and a value of any length.
fn payload(input: &mut Input<'_>) -> Vec<u8> {
    let mut payload = vec![input.byte()];
    let len = input.byte();
    payload.resize(if len < 128 { 33 } else { usize::from(len & 0x3f) }, 0x77);
    payload
}

/// Whether a payload is valid if `offered` may be chosen, and whether its key is long-lived.
fn is_payload(payload: &[u8], offered: u8) -> Option<bool> {
    (payload.len() == 33 && payload[0] & !offered < 2).then(|| payload[0] & 1 == 1)
}

/// A listener that can compute every tag, against the connector.
fn forged_listener(input: &mut Input<'_>) {
    let (c, l) = (Side::new(input, 1), Side::new(input, 2));
    let l = Side { psk: c.psk, ..l };
    let local = c.local();
    let (initiator, flight1) = Initiator::new(&local, ephemerals(1), &N_C).unwrap();
    let honest = c.prologue(c.features);
    let prologue = relay(input, &honest);
    let mut noise = l.noise(false, &prologue, 2);
    let is_read = noise.read_message(&flight1[8..]);
    if is_read.is_err() {
        assert!(c.psk.is_some() && prologue != honest);
        return;
    }
    let payload = payload(input);
    let mut flight2 = vec![0; 8];
    noise.write_message(&payload, &mut flight2).unwrap();
    let Some(flight2) = whole(&flight2) else { return };
    let is_right = is_payload(&payload, c.features).filter(|_| prologue == honest && c.s != l.s);
    let reply = initiator.read_flight2(flight2);
    assert_eq!(
        reply.ok().map(|reply| (reply.peer.key, reply.peer.long_lived)),
        is_right.map(|long_lived| (l.public(), long_lived))
    );
}

/// A connector that can compute every tag, against the listener.
fn forged_connector(input: &mut Input<'_>) {
    let (c, l) = (Side::new(input, 1), Side::new(input, 2));
    let c = Side { psk: l.psk, ..c };
    let local = l.local();
    let prologue = relay(input, &l.prologue(c.features));
    // The listener takes the offer from the preface.
    let offered = input.byte() & FEATURES;
    let mut noise = c.noise(true, &prologue, 1);
    let first = vec![0; if input.bit() { 3 } else { 0 }];
    let third = payload(input);
    let mut flight1 = vec![0; 8];
    flight1[6] = offered;
    noise.write_message(&first, &mut flight1).unwrap();
    let answer = Responder::new(&local).answer(&flight1, ephemerals(2), &N_L);
    let is_ours = prologue == l.prologue(offered);
    assert_eq!(answer.is_ok(), first.is_empty() && (is_ours || l.psk.is_none()));
    let Ok((responder, flight2)) = answer else { return };
    let committed = noise.read_message(&flight2[8..]);
    assert_eq!(committed.is_ok(), is_ours);
    let Ok(committed) = committed else { return };
    assert_eq!(committed[0], u8::from(l.long_lived) | l.features & offered);
    let mut flight3 = Vec::new();
    noise.write_message(&third, &mut flight3).unwrap();
    let Some(flight3) = whole(&flight3) else { return };
    let is_right = is_payload(&third, 0).filter(|_| c.s != l.s);
    let accepted = responder.read_flight3(flight3);
    assert_eq!(
        accepted.ok().map(|accepted| (accepted.peer.key, accepted.peer.long_lived)),
        is_right.map(|long_lived| (c.public(), long_lived))
    );
}

/// A public key or a KEM key that must be refused from any peer.
fn bad_keys(input: &mut Input<'_>) {
    let local = Side { s: [2; 32], long_lived: false, psk: None, features: 0 }.local();
    let mut flight1 = vec![0; 8];
    flight1.extend_from_slice(input.take(32));
    flight1.resize(8 + 32, 0);
    // Coefficients of 12 bits, two in three bytes; the others are zero.
    flight1.extend_from_slice(input.take(1184));
    flight1.resize(flight1_len(false), 0);
    let mut coefficients = flight1[40..40 + 1152].chunks_exact(3).flat_map(|three| {
        let [a, b, c] = [three[0], three[1], three[2]].map(u16::from);
        [a | (b & 0xf) << 8, b >> 4 | c << 4]
    });
    let is_reduced = coefficients.all(|coefficient| coefficient < 3329);
    let dh = x25519_is_contributory(&flight1[8..40]);
    let answer = Responder::new(&local).answer(&flight1, ephemerals(2), &N_L);
    assert_eq!(answer.is_ok(), is_reduced && dh, "{is_reduced} {dh}");
}

/// Whether the point is not of small order (RFC 7748 section 6.1; the list is that of
/// https://cr.yp.to/ecdh.html, and the last bit does not count).
fn x25519_is_contributory(point: &[u8]) -> bool {
    let mut point: [u8; 32] = point.try_into().unwrap();
    point[31] &= 0x7f;
    let p = |low: u8| {
        let mut p = [0xff; 32];
        (p[0], p[31]) = (low, 0x7f);
        p
    };
    let small = |low: u8| {
        let mut small = [0; 32];
        small[0] = low;
        small
    };
    const ORDER_8: [[u8; 32]; 2] = [
        *b"\xe0\xeb\x7a\x7c\x3b\x41\xb8\xae\x16\x56\xe3\xfa\xf1\x9f\xc4\x6a\
           \xda\x09\x8d\xeb\x9c\x32\xb1\xfd\x86\x62\x05\x16\x5f\x49\xb8\x00",
        *b"\x5f\x9c\x95\xbc\xa3\x50\x8c\x24\xb1\xd0\xb1\x55\x9c\x83\xef\x5b\
           \x04\x44\x5c\xc4\x58\x1c\x8e\x86\xd8\x22\x4e\xdd\xd0\x9f\x11\x57",
    ];
    let others = [small(0), small(1), p(0xec), p(0xed), p(0xee)];
    !others.contains(&point) && !ORDER_8.contains(&point)
}

/// The preface alone, byte by byte.
fn prefaces(input: &mut Input<'_>) {
    let psk = input.bit();
    let (peer, letter, own) =
        if input.bit() { (Role::Listener, b'L', b'C') } else { (Role::Connector, b'C', b'L') };
    let expected = [b'S', b'C', b'A', b'T', b'1', letter, psk.into(), b'\n'];
    let mut got = expected.to_vec();
    for _ in 0..input.byte() % 4 {
        got[usize::from(input.byte() % 8)] = input.byte();
    }
    got.extend_from_slice(input.take(2));
    for len in 0..=got.len() {
        let judged = check_preface(&got[..len], peer, psk);
        // A connector may offer anything.
        let mut got = got.clone();
        if peer == Role::Connector {
            got[6] &= !FEATURES;
        }
        let (magic, whole) = (len.min(4), len.min(8));
        let right = if got[..magic] != expected[..magic] {
            Preface::Foreign
        } else if len < 8 {
            Preface::Unfinished
        } else if got[..whole] == expected {
            Preface::Fits
        } else if got[4] != b'1' {
            Preface::Differs(Mismatch::Version(got[4]))
        } else if got[5] == own {
            Preface::Differs(Mismatch::SameRole)
        } else if got[5..8] == [letter, u8::from(!psk), b'\n'] {
            Preface::Differs(Mismatch::Psk)
        } else {
            Preface::Differs(Mismatch::Unknown)
        };
        assert_eq!(judged, right, "{:?}", &got[..len]);
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    match input.byte() % 5 {
        0 => relayed(&mut input),
        1 => forged_listener(&mut input),
        2 => forged_connector(&mut input),
        3 => bad_keys(&mut input),
        _ => prefaces(&mut input),
    }
});
