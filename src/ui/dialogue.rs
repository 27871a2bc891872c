//! The text of the comparison, and the meaning of answers. It knows lines, but no
//! terminal.

use crate::protocol::role::Role;
use crate::protocol::sas::{Half, Sas};
use crate::protocol::words::{self, Found};
use crate::text::{ascii_digits, printable};
use crate::ui::report::Met;
use std::net::SocketAddr;

/// Wrong complete answers that end the comparison.
const TRIES: u8 = 3;

/// Meaning of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The other end's words.
    Right,
    /// Not a complete answer, or a wrong one with tries left: the lines to show.
    Again(String),
    /// Wrong for the last time.
    Wrong,
    /// The user says no.
    No,
    /// The user leaves.
    Left,
}

/// One comparison, without its terminal.
pub struct Dialogue {
    role: Role,
    own: Half,
    wanted: Half,
    wrong: u8,
}

impl Dialogue {
    /// Starts for the user at `role`, who has to hear the other role's half.
    pub fn new(role: Role, sas: &Sas) -> Self {
        Dialogue { role, own: sas.half(role), wanted: sas.half(role.peer()), wrong: 0 }
    }

    /// Returns the words that the user here reads out.
    pub fn own_words(&self) -> Half {
        self.own
    }

    /// Returns how many more wrong complete answers end the comparison.
    pub fn tries(&self) -> u8 {
        TRIES - self.wrong
    }

    /// Returns the text before the first answer; `was_typed` says that earlier input was
    /// dropped. The listener's user speaks first; the connector's half appears only after
    /// its user has accepted.
    pub fn opening(&self, peer: Option<SocketAddr>, was_typed: bool) -> String {
        let met = Met { role: self.role, peer };
        let lost = if was_typed { LOST } else { "" };
        let own = self.own;
        match self.role {
            Role::Listener => format!(
                "scat: {met}\n{lost}\
                 scat: check who that is: call the person you expect, read out your three\n\
                 scat: words, and type the three that they answer (or: help, no, q to leave)\n\
                 scat: you say       {own}\n"
            ),
            Role::Connector => format!(
                "scat: {met}\n{lost}\
                 scat: check who that is: call the person you expect, and type the three\n\
                 scat: words that they read out (or: help, no, q to leave)\n"
            ),
        }
    }

    /// Returns the prompt.
    pub fn prompt(&self) -> &'static str {
        match self.role {
            Role::Listener => "scat: they answer: ",
            Role::Connector => "scat: they say: ",
        }
    }

    /// Returns the text after the right answer.
    pub fn closing(&self) -> String {
        match self.role {
            Role::Listener => String::new(),
            Role::Connector => format!(
                "scat: right; now read out yours:\n\
                 scat: you answer    {}\n",
                self.own
            ),
        }
    }

    /// Judges one line. Only complete answers are compared; hints for the others come
    /// from the word list, never from the answer.
    pub fn answer(&mut self, line: &str) -> Answer {
        let is_separator = |c: char| c.is_whitespace() || "-–—,.;:/()!\"'".contains(c);
        let parts: Vec<&str> = line.split(is_separator).filter(|part| !part.is_empty()).collect();
        if let [word] = parts.as_slice() {
            match word.to_ascii_lowercase().as_str() {
                "no" | "n" => return Answer::No,
                "q" | "quit" | "exit" | "bye" => return Answer::Left,
                "help" | "h" | "?" => return self.again(&self.help()),
                "yes" | "y" | "ok" => {
                    return self
                        .again("yes is not enough: type the three words that they read out");
                }
                _ => {}
            }
        }
        let bytes = match self.read(&parts) {
            Ok(bytes) => bytes,
            Err(reply) => return Answer::Again(reply),
        };
        if bytes == self.wanted.number() {
            return Answer::Right;
        }
        if bytes == self.own.number() {
            return self.again(OWN);
        }
        self.wrong += 1;
        let left = match self.tries() {
            0 => return Answer::Wrong,
            1 => "one try left".to_owned(),
            left => format!("{left} tries left"),
        };
        Answer::Again(format!(
            "those are not their words; {left}\n\
             have them read out again: is each word right, and the order?"
        ))
    }

    /// Returns the number of a complete answer, or what to say about any other line.
    fn read(&self, parts: &[&str]) -> Result<u32, String> {
        if parts.is_empty() {
            return Err("type the three words that they read out (or: help, no, q)".to_owned());
        }
        if let Some(digits) = ascii_digits(&parts.concat()) {
            return match digits.parse::<u32>() {
                Ok(number) if digits.len() == 8 && number < 1 << 24 => Ok(number),
                Ok(_) if digits.len() == 8 => Err("the digits are at most 16777215".to_owned()),
                _ => Err("there are eight digits: type all of them".to_owned()),
            };
        }
        let first = self.wanted.first_position();
        match find(first, parts) {
            Ok([a, b, c]) => Ok(u32::from_be_bytes([0, a, b, c])),
            Err(_) if find(first + 1, parts) == Ok(self.own.bytes()) => Err(OWN.to_owned()),
            Err(reply) => Err(reply),
        }
    }

    fn again(&self, reply: &str) -> Answer {
        Answer::Again(reply.to_owned())
    }

    fn help(&self) -> String {
        let order = match self.role {
            Role::Listener => "read out your words, and type the three that they answer",
            Role::Connector => "type the words that they read out; then read out your own",
        };
        format!(
            "the words show whether someone is intercepting the connection\n\
             call the other person, by phone or video, and check that it is their voice\n\
             {order}\n\
             the first letters of a word are enough; or type the eight digits\n\
             no: that is not the person you expect    q: leave without an alarm"
        )
    }
}

