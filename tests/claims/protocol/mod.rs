//! The protocol, called without a socket or a clock, and the program where its
//! bytes and its memory are to be seen.

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

/// Every frame is answered before the next is sent; frames of a ratchet are
/// passed over.
fn ping_pong(scat: &mut Scat, peer: &mut Peer, rounds: u32) {
    for i in 0..rounds {
        peer.send(DATA, &i.to_be_bytes()).unwrap();
        assert_eq!(scat.read(4), i.to_be_bytes());
        scat.write(&i.to_le_bytes());
        while peer.recv().unwrap() != (DATA, i.to_le_bytes().to_vec()) {}
    }
}
