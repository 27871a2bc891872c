//! How this side makes sure who is at the other end: its own choice, made before
//! it connects, and unknown to the other end.

use crate::auth::keys::KnownKey;

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
    /// `--peer`: the other end's static key is one of these.
    pub peers: Vec<KnownKey>,
    /// `--psk`: the handshake itself proves that the other end has the same.
    pub psk: bool,
    /// A person is asked for the words.
    pub asks: bool,
    /// What whoever verifies nobody should know, unless `--no-confirm` says that they do.
    pub advice: Option<&'static str>,
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
    /// What the handshake has proved about the owner of `key` (32 bytes, public).
    pub fn proof(&self, key: &[u8; 32]) -> Proof<'_> {
        Proof { key: self.peers.iter().find(|known| known.key == *key), psk: self.psk }
    }

    /// Whether keys alone verify the peer, and nobody here compares words.
    pub fn needs_no_words(&self) -> bool {
        !self.asks && (self.psk || !self.peers.is_empty())
    }

    /// Whether the owner of `key` (32 bytes, public) may be at the other end.
    pub fn admits(&self, key: &[u8; 32]) -> bool {
        self.peers.is_empty() || self.proof(key).key.is_some()
    }
}

impl<'a> Proof<'a> {
    /// By what the other end is verified, if by anything, as people are told.
    pub fn by(&self) -> Option<&'static str> {
        match (self.key, self.psk) {
            (Some(_), true) => Some("key and pre-shared key"),
            (Some(_), false) => Some("key"),
            (None, true) => Some("pre-shared key"),
            (None, false) => None,
        }
    }

    /// The same as programs are told, in VERIFIED.
    pub fn token(&self) -> &'static str {
        match (self.key, self.psk) {
            (Some(_), _) => "key",
            (None, true) => "psk",
            (None, false) => "none",
        }
    }

    /// Whose key it is, if the user gave it a name.
    pub fn name(&self) -> Option<&'a str> {
        self.key.and_then(|known| known.name.as_deref())
    }
}
