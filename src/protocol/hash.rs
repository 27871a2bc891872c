//! The hash function. It has a file of its own so that tests can run [`super::noise`]
//! with another hash, against vectors published for that.

use blake2::{Blake2s256, Digest};

/// Bytes of a hash.
pub const HASHLEN: usize = 32;
/// Block size of the hash in bytes, which HMAC needs.
pub const BLOCKLEN: usize = 64;

/// Hashes the concatenation of `parts` with BLAKE2s-256 (RFC 7693, no key). The state is
/// wiped.
pub fn hash(parts: &[&[u8]]) -> [u8; HASHLEN] {
    let mut state = Blake2s256::new();
    for part in parts {
        state.update(part);
    }
    state.finalize().into()
}
