//! The line on a terminal that shows the progress of a transfer.

use crate::protocol::session::Counters;
use crate::text::{Bytes, Rounded};
use crate::ui::waiting::Patience;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Bytes below which it is a chat, or over too soon to show.
const LITTLE: u64 = 1 << 16;
/// Number of lines remembered: the rate is that of the last seconds.
const SAMPLES: usize = 8;

/// The progress of a transfer, and when to show it next.
pub struct Progress {
    /// Bytes of the input, if known.
    total: Option<u64>,
    patience: Patience,
    /// When the transfer was first seen.
    since: Option<Instant>,
    next: Option<Instant>,
    /// Times and the bytes moved by then.
    samples: VecDeque<(Instant, u64)>,
}

impl Progress {
    /// Starts a transfer whose input has `total` bytes, if that is known.
    pub fn new(total: Option<u64>, patience: Patience) -> Self {
        Progress { total, patience, since: None, next: None, samples: VecDeque::new() }
    }

    /// Returns when [`Progress::line`] next has something to show.
    pub fn at(&self) -> Option<Instant> {
        self.next
    }

    /// Returns the line to show, if it is time for one. Lines that stay on the screen
    /// become rare: the time from the start doubles with each, and those without
    /// progress are left out.
    pub fn line(&mut self, now: Instant, counters: Counters, stays: bool) -> Option<String> {
        let Counters { sent, received, .. } = counters;
        let moved = sent + received;
        if moved < LITTLE {
            return None;
        }
        let Patience { progress, lasting, refresh, .. } = self.patience;
        let (Some(started), Some(next)) = (self.since, self.next) else {
            self.samples.push_back((now, moved));
            self.since = Some(now);
            self.next = Some(now + if stays { lasting } else { progress });
            return None;
        };
        if now < next {
            return None;
        }
        self.next = Some(now + if stays { now - started } else { refresh });
        if stays && self.samples.back().is_some_and(|&(_, before)| before == moved) {
            return None;
        }
        let (since, before) = self.samples.front().copied().unwrap_or((now, moved));
        let time = now.saturating_duration_since(since).as_millis().max(1);
        let rate = u64::try_from(u128::from(moved - before) * 1000 / time).unwrap_or(u64::MAX);
        self.samples.push_back((now, moved));
        if self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
        let total = self.total.filter(|total| *total >= sent);
        let mut line = match (sent, received, total) {
            (0, _, _) => format!("{} received", Bytes(received)),
            (_, 0, Some(total)) => format!("{} of {} sent", Bytes(sent), Bytes(total)),
            (_, 0, None) => format!("{} sent", Bytes(sent)),
            _ => format!("{} sent, {} received", Bytes(sent), Bytes(received)),
        };
        line += &format!(", {}/s", Bytes(rate));
        if let (Some(total), 0) = (total, received)
            && let Some(left) = (total - sent).checked_div(rate)
            && left > 0
        {
            line += &format!(", {} left", Rounded(Duration::from_secs(left)));
        }
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what is shown at these seconds, given the bytes sent and received by then.
    fn shown(total: Option<u64>, moved: &[(u64, u64, u64)]) -> Vec<Option<String>> {
        shown_as(false, total, moved)
    }

    fn shown_as(stays: bool, total: Option<u64>, moved: &[(u64, u64, u64)]) -> Vec<Option<String>> {
        let mut progress = Progress::new(total, Patience::default());
        let start = Instant::now();
        let line = |&(at, sent, received): &(u64, u64, u64)| {
            let counters = Counters { sent, received, written: received };
            progress.line(start + Duration::from_secs(at), counters, stays)
        };
        moved.iter().map(line).collect()
    }

    const MIB: u64 = 1 << 20;

    #[test]
    fn it_begins_after_two_seconds_and_comes_once_a_second() {
        let at = [(0, 0, 0), (5, MIB, 0), (6, 2 * MIB, 0), (7, 3 * MIB, 0), (7, 4 * MIB, 0)];
        let lines = shown(Some(10 * MIB), &at);
        let third = "3.0 MiB of 10.0 MiB sent, 1.0 MiB/s, 7 s left".to_owned();
        assert_eq!(lines, [None, None, None, Some(third), None]);
    }

    #[test]
    fn lines_that_stay_become_rare_and_show_progress_only() {
        let at: Vec<_> = (0..=100).map(|at| (at, 0, MIB * (1 + at.min(50)))).collect();
        let lines = shown_as(true, None, &at);
        let is_shown = |at: &usize| lines[*at].is_some();
        assert_eq!((0..=100).filter(is_shown).collect::<Vec<_>>(), [10, 20, 40, 80]);
        assert_eq!(lines[20].as_deref(), Some("21.0 MiB received, 1.0 MiB/s"));
        let still: Vec<_> = (0..=100).map(|at| (at, 0, MIB)).collect();
        assert!(shown_as(true, None, &still).iter().all(Option::is_none));
    }

    #[test]
    fn a_chat_shows_none() {
        assert_eq!(shown(None, &[(0, 100, 100), (100, 30_000, 30_000)]), [None, None]);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let last = |total, moved| shown(total, moved).pop().unwrap().unwrap();
        assert_eq!(last(None, &[(0, 0, MIB), (4, 0, 3 * MIB)]), "3.0 MiB received, 512 KiB/s");
        // A file that grew, and a transfer that stands still.
        assert_eq!(last(Some(MIB), &[(0, MIB, 0), (4, 3 * MIB, 0)]), "3.0 MiB sent, 512 KiB/s");
        assert_eq!(
            last(Some(2 * MIB), &[(0, MIB, 0), (4, MIB, 0)]),
            "1.0 MiB of 2.0 MiB sent, 0 bytes/s"
        );
        let both = "1.0 MiB sent, 1.0 MiB received, 256 KiB/s";
        assert_eq!(last(Some(2 * MIB), &[(0, MIB, 0), (4, MIB, MIB)]), both);
    }

    #[test]
    fn it_has_room_on_every_terminal() {
        let huge = u64::MAX / 4;
        for (sent, received) in [(huge, 0), (huge, huge)] {
            let line = shown(Some(huge + 1), &[(0, LITTLE, 0), (9, sent, received)]).pop();
            assert!(line.as_ref().unwrap().as_ref().unwrap().len() < 74, "{line:?}");
        }
    }
}
