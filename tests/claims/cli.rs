//! The command line: netcat's habits, and mistakes.

use crate::support::scat::{self, Ended, Place, Scat};
use crate::support::{has_ipv6, skip};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::Stdio;

/// Runs scat without input until it exits.
fn run(args: &[&str]) -> Ended {
    Scat::new(args).end()
}

/// Starts scat with `port` in place of `PORT`.
fn to(port: u16, args: &[&str]) -> Scat {
    let args: Vec<String> = args.iter().map(|arg| arg.replace("PORT", &port.to_string())).collect();
    Scat::new(&args.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Ends both without any data, and expects both to succeed.
fn end_both(listener: Scat, mut connector: Scat) -> (Ended, Ended) {
    connector.end_input();
    (listener.end().expect(0, ""), connector.end().expect(0, ""))
}

#[test]
fn help_and_version_exit_0_on_stdout() {
    for (args, said) in [("--help", "Usage: scat"), ("-h", "Usage: scat"), ("--version", "scat ")] {
        let ended = run(&[args]).expect(0, "");
        assert!(String::from_utf8(ended.stdout).unwrap().starts_with(said), "{args}");
        assert_eq!(ended.stderr, "");
    }
    // --help fits one screen; --help all has everything.
    let text = |args: &[&str]| String::from_utf8(run(args).expect(0, "").stdout).unwrap();
    let screen = text(&["--help"]);
    assert!(screen.lines().count() <= 24 && screen.lines().all(|line| line.len() <= 80));
    assert!(text(&["--help", "all"]).contains("--status-fd"));
    // --help counts at any position.
    assert_eq!(text(&["-l", "--help", "-v", "9"]), screen);
}

#[test]
fn command_lines_that_make_no_sense_are_2() {
    let table: &[(&[&str], &str)] = &[
        (&[], "no host and port to connect to"),
        (&["-l"], "no port to listen on"),
        (&["example.org"], "no port"),
        (&["::1"], "no port"),
        (&["127.0.0.1", "9", "9"], "too many arguments"),
        (&["127.0.0.1", "9", "9", "9"], "too many arguments"),
        (&["-l", "127.0.0.1", "9", "9"], "-l takes one port"),
        (&["-l", "-p", "9", "127.0.0.1", "9"], "-l takes one port"),
        (&["-l", "-p", "9", "8"], "-l takes one port"),
        (&["-l", "-s", "127.0.0.1", "127.0.0.1", "9"], "two addresses"),
        (&["-46", "127.0.0.1", "9"], "exclude each other"),
        (&["-c", "--no-confirm", "127.0.0.1", "9"], "-c and --no-confirm exclude each other"),
        (&["-w", "soon", "127.0.0.1", "9"], "not a number of seconds"),
        (&["-w5", "-w6", "127.0.0.1", "9"], "-w is given twice"),
        (&["-w0", "127.0.0.1", "9"], "-w 0: the time cannot be 0"),
        (&["-w-1", "127.0.0.1", "9"], "not a number of seconds"),
        (&["-wNaN", "127.0.0.1", "9"], "not a number of seconds"),
        (&["-winf", "127.0.0.1", "9"], "not a number of seconds"),
        (&["127.0.0.1", "9", "-w"], "no value"),
        (&["-j", "127.0.0.1", "9"], "-j: no such option"),
        (&["-lj", "9"], "-j: no such option"),
        (&["--nonsense", "127.0.0.1", "9"], "--nonsense: no such option"),
        (&["--listen=yes", "9"], "takes no value"),
        (&["-k", "-l", "9"], "-k: scat has no such option"),
        (&["-lkp", "9"], "-k: scat has no such option"),
        (&["-e", "/bin/sh", "-l", "9"], "-e: scat has no such option"),
        (&["-u", "127.0.0.1", "9"], "-u: scat has no such option"),
        (&["-z", "127.0.0.1", "9"], "-z: scat has no such option"),
        (&["-l", "70000"], "port 70000"),
        (&["127.0.0.1", "65536"], "port 65536"),
        (&["127.0.0.1:70000"], "port 70000"),
        (&["-p", "65536", "127.0.0.1", "9"], "port 65536"),
        (&["127.0.0.1", ""], "port"),
        (&["-l", ""], "port"),
    ];
    for (args, said) in table {
        // A command line that is accepted by mistake would wait forever.
        let words = [&["-w5"], *args].concat();
        let words = if args.iter().any(|arg| arg.starts_with("-w")) { args } else { &words[..] };
        let ended = run(words);
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.stderr);
        let first = ended.stderr.lines().next().unwrap();
        assert!(first.contains(said), "{args:?}: {first}");
        ended.expect(2, "hint: ");
    }
}

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
        let said = end_both(listener, to(port, args)).0.stderr;
        let from = if args.contains(&"-s") { "127.0.0.3 port" } else { "127.0.0." };
        assert!(said.contains(&format!("connection from {from}")), "{said}");
    }
}

