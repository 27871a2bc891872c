//! Tests of the second implementation: it produces the published bytes, and refuses what scat
//! must not send. Otherwise it could not test scat.

use super::vectors::{array, bytes, session};
use crate::support::peer::{
    self, ABORT, DATA, DONE, EOF, Ephemerals, Handshake, OPEN, Options, Peer, REKEY1, REKEY2,
    REKEY3, Role,
};
use crate::support::scat::{dial, door};
use serde_json::Value;
use std::net::TcpStream;

/// Both ends of a loopback connection, the connector first.
fn sockets() -> (TcpStream, TcpStream) {
    let (door, port) = door();
    (dial(port), door.accept().unwrap().0)
}

/// Both ends after the last flight, before OPEN.
fn pair() -> (Peer, Peer) {
    let (c, l) = sockets();
    let mut connector = Handshake::new(Role::Connector, Options::default()).unwrap();
    let mut listener = Handshake::new(Role::Listener, Options::default()).unwrap();
    listener.read_flight1(&connector.flight1().unwrap()).unwrap();
    connector.read_flight2(&listener.flight2().unwrap()).unwrap();
    listener.read_flight3(&connector.flight3().unwrap()).unwrap();
    (connector.into_peer(c).unwrap(), listener.into_peer(l).unwrap())
}

/// The same after OPEN.
fn opened_pair() -> (Peer, Peer) {
    let (mut connector, mut listener) = pair();
    listener.send_open().unwrap();
    connector.receive_open().unwrap();
    (connector, listener)
}

#[test]
fn an_opening_that_does_not_fit_the_commitment_is_refused() {
    let (mut connector, mut listener) = pair();
    listener.send(OPEN, &[7; 32]).unwrap();
    let error = connector.receive_open().unwrap_err();
    assert_eq!(error.to_string(), "OPEN does not fit the commitment");
}

#[test]
fn frames_that_are_not_allowed_are_refused() {
    // The connector sends each list, whose last frame is wrong.
    let lists: [&[(u8, &[u8])]; 8] = [
        &[(EOF, &[]), (DATA, b"late")],
        &[(EOF, &[]), (EOF, &[])],
        &[(DONE, &[])],
        &[(OPEN, &[0; 32])],
        &[(REKEY2, &[0; 1152])],
        &[(REKEY3, &[])],
        &[(ABORT, &[1]), (DATA, b"late")],
        &[(8, &[])],
    ];
    for frames in lists {
        let (mut connector, mut listener) = opened_pair();
        let (last, before) = frames.split_last().unwrap();
        for (kind, content) in before {
            connector.send(*kind, content).unwrap();
            assert_eq!(listener.recv().unwrap(), (*kind, content.to_vec()));
        }
        connector.send(last.0, last.1).unwrap();
        let error = listener.recv().unwrap_err();
        assert!(error.to_string().contains("not allowed"), "{error}");
    }
}

#[test]
fn frames_that_are_malformed_are_refused() {
    let mut unpadded = peer::plaintext(DATA, b"x");
    unpadded.pop();
    let mut long = peer::plaintext(DATA, b"x");
    long[1..3].copy_from_slice(&254_u16.to_be_bytes());
    let mut dirty = peer::plaintext(DATA, b"x");
    dirty[255] = 1;
    for (plaintext, complaint) in
        [(unpadded, "not padded"), (long, "past the plaintext"), (dirty, "not zero")]
    {
        let (mut connector, mut listener) = opened_pair();
        connector.send_plaintext(&plaintext).unwrap();
        let error = listener.recv().unwrap_err();
        assert!(error.to_string().contains(complaint), "{error}");
    }
}

#[test]
fn a_stream_that_only_stops_is_not_an_end() {
    let (mut connector, listener) = opened_pair();
    drop(listener);
    assert!(connector.finish().is_err());
}

// Published bytes.

fn assert_keys(keys: &peer::Keys, v: &Value, h: &str) {
    assert_eq!(keys.h, array(&v[h]));
    assert_eq!(keys.k_c2l, array(&v["k_c2l"]));
    assert_eq!(keys.k_l2c, array(&v["k_l2c"]));
    assert_eq!(keys.rk, array(&v["rk"]));
    assert!(v["kr"].is_null() || keys.kr == array(&v["kr"]));
}

/// The random values of both sides for one exchange of a vector.
fn ephemerals(v: &Value) -> (Ephemerals, Ephemerals) {
    let of = |e: &str| Ephemerals {
        e: array(&v[e]),
        kem_seed: array(&v["C_kem_seed"]),
        kem_m: array(&v["L_kem_m"]),
        kem_overflow: false,
    };
    (of("C_e"), of("L_e"))
}

