//! The hash function. A file of its own, so that tests run the rest of [`super::noise`]
//! with another one, against vectors that were published for that.

use blake2::{Blake2s256, Digest};

/// Bytes of a hash.
pub const HASHLEN: usize = 32;
/// Bytes that the hash takes in at once, which HMAC needs to know.
pub const BLOCKLEN: usize = 64;

/// BLAKE2s-256 (RFC 7693, no key) over the concatenation of `parts`. Its state is
/// wiped.
pub fn hash(parts: &[&[u8]]) -> [u8; HASHLEN] {
    let mut state = Blake2s256::new();
    for part in parts {
        state.update(part);
    }
    state.finalize().into()
}
