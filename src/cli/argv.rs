//! argv taken apart, once: each option and each value a word of its own, as argh wants
//! them. Everything that is asked of the command line later is asked of these words.
//!
//! ```text
//! -lvp9000         -l  -v  -p  9000
//! -l9000           -l  -p  9000
//! --peer=KEY       --peer  KEY
//! -i --status-fd   -i  --status-fd      (a key file of that name)
//! ```

use super::{Args, corrected, foreign, is_number, usage};
use crate::error::Error;
use crate::sys::argument;
use argh::{ArgsInfo, FlagInfo, FlagInfoKind};
use std::ffi::{OsStr, OsString};
use std::iter::Peekable;

/// What the options and values of a command line are.
#[derive(Default)]
pub struct Argv {
    words: Vec<Word>,
    /// The values and places, which need not be UTF-8.
    values: Vec<OsString>,
    /// `--help all`
    pub wants_all_help: bool,
    /// The first mistake. What follows it is read all the same, since `--status-fd` may
    /// stand there.
    wrong: Option<Error>,
}

enum Word {
    /// An option with its dashes.
    Option(String),
    /// A value or a place, by its number in `values`.
    Value(usize),
}

type Rest = Peekable<std::vec::IntoIter<OsString>>;

impl Argv {
    /// Reads the words behind the program's name.
    pub fn new(words: Vec<OsString>) -> Self {
        let mut argv = Argv::default();
        let mut rest = words.into_iter().peekable();
        while let Some(word) = rest.next() {
            match word.as_encoded_bytes() {
                b"--" => rest.by_ref().for_each(|place| argv.value(place)),
                b"-" => argv.wrong(corrected(
                    "-: standard input and output are always used",
                    "leave it out",
                )),
                [b'-', b'-', ..] => argv.long(&word, &mut rest),
                [b'-', ..] => argv.bundle(&word, &mut rest),
                _ => argv.value(word),
            }
        }
        argv
    }

    /// The values that `option` was given; those of a command line that makes no sense, too.
    pub fn values_of(&self, option: &str) -> impl Iterator<Item = &str> {
        self.words.windows(2).filter_map(move |pair| match pair {
            [Word::Option(name), Word::Value(at)] if name == option => self.values[*at].to_str(),
            _ => None,
        })
    }

    /// The words for argh: options as they are, a value as its number in the second list.
    ///
    /// # Errors
    /// [`Error::Usage`] and [`Error::Foreign`]: the first word that is no option, or is
    /// one that scat lacks.
    pub fn finish(self) -> Result<(Vec<String>, Vec<OsString>), Error> {
        let words = self.words.into_iter().map(|word| match word {
            Word::Option(name) => name,
            Word::Value(at) => at.to_string(),
        });
        self.wrong.map_or(Ok((words.collect(), self.values)), Err)
    }

    fn wrong(&mut self, error: Error) {
        self.wrong.get_or_insert(error);
    }

    fn value(&mut self, value: OsString) {
        self.words.push(Word::Value(self.values.len()));
        self.values.push(value);
    }

    fn option(&mut self, name: String) {
        if let Some(instead) = foreign::instead(&name) {
            self.wrong(Error::Foreign { option: name.clone(), instead });
        }
        self.words.push(Word::Option(name));
    }

    /// `--name`, `--name=value`
    fn long(&mut self, word: &OsStr, rest: &mut Rest) {
        let bytes = word.as_encoded_bytes();
        let end = bytes.iter().position(|&byte| byte == b'=').unwrap_or(bytes.len());
        let (name, value) = argument::split(word, end);
        let Some(name) = name.to_str() else {
            return self.wrong(not_text(word));
        };
        let is_valued = takes_value(|flag| flag.long == name);
        if name == "--help" {
            self.wants_all_help |= rest.next_if(|next| next == "all").is_some();
        }
        self.option(name.to_owned());
        if !value.is_empty() {
            match is_valued {
                true => self.value(argument::split(value, 1).1.to_owned()),
                false => self.wrong(usage(&format!("{name} takes no value"))),
            }
        } else if is_valued {
            // A value may look like an option.
            rest.next().into_iter().for_each(|value| self.value(value));
        }
    }

    /// `-lvp9000`
    fn bundle(&mut self, word: &OsStr, rest: &mut Rest) {
        let (mut is_listening, mut at) = (false, 1);
        while let (_, letters) = argument::split(word, at)
            && !letters.is_empty()
        {
            let Some(letter) = first_letter(letters) else {
                return self.wrong(not_text(word));
            };
            // `--` would end the options.
            if letter == '-' {
                let word = word.to_string_lossy();
                return self.wrong(usage(&format!("{word}: a dash among the letters")));
            }
            self.option(format!("-{letter}"));
            is_listening |= letter == 'l';
            at += letter.len_utf8();
            let (_, attached) = argument::split(word, at);
            if takes_value(|flag| flag.short == Some(letter)) {
                match attached.is_empty() {
                    true => rest.next().into_iter().for_each(|value| self.value(value)),
                    false => self.value(attached.to_owned()),
                }
                return;
            }
            // `-l9000`, `-lv9000`; a single digit is an option.
            if is_listening && attached.len() > 1 && attached.to_str().is_some_and(is_number) {
                self.option("-p".to_owned());
                return self.value(attached.to_owned());
            }
        }
    }
}

fn first_letter(letters: &OsStr) -> Option<char> {
    letters.as_encoded_bytes().utf8_chunks().next()?.valid().chars().next()
}

/// Names the word, its bytes that are no text in hexadecimal.
pub fn not_text(word: &OsStr) -> Error {
    usage(&format!("{word:?}: this argument is not valid UTF-8"))
}

/// Whether the option that `is_it` finds takes a value. (argh knows, but wants each
/// option and each value to be a word of its own.)
fn takes_value(is_it: impl Fn(&FlagInfo<'_>) -> bool) -> bool {
    let info = Args::get_args_info();
    info.flags.iter().any(|flag| is_it(flag) && matches!(flag.kind, FlagInfoKind::Option { .. }))
}
