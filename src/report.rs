//! What people are told, on standard error. Nothing that came from the network
//! is among it but addresses and numbers.

use crate::protocol::role::Role;
use crate::protocol::sas::Sas;
use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How much is told.
#[derive(Clone, Copy)]
pub struct Report {
    /// `-v`: also the stages on the way.
    pub verbose: bool,
}

impl Report {
    /// A line that everybody sees. A standard error that cannot be written is
    /// no reason to stop.
    pub fn say(&self, line: impl fmt::Display) {
        let _ = io::stderr().write_all(format!("scat: {line}\n").as_bytes());
    }

    /// A line under `-v`.
    pub fn detail(&self, line: impl fmt::Display) {
        if self.verbose {
            self.say(line);
        }
    }

    /// Verified without the words; the other person may still ask for this side's half.
    pub fn verified(&self, role: Role, peer: SocketAddr, by: &str, sas: &Sas) {
        self.say(format_args!(
            "connected to {}; verified by {by}. If they ask, you say: {}",
            Address(peer),
            sas.half(role),
        ));
    }

    /// Both halves, the listener's first, each as seen from this side.
    pub fn compare(&self, role: Role, peer: SocketAddr, sas: &Sas) {
        let (first, second) = match role {
            Role::Listener => ("you say ", "they say"),
            Role::Connector => ("they say", "you say "),
        };
        self.say(format_args!(
            "connected to {}; not verified. Compare by voice, and stop if they differ:\n\
             scat:   {first}   {}\nscat:   {second}   {}",
            Address(peer),
            sas.half(Role::Listener),
            sas.half(Role::Connector),
        ));
    }
}

/// `198.51.100.4 port 40312`. An IPv4 address stays one on a dual-stack socket.
pub struct Address(pub SocketAddr);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} port {}", self.0.ip().to_canonical(), self.0.port())
    }
}

/// Lets a few lines through in each second and counts the others.
pub struct RateLimit {
    since: Instant,
    passed: u32,
    kept: u64,
}

impl RateLimit {
    const PER_SECOND: u32 = 5;

    /// Starts now.
    pub fn new() -> Self {
        RateLimit { since: Instant::now(), passed: 0, kept: 0 }
    }

    /// Whether a line may pass, and how many were kept back before it.
    pub fn pass(&mut self) -> Option<u64> {
        if self.since.elapsed() >= Duration::from_secs(1) {
            self.since = Instant::now();
            self.passed = 0;
        }
        if self.passed == Self::PER_SECOND {
            self.kept += 1;
            return None;
        }
        self.passed += 1;
        Some(std::mem::take(&mut self.kept))
    }
}

impl Default for RateLimit {
    fn default() -> Self {
        Self::new()
    }
}
