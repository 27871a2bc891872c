//! Secret bytes, and where no copy of them may stay.

use std::ops::{Deref, DerefMut};
use zeroize::{Zeroize, zeroize_stack};

/// Wipes what sealing and opening frames left on the stack: ciphers and hashes copy
/// keys there. For each wait, so it has to be cheap.
///
/// It reaches only what stood below its caller. So the functions that handle keys in
/// the open are marked `#[inline(never)]`, and tests/erased.rs looks for leftovers.
pub fn wipe_stack() {
    zeroize_stack::<{ 16 * 1024 }>();
}

/// `N` secret bytes, wiped on drop. They stand on the heap, so that moving them
/// leaves no copy behind. No `Clone`, no `Debug`.
pub struct Secret<const N: usize>(Box<[u8; N]>);

/// A symmetric key or an X25519 secret.
pub type Key = Secret<32>;

impl<const N: usize> Secret<N> {
    /// Zeros, to be filled where they stand.
    pub fn empty() -> Self {
        Secret(Box::new([0; N]))
    }

    /// A copy of `bytes`.
    pub fn copy(bytes: &[u8; N]) -> Self {
        let mut secret = Self::empty();
        secret.copy_from_slice(bytes);
        secret
    }
}

impl<const N: usize> Deref for Secret<N> {
    type Target = [u8; N];

    fn deref(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> DerefMut for Secret<N> {
    fn deref_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
