//! How this side verifies the other end. Each side chooses its own policy before it
//! connects, and does not know the other's.

use crate::auth::keys::KnownKey;

/// Whether scat asks the user for the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// `-c`
    Always,
    /// `--no-confirm`
    Never,
    /// By default: at a terminal, if nothing else verifies the peer.
    AtTerminal,
}

/// The chosen methods, all of which must succeed. With none, the users may compare the
/// words at any time.
pub struct Policy {
    /// `--peer`: the other end's static key must be one of these.
    pub peers: Vec<KnownKey>,
    /// `--psk`: the handshake proves that the other end has the same key.
    pub psk: bool,
    /// scat asks the user for the words.
    pub asks: bool,
    /// Hint shown when nothing verifies the peer; `None` with `--no-confirm`.
    pub advice: Option<&'static str>,
}

/// What the handshake has proved about the other end.
#[derive(Clone, Copy)]
pub struct Proof<'a> {
    /// It has the secret half of this key from `--peer`.
    pub key: Option<&'a KnownKey>,
    /// It has the same pre-shared key.
    pub psk: bool,
}

impl Policy {
    /// Returns what the handshake has proved about the owner of `key` (32 bytes, public).
    pub fn proof(&self, key: &[u8; 32]) -> Proof<'_> {
        Proof { key: self.peers.iter().find(|known| known.key == *key), psk: self.psk }
    }

    /// Whether keys alone verify the peer, so that nobody here compares words.
    pub fn needs_no_words(&self) -> bool {
        !self.asks && (self.psk || !self.peers.is_empty())
    }

    /// Whether the owner of `key` (32 bytes, public) may be the peer.
    pub fn admits(&self, key: &[u8; 32]) -> bool {
        self.peers.is_empty() || self.proof(key).key.is_some()
    }
}

impl<'a> Proof<'a> {
    /// Returns what verified the other end, in words for the user.
    pub fn by(&self) -> Option<&'static str> {
        match (self.key, self.psk) {
            (Some(_), true) => Some("key and pre-shared key"),
            (Some(_), false) => Some("key"),
            (None, true) => Some("pre-shared key"),
            (None, false) => None,
        }
    }

    /// Returns what verified the other end, in the word that VERIFIED uses.
    pub fn token(&self) -> &'static str {
        match (self.key, self.psk) {
            (Some(_), _) => "key",
            (None, true) => "psk",
            (None, false) => "none",
        }
    }

    /// Returns the name that the user gave the key.
    pub fn name(&self) -> Option<&'a str> {
        self.key.and_then(|known| known.name.as_deref())
    }
}
