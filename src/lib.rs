//! scat is netcat with the eavesdropper shut out: bytes in on stdin, bytes out
//! on stdout, encrypted end to end over one TCP connection, with a few words to
//! read aloud so that two people know that nobody sits between them.
//!
//! This library exists so that tests, fuzz targets and benchmarks reach the
//! modules; the program is `main.rs`. How to walk through it, top to bottom:
//!
//! * [`cli`] reads the command line; [`net`] turns names into addresses, and
//!   [`connect`] or [`mod@listen`] those into one peer, a listener by way of
//!   many a `stranger`, with [`handshake`] on [`noise`].
//! * [`pipe`] runs the session between the descriptors of [`stdio`] and the
//!   socket; [`session`] is its rules. The data goes
//!
//! ```text
//! outbound:  stdin  --fill--> plain --seal--> sealed --drain--> socket
//! inbound :  socket --fill--> sealed --open--> plain --drain--> stdout
//! ```
//!
//!   through [`outbound`] and [`inbound`], sealed and opened by [`mod@frame`], with
//!   fresh keys now and then from [`ratchet`].
//! * [`policy`] says how the peer is verified: by [`confirm`], the ceremony, or
//!   by [`keys`].
//! * [`secret`] holds keys where no copy of them stays behind.
//! * [`sas`] and [`words`] make what people compare; [`status`] and [`error`]
//!   are what they read.
//!
//! secret, noise, handshake, sas, words, frame, outbound, inbound, session and ratchet
//! own no descriptor and no clock.

pub mod cli;
pub mod confirm;
pub mod connect;
pub mod error;
pub mod frame;
pub mod handshake;
pub mod inbound;
pub mod keys;
pub mod listen;
pub mod net;
pub mod noise;
pub mod outbound;
pub mod pipe;
pub mod policy;
pub mod ratchet;
pub mod role;
pub mod sas;
pub mod secret;
pub mod session;
pub mod status;
pub mod stdio;
mod stranger;
pub mod wait;
pub mod words;
