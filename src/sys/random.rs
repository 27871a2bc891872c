//! Random numbers, from the operating system only.

use super::Error;
use crate::protocol::noise::Ephemerals;
use crate::protocol::secret::Secret;

/// Returns 32 random bytes: a key or a nonce.
///
/// # Errors
/// [`Error::Random`], which is always fatal: never retry, never fall back.
pub fn key() -> Result<Secret, Error> {
    let mut bytes = Secret::empty();
    getrandom::fill(&mut *bytes).map_err(|_| Error::Random)?;
    Ok(bytes)
}

/// Returns the random values of one handshake or ratchet.
///
/// # Errors
/// [`Error::Random`].
pub fn ephemerals() -> Result<Ephemerals, Error> {
    Ok(Ephemerals { e: key()?, e1: [key()?, key()?], m: key()? })
}
