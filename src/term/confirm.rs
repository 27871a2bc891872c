//! The ceremony (`-c`): a person types what the other person says.
//!
//! It takes place on the terminal itself, never on standard input, and shows
//! neither side the half that its person has to hear: what is not on the screen
//! cannot be clicked through. The terminal's settings are not touched, so there
//! is nothing to put back, however this ends.

use crate::protocol::role::Role;
use crate::protocol::sas::{Half, Sas};
use crate::protocol::words::{self, Found};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::termios::QueueSelector;
use std::io;
use std::net::IpAddr;

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
    /// Wrong for the third time.
    Wrong,
    /// The person says no.
    No,
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
                "scat: somebody has connected from {peer}. Call the person you expect, and read \
                 aloud:\n\
                 scat: you say       {}\n\
                 scat: type the three words (or the eight digits) that they answer, or \"no\".\n",
                self.own
            ),
            Role::Connector => format!(
                "scat: connected to {peer}. Call the person you expect; they speak first.\n\
                 scat: type the three words (or the eight digits) that they say, or \"no\".\n"
            ),
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
                format!(
                    "scat: right. Now read aloud:\n\
                     scat: you answer    {}\n\
                     scat: verified; if they use -c as well, they still have to type what you say.\n",
                    self.own
                )
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
            return Answer::No;
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
            0 => Answer::Wrong,
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
            Found::Ambiguous => Err(format!("\"{typed}\" is too short: type more of that word")),
            Found::Unknown(Some(meant)) => {
                Err(format!("\"{typed}\" is no {} word: did you mean \"{meant}\"?", NTH[i]))
            }
            Found::Unknown(None) => {
                Err(format!("\"{typed}\" is no {} word: is the order right?", NTH[i]))
            }
        };
        Ok([word(0, a)?, word(1, b)?, word(2, c)?])
    }
}

const NTH: [&str; 3] = ["first", "second", "third"];
const HELP: &str = "type what they say, or \"no\" if you do not know that voice";

/// How far a ceremony has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It goes on.
    Waiting,
    /// The person has accepted.
    Accepted,
    /// Three wrong answers.
    Wrong,
    /// The person has said no.
    No,
}

/// A person at the terminal, comparing the words.
pub struct Ceremony {
    terminal: Terminal,
    questions: Questions,
    peer: IpAddr,
    /// Whether the screen shows the question.
    is_asked: bool,
    is_accepted: bool,
    is_readable: bool,
}

impl Ceremony {
    /// Begins to watch `terminal`; the question comes with [`Ceremony::go_on`].
    ///
    /// # Errors
    /// The system's.
    pub fn new(
        terminal: Terminal,
        questions: Questions,
        peer: IpAddr,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let fd = terminal.tty.as_raw_fd();
        registry.register(&mut SourceFd(&fd), token, Interest::READABLE)?;
        Ok(Ceremony {
            terminal,
            questions,
            peer: peer.to_canonical(),
            is_asked: false,
            is_accepted: false,
            is_readable: true,
        })
    }

    /// The loop saw an event for the terminal.
    pub fn set_readable(&mut self) {
        self.is_readable = true;
    }

    /// The process was stopped and goes on: the screen shows something else.
    pub fn ask_again(&mut self) {
        self.is_asked = false;
    }

    /// Whether something may have been typed.
    pub fn can_go_on(&self) -> bool {
        self.is_asked && self.is_readable
    }

    /// Whether it waits for the terminal to be ours, or to take what is to be
    /// shown. No event tells of that: it has to be looked at now and then.
    pub fn is_kept_waiting(&self) -> bool {
        !self.is_asked || !self.terminal.unsaid.is_empty()
    }

    /// Whether scat is in the terminal's foreground.
    ///
    /// # Errors
    /// The system's: the terminal has hung up.
    pub fn is_in_foreground(&self) -> io::Result<bool> {
        self.terminal.is_ours()
    }

