//! Lines for a person or a program that may not read them: what is said there never
//! makes anybody wait.
//!
//! A line is either kept until the stream takes it, or written now or never. The
//! lost ones are counted, and a line says how many as soon as one can be written.

use super::poller::{Interest, Poller, Token};
use super::stream::{self, Inherited, Stream};
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::time::{Duration, Instant};

/// Bytes of lines that are kept at most; a session has a few hundred.
const ROOM: usize = 1 << 16;

/// Where lines go: standard error, or a stream for programs.
pub struct Lines(RefCell<Queue>);

struct Queue {
    stream: Stream,
    /// What is to be written yet: lines that are kept, the first one perhaps begun.
    unsent: Vec<u8>,
    lost: u64,
    /// The line that says how many were lost.
    lost_line: fn(u64) -> String,
}

impl Lines {
    /// Lines for `fd`; `lost_line` words the one about those that were lost.
    ///
    /// # Errors
    /// The system's: above all that it is not open.
    pub fn new(fd: Inherited, lost_line: fn(u64) -> String) -> io::Result<Self> {
        stream::keep(fd)?;
        let stream = Stream::new(fd, Interest::WRITABLE)?;
        Ok(Lines(RefCell::new(Queue { stream, unsent: Vec::new(), lost: 0, lost_line })))
    }

    /// Whether a terminal shows them.
    pub fn is_terminal(&self) -> bool {
        self.0.borrow().stream.is_terminal
    }

    /// Events for it come from `poller` under `token`: then call [`Lines::resume`].
    ///
    /// # Errors
    /// The system's.
    pub fn register(&self, poller: &Poller, token: Token) -> io::Result<()> {
        self.0.borrow_mut().stream.register(poller, token)
    }

    /// Writes `text`, whole lines, now or as soon as it is taken. (Beyond 64 KiB of
    /// them it is lost all the same.)
    pub fn keep(&self, text: &str) {
        self.0.borrow_mut().keep(text, ROOM);
    }

    /// The same for the few lines that say how it ended: those are never lost here.
    pub fn keep_last(&self, text: &str) {
        self.0.borrow_mut().keep(text, usize::MAX);
    }

    /// Writes `text`, whole lines, now or never.
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

    /// Writes `text` now or never, and counts nothing: the next one says more.
    pub fn try_now(&self, text: &str) {
        let mut queue = self.0.borrow_mut();
        if queue.unsent.is_empty() && queue.lost == 0 {
            queue.unsent.extend_from_slice(text.as_bytes());
            if queue.flush() == 0 {
                queue.unsent.clear();
            }
        }
    }

    /// The loop saw that it takes more.
    pub fn resume(&self) {
        let mut queue = self.0.borrow_mut();
        queue.flush();
        if queue.unsent.is_empty() {
            queue.tell_lost();
            queue.flush();
        }
    }

    /// Writes what is kept, and waits for `limit` at most until it is taken.
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
        // The number of lost lines is not worth a wait.
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

    /// Writes what is taken now, and returns how many bytes of it are done with.
    fn flush(&mut self) -> usize {
        let mut done = 0;
        while done < self.unsent.len() {
            match self.stream.write(&[IoSlice::new(&self.unsent[done..])]) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => break,
                // Nobody can read it: no reason to stop.
                Err(_) => done = self.unsent.len(),
            }
        }
        self.unsent.drain(..done);
        done
    }
}
