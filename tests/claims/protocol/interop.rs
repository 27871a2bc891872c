//! The program against an implementation that shares no code with it, in both roles.

use super::ping_pong;
use crate::support::peer::{self, AES, CONTENT, DATA, DONE, EOF, Options, Peer, REKEY2, Role};
use crate::support::relay::{Deed, relay};
use crate::support::scat::{self, Scat, Words, key_file, noise, start};
use crate::support::{CIPHERS, ROLES, session, session_with};
use ::scat::protocol::cipher;
use rustix::process::Signal;
use std::net::Shutdown;

/// The words that scat must print, as the peer computes them.
fn words_at_scat(peer: &Peer) -> Words {
    let words = pgp_words::to_words(&peer.sas);
    let half = |at: usize| {
        let [a, b, c] = [0, 1, 2].map(|i| u32::from(peer.sas[at + i]));
        let number = a << 16 | b << 8 | c;
        let words = words[at..at + 3].join(" ");
        format!("{words:<27} ({:04} {:04})", number / 10_000, number % 10_000).to_lowercase()
    };
    let (listener, connector) = (half(0), half(3));
    match peer.role {
        Role::Connector => Words { you_say: listener, they_say: connector },
        Role::Listener => Words { you_say: connector, they_say: listener },
    }
}

/// Ends a session in which both have received everything: scat sends its last frames, and ends
/// well.
fn end_well(scat: Scat, mut peer: Peer) {
    assert!(peer.recv_end().unwrap());
    // Otherwise scat would wait for the peer's FIN, up to its limit for closing.
    drop(peer);
    scat.end().expect(0, "");
}

#[test]
fn words_are_those_that_the_peer_computes() {
    for role in ROLES {
        let (mut scat, peer) = session(role);
        assert_eq!(scat.words(), words_at_scat(&peer));
        // Both screens show the listener's half first.
        let lines = ["you say", "they say"].map(|what| scat.line(&format!("  {what}  ")));
        drop(peer);
        let stderr = scat.end().stderr;
        let [you, they] = lines.map(|line| stderr.find(&line).unwrap());
        assert!((you < they) == stderr.starts_with("scat: listening"), "{stderr}");
    }
}

#[test]
fn bytes_arrive_both_ways_with_and_without_a_pre_shared_key() {
    let key = key_file("psk", &[9; 32]);
    let psks =
        [None, Some([9; 32])].into_iter().flat_map(|psk| CIPHERS.map(|cipher| (psk, cipher)));
    for role in ROLES {
        for (psk, features) in psks.clone() {
            let own = if psk.is_some() { &["-v", "--psk", key.arg()][..] } else { &[] };
            let options = Options { psk, features, ..Options::default() };
            let (mut scat, mut peer) =
                session_with(role, options, |args| Scat::new(&[own, args].concat()));
            let (there, back) = (noise(1, 100_000), noise(2, 100_000));
            peer.send_data(&there).unwrap();
            assert!(scat.read(there.len()) == there);
            scat.write(&back);
            scat.end_input();
            assert!(peer.finish().unwrap() == back);
            assert!(scat.end().expect(0, "").stdout.is_empty());
        }
    }
}

#[test]
fn frames_are_aes_where_both_ends_have_it_and_verbose_says_so() {
    for role in ROLES {
        for features in CIPHERS {
            let options = Options { features, ..Options::default() };
            let verbose = |args: &[&str]| Scat::new(&[&["-v"], args].concat());
            let (mut scat, mut peer) = session_with(role, options, verbose);
            assert_eq!(peer.aes, features == AES && cipher::aes_is_fast());
            scat.line(match peer.aes {
                true => "cipher: AES-256-GCM",
                false => "cipher: ChaCha20-Poly1305",
            });
            ping_pong(&mut scat, &mut peer, 3);
        }
    }
}

#[test]
fn an_altered_offer_makes_no_session() {
    let key = key_file("psk", &[9; 32]);
    for psk in [false, true] {
        let own = if psk { &["--psk", key.arg()][..] } else { &[] };
        let (mut l, port) = Scat::listen_with(&[&["-v"], own].concat());
        for bits in [peer::AES, peer::RECONNECT, peer::AES | peer::RECONNECT] {
            let altered = relay(port, Deed::Turn(6, bits)).to_string();
            let c = Scat::new(&[own, &["127.0.0.1", &altered]].concat());
            // With a pre-shared key, scat cannot distinguish this from another key.
            match psk {
                false => c.end().expect(3, "the handshake was altered"),
                true => c.end().expect(4, "the pre-shared keys may differ"),
            };
            l.line(if psk { "the pre-shared keys differ" } else { "hung up" });
        }
        // The listener accepts the next caller.
        l.end_input();
        let port = port.to_string();
        Scat::new(&[own, &["127.0.0.1", &port]].concat()).end().expect(0, "");
        l.end().expect(0, "");
    }
}

#[test]
fn symmetric_rekeys_agree_over_3100_frames_each_way() {
    for (role, features) in ROLES.into_iter().flat_map(|role| CIPHERS.map(|cipher| (role, cipher)))
    {
        let options = Options { features, ..Options::default() };
        let (mut scat, mut peer) = session_with(role, options, Scat::new);
        ping_pong(&mut scat, &mut peer, 3100);
        assert!(peer.tx.n > 3072 && peer.rx.n > 3072);
        scat.end_input();
        assert!(peer.finish().unwrap().is_empty());
        scat.end().expect(0, "");
    }
}

