//! Old keys are erased: whoever copies all the memory of a running scat finds
//! the keys of now, none from before, and nothing that they could be made from.
//! Such a copy takes root.

#![cfg(target_os = "linux")]

mod peer;
mod scat;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use peer::{
    DATA, FLIGHT2, FLIGHT3, Handshake, Keys, Options, Peer, REKEY1, REKEY3, Role, read_flight,
};
use rustix::io::Errno;
use scat::{Place, Scat, dial};
use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::time::Duration;

/// Every frame is answered before the next is sent. The keys that are looked for
/// afterwards went out of use several waits ago.
fn ping_pong(scat: &mut Scat, peer: &mut Peer, rounds: u32) {
    for i in 0..rounds {
        peer.send(DATA, &i.to_be_bytes()).unwrap();
        assert_eq!(scat.read(4), i.to_be_bytes());
        scat.write(&i.to_le_bytes());
        while peer.recv().unwrap() != (DATA, i.to_le_bytes().to_vec()) {}
    }
}

/// All that the process can write to, as one copy after the other. Nothing where
/// the system lets nobody look at a child's memory.
fn memory(scat: &Scat) -> Option<Vec<(String, Vec<u8>)>> {
    let mem = match File::open(format!("/proc/{}/mem", scat.id())) {
        Err(why) if why.kind() == ErrorKind::PermissionDenied => {
            eprintln!("SKIPPED: a child's memory cannot be read here: {why}");
            return None;
        }
        result => result.unwrap(),
    };
    let maps = fs::read_to_string(format!("/proc/{}/maps", scat.id())).unwrap();
    let mut copies = Vec::new();
    for map in maps.lines().filter(|map| map.split(' ').nth(1).unwrap().starts_with("rw")) {
        let (start, end) = map.split(' ').next().unwrap().split_once('-').unwrap();
        let [start, end] = [start, end].map(|at| u64::from_str_radix(at, 16).unwrap());
        let mut copy = vec![0; (end - start) as usize];
        match mem.read_exact_at(&mut copy, start) {
            // Gone since: the stack of a thread that has ended.
            Err(why) if why.raw_os_error() == Some(Errno::IO.raw_os_error()) => {}
            result => {
                result.unwrap();
                copies.push((map.to_string(), copy));
            }
        }
    }
    Some(copies)
}

/// Where either half of a key stands: ciphers keep them apart.
fn places(memory: &[(String, Vec<u8>)], key: &[u8; 32]) -> Vec<String> {
    let halves = [&key[..16], &key[16..]];
    let of = |(map, copy): &(String, Vec<u8>)| {
        let hits = copy.windows(16).enumerate().filter(|(_, window)| halves.contains(window));
        hits.map(|(at, _)| format!("{at:#x} in {map}")).collect::<Vec<_>>()
    };
    memory.iter().flat_map(of).collect()
}

fn assert_holds(scat: &Scat, keys: &[[u8; 32]]) {
    let Some(memory) = memory(scat) else { return };
    for key in keys {
        assert!(!places(&memory, key).is_empty(), "the search finds nothing");
    }
}

/// They stand only where the system swaps nothing out and dumps nothing.
fn assert_kept_in(scat: &Scat, keys: &[[u8; 32]]) {
    let Some(memory) = memory(scat) else { return };
    let smaps = fs::read_to_string(format!("/proc/{}/smaps", scat.id())).unwrap();
    for place in keys.iter().flat_map(|key| places(&memory, key)) {
        let map = place.split_once(" in ").unwrap().1;
        let flags = smaps.split_once(map).unwrap().1.split_once("VmFlags: ").unwrap().1;
        let flags: Vec<_> = flags.lines().next().unwrap().split(' ').collect();
        assert!(flags.contains(&"lo") && flags.contains(&"dd"), "{place}: {flags:?}");
    }
}

fn assert_erased(scat: &Scat, keys: &[[u8; 32]]) {
    let Some(memory) = memory(scat) else { return };
    for (i, key) in keys.iter().enumerate() {
        assert_eq!(places(&memory, key), [""; 0], "key {i}");
    }
}

/// These are there, and nothing that they were made from.
fn assert_holds_only_keys(scat: &Scat, keys: &Keys) {
    assert_holds(scat, &[keys.k_c2l, keys.k_l2c, keys.rk]);
    assert_kept_in(scat, &[keys.k_c2l, keys.k_l2c, keys.rk]);
    // Four secrets are mixed, or five values of which two are exchanged; each
    // mixing makes a chaining key and a cipher key.
    assert_eq!(keys.secrets.len(), 12);
    assert_erased(scat, &keys.secrets);
}

/// 32 bytes as a key file of this kind has them.
fn key_file(kind: &str, key: &[u8; 32]) -> Place {
    let place = scat::file(kind, format!("scat-{kind}:{}\n", STANDARD.encode(key)).as_bytes());
    fs::set_permissions(&place, Permissions::from_mode(0o600)).unwrap();
    place
}

