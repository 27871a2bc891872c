//! The Noise protocol framework, revision 34, section 5: the three state objects, with
//! X25519, ML-KEM-768, [`super::cipher`] and [`super::hash`].
//!
//! Besides scat's own patterns (with the tokens `e1` and `ekem1` of the Noise HFS draft),
//! this runs any pattern without pre-messages, so that the published vectors can be
//! checked. Random values are passed in as [`Ephemerals`].

// By `super`, because tests run this file with another hash.
use super::cipher::{Cipher, TAGLEN};
use super::hash::{BLOCKLEN, HASHLEN, hash};
use super::secret::Secret;
use ml_kem::kem::KeyExport;
use ml_kem::{DecapsulationKey768, EncapsulationKey768};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, Zeroizing, zeroize_stack};

/// Bytes of an X25519 key or shared secret.
pub const DHLEN: usize = 32;
/// Bytes of an ML-KEM-768 encapsulation key (FIPS 203, table 3).
pub const KEM_KEYLEN: usize = 1184;
/// Bytes of an ML-KEM-768 ciphertext (FIPS 203, table 3).
pub const KEM_CTLEN: usize = 1088;
/// Largest Noise message, in bytes (section 3).
pub const MAXMSGLEN: usize = 65535;

/// Why a message was rejected. Every one of these ends the handshake or the session; none
/// may be ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A tag does not verify.
    Forged,
    /// A message has a length that its pattern does not allow.
    Length,
    /// An X25519 result is all zero, or a KEM key fails the FIPS 203 check.
    BadKey,
    /// It is not this side's turn, or a key is missing.
    OutOfTurn,
    /// A nonce counter has reached 2^64 - 1.
    Exhausted,
}

/// A key and its nonce counter (section 5.1).
pub struct CipherState {
    cipher: Cipher,
    k: Secret,
    n: u64,
}

impl CipherState {
    /// Starts with `cipher`, key `k` (32 bytes) and n = 0.
    pub fn new(cipher: Cipher, k: &[u8; 32]) -> Self {
        CipherState { cipher, k: Secret::copy(k), n: 0 }
    }

    /// `InitializeKey(k)`: restarts with key `k` (32 bytes) and n = 0.
    pub fn initialize_key(&mut self, k: &[u8; 32]) {
        *self = CipherState::new(self.cipher, k);
    }

    /// Returns the counter that the next message will use.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Encrypts `buffer` in place and returns its tag (16 bytes).
    ///
    /// # Errors
    /// [`Error::Exhausted`] when the counter has run out; [`Error::Length`] beyond the
    /// cipher's 64 GiB.
    pub fn encrypt(&mut self, ad: &[u8], buffer: &mut [u8]) -> Result<[u8; TAGLEN], Error> {
        let n = self.next_n()?;
        let tag = self.cipher.seal(&self.k, n, ad, buffer).map_err(|_| Error::Length)?;
        self.n += 1;
        Ok(tag)
    }

    /// Decrypts `buffer` in place if `tag` verifies; otherwise clears it.
    ///
    /// # Errors
    /// [`Error::Forged`], [`Error::Exhausted`].
    pub fn decrypt(
        &mut self,
        ad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAGLEN],
    ) -> Result<(), Error> {
        let n = self.next_n()?;
        self.cipher.open(&self.k, n, ad, buffer, tag).map_err(|_| Error::Forged)?;
        self.n += 1;
        Ok(())
    }

    /// `Rekey()` of section 11.3: replaces the key with the first 32 bytes of the
    /// encryption of 32 zero bytes under it with nonce 2^64 - 1. `n` does not change.
    ///
    /// # Errors
    /// [`Error::Length`], which 32 bytes do not cause.
    pub fn rekey(&mut self) -> Result<(), Error> {
        let mut k = Secret::empty();
        self.cipher.seal(&self.k, u64::MAX, &[], &mut *k).map_err(|_| Error::Length)?;
        self.k = k;
        Ok(())
    }

    /// Returns the next counter; 2^64 - 1 is reserved for [`CipherState::rekey`].
    fn next_n(&self) -> Result<u64, Error> {
        if self.n == u64::MAX {
            return Err(Error::Exhausted);
        }
        Ok(self.n)
    }
}

/// HMAC (RFC 2104) over two parts, with a key of at most one block. (Keyed BLAKE2s is
/// another function and would not interoperate.)
#[inline(never)] // its stack is wiped, as that of `Cipher::seal`
pub(super) fn hmac(key: &[u8; 32], one: &[u8], two: &[u8]) -> Secret {
    let mut pad = Zeroizing::new([0x36; BLOCKLEN]);
    for (p, k) in pad.iter_mut().zip(key) {
        *p ^= k;
    }
    let mut inner = hash(&[&*pad, one, two]);
    for p in pad.iter_mut() {
        *p ^= 0x36 ^ 0x5c;
    }
    let out = hash(&[&*pad, &inner]);
    inner.zeroize();
    Secret::copy(&out)
}

