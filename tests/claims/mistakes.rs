//! The mistakes that people make: each gets a line that names the cause and one that
//! says what to do next, and the exit status that says whether to try again.

use crate::support::scat::{self, Place, Scat, dial, door, full_door};
use crate::support::{has_ipv6, skip};
use ::scat::error::Error;
use rustix::process::Signal;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

/// Arguments, exit status, the cause, the next step.
#[rustfmt::skip]
const MISTAKES: &[(&[&str], i32, &str, &str)] = &[
    // nothing, or half of it
    (&[], 2, "nowhere to connect to", "scat HOST PORT, or to listen: scat -l PORT"),
    (&["-l"], 2, "no port to listen on", "scat -l PORT"),
    (&["help"], 2, "no port for the host help", "for the options: scat --help"),
    (&["9000"], 2, "9000: a port without a host", "scat HOST 9000, or to listen there: scat -l 9000"),
    (&[":9000"], 2, ":9000: a port without a host", "scat -l 9000"),
    (&["host:"], 2, "no port for the host host", "scat host PORT"),
    (&["-p", "9000", "host"], 2, "-p 9000 is the one to connect from", "scat host 9000"),
    (&["-p", "9000"], 2, "nowhere to connect to", "to listen there: scat -l 9000"),
    (&["", "9000"], 2, "an empty word in the place of an address", "scat HOST PORT"),
    (&["[]", "9000"], 2, "an empty word", "scat HOST PORT"),
    (&["-s", "", "localhost", "9000"], 2, "an empty word", "scat HOST PORT"),
    // in the wrong place
    (&["9000", "localhost"], 2, "the host comes first", "scat localhost 9000"),
    (&["9000", "9001"], 2, "9000: a port in the place of the host", "scat HOST PORT"),
    (&["-l", "9000", "file"], 2, "the address comes first", "to write to a file: scat -l 9000 > file"),
    (&["-l", "9000", "9001"], 2, "two ports to listen on", "scat -l PORT"),
    (&["-l", "-p", "9000", "9001"], 2, "two ports to listen on", "scat -l PORT"),
    (&["-l", "-s", "::1", "::1", "9000"], 2, "two addresses to listen on", "scat -l [ADDR] PORT"),
    (&["-l", "localhost:9000", "-p", "9001"], 2, "localhost:9000: neither a name nor", "scat -l [ADDR] PORT"),
    (&["host:9000", "9001"], 2, "host:9000: neither a name nor an address", "scat HOST PORT"),
    (&["file", "host", "9000"], 2, "too many arguments", "to send a file: scat HOST PORT < FILE"),
    (&["./file", "9000"], 2, "./file: neither a host nor a port", "scat HOST PORT < FILE"),
    (&["host:9000", "file"], 2, "too many arguments", "scat HOST PORT < FILE"),
    (&["-l", "-c", "tar xf -", "9000"], 2, "tar xf -: neither", "scat -l PORT | PROGRAM"),
    (&["-l", "-c", "/bin/sh", "9000"], 2, "/bin/sh: neither", "scat HOST PORT < FILE"),
    (&["-", "host", "9000"], 2, "-: standard input and output are always used", "leave it out"),
    (&["host", " 9000"], 2, " 9000: neither a host nor a port", "without the white space"),
    (&["-n-v", "host", "9000"], 2, "-n-v: a dash among the letters", "see scat --help"),
    (&["-q", "host", "9000"], 2, "-q host: not a number of seconds", "see scat --help"),
    (&["-w", "host", "9000"], 2, "-w host: not a number of seconds", "see scat --help"),
    (&["-w", "0", "host", "9000"], 2, "-w 0: no time at all", "without -w"),
    (&["--peer", "host", "9000"], 2, "--peer host: not a public key", "--pubkey prints it"),
    (&["-i", "-", "host", "9000"], 2, "-i -: a file is wanted", "/dev/stdin"),
    (&["--genkey", "-"], 2, "--genkey -: a file is wanted", "./-"),
    (&["-i", "1", "host", "9000"], 2, "-i names a key file", "leave it out"),
    (&["--peer", "key.pub", "host", "9000"], 2, "not a public key", "--peer @FILE"),
    // other programs' addresses
    (&["http://example.org:9000/x"], 2, "a URL, not a host", "scat example.org 9000"),
    (&["https://example.org", "9000"], 2, "a URL, not a host", "scat HOST PORT"),
    (&["TCP:localhost:9000"], 2, "an address of socat's", "scat HOST PORT"),
    (&["TCP-LISTEN:9000"], 2, "an address of socat's", "scat HOST PORT"),
    (&["ann@host", "9000"], 2, "scat knows no users", "scat HOST PORT"),
    (&["::1:9000"], 2, "the port of an IPv6 address is not clear", "[::1]:9000"),
    (&["-l", "::1:9000"], 2, "the port of an IPv6 address is not clear", "[::1]:9000"),
    (&["-l", "::1"], 2, "no port to listen on", "scat -l ::1 PORT"),
    // ports and addresses that cannot be: what no retry can mend is never a 3
    (&["127.0.0.1", "0"], 2, "port 0: nobody can listen there", "scat HOST PORT"),
    (&["127.0.0.1", "00"], 2, "port 0: nobody can listen there", "scat HOST PORT"),
    (&["127.0.0.1", "65536"], 2, "port 65536: not a number up to 65535", "1024 to 65535"),
    (&["127.0.0.1", "no-such-service"], 2, "port no-such-service: no such service", "as a number"),
    (&["-l", "no-such-service"], 2, "port no-such-service: no such service", "as a number"),
    (&["-n", "localhost", "9000"], 2, "not an address, and -n says not to ask", "leave out -n"),
    (&["-4", "::1", "9000"], 2, "::1: an IPv6 address", "leave out -4"),
    (&["-6", "127.0.0.1", "9000"], 2, "127.0.0.1: an IPv4 address", "leave out -6"),
    (&["-s", "::1", "127.0.0.1", "9000"], 2, "-s is an address of the other kind", "IPv4 goes with IPv4"),
    // TEST-NET-1, RFC 5737: nobody's address
    (&["-l", "192.0.2.1", "9000"], 1, "bind 192.0.2.1 port 9000: ", "not an address of this machine"),
    (&["-s", "192.0.2.1", "127.0.0.1", "9000"], 1, "bind 192.0.2.1 port 0: ", "not an address of this machine"),
    (&["-l", "no-such-address.invalid", "9000"], 1, "resolve no-such-address.invalid port 9000: ", "an address of this machine"),
    (&["-s", "no-such-address.invalid", "127.0.0.1", "9000"], 1, "resolve no-such-address.invalid port 0: ", "an address of this machine"),
    // what a retry can mend
    (&["127.0.0.1", "1"], 3, "connect 127.0.0.1 port 1: connection refused", "nobody listens there yet? at the other end: scat -l 1"),
];

