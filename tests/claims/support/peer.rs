//! A second implementation of the scat protocol, as the peer in tests of the first.
//!
//! It shares no code with scat. The handshakes, the cipher and the hash come from the `snow`
//! crate. Only ML-KEM-768 is added, which snow does not have. Names in capitals are sections
//! of scat-protocol(7).
//!
//! snow reveals neither the chaining key nor a third output of `Split`. So the hash that it
//! uses here (`Tap`) records the chaining key when snow derives the transport keys from it,
//! with the only HKDF of a handshake that has no input.
//!
//! Three layers, for honest and for hostile peers: [`Peer::connect`] and [`Peer::accept`]
//! perform the whole handshake, with OPEN; [`Handshake`] makes and reads single flights as
//! bytes, without a socket; [`Peer::seal`] and [`Peer::write`] send anything.
//!
//! [`Peer::recv`] is strict: it returns only frames that TRANSPORT and ENDING allow. All calls
//! block, for [`LIMIT`] at most.

use super::scat::LIMIT;
use ml_kem::kem::{Decapsulate, KeyExport};
use snow::params::{CipherChoice, DHChoice, HashChoice, KemChoice, NoiseParams};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Kem, Random};
use snow::{Builder, HandshakeState};
use std::io::{self, Error, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};

// Frame types (TRANSPORT).
pub const DATA: u8 = 0;
pub const EOF: u8 = 1;
pub const DONE: u8 = 2;
pub const OPEN: u8 = 3;
pub const REKEY1: u8 = 4;
pub const REKEY2: u8 = 5;
pub const REKEY3: u8 = 6;
pub const ABORT: u8 = 7;

// What a connector offers in its preface and a listener chooses in flight 2 (HANDSHAKE).
pub const AES: u8 = 0x02;
pub const RECONNECT: u8 = 0x04;
const FEATURES: u8 = AES | RECONNECT;

// Sizes of the flights, in bytes (HANDSHAKE).
pub const FLIGHT1: usize = 1224;
pub const FLIGHT1_PSK: usize = 1256;
pub const FLIGHT2: usize = 1241;
pub const FLIGHT3: usize = 97;

const TAG: usize = 16;
/// Plaintexts are padded to a multiple of this many bytes.
const PAD: usize = 256;
/// The longest content that a padded frame can carry.
pub const CONTENT: usize = (65535 - TAG) / PAD * PAD - 3;

pub fn bad(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

fn noise_error(error: snow::Error) -> Error {
    Error::new(ErrorKind::InvalidData, error)
}

/// N bytes from the operating system.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let mut rng = DefaultResolver.resolve_rng().unwrap();
    rng.try_fill_bytes(&mut bytes).unwrap();
    bytes
}

fn blake2s() -> Box<dyn Hash> {
    DefaultResolver.resolve_hash(&HashChoice::Blake2s).unwrap()
}

/// BLAKE2s-256 of the concatenated parts.
pub fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut out = [0; 32];
    let mut hasher = blake2s();
    hasher.reset();
    parts.iter().for_each(|part| hasher.input(part));
    hasher.result(&mut out);
    out
}

/// The fresh secrets of one exchange: random, unless a test sets them.
#[derive(Clone)]
pub struct Ephemerals {
    /// X25519 secret before clamping. All zeros stand for a point of low order: the public key
    /// and all DH outputs are then zero.
    pub e: [u8; 32],
    /// d || z of the connector's ML-KEM key.
    pub kem_seed: [u8; 64],
    /// m of the listener's encapsulation.
    pub kem_m: [u8; 32],
    /// Send 1184 bytes of 0xff as ML-KEM key: they fail the modulus check.
    pub kem_overflow: bool,
}

impl Default for Ephemerals {
    fn default() -> Self {
        Ephemerals { e: random(), kem_seed: random(), kem_m: random(), kem_overflow: false }
    }
}

/// The settings of one side of a connection.
#[derive(Clone)]
pub struct Options {
    pub psk: Option<[u8; 32]>,
    /// 0: the static key is for this run only; 1: long-lived.
    pub id: u8,
    /// What a connector offers, or what a listener chooses if it is offered.
    pub features: u8,
    /// X25519 static secret; all zero as in [`Ephemerals::e`].
    pub static_key: [u8; 32],
    /// N_C or N_L.
    pub nonce: [u8; 32],
    pub ephemerals: Ephemerals,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            psk: None,
            id: 0,
            features: AES,
            static_key: random(),
            nonce: random(),
            ephemerals: Ephemerals::default(),
        }
    }
}

// ---- the primitives that snow uses ----

