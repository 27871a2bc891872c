//! Randomness, from the operating system only.

use crate::error::Error;
use crate::protocol::noise::Ephemerals;
use crate::protocol::secret::{Key, Secret};

/// `N` random bytes.
fn bytes<const N: usize>() -> Result<Secret<N>, Error> {
    let mut bytes = Secret::empty();
    getrandom::fill(&mut *bytes).map_err(|_| Error::Random)?;
    Ok(bytes)
}

/// 32 random bytes: a key or a nonce.
///
/// # Errors
/// [`Error::Random`], which nobody may survive.
pub fn key() -> Result<Key, Error> {
    bytes()
}

/// The random values of one handshake or ratchet.
///
/// # Errors
/// [`Error::Random`].
pub fn ephemerals() -> Result<Ephemerals, Error> {
    Ok(Ephemerals { e: bytes()?, e1: bytes()?, m: bytes()? })
}