#[test]
fn a_name_that_is_not_in_ascii_is_told_how_to_write_it() {
    let name = "b\u{fc}cher.example port 9000".into();
    let err = Error::Resolve { name, why: "unknown".into(), is_temporary: false };
    assert!(err.hint().unwrap().contains("xn--"));
}

#[test]
fn each_mistake_is_named_with_its_next_step_and_status() {
    for (args, code, cause, next) in MISTAKES {
        let ended = Scat::new(args).end();
        let said = ended.stderr.clone();
        assert_eq!(ended.code, Some(*code), "{args:?}: {said}");
        let (line, hint) = said.split_once('\n').unwrap_or_else(|| panic!("{args:?}: {said}"));
        assert!(line.starts_with("scat: ") && line.contains(cause), "{args:?}: {said}");
        assert!(hint.starts_with("scat: hint: ") && hint.contains(next), "{args:?}: {said}");
        assert_eq!(said.lines().count(), 2, "{args:?}: {said}");
        assert!(said.lines().all(|line| line.len() <= 100), "{args:?}: {said}");
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
        ("-z", "nc -z does"),
        ("-x", "--fd takes"),
        ("--proxy", "--fd takes"),
        ("-U", "--fd takes"),
        ("--ssl", "always encrypts"),
        ("-C", "sed 's/$/\\r/' | scat HOST PORT"),
        ("-t", "telnet"),
        ("-o", "tee FILE"),
        ("-I", "to the system"),
        ("-V", "--version"),
        ("-W", "counts no packets"),
        ("-X", "--fd takes"),
        ("--send-only", "> /dev/null"),
        ("--recv-only", "< /dev/null"),
        ("-lvk", "a loop with --peer or --psk"),
    ] {
        let ended = Scat::new(&[option, "127.0.0.1", "1"]).end().expect(2, next);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
    // A loop of listeners that verify nobody would let each caller try the words.
    let ended = Scat::new(&["-k", "-l", "0"]).end();
    assert!(!ended.stderr.contains("while"), "{}", ended.stderr);
}

#[test]
fn shapes_that_can_be_meant_are_accepted() {
    if !has_ipv6() {
        return;
    }
    for (args, at) in [
        (&["-l", "*:0"][..], "every address"),
        (&["-l", ":0"], "every address"),
        (&["-l", "*", "0"], "every address"),
        (&["-l", "[::1]:0"], "::1 port"),
        (&["-l", "[::1]", "0"], "::1 port"),
        (&["-l", "127.0.0.1:0"], "127.0.0.1 port"),
        (&["-lvv", "-q", "0", "-N", "-w.2", "0"], "every address"),
        (&["-l", "-q5", "-d", "0"], "every address"),
        (&["-l", "-q", "-1", "0"], "every address"),
    ] {
        let args = [args, &["-w", "0.2"]].concat();
        let args = if args.contains(&"-w.2") { &args[..args.len() - 2] } else { &args };
        let ended = Scat::new(args).end().expect(3, "no session within 0.2 s: still listening");
        assert!(ended.stderr.contains(&format!("listening on {at}")), "{}", ended.stderr);
    }
    let taken = TcpListener::bind("[::1]:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for args in [&["[::1]", &port][..], &[&format!("[::1]:{port}")], &["::1", &port]] {
        let args = [args, &["-w", "0.2"]].concat();
        Scat::new(&args).end().expect(3, "still waiting for an answer from ::1 port");
    }
    // Attached: a port that somebody has, so that none is guessed.
    let ended = Scat::new(&[&format!("-l{port}"), "::1"]).end();
    ended.expect(1, &format!("bind ::1 port {port}: address ")).expect(1, "or 0 for a free one");
}

#[test]
fn d_sends_nothing() {
    let (mut l, port) = Scat::listen();
    l.end_input();
    let mut c = Scat::new(&["-d", "127.0.0.1", &port.to_string()]);
    // Nobody reads it.
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
            // It is let go.
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

/// Somebody else's service, for one caller: greets with `bytes`, then closes.
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
        (b"", "the other end closed without a word"),
    ] {
        let ended = Scat::connect(service(bytes)).end();
        ended.expect(3, said).expect(3, "hint: is ");
    }
}

