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
//! Each transition takes its state by value, so that a flight out of order or a
//! second use does not compile. Flights 2 and 3 are arrays of the only length
//! that fits; flight 1, which is longer under a pre-shared key, is a slice whose
//! length is checked. Sizes and offsets are those of scat-protocol(7).

use crate::protocol::cipher::Cipher;
use crate::protocol::noise::{self, Ephemerals, HandshakeState, Pattern, Token};
use crate::protocol::reconnect;
use crate::protocol::role::Role;
use crate::protocol::sas;
use crate::protocol::secret::Secret;

/// Bytes of a preface.
pub const PREFACE_LEN: usize = 8;
/// Where a preface's flags stand.
const FLAGS_AT: usize = 6;
/// Bytes of flight 2, which is of one size with and without a pre-shared key.
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

/// What C's preface offers, what L's flight 2 chooses of it, and so what both agree on.
///
/// No choice is weaker than another, and the transcript covers both messages: an altered
/// bit breaks the handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// The frames are sealed with AES-256-GCM.
    pub aes: bool,
    /// A lost connection may be replaced by another one.
    pub reconnect: bool,
}

impl Features {
    /// Nothing offered, nothing chosen.
    pub const NONE: Features = Features { aes: false, reconnect: false };
    /// All there are.
    pub const ALL: Features = Features { aes: true, reconnect: true };
    /// The bit of [`Features::aes`] in a preface's flags and in an `id`.
    const AES: u8 = 0x02;
    /// The bit of [`Features::reconnect`] there.
    const RECONNECT: u8 = 0x04;

    /// Those whose bits are set in `byte`, whatever its other bits are.
    fn of(byte: u8) -> Self {
        Features { aes: byte & Self::AES != 0, reconnect: byte & Self::RECONNECT != 0 }
    }

    /// Their bits, the others zero.
    fn bits(self) -> u8 {
        let aes = if self.aes { Self::AES } else { 0 };
        aes | if self.reconnect { Self::RECONNECT } else { 0 }
    }

    /// Those that both have.
    fn and(self, other: Features) -> Self {
        Features::of(self.bits() & other.bits())
    }
}

/// The first 8 bytes that `role` sends: `"SCAT1" || role || flags || "\n"`. Only the
/// connector offers anything.
pub fn preface(role: Role, psk: bool, offered: Features) -> [u8; PREFACE_LEN] {
    [b'S', b'C', b'A', b'T', b'1', letter(role), psk as u8 | offered.bits(), b'\n']
}

/// What the preface of `flight1` offers.
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

/// What comes of the other end's preface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preface {
    /// Right so far, or not to be judged before all of it is there.
    Unfinished,
    /// It fits ours.
    Fits,
    /// It is none: whoever sent it does not speak scat.
    Foreign,
    /// It is one that does not fit ours.
    Differs(Mismatch),
}

/// How the other end's preface differs from the one that fits ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// It speaks another version: the version's byte.
    Version(u8),
    /// It plays the same role as this side.
    SameRole,
    /// It is a listener that has a session, and keeps its port for that.
    Busy,
    /// It is the connector of another session, which has lost its connection.
    Reconnects,
    /// It has a pre-shared key and this side has none, or the other way round.
    Psk,
    /// It speaks this version in a way that does not exist yet.
    Unknown,
}

/// Judges the bytes received so far of a preface that should come from `peer`,
/// `psk` saying whether we have a pre-shared key. A connector may offer anything.
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
    /// A payload's `id` byte has a bit that does not exist or was not offered.
    UnknownId,
}

impl From<noise::Error> for Error {
    fn from(error: noise::Error) -> Self {
        Error::Noise(error)
    }
}

/// What this side brings to every handshake of its run. No `Debug`, wiped on drop.
pub struct Local {
    s: Secret,
    long_lived: bool,
    psk: Option<Secret>,
    features: Features,
}

impl Local {
    /// With a static secret (32 bytes, before clamping), `long_lived` if it is kept
    /// between runs, the pre-shared key if there is one, and what a connector offers or a
    /// listener chooses where it is offered.
    pub fn new(s: Secret, long_lived: bool, psk: Option<Secret>, features: Features) -> Self {
        Local { s, long_lived, psk, features }
    }