    /// Asks, and judges what was typed.
    ///
    /// # Errors
    /// The system's: the terminal has hung up.
    pub fn go_on(&mut self) -> io::Result<Progress> {
        if !self.terminal.is_ours()? {
            // Reading would stop the process; when it is back, the screen is new.
            self.is_asked = false;
            return Ok(Progress::Waiting);
        }
        self.terminal.show("");
        if !self.is_asked && !self.is_accepted {
            // What was typed before the question is no answer to it.
            self.terminal.flush();
            self.terminal.show(&self.questions.opening(self.peer));
            self.terminal.show(self.questions.prompt());
        }
        self.is_asked = true;
        while self.is_readable && !self.is_accepted {
            let line = match self.terminal.read_line() {
                Ok(Some(line)) => line,
                Ok(None) => {
                    self.is_readable = false;
                    break;
                }
                Err(why) if why.kind() == io::ErrorKind::UnexpectedEof => return Ok(Progress::No),
                Err(why) => return Err(why),
            };
            match self.questions.answer(&line) {
                Answer::Again(why) => {
                    self.terminal.show(&format!("scat: {why}\n{}", self.questions.prompt()));
                }
                Answer::Wrong => return Ok(Progress::Wrong),
                Answer::No => return Ok(Progress::No),
                Answer::Right => {
                    self.terminal.show(&self.questions.closing());
                    self.is_accepted = true;
                }
            }
        }
        // The connector's person has to see what to answer.
        let is_over = self.is_accepted && self.terminal.unsaid.is_empty();
        Ok(if is_over { Progress::Accepted } else { Progress::Waiting })
    }

    /// Leaves an open question behind as a person would: on a new line, and
    /// nothing half typed for the shell.
    pub fn leave(mut self) {
        if self.is_asked && self.is_in_foreground().unwrap_or(false) {
            self.terminal.flush();
            self.terminal.show("\n");
        }
    }
}

/// The controlling terminal, whatever standard input is.
pub struct Terminal {
    tty: OwnedFd,
    line: Vec<u8>,
    /// What the terminal has not taken yet: a person can stop it with Ctrl-S.
    unsaid: Vec<u8>,
}

