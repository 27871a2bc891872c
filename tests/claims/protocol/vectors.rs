//! The published bytes: four whole sessions of an independent model (`vectors.json`), and
//! vectors for Noise (`noise-vectors.json`).

use crate::support;
use scat::protocol::cipher::Cipher;
use scat::protocol::frame::{CONTENT_AT, Kind, MAX_FRAME, Opener, Sealer, frame_len};
use scat::protocol::handshake::{Accepted, Connected, Features, Initiator, Local, Responder};
use scat::protocol::hash::hash;
use scat::protocol::noise::{CipherState, Ephemerals, Error, HandshakeState, Pattern, Token};
use scat::protocol::ratchet::{Fresh, Ratchet};
use scat::protocol::reconnect::Tickets;
use scat::protocol::role::Role;
use scat::protocol::sas::{self, Sas};
use scat::protocol::secret::Secret;
use serde_json::Value;

pub fn bytes(hex: &Value) -> Vec<u8> {
    support::hex(hex.as_str().expect("a string of hex digits"))
}

pub fn array<const N: usize>(hex: &Value) -> [u8; N] {
    bytes(hex).try_into().expect("another length")
}

fn key(hex: &Value) -> Secret {
    Secret::copy(&array(hex))
}

/// The random values of one side for one exchange.
fn fresh(e: &Value, e1: &Value, m: &Value) -> Ephemerals {
    let seed = if e1.is_null() {
        [[0; 32]; 2]
    } else {
        [0, 32].map(|at| array::<64>(e1)[at..][..32].try_into().unwrap())
    };
    Ephemerals {
        e: key(e),
        e1: seed.each_ref().map(Secret::copy),
        m: if m.is_null() { Secret::empty() } else { key(m) },
    }
}

fn connector_fresh(v: &Value) -> Ephemerals {
    fresh(&v["C_e"], &v["C_kem_seed"], &Value::Null)
}

fn listener_fresh(v: &Value) -> Ephemerals {
    fresh(&v["L_e"], &Value::Null, &v["L_kem_m"])
}

pub fn session(tag: &str) -> Value {
    let mut all: Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
    let all = all["vectors"].as_array_mut().unwrap();
    all.iter_mut().find(|v| v["tag"] == tag).unwrap().take()
}

/// Replays the three flights, and compares everything that follows from them.
fn replay_handshake(v: &Value) -> (Connected, Accepted) {
    let local = |s, long_lived| {
        let psk = (!v["psk"].is_null()).then(|| key(&v["psk"]));
        let features = Features {
            aes: v["frames_aead"] == Cipher::AesGcm.to_string(),
            reconnect: !v["kr"].is_null(),
        };
        Local::new(key(&v[s]), long_lived, psk, features)
    };
    // Whose keys are long-lived in the model's sessions.
    let (c_is_kept, l_is_kept) = (v["tag"] == "psk", !v["psk"].is_null());
    let (c, l) = (local("C_s", c_is_kept), local("L_s", l_is_kept));
    let (initiator, flight1) =
        Initiator::new(&c, connector_fresh(v), &array(&v["C_nonce"])).unwrap();
    assert_eq!(flight1, bytes(&v["flight1"]));
    let (reply, flight2) =
        Responder::new(&l).answer(&flight1, listener_fresh(v), &array(&v["L_nonce"])).unwrap();
    assert_eq!(flight2, array(&v["flight2"]));
    let (connected, flight3) = initiator.read_flight2(&flight2).unwrap().write_flight3().unwrap();
    assert_eq!(flight3, array(&v["flight3"]));
    let accepted = reply.read_flight3(&flight3).unwrap();

    assert_eq!(connected.h1, array(&v["h1"]));
    assert_eq!(connected.commit, array(&v["commit"]));
    assert_eq!(sas::commit(&connected.h1, &accepted.n_l), connected.commit);
    assert_eq!(*accepted.n_l, array(&v["L_nonce"]));
    for keys in [&connected.keys, &accepted.keys] {
        assert_eq!(*keys.c2l, array(&v["k_c2l"]));
        assert_eq!(*keys.l2c, array(&v["k_l2c"]));
        assert_eq!(*keys.rk, array(&v["rk"]));
        assert_eq!(keys.kr.as_deref().copied(), v.get("kr").map(array));
        assert_eq!(keys.h3, array(&v["h3"]));
        assert_eq!(keys.cipher.to_string(), v["frames_aead"]);
    }
    (connected, accepted)
}

