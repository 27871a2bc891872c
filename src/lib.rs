//! scat is netcat with the eavesdropper shut out: bytes in on stdin, bytes out
//! on stdout, encrypted end to end over one TCP connection, with a few words to
//! read aloud so that two people know that nobody sits between them.
//!
//! The program is `main.rs`. This library exists so that tests and benchmarks
//! reach the modules; its interface is no promise and may change at any time.

pub mod cli;
pub mod error;
pub mod event_loop;
pub mod keys;
pub mod net;
pub mod pipe;
pub mod policy;
pub mod protocol;
pub mod random;
pub mod report;
pub mod term;
