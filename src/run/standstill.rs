//! Sessions in which nothing moves: for how long, and what they wait for.

use crate::protocol::session::{Counters, Session};
use crate::ui::waiting::Limit;
use std::time::{Duration, Instant};

/// A period in which no data passes.
#[derive(Default)]
pub struct Quiet {
    seen: Counters,
    limit: Limit,
}

impl Quiet {
    /// Whether `counters` have not changed for `time`. The period starts when there is a
    /// time.
    pub fn has_lasted(&mut self, counters: Counters, time: Option<Duration>) -> bool {
        if time.is_none() || self.seen != counters || self.limit.at().is_none() {
            let until = time.and_then(|time| Instant::now().checked_add(time));
            *self = Quiet { seen: counters, limit: Limit::new(until) };
            return false;
        }
        self.limit.is_up()
    }

    /// Returns when the period has lasted.
    pub fn at(&self) -> Option<Instant> {
        self.limit.at()
    }
}

/// Detects a session that makes no progress, and decides when to explain it.
#[derive(Default)]
pub struct Still {
    /// The counters, and which inputs had ended.
    seen: (Counters, [bool; 3]),
    /// When they last changed.
    since: Option<Instant>,
    tell_at: Option<Instant>,
}

impl Still {
    /// Returns since when nothing has changed, once, after `time` of it.
    pub fn due(&mut self, session: &Session, now: Instant, time: Duration) -> Option<Instant> {
        let ends = [session.peer_has_ended(), session.input_ended(), session.is_acknowledged()];
        let seen = (session.counters(), ends);
        let Some(since) = self.since.filter(|_| self.seen == seen) else {
            *self = Still { seen, since: Some(now), tell_at: Some(now + time) };
            return None;
        };
        self.tell_at.take_if(|at| *at <= now)?;
        Some(since)
    }

    /// Makes [`Still::due`] answer again, at `at`.
    pub fn put_off(&mut self, at: Instant) {
        self.tell_at = Some(at);
    }

    /// Returns when [`Still::due`] has to be asked, if nothing changes before.
    pub fn at(&self) -> Option<Instant> {
        self.tell_at
    }
}

/// What a session that makes no progress waits for.
#[derive(Clone, Copy)]
pub enum Wait {
    /// The start or end of an input; of interest to a user who is watching.
    Input(&'static str),
    /// Something that could continue and does not.
    Stuck(&'static str),
}

/// What [`explain`] has to know of a session's descriptors.
pub struct Facts {
    /// Standard output takes no more.
    pub is_output_blocked: bool,
    /// The network has not acknowledged for some time what was sent.
    pub is_unacknowledged: bool,
    /// Standard input is a terminal.
    pub types_input: bool,
    /// Standard output is a terminal.
    pub shows_output: bool,
}

/// Returns what `session` waits for, unless the user knows it anyway.
pub fn explain(session: &Session, facts: &Facts) -> Option<Wait> {
    if session.is_finished() && session.has_told() {
        return Some(Wait::Input("complete; waiting until the other end knows it"));
    }
    if session.wants_output() && facts.is_output_blocked {
        return Some(Wait::Stuck(
            "standard output is blocked: the program behind it does not read",
        ));
    }
    if facts.is_unacknowledged {
        return Some(Wait::Stuck(
            "the network acknowledges nothing: it is down, or drops large packets (MTU)",
        ));
    }
    if !session.sealed().is_empty() {
        return Some(Wait::Stuck("the other end does not read: its output is blocked"));
    }
    if session.output_ended() && !session.input_ended() && !facts.types_input {
        return Some(Wait::Input(
            "all received; waiting for the end of input here (next time: -d)",
        ));
    }
    let Counters { sent, received, .. } = session.counters();
    if session.input_ended() && sent > 0 && !session.peer_has_ended() {
        return Some(match session.is_acknowledged() {
            true => Wait::Input("all sent; waiting for the end of input at the other end"),
            false => Wait::Stuck("all sent; waiting for the other end to write it out"),
        });
    }
    let only_receives = (facts.types_input || session.input_ended()) && !facts.shows_output;
    if only_receives && (sent, received) == (0, 0) && !session.peer_has_ended() {
        return Some(Wait::Input(
            "nothing received yet; to send a file, the other end needs < FILE",
        ));
    }
    None
}