/// The secrets that went into a handshake's keys.
type Secrets = Arc<Mutex<Vec<[u8; 32]>>>;

/// snow's X25519, with the check for all-zero outputs that snow lacks.
struct CheckedDh {
    inner: Box<dyn Dh>,
    low_order: bool,
    secrets: Secrets,
}

impl Dh for CheckedDh {
    fn name(&self) -> &'static str {
        self.inner.name()
    }
    fn pub_len(&self) -> usize {
        self.inner.pub_len()
    }
    fn priv_len(&self) -> usize {
        self.inner.priv_len()
    }
    fn set(&mut self, secret: &[u8]) {
        self.low_order = secret.iter().all(|&b| b == 0);
        self.inner.set(secret);
    }
    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), snow::Error> {
        self.inner.generate(rng)
    }
    fn pubkey(&self) -> &[u8] {
        if self.low_order { &[0; 32] } else { self.inner.pubkey() }
    }
    fn privkey(&self) -> &[u8] {
        self.inner.privkey()
    }
    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        if self.low_order {
            out.fill(0);
            return Ok(());
        }
        self.inner.dh(public, out)?;
        let (shared, _) = out.split_first_chunk().ok_or(snow::Error::Dh)?;
        if *shared == [0; 32] {
            return Err(snow::Error::Dh);
        }
        self.secrets.lock().unwrap().push(*shared);
        Ok(())
    }
}

/// ML-KEM-768 with snow's interface; the caller supplies its randomness.
struct MlKem {
    fixed: Ephemerals,
    secret: Option<ml_kem::ml_kem_768::DecapsulationKey>,
    public: Vec<u8>,
    secrets: Secrets,
}

impl Kem for MlKem {
    fn name(&self) -> &'static str {
        "MLKEM768"
    }
    fn pub_len(&self) -> usize {
        1184
    }
    fn ciphertext_len(&self) -> usize {
        1088
    }
    fn shared_secret_len(&self) -> usize {
        32
    }
    fn generate(&mut self, _: &mut dyn Random) {
        let secret = ml_kem::ml_kem_768::DecapsulationKey::from_seed(self.fixed.kem_seed.into());
        self.public = secret.encapsulation_key().to_bytes().to_vec();
        if self.fixed.kem_overflow {
            self.public.fill(0xff);
        }
        self.secret = Some(secret);
    }
    fn pubkey(&self) -> &[u8] {
        &self.public
    }
    fn encapsulate(
        &self,
        public: &[u8],
        shared: &mut [u8],
        ciphertext: &mut [u8],
    ) -> Result<(usize, usize), snow::Error> {
        let key = public.try_into().map_err(|_| snow::Error::Kem)?;
        let key = ml_kem::ml_kem_768::EncapsulationKey::new(&key).map_err(|_| snow::Error::Kem)?;
        let (c, k) = key.encapsulate_deterministic(&self.fixed.kem_m.into());
        self.secrets.lock().unwrap().push(k.into());
        shared.copy_from_slice(&k);
        ciphertext.copy_from_slice(&c);
        Ok((k.len(), c.len()))
    }
    fn decapsulate(&self, ciphertext: &[u8], shared: &mut [u8]) -> Result<usize, snow::Error> {
        let secret = self.secret.as_ref().ok_or(snow::Error::Kem)?;
        let k = secret.decapsulate_slice(ciphertext).map_err(|_| snow::Error::Kem)?;
        self.secrets.lock().unwrap().push(k.into());
        shared.copy_from_slice(&k);
        Ok(k.len())
    }
}

type ChainingKey = Arc<Mutex<Option<[u8; 32]>>>;

/// snow's BLAKE2s; records the chaining key at `Split`, and all keys before it.
struct Tap {
    inner: Box<dyn Hash>,
    ck: ChainingKey,
    secrets: Secrets,
}

impl Hash for Tap {
    fn name(&self) -> &'static str {
        self.inner.name()
    }
    fn block_len(&self) -> usize {
        self.inner.block_len()
    }
    fn hash_len(&self) -> usize {
        self.inner.hash_len()
    }
    fn reset(&mut self) {
        self.inner.reset();
    }
    fn input(&mut self, data: &[u8]) {
        self.inner.input(data);
    }
    fn result(&mut self, out: &mut [u8]) {
        self.inner.result(out);
    }
    fn hkdf(
        &mut self,
        ck: &[u8],
        ikm: &[u8],
        outputs: usize,
        out1: &mut [u8],
        out2: &mut [u8],
        out3: &mut [u8],
    ) {
        if ikm.is_empty() {
            *self.ck.lock().unwrap() = ck.try_into().ok();
        }
        self.inner.hkdf(ck, ikm, outputs, out1, out2, out3);
        if !ikm.is_empty() {
            let key = if outputs == 3 { out3 } else { out2 };
            let made = [out1, key].map(|key| *key.first_chunk().expect("32 bytes"));
            self.secrets.lock().unwrap().extend(made);
        }
    }
}

