//! The test peer against itself and against the vectors.

mod peer;

use peer::{
    ABORT, DATA, DONE, EOF, Ephemerals, Handshake, OPEN, Options, Peer, REKEY1, REKEY2, REKEY3,
    Role,
};
use serde_json::Value;
use std::io::{ErrorKind, Result};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// Both ends of a loopback connection, the connector's first.
fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connector = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (connector, listener.accept().unwrap().0)
}

/// Runs a connector and a listener, each in its own thread.
fn session<C, L>(
    options: (Options, Options),
    connector: impl FnOnce(Result<Peer>) -> C,
    listener: impl FnOnce(Result<Peer>) -> L + Send,
) -> (C, L)
where
    L: Send,
{
    let (c, l) = sockets();
    thread::scope(|scope| {
        let listener = scope.spawn(move || listener(Peer::accept(l, options.1)));
        let c = connector(Peer::connect(c, options.0));
        (c, listener.join().unwrap())
    })
}

fn defaults() -> (Options, Options) {
    (Options::default(), Options::default())
}

/// Both halves of a handshake in one thread, the last flight read; no OPEN.
fn pair(options: (Options, Options)) -> (Peer, Peer) {
    let (c, l) = sockets();
    let mut connector = Handshake::new(Role::Connector, options.0).unwrap();
    let mut listener = Handshake::new(Role::Listener, options.1).unwrap();
    listener.read_flight1(&connector.flight1().unwrap()).unwrap();
    connector.read_flight2(&listener.flight2().unwrap()).unwrap();
    listener.read_flight3(&connector.flight3().unwrap()).unwrap();
    (connector.into_peer(c).unwrap(), listener.into_peer(l).unwrap())
}

/// The same, OPEN sent and taken.
fn opened_pair() -> (Peer, Peer) {
    let (mut connector, mut listener) = pair(defaults());
    listener.send_open().unwrap();
    connector.receive_open().unwrap();
    (connector, listener)
}

/// 3000 frames each way, two ratchets among them, a clean end.
fn long_session(psk: Option<[u8; 32]>) {
    const FRAMES: u32 = 3000;
    let options = || Options { psk, id: 1, ..Options::default() };
    let next_data = |peer: &mut Peer| loop {
        match peer.recv().unwrap() {
            (DATA, content) => break content,
            (REKEY1 | REKEY2 | REKEY3, _) => (),
            other => panic!("{other:?}"),
        }
    };
    let talk = |peer: &mut Peer, ratchet_at: [u32; 2]| {
        for i in 0..FRAMES {
            if ratchet_at.contains(&i) {
                peer.start_ratchet().unwrap();
            }
            peer.send(DATA, &i.to_be_bytes()).unwrap();
            assert_eq!(next_data(peer), i.to_be_bytes());
        }
        assert!(peer.finish().unwrap().is_empty());
        assert_eq!((peer.ratchets, peer.peer_id), (2, 1));
        (peer.sas, peer.keys.clone(), peer.tx.n, peer.rx.n)
    };
    // The first at frame 2100, so that two symmetric rekeys come before it.
    let (c, l) = session(
        (options(), options()),
        |peer| talk(&mut peer.unwrap(), [2100, 2500]),
        |peer| talk(&mut peer.unwrap(), [u32::MAX; 2]),
    );
    assert_eq!((c.0, c.1), (l.0, l.1));
    assert_eq!((c.2, c.3), (l.3, l.2));
}

#[test]
fn session_without_psk_survives_rekeys_and_two_ratchets() {
    long_session(None);
}

#[test]
fn session_with_psk_survives_rekeys_and_two_ratchets() {
    long_session(Some(peer::random()));
}

#[test]
fn bulk_data_arrives_whole() {
    let data: Vec<u8> = (0..1_000_000_u32).map(|i| (i / 251) as u8).collect();
    let (received, _) = session(
        defaults(),
        |peer| peer.unwrap().finish().unwrap(),
        |peer| {
            let mut peer = peer.unwrap();
            peer.send_data(&data).unwrap();
            assert!(peer.finish().unwrap().is_empty());
        },
    );
    assert!(received == data);
}

