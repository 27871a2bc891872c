//! ChaCha20-Poly1305 (RFC 8439), by ring or, without the feature `ring`, by
//! chacha20poly1305: the same function, faster by the one, without C by the other.
//!
//! The key stays with the caller, where it is wiped; each call makes the library's
//! form of it anew, which costs a copy of 32 bytes.

use super::secret::Secret;

/// Bytes of a tag.
pub const TAGLEN: usize = 16;
/// Bytes of a nonce.
const NONCELEN: usize = 12;

/// The tag did not verify, or the text is longer than the cipher allows (256 GiB).
#[derive(Debug)]
pub struct Failed;

/// Which library does it, for `--version`.
pub const NAME: &str = if cfg!(feature = "ring") { "ring" } else { "chacha20poly1305" };

/// Four zero bytes, then the counter, little-endian (Noise section 12.3).
fn nonce(n: u64) -> [u8; NONCELEN] {
    let mut nonce = [0; NONCELEN];
    nonce[4..].copy_from_slice(&n.to_le_bytes());
    nonce
}

/// Encrypts `buffer` in place under `k` with counter `n`, and returns the tag.
///
/// # Errors
/// [`Failed`] beyond the cipher's length.
// Not inlined: what the cipher leaves on the stack has to lie below the caller's frame,
// where `wipe_stack` reaches it.
#[inline(never)]
pub fn seal(k: &Secret, n: u64, ad: &[u8], buffer: &mut [u8]) -> Result<[u8; TAGLEN], Failed> {
    library::seal(k, nonce(n), ad, buffer).ok_or(Failed)
}

/// Decrypts `buffer` in place if `tag` verifies, else leaves nothing of it.
///
/// # Errors
/// [`Failed`] if the tag does not verify.
#[inline(never)] // as `seal`
pub fn open(
    k: &Secret,
    n: u64,
    ad: &[u8],
    buffer: &mut [u8],
    tag: &[u8; TAGLEN],
) -> Result<(), Failed> {
    let opened = library::open(k, nonce(n), ad, buffer, tag);
    opened.ok_or_else(|| {
        buffer.fill(0);
        Failed
    })
}

#[cfg(feature = "ring")]
mod library {
    use super::{NONCELEN, Secret, TAGLEN};
    use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

    fn cipher(k: &Secret) -> Option<LessSafeKey> {
        Some(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, k.as_slice()).ok()?))
    }

    pub fn seal(
        k: &Secret,
        nonce: [u8; NONCELEN],
        ad: &[u8],
        buffer: &mut [u8],
    ) -> Option<[u8; TAGLEN]> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = cipher(k)?.seal_in_place_separate_tag(nonce, Aad::from(ad), buffer).ok()?;
        tag.as_ref().try_into().ok()
    }

    pub fn open(
        k: &Secret,
        nonce: [u8; NONCELEN],
        ad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAGLEN],
    ) -> Option<()> {
        let (nonce, tag) = (Nonce::assume_unique_for_key(nonce), (*tag).into());
        cipher(k)?.open_in_place_separate_tag(nonce, Aad::from(ad), tag, buffer, 0..).ok()?;
        Some(())
    }
}

#[cfg(not(feature = "ring"))]
mod library {
    use super::{NONCELEN, Secret, TAGLEN};
    use chacha20poly1305::aead::AeadInOut;
    use chacha20poly1305::{ChaCha20Poly1305, KeyInit};

    pub fn seal(
        k: &Secret,
        nonce: [u8; NONCELEN],
        ad: &[u8],
        buffer: &mut [u8],
    ) -> Option<[u8; TAGLEN]> {
        let cipher = ChaCha20Poly1305::new((&**k).into());
        let tag = cipher.encrypt_inout_detached(&nonce.into(), ad, buffer.into()).ok()?;
        Some(tag.into())
    }

    pub fn open(
        k: &Secret,
        nonce: [u8; NONCELEN],
        ad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAGLEN],
    ) -> Option<()> {
        let cipher = ChaCha20Poly1305::new((&**k).into());
        let tag = (*tag).into();
        cipher.decrypt_inout_detached(&nonce.into(), ad, buffer.into(), &tag).ok()
    }
}