struct Resolver {
    ephemerals: Ephemerals,
    ck: ChainingKey,
    secrets: Secrets,
}

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        DefaultResolver.resolve_rng()
    }
    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        let inner = DefaultResolver.resolve_dh(choice)?;
        Some(Box::new(CheckedDh { inner, low_order: false, secrets: self.secrets.clone() }))
    }
    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        let inner = DefaultResolver.resolve_hash(choice)?;
        Some(Box::new(Tap { inner, ck: self.ck.clone(), secrets: self.secrets.clone() }))
    }
    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
    fn resolve_kem(&self, _: &KemChoice) -> Option<Box<dyn Kem>> {
        Some(Box::new(MlKem {
            fixed: self.ephemerals.clone(),
            secret: None,
            public: Vec::new(),
            secrets: self.secrets.clone(),
        }))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Connector,
    Listener,
}

/// The outputs of Split4 and the handshake hash (h3, or hp after a ratchet).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keys {
    pub k_c2l: [u8; 32],
    pub k_l2c: [u8; 32],
    pub rk: [u8; 32],
    pub kr: [u8; 32],
    pub h: [u8; 32],
    /// What these were derived from: shared secrets, chaining and cipher keys.
    pub secrets: Vec<[u8; 32]>,
}

/// One run of a Noise pattern in snow; messages are bytes.
struct Noise {
    state: HandshakeState,
    ck: ChainingKey,
    secrets: Secrets,
}

impl Noise {
    /// `pattern` is the part of the name from "Noise_" to "_25519".
    fn new(
        role: Role,
        pattern: &str,
        prologue: &[u8],
        psk: Option<&[u8; 32]>,
        static_key: Option<&[u8; 32]>,
        ephemerals: &Ephemerals,
    ) -> io::Result<Noise> {
        // snow can parse only its own KEM, so it parses that, and then gets the name that goes into
        // the hash.
        let parsed: NoiseParams = format!("Noise_{pattern}_25519+Kyber1024_ChaChaPoly_BLAKE2s")
            .parse()
            .map_err(noise_error)?;
        let params = NoiseParams::new(
            format!("Noise_{pattern}_25519+MLKEM768_ChaChaPoly_BLAKE2s"),
            parsed.base,
            parsed.handshake,
            parsed.dh,
            parsed.kem,
            parsed.cipher,
            parsed.hash,
        );
        let ck = ChainingKey::default();
        let secrets = Secrets::default();
        let resolver =
            Resolver { ephemerals: ephemerals.clone(), ck: ck.clone(), secrets: secrets.clone() };
        let build = || {
            let mut builder = Builder::with_resolver(params, Box::new(resolver))
                .prologue(prologue)?
                .fixed_ephemeral_key_for_testing_only(&ephemerals.e);
            if let Some(key) = psk {
                builder = builder.psk(0, key)?;
            }
            if let Some(key) = static_key {
                builder = builder.local_private_key(key)?;
            }
            match role {
                Role::Connector => builder.build_initiator(),
                Role::Listener => builder.build_responder(),
            }
        };
        let state = build().map_err(noise_error)?;
        Ok(Noise { state, ck, secrets })
    }

    fn write(&mut self, payload: &[u8]) -> io::Result<Vec<u8>> {
        let mut message = vec![0; payload.len() + 4096];
        let len = self.state.write_message(payload, &mut message).map_err(noise_error)?;
        message.truncate(len);
        Ok(message)
    }

    fn read(&mut self, message: &[u8]) -> io::Result<Vec<u8>> {
        let mut payload = vec![0; message.len()];
        let len = self.state.read_message(message, &mut payload).map_err(noise_error)?;
        payload.truncate(len);
        Ok(payload)
    }

    fn h(&self) -> [u8; 32] {
        self.state.get_handshake_hash().try_into().unwrap()
    }

    /// Split4, after the last message. snow's HKDF has at most three outputs.
    fn split(&self) -> io::Result<Keys> {
        let ck = self.ck.lock().unwrap();
        let ck = ck.ok_or_else(|| bad("the handshake is not finished"))?;
        let (mut k_c2l, mut k_l2c, mut rk) = ([0; 32], [0; 32], [0; 32]);
        let mut hash = blake2s();
        hash.hkdf(&ck, &[], 3, &mut k_c2l, &mut k_l2c, &mut rk);
        let (mut temp, mut kr) = ([0; 32], [0; 32]);
        hash.hmac(&ck, &[], &mut temp);
        hash.hmac(&temp, &[&rk[..], &[4]].concat(), &mut kr);
        let h = self.h();
        let secrets = self.secrets.lock().unwrap().clone();
        Ok(Keys { k_c2l, k_l2c, rk, kr, h, secrets })
    }
}