#[test]
fn w_that_ran_out_says_at_which_stage() {
    let (_full, port) = full_door();
    let ended = Scat::new(&["-w", "0.3", "127.0.0.1", &port.to_string()]).end();
    ended.expect(3, &format!("no session within 0.3 s: still connecting to 127.0.0.1 port {port}"));

    let (_silent, port) = door();
    let ended = Scat::connect_with(&["-w", "0.3"], port).end();
    ended.expect(3, "still waiting for an answer from 127.0.0.1").expect(3, "is it scat");
    Scat::new(&["-w", "0.3", "-l", "0"]).end().expect(3, "still listening").expect(3, "hint: can");
    // Somebody can.
    let (mut l, port) = Scat::listen_with(&["-w", "2"]);
    dial(port).write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    l.line("does not speak scat");
    l.end_by_itself().expect(3, "hint: somebody came, and was sent away as said above");
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
    // As nohup has it: an input that cannot be read.
    let null = File::options().write(true).open("/dev/null").unwrap();
    let mut child = command.stdin(null).stdout(out()).stderr(out()).spawn().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let said = std::fs::read_to_string(&place).unwrap();
    assert!(
        said.contains("messages would end up in the data; 2>log puts them elsewhere"),
        "{said}"
    );
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
    ended.expect(1, "bind 127.0.0.1 port 1023: permission denied").expect(1, "take a higher one");
}
