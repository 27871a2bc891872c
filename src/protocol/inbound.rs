//! The way in: `socket --fill--> sealed --open--> plain --drain--> stdout`.
//!
//! One buffer serves every step here too:
//!
//! ```text
//! | written | opened, to be written | received, not all of a frame yet | space |
//!          head                  opened                              tail
//! ```
//!
//! Every whole frame is opened as soon as it is here, so that control frames
//! are seen although the output is slow. When the space has gone, nothing more
//! is read from the socket, and TCP slows the peer down.

use crate::protocol::cipher::Cipher;
use crate::protocol::frame::{self, Kind, MAX_RECEIVED, Opened, Opener};
use std::io::IoSlice;

/// Bytes of the buffer: with twice as many, more of each byte's way misses the cache.
pub const CAPACITY: usize = 8 * MAX_RECEIVED;
/// Pieces that are written at once.
pub const PIECES: usize = 8;

/// Received bytes on their way to the output, and the key that opens.
pub struct Inbound {
    opener: Opener,
    buffer: Box<[u8]>,
    // head <= opened <= tail <= CAPACITY, and head and opened always stand at the start of
    // a frame: `data_at` reads the frames between them again.
    head: usize,
    opened: usize,
    tail: usize,
    /// Bytes of the content at `head` that are written: fewer than it has, or 0.
    written: usize,
    /// Bytes of content between `head` and `opened` that are not written. While it is 0,
    /// `head` may lag behind `opened`; `space` makes up for it.
    plain: usize,
}

impl Inbound {
    /// Empty, with the session's cipher, the direction's key and a buffer of [`CAPACITY`]
    /// bytes.
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

    /// Whether [`Inbound::space`] has room, by moving what is left if need be.
    pub fn has_space(&self) -> bool {
        self.tail < CAPACITY || self.has_slack()
    }

    /// Whether so much is used up that moving the rest down costs less than it frees.
    fn has_slack(&self) -> bool {
        let head = if self.plain == 0 { self.opened } else { self.head };
        head == self.tail || head >= CAPACITY / 2 && CAPACITY - self.tail < MAX_RECEIVED
    }

    /// Where the next bytes from the socket go; empty while the buffer is full.
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

    /// The socket gave `n` bytes, now at the start of [`Inbound::space`].
    pub fn received(&mut self, n: usize) {
        self.tail += n;
    }

    /// Opens the next frame, if all of it is here, and returns its kind and
    /// content. It counts once it is accepted, before the next one is opened.
    ///
    /// # Errors
    /// [`frame::Error`]: the session is over.
    pub fn open(&mut self) -> Result<Option<(Kind, &[u8])>, frame::Error> {
        let frame = &mut self.buffer[self.opened..self.tail];
        let Some(Opened { kind, content, .. }) = self.opener.open(frame)? else {
            return Ok(None);
        };
        Ok(Some((kind, &frame[content])))
    }

    /// The frame just opened is in order: if it is data, the output gets it. Returns its
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

    /// Another connection brings the frame that has begun once more.
    pub fn forget_rest(&mut self) {
        self.tail = self.opened;
    }

    /// How many bytes wait for the output.
    pub fn plain_len(&self) -> usize {
        self.plain
    }

    /// The next pieces for the output, in order; unused places are empty.
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

    /// The output took the first `n` bytes of [`Inbound::plain`].
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

    /// Throws away what waits for the output.
    pub fn discard(&mut self) {
        self.head = self.opened;
        self.written = 0;
        self.plain = 0;
    }

    /// The content that the opened frame at `at` has for the output, and the frame's length.
    fn data_at(&self, at: usize) -> Option<(&[u8], usize)> {
        let frame = &self.buffer[at..self.opened];
        let Opened { kind, content, len } = frame::reread(frame).ok()?;
        let content = if kind == Kind::Data { &frame[content] } else { &[] };
        Some((content, len))
    }
}
