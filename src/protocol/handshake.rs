//! The three flights that open a session.
//!
//! ```text
//! connector                                       listener
//! Initiator --flight 1: preface, e, e1---------->  Responder
//!           <-flight 2: preface, e, ekem1, s, es-  ResponderReply
//! InitiatorReply
//!           --flight 3: s, se------------------->
//! Connected                                        Accepted
//! ```
//!
//! Each transition takes its state by value, so that a flight out of order or used twice
//! does not compile. Flights 2 and 3 are arrays, because each has one length; flight 1,
//! which is longer with a pre-shared key, is a slice whose length is checked. Sizes and
//! offsets are those of scat-protocol(7).

use crate::protocol::cipher::Cipher;
use crate::protocol::noise::{self, Ephemerals, HandshakeState, Pattern, Token};
use crate::protocol::reconnect;
use crate::protocol::role::Role;
use crate::protocol::sas;
use crate::protocol::secret::Secret;

/// Bytes of a preface.
pub const PREFACE_LEN: usize = 8;
/// Offset of a preface's flags.
const FLAGS_AT: usize = 6;
/// Bytes of flight 2, with or without a pre-shared key.
pub const FLIGHT2_LEN: usize = 1241;
/// Bytes of flight 3.
pub const FLIGHT3_LEN: usize = 97;
/// Largest flight 1, in bytes: the one under a pre-shared key.
pub const FLIGHT1_MAX: usize = 1256;
/// Bytes of a session nonce, `N_C` or `N_L`.
pub const NONCELEN: usize = 32;

const P0: Pattern = Pattern {
    name: "Noise_XXhfs_25519+MLKEM768_ChaChaPoly_BLAKE2s",
    messages: &[
        &[Token::E, Token::E1],
        &[Token::E, Token::Ee, Token::Ekem1, Token::S, Token::Es],
        &[Token::S, Token::Se],
    ],
};

const P1: Pattern = Pattern {
    name: "Noise_XXhfs+psk0_25519+MLKEM768_ChaChaPoly_BLAKE2s",
    messages: &[
        &[Token::Psk, Token::E, Token::E1],
        &[Token::E, Token::Ee, Token::Ekem1, Token::S, Token::Es],
        &[Token::S, Token::Se],
    ],
};

/// Features that C's preface offers, or that L's flight 2 chooses and both then use.
///
/// No choice is weaker than another, and the transcript covers both messages: if a bit is
/// altered, the handshake fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// The frames are sealed with AES-256-GCM.
    pub aes: bool,
    /// A lost connection may be replaced by another one.
    pub reconnect: bool,
}

impl Features {
    /// No feature.
    pub const NONE: Features = Features { aes: false, reconnect: false };
    /// All features.
    pub const ALL: Features = Features { aes: true, reconnect: true };
    /// The bit of [`Features::aes`] in a preface's flags and in an `id`.
    const AES: u8 = 0x02;
    /// The bit of [`Features::reconnect`] there.
    const RECONNECT: u8 = 0x04;

    /// Returns the features whose bits are set in `byte`, and ignores its other bits.
    fn of(byte: u8) -> Self {
        Features { aes: byte & Self::AES != 0, reconnect: byte & Self::RECONNECT != 0 }
    }

    /// Returns the bits of these features; the others are zero.
    fn bits(self) -> u8 {
        let aes = if self.aes { Self::AES } else { 0 };
        aes | if self.reconnect { Self::RECONNECT } else { 0 }
    }

    /// Returns the features that both sets have.
    fn and(self, other: Features) -> Self {
        Features::of(self.bits() & other.bits())
    }
}

/// Returns the first 8 bytes that `role` sends: `"SCAT1" || role || flags || "\n"`. Only
/// the connector offers anything.
pub fn preface(role: Role, psk: bool, offered: Features) -> [u8; PREFACE_LEN] {
    [b'S', b'C', b'A', b'T', b'1', letter(role), psk as u8 | offered.bits(), b'\n']
}

/// Returns what the preface of `flight1` offers.
fn offered(flight1: &[u8]) -> Features {
    flight1.get(FLAGS_AT).map_or(Features::NONE, |&flags| Features::of(flags))
}

/// The preface's byte for `role`.
fn letter(role: Role) -> u8 {
    match role {
        Role::Connector => b'C',
        Role::Listener => b'L',
    }
}

