//! Signals that end scat or make it print its counters.

use crate::support::hurried::{self, Hurry};
use crate::support::peer::{self, ABORT, Options, Role};
use crate::support::scat::{self, Place, Scat, dial, door, fifo, full_door, noise};
use crate::support::{session, session_with, skip};
use rustix::process::{Pid, Signal};
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

#[test]
fn a_signal_ends_scat_by_itself_and_the_peer_with_6() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let (mut listener, mut connector) = Scat::pair();
        connector.write(b"x");
        assert_eq!(listener.read(1), b"x");
        let connector_input = connector.stdin.take();
        listener.signal(signal);
        let listener = listener.end_by_itself().expect_signal(signal);
        assert!(listener.stderr.ends_with("scat: sent nothing; received 1 byte"), "{listener}");
        let connector = connector.end_by_itself().expect(6, "the other end was interrupted");
        connector.expect(6, "scat: sent 1 byte, not confirmed; received nothing");
        drop(connector_input);
    }
}

#[test]
fn a_signal_ends_a_listener_that_waits() {
    let (listener, _) = Scat::listen();
    listener.signal(Signal::TERM);
    listener.end_by_itself().expect_signal(Signal::TERM);
}

#[test]
fn a_signal_at_any_moment_of_the_start_ends_scat() {
    // If the signal is lost, this listener ends with another status.
    let traced = |options: &[&str]| -> Option<ExitStatus> {
        let mut command = Command::new("strace");
        command.args(options).args([&scat::program(), "-w", "0.5", "-l", "127.0.0.1", "0"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().ok()
    };
    scat::handle_ignored_signals();
    let trace = Place::new("trace");
    if traced(&["-o", trace.arg()]).is_none_or(|status| status.code() != Some(3)) {
        return skip("strace(1) is missing or may not trace, so no signal came during the start");
    }
    let calls = std::fs::read_to_string(&trace).unwrap();
    let calls = calls.lines().filter_map(|line| line.split_once('(')).map(|(name, _)| name);
    // Sends a signal after each system call up to the first wait. (The first call is strace's.)
    let mut counts = HashMap::new();
    for name in calls.take_while(|name| !name.contains("wait")).skip(1) {
        let count = counts.entry(name.to_owned()).or_insert(0);
        *count += 1;
        let signal = format!("inject={name}:signal=SIGTERM:when={count}");
        let status = traced(&["-o", "/dev/null", "-e", &signal]).unwrap();
        assert_eq!(status.signal(), Some(15), "after {name} number {count}: {status}");
    }
    assert!(counts.contains_key("rt_sigaction"), "{counts:?}");
}

/// Only a second signal ends its close.
const PATIENT: Hurry = Hurry { close: hurried::NEVER, ..hurried::HURRY };

#[test]
fn a_second_signal_ends_at_once() {
    let patient = |args: &[&str]| hurried::start_with(PATIENT, args);
    let (scat, mut peer) = session_with(Role::Listener, Options::default(), patient);
    scat.signal(Signal::TERM);
    assert_eq!(peer.recv_abort().unwrap(), 5);
    assert!(peer.recv_end().unwrap());
    // scat now waits for the peer's FIN, which does not arrive.
    scat.signal(Signal::TERM);
    scat.end_by_itself().expect_signal(Signal::TERM);
    drop(peer);
}

#[test]
fn a_signal_ends_what_only_waits_for_its_output() {
    // The peer is gone, and nobody reads scat's output.
    let (mut scat, mut peer) = session(Role::Listener);
    peer.send_data(&noise(17, 300_000)).unwrap();
    peer.send(ABORT, &[5]).unwrap();
    assert!(peer.recv_end().unwrap());
    drop(peer);
    scat.signal(Signal::TERM);
    let ended = scat.end_unread().expect_signal(Signal::TERM);
    assert!(ended.stderr.contains("the other end was interrupted"), "{}", ended.stderr);
}

/// One Ctrl-C, or the end of a container, can end both ends at once.
#[test]
fn a_signal_counts_before_an_end_of_the_peer_that_came_later() {
    for last in [Signal::KILL, Signal::INT] {
        for _ in 0..20 {
            let (mut listener, port) = Scat::listen();
            let connector = Scat::connect(port);
            listener.line("they say");
            listener.signal(Signal::INT);
            connector.signal(last);
            let ended = listener.end_by_itself();
            assert_eq!(ended.signal, Some(2), "{ended}");
        }
    }
}

/// In a container scat is the first process, which no signal's default action ends.
#[test]
fn as_the_first_process_it_ends_with_128_and_the_signal() {
    let user: &[_] = if rustix::process::geteuid().is_root() { &[] } else { &["--map-root-user"] };
    let options = [user, &["--pid", "--fork", "--kill-child"]].concat();
    let tried = Command::new("unshare").args(&options).arg("true").status();
    if !tried.is_ok_and(|tried| tried.success()) {
        return skip("unshare(1) is missing or may not, so scat was no first process");
    }
    let start = |scat: &[String], args: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(&options).args(scat).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Scat::spawn(command)
    };
    let send = |to: &Scat, signal| {
        let children = format!("/proc/{0}/task/{0}/children", to.id());
        let child = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
        rustix::process::kill_process(Pid::from_raw(child).unwrap(), signal).unwrap();
    };
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let (listener, port) =
            start(&[scat::program()], &["--status-fd", "2", "-l", "127.0.0.1", "0"]).with_port();
        let connector = Scat::connect(port);
        send(&listener, signal);
        drop(connector);
        let ended = listener.end_by_itself();
        assert_eq!((ended.code, ended.signal), (Some(status), None), "{}", ended.stderr);
        assert!(ended.stderr.contains(&format!("EXIT {status} ")), "{}", ended.stderr);
    }
    // A second signal ends it at once, although the peer has not closed.
    let patient = hurried::words_with(PATIENT);
    let (listener, port) = start(&patient, &["-l", "127.0.0.1", "0"]).with_port();
    let mut peer = peer::Peer::connect(dial(port), peer::Options::default()).unwrap();
    send(&listener, Signal::TERM);
    assert_eq!(peer.recv_abort().unwrap(), 5);
    assert!(peer.recv_end().unwrap());
    send(&listener, Signal::TERM);
    let ended = listener.end_by_itself();
    assert_eq!((ended.code, ended.signal), (Some(143), None), "{}", ended.stderr);
}

