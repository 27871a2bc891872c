//! Waiting before there is a session: until when (`-w`), for what, and what to print.

use crate::error::{Error, Stage};
use crate::sys::poller::Poller;
use crate::ui::report::Report;
use std::time::{Duration, Instant};

/// How long a stage may be silent before the user wonders whether scat hangs.
const SILENCE: Duration = Duration::from_secs(3);

/// Longer than any wait, and no clock overflows by it.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 86400);

/// How long to wait before telling the user something.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Nobody has called a listener: what may be wrong.
    pub alone: Duration,
    /// A session waits for the end of an input.
    pub ends: Duration,
    /// A session makes no progress although it could.
    pub stuck: Duration,
    /// The progress of a transfer.
    pub progress: Duration,
    /// The same, on a screen that may show the data as well.
    pub lasting: Duration,
    /// Interval at which progress is updated, on a terminal and for programs.
    pub refresh: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            alone: Duration::from_secs(60),
            ends: Duration::from_secs(3),
            stuck: Duration::from_secs(10),
            progress: Duration::from_secs(2),
            lasting: Duration::from_secs(10),
            refresh: Duration::from_secs(1),
        }
    }
}

/// A time limit in a loop that polls and reads. A process that was suspended or slow does
/// not judge by the clock alone: it first reads what arrived in time. The default is no limit.
#[derive(Default)]
pub struct Limit {
    at: Option<Instant>,
    had_passed: bool,
}

impl Limit {
    /// Sets the limit; `None` for no limit.
    pub fn new(at: Option<Instant>) -> Self {
        Limit { at, had_passed: false }
    }

    /// Returns the limit, as the time to poll until.
    pub fn at(&self) -> Option<Instant> {
        self.at
    }

    /// Lowers the limit to `at` if it is later.
    pub fn shorten(&mut self, at: Instant) {
        self.at = Some(self.at.map_or(at, |before| before.min(at)));
    }

    /// Whether the limit had passed at the previous call; then reads the clock for the
    /// next call. Call it between reading and polling, so that a poll and a read lie
    /// between reading the clock and the verdict.
    pub fn is_up(&mut self) -> bool {
        let has_passed = self.at.is_some_and(|at| at <= Instant::now());
        std::mem::replace(&mut self.had_passed, has_passed)
    }
}

/// `-w`: the time by which there must be a session, if set.
#[derive(Clone, Copy)]
pub struct Deadline(Option<(Duration, Instant)>);

impl Deadline {
    /// Sets it to `within` from now.
    pub fn new(within: Option<Duration>) -> Self {
        Deadline(within.map(|time| (time, Instant::now() + time.min(CENTURY))))
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Returns it as a limit for a loop.
    pub fn limit(&self) -> Limit {
        Limit::new(self.0.map(|(_, at)| at))
    }

    /// Returns the earlier one of the deadline and `other`.
    pub fn or(&self, other: Instant) -> Instant {
        self.0.map_or(other, |(_, at)| at.min(other))
    }

    /// Returns the error if it has passed in this stage.
    pub fn passed(&self, stage: Stage) -> Error {
        Error::Waited(self.0.map_or(Duration::ZERO, |(within, _)| within), stage)
    }
}

/// Waits within one stage.
pub struct Waiting<'a> {
    stage: Stage,
    deadline: &'a Deadline,
    limit: Limit,
    report: &'a Report,
    /// When to print what scat waits for; `None` once printed, or if waiting is normal.
    tell_at: Option<Instant>,
}

impl<'a> Waiting<'a> {
    /// Starts now.
    pub fn new(stage: Stage, deadline: &'a Deadline, report: &'a Report) -> Self {
        let is_short = !matches!(stage, Stage::Caller | Stage::Listening { .. });
        let tell_at = is_short.then(|| Instant::now() + SILENCE);
        Waiting { stage, deadline, limit: deadline.limit(), report, tell_at }
    }

    /// Ends the deadline's effect, because something else limits it from now on.
    pub fn forget_deadline(&mut self) {
        self.limit = Limit::new(None);
    }

    /// Waits for events until `until` or the deadline, and prints what for: once if it
    /// takes long, and whenever SIGUSR1 asks.
    ///
    /// # Errors
    /// [`Error::Waited`] if the deadline had passed before the last poll, so that its events
    /// were seen; [`Error::Signal`].
    pub fn poll(&mut self, poller: &mut Poller, until: Option<Instant>) -> Result<(), Error> {
        if self.limit.is_up() {
            return Err(self.deadline.passed(self.stage.clone()));
        }
        let timeout = [until, self.limit.at(), self.tell_at].into_iter().flatten().min();
        let signals = poller.wait(timeout)?;
        let line = || format!("still {}", self.stage);
        if signals.report {
            self.report.insist(line());
        } else if self.tell_at.is_some_and(|at| at <= Instant::now()) {
            self.report.say(line());
        } else {
            return Ok(());
        }
        self.tell_at = None;
        Ok(())
    }
}

/// The pauses between attempts, until the deadline.
pub struct Retry<'a> {
    deadline: &'a Deadline,
    report: &'a Report,
    pause: Duration,
    /// When to print that no attempt succeeds; `None` once printed.
    tell_at: Option<Instant>,
}

impl<'a> Retry<'a> {
    /// The first pause, and the longest.
    const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(1));

    /// Starts the first attempt.
    pub fn new(deadline: &'a Deadline, report: &'a Report) -> Self {
        let tell_at = Some(Instant::now() + SILENCE);
        Retry { deadline, report, pause: Self::PAUSES.0, tell_at }
    }

    /// Waits after an attempt that failed with `err`.
    ///
    /// # Errors
    /// `err` itself without a deadline, or if a retry cannot help; [`Error::Waited`],
    /// [`Error::Signal`].
    pub fn after(&mut self, err: Error, poller: &mut Poller) -> Result<(), Error> {
        if !self.deadline.is_set() || !err.may_pass() {
            return Err(err);
        }
        let mut waiting = Waiting::new(Stage::failing(&err), self.deadline, self.report);
        waiting.tell_at = self.tell_at;
        let mut pause = Limit::new(Some(Instant::now() + self.pause));
        while !pause.is_up() {
            waiting.poll(poller, pause.at())?;
        }
        self.tell_at = waiting.tell_at;
        self.pause = Self::PAUSES.1.min(self.pause * 2);
        Ok(())
    }
}
