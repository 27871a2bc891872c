//! The ceremony (`-c`): a person types what the other person says.
//!
//! It takes place on the terminal itself, never on standard input, and shows
//! neither side the half that its person has to hear: what is not on the screen
//! cannot be clicked through. The terminal's settings are not touched, so there
//! is nothing to put back, however this ends.

use crate::handshake::Role;
use crate::sas::{Half, Sas};
use crate::words::{self, Found};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::termios::QueueSelector;
use std::io;

/// Complete answers that may be wrong before the third ends it.
const TRIES: u8 = 3;
/// Bytes of the longest line that is looked at.
const LINE: usize = 256;

/// What an answer comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is what the other side's words are.
    Right,
    /// Not an answer yet, or a wrong one with tries left: what to tell.
    Again(String),
    /// Refused, by the person or by the third wrong answer.
    Refused,
}

/// The comparison by itself: no terminal, only lines.
pub struct Questions {
    role: Role,
    own: Half,
    wanted: Half,
    wrong: u8,
}

impl Questions {
    /// For the person at `role`, who has to hear the other role's half.
    pub fn new(role: Role, sas: &Sas) -> Self {
        Questions { role, own: sas.half(role), wanted: sas.half(role.peer()), wrong: 0 }
    }

    /// What the screen says before the first answer, `peer` being the other
    /// end's address. The listener's person speaks first; the connector's half
    /// appears only when it has accepted.
    pub fn opening(&self, peer: impl std::fmt::Display) -> String {
        match self.role {
            Role::Listener => format!(
                "scat: {peer} has connected. Talk to the person you expect, by voice.\n\
                 scat: you say       {}\n",
                self.own
            ),
            Role::Connector => "scat: connected. Talk to the person you expect, by voice; \
                 they speak first.\n\
                 scat: type the three words (or the eight digits) that they say.\n"
                .to_owned(),
        }
    }

    /// What stands before the answer.
    pub fn prompt(&self) -> &'static str {
        match self.role {
            Role::Listener => "scat: they answer: ",
            Role::Connector => "scat: they say: ",
        }
    }

    /// What the screen says after the right answer.
    pub fn closing(&self) -> String {
        match self.role {
            Role::Listener => "scat: verified.\n".to_owned(),
            Role::Connector => {
                format!("scat: you answer    {}\nscat: verified.\n", self.own)
            }
        }
    }

    /// Judges one line. Only complete answers are compared; what helps with the
    /// others is taken from the word list and never from the answer.
    pub fn answer(&mut self, line: &str) -> Answer {
        let line = line.trim();
        let is_separator = |c: char| c.is_whitespace() || "-–—,.;:/()".contains(c);
        let parts: Vec<&str> = line.split(is_separator).filter(|part| !part.is_empty()).collect();
        if parts.is_empty() {
            return Answer::Again(HELP.to_owned());
        }
        if matches!(parts.as_slice(), [word] if word.eq_ignore_ascii_case("no")) {
            return Answer::Refused;
        }
        let bytes = if parts.iter().all(|part| part.bytes().all(|b| b.is_ascii_digit())) {
            let digits = parts.concat();
            match digits.parse::<u32>() {
                Ok(number) if digits.len() == 8 => number.to_be_bytes(),
                _ => return Answer::Again("there are eight digits".to_owned()),
            }
        } else {
            match self.find(&parts) {
                Ok([a, b, c]) => [0, a, b, c],
                Err(why) => return Answer::Again(why),
            }
        };
        let [a, b, c] = self.wanted.bytes();
        if bytes == [0, a, b, c] {
            return Answer::Right;
        }
        self.wrong += 1;
        match TRIES - self.wrong {
            0 => Answer::Refused,
            1 => Answer::Again("those are not the words; one try left".to_owned()),
            left => Answer::Again(format!("those are not the words; {left} tries left")),
        }
    }

    fn find(&self, parts: &[&str]) -> Result<[u8; 3], String> {
        let &[a, b, c] = parts else {
            return Err("there are three words (or eight digits)".to_owned());
        };
        let first = self.wanted.first_position();
        let word = |i: usize, typed: &str| match words::find(first + i, typed) {
            Found::Word(byte) => Ok(byte),
            Found::Ambiguous => Err(format!("more of \"{typed}\", please: several words fit")),
            Found::Unknown(Some(meant)) => {
                Err(format!("\"{typed}\" cannot be word {}: did you mean \"{meant}\"?", i + 1))
            }
            Found::Unknown(None) => Err(format!("\"{typed}\" cannot be word {}", i + 1)),
        };
        Ok([word(0, a)?, word(1, b)?, word(2, c)?])
    }
}

const HELP: &str = "type what they say, or \"no\" if you do not know that voice";

/// The controlling terminal, whatever standard input is.
pub struct Terminal {
    tty: OwnedFd,
    line: Vec<u8>,
}

impl Terminal {
    /// Opens it, for ourselves, non-blocking.
    ///
    /// # Errors
    /// The system's: above all that there is none.
    pub fn open() -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let tty = rustix::fs::open("/dev/tty", flags, Mode::empty())?;
        Ok(Terminal { tty, line: Vec::new() })
    }

    /// Whether scat may use it now. In the background, reading would stop the process.
    ///
    /// # Errors
    /// The system's: it has hung up, and will not come back.
    pub fn is_ours(&self) -> io::Result<bool> {
        Ok(rustix::termios::tcgetpgrp(&self.tty)? == rustix::process::getpgrp())
    }

    /// Begins to watch it.
    ///
    /// # Errors
    /// The system's.
    pub fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut SourceFd(&self.tty.as_raw_fd()), token, Interest::READABLE)
    }

    /// Ends that.
    pub fn deregister(&self, registry: &Registry) {
        let _ = registry.deregister(&mut SourceFd(&self.tty.as_raw_fd()));
    }

    /// Shows `text`. A terminal that takes nothing has nobody before it.
    pub fn show(&self, text: &str) {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            match rustix::io::write(&self.tty, rest) {
                Ok(n) => rest = &rest[n..],
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    /// Throws away what was typed and not read.
    pub fn flush(&mut self) {
        self.line.clear();
        if self.is_ours().unwrap_or(false) {
            let _ = rustix::termios::tcflush(&self.tty, QueueSelector::IFlush);
        }
    }

    /// The next whole line, without its end; `None` while there is none.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] for Ctrl-D; else the system's.
    pub fn read_line(&mut self) -> io::Result<Option<String>> {
        loop {
            let mut bytes = [0; LINE];
            let n = match rustix::io::read(&self.tty, &mut bytes) {
                // A terminal that has hung up reads like Ctrl-D, and is no refusal.
                Ok(0) => {
                    return Err(self.is_ours().err().unwrap_or(io::ErrorKind::UnexpectedEof.into()));
                }
                Ok(n) => n,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Ok(None),
                Err(why) => return Err(why.into()),
            };
            self.line.extend_from_slice(&bytes[..n]);
            let is_whole = matches!(self.line.last(), Some(b'\n' | b'\r'));
            if is_whole || self.line.len() > LINE {
                let line = String::from_utf8_lossy(&self.line).into_owned();
                self.line.clear();
                return Ok(Some(line));
            }
        }
    }
}
