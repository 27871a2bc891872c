//! Received data: `socket --fill--> sealed --open--> plain --drain--> stdout`.
//!
//! One buffer serves all steps:
//!
//! ```text
//! | written | opened, to be written | received, not all of a frame yet | space |
//!          head                  opened                              tail
//! ```
//!
//! Every complete frame is opened as soon as it has arrived, so that control frames are
//! seen even if the output is slow. When the buffer is full, scat stops reading the
//! socket, and TCP slows the peer down.

use crate::protocol::cipher::Cipher;
use crate::protocol::frame::{self, Kind, MAX_RECEIVED, Opened, Opener};
use std::io::IoSlice;

/// Bytes of the buffer. With twice as many, more of the data misses the cache.
pub const CAPACITY: usize = 8 * MAX_RECEIVED;
/// Pieces that one write takes.
pub const PIECES: usize = 8;

/// Received bytes on their path to the output, and the key that opens them.
pub struct Inbound {
    opener: Opener,
    buffer: Box<[u8]>,
    // Invariant: head <= opened <= tail <= CAPACITY. head and opened are at the start of
    // a frame, because `data_at` reads the frames between them again.
    head: usize,
    opened: usize,
    tail: usize,
    /// Bytes of the content at `head` that are written: fewer than it has, or 0.
    written: usize,
    /// Bytes of content between `head` and `opened` that are not written yet. While it is
    /// 0, `head` may lag behind `opened`; `space` corrects that.
    plain: usize,
}

impl Inbound {
    /// Starts empty, with the session's cipher, the direction's key and a buffer of
    /// [`CAPACITY`] bytes.
    pub fn new(cipher: Cipher, k: &[u8; 32], buffer: Box<[u8]>) -> Self {
        Inbound {
            opener: Opener::new(cipher, k),
            buffer,
            head: 0,
            opened: 0,
            tail: 0,
            written: 0,
            plain: 0,
        }
    }

    /// Opens with a new key from the next frame on.
    pub fn switch(&mut self, k: &[u8; 32]) {
        self.opener.switch(k);
    }

    /// Whether [`Inbound::space`] has room, if need be after moving the remaining bytes.
    pub fn has_space(&self) -> bool {
        self.tail < CAPACITY || self.has_slack()
    }

    /// Whether moving the remaining bytes down copies fewer bytes than it frees.
    fn has_slack(&self) -> bool {
        let head = if self.plain == 0 { self.opened } else { self.head };
        head == self.tail || head >= CAPACITY / 2 && CAPACITY - self.tail < MAX_RECEIVED
    }

    /// Returns where the next bytes from the socket go; empty while the buffer is full.
    pub fn space(&mut self) -> &mut [u8] {
        if self.plain == 0 {
            self.head = self.opened;
        }
        if self.has_slack() {
            self.buffer.copy_within(self.head..self.tail, 0);
            self.opened -= self.head;
            self.tail -= self.head;
            self.head = 0;
        }
        &mut self.buffer[self.tail..]
    }

    /// Records `n` bytes from the socket, which are now at the start of
    /// [`Inbound::space`].
    pub fn received(&mut self, n: usize) {
        self.tail += n;
    }

    /// Opens the next frame if it is complete, and returns its kind and content. The
    /// caller must accept it before it opens the next one.
    ///
    /// # Errors
    /// [`frame::Error`]: the session has failed.
    pub fn open(&mut self) -> Result<Option<(Kind, &[u8])>, frame::Error> {
        let frame = &mut self.buffer[self.opened..self.tail];
        let Some(Opened { kind, content, .. }) = self.opener.open(frame)? else {
            return Ok(None);
        };
        Ok(Some((kind, &frame[content])))
    }

    /// Accepts the frame just opened. If it is data, it waits for the output. Returns its
    /// length on the wire.
    pub fn accept(&mut self) -> usize {
        let Ok(Opened { kind, content, len }) = frame::reread(&self.buffer[self.opened..]) else {
            return 0;
        };
        self.opened += len;
        if kind == Kind::Data {
            self.plain += content.len();
        }
        len
    }

    /// Drops an incomplete frame, which another connection will bring again.
    pub fn forget_rest(&mut self) {
        self.tail = self.opened;
    }

    /// Returns how many bytes wait for the output.
    pub fn plain_len(&self) -> usize {
        self.plain
    }

    /// Returns the next pieces for the output, in order; unused places are empty.
    pub fn plain(&self) -> [IoSlice<'_>; PIECES] {
        let mut at = self.head;
        let mut written = self.written;
        std::array::from_fn(|_| {
            while at < self.opened {
                let Some(content) = self.data_at(at) else { break };
                at += content.1;
                let piece = &content.0[written..];
                written = 0;
                if !piece.is_empty() {
                    return IoSlice::new(piece);
                }
            }
            IoSlice::new(&[])
        })
    }

    /// Records that the output took the first `n` bytes of [`Inbound::plain`].
    pub fn written(&mut self, n: usize) {
        self.plain -= n;
        self.written += n;
        while self.head < self.opened {
            let Some((content, len)) = self.data_at(self.head) else { break };
            let clen = content.len();
            if self.written < clen {
                break;
            }
            self.written -= clen;
            self.head += len;
        }
    }

    /// Drops what waits for the output.
    pub fn discard(&mut self) {
        self.head = self.opened;
        self.written = 0;
        self.plain = 0;
    }

    /// Returns the content that the opened frame at `at` has for the output, and the
    /// frame's length.
    fn data_at(&self, at: usize) -> Option<(&[u8], usize)> {
        let frame = &self.buffer[at..self.opened];
        let Opened { kind, content, len } = frame::reread(frame).ok()?;
        let content = if kind == Kind::Data { &frame[content] } else { &[] };
        Some((content, len))
    }
}