/// Returns the bytes of three words, the first at position `first`, or a message that
/// depends only on what was typed.
fn find(first: usize, parts: &[&str]) -> Result<[u8; 3], String> {
    let is_word = |at: usize, typed: &str| matches!(words::find(at, typed), Found::Word(_));
    let is_any = |typed: &&&str| is_word(0, typed) || is_word(1, typed);
    let known = parts.iter().filter(is_any).count();
    let &[a, b, c] = parts else {
        return Err(match (known, parts.len()) {
            (0, _) => NO_CHAT.to_owned(),
            (_, 1) => "that is one word, and they read out three: type all of them".to_owned(),
            (_, len) => {
                format!("those are {len} words, and they read out three: type those three")
            }
        });
    };
    let is_none = |i: usize| words::find(first + i, parts[i]) == Found::Unknown(None);
    if known == 0 && (0..3).any(is_none) {
        return Err(NO_CHAT.to_owned());
    }
    // Each list has its positions: words of the other list were heard in another order.
    let is_swapped = (0..3).all(|i| is_any(&&parts[i]));
    let word = |i: usize, typed: &str| {
        let found = words::find(first + i, typed);
        let start: String = typed.chars().take(LONGEST).collect();
        let (typed, nth) = (printable(&start), NTH[i]);
        match found {
            Found::Word(byte) => Ok(byte),
            Found::Ambiguous => Err(format!("\"{typed}\" is too short: type more of that word")),
            Found::Unknown(_) if is_swapped => Err(format!(
                "\"{typed}\" cannot be the {nth} word: the order is another one\n\
                 have them read out again, slowly"
            )),
            Found::Unknown(Some(meant)) => {
                Err(format!("\"{typed}\" cannot be the {nth} word; is it \"{meant}\"?"))
            }
            Found::Unknown(None) => {
                Err(format!("\"{typed}\" cannot be the {nth} word; how is it spelled?"))
            }
        }
    };
    Ok([word(0, a)?, word(1, b)?, word(2, c)?])
}