/// Result of checking the other end's preface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preface {
    /// Correct so far, or too short to judge.
    Unfinished,
    /// It matches ours.
    Fits,
    /// Not a preface: the other end does not speak scat.
    Foreign,
    /// A preface that does not match ours.
    Differs(Mismatch),
}

/// How the other end's preface differs from the expected one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// Another version: the version's byte.
    Version(u8),
    /// The same role as this side.
    SameRole,
    /// A listener that has a session and keeps its port only for that one.
    Busy,
    /// The connector of another session that has lost its connection.
    Reconnects,
    /// It uses a pre-shared key and this side does not, or the other way round.
    Psk,
    /// This version, with a role or flag that does not exist yet.
    Unknown,
}

/// Checks the bytes received so far of a preface that should come from `peer`; `psk`
/// tells whether this side has a pre-shared key. A connector may offer anything.
pub fn check_preface(received: &[u8], peer: Role, psk: bool) -> Preface {
    let expected = preface(peer, psk, Features::NONE);
    let len = received.len().min(PREFACE_LEN);
    let received = &received[..len];
    let magic = len.min(4);
    if received[..magic] != expected[..magic] {
        return Preface::Foreign;
    }
    let Some(mut received) = received.first_chunk::<PREFACE_LEN>().copied() else {
        return Preface::Unfinished;
    };
    if peer == Role::Connector {
        received[FLAGS_AT] &= !Features::ALL.bits();
    }
    if received == expected {
        return Preface::Fits;
    }
    Preface::Differs(match received {
        [_, _, _, _, version, _, _, _] if version != expected[4] => Mismatch::Version(version),
        [_, _, _, _, _, role, _, _] if role == letter(peer.peer()) => Mismatch::SameRole,
        _ if peer == Role::Listener && received == reconnect::BUSY => Mismatch::Busy,
        _ if peer == Role::Connector && received == reconnect::R1_PREFACE => Mismatch::Reconnects,
        [_, _, _, _, _, role, 0 | 1, b'\n'] if role == expected[5] => Mismatch::Psk,
        _ => Mismatch::Unknown,
    })
}

/// Bytes of flight 1.
pub fn flight1_len(psk: bool) -> usize {
    if psk { FLIGHT1_MAX } else { 1224 }
}

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Altered, garbled, or made with another key.
    Noise(noise::Error),
    /// The other end's static key is our own: this is a connection to oneself.
    Myself,
    /// A payload's `id` byte has an unknown bit or one that was not offered.
    UnknownId,
}

impl From<noise::Error> for Error {
    fn from(error: noise::Error) -> Self {
        Error::Noise(error)
    }
}

/// What this side uses in every handshake of its run. Wiped on drop; no `Debug`.
pub struct Local {
    s: Secret,
    long_lived: bool,
    psk: Option<Secret>,
    features: Features,
}

impl Local {
    /// Takes a static secret (32 bytes, before clamping), whether it is `long_lived`
    /// (kept between runs), a pre-shared key if there is one, and the features that a
    /// connector offers or that a listener accepts.
    pub fn new(s: Secret, long_lived: bool, psk: Option<Secret>, features: Features) -> Self {
        Local { s, long_lived, psk, features }
    }

    /// Whether its static key is kept for longer than this run.
    pub fn is_long_lived(&self) -> bool {
        self.long_lived
    }

    /// Whether there is a pre-shared key.
    pub fn has_psk(&self) -> bool {
        self.psk.is_some()
    }

    /// Returns the preface of this side as `role`.
    pub fn preface(&self, role: Role) -> [u8; PREFACE_LEN] {
        let offered = if role == Role::Connector { self.features } else { Features::NONE };
        preface(role, self.has_psk(), offered)
    }

    /// `id (1) || nonce (32)`: the payload of flights 2 and 3.
    fn payload(&self, chosen: Features, value: &[u8; 32]) -> [u8; 33] {
        let mut payload = [0; 33];
        payload[0] = self.long_lived as u8 | chosen.bits();
        payload[1..].copy_from_slice(value);
        payload
    }

