//! Tools of the claims: the program as a child, terminals, relays and attackers, and a second
//! implementation as its peer.

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
/// What the second implementation offers or chooses: with the second value, AES-256-GCM seals
/// the frames if scat has it, too.
pub const CIPHERS: [u8; 2] = [0, peer::AES];

/// Reports that this test is skipped here. It bypasses the harness, which shows a test's output
/// only if the test fails.
pub fn skip(err: impl Display) {
    let thread = std::thread::current();
    let line = format!("SKIPPED {}: {err}\n", thread.name().unwrap_or("?"));
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Whether the loopback has IPv6; reports the skip if not.
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

/// Starts scat in this role with the second implementation as its peer, which has read OPEN.
pub fn session(role: Role) -> (Scat, Peer) {
    session_with(role, Options::default(), Scat::new)
}

/// The same with this standard input and output.
pub fn session_between(role: Role, stdin: Stdio, stdout: Stdio) -> (Scat, Peer) {
    session_with(role, Options::default(), |args| Scat::between(args, stdin, stdout))
}

/// The same with a scat that `start` starts; it adds its own arguments to these.
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

/// Starts a scat with these options that waits for OPEN. Also returns its peer and the peer's
/// listening socket.
pub fn unopened(options: &[&str]) -> (Scat, Peer, TcpListener) {
    let (door, port) = door();
    let scat = Scat::connect_with(options, port);
    let stream = door.accept().unwrap().0;
    (scat, Peer::accept_without_open(stream, Options::default()).unwrap(), door)
}

/// Connects to this port and reads flight 2.
pub fn knock(port: u16) -> (TcpStream, Handshake) {
    let mut stream = dial(port);
    let handshake = Handshake::connect(&mut stream, Options::default()).unwrap();
    (stream, handshake)
}