/// `HKDF(chaining_key, input_key_material, N)` of section 4.3. Noise stops at three
/// outputs; the fourth is made like the third.
fn hkdf<const N: usize>(ck: &[u8; 32], ikm: &[u8]) -> [Secret; N] {
    let temp = hmac(ck, ikm, &[]);
    let mut outputs = [const { Secret::empty() }; N];
    for i in 0..N {
        let (before, rest) = outputs.split_at_mut(i);
        let before = before.last().map_or(&[][..], |output| &output[..]);
        rest[0] = hmac(&temp, before, &[i as u8 + 1]);
    }
    outputs
}

/// Chaining key, transcript hash and the current handshake cipher (section 5.2), which is
/// always ChaCha20-Poly1305.
pub struct SymmetricState {
    cipher: Option<CipherState>,
    ck: Secret,
    h: [u8; HASHLEN],
}

impl SymmetricState {
    /// `InitializeSymmetric(protocol_name)`.
    pub fn new(protocol_name: &str) -> Self {
        let name = protocol_name.as_bytes();
        let h = if name.len() <= HASHLEN {
            let mut h = [0; HASHLEN];
            h[..name.len()].copy_from_slice(name);
            h
        } else {
            hash(&[name])
        };
        SymmetricState { cipher: None, ck: Secret::copy(&h), h }
    }

    /// `MixKey(ikm)`.
    pub fn mix_key(&mut self, ikm: &[u8]) {
        let [ck, k] = hkdf(&self.ck, ikm);
        self.ck = ck;
        self.cipher = Some(CipherState::new(Cipher::ChaChaPoly, &k));
    }

    /// `MixHash(data)`.
    pub fn mix_hash(&mut self, data: &[u8]) {
        self.h = hash(&[&self.h, data]);
    }

    /// `MixKeyAndHash(ikm)`, for pre-shared keys.
    pub fn mix_key_and_hash(&mut self, ikm: &[u8]) {
        let [ck, h, k] = hkdf(&self.ck, ikm);
        self.ck = ck;
        self.mix_hash(&*h);
        self.cipher = Some(CipherState::new(Cipher::ChaChaPoly, &k));
    }

    /// `EncryptAndHash(plaintext)`: appends to `out`, with a tag once a key is set.
    ///
    /// # Errors
    /// [`Error::Exhausted`].
    pub fn encrypt_and_hash(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let start = out.len();
        out.extend_from_slice(plaintext);
        if let Some(cipher) = &mut self.cipher {
            let tag = cipher.encrypt(&self.h, &mut out[start..])?;
            out.extend_from_slice(&tag);
        }
        self.h = hash(&[&self.h, &out[start..]]);
        Ok(())
    }

    /// `DecryptAndHash(ciphertext)`.
    ///
    /// # Errors
    /// [`Error::Forged`], [`Error::Length`], [`Error::Exhausted`].
    pub fn decrypt_and_hash(&mut self, ciphertext: &[u8]) -> Result<Vec<u8>, Error> {
        let plaintext = match &mut self.cipher {
            None => ciphertext.to_vec(),
            Some(cipher) => {
                let (body, tag) = ciphertext.split_last_chunk().ok_or(Error::Length)?;
                let mut body = body.to_vec();
                cipher.decrypt(&self.h, &mut body, tag)?;
                body
            }
        };
        self.mix_hash(ciphertext);
        Ok(plaintext)
    }

    /// Whether a key is set, so that values are encrypted and have a tag.
    fn has_key(&self) -> bool {
        self.cipher.is_some()
    }
}

/// The public key of an X25519 secret.
#[inline(never)] // its stack is wiped, as that of `Cipher::seal`
pub fn public(secret: &Secret) -> PublicKey {
    PublicKey::from(&StaticSecret::from(**secret))
}

/// `ML-KEM.KeyGen_internal(d, z)` (FIPS 203, algorithm 16).
fn decapsulation_key([d, z]: &[Secret; 2]) -> DecapsulationKey768 {
    let mut seed = Zeroizing::new([0; 64]);
    seed[..32].copy_from_slice(&**d);
    seed[32..].copy_from_slice(&**z);
    DecapsulationKey768::from_seed((*seed).into())
}

/// One step of a message, in order (section 7; `E1` and `Ekem1` from the HFS draft).
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Token {
    E,
    E1,
    S,
    Ee,
    Es,
    Se,
    Ekem1,
    Psk,
}

/// A protocol: its full name and the messages of its pattern, the initiator's first.
pub struct Pattern {
    /// Full protocol name, mixed into the transcript before anything else.
    pub name: &'static str,
    /// Tokens of each message.
    pub messages: &'static [&'static [Token]],
}

