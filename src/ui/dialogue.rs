//! What is said when a person compares the words, and what an answer means: no terminal,
//! only lines.

use crate::protocol::role::Role;
use crate::protocol::sas::{Half, Sas};
use crate::protocol::words::{self, Found};
use crate::text::printable;
use crate::ui::report::Met;
use std::net::SocketAddr;

/// Complete answers that may be wrong before the third ends it.
const TRIES: u8 = 3;

/// What an answer comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is what the other end's words are.
    Right,
    /// Not an answer yet, or a wrong one with tries left: what to tell.
    Again(String),
    /// Wrong for the third time.
    Wrong,
    /// The person says no.
    No,
}

/// The comparison by itself: no terminal, only lines.
pub struct Dialogue {
    role: Role,
    own: Half,
    wanted: Half,
    wrong: u8,
}

impl Dialogue {
    /// For the person at `role`, who has to hear the other role's half.
    pub fn new(role: Role, sas: &Sas) -> Self {
        Dialogue { role, own: sas.half(role), wanted: sas.half(role.peer()), wrong: 0 }
    }

    /// What the person here says.
    pub fn own_words(&self) -> Half {
        self.own
    }

    /// What the screen says before the first answer. The listener's person speaks
    /// first; the connector's half appears only when it has accepted.
    pub fn opening(&self, peer: Option<SocketAddr>) -> String {
        let met = Met { role: self.role, peer };
        let (call, answer) = match self.role {
            Role::Listener => (
                format!(
                    "scat: call the person you expect, and read aloud:\n\
                     scat: you say       {}\n",
                    self.own
                ),
                "answer",
            ),
            Role::Connector => {
                ("scat: call the person you expect; they speak first\n".to_owned(), "say")
            }
        };
        format!(
            "scat: {met}\n\
             {call}\
             scat: type the three words or eight digits that they {answer}\n\
             scat: (if you do not recognise the voice, type no)\n"
        )
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
            Role::Listener => "scat: verified\n".to_owned(),
            Role::Connector => format!(
                "scat: right; now read aloud:\n\
                 scat: you answer    {}\n\
                 scat: verified\n",
                self.own
            ),
        }
    }

    /// Judges one line. Only complete answers are compared; what helps with the
    /// others is taken from the word list and never from the answer.
    pub fn answer(&mut self, line: &str) -> Answer {
        let line = line.trim();
        let is_separator = |c: char| c.is_whitespace() || "-–—,.;:/()!\"'".contains(c);
        let parts: Vec<&str> = line.split(is_separator).filter(|part| !part.is_empty()).collect();
        if parts.is_empty() {
            return Answer::Again(HELP.to_owned());
        }
        if matches!(parts.as_slice(), [word] if NO.contains(&&*word.to_ascii_lowercase())) {
            return Answer::No;
        }
        let bytes = if parts.iter().all(|part| part.bytes().all(|b| b.is_ascii_digit())) {
            let digits = parts.concat();
            match digits.parse::<u32>() {
                Ok(number) if digits.len() == 8 && number < 1 << 24 => number.to_be_bytes(),
                Ok(_) if digits.len() == 8 => {
                    return Answer::Again("the digits are at most 16777215".to_owned());
                }
                _ => return Answer::Again("there are eight digits".to_owned()),
            }
        } else {
            match find(self.wanted.first_position(), &parts) {
                Ok([a, b, c]) => [0, a, b, c],
                Err(_) if find(self.own.first_position(), &parts) == Ok(self.own.bytes()) => {
                    return Answer::Again(OWN.to_owned());
                }
                Err(why) => return Answer::Again(why),
            }
        };
        let [a, b, c] = self.wanted.bytes();
        if bytes == [0, a, b, c] {
            return Answer::Right;
        }
        if bytes == self.own.number().to_be_bytes() {
            return Answer::Again(OWN.to_owned());
        }
        self.wrong += 1;
        match TRIES - self.wrong {
            0 => Answer::Wrong,
            1 => Answer::Again("those are not the words; one try left".to_owned()),
            left => Answer::Again(format!("those are not the words; {left} tries left")),
        }
    }
}

/// The bytes that three words stand for, the first of them at `first`, or why none.
fn find(first: usize, parts: &[&str]) -> Result<[u8; 3], String> {
    let &[a, b, c] = parts else {
        return Err("there are three words (or eight digits)".to_owned());
    };
    let word = |i: usize, typed: &str| {
        let found = words::find(first + i, typed);
        let (typed, nth) = (printable(typed), NTH[i]);
        match found {
            Found::Word(byte) => Ok(byte),
            Found::Ambiguous => Err(format!("\"{typed}\" is too short: type more of that word")),
            Found::Unknown(Some(meant)) => {
                Err(format!("\"{typed}\" cannot be the {nth} word; is it \"{meant}\"?"))
            }
            Found::Unknown(None) => {
                Err(format!("\"{typed}\" cannot be the {nth} word; is the order right?"))
            }
        }
    };
    Ok([word(0, a)?, word(1, b)?, word(2, c)?])
}

