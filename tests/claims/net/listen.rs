//! A listener among strangers: it accepts one peer, whoever else connects, and reveals its part
//! of the words once.

use crate::support::peer::{self, DATA, FLIGHT2, FLIGHT3, Handshake, Options, Peer, Role};
use crate::support::scat::{
    Ended, LIMIT, Scat, Started, dial, dial_from, door, program, rest, start, try_dial,
};
use crate::support::{has_ipv6, hurried, knock, skip};
use rustix::process::Signal;
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

// Addresses and ports.

#[test]
fn a_port_in_use_is_1() {
    let (_door, port) = door();
    let taken = port.to_string();
    Scat::new(&["-l", "127.0.0.1", &taken])
        .end()
        .expect(1, &format!("port {port} is already in use"))
        .expect(1, " in use"); // (glibc says "already", musl does not)
    // scat does not settle for one of the two families.
    Scat::new(&["-l", &taken]).end().expect(1, " in use");
}

#[test]
fn an_address_of_another_machine_is_1() {
    Scat::new(&["-l", "192.0.2.1", "0"])
        .end()
        .expect(1, "192.0.2.1 is not an address of this machine");
}

#[test]
fn a_listener_takes_ipv4_and_ipv6_at_one_port() {
    if !has_ipv6() {
        return;
    }
    for host in ["127.0.0.1", "::1"] {
        let (l, port) = Scat::new(&["-l", "0"]).with_port();
        // The listener has this port in both families.
        assert_ne!(port, 0);
        assert!(TcpListener::bind((Ipv6Addr::LOCALHOST, port)).is_err());
        assert!(TcpListener::bind(("127.0.0.1", port)).is_err());
        let mut c = Scat::new(&[host, &port.to_string()]);
        c.end_input();
        l.end().expect(0, &format!("connection from {host} port "));
        c.end().expect(0, "");
    }
}

/// Binds a port without listening there.
fn bind(host: &str, port: u16) -> Option<socket2::Socket> {
    let address = SocketAddr::new(host.parse().unwrap(), port);
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
    socket.bind(&address.into()).ok().map(|()| socket)
}

#[test]
fn one_family_only_where_asked_for() {
    if !has_ipv6() {
        return;
    }
    for (option, other) in [("-4l", "::1"), ("-6l", "127.0.0.1")] {
        // The port may belong to another program in the other family; then try another one.
        let mut listeners = (0..9).map(|_| Scat::new(&[option, "0"]).with_port());
        let (_listener, _bound, port) = listeners
            .find_map(|(listener, port)| Some((listener, bind(other, port)?, port)))
            .expect("a port that is taken for one kind of addresses");
        Scat::new(&[other, &port.to_string()]).end().expect(3, "connection refused");
    }
}

#[test]
fn an_expired_w_is_3_at_a_listener() {
    let alone = Scat::listen_with(&["-w0.2"]).0;
    alone.end().expect(3, "no session in 0.2 s");
    let (in_a_handshake, port) = Scat::listen_with(&["-w2"]);
    let _stranger = knock(port);
    let ended = in_a_handshake.end().expect(3, "no session in 2 s");
    ended.expect(3, "hint: somebody is connected, and has not finished the handshake");
}

// Strangers.

/// Long enough for a handshake on a busy machine, but shorter than a stranger's limit of 10 s,
/// so that no peer gets through just because strangers time out.
const GOOD_TIME: Duration = Duration::from_secs(9);

/// Lets a good peer connect from 127.0.0.`host` and exchange a word; both end well.
fn good_peer_gets_through(mut scat: Scat, port: u16, host: u8) -> Ended {
    let before = Instant::now();
    let mut peer = Peer::connect(dial_from(host, port), Options::default()).unwrap();
    peer.send(DATA, b"good").unwrap();
    assert_eq!(scat.read(4), b"good");
    assert!(before.elapsed() < GOOD_TIME, "{:?}", before.elapsed());
    scat.end_input();
    assert!(peer.finish().unwrap().is_empty());
    drop(peer);
    scat.end().expect(0, "connection from 127.0.0.")
}