impl Pattern {
    /// Whether there is a pre-shared key: then every `e` is also mixed into the key
    /// (section 9.2).
    fn has_psk(&self) -> bool {
        self.messages.iter().any(|m| m.contains(&Token::Psk))
    }
}

/// The random values of one handshake. A side needs only some of them, but drawing all is
/// simpler than choosing.
pub struct Ephemerals {
    /// X25519 secret of the token `e`, before clamping.
    pub e: Secret,
    /// Seed of the initiator's KEM key, token `e1`: `d` and `z` of FIPS 203.
    pub e1: [Secret; 2],
    /// Message `m` of the responder's encapsulation, token `ekem1`.
    pub m: Secret,
}

/// Result of `Split4` of scat-protocol(7), `HKDF(ck, "", 4)`, whose first two outputs are
/// those of Noise's `Split()`; and the final transcript hash.
pub struct Split {
    /// Key from initiator to responder.
    pub initiator: Secret,
    /// Key from responder to initiator.
    pub responder: Secret,
    /// Third output: initial key of the ratchet.
    pub rk: Secret,
    /// Fourth output: authenticates reconnections.
    pub kr: Secret,
    /// Transcript hash after the last message.
    pub h: [u8; HASHLEN],
}

/// Bytes of stack to wipe after each message, more than the secrets of its key exchanges
/// reach.
const STACK: usize = 64 * 1024;

/// Message number after a failure: no pattern has that many messages, so nothing can
/// follow.
const FAILED: usize = usize::MAX;

/// One side of a running handshake (section 5.3). Dropping it wipes every secret.
pub struct HandshakeState {
    symmetric: SymmetricState,
    pattern: &'static Pattern,
    next: usize,
    initiator: bool,
    s: Option<Secret>,
    fresh: Ephemerals,
    rs: Option<PublicKey>,
    re: Option<PublicKey>,
    re1: Option<Box<EncapsulationKey768>>,
    psks: Vec<Secret>,
}

impl HandshakeState {
    /// `Initialize(...)` for patterns without pre-messages. `psks` are used in
    /// the order of the pattern's `psk` tokens.
    pub fn new(
        pattern: &'static Pattern,
        initiator: bool,
        prologue: &[u8],
        s: Option<Secret>,
        fresh: Ephemerals,
        psks: Vec<Secret>,
    ) -> Self {
        let mut symmetric = SymmetricState::new(pattern.name);
        symmetric.mix_hash(prologue);
        HandshakeState {
            symmetric,
            pattern,
            next: 0,
            initiator,
            s,
            fresh,
            rs: None,
            re: None,
            re1: None,
            psks,
        }
    }

    /// Returns the transcript hash so far.
    pub fn h(&self) -> [u8; HASHLEN] {
        self.symmetric.h
    }

    /// Returns the other end's static key (32 bytes), once its `s` has arrived.
    pub fn rs(&self) -> Option<[u8; DHLEN]> {
        self.rs.map(|key| key.to_bytes())
    }

    /// `WriteMessage(payload)`: appends the message to `out`.
    ///
    /// # Errors
    /// [`Error::OutOfTurn`], [`Error::BadKey`], [`Error::Exhausted`].
    pub fn write_message(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let result = self.write(payload, out);
        zeroize_stack::<STACK>();
        result
    }

    #[inline(never)] // its stack is wiped by the caller
    fn write(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let (tokens, after) = self.turn(true)?;
        for token in tokens {
            match token {
                Token::E => {
                    let e = public(&self.fresh.e);
                    out.extend_from_slice(e.as_bytes());
                    self.mix_e(&e);
                }
                Token::E1 => {
                    let dk = decapsulation_key(&self.fresh.e1);
                    let e1 = dk.encapsulation_key().to_bytes();
                    self.symmetric.encrypt_and_hash(&e1, out)?;
                }
                Token::Ekem1 => {
                    let key = self.re1.take().ok_or(Error::OutOfTurn)?;
                    let m = (&*self.fresh.m).into();
                    let (ct, mut secret) = key.encapsulate_deterministic(m);
                    self.symmetric.encrypt_and_hash(&ct, out)?;
                    self.symmetric.mix_key(&secret);
                    secret.as_mut_slice().zeroize();
                }
                Token::S => {
                    let s = public(self.s.as_ref().ok_or(Error::OutOfTurn)?);
                    self.symmetric.encrypt_and_hash(s.as_bytes(), out)?;
                }
                other => self.mix_secret(*other)?,
            }
        }
        self.symmetric.encrypt_and_hash(payload, out)?;
        self.next = after;
        Ok(())
    }

    /// `ReadMessage(message)`: returns the payload.
    ///
    /// # Errors
    /// All of [`Error`]; after any of them the handshake has failed.
    pub fn read_message(&mut self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let result = self.read(message);
        zeroize_stack::<STACK>();
        result
    }