#[test]
fn different_psks_fail_at_flight_1() {
    let options = || Options { psk: Some(peer::random()), ..Options::default() };
    let (c, l) = session((options(), options()), |peer| peer.err(), |peer| peer.err());
    assert_eq!(l.unwrap().kind(), ErrorKind::InvalidData);
    // The listener only hangs up; unread bytes make that a reset or an end.
    assert!(c.is_some());
}

#[test]
fn an_opening_that_does_not_fit_the_commitment_is_refused() {
    let (mut connector, mut listener) = pair(defaults());
    listener.send(OPEN, &[7; 32]).unwrap();
    let error = connector.receive_open().unwrap_err();
    assert_eq!(error.to_string(), "OPEN does not fit the commitment");
}

#[test]
fn a_point_of_low_order_is_refused() {
    for field in 0..2 {
        let mut options = defaults();
        match field {
            0 => options.1.ephemerals.e = [0; 32],
            _ => options.1.static_key = [0; 32],
        }
        let mut connector = Handshake::new(Role::Connector, options.0).unwrap();
        let mut listener = Handshake::new(Role::Listener, options.1).unwrap();
        listener.read_flight1(&connector.flight1().unwrap()).unwrap();
        let flight2 = listener.flight2().unwrap();
        let error = connector.read_flight2(&flight2).unwrap_err();
        assert_eq!(error.to_string(), snow::Error::Dh.to_string());
    }
}

#[test]
fn a_kem_key_that_fails_the_modulus_check_is_refused() {
    let mut options = defaults();
    options.0.ephemerals.kem_overflow = true;
    let mut connector = Handshake::new(Role::Connector, options.0).unwrap();
    let mut listener = Handshake::new(Role::Listener, options.1).unwrap();
    listener.read_flight1(&connector.flight1().unwrap()).unwrap();
    let error = listener.flight2().unwrap_err();
    assert_eq!(error.to_string(), snow::Error::Kem.to_string());
}

#[test]
fn wrong_payloads_in_flights_are_refused() {
    let (mut connector, mut listener) = (
        Handshake::new(Role::Connector, Options::default()).unwrap(),
        Handshake::new(Role::Listener, Options::default()).unwrap(),
    );
    listener.read_flight1(&connector.flight1().unwrap()).unwrap();
    connector.read_flight2(&listener.flight2().unwrap()).unwrap();
    let flight3 = connector.flight3_with(&[2; 33]).unwrap();
    assert_eq!(flight3.len(), peer::FLIGHT3);
    let error = listener.read_flight3(&flight3).unwrap_err();
    assert_eq!(error.to_string(), "unknown id");
}

#[test]
fn frames_that_are_not_allowed_are_refused() {
    // Each list is sent by the connector; the last frame is the wrong one.
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
fn a_changed_bit_anywhere_in_a_frame_is_noticed() {
    for at in [0, 1, 2, 100, 273] {
        let (mut connector, mut listener) = opened_pair();
        let mut frame = connector.seal(&peer::plaintext(DATA, b"x"));
        frame[at] ^= 1;
        connector.write(&frame).unwrap();
        // Enough for the frame that a longer length asks for.
        connector.write(&[0; 300]).unwrap();
        assert!(listener.recv().is_err(), "byte {at}");
    }
}

#[test]
fn a_frame_sent_twice_is_refused() {
    let (mut connector, mut listener) = opened_pair();
    connector.send(DATA, b"x").unwrap();
    let frame = connector.last_frame.clone();
    connector.write(&frame).unwrap();
    assert_eq!(listener.recv().unwrap(), (DATA, b"x".to_vec()));
    assert!(listener.recv().is_err());
}

#[test]
fn rekey1_while_rekey3_is_due_is_refused() {
    let (mut connector, mut listener) = opened_pair();
    connector.start_ratchet().unwrap();
    assert_eq!(listener.recv().unwrap().0, REKEY1);
    let (kind, content) = connector.recv_raw().unwrap();
    assert_eq!(kind, REKEY2);
    connector.take_rekey2(&content).unwrap();
    connector.send(REKEY1, &[0; 1248]).unwrap();
    let error = listener.recv().unwrap_err();
    assert_eq!(error.to_string(), "type 4 is not allowed here");
    // The listener sends under its new key already.
    listener.send(ABORT, &[3]).unwrap();
    assert_eq!(connector.recv_abort().unwrap(), 3);
}

#[test]
fn a_ratchet_with_a_bad_kem_key_is_refused() {
    let (mut connector, mut listener) = opened_pair();
    connector.ephemerals = Some(Ephemerals { kem_overflow: true, ..Ephemerals::default() });
    connector.start_ratchet().unwrap();
    let error = listener.recv().unwrap_err();
    assert_eq!(error.to_string(), snow::Error::Kem.to_string());
}

#[test]
fn rekey3_may_come_after_the_connectors_eof_and_done() {
    let (mut connector, mut listener) = opened_pair();
    listener.send(EOF, &[]).unwrap();
    assert_eq!(connector.recv().unwrap().0, EOF);
    connector.start_ratchet().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| connector.finish().unwrap());
        listener.finish().unwrap();
    });
    assert_eq!((connector.ratchets, listener.ratchets), (1, 1));
}

