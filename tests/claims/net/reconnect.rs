//! `--reconnect`: a session goes on over other connections, and strangers at the port
//! that it keeps get nothing.

use crate::support::scat::{LIMIT, Scat, dial, door, noise, rest, start};
use socket2::SockRef;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

const OPTIONS: [&str; 3] = ["--no-confirm", "--reconnect", "30"];

/// Carries connections to this port of 127.0.0.1, and ends each by a reset or a FIN after
/// so many bytes to the listener; those behind the last of `cuts` live. Returns its port.
fn cutting_relay(to: u16, cuts: &'static [(usize, bool)]) -> u16 {
    let (door, port) = door();
    thread::spawn(move || {
        for cut in cuts.iter().copied().map(Some).chain(std::iter::repeat(None)) {
            let c = door.accept().unwrap().0;
            let l = TcpStream::connect(("127.0.0.1", to)).unwrap();
            let (c2, l2) = (c.try_clone().unwrap(), l.try_clone().unwrap());
            thread::spawn(move || carry(&l2, &c2, None));
            thread::spawn(move || carry(&c, &l, cut));
        }
    });
    port
}

fn carry(mut from: &TcpStream, mut to: &TcpStream, cut: Option<(usize, bool)>) {
    let mut buffer = [0; 65536];
    let mut left = cut.map_or(usize::MAX, |(at, _)| at);
    while left > 0 {
        let most = buffer.len().min(left);
        let Ok(n @ 1..) = from.read(&mut buffer[..most]) else { break };
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
        left -= n;
    }
    for stream in [from, to] {
        if cut.is_some_and(|(_, resets)| resets) {
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
        let _ = stream.shutdown(if cut.is_some() { Shutdown::Both } else { Shutdown::Write });
    }
}

#[test]
fn a_session_goes_on_over_other_connections() {
    static CUTS: [(usize, bool); 5] =
        [(1_400, false), (50_000, true), (130, false), (300_000, true), (1_000, true)];
    let (listener, port) = Scat::listen_with(&OPTIONS);
    let mut connector = Scat::connect_with(&OPTIONS, cutting_relay(port, &CUTS));
    let data = noise(31, 3_000_000);
    let sent = data.clone();
    let received = start(move || listener.end());
    connector.line("you say");
    connector.write(&sent);
    let ended = connector.end().expect(0, "connected again after");
    assert!(ended.stdout.is_empty());
    let ended = received.join().expect(0, "connected again after");
    assert!(ended.stdout == data, "other bytes arrived");
}

#[test]
fn strangers_at_the_port_get_no_second_reveal() {
    let (mut listener, port) = Scat::listen_with(&OPTIONS);
    let mut connector = Scat::connect_with(&OPTIONS, port);
    listener.line("you say");
    Scat::connect(port).end().expect(3, "busy with another session");
    let false_r1 = [&b"SCAT1R\0\n"[..], &[7; 88]].concat();
    let flight1 = [&b"SCAT1C\0\n"[..], &[7; 1216]].concat();
    for (sent, answer) in
        [(&b"GET / HTTP/1.1\r\n\r\n"[..], &b""[..]), (&false_r1, b""), (&flight1, b"SCAT1B\0\n")]
    {
        let mut stranger = dial(port);
        stranger.set_read_timeout(Some(LIMIT)).unwrap();
        stranger.write_all(sent).unwrap();
        let _ = stranger.shutdown(Shutdown::Write);
        assert_eq!(rest(&stranger), answer);
    }
    connector.write(b"still there");
    assert_eq!(listener.read(11), b"still there");
    listener.end_input();
    connector.end().expect(0, "");
    listener.end().expect(0, "");
}

#[test]
fn one_whose_peer_is_killed_waits_its_time_and_ends_with_6() {
    let (mut listener, port) = Scat::listen_with(&["--no-confirm", "--reconnect", "1"]);
    // --idle stands still meanwhile.
    let options = ["--no-confirm", "--reconnect", "4", "--idle", "3"];
    let mut connector = Scat::connect_with(&options, port);
    connector.line("you say");
    listener.line("you say");
    drop(listener);
    connector.line("connection lost");
    connector.end_by_itself().expect(6, "not restored within 4 s");
}

#[test]
fn without_the_other_end_s_consent_a_loss_ends_the_session() {
    let (mut listener, port) = Scat::listen();
    let mut connector = Scat::connect_with(&OPTIONS, port);
    connector.line("the other end has no --reconnect");
    listener.line("you say");
    drop(listener);
    connector.end_by_itself().expect(6, "cut off");
}