fn check_sas(v: &Value, sas: Sas) {
    let whole: [u8; 6] = array(&v["sas"]);
    for (role, name, range) in
        [(Role::Listener, "listener", 0..3), (Role::Connector, "connector", 3..6)]
    {
        let half = sas.half(role);
        assert_eq!(half.bytes(), whole[range]);
        assert_eq!(Value::from(half.words().to_vec()), v[format!("sas_{name}_words")]);
        let digits = format!("{:08}", half.number());
        assert_eq!(v[format!("sas_{name}_digits")], digits);
        let shown = format!("({} {})", &digits[..4], &digits[4..]);
        assert!(half.to_string().ends_with(&shown), "{half}");
    }
    // Compare all words with those of another crate's word list.
    let ours = [Role::Listener, Role::Connector].map(|role| sas.half(role).words().join(" "));
    assert_eq!(ours.join(" "), pgp_words::to_words(&whole).join(" ").to_lowercase());
}

/// One direction at both its ends.
struct Direction {
    sealer: Sealer,
    opener: Opener,
}

impl Direction {
    fn new(cipher: Cipher, k: &[u8; 32]) -> Self {
        Direction { sealer: Sealer::new(cipher, k), opener: Opener::new(cipher, k) }
    }

    fn switch(&mut self, k: &[u8; 32]) {
        self.sealer.switch(k);
        self.opener.switch(k);
    }

    /// Seals a frame, compares it with `f`, and opens it again.
    fn pass(&mut self, kind: Kind, content: &[u8], f: &Value) {
        let mut buffer = vec![0xaa; MAX_FRAME];
        buffer[CONTENT_AT..][..content.len()].copy_from_slice(content);
        let len = self.sealer.seal(kind, &mut buffer, content.len()).unwrap();
        buffer.truncate(len);
        assert_eq!(len, frame_len(content.len()));
        if let Some(expected) = f.get("frame_len") {
            assert_eq!(*expected, len);
        }
        if f.get("frame").is_some() {
            assert_eq!(buffer, bytes(&f["frame"]));
        }
        if f.get("frame_blake2s").is_some() {
            assert_eq!(hash(&[&buffer]), array(&f["frame_blake2s"]));
        }
        let opened = self.opener.open(&mut buffer).unwrap().unwrap();
        assert_eq!((opened.kind, opened.len), (kind, len));
        assert_eq!(&buffer[opened.content], content);
    }
}

fn kind(f: &Value) -> Kind {
    let kinds = [
        Kind::Data,
        Kind::Eof,
        Kind::Done,
        Kind::Open,
        Kind::Rekey1,
        Kind::Rekey2,
        Kind::Rekey3,
        Kind::Abort,
        Kind::Ack,
    ];
    kinds[f["type"].as_u64().unwrap() as usize]
}

fn content(f: &Value) -> Vec<u8> {
    match f.get("fill") {
        None => bytes(&f["content"]),
        Some(fill) => {
            let count = fill[1].as_u64().unwrap() as usize;
            vec![fill[0].as_u64().unwrap() as u8; count]
        }
    }
}