#[test]
fn ipv6_addresses_work_bare_and_in_brackets() {
    if !has_ipv6() {
        return;
    }
    for args in [&["::1", "PORT"][..], &["[::1]:PORT"], &["-6", "::1", "PORT"]] {
        let (listener, port) = Scat::new(&["-l6", "::1", "0"]).with_port();
        let (listener, connector) = end_both(listener, to(port, args));
        listener.expect(0, "connection from ::1 port");
        connector.expect(0, "connected to ::1 port");
    }
}

#[test]
fn service_names_stand_for_their_ports() {
    let services = std::fs::read_to_string("/etc/services").unwrap_or_default();
    if !services.lines().any(|line| line.starts_with("discard") && line.contains("9/tcp")) {
        return skip("discard is not in /etc/services");
    }
    let said = run(&["-v", "127.0.0.1", "discard"]).expect(3, "port discard").stderr;
    assert!(said.contains("connecting to 127.0.0.1 port 9"), "{said}");
}

#[test]
fn a_host_may_be_named_help() {
    let ended = run(&["-w20", "-n", "help", "9"]).expect(2, "resolve help port 9");
    assert!(ended.stdout.is_empty());
}

/// Arguments are bytes. One that must be text is named in the message; the name of a key file
/// may be any bytes.
#[test]
fn an_argument_that_is_not_text_is_named_and_a_key_file_may_be_one() {
    let odd = |before: &[u8]| OsString::from_vec([before, b"caf\xe9"].concat());
    let of = |args: Vec<OsString>| {
        let mut command = std::process::Command::new(scat::program());
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped());
        Scat::spawn(command).end()
    };
    for (args, named) in [
        (vec![odd(b""), "9".into()], "\"caf\\xE9\": this argument is not valid UTF-8"),
        (vec!["-l".into(), odd(b"")], "\"caf\\xE9\": this"),
        (vec!["-s".into(), odd(b""), "h".into(), "9".into()], "\"caf\\xE9\": this"),
        (vec![odd(b"--"), "h".into(), "9".into()], "\"--caf\\xE9\": this"),
        (vec![odd(b"-lv\xff"), "9".into()], "\"-lv\\xFFcaf\\xE9\": this"),
        (vec![odd(b"--peer="), "h".into(), "9".into()], "\"caf\\xE9\": this"),
    ] {
        of(args).expect(2, named);
    }
    let place = Place::new("");
    let directory = place.arg();
    std::fs::create_dir(directory).unwrap();
    let path = |before: &[u8]| odd(&[before, directory.as_bytes(), b"/"].concat());
    let public = of(vec!["--genkey".into(), path(b"")]).expect(0, "").stdout;
    assert_eq!(of(vec![path(b"--pubkey=")]).expect(0, "").stdout, public);
    for attached in [path(b"-i"), path(b"--psk="), path(b"--peer=@")] {
        // The messages show that scat has read the file.
        let ended = of(vec![attached, "127.0.0.1".into(), "1".into()]);
        assert!(!ended.stderr.contains("UTF-8") && ended.code != Some(2), "{}", ended.stderr);
        assert!(!ended.stderr.contains("no such file"), "{}", ended.stderr);
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn names_that_do_not_resolve_are_3_and_1_for_ones_own() {
    // Too long for the DNS, so no server is asked: RFC 1035 section 2.3.4.
    let name = "a".repeat(64);
    run(&[&name, "9"]).expect(3, &format!("resolve {name} port 9: "));
    run(&["-l", &name, "9"]).expect(1, &format!("resolve {name} port 9: "));
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
        .expect(0, "complete: 5 bytes sent, in ");
    listener.expect(0, "complete: 5 bytes received, in ");
}
