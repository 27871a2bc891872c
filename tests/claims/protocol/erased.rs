//! Old keys are erased: a copy of a running scat's memory contains the current keys, no earlier
//! ones, and nothing from which they could be derived. Making the copy needs root.

use super::ping_pong;
use crate::support::CIPHERS;
use crate::support::peer::{self, FLIGHT3, Keys, Options, REKEY1, REKEY3, Role};
use crate::support::scat::{Scat, dial, key_file};
use crate::support::{ROLES, hex, knock, session, session_with, skip};
use aes::Aes256;
use aes::cipher::{BlockEncrypt, KeyInit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// Copies all writable memory of the process, map by map. Skips with `None` if the system does
/// not let a parent read a child's memory.
fn memory(scat: &Scat) -> Option<Vec<(String, Vec<u8>)>> {
    let mem = match File::open(format!("/proc/{}/mem", scat.id())) {
        Err(err) if err.kind() == ErrorKind::PermissionDenied => {
            skip(format_args!("a child's memory cannot be read here: {err}"));
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
            // The map is gone: the stack of a thread that has ended.
            Err(err) if err.raw_os_error() == Some(Errno::IO.raw_os_error()) => {}
            result => {
                result.unwrap();
                copies.push((map.to_string(), copy));
            }
        }
    }
    Some(copies)
}

/// The places where one of these pieces appears.
fn places_of(memory: &[(String, Vec<u8>)], pieces: &[[u8; 16]]) -> Vec<String> {
    let mut begins = [false; 256];
    pieces.iter().for_each(|piece| begins[usize::from(piece[0])] = true);
    let is_piece = |window: &[u8]| {
        begins[usize::from(window[0])] && pieces.iter().any(|piece| piece == window)
    };
    let of = |(map, copy): &(String, Vec<u8>)| {
        let hits = copy.windows(16).enumerate().filter(|(_, window)| is_piece(window));
        hits.map(|(at, _)| format!("{at:#x} in {map}")).collect::<Vec<_>>()
    };
    memory.iter().flat_map(of).collect()
}

/// The places where half of a key appears; ciphers may store the halves apart.
fn places(memory: &[(String, Vec<u8>)], key: &[u8; 32]) -> Vec<String> {
    places_of(memory, &[0, 16].map(|at| *key[at..].first_chunk().unwrap()))
}

/// What AES-256-GCM derives from a key: the round keys other than its halves, and the first
/// entry of the table for GHASH, in the forms that libraries use.
fn schedule(key: &[u8; 32]) -> Vec<[u8; 16]> {
    let mut words: Vec<[u8; 4]> = key.chunks(4).map(|word| word.try_into().unwrap()).collect();
    // FIPS 197, section 5.2.
    for i in 8..60 {
        let mut word = words[i - 1];
        if i % 8 == 0 {
            word.rotate_left(1);
        }
        if i % 4 == 0 {
            // ShiftRows does not change four equal columns.
            let mut block = aes::Block::clone_from_slice(&[word; 4].concat());
            aes::hazmat::cipher_round(&mut block, &[0; 16].into());
            aes::hazmat::inv_mix_columns(&mut block);
            word = *block.first_chunk().unwrap();
        }
        if i % 8 == 0 {
            word[0] ^= 1 << (i / 8 - 1);
        }
        words.push(std::array::from_fn(|at| words[i - 8][at] ^ word[at]));
    }
    let round_keys = words[8..].chunks(4).map(|four| four.concat().try_into().unwrap());
    let mut pieces: Vec<[u8; 16]> = round_keys.collect();

    let mut h = [0; 16].into();
    Aes256::new(key.into()).encrypt_block(&mut h);
    let h = u128::from_be_bytes(h.into());
    // Multiplied by x in the field of GHASH, with the bits reversed.
    let doubled = h << 1 ^ if h >> 127 == 1 { 0xc2 << 120 | 1 } else { 0 };
    for form in [h, h.rotate_left(64), doubled, doubled.rotate_left(64)] {
        pieces.extend([form.to_be_bytes(), form.to_le_bytes()]);
    }
    pieces
}

/// Vectors: FIPS 197, appendix A.3, and for GHASH test case 13 of the paper on GCM.
#[test]
fn the_schedule_that_is_looked_for_is_that_of_aes() {
    let key = hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
    let pieces = schedule(key[..].try_into().unwrap());
    assert_eq!(pieces[0][..], hex("9ba354118e6925afa51a8b5f2067fcde"));
    assert_eq!(pieces[12][..], hex("fe4890d1e6188d0b046df344706c631e"));
    assert_eq!(schedule(&[0; 32])[13][..], hex("dc95c078a2408989ad48a21492842087"));
}

fn assert_holds(scat: &Scat, keys: &[[u8; 32]]) {
    let Some(memory) = memory(scat) else { return };
    for key in keys {
        assert!(!places(&memory, key).is_empty(), "the search finds nothing");
    }
}

/// Checks that the keys are only in memory that is neither swapped nor dumped.
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
        assert_eq!(places_of(&memory, &schedule(key)), [""; 0], "key {i}, made ready");
    }
}

