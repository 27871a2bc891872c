//! Data to send: `stdin --fill--> plain --seal--> sealed --drain--> socket`.
//!
//! One buffer serves all steps. The input is read to where a frame's content belongs,
//! sealed there, and written from there. A full buffer takes no more data, but each
//! control frame has a reserved place behind the data, so that a peer that does not read
//! never keeps this side from answering.

use crate::protocol::cipher::Cipher;
use crate::protocol::frame::{
    self, CONTENT_AT, HEADLEN, Kind, MAX_CONTENT, MAX_FRAME, PAD, Sealer, frame_len,
};
use crate::protocol::ratchet::REKEY2_LEN;
use std::io::IoSliceMut;

/// Frames of data that may wait at once. Two keep the socket busy and fit the processor's
/// cache; four and eight were slower.
pub const SLOTS: usize = 2;
/// Bytes for data.
pub const BULK: usize = SLOTS * MAX_FRAME;
/// Bytes reserved for control frames: EOF, DONE, ABORT, ACK, and one REKEY2 or REKEY3.
/// (OPEN comes before any data, and REKEY1 uses the place of a data frame.) A peer that has
/// not read these cannot require more, and an ACK waits until the previous one is sent.
const RESERVE: usize = 4 * frame_len(8) + frame_len(REKEY2_LEN);
/// Bytes of the buffer.
pub const CAPACITY: usize = BULK + RESERVE;

/// Content of the first frames. A receiver can open a frame only once it is complete, and
/// a new connection carries 14 kB in its first round trip (RFC 6928).
const FIRST_CONTENT: usize = 4096 - HEADLEN;

/// Sealed bytes on their path to the socket, and the key that seals.
pub struct Outbound {
    sealer: Sealer,
    buffer: Box<[u8]>,
    head: usize,
    tail: usize,
    /// Bytes of data so far; decides how large the next frames are.
    filled: u64,
}

impl Outbound {
    /// Starts empty, with the session's cipher, the direction's key and a buffer of
    /// [`CAPACITY`] bytes.
    pub fn new(cipher: Cipher, k: &[u8; 32], buffer: Box<[u8]>) -> Self {
        Outbound { sealer: Sealer::new(cipher, k), buffer, head: 0, tail: 0, filled: 0 }
    }

    /// Seals with a new key from the next frame on.
    pub fn switch(&mut self, k: &[u8; 32]) {
        self.sealer.switch(k);
    }

    /// Whether at least one more frame of data fits once the waiting bytes are moved
    /// down. At most one frame is copied to make room for a frame.
    pub fn has_room(&self) -> bool {
        self.sealed().len() <= BULK - MAX_FRAME
    }

    /// Returns where the next bytes of input go: the contents of the frames that fit. All
    /// are empty unless [`Outbound::has_room`].
    pub fn room(&mut self) -> [IoSliceMut<'_>; SLOTS] {
        if self.slots() == 0 && self.has_room() {
            self.compact();
        }
        let most = self.most_content();
        let len = frame_len(most);
        let end = self.tail + self.slots() * len;
        let mut frames = self.buffer[self.tail..end].chunks_exact_mut(len);
        std::array::from_fn(|_| {
            let frame = frames.next().unwrap_or_default();
            let content = frame.get_mut(CONTENT_AT..CONTENT_AT + most);
            IoSliceMut::new(content.unwrap_or_default())
        })
    }

    /// Returns the size of the next frames' content: a quarter of the data so far, so
    /// that no frame takes long to arrive while TCP is still probing the speed of the
    /// path.
    fn most_content(&self) -> usize {
        let quarter = usize::try_from(self.filled / 4).unwrap_or(usize::MAX);
        let whole = quarter.clamp(FIRST_CONTENT, MAX_CONTENT) + HEADLEN;
        whole / PAD * PAD - HEADLEN
    }

    /// Seals the `n` bytes of input that are now at the start of [`Outbound::room`].
    ///
    /// # Errors
    /// [`frame::Error::Exhausted`].
    pub fn filled(&mut self, n: usize) -> Result<(), frame::Error> {
        let most = self.most_content();
        let mut rest = n;
        while rest > 0 {
            let clen = rest.min(most);
            self.tail += self.sealer.seal(Kind::Data, &mut self.buffer[self.tail..], clen)?;
            rest -= clen;
        }
        self.filled += n as u64;
        Ok(())
    }

    /// Seals one control frame after what already waits.
    ///
    /// # Errors
    /// [`frame::Error::Exhausted`].
    pub fn control(&mut self, kind: Kind, content: &[u8]) -> Result<(), frame::Error> {
        if self.buffer.len() - self.tail < frame_len(content.len()) {
            self.compact();
        }
        let frame = &mut self.buffer[self.tail..];
        frame[CONTENT_AT..CONTENT_AT + content.len()].copy_from_slice(content);
        self.tail += self.sealer.seal(kind, frame, content.len())?;
        Ok(())
    }

    /// Returns what waits for the socket.
    pub fn sealed(&self) -> &[u8] {
        &self.buffer[self.head..self.tail]
    }

    /// Records that the socket took the first `n` bytes of [`Outbound::sealed`].
    pub fn drained(&mut self, n: usize) {
        self.head += n;
        if self.head == self.tail {
            self.head = 0;
            self.tail = 0;
        }
    }

    /// Returns how many full data frames fit after what waits.
    fn slots(&self) -> usize {
        BULK.saturating_sub(self.tail) / MAX_FRAME
    }

    fn compact(&mut self) {
        self.buffer.copy_within(self.head..self.tail, 0);
        self.tail -= self.head;
        self.head = 0;
    }
}
