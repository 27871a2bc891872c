//! scat is netcat with the eavesdropper shut out: bytes in on stdin, bytes out
//! on stdout, encrypted end to end over one TCP connection, with a few words to
//! read aloud so that two people know that nobody sits between them.
//!
//! The program is `main.rs`. This library exists so that tests and benchmarks
//! reach the modules; its interface is no promise and may change at any time.
//!
//! # Modules
//!
//! Each module imports only from the lines below its own:
//!
//! ```text
//! main      options -> session -> exit status
//! run       one session: set-up, key files, the loop, verification
//! cli       the command line -> options
//! net       addresses -> one peer
//! ui        messages, poller, the ceremony, data on a terminal
//! error     every bad end: exit status, ABORT, line, hint
//! auth      who may be at the other end: keys as text, policy
//! text      formatting for people
//! sys       the operating system: no other module names it
//! protocol  scat-protocol(7): no descriptor, no clock, no randomness
//! ```
//!
//! # The walk of a byte
//!
//! [`run::pipe`] shuttles between [`ui::stdio`] and [`net::link`]; each direction is
//! one object with one buffer, filled at one end and drained at the other:
//!
//! ```text
//! outbound:  stdin  --fill--> plain --seal--> sealed --drain--> socket
//! inbound :  socket --fill--> sealed --open--> plain --drain--> stdout
//! ```
//!
//! To follow it, read [`run::session`], then [`run::pipe`] from `shuttle` down, then
//! [`protocol::session`], [`protocol::outbound`], [`protocol::inbound`] and
//! [`mod@protocol::frame`]. To follow a handshake, read [`protocol::handshake`], then
//! [`net::connect`] and [`mod@net::listen`].
//!
//! # To add something
//!
//! * An option: a field of `Args` and one of [`cli::Options`] in [`cli`], its use in
//!   [`run::session`], scat(1), the completions. It must do what no pipeline can.
//! * A kind of frame: [`protocol::frame::Kind`], its rules in
//!   `Session::open_next`, its place in the outbound's reserve, scat-protocol(7).
//! * A way to fail: a variant of [`error::Error`] and its answers.

pub mod auth;
pub mod cli;
pub mod error;
pub mod net;
pub mod protocol;
pub mod run;
pub mod sys;
pub mod text;
pub mod ui;
