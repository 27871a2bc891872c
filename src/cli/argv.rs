//! Splits argv once, so that each option and each value is a word of its own, as argh
//! needs them. All later questions about the command line use these words.
//!
//! ```text
//! -lvp9000         -l  -v  -p  9000
//! -l9000           -l  -p  9000
//! --peer=KEY       --peer  KEY
//! -i --status-fd   -i  --status-fd      (a key file of that name)
//! ```

use super::{Args, foreign, is_number, usage};
use crate::error::Error;
use crate::protocol::words::edits;
use crate::sys::argument;
use argh::{ArgsInfo, FlagInfo, FlagInfoKind};
use std::ffi::{OsStr, OsString};
use std::iter::Peekable;

/// Most wrong letters with which an unknown option still suggests a known one.
const SLIP: usize = 2;

/// The options and values of a command line.
#[derive(Default)]
pub struct Argv {
    words: Vec<Word>,
    /// Values and places, which need not be UTF-8.
    values: Vec<OsString>,
    /// `--help all`
    pub wants_all_help: bool,
    /// The first mistake. The rest is read anyway, because it may contain `--status-fd`.
    wrong: Option<Error>,
}

enum Word {
    /// An option, with its dashes.
    Option(String),
    /// A value or a place: its index in `values`.
    Value(usize),
}

type Rest = Peekable<std::vec::IntoIter<OsString>>;

impl Argv {
    /// Splits the words after the program's name.
    pub fn new(words: Vec<OsString>) -> Self {
        let mut argv = Argv::default();
        let mut rest = words.into_iter().peekable();
        while let Some(word) = rest.next() {
            match word.as_encoded_bytes() {
                b"--" => rest.by_ref().for_each(|place| argv.value(place)),
                b"-" => argv.wrong(Error::usage(
                    "-: standard input and output are always used",
                    "leave it out",
                )),
                [b'-', b'-', ..] => argv.long(&word, &mut rest),
                [b'-', ..] if is_long(&word) => {
                    let (name, _) = name_of(&word);
                    argv.wrong(Error::usage(
                        format!("{}: a long option has two dashes", name.to_string_lossy()),
                        format!("write -{}", name.to_string_lossy()),
                    ));
                    argv.long(&two_dashes(&word), &mut rest);
                }
                [b'-', ..] => argv.bundle(&word, &mut rest),
                // U+2010 to U+2015, from a web page or a word processor.
                [0xe2, 0x80, 0x90..=0x95, ..] => argv.wrong(Error::usage(
                    format!("{}: that is a long dash, not the - of options", word.display()),
                    "type it instead of pasting it",
                )),
                _ => argv.value(word),
            }
        }
        argv
    }

    /// Returns the values of `option`, even if the command line is wrong.
    pub fn values_of(&self, option: &str) -> impl Iterator<Item = &str> {
        self.words.windows(2).filter_map(move |pair| match pair {
            [Word::Option(name), Word::Value(at)] if name == option => self.values[*at].to_str(),
            _ => None,
        })
    }

    /// Returns the words for argh: options unchanged, and each value as its index in the
    /// second list.
    ///
    /// # Errors
    /// [`Error::Usage`]: the first word that is not an option that scat has.
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
            self.wrong(Error::usage(format!("{name}: scat has no such option"), instead));
        } else if !is_option(&name) {
            self.wrong(unknown(&name));
        }
        self.words.push(Word::Option(name));
    }

    /// `--name`, `--name=value`
    fn long(&mut self, word: &OsStr, rest: &mut Rest) {
        let (name, value) = name_of(word);
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
        if let Some(port) = word.to_str().and_then(|word| word.strip_prefix('-'))
            && is_number(port)
            && port.bytes().any(|digit| !b"46".contains(&digit))
        {
            return self.wrong(Error::usage(
                format!("-{port}: a port has no dash"),
                format!("write {port}"),
            ));
        }
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

/// Splits `--name=value` into `--name` and the rest.
fn name_of(word: &OsStr) -> (&OsStr, &OsStr) {
    let bytes = word.as_encoded_bytes();
    let end = bytes.iter().position(|&byte| byte == b'=').unwrap_or(bytes.len());
    argument::split(word, end)
}

/// Whether it is a long option with only one dash: `-psk`.
fn is_long(word: &OsStr) -> bool {
    let name = name_of(word).0.to_str();
    name.is_some_and(|name| is_known(|flag| flag.long.strip_prefix('-') == Some(name)))
}

fn two_dashes(word: &OsStr) -> OsString {
    let mut dashed = OsString::from("-");
    dashed.push(word);
    dashed
}

/// Whether scat has the option: `-x`, `--long`.
fn is_option(name: &str) -> bool {
    let is_short = |flag: &FlagInfo<'_>| flag.short.is_some_and(|it| name == format!("-{it}"));
    name == "-h" || is_known(|flag| flag.long == name || is_short(flag))
}

/// Returns the error for an unknown option, with the one that was perhaps meant.
fn unknown(name: &str) -> Error {
    let flags = Args::get_args_info().flags;
    let near = |flag: &FlagInfo<'_>| edits(flag.long.as_bytes(), name.as_bytes());
    let nearest = flags.iter().filter(|flag| near(flag) <= SLIP).min_by_key(|flag| near(flag));
    let hint = match nearest {
        Some(flag) if name.starts_with("--") => format!("did you mean {}?", flag.long),
        _ => "for all options: scat --help all".to_owned(),
    };
    Error::usage(format!("{name}: no such option"), hint)
}

fn first_letter(letters: &OsStr) -> Option<char> {
    letters.as_encoded_bytes().utf8_chunks().next()?.valid().chars().next()
}

/// Returns the error for a word that is not text, with its bytes in hexadecimal.
pub fn not_text(word: &OsStr) -> Error {
    usage(&format!("{word:?}: this argument is not valid UTF-8"))
}

/// Whether the option that `is_it` finds takes a value. (argh knows that, but needs each
/// option and each value to be a word of its own.)
fn takes_value(is_it: impl Fn(&FlagInfo<'_>) -> bool) -> bool {
    is_known(|flag| is_it(flag) && matches!(flag.kind, FlagInfoKind::Option { .. }))
}

fn is_known(is_it: impl Fn(&FlagInfo<'_>) -> bool) -> bool {
    Args::get_args_info().flags.iter().any(is_it)
}