// ---- HANDSHAKE and SHORT AUTHENTICATION STRING ----

/// The preface of a role, 8 bytes, that offers nothing.
pub fn preface(role: Role, psk: bool) -> [u8; 8] {
    let role = match role {
        Role::Connector => b'C',
        Role::Listener => b'L',
    };
    [b'S', b'C', b'A', b'T', b'1', role, u8::from(psk), b'\n']
}

/// The preface of a connector that offers `features`.
pub fn offering(psk: bool, features: u8) -> [u8; 8] {
    let mut preface = preface(Role::Connector, psk);
    preface[6] |= features;
    preface
}

/// Reads exactly `len` bytes.
pub fn read_flight(stream: &mut TcpStream, len: usize) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(LIMIT))?;
    let mut flight = vec![0; len];
    stream.read_exact(&mut flight)?;
    Ok(flight)
}

/// The three flights as bytes, prefaces included; no socket.
///
/// A connector calls `flight1`, `read_flight2`, `flight3`; a listener `read_flight1`,
/// `flight2`, `read_flight3`; then both call `into_peer`. snow rejects any other order.
pub struct Handshake {
    pub role: Role,
    pub options: Options,
    /// h1, h2, h3, as far as they are known.
    pub h: Vec<[u8; 32]>,
    /// The commitment, own or received.
    pub commit: [u8; 32],
    /// What the connector offers after flight 1; what the listener chose after flight 2.
    pub agreed: u8,
    noise: Noise,
}

impl Handshake {
    pub fn new(role: Role, options: Options) -> io::Result<Handshake> {
        let agreed = options.features;
        let noise = Handshake::noise(role, &options, agreed)?;
        Ok(Handshake { role, options, h: Vec::new(), commit: [0; 32], agreed, noise })
    }

    /// Starts the pattern with a connector that offers `offered`.
    fn noise(role: Role, options: &Options, offered: u8) -> io::Result<Noise> {
        let psk = options.psk.is_some();
        let prologue = [offering(psk, offered), preface(Role::Listener, psk)].concat();
        Noise::new(
            role,
            if psk { "XXhfs+psk0" } else { "XXhfs" },
            &prologue,
            options.psk.as_ref(),
            Some(&options.static_key),
            &options.ephemerals,
        )
    }

    /// Connector: flights 1 and 2 over `stream`.
    pub fn connect(stream: &mut TcpStream, options: Options) -> io::Result<Handshake> {
        let mut handshake = Handshake::new(Role::Connector, options)?;
        stream.write_all(&handshake.flight1()?)?;
        handshake.read_flight2(&read_flight(stream, FLIGHT2)?)?;
        Ok(handshake)
    }

    /// Size of flight 1 in bytes; a PSK makes it longer.
    pub fn flight1_len(&self) -> usize {
        match self.options.psk {
            None => FLIGHT1,
            Some(_) => FLIGHT1_PSK,
        }
    }

    /// What the handshake has mixed so far: shared secrets, chaining and cipher keys.
    pub fn secrets(&self) -> Vec<[u8; 32]> {
        self.noise.secrets.lock().unwrap().clone()
    }

    fn write(&mut self, payload: &[u8]) -> io::Result<Vec<u8>> {
        let message = self.noise.write(payload)?;
        self.h.push(self.noise.h());
        Ok(message)
    }

    fn read(&mut self, message: &[u8]) -> io::Result<Vec<u8>> {
        let payload = self.noise.read(message)?;
        self.h.push(self.noise.h());
        Ok(payload)
    }