/// Most characters of a word that the screen repeats.
const LONGEST: usize = 20;
const NTH: [&str; 3] = ["first", "second", "third"];
const LOST: &str = "scat: what you typed before this question is lost\n";
const NO_CHAT: &str = "nothing is sent yet: first type the three words that they read out";
const OWN: &str = "those are your own words: type the ones that the other person says";

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

    /// What the user at `role` has to type.
    fn right(role: Role, seed: u8) -> Half {
        sas(seed).half(role.peer())
    }

    fn in_arabic(digits: &str) -> String {
        let arabic = |digit: char| char::from_u32(0x660 + digit.to_digit(10).unwrap()).unwrap();
        digits.chars().map(arabic).collect()
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
                in_arabic(&digits),
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
        for seed in (0..=255).step_by(5) {
            for role in ROLES {
                let asked = dialogue(role, seed);
                let shown = [asked.opening(Some(longest), true), asked.closing()].concat();
                let said = |line: &str| match dialogue(role, seed).answer(line) {
                    Answer::Again(reply) => reply,
                    answer => panic!("{line:?}: {answer:?}"),
                };
                let long = "x".repeat(70);
                let accented = "\u{e9}".repeat(70);
                let behind = format!("x{accented} kiwi kiwi");
                let own = sas(seed).half(role).words().join(" ");
                let all = [
                    "",
                    "help",
                    "yes",
                    "hello bob",
                    "00000000",
                    "1",
                    "99999999",
                    "kiwi",
                    &own,
                    "impetus kiwi impetus",
                    "kiwi impetus kiwi zulu",
                    &long,
                    &format!("kiwi {long} kiwi"),
                    &format!("{long} impetus impetus"),
                    &behind,
                ];
                let again =
                    all.map(|line| "scat: ".to_owned() + &said(line).replace('\n', "\nscat: "));
                for line in [shown.as_str(), &again.join("\n")].iter().flat_map(|text| text.lines())
                {
                    assert!(line.chars().count() <= 80, "{line}");
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
        // An incomplete answer does not count.
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
            let Answer::Again(reply) = dialogue(Role::Listener, 1).answer(typed) else {
                panic!("{typed:?} is an answer");
            };
            assert!(!reply.contains(char::is_control), "{reply:?}");
        }
    }

    #[test]
    fn no_in_any_case_refuses() {
        for no in ["no", "No.", " NO \n", "-no-", "NO!", "n", "\"no\""] {
            assert_eq!(dialogue(Role::Listener, 1).answer(no), Answer::No, "{no:?}");
        }
        for left in ["q", "Quit", "exit\n", "bye!"] {
            assert_eq!(dialogue(Role::Listener, 1).answer(left), Answer::Left, "{left:?}");
        }
    }

    /// Each line that is no answer gets an explanation and does not count.
    #[test]
    fn what_is_no_answer_is_told_what_it_was() {
        for role in ROLES {
            let first = right(role, 1).first_position();
            // Every word is from the other list, as if one had been missed.
            let swapped = [1, 2, 3].map(|i| words::word(first + i, 7)).join(" ");
            for (line, told) in [
                ("help", "check that it is their voice"),
                ("?", "check that it is their voice"),
                ("", "type the three words that they read out"),
                ("hello bob", "nothing is sent yet"),
                ("hello", "nothing is sent yet"),
                ("is anybody there", "nothing is sent yet"),
                ("yes", "yes is not enough"),
                ("kiwi impetus kiwi zulu", "those are 4 words"),
                ("kiwi", "one word"),
                (&swapped, "the order is another one"),
                ("1234", "eight digits"),
            ] {
                let mut dialogue = dialogue(role, 1);
                match dialogue.answer(line) {
                    Answer::Again(reply) => assert!(reply.contains(told), "{line:?}: {reply}"),
                    answer => panic!("{line:?}: {answer:?}"),
                }
                assert_eq!(dialogue.tries(), 3, "{line:?}");
            }
        }
    }

    /// For any input except the answer itself, the reply does not depend on the answer.
    #[test]
    fn replies_give_nothing_of_the_answer_away() {
        let seeds = || (0..=255).step_by(5);
        for role in ROLES {
            let answers: Vec<String> =
                seeds().map(|seed| right(role, seed).words().join(" ")).collect();
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
                let replies = seeds().zip(&answers).filter(|(_, answer)| *answer != typed);
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
            let all =
                [&asked.opening(Some(PEER), false), asked.prompt(), &asked.closing()].concat();
            let theirs = right(role, 1);
            assert!(!all.contains(&theirs.words().join(" ")));
            assert!(!all.contains(&theirs.to_string()));
            let own = sas(1).half(role).to_string();
            // The connector's user speaks second.
            assert_eq!(asked.opening(Some(PEER), false).contains(&own), role == Role::Listener);
            assert_eq!(asked.closing().contains(&own), role == Role::Connector);
        }
    }
}