#[test]
fn a_session_keeps_neither_identity_nor_pre_shared_key() {
    let (identity, psk) = (peer::random(), peer::random());
    let files = [key_file("secret", &identity), key_file("psk", &psk)];
    let [i, p] = files.each_ref().map(|file| file.as_ref().to_str().unwrap());
    let text = |key: &[u8; 32]| *STANDARD.encode(key).as_bytes().first_chunk().unwrap();
    let kept = [identity, psk, text(&identity), text(&psk)];

    let (mut scat, port) = Scat::new(&["-l", "-i", i, "--psk", p, "127.0.0.1", "0"]).with_port();
    assert_holds(&scat, &[identity, psk]);
    assert_kept_in(&scat, &[identity, psk]);
    let options = Options { psk: Some(psk), ..Options::default() };
    let mut peer = Peer::connect(dial(port), options.clone()).unwrap();
    ping_pong(&mut scat, &mut peer, 10);
    assert_erased(&scat, &kept);

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let mut scat = Scat::new(&["-i", i, "--psk", p, "127.0.0.1", &port]);
    let stream = listener.accept().unwrap().0;
    assert_holds(&scat, &[identity, psk]);
    let mut peer = Peer::accept(stream, options).unwrap();
    ping_pong(&mut scat, &mut peer, 10);
    assert_erased(&scat, &kept);
}

#[test]
fn a_listener_erases_what_a_failed_handshake_leaves() {
    let (mut scat, port) = Scat::new(&["-lv", "127.0.0.1", "0"]).with_port();
    let mut stream = dial(port);
    let mut stranger = Handshake::new(Role::Connector, Options::default()).unwrap();
    stream.write_all(&stranger.flight1().unwrap()).unwrap();
    stranger.read_flight2(&read_flight(&mut stream, FLIGHT2).unwrap()).unwrap();
    stream.write_all(&[7; FLIGHT3]).unwrap();
    scat.line("forged or altered handshake");
    // Who only knocks needs little stack, and shows that there was a wait before.
    drop(dial(port));
    scat.line("closed before the handshake");
    let secrets = stranger.secrets();
    // Three were mixed.
    assert_eq!(secrets.len(), 9);
    assert_erased(&scat, &secrets);
}

/// In both directions, then some under the next keys.
const FRAMES_TO_A_REKEY: u32 = 1030;

#[test]
fn a_listener_erases_the_keys_of_before_a_rekey_and_of_before_an_exchange() {
    let (mut scat, port) = Scat::listen();
    let mut peer = Peer::connect(dial(port), Options::default()).unwrap();
    ping_pong(&mut scat, &mut peer, 10);
    let first = peer.keys.clone();
    assert_holds_only_keys(&scat, &first);
    peer.start_ratchet().unwrap();
    ping_pong(&mut scat, &mut peer, 10);
    assert_eq!(peer.ratchets, 1);
    assert_erased(&scat, &[first.k_c2l, first.k_l2c, first.rk]);
    let second = peer.keys.clone();
    assert_holds_only_keys(&scat, &second);
    ping_pong(&mut scat, &mut peer, FRAMES_TO_A_REKEY);
    assert_holds(&scat, &[second.rk]);
    assert_erased(&scat, &[second.k_c2l, second.k_l2c]);
}

/// The peer listens, scat connects.
fn scat_connects() -> (Scat, Peer) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let scat = Scat::connect(listener.local_addr().unwrap().port());
    let peer = Peer::accept(listener.accept().unwrap().0, Options::default()).unwrap();
    (scat, peer)
}

#[test]
fn a_connector_erases_the_keys_of_before_a_rekey() {
    let (mut scat, mut peer) = scat_connects();
    ping_pong(&mut scat, &mut peer, 10);
    let first = peer.keys.clone();
    assert_holds_only_keys(&scat, &first);
    ping_pong(&mut scat, &mut peer, FRAMES_TO_A_REKEY);
    assert_erased(&scat, &[first.k_c2l, first.k_l2c]);
}

#[test]
#[ignore = "waits two minutes for an exchange; .ci/run does"]
fn a_connector_erases_the_keys_of_before_an_exchange() {
    let (mut scat, mut peer) = scat_connects();
    ping_pong(&mut scat, &mut peer, 10);
    let first = peer.keys.clone();
    peer.stream.set_read_timeout(Some(Duration::from_secs(150))).unwrap();
    assert_eq!(peer.recv().unwrap().0, REKEY1);
    assert_eq!(peer.recv().unwrap().0, REKEY3);
    ping_pong(&mut scat, &mut peer, 10);
    assert_eq!(peer.ratchets, 1);
    assert_erased(&scat, &[first.k_c2l, first.k_l2c, first.rk]);
    let second = peer.keys.clone();
    assert_holds_only_keys(&scat, &second);
}
