//! Makes text safe for a terminal: control characters in caret notation, as `cat -v`
//! shows them.
//!
//! ```text
//! 00..1f but newline, tab    ^@ ^A .. ^_      7f    ^?
//! 80..9f                     M-^@ .. M-^_     (after c2: U+0080..U+009F)
//! U+202E and the like        <U+202E>         (they reorder or hide text)
//! scat:                      scat (the peer): (lines of ours begin with it)
//! ```
//!
//! Bytes 80 to 9f are left alone inside other UTF-8 characters. Everything else passes
//! unchanged, valid or not.

use crate::text::hides;
use std::io::IoSlice;

/// Received bytes that are shown at once.
const CHUNK: usize = 1024;
/// Most bytes that one received byte can become: `M-^[`.
const LONGEST: usize = 4;
/// How our own lines begin.
const OURS: &[u8] = b"scat:";
/// Inserted before the colon if the peer writes such a line.
const NOT_OURS: &[u8] = b" (the peer)";
/// Most bytes that a chunk can become. Only its first byte can become more than
/// [`LONGEST`], by completing what began before: `scat` and a colon, or a hidden character.
const MOST: usize = CHUNK * LONGEST + NOT_OURS.len();

/// Text between the received bytes and a terminal.
pub struct Caret {
    shown: [u8; MOST],
    /// The range of `shown` that the terminal has not taken yet.
    unsent: std::ops::Range<usize>,
    /// Received bytes that `shown` represents.
    chunk: usize,
    utf8: Utf8,
    /// Bytes of an incomplete character. They count as shown.
    held: Vec<u8>,
    /// How many characters of [`OURS`] came last.
    ours: usize,
    /// The last byte shown.
    last: u8,
}

impl Caret {
    /// Starts at the start of a stream.
    pub fn new() -> Self {
        Caret {
            shown: [0; MOST],
            unsent: 0..0,
            chunk: 0,
            utf8: Utf8::default(),
            held: Vec::with_capacity(4),
            ours: 0,
            last: b'\n',
        }
    }

    /// Whether the text shown so far ends within a line.
    pub fn is_within_line(&self) -> bool {
        self.last != b'\n'
    }

    /// Returns the bytes held back at the end of the stream, which are no character.
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    /// Shows the first of `pieces` through `write`, which returns how many bytes the
    /// terminal took. Returns how many received bytes are on the screen now. After an
    /// error the caller must pass the same bytes again: they count only once all of their
    /// text is written.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn write<E>(
        &mut self,
        pieces: &[IoSlice<'_>],
        mut write: impl FnMut(&[u8]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        if self.chunk == 0 {
            let first = pieces.iter().find(|piece| !piece.is_empty());
            self.encode(first.map_or(&[], |piece| piece));
        }
        while !self.unsent.is_empty() {
            self.unsent.start += write(&self.shown[self.unsent.clone()])?;
        }
        Ok(std::mem::take(&mut self.chunk))
    }

    fn encode(&mut self, received: &[u8]) {
        let received = &received[..received.len().min(CHUNK)];
        let mut end = 0;
        let mut put = |bytes: &[u8]| {
            self.shown[end..end + bytes.len()].copy_from_slice(bytes);
            end += bytes.len();
        };
        for &byte in received {
            let place = self.utf8.next(byte);
            if matches!(place, Place::Alone) {
                put(&self.held);
                self.held.clear();
            }
            if self.utf8.is_within() || matches!(place, Place::Inside) {
                self.held.push(byte);
                if !self.utf8.is_within() {
                    match char_of(&self.held) {
                        Some(c) if hides(c) => put(format!("<U+{:04X}>", c as u32).as_bytes()),
                        _ => put(&self.held),
                    }
                    self.held.clear();
                }
                self.ours = 0;
                continue;
            }
            if self.ours == OURS.len() - 1 && byte == b':' {
                put(NOT_OURS);
            }
            let follows = OURS.get(self.ours).is_some_and(|own| own.eq_ignore_ascii_case(&byte));
            self.ours = match follows {
                true => self.ours + 1,
                false => usize::from(byte.eq_ignore_ascii_case(&OURS[0])),
            };
            match byte {
                b'\n' | b'\t' => put(&[byte]),
                0..0x20 | 0x7f => put(&[b'^', byte ^ 0x40]),
                0x80..0xa0 => put(&[b'M', b'-', b'^', byte ^ 0xc0]),
                _ => put(&[byte]),
            }
        }
        self.last = received.last().map_or(self.last, |&last| last);
        self.chunk = received.len();
        self.unsent = 0..end;
    }
}

/// Returns the character that these bytes encode.
fn char_of(bytes: &[u8]) -> Option<char> {
    std::str::from_utf8(bytes).ok()?.chars().next()
}

impl Default for Caret {
    fn default() -> Self {
        Self::new()
    }
}

/// Position of a byte in UTF-8.
enum Place {
    /// A further byte of a character.
    Inside,
    /// The first byte, or not part of a character.
    Alone,
}

/// What may follow in a UTF-8 character (RFC 3629, section 4).
struct Utf8 {
    /// Number of missing bytes.
    missing: u8,
    /// Lowest and highest value of the next byte.
    next: (u8, u8),
}

impl Default for Utf8 {
    fn default() -> Self {
        Utf8 { missing: 0, next: ANY }
    }
}

/// Values of any further byte.
const ANY: (u8, u8) = (0x80, 0xbf);

impl Utf8 {
    /// Whether a character is incomplete.
    fn is_within(&self) -> bool {
        self.missing > 0
    }