    #[inline(never)] // its stack is wiped by the caller
    fn read(&mut self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let (tokens, after) = self.turn(false)?;
        let mut rest = message;
        for token in tokens {
            let tag = if self.symmetric.has_key() { TAGLEN } else { 0 };
            match token {
                Token::E => {
                    let e: [u8; DHLEN] =
                        take(&mut rest, DHLEN)?.try_into().map_err(|_| Error::Length)?;
                    let e = PublicKey::from(e);
                    self.mix_e(&e);
                    self.re = Some(e);
                }
                Token::E1 => {
                    let e1 = take(&mut rest, KEM_KEYLEN + tag)?;
                    let e1 = self.symmetric.decrypt_and_hash(e1)?;
                    let e1 = e1.as_slice().try_into().map_err(|_| Error::Length)?;
                    let key = EncapsulationKey768::new(e1).map_err(|_| Error::BadKey)?;
                    self.re1 = Some(Box::new(key));
                }
                Token::Ekem1 => {
                    let ct = take(&mut rest, KEM_CTLEN + tag)?;
                    let ct = self.symmetric.decrypt_and_hash(ct)?;
                    let dk = decapsulation_key(&self.fresh.e1);
                    let mut secret = ml_kem::kem::Decapsulate::decapsulate_slice(&dk, &ct)
                        .map_err(|_| Error::Length)?;
                    self.symmetric.mix_key(&secret);
                    secret.as_mut_slice().zeroize();
                }
                Token::S => {
                    let s = take(&mut rest, DHLEN + tag)?;
                    let s = self.symmetric.decrypt_and_hash(s)?;
                    let s: [u8; DHLEN] = s.try_into().map_err(|_| Error::Length)?;
                    self.rs = Some(PublicKey::from(s));
                }
                other => self.mix_secret(*other)?,
            }
        }
        let payload = self.symmetric.decrypt_and_hash(rest)?;
        self.next = after;
        Ok(payload)
    }

    /// `Split4`; wipes everything else.
    ///
    /// # Errors
    /// [`Error::OutOfTurn`] before the last message.
    pub fn split(self) -> Result<Split, Error> {
        if self.next != self.pattern.messages.len() {
            return Err(Error::OutOfTurn);
        }
        let [initiator, responder, rk, kr] = hkdf(&self.symmetric.ck, &[]);
        Ok(Split { initiator, responder, rk, kr, h: self.symmetric.h })
    }

    /// Returns the tokens of the next message, if it is this side's turn to write (or to
    /// read), and the value of `next` after it. Until the message has succeeded, `next`
    /// is [`FAILED`], so that nothing can follow a failed message.
    fn turn(&mut self, write: bool) -> Result<(&'static [Token], usize), Error> {
        let initiator_writes = self.next.is_multiple_of(2);
        if (initiator_writes == self.initiator) != write {
            return Err(Error::OutOfTurn);
        }
        let tokens = *self.pattern.messages.get(self.next).ok_or(Error::OutOfTurn)?;
        let after = self.next + 1;
        self.next = FAILED;
        Ok((tokens, after))
    }

    fn mix_e(&mut self, e: &PublicKey) {
        self.symmetric.mix_hash(e.as_bytes());
        if self.pattern.has_psk() {
            self.symmetric.mix_key(e.as_bytes());
        }
    }

    /// Mixes one secret into the key, for a token that sends nothing.
    fn mix_secret(&mut self, token: Token) -> Result<(), Error> {
        // A token names the initiator's key first and the responder's second. So `es`
        // means our e and their s at the initiator, but our s and their e at the
        // responder.
        let s = self.s.as_ref();
        let (secret, public) = match (token, self.initiator) {
            (Token::Ee, _) => (Some(&self.fresh.e), self.re),
            (Token::Es, true) | (Token::Se, false) => (Some(&self.fresh.e), self.rs),
            (Token::Es, false) | (Token::Se, true) => (s, self.re),
            _ => {
                if self.psks.is_empty() {
                    return Err(Error::OutOfTurn);
                }
                self.symmetric.mix_key_and_hash(&*self.psks.remove(0));
                return Ok(());
            }
        };
        let (Some(secret), Some(public)) = (secret, public) else {
            return Err(Error::OutOfTurn);
        };
        let shared = StaticSecret::from(**secret).diffie_hellman(&public);
        // With a key of small order the result is zero, whatever our secret is.
        if !shared.was_contributory() {
            return Err(Error::BadKey);
        }
        self.symmetric.mix_key(shared.as_bytes());
        Ok(())
    }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], Error> {
    let (head, tail) = rest.split_at_checked(len).ok_or(Error::Length)?;
    *rest = tail;
    Ok(head)
}
