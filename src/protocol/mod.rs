//! The protocol itself, as scat-protocol(7) describes it.

pub mod frame;
pub mod handshake;
pub mod inbound;
pub mod noise;
pub mod outbound;
pub mod ratchet;
pub mod role;
pub mod sas;
pub mod secret;
pub mod session;
pub mod words;
