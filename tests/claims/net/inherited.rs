//! `--fd`: a connection that another program has made.

use crate::support::peer::{self, Handshake, Options, Role};
use crate::support::pty::{self, Terminal};
use crate::support::scat::{Place, Scat, door, fifo, file, program};
use crate::support::{hurried, skip};
use rustix::fs::OFlags;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;

/// Starts scat with this socket as descriptor 3, and this file as its input.
fn on(socket: impl Into<OwnedFd>, args: &[&str], input: &str) -> Scat {
    words_on(&[program()], socket, args, input)
}

/// The same with a short limit for the handshake.
fn hurried_on(socket: impl Into<OwnedFd>, args: &[&str], input: &str) -> Scat {
    words_on(&hurried::words(), socket, args, input)
}

fn words_on(words: &[String], socket: impl Into<OwnedFd>, args: &[&str], input: &str) -> Scat {
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" --fd 3 3<&0 <\"$0\"", input]).args(words).args(args);
    command.stdin(Stdio::from(socket.into())).stdout(Stdio::piped());
    Scat::spawn(command)
}

/// The pre-shared key file that all tests here use.
fn psk() -> &'static str {
    static PSK: OnceLock<Place> = OnceLock::new();
    PSK.get_or_init(|| made("--genpsk").0).arg()
}

/// Makes a key file. Returns it with what scat prints.
fn made(option: &str) -> (Place, String) {
    let place = Place::new("fd-key");
    let printed = Scat::new(&[option, place.arg()]).end().expect(0, "").stdout;
    (place, String::from_utf8(printed).unwrap().trim().to_owned())
}

/// Both ends of a TCP connection.
fn tcp_pair() -> (TcpStream, TcpStream) {
    let (door, port) = door();
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    (door.accept().unwrap().0, stream)
}

fn is_blocking(socket: &UnixStream) -> bool {
    !rustix::fs::fcntl_getfl(socket).unwrap().contains(OFlags::NONBLOCK)
}

#[test]
fn both_roles_run_over_a_unix_socket_and_leave_it_blocking_for_those_who_share_it() {
    let (of_l, of_c) = UnixStream::pair().unwrap();
    let shared = [of_l.try_clone().unwrap(), of_c.try_clone().unwrap()];
    let (from_l, from_c) = (file("from-l", b"from the listener"), file("from-c", b"from c"));
    let mut l = on(of_l, &["-lv", "--psk", psk()], from_l.arg());
    let mut c = on(of_c, &["-v", "--psk", psk()], from_c.arg());
    l.line("scat: verified by pre-shared key");
    c.line("scat: verified by pre-shared key");
    assert!(shared.iter().all(is_blocking));
    assert_eq!(l.end().expect(0, "").stdout, b"from c");
    assert_eq!(c.end().expect(0, "").stdout, b"from the listener");
    assert!(shared.iter().all(is_blocking));
}

/// Copies bytes from one to the other.
fn carry(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
}

#[test]
fn two_dial_outs_meet_at_a_relay_and_the_clock_starts_at_the_first_byte() {
    let (c_side, c_dialed) = tcp_pair();
    let (l_side, l_dialed) = tcp_pair();
    let mut l = hurried_on(l_dialed, &["-lv", "--psk", psk()], "/dev/null");
    let input = file("dialed", b"met");
    let mut c = hurried_on(c_dialed, &["-v", "--psk", psk()], input.arg());
    // A third scat, started last, whose caller has begun: when its limit passes, so would those of
    // the other two.
    let (mut slow_side, slow_dialed) = tcp_pair();
    let slow = hurried_on(slow_dialed, &["-l", "--psk", psk()], "/dev/null");
    slow_side.write_all(&peer::preface(Role::Connector, true)[..1]).unwrap();
    let slow = slow.end().expect(3, "caller rejected: too slow");
    assert!(slow.stderr.starts_with("scat: 127.0.0.1 port "), "{}", slow.stderr);
    carry(c_side.try_clone().unwrap(), l_side.try_clone().unwrap());
    carry(l_side, c_side);
    l.line("connection from 127.0.0.1 port ");
    c.line("connected to 127.0.0.1 port ");
    assert_eq!(l.end().expect(0, "").stdout, b"met");
    c.end().expect(0, "");
}

#[test]
fn w_limits_the_wait_on_a_given_connection_in_both_roles() {
    for role in [&["-l"][..], &[]] {
        let (_silent, socket) = UnixStream::pair().unwrap();
        let args = [role, &["-w", "0.2", "--psk", psk()]].concat();
        on(socket, &args, "/dev/null").end().expect(3, "no session in 0.2 s");
    }
}

#[test]
fn usr1_tells_that_a_caller_is_waited_for() {
    let (mut caller, socket) = UnixStream::pair().unwrap();
    let key = fifo("fd-usr1");
    let mut l = on(socket, &["-l", "--psk", key.arg()], "/dev/null");
    // This open waits until scat reads the FIFO.
    let mut writer = File::options().write(true).open(&key).unwrap();
    writer.write_all(&std::fs::read(psk()).unwrap()).unwrap();
    drop(writer);
    l.asked("still waiting for the caller");
    caller.write_all(&peer::preface(Role::Connector, true)).unwrap();
    l.asked("still waiting for the caller");
    drop(caller);
    l.end().expect(3, "caller rejected: closed before the handshake");
}