    fn next(&mut self, byte: u8) -> Place {
        let (least, greatest) = self.next;
        if self.missing > 0 && (least..=greatest).contains(&byte) {
            self.missing -= 1;
            self.next = ANY;
            return Place::Inside;
        }
        (self.missing, self.next) = match byte {
            // A second byte below a0 encodes a control character, U+0080..U+009F, and is
            // shown as one.
            0xc2 => (1, (0xa0, 0xbf)),
            0xc3..0xe0 => (1, ANY),
            0xe0 => (2, (0xa0, 0xbf)),
            0xed => (2, (0x80, 0x9f)),
            0xe1..0xf0 => (2, ANY),
            0xf0 => (3, (0x90, 0xbf)),
            0xf1..0xf4 => (3, ANY),
            0xf4 => (3, (0x80, 0x8f)),
            _ => (0, ANY),
        };
        Place::Alone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what is shown of `received` by a terminal that takes `at_once` bytes per
    /// call.
    fn shown(received: &[&[u8]], at_once: usize) -> Vec<u8> {
        let mut caret = Caret::new();
        let mut shown = Vec::new();
        for mut rest in received.iter().copied() {
            while !rest.is_empty() {
                // Every second call takes nothing.
                let mut is_full = false;
                let result = caret.write(&[IoSlice::new(&[]), IoSlice::new(rest)], |bytes| {
                    if std::mem::replace(&mut is_full, true) {
                        return Err(());
                    }
                    let n = bytes.len().min(at_once);
                    shown.extend_from_slice(&bytes[..n]);
                    Ok(n)
                });
                rest = &rest[result.unwrap_or(0)..];
            }
        }
        shown
    }

    /// Checks in one call, byte by byte, and with a terminal that takes one byte at a
    /// time.
    #[track_caller]
    fn is_shown(received: &[u8], expected: &[u8]) {
        let pieces: Vec<&[u8]> = received.chunks(1).collect();
        for shown in [shown(&[received], 4096), shown(&pieces, 4096), shown(&[received], 1)] {
            assert_eq!(shown.escape_ascii().to_string(), expected.escape_ascii().to_string());
        }
    }

    #[test]
    fn controls_are_in_caret_notation_but_newline_and_tab() {
        is_shown(b"a\tb\nc", b"a\tb\nc");
        is_shown(b"\x1b[2J\x1b[H\r\0\x7f\x07\x1f", b"^[[2J^[[H^M^@^?^G^_");
    }

    #[test]
    fn c1_controls_are_shown_alone_and_as_utf_8() {
        is_shown(b"\x9b2J \x80 \x9f", b"M-^[2J M-^@ M-^_");
        is_shown("\u{9b}2J\u{80}\u{9f}".as_bytes(), b"\xc2M-^[2J\xc2M-^@\xc2M-^_");
        // Overlong forms of ESC and U+009B, a surrogate, beyond the last character.
        is_shown(b"\xc0\x9b \xe0\x82\x9b", b"\xc0M-^[ \xe0M-^BM-^[");
        is_shown(b"\xf0\x80\x82\x9b", b"\xf0M-^@M-^BM-^[");
        is_shown(b"\xed\xa0\x9b", b"\xed\xa0M-^[");
        is_shown(b"\xf4\x90\x80\x9b", b"\xf4M-^PM-^@M-^[");
    }

    #[test]
    fn other_characters_and_other_encodings_pass() {
        for text in ["äöü é", "Ě ݛ ⚛ 蛛", "𝛛 😛 \u{10ffff} \u{a0}"] {
            is_shown(text.as_bytes(), text.as_bytes());
        }
        is_shown(b"latin-1: \xe9\xfc \xff", b"latin-1: \xe9\xfc \xff");
        // Joiners and marks: Persian, an emoji of several, Hebrew beside Latin.
        for text in ["می\u{200c}خواهم", "👩\u{200d}🚀 ❤\u{fe0f}", "\u{200e}שלום\u{200f} \u{61c}"]
        {
            is_shown(text.as_bytes(), text.as_bytes());
        }
    }

    #[test]
    fn what_reorders_or_hides_text_is_shown_by_its_number() {
        is_shown("a\u{202e}b\u{2066}\u{2069}".as_bytes(), b"a<U+202E>b<U+2066><U+2069>");
        is_shown("\u{200b}\u{2028}\u{2029}".as_bytes(), b"<U+200B><U+2028><U+2029>");
        is_shown("\u{feff}x\u{e0041}\u{e007f}".as_bytes(), b"<U+FEFF>x<U+E0041><U+E007F>");
        // One that is not whole, and its neighbours.
        is_shown(b"\xe2\x80\n\xe2\x80\xe2\x80\xae", b"\xe2\x80\n\xe2\x80<U+202E>");
        is_shown(
            "\u{2027}\u{2030}\u{2065}\u{206a}".as_bytes(),
            "\u{2027}\u{2030}\u{2065}\u{206a}".as_bytes(),
        );
    }

    #[test]
    fn lines_that_look_like_ours_are_the_peers() {
        is_shown(b"scat: the end", b"scat (the peer): the end");
        is_shown(b"sscat: SCAT: sca: scat", b"sscat (the peer): SCAT (the peer): sca: scat");
        let spaces = [b" ".repeat(80).as_slice(), b"scat:"].concat();
        is_shown(&spaces, &[b" ".repeat(80).as_slice(), b"scat (the peer):"].concat());
    }

    /// What began in the chunk before is completed at the start of the fullest one.
    #[test]
    fn the_longest_text_of_a_chunk_fits() {
        for (begun, ended, text) in [
            (&b"scat"[..], &b":"[..], &b"scat (the peer):"[..]),
            (b"\xf3\xa0\x81", b"\x81", b"<U+E0041>"),
            (b"\xf0\x90\x80", b"\x80", "\u{10000}".as_bytes()),
            (b"\xf0\x90\x80", b"\x9b", b"\xf0\x90\x80\x9b"),
        ] {
            let controls = CHUNK - 1;
            let received = [ended, &b"\x9b".repeat(controls)].concat();
            let expected = [text, &b"M-^[".repeat(controls)].concat();
            assert_eq!(shown(&[begun, &received], 4096), expected);
        }
    }

    #[test]
    fn nothing_counts_before_all_of_it_is_shown() {
        let mut caret = Caret::new();
        let pieces = [IoSlice::new(b"\x1b\x1b")];
        let mut takes = [Ok(1), Err("full")].into_iter();
        assert_eq!(caret.write(&pieces, |_| takes.next().unwrap()), Err("full"));
        let mut left = Vec::new();
        let counted = caret.write(&pieces, |bytes| {
            left.extend_from_slice(bytes);
            Ok::<_, ()>(bytes.len())
        });
        assert_eq!((counted, &left[..]), (Ok(2), &b"[^["[..]));
    }
}
