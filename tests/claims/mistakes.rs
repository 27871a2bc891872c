//! The mistakes that people make. For each, scat names the cause and the next step, and its
//! exit status says whether to try again.

use crate::support::scat::{self, Place, Scat, closed_port, dial, door, full_door};
use crate::support::{has_ipv6, skip};
use ::scat::error::{Error, Stage};
use rustix::process::Signal;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

/// Arguments, exit status, cause, next step.
type Mistake<'a> = (&'a [&'a str], i32, &'a str, &'a str);

#[rustfmt::skip]
const MISTAKES: &[Mistake] = &[
    // something is missing
    (&[], 2, "no host and port to connect to", "scat example.org 9000; to listen: scat -l 9000"),
    (&["-l"], 2, "no port to listen on", "scat -l 9000"),
    (&["host"], 2, "no port for host", "scat host 9000; at the other end: scat -l 9000"),
    (&["help"], 2, "no port for help", "for the options: scat --help"),
    (&["9000"], 2, "9000: a port without a host", "scat HOST 9000, or to listen: scat -l 9000"),
    (&[":9000"], 2, ":9000: a port without a host", "scat -l 9000"),
    (&["host:"], 2, "no port for host", "scat host 9000"),
    (&["-p", "9000", "host"], 2, "-p is the one to connect from", "scat host 9000"),
    (&["-p", "9000"], 2, "no host and port", "to listen: scat -l 9000"),
    (&["-l", "-w", "9000"], 2, "-w 9000 is a time in seconds", "scat -l -w SECS PORT"),
    (&["", "9000"], 2, "the address is empty", "scat HOST PORT"),
    (&["[]", "9000"], 2, "the address is empty", "scat HOST PORT"),
    (&["-s", "", "localhost", "9000"], 2, "the address is empty", "scat HOST PORT"),
    // in the wrong place
    (&["9000", "localhost"], 2, "the host comes first", "scat localhost 9000"),
    (&["9000", "9001"], 2, "the host comes first", "scat HOST 9000"),
    (&["-l", "9000", "file"], 2, "-l takes one port", "to write to a file: > FILE"),
    (&["-l", "9000", "9001"], 2, "-l takes one port", "scat -l [ADDR] PORT"),
    (&["-l", "-p", "9000", "9001"], 2, "-l takes one port", "scat -l [ADDR] PORT"),
    (&["-l", "-s", "::1", "::1", "9000"], 2, "two addresses to listen on", "scat -l [ADDR] PORT"),
    (&["-l", "localhost:9000", "-p", "9001"], 2, "localhost:9000: neither a name nor", "scat -l [ADDR] PORT"),
    (&["host:9000", "9001"], 2, "host:9000: neither a name nor an address", "scat HOST PORT"),
    (&["file", "host", "9000"], 2, "too many arguments", "scat HOST PORT; for a file: < FILE"),
    (&["./file", "9000"], 2, "./file: a path", "scat HOST PORT < FILE"),
    (&["host:9000", "file"], 2, "host:9000: neither a name nor an address", "scat HOST PORT"),
    (&["-l", "-c", "tar xf -", "9000"], 2, "\"tar xf -\": neither", "scat -l PORT | PROGRAM"),
    (&["-l", "-c", "/bin/sh", "9000"], 2, "/bin/sh: a path", "scat HOST PORT < FILE"),
    (&["-", "host", "9000"], 2, "-: standard input and output are always used", "leave it out"),
    (&["host", " 9000"], 2, "\" 9000\": neither a host nor a port", "without the quotes and spaces: 9000"),
    (&["localhost 9000"], 2, "\"localhost 9000\": neither", "without the quotes and spaces: localhost 9000"),
    (&["localhost", "-9000"], 2, "-9000: a port has no dash", "write 9000"),
    // options that are not quite right
    (&["-psk", "file", "host", "9000"], 2, "-psk: a long option has two dashes", "write --psk"),
    (&["-peer=key", "host", "9000"], 2, "-peer: a long option has two dashes", "write --peer"),
    (&["--no-confrim", "host", "9000"], 2, "--no-confrim: no such option", "did you mean --no-confirm?"),
    (&["--nothing-like-it", "host", "9000"], 2, "--nothing-like-it: no such", "scat --help all"),
    (&["-w", "5m", "host", "9000"], 2, "-w 5m: not a number of seconds", "for five minutes: -w 300"),
    (&["\u{2013}l", "9000"], 2, "\u{2013}l: that is a long dash, not the - of options", "type it instead"),
    (&["\u{2014}psk", "file", "host", "9000"], 2, "\u{2014}psk: that is a long dash", "type it instead"),
    (&["--file", "file", "host", "9000"], 2, "--file: scat has no such option", "to send: scat HOST PORT < FILE"),
    (&["--hash", "host", "9000"], 2, "--hash: no such option", "scat --help all"),
    (&["-j", "host", "9000"], 2, "-j: no such option", "scat --help all"),
    (&["-n-v", "host", "9000"], 2, "-n-v: a dash among the letters", "scat --help all"),
    (&["-w", ".", "host", "9000"], 2, "-w .: not a number of seconds", "for five minutes: -w 300"),
    (&["-q", ".", "host", "9000"], 2, "-q .: not a number of seconds", "for five minutes: -q 300"),
    (&["-q", "host", "9000"], 2, "-q host: not a number of seconds", "for five minutes: -q 300"),
    (&["-w", "host", "9000"], 2, "-w host: not a number of seconds", "for five minutes: -w 300"),
    (&["-w", "0", "host", "9000"], 2, "-w 0: the time cannot be 0", "without -w"),
    (&["-i", "-", "host", "9000"], 2, "-i -: that takes the name of a file", "/dev/stdin"),
    (&["--genkey", "-"], 2, "--genkey -: that takes the name of a file", "./-"),
    (&["-i", "1", "host", "9000"], 2, "-i takes a key file, not netcat's interval", "leave it out"),
    (&["--peer", "host", "9000"], 2, "--peer host: not a public key", "--peer @FILE"),
    (&["--peer", "Cargo.toml", "host", "9000"], 2, "--peer Cargo.toml: that is a file", "write --peer @Cargo.toml"),
    (&["--psk", "secret123", "host", "9000"], 1, "secret123: no such file", "--psk takes a file; to make it: scat --genpsk secret123"),
    (&["-i", "no.key", "host", "9000"], 1, "no.key: no such file", "scat --genkey no.key"),
    // a file to send
    (&["Cargo.toml"], 2, "Cargo.toml is a file", "scat -l 9000 < Cargo.toml, and there: scat HOST 9000 > Cargo.toml"),
    (&["send", "Cargo.toml"], 2, "Cargo.toml is a file", "scat -l 9000 < Cargo.toml"),
    (&["-l", "Cargo.toml"], 2, "Cargo.toml is a file", "scat -l 9000 < Cargo.toml"),
    // other programs' addresses
    (&["http://example.org:9000/x"], 2, "a URL", "scat HOST PORT"),
    (&["https://example.org", "9000"], 2, "a URL", "scat HOST PORT"),
    (&["ann@host", "9000"], 2, "scat has no users", "scat HOST PORT"),
    (&["::1:9000"], 2, "where does the port begin?", "[::1]:9000"),
    (&["-l", "::1:9000"], 2, "where does the port begin?", "[::1]:9000"),
    (&["-l", "::1"], 2, "no port to listen on", "scat -l ::1 9000"),
    // impossible ports and addresses: no retry helps, so the status is never 3
    (&["127.0.0.1", "0"], 2, "port 0: nobody can listen there", "scat HOST PORT"),
    (&["127.0.0.1", "00"], 2, "port 0: nobody can listen there", "scat HOST PORT"),
    (&["127.0.0.1", "65536"], 2, "port 65536: not a number up to 65535", "1024 to 65535"),
    (&["127.0.0.1", "no-such-service"], 2, "port no-such-service: no such service", "as a number"),
    (&["-l", "no-such-service"], 2, "port no-such-service: no such service", "as a number"),
    (&["-n", "localhost", "9000"], 2, "-n allows numeric addresses only", "leave out -n"),
    (&["-4", "::1", "9000"], 2, "::1: an IPv6 address", "leave out -4"),
    (&["-6", "127.0.0.1", "9000"], 2, "127.0.0.1: an IPv4 address", "leave out -6"),
    (&["-s", "::1", "127.0.0.1", "9000"], 2, "-s has an address of the other IP version", "use IPv4 for both"),
    // TEST-NET-1, RFC 5737: no machine has this address
    (&["-l", "192.0.2.1", "9000"], 1, "192.0.2.1 is not an address of this machine", "leave it out"),
    (&["-s", "192.0.2.1", "127.0.0.1", "9000"], 1, "192.0.2.1 is not an address of this machine", "leave it out"),
    (&["-l", "no-such-address.invalid", "9000"], 1, "resolve no-such-address.invalid port 9000: ", "an address of this machine"),
    (&["-s", "no-such-address.invalid", "127.0.0.1", "9000"], 1, "resolve no-such-address.invalid port 0: ", "an address of this machine"),
];

#[test]
fn a_name_that_is_not_in_ascii_is_told_how_to_write_it() {
    let name = "b\u{fc}cher.example port 9000".into();
    let err = Error::Resolve { name, err: "unknown".into(), is_temporary: false };
    assert!(err.hint().unwrap().contains("xn--"));
}

#[test]
fn w_that_ran_out_has_no_empty_hint() {
    let stage = Stage::failing(&Error::HandshakeCut(None));
    assert_eq!(Error::Waited(Duration::from_secs(1), stage).hint(), None);
}

/// `scat listen 9000`. (A machine without a name server cannot tell.)
#[test]
fn a_name_that_nobody_has_may_be_a_word_for_listening() {
    let hint = |is_temporary| {
        let err = Error::Resolve { name: "listen port 9000".into(), err: "".into(), is_temporary };
        err.hint().map(String::from)
    };
    assert!(hint(false).unwrap().ends_with("to listen instead: scat -l 9000"));
    assert_eq!(hint(true), None);
}

#[test]
fn each_mistake_is_named_with_its_next_step_and_status() {
    // A retry can help.
    let (_taken, port) = closed_port(1);
    let cause = format!("connect 127.0.0.1 port {port}: connection refused");
    let next = format!("start the listener first: scat -l {port}");
    let port = port.to_string();
    let refused: Mistake = (&["127.0.0.1", &port], 3, &cause, &next);
    let mistakes: &[Mistake] = MISTAKES;
    for (args, code, cause, next) in mistakes.iter().chain([&refused]) {
        let ended = Scat::new(args).end();
        let said = ended.stderr.clone();
        assert_eq!(ended.code, Some(*code), "{args:?}: {said}");
        let (line, hint) = said.split_once('\n').unwrap_or_else(|| panic!("{args:?}: {said}"));
        assert!(line.starts_with("scat: ") && line.contains(cause), "{args:?}: {said}");
        assert!(hint.starts_with("scat: hint: ") && hint.contains(next), "{args:?}: {said}");
        assert_eq!(said.lines().count(), 2, "{args:?}: {said}");
        assert!(said.lines().all(|line| line.len() <= 80), "{args:?}: {said}");
    }
}

#[test]
fn options_of_the_netcat_family_say_what_to_do_instead() {
    for (option, next) in [
        ("-k", "a loop with --peer or --psk"),
        ("--keep-open", "a loop with --peer or --psk"),
        ("-e", "use a pipeline"),
        ("--exec=/bin/sh", "use a pipeline"),
        ("-u", "TCP only"),
        ("--udp", "TCP only"),
        ("-z", "nc -z"),
        ("-x", "EXEC:'scat --fd 3',nofork"),
        ("--proxy", "EXEC:'scat --fd 3',nofork"),
        ("-U", "--fd N"),
        ("--ssl", "always encrypts"),
        ("-C", "sed 's/$/\\r/' | scat HOST PORT"),
        ("-t", "telnet"),
        ("-o", "tee FILE"),
        ("-I", "to the system"),
        ("-V", "--version"),
        ("-W", "ends when both ends have ended"),
        ("-X", "EXEC:'scat --fd 3',nofork"),
        ("--send-only", "> /dev/null"),
        ("--recv-only", "< /dev/null"),
        ("-lvk", "a loop with --peer or --psk"),
    ] {
        Scat::new(&[option, "127.0.0.1", "1"])
            .end()
            .expect(2, "scat has no such option\nscat: hint: ")
            .expect(2, next);
    }
    // The hint suggests no loop: without verification it would let each caller try the words.
    let ended = Scat::new(&["-k", "-l", "0"]).end();
    assert!(!ended.stderr.contains("while"), "{}", ended.stderr);
}

#[test]
fn shapes_that_can_be_meant_are_accepted() {
    if !has_ipv6() {
        return;
    }
    // All at the same time.
    let listening = [
        (&["-l", "*:0"][..], "every address"),
        (&["-l", ":0"], "every address"),
        (&["-l", "*", "0"], "every address"),
        (&["-l", "[::1]:0"], "::1 port"),
        (&["-l", "[::1]", "0"], "::1 port"),
        (&["-l", "127.0.0.1:0"], "127.0.0.1 port"),
        (&["-lvv", "-q", "0", "-N", "-w.2", "0"], "every address"),
        (&["-l", "-q5", "-d", "0"], "every address"),
        (&["-l", "-q", "-1", "0"], "every address"),
    ]
    .map(|(args, at)| {
        let within: &[_] = if args.contains(&"-w.2") { &[] } else { &["-w", "0.2"] };
        (Scat::new(&[args, within].concat()), at)
    });
    for (scat, at) in listening {
        let ended = scat.end().expect(3, "no session in 0.2 s: still listening");
        ended.expect(3, &format!("listening on {at}"));
    }
    let taken = TcpListener::bind("[::1]:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let connecting = [&["[::1]", &port][..], &[&format!("[::1]:{port}")], &["::1", &port]]
        .map(|args| Scat::new(&[args, &["-w", "1"]].concat()));
    for scat in connecting {
        scat.end().expect(3, "still waiting for an answer from ::1 port");
    }
    // The value is attached to -l. The port is in use, so none is guessed.
    let ended = Scat::new(&[&format!("-l{port}"), "::1"]).end();
    ended.expect(1, &format!("port {port} is already in use")).expect(1, "choose another port");
}

#[test]
fn d_sends_nothing() {
    let (mut l, port) = Scat::listen();
    l.end_input();
    let mut c = Scat::new(&["-d", "127.0.0.1", &port.to_string()]);
    // scat does not read it, so the write may fail.
    let _ = c.stdin.as_mut().unwrap().write_all(b"from the script");
    let c = c.end_by_itself().expect(0, "");
    assert!(c.stdout.is_empty());
    assert!(l.end().expect(0, "").stdout.is_empty());
}

#[test]
fn callers_that_speak_something_else_are_told_once() {
    let (mut l, port) = Scat::listen();
    let callers: [(&[u8], &str); 5] = [
        (b"hello\n", "does not speak scat, but sends plain text, as nc does"),
        (b"\x16\x03\x01\x02\x00\x01\x00", "does not speak scat, but TLS"),
        (b"GET / HTTP/1.1\r\n\r\n", "does not speak scat, but HTTP"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "does not speak scat, but SSH"),
        (b"\xff\xff\xff\xff\xff\xff", "does not speak scat"),
    ];
    for _ in 0..2 {
        for (bytes, _) in callers {
            let mut caller = dial(port);
            caller.write_all(bytes).unwrap();
            // scat closes this connection.
            let _ = caller.read(&mut [0]);
        }
    }
    for (_, said) in callers {
        l.line(said);
    }
    l.end_input();
    Scat::connect(port).end().expect(0, "");
    let l = l.end().expect(0, "");
    assert_eq!(l.stderr.matches("does not speak scat").count(), callers.len(), "{}", l.stderr);
}

/// Starts a service of another protocol, for one caller: it sends `bytes`, then closes.
pub fn service(bytes: &'static [u8]) -> u16 {
    let (door, port) = door();
    scat::start(move || {
        let mut stream = door.accept().unwrap().0;
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    port
}

#[test]
fn a_service_that_speaks_something_else_is_named() {
    for (bytes, said) in [
        (&b"SSH-2.0-OpenSSH_9.9\r\n"[..], "the other end does not speak scat, but SSH"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "the other end does not speak scat, but HTTP"),
        (b"220 mail.example.org ESMTP\r\n", "but greets like a mail or file server"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "the other end does not speak scat, but TLS"),
        (b"", "the other end closed the connection without sending"),
    ] {
        let ended = Scat::connect(service(bytes)).end();
        ended.expect(3, said).expect(3, "hint: ");
    }
}

#[test]
fn an_expired_w_names_the_stage() {
    let ((_full, full_port), (_silent, silent_port)) = (full_door(), door());
    let connecting = Scat::connect_with(&["-w", "1"], full_port);
    let unanswered = Scat::connect_with(&["-w", "1"], silent_port);
    let alone = Scat::new(&["-w", "0.3", "-l", "0"]);
    let said = format!("no session in 1 s: still connecting to 127.0.0.1 port {full_port}");
    connecting.end().expect(3, &said);
    unanswered
        .end()
        .expect(3, "still waiting for an answer from 127.0.0.1")
        .expect(3, "is scat running there?");
    alone.end().expect(3, "still listening").expect(3, "hint: can");
    // After a caller, the hint is another one.
    let (mut l, port) = Scat::listen_with(&["-w", "2"]);
    dial(port).write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    l.line("does not speak scat");
    l.end_by_itself().expect(3, "hint: a caller was rejected: see the message above");
}

#[test]
fn after_3_s_of_nothing_it_says_what_it_waits_for() {
    let (_silent, port) = door();
    let mut scat = Scat::connect(port);
    assert!(!scat.ends_within(Duration::from_secs(1)));
    scat.line(&format!("scat: still waiting for an answer from 127.0.0.1 port {port}"));
    scat.signal(Signal::TERM);
    scat.end().expect_signal(Signal::TERM);
}

#[test]
fn a_directory_as_input_is_refused_before_anybody_has_come() {
    for args in [&["-l", "127.0.0.1", "0"][..], &["127.0.0.1", "1"]] {
        let directory = File::open(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let ended = Scat::between(args, directory, Stdio::piped()).end();
        let ended = ended.expect(1, "read standard input: is a directory");
        assert!(!ended.stderr.contains("listening"), "{}", ended.stderr);
    }
}

#[test]
fn data_and_messages_for_one_file_are_refused_before_listening() {
    let place = Place::new("nohup.out");
    let out = || File::options().append(true).create(true).open(&place).unwrap();
    let mut command = scat::command(&["-l", "127.0.0.1", "0"]);
    // nohup gives its command such an input, which cannot be read.
    let null = File::options().write(true).open("/dev/null").unwrap();
    let mut child = command.stdin(null).stdout(out()).stderr(out()).spawn().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let said = std::fs::read_to_string(&place).unwrap();
    assert!(said.contains("messages go to the same file; redirect them: 2>log"), "{said}");
    assert!(!said.contains("listening"), "{said}");
}

#[test]
fn no_argument_or_path_writes_a_line_of_its_own() {
    let forged = "x\nscat: verified.\n\u{1b}[2J\u{9b}2J";
    let at = format!("@{forged}");
    let bracketed = format!("[{forged}]:9000");
    for args in [
        &["-n", forged, "9"][..],
        &["127.0.0.1", forged],
        &[&bracketed],
        &["-l", forged],
        &["--psk", forged, "h", "9"],
        &["--peer", &at, "h", "9"],
        &["--peer", forged, "h", "9"],
        &["-w", forged, "h", "9"],
        &["-i", forged, "h", "9"],
        &[&format!("-{forged}"), "h", "9"],
        &[&format!("--{forged}"), "h", "9"],
        &["-v", "-s", forged, "127.0.0.1", "9"],
    ] {
        let ended = Scat::new(args).end();
        assert!(ended.code == Some(1) || ended.code == Some(2), "{args:?}: {}", ended.stderr);
        let lines = ended.stderr.lines();
        assert!(lines.clone().all(|line| line.starts_with("scat: ")), "{}", ended.stderr);
        assert!(!lines.clone().any(|line| line == "scat: verified."), "{}", ended.stderr);
        let is_plain = lines.clone().all(|line| !line.contains(char::is_control));
        assert!(is_plain, "{:?}", ended.stderr);
    }
}

#[test]
fn a_port_below_1024_is_roots() {
    let start = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let is_root = rustix::process::geteuid().is_root();
    if is_root || start.is_ok_and(|start| start.trim().parse::<u16>().is_ok_and(|at| at <= 1023)) {
        return skip("this user may listen below port 1024");
    }
    let ended = Scat::new(&["-l", "127.0.0.1", "1023"]).end();
    ended.expect(1, "port 1023 is for root only").expect(1, "from 1024 up");
}