#[test]
fn bulk_over_many_symmetric_rekeys_arrives_whole() {
    let (mut scat, mut peer) = session(Role::Listener);
    let data = noise(3, 1025 * CONTENT + 17);
    let expected = data.clone();
    let sent = start(move || {
        peer.send_data(&data).unwrap();
        peer.finish().unwrap()
    });
    assert!(scat.read(expected.len()) == expected);
    scat.end_input();
    assert!(sent.join().is_empty());
    scat.end().expect(0, "");
}

#[test]
fn ratchets_that_the_peer_starts_are_answered() {
    for features in CIPHERS {
        let options = Options { features, ..Options::default() };
        let (mut scat, mut peer) = session_with(Role::Listener, options, Scat::new);
        // Before, between, and right after symmetric rekeys.
        for rounds in [1, 700, 1100, 400] {
            peer.start_ratchet().unwrap();
            ping_pong(&mut scat, &mut peer, rounds);
        }
        scat.end_input();
        assert!(peer.finish().unwrap().is_empty());
        assert_eq!(peer.ratchets, 4);
        scat.end().expect(0, "");
    }
}

#[test]
fn data_flows_under_the_old_key_while_a_ratchet_is_under_way() {
    let (mut scat, mut peer) = session(Role::Listener);
    peer.start_ratchet().unwrap();
    peer.send(DATA, b"old key").unwrap();
    assert_eq!(scat.read(7), b"old key");
    let (kind, rekey2) = peer.recv_raw().unwrap();
    assert_eq!(kind, REKEY2);
    peer.take_rekey2(&rekey2).unwrap();
    // scat already sends with its new key, and still receives with the old one.
    scat.write(b"new key");
    assert_eq!(peer.recv_raw().unwrap(), (DATA, b"new key".to_vec()));
    peer.send(DATA, b"still old").unwrap();
    assert_eq!(scat.read(9), b"still old");
    peer.send_rekey3().unwrap();
    peer.send(DATA, b"new at last").unwrap();
    assert_eq!(scat.read(11), b"new at last");
    scat.end_input();
    peer.finish().unwrap();
    scat.end().expect(0, "");
}

#[test]
fn a_ratchet_may_end_after_the_ends_of_the_streams() {
    let (mut scat, mut peer) = session(Role::Listener);
    scat.end_input();
    assert_eq!(peer.recv().unwrap().0, EOF);
    peer.start_ratchet().unwrap();
    // finish() sends EOF and, as soon as possible, DONE; both under the old key if REKEY2 has not
    // arrived by then. REKEY3 follows.
    assert!(peer.finish().unwrap().is_empty());
    assert_eq!(peer.ratchets, 1);
    scat.end().expect(0, "");
}

#[test]
fn ends_are_taken_in_either_order() {
    for role in ROLES {
        // scat ends first.
        let (mut scat, mut peer) = session(role);
        scat.end_input();
        assert_eq!(peer.recv().unwrap().0, EOF);
        peer.send(DONE, &[]).unwrap();
        peer.send(DATA, b"the peer goes on").unwrap();
        assert_eq!(scat.read(16), b"the peer goes on");
        peer.send(EOF, &[]).unwrap();
        assert_eq!(peer.recv().unwrap().0, DONE);
        end_well(scat, peer);

        // The peer ends first.
        let (mut scat, mut peer) = session(role);
        peer.send(EOF, &[]).unwrap();
        assert_eq!(peer.recv().unwrap().0, DONE);
        scat.write(b"scat goes on");
        assert_eq!(peer.recv().unwrap(), (DATA, b"scat goes on".to_vec()));
        scat.end_input();
        assert_eq!(peer.recv().unwrap().0, EOF);
        peer.send(DONE, &[]).unwrap();
        end_well(scat, peer);
    }
}

#[test]
fn done_waits_until_the_output_has_taken_everything() {
    for role in ROLES {
        let (mut scat, mut peer) = session(role);
        scat.end_input();
        assert_eq!(peer.recv().unwrap().0, EOF);
        // More than a pipe holds, while nobody reads it.
        let data = noise(4, 600_000);
        peer.send_data(&data).unwrap();
        peer.send(EOF, &[]).unwrap();
        peer.send(DONE, &[]).unwrap();
        let patience = std::time::Duration::from_millis(300);
        peer.stream.set_read_timeout(Some(patience)).unwrap();
        let early = peer.stream.peek(&mut [0]);
        assert!(early.is_err(), "DONE came before the output took everything");
        peer.stream.set_read_timeout(Some(scat::LIMIT)).unwrap();
        assert!(scat.read(data.len()) == data);
        assert_eq!(peer.recv().unwrap().0, DONE);
        end_well(scat, peer);
    }
}

#[test]
fn the_last_frames_and_the_fin_in_one_breath_are_a_whole_end() {
    for role in ROLES {
        let (mut scat, mut peer) = session(role);
        scat.end_input();
        assert_eq!(peer.recv().unwrap().0, EOF);
        // Everything has arrived when scat reads again.
        scat.signal(Signal::STOP);
        let frames = [EOF, DONE].map(|kind| peer.seal(&peer::plaintext(kind, &[])));
        peer.write(&frames.concat()).unwrap();
        peer.stream.shutdown(Shutdown::Write).unwrap();
        scat.signal(Signal::CONT);
        assert_eq!(peer.recv_raw().unwrap().0, DONE);
        end_well(scat, peer);
    }
}