    /// Whether its key is kept for longer than this run.
    pub fn is_long_lived(&self) -> bool {
        self.long_lived
    }

    /// Whether there is a pre-shared key.
    pub fn has_psk(&self) -> bool {
        self.psk.is_some()
    }

    /// The preface of this side as `role`.
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

    /// The prologue has what was offered as the listener received it.
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

    /// Reads the other end's static key and payload out of a message just read, and
    /// what it has chosen of `offered`.
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

/// Who the other end says, and by the handshake proves, that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Static key, 32 bytes.
    pub key: [u8; 32],
    /// Whether it keeps that key for longer than this run, so that pinning it makes sense.
    pub long_lived: bool,
}

/// The keys of a session and what its short authentication string is made of.
pub struct Keys {
    /// Connector to listener.
    pub c2l: Secret,
    /// Listener to connector.
    pub l2c: Secret,
    /// What the ratchet starts from.
    pub rk: Secret,
    /// What authenticates reconnections, where they were agreed on.
    pub kr: Option<Secret>,
    /// Transcript hash after flight 3.
    pub h3: [u8; 32],
    /// What seals the frames.
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

/// The connector, its flight 1 written.
pub struct Initiator<'a> {
    local: &'a Local,
    noise: HandshakeState,
    h1: [u8; 32],
    n_c: [u8; NONCELEN],
}

impl<'a> Initiator<'a> {
    /// `-> e, e1`: also returns flight 1, [`flight1_len`] bytes.
    ///
    /// `n_c` is the nonce of this connection, fresh like all of `fresh`.
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

    /// `<- e, ee, ekem1, s, es`. The caller judges [`InitiatorReply::peer`]
    /// before it goes on.
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

/// The connector, flight 2 read and nothing revealed yet.
pub struct InitiatorReply<'a> {
    before: Initiator<'a>,
    /// Who answered.
    pub peer: Peer,
    agreed: Features,
    commit: [u8; 32],
}

impl InitiatorReply<'_> {
    /// `-> s, se`. Once these bytes are sent, this side has revealed its share of
    /// the short authentication string: no failure after it invites a retry.
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

/// The connector after flight 3: has the keys and still waits for OPEN.
pub struct Connected {
    /// The session's keys.
    pub keys: Keys,
    /// Who answered.
    pub peer: Peer,
    /// Transcript hash after flight 1, which the commitment covers.
    pub h1: [u8; 32],
    /// What OPEN must fit.
    pub commit: [u8; 32],
}

/// The listener, before flight 1.
pub struct Responder<'a> {
    local: &'a Local,
}

impl<'a> Responder<'a> {
    /// For one stranger.
    pub fn new(local: &'a Local) -> Self {
        Responder { local }
    }

    /// `-> e, e1` and `<- e, ee, ekem1, s, es`: reads a flight 1 of
    /// [`flight1_len`] bytes, whose preface fits, and returns flight 2. `n_l` is the nonce that
    /// flight 2 commits to and OPEN reveals.
    ///
    /// # Errors
    /// [`Error`]: the stranger is to be turned away.
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

/// The listener, flight 2 written: committed, not opened.
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
    /// [`Error`]: the stranger is to be turned away; the opening stays unsaid.
    pub fn read_flight3(mut self, flight3: &[u8; FLIGHT3_LEN]) -> Result<Accepted, Error> {
        let payload = self.noise.read_message(flight3)?;
        let (peer, _, _n_c) = self.local.peer(&self.noise, &payload, Features::NONE)?;
        Ok(Accepted { keys: Keys::new(self.noise, self.agreed)?, peer, n_l: self.n_l })
    }
}

/// The listener after flight 3: has the keys and has not opened its commitment.
pub struct Accepted {
    /// The session's keys.
    pub keys: Keys,
    /// Who connected.
    pub peer: Peer,
    /// The opening, content of OPEN. To be revealed once in a process's life.
    pub n_l: Secret,
}
