//! Keys as text: a prefix that names the kind, and 32 bytes in base64.
//!
//! ```text
//! scat-secret:BASE64        an identity: an X25519 secret key       --genkey, -i
//! scat-psk:BASE64           a pre-shared key                        --genpsk, --psk
//! scat-public:BASE64 NAME   an identity's public half               --pubkey, --peer
//! ```
//!
//! The prefix matters: a public key used as a pre-shared key would admit everyone who
//! knows it. [`crate::run::key_file`] reads and writes the files; scat(1), KEY FILES,
//! describes them.

pub use super::error::{Error, Fault};

use crate::protocol::noise;
use crate::protocol::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use zeroize::Zeroizing;

/// Base64 characters of 32 bytes.
pub(crate) const ENCODED: usize = 44;

/// Prefixes of other programs' keys: PEM (OpenSSH, OpenSSL), OpenSSH's public keys, age.
const FOREIGN: [&[u8]; 5] = [b"-----BEGIN", b"ssh-", b"ecdsa-", b"AGE-SECRET-KEY", b"age1"];

/// The kind of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An identity's secret half: `-i`.
    Secret,
    /// A pre-shared key: `--psk`.
    Psk,
    /// An identity's public half: `--peer`.
    Public,
}

impl Kind {
    /// Returns the prefix of the key.
    pub fn prefix(self) -> &'static str {
        match self {
            Kind::Secret => "scat-secret:",
            Kind::Psk => "scat-psk:",
            Kind::Public => "scat-public:",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Secret => "a secret key",
            Kind::Psk => "a pre-shared key",
            Kind::Public => "a public key",
        })
    }
}

/// A public key that `--peer` accepts, with the name that the user gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownKey {
    /// The X25519 public key.
    pub key: [u8; 32],
    /// The rest of its line.
    pub name: Option<String>,
}

impl fmt::Display for KnownKey {
    /// Writes its name, or the key if it has none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name),
            None => f.write_str(&public_text(&self.key)),
        }
    }
}

/// Returns the public key of an X25519 secret, as `--peer` takes it.
pub fn public(secret: &Secret) -> String {
    public_text(noise::public(secret).as_bytes())
}

/// Returns a public key (32 bytes) as `--peer` takes it.
pub fn public_text(key: &[u8; 32]) -> String {
    format!("{}{}", Kind::Public.prefix(), STANDARD.encode(key))
}

/// Parses `scat-public:BASE64`, optionally followed by a name.
///
/// # Errors
/// [`Fault`] if it is not such a key.
pub fn parse_public(line: &str) -> Result<KnownKey, Fault> {
    let line = line.trim_ascii();
    let (key, name) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let key = *parse(key.as_bytes(), Kind::Public)?;
    let name = name.trim();
    Ok(KnownKey { key, name: (!name.is_empty()).then(|| name.to_owned()) })
}

/// Parses one key of this kind: no white space around it, canonical base64.
pub(crate) fn parse(text: &[u8], wanted: Kind) -> Result<Secret, Fault> {
    let kinds = [Kind::Secret, Kind::Psk, Kind::Public];
    let has = |kind: &Kind| text.starts_with(kind.prefix().as_bytes());
    match kinds.into_iter().find(has) {
        Some(kind) if kind == wanted => {
            decode(&text[kind.prefix().len()..]).ok_or(Fault::Malformed(wanted))
        }
        Some(is) => Err(Fault::Kind { is, wanted }),
        None if FOREIGN.iter().any(|start| text.starts_with(start)) => Err(Fault::Foreign(wanted)),
        None if decode(text).is_some() => Err(Fault::Bare(wanted)),
        None => Err(Fault::Malformed(wanted)),
    }
}

fn decode(text: &[u8]) -> Option<Secret> {
    // The decoder needs room for complete groups of three bytes.
    let mut bytes = Zeroizing::new([0; ENCODED / 4 * 3]);
    if text.len() != ENCODED || STANDARD.decode_slice(text, &mut *bytes).ok()? != 32 {
        return None;
    }
    bytes.first_chunk().map(Secret::copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTING: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn fault(line: &str) -> Fault {
        parse_public(line).unwrap_err()
    }

    #[test]
    fn a_public_key_may_have_a_name_behind_it() {
        let key = std::array::from_fn(|i| i as u8);
        let name = |name: &str| Some(name.to_owned());
        for (behind, name) in [
            ("", None),
            ("  ", None),
            ("\r", None),
            (" bob", name("bob")),
            ("\t  bob at home ", name("bob at home")),
        ] {
            let line = format!("scat-public:{COUNTING}{behind}");
            assert_eq!(parse_public(&line).unwrap(), KnownKey { key, name }, "{line:?}");
        }
        assert_eq!(public_text(&key), format!("scat-public:{COUNTING}"));
    }

    #[test]
    fn only_canonical_base64_of_32_bytes_is_a_key() {
        for wrong in [
            "",
            "kiwi",
            // Not padded; padded too much; two; the alphabet for URLs.
            &COUNTING[..43],
            &format!("{COUNTING}="),
            &format!("{COUNTING}{COUNTING}"),
            &COUNTING.replace('A', "_"),
            // 33 bytes, 31 bytes, and 32 with bits that no encoder leaves.
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=",
        ] {
            assert!(matches!(fault(wrong), Fault::Malformed(Kind::Public)), "{wrong:?}");
            let line = format!("scat-public:{wrong}");
            assert!(matches!(fault(&line), Fault::Malformed(Kind::Public)), "{line:?}");
        }
        for word in ["scat-public: ", "Scat-Public:", "scat-public", "public:"] {
            assert!(matches!(fault(&format!("{word}{COUNTING}")), Fault::Malformed(_)), "{word:?}");
        }
    }

    #[test]
    fn a_key_of_another_kind_or_of_none_is_refused_by_name() {
        assert!(matches!(fault(COUNTING), Fault::Bare(Kind::Public)));
        for is in [Kind::Secret, Kind::Psk] {
            let line = format!("{}{COUNTING}", is.prefix());
            let Fault::Kind { is: seen, wanted: Kind::Public } = fault(&line) else {
                panic!("{line:?}")
            };
            assert_eq!(seen, is);
        }
        // Whatever follows the prefix.
        assert!(matches!(fault("scat-psk:"), Fault::Kind { is: Kind::Psk, .. }));
    }

    #[test]
    fn a_public_key_is_the_x25519_one() {
        // RFC 7748 section 6.1, Alice.
        let secret = Secret::copy(&[
            0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1, 0x72, 0x51, 0xb2,
            0x66, 0x45, 0xdf, 0x4c, 0x2f, 0x87, 0xeb, 0xc0, 0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5,
            0x1d, 0xb9, 0x2c, 0x2a,
        ]);
        assert_eq!(public(&secret), "scat-public:hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=");
    }
}
