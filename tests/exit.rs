//! What the exit status promises, line by line, with the line that is said.

mod peer;
mod relay;
mod scat;

use peer::{
    ABORT, CONTENT, DATA, DONE, EOF, Handshake, OPEN, Options, Peer, REKEY1, REKEY2, REKEY3, Role,
};
use relay::{Deed, relay};
use rustix::process::Signal;
use scat::{Ended, Scat, dial, file, noise, start};
use socket2::SockRef;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::process::Stdio;
use std::time::Duration;

/// A listening socket that is no scat, and its port.
fn door() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A port that nobody listens on: it stays taken, and refuses.
fn closed_port() -> (socket2::Socket, u16) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket_ipv4().unwrap().port();
    (socket, port)
}

/// Runs scat without input to its end.
fn run(args: &[&str]) -> Ended {
    Scat::new(args).end()
}

fn run_to(port: u16) -> Ended {
    run(&["127.0.0.1", &port.to_string()])
}

/// A session, OPEN done, with scat in this role.
fn session(scat_role: Role) -> (Scat, Peer) {
    session_between(scat_role, Stdio::piped(), Stdio::piped())
}

fn session_between(role: Role, stdin: Stdio, stdout: Stdio) -> (Scat, Peer) {
    match role {
        Role::Listener => {
            let (scat, port) = Scat::between(&["-l", "127.0.0.1", "0"], stdin, stdout).with_port();
            (scat, Peer::connect(dial(port), Options::default()).unwrap())
        }
        Role::Connector => {
            let (listener, port) = door();
            let scat = Scat::between(&["127.0.0.1", &port.to_string()], stdin, stdout);
            let stream = listener.accept().unwrap().0;
            (scat, Peer::accept(stream, Options::default()).unwrap())
        }
    }
}

/// Neither has anything more to send: both end, and well.
fn end_both(mut listener: Scat, mut connector: Scat) -> (Ended, Ended) {
    listener.end_input();
    connector.end_input();
    (listener.end().expect(0, ""), connector.end().expect(0, ""))
}

const ROLES: [Role; 2] = [Role::Listener, Role::Connector];

// 0

#[test]
fn both_exit_0_when_everything_is_written_out() {
    let (mut listener, mut connector) = Scat::pair();
    listener.write(b"from the listener");
    connector.write(b"from the connector");
    assert_eq!(listener.read(18), b"from the connector");
    assert_eq!(connector.read(17), b"from the listener");
    listener.end_input();
    connector.end().expect(0, "not verified");
    listener.end().expect(0, "not verified");
}

#[test]
fn help_and_version_exit_0_on_stdout() {
    for (args, said) in [("--help", "Usage: scat"), ("-h", "Usage: scat"), ("--version", "scat ")] {
        let ended = run(&[args]).expect(0, "");
        assert!(String::from_utf8(ended.stdout).unwrap().starts_with(said), "{args}");
        assert_eq!(ended.stderr, "");
    }
}

// 1

fn full_disk() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// The ABORT and the data before it are read at once: nothing was written by then.
#[test]
fn a_full_disk_behind_the_peers_abort_is_told() {
    let (l, mut peer) = session_between(Role::Listener, Stdio::piped(), full_disk());
    l.signal(Signal::STOP);
    let data = peer.seal(&peer::plaintext(DATA, &noise(7, 30_000)));
    let abort = peer.seal(&peer::plaintext(ABORT, &[5]));
    peer.write(&[data, abort].concat()).unwrap();
    l.signal(Signal::CONT);
    drop(peer);
    let ended = l.end_by_itself().expect(1, "write standard output: no space left on device");
    assert!(ended.stderr.contains("was interrupted"), "{}", ended.stderr);
    assert!(ended.stderr.contains("wrote 0 of 30000 bytes received"), "{}", ended.stderr);
}

#[test]
fn an_abort_behind_a_failed_write_is_told() {
    for role in [Role::Listener, Role::Connector] {
        let (scat, mut peer) = session_between(role, Stdio::piped(), full_disk());
        peer.send(DATA, b"too much").unwrap();
        assert_eq!(peer.recv_abort().unwrap(), 6);
        // More than fits between the two: what cannot be written is thrown away.
        for _ in 0..64 {
            peer.send(DATA, &[0; CONTENT]).unwrap();
        }
        peer.send(ABORT, &[7]).unwrap();
        drop(peer);
        let ended = scat.end_by_itself().expect(1, "write standard output: no space");
        assert!(ended.stderr.contains("could not read its input"), "{}", ended.stderr);
        assert!(ended.stderr.contains("wrote 0 of "), "{}", ended.stderr);
    }
}

