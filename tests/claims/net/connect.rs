//! A connector whose listener is missing, does not answer, or is no scat.

use crate::support::peer::{
    self, ABORT, DATA, FLIGHT1, FLIGHT2, FLIGHT3, Handshake, OPEN, Options, Peer, Role,
};
use crate::support::scat::{
    Ended, Scat, closed_port, door, file, full_door, key_file, program, rest, start,
};
use crate::support::{has_ipv6, hurried, knock, skip, unopened};
use rustix::process::Signal;
use socket2::SockRef;
use std::io::Write;
use std::net::{TcpListener, ToSocketAddrs};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn connection_refused_is_3() {
    let (_taken, port) = closed_port(1);
    let said = format!("connect 127.0.0.1 port {port}: connection refused");
    Scat::connect(port).end().expect(3, &said);
}

#[test]
fn a_source_address_of_another_machine_is_1() {
    let from_nowhere = Scat::new(&["-s", "192.0.2.1", "127.0.0.1", "9"]);
    from_nowhere.end().expect(1, "192.0.2.1 is not an address of this machine");
}

#[test]
fn a_source_port_is_the_one_that_the_listener_sees() {
    let (listener, port) = Scat::listen();
    // No other test uses this address, so the port is still free.
    let (taken, source) = closed_port(4);
    drop(taken);
    let from = ["-s", "127.0.0.4", "-p", &source.to_string()];
    let mut connector = Scat::connect_with(&from, port);
    connector.end_input();
    listener.end().expect(0, &format!("connection from 127.0.0.4 port {source}\n"));
    connector.end().expect(0, "");
}

#[test]
fn connected_to_oneself_is_4() {
    // A socket can connect to its own address (TCP's simultaneous open).
    let (taken, port) = closed_port(5);
    drop(taken);
    let port = port.to_string();
    let oneself = Scat::new(&["-s", "127.0.0.5", "-p", &port, "127.0.0.5", &port]);
    oneself.end().expect(4, "connected to itself");
}

#[test]
fn addresses_are_tried_in_turn() {
    let first = ("localhost", 0).to_socket_addrs().unwrap().next();
    if !has_ipv6() || !first.is_some_and(|first| first.is_ipv6()) {
        return skip("localhost is not ::1 before 127.0.0.1");
    }
    // Nothing listens at ::1.
    let (listener, port) = Scat::listen();
    let mut connector = Scat::new(&["localhost", &port.to_string()]);
    connector.end_input();
    listener.end().expect(0, "");
    connector.end().expect(0, "connected to 127.0.0.1");
}