    /// Checks and removes the peer's preface.
    fn after_preface<'a>(expected: &[u8; 8], flight: &'a [u8]) -> io::Result<&'a [u8]> {
        flight.strip_prefix(expected).ok_or_else(|| bad("another preface"))
    }

    pub fn flight1(&mut self) -> io::Result<Vec<u8>> {
        self.flight1_with(&[])
    }

    /// Flight 1 with any payload; an honest one has none.
    pub fn flight1_with(&mut self, payload: &[u8]) -> io::Result<Vec<u8>> {
        let message = self.write(payload)?;
        let preface = offering(self.options.psk.is_some(), self.options.features);
        Ok([&preface[..], &message].concat())
    }

    /// Accepts any offer.
    pub fn read_flight1(&mut self, flight: &[u8]) -> io::Result<()> {
        let offered = flight.get(6).map_or(0, |flags| flags & FEATURES);
        let expected = offering(self.options.psk.is_some(), offered);
        let message = Handshake::after_preface(&expected, flight)?;
        self.noise = Handshake::noise(self.role, &self.options, offered)?;
        self.agreed = offered & self.options.features;
        match self.read(message)?.is_empty() {
            true => Ok(()),
            false => Err(bad("flight 1 has a payload")),
        }
    }

    pub fn flight2(&mut self) -> io::Result<Vec<u8>> {
        self.commit = commit(&self.h[0], &self.options.nonce);
        let payload = [&[self.options.id | self.agreed][..], &self.commit].concat();
        self.flight2_with(&payload)
    }

    /// Flight 2 with any payload; an honest one has id || commit.
    pub fn flight2_with(&mut self, payload: &[u8]) -> io::Result<Vec<u8>> {
        let message = self.write(payload)?;
        let preface = preface(self.role, self.options.psk.is_some());
        Ok([&preface[..], &message].concat())
    }

    pub fn read_flight2(&mut self, flight: &[u8]) -> io::Result<()> {
        let expected = preface(Role::Listener, self.options.psk.is_some());
        let payload = self.read(Handshake::after_preface(&expected, flight)?)?;
        (self.agreed, self.commit) = Handshake::payload(&payload, self.options.features)?;
        Ok(())
    }

    pub fn flight3(&mut self) -> io::Result<Vec<u8>> {
        let payload = [&[self.options.id][..], &self.options.nonce].concat();
        self.flight3_with(&payload)
    }

    /// Flight 3 with any payload; an honest one has id || N_C.
    pub fn flight3_with(&mut self, payload: &[u8]) -> io::Result<Vec<u8>> {
        self.write(payload)
    }

    pub fn read_flight3(&mut self, flight: &[u8]) -> io::Result<()> {
        let payload = self.read(flight)?;
        Handshake::payload(&payload, 0).map(|_| ())
    }

    /// Returns what was chosen of `offered`, and what follows the id.
    fn payload(payload: &[u8], offered: u8) -> io::Result<(u8, [u8; 32])> {
        match payload.split_first() {
            Some((id, rest)) if id & !offered <= 1 => {
                Ok((id & offered, rest.try_into().map_err(|_| bad("payload length"))?))
            }
            _ => Err(bad("unknown id")),
        }
    }

    /// The peer's static public key, once received.
    pub fn peer_key(&self) -> Option<[u8; 32]> {
        self.noise.state.get_remote_static()?.try_into().ok()
    }

    /// Split4. The next step is OPEN: [`Peer::send_open`] or [`Peer::receive_open`].
    pub fn into_peer(self, stream: TcpStream) -> io::Result<Peer> {
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        stream.set_nodelay(true)?;
        let keys = self.noise.split()?;
        let aes = self.agreed & AES != 0;
        let c2l = CipherState::new(aes, &keys.k_c2l);
        let l2c = CipherState::new(aes, &keys.k_l2c);
        let (tx, rx, sas) = match self.role {
            Role::Connector => (c2l, l2c, [0; 6]),
            Role::Listener => (l2c, c2l, sas(&keys.h, &self.options.nonce)),
        };
        Ok(Peer {
            stream,
            role: self.role,
            sas,
            h1: self.h[0],
            commit: self.commit,
            nonce: self.options.nonce,
            aes,
            keys,
            tx,
            rx,
            ephemerals: None,
            ratchets: 0,
            last_frame: Vec::new(),
            ratchet: Ratchet::Idle,
            sent: Seen::default(),
            received: Seen::default(),
        })
    }
}

/// `HASH( "scat/1 commit\0" || h1 || N_L )`
pub fn commit(h1: &[u8; 32], n_l: &[u8; 32]) -> [u8; 32] {
    hash(&[b"scat/1 commit\0", h1, n_l])
}

/// `HASH( "scat/1 sas\0" || h3 || N_L )[0..6]`, the listener's half first.
pub fn sas(h3: &[u8; 32], n_l: &[u8; 32]) -> [u8; 6] {
    hash(&[b"scat/1 sas\0", h3, n_l])[..6].try_into().unwrap()
}

// ---- TRANSPORT ----

/// Key and counter of one direction; rekeys itself every 1024 frames.
pub struct CipherState {
    cipher: Box<dyn Cipher>,
    pub n: u64,
}

impl CipherState {
    fn new(aes: bool, key: &[u8; 32]) -> CipherState {
        let choice = if aes { CipherChoice::AESGCM } else { CipherChoice::ChaChaPoly };
        let mut cipher = DefaultResolver.resolve_cipher(&choice).unwrap();
        cipher.set(key);
        CipherState { cipher, n: 0 }
    }