#[test]
fn a_full_disk_is_1_here_and_7_there() {
    for role in ROLES {
        let (scat, mut peer) = session_between(role, Stdio::piped(), full_disk());
        peer.send(DATA, b"x").unwrap();
        assert_eq!(peer.recv_abort().unwrap(), 6);
        drop(peer);
        scat.end_by_itself().expect(1, "write standard output: no space left on device");
    }
    let (listener, port) =
        Scat::between(&["-l", "127.0.0.1", "0"], Stdio::piped(), full_disk()).with_port();
    let mut connector = Scat::connect(port);
    connector.write(b"x");
    connector.end_by_itself().expect(7, "the other side could not write its output");
    listener.end_by_itself().expect(1, "no space left");
}

#[test]
fn input_that_cannot_be_read_is_1_here_and_6_there() {
    let (mut listener, port) = Scat::listen();
    let connector = Scat::between(&["127.0.0.1", &port.to_string()], unreadable(), Stdio::piped());
    connector.end_by_itself().expect(1, "read standard input: input/output error");
    listener.line("connected to");
    listener.end_by_itself().expect(6, "the other side could not read its input");

    let (scat, mut peer) = session_between(Role::Listener, unreadable().into(), Stdio::piped());
    assert_eq!(peer.recv_abort().unwrap(), 7);
    drop(peer);
    scat.end_by_itself().expect(1, "input/output error");
}

/// A file of which only a read finds out that it cannot be read: address 0 of a process.
fn unreadable() -> File {
    File::open("/proc/self/mem").unwrap()
}

#[test]
fn input_opened_for_writing_only_counts_as_ended() {
    let out = File::options().write(true).open("/dev/null").unwrap();
    let (scat, mut peer) = session_between(Role::Listener, out.into(), Stdio::piped());
    assert_eq!(peer.recv().unwrap().0, EOF);
    peer.finish().unwrap();
    scat.end_by_itself().expect(0, "");
}

#[test]
fn data_for_the_file_of_the_messages_is_1_at_the_receiver_and_7_at_the_sender() {
    let place = scat::file("mixed", b"");
    let log = File::options().append(true).open(&place).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    for (data, status) in [(&b""[..], 0), (b"hello\n", 1)] {
        let mut command = scat::command(&["127.0.0.1", &port]);
        // It might have something to send, so it is not refused at once.
        command.stdin(Stdio::piped()).stdout(log.try_clone().unwrap());
        let mut child = command.stderr(log.try_clone().unwrap()).spawn().unwrap();
        // An end of input would come before the ABORT, or not.
        let _open = child.stdin.take().filter(|_| status == 1);
        let mut peer = Peer::accept(listener.accept().unwrap().0, Options::default()).unwrap();
        peer.send_data(data).unwrap();
        match status {
            0 => assert!(peer.finish().unwrap().is_empty()),
            _ => assert_eq!(peer.recv_abort().unwrap(), 6),
        }
        drop(peer);
        assert_eq!(child.wait().unwrap().code(), Some(status));
    }
    let said = std::fs::read_to_string(&place).unwrap();
    assert!(said.contains("messages go to the same file"), "{said}");
    assert!(!said.contains("hello"), "{said}");
}

// 2

#[test]
fn command_lines_that_make_no_sense_are_2() {
    let table: &[(&[&str], &str)] = &[
        (&[], "nowhere to connect to"),
        (&["-l"], "no port to listen on"),
        (&["example.org"], "no port"),
        (&["::1"], "no port"),
        (&["127.0.0.1", "9", "9"], "too many arguments"),
        (&["127.0.0.1", "9", "9", "9"], "too many arguments"),
        (&["-l", "127.0.0.1", "9", "9"], "too many arguments"),
        (&["-l", "-p", "9", "127.0.0.1", "9"], "two ports"),
        (&["-l", "-p", "9", "8"], "two ports"),
        (&["-l", "-s", "127.0.0.1", "127.0.0.1", "9"], "two addresses"),
        (&["-46", "127.0.0.1", "9"], "exclude each other"),
        (&["-w", "soon", "127.0.0.1", "9"], "not a number of seconds"),
        (&["-w0", "127.0.0.1", "9"], "not a number of seconds"),
        (&["-w-1", "127.0.0.1", "9"], "not a number of seconds"),
        (&["-wNaN", "127.0.0.1", "9"], "not a number of seconds"),
        (&["-winf", "127.0.0.1", "9"], "not a number of seconds"),
        (&["127.0.0.1", "9", "-w"], "no value"),
        (&["-j", "127.0.0.1", "9"], "unrecognized argument: -j"),
        (&["-lj", "9"], "unrecognized argument: -j"),
        (&["--nonsense", "127.0.0.1", "9"], "unrecognized argument: --nonsense"),
        (&["--listen=yes", "9"], "takes no value"),
        (&["-k", "-l", "9"], "-k: one run serves one peer"),
        (&["-lkp", "9"], "-k: one run serves one peer"),
        (&["-e", "/bin/sh", "-l", "9"], "-e: scat starts no programs"),
        (&["-u", "127.0.0.1", "9"], "-u: scat speaks TCP only"),
        (&["-z", "127.0.0.1", "9"], "-z: scat does not scan"),
        (&["-l", "70000"], "port 70000"),
        (&["127.0.0.1", "65536"], "port 65536"),
        (&["127.0.0.1:70000"], "port 70000"),
        (&["-p", "65536", "127.0.0.1", "9"], "port 65536"),
        (&["127.0.0.1", ""], "port"),
        (&["-l", ""], "port"),
    ];
    for (args, said) in table {
        // One that makes sense after all would wait for ever.
        let words = [&["-w5"], *args].concat();
        let words = if args.iter().any(|arg| arg.starts_with("-w")) { args } else { &words[..] };
        let ended = run(words);
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.stderr);
        let first = ended.stderr.lines().next().unwrap();
        assert!(first.contains(said), "{args:?}: {first}");
        // What an option of netcat's is here, its own line says.
        let hint = if said.starts_with('-') { "" } else { "hint: " };
        ended.expect(2, hint);
    }
}