    /// Starts a handshake. Its prologue contains the offer as the listener received it.
    fn start(&self, initiator: bool, offered: Features, fresh: Ephemerals) -> HandshakeState {
        let (pattern, psks) = match &self.psk {
            None => (&P0, Vec::new()),
            Some(psk) => (&P1, vec![Secret::copy(psk)]),
        };
        let mut prologue = [0; 2 * PREFACE_LEN];
        let connector = preface(Role::Connector, self.has_psk(), offered);
        prologue[..PREFACE_LEN].copy_from_slice(&connector);
        prologue[PREFACE_LEN..].copy_from_slice(&self.preface(Role::Listener));
        let s = Some(Secret::copy(&self.s));
        HandshakeState::new(pattern, initiator, &prologue, s, fresh, psks)
    }

    /// Reads the other end's static key and payload from a message just read, and the
    /// features that it has chosen from `offered`.
    fn peer(
        &self,
        noise: &HandshakeState,
        payload: &[u8],
        offered: Features,
    ) -> Result<(Peer, Features, [u8; 32]), Error> {
        let key = noise.rs().ok_or(noise::Error::OutOfTurn)?;
        let payload: &[u8; 33] = payload.try_into().map_err(|_| noise::Error::Length)?;
        let chosen = Features::of(payload[0]).and(offered);
        let long_lived = match payload[0] & !chosen.bits() {
            0 => false,
            1 => true,
            _ => return Err(Error::UnknownId),
        };
        if key == *noise::public(&self.s).as_bytes() {
            return Err(Error::Myself);
        }
        let mut value = [0; 32];
        value.copy_from_slice(&payload[1..]);
        Ok((Peer { key, long_lived }, chosen, value))
    }
}

/// The identity of the other end, which the handshake proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Static key, 32 bytes.
    pub key: [u8; 32],
    /// Whether it keeps that key for longer than this run, so that pinning it is useful.
    pub long_lived: bool,
}

/// The keys of a session, and the inputs of its short authentication string.
pub struct Keys {
    /// Connector to listener.
    pub c2l: Secret,
    /// Listener to connector.
    pub l2c: Secret,
    /// Initial key of the ratchet.
    pub rk: Secret,
    /// Key that authenticates reconnections, if they were agreed on.
    pub kr: Option<Secret>,
    /// Transcript hash after flight 3.
    pub h3: [u8; 32],
    /// Cipher of the frames.
    pub cipher: Cipher,
}

impl Keys {
    fn new(noise: HandshakeState, agreed: Features) -> Result<Self, Error> {
        let split = noise.split()?;
        Ok(Keys {
            c2l: split.initiator,
            l2c: split.responder,
            rk: split.rk,
            kr: agreed.reconnect.then_some(split.kr),
            h3: split.h,
            cipher: if agreed.aes { Cipher::AesGcm } else { Cipher::ChaChaPoly },
        })
    }
}

/// The connector after writing flight 1.
pub struct Initiator<'a> {
    local: &'a Local,
    noise: HandshakeState,
    h1: [u8; 32],
    n_c: [u8; NONCELEN],
}

impl<'a> Initiator<'a> {
    /// `-> e, e1`: also returns flight 1, [`flight1_len`] bytes.
    ///
    /// `n_c` is the nonce of this connection; like all of `fresh`, it must be new.
    ///
    /// # Errors
    /// [`Error::Noise`] if the cipher fails, which it does not at this length.
    pub fn new(
        local: &'a Local,
        fresh: Ephemerals,
        n_c: &[u8; NONCELEN],
    ) -> Result<(Self, Vec<u8>), Error> {
        let mut noise = local.start(true, local.features, fresh);
        let mut flight1 = local.preface(Role::Connector).to_vec();
        noise.write_message(&[], &mut flight1)?;
        let h1 = noise.h();
        Ok((Initiator { local, noise, h1, n_c: *n_c }, flight1))
    }

    /// `<- e, ee, ekem1, s, es`. The caller must check [`InitiatorReply::peer`] before it
    /// writes flight 3.
    ///
    /// # Errors
    /// [`Error`], after which nothing was revealed.
    pub fn read_flight2(
        mut self,
        flight2: &[u8; FLIGHT2_LEN],
    ) -> Result<InitiatorReply<'a>, Error> {
        let payload = self.noise.read_message(&flight2[PREFACE_LEN..])?;
        let (peer, agreed, commit) = self.local.peer(&self.noise, &payload, self.local.features)?;
        Ok(InitiatorReply { before: self, peer, agreed, commit })
    }
}