/// Replays the handshake of a vector and compares each flight. `ids` are those of C and L,
/// which the vectors do not contain.
fn replay_handshake(v: &Value, ids: [u8; 2]) -> (Peer, Peer) {
    let (c, l) = ephemerals(v);
    let aes = if v["frames_aead"] == "AES-256-GCM" { peer::AES } else { 0 };
    let reconnect = if v["kr"].is_null() { 0 } else { peer::RECONNECT };
    let of = |ephemerals, id, s: &str, nonce: &str| Options {
        psk: (!v["psk"].is_null()).then(|| array(&v["psk"])),
        id,
        features: aes | reconnect,
        static_key: array(&v[s]),
        nonce: array(&v[nonce]),
        ephemerals,
    };
    let mut connector = Handshake::new(Role::Connector, of(c, ids[0], "C_s", "C_nonce")).unwrap();
    let mut listener = Handshake::new(Role::Listener, of(l, ids[1], "L_s", "L_nonce")).unwrap();

    let flight1 = connector.flight1().unwrap();
    assert!(flight1 == bytes(&v["flight1"]));
    assert_eq!(flight1.len(), listener.flight1_len());
    listener.read_flight1(&flight1).unwrap();

    let flight2 = listener.flight2().unwrap();
    assert!(flight2 == bytes(&v["flight2"]));
    assert_eq!(flight2.len(), peer::FLIGHT2);
    connector.read_flight2(&flight2).unwrap();

    let flight3 = connector.flight3().unwrap();
    assert!(flight3 == bytes(&v["flight3"]));
    assert_eq!(flight3.len(), peer::FLIGHT3);
    listener.read_flight3(&flight3).unwrap();

    for side in [&connector, &listener] {
        assert_eq!(side.h, ["h1", "h2", "h3"].map(|h| array(&v[h])));
        assert_eq!(side.commit, array(&v["commit"]));
    }
    let (c, l) = sockets();
    (connector.into_peer(c).unwrap(), listener.into_peer(l).unwrap())
}

/// Sends one frame of a vector, compares it, and receives it at the other end.
fn replay_frame(v: &Value, from: &mut Peer, to: &mut Peer) {
    let kind = u8::try_from(v["type"].as_u64().unwrap()).unwrap();
    let mut content = bytes(&v["content"]);
    if let Some(fill) = v["fill"].as_array() {
        let count = usize::try_from(fill[1].as_u64().unwrap()).unwrap();
        content = vec![u8::try_from(fill[0].as_u64().unwrap()).unwrap(); count];
    }
    for _ in 0..v["repeat"].as_u64().unwrap_or(1) {
        match kind {
            REKEY1 => from.start_ratchet().unwrap(),
            REKEY3 => from.send_rekey3().unwrap(),
            // answer_rekey1 sent it when the listener received REKEY1.
            REKEY2 => (),
            _ => from.send(kind, &content).unwrap(),
        }
        // One step at a time, because the vectors have frames between them.
        let received = match kind {
            REKEY1..=REKEY3 => to.recv_raw().unwrap(),
            _ => to.recv().unwrap(),
        };
        assert!(received == (kind, content.clone()));
    }
    if !v["frame_len"].is_null() {
        let frame = &from.last_frame;
        assert_eq!(frame.len() as u64, v["frame_len"].as_u64().unwrap());
        assert_eq!(peer::hash(&[frame]), array(&v["frame_blake2s"]));
        assert!(v["frame"].is_null() || *frame == bytes(&v["frame"]));
    }
}

fn replay(tag: &str, ids: [u8; 2]) {
    let v = &session(tag);
    let (mut connector, mut listener) = replay_handshake(v, ids);
    assert_keys(&connector.keys, v, "h3");
    assert_keys(&listener.keys, v, "h3");
    assert_eq!(listener.sas, array(&v["sas"]));

    let mut ratchets = v["ratchets"].as_array().unwrap().iter();
    let mut ratchet = &Value::Null;
    // The second implementation does not know ACK, type 8.
    let frames = v["frames"].as_array().unwrap();
    let frames: Vec<_> = frames.iter().take_while(|frame| frame["type"] != 8).collect();
    for (i, frame) in frames.iter().enumerate() {
        let kind = frame["type"].as_u64().unwrap() as u8;
        if kind == REKEY1 {
            ratchet = ratchets.next().unwrap();
            let (c, l) = ephemerals(ratchet);
            (connector.ephemerals, listener.ephemerals) = (Some(c), Some(l));
        }
        if kind == REKEY2 {
            let rekey1 = frames[..i].iter().rfind(|f| f["type"] == REKEY1);
            let rekey1 = bytes(&rekey1.unwrap()["content"]);
            listener.answer_rekey1(&rekey1).unwrap();
        }
        let (from, to) = match frame["dir"].as_str().unwrap() {
            "C>L" => (&mut connector, &mut listener),
            _ => (&mut listener, &mut connector),
        };
        replay_frame(frame, from, to);
        match kind {
            OPEN => assert_eq!(connector.sas, array(&v["sas"])),
            REKEY2 => connector.take_rekey2(&bytes(&frame["content"])).unwrap(),
            REKEY3 => {
                listener.take_rekey3().unwrap();
                assert_keys(&connector.keys, ratchet, "h");
                assert_keys(&listener.keys, ratchet, "h");
            }
            _ => (),
        }
    }
    assert_eq!((connector.ratchets, listener.ratchets), (2, 2));
    assert!(ratchets.next().is_none());
}

#[test]
fn vector_sessions_are_reproduced_byte_for_byte() {
    for (tag, ids) in [("basic", [0, 0]), ("psk", [1, 1]), ("aes", [0, 0]), ("reconnect", [0, 1])] {
        replay(tag, ids);
    }
}