#[test]
fn the_one_caller_of_a_given_connection_decides_the_status() {
    let (other_psk, _) = made("--genpsk");
    let (own, own_key) = made("--genkey");
    let (_, wanted) = made("--genkey");
    let (identity, its_key) = made("--genkey");
    let pinned = ["-l", "-i", own.arg(), "--peer", &wanted];
    let with_psk = ["-l", "--psk", psk()];
    // The caller is another scat. How each of the two ends.
    for (l_args, c_args, l_code, l_said, c_code) in [
        (
            &with_psk[..],
            &["--psk", other_psk.arg()][..],
            4,
            "caller rejected: the pre-shared keys",
            4,
        ),
        (
            &with_psk,
            &["--peer", &own_key],
            4,
            "caller rejected: only one side has a pre-shared key",
            4,
        ),
        (
            &pinned,
            &["-i", identity.arg(), "--peer", &own_key],
            4,
            "caller rejected: its key is not one of --peer",
            4,
        ),
    ] {
        let (of_l, of_c) = UnixStream::pair().unwrap();
        let (l, c) = (on(of_l, l_args, "/dev/null"), on(of_c, c_args, "/dev/null"));
        let said = l.end().expect(l_code, l_said).stderr;
        assert_eq!(said.contains(&format!("unverified key: {its_key}")), c_args[0] == "-i");
        assert_eq!(c.end().code, Some(c_code), "{l_args:?} {c_args:?}");
    }
    // The caller is no scat.
    for (sent, code, said) in [
        (&b""[..], 3, "caller rejected: closed before the handshake"),
        (&peer::preface(Role::Listener, true)[..], 4, "caller rejected: listens as well"),
        (&b"GET / HTTP/1.0\r\n\r\n"[..], 3, "caller rejected: does not speak scat"),
        (&peer::preface(Role::Connector, true)[..], 3, "caller rejected: closed before"),
    ] {
        let (mut stranger, socket) = UnixStream::pair().unwrap();
        let l = on(socket, &with_psk, "/dev/null");
        stranger.write_all(sent).unwrap();
        stranger.shutdown(Shutdown::Write).unwrap();
        l.end().expect(code, said);
    }
}

#[test]
fn a_rejected_caller_that_stays_is_reported_with_its_key() {
    let (own, _) = made("--genkey");
    let (_, wanted) = made("--genkey");
    let (mut caller, socket) = tcp_pair();
    let args = ["-l", "-i", own.arg(), "--peer", &wanted];
    let l = hurried_on(socket, &args, "/dev/null");
    let options = Options { id: 1, ..Options::default() };
    let mut handshake = Handshake::connect(&mut caller, options).unwrap();
    caller.write_all(&handshake.flight3().unwrap()).unwrap();
    let ended = l.end().expect(4, "caller rejected: its key is not one of --peer");
    assert!(ended.stderr.contains("unverified key: scat-public:"), "{}", ended.stderr);
    drop(caller);
}

#[test]
fn a_connection_that_was_reset_before_scat_started_is_3() {
    let (stream, other) = tcp_pair();
    socket2::SockRef::from(&other).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(other);
    on(stream, &["-l", "--psk", psk()], "/dev/null").end().expect(3, "connection reset by peer");
}

#[test]
fn a_descriptor_that_is_no_connection_is_2() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.connect(udp.local_addr().unwrap()).unwrap();
    let unconnected = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let place = Place::new("fd-listening");
    for (descriptor, said) in [
        (OwnedFd::from(udp), "--fd 3: not a stream socket"),
        (TcpListener::bind("127.0.0.1:0").unwrap().into(), "--fd 3: not connected; a listening"),
        (UnixListener::bind(&place).unwrap().into(), "--fd 3: not connected; a listening"),
        (unconnected.unwrap().into(), "--fd 3: not connected"),
        (std::fs::File::open("/dev/null").unwrap().into(), "--fd 3: not a socket"),
    ] {
        on(descriptor, &["--psk", psk()], "/dev/null").end().expect(2, said);
    }
    for (fd, said) in [
        ("399", "--fd 399: not open"),
        ("-1", "--fd -1: not a file descriptor"),
        ("three", "--fd three: not a file descriptor"),
        ("2147483648", "--fd 2147483648: not a file descriptor"),
    ] {
        Scat::new(&["--fd", fd]).end().expect(2, said);
    }
    Scat::new(&["--fd", "3", "127.0.0.1", "9"]).end().expect(2, "no address or port");
}

