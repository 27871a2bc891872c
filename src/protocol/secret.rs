//! Secret bytes, and the memory that holds them.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use zeroize::{Zeroize, zeroize_stack};

/// Wipes what sealing and opening frames left on the stack, where ciphers and hashes copy
/// keys. It runs before each wait, so it has to be cheap.
///
/// It only reaches the stack below its caller. So functions that handle keys in the clear
/// are marked `#[inline(never)]`, and tests/claims/protocol/erased.rs searches for
/// leftovers.
pub fn wipe_stack() {
    zeroize_stack::<{ 16 * 1024 }>();
}

/// Memory of one secret, 32 bytes.
pub type Place = [u8; 32];

/// Places that hold no secret, all zero.
static FREE: Mutex<Vec<&'static mut Place>> = Mutex::new(Vec::new());

fn free() -> MutexGuard<'static, Vec<&'static mut Place>> {
    FREE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds places for secrets. If there are none, or all are in use, secrets go anywhere on
/// the heap.
pub fn add_places(places: impl IntoIterator<Item = &'static mut Place>) {
    free().extend(places);
}

/// 32 secret bytes, such as a symmetric key or an X25519 secret, wiped on drop. They have
/// a [`Place`] of their own, so that moving a `Secret` leaves no copy behind. No `Clone`,
/// no `Debug`.
pub struct Secret(Option<&'static mut Place>);

impl Secret {
    /// Returns zeros, to be filled in place.
    pub const fn empty() -> Self {
        Secret(None)
    }

    /// Returns a copy of `bytes`.
    pub fn copy(bytes: &[u8; 32]) -> Self {
        let mut secret = Self::empty();
        secret.copy_from_slice(bytes);
        secret
    }
}

impl Deref for Secret {
    type Target = [u8; 32];

    fn deref(&self) -> &[u8; 32] {
        self.0.as_deref().unwrap_or(&[0; 32])
    }
}

impl DerefMut for Secret {
    fn deref_mut(&mut self) -> &mut [u8; 32] {
        self.0.get_or_insert_with(|| free().pop().unwrap_or_else(|| Box::leak(Box::default())))
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        if let Some(place) = self.0.take() {
            place.zeroize();
            free().push(place);
        }
    }
}
