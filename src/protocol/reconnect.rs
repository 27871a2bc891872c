//! The three flights that move a session to another connection.
//!
//! ```text
//! connector                                          listener
//! Asked    --R1: preface, rid, n_C, offset, tag--->  Tickets
//!          <-R2: preface, n_L, offset, tag---------  Answered
//! Proven   --R3: tag------------------------------>  Proven
//! ```
//!
//! Each tag is an HMAC under `kr`, which only the two ends of the session have, and
//! covers everything before it. An offset counts the bytes of the other end's frames that
//! have verified: from there the sender of the flight wants the stream to continue. Act
//! on it only when [`Proven`], because anyone can replay an old R1.
//!
//! As in [`super::handshake`], a transition takes its state by value, and a flight is an
//! array, because it has one length.

use crate::protocol::hash::hash;
use crate::protocol::noise::hmac;
use crate::protocol::secret::Secret;
use std::collections::BTreeSet;
use subtle::ConstantTimeEq;

/// Bytes of R1.
pub const R1_LEN: usize = 96;
/// Bytes of R2.
pub const R2_LEN: usize = 80;
/// Bytes of R3.
pub const R3_LEN: usize = 32;
/// Bytes of a nonce, `n_C` or `n_L`.
pub const NONCELEN: usize = 32;
/// Bytes of `rid`.
const RIDLEN: usize = 16;
/// Bytes of a tag.
const TAGLEN: usize = 32;

/// The first bytes of R1.
pub const R1_PREFACE: [u8; 8] = *b"SCAT1R\0\n";
/// The first bytes of R2.
pub const R2_PREFACE: [u8; 8] = *b"SCAT1A\0\n";
/// A listener's reply to flight 1 while it has a session.
pub const BUSY: [u8; 8] = *b"SCAT1B\0\n";

/// Answers that a listener remembers. A connector that fails dials at most every 10 s, so
/// an honest one takes months to reach this.
const ANSWERS: usize = 1 << 20;

/// A flight that is not from the peer or this session, or was already answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// The offset from which the peer wants the stream to continue, proven to be the peer's
/// own and fresh.
#[derive(Debug, PartialEq, Eq)]
pub struct Proven(u64);

impl Proven {
    /// Returns how many bytes of this side's frames have verified at the peer.
    pub fn offset(self) -> u64 {
        self.0
    }
}

/// What both ends of a session keep for reconnections.
pub struct Tickets {
    kr: Secret,
    rid: [u8; RIDLEN],
    /// Listener: every `n_C` that was answered.
    answered: BTreeSet<[u8; NONCELEN]>,
}

impl Tickets {
    /// Takes the fourth key of the session's handshake.
    pub fn new(kr: Secret) -> Self {
        let mut rid = [0; RIDLEN];
        rid.copy_from_slice(&hash(&[b"scat/1 reconnect\0", &*kr])[..RIDLEN]);
        Tickets { kr, rid, answered: BTreeSet::new() }
    }

    /// Connector: also returns R1. `n_c` is fresh; `offset` counts the bytes of the
    /// listener's frames that have verified.
    pub fn ask(&self, n_c: &[u8; NONCELEN], offset: u64) -> (Asked, [u8; R1_LEN]) {
        let body = [&R1_PREFACE[..], &self.rid, n_c, &offset.to_be_bytes()].concat();
        let r1 = with_tag(&self.kr, R1_LABEL, &body);
        (Asked { kr: Secret::copy(&self.kr), r1 }, r1)
    }

    /// Listener: reads R1, and also returns R2. `n_l` is fresh; `offset` counts the bytes
    /// of the connector's frames that have verified.
    ///
    /// # Errors
    /// [`Refused`], and nothing has changed: close that connection and send nothing.
    pub fn answer(
        &mut self,
        r1: &[u8; R1_LEN],
        n_l: &[u8; NONCELEN],
        offset: u64,
    ) -> Result<(Answered, [u8; R2_LEN]), Refused> {
        let start = [&R1_PREFACE[..], &self.rid].concat();
        let (n_c, theirs) = verified(&self.kr, R1_LABEL, &start, r1)?;
        // A replayed R1 does not prove that the peer is there.
        if self.answered.len() >= ANSWERS || !self.answered.insert(n_c) {
            return Err(Refused);
        }
        let body = [&R2_PREFACE[..], n_l, &offset.to_be_bytes()].concat();
        let r2 = with_tag(&self.kr, &r2_label(r1), &body);
        Ok((Answered { r3: r3(&self.kr, r1, &r2), theirs }, r2))
    }
}

/// The connector after writing R1.
pub struct Asked {
    kr: Secret,
    r1: [u8; R1_LEN],
}

impl Asked {
    /// Reads R2, and also returns R3. Frames may follow R3 at once.
    ///
    /// # Errors
    /// [`Refused`]: this attempt has failed.
    pub fn read_r2(self, r2: &[u8; R2_LEN]) -> Result<(Proven, [u8; R3_LEN]), Refused> {
        let (_n_l, theirs) = verified(&self.kr, &r2_label(&self.r1), &R2_PREFACE, r2)?;
        Ok((Proven(theirs), r3(&self.kr, &self.r1, r2)))
    }
}

/// The listener after writing R2.
pub struct Answered {
    r3: [u8; R3_LEN],
    theirs: u64,
}

impl Answered {
    /// Reads R3, which proves that R1 was the peer's and not a replay.
    ///
    /// # Errors
    /// [`Refused`]: this attempt has failed.
    pub fn read_r3(self, r3: &[u8; R3_LEN]) -> Result<Proven, Refused> {
        if self.r3.ct_eq(r3).into() { Ok(Proven(self.theirs)) } else { Err(Refused) }
    }
}

const R1_LABEL: &[u8] = b"scat/1 R1\0";

fn r2_label(r1: &[u8; R1_LEN]) -> Vec<u8> {
    [b"scat/1 R2\0", &r1[..]].concat()
}

fn r3(kr: &Secret, r1: &[u8; R1_LEN], r2: &[u8; R2_LEN]) -> [u8; R3_LEN] {
    *hmac(kr, &[b"scat/1 R3\0", &r1[..]].concat(), r2)
}

/// Appends the tag to the `body` of R1 or R2.
fn with_tag<const N: usize>(kr: &Secret, label: &[u8], body: &[u8]) -> [u8; N] {
    let mut flight = [0; N];
    flight[..N - TAGLEN].copy_from_slice(body);
    flight[N - TAGLEN..].copy_from_slice(&*hmac(kr, label, body));
    flight
}

/// Verifies R1 or R2, which begins with `start`, and returns its nonce and offset.
fn verified(
    kr: &Secret,
    label: &[u8],
    start: &[u8],
    flight: &[u8],
) -> Result<([u8; NONCELEN], u64), Refused> {
    let (body, tag) = flight.split_last_chunk::<TAGLEN>().ok_or(Refused)?;
    let rest = body.strip_prefix(start).ok_or(Refused)?;
    let (nonce, rest) = rest.split_first_chunk().ok_or(Refused)?;
    let offset = rest.try_into().map_err(|_| Refused)?;
    match hmac(kr, label, body).ct_eq(tag).into() {
        true => Ok((*nonce, u64::from_be_bytes(offset))),
        false => Err(Refused),
    }
}