fn connector() -> Handshake {
    Handshake::new(Role::Connector, Options::default()).unwrap()
}

/// What the other end sends before it closes. A reset is an error, because it can destroy data
/// sent before it.
fn told(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Waits until scat reports this many failed handshakes.
fn wait_for_failed(scat: &mut Scat, failed: usize) {
    let before = Instant::now();
    loop {
        scat.signal(Signal::USR1);
        let line = scat.next_line("handshakes under way");
        let count = line.rsplit_once("way, ").unwrap().1.strip_suffix(" failed").unwrap();
        if count.parse::<usize>().unwrap() >= failed {
            return;
        }
        assert!(before.elapsed() < LIMIT, "{line}");
    }
}

#[test]
fn strangers_of_every_kind_do_not_keep_out_the_peer() {
    let (scat, port) = Scat::listen();
    let mut stay = Vec::new();
    let flight1 = connector().flight1().unwrap();
    for _ in 0..6 {
        // Port scans: connect and close, connect and reset.
        drop(dial(port));
        SockRef::from(&dial(port)).set_linger(Some(Duration::ZERO)).unwrap();
        // Silent.
        stay.push(dial(port));
        // Garbage, short and long.
        for garbage in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0xff; 5000]] {
            let mut stream = dial(port);
            stream.write_all(garbage).unwrap();
            assert!(rest(&stream).is_empty());
            stay.push(stream);
        }
        // Half a flight 1, with and without a FIN behind it.
        for half_closed in [false, true] {
            let mut stream = dial(port);
            stream.write_all(&flight1[..600]).unwrap();
            if half_closed {
                stream.shutdown(Shutdown::Write).unwrap();
            }
            stay.push(stream);
        }
        // A valid flight 1, and then a hang-up or nothing.
        drop(knock(port));
        stay.push(knock(port).0);
        // A forged flight 3.
        let (mut stream, _) = knock(port);
        stream.write_all(&[7; FLIGHT3]).unwrap();
        assert!(rest(&stream).is_empty());
        stay.push(stream);
        // An authentic flight 3 with an id that does not exist.
        let (mut stream, mut handshake) = knock(port);
        stream.write_all(&handshake.flight3_with(&[2; 33]).unwrap()).unwrap();
        assert!(rest(&stream).is_empty());
        // A point of low order.
        let ephemerals = peer::Ephemerals { e: [0; 32], ..Default::default() };
        let options = Options { ephemerals, ..Options::default() };
        let mut handshake = Handshake::new(Role::Connector, options).unwrap();
        let mut stream = dial(port);
        stream.write_all(&handshake.flight1().unwrap()).unwrap();
        assert!(rest(&stream).is_empty());
        // A forged flight 1: its key fails the modulus check.
        let mut stream = dial(port);
        stream.write_all(&[&b"SCAT1C\0\n"[..], &[0xff; 1216]].concat()).unwrap();
        assert!(rest(&stream).is_empty());
        stay.push(stream);
    }
    good_peer_gets_through(scat, port, 1);
}

#[test]
fn a_stranger_s_time_runs_from_its_arrival_to_flight_3() {
    let (scat, port) = hurried::start(&["-l", "127.0.0.1", "0"]).with_port();
    assert!(runs_out(port).iter().all(|time| *time >= hurried::STEP));
    good_peer_gets_through(scat, port, 1);
}

#[test]
#[ignore = "waits 10 s"]
fn a_stranger_s_time_is_10_s() {
    let (scat, port) = Scat::listen();
    let times = runs_out(port);
    assert!(times.iter().all(|time| (10..15).contains(&time.as_secs())), "{times:?}");
    good_peer_gets_through(scat, port, 1);
}

/// Until scat has dropped a silent stranger, and one that sends no flight 3.
fn runs_out(port: u16) -> [Duration; 2] {
    let before = Instant::now();
    let silent = dial(port);
    let (replied, _) = knock(port);
    [&silent, &replied].map(|stream| {
        assert!(rest(stream).is_empty());
        before.elapsed()
    })
}

