//! Bytes that a socket took but the peer has not acknowledged, kept so that another
//! connection can send them again; and the ACK that this side owes.
//!
//! ```text
//! | let go | kept: not acknowledged                   | not given to any socket yet
//!          start            at                        end
//!                           `- this connection lacks -'
//! ```
//!
//! Offsets count the bytes of one direction's frames. The kept bytes are ciphertext: they
//! are sent again unchanged, and nothing is sealed twice.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Size of a piece of the memory, in bytes: it grows and shrinks by pieces.
const PIECE: usize = 1 << 16;

/// Longest time from a frame to the ACK that covers it.
const ACK_AFTER: Duration = Duration::from_secs(1);

/// The peer names an impossible offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Beyond everything that was given to a socket.
    Beyond,
    /// Before an offset that the peer has acknowledged.
    Back,
    /// The peer needs bytes that were dropped because there were too many.
    LetGo,
}

/// Sent bytes of one direction, from the oldest that the peer may ask for again.
#[derive(Default)]
pub struct Kept {
    /// Each has [`PIECE`] bytes, except the last.
    pieces: VecDeque<Vec<u8>>,
    /// Offset of the first byte of the first piece.
    base: u64,
    at: u64,
    end: u64,
    /// The count of the last ACK.
    count: u64,
    /// The highest count or offset that the peer has named.
    acknowledged: u64,
    /// Everything before this offset was dropped, acknowledged or not.
    let_go: u64,
}

impl Kept {
    /// Returns how many bytes are kept.
    pub fn amount(&self) -> u64 {
        self.end - self.start()
    }

    /// Returns the offset up to which the peer has acknowledged everything.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Returns bytes that an earlier connection took and this one has not; possibly only
    /// the first part of them, and nothing only if there are none.
    pub fn lacking(&self) -> &[u8] {
        let from = (self.at - self.base) as usize;
        self.pieces.get(from / PIECE).map_or(&[], |piece| &piece[from % PIECE..])
    }

    /// Records that the socket took the first `n` bytes of [`Kept::lacking`].
    pub fn resent(&mut self, n: usize) {
        self.at += n as u64;
    }

    /// Records that the socket took `bytes`, the next ones of the stream.
    pub fn sent(&mut self, mut bytes: &[u8]) {
        self.at += bytes.len() as u64;
        self.end = self.at;
        while !bytes.is_empty() {
            let Some(piece) = self.pieces.back_mut().filter(|piece| piece.len() < PIECE) else {
                self.pieces.push_back(Vec::new());
                continue;
            };
            let (head, tail) = bytes.split_at(bytes.len().min(PIECE - piece.len()));
            if piece.try_reserve(head.len()).is_err() {
                // Out of memory. The session continues, but this part of it cannot be
                // sent again.
                (self.base, self.let_go) = (self.end, self.end);
                return self.pieces.clear();
            }
            piece.extend_from_slice(head);
            bytes = tail;
        }
    }

    /// Handles an ACK.
    ///
    /// # Errors
    /// [`Error::Beyond`], or [`Error::Back`] if it is lower than the one before it.
    pub fn acknowledge(&mut self, count: u64) -> Result<(), Error> {
        if count < self.count {
            return Err(Error::Back);
        }
        if count > self.end {
            return Err(Error::Beyond);
        }
        self.count = count;
        // An older ACK can arrive after a higher offset.
        self.acknowledged = self.acknowledged.max(count);
        self.free();
        Ok(())
    }

    /// Continues from `offset` on another connection.
    ///
    /// # Errors
    /// [`Error`].
    pub fn go_on(&mut self, offset: u64) -> Result<(), Error> {
        if offset > self.end {
            return Err(Error::Beyond);
        }
        if offset < self.acknowledged {
            return Err(Error::Back);
        }
        if offset < self.let_go {
            return Err(Error::LetGo);
        }
        (self.acknowledged, self.at) = (offset, offset);
        self.free();
        Ok(())
    }

    /// Keeps `limit` bytes and drops older ones. Call it only while this connection lacks
    /// nothing.
    pub fn let_go_beyond(&mut self, limit: u64) {
        let oldest = self.end.saturating_sub(limit);
        if oldest > self.start() {
            self.let_go = oldest;
            self.free();
        }
    }

    /// Returns the offset of the oldest byte that is kept.
    fn start(&self) -> u64 {
        self.acknowledged.max(self.let_go)
    }

    fn free(&mut self) {
        // The peer acknowledged bytes that this connection has not sent again: skip them.
        self.at = self.at.max(self.start());
        while let Some(piece) = self.pieces.front() {
            let next = self.base + piece.len() as u64;
            if next > self.start() {
                return;
            }
            self.pieces.pop_front();
            self.base = next;
        }
    }
}

/// The ACK that this side owes.
#[derive(Default)]
pub struct Owed {
    /// Bytes of the peer's frames that have verified, and how many of them the last ACK
    /// covers.
    verified: u64,
    covered: u64,
    /// When the first frame not covered must be acknowledged.
    by: Option<Instant>,
}

impl Owed {
    /// Notes that a frame of `len` bytes has verified. An ACK by itself makes no other
    /// ACK due, or the two ends would acknowledge each other forever.
    pub fn note(&mut self, len: usize, is_ack: bool, now: Instant) {
        self.verified += len as u64;
        if !is_ack {
            self.by.get_or_insert(now + ACK_AFTER);
        }
    }

    /// Returns the bytes of the peer's frames that have verified.
    pub fn verified(&self) -> u64 {
        self.verified
    }

    /// Returns when the next ACK is due: at once if it would cover `most` bytes.
    pub fn due(&self, most: u64, now: Instant) -> Option<Instant> {
        if self.verified - self.covered >= most { Some(now) } else { self.by }
    }

    /// Whether an ACK covers every frame that needs one.
    pub fn is_settled(&self) -> bool {
        self.by.is_none()
    }

    /// Records that an ACK is sealed; returns its count.
    pub fn settle(&mut self) -> u64 {
        (self.covered, self.by) = (self.verified, None);
        self.verified
    }
}
