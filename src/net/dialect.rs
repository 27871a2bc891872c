//! Guesses from its first bytes which protocol a non-scat peer speaks, so that the
//! message can say what was started at the other end.

use std::fmt;

/// What the first bytes look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// A TLS record: a handshake or an alert.
    Tls,
    /// An HTTP request or response.
    Http,
    /// The version line of ssh.
    Ssh,
    /// `220 ...`, the greeting of mail and file servers.
    Mail,
    /// Other readable text, such as a line typed into nc.
    Text,
    /// Anything else.
    Unknown,
}

impl Dialect {
    /// Guesses from what has arrived so far, possibly a single byte.
    pub fn of(bytes: &[u8]) -> Self {
        const HTTP: [&[u8]; 8] =
            [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"OPTIONS ", b"CONNECT ", b"DELETE ", b"HTTP/"];
        let is_text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
        match bytes {
            // Record types 21 and 22, RFC 8446 section 5.1.
            [0x15 | 0x16, 0x03, ..] => Dialect::Tls,
            bytes if HTTP.iter().any(|start| bytes.starts_with(start)) => Dialect::Http,
            bytes if bytes.starts_with(b"SSH-") => Dialect::Ssh,
            bytes if bytes.starts_with(b"220 ") || bytes.starts_with(b"220-") => Dialect::Mail,
            // The first bytes suffice: the last character may be cut.
            [_, ..] if bytes.iter().take(16).all(is_text) => Dialect::Text,
            _ => Dialect::Unknown,
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("does not speak scat")?;
        f.write_str(match self {
            Dialect::Tls => ", but TLS",
            Dialect::Http => ", but HTTP",
            Dialect::Ssh => ", but SSH",
            Dialect::Mail => ", but greets like a mail or file server",
            Dialect::Text => ", but sends plain text, as nc does",
            Dialect::Unknown => "",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Dialect::{self, Http, Mail, Ssh, Text, Tls, Unknown};

    #[test]
    fn the_first_bytes_tell_what_it_is() {
        for (bytes, dialect) in [
            (&b"\x16\x03\x01\x02\x00\x01"[..], Tls),
            (b"\x15\x03\x03\x00\x02\x02\x50", Tls),
            (b"GET / HTTP/1.1\r\n", Http),
            (b"HTTP/1.1 400 Bad Request\r\n", Http),
            (b"SSH-2.0-OpenSSH_9.9\r\n", Ssh),
            (b"220 mail.example.org ESMTP\r\n", Mail),
            (b"hello\n", Text),
            (b"x", Text),
            (b"SCAB", Text),
            (b"\xff\xfb\x01", Unknown),
            (b"\x16", Unknown),
            (b"", Unknown),
        ] {
            assert_eq!(Dialect::of(bytes), dialect, "{bytes:?}");
        }
    }
}