#[test]
fn a_caller_that_sends_byte_by_byte_does_not_delay_others() {
    let (scat, port) = Scat::listen();
    let is_over = Arc::new(AtomicBool::new(false));
    let over = is_over.clone();
    let mut stream = dial(port);
    let slow = start(move || {
        let mut flight1 = connector().flight1().unwrap();
        flight1.pop();
        for byte in flight1 {
            if over.load(Ordering::SeqCst) || stream.write_all(&[byte]).is_err() {
                break;
            }
        }
        stream
    });
    good_peer_gets_through(scat, port, 1);
    is_over.store(true, Ordering::SeqCst);
    slow.join();
}

#[test]
fn a_flight_1_byte_by_byte_is_answered() {
    let (mut scat, port) = Scat::listen();
    let (mut stream, mut handshake) = (dial(port), connector());
    for byte in handshake.flight1().unwrap() {
        stream.write_all(&[byte]).unwrap();
    }
    handshake.read_flight2(&peer::read_flight(&mut stream, FLIGHT2).unwrap()).unwrap();
    for byte in handshake.flight3().unwrap() {
        stream.write_all(&[byte]).unwrap();
    }
    let mut peer = handshake.into_peer(stream).unwrap();
    peer.receive_open().unwrap();
    scat.end_input();
    peer.finish().unwrap();
    scat.end().expect(0, "");
}

#[test]
fn a_caller_that_listens_as_well_is_told_without_v() {
    let (mut scat, port) = Scat::listen();
    dial(port).write_all(&peer::preface(Role::Listener, false)).unwrap();
    scat.line("listens as well");
}

#[test]
fn a_scat_that_does_not_match_gets_our_preface() {
    let (scat, port) = Scat::listen();
    let own = peer::preface(Role::Listener, false);
    for other in [
        b"SCAT2C\0\n",
        b"SCAT\0C\0\n",
        b"SCAT1L\0\n",
        b"SCAT1C\x01\n",
        b"SCAT1C\x08\n",
        b"SCAT1C\x0e\n",
        b"SCAT1X\0\n",
        b"SCAT1C\0\r",
    ] {
        let mut stream = dial(port);
        stream.write_all(other).unwrap();
        assert_eq!(told(&mut stream), own, "{other:?}");
        // A whole flight 1, half of which scat has not read when it answers.
        let mut stream = dial(port);
        stream.write_all(&[&other[..], &[7; 4000]].concat()).unwrap();
        assert_eq!(told(&mut stream), own, "{other:?}");
    }
    for stranger in [&b"SCAX"[..], b"X"] {
        let mut stream = dial(port);
        stream.write_all(stranger).unwrap();
        assert!(rest(&stream).is_empty(), "{stranger:?}");
    }
    good_peer_gets_through(scat, port, 1);
}

#[test]
fn a_rejected_caller_that_floods_does_not_block_the_listener() {
    let (scat, port) = Scat::listen();
    let floods: Vec<_> = (0..2)
        .map(|_| {
            let mut stream = dial(port);
            stream.write_all(b"SCAT2C\0\n").unwrap();
            peer::read_flight(&mut stream, 8).unwrap();
            start(move || while stream.write_all(&[7; 1 << 20]).is_ok() {})
        })
        .collect();
    good_peer_gets_through(scat, port, 1);
    floods.into_iter().for_each(|flood| flood.join());
}

