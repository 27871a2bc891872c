//! scat
pub mod frame;
pub mod handshake;
pub mod inbound;
pub mod noise;
pub mod outbound;
pub mod ratchet;
pub mod sas;
pub mod session;
pub mod words;
