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

/// Bytes of R1.
pub const R1_LEN: usize = 96;
/// Bytes of R2.
pub const R2_LEN: usize = 80;
/// Bytes of R3.
pub const R3_LEN: usize = 32;
/// Bytes of a nonce, `n_C` or `n_L`.
pub const NONCELEN: usize = 32;
/// Bytes of a preface, and of an offset.
const WORD: usize = 8;
/// Bytes of `rid`.
const RIDLEN: usize = 16;
/// Bytes of a tag.
const TAGLEN: usize = 32;

/// The first bytes of R1.
pub const R1_PREFACE: [u8; WORD] = *b"SCAT1R\0\n";
/// The first bytes of R2.
pub const R2_PREFACE: [u8; WORD] = *b"SCAT1A\0\n";
/// A listener's reply to flight 1 while it has a session.
pub const BUSY: [u8; WORD] = *b"SCAT1B\0\n";

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
        let mut r1 = [0; R1_LEN];
        let mut rest = &mut r1[..];
        put(&mut rest, &R1_PREFACE);
        put(&mut rest, &self.rid);
        put(&mut rest, n_c);
        put(&mut rest, &offset.to_be_bytes());
        let tag = tag(&self.kr, b"scat/1 R1\0", &r1[..R1_LEN - TAGLEN]);
        r1[R1_LEN - TAGLEN..].copy_from_slice(&tag);
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
        let (body, received) = r1.split_at(R1_LEN - TAGLEN);
        let mut rest = body;
        let is_ours = take(&mut rest) == R1_PREFACE && take(&mut rest) == self.rid;
        if !is_ours || !is_equal(&tag(&self.kr, b"scat/1 R1\0", body), received) {
            return Err(Refused);
        }
        // A replayed R1 does not prove that the peer is there.
        if self.answered.len() >= ANSWERS || !self.answered.insert(take(&mut rest)) {
            return Err(Refused);
        }
        let theirs = u64::from_be_bytes(take(&mut rest));

        let mut r2 = [0; R2_LEN];
        let mut rest = &mut r2[..];
        put(&mut rest, &R2_PREFACE);
        put(&mut rest, n_l);
        put(&mut rest, &offset.to_be_bytes());
        let r2_tag = r2_tag(&self.kr, r1, &r2);
        r2[R2_LEN - TAGLEN..].copy_from_slice(&r2_tag);
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
        let mut rest = &r2[..];
        let is_r2 = take(&mut rest) == R2_PREFACE;
        let received = &r2[R2_LEN - TAGLEN..];
        if !is_r2 || !is_equal(&r2_tag(&self.kr, &self.r1, r2), received) {
            return Err(Refused);
        }
        let _n_l: [u8; NONCELEN] = take(&mut rest);
        let theirs = u64::from_be_bytes(take(&mut rest));
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
        if is_equal(&self.r3, r3) { Ok(Proven(self.theirs)) } else { Err(Refused) }
    }
}

fn r2_tag(kr: &Secret, r1: &[u8; R1_LEN], r2: &[u8; R2_LEN]) -> [u8; TAGLEN] {
    let label = b"scat/1 R2\0";
    tag(kr, &[&label[..], r1].concat(), &r2[..R2_LEN - TAGLEN])
}

fn r3(kr: &Secret, r1: &[u8; R1_LEN], r2: &[u8; R2_LEN]) -> [u8; R3_LEN] {
    let label = b"scat/1 R3\0";
    tag(kr, &[&label[..], r1].concat(), r2)
}

fn tag(kr: &Secret, label: &[u8], body: &[u8]) -> [u8; TAGLEN] {
    *hmac(kr, label, body)
}

/// Compares in constant time.
fn is_equal(a: &[u8; TAGLEN], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

fn put(rest: &mut &mut [u8], bytes: &[u8]) {
    let (head, tail) = std::mem::take(rest).split_at_mut(bytes.len());
    head.copy_from_slice(bytes);
    *rest = tail;
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let mut taken = [0; N];
    let (head, tail) = rest.split_at(N);
    taken.copy_from_slice(head);
    *rest = tail;
    taken
}
