//! How this side makes sure who is at the other end: its own choice, made before
//! it connects, and unknown to the other side.

use crate::protocol::handshake::Peer;

/// Whether a person is to be asked for the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// `-c`
    Always,
    /// `--no-confirm`
    Never,
    /// Neither: where a person sits, and nothing else verifies.
    AtTerminal,
}

/// All that is given must hold. With nothing, the people compare when they like.
pub struct Policy {
    /// A person types what the other person says before anything moves.
    pub confirm: bool,
    /// `--peer`: the other side's static key is one of these, 32 bytes each.
    pub peers: Vec<[u8; 32]>,
    /// `--psk`: the handshake itself proves that the other side has the same.
    pub psk: bool,
}

impl Policy {
    /// Whether that key may be at the other end.
    pub fn admits(&self, peer: &Peer) -> bool {
        self.peers.is_empty() || self.peers.contains(&peer.key)
    }

    /// By what the peer is known once the handshake is done, if by anything.
    pub fn verified_by(&self) -> Option<&'static str> {
        match (!self.peers.is_empty(), self.psk) {
            (true, true) => Some("key and pre-shared key"),
            (true, false) => Some("key"),
            (false, true) => Some("pre-shared key"),
            (false, false) => None,
        }
    }
}
