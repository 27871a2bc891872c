//! The two ciphers, ChaCha20-Poly1305 (RFC 8439) and AES-256-GCM (NIST SP 800-38D), from
//! ring. Without the feature `ring` only the first is available, from the
//! chacha20poly1305 crate, which is pure Rust and slower.
//!
//! The handshake and the ratchet use only ChaCha20-Poly1305; frames use either.
//! AES-256-GCM is several times as fast on processors with instructions for AES, and
//! slower without.
//!
//! The caller keeps the key and wipes it. Each call expands it again into the library's
//! form: a copy of 32 bytes, or 15 round keys and a table, which takes as long as a frame
//! of 1 KiB.

use super::secret::Secret;
use std::fmt;

/// Bytes of a tag.
pub const TAGLEN: usize = 16;
/// Bytes of a nonce.
const NONCELEN: usize = 12;

/// The tag did not verify, or the text is longer than the cipher allows (64 GiB).
#[derive(Debug)]
pub struct Failed;

/// Name of the library that implements the ciphers, for `--version`.
pub const NAME: &str = if cfg!(feature = "ring") { "ring" } else { "chacha20poly1305" };

/// Whether this build has [`Cipher::AesGcm`].
pub const HAS_AES: bool = cfg!(feature = "ring");

/// Whether AES-256-GCM may seal frames here: this build has it, and the processor has
/// instructions for AES and for the carry-less multiplication of GCM, with which it is
/// fast and runs in constant time.
pub fn aes_is_fast() -> bool {
    #[cfg(target_arch = "x86_64")]
    let has_instructions = std::arch::is_x86_feature_detected!("aes")
        && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    let has_instructions = std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let has_instructions = false;
    HAS_AES && has_instructions
}

/// An AEAD with keys of 32 bytes, nonces of 12 and tags of 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    /// ChaCha20-Poly1305, `ChaChaPoly` in Noise.
    ChaChaPoly,
    /// AES-256-GCM, `AESGCM` in Noise. Available only if [`HAS_AES`].
    AesGcm,
}

impl Cipher {
    /// Encrypts `buffer` in place under `k` with counter `n`, and returns the tag.
    ///
    /// # Errors
    /// [`Failed`] if the text is too long or this build lacks the cipher.
    // Not inlined, so that what the cipher leaves on the stack lies below the caller's
    // frame, where `wipe_stack` reaches it.
    #[inline(never)]
    pub fn seal(
        self,
        k: &Secret,
        n: u64,
        ad: &[u8],
        buffer: &mut [u8],
    ) -> Result<[u8; TAGLEN], Failed> {
        library::seal(self, k, self.nonce(n), ad, buffer).ok_or(Failed)
    }

    /// Decrypts `buffer` in place if `tag` verifies; otherwise clears it.
    ///
    /// # Errors
    /// [`Failed`] if the tag does not verify or this build lacks the cipher.
    #[inline(never)] // as `seal`
    pub fn open(
        self,
        k: &Secret,
        n: u64,
        ad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAGLEN],
    ) -> Result<(), Failed> {
        let opened = library::open(self, k, self.nonce(n), ad, buffer, tag);
        opened.ok_or_else(|| {
            buffer.fill(0);
            Failed
        })
    }

    /// Four zero bytes, then the counter (Noise sections 12.3 and 12.4).
    fn nonce(self, n: u64) -> [u8; NONCELEN] {
        let mut nonce = [0; NONCELEN];
        nonce[4..].copy_from_slice(&match self {
            Cipher::ChaChaPoly => n.to_le_bytes(),
            Cipher::AesGcm => n.to_be_bytes(),
        });
        nonce
    }
}

impl fmt::Display for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cipher::ChaChaPoly => "ChaCha20-Poly1305",
            Cipher::AesGcm => "AES-256-GCM",
        })
    }
}

#[cfg(feature = "ring")]
mod library {
    use super::{Cipher, NONCELEN, Secret, TAGLEN};
    use ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

    fn keyed(cipher: Cipher, k: &Secret) -> Option<LessSafeKey> {
        let algorithm = match cipher {
            Cipher::ChaChaPoly => &CHACHA20_POLY1305,
            Cipher::AesGcm => &AES_256_GCM,
        };
        Some(LessSafeKey::new(UnboundKey::new(algorithm, k.as_slice()).ok()?))
    }

    pub fn seal(
        cipher: Cipher,
        k: &Secret,
        nonce: [u8; NONCELEN],
        ad: &[u8],
        buffer: &mut [u8],
    ) -> Option<[u8; TAGLEN]> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag =
            keyed(cipher, k)?.seal_in_place_separate_tag(nonce, Aad::from(ad), buffer).ok()?;
        tag.as_ref().try_into().ok()
    }

    pub fn open(
        cipher: Cipher,
        k: &Secret,
        nonce: [u8; NONCELEN],
        ad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAGLEN],
    ) -> Option<()> {
        let (nonce, tag) = (Nonce::assume_unique_for_key(nonce), (*tag).into());
        keyed(cipher, k)?
            .open_in_place_separate_tag(nonce, Aad::from(ad), tag, buffer, 0..)
            .ok()?;
        Some(())
    }
}

#[cfg(not(feature = "ring"))]
mod library {
    use super::{Cipher, NONCELEN, Secret, TAGLEN};
    use chacha20poly1305::aead::AeadInOut;
    use chacha20poly1305::{ChaCha20Poly1305, KeyInit};

    fn keyed(cipher: Cipher, k: &Secret) -> Option<ChaCha20Poly1305> {
        match cipher {
            Cipher::ChaChaPoly => Some(ChaCha20Poly1305::new((&**k).into())),
            Cipher::AesGcm => None,
        }
    }

    pub fn seal(
        cipher: Cipher,
        k: &Secret,
        nonce: [u8; NONCELEN],
        ad: &[u8],
        buffer: &mut [u8],
    ) -> Option<[u8; TAGLEN]> {
        let cipher = keyed(cipher, k)?;
        let tag = cipher.encrypt_inout_detached(&nonce.into(), ad, buffer.into()).ok()?;
        Some(tag.into())
    }

    pub fn open(
        cipher: Cipher,
        k: &Secret,
        nonce: [u8; NONCELEN],
        ad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAGLEN],
    ) -> Option<()> {
        let cipher = keyed(cipher, k)?;
        let tag = (*tag).into();
        cipher.decrypt_inout_detached(&nonce.into(), ad, buffer.into(), &tag).ok()
    }
}
