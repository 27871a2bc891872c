//! Key files and keys among the arguments: a second parser decides what is a key, and no secret
//! may appear in a message.

#![no_main]

use libfuzzer_sys::fuzz_target;
use scat::auth::keys::{self, Kind, KnownKey};
use scat::error::Error;
use scat::protocol::noise;
use scat::protocol::secret::Secret;
use scat::run::key_file::{read, read_known, read_public};
use scat::sys::poller::Poller;
use scat::ui::report::Report;
use scat::ui::waiting::Deadline;
use scat_fuzz::input::Input;
use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// A file without a name; scat reads it through its descriptor.
struct Place {
    file: File,
    events: Poller,
}

thread_local! {
    static PLACE: RefCell<Place> = RefCell::new(Place::new());
}

impl Place {
    fn new() -> Place {
        let path = std::env::temp_dir().join(format!("scat-fuzz-{}", std::process::id()));
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        Place { file, events: Poller::new().unwrap() }
    }

    fn put(&mut self, text: &[u8]) -> PathBuf {
        self.file.set_len(0).unwrap();
        self.file.rewind().unwrap();
        self.file.write_all(text).unwrap();
        self.file.rewind().unwrap();
        format!("/dev/fd/{}", self.file.as_raw_fd()).into()
    }
}

/// The 32 bytes of 44 characters (RFC 4648); `None` for any other text.
fn decoded(text: &[u8]) -> Option<[u8; 32]> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text = text.strip_suffix(b"=").filter(|text| text.len() == 43)?;
    let (mut bits, mut len, mut bytes) = (0u32, 0, Vec::new());
    for character in text {
        let value = ALPHABET.iter().position(|known| known == character)?;
        (bits, len) = (bits << 6 | value as u32, len + 6);
        if len >= 8 {
            len -= 8;
            bytes.push((bits >> len) as u8);
            bits &= (1 << len) - 1;
        }
    }
    (bits == 0).then(|| bytes.try_into().unwrap())
}

/// Whether a file is UTF-16, judging by its first character.
fn is_utf16(text: &[u8]) -> bool {
    let &[first, second, ..] = text else { return false };
    let mark = [[0xff, 0xfe], [0xfe, 0xff]].contains(&[first, second]);
    mark || (first == 0) != (second == 0) && (first | second) < 0x80
}

/// The lines that are neither empty nor comments.
fn lines(text: &[u8]) -> Vec<&[u8]> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !line.is_empty() && line[0] != b'#').collect()
}

fn secret(text: &[u8], prefix: &[u8]) -> Option<[u8; 32]> {
    match lines(text)[..] {
        [line] => decoded(line.strip_prefix(prefix)?).filter(|key| *key != [0; 32]),
        _ => None,
    }
}

fn public(line: &[u8]) -> Option<KnownKey> {
    let line = String::from_utf8_lossy(line.trim_ascii()).into_owned();
    let end = line.find([' ', '\t']).unwrap_or(line.len());
    let key = decoded(line[..end].strip_prefix("scat-public:")?.as_bytes())?;
    let name = line[end..].trim();
    Some(KnownKey { key, name: (!name.is_empty()).then(|| name.to_owned()) })
}

/// Checks that the message contains no part of a line that could be a secret.
fn keeps_quiet(text: &[u8], error: &Error) {
    let told = error.to_string() + error.hint().as_deref().unwrap_or_default();
    for word in text.split(|byte| !byte.is_ascii_alphanumeric() && !b"+/=".contains(byte)) {
        let word = String::from_utf8_lossy(word);
        assert!(word.len() < 40 || !told.contains(&*word), "{told}");
    }
}

/// Well-formed and malformed lines, from meaningful parts.
fn text(input: &mut Input<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    while !input.is_empty() {
        let part: &[u8] = match input.byte() % 16 {
            0 => b"scat-secret:",
            1 => b"scat-psk:",
            2 => b"scat-public:",
            3 | 4 => b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            5 => b"hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=",
            6 => b"\n",
            7 => b"\r\n",
            8 => b"# ",
            9 => b" ann",
            10 => {
                // A key with one wrong character.
                let mut key = b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_vec();
                key[usize::from(input.byte()) % 44] = input.byte();
                text.extend(key);
                b""
            }
            11 => {
                let len = input.byte() % 50;
                &b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=AAAAAA"[..len.into()]
            }
            12 if text.len() < 1 << 20 => {
                // More than one read, or than the limit of a file.
                let byte = usize::from(input.byte());
                let len = if byte < 8 { (byte + 1) << 17 } else { byte << 4 };
                text.extend(vec![input.pick(b"# \nA"); len]);
                b""
            }
            _ => {
                let len = input.byte() % 64;
                input.take(len.into())
            }
        };
        text.extend_from_slice(part);
    }
    text
}

/// Several lines, each valid in a file.
fn whole_lines(input: &mut Input<'_>) -> Vec<u8> {
    const KEY: &str = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";
    let mut text = String::new();
    for _ in 0..input.byte() % 5 {
        let prefix = input.pick(&["scat-secret:", "scat-psk:", "scat-public:", "# ", "", " \t"]);
        let behind = input.pick(&["\n", "\r\n", " ann\n", "A\n", ""]);
        text += &[prefix, if input.byte() < 240 { KEY } else { "" }, behind].concat();
    }
    text.into_bytes()
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let text = match input.byte() % 8 {
        0 | 4 => input.rest().to_vec(),
        1 | 5 => text(&mut input),
        7 => ["\u{feff}".as_bytes(), &whole_lines(&mut input)].concat(),
        _ => whole_lines(&mut input),
    };
    let deadline = Deadline::new(None);
    let report = Report::new(None);
    let is_short = text.len() < 1 << 20 && !is_utf16(&text);
    PLACE.with_borrow_mut(|place| {
        let path = place.put(&text);
        let events = &mut place.events;
        for (kind, prefix) in [(Kind::Secret, &b"scat-secret:"[..]), (Kind::Psk, b"scat-psk:")] {
            let path = place.file.rewind().map(|()| &path).unwrap();
            let key = read(path, kind, events, &deadline, &report);
            assert_eq!(
                key.as_ref().ok().map(|key| **key),
                secret(&text, prefix).filter(|_| is_short)
            );
            key.err().inspect(|error| keeps_quiet(&text, error));
        }
        place.file.rewind().unwrap();
        let derived = read_public(&path, events, &deadline, &report);
        let expected = secret(&text, b"scat-secret:").filter(|_| is_short).map(|secret| {
            let public = *noise::public(&Secret::copy(&secret)).as_bytes();
            keys::public_text(&public)
        });
        assert_eq!(derived.as_ref().ok(), expected.as_ref());
        derived.err().inspect(|error| keeps_quiet(&text, error));

        place.file.rewind().unwrap();
        let known = read_known(&path, events, &deadline, &report);
        let expected: Option<Vec<_>> = lines(&text).into_iter().map(public).collect();
        let expected = expected.filter(|known| is_short && !known.is_empty());
        assert_eq!(known.as_ref().ok(), expected.as_ref());
        known.err().inspect(|error| keeps_quiet(&text, error));
    });
    // The same among the arguments. A key that was read is printed unchanged.
    for line in text.split(|byte| *byte == b'\n').take(64) {
        let Ok(line) = std::str::from_utf8(line) else { continue };
        let known = keys::parse_public(line).ok();
        assert_eq!(known, public(line.as_bytes()), "{line:?}");
        if let Some(KnownKey { key, .. }) = known {
            let text = keys::public_text(&key);
            assert!(line.trim_ascii().starts_with(&text) && text.len() == 12 + 44);
        }
    }
});