// Shapes that work.

#[test]
fn netcats_ways_to_listen_work() {
    let table: [&[&str]; 11] = [
        &["-lp", "0"],
        &["-lvp", "0"],
        &["-l", "-p", "0"],
        &["-lp0"],
        &["-l", "127.0.0.1", "0"],
        &["-l", "127.0.0.1", "-p", "0"],
        &["-l", "-s", "127.0.0.1", "0"],
        &["-nlvw30", "127.0.0.1:0"],
        &["-N", "-l", "-w5", "0"],
        &["-4l", "0"],
        &["0", "--listen", "--within=20"],
    ];
    for args in table {
        let (listener, port) = Scat::new(args).with_port();
        end_both(listener, Scat::connect(port));
    }
}

#[test]
fn netcats_ways_to_connect_work() {
    let table: [&[&str]; 11] = [
        &["127.0.0.1", "PORT"],
        &["127.0.0.1:PORT"],
        &["localhost", "PORT"],
        &["localhost:PORT"],
        &["-w5", "127.0.0.1", "PORT"],
        &["127.0.0.1", "PORT", "-N"],
        &["-vn", "127.0.0.1", "PORT"],
        &["-4", "localhost", "PORT"],
        &["-s", "127.0.0.3", "127.0.0.1", "PORT"],
        &["-p", "0", "127.0.0.1", "PORT"],
        &["--", "127.0.0.1", "PORT"],
    ];
    for args in table {
        let (listener, port) = Scat::listen();
        let args: Vec<String> =
            args.iter().map(|arg| arg.replace("PORT", &port.to_string())).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let said = end_both(listener, Scat::new(&args)).0.stderr;
        assert!(said.contains("connected to 127.0.0."), "{said}");
        assert!(!args.contains(&"-s") || said.contains("connected to 127.0.0.3 port"), "{said}");
    }
}

#[test]
fn ipv6_addresses_work_bare_and_in_brackets() {
    for shape in [&["::1", "PORT"][..], &["[::1]:PORT"], &["-6", "::1", "PORT"]] {
        let (listener, port) = Scat::new(&["-l6", "::1", "0"]).with_port();
        let args: Vec<String> =
            shape.iter().map(|arg| arg.replace("PORT", &port.to_string())).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let (listener, connector) = end_both(listener, Scat::new(&args));
        listener.expect(0, "connected to ::1 port");
        connector.expect(0, "connected to ::1 port");
    }
}

#[test]
fn a_source_port_is_the_one_that_the_listener_sees() {
    let (listener, port) = Scat::listen();
    let (taken, source) = closed_port();
    drop(taken);
    let connector = Scat::new(&["-p", &source.to_string(), "127.0.0.1", &port.to_string()]);
    let (listener, _) = end_both(listener, connector);
    listener.expect(0, &format!("connected to 127.0.0.1 port {source};"));
}

#[test]
fn service_names_stand_for_their_ports() {
    let services = std::fs::read_to_string("/etc/services").unwrap_or_default();
    if !services.lines().any(|line| line.starts_with("discard") && line.contains("9/tcp")) {
        return;
    }
    let said = run(&["-v", "-w20", "127.0.0.1", "discard"]).expect(3, "port discard").stderr;
    assert!(said.contains("connecting to 127.0.0.1 port 9"), "{said}");
}

#[test]
fn a_host_may_be_named_help() {
    let ended = run(&["-w20", "-n", "help", "9"]).expect(2, "resolve help port 9");
    assert!(ended.stdout.is_empty());
}

// 3

#[test]
fn connection_refused_is_3() {
    let (_taken, port) = closed_port();
    run_to(port).expect(3, &format!("connect 127.0.0.1 port {port}: connection refused"));
}

#[test]
fn a_port_in_use_is_1() {
    let (_listener, port) = door();
    run(&["-l", "127.0.0.1", &port.to_string()])
        .expect(1, &format!("bind 127.0.0.1 port {port}: address already in use"));
    // Half a port is not what was asked for.
    run(&["-l", &port.to_string()]).expect(1, "address already in use");
}

