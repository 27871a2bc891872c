//! How a connection is closed: nothing that was said is lost, nobody can hold it open.

use crate::support::peer::ABORT;
use crate::support::scat::{LIMIT, Scat, file, noise, start};
use crate::support::{ROLES, session, session_between};
use std::fs::File;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Waits until the other end has closed. Its FIN may not be seen here: it stands behind
/// what was not read yet.
fn wait_for_close(stream: &TcpStream) {
    let port = |at: SocketAddr| format!(":{:04X}", at.port());
    let (own, other) = (port(stream.local_addr().unwrap()), port(stream.peer_addr().unwrap()));
    let before = Instant::now();
    let has_closed = || {
        let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
        sockets.lines().any(|line| {
            let columns: Vec<_> = line.split_whitespace().take(4).collect();
            let [_, local, remote, state] = columns[..] else { return false };
            // FIN_WAIT1, or FIN_WAIT2 if little was sent.
            let is_closed = state == "04" || state == "05";
            local.ends_with(&other) && remote.ends_with(&own) && is_closed
        })
    };
    while !has_closed() {
        assert!(before.elapsed() < LIMIT, "it does not close");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_last_frames_reach_a_peer_who_still_sends() {
    for role in ROLES {
        let path = file("last", &noise(20, 400_000));
        let (scat, mut peer) =
            session_between(role, File::open(path).unwrap().into(), Stdio::piped());
        // scat ends the session, and has said all it has to say.
        peer.write(&[&[1, 0][..], &[7; 256]].concat()).unwrap();
        // To close now would be a reset for what the peer sends next, and a
        // reset takes away what the peer has not read yet.
        wait_for_close(&peer.stream);
        let _ = peer.write(&[7; 100_000]);
        assert_eq!(peer.recv_abort().unwrap(), 3);
        drop(peer);
        scat.end_by_itself().expect(5, "forged");
    }
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
        let before = Instant::now();
        scat.end_by_itself().expect(5, "forged");
        assert!(before.elapsed() < Duration::from_secs(6), "{:?}", before.elapsed());
        floods.into_iter().for_each(|flood| flood.join());
    }
}

#[test]
fn an_output_that_blocks_keeps_what_came_and_not_the_connection() {
    for role in ROLES {
        let (scat, mut peer) = session(role);
        let data = noise(21, 480_000);
        peer.send_data(&data).unwrap();
        peer.send(ABORT, &[5]).unwrap();
        // Nobody reads scat's output, and this end stays open as well.
        let before = Instant::now();
        while peer.write(&[7]).is_ok() {
            assert!(before.elapsed() < Duration::from_secs(6), "it is still open");
            std::thread::sleep(Duration::from_millis(5));
        }
        let ended = scat.end_by_itself().expect(6, "the other end was interrupted");
        assert!(ended.stdout == data, "{} bytes", ended.stdout.len());
    }
}

#[test]
fn w_never_ends_a_running_session() {
    let (mut listener, port) = Scat::listen_with(&["-w1"]);
    let mut connector = Scat::connect_with(&["-w1"], port);
    connector.line("you say");
    listener.line("you say");
    // Twice the time passes: that of a third scat that waits in vain.
    Scat::listen_with(&["-w2"]).0.end().expect(3, "within 2 s");
    connector.write(b"late");
    assert_eq!(listener.read(4), b"late");
    listener.end_input();
    connector.end().expect(0, "");
    listener.end().expect(0, "");
}
