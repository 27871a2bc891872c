//! Waiting before there is a session: until when (`-w`), for what, and not in silence.

use crate::error::{Error, Stage};
use crate::sys::poller::Poller;
use crate::ui::report::Report;
use std::time::{Duration, Instant};

/// How long nothing is said of a stage. A person who sees nothing for longer
/// wonders whether it has hung.
const SILENCE: Duration = Duration::from_secs(3);

/// `-w`: the moment by which there has to be a session, if there is one.
#[derive(Clone, Copy)]
pub struct Deadline(Option<(Duration, Instant)>);

impl Deadline {
    /// `within` from now.
    pub fn new(within: Option<Duration>) -> Self {
        Deadline(within.and_then(|time| Some((time, Instant::now().checked_add(time)?))))
    }

    /// The moment itself.
    pub fn at(&self) -> Option<Instant> {
        self.0.map(|(_, at)| at)
    }

    /// The earlier one of the deadline and `other`.
    pub fn or(&self, other: Instant) -> Instant {
        self.at().map_or(other, |at| at.min(other))
    }

    /// # Errors
    /// [`Error::Waited`] once it has passed, in this stage.
    pub fn check(&self, stage: &Stage) -> Result<(), Error> {
        match self.0 {
            Some((within, at)) if Instant::now() >= at => Err(Error::Waited(within, stage.clone())),
            _ => Ok(()),
        }
    }
}

/// One stage while it lasts.
pub struct Waiting<'a> {
    stage: Stage,
    deadline: &'a Deadline,
    report: &'a Report,
    /// When it is said what is waited for, unless it has been, or is to last.
    tell_at: Option<Instant>,
}

impl<'a> Waiting<'a> {
    /// Starts now.
    pub fn new(stage: Stage, deadline: &'a Deadline, report: &'a Report) -> Self {
        let is_short = !matches!(stage, Stage::Caller | Stage::Listening { .. });
        let tell_at = is_short.then(|| Instant::now() + SILENCE);
        Waiting { stage, deadline, report, tell_at }
    }

    /// Waits for events until `until` or the deadline, and says what for: once if it
    /// takes long, and whenever SIGUSR1 asks.
    ///
    /// # Errors
    /// [`Error::Waited`] at the deadline, [`Error::Signal`].
    pub fn poll(&mut self, poller: &mut Poller, until: Option<Instant>) -> Result<(), Error> {
        let timeout = [until, self.deadline.at(), self.tell_at].into_iter().flatten().min();
        let signals = poller.wait(timeout)?;
        self.deadline.check(&self.stage)?;
        if signals.report || self.tell_at.is_some_and(|at| at <= Instant::now()) {
            self.tell_at = None;
            self.report.say(format_args!("still {}", self.stage));
        }
        Ok(())
    }
}
