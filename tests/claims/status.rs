//! `--status-fd`: one event per line for programs, which never blocks the session.

use crate::mistakes::service;
use crate::net::reconnect::{Cut, Network, OPTIONS};
#[cfg(target_os = "linux")]
use crate::support::filter::{self, Calls};
use crate::support::peer::{ABORT, Peer, REKEY2, Role};
use crate::support::pty::{self, Terminal};
use crate::support::scat::{Ending, LIMIT, Place, Scat, dial, door, file, program, start};
use crate::support::{ROLES, session_with};
use rustix::process::Signal;
use scat::auth::keys;
use scat::error::{Cause, Error, Stage, Totals, Unopened};
use scat::protocol::handshake;
use scat::protocol::session::{self, Reason};
use scat::ui::report::Report;
use scat::ui::status::Line;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Starts scat so that its events arrive at its standard output; its data is discarded.
fn watched(args: &[&str]) -> Scat {
    Scat::spawn(watched_command(args))
}

fn watched_command(args: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" --status-fd 3 3>&1 >/dev/null", "sh", &program()]);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// Starts such a listener; its port comes from the first event.
pub fn watched_listener(args: &[&str]) -> (Scat, BufReader<ChildStdout>, u16) {
    let mut l = watched(&[&["-l", "127.0.0.1", "0"], args].concat());
    let mut events = BufReader::new(l.stdout.take().unwrap());
    let line = next(&mut events);
    let port = line.strip_prefix("LISTENING 127.0.0.1 ").unwrap().parse().unwrap();
    (l, events, port)
}

fn next(events: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    events.read_line(&mut line).unwrap();
    line.strip_suffix('\n').expect("an event").to_owned()
}

/// The remaining events.
fn rest(events: BufReader<ChildStdout>) -> Vec<String> {
    start(move || events.lines().map(Result::unwrap).collect()).join()
}

