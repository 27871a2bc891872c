//! How scat closes a connection: no frame is lost, and no peer can hold it open.

use crate::support::peer::{ABORT, Options, Peer, Role};
use crate::support::scat::{LIMIT, Scat, noise, start};
use crate::support::{ROLES, hurried, session_with};
use std::io::Write;
use std::time::{Duration, Instant};

/// A scat with a short limit for closing, and its peer.
fn session(role: Role) -> (Scat, Peer) {
    session_with(role, Options::default(), hurried::start)
}

#[test]
fn a_peer_that_floods_cannot_keep_a_close_from_ending() {
    for role in ROLES {
        let (scat, mut peer) = session(role);
        let forged = [&[1, 0][..], &[7; 256]].concat();
        peer.write(&forged).unwrap();
        let floods: Vec<_> = (0..4)
            .map(|_| {
                let mut stream = peer.stream.try_clone().unwrap();
                start(move || while stream.write_all(&[7; 1 << 22]).is_ok() {})
            })
            .collect();
        scat.end_by_itself().expect(5, "forged");
        floods.into_iter().for_each(|flood| flood.join());
    }
}

#[test]
fn an_output_that_blocks_keeps_the_data_but_not_the_connection() {
    for role in ROLES {
        let (scat, mut peer) = session(role);
        let data = noise(21, 480_000);
        peer.send_data(&data).unwrap();
        peer.send(ABORT, &[5]).unwrap();
        // Nobody reads scat's output, and the peer does not close either.
        let before = Instant::now();
        while peer.write(&[7]).is_ok() {
            assert!(before.elapsed() < LIMIT, "it is still open");
            std::thread::sleep(Duration::from_millis(5));
        }
        let ended = scat.end_by_itself().expect(6, "the other end was interrupted");
        assert!(ended.stdout == data, "{} bytes", ended.stdout.len());
    }
}

#[test]
fn w_never_ends_a_running_session() {
    let (mut listener, port) = Scat::listen_with(&["-w3"]);
    let mut connector = Scat::connect_with(&["-w3"], port);
    connector.line("you say");
    listener.line("you say");
    // A third scat, which starts later, runs out of the same time.
    Scat::listen_with(&["-w3"]).0.end().expect(3, "no session in 3 s");
    connector.write(b"late");
    assert_eq!(listener.read(4), b"late");
    listener.end_input();
    connector.end().expect(0, "");
    listener.end().expect(0, "");
}
