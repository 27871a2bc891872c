//! The ceremony (`-c`): a person types what the other person says.
//!
//! It takes place on the terminal itself, never on standard input, and shows
//! neither side the half that its person has to hear: what is not on the screen
//! cannot be clicked through. The terminal's settings are not touched, so there
//! is nothing to put back, however this ends.

use crate::auth::policy::Confirm;
use crate::error::Error;
use crate::protocol::sas::Half;
use crate::sys::poller::Poller;
use crate::sys::tty::{self, Line, Tty};
use crate::ui::dialogue::{Answer, Dialogue};
use std::io;
use std::net::SocketAddr;

/// The terminal at which a person is asked for the words, if one is; `is_verified` says
/// that a key or a pre-shared key does without. To be decided before anything connects.
///
/// What the peer sends to a screen can look like this program's own lines. So where a
/// person sits, nothing may move before the words are typed.
///
/// # Errors
/// [`Error::NoTerminal`] if `-c` has none, or one that is there cannot be opened.
pub fn terminal(confirm: Confirm, is_verified: bool) -> Result<Option<Tty>, Error> {
    match confirm {
        Confirm::Always => match Tty::open() {
            Ok(None) => Err(Error::NoTerminal(None)),
            tty => tty.map_err(|err| Error::NoTerminal(Some(err))),
        },
        // Without a controlling terminal nobody can be asked.
        Confirm::AtTerminal if !is_verified && tty::is_attended() => {
            Tty::open().map_err(|err| Error::NoTerminal(Some(err)))
        }
        Confirm::AtTerminal | Confirm::Never => Ok(None),
    }
}

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
    tty: Tty,
    dialogue: Dialogue,
    peer: Option<SocketAddr>,
    /// The screen shows the prompt.
    is_prompted: bool,
    is_accepted: bool,
    is_readable: bool,
}

impl Ceremony {
    /// Begins to watch `tty`; the first prompt comes with [`Ceremony::advance`].
    ///
    /// # Errors
    /// The system's.
    pub fn new(
        tty: Tty,
        dialogue: Dialogue,
        peer: Option<SocketAddr>,
        poller: &Poller,
    ) -> io::Result<Self> {
        tty.watch(poller)?;
        Ok(Ceremony {
            tty,
            dialogue,
            peer,
            is_prompted: false,
            is_accepted: false,
            is_readable: true,
        })
    }

    /// What the person here says.
    pub fn own_words(&self) -> Half {
        self.dialogue.own_words()
    }

    /// The loop saw an event for the terminal.
    pub fn set_readable(&mut self) {
        self.is_readable = true;
    }

    /// The screen shows something else by now: the process was stopped and goes on,
    /// or a message has come in between.
    pub fn prompt_again(&mut self) {
        self.is_prompted = false;
    }

    /// Whether something may have been typed.
    pub fn wants_input(&self) -> bool {
        self.is_prompted && self.is_readable
    }

    /// Whether it waits for the foreground, or for a terminal that is stopped with
    /// Ctrl-S. No event tells of either: they have to be looked at now and then.
    pub fn has_to_poll(&self) -> bool {
        !self.is_prompted || self.tty.has_unsent()
    }

    /// Whether scat is in the terminal's foreground.
    ///
    /// # Errors
    /// The system's: the terminal has hung up.
    pub fn is_in_foreground(&self) -> io::Result<bool> {
        self.tty.is_in_foreground()
    }

    /// Prompts, and judges what was typed.
    ///
    /// # Errors
    /// The system's: the terminal has hung up.
    pub fn advance(&mut self) -> io::Result<Progress> {
        if !self.tty.is_in_foreground()? {
            // Reading would stop the process; when it is back, the screen is another one.
            self.is_prompted = false;
            return Ok(Progress::Waiting);
        }
        self.tty.show("");
        if !self.is_prompted && !self.is_accepted {
            // What was typed before the prompt is no answer to it.
            self.tty.discard_input();
            self.tty.show(&self.dialogue.opening(self.peer));
            self.tty.show(self.dialogue.prompt());
            self.is_prompted = true;
        }
        while self.is_readable && !self.is_accepted {
            let answer = match self.tty.read_line()? {
                Line::None => {
                    self.is_readable = false;
                    break;
                }
                Line::End => return Ok(Progress::No),
                Line::Whole(line) => self.dialogue.answer(&line),
            };
            self.is_prompted = false;
            match answer {
                Answer::Again(why) => {
                    self.tty.show(&format!("scat: {why}\n{}", self.dialogue.prompt()));
                    self.is_prompted = true;
                }
                Answer::Wrong => return Ok(Progress::Wrong),
                Answer::No => return Ok(Progress::No),
                Answer::Right => {
                    self.tty.show(&self.dialogue.closing());
                    self.is_accepted = true;
                }
            }
        }
        // The connector's person has to see what to answer.
        let is_done = self.is_accepted && !self.tty.has_unsent();
        Ok(if is_done { Progress::Accepted } else { Progress::Waiting })
    }

    /// Leaves an open prompt behind as a person would: on a new line, and nothing half
    /// typed for the shell.
    pub fn leave(mut self) {
        self.tty.discard_input();
        if self.is_prompted && self.is_in_foreground().unwrap_or(false) {
            self.tty.show("\n");
        }
    }
}