#[test]
fn an_address_that_is_not_here_is_1() {
    run(&["-l", "192.0.2.1", "0"]).expect(1, "bind 192.0.2.1 port 0: cannot assign");
    run(&["-s", "192.0.2.1", "127.0.0.1", "9"]).expect(1, "bind 192.0.2.1 port 0: cannot assign");
}

#[test]
fn names_that_do_not_resolve_are_3() {
    // Too long for the DNS, so nobody is asked: RFC 1035 section 2.3.4.
    let name = "a".repeat(64);
    run(&[&name, "9"]).expect(3, &format!("resolve {name} port 9: "));
    run(&["-l", &name, "9"]).expect(3, &format!("resolve {name} port 9: "));
}

#[test]
fn w_passes_at_a_listener_with_3() {
    run(&["-w0.2", "-l", "127.0.0.1", "0"]).expect(3, "no session within 200ms");
}

#[test]
fn w_passes_at_a_listener_in_the_middle_of_a_handshake_with_3() {
    let (scat, port) = Scat::new(&["-w1", "-l", "127.0.0.1", "0"]).with_port();
    let mut stream = dial(port);
    let mut handshake = Handshake::new(Role::Connector, Options::default()).unwrap();
    stream.write_all(&handshake.flight1().unwrap()).unwrap();
    handshake.read_flight2(&peer::read_flight(&mut stream, peer::FLIGHT2).unwrap()).unwrap();
    scat.end().expect(3, "no session within 1s");
}

#[test]
fn w_passes_at_a_connector_before_a_silent_listener_with_3() {
    let (listener, port) = door();
    let scat = Scat::new(&["-w0.3", "127.0.0.1", &port.to_string()]);
    let _silent = listener.accept().unwrap();
    scat.end().expect(3, "no session within 300ms");
}

/// A listener whose queue is full: who connects there waits.
fn full_door() -> (Vec<socket2::Socket>, u16) {
    let (socket, port) = closed_port();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap();
    let mut sockets = vec![socket];
    for _ in 0..4 {
        let guest =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        guest.set_nonblocking(true).unwrap();
        let _ = guest.connect(&address);
        sockets.push(guest);
    }
    (sockets, port)
}

#[test]
fn w_passes_while_connecting_with_3() {
    let (_full, port) = full_door();
    run(&["-w0.3", "127.0.0.1", &port.to_string()]).expect(3, "no session within 300ms");
}

#[test]
fn a_signal_ends_one_who_is_still_connecting() {
    let (_full, port) = full_door();
    let mut scat = Scat::new(&["-v", "127.0.0.1", &port.to_string()]);
    scat.line("connecting to 127.0.0.1");
    scat.signal(Signal::TERM);
    assert_eq!(scat.end_by_itself().signal, Some(15));
}

#[test]
fn w_never_ends_a_running_session() {
    let (mut listener, port) = Scat::new(&["-w1", "-l", "127.0.0.1", "0"]).with_port();
    let mut connector = Scat::new(&["-w1", "127.0.0.1", &port.to_string()]);
    connector.line("you say");
    listener.line("you say");
    // Twice the time passes: that of a third scat that waits in vain.
    run(&["-w2", "-l", "127.0.0.1", "0"]).expect(3, "within 2s");
    connector.write(b"late");
    assert_eq!(listener.read(4), b"late");
    listener.end_input();
    connector.end().expect(0, "");
    listener.end().expect(0, "");
}

#[test]
fn a_silent_listener_is_3_after_10_s() {
    let (listener, port) = door();
    let scat = Scat::connect(port);
    let _silent = listener.accept().unwrap();
    scat.end().expect(3, "the other side does not answer");
}

/// scat connects to somebody who takes flight 1, answers this, and closes.
fn answered(answer: &[u8]) -> Ended {
    let (listener, port) = door();
    let scat = Scat::connect(port);
    let mut stream = listener.accept().unwrap().0;
    peer::read_flight(&mut stream, peer::FLIGHT1).unwrap();
    stream.write_all(answer).unwrap();
    drop(stream);
    scat.end()
}

#[test]
fn listeners_that_are_no_scat_are_3() {
    answered(b"SSH-2.0-OpenSSH_9.9\r\n").expect(3, "the other side does not speak scat");
    answered(b"S").expect(3, "the handshake was cut off");
    answered(b"SCAX").expect(3, "does not speak scat");
    answered(b"").expect(3, "closed without a word").expect(3, "hint: is ");
}

#[test]
fn a_handshake_cut_before_flight_3_is_3() {
    answered(b"SCAT1L\0\n").expect(3, "the handshake was cut off");
    answered(&[&b"SCAT1L\0\n"[..], &[7; 1200]].concat()).expect(3, "the handshake was cut off");
}

#[test]
fn an_altered_flight_2_is_3() {
    answered(&[&b"SCAT1L\0\n"[..], &[7; 1233]].concat()).expect(3, "altered");
}