    fn step(&mut self) {
        self.n += 1;
        if self.n.is_multiple_of(1024) {
            self.cipher.rekey();
        }
    }

    fn encrypt(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let mut out = vec![0; plaintext.len() + TAG];
        self.cipher.encrypt(self.n, &[], plaintext, &mut out);
        self.step();
        out
    }

    fn decrypt(&mut self, ciphertext: &[u8]) -> io::Result<Vec<u8>> {
        if ciphertext.len() < TAG {
            return Err(bad("a frame shorter than its tag"));
        }
        let mut out = vec![0; ciphertext.len() - TAG];
        self.cipher.decrypt(self.n, &[], ciphertext, &mut out).map_err(noise_error)?;
        self.step();
        Ok(out)
    }
}

/// type || clen || content, padded as an honest sender pads.
pub fn plaintext(kind: u8, content: &[u8]) -> Vec<u8> {
    let clen = u16::try_from(content.len()).expect("a content that fits a frame");
    let mut plaintext = vec![kind];
    plaintext.extend_from_slice(&clen.to_be_bytes());
    plaintext.extend_from_slice(content);
    plaintext.resize(plaintext.len().next_multiple_of(PAD), 0);
    plaintext
}

/// Which frames one direction has carried.
#[derive(Default)]
struct Seen {
    open: bool,
    eof: bool,
    done: bool,
    aborted: bool,
}

/// The state of a ratchet.
enum Ratchet {
    Idle,
    /// A connector that has made REKEY1 and waits for REKEY2.
    Started(Box<Noise>),
    /// A connector that has taken REKEY2 and must send REKEY3; these keys follow.
    Answered(Keys),
    /// A listener that has sent REKEY2 and waits for REKEY3; these keys follow.
    Answering(Keys),
}

/// A finished handshake and the frames after it.
pub struct Peer {
    /// Public for raw writes and for hanging up.
    pub stream: TcpStream,
    pub role: Role,
    /// The listener's half first. Zero at a connector before OPEN.
    pub sas: [u8; 6],
    pub h1: [u8; 32],
    pub commit: [u8; 32],
    /// Own N_C or N_L.
    pub nonce: [u8; 32],
    /// Whether AES-256-GCM seals the frames.
    pub aes: bool,
    /// The current keys; during a ratchet still the old ones.
    pub keys: Keys,
    pub tx: CipherState,
    pub rx: CipherState,
    /// Secrets of the next ratchet; random if `None`.
    pub ephemerals: Option<Ephemerals>,
    /// The number of finished ratchets.
    pub ratchets: u32,
    /// The last sealed frame, as sent.
    pub last_frame: Vec<u8>,
    ratchet: Ratchet,
    sent: Seen,
    received: Seen,
}

impl Peer {
    /// Connector: performs the handshake, with OPEN.
    pub fn connect(mut stream: TcpStream, options: Options) -> io::Result<Peer> {
        let mut handshake = Handshake::connect(&mut stream, options)?;
        stream.write_all(&handshake.flight3()?)?;
        let mut peer = handshake.into_peer(stream)?;
        peer.receive_open()?;
        Ok(peer)
    }

    /// Listener: performs the handshake, with OPEN.
    pub fn accept(stream: TcpStream, options: Options) -> io::Result<Peer> {
        let mut peer = Peer::accept_without_open(stream, options)?;
        peer.send_open()?;
        Ok(peer)
    }

    /// Listener: performs the handshake without OPEN.
    pub fn accept_without_open(mut stream: TcpStream, options: Options) -> io::Result<Peer> {
        let mut handshake = Handshake::new(Role::Listener, options)?;
        let flight1 = read_flight(&mut stream, handshake.flight1_len())?;
        handshake.read_flight1(&flight1)?;
        stream.write_all(&handshake.flight2()?)?;
        handshake.read_flight3(&read_flight(&mut stream, FLIGHT3)?)?;
        handshake.into_peer(stream)
    }

    pub fn send_open(&mut self) -> io::Result<()> {
        let n_l = self.nonce;
        self.send(OPEN, &n_l)
    }

    /// Connector: receives OPEN, which must be the first frame and match the commitment.
    pub fn receive_open(&mut self) -> io::Result<()> {
        match self.recv()? {
            (OPEN, _) => Ok(()),
            (ABORT, code) => Err(bad(&format!("ABORT {code:?} instead of OPEN"))),
            _ => Err(bad("the first frame is not OPEN")),
        }
    }

    // ---- sending ----

