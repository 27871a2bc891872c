//! What a user types when scat asks for the words, and how scat shows received bytes on a
//! terminal.

#![no_main]

use libfuzzer_sys::fuzz_target;
use scat::protocol::role::Role;
use scat::protocol::sas::{Half, Sas};
use scat::ui::caret::Caret;
use scat::ui::dialogue::{Answer, Dialogue};
use scat_fuzz::input::Input;
use std::io::IoSlice;
use std::sync::LazyLock;

/// The published lists in lower case, indexed by position and byte.
static WORDS: LazyLock<[Vec<String>; 2]> = LazyLock::new(|| {
    [0, 1].map(|place| {
        let word = |byte| pgp_words::to_words(&[byte, byte])[place].to_ascii_lowercase();
        (0..=255).map(word).collect()
    })
});

/// The bytes of three words, each from the list for its position.
fn bytes_of(first: usize, words: &[&str]) -> Option<[u8; 3]> {
    let mut bytes = [0; 3];
    if words.len() != 3 {
        return None;
    }
    for (i, typed) in words.iter().enumerate() {
        let typed = typed.to_ascii_lowercase();
        let list = WORDS[(first + i) % 2].iter().zip(0..=255);
        let mut meant = list.filter(|(word, _)| word.starts_with(&typed));
        match (meant.next(), meant.next()) {
            (Some((_, byte)), None) if typed.len() >= 3 => bytes[i] = byte,
            _ => return None,
        }
    }
    Some(bytes)
}

/// The expected meaning of a line.
#[derive(Debug, PartialEq)]
enum Meant {
    Right,
    /// A complete, wrong answer.
    Wrong,
    /// The user's own words, or an incomplete answer.
    Again,
    No,
    Left,
}

fn meant(line: &str, own: &Half, wanted: &Half) -> Meant {
    let spaced: String =
        line.chars().map(|c| if "-–—,.;:/()!\"'".contains(c) { ' ' } else { c }).collect();
    let words: Vec<_> = spaced.split_whitespace().collect();
    if let &[word] = words.as_slice() {
        match &*word.to_ascii_lowercase() {
            "no" | "n" => return Meant::No,
            "quit" | "q" | "exit" | "bye" => return Meant::Left,
            _ => {}
        }
    }
    let digits: String = words.concat().chars().map(in_ascii).collect();
    let number = |half: &Half| {
        let [a, b, c] = half.bytes().map(u32::from);
        format!("{:08}", a << 16 | b << 8 | c)
    };
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return match () {
            _ if digits.len() != 8 || &*digits > "16777215" => Meant::Again,
            _ if digits == number(wanted) => Meant::Right,
            _ if digits == number(own) => Meant::Again,
            _ => Meant::Wrong,
        };
    }
    let (theirs, ours) = (wanted.first_position(), own.first_position());
    match (bytes_of(theirs, &words), bytes_of(ours, &words)) {
        (Some(bytes), _) if bytes == wanted.bytes() => Meant::Right,
        (Some(bytes), _) if bytes == own.bytes() => Meant::Again,
        (Some(_), _) => Meant::Wrong,
        (None, _) => Meant::Again,
    }
}

/// The zeros of some scripts: ASCII, Arabic, Devanagari, full-width.
const ZEROS: [char; 4] = ['0', '\u{660}', '\u{966}', '\u{ff10}'];

fn other_digit(zero: char, digit: u32) -> char {
    char::from_u32(u32::from(zero) + digit).unwrap()
}

fn in_ascii(c: char) -> char {
    let of = |zero: &char| (0..10).find(|digit| other_digit(*zero, *digit) == c);
    ZEROS.iter().find_map(of).map_or(c, |digit| other_digit('0', digit))
}