#[test]
fn half_open_connections_from_one_address_do_not_push_out_another() {
    let (scat, port) = Scat::listen();
    let (mut stream, mut handshake) = (dial_from(2, port), connector());
    // Half of flight 1: by age alone, scat would drop this connection first.
    let flight1 = handshake.flight1().unwrap();
    stream.write_all(&flight1[..600]).unwrap();
    let flood: Vec<TcpStream> = (0..150).map(|_| dial(port)).collect();
    // The end of the first one shows that scat has accepted them all.
    assert!(rest(&flood[0]).is_empty());
    stream.write_all(&flight1[600..]).unwrap();
    handshake.read_flight2(&peer::read_flight(&mut stream, FLIGHT2).unwrap()).unwrap();
    let more: Vec<TcpStream> = (0..150).map(|_| dial(port)).collect();
    assert!(rest(&more[0]).is_empty());
    stream.write_all(&handshake.flight3().unwrap()).unwrap();
    let mut peer = handshake.into_peer(stream).unwrap();
    peer.receive_open().unwrap();
    drop(peer);
    scat.end().expect(6, "connection from 127.0.0.2 port");
}

#[test]
fn a_peer_gets_through_between_half_open_connections_from_another_address() {
    let (scat, port) = Scat::listen();
    let flood: Vec<TcpStream> = (0..100).map(|_| dial(port)).collect();
    good_peer_gets_through(scat, port, 2);
    drop(flood);
}

#[test]
fn a_storm_of_connections_from_one_address_does_not_keep_out_another() {
    let (scat, port) = Scat::listen();
    let is_over = Arc::new(AtomicBool::new(false));
    let storms: Vec<_> = (0..2)
        .map(|_| {
            let over = is_over.clone();
            let flight1 = connector().flight1().unwrap();
            start(move || {
                while !over.load(Ordering::SeqCst) {
                    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { break };
                    let _ = stream.write_all(&flight1);
                    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                }
            })
        })
        .collect();
    good_peer_gets_through(scat, port, 2);
    is_over.store(true, Ordering::SeqCst);
    storms.into_iter().for_each(|storm| storm.join());
}

#[test]
fn of_one_address_the_oldest_goes_whatever_it_has_sent() {
    let (scat, port) = Scat::listen();
    let before = Instant::now();
    let (oldest, _) = knock(port);
    let (mut next, mut handshake) = knock(port);
    let _silent: Vec<TcpStream> = (0..63).map(|_| dial(port)).collect();
    assert!(rest(&oldest).is_empty());
    assert!(before.elapsed() < GOOD_TIME, "only its own time was up");
    next.write_all(&handshake.flight3().unwrap()).unwrap();
    let mut peer = handshake.into_peer(next).unwrap();
    peer.receive_open().unwrap();
    drop(peer);
    scat.end().expect(6, "cut off");
}

/// A listener whose places are all taken: from each of these addresses an attacker sends a
/// recorded flight 1, waits, and connects again when scat drops it.
fn besieged(addresses: impl Iterator<Item = Ipv4Addr>) -> (Scat, u16, Vec<Started<()>>) {
    let (mut scat, port) = Scat::listen();
    let flight1 = Arc::new(connector().flight1().unwrap());
    let siege = addresses.map(|from| {
        let flight1 = Arc::clone(&flight1);
        start(move || {
            // Ends when the port closes.
            while let Ok(mut stream) = try_dial(from, port) {
                let _ = stream.write_all(&flight1);
                rest(&stream);
            }
        })
    });
    let siege = siege.collect();
    loop {
        scat.signal(Signal::USR1);
        if scat.next_line("handshakes under way").contains("listening; 64 ") {
            return (scat, port, siege);
        }
    }
}

#[test]
fn strangers_who_hold_all_places_and_come_back_do_not_keep_a_peer_out() {
    let networks = |count: u8| (1..=count).map(|host| Ipv4Addr::new(127, 1, 0, host));
    let own = || std::iter::repeat_n(Ipv4Addr::LOCALHOST, 64);
    for _ in 0..2 {
        for (scat, port, siege) in
            [besieged(networks(64)), besieged(networks(200)), besieged(own())]
        {
            let before = Instant::now();
            good_peer_gets_through(scat, port, 1);
            println!("{} strangers: {:?}", siege.len(), before.elapsed());
            siege.into_iter().for_each(Started::join);
        }
    }
}