/// Even without /etc/hosts, or with a name server that answers something else.
#[cfg(target_os = "linux")]
#[test]
fn localhost_is_this_machine_whatever_the_resolver_says() {
    for hosts in ["", "192.0.2.7 localhost\n"] {
        let hosts = file("hosts", hosts.as_bytes());
        let mount = "mount --bind \"$0\" /etc/hosts && echo there && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["-rmn", "sh", "-c", mount, hosts.arg(), &program()]);
        command.args(["-4", "localhost", "9"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let ended = Scat::spawn(command).end();
        if ended.stdout != b"there\n" {
            return skip("no unshare(1) or mount(8) for this user, so /etc/hosts was there");
        }
        ended.expect(3, "connect localhost (127.0.0.1) port 9: ");
    }
}

#[test]
fn an_expired_w_is_3_at_a_connector() {
    let (_full, port) = full_door();
    Scat::connect_with(&["-w0.3"], port).end().expect(3, "no session in 0.3 s");
    let (_silent, port) = door();
    Scat::connect_with(&["-w0.3"], port).end().expect(3, "no session in 0.3 s");
}

#[test]
fn w_tries_again_until_somebody_listens() {
    // The second is too long for the clock.
    for within in ["-w30", "-w18446744073709551615"] {
        let (taken, port) = closed_port(1);
        let mut connector = Scat::connect_with(&["-v", within], port);
        connector.line("connection refused");
        drop(taken);
        let port = port.to_string();
        let listener = Scat::new(&["-l", "127.0.0.1", &port]);
        connector.line("you say");
        connector.end_input();
        listener.end().expect(0, "connection from");
        connector.end().expect(0, "");
    }
}

#[test]
fn an_expired_w_reports_why_the_tries_failed() {
    let (_taken, port) = closed_port(1);
    let ended = Scat::connect_with(&["-w2"], port).end();
    let ended = ended.expect(3, "no session in 2 s: connect 127.0.0.1 port ");
    ended.expect(3, ": connection refused\n").expect(3, "hint: start the listener first: scat -l");
}

#[test]
fn w_does_not_retry_what_cannot_change() {
    let (door, port) = door();
    let scat = Scat::connect_with(&["-w30"], port);
    let mut stream = door.accept().unwrap().0;
    peer::read_flight(&mut stream, FLIGHT1).unwrap();
    stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").unwrap();
    drop(stream);
    scat.end().expect(3, "does not speak scat");
    assert_nobody_knocks(&door);
}

/// Starts scat with a pre-shared key and these options, and ends the connection after its
/// flight 3.
fn hung_up_with_a_psk(options: &[&str]) -> (Scat, TcpListener) {
    let psk = [7; 32];
    let file = key_file("psk", &psk);
    let (door, port) = door();
    let scat = Scat::connect_with(&[options, &["-v", "--psk", file.arg()]].concat(), port);
    let stream = door.accept().unwrap().0;
    let options = Options { psk: Some(psk), ..Options::default() };
    drop(Peer::accept_without_open(stream, options).unwrap());
    (scat, door)
}

#[test]
fn a_second_caller_that_has_verified_the_listener_ends_with_3() {
    let (scat, door) = hung_up_with_a_psk(&[]);
    let said = "cut off before the session; nothing was sent";
    scat.end_by_itself().expect(3, said).expect(3, "probably took another caller; it is safe");
    assert_nobody_knocks(&door);
}

#[test]
fn a_second_caller_that_has_verified_the_listener_retries_with_w() {
    let (scat, door) = hung_up_with_a_psk(&["-w30"]);
    let stream = door.accept().unwrap().0;
    let options = Options { psk: Some([7; 32]), ..Options::default() };
    let mut peer = Peer::accept(stream, options).unwrap();
    let ended = start(|| scat.end());
    peer.finish().unwrap();
    ended.join().expect(0, "verified by pre-shared key");
}

#[test]
fn a_silent_listener_is_3_after_its_time() {
    let (_silent, port) = door();
    let scat = hurried::start(&["127.0.0.1", &port.to_string()]);
    scat.end().expect(3, "the other end does not answer").expect(3, "is scat running there?");
}

#[test]
#[ignore = "waits 10 s"]
fn the_time_for_an_answer_is_10_s() {
    let before = Instant::now();
    let (_silent, port) = door();
    Scat::connect(port).end().expect(3, "the other end does not answer");
    assert!((9..15).contains(&before.elapsed().as_secs()), "{:?}", before.elapsed());
}

#[test]
fn bytes_that_arrived_in_time_count_although_scat_was_stopped() {
    let hurried_connector = |port: u16| hurried::start(&["127.0.0.1", &port.to_string()]);
    let (first_door, port) = door();
    let unanswered = hurried_connector(port);
    let mut stream = first_door.accept().unwrap().0;
    let mut handshake = Handshake::new(Role::Listener, Options::default()).unwrap();
    handshake.read_flight1(&peer::read_flight(&mut stream, FLIGHT1).unwrap()).unwrap();
    // Each is stopped as soon as it waits, long before its limit.
    unanswered.stop_while_it_waits();
    let (second_door, port) = door();
    let unopened = hurried_connector(port);
    let call = second_door.accept().unwrap().0;
    let mut peer = Peer::accept_without_open(call, Options::default()).unwrap();
    unopened.stop_while_it_waits();
    let (listener, port) = hurried::start(&["-l", "127.0.0.1", "0"]).with_port();
    let (mut caller, mut call) = knock(port);
    listener.stop_while_it_waits();
    stream.write_all(&handshake.flight2().unwrap()).unwrap();
    peer.send_open().unwrap();
    caller.write_all(&call.flight3().unwrap()).unwrap();
    // Another scat runs out of time, which takes longer than the limit of each of the three.
    let more = format!("-w{}", (hurried::STEP * 3 / 2).as_secs());
    Scat::listen_with(&[&more]).0.end().expect(3, "no session in");
    for scat in [&unanswered, &unopened, &listener] {
        scat.signal(Signal::CONT);
    }
    handshake.read_flight3(&peer::read_flight(&mut stream, FLIGHT3).unwrap()).unwrap();
    drop(stream);
    unanswered.end().expect(6, "cut off");
    let mut call = call.into_peer(caller).unwrap();
    call.receive_open().unwrap();
    for (scat, mut peer) in [(unopened, peer), (listener, call)] {
        let ended = start(|| scat.end());
        peer.finish().unwrap();
        ended.join().expect(0, "you say");
    }
}

#[test]
fn no_opening_in_time_is_6_and_told() {
    let (scat, mut peer, _door) = unopened(&["-w2"]);
    assert_eq!(peer.recv_raw().unwrap(), (ABORT, vec![4]));
    drop(peer);
    scat.end_by_itself().expect(6, "the other end did not finish the handshake");
}

#[test]
fn a_signal_ends_one_who_is_still_connecting() {
    let (_full, port) = full_door();
    let mut scat = Scat::connect_with(&["-v"], port);
    scat.line("connecting to 127.0.0.1");
    scat.signal(Signal::TERM);
    scat.end_by_itself().expect_signal(Signal::TERM);
}

#[test]
fn a_signal_ends_a_connector_in_the_handshake() {
    let (door, port) = door();
    let scat = Scat::connect(port);
    let mut stream = door.accept().unwrap().0;
    peer::read_flight(&mut stream, FLIGHT1).unwrap();
    scat.signal(Signal::TERM);
    scat.end_by_itself().expect_signal(Signal::TERM);
}

/// Lets scat connect to a listener that reads flight 1, answers this, and closes.
fn answered(answer: &[u8]) -> Ended {
    let (door, port) = door();
    let scat = Scat::connect(port);
    let mut stream = door.accept().unwrap().0;
    peer::read_flight(&mut stream, FLIGHT1).unwrap();
    stream.write_all(answer).unwrap();
    drop(stream);
    scat.end()
}

#[test]
fn listeners_that_are_no_scat_are_3() {
    answered(b"SSH-2.0-OpenSSH_9.9\r\n").expect(3, "the other end does not speak scat");
    answered(b"S").expect(3, "connection lost during the handshake");
    answered(b"SCAX").expect(3, "does not speak scat");
    answered(b"").expect(3, "closed the connection without sending").expect(3, "hint: is ");
}

#[test]
fn a_handshake_cut_before_flight_3_is_3() {
    answered(b"SCAT1L\0\n").expect(3, "connection lost during the handshake");
    answered(&[&b"SCAT1L\0\n"[..], &[7; 1200]].concat())
        .expect(3, "connection lost during the handshake");
}

#[test]
fn a_reset_before_flight_2_is_3() {
    let (door, port) = door();
    let scat = Scat::connect(port);
    let mut stream = door.accept().unwrap().0;
    peer::read_flight(&mut stream, FLIGHT1).unwrap();
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    scat.end().expect(3, "closed the connection without sending");
}

#[test]
fn other_versions_roles_and_flags_are_4() {
    answered(b"SCAT1L\0\r").expect(4, "the other end speaks an unknown protocol version");
    answered(b"SCAT1Lx\n").expect(4, "the other end speaks an unknown protocol version");
    answered(b"SCAT2L\0\n")
        .expect(4, "the other end speaks protocol version 2")
        .expect(4, "hint: use");
    answered(b"SCAT\x01L\0\n").expect(4, "unknown protocol version");
    answered(b"SCAT1C\0\n").expect(4, "both ends are connecting").expect(4, "hint: one of");
    answered(b"SCAT1L\x01\n").expect(4, "the listener requires a pre-shared key");
}

#[test]
fn two_connectors_are_4() {
    // Each scat connects to a socket of this test, which joins the two connections.
    let ((a, a_port), (b, b_port)) = (door(), door());
    let (one, other) = (Scat::connect(a_port), Scat::connect(b_port));
    let (one_end, other_end) = (a.accept().unwrap().0, b.accept().unwrap().0);
    let (from, to) = (one_end.try_clone().unwrap(), other_end.try_clone().unwrap());
    let there = start(move || std::io::copy(&mut &from, &mut &to));
    let back = start(move || std::io::copy(&mut &other_end, &mut &one_end));
    one.end().expect(4, "both ends are connecting");
    other.end().expect(4, "both ends are connecting");
    let _ = (there.join(), back.join());
}

// One reveal per run.

#[test]
fn an_altered_flight_2_is_3_and_nothing_is_revealed() {
    let (door, port) = door();
    for at in [8, 40, 1144, 1192, FLIGHT2 - 1] {
        let scat = Scat::connect(port);
        let mut stream = door.accept().unwrap().0;
        let mut handshake = Handshake::new(Role::Listener, Options::default()).unwrap();
        handshake.read_flight1(&peer::read_flight(&mut stream, FLIGHT1).unwrap()).unwrap();
        let mut flight2 = handshake.flight2().unwrap();
        flight2[at] ^= 1;
        stream.write_all(&flight2).unwrap();
        assert!(rest(&stream).is_empty(), "byte {at}");
        scat.end().expect(3, "altered");
    }
}

/// Checks that no other connection has arrived.
fn assert_nobody_knocks(door: &TcpListener) {
    door.set_nonblocking(true).unwrap();
    assert!(door.accept().is_err(), "it came again");
}

#[test]
fn one_hang_up_after_flight_3_ends_the_connector_with_6() {
    for sends_open in [false, true] {
        let (scat, mut peer, door) = unopened(&[]);
        if sends_open {
            peer.send_open().unwrap();
        }
        drop(peer);
        let ended = scat.end_by_itself().expect(6, "cut off");
        assert_eq!(ended.stderr.contains("probably took another caller"), !sends_open);
        assert_nobody_knocks(&door);
    }
}

#[test]
fn another_frame_instead_of_open_ends_scat_and_shows_no_words() {
    for (kind, content, answer, status, said) in [
        (OPEN, &[7; 32][..], Some(3), 5, "the opening does not fit the commitment"),
        (DATA, b"too early", Some(3), 5, "before OPEN"),
        (ABORT, &[1], None, 4, "the listener does not accept"),
    ] {
        let (scat, mut peer, door) = unopened(&[]);
        peer.send(kind, content).unwrap();
        if let Some(code) = answer {
            assert_eq!(peer.recv_raw().unwrap(), (ABORT, vec![code]));
        }
        drop(peer);
        let ended = scat.end_by_itself().expect(status, said);
        assert!(!ended.stderr.contains("say"), "words were shown: {}", ended.stderr);
        assert!(ended.stdout.is_empty());
        assert_nobody_knocks(&door);
    }
}
