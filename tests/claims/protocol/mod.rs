//! The protocol, called without a socket or a clock; and the bytes and the memory of the
//! program.

mod double;
#[cfg(target_os = "linux")]
mod erased;
mod frame;
mod handshake;
mod interop;
mod primitives;
mod ratchet;
mod reconnect;
mod reveal;
mod session;
mod vectors;
mod xxhfs;

use crate::support::peer::{DATA, Peer};
use crate::support::scat::Scat;

/// Exchanges `rounds` frames each way, each in answer to the last; skips frames of a ratchet.
fn ping_pong(scat: &mut Scat, peer: &mut Peer, rounds: u32) {
    for i in 0..rounds {
        peer.send(DATA, &i.to_be_bytes()).unwrap();
        assert_eq!(scat.read(4), i.to_be_bytes());
        scat.write(&i.to_le_bytes());
        while peer.recv().unwrap() != (DATA, i.to_le_bytes().to_vec()) {}
    }
}