/// The connector after reading flight 2. Nothing is revealed yet.
pub struct InitiatorReply<'a> {
    before: Initiator<'a>,
    /// Who answered.
    pub peer: Peer,
    agreed: Features,
    commit: [u8; 32],
}

impl InitiatorReply<'_> {
    /// `-> s, se`. Sending these bytes reveals this side's share of the short
    /// authentication string, so no later failure may invite a retry.
    ///
    /// # Errors
    /// [`Error::Noise`] with [`noise::Error::BadKey`] if `se` is all zero.
    pub fn write_flight3(self) -> Result<(Connected, [u8; FLIGHT3_LEN]), Error> {
        let Initiator { local, mut noise, h1, n_c } = self.before;
        let mut flight3 = Vec::with_capacity(FLIGHT3_LEN);
        noise.write_message(&local.payload(Features::NONE, &n_c), &mut flight3)?;
        let flight3 = flight3.try_into().map_err(|_| noise::Error::Length)?;
        let keys = Keys::new(noise, self.agreed)?;
        Ok((Connected { keys, peer: self.peer, h1, commit: self.commit }, flight3))
    }
}

/// The connector after flight 3: it has the keys and waits for OPEN.
pub struct Connected {
    /// The session's keys.
    pub keys: Keys,
    /// Who answered.
    pub peer: Peer,
    /// Transcript hash after flight 1, which the commitment covers.
    pub h1: [u8; 32],
    /// The commitment that OPEN must match.
    pub commit: [u8; 32],
}

/// The listener, before flight 1.
pub struct Responder<'a> {
    local: &'a Local,
}

impl<'a> Responder<'a> {
    /// Starts a handshake with one stranger.
    pub fn new(local: &'a Local) -> Self {
        Responder { local }
    }

    /// `-> e, e1` and `<- e, ee, ekem1, s, es`: reads a flight 1 of [`flight1_len`] bytes
    /// with a matching preface, and returns flight 2. `n_l` is the nonce that flight 2
    /// commits to and OPEN reveals.
    ///
    /// # Errors
    /// [`Error`]: the stranger must be rejected.
    pub fn answer(
        self,
        flight1: &[u8],
        fresh: Ephemerals,
        n_l: &[u8; NONCELEN],
    ) -> Result<(ResponderReply<'a>, [u8; FLIGHT2_LEN]), Error> {
        let local = self.local;
        let offered = offered(flight1);
        let agreed = local.features.and(offered);
        let mut noise = local.start(false, offered, fresh);
        let message = flight1.get(PREFACE_LEN..).ok_or(noise::Error::Length)?;
        if !noise.read_message(message)?.is_empty() {
            return Err(noise::Error::Length.into());
        }
        let commit = sas::commit(&noise.h(), n_l);
        let mut flight2 = local.preface(Role::Listener).to_vec();
        noise.write_message(&local.payload(agreed, &commit), &mut flight2)?;
        let flight2 = flight2.try_into().map_err(|_| noise::Error::Length)?;
        Ok((ResponderReply { local, noise, agreed, n_l: Secret::copy(n_l) }, flight2))
    }
}

/// The listener after writing flight 2: it has committed but not opened.
pub struct ResponderReply<'a> {
    local: &'a Local,
    noise: HandshakeState,
    agreed: Features,
    n_l: Secret,
}

impl ResponderReply<'_> {
    /// `-> s, se`.
    ///
    /// # Errors
    /// [`Error`]: the stranger must be rejected; `n_l` stays secret.
    pub fn read_flight3(mut self, flight3: &[u8; FLIGHT3_LEN]) -> Result<Accepted, Error> {
        let payload = self.noise.read_message(flight3)?;
        let (peer, _, _n_c) = self.local.peer(&self.noise, &payload, Features::NONE)?;
        Ok(Accepted { keys: Keys::new(self.noise, self.agreed)?, peer, n_l: self.n_l })
    }
}

/// The listener after flight 3: it has the keys and has not opened its commitment.
pub struct Accepted {
    /// The session's keys.
    pub keys: Keys,
    /// Who connected.
    pub peer: Peer,
    /// Content of OPEN. A process may reveal it only once in its life.
    pub n_l: Secret,
}
