//! Which messages appear, and that they never block scat, even if nobody reads standard error
//! or Ctrl-S has stopped the terminal. The words and the last line appear as soon as possible.

use crate::status::watched_listener;
use crate::support::hurried::{self, Hurry};
use crate::support::peer::{self, DATA, Options, Peer};
use crate::support::pty::{self, Terminal};
use crate::support::scat::{Ending, Scat, closed_port, command, dial, door, key_file};
use rustix::process::{Pid, Signal};
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::net::Shutdown;
use std::process::{Command, Stdio};

/// Capacity of a pipe in these tests, in bytes.
const ROOM: usize = 4096;

/// A pipe for standard error that is quickly full.
fn small_pipe() -> (BufReader<PipeReader>, PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&writer, ROOM).unwrap();
    (BufReader::new(reader), writer)
}

/// Starts scat with `messages` as its standard error.
fn start(args: &[&str], messages: impl Into<Stdio>) -> Ending {
    spawn(command(args), messages)
}

fn spawn(mut command: Command, messages: impl Into<Stdio>) -> Ending {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(messages);
    Ending(command.spawn().unwrap())
}

/// A listener whose standard error is full, its port, and the other end of the pipe.
fn full_listener(args: &[&str]) -> (Ending, u16, BufReader<PipeReader>) {
    let (mut reader, mut writer) = small_pipe();
    let scat = start(args, writer.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let port = line.trim().rsplit_once(" port ").unwrap().1.parse().unwrap();
    writer.write_all(&[b'\n'; ROOM]).unwrap();
    (scat, port, reader)
}

/// A caller whose rejection a listener reports even without `-v`.
fn stranger(port: u16) {
    let mut stream = dial(port);
    stream.write_all(b"SCAT2C\0\n").unwrap();
    assert_eq!(peer::read_flight(&mut stream, 8).unwrap(), b"SCAT1L\0\n");
}

/// Sends `text` through to scat's standard output, and a byte back.
fn talk(scat: &mut Ending, peer: &mut Peer, text: &[u8]) {
    peer.send(DATA, text).unwrap();
    let mut came = vec![0; text.len()];
    scat.0.stdout.as_mut().unwrap().read_exact(&mut came).unwrap();
    assert_eq!(came, text);
    scat.0.stdin.as_mut().unwrap().write_all(b"!").unwrap();
    assert_eq!(peer.recv().unwrap(), (DATA, b"!".to_vec()));
}

#[test]
fn unread_messages_hold_up_nobody_and_the_words_come_when_they_are_read() {
    let (mut scat, port, reader) = full_listener(&["-l", "127.0.0.1", "0"]);
    (0..3).for_each(|_| stranger(port));
    let mut peer = Peer::connect(dial(port), Options::default()).unwrap();
    talk(&mut scat, &mut peer, b"hello");
    let mut lines = reader.lines().map(Result::unwrap).filter(|line| !line.is_empty());
    assert_eq!(lines.next().unwrap(), "scat: 3 messages lost");
    assert!(lines.next().unwrap().contains("connection from 127.0.0.1"));
    assert!(lines.next().unwrap().contains("not verified"));
    assert!(lines.next().unwrap().contains("data is already being exchanged"));
    assert!(lines.next().unwrap().contains("compare these words"));
    assert!(lines.next().unwrap().contains("you say"));
    assert!(lines.next().unwrap().contains("they say"));
    talk(&mut scat, &mut peer, b"still");
    drop(scat.0.stdin.take());
    peer.finish().unwrap();
    drop(peer);
    assert_eq!(scat.code(), Some(0));
}

#[test]
fn a_listener_with_unread_messages_ends_by_its_first_signal() {
    let (mut scat, port, _reader) = full_listener(&["-l", "127.0.0.1", "0"]);
    (0..3).for_each(|_| stranger(port));
    rustix::process::kill_process(Pid::from_child(&scat.0), Signal::TERM).unwrap();
    assert_eq!(scat.code(), None);
}

#[test]
fn a_listener_with_unread_messages_sees_w() {
    let (mut scat, port, _reader) = full_listener(&["-l", "-w1", "127.0.0.1", "0"]);
    stranger(port);
    assert_eq!(scat.code(), Some(3));
}

#[test]
fn the_last_line_waits_a_moment_for_its_reader() {
    let (mut reader, mut writer) = small_pipe();
    writer.write_all(&[b'\n'; ROOM]).unwrap();
    let (door, port) = door();
    let words = hurried::words_with(Hurry { last: hurried::NEVER, ..hurried::HURRY });
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(["127.0.0.1", &port.to_string()]);
    let mut scat = spawn(command, writer);
    let mut stream = door.accept().unwrap().0;
    stream.shutdown(Shutdown::Write).unwrap();
    // After the end of this stream, scat has only its last message left to write.
    stream.read_to_end(&mut Vec::new()).unwrap();
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert!(
        said.contains(
            "scat: the other end closed the connection without sending anything\nscat: hint: "
        ),
        "{said}"
    );
    assert_eq!(scat.code(), Some(3));
}

#[test]
fn a_terminal_stopped_with_ctrl_s_holds_up_nobody_and_gets_the_words_after_ctrl_q() {
    let mut terminal = Terminal::new();
    let (door, port) = door();
    terminal.keys("\x13");
    let mut scat = start(&["-v", "127.0.0.1", &port.to_string()], terminal.slave());
    let mut peer = Peer::accept(door.accept().unwrap().0, Options::default()).unwrap();
    talk(&mut scat, &mut peer, b"hello");
    assert_eq!(terminal.screen(), "");
    terminal.keys("\x11");
    terminal.wait_for("messages lost");
    terminal.wait_for("they say");
    terminal.wait_for("you say");
    drop(scat.0.stdin.take());
    peer.finish().unwrap();
    drop(peer);
    assert_eq!(scat.code(), Some(0));
}

const WARNING: &str = "scat: WARNING: the other end is not verified and could be anyone;\n\
                       scat: WARNING: data is already being exchanged";

/// Runs a listener and a connector with these options to a good end. Returns what each said.
fn said(l_options: &[&str], c_options: &[&str]) -> [String; 2] {
    let (mut l, _events, port) = watched_listener(l_options);
    l.end_input();
    let mut c = Scat::connect_with(c_options, port);
    c.write(b"12345");
    let c = c.end().expect(0, "").stderr;
    [l.end().expect(0, "").stderr, c]
}

/// So that cron(8) has nothing to mail, and ssh(1) nothing to show.
#[test]
fn a_good_run_that_a_key_verifies_says_nothing_in_a_log() {
    let psk = key_file("psk", &[3; 32]);
    let psk = ["--psk", psk.arg()];
    assert_eq!(said(&psk, &psk), ["", ""]);
    let quiet = ["--quiet", "--no-confirm"];
    assert_eq!(said(&quiet, &quiet), ["", ""]);
    // Without --no-confirm, the user is warned anyway.
    assert_eq!(said(&["--quiet"], &["--quiet"]), [WARNING, WARNING]);
    let [l, c] = said(&[], &[]);
    assert!(l.starts_with("scat: listening on 127.0.0.1 port "), "{l}");
    assert!(l.contains(WARNING) && c.contains(WARNING), "{l}\n{c}");
}

#[test]
fn with_v_the_last_line_says_complete_how_much_and_how_fast() {
    let psk = key_file("psk", &[3; 32]);
    let psk = ["-v", "--psk", psk.arg()];
    let [l, c] = said(&psk, &psk);
    let [l, c] = [&l, &c].map(|said| said.lines().last().unwrap());
    assert!(l.starts_with("scat: complete: 5 bytes received, in "), "{l}");
    assert!(c.starts_with("scat: complete: 5 bytes sent, in "), "{c}");
    assert!(l.ends_with("/s") && c.ends_with("/s"), "{l}\n{c}");
    // A run that was ended by a signal has no such line.
    let (l, port) = Scat::listen_with(&psk);
    let mut c = Scat::connect_with(&psk, port);
    c.line("verified by");
    l.signal(Signal::TERM);
    let l = l.end_by_itself().expect_signal(Signal::TERM).stderr;
    let c = c.end_by_itself().expect(6, "").stderr;
    assert!(!l.contains("complete") && !c.contains("complete"), "{l}\n{c}");
}

#[test]
fn quiet_keeps_no_error_back_and_no_answer_to_a_signal() {
    let (_taken, port) = closed_port(1);
    Scat::connect_with(&["--quiet"], port).end().expect(3, "connection refused").expect(3, "hint");
    Scat::new(&["--quiet", "-v", "127.0.0.1", "1"]).end().expect(2, "-v and --quiet exclude");
    let (door, port) = door();
    let mut c = Scat::connect_with(&["--quiet"], port);
    let _stream = door.accept().unwrap();
    c.asked("still waiting for an answer");
}

#[test]
fn quiet_asks_for_the_words_where_they_are_to_be_compared() {
    if !pty::is_available() {
        return;
    }
    let (mut at_l, mut at_c) = (Terminal::new(), Terminal::new());
    let (mut l, port) = at_l.start(&["-lc", "127.0.0.1", "0"]).with_port();
    l.end_input();
    let mut c = at_c.start(&["-c", "--quiet", "127.0.0.1", &port.to_string()]);
    at_l.wait_for("you say ");
    let half = at_l.wait_for("\r\n");
    at_c.wait_for("they say: ");
    at_c.enter(half.split('(').next().unwrap());
    at_c.wait_for("you answer ");
    let answer = at_c.wait_for("\r\n");
    at_l.wait_for("they answer: ");
    at_l.enter(answer.split('(').next().unwrap());
    c.end_input();
    assert_eq!(c.end().expect(0, "").stderr, "");
    l.end().expect(0, "");
}

/// A log should name callers with a wrong key, and no port scans.
#[test]
fn a_silent_listener_tells_of_rejected_callers_and_not_of_port_scans() {
    let psk = key_file("psk", &[3; 32]);
    let psk = ["--psk", psk.arg()];
    let (mut l, _events, port) = watched_listener(&psk);
    let mut scan = dial(port);
    scan.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let _ = scan.read(&mut [0]);
    Scat::connect(port).end().expect(4, "pre-shared key");
    l.line("only one side has a pre-shared key");
    l.end_input();
    Scat::connect_with(&psk, port).end().expect(0, "");
    let l = l.end().expect(0, "").stderr;
    assert_eq!(l.lines().count(), 1, "{l}");
}
