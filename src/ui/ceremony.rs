//! Asks the user to type the other person's words, on the terminal or in another
//! program's window.
//!
//! It uses the terminal itself, never standard input, and never shows the half that the user
//! must hear, so nobody can accept without listening. The terminal's settings are never
//! changed, so there is nothing to restore.

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

/// How often to check for the foreground, which no event reports.
const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// Where the user is asked.
pub enum Asker {
    /// At the terminal.
    Terminal(Tty),
    /// By a program, which receives the questions as events (`--confirm-fd`).
    Program(Answers),
}

impl Asker {
    /// Chooses where to ask, if the user is to be asked at all. `is_verified` says that a
    /// key or a pre-shared key makes it unnecessary; `program` is `--confirm-fd`. Call it
    /// before anything connects.
    ///
    /// Data from the peer can look like scat's own lines on a screen. So with a user at a
    /// terminal, no data may pass before the words are typed.
    ///
    /// # Errors
    /// [`Error::NoTerminal`] if there is no terminal to ask on, or it cannot be opened;
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
        // The peer's data could show the user at this screen anything. So without a way to
        // ask (setsid), scat does not start.
        match Tty::open().map_err(|err| Error::NoTerminal(Some(err)))? {
            Some(tty) => Ok(Some(Asker::Terminal(tty))),
            None => Err(Error::NoTerminal(None)),
        }
    }

    /// Watches for answers. Call it outside the sandbox.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn watch(&mut self, poller: &Poller) -> Result<(), Error> {
        let (watched, what) = match self {
            Asker::Terminal(tty) => (tty.watch(poller), "terminal"),
            Asker::Program(answers) => (answers.watch(poller), "--confirm-fd"),
        };
        watched.map_err(|err| Error::System(what, err))
    }
}

/// State of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Undecided, or decided before.
    Waiting,
    /// The user has accepted.
    Accepted,
    /// Three wrong answers.
    Wrong,
    /// The user has said no.
    No,
    /// The user has left.
    Left,
}

/// Steps of the question.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The question must be asked, or asked again because something else is on the
    /// screen.
    Unasked,
    /// The user sees the question.
    Asked,
    /// The answer was right, and the terminal has not taken all text that follows it.
    Right,
    /// The user has accepted.
    Accepted,
    /// The user has refused or left.
    Refused,
}

/// Asks one user to compare the words.
pub struct Ceremony {
    asker: Asker,
    dialogue: Dialogue,
    peer: Option<SocketAddr>,
    state: State,
    is_readable: bool,
    /// The process can be stopped for using the terminal from the background.
    can_be_stopped: bool,
}

/// Shown when the question waits in the background. A shell shows a stopped job, and sudo
/// hands the terminal over at once; other programs do neither.
const BACKGROUND: &str =
    "to ask for the words, scat needs the foreground (fg; timeout --foreground)";

impl Ceremony {
    /// Prepares; the first [`Ceremony::advance`] asks the question.
    pub fn new(asker: Asker, dialogue: Dialogue, peer: Option<SocketAddr>) -> Self {
        let state = State::Unasked;
        Ceremony { asker, dialogue, peer, state, is_readable: true, can_be_stopped: true }
    }

    /// Returns the words that the user here reads out.
    pub fn own_words(&self) -> Half {
        self.dialogue.own_words()
    }

    /// Records an event for the answers.
    pub fn set_readable(&mut self) {
        self.is_readable = true;
    }

    /// Asks again, because something else is on the screen: the process was stopped, or a
    /// message was printed.
    pub fn ask_again(&mut self) {
        if self.state == State::Asked && matches!(self.asker, Asker::Terminal(_)) {
            self.state = State::Unasked;
        }
    }

    /// Whether an unanswered question is on a terminal, or about to be.
    pub fn has_question(&self) -> bool {
        let is_open = !matches!(self.state, State::Accepted | State::Refused);
        is_open && matches!(self.asker, Asker::Terminal(_))
    }

    /// Whether the user may have typed something.
    pub fn wants_input(&self) -> bool {
        self.state == State::Asked && self.is_readable
    }

    /// Returns when to check whether the terminal's foreground is ours, or whether a
    /// terminal stopped by Ctrl-S continues.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let Asker::Terminal(tty) = &self.asker else { return None };
        let is_asked = self.state == State::Asked && tty.has_to_be_watched();
        let is_waiting = self.state == State::Unasked || is_asked || tty.has_unsent();
        is_waiting.then(|| Instant::now() + LOOK_AGAIN)
    }

    /// Whether the user would see a question now.
    ///
    /// # Errors
    /// The system's: the terminal has hung up.
    fn is_in_foreground(&self) -> io::Result<bool> {
        match &self.asker {
            Asker::Terminal(tty) => tty.is_in_foreground(),
            Asker::Program(_) => Ok(true),
        }
    }

    /// Gets the terminal if the question waits for another job. Call it when there is
    /// nothing else to do: the process is stopped until then.
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
            // After that, something else is on the screen.
            self.ask_again();
            return Ok(Progress::Waiting);
        }
        // Retry text that the terminal has not taken yet.
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
            // The user's own newline has ended the line.
            report.set_within_line(false);
            match answer {
                Answer::Again(reply) => self.explain(&reply, report),
                Answer::Right => {
                    self.state = State::Right;
                    self.show(&self.dialogue.closing());
                }
                // Its line ends with the user's own newline.
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
        // The connector's user must see what to answer.
        if self.state != State::Right || self.has_unsent() {
            return Ok(Progress::Waiting);
        }
        self.state = State::Accepted;
        Ok(Progress::Accepted)
    }

    fn ask(&mut self, report: &Report) {
        match &mut self.asker {
            Asker::Terminal(tty) => {
                // Text typed before the question is not an answer to it.
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

    fn explain(&mut self, reply: &str, report: &Report) {
        match &mut self.asker {
            Asker::Terminal(tty) => {
                for line in reply.lines() {
                    tty.show(&format!("scat: {line}\n"));
                }
                tty.show(self.dialogue.prompt());
                report.set_within_line(true);
            }
            Asker::Program(_) => {
                let reply = reply.replace('\n', " ");
                report.event(&status::Line::Ask(self.dialogue.tries(), Some(&reply)));
            }
        }
    }

    /// Shows the user something in place of the question.
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

    /// Leaves an open prompt as a user would: on a new line, with nothing half-typed left
    /// for the shell.
    pub fn leave(mut self, report: &Report) {
        let Asker::Terminal(tty) = &mut self.asker else { return };
        // Anything typed after that is for the other person.
        if self.state != State::Accepted {
            tty.discard_input();
        }
        if self.state == State::Asked && tty.is_in_foreground().unwrap_or(false) {
            tty.show("\n");
            report.set_within_line(false);
        }
    }
}
