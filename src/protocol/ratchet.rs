//! The ratchet: fresh keys from a new exchange of X25519 and ML-KEM-768, carried in three
//! frames, by the same code as the handshake.
//!
//! ```text
//! connector  REKEY1: psk, e, e1 ----->  listener seals REKEY2, then sends with the new key
//!            <-- REKEY2: e, ee, ekem1
//! connector  reads with the new key, seals REKEY3, then sends with the new key
//!            REKEY3 ----------------->  listener reads with the new key
//! ```
//!
//! It shuts out an attacker who has copied one side's keys and then only listens.

use crate::protocol::noise::{self, Ephemerals, HandshakeState, Pattern, Token};
use crate::protocol::secret::Secret;

const PR: Pattern = Pattern {
    name: "Noise_NNhfs+psk0_25519+MLKEM768_ChaChaPoly_BLAKE2s",
    messages: &[&[Token::Psk, Token::E, Token::E1], &[Token::E, Token::Ee, Token::Ekem1]],
};

/// Bytes of REKEY1's content.
pub const REKEY1_LEN: usize = 1248;
/// Bytes of REKEY2's content.
pub const REKEY2_LEN: usize = 1152;

/// The transport keys that an exchange produces.
pub struct Fresh {
    /// Connector to listener.
    pub c2l: Secret,
    /// Listener to connector.
    pub l2c: Secret,
}

/// The state between exchanges, and the connector's exchange under way.
pub struct Ratchet {
    rk: Secret,
    hp: [u8; 32],
    started: Option<HandshakeState>,
    finished: u64,
}

impl Ratchet {
    /// Starts from the handshake's third key and `h3`.
    pub fn new(rk: Secret, h3: [u8; 32]) -> Self {
        Ratchet { rk, hp: h3, started: None, finished: 0 }
    }

    /// Returns how many exchanges have finished.
    pub fn finished(&self) -> u64 {
        self.finished
    }

    /// Whether REKEY1 was written and REKEY2 not yet read.
    pub fn is_started(&self) -> bool {
        self.started.is_some()
    }

    /// Connector: `-> psk, e, e1`, the content of REKEY1.
    ///
    /// # Errors
    /// [`noise::Error::Exhausted`], which a fresh handshake does not meet.
    pub fn start(&mut self, fresh: Ephemerals) -> Result<Vec<u8>, noise::Error> {
        let mut noise = self.handshake(true, fresh);
        let mut message = Vec::with_capacity(REKEY1_LEN);
        noise.write_message(&[], &mut message)?;
        self.started = Some(noise);
        Ok(message)
    }

    /// Listener: reads REKEY1's content and returns REKEY2's: `<- e, ee, ekem1`.
    ///
    /// # Errors
    /// Any of [`noise::Error`]: a protocol error.
    pub fn answer(
        &mut self,
        rekey1: &[u8],
        fresh: Ephemerals,
    ) -> Result<(Vec<u8>, Fresh), noise::Error> {
        let mut noise = self.handshake(false, fresh);
        if !noise.read_message(rekey1)?.is_empty() {
            return Err(noise::Error::Length);
        }
        let mut message = Vec::with_capacity(REKEY2_LEN);
        noise.write_message(&[], &mut message)?;
        Ok((message, self.finish(noise)?))
    }

    /// Connector: reads REKEY2's content.
    ///
    /// # Errors
    /// Any of [`noise::Error`], [`noise::Error::OutOfTurn`] without a REKEY1.
    pub fn read_answer(&mut self, rekey2: &[u8]) -> Result<Fresh, noise::Error> {
        let mut noise = self.started.take().ok_or(noise::Error::OutOfTurn)?;
        if !noise.read_message(rekey2)?.is_empty() {
            return Err(noise::Error::Length);
        }
        self.finish(noise)
    }

    fn handshake(&self, initiator: bool, fresh: Ephemerals) -> HandshakeState {
        let mut prologue = b"scat/1 rekey\0".to_vec();
        prologue.extend_from_slice(&self.hp);
        HandshakeState::new(&PR, initiator, &prologue, None, fresh, vec![Secret::copy(&self.rk)])
    }

    fn finish(&mut self, noise: HandshakeState) -> Result<Fresh, noise::Error> {
        let split = noise.split()?;
        self.rk = split.rk;
        self.hp = split.h;
        self.finished += 1;
        Ok(Fresh { c2l: split.initiator, l2c: split.responder })
    }
}