#[test]
fn rekey1_is_not_answered_after_eof_and_done() {
    let (mut connector, mut listener) = opened_pair();
    connector.send(EOF, &[]).unwrap();
    assert_eq!(listener.recv().unwrap().0, EOF);
    listener.send(EOF, &[]).unwrap();
    listener.send(DONE, &[]).unwrap();
    connector.start_ratchet().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| connector.finish().unwrap());
        listener.finish().unwrap();
    });
    assert_eq!((connector.ratchets, listener.ratchets), (0, 0));
}

#[test]
fn a_stream_that_only_stops_is_not_an_end() {
    let (mut connector, listener) = opened_pair();
    drop(listener);
    let error = connector.finish().unwrap_err();
    // Our EOF may or may not have met a socket that was closed already.
    let kinds = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
    assert!(kinds.contains(&error.kind()), "{error}");
}

// ---- vectors ----

fn bytes<const N: usize>(value: &Value) -> [u8; N] {
    hex(value).try_into().unwrap()
}

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    assert!(text.len().is_multiple_of(2));
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn assert_keys(keys: &peer::Keys, v: &Value, h: &str) {
    assert_eq!(keys.h, bytes(&v[h]));
    assert_eq!(keys.k_c2l, bytes(&v["k_c2l"]));
    assert_eq!(keys.k_l2c, bytes(&v["k_l2c"]));
    assert_eq!(keys.rk, bytes(&v["rk"]));
}

/// What a vector says that each side has drawn for one exchange.
fn ephemerals(v: &Value) -> (Ephemerals, Ephemerals) {
    let of = |e: &str| Ephemerals {
        e: bytes(&v[e]),
        kem_seed: bytes(&v["C_kem_seed"]),
        kem_m: bytes(&v["L_kem_m"]),
        kem_overflow: false,
    };
    (of("C_e"), of("L_e"))
}

/// The handshake of a vector, each flight compared. `id` is that of both
/// sides: the vectors do not name it.
fn replay_handshake(v: &Value, id: u8) -> (Peer, Peer) {
    let (c, l) = ephemerals(v);
    let of = |ephemerals, s: &str, nonce: &str| Options {
        psk: (!v["psk"].is_null()).then(|| bytes(&v["psk"])),
        id,
        static_key: bytes(&v[s]),
        nonce: bytes(&v[nonce]),
        ephemerals,
    };
    let mut connector = Handshake::new(Role::Connector, of(c, "C_s", "C_nonce")).unwrap();
    let mut listener = Handshake::new(Role::Listener, of(l, "L_s", "L_nonce")).unwrap();

    let flight1 = connector.flight1().unwrap();
    assert!(flight1 == hex(&v["flight1"]));
    assert_eq!(flight1.len(), listener.flight1_len());
    listener.read_flight1(&flight1).unwrap();

    let flight2 = listener.flight2().unwrap();
    assert!(flight2 == hex(&v["flight2"]));
    assert_eq!(flight2.len(), peer::FLIGHT2);
    connector.read_flight2(&flight2).unwrap();

    let flight3 = connector.flight3().unwrap();
    assert!(flight3 == hex(&v["flight3"]));
    assert_eq!(flight3.len(), peer::FLIGHT3);
    listener.read_flight3(&flight3).unwrap();

    for side in [&connector, &listener] {
        assert_eq!(side.h, ["h1", "h2", "h3"].map(|h| bytes(&v[h])));
        assert_eq!(side.commit, bytes(&v["commit"]));
    }
    let (c, l) = sockets();
    (connector.into_peer(c).unwrap(), listener.into_peer(l).unwrap())
}

