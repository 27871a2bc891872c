//! The short authentication string: what two people compare by voice.
//!
//! The listener commits to its nonce in flight 2 and reveals it in OPEN, so that neither
//! side, and no man in the middle, can search for a matching string (the idea of ZRTP,
//! RFC 6189 section 4.4.1.1; here the listener commits).

use crate::protocol::hash::hash;
use crate::protocol::role::Role;
use crate::protocol::words;
use std::fmt;

/// Bytes of the whole string, three for each half.
pub const SASLEN: usize = 6;

/// `HASH("scat/1 commit\0" || h1 || N_L)`, 32 bytes.
pub fn commit(h1: &[u8; 32], n_l: &[u8; 32]) -> [u8; 32] {
    hash(&[b"scat/1 commit\0", h1, n_l])
}

/// Both halves of one session's string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sas([u8; SASLEN]);

impl Sas {
    /// `HASH("scat/1 sas\0" || h3 || N_L)[0..6]`.
    pub fn new(h3: &[u8; 32], n_l: &[u8; 32]) -> Self {
        let mut sas = [0; SASLEN];
        sas.copy_from_slice(&hash(&[b"scat/1 sas\0", h3, n_l])[..SASLEN]);
        Sas(sas)
    }

    /// Returns the half that the person at `role` reads out.
    pub fn half(&self, role: Role) -> Half {
        let [a, b, c, d, e, f] = self.0;
        match role {
            Role::Listener => Half { role, bytes: [a, b, c] },
            Role::Connector => Half { role, bytes: [d, e, f] },
        }
    }
}

/// Three bytes that one person reads aloud: 24 bits.
///
/// `Display` gives the words, then the digits in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Half {
    role: Role,
    bytes: [u8; 3],
}

impl Half {
    /// Position of this half's first word among the six words, which decides the list of
    /// each word.
    pub fn first_position(&self) -> usize {
        match self.role {
            Role::Listener => 0,
            Role::Connector => 3,
        }
    }

    /// Returns the three bytes.
    pub fn bytes(&self) -> [u8; 3] {
        self.bytes
    }

    /// Returns the three words, two-syllable and three-syllable in turn.
    pub fn words(&self) -> [&'static str; 3] {
        let first = self.first_position();
        let [a, b, c] = self.bytes;
        [words::word(first, a), words::word(first + 1, b), words::word(first + 2, c)]
    }

    /// Returns the same 24 bits as a number, 0 to 16777215.
    pub fn number(&self) -> u32 {
        let [a, b, c] = self.bytes;
        u32::from_be_bytes([0, a, b, c])
    }
}

impl fmt::Display for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.words().join(" ");
        let number = self.number();
        write!(f, "{words:<27} ({:04} {:04})", number / 10_000, number % 10_000)
    }
}