// 4

#[test]
fn other_versions_roles_and_flags_are_4() {
    answered(b"SCAT1L\0\r").expect(4, "the other side speaks an unknown version");
    answered(b"SCAT1Lx\n").expect(4, "the other side speaks an unknown version");
    answered(b"SCAT2L\0\n").expect(4, "the other side speaks version 2").expect(4, "hint: use");
    answered(b"SCAT\x01L\0\n").expect(4, "unknown version");
    answered(b"SCAT1C\0\n").expect(4, "both sides are connecting").expect(4, "hint: one of");
    answered(b"SCAT1L\x01\n").expect(4, "the listener wants a pre-shared key");
}

#[test]
fn two_connectors_are_4() {
    // Each connects to a door, and the doors are joined behind them.
    let ((a, a_port), (b, b_port)) = (door(), door());
    let (one, other) = (Scat::connect(a_port), Scat::connect(b_port));
    let (one_end, other_end) = (a.accept().unwrap().0, b.accept().unwrap().0);
    let (from, to) = (one_end.try_clone().unwrap(), other_end.try_clone().unwrap());
    let there = start(move || std::io::copy(&mut &from, &mut &to));
    let back = start(move || std::io::copy(&mut &other_end, &mut &one_end));
    one.end().expect(4, "both sides are connecting");
    other.end().expect(4, "both sides are connecting");
    let _ = (there.join(), back.join());
}

#[test]
fn connected_to_oneself_is_4() {
    // TCP's simultaneous open: a socket connected to its own address.
    let (taken, port) = closed_port();
    drop(taken);
    let port = port.to_string();
    run(&["-s", "127.0.0.1", "-p", &port, "127.0.0.1", &port]).expect(4, "connected to myself");
}

#[test]
fn refused_by_the_peer_is_4() {
    for role in ROLES {
        let (scat, mut peer) = session(role);
        peer.send(ABORT, &[1]).unwrap();
        drop(peer);
        scat.end_by_itself().expect(4, "the other side refused");
    }
    // Instead of OPEN.
    let (listener, port) = door();
    let scat = Scat::connect(port);
    let stream = listener.accept().unwrap().0;
    let mut peer = Peer::accept_without_open(stream, Options::default()).unwrap();
    peer.send(ABORT, &[1]).unwrap();
    drop(peer);
    scat.end_by_itself().expect(4, "the listener refused our key");
}

// 5

#[test]
fn a_forged_frame_is_5_at_both_ends() {
    let (mut listener, port) = Scat::listen();
    // Behind both flights and the first frame of data.
    let at = peer::FLIGHT1 + peer::FLIGHT3 + 274 + 100;
    let mut connector = Scat::connect(relay(port, Deed::Turn(at)));
    connector.write(b"good");
    assert_eq!(listener.read(4), b"good");
    connector.write(b"evil");
    let listener = listener.end_by_itself().expect(5, "corrupted or forged data received");
    assert!(listener.stdout.is_empty());
    connector.end_by_itself().expect(5, "the other side received corrupted or forged data");
}

#[test]
fn frames_that_must_not_come_are_5_and_told() {
    // Each list is one session; the last frame is the wrong one.
    type Frames = &'static [(u8, &'static [u8])];
    let for_listeners: &[(Frames, &str)] = &[
        (&[(OPEN, &[0; 32])], "OPEN"),
        (&[(REKEY2, &[0; 1152])], "REKEY2"),
        (&[(REKEY3, &[])], "REKEY3"),
        (&[(REKEY1, &[0; 1247])], "key exchange"),
        (&[(REKEY1, &[0; 1248])], "key exchange"),
    ];
    let for_connectors: &[(Frames, &str)] = &[
        (&[(OPEN, &[0; 32])], "OPEN"),
        (&[(REKEY1, &[0; 1248])], "REKEY1"),
        (&[(REKEY2, &[0; 1152])], "REKEY2"),
        (&[(REKEY3, &[])], "REKEY3"),
    ];
    let for_both: &[(Frames, &str)] = &[
        (&[(EOF, &[]), (DATA, b"late")], "DATA after EOF"),
        (&[(EOF, &[]), (DATA, b"")], "DATA after EOF"),
        (&[(EOF, &[]), (EOF, &[])], "EOF twice"),
        (&[(EOF, b"x")], "content"),
        (&[(DONE, &[])], "DONE before"),
        (&[(ABORT, &[])], "ABORT"),
        (&[(ABORT, &[1, 1])], "ABORT"),
        (&[(8, &[])], "malformed"),
        (&[(255, b"x")], "malformed"),
    ];
    for role in ROLES {
        let own = if role == Role::Listener { for_listeners } else { for_connectors };
        for (frames, said) in own.iter().chain(for_both) {
            let (scat, mut peer) = session(role);
            for (kind, content) in *frames {
                peer.send(*kind, content).unwrap();
            }
            // A DONE for our EOF may come before it.
            let code = loop {
                match peer.recv_raw().unwrap() {
                    (ABORT, code) => break code,
                    (DONE, _) => {}
                    other => panic!("{other:?}"),
                }
            };
            assert_eq!(code, [3], "{frames:?}");
            drop(peer);
            scat.end_by_itself().expect(5, said);
        }
    }
}

