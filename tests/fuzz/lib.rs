//! Shared by the targets: choices from bytes, and a second implementation of the frames of
//! scat-protocol(7), to detect mistakes in src/protocol.

pub mod input;
pub mod wire;