#[test]
fn a_signal_that_was_ignored_stays_ignored() {
    // nohup ignores SIGHUP in this way.
    let mut command = Command::new("sh");
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
    listener.line("sent 0 bytes, received 4 bytes, in");
    connector.signal(Signal::USR1);
    connector.line("sent 4 bytes, received nothing, in");
    listener.end_input();
    connector.end().expect(0, "");
    listener.end().expect(0, "");
}

#[test]
fn usr1_tells_what_is_waited_for_before_there_is_a_session() {
    let (door, port) = door();
    let key = fifo("usr1");
    let mut scat = Scat::connect_with(&["--psk", key.arg()], port);
    // This open waits until scat reads the FIFO.
    let mut writer = File::options().write(true).open(&key).unwrap();
    scat.asked("still waiting for the key in ");
    writer.write_all(b"scat-psk:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n").unwrap();
    drop(writer);
    let mut stream = door.accept().unwrap().0;
    peer::read_flight(&mut stream, 8).unwrap();
    scat.asked("still waiting for an answer from 127.0.0.1 port ");
    drop(stream);
    scat.end().expect(3, "");

    let (_full, port) = full_door();
    let mut scat = Scat::connect_with(&["-v"], port);
    scat.line("scat: connecting to ");
    scat.asked("still connecting to 127.0.0.1 port ");
}