fn replay(tag: &str) {
    let v = session(tag);
    let (connected, accepted) = replay_handshake(&v);
    check_sas(&v, Sas::new(&connected.keys.h3, &accepted.n_l));

    let cipher = connected.keys.cipher;
    let mut c2l = Direction::new(cipher, &connected.keys.c2l);
    let mut l2c = Direction::new(cipher, &connected.keys.l2c);
    let mut c_ratchet = Ratchet::new(connected.keys.rk, connected.keys.h3);
    let mut l_ratchet = Ratchet::new(accepted.keys.rk, accepted.keys.h3);
    let mut ratchets = v["ratchets"].as_array().unwrap().iter();
    let mut ratchet = &Value::Null;
    let mut due: Option<Fresh> = None;

    // Bytes of frames so far, of C and L.
    let mut passed = [0u64; 2];
    for f in v["frames"].as_array().unwrap() {
        let (kind, content) = (kind(f), content(f));
        // A ratchet frame's content is computed before the frame is sealed.
        match kind {
            Kind::Rekey1 => {
                ratchet = ratchets.next().unwrap();
                assert_eq!(c_ratchet.start(connector_fresh(ratchet)).unwrap(), content);
                let (rekey2, fresh) = l_ratchet.answer(&content, listener_fresh(ratchet)).unwrap();
                let c_fresh = c_ratchet.read_answer(&rekey2).unwrap();
                for fresh in [&fresh, &c_fresh] {
                    assert_eq!(*fresh.c2l, array(&ratchet["k_c2l"]));
                    assert_eq!(*fresh.l2c, array(&ratchet["k_l2c"]));
                }
                due = Some(c_fresh);
            }
            Kind::Open => assert_eq!(content, *accepted.n_l),
            _ => {}
        }
        let is_c = f["dir"] == "C>L";
        if kind == Kind::Ack {
            assert_eq!(content, passed[is_c as usize].to_be_bytes());
        }
        let direction = if is_c { &mut c2l } else { &mut l2c };
        for _ in 0..f.get("repeat").map_or(1, |n| n.as_u64().unwrap()) {
            direction.pass(kind, &content, f);
            passed[!is_c as usize] += frame_len(content.len()) as u64;
        }
        // After L's ACK, the session continues over another connection.
        if kind == Kind::Ack && !is_c {
            let kr = || Secret::copy(connected.keys.kr.as_ref().unwrap());
            replay_reconnection(&v, [kr(), kr()], passed);
        }
        // The switch of keys directly follows the frame that causes it.
        match kind {
            Kind::Rekey2 => l2c.switch(&due.as_ref().unwrap().l2c),
            Kind::Rekey3 => c2l.switch(&due.take().unwrap().c2l),
            _ => {}
        }
    }
    assert!(due.is_none() && ratchets.next().is_none());
    assert_eq!((c_ratchet.finished(), l_ratchet.finished()), (2, 2));
    assert!(!ratchet.is_null());
}

fn replay_reconnection(v: &Value, kr: [Secret; 2], [by_c, by_l]: [u64; 2]) {
    let [c, mut l] = kr.map(Tickets::new);
    let v = &v["reconnect"];
    assert_eq!((&v["C_offset"], &v["L_offset"]), (&by_l.into(), &by_c.into()));
    let (asked, r1) = c.ask(&array(&v["C_nonce"]), by_l);
    assert_eq!(r1, array(&v["flight1"]));
    let (answered, r2) = l.answer(&r1, &array(&v["L_nonce"]), by_c).unwrap();
    assert_eq!(r2, array(&v["flight2"]));
    let (proven, r3) = asked.read_r2(&r2).unwrap();
    assert_eq!((proven.offset(), r3), (by_c, array(&v["flight3"])));
    assert_eq!(answered.read_r3(&r3).unwrap().offset(), by_l);
}

#[test]
fn the_basic_session_is_reproduced_byte_for_byte() {
    replay("basic");
}

#[test]
fn the_psk_session_is_reproduced_byte_for_byte() {
    replay("psk");
}

#[test]
#[cfg_attr(not(feature = "ring"), ignore = "this build has no AES")]
fn the_aes_session_is_reproduced_byte_for_byte() {
    replay("aes");
}

#[test]
#[cfg_attr(not(feature = "ring"), ignore = "this build has no AES")]
fn the_reconnect_session_is_reproduced_byte_for_byte() {
    replay("reconnect");
}

// ---- Noise's own vectors, without e1 and ekem1 ----

use Token::{E, Ee, Es, Psk, S, Se};

static NOISE: [Pattern; 5] = [
    Pattern {
        name: "Noise_XX_25519_ChaChaPoly_BLAKE2s",
        messages: &[&[E], &[E, Ee, S, Es], &[S, Se]],
    },
    Pattern { name: "Noise_NN_25519_ChaChaPoly_BLAKE2s", messages: &[&[E], &[E, Ee]] },
    Pattern { name: "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s", messages: &[&[Psk, E], &[E, Ee]] },
    Pattern {
        name: "Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s",
        messages: &[&[E], &[E, Ee, S, Es], &[S, Se, Psk]],
    },
    Pattern {
        name: "Noise_XXpsk0+psk3_25519_ChaChaPoly_BLAKE2s",
        messages: &[&[Psk, E], &[E, Ee, S, Es], &[S, Se, Psk]],
    },
];