impl Terminal {
    /// Opens it, for ourselves, non-blocking.
    ///
    /// # Errors
    /// The system's: above all that there is none.
    pub fn open() -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let tty = rustix::fs::open("/dev/tty", flags, Mode::empty())?;
        Ok(Terminal { tty, line: Vec::new(), unsaid: Vec::new() })
    }

    /// Whether scat may use it now. In the background, reading would stop the process.
    ///
    /// # Errors
    /// The system's: it has hung up, and will not come back.
    fn is_ours(&self) -> io::Result<bool> {
        Ok(rustix::termios::tcgetpgrp(&self.tty)? == rustix::process::getpgrp())
    }

    /// Shows `text`, or as much as the terminal takes, behind what it still owes.
    fn show(&mut self, text: &str) {
        self.unsaid.extend_from_slice(text.as_bytes());
        while !self.unsaid.is_empty() {
            match rustix::io::write(&self.tty, &self.unsaid) {
                Ok(n) => drop(self.unsaid.drain(..n)),
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    /// Throws away what was typed and not read.
    fn flush(&mut self) {
        self.line.clear();
        if self.is_ours().unwrap_or(false) {
            let _ = rustix::termios::tcflush(&self.tty, QueueSelector::IFlush);
        }
    }

    /// The next whole line, without its end; `None` while there is none.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] for Ctrl-D; else the system's.
    fn read_line(&mut self) -> io::Result<Option<String>> {
        loop {
            let mut bytes = [0; LINE];
            let n = match rustix::io::read(&self.tty, &mut bytes) {
                Ok(0) => {
                    // A terminal that has hung up reads like Ctrl-D, and is no refusal.
                    self.is_ours()?;
                    return Err(io::ErrorKind::UnexpectedEof.into());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sas(seed: u8) -> Sas {
        Sas::new(&[seed; 32], &[seed.wrapping_mul(7); 32])
    }

    fn questions(role: Role, seed: u8) -> Questions {
        Questions::new(role, &sas(seed))
    }

    /// What the person at `role` has to type.
    fn right(role: Role, seed: u8) -> Half {
        sas(seed).half(role.peer())
    }

    const ROLES: [Role; 2] = [Role::Listener, Role::Connector];

    #[test]
    fn words_and_digits_are_taken_in_many_shapes() {
        for role in ROLES {
            let half = right(role, 1);
            let words = half.words().join(" ");
            let digits = format!("{:08}", half.number());
            let (left, behind) = digits.split_at(4);
            for line in [
                words.clone(),
                words.to_uppercase(),
                words.replace(' ', "-"),
                words.replace(' ', ", "),
                format!("\t{}\r\n", words.replace(' ', "   ")),
                digits.clone(),
                format!("{left} {behind}"),
                format!("({left}-{behind})"),
                digits.chars().map(|digit| format!("{digit} ")).collect(),
            ] {
                assert_eq!(questions(role, 1).answer(&line), Answer::Right, "{line:?}");
            }
        }
    }

    #[test]
    fn any_one_wrong_part_is_a_wrong_answer() {
        for role in ROLES {
            let half = right(role, 1);
            let [a, b, c] = half.words();
            let first = half.first_position();
            let other = |i: usize| words::word(first + i, half.bytes()[i].wrapping_add(1));
            let off_by_one = format!("{:08}", half.number() ^ 1);
            for line in [
                format!("{} {b} {c}", other(0)),
                format!("{a} {} {c}", other(1)),
                format!("{a} {b} {}", other(2)),
                off_by_one,
                // The same 24 bits, and more above them.
                format!("{:08}", half.number() + (1 << 24)),
            ] {
                let mut questions = questions(role, 1);
                let answer = questions.answer(&line);
                assert!(matches!(answer, Answer::Again(_)), "{line:?}: {answer:?}");
                assert_eq!(questions.wrong, 1, "{line:?}");
            }
        }
    }

    #[test]
    fn ones_own_half_is_not_the_answer() {
        for role in ROLES {
            let own = sas(1).half(role);
            let mut questions = questions(role, 1);
            assert_ne!(questions.answer(&own.words().join(" ")), Answer::Right);
            assert_ne!(questions.answer(&format!("{:08}", own.number())), Answer::Right);
        }
    }

    #[test]
    fn the_third_wrong_answer_ends_it() {
        let mut questions = questions(Role::Connector, 1);
        let wrong = "00000000";
        assert!(matches!(questions.answer(wrong), Answer::Again(_)));
        // What is no complete answer is not counted.
        for unfinished in ["", "tro", "kiwi", "1234", "trouble suspicious", "yes", "no no"] {
            assert!(matches!(questions.answer(unfinished), Answer::Again(_)), "{unfinished:?}");
        }
        assert!(matches!(questions.answer(wrong), Answer::Again(_)));
        assert_eq!(questions.answer(wrong), Answer::Wrong);
    }

    #[test]
    fn no_in_any_case_refuses() {
        for no in ["no", "No.", " NO \n", "-no-"] {
            assert_eq!(questions(Role::Listener, 1).answer(no), Answer::No, "{no:?}");
        }
    }

    /// Whatever is typed that is not the answer itself, the reply is the same for every answer.
    #[test]
    fn replies_give_nothing_of_the_answer_away() {
        for role in ROLES {
            let answers: Vec<String> =
                (0..=255).map(|seed| right(role, seed).words().join(" ")).collect();
            for typed in [
                "trubble suspicous kiwwi",
                "insincer solo impetuss",
                "kiwi",
                "zul imp kiw",
                "imp zul yuc",
                "aaa bbb ccc",
                "st pr re",
                "st pr re st",
                "1234 567",
                "123456789",
                "é ü ñ",
                "yes",
            ] {
                let replies = (0..=255).zip(&answers).filter(|(_, answer)| *answer != typed);
                let mut replies = replies.map(|(seed, _)| questions(role, seed).answer(typed));
                let first = replies.next().unwrap();
                assert!(replies.all(|reply| reply == first), "{typed:?}");
            }
        }
    }

    #[test]
    fn the_screen_shows_ones_own_half_only() {
        for role in ROLES {
            let asked = questions(role, 1);
            let all = [&asked.opening("192.0.2.1"), asked.prompt(), &asked.closing()].concat();
            let theirs = right(role, 1);
            assert!(!all.contains(&theirs.words().join(" ")));
            assert!(!all.contains(&theirs.to_string()));
            let own = sas(1).half(role).to_string();
            // The connector's person speaks second.
            assert_eq!(asked.opening("").contains(&own), role == Role::Listener);
            assert_eq!(asked.closing().contains(&own), role == Role::Connector);
        }
    }
}
