//! Secret bytes, where they stand, and where no copy of them may stay.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use zeroize::{Zeroize, zeroize_stack};

/// Wipes what sealing and opening frames left on the stack: ciphers and hashes copy
/// keys there. For each wait, so it has to be cheap.
///
/// It reaches only what stood below its caller. So the functions that handle keys in
/// the open are marked `#[inline(never)]`, and tests/claims/protocol/erased.rs looks
/// for leftovers.
pub fn wipe_stack() {
    zeroize_stack::<{ 16 * 1024 }>();
}

/// Where one secret stands: 32 bytes.
pub type Place = [u8; 32];

/// Places without a secret, all zero.
static FREE: Mutex<Vec<&'static mut Place>> = Mutex::new(Vec::new());

fn free() -> MutexGuard<'static, Vec<&'static mut Place>> {
    FREE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives secrets these places from now on. Without any, or when they are used up,
/// secrets stand anywhere on the heap.
pub fn add_places(places: impl IntoIterator<Item = &'static mut Place>) {
    free().extend(places);
}

/// 32 secret bytes, such as a symmetric key or an X25519 secret, wiped on drop. They
/// have a [`Place`] of their own, so that moving them leaves no copy behind. No `Clone`,
/// no `Debug`.
pub struct Secret(Option<&'static mut Place>);

impl Secret {
    /// Zeros, to be filled where they stand.
    pub const fn empty() -> Self {
        Secret(None)
    }

    /// A copy of `bytes`.
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
