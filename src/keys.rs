//! Key files: one line of base64, 32 bytes, readable by their owner only.
//!
//! There are no passphrases: whoever listens in could try them out on flight 1,
//! at leisure. A key that is kept encrypted comes through a pipe:
//! `-i <(age -d key.age)`.

use crate::error::Error;
use crate::noise::Key;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// Bytes of 32 bytes in base64.
const ENCODED: usize = 44;
/// Group and others.
const NOT_OWNER: u32 = 0o077;

/// Reads a secret key: an X25519 secret or a pre-shared key.
///
/// # Errors
/// [`Error::Key`] if it is not there, not ours alone, or not 32 bytes in base64.
pub fn read(path: &Path) -> Result<Key, Error> {
    let failed = |why| failed(path, why);
    let mut file = File::open(path).map_err(|why| failed(Why::System(why)))?;
    let metadata = file.metadata().map_err(|why| failed(Why::System(why)))?;
    // Only a file on a disk has readers to come; a pipe has this one.
    let is_stream = metadata.file_type().is_fifo() || metadata.file_type().is_socket();
    if !is_stream && metadata.mode() & NOT_OWNER != 0 {
        return Err(failed(Why::Readable));
    }
    // One byte more than a key and its newline shows that there is more.
    let mut text = Zeroizing::new([0; ENCODED + 2]);
    let mut len = 0;
    while len < text.len() {
        match file.read(&mut text[len..]) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(failed(Why::System(why))),
        }
    }
    let line = text[..len].strip_suffix(b"\n").unwrap_or(&text[..len]);
    decode(line).ok_or_else(|| failed(Why::Malformed))
}

/// Makes a new X25519 secret in a new file and returns its public key for `--peer`.
///
/// # Errors
/// [`Error::Key`], above all if there is a file of that name; [`Error::Random`].
pub fn generate_identity(path: &Path) -> Result<String, Error> {
    let secret = crate::handshake::random()?;
    create(path, &secret)?;
    Ok(public(&secret))
}

/// Makes a new pre-shared key in a new file.
///
/// # Errors
/// As [`generate_identity`].
pub fn generate_psk(path: &Path) -> Result<(), Error> {
    create(path, &*crate::handshake::random()?)
}

/// The public key of an X25519 secret, in the form that `--peer` takes.
pub fn public(secret: &Key) -> String {
    encode(PublicKey::from(&StaticSecret::from(**secret)).as_bytes())
}

/// A public key (32 bytes) in the form that `--peer` takes.
pub fn encode(key: &[u8; 32]) -> String {
    STANDARD.encode(key)
}

/// Reads a public key in the form that `--peer` takes: canonical base64.
pub fn parse_public(text: &str) -> Option<[u8; 32]> {
    decode(text.as_bytes()).map(|key| *key)
}

fn decode(text: &[u8]) -> Option<Key> {
    // The decoder wants room for whole groups of three bytes.
    let mut bytes = Zeroizing::new([0; ENCODED / 4 * 3]);
    if text.len() != ENCODED || STANDARD.decode_slice(text, &mut *bytes).ok()? != 32 {
        return None;
    }
    bytes.first_chunk().map(|key| Zeroizing::new(*key))
}

fn create(path: &Path, key: &[u8; 32]) -> Result<(), Error> {
    let failed = |why| failed(path, why);
    let mut text = Zeroizing::new([b'\n'; ENCODED + 1]);
    let encoded = STANDARD.encode_slice(key, &mut text[..ENCODED]);
    encoded.map_err(|_| failed(Why::Malformed))?;
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|why| {
            match why.kind() {
                io::ErrorKind::AlreadyExists => failed(Why::Exists),
                _ => failed(Why::System(why)),
            }
        })?;
    file.write_all(&*text).and_then(|()| file.sync_all()).map_err(|why| {
        // Half a key is worse than none.
        let _ = std::fs::remove_file(path);
        failed(Why::System(why))
    })
}

/// What is wrong with a key file.
#[derive(Debug)]
pub enum Why {
    /// The system's reason.
    System(io::Error),
    /// Somebody else may read or write it.
    Readable,
    /// Not one line of base64 with 32 bytes.
    Malformed,
    /// It would have to be overwritten.
    Exists,
}

fn failed(path: &Path, why: Why) -> Error {
    Error::Key { path: path.display().to_string(), why }
}