    /// Seals any plaintext as the next frame, and does not send it. The counter advances, so the
    /// test must send the frame in order, alter it, or lose it on purpose.
    pub fn seal(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let ciphertext = self.tx.encrypt(plaintext);
        let len = u16::try_from(ciphertext.len()).expect("a plaintext that fits a frame");
        self.last_frame = [&len.to_be_bytes()[..], &ciphertext].concat();
        self.last_frame.clone()
    }

    /// Sends bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Seals and sends any plaintext: wrong types, wrong clen, no padding.
    pub fn send_plaintext(&mut self, plaintext: &[u8]) -> io::Result<()> {
        let frame = self.seal(plaintext);
        self.write(&frame)
    }

    /// Sends a frame of any type, padded, whether or not it is allowed now.
    pub fn send(&mut self, kind: u8, content: &[u8]) -> io::Result<()> {
        match kind {
            EOF => self.sent.eof = true,
            DONE => self.sent.done = true,
            _ => (),
        }
        self.send_plaintext(&plaintext(kind, content))
    }

    /// Sends bytes as DATA, in the longest possible frames. It does not read meanwhile, so a peer
    /// that echoes must have room for the echo.
    pub fn send_data(&mut self, data: &[u8]) -> io::Result<()> {
        data.chunks(CONTENT).try_for_each(|content| self.send(DATA, content))
    }

    // ---- receiving ----

    /// Opens and parses one frame and checks its padding, but neither judges nor answers it. The
    /// end of the stream is `UnexpectedEof`.
    pub fn recv_raw(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut len = [0; 2];
        self.stream.read_exact(&mut len)?;
        let mut ciphertext = vec![0; usize::from(u16::from_be_bytes(len))];
        self.stream.read_exact(&mut ciphertext)?;
        let mut plaintext = self.rx.decrypt(&ciphertext)?;
        if plaintext.is_empty() || !plaintext.len().is_multiple_of(PAD) {
            return Err(bad("a plaintext that is not padded to 256 bytes"));
        }
        let kind = plaintext[0];
        let end = 3 + usize::from(u16::from_be_bytes([plaintext[1], plaintext[2]]));
        if end > plaintext.len() {
            return Err(bad("a clen that runs past the plaintext"));
        }
        if plaintext[end..].iter().any(|&b| b != 0) {
            return Err(bad("padding that is not zero"));
        }
        plaintext.truncate(end);
        Ok((kind, plaintext.split_off(3)))
    }

    /// Returns one frame, which must be allowed in this state. OPEN must match the commitment;
    /// REKEY frames are answered and then returned like others.
    pub fn recv(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let (kind, content) = self.recv_raw()?;
        let from_listener = self.role == Role::Connector;
        let allowed = match (kind, content.len()) {
            (DATA, _) => !self.received.eof,
            (EOF, 0) => !self.received.eof,
            (DONE, 0) => self.sent.eof && !self.received.done,
            (OPEN, 32) => from_listener && !self.received.open,
            (REKEY1, 1248) => !from_listener && matches!(self.ratchet, Ratchet::Idle),
            (REKEY2, 1152) => from_listener && matches!(self.ratchet, Ratchet::Started(_)),
            (REKEY3, 0) => !from_listener && matches!(self.ratchet, Ratchet::Answering(_)),
            (ABORT, 1) => true,
            _ => false,
        };
        if !allowed || self.received.aborted {
            return Err(bad(&format!("type {kind} is not allowed here")));
        }
        if from_listener && !self.received.open && kind != OPEN && kind != ABORT {
            return Err(bad("the first frame is not OPEN"));
        }
        match kind {
            EOF => self.received.eof = true,
            DONE => self.received.done = true,
            OPEN => self.take_open(&content)?,
            // A side that has sent both ends does not answer (RATCHET).
            REKEY1 if self.sent.eof && self.sent.done => (),
            REKEY1 => self.answer_rekey1(&content)?,
            REKEY2 => {
                self.take_rekey2(&content)?;
                self.send_rekey3()?;
            }
            REKEY3 => self.take_rekey3()?,
            ABORT => self.received.aborted = true,
            _ => (),
        }
        Ok((kind, content))
    }

    fn take_open(&mut self, content: &[u8]) -> io::Result<()> {
        let n_l = content.try_into().map_err(|_| bad("length of OPEN"))?;
        if commit(&self.h1, &n_l) != self.commit {
            return Err(bad("OPEN does not fit the commitment"));
        }
        self.received.open = true;
        self.sas = sas(&self.keys.h, &n_l);
        Ok(())
    }