/// Starts one side of a published vector; `side` is `init` or `resp`.
fn start(v: &Value, pattern: &'static Pattern, side: &str) -> HandshakeState {
    let field = |name: &str| &v[format!("{side}_{name}")];
    let s = (!field("static").is_null()).then(|| key(field("static")));
    let psks = field("psks").as_array().map_or(Vec::new(), |psks| psks.iter().map(key).collect());
    let fresh = fresh(field("ephemeral"), &Value::Null, &Value::Null);
    HandshakeState::new(pattern, side == "init", &bytes(field("prologue")), s, fresh, psks)
}

#[test]
fn noise_vectors_are_reproduced_in_both_roles() {
    let all: Value = serde_json::from_str(include_str!("noise-vectors.json")).unwrap();
    let all = all["vectors"].as_array().unwrap();
    assert_eq!(all.len(), NOISE.len());
    for v in all {
        let name = v["protocol_name"].as_str().unwrap();
        let pattern = NOISE.iter().find(|p| p.name == name).unwrap();
        let mut sides = [start(v, pattern, "init"), start(v, pattern, "resp")];
        let messages = v["messages"].as_array().unwrap();
        let (handshake, transport) = messages.split_at(pattern.messages.len());
        for (i, m) in handshake.iter().enumerate() {
            let (payload, ciphertext) = (bytes(&m["payload"]), bytes(&m["ciphertext"]));
            let mut message = Vec::new();
            sides[i % 2].write_message(&payload, &mut message).unwrap();
            assert_eq!(message, ciphertext, "{name}, message {i}");
            assert_eq!(sides[1 - i % 2].read_message(&ciphertext).unwrap(), payload);
        }
        let [a, b] = sides.map(|side| side.split().unwrap());
        assert_eq!((&*a.initiator, &*a.responder), (&*b.initiator, &*b.responder));
        assert_eq!((&*a.rk, a.h), (&*b.rk, b.h));
        if let Some(h) = v.get("handshake_hash") {
            assert_eq!(a.h, array(h), "{name}");
        }
        // The sides take turns: after an odd number of messages the responder is next.
        let mut ways = [(&a.initiator, &b.initiator), (&a.responder, &b.responder)]
            .map(|keys| [keys.0, keys.1].map(|k| CipherState::new(Cipher::ChaChaPoly, k)));
        assert!(transport.len() >= 2, "{name}: a message each way");
        for (i, m) in transport.iter().enumerate() {
            let [send, receive] = &mut ways[(handshake.len() + i) % 2];
            let payload = bytes(&m["payload"]);
            let mut body = payload.clone();
            let tag = send.encrypt(&[], &mut body).unwrap();
            assert_eq!([&body[..], &tag].concat(), bytes(&m["ciphertext"]), "{name}, {i}");
            receive.decrypt(&[], &mut body, &tag).unwrap();
            assert_eq!(body, payload);
        }
    }
}

#[test]
fn a_failed_message_ends_the_handshake() {
    let all: Value = serde_json::from_str(include_str!("noise-vectors.json")).unwrap();
    let v = &all["vectors"][0];
    let messages = v["messages"].as_array().unwrap();
    for last in 1..3 {
        let mut sides = [start(v, &NOISE[0], "init"), start(v, &NOISE[0], "resp")];
        for (i, m) in messages[..last].iter().enumerate() {
            sides[i % 2].write_message(&bytes(&m["payload"]), &mut Vec::new()).unwrap();
            sides[1 - i % 2].read_message(&bytes(&m["ciphertext"])).unwrap();
        }
        let [a, b] = sides;
        let mut reader = if last % 2 == 0 { b } else { a };
        let message = bytes(&messages[last]["ciphertext"]);
        let mut forged = message.clone();
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(reader.read_message(&forged), Err(Error::Forged));
        // After a failure, no call succeeds: another try, the next message, or the keys.
        assert_eq!(reader.read_message(&message), Err(Error::OutOfTurn));
        assert_eq!(reader.write_message(&[], &mut Vec::new()), Err(Error::OutOfTurn));
        assert!(matches!(reader.split(), Err(Error::OutOfTurn)), "message {last}");
    }
}
