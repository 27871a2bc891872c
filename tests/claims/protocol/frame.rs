//! Frames: a sealed frame opens, and nothing else does.

use proptest::prelude::*;
use scat::protocol::cipher::{Cipher, TAGLEN};
use scat::protocol::frame::{
    CONTENT_AT, Error, Kind, MAX_CONTENT, MAX_FRAME, MAX_RECEIVED, Opener, Sealer, frame_len,
    reread,
};
use scat::protocol::noise::CipherState;

const K: [u8; 32] = [7; 32];

const KINDS: [Kind; 9] = [
    Kind::Data,
    Kind::Eof,
    Kind::Done,
    Kind::Open,
    Kind::Rekey1,
    Kind::Rekey2,
    Kind::Rekey3,
    Kind::Abort,
    Kind::Ack,
];

fn seal(sealer: &mut Sealer, kind: Kind, content: &[u8]) -> Vec<u8> {
    // The padding must not reveal what the buffer held before.
    let mut frame = vec![0xaa; frame_len(content.len())];
    frame[CONTENT_AT..][..content.len()].copy_from_slice(content);
    let len = sealer.seal(kind, &mut frame, content.len()).unwrap();
    assert_eq!(len, frame.len());
    frame
}

/// Seals any plaintext as a frame, without the code under test.
fn frame_around(cipher: &mut CipherState, plaintext: &[u8]) -> Vec<u8> {
    let mut body = plaintext.to_vec();
    let tag = cipher.encrypt(&[], &mut body).unwrap();
    let len = (body.len() + tag.len()) as u16;
    [&len.to_be_bytes()[..], &body, &tag].concat()
}

fn open_first(frame: &[u8]) -> Result<Option<(Kind, Vec<u8>)>, Error> {
    let mut buffer = frame.to_vec();
    let opened = Opener::new(Cipher::ChaChaPoly, &K).open(&mut buffer)?;
    Ok(opened.map(|opened| (opened.kind, buffer[opened.content].to_vec())))
}

/// Sizes around multiples of the padding; more often the smallest and the longest.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![
        4 => 0..600usize,
        1 => 0..=MAX_CONTENT,
        1 => MAX_CONTENT - 3..=MAX_CONTENT,
    ];
    (len, any::<u8>())
        .prop_map(|(len, first)| (0..len).map(|i| first.wrapping_add((i % 251) as u8)).collect())
}

fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(&KINDS[..])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_contents_arrive_over_any_split_of_the_stream(
        frames in prop::collection::vec((kind(), content()), 1..12),
        splits in prop::collection::vec(1..5000usize, 1..40),
    ) {
        let mut sealer = Sealer::new(Cipher::ChaChaPoly, &K);
        let mut opener = Opener::new(Cipher::ChaChaPoly, &K);
        let stream: Vec<u8> =
            frames.iter().flat_map(|(kind, content)| seal(&mut sealer, *kind, content)).collect();

        let mut arrived = Vec::new();
        let (mut buffer, mut at, mut rest) = (Vec::new(), 0, &stream[..]);
        for split in splits.iter().cycle() {
            let (chunk, later) = rest.split_at((*split).min(rest.len()));
            buffer.extend_from_slice(chunk);
            rest = later;
            while let Some(opened) = opener.open(&mut buffer[at..]).unwrap() {
                prop_assert_eq!(&reread(&buffer[at..]).unwrap(), &opened);
                arrived.push((opened.kind, buffer[at..][opened.content].to_vec()));
                at += opened.len;
            }
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(at, stream.len());
        prop_assert_eq!(arrived, frames);
    }

    #[test]
    fn every_frame_is_18_bytes_longer_than_a_multiple_of_256(content in content(), kind in kind()) {
        let frame = seal(&mut Sealer::new(Cipher::ChaChaPoly, &K), kind, &content);
        prop_assert_eq!((frame.len() - 18) % 256, 0);
        prop_assert!(frame.len() - 18 >= content.len() + 3);
        prop_assert!(frame.len() - 18 < content.len() + 3 + 256);
        prop_assert!(frame.len() <= MAX_FRAME && MAX_FRAME <= MAX_RECEIVED);
        let len = u16::from_be_bytes([frame[0], frame[1]]);
        prop_assert_eq!(usize::from(len), frame.len() - 2);
        // The padding is zeros, not what the buffer held before.
        let mut body = frame[2..frame.len() - 16].to_vec();
        let tag = frame.last_chunk().unwrap();
        CipherState::new(Cipher::ChaChaPoly, &K).decrypt(&[], &mut body, tag).unwrap();
        prop_assert!(body[3 + content.len()..].iter().all(|&b| b == 0));
    }

    #[test]
    fn a_flipped_bit_in_a_frame_of_any_size_is_refused(
        content in content(),
        at in any::<prop::sample::Index>(),
        bit in 0..8u32,
    ) {
        let mut sealer = Sealer::new(Cipher::ChaChaPoly, &K);
        let mut stream = seal(&mut sealer, Kind::Data, &content);
        let at = at.index(stream.len());
        follow(&mut sealer, &mut stream);
        flip_is_refused(&stream, at, 1 << bit)?;
    }
}

