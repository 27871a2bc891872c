//! What each exit status promises, and its message. Tests of usage errors (2) and of failures
//! before a session (3, most of 4) are in the files of their subjects.

#[cfg(target_os = "linux")]
use crate::support::filter::{self, Calls};
use crate::support::peer::{
    ABORT, CONTENT, DATA, DONE, EOF, FLIGHT1, FLIGHT3, Options, Peer, REKEY1, REKEY2, Role,
    plaintext,
};
use crate::support::relay::{Deed, relay};
use crate::support::scat::{self, Place, Scat, door, file, noise};
use crate::support::{ROLES, hurried, session, session_between, session_with, skip};
use rustix::process::Signal;
use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

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
fn a_stderr_that_is_closed_is_no_reason_to_stop() {
    let (door, port) = door();
    let mut command = scat::command(&["127.0.0.1", &port.to_string()]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(writer);
    let mut child = command.spawn().unwrap();
    let stream = door.accept().unwrap().0;
    let mut peer = Peer::accept(stream, Options::default()).unwrap();
    peer.send_data(b"data").unwrap();
    peer.finish().unwrap();
    let mut output = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut output).unwrap();
    assert_eq!(output, b"data");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

// 1

fn full_disk() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// scat reads the ABORT and the data before it together, before it has written anything.
#[test]
fn a_full_disk_behind_the_peers_abort_is_told() {
    let (l, mut peer) = session_between(Role::Listener, Stdio::piped(), full_disk());
    l.signal(Signal::STOP);
    let data = peer.seal(&plaintext(DATA, &noise(7, 30_000)));
    let abort = peer.seal(&plaintext(ABORT, &[5]));
    peer.write(&[data, abort].concat()).unwrap();
    l.signal(Signal::CONT);
    drop(peer);
    l.end_by_itself()
        .expect(1, "write standard output: no space left on device")
        .expect(1, "was interrupted")
        .expect(1, "wrote 0 bytes of 29.2 KiB received");
}

#[test]
fn an_abort_behind_a_failed_write_is_told() {
    for role in ROLES {
        let (scat, mut peer) = session_between(role, Stdio::piped(), full_disk());
        peer.send(DATA, b"too much").unwrap();
        assert_eq!(peer.recv_abort().unwrap(), 6);
        // More than the buffers hold: scat discards what it cannot write.
        for _ in 0..64 {
            peer.send(DATA, &[0; CONTENT]).unwrap();
        }
        peer.send(ABORT, &[7]).unwrap();
        drop(peer);
        scat.end_by_itself()
            .expect(1, "write standard output: no space")
            .expect(1, "could not read its input")
            .expect(1, "wrote 0 bytes of ");
    }
}

#[test]
fn a_full_disk_is_1_and_told() {
    for role in ROLES {
        let (scat, mut peer) = session_between(role, Stdio::piped(), full_disk());
        peer.send(DATA, b"x").unwrap();
        assert_eq!(peer.recv_abort().unwrap(), 6);
        drop(peer);
        scat.end_by_itself().expect(1, "write standard output: no space left on device");
    }
}

/// Starts a listener whose output is a file; `change` alters its command.
fn to_a_file(change: impl FnOnce(&mut Command)) -> (Scat, u16, Place) {
    let copy = file("copy", b"");
    let mut command = scat::command(&["-l", "127.0.0.1", "0"]);
    command.stdin(Stdio::null()).stdout(File::create(&copy).unwrap());
    change(&mut command);
    let (scat, port) = Scat::spawn(command).with_port();
    (scat, port, copy)
}

/// A close(2) that fails for a file named "copy", as on a network file system or with a quota.
const FULL_AT_THE_CLOSE: &str = r#"
    long readlink(const char *, char *, unsigned long);
    int sprintf(char *, const char *, ...);
    int *__errno_location(void);
    long syscall(long, ...);
    int close(int fd) {
        char link[32], path[4096];
        sprintf(link, "/proc/self/fd/%d", fd);
        long len = readlink(link, path, sizeof path);
        int result = syscall(CLOSE, fd);
        if (fd < 3 || len < 4 || __builtin_memcmp(path + len - 4, "copy", 4)) return result;
        *__errno_location() = 28;
        return -1;
    }
"#;

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full_only_at_the_close_is_1_here_and_7_there() {
    let sends = |port, code| {
        let mut connector = Scat::connect(port);
        connector.write(b"to be kept");
        connector.end().expect(code, "");
    };
    let library = Place::new("close.so");
    let source = file("close.c", FULL_AT_THE_CLOSE.as_bytes());
    let call = format!("-DCLOSE={}L", libc::SYS_close);
    let options = ["-shared", "-fPIC", &call, "-o", library.arg(), "-x", "c", source.arg()];
    if !Command::new("cc").args(options).status().is_ok_and(|status| status.success()) {
        return skip("no cc(1), so no close(2) failed");
    }
    let preloaded = |command: &mut Command| {
        command.env("LD_PRELOAD", library.arg());
    };
    let (listener, port, _copy) = to_a_file(preloaded);
    sends(port, 7);
    listener.end_by_itself().expect(1, "write standard output: no space left on device");
    // Without this close(2) the same session ends well.
    let (listener, port, copy) = to_a_file(|_| {});
    sends(port, 0);
    listener.end_by_itself().expect(0, "");
    assert_eq!(std::fs::read(&copy).unwrap(), b"to be kept");
}

#[cfg(target_os = "linux")]
#[test]
fn a_write_that_takes_nothing_is_1_and_told_and_is_not_tried_for_ever() {
    let nothing = |command: &mut Command| {
        filter::under(command, filter::error(0), Calls::With(libc::SYS_writev, 1));
    };
    let (listener, port, _copy) = to_a_file(nothing);
    let mut connector = Scat::connect(port);
    connector.write(b"to be kept");
    connector.end().expect(7, "the other end could not write its output");
    listener.end_by_itself().expect(1, "write standard output: it takes nothing more");
}

#[test]
fn input_that_cannot_be_read_is_1_and_told() {
    for role in ROLES {
        // Opening this file succeeds; reading it fails, because a process has nothing at address 0.
        let unreadable = File::open("/proc/self/mem").unwrap();
        let (scat, mut peer) = session_between(role, unreadable.into(), Stdio::piped());
        assert_eq!(peer.recv_abort().unwrap(), 7);
        drop(peer);
        scat.end_by_itself().expect(1, "read standard input: ");
    }
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
    let (door, port) = door();
    for (data, status) in [(&b""[..], 0), (b"hello\n", 1)] {
        let mut command = scat::command(&["127.0.0.1", &port.to_string()]);
        // With a pipe as input scat may have something to send, so it starts.
        command.stdin(Stdio::piped()).stdout(log.try_clone().unwrap());
        let mut child = command.stderr(log.try_clone().unwrap()).spawn().unwrap();
        drop(child.stdin.take());
        let mut peer = Peer::accept(door.accept().unwrap().0, Options::default()).unwrap();
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

// 5

#[test]
fn a_forged_frame_is_5_at_both_ends() {
    let (mut listener, port) = Scat::listen();
    // In the second frame of data.
    let at = FLIGHT1 + FLIGHT3 + 274 + 100;
    let mut connector = Scat::connect(relay(port, Deed::Turn(at, 1)));
    connector.write(b"good");
    assert_eq!(listener.read(4), b"good");
    connector.write(b"evil");
    let listener = listener.end_by_itself().expect(5, "corrupted or forged data received");
    assert!(listener.stdout.is_empty());
    connector.end_by_itself().expect(5, "the other end received corrupted or forged data");
}

/// One rule of each kind. The tests in protocol/ have the others.
#[test]
fn forbidden_frames_are_5_and_reported() {
    // Sends what must precede the wrong frame, and returns that frame.
    type Breach = fn(&mut Peer) -> Vec<u8>;
    let for_both: &[(Breach, &str, &[u8])] = &[
        (|peer| peer.seal(&plaintext(DONE, &[])), "DONE before", b""),
        (|peer| peer.seal(&plaintext(255, b"x")), "malformed", b""),
        (|_| vec![0, 18], "malformed", b""),
        (|peer| peer.send(DATA, b"x").map(|()| peer.last_frame.clone()).unwrap(), "forged", b"x"),
    ];
    let for_listeners: &[(Breach, &str, &[u8])] =
        &[(|peer| peer.seal(&plaintext(REKEY1, &[0; 1248])), "key exchange", b"")];
    for role in ROLES {
        let own = if role == Role::Listener { for_listeners } else { &[] };
        for (breach, said, written) in for_both.iter().chain(own) {
            let (scat, mut peer) = session(role);
            let frame = breach(&mut peer);
            peer.write(&frame).unwrap();
            assert_eq!(peer.recv_abort().unwrap(), 3);
            drop(peer);
            let ended = scat.end_by_itself().expect(5, said);
            assert_eq!(ended.stdout, *written);
        }
    }
}

#[test]
fn exchanges_without_end_are_5() {
    let (scat, mut peer) = session(Role::Listener);
    // The limit allows one more per second meanwhile.
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

// 6

/// Cuts a session in the middle of a megabyte from the connector. At least `least` bytes of it
/// arrive.
fn cut_by(deed: fn(usize) -> Deed, least: usize) {
    let (mut listener, port) = Scat::listen();
    let data = noise(5, 1 << 20);
    let path = file("cut", &data);
    let through = relay(port, deed(500_000));
    let input = File::open(path).unwrap();
    Scat::connect_between(through, input, Stdio::piped())
        .end_by_itself()
        .expect(6, "cut off: ")
        .expect(6, "not confirmed");
    // A late reader finds the authentic bytes, and nothing else.
    listener.line("connection from");
    let listener = listener.end_by_itself().expect(6, "cut off: ");
    assert!(data.starts_with(&listener.stdout));
    assert!(listener.stdout.len() >= least, "{} bytes", listener.stdout.len());
    let received = format!("received {}", ::scat::text::Bytes(listener.stdout.len() as u64));
    assert!(listener.stderr.contains(&received), "{}", listener.stderr);
}

#[test]
fn a_clean_fin_in_the_middle_is_6_at_both_ends() {
    // All whole frames before the cut.
    cut_by(Deed::Finish, 500_000 - 2 * 65_536);
}

#[test]
fn a_reset_in_the_middle_is_6_at_both_ends() {
    cut_by(Deed::Reset, 0);
}

#[test]
fn a_peer_that_vanishes_is_6_whatever_had_ended() {
    for role in ROLES {
        for frames in [&[][..], &[EOF], &[EOF, DONE]] {
            let (mut scat, mut peer) = session(role);
            // The peer may send DONE only after scat's EOF.
            if frames.len() == 2 {
                scat.write(b"x");
                scat.end_input();
                assert_eq!(peer.recv().unwrap().0, DATA);
                assert_eq!(peer.recv().unwrap().0, EOF);
            }
            // The peer leaves without sending the last frame.
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
fn each_abort_has_its_status() {
    let table = [
        (1, 4, "the other person typed 'no' or wrong words"),
        (2, 7, "the other end's output was closed"),
        (3, 5, "the other end received corrupted"),
        (4, 6, "gave up waiting"),
        (5, 6, "was interrupted"),
        (6, 7, "could not write its output"),
        (7, 6, "could not read its input"),
        (8, 4, "the other person left before the words were compared"),
        (9, 5, "the other end received corrupted"),
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

#[test]
fn a_silence_is_explained_at_both_ends() {
    let (mut listener, port) = hurried::start(&["-v", "-l", "127.0.0.1", "0"]).with_port();
    let mut connector = hurried::start(&["-v", "127.0.0.1", &port.to_string()]);
    connector.write(b"all there is");
    connector.end_input();
    // The listener's own input is still open.
    listener.line("all received; waiting for the end of input here (next time: -d)");
    connector.line("all sent; waiting for the end of input at the other end");
    connector.asked("all sent; waiting for the end of input at the other end");
    let ended = scat::start(|| listener.end());
    connector.end().expect(0, "");
    ended.join().expect(0, "");
}

#[test]
fn a_peer_that_does_nothing_is_6_with_idle_and_is_told() {
    let idle = |role| {
        let start = |args: &[&str]| Scat::new(&[args, &["--idle", "2"]].concat());
        let (mut scat, mut peer) = session_with(role, Options::default(), start);
        // Data restarts the limit.
        scat.write(b"x");
        assert_eq!(peer.recv().unwrap(), (DATA, b"x".to_vec()));
        assert_eq!(peer.recv_abort().unwrap(), 4);
        drop(peer);
        let ended = scat.end_by_itself().expect(6, "idle: no data was sent, received or written");
        ended.expect(6, " for 2 s");
    };
    ROLES.map(|role| scat::start(move || idle(role))).into_iter().for_each(|role| role.join());
}

// 7

#[test]
fn an_output_that_is_closed_early_is_7_at_both_ends() {
    let (mut listener, port) = Scat::listen();
    let zero = File::open("/dev/zero").unwrap();
    let connector = Scat::connect_between(port, zero, Stdio::piped());
    // As `| head -c 10` does.
    assert_eq!(listener.read(10), [0; 10]);
    drop(listener.stdout.take());
    let listener = listener.end_by_itself().expect(7, "standard output was closed");
    listener.expect(7, "scat: sent nothing; ");
    let connector = connector.end_by_itself().expect(7, "the other end's output was closed");
    connector.expect(7, ", not confirmed; received nothing");
}

#[test]
fn the_sender_of_a_closed_output_is_told_although_its_own_input_goes_on() {
    for role in ROLES {
        let (mut scat, mut peer) = session(role);
        drop(scat.stdout.take());
        // A child that another test is starting may still hold the reading end.
        peer.stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        while peer.stream.peek(&mut [0]).is_err() {
            peer.send(DATA, b"x").unwrap();
        }
        assert_eq!(peer.recv_abort().unwrap(), 2);
        drop(peer);
        scat.end_by_itself().expect(7, "standard output was closed");
    }
}
