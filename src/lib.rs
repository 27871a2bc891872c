//! scat is netcat with the eavesdropper shut out: bytes in on stdin, bytes out
//! on stdout, encrypted end to end over one TCP connection, with a few words to
//! read aloud so that two people know that nobody sits between them.
//!
//! The program is `main.rs`. This library exists so that tests and benchmarks
//! reach the modules; its interface is no promise and may change at any time.
//!
//! # The rooms
//!
//! Imports point downwards only:
//!
//! ```text
//! main        options -> peer -> session -> exit status
//! cli  pipe   the command line; the session's loop
//! verification  who is at the other end: told, or a person asked
//! net  term   addresses -> one peer; stdin, stdout and the terminal
//! event_loop  error  report  status  policy  keys  random  waiting  lines  descriptor
//! memory  sandbox  text
//! protocol    scat-protocol(7): no descriptor, no clock, no randomness
//! ```
//!
//! # The walk of a byte
//!
//! [`pipe`] shuttles between [`term::stdio`] and [`net::link`]; each direction is
//! one object with one buffer, filled at one end and drained at the other:
//!
//! ```text
//! outbound:  stdin  --fill--> plain --seal--> sealed --drain--> socket
//! inbound :  socket --fill--> sealed --open--> plain --drain--> stdout
//! ```
//!
//! To follow it, read `main.rs`, then [`pipe`] from `shuttle` down, then
//! [`protocol::session`], [`protocol::outbound`], [`protocol::inbound`] and
//! [`mod@protocol::frame`]. To follow a handshake, read [`protocol::handshake`], then
//! [`net::connect`] and [`mod@net::listen`].
//!
//! # To add something
//!
//! * An option: a field of `Args` and one of [`cli::Options`] in [`cli`], its use in
//!   `main.rs`, scat(1), the completions. It must do what no pipeline can.
//! * A kind of frame: [`protocol::frame::Kind`], its rules in
//!   `Session::open_next`, its place in the outbound's reserve, scat-protocol(7).
//! * A way to fail: a variant of [`error::Error`] and its account, DIAGNOSTICS in scat(1).

pub mod cli;
pub mod descriptor;
pub mod error;
pub mod event_loop;
pub mod keys;
pub mod lines;
pub mod memory;
pub mod net;
pub mod pipe;
pub mod policy;
pub mod protocol;
pub mod random;
pub mod report;
pub mod sandbox;
pub mod status;
pub mod term;
pub mod text;
pub mod verification;
pub mod waiting;
