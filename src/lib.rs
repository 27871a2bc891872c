//! scat is an encrypted netcat: it sends standard input and receives standard output over
//! one TCP connection, encrypted end to end, and shows a few words that two people read
//! to each other to rule out a man in the middle.
//!
//! The program is `main.rs`. This library exists so that tests and benchmarks can reach
//! the modules; its interface may change at any time.
//!
//! # Modules
//!
//! Each module imports only from the lines below it:
//!
//! ```text
//! main      options -> session -> exit status
//! run       one session: setup, key files, the loop, verification
//! cli       the command line -> options
//! net       addresses -> one peer
//! ui        messages, comparing the words, data on a terminal
//! error     all errors: exit status, ABORT, message, hint
//! auth      authentication of the peer: keys as text, policy
//! text      formatting for people
//! sys       everything that depends on the operating system
//! protocol  scat-protocol(7), without descriptors, clock or randomness
//! ```
//!
//! # Data flow
//!
//! [`run::pipe`] moves data between [`ui::stdio`] and [`net::link`]. Each direction is
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
//! # Adding something
//!
//! * An option: a field of `Args` and one of [`cli::Options`] in [`cli`], its use in
//!   [`run::session`], scat(1), the completions. Only for what no pipeline can do.
//! * A kind of frame: [`protocol::frame::Kind`], its rules in `Session::open_next`, its
//!   share of the outbound reserve, scat-protocol(7).
//! * An error: a variant of [`error::Error`], its status, message and hint.

pub mod auth;
pub mod cli;
pub mod error;
pub mod net;
pub mod protocol;
pub mod run;
pub mod sys;
pub mod text;
pub mod ui;
