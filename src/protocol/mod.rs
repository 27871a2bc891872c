//! The protocol itself, as scat-protocol(7) describes it.
//!
//! Nothing here owns a descriptor, a clock or a source of randomness, and nothing prints:
//! bytes, the time and random values are arguments, and actions are returned as values.
//! So tests need no socket, and these files are all that a review of the protocol has to
//! read. From the bottom up:
//!
//! * [`role`], [`secret`]: the two ends; secret bytes that are wiped.
//! * [`cipher`], [`mod@hash`]: the primitives that have more than one use.
//! * [`noise`]: the Noise framework's objects. [`handshake`]: the three flights.
//! * [`sas`], [`words`]: the short authentication string and its words.
//! * [`mod@frame`]: sealing and opening frames. [`ratchet`]: fresh keys.
//! * [`outbound`], [`inbound`]: the buffer of a direction. [`session`]: the rules.
//! * [`reconnect`]: the flights of a reconnection. [`kept`]: bytes to send again.

pub mod cipher;
pub mod frame;
pub mod handshake;
pub mod hash;
pub mod inbound;
pub mod kept;
pub mod noise;
pub mod outbound;
pub mod ratchet;
pub mod reconnect;
pub mod role;
pub mod sas;
pub mod secret;
pub mod session;
pub mod words;
