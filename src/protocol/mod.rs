//! The protocol itself, as scat-protocol(7) describes it.
//!
//! Nothing here owns a descriptor, a clock or a source of randomness, and nothing
//! prints: bytes, the time and random values come in as arguments, and what is to
//! be done goes out as values. So every rule can be tested without a socket, and
//! nothing but these files has to be read to check the protocol. From the ground:
//!
//! * [`role`], [`secret`]: the two ends; bytes of which no copy may stay.
//! * [`cipher`], [`mod@hash`]: the primitives that have more than one use.
//! * [`noise`]: the Noise framework's objects. [`handshake`]: the three flights.
//! * [`sas`], [`words`]: the short authentication string and its words.
//! * [`mod@frame`]: one direction's bytes, sealed and opened. [`ratchet`]: fresh keys.
//! * [`outbound`], [`inbound`]: a direction's buffer. [`session`]: the rules.
//! * [`reconnect`]: the flights of another connection. [`kept`]: what it may lack.

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
