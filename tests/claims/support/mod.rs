//! What the claims are made with: the program as a child, with a terminal or
//! with somebody on its path, and a second implementation at its other end.

pub mod ends;
#[cfg(target_os = "linux")]
pub mod filter;
pub mod hurried;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod inside;
#[cfg(all(target_os = "linux", not(feature = "portable")))]
pub mod network;
pub mod peer;
pub mod pty;
pub mod relay;
pub mod scat;

use peer::{Handshake, Options, Peer, Role};
use scat::{Scat, dial, door};
use std::fmt::Display;
use std::io::Write;
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::process::Stdio;

pub const ROLES: [Role; 2] = [Role::Listener, Role::Connector];
/// What the double offers or chooses: with the second the frames are AES-256-GCM, where
/// scat has it as well.
pub const CIPHERS: [u8; 2] = [0, peer::AES];

/// Says that this test claims nothing here. Past the harness, which shows what
/// a test prints only when it fails.
pub fn skip(err: impl Display) {
    let thread = std::thread::current();
    let line = format!("SKIPPED {}: {err}\n", thread.name().unwrap_or("?"));
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Whether there is a loopback with IPv6; says so if not.
pub fn has_ipv6() -> bool {
    let found = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    if !found {
        skip("no IPv6");
    }
    found
}

/// Bytes from pairs of hex digits.
pub fn hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2));
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

/// scat in this role, and the double as its peer; OPEN is read.
pub fn session(role: Role) -> (Scat, Peer) {
    session_with(role, Options::default(), Scat::new)
}

/// The same with scat between these two.
pub fn session_between(role: Role, stdin: Stdio, stdout: Stdio) -> (Scat, Peer) {
    session_with(role, Options::default(), |args| Scat::between(args, stdin, stdout))
}

/// The same with a scat that `start` starts: it adds these arguments to its own.
pub fn session_with(
    role: Role,
    options: Options,
    start: impl FnOnce(&[&str]) -> Scat,
) -> (Scat, Peer) {
    match role {
        Role::Listener => {
            let (scat, port) = start(&["-l", "127.0.0.1", "0"]).with_port();
            (scat, Peer::connect(dial(port), options).unwrap())
        }
        Role::Connector => {
            let (door, port) = door();
            let scat = start(&["127.0.0.1", &port.to_string()]);
            (scat, Peer::accept(door.accept().unwrap().0, options).unwrap())
        }
    }
}

/// scat has connected with these options, and waits for OPEN; then the door that
/// it came through.
pub fn unopened(options: &[&str]) -> (Scat, Peer, TcpListener) {
    let (door, port) = door();
    let scat = Scat::connect_with(options, port);
    let stream = door.accept().unwrap().0;
    (scat, Peer::accept_without_open(stream, Options::default()).unwrap(), door)
}

/// A connection to this port that has read flight 2.
pub fn knock(port: u16) -> (TcpStream, Handshake) {
    let mut stream = dial(port);
    let handshake = Handshake::connect(&mut stream, Options::default()).unwrap();
    (stream, handshake)
}
