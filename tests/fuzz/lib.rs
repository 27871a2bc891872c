//! What the targets share: choices from bytes, and the wire as scat-protocol(7)
//! describes it, written a second time, so that a mistake in src/protocol is seen.

pub mod input;
pub mod wire;