    /// Returns the code of the next ABORT, and skips allowed frames before it.
    pub fn recv_abort(&mut self) -> io::Result<u8> {
        loop {
            if let (ABORT, code) = self.recv()? {
                return Ok(code[0]);
            }
        }
    }

    /// Whether the peer closed without another byte.
    pub fn recv_end(&mut self) -> io::Result<bool> {
        Ok(self.stream.read(&mut [0])? == 0)
    }

    // ---- RATCHET ----

    /// Starts PR from the current `rk` and `hp`.
    fn noise_for_ratchet(&mut self) -> io::Result<Noise> {
        let prologue = [b"scat/1 rekey\0", &self.keys.h[..]].concat();
        let ephemerals = self.ephemerals.take().unwrap_or_default();
        Noise::new(self.role, "NNhfs+psk0", &prologue, Some(&self.keys.rk), None, &ephemerals)
    }

    /// Connector: makes the content of REKEY1 and does not send it.
    pub fn rekey1(&mut self) -> io::Result<Vec<u8>> {
        let mut noise = self.noise_for_ratchet()?;
        let content = noise.write(&[])?;
        self.ratchet = Ratchet::Started(Box::new(noise));
        Ok(content)
    }

    /// Connector: sends REKEY1; [`Peer::recv`] does the rest.
    pub fn start_ratchet(&mut self) -> io::Result<()> {
        let content = self.rekey1()?;
        self.send(REKEY1, &content)
    }

    /// Listener: sends REKEY2 and switches to the new sending key.
    pub fn answer_rekey1(&mut self, content: &[u8]) -> io::Result<()> {
        let mut noise = self.noise_for_ratchet()?;
        if !noise.read(content)?.is_empty() {
            return Err(bad("REKEY1 has a payload"));
        }
        let answer = noise.write(&[])?;
        self.send(REKEY2, &answer)?;
        let keys = noise.split()?;
        self.tx = CipherState::new(self.aes, &keys.k_l2c);
        self.ratchet = Ratchet::Answering(keys);
        Ok(())
    }

    /// Connector: switches to the new receiving key. REKEY3 is still due.
    pub fn take_rekey2(&mut self, content: &[u8]) -> io::Result<()> {
        let Ratchet::Started(mut noise) = std::mem::replace(&mut self.ratchet, Ratchet::Idle)
        else {
            return Err(bad("REKEY2 without REKEY1"));
        };
        if !noise.read(content)?.is_empty() {
            return Err(bad("REKEY2 has a payload"));
        }
        let keys = noise.split()?;
        self.rx = CipherState::new(self.aes, &keys.k_l2c);
        self.ratchet = Ratchet::Answered(keys);
        Ok(())
    }

    /// Connector: sends REKEY3 and switches to the new sending key.
    pub fn send_rekey3(&mut self) -> io::Result<()> {
        let Ratchet::Answered(keys) = std::mem::replace(&mut self.ratchet, Ratchet::Idle) else {
            return Err(bad("no REKEY2 to answer"));
        };
        self.send(REKEY3, &[])?;
        self.tx = CipherState::new(self.aes, &keys.k_c2l);
        self.keys = keys;
        self.ratchets += 1;
        Ok(())
    }

    /// Listener: switches to the new receiving key.
    pub fn take_rekey3(&mut self) -> io::Result<()> {
        let Ratchet::Answering(keys) = std::mem::replace(&mut self.ratchet, Ratchet::Idle) else {
            return Err(bad("REKEY3 is not due"));
        };
        self.rx = CipherState::new(self.aes, &keys.k_c2l);
        self.keys = keys;
        self.ratchets += 1;
        Ok(())
    }

    // ---- ENDING ----

    /// Sends EOF if it has not yet, receives up to the peer's EOF, confirms it, waits for the
    /// peer's DONE and FIN, and returns the received DATA.
    pub fn finish(&mut self) -> io::Result<Vec<u8>> {
        if !self.sent.eof {
            self.send(EOF, &[])?;
        }
        let mut data = Vec::new();
        loop {
            if self.received.eof && !self.sent.done {
                self.send(DONE, &[])?;
            }
            if self.received.eof && self.received.done {
                break;
            }
            match self.recv()? {
                (DATA, content) => data.extend(content),
                (ABORT, code) => return Err(bad(&format!("ABORT {code:?}"))),
                _ => (),
            }
        }
        self.stream.shutdown(Shutdown::Write)?;
        // A connector may have answered a REKEY2 before it received our DONE.
        while self.stream.peek(&mut [0])? > 0 {
            match self.recv()? {
                (REKEY3, _) => (),
                (kind, _) => return Err(bad(&format!("type {kind} after the end"))),
            }
        }
        Ok(data)
    }
}
