//! The Noise code with `e1` and `ekem1` against vectors of others, published for libp2p's draft
//! of XXhfs (github.com/libp2p/specs pull request 727): the same tokens, with SHA-256 instead
//! of BLAKE2s. To change the hash, this test compiles src/protocol/noise.rs a second time, with
//! another hash.rs.

// Only what the vectors need is used.
#![allow(dead_code)]

#[path = "../../../src/protocol/cipher.rs"]
mod cipher;
#[path = "../../../src/protocol/noise.rs"]
mod noise;
#[path = "../../../src/protocol/secret.rs"]
mod secret;

mod hash {
    use sha2::{Digest, Sha256};

    pub const HASHLEN: usize = 32;
    pub const BLOCKLEN: usize = 64;

    pub fn hash(parts: &[&[u8]]) -> [u8; HASHLEN] {
        Sha256::digest(parts.concat()).into()
    }
}

use noise::{Ephemerals, HandshakeState, Pattern, Token};
use secret::Secret;
use serde_json::Value;

const LIBP2P: Pattern = Pattern {
    name: "Noise_XXhfs_25519+MLKEM768_ChaChaPoly_SHA256",
    messages: &[
        &[Token::E, Token::E1],
        &[Token::E, Token::Ee, Token::Ekem1, Token::S, Token::Es],
        &[Token::S, Token::Se],
    ],
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_published_vectors_of_xxhfs_come_out_byte_for_byte() {
    let file: Value = serde_json::from_str(include_str!("xxhfs-vectors.json")).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 5);
    for v in vectors {
        let base = v["base"].as_u64().unwrap() as u8;
        let side = |initiator, s, e| {
            let fresh = Ephemerals {
                e: Secret::copy(&[base + e; 32]),
                e1: [Secret::copy(&[base + 5; 32]), Secret::copy(&[base + 5; 32])],
                m: Secret::copy(&[base + 6; 32]),
            };
            let s = Some(Secret::copy(&[base + s; 32]));
            HandshakeState::new(&LIBP2P, initiator, &[], s, fresh, Vec::new())
        };
        let (mut i, mut r) = (side(true, 1, 3), side(false, 2, 4));
        let (mut a, mut b, mut c) = (Vec::new(), Vec::new(), Vec::new());
        i.write_message(&[], &mut a).unwrap();
        assert!(r.read_message(&a).unwrap().is_empty());
        r.write_message(&[], &mut b).unwrap();
        assert!(i.read_message(&b).unwrap().is_empty());
        i.write_message(&[], &mut c).unwrap();
        assert!(r.read_message(&c).unwrap().is_empty());
        assert_eq!((a.len(), b.len()), (1216, 1200));
        assert_eq!(hex(&c), v["msg_c"]);
        for side in [i, r] {
            let split = side.split().unwrap();
            assert_eq!(hex(&split.h), v["handshake_hash"]);
            assert_eq!(hex(&*split.initiator), v["cs1_k"]);
            assert_eq!(hex(&*split.responder), v["cs2_k"]);
        }
    }
}