/// Waits until scat ends with this status, and returns its events.
#[track_caller]
fn told(scat: Scat, code: i32) -> Vec<String> {
    let ended = scat.end().expect(code, "");
    String::from_utf8(ended.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Makes a key file, and returns it with what scat prints.
fn made(option: &str) -> (Place, String) {
    let place = Place::new("status-key");
    let printed = Scat::new(&[option, place.arg()]).end().expect(0, "").stdout;
    (place, String::from_utf8(printed).unwrap().trim().to_owned())
}

#[test]
fn a_session_is_told_from_the_port_to_the_exit_at_both_ends() {
    let (mut l, mut l_events, port) = watched_listener(&[]);
    let mut c = watched(&["127.0.0.1", &port.to_string()]);
    let from = next(&mut l_events);
    assert!(from.starts_with("CONNECTED 127.0.0.1 "), "{from}");
    let (you, they) = (next(&mut l_events), next(&mut l_events));
    // The words as on the screen, the digits without a space.
    let words = l.words();
    let told = |who: &str, half: &str| {
        let plain: Vec<_> = half.split([' ', '(', ')']).filter(|part| !part.is_empty()).collect();
        let [a, b, c, d, e] = plain[..] else { panic!("{half}") };
        format!("WORDS {who} {a} {b} {c} {d}{e}")
    };
    assert_eq!(you, told("you", &words.you_say));
    assert_eq!(they, told("they", &words.they_say));
    assert_eq!(next(&mut l_events), "VERIFIED none");
    l.write(b"12345");
    c.write(b"123");
    l.end_input();
    let mut events = told_in_order(c);
    assert_eq!(events.remove(0), format!("CONNECTED 127.0.0.1 {port}"));
    assert_eq!(events.remove(0), they.replace("they", "you"));
    assert_eq!(events.remove(0), you.replace("you", "they"));
    assert_eq!(events.remove(0), "VERIFIED none");
    events.sort();
    assert_eq!(events, ["DONE", "EOF", "EXIT 0 complete", "PROGRESS 3 5 5"]);
    l.end().expect(0, "");
    let mut events = rest(l_events);
    assert_eq!(events.last().unwrap(), "EXIT 0 complete");
    events.sort();
    assert_eq!(events, ["DONE", "EOF", "EXIT 0 complete", "PROGRESS 5 3 3"]);
}

/// As [`told`], for a scat that ends well: EXIT is the last event.
fn told_in_order(scat: Scat) -> Vec<String> {
    let events = told(scat, 0);
    assert_eq!(events.last().unwrap(), "EXIT 0 complete");
    events
}

#[test]
fn how_the_peer_was_verified_is_told_with_its_name_and_its_key() {
    let ((key, public), (psk, _)) = (made("--genkey"), made("--genpsk"));
    let friends = file("friends", format!("{public} Ann of the north\n").as_bytes());
    let friends = format!("@{}", friends.arg());
    for (l_args, c_args, expected) in [
        (vec!["--peer", &friends], vec!["-i", key.arg()], "VERIFIED key Ann of the north"),
        (vec!["--peer", &public], vec!["-i", key.arg()], "VERIFIED key"),
        (vec!["--psk", psk.arg()], vec!["--psk", psk.arg()], "VERIFIED psk"),
    ] {
        let (mut l, l_events, port) = watched_listener(&l_args);
        l.end_input();
        let c = Scat::connect_with(&c_args, port);
        c.end().expect(0, "");
        l.end().expect(0, "");
        let events = rest(l_events);
        let at = events.iter().position(|event| event == expected);
        let at = at.unwrap_or_else(|| panic!("no {expected} in {events:?}"));
        let has_key = events[at + 1] == format!("PEERKEY {public}");
        assert_eq!(has_key, c_args[0] == "-i", "{events:?}");
    }
}

#[test]
fn events_have_no_words_that_the_user_must_type_or_may_not_say_yet() {
    if !pty::is_available() {
        return;
    }
    let (mut at_l, mut at_c) = (Terminal::new(), Terminal::new());
    let watched = |at: &Terminal, args: &[&str]| {
        let script = "exec \"$@\" -c --status-fd 3 3>&1 >/dev/null";
        Scat::spawn(at.shell(script, args))
    };
    let (mut l, port) = watched(&at_l, &["-l", "127.0.0.1", "0"]).with_port();
    l.end_input();
    let mut c = watched(&at_c, &["127.0.0.1", &port.to_string()]);
    let mut c_events = BufReader::new(c.stdout.take().unwrap());
    at_l.wait_for("you say ");
    let half = at_l.wait_for("\r\n");
    at_c.wait_for("they say: ");
    at_c.enter("no way these");
    at_c.wait_for("they say: ");
    // Before the right answer there is no other event.
    assert_eq!(next(&mut c_events), format!("CONNECTED 127.0.0.1 {port}"));
    assert_eq!(c_events.buffer(), b"");
    at_c.enter(half.split('(').next().unwrap());
    at_c.wait_for("you answer ");
    let answer = at_c.wait_for("\r\n");
    assert!(next(&mut c_events).starts_with("WORDS you "));
    assert_eq!(next(&mut c_events), "VERIFIED words");
    at_l.wait_for("they answer: ");
    at_l.enter(answer.split('(').next().unwrap());
    c.end().expect(0, "");
    let l_events = told_in_order(l);
    let words: Vec<_> = l_events.iter().filter(|event| event.starts_with("WORDS ")).collect();
    assert!(words.len() == 1 && words[0].starts_with("WORDS you "), "{l_events:?}");
    assert!(l_events.contains(&"VERIFIED words".to_owned()), "{l_events:?}");
    assert!(!rest(c_events).iter().any(|event| event.starts_with("WORDS ")));
}

/// Starts scat for a program that asks for the words: events arrive at its standard output, and
/// its standard input takes the answers.
fn window(args: &[&str]) -> (Scat, BufReader<ChildStdout>) {
    let mut command = Command::new("sh");
    let script = "exec \"$@\" --status-fd 3 --confirm-fd 4 3>&1 >/dev/null 4<&0 </dev/null";
    command.args(["-c", script, "sh", &program()]);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut scat = Scat::spawn(command);
    let events = BufReader::new(scat.stdout.take().unwrap());
    (scat, events)
}

/// Two of them, both asking.
fn windows() -> [(Scat, BufReader<ChildStdout>); 2] {
    let (l, mut l_events) = window(&["-l", "127.0.0.1", "0"]);
    let port = next(&mut l_events).strip_prefix("LISTENING 127.0.0.1 ").unwrap().to_owned();
    let (c, mut c_events) = window(&["127.0.0.1", &port]);
    for events in [&mut l_events, &mut c_events] {
        assert!(next(events).starts_with("CONNECTED "));
    }
    [(l, l_events), (c, c_events)]
}

/// The words of the event `WORDS you`.
fn own_words(events: &mut BufReader<ChildStdout>) -> String {
    let line = next(events);
    let words = line.strip_prefix("WORDS you ").unwrap_or_else(|| panic!("{line}"));
    words.rsplit_once(' ').unwrap().0.to_owned() + "\n"
}

#[test]
fn a_program_asks_the_person_where_it_is_told_to() {
    let [(mut l, mut l_events), (mut c, mut c_events)] = windows();
    let said = own_words(&mut l_events);
    assert_eq!(next(&mut l_events), "ASK 3");
    assert_eq!(next(&mut c_events), "ASK 3");
    // Three lines at once: two that are no answers, and a wrong answer.
    c.write(b"hello\nhelp\n00000000\n");
    assert!(next(&mut c_events).starts_with("ASK 3 nothing is sent yet"));
    assert!(next(&mut c_events).starts_with("ASK 3 the words show"));
    assert!(next(&mut c_events).starts_with("ASK 2 those are not their words"));
    // A line may arrive in two parts.
    c.write(&said.as_bytes()[..5]);
    c.write(&said.as_bytes()[5..]);
    let answer = own_words(&mut c_events);
    assert_eq!(next(&mut c_events), "VERIFIED words");
    // The last line needs no newline.
    l.write(answer.trim_end().as_bytes());
    l.end_input();
    // The other end has nothing to send, and ends its input.
    while next(&mut l_events) != "VERIFIED words" {}
    for (scat, events) in [(l, l_events), (c, c_events)] {
        assert_eq!(rest(events).last().unwrap(), "EXIT 0 complete");
        scat.end().expect(0, "verified");
    }
}

#[test]
fn a_program_that_has_gone_leaves_and_no_refuses() {
    let (left, refused) = ("8 left", "1 refused");
    for (answer, abort) in
        [("", left), ("q\n", left), ("no\n", refused), (&"00000000\n".repeat(3), refused)]
    {
        let [(l, l_events), (mut c, _c_events)] = windows();
        c.write(answer.as_bytes());
        c.end().expect(4, "");
        let events = rest(l_events);
        assert!(events.contains(&format!("ABORT {abort}")), "{answer:?}: {events:?}");
        let exit = if abort == left { "EXIT 4 left " } else { "EXIT 4 words " };
        assert!(events.last().unwrap().starts_with(exit), "{answer:?}: {events:?}");
        l.end_by_itself().expect(4, if abort == left { "left" } else { "wrong words" });
    }
}

#[test]
fn a_descriptor_for_answers_that_cannot_be_is_2() {
    for (options, said) in [
        ("--confirm-fd 4 4</dev/null", "--confirm-fd needs --status-fd"),
        ("--status-fd 3 3>/dev/null --confirm-fd 4 4</dev/null --no-confirm", "exclude each other"),
        ("--status-fd 3 3>/dev/null --confirm-fd x", "--confirm-fd x: not a file descriptor"),
        ("--status-fd 3 3>/dev/null --confirm-fd 399", "--confirm-fd 399: not open"),
        ("--status-fd 3 3>/dev/null --confirm-fd 0", "--confirm-fd 0: 0 to 2 carry data"),
        ("--status-fd 3 3>/dev/null --confirm-fd 4 4>/dev/null", "4: not open for reading"),
        ("--status-fd 3 3<>/dev/null --confirm-fd 3", "are the same descriptor"),
        ("--status-fd 3 3>/dev/null --confirm-fd 4 4<&0", "4: standard input is the same file"),
    ] {
        let mut command = Command::new("sh");
        let script = format!("exec \"$@\" 127.0.0.1 9 {options}");
        command.args(["-c", &script, "sh", &program()]).stdin(Stdio::piped());
        Scat::spawn(command).end().expect(2, said);
    }
}

#[test]
fn the_exit_is_the_last_line_whatever_happens() {
    for (args, code, last) in [
        (&["--bogus"][..], 2, "EXIT 2 usage --bogus: no such option"),
        (&["-k", "9000"], 2, "EXIT 2 usage -k: "),
        (&["-w", "soon", "h", "1"], 2, "EXIT 2 usage -w soon: not a number"),
        (&["-n", "name.invalid", "1"], 2, "EXIT 2 usage resolve name.invalid port 1: "),
        (&["-n", "two\nlines", "1"], 2, "EXIT 2 usage \"two lines\""),
        (&["-i", "/nowhere", "h", "1"], 1, "EXIT 1 local /nowhere: no such file"),
    ] {
        let events = told_lines(args, code);
        assert!(events.last().unwrap().starts_with(last), "{events:?}");
    }
    let (l, events, _) = watched_listener(&[]);
    l.signal(Signal::TERM);
    l.end_by_itself().expect_signal(Signal::TERM);
    assert_eq!(rest(events), ["EXIT 143 signal ended by signal 15"]);
    for role in ROLES {
        let (scat, mut peer) = session_with(role, Default::default(), watched);
        peer.send(ABORT, &[2]).unwrap();
        drop(peer);
        let events = told(scat, 7);
        let [.., abort, exit] = &events[..] else { panic!("{events:?}") };
        assert_eq!(abort, "ABORT 2 output-closed");
        assert!(
            exit.starts_with("EXIT 7 output the other end's output was closed; nothing"),
            "{exit}"
        );
    }
}

/// The reason words that scat(1) promises.
fn reason_words() -> BTreeSet<String> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/man/scat.1")).unwrap();
    let (_, list) = page.split_once(".\\\" reasons\n").unwrap();
    let lines = list.lines().take_while(|line| *line != ".El");
    let words = lines.filter_map(|line| line.strip_prefix(".It Cm "));
    let words = words.flat_map(|line| line.split(" , ")).map(str::to_owned);
    let set: BTreeSet<_> = words.clone().collect();
    assert_eq!(set.len(), words.count(), "one of them stands twice");
    set
}

/// Status and reason of runs that end in every way.
#[test]
fn every_reason_is_that_of_a_real_run() {
    let mut seen = BTreeSet::new();
    let mut ended = |scat: Scat, code: i32, reason: &str| {
        let events = start(move || scat.end_by_itself()).join().stdout;
        let events = String::from_utf8(events).unwrap();
        let exit = events.lines().last().unwrap_or_default();
        let mut fields = exit.splitn(4, ' ').skip(1);
        assert_eq!(fields.next(), Some(&*code.to_string()), "{exit}");
        assert_eq!(fields.next(), Some(reason), "{exit}");
        assert_eq!(fields.next().is_some(), reason != "complete", "{exit}");
        seen.insert(reason.to_owned());
    };
    let to = |port: u16, options: &[&str]| {
        watched(&[options, &["127.0.0.1", &port.to_string()]].concat())
    };
    let (one, other) = (made("--genkey"), made("--genpsk").0);
    let other = ["--psk", other.arg()];
    let pinned = ["--peer", &*one.1];
    // No session.
    ended(watched(&["-i", "/nowhere", "127.0.0.1", "1"]), 1, "local");
    ended(watched(&["127.0.0.1"]), 2, "usage");
    ended(watched(&["127.0.0.1", "1"]), 3, "refused");
    ended(watched(&[&"a".repeat(64), "1"]), 3, "unresolved");
    let (_door, port) = door();
    ended(to(port, &["-w0.1"]), 3, "timeout");
    for (bytes, code, reason) in [
        (&b""[..], 3, "silent"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", 3, "foreign"),
        (b"SCAT1B\0\n", 3, "busy"),
        (b"SCAT2L\0\n", 4, "version"),
        (b"SCAT1C\0\n", 4, "usage"),
    ] {
        ended(to(service(bytes), &[]), code, reason);
    }
    #[cfg(target_os = "linux")]
    {
        let mut command = watched_command(&["127.0.0.1", "1"]);
        let error = filter::error(libc::EHOSTUNREACH);
        filter::under(&mut command, error, Calls::All(&[libc::SYS_connect]));
        ended(Scat::spawn(command), 3, "unreachable");
    }
    let (_l, port) = Scat::listen();
    ended(to(port, &other), 4, "psk");
    ended(to(port, &pinned), 4, "key");
    // A session.
    let within = |options: &[&str], role| {
        session_with(role, Default::default(), |args| watched(&[options, args].concat()))
    };
    for (abort, code, reason) in [
        (1, 4, "words"),
        (2, 7, "output"),
        (3, 5, "forged"),
        (4, 6, "timeout"),
        (5, 6, "signal"),
        (6, 7, "output"),
        (7, 6, "input"),
        (8, 4, "left"),
    ] {
        let (scat, mut peer) = within(&[], ROLES[0]);
        peer.send(ABORT, &[abort]).unwrap();
        drop(peer);
        ended(scat, code, reason);
    }
    let (scat, peer) = within(&[], ROLES[1]);
    drop(peer);
    ended(scat, 6, "cut");
    let (scat, mut peer) = within(&["--idle", "0.1"], ROLES[1]);
    assert_eq!(peer.recv_abort().unwrap(), 4);
    drop(peer);
    ended(scat, 6, "idle");
    let options = ["--reconnect", "0.2"];
    let (mut l, port) = Scat::listen_with(&options);
    let c = to(port, &options);
    l.words();
    drop(l);
    ended(c, 6, "lost");
    let (mut l, port) = Scat::listen();
    let mut c = to(port, &[]);
    l.end_input();
    c.end_input();
    ended(c, 0, "complete");
    assert_eq!(seen, reason_words());
}

#[test]
fn a_connection_that_is_lost_and_comes_back_is_told() {
    let (l, port) = Scat::listen_with(&OPTIONS);
    let cut = Cut { from: Role::Connector, at: 50_000, resets: false };
    let (_network, port) = Network::new(port, &[cut]);
    let mut c = watched(&[&OPTIONS[..], &["127.0.0.1", &port.to_string()]].concat());
    let l = start(move || l.end());
    c.write(&[7; 300_000]);
    let events = told_in_order(c);
    assert_eq!(l.join().expect(0, "").stdout.len(), 300_000);
    // The reason, and the system's message.
    assert!(events.iter().any(|event| event.starts_with("LOST cut ")), "{events:?}");
    assert!(events.contains(&format!("BACK 127.0.0.1 {port}")), "{events:?}");
}

/// Every kind of error has a reason, which is in the list.
#[test]
fn every_error_has_a_reason() {
    use Cause::*;
    let io = |kind: ErrorKind| std::io::Error::from(kind);
    let text = String::new;
    let key = || keys::Fault::Exists.at("key");
    let connect =
        |errno| Error::Connect { to: text(), err: std::io::Error::from_raw_os_error(errno) };
    let early = |error| Error::Early(Box::new(error), Totals::default());
    let late = ErrorKind::TimedOut;
    let table = [
        (Error::System("poll", io(late)), Local),
        (Error::Input(io(ErrorKind::Other)), Input),
        (Error::Output(io(ErrorKind::Other)), Output),
        (Error::NoOutput, Output),
        (Error::Random, Local),
        (Error::Key(key()), Local),
        (Error::Bind { at: text(), err: io(ErrorKind::AddrInUse) }, Local),
        (Error::Zone { name: text(), zone: text() }, Local),
        (Error::Own { name: text(), err: text() }, Local),
        (Error::Usage { what: text(), hint: text() }, Usage),
        (Error::Source { to: text() }, Usage),
        (Error::Argument(key()), Usage),
        (Error::Unverified, Usage),
        (Error::NoTerminal(None), Usage),
        (Error::Resolve { name: text(), err: text(), is_temporary: false }, Unresolved),
        (connect(libc::ECONNREFUSED), Refused),
        (connect(libc::ENETUNREACH), Unreachable),
        (connect(libc::ETIMEDOUT), Timeout),
        (connect(libc::EACCES), Local),
        (Error::Waited(Duration::ZERO, Stage::Caller), Timeout),
        (Error::Silent, Silent),
        (Error::NotScat(text()), Foreign),
        (Error::HandshakeCut(None), Cut),
        (Error::HandshakeTimeout, Timeout),
        (Error::Unheard, Timeout),
        (Error::HandshakeAltered, Forged),
        (Error::CallerFailed(text(), Silent), Silent),
        (Error::Busy, Busy),
        (Error::At { at: text(), error: Box::new(Error::Silent) }, Silent),
        (Error::Version(None), Version),
        (Error::OnePsk(false), Psk),
        (Error::SameRole, Usage),
        (Error::NotOpened(Unopened::Safe, None), Cut),
        (Error::OpenTimeout(Unopened::Safe), Timeout),
        (Error::PskDiffers, Psk),
        (Error::CallerRefused(text(), Key), Key),
        (Error::Myself, Usage),
        (Error::OtherKey(handshake::Peer { key: [7; 32], long_lived: true }), Key),
        (Error::WordsDiffer, Words),
        (Error::NotAccepted, Words),
        (Error::Left, Left),
        (Error::KeyRefused { long_lived: false }, Key),
        (Error::Session(session::Error::Commitment), Forged),
        (Error::Cut(None), Cut),
        (Error::Cut(Some(io(late))), Timeout),
        (Error::NotBack(Duration::ZERO), Lost),
        (Error::LetGo, Lost),
        (Error::HungUp, Signal),
        (Error::RatchetTimeout, Timeout),
        (Error::Idle(Duration::ZERO), Idle),
        (Error::OutputClosed, Output),
        (Error::NoText, Output),
        (Error::Aborted(Reason::Refused), Words),
        (early(Error::Aborted(Reason::Left)), Left),
        (Error::PersonLeft, Signal),
        (Error::Signal(15), Signal),
    ];
    let words = reason_words();
    let source = include_str!("../../src/error.rs");
    let (_, source) = source.split_once("pub enum Error {\n").unwrap();
    let variants = source.lines().take_while(|line| *line != "}").filter_map(|line| {
        let name = line.strip_prefix("    ").filter(|line| line.starts_with(char::is_uppercase))?;
        name.split(|c: char| !c.is_alphanumeric()).next()
    });
    for variant in variants {
        let is_it = |error: &Error| {
            format!("{error:?}").split(|c: char| !c.is_alphanumeric()).next() == Some(variant)
        };
        assert!(table.iter().any(|(error, _)| is_it(error)), "no {variant} here");
    }
    for (error, cause) in &table {
        assert_eq!(error.cause(), *cause, "{error:?}");
        assert!(words.contains(&cause.to_string()), "{cause}");
    }
}

#[test]
fn a_caller_that_is_turned_away_is_told_with_the_reason() {
    let ((key, own), (other, public)) = (made("--genkey"), made("--genkey"));
    let (mut l, mut events, port) = watched_listener(&["--peer", &own]);
    let mut told = |reason: &str| {
        let line = next(&mut events);
        let rest = line.strip_prefix("REJECTED 127.0.0.1 ").unwrap_or_else(|| panic!("{line}"));
        assert_eq!(rest.split_once(' ').unwrap().1, reason);
    };
    drop(dial(port));
    told("silent");
    for (bytes, reason) in [(&b"GET / HTTP/1.0\r\n"[..], "foreign"), (b"SCAT2C\0\n", "version")] {
        let mut stream = dial(port);
        stream.write_all(bytes).unwrap();
        drop(stream);
        told(reason);
    }
    Scat::connect_with(&["-i", other.arg()], port).end().expect(4, "");
    told(&format!("key {public}"));
    Scat::connect(port).end().expect(4, "");
    told("key");
    l.end_input();
    Scat::connect_with(&["-i", key.arg()], port).end().expect(0, "");
    assert!(rest(events).contains(&"VERIFIED key".to_owned()));
    l.end().expect(0, "");
}

/// Runs scat, which ends with this status before there is a session, and returns its events.
fn told_lines(args: &[&str], code: i32) -> Vec<String> {
    let ended = watched(args).end();
    assert_eq!(ended.code, Some(code), "{}", ended.stderr);
    String::from_utf8(ended.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_key_exchange_is_told_by_its_number() {
    let (mut l, l_events, port) = watched_listener(&[]);
    let mut peer = Peer::connect(dial(port), Default::default()).unwrap();
    peer.start_ratchet().unwrap();
    assert_eq!(peer.recv().unwrap().0, REKEY2);
    l.end_input();
    peer.finish().unwrap();
    drop(peer);
    l.end().expect(0, "");
    let events = rest(l_events);
    let ratchets: Vec<_> = events.iter().filter(|event| event.starts_with("RATCHET ")).collect();
    assert_eq!(ratchets, ["RATCHET 1"]);
}

#[test]
fn progress_is_told_once_a_second_at_most_and_at_the_end() {
    let before = Instant::now();
    let (mut l, mut events, port) = watched_listener(&[]);
    let mut c = Scat::connect(port);
    let mut sent = 0_u64;
    let mut told = 0;
    // The other end sends data without a pause.
    let mut stdin = c.stdin.take().unwrap();
    let writer = start(move || {
        while before.elapsed() < Duration::from_millis(2500) {
            stdin.write_all(&[0; 1000]).unwrap();
            sent += 1000;
            thread::sleep(Duration::from_millis(1));
        }
        sent
    });
    l.end_input();
    while told < 2 {
        let line = next(&mut events);
        if line.starts_with("PROGRESS 0 ") {
            told += 1;
            assert!(before.elapsed() >= Duration::from_secs(told), "{told}: {line}");
        }
    }
    let sent = writer.join();
    c.end().expect(0, "");
    l.end().expect(0, "");
    let events = rest(events);
    assert!(events.len() < 6 + before.elapsed().as_secs() as usize, "{events:?}");
    assert!(events.contains(&format!("PROGRESS 0 {sent} {sent}")), "{events:?}");
}

/// Starts scat with this pipe as descriptor 3; its messages are discarded.
fn with_status(args: &[&str], status: PipeWriter) -> Ending {
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" --status-fd 3 3>&1 >/dev/null", "sh", &program()]);
    command.args(args).stdin(Stdio::piped()).stdout(status).stderr(Stdio::null());
    Ending(command.spawn().unwrap())
}

#[test]
fn a_reader_that_does_not_read_or_is_gone_changes_nothing() {
    let small_pipe = || -> (PipeReader, PipeWriter) {
        let (reader, writer) = std::io::pipe().unwrap();
        rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
        (reader, writer)
    };
    for is_gone in [false, true] {
        let (reader, mut writer) = small_pipe();
        writer.write_all(&[b'\n'; 4096]).unwrap();
        let reader = (!is_gone).then_some(reader);
        let (l, port) = Scat::listen();
        let mut c = with_status(&["127.0.0.1", &port.to_string()], writer);
        let bytes = vec![7; 3_000_000];
        let mut stdin = c.0.stdin.take().unwrap();
        let writer = start(move || stdin.write_all(&bytes).unwrap());
        let ended = l.end().expect(0, "");
        writer.join();
        assert_eq!(ended.stdout.len(), 3_000_000, "gone: {is_gone}");
        assert_eq!(c.code(), Some(0), "gone: {is_gone}");
        drop(reader);
    }
}

#[test]
fn a_reader_that_comes_late_gets_every_event_and_the_exit() {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    writer.write_all(&[b'\n'; 4096]).unwrap();
    let (mut l, port) = Scat::listen();
    let mut c = with_status(&["127.0.0.1", &port.to_string()], writer);
    l.words();
    let mut filler = [0; 4096];
    reader.read_exact(&mut filler).unwrap();
    drop(c.0.stdin.take());
    l.end().expect(0, "");
    let mut events = String::new();
    reader.read_to_string(&mut events).unwrap();
    assert!(events.starts_with("CONNECTED 127.0.0.1 "), "{events}");
    assert!(events.ends_with("\nEXIT 0 complete\n"), "{events}");
    assert_eq!(c.code(), Some(0));
}

#[test]
fn the_exit_comes_through_where_other_lines_are_lost() {
    let (reader, writer) = std::io::pipe().unwrap();
    // Like an inherited descriptor, it stays open.
    let writer: &'static PipeWriter = Box::leak(Box::new(writer));
    let report = Report::new(Some(writer.as_fd()));
    // Far more than the pipe and the buffer hold.
    for count in 1..=50_000 {
        report.event(&Line::Ratchet(count));
    }
    report.event(&Line::Exit(Some(&Error::Random)));
    let events = start(move || {
        let lines = BufReader::new(reader).lines().map(Result::unwrap);
        let mut count = 0;
        (lines.inspect(|_| count += 1).find(|line| line.starts_with("EXIT ")), count)
    });
    report.finish(LIMIT);
    let (exit, count) = events.join();
    assert_eq!(exit.unwrap(), "EXIT 1 local the system provides no random numbers");
    assert!((5_000..50_000).contains(&count), "{count}");
}

#[test]
fn events_may_stand_among_the_messages() {
    let (mut l, port) = Scat::listen_with(&["--status-fd", "2"]);
    l.end_input();
    Scat::connect(port).end().expect(0, "");
    l.line("VERIFIED none");
    assert!(l.end().stderr.ends_with("EXIT 0 complete"));
}

#[test]
fn a_descriptor_that_is_not_there_or_carries_data_is_2() {
    for (fd, said) in [
        ("0", "--status-fd 0: 0 and 1 carry the data"),
        ("1", "--status-fd 1: 0 and 1 carry the data"),
        ("399", "--status-fd 399: not open"),
        ("-1", "--status-fd -1: not a file descriptor"),
        ("x", "--status-fd x: not a file descriptor"),
    ] {
        Scat::new(&["--status-fd", fd, "127.0.0.1", "9"]).end().expect(2, said);
    }
    // scat writes nothing into a connection, not even EXIT.
    assert_eq!(told_lines(&["--fd", "3"], 2), [""; 0]);
}

#[test]
fn a_descriptor_that_is_the_connection_is_2_and_carries_nothing() {
    let same = "--fd and --status-fd are the same connection";
    for (options, redirections, said) in [
        ("--fd 3 --status-fd 3", "3<&0", same),
        ("--fd 3 --status-fd 03", "3<&0", same),
        ("--status-fd=4 --fd=3", "3<&0 4<&0", same),
        ("--fd 3 --status-fd 4 --psk", "3<&0 4<&0", "--psk"),
        ("--status-fd 4 --fd 5 --fd 3", "3<&0 4<&0 5</dev/null", "--fd is given twice"),
    ] {
        let (mut stranger, socket) = UnixStream::pair().unwrap();
        let mut command = Command::new("sh");
        let script = format!("exec \"$@\" {options} {redirections} </dev/null");
        command.args(["-c", &script, "sh", &program()]);
        command.stdin(OwnedFd::from(socket)).stdout(Stdio::piped());
        Scat::spawn(command).end().expect(2, said);
        let mut sent = String::new();
        stranger.read_to_string(&mut sent).unwrap();
        assert_eq!(sent, "", "{options} {redirections}");
    }
}

/// `--status-fd` as another option's value names no descriptor.
#[test]
fn a_value_that_looks_like_status_fd_is_written_nowhere() {
    let out = Place::new("status-value");
    for options in ["-i --status-fd 5 h 9000", "-n -- --status-fd 5", "--psk --status-fd=5 h"] {
        let mut command = Command::new("sh");
        let script = format!("exec \"$@\" {options} 5>\"$0\"");
        command.args(["-c", &script, out.arg(), &program()]).stdin(Stdio::null());
        Scat::spawn(command).end().expect(2, "");
        assert_eq!(std::fs::read(&out).unwrap(), b"", "{options}");
    }
}

#[test]
fn a_descriptor_that_takes_no_lines_or_is_the_file_of_the_data_is_2() {
    let out = Place::new("status-out");
    for (redirections, said) in [
        ("3</dev/null", "--status-fd 3: not open for writing"),
        ("3>\"$0\" >&3", "--status-fd 3: standard output is the same file"),
        ("3>>\"$0\" >>\"$0\"", "--status-fd 3: standard output is the same file"),
        ("3>\"$0\" >>\"$0\" 2>&1", ""),
    ] {
        let mut command = Command::new("sh");
        let script = format!("exec \"$@\" --status-fd 3 127.0.0.1 9 {redirections}");
        command.args(["-c", &script, out.arg(), &program()]).stdin(Stdio::null());
        Scat::spawn(command).end().expect(2, said);
        let lines = std::fs::read_to_string(&out).unwrap_or_default();
        assert!(!lines.contains("EXIT"), "{redirections}: {lines}");
    }
    // Nor a pipe or socket that also carries data: its reader could not separate the two.
    for (status, redirections) in [("3", "3>&1"), ("2", "2>&1"), ("4", "4>&0 >&0")] {
        let (mut other, socket) = UnixStream::pair().unwrap();
        let mut command = Command::new("sh");
        let script = format!("exec \"$@\" --status-fd {status} -n name 1 {redirections}");
        command.args(["-c", &script, "sh", &program()]);
        command.stdin(Stdio::from(OwnedFd::from(socket))).stdout(Stdio::piped());
        let ended = Scat::spawn(command).end();
        assert_eq!(ended.code, Some(2), "{status}");
        let mut sent = String::new();
        other.read_to_string(&mut sent).unwrap();
        let all = [sent, String::from_utf8(ended.stdout).unwrap(), ended.stderr].concat();
        assert!(all.contains("standard output is the same file"), "{all}");
        assert!(!all.contains("EXIT"), "{all}");
    }
}