/// A line: random, or made from the wanted words or the user's own.
fn line(input: &mut Input<'_>, own: &Half, wanted: &Half) -> String {
    let half = if input.bit() { own } else { wanted };
    match input.byte() % 4 {
        0 => {
            let len = input.byte();
            String::from_utf8_lossy(input.take(len.into())).into_owned()
        }
        1 => {
            let other = u32::from(input.byte() % 8) << input.pick(&[0, 12, 24]);
            let digits = format!("{:08}", half.number() ^ other);
            let at = usize::from(input.byte()) % (digits.len() + 1);
            let len = input.byte();
            let len = if len < 128 { 0 } else { len % 8 };
            let between = String::from_utf8_lossy(input.take(len.into()));
            let line = [&digits[..at], &between, &digits[at..]].concat();
            let zero = input.pick(&ZEROS);
            line.chars()
                .map(|c| c.to_digit(10).map_or(c, |digit| other_digit(zero, digit)))
                .collect()
        }
        _ => {
            let (mut line, words) = (String::new(), half.words());
            let n = input.byte();
            for i in 0..if n < 192 { 3 } else { usize::from(n % 6) } {
                let choice = input.byte();
                let word = match choice % 8 {
                    0..3 => words[i % 3],
                    // A word in another position, another word of the same list, or of any list.
                    3 => words[usize::from(choice / 8) % 3],
                    4..7 => &WORDS[(half.first_position() + i) % 2][usize::from(input.byte())],
                    _ => &WORDS[usize::from(choice / 8) % 2][usize::from(input.byte())],
                };
                let cut = usize::from(input.byte());
                let word = &word[..if cut < 64 { (cut % 12).min(word.len()) } else { word.len() }];
                line += &if choice >= 128 { word.to_ascii_uppercase() } else { word.to_owned() };
                line.push(char::from(input.pick(b"  -,.x\t\"")));
            }
            line
        }
    }
}

fn answers(input: &mut Input<'_>) {
    let role = if input.bit() { Role::Listener } else { Role::Connector };
    let sas = |seed: u8| Sas::new(&[seed; 32], &[0x10; 32]);
    let (seed, other) = (input.byte(), input.byte());
    let (own, wanted) = (sas(seed).half(role), sas(seed).half(role.peer()));
    let (other_own, other_wanted) = (sas(other).half(role), sas(other).half(role.peer()));
    let mut dialogue = Dialogue::new(role, &sas(seed));
    assert!(!dialogue.opening(None, false).contains(&wanted.words().join(" ")));
    let mut wrong = 0;
    for _ in 0..12 {
        let line = line(input, &own, &wanted);
        let meant = meant(&line, &own, &wanted);
        wrong += u8::from(meant == Meant::Wrong);
        let answer = dialogue.answer(&line);
        match (&answer, &meant) {
            (Answer::Right, Meant::Right)
            | (Answer::No, Meant::No)
            | (Answer::Left, Meant::Left) => {}
            (Answer::Wrong, Meant::Wrong) => assert_eq!(wrong, 3),
            (Answer::Again(_), Meant::Wrong) => assert!(wrong < 3),
            (Answer::Again(reply), Meant::Again) => {
                assert!(!reply.contains("tries left") && !reply.contains("try left"));
            }
            _ => panic!("{line:?} is {meant:?}, and comes to {answer:?}"),
        }
        if let Answer::Again(reply) = &answer {
            let mut lines = reply.lines();
            let is_plain = lines.all(|line| !line.contains(char::is_control));
            assert!(is_plain, "{reply:?} goes to the terminal");
        }
        // The help is the same whatever words are wanted.
        let is_help = |own: &Half, wanted: &Half| {
            self::meant(&line, own, wanted) == Meant::Again && !is_half(&line, own)
        };
        if is_help(&own, &wanted) && is_help(&other_own, &other_wanted) {
            let told = Dialogue::new(role, &sas(other)).answer(&line);
            assert_eq!(told, answer, "{line:?} tells of the words");
        }
        if !matches!(answer, Answer::Again(_)) {
            break;
        }
    }
}

