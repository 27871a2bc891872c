//! Non-blocking output of lines: a person or a program that does not read them never
//! blocks this process.
//!
//! A line is either kept until the stream takes it, or written at once or not at all.
//! Lost lines are counted, and a line reports their number as soon as one can be written.

use super::poller::{Interest, Poller, Token};
use super::stream::{self, Inherited, Stream};
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::time::{Duration, Instant};

/// Most bytes of lines that are kept; a session has a few hundred.
const ROOM: usize = 1 << 16;

/// Where lines go: standard error, or a stream for programs.
pub struct Lines(RefCell<Queue>);

struct Queue {
    stream: Stream,
    /// Bytes not yet written: lines that are kept, the first one possibly in part.
    unsent: Vec<u8>,
    lost: u64,
    /// Words the line that reports how many were lost.
    lost_line: fn(u64) -> String,
}

impl Lines {
    /// Writes lines to `fd`; `lost_line` words the report of lost lines.
    ///
    /// # Errors
    /// The system's; mostly that `fd` is not open.
    pub fn new(fd: Inherited, lost_line: fn(u64) -> String) -> io::Result<Self> {
        stream::keep(fd)?;
        let stream = Stream::new(fd, Interest::WRITABLE)?;
        Ok(Lines(RefCell::new(Queue { stream, unsent: Vec::new(), lost: 0, lost_line })))
    }

    /// Whether the lines go to a terminal.
    pub fn is_terminal(&self) -> bool {
        self.0.borrow().stream.is_terminal
    }

    /// Registers it with `poller` under `token`; at its events call [`Lines::resume`].
    ///
    /// # Errors
    /// The system's.
    pub fn register(&self, poller: &Poller, token: Token) -> io::Result<()> {
        self.0.borrow_mut().stream.register(poller, token)
    }

    /// Writes `text`, which is whole lines, now or when the stream takes it. (Beyond 64
    /// KiB it is lost.)
    pub fn keep(&self, text: &str) {
        self.0.borrow_mut().keep(text, ROOM);
    }

    /// Writes the few lines that report the end, which are kept without limit.
    pub fn keep_last(&self, text: &str) {
        self.0.borrow_mut().keep(text, usize::MAX);
    }

    /// Writes `text`, which is whole lines, now or not at all.
    pub fn offer(&self, text: &str) {
        let mut queue = self.0.borrow_mut();
        let lost = queue.lost;
        if queue.unsent.is_empty() {
            queue.tell_lost();
            queue.unsent.extend_from_slice(text.as_bytes());
            if queue.flush() > 0 {
                return;
            }
            queue.unsent.clear();
        }
        queue.lost = lost + 1;
    }

    /// Writes `text` now or not at all, without counting it as lost: the next one
    /// replaces it.
    pub fn try_now(&self, text: &str) {
        let mut queue = self.0.borrow_mut();
        if queue.unsent.is_empty() && queue.lost == 0 {
            queue.unsent.extend_from_slice(text.as_bytes());
            if queue.flush() == 0 {
                queue.unsent.clear();
            }
        }
    }

    /// Continues after an event: the stream takes more.
    pub fn resume(&self) {
        let mut queue = self.0.borrow_mut();
        queue.flush();
        if queue.unsent.is_empty() {
            queue.tell_lost();
            queue.flush();
        }
    }

    /// Writes what is kept; waits at most `limit` for the stream to take it.
    pub fn finish(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut queue = self.0.borrow_mut();
        loop {
            queue.flush();
            let left = deadline.saturating_duration_since(Instant::now());
            if queue.unsent.is_empty() || left.is_zero() {
                break;
            }
            queue.stream.wait(left);
        }
        // The number of lost lines is not worth waiting for.
        queue.tell_lost();
        queue.flush();
    }
}

impl Queue {
    fn keep(&mut self, text: &str, room: usize) {
        if self.unsent.len() + text.len() > room {
            self.lost += 1;
            return;
        }
        self.tell_lost();
        self.unsent.extend_from_slice(text.as_bytes());
        self.flush();
    }

    fn tell_lost(&mut self) {
        if self.lost > 0 {
            self.unsent.extend_from_slice((self.lost_line)(self.lost).as_bytes());
            self.lost = 0;
        }
    }

    /// Writes what the stream takes now, and returns how many bytes are done.
    fn flush(&mut self) -> usize {
        let mut done = 0;
        while done < self.unsent.len() {
            match self.stream.write(&[IoSlice::new(&self.unsent[done..])]) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => break,
                // Nobody can read it, which is no reason to stop.
                Err(_) => done = self.unsent.len(),
            }
        }
        self.unsent.drain(..done);
        done
    }
}
