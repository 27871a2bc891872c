//! The operating system. No other module names it.

#[cfg_attr(all(target_os = "linux", not(feature = "portable")), path = "linux.rs")]
#[cfg_attr(not(all(target_os = "linux", not(feature = "portable"))), path = "unix.rs")]
mod platform;

pub mod answers;
pub mod argument;
pub mod file;
pub mod lines;
pub mod memory;
pub mod poller;
pub mod random;
pub mod resolver;
pub mod sandbox;
pub mod socket;
pub mod stream;
pub mod tty;
pub mod zone;

use std::io;

/// Why the operating system cannot serve scat.
#[derive(Debug)]
pub enum Error {
    /// The system refused something that scat needs: what, and why.
    System(&'static str, io::Error),
    /// The system has no random numbers.
    Random,
    /// The system delivered this signal, which asks the process to end.
    Signal(i32),
}