/// Whether the line contains all of `half`, in words or in digits.
fn is_half(line: &str, half: &Half) -> bool {
    let digits = line.chars().map(in_ascii).filter(char::is_ascii_digit);
    let is_separator = |c: char| !c.is_alphabetic();
    let words: Vec<_> = line.split(is_separator).filter(|word| !word.is_empty()).collect();
    digits.eq(format!("{:08}", half.number()).chars())
        || bytes_of(half.first_position(), &words) == Some(half.bytes())
}

/// What `cat -v` would show of `received`, with these differences: newline and tab pass, and so
/// do whole characters that neither reorder nor hide text. The peer's `scat:` is marked.
fn shown(received: &[u8]) -> Vec<u8> {
    let mut shown = Vec::new();
    let mut before = String::new();
    for chunk in received.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' | '\t' => shown.push(c as u8),
                '\0'..' ' => shown.extend([b'^', c as u8 + b'@']),
                '\x7f' => shown.extend(b"^?"),
                '\u{80}'..'\u{a0}' => shown.extend([0xc2, b'M', b'-', b'^', c as u8 - 0x40]),
                '\u{200b}'
                | '\u{feff}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{e0000}'..='\u{e007f}' => {
                    shown.extend(format!("<U+{:04X}>", c as u32).bytes())
                }
                ':' if before.ends_with("scat") => shown.extend(b" (the peer):"),
                c => shown.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
            before.push(c.to_ascii_lowercase());
        }
        // The beginning of a character passes as well; any other such byte counts as a control
        // character.
        match chunk.invalid() {
            [] => {}
            &[byte @ 0x80..0xa0] => shown.extend([b'M', b'-', b'^', byte - 0x40]),
            bytes => shown.extend(bytes),
        }
        before.clear();
    }
    shown
}

fn screen(input: &mut Input<'_>) {
    let (at_once, full_at) = (usize::from(input.byte()) + 1, input.byte());
    let mut caret = Caret::new();
    let (mut screen, mut calls) = (Vec::new(), 0u8);
    let sizes: Vec<_> = input.take(8).iter().map(|size| usize::from(*size) + 1).collect();
    let mut received = input.rest().to_vec();
    // Make the prefix of scat's lines likely.
    for at in 0..usize::from(full_at >> 2 & 3).min(received.len()) {
        let at = at * received.len() / 4;
        received.splice(at..at, *b"scat:");
    }
    // Longer than one write to the terminal.
    if full_at & 0x80 != 0 && !received.is_empty() {
        received = received.repeat(2000 / received.len() + 1);
    }
    let (mut rest, mut sizes) = (&received[..], sizes.iter().cycle());
    while !rest.is_empty() {
        let size = sizes.next().copied().unwrap_or(usize::MAX).min(rest.len());
        let pieces = [IoSlice::new(&[]), IoSlice::new(&rest[..size])];
        let counted = loop {
            let before = screen.len();
            let result = caret.write(&pieces, |bytes| {
                calls = calls.wrapping_add(1);
                if calls % 4 == full_at % 4 {
                    return Err(());
                }
                let n = bytes.len().min(at_once);
                screen.extend_from_slice(&bytes[..n]);
                Ok(n)
            });
            match result {
                Ok(n) => break n,
                Err(()) => assert!(screen.len() >= before),
            }
        };
        assert!(counted > 0 && counted <= size);
        rest = &rest[counted..];
        let done = received.len() - rest.len();
        let with_held = [&screen, caret.held()].concat();
        assert_eq!(with_held, shown(&received[..done]), "another screen");
    }
    assert!(screen.iter().all(|byte| *byte >= 0x20 || b"\n\t".contains(byte)));
    assert!(!screen.contains(&0x7f));
    let as_text = String::from_utf8_lossy(&screen);
    assert!(!as_text.chars().any(|c| ('\u{80}'..'\u{a0}').contains(&c)), "a control passes");
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    match input.bit() {
        true => answers(&mut input),
        false => screen(&mut input),
    }
});
