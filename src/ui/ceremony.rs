//! The ceremony: a person types what the other person says, at the terminal or in
//! another program's window.
//!
//! At a terminal it takes place on the terminal itself, never on standard input. It shows
//! neither side the half that its person has to hear: what is not on the screen
//! cannot be clicked through. The terminal's settings are not touched, so there
//! is nothing to put back, however this ends.

use crate::auth::policy::Confirm;
use crate::error::Error;
use crate::protocol::sas::Half;
use crate::sys::answers::Answers;
use crate::sys::poller::Poller;
use crate::sys::stream;
use crate::sys::tty::{self, Line, Tty};
use crate::ui::dialogue::{Answer, Dialogue};
use crate::ui::report::Report;
use crate::ui::status;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How often it looks whether it has the terminal: no event tells.
const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// Where a person is asked.
pub enum Asker {
    /// At the terminal.
    Terminal(Tty),
    /// By a program, which reads the questions among the events (`--confirm-fd`).
    Program(Answers),
}

impl Asker {
    /// The one that is to ask, if a person is asked at all; `is_verified` says that a key
    /// or a pre-shared key does without, `program` is `--confirm-fd`. To be decided before
    /// anything connects.
    ///
    /// What the peer sends to a screen can look like this program's own lines. So where a
    /// person sits, nothing may move before the words are typed.
    ///
    /// # Errors
    /// [`Error::NoTerminal`] if there is none to ask at, or it cannot be opened;
    /// [`Error::System`].
    pub fn choose(
        confirm: Confirm,
        is_verified: bool,
        program: Option<stream::Inherited>,
    ) -> Result<Option<Self>, Error> {
        let is_asked = match confirm {
            Confirm::Always => true,
            Confirm::Never => false,
            Confirm::AtTerminal => !is_verified && (program.is_some() || tty::is_attended()),
        };
        if !is_asked {
            return Ok(None);
        }
        if let Some(program) = program {
            let answers = Answers::new(program);
            return answers
                .map(|answers| Some(Asker::Program(answers)))
                .map_err(|err| Error::System("--confirm-fd", err));
        }
        // A screen has a person before it, to whom the peer's data could show anything: where
        // nobody can be asked (setsid), it does not start.
        match Tty::open().map_err(|err| Error::NoTerminal(Some(err)))? {
            Some(tty) => Ok(Some(Asker::Terminal(tty))),
            None => Err(Error::NoTerminal(None)),
        }
    }

    /// Asks `poller` for answers. To be called outside the sandbox.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn watch(&mut self, poller: &Poller) -> Result<(), Error> {
        let watched = match self {
            Asker::Terminal(tty) => tty.watch(poller),
            Asker::Program(answers) => answers.watch(poller),
        };
        watched.map_err(|err| Error::System("terminal", err))
    }
}

/// How far a ceremony has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It goes on, or was over before.
    Waiting,
    /// The person has accepted.
    Accepted,
    /// Three wrong answers.
    Wrong,
    /// The person has said no.
    No,
    /// The person has left.
    Left,
}

/// Where it stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The question has to be asked, or asked again: the screen shows something else.
    Unasked,
    /// The person sees the question.
    Asked,
    /// The answer was right, and the terminal has not taken all that follows it.
    Right,
    /// The person has accepted.
    Accepted,
    /// The person has not, and will not.
    Refused,
}

/// A person, comparing the words.
pub struct Ceremony {
    asker: Asker,
    dialogue: Dialogue,
    peer: Option<SocketAddr>,
    state: State,
    is_readable: bool,
    /// A terminal in the background stops the process.
    can_be_stopped: bool,
}

/// A shell shows that a job has stopped, and sudo hands the terminal over at once; others
/// do neither.
const BACKGROUND: &str =
    "waiting for the terminal, to ask for the words (fg; timeout --foreground)";

impl Ceremony {
    /// Not begun: the first question comes with [`Ceremony::advance`].
    pub fn new(asker: Asker, dialogue: Dialogue, peer: Option<SocketAddr>) -> Self {
        let state = State::Unasked;
        Ceremony { asker, dialogue, peer, state, is_readable: true, can_be_stopped: true }
    }

    /// What the person here says.
    pub fn own_words(&self) -> Half {
        self.dialogue.own_words()
    }

    /// The loop saw an event for the answers.
    pub fn set_readable(&mut self) {
        self.is_readable = true;
    }

    /// The screen shows something else by now: the process was stopped and goes on,
    /// or a message has come in between.
    pub fn ask_again(&mut self) {
        if self.state == State::Asked && matches!(self.asker, Asker::Terminal(_)) {
            self.state = State::Unasked;
        }
    }

    /// Whether something may have been typed.
    pub fn wants_input(&self) -> bool {
        self.state == State::Asked && self.is_readable
    }