#[test]
fn a_connection_that_is_a_standard_stream_as_well_is_2_and_carries_nothing() {
    for (redirections, said) in [
        ("--fd 0 2>&2", "--fd 0: 0 to 2 carry data"),
        ("--fd 1 >&0", "--fd 1: 0 to 2 carry data"),
        ("--fd 3 3<&0", "standard input is the same connection"),
        ("--fd 3 3<&0 </dev/null >&3", "standard output is the same connection"),
    ] {
        let (mut stranger, socket) = UnixStream::pair().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec \"$@\" {redirections}"), "sh", &program()]);
        command.stdin(Stdio::from(OwnedFd::from(socket))).stdout(Stdio::piped());
        Scat::spawn(command).end().expect(2, said);
        let mut sent = Vec::new();
        stranger.read_to_end(&mut sent).unwrap();
        assert_eq!(sent, b"", "{redirections}");
    }
}

#[test]
fn fd_without_verification_is_2_and_carries_nothing() {
    for args in [&["-l"][..], &[], &["-l", "--no-confirm"], &["--no-confirm"]] {
        let (mut stranger, socket) = UnixStream::pair().unwrap();
        let ended = on(socket, args, "/dev/null").end();
        ended.expect(2, "--fd needs --peer, --psk or -c").expect(2, "keep guessing the words");
        let mut sent = Vec::new();
        stranger.read_to_end(&mut sent).unwrap();
        assert_eq!(sent, b"", "{args:?}");
    }
}

#[test]
fn the_ceremony_is_held_over_a_given_connection_without_an_address() {
    if !pty::is_available() {
        return;
    }
    let (of_l, of_c) = UnixStream::pair().unwrap();
    let (mut at_l, mut at_c) = (Terminal::new(), Terminal::new());
    let start = |at: &Terminal, socket: UnixStream, role: &[&str]| {
        let args = [role, &["-c", "--fd", "3"]].concat();
        let mut command = at.shell("exec \"$@\" 3<&0 </dev/null", &args);
        command.stdin(Stdio::from(OwnedFd::from(socket)));
        Scat::spawn(command)
    };
    let (l, c) = (start(&at_l, of_l, &["-l"]), start(&at_c, of_c, &[]));
    at_l.wait_for("scat: connected\r\nscat: check who");
    at_l.wait_for("you say ");
    let half = at_l.wait_for("\r\n");
    at_c.wait_for("scat: connected\r\nscat: check who");
    at_c.wait_for("they say: ");
    at_c.enter(half.split('(').next().unwrap());
    at_c.wait_for("you answer ");
    let half = at_c.wait_for("\r\n");
    at_l.wait_for("they answer: ");
    at_l.enter(half.split('(').next().unwrap());
    l.end().expect(0, "");
    c.end().expect(0, "");
}

/// Starts a superserver at a Unix socket, which replaces PATH in `words`. The output of the
/// scats that it starts appears among its messages. Skips with `None` if it is missing.
fn superserver(words: &[&str], ready: &str) -> Option<(Scat, Place)> {
    if Command::new(words[0]).arg("-h").stdout(Stdio::null()).status().is_err() {
        skip(format_args!("no {}", words[0]));
        return None;
    }
    let place = Place::new("superserver");
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" >&2", "sh"]);
    command.args(words.iter().map(|word| word.replace("PATH", place.arg())));
    command.env("SCAT", program()).env("PSK", psk()).stdin(Stdio::null());
    let mut server = Scat::spawn(command);
    server.line(ready);
    Some((server, place))
}

/// Checks that each caller gets a scat of its own, and that a bad caller harms no other.
fn serves_each_caller(words: &[&str], ready: &str) {
    let Some((mut server, place)) = superserver(words, ready) else {
        return;
    };
    let mut stranger = UnixStream::connect(&place).unwrap();
    stranger.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    for data in ["the first", "the second"] {
        let input = file("call", format!("{data}\n").as_bytes());
        let caller = on(UnixStream::connect(&place).unwrap(), &["--psk", psk()], input.arg());
        caller.end().expect(0, "");
        server.line(data);
    }
    server.line("caller rejected: does not speak scat");
}

#[test]
fn systemd_hands_over_descriptor_3() {
    let (systemd, program) = ("systemd-socket-activate", program());
    let scat = [&program, "-l", "--fd", "3", "--psk", psk()];
    let words = [&[systemd, "--accept", "-l", "PATH"][..], &scat].concat();
    serves_each_caller(&words, "Listening on");
}

#[test]
fn inetd_hands_over_descriptors_0_and_1_and_a_shell_makes_them_3() {
    let (systemd, program) = ("systemd-socket-activate", program());
    let shell = ["sh", "-c", "exec \"$0\" \"$@\" 3<&0 </dev/null >&2"];
    let scat = [&program, "-l", "--fd", "3", "--psk", psk()];
    let words = [&[systemd, "--inetd", "--accept", "-l", "PATH"][..], &shell, &scat].concat();
    serves_each_caller(&words, "Listening on");
}

#[test]
fn socat_hands_over_what_it_connects_as_descriptor_3() {
    let scat = "SYSTEM:exec \"$SCAT\" -l --fd 3 --psk \"$PSK\",fdin=3,fdout=3";
    serves_each_caller(&["socat", "-d", "-d", "UNIX-LISTEN:PATH,fork", scat], "listening on");
}