#[test]
fn malformed_frames_are_5_and_told() {
    let mut long = peer::plaintext(DATA, b"x");
    long[1..3].copy_from_slice(&254_u16.to_be_bytes());
    for role in ROLES {
        // clen runs past the plaintext by one byte.
        let (scat, mut peer) = session(role);
        peer.send_plaintext(&long).unwrap();
        assert_eq!(peer.recv_abort().unwrap(), 3);
        drop(peer);
        scat.end_by_itself().expect(5, "malformed");
        // A frame shorter than any.
        let (scat, mut peer) = session(role);
        peer.write(&[0, 18]).unwrap();
        assert_eq!(peer.recv_abort().unwrap(), 3);
        drop(peer);
        scat.end_by_itself().expect(5, "malformed");
        // One sent twice.
        let (scat, mut peer) = session(role);
        peer.send(DATA, b"x").unwrap();
        let frame = peer.last_frame.clone();
        peer.write(&frame).unwrap();
        assert_eq!(peer.recv_abort().unwrap(), 3);
        drop(peer);
        let ended = scat.end_by_itself().expect(5, "forged");
        assert_eq!(ended.stdout, b"x");
    }
}

#[test]
fn exchanges_without_end_are_5() {
    let (scat, mut peer) = session(Role::Listener);
    // One a second goes by while they are made.
    for asked in 1.. {
        peer.start_ratchet().unwrap();
        let (kind, content) = peer.recv().unwrap();
        if kind == ABORT {
            assert_eq!(content, [3]);
            assert!((17..100).contains(&asked), "{asked}");
            break;
        }
        assert_eq!(kind, REKEY2);
    }
    drop(peer);
    scat.end_by_itself().expect(5, "protocol error: REKEY1 too often");
}

#[test]
fn an_opening_that_does_not_fit_is_5() {
    let (listener, port) = door();
    let scat = Scat::connect(port);
    let stream = listener.accept().unwrap().0;
    let mut peer = Peer::accept_without_open(stream, Options::default()).unwrap();
    peer.send(OPEN, &[7; 32]).unwrap();
    assert_eq!(peer.recv_raw().unwrap(), (ABORT, vec![3]));
    drop(peer);
    let ended = scat.end_by_itself().expect(5, "the opening does not fit the commitment");
    assert!(!ended.stderr.contains("say"), "words were shown: {}", ended.stderr);
}

#[test]
fn a_frame_before_the_opening_is_5_and_not_written() {
    let (listener, port) = door();
    let scat = Scat::connect(port);
    let stream = listener.accept().unwrap().0;
    let mut peer = Peer::accept_without_open(stream, Options::default()).unwrap();
    peer.send(DATA, b"too early").unwrap();
    assert_eq!(peer.recv_raw().unwrap(), (ABORT, vec![3]));
    drop(peer);
    let ended = scat.end_by_itself().expect(5, "before OPEN");
    assert!(ended.stdout.is_empty());
}

// 6

/// A listener and a connector with somebody between them, in the middle of a
/// megabyte that the connector sends.
fn cut_by(deed: fn(usize) -> Deed) {
    let (listener, port) = Scat::listen();
    let path = file("cut", &noise(5, 1 << 20));
    let connector_port = relay(port, deed(500_000)).to_string();
    let connector =
        Scat::between(&["127.0.0.1", &connector_port], File::open(path).unwrap(), Stdio::piped());
    let listener = listener.end_by_itself().expect(6, "cut off: ");
    connector.end_by_itself().expect(6, "not confirmed");
    // All that was authentic has been delivered, and nothing else.
    assert!(noise(5, 1 << 20).starts_with(&listener.stdout));
    let received = format!("wrote {} bytes", listener.stdout.len());
    assert!(listener.stderr.contains(&received), "{}", listener.stderr);
}

#[test]
fn a_clean_fin_in_the_middle_is_6_at_both_ends() {
    cut_by(Deed::Finish);
}

#[test]
fn a_reset_in_the_middle_is_6_at_both_ends() {
    cut_by(Deed::Reset);
}

#[test]
fn a_peer_that_vanishes_is_6_whatever_had_ended() {
    for role in ROLES {
        for frames in [&[][..], &[EOF], &[EOF, DONE]] {
            let (mut scat, mut peer) = session(role);
            // With [EOF, DONE], scat's own end must have come before DONE may.
            if frames.len() == 2 {
                scat.write(b"x");
                scat.end_input();
                assert_eq!(peer.recv().unwrap().0, DATA);
                assert_eq!(peer.recv().unwrap().0, EOF);
            }
            // All but the last.
            for &kind in &frames[..frames.len().saturating_sub(1)] {
                peer.send(kind, &[]).unwrap();
                assert_eq!(peer.recv().unwrap().0, DONE);
            }
            drop(peer);
            scat.end_by_itself().expect(6, "cut off: ");
        }
    }
}

