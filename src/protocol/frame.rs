//! Frames: bytes of one direction, sealed and opened in place.
//!
//! ```text
//! frame     = len (2) || ciphertext (len)
//! plaintext = type (1) || clen (2) || content (clen) || zero padding
//! ```
//!
//! The plaintext is padded to a multiple of 256 bytes, so that a keystroke and
//! the end of the input look alike: 274 bytes.

use crate::protocol::cipher::{Cipher, TAGLEN};
use crate::protocol::noise::{self, CipherState, MAXMSGLEN};
use std::ops::Range;

/// Bytes of `len`.
const LENLEN: usize = 2;
/// Bytes of `type` and `clen`.
pub(super) const HEADLEN: usize = 3;
/// Where a frame's content begins.
pub const CONTENT_AT: usize = LENLEN + HEADLEN;
/// Plaintexts are padded to a multiple of this.
pub(super) const PAD: usize = 256;
/// Longest plaintext that is a multiple of [`PAD`] and fits a Noise message.
const MAX_PLAIN: usize = (MAXMSGLEN - TAGLEN) / PAD * PAD;
/// Most content in one frame, in bytes.
pub const MAX_CONTENT: usize = MAX_PLAIN - HEADLEN;
/// Bytes of a frame with [`MAX_CONTENT`], the longest that scat sends.
pub const MAX_FRAME: usize = LENLEN + MAX_PLAIN + TAGLEN;
/// Bytes of a frame with the highest possible `len`, the longest that a peer can send.
pub const MAX_RECEIVED: usize = LENLEN + MAXMSGLEN;
/// Frames between two symmetric rekeys of a direction.
const REKEY_EVERY: u64 = 1024;

/// The type byte of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Bytes of the stream.
    Data = 0,
    /// End of the sender's own data.
    Eof = 1,
    /// Everything up to the peer's EOF has been written out.
    Done = 2,
    /// The listener's opening, 32 bytes.
    Open = 3,
    /// Ratchet message 1, 1248 bytes.
    Rekey1 = 4,
    /// Ratchet message 2, 1152 bytes.
    Rekey2 = 5,
    /// The connector switches to its new key.
    Rekey3 = 6,
    /// The last frame; a code, 1 byte.
    Abort = 7,
    /// Count of the bytes of the peer's frames that have verified, 8 bytes; only if
    /// reconnection was agreed on.
    Ack = 8,
}

impl Kind {
    fn new(byte: u8) -> Option<Kind> {
        Some(match byte {
            0 => Kind::Data,
            1 => Kind::Eof,
            2 => Kind::Done,
            3 => Kind::Open,
            4 => Kind::Rekey1,
            5 => Kind::Rekey2,
            6 => Kind::Rekey3,
            7 => Kind::Abort,
            8 => Kind::Ack,
            _ => return None,
        })
    }
}

/// Why a received frame is fatal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The tag does not verify: altered, lost, repeated or out of order.
    Forged,
    /// `len` is shorter than any frame.
    Short,
    /// The type is unknown.
    Kind,
    /// `clen` runs past the plaintext.
    Clen,
    /// The counter has run out.
    Exhausted,
}

impl From<noise::Error> for Error {
    fn from(error: noise::Error) -> Self {
        match error {
            noise::Error::Exhausted => Error::Exhausted,
            _ => Error::Forged,
        }
    }
}

/// Returns the bytes on the wire of a frame with `clen` bytes of content.
pub const fn frame_len(clen: usize) -> usize {
    LENLEN + (HEADLEN + clen).next_multiple_of(PAD) + TAGLEN
}

/// Turns contents into frames: the sending half of a direction.
pub struct Sealer(CipherState);

impl Sealer {
    /// Starts with counter 0, the session's cipher and the direction's key.
    pub fn new(cipher: Cipher, k: &[u8; 32]) -> Self {
        Sealer(CipherState::new(cipher, k))
    }

    /// Seals from the next frame on with a new key and counter 0.
    pub fn switch(&mut self, k: &[u8; 32]) {
        self.0.initialize_key(k);
    }