/// Starts a listener under strace, which makes a system call fail as `fault` says. Skips with
/// `None` if that is not possible.
fn faulty_listener(fault: &str) -> Option<Scat> {
    let traced = |args: &[&str]| {
        let mut command = Command::new("strace");
        // With -D scat is the child of this test, so signals and the exit status are its own.
        command.args(["-D", "-o", "/dev/null", "-e", &format!("inject={fault}")]).args(args);
        command
    };
    if !traced(&["true"]).status().is_ok_and(|status| status.success()) {
        skip("strace(1) is missing or may not trace, so no system call failed");
        return None;
    }
    let mut command = traced(&[&program(), "-l", "127.0.0.1", "0"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    Some(Scat::spawn(command))
}

#[test]
fn an_accept_that_keeps_failing_is_told_once_and_leaves_signals_working() {
    let Some(scat) = faulty_listener("accept4:error=EPERM") else { return };
    let (mut scat, port) = scat.with_port();
    let _waiting = dial(port);
    scat.line("accept: operation not permitted");
    // Several times the pause between two tries.
    assert!(!scat.ends_within(Duration::from_secs(1)));
    scat.signal(Signal::TERM);
    let ended = scat.end_by_itself().expect_signal(Signal::TERM);
    assert_eq!(ended.stderr.matches("accept:").count(), 1, "{}", ended.stderr);
}

#[test]
fn an_accept_that_has_failed_is_tried_again() {
    for error in ["EPERM", "EACCES", "EMFILE", "EIO"] {
        let Some(scat) = faulty_listener(&format!("accept4:error={error}:when=1..2")) else {
            return;
        };
        let (scat, port) = scat.with_port();
        good_peer_gets_through(scat, port, 1);
    }
}

#[test]
fn connections_that_are_lost_before_accept_do_not_hold_up_the_next_one() {
    for error in ["ECONNABORTED", "EPROTO", "EINTR", "EHOSTUNREACH"] {
        // Pauses after each failure would add up to 20 s.
        let Some(scat) = faulty_listener(&format!("accept4:error={error}:when=1..100")) else {
            return;
        };
        let (scat, port) = scat.with_port();
        let said = good_peer_gets_through(scat, port, 1).stderr;
        assert!(!said.contains("accept:"), "{said}");
    }
}

#[test]
fn a_listener_that_gets_no_random_numbers_ends_with_1() {
    // Let the first request and all later ones fail, then the second and all later ones, and so
    // on until a handshake succeeds.
    let mut failures_after_start = 0;
    for first in 1..30 {
        let fault = format!("getrandom:error=EIO:when={first}+");
        let Some(mut scat) = faulty_listener(&fault) else { return };
        if let Some(line) = scat.says("listening on ") {
            let mut stream = dial(line.rsplit_once(' ').unwrap().1.parse().unwrap());
            stream.write_all(&connector().flight1().unwrap()).unwrap();
            if peer::read_flight(&mut stream, FLIGHT2).is_ok() {
                assert_eq!(failures_after_start, 5, "of the handshake's values");
                return;
            }
            failures_after_start += 1;
        }
        scat.end().expect(1, "the system provides no random numbers");
    }
    panic!("no handshake");
}

#[test]
fn v_reports_why_strangers_were_dropped_at_a_limited_rate() {
    let (mut scat, port) = Scat::listen_with(&["-v"]);
    let mut stream = dial(port);
    stream.write_all(b"SSH-2.0-x\r\n").unwrap();
    assert!(rest(&stream).is_empty());
    let line = scat.line("does not speak scat");
    assert!(line.starts_with("scat: 127.0.0.1 port "), "{line}");
    // The message does not repeat what the stranger sent.
    assert!(!line.contains("SSH-2.0"), "{line}");
    let before = Instant::now();
    for _ in 0..200 {
        drop(dial(port));
    }
    wait_for_failed(&mut scat, 201);
    let seconds = before.elapsed().as_secs() as usize + 2;
    let peer = Peer::connect(dial(port), Options::default()).unwrap();
    drop(peer);
    let said = scat.end().expect(6, "").stderr;
    let lines = said.lines().filter(|line| line.contains("closed before the handshake")).count();
    assert!(lines <= 5 * seconds, "{lines} lines in {seconds} s");
}

#[test]
fn a_foreign_caller_is_reported_later_if_the_limit_was_reached() {
    let (mut scat, port) = Scat::listen();
    // As many as scat reports in one second.
    for _ in 0..5 {
        let mut stream = dial(port);
        stream.write_all(b"SCAT2C\0\n").unwrap();
        told(&mut stream);
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let over = is_over.clone();
    let strangers = start(move || {
        while !over.load(Ordering::SeqCst) {
            let mut stream = dial(port);
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            rest(&stream);
        }
    });
    scat.line("does not speak scat");
    is_over.store(true, Ordering::SeqCst);
    strangers.join();
}

// One reveal per run: each guess at the words costs a run that fails visibly.

#[test]
fn hundreds_of_hang_ups_after_flight_2_cost_nothing_and_reveal_nothing() {
    let (mut scat, port) = Scat::listen();
    for i in 0..300 {
        let (mut stream, mut handshake) = knock(port);
        let mut flight3 = handshake.flight3().unwrap();
        match i % 3 {
            // A flight 3 without its last byte, or with that byte altered.
            0 => stream.write_all(&flight3[..96]).unwrap(),
            1 => {
                flight3[96] ^= 1;
                stream.write_all(&flight3).unwrap();
            }
            _ => {}
        }
        stream.shutdown(Shutdown::Write).unwrap();
        assert!(rest(&stream).is_empty());
    }
    wait_for_failed(&mut scat, 300);
    let said = good_peer_gets_through(scat, port, 1).stderr;
    assert_eq!(said.matches("you say").count(), 1, "{said}");
}

#[test]
fn one_hang_up_after_flight_3_ends_the_listener_with_6() {
    // The peer leaves before it reads OPEN, or after it.
    for is_read in [false, true] {
        let (scat, port) = Scat::listen();
        let (mut stream, mut handshake) = knock(port);
        stream.write_all(&handshake.flight3().unwrap()).unwrap();
        let mut peer = handshake.into_peer(stream).unwrap();
        if is_read {
            peer.receive_open().unwrap();
        }
        drop(peer);
        let said = scat.end_by_itself().expect(6, "cut off").stderr;
        // The user sees each guess, because the words were shown.
        assert!(said.contains("you say"), "{said}");
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "it listens again");
    }
}

#[test]
fn before_open_all_other_callers_are_rejected() {
    let (mut scat, port) = Scat::listen();
    let mut others: Vec<TcpStream> = (0..20).map(|_| dial(port)).collect();
    let mut half = dial(port);
    half.write_all(&connector().flight1().unwrap()[..700]).unwrap();
    others.push(half);
    others.extend((0..5).map(|_| knock(port).0));
    let mut peer = Peer::connect(dial(port), Options::default()).unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "the port is open");
    // The order shows here without a wait: when OPEN arrives, every other connection has already
    // ended.
    for other in &mut others {
        other.set_nonblocking(true).unwrap();
        match other.read(&mut [0]) {
            Ok(n) => assert_eq!(n, 0),
            Err(err) => assert_ne!(err.kind(), ErrorKind::WouldBlock, "{err}"),
        }
    }
    scat.end_input();
    peer.finish().unwrap();
    scat.end().expect(0, "");
}

#[test]
fn every_handshake_has_a_fresh_commitment_and_the_runs_one_static_key() {
    let (_scat, port) = Scat::listen();
    let mut seen = std::collections::HashSet::new();
    let mut keys = std::collections::HashSet::new();
    for _ in 0..10 {
        let (_, handshake) = knock(port);
        assert!(seen.insert(handshake.commit));
        keys.insert(handshake.peer_key().unwrap());
    }
    // The protocol wants one static key for the whole run.
    assert_eq!(keys.len(), 1);
}
