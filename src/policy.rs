//! How this side makes sure who is at the other end: its own choice, made before
//! it connects, and unknown to the other end.

use crate::keys::KnownKey;

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
    /// `--peer`: the other end's static key is one of these.
    pub peers: Vec<KnownKey>,
    /// `--psk`: the handshake itself proves that the other end has the same.
    pub psk: bool,
}

/// What the handshake has proved about the other end.
#[derive(Clone, Copy)]
pub struct Proof<'a> {
    /// It has the secret half of this key, one of `--peer`.
    pub key: Option<&'a KnownKey>,
    /// It has the same pre-shared key.
    pub psk: bool,
}

impl Policy {
    /// Whether the owner of `key` (32 bytes, public) may be at the other end, and if so,
    /// what is known about it.
    pub fn admits(&self, key: &[u8; 32]) -> Option<Proof<'_>> {
        let known = self.peers.iter().find(|known| known.key == *key);
        let is_admitted = self.peers.is_empty() || known.is_some();
        is_admitted.then_some(Proof { key: known, psk: self.psk })
    }
}

impl Proof<'_> {
    /// By what the other end is verified, if by anything.
    pub fn by(&self) -> Option<&'static str> {
        match (self.key, self.psk) {
            (Some(_), true) => Some("key and pre-shared key"),
            (Some(_), false) => Some("key"),
            (None, true) => Some("pre-shared key"),
            (None, false) => None,
        }
    }
}