const NTH: [&str; 3] = ["first", "second", "third"];
/// What a person types who does not want to.
const NO: [&str; 5] = ["no", "n", "quit", "q", "exit"];
const HELP: &str = "type what they say, or no if you do not recognise the voice";
const OWN: &str = "those are your own words; type what the other person says";

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    fn sas(seed: u8) -> Sas {
        Sas::new(&[seed; 32], &[seed.wrapping_mul(7); 32])
    }

    fn dialogue(role: Role, seed: u8) -> Dialogue {
        Dialogue::new(role, &sas(seed))
    }

    /// What the person at `role` has to type.
    fn right(role: Role, seed: u8) -> Half {
        sas(seed).half(role.peer())
    }

    const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9000);
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
                assert_eq!(dialogue(role, 1).answer(&line), Answer::Right, "{line:?}");
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
            ] {
                let mut dialogue = dialogue(role, 1);
                let answer = dialogue.answer(&line);
                assert!(matches!(answer, Answer::Again(_)), "{line:?}: {answer:?}");
                assert_eq!(dialogue.wrong, 1, "{line:?}");
            }
        }
    }

    #[test]
    fn ones_own_half_is_named_and_is_no_try() {
        for role in ROLES {
            let own = sas(1).half(role);
            let mut dialogue = dialogue(role, 1);
            for typed in [own.words().join(" "), format!("{:08}", own.number())] {
                assert_eq!(dialogue.answer(&typed), Answer::Again(OWN.to_owned()));
            }
            assert_eq!(dialogue.wrong, 0);
        }
    }

    #[test]
    fn no_line_is_wider_than_a_terminal() {
        let longest = SocketAddr::new(Ipv6Addr::from([0xff; 16]).into(), 65535);
        for seed in 0..=255 {
            for role in ROLES {
                let asked = dialogue(role, seed);
                let all = [asked.opening(Some(longest)), asked.closing(), format!("scat: {HELP}")];
                for line in all.iter().flat_map(|text| text.lines()) {
                    assert!(line.chars().count() < 80, "{line}");
                }
                // Room for the answer.
                assert!(asked.prompt().len() < 30);
            }
        }
    }

    #[test]
    fn the_third_wrong_answer_ends_it() {
        let mut dialogue = dialogue(Role::Connector, 1);
        let wrong = "00000000";
        assert!(matches!(dialogue.answer(wrong), Answer::Again(_)));
        // What is no complete answer is not counted.
        for unfinished in
            ["", "16777216", "tro", "kiwi", "1234", "trouble suspicious", "yes", "no no"]
        {
            assert!(matches!(dialogue.answer(unfinished), Answer::Again(_)), "{unfinished:?}");
        }
        assert!(matches!(dialogue.answer(wrong), Answer::Again(_)));
        assert_eq!(dialogue.answer(wrong), Answer::Wrong);
    }

    #[test]
    fn what_was_typed_comes_back_without_control_characters() {
        for typed in ["\x1b[2J\x07 b c", "tro\u{9b}2J b c", "\x7f\x08 \x01 \x02"] {
            let Answer::Again(why) = dialogue(Role::Listener, 1).answer(typed) else {
                panic!("{typed:?} is an answer");
            };
            assert!(!why.contains(char::is_control), "{why:?}");
        }
    }

    #[test]
    fn no_in_any_case_refuses() {
        for no in ["no", "No.", " NO \n", "-no-", "NO!", "n", "quit", "q", "\"no\"", "exit"] {
            assert_eq!(dialogue(Role::Listener, 1).answer(no), Answer::No, "{no:?}");
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
                let mut replies = replies.map(|(seed, _)| dialogue(role, seed).answer(typed));
                let first = replies.next().unwrap();
                assert!(replies.all(|reply| reply == first), "{typed:?}");
            }
        }
    }

    #[test]
    fn the_screen_shows_ones_own_half_only() {
        for role in ROLES {
            let asked = dialogue(role, 1);
            let all = [&asked.opening(Some(PEER)), asked.prompt(), &asked.closing()].concat();
            let theirs = right(role, 1);
            assert!(!all.contains(&theirs.words().join(" ")));
            assert!(!all.contains(&theirs.to_string()));
            let own = sas(1).half(role).to_string();
            // The connector's person speaks second.
            assert_eq!(asked.opening(Some(PEER)).contains(&own), role == Role::Listener);
            assert_eq!(asked.closing().contains(&own), role == Role::Connector);
        }
    }
}
