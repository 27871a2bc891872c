//! Key files: one line of base64, 32 bytes, readable by their owner only.
//!
//! There are no passphrases: whoever listens in could try them out on flight 1,
//! at leisure. A key that is kept encrypted comes through a pipe:
//! `-i <(age -d key.age)`.

use crate::protocol::noise;
use crate::protocol::secret::Key;
use crate::report::plain;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use zeroize::Zeroizing;

/// Bytes of 32 bytes in base64.
const ENCODED: usize = 44;
/// Group and others.
const NOT_OWNER: u32 = 0o077;

/// Reads a secret key: an X25519 secret or a pre-shared key.
///
/// # Errors
/// [`Error`] if it is not there, not ours alone, or not 32 bytes in base64.
#[inline(never)] // what it leaves on the stack is wiped by its caller's next wait
pub fn read(path: &Path) -> Result<Key, Error> {
    let failed = |why| failed(path, why);
    let mut file = File::open(path).map_err(|why| failed(Why::System(why)))?;
    let metadata = file.metadata().map_err(|why| failed(Why::System(why)))?;
    if metadata.is_dir() {
        return Err(failed(Why::System(io::ErrorKind::IsADirectory.into())));
    }
    // A file on a disk can be read by others later; a pipe is read by us alone.
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

/// The public key of an X25519 secret, in the form that `--peer` takes.
pub fn public(secret: &Key) -> String {
    encode(noise::public(secret).as_bytes())
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
    bytes.first_chunk().map(Key::copy)
}

/// Writes `key` (32 bytes) to a new file that is its owner's alone.
///
/// # Errors
/// [`Error`], above all if there is a file of that name.
pub fn create(path: &Path, key: &[u8; 32]) -> Result<(), Error> {
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

/// A key file that is no use: which one, and why.
#[derive(Debug)]
pub struct Error {
    /// As the user named it.
    pub path: String,
    /// What is wrong.
    pub why: Why,
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

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self.why {
            Why::Readable => Some("chmod 600, and make a new one if others may have read it"),
            Why::Exists => Some("keys are never overwritten: name another file"),
            Why::System(_) | Why::Malformed => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.why {
            Why::System(why) => write!(f, "{path}: {}", plain(why)),
            Why::Readable => write!(f, "{path}: others may read or write this file"),
            Why::Malformed => write!(f, "{path}: not a key: one line of base64, 32 bytes"),
            Why::Exists => write!(f, "{path}: file exists"),
        }
    }
}

fn failed(path: &Path, why: Why) -> Error {
    Error { path: path.display().to_string(), why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    const TEXT: &[u8] = b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn counting() -> [u8; 32] {
        std::array::from_fn(|i| i as u8)
    }

    /// A directory of this test's own, gone with it.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Place {
            let own = format!("scat-keys-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(own);
            std::fs::create_dir(&path).unwrap();
            Place(path)
        }

        fn file(&self, content: &[u8], mode: u32) -> PathBuf {
            let path = self.0.join("key");
            let _ = std::fs::remove_file(&path);
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn why(result: Result<Key, Error>) -> Option<Why> {
        result.err().map(|Error { why, .. }| why)
    }

    #[test]
    fn a_key_is_one_line_of_base64() {
        let place = Place::new("line");
        for end in [&b""[..], b"\n"] {
            let path = place.file(&[TEXT, end].concat(), 0o600);
            assert_eq!(*read(&path).unwrap(), counting());
        }
        let url = String::from_utf8(TEXT.to_vec()).unwrap().replace('A', "_");
        for wrong in [
            &b""[..],
            b"\n",
            &TEXT[..43],
            &TEXT[..42],
            &[TEXT, b"\n\n"].concat(),
            &[TEXT, b"\r\n"].concat(),
            &[TEXT, b"\n", TEXT, b"\n"].concat(),
            &[b" ", TEXT].concat(),
            url.as_bytes(),
            // 33 bytes, 31 bytes, and 32 with bits that no encoder leaves.
            b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g",
            b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==",
            b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=",
            &counting(),
        ] {
            let path = place.file(wrong, 0o600);
            assert!(matches!(why(read(&path)), Some(Why::Malformed)), "{wrong:?}");
        }
    }

    #[test]
    fn a_key_that_others_can_read_or_write_is_refused() {
        let place = Place::new("mode");
        for bit in [0o40, 0o20, 0o10, 0o4, 0o2, 0o1] {
            let path = place.file(TEXT, 0o600 | bit);
            assert!(matches!(why(read(&path)), Some(Why::Readable)), "{bit:o}");
        }
        for mode in [0o600, 0o400, 0o700] {
            assert!(read(&place.file(TEXT, mode)).is_ok(), "{mode:o}");
        }
    }

    #[test]
    fn a_new_key_is_its_owners_alone_and_never_overwrites() {
        let place = Place::new("new");
        let path = place.0.join("identity");
        create(&path, &counting()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(*read(&path).unwrap(), counting());
        assert!(parse_public(&public(&read(&path).unwrap())).is_some());
        let before = std::fs::read(&path).unwrap();
        assert_eq!(before.len(), ENCODED + 1);
        let link = place.0.join("link");
        std::os::unix::fs::symlink(place.0.join("nothing yet"), &link).unwrap();
        for taken in [&path, &link] {
            let again = create(taken, &[7; 32]);
            assert!(matches!(again, Err(Error { why: Why::Exists, .. })));
        }
        assert_eq!(std::fs::read(&path).unwrap(), before);
        assert!(!place.0.join("nothing yet").exists());
    }

    #[test]
    fn a_public_key_is_the_x25519_one() {
        // RFC 7748 section 6.1, Alice.
        let secret = Key::copy(&[
            0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1, 0x72, 0x51, 0xb2,
            0x66, 0x45, 0xdf, 0x4c, 0x2f, 0x87, 0xeb, 0xc0, 0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5,
            0x1d, 0xb9, 0x2c, 0x2a,
        ]);
        assert_eq!(public(&secret), "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=");
    }
}