#[test]
fn no_opening_in_time_is_6_and_told() {
    let (listener, port) = door();
    let scat = Scat::new(&["-w1", "127.0.0.1", &port.to_string()]);
    let stream = listener.accept().unwrap().0;
    let mut peer = Peer::accept_without_open(stream, Options::default()).unwrap();
    assert_eq!(peer.recv_raw().unwrap(), (ABORT, vec![4]));
    drop(peer);
    scat.end_by_itself().expect(6, "the other side did not finish the handshake");
}

#[test]
fn hanging_up_after_flight_3_is_6() {
    let (listener, port) = door();
    let scat = Scat::connect(port);
    let stream = listener.accept().unwrap().0;
    drop(Peer::accept_without_open(stream, Options::default()).unwrap());
    scat.end_by_itself().expect(6, "cut off: ");
}

#[test]
fn each_abort_has_its_status() {
    let table = [
        (1, 4, "refused"),
        (2, 7, "the other side's output was closed"),
        (3, 5, "the other side received corrupted"),
        (4, 6, "gave up waiting"),
        (5, 6, "was interrupted"),
        (6, 7, "could not write its output"),
        (7, 6, "could not read its input"),
        (8, 5, "the other side received corrupted"),
    ];
    for role in ROLES {
        for (code, status, said) in table {
            let (scat, mut peer) = session(role);
            peer.send(DATA, b"before it").unwrap();
            peer.send(ABORT, &[code]).unwrap();
            drop(peer);
            let ended = scat.end_by_itself().expect(status, said);
            assert_eq!(ended.stdout, b"before it");
        }
    }
}

// 7

#[test]
fn an_output_that_is_closed_early_is_7_at_both_ends() {
    let (mut listener, port) = Scat::listen();
    let zero = File::open("/dev/zero").unwrap();
    let connector = Scat::between(&["127.0.0.1", &port.to_string()], zero, Stdio::piped());
    // | head -c 10
    assert_eq!(listener.read(10), [0; 10]);
    drop(listener.stdout.take());
    listener.end_by_itself().expect(7, "standard output was closed");
    connector.end_by_itself().expect(7, "the other side's output was closed");
}

#[test]
fn the_sender_of_a_closed_output_is_told_although_its_own_input_goes_on() {
    for role in ROLES {
        let (mut scat, mut peer) = session(role);
        drop(scat.stdout.take());
        peer.send(DATA, b"x").unwrap();
        assert_eq!(peer.recv_abort().unwrap(), 2);
        drop(peer);
        scat.end_by_itself().expect(7, "standard output was closed");
    }
}

// Signals

#[test]
fn a_signal_ends_scat_by_itself_and_the_peer_with_6() {
    for (signal, number) in [(Signal::INT, 2), (Signal::TERM, 15), (Signal::HUP, 1)] {
        if scat::is_ignored(signal) {
            continue;
        }
        let (mut listener, mut connector) = Scat::pair();
        connector.write(b"x");
        assert_eq!(listener.read(1), b"x");
        let connector_input = connector.stdin.take();
        listener.signal(signal);
        let ended = listener.end_by_itself();
        assert_eq!((ended.code, ended.signal), (None, Some(number)), "{}", ended.stderr);
        connector.end_by_itself().expect(6, "the other side was interrupted");
        drop(connector_input);
    }
}

#[test]
fn a_signal_ends_a_listener_that_waits() {
    let (listener, _) = Scat::listen();
    listener.signal(Signal::TERM);
    assert_eq!(listener.end_by_itself().signal, Some(15));
}

#[test]
fn a_signal_ends_a_connector_in_the_handshake() {
    let (listener, port) = door();
    let scat = Scat::connect(port);
    let mut stream = listener.accept().unwrap().0;
    peer::read_flight(&mut stream, peer::FLIGHT1).unwrap();
    scat.signal(Signal::TERM);
    assert_eq!(scat.end_by_itself().signal, Some(15));
}

#[test]
fn a_second_signal_ends_at_once() {
    let (mut scat, mut peer) = session(Role::Listener);
    scat.signal(Signal::TERM);
    assert_eq!(peer.recv_abort().unwrap(), 5);
    assert!(peer.recv_end().unwrap());
    // It now waits for the peer's FIN, which does not come.
    let before = std::time::Instant::now();
    scat.signal(Signal::TERM);
    scat.end_input();
    assert_eq!(scat.end_by_itself().signal, Some(15));
    assert!(before.elapsed() < Duration::from_millis(1500), "it waited");
    drop(peer);
}