    /// When to look whether the terminal's foreground is ours, or a terminal that is stopped
    /// with Ctrl-S goes on.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let Asker::Terminal(tty) = &self.asker else { return None };
        let is_asked = self.state == State::Asked && tty.has_to_be_watched();
        let is_waiting = self.state == State::Unasked || is_asked || tty.has_unsent();
        is_waiting.then(|| Instant::now() + LOOK_AGAIN)
    }

    /// Whether a question would be seen now.
    ///
    /// # Errors
    /// The system's: the terminal has hung up.
    fn is_in_foreground(&self) -> io::Result<bool> {
        match &self.asker {
            Asker::Terminal(tty) => tty.is_in_foreground(),
            Asker::Program(_) => Ok(true),
        }
    }

    /// There is nothing else to do: where the question waits for another job's terminal,
    /// gets it. Until then the process is stopped.
    ///
    /// # Errors
    /// The system's: the terminal has hung up.
    pub fn claim(&mut self, report: &Report) -> io::Result<()> {
        let is_open = matches!(self.state, State::Unasked | State::Asked);
        let Asker::Terminal(tty) = &mut self.asker else { return Ok(()) };
        if !is_open || !self.can_be_stopped || tty.is_in_foreground()? {
            return Ok(());
        }
        self.state = State::Unasked;
        report.insist(BACKGROUND);
        self.can_be_stopped = tty.await_foreground()?;
        Ok(())
    }

    /// Asks, and judges what was typed.
    ///
    /// # Errors
    /// The system's: the terminal has hung up.
    pub fn advance(&mut self, report: &Report) -> io::Result<Progress> {
        if matches!(self.state, State::Accepted | State::Refused) {
            return Ok(Progress::Waiting);
        }
        if !self.is_in_foreground()? {
            // When it is back, the screen is another one.
            self.ask_again();
            return Ok(Progress::Waiting);
        }
        // What the terminal has not taken yet.
        self.show("");
        if self.state == State::Unasked {
            self.ask(report);
        }
        while self.wants_input() {
            let line = match &mut self.asker {
                Asker::Terminal(tty) => tty.read_line()?,
                Asker::Program(answers) => answers.read_line(),
            };
            let answer = match line {
                Line::None => {
                    self.is_readable = false;
                    break;
                }
                Line::End => return Ok(Progress::Left),
                Line::Whole(line) => self.dialogue.answer(&line),
            };
            // The person's own newline has ended it.
            report.set_within_line(false);
            match answer {
                Answer::Again(why) => self.explain(&why, report),
                Answer::Right => {
                    self.state = State::Right;
                    self.show(&self.dialogue.closing());
                }
                // Its line ends with the person's own newline.
                end => {
                    self.state = State::Refused;
                    return Ok(match end {
                        Answer::Wrong => Progress::Wrong,
                        Answer::Left => Progress::Left,
                        _ => Progress::No,
                    });
                }
            }
        }
        // The connector's person has to see what to answer.
        if self.state != State::Right || self.has_unsent() {
            return Ok(Progress::Waiting);
        }
        self.state = State::Accepted;
        Ok(Progress::Accepted)
    }

    fn ask(&mut self, report: &Report) {
        match &mut self.asker {
            Asker::Terminal(tty) => {
                // What was typed before the question is no answer to it.
                let was_typed = tty.discard_input();
                tty.show(&tty.left_edge());
                tty.show(&self.dialogue.opening(self.peer, was_typed));
                tty.show(self.dialogue.prompt());
                report.set_within_line(true);
            }
            Asker::Program(_) => report.event(&status::Line::Ask(self.dialogue.tries(), None)),
        }
        self.state = State::Asked;
    }

    fn explain(&mut self, why: &str, report: &Report) {
        match &mut self.asker {
            Asker::Terminal(tty) => {
                for line in why.lines() {
                    tty.show(&format!("scat: {line}\n"));
                }
                tty.show(self.dialogue.prompt());
                report.set_within_line(true);
            }
            Asker::Program(_) => {
                let why = why.replace('\n', " ");
                report.event(&status::Line::Ask(self.dialogue.tries(), Some(&why)));
            }
        }
    }

    /// Tells the person something where the question was.
    pub fn tell(&mut self, text: &str, report: &Report) {
        match &mut self.asker {
            Asker::Terminal(tty) => tty.show(&format!("scat: {text}\n")),
            Asker::Program(_) => report.say(text),
        }
    }

    fn show(&mut self, text: &str) {
        if let Asker::Terminal(tty) = &mut self.asker {
            tty.show(text);
        }
    }

    fn has_unsent(&self) -> bool {
        matches!(&self.asker, Asker::Terminal(tty) if tty.has_unsent())
    }

    /// Leaves an open prompt behind as a person would: on a new line, and nothing half
    /// typed for the shell.
    pub fn leave(mut self, report: &Report) {
        let Asker::Terminal(tty) = &mut self.asker else { return };
        // What was typed after that is for the other person.
        if self.state != State::Accepted {
            tty.discard_input();
        }
        if self.state == State::Asked && tty.is_in_foreground().unwrap_or(false) {
            tty.show("\n");
            report.set_within_line(false);
        }
    }
}