    /// Makes a frame of the `clen` bytes in `buffer` from [`CONTENT_AT`] on, and returns
    /// its length, [`frame_len`]`(clen)`.
    ///
    /// # Errors
    /// [`Error::Exhausted`] after 2^64 - 1 frames.
    ///
    /// # Panics
    /// If `clen` exceeds [`MAX_CONTENT`] or the frame does not fit `buffer`.
    pub fn seal(&mut self, kind: Kind, buffer: &mut [u8], clen: usize) -> Result<usize, Error> {
        assert!(clen <= MAX_CONTENT, "content longer than a frame");
        let end = frame_len(clen);
        let frame = &mut buffer[..end];
        let sealed_len = (end - LENLEN) as u16;
        frame[..LENLEN].copy_from_slice(&sealed_len.to_be_bytes());
        frame[LENLEN] = kind as u8;
        frame[LENLEN + 1..CONTENT_AT].copy_from_slice(&(clen as u16).to_be_bytes());
        frame[CONTENT_AT + clen..].fill(0);
        let (plain, tag) = frame[LENLEN..].split_at_mut(end - LENLEN - TAGLEN);
        tag.copy_from_slice(&self.0.encrypt(&[], plain)?);
        rekey_when_due(&mut self.0)?;
        Ok(end)
    }
}

/// A frame that verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The kind of the frame.
    pub kind: Kind,
    /// Where in the buffer its decrypted content is.
    pub content: Range<usize>,
    /// Its length on the wire, in bytes.
    pub len: usize,
}

/// Turns frames into contents: the receiving half of a direction.
pub struct Opener(CipherState);

impl Opener {
    /// Starts with counter 0, the session's cipher and the direction's key.
    pub fn new(cipher: Cipher, k: &[u8; 32]) -> Self {
        Opener(CipherState::new(cipher, k))
    }

    /// Opens from the next frame on with a new key and counter 0.
    pub fn switch(&mut self, k: &[u8; 32]) {
        self.0.initialize_key(k);
    }

    /// Opens the frame at the start of `buffer` in place; returns `None` while it is
    /// incomplete.
    ///
    /// # Errors
    /// [`Error`]: the stream is not what the peer sent. The caller must not use any of it;
    /// a forged frame is cleared.
    pub fn open(&mut self, buffer: &mut [u8]) -> Result<Option<Opened>, Error> {
        let Some((len, rest)) = buffer.split_first_chunk_mut::<LENLEN>() else {
            return Ok(None);
        };
        let len = usize::from(u16::from_be_bytes(*len));
        if len < HEADLEN + TAGLEN {
            return Err(Error::Short);
        }
        let Some((sealed, _)) = rest.split_at_mut_checked(len) else {
            return Ok(None);
        };
        let Some((plain, tag)) = sealed.split_last_chunk_mut::<TAGLEN>() else {
            return Err(Error::Short);
        };
        self.0.decrypt(&[], plain, tag)?;
        rekey_when_due(&mut self.0)?;
        let opened = reread(buffer)?;
        if opened.content.end > opened.len - TAGLEN {
            return Err(Error::Clen);
        }
        Ok(Some(opened))
    }
}

/// Reads a frame again that [`Opener::open`] has opened at the start of `buffer`: its
/// head is still there, decrypted.
///
/// # Errors
/// [`Error`] only if there is no opened frame.
pub fn reread(buffer: &[u8]) -> Result<Opened, Error> {
    let &[l1, l2, kind, c1, c2, ..] = buffer else {
        return Err(Error::Short);
    };
    let clen = usize::from(u16::from_be_bytes([c1, c2]));
    Ok(Opened {
        kind: Kind::new(kind).ok_or(Error::Kind)?,
        content: CONTENT_AT..CONTENT_AT + clen,
        len: LENLEN + usize::from(u16::from_be_bytes([l1, l2])),
    })
}

/// Both ends count the same frames, so they need not coordinate.
fn rekey_when_due(cipher: &mut CipherState) -> Result<(), noise::Error> {
    if cipher.n().is_multiple_of(REKEY_EVERY) {
        cipher.rekey()?;
    }
    Ok(())
}