/// Sends one frame of a vector, compares it, and receives it at the other end.
fn replay_frame(v: &Value, from: &mut Peer, to: &mut Peer) {
    let kind = u8::try_from(v["type"].as_u64().unwrap()).unwrap();
    let mut content = hex(&v["content"]);
    if let Some(fill) = v["fill"].as_array() {
        let count = usize::try_from(fill[1].as_u64().unwrap()).unwrap();
        content = vec![u8::try_from(fill[0].as_u64().unwrap()).unwrap(); count];
    }
    for _ in 0..v["repeat"].as_u64().unwrap_or(1) {
        match kind {
            REKEY1 => from.start_ratchet().unwrap(),
            REKEY3 => from.send_rekey3().unwrap(),
            // Sent by answer_rekey1, when the listener received REKEY1.
            REKEY2 => (),
            _ => from.send(kind, &content).unwrap(),
        }
        // REKEY frames go step by step, as the vectors have frames between.
        let received = match kind {
            REKEY1..=REKEY3 => to.recv_raw().unwrap(),
            _ => to.recv().unwrap(),
        };
        assert!(received == (kind, content.clone()));
    }
    if !v["frame_len"].is_null() {
        let frame = &from.last_frame;
        assert_eq!(frame.len() as u64, v["frame_len"].as_u64().unwrap());
        assert_eq!(peer::hash(&[frame]), bytes(&v["frame_blake2s"]));
        assert!(v["frame"].is_null() || *frame == hex(&v["frame"]));
    }
}

fn replay(tag: &str, id: u8) {
    let vectors: Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
    let vectors = vectors["vectors"].as_array().unwrap();
    let v = vectors.iter().find(|v| v["tag"] == tag).unwrap();
    let (mut connector, mut listener) = replay_handshake(v, id);
    assert_keys(&connector.keys, v, "h3");
    assert_keys(&listener.keys, v, "h3");
    assert_eq!(listener.sas, bytes(&v["sas"]));

    let mut ratchets = v["ratchets"].as_array().unwrap().iter();
    let mut ratchet = &Value::Null;
    let frames = v["frames"].as_array().unwrap();
    for (i, frame) in frames.iter().enumerate() {
        let kind = frame["type"].as_u64().unwrap() as u8;
        if kind == REKEY1 {
            ratchet = ratchets.next().unwrap();
            let (c, l) = ephemerals(ratchet);
            (connector.ephemerals, listener.ephemerals) = (Some(c), Some(l));
        }
        if kind == REKEY2 {
            let rekey1 = frames[..i].iter().rfind(|f| f["type"] == REKEY1);
            let rekey1 = hex(&rekey1.unwrap()["content"]);
            listener.answer_rekey1(&rekey1).unwrap();
        }
        let (from, to) = match frame["dir"].as_str().unwrap() {
            "C>L" => (&mut connector, &mut listener),
            _ => (&mut listener, &mut connector),
        };
        replay_frame(frame, from, to);
        match kind {
            OPEN => assert_eq!(connector.sas, bytes(&v["sas"])),
            REKEY2 => connector.take_rekey2(&hex(&frame["content"])).unwrap(),
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
fn vector_session_basic_is_reproduced_byte_for_byte() {
    replay("basic", 0);
}

#[test]
fn vector_session_psk_is_reproduced_byte_for_byte() {
    replay("psk", 1);
}