/// Appends frames until the stream is long enough for the largest `len`.
fn follow(sealer: &mut Sealer, stream: &mut Vec<u8>) {
    stream.extend(seal(sealer, Kind::Data, &vec![0; MAX_CONTENT]));
    stream.extend(seal(sealer, Kind::Data, &vec![0; 1000]));
}

/// Checks that a change in the first frame is refused, at once or, if it makes the frame
/// longer, when that many bytes have arrived, and that nothing is decrypted.
fn flip_is_refused(stream: &[u8], at: usize, mask: u8) -> Result<(), TestCaseError> {
    let mut altered = stream.to_vec();
    altered[at] ^= mask;
    let before = altered.clone();
    let error = Opener::new(Cipher::ChaChaPoly, &K).open(&mut altered).unwrap_err();
    match error {
        Error::Short => prop_assert!(altered == before, "touched although it is too short"),
        Error::Forged => {
            let end = 2 + usize::from(u16::from_be_bytes([altered[0], altered[1]]));
            let plain = &altered[2..end - TAGLEN];
            prop_assert!(plain.iter().all(|&byte| byte == 0), "something is left of it");
            prop_assert!(altered[end..] == before[end..], "the next frame is touched");
        }
        _ => prop_assert!(false, "{:?}", error),
    }
    Ok(())
}

#[test]
fn every_flipped_bit_of_a_short_frame_is_refused() {
    let mut sealer = Sealer::new(Cipher::ChaChaPoly, &K);
    let mut stream = seal(&mut sealer, Kind::Data, b"hello\n");
    let len = stream.len();
    assert_eq!(len, 274);
    follow(&mut sealer, &mut stream);
    for at in 0..len {
        for bit in 0..8 {
            flip_is_refused(&stream, at, 1 << bit).unwrap();
        }
    }
}

#[test]
fn every_prefix_of_a_frame_is_waited_with() {
    let mut frame = seal(&mut Sealer::new(Cipher::ChaChaPoly, &K), Kind::Data, b"hello\n");
    let mut opener = Opener::new(Cipher::ChaChaPoly, &K);
    for len in 0..frame.len() {
        assert_eq!(opener.open(&mut frame[..len].to_vec()), Ok(None));
    }
    assert!(opener.open(&mut frame).unwrap().is_some());
}

#[test]
fn another_key_opens_nothing() {
    let frame = seal(&mut Sealer::new(Cipher::ChaChaPoly, &[8; 32]), Kind::Data, b"hello\n");
    assert_eq!(open_first(&frame), Err(Error::Forged));
}

