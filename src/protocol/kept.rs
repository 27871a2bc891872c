//! What was given to a socket and is not acknowledged yet, so that it can be given to
//! another one; and what this side has to acknowledge.
//!
//! ```text
//! | let go | acknowledged not: kept                   | not given to any socket yet
//!        start              at                       end
//!                           `- what this connection lacks -'
//! ```
//!
//! Offsets count the bytes of one direction's frames. What is kept is ciphertext: it is
//! sent again as it was, and nothing is sealed twice.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Bytes of a piece of the memory, which grows and shrinks by these.
const PIECE: usize = 1 << 16;

/// From a frame to the ACK that covers it, at most.
const ACK_AFTER: Duration = Duration::from_secs(1);

/// The peer names an offset that it cannot mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Beyond everything that any socket got.
    Beyond,
    /// Before what the peer has acknowledged.
    Back,
    /// What the peer lacks was let go, because there was too much of it.
    LetGo,
}

/// Sent bytes of one direction, from the oldest that may be asked for again.
#[derive(Default)]
pub struct Kept {
    /// Each of [`PIECE`] bytes but the last one.
    pieces: VecDeque<Vec<u8>>,
    /// Offset of the first byte of the first piece.
    base: u64,
    at: u64,
    end: u64,
    /// The count of the last ACK.
    count: u64,
    /// The highest count or offset.
    acknowledged: u64,
    /// What lies before it was let go, acknowledged or not.
    let_go: u64,
}

impl Kept {
    /// Bytes that are kept.
    pub fn amount(&self) -> u64 {
        self.end - self.start()
    }

    /// Offset up to which the peer has everything, as far as it has said so.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// What another connection had and this one has not, up to some length; empty when
    /// there is nothing of it.
    pub fn lacking(&self) -> &[u8] {
        let from = (self.at - self.base) as usize;
        self.pieces.get(from / PIECE).map_or(&[], |piece| &piece[from % PIECE..])
    }

    /// The socket took the first `n` bytes of [`Kept::lacking`].
    pub fn resent(&mut self, n: usize) {
        self.at += n as u64;
    }

    /// The socket took `bytes`, the next ones of the stream.
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
                // The session goes on; only this part of it cannot be sent again.
                (self.base, self.let_go) = (self.end, self.end);
                return self.pieces.clear();
            }
            piece.extend_from_slice(head);
            bytes = tail;
        }
    }

    /// An ACK came.
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
        // It may be lower than an offset: an ACK that was sent before that.
        self.acknowledged = self.acknowledged.max(count);
        self.free();
        Ok(())
    }

    /// Another connection goes on from `offset`.
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

    /// Keeps `limit` bytes and lets older ones go. To be called while this connection
    /// lacks nothing.
    pub fn let_go_beyond(&mut self, limit: u64) {
        let oldest = self.end.saturating_sub(limit);
        if oldest > self.start() {
            self.let_go = oldest;
            self.free();
        }
    }

    /// Offset of the oldest byte that is kept.
    fn start(&self) -> u64 {
        self.acknowledged.max(self.let_go)
    }

    fn free(&mut self) {
        // A peer that acknowledges what this connection has not sent does without it.
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
    /// When a frame that it does not cover has to be.
    by: Option<Instant>,
}

impl Owed {
    /// A frame of `len` bytes has verified. An ACK makes no other one due by itself: the
    /// two ends would never stop.
    pub fn note(&mut self, len: usize, is_ack: bool, now: Instant) {
        self.verified += len as u64;
        if !is_ack {
            self.by.get_or_insert(now + ACK_AFTER);
        }
    }

    /// Bytes of the peer's frames that have verified.
    pub fn verified(&self) -> u64 {
        self.verified
    }

    /// When an ACK is due, at the latest: at once if it would cover `most` bytes.
    pub fn due(&self, most: u64, now: Instant) -> Option<Instant> {
        if self.verified - self.covered >= most { Some(now) } else { self.by }
    }

    /// An ACK is sealed; returns its count.
    pub fn settle(&mut self) -> u64 {
        (self.covered, self.by) = (self.verified, None);
        self.verified
    }
}
