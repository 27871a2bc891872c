//! Text for people: times, rates, addresses and system errors.

use crate::sys::zone;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Whether `c` can reorder or hide the text around it. (The joiners and marks that
/// Persian, Arabic and emoji need do not count.)
pub fn hides(c: char) -> bool {
    matches!(c, '\u{200b}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        || matches!(c, '\u{e0000}'..='\u{e007f}')
}

/// Returns `text` with its control and hidden characters spelled out, so that a terminal
/// obeys none of them.
pub fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() || hides(c) {
            true => printable.extend(c.escape_default()),
            false => printable.push(c),
        }
    }
    printable
}

/// The zeros of all scripts in use today, each followed by its other nine digits in
/// Unicode: the decimal digits (Nd) of the Basic Multilingual Plane, except ASCII's.
const ZEROS: &str = "\
    \u{660}\u{6f0}\u{7c0}\u{966}\u{9e6}\u{a66}\u{ae6}\u{b66}\u{be6}\u{c66}\u{ce6}\u{d66}\
    \u{de6}\u{e50}\u{ed0}\u{f20}\u{1040}\u{1090}\u{17e0}\u{1810}\u{1946}\u{19d0}\u{1a80}\
    \u{1a90}\u{1b50}\u{1bb0}\u{1c40}\u{1c50}\u{a620}\u{a8d0}\u{a900}\u{a9d0}\u{a9f0}\
    \u{aa50}\u{abf0}\u{ff10}";

/// Returns `text` in ASCII digits, if it consists of decimal digits of any script.
pub fn ascii_digits(text: &str) -> Option<String> {
    let digit = |c: char| {
        let at = |zero| (c as u32).checked_sub(zero as u32).filter(|digit| *digit < 10);
        ZEROS.chars().chain(['0']).find_map(at)
    };
    text.chars().map(|c| char::from_digit(digit(c)?, 10)).collect()
}

/// A time as people write it: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`.
pub struct Rounded(pub Duration);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, tenths) = (self.0.as_secs(), self.0.subsec_millis() / 100);
        match (seconds, tenths) {
            (0, 0) => write!(f, "less than 0.1 s"),
            (0..10, 1..) => write!(f, "{seconds}.{tenths} s"),
            (0..60, _) => write!(f, "{seconds} s"),
            (60..3600, _) if seconds % 60 == 0 => write!(f, "{} min", seconds / 60),
            (60..3600, _) => write!(f, "{} min {} s", seconds / 60, seconds % 60),
            _ => write!(f, "{} h {} min", seconds / 3600, seconds / 60 % 60),
        }
    }
}

/// A number of bytes as people write it: `17 bytes`, `2.9 MiB`, `512 KiB`.
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        // In tenths of the unit.
        let (mut size, mut unit) = (u128::from(self.0) * 10, "");
        for greater in units.into_iter().take_while(|_| self.0 >= 1024) {
            if !unit.is_empty() && size < 10_240 {
                break;
            }
            (size, unit) = (size / 1024, greater);
        }
        match (unit, size) {
            ("", 10) => f.write_str("1 byte"),
            ("", _) => write!(f, "{} bytes", self.0),
            (_, ..1000) => write!(f, "{}.{} {unit}", size / 10, size % 10),
            _ => write!(f, "{} {unit}", size / 10),
        }
    }
}

/// A transfer rate: `, 1.2 MiB/s`; empty without bytes.
pub struct Rate {
    /// Bytes transferred.
    pub bytes: u64,
    /// Time that they took.
    pub time: Duration,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bytes == 0 {
            return Ok(());
        }
        let rate = u128::from(self.bytes) * 1_000_000 / self.time.as_micros().max(1);
        write!(f, ", {}/s", Bytes(u64::try_from(rate).unwrap_or(u64::MAX)))
    }
}

/// `198.51.100.4`, `fe80::1%eth0`. An IPv4 address keeps its form on a dual-stack socket;
/// a link-local address is only valid with its zone.
pub struct Ip(pub SocketAddr);

impl fmt::Display for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => {
                write!(f, "{}%{}", v6.ip(), zone::name(v6.scope_id()))
            }
            address => address.ip().to_canonical().fmt(f),
        }
    }
}

/// `198.51.100.4 port 40312`.
pub struct Address(pub SocketAddr);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} port {}", Ip(self.0), self.0.port())
    }
}

/// Returns the system's message in lower case and without the number: `connection
/// refused`.
pub fn plain(err: &io::Error) -> String {
    let text = err.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        // Not an abbreviation.
        Some(first) if letters.as_str().starts_with(char::is_lowercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_for_people() {
        for (milliseconds, said) in [
            (0, "less than 0.1 s"),
            (314, "0.3 s"),
            (1000, "1 s"),
            (9_960, "9.9 s"),
            (59_999, "59 s"),
            (200_000, "3 min 20 s"),
            (300_000, "5 min"),
            (7_500_000, "2 h 5 min"),
        ] {
            assert_eq!(Rounded(Duration::from_millis(milliseconds)).to_string(), said);
        }
    }

    #[test]
    fn digits_of_any_script_are_digits() {
        for (typed, digits) in [
            ("0123456789", Some("0123456789")),
            ("\u{660}\u{661}\u{669}", Some("019")),
            ("\u{6f0}\u{6f9}7", Some("097")),
            ("\u{966}\u{96f}", Some("09")),
            ("\u{ff11}\u{ff19}", Some("19")),
            ("\u{ff1a}", None),
            ("12a", None),
            ("\u{b2}", None),
        ] {
            assert_eq!(ascii_digits(typed).as_deref(), digits, "{typed:?}");
        }
        for zero in ZEROS.chars() {
            let nine = char::from_u32(zero as u32 + 9).unwrap();
            let before = char::from_u32(zero as u32 - 1).unwrap();
            assert!(zero.is_numeric() && nine.is_numeric(), "{zero:?}");
            assert!(!before.is_numeric() || ascii_digits(&before.to_string()) == Some("9".into()));
        }
    }

    #[test]
    fn bytes_are_rounded_for_people() {
        for (bytes, said) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            (3_000_000, "2.8 MiB"),
            (100 << 20, "100 MiB"),
            ((1 << 30) - 1, "1023 MiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), said);
        }
        let time = Duration::from_secs(2);
        assert_eq!(Rate { bytes: 0, time }.to_string(), "");
        assert_eq!(Rate { bytes: 3_000, time }.to_string(), ", 1.4 KiB/s");
    }
}