#[test]
fn swapped_dropped_and_repeated_frames_are_refused() {
    // 1030 frames: before, across and after a change of key.
    let mut sealer = Sealer::new(Cipher::ChaChaPoly, &K);
    let frames: Vec<_> =
        (0..1030u32).map(|i| seal(&mut sealer, Kind::Data, &i.to_be_bytes())).collect();
    for at in [0usize, 1, 500, 1022, 1023, 1024, 1025] {
        // In place of frame `at`: a later one (dropped, swapped), the one before (repeated), or the
        // first.
        for other in [at + 1, at + 2, at.saturating_sub(1), 0] {
            let mut opener = Opener::new(Cipher::ChaChaPoly, &K);
            for frame in &frames[..at] {
                opener.open(&mut frame.clone()).unwrap().unwrap();
            }
            let result = opener.open(&mut frames[other].clone());
            if other == at {
                assert!(result.unwrap().is_some());
            } else {
                assert_eq!(result, Err(Error::Forged), "{other} instead of {at}");
            }
        }
    }
}

#[test]
fn the_key_changes_after_each_1024_frames_and_not_before() {
    let mut sealer = Sealer::new(Cipher::ChaChaPoly, &K);
    let mut opener = Opener::new(Cipher::ChaChaPoly, &K);
    // The same without the code under test; the counter continues after a rekey.
    let mut by_hand = CipherState::new(Cipher::ChaChaPoly, &K);
    for i in 0..3 * 1024 + 2 {
        let frame = seal(&mut sealer, Kind::Data, b"tick");
        opener.open(&mut frame.clone()).unwrap().unwrap();
        let (body, tag) = frame[2..].split_last_chunk().unwrap();
        let mut body = body.to_vec();
        if i > 0 && i % 1024 == 0 {
            let old = by_hand.decrypt(&[], &mut body.clone(), tag);
            assert!(old.is_err(), "frame {i} is sealed with the old key");
            by_hand.rekey().unwrap();
        }
        by_hand.decrypt(&[], &mut body, tag).unwrap();
        assert_eq!(by_hand.n(), i + 1);
    }
}

#[test]
fn a_len_shorter_than_any_frame_is_refused_at_once() {
    for len in 0..19u16 {
        assert_eq!(open_first(&len.to_be_bytes()), Err(Error::Short), "{len}");
    }
    assert_eq!(open_first(&19u16.to_be_bytes()), Ok(None));
}

#[test]
fn only_the_nine_types_are_opened() {
    for kind in 0..=255u8 {
        let frame = frame_around(&mut CipherState::new(Cipher::ChaChaPoly, &K), &[kind, 0, 0]);
        let expected = match KINDS.get(usize::from(kind)) {
            Some(kind) => Ok(Some((*kind, Vec::new()))),
            None => Err(Error::Kind),
        };
        assert_eq!(open_first(&frame), expected, "{kind}");
    }
}

#[test]
fn a_clen_may_fill_the_plaintext_and_not_run_past_it() {
    for (len, clen, fits) in [
        (3, 0, true),
        (3, 1, false),
        (10, 7, true),
        (10, 8, false),
        (10, 24, false),
        (256, 253, true),
        (256, 254, false),
        (256, 65535, false),
        (65519, 65516, true),
        (65519, 65517, false),
        (65519, 65535, false),
    ] {
        let mut plaintext = vec![1; len];
        plaintext[0] = Kind::Data as u8;
        plaintext[1..3].copy_from_slice(&(clen as u16).to_be_bytes());
        let frame = frame_around(&mut CipherState::new(Cipher::ChaChaPoly, &K), &plaintext);
        let expected = if fits { Ok(Some((Kind::Data, vec![1; clen]))) } else { Err(Error::Clen) };
        assert!(open_first(&frame) == expected, "{clen} in {len}");
    }
}

#[test]
fn padding_of_any_value_and_amount_is_ignored() {
    for len in [6, 7, 255, 256, 257, 1000, 65519] {
        let mut plaintext = vec![0xff; len];
        plaintext[..6].copy_from_slice(b"\0\0\x03abc");
        let frame = frame_around(&mut CipherState::new(Cipher::ChaChaPoly, &K), &plaintext);
        assert_eq!(open_first(&frame), Ok(Some((Kind::Data, b"abc".to_vec()))), "{len}");
    }
}