/// Checks that the memory contains these keys, and nothing from which they were derived.
fn assert_holds_only_keys(scat: &Scat, keys: &Keys) {
    assert_holds(scat, &[keys.k_c2l, keys.k_l2c, keys.rk]);
    if let Some(memory) = memory(scat) {
        let schedules = [keys.k_c2l, keys.k_l2c].map(|key| schedule(&key)).concat();
        assert_eq!(places_of(&memory, &schedules), [""; 0], "a key made ready");
    }
    assert_kept_in(scat, &[keys.k_c2l, keys.k_l2c, keys.rk]);
    assert_erased(scat, &[keys.kr]);
    // Four shared secrets, or five values of which two are shared secrets; and each mixing makes a
    // chaining key and a cipher key.
    assert_eq!(keys.secrets.len(), 12);
    assert_erased(scat, &keys.secrets);
}

#[test]
fn a_session_keeps_neither_identity_nor_pre_shared_key() {
    let (identity, psk) = (peer::random(), peer::random());
    let files = [key_file("secret", &identity), key_file("psk", &psk)];
    let own = ["-v", "-i", files[0].arg(), "--psk", files[1].arg()];
    let text = |key: &[u8; 32]| *STANDARD.encode(key).as_bytes().first_chunk().unwrap();
    for role in ROLES {
        let options = Options { psk: Some(psk), ..Options::default() };
        let (mut scat, mut peer) = session_with(role, options, |args| {
            let mut scat = Scat::new(&[&own, args].concat());
            scat.line(if role == Role::Listener { "listening on" } else { "connecting to" });
            assert_holds(&scat, &[identity, psk]);
            assert_kept_in(&scat, &[identity, psk]);
            scat
        });
        ping_pong(&mut scat, &mut peer, 10);
        assert_erased(&scat, &[identity, psk, text(&identity), text(&psk)]);
    }
}

#[test]
fn a_listener_erases_what_a_failed_handshake_leaves() {
    let (mut scat, port) = Scat::listen_with(&["-v"]);
    let (mut stream, stranger) = knock(port);
    stream.write_all(&[7; FLIGHT3]).unwrap();
    scat.line("forged or altered handshake");
    // A second caller that only connects needs little stack, and its message shows that scat is
    // done with the first.
    drop(dial(port));
    scat.line("closed before the handshake");
    let secrets = stranger.secrets();
    // Three mixed secrets, each with a chaining key and a cipher key.
    assert_eq!(secrets.len(), 9);
    assert_erased(&scat, &secrets);
}

/// Enough frames for a rekey in both directions, and a few under the next keys.
const FRAMES_TO_A_REKEY: u32 = 1030;

#[test]
fn a_listener_erases_the_keys_of_before_a_rekey_and_of_before_an_exchange() {
    for features in CIPHERS {
        let options = Options { features, ..Options::default() };
        let (mut scat, mut peer) = session_with(Role::Listener, options, Scat::new);
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
}

#[test]
fn a_connector_erases_the_keys_of_before_a_rekey() {
    for features in CIPHERS {
        let options = Options { features, ..Options::default() };
        let (mut scat, mut peer) = session_with(Role::Connector, options, Scat::new);
        ping_pong(&mut scat, &mut peer, 10);
        let first = peer.keys.clone();
        assert_holds_only_keys(&scat, &first);
        ping_pong(&mut scat, &mut peer, FRAMES_TO_A_REKEY);
        assert_erased(&scat, &[first.k_c2l, first.k_l2c]);
    }
}

#[test]
#[ignore = "waits two minutes for an exchange; .ci/run does"]
fn a_connector_erases_the_keys_of_before_an_exchange() {
    let (mut scat, mut peer) = session(Role::Connector);
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