#[test]
fn a_signal_ends_what_only_waits_for_its_output() {
    // The peer is gone, and nobody takes what it had sent.
    let (mut scat, mut peer) = session(Role::Listener);
    peer.send_data(&noise(17, 300_000)).unwrap();
    peer.send(ABORT, &[5]).unwrap();
    assert!(peer.recv_end().unwrap());
    drop(peer);
    scat.signal(Signal::TERM);
    let ended = scat.end_unread();
    assert_eq!(ended.signal, Some(15), "{}", ended.stderr);
    assert!(ended.stderr.contains("the other side was interrupted"), "{}", ended.stderr);
}

#[test]
fn a_signal_that_was_ignored_stays_ignored() {
    // As nohup does.
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$0\" -l 127.0.0.1 0", &scat::program()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let (mut listener, port) = Scat::spawn(command).with_port();
    listener.signal(Signal::HUP);
    let mut connector = Scat::connect(port);
    connector.write(b"x");
    assert_eq!(listener.read(1), b"x");
    listener.signal(Signal::HUP);
    connector.write(b"y");
    assert_eq!(listener.read(1), b"y");
    listener.end_input();
    connector.end().expect(0, "");
    listener.end().expect(0, "");
}

#[test]
fn usr1_prints_the_counters_and_nothing_else_happens() {
    let (mut listener, port) = Scat::listen();
    listener.signal(Signal::USR1);
    listener.line("listening; 0 handshakes under way, 0 failed");
    let mut connector = Scat::connect(port);
    connector.write(b"four");
    assert_eq!(listener.read(4), b"four");
    listener.signal(Signal::USR1);
    listener.line("sent 0 bytes, received 4, written 4");
    connector.signal(Signal::USR1);
    connector.line("sent 4 bytes, received 0, written 0");
    listener.end_input();
    connector.end().expect(0, "");
    listener.end().expect(0, "");
}

// Closing

#[test]
fn the_last_frames_reach_a_peer_who_still_sends() {
    for role in ROLES {
        let path = file("last", &noise(20, 400_000));
        let (mut scat, mut peer) =
            session_between(role, File::open(path).unwrap().into(), Stdio::piped());
        // scat ends the session, and has said all it has to say.
        peer.write(&[&[1, 0][..], &[7; 256]].concat()).unwrap();
        // To close now would be a reset for what the peer sends next, and a
        // reset takes away what the peer has not read yet.
        scat.ends_within(Duration::from_millis(300));
        let _ = peer.write(&[7; 100_000]);
        assert_eq!(abort_behind_eof(&mut peer), 3);
        drop(peer);
        scat.end_by_itself().expect(5, "forged");
    }
}

/// The code of the ABORT that comes behind data and their end.
fn abort_behind_eof(peer: &mut Peer) -> u8 {
    loop {
        match peer.recv().unwrap() {
            (ABORT, code) => return code[0],
            (DATA | EOF, _) => {}
            other => panic!("{other:?}"),
        }
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
        let before = std::time::Instant::now();
        scat.end_by_itself().expect(5, "forged");
        assert!(before.elapsed() < Duration::from_secs(6), "{:?}", before.elapsed());
        floods.into_iter().for_each(|flood| flood.join());
    }
}

#[test]
fn v_tells_the_stages_and_the_end() {
    let (listener, port) = Scat::new(&["-lv", "127.0.0.1", "0"]).with_port();
    let mut connector = Scat::new(&["-v", "127.0.0.1", &port.to_string()]);
    connector.write(b"12345");
    let (listener, connector) = end_both(listener, connector);
    connector
        .expect(0, "resolving 127.0.0.1")
        .expect(0, "connecting to 127.0.0.1 port")
        .expect(0, "handshake")
        .expect(0, "complete: sent 5 bytes (confirmed");
    listener.expect(0, "wrote 5 of 5 received");
}

#[test]
fn a_stderr_that_is_closed_is_no_reason_to_stop() {
    let (listener, port) = door();
    let mut command = scat::command(&["127.0.0.1", &port.to_string()]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(writer);
    let mut child = command.spawn().unwrap();
    let stream = listener.accept().unwrap().0;
    let mut peer = Peer::accept(stream, Options::default()).unwrap();
    peer.send_data(b"data").unwrap();
    peer.finish().unwrap();
    let mut output = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut output).unwrap();
    assert_eq!(output, b"data");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn addresses_are_tried_in_turn() {
    // localhost has ::1 first, where nobody is.
    let (listener, port) = Scat::listen();
    if TcpListener::bind((Ipv6Addr::LOCALHOST, port)).is_ok() {
        let connector = Scat::new(&["localhost", &port.to_string()]);
        end_both(listener, connector).1.expect(0, "connected to 127.0.0.1");
    }
}

#[test]
fn a_reset_before_flight_2_is_3() {
    let (listener, port) = door();
    let scat = Scat::connect(port);
    let mut stream: TcpStream = listener.accept().unwrap().0;
    peer::read_flight(&mut stream, peer::FLIGHT1).unwrap();
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    scat.end().expect(3, "closed without a word");
}
