//! Frames and exchanges, from scat-protocol(7). It shares with src/protocol the cipher and the
//! handshake, which published vectors check; it has its own counters, rekeying, lengths and
//! choice of keys.

use scat::protocol::cipher::Cipher;
use scat::protocol::noise::{Ephemerals, Error, HandshakeState, Pattern, Token};
use scat::protocol::secret::Secret;

/// Random values of exchange `n`, the same in each run.
pub fn ephemerals(n: u8) -> Ephemerals {
    let key = |byte| Secret::copy(&[byte ^ n; 32]);
    Ephemerals { e: key(0x0e), e1: [key(0xd0), key(0x20)], m: key(0xa0) }
}

/// One direction: a key and the counter of its next frame.
#[derive(Clone)]
pub struct Direction {
    cipher: Cipher,
    k: [u8; 32],
    n: u64,
}

impl Direction {
    pub fn new(cipher: Cipher, k: [u8; 32]) -> Self {
        Direction { cipher, k, n: 0 }
    }

    /// Uses another key from the next frame on.
    pub fn switch(&mut self, k: [u8; 32]) {
        *self = Direction::new(self.cipher, k);
    }

    /// Seals `plain`, of any length, as a frame.
    pub fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut frame = ((plain.len() + 16) as u16).to_be_bytes().to_vec();
        frame.extend_from_slice(plain);
        let tag = self.cipher.seal(&Secret::copy(&self.k), self.n, &[], &mut frame[2..]);
        frame.extend_from_slice(&tag.unwrap());
        self.advance();
        frame
    }

    /// The plaintext, if the tag verifies.
    pub fn open(&mut self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (plain, tag) = sealed.split_last_chunk()?;
        let mut plain = plain.to_vec();
        self.cipher.open(&Secret::copy(&self.k), self.n, &[], &mut plain, tag).ok()?;
        self.advance();
        Some(plain)
    }

    fn advance(&mut self) {
        self.n += 1;
        if self.n.is_multiple_of(1024) {
            let mut k = [0; 32];
            self.cipher.seal(&Secret::copy(&self.k), u64::MAX, &[], &mut k).unwrap();
            self.k = k;
        }
    }
}

/// The plaintext of an honest sender's frame.
pub fn plaintext(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut plain = vec![kind];
    plain.extend_from_slice(&(content.len() as u16).to_be_bytes());
    plain.extend_from_slice(content);
    plain.resize(plain.len().div_ceil(256) * 256, 0);
    plain
}

const PR: Pattern = Pattern {
    name: "Noise_NNhfs+psk0_25519+MLKEM768_ChaChaPoly_BLAKE2s",
    messages: &[&[Token::Psk, Token::E, Token::E1], &[Token::E, Token::Ee, Token::Ekem1]],
};

/// The keys before or after an exchange.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    pub c2l: [u8; 32],
    pub l2c: [u8; 32],
    pub rk: [u8; 32],
    pub hp: [u8; 32],
}

impl Chain {
    fn exchange(&self, initiator: bool, n: u8) -> HandshakeState {
        let prologue = [b"scat/1 rekey\0", &self.hp[..]].concat();
        let psk = vec![Secret::copy(&self.rk)];
        HandshakeState::new(&PR, initiator, &prologue, None, ephemerals(n), psk)
    }

    fn next(noise: HandshakeState) -> Result<Chain, Error> {
        let split = noise.split()?;
        Ok(Chain { c2l: *split.initiator, l2c: *split.responder, rk: *split.rk, hp: split.h })
    }

    /// Starts exchange `n` as the connector. Also returns REKEY1's content.
    pub fn ask(&self, n: u8) -> (HandshakeState, Vec<u8>) {
        let (mut noise, mut rekey1) = (self.exchange(true, n), Vec::new());
        noise.write_message(&[], &mut rekey1).unwrap();
        assert_eq!(rekey1.len(), 1248);
        (noise, rekey1)
    }

    /// Answers as the listener. Returns REKEY2's content, and the new keys.
    pub fn answer(&self, rekey1: &[u8], n: u8) -> Result<(Vec<u8>, Chain), Error> {
        let (mut noise, mut rekey2) = (self.exchange(false, n), Vec::new());
        if !noise.read_message(rekey1)?.is_empty() {
            return Err(Error::Length);
        }
        noise.write_message(&[], &mut rekey2)?;
        assert_eq!(rekey2.len(), 1152);
        Ok((rekey2, Chain::next(noise)?))
    }

    /// Reads REKEY2's content as the connector.
    pub fn finish(mut noise: HandshakeState, rekey2: &[u8]) -> Result<Chain, Error> {
        match noise.read_message(rekey2)?.is_empty() {
            true => Chain::next(noise),
            false => Err(Error::Length),
        }
    }
}
