//! Lines from a program that answers for the user, instead of a terminal.

use super::poller::{Interest, Poller, TTY};
use super::stream::{self, Inherited, Stream};
use super::tty::{LINE, Line};
use std::io::{self, IoSliceMut};

/// What a program writes to an inherited descriptor.
pub struct Answers {
    stream: Stream,
    unread: Vec<u8>,
}

impl Answers {
    /// Reads from `fd`.
    ///
    /// # Errors
    /// The system's.
    pub fn new(fd: Inherited) -> io::Result<Self> {
        stream::keep(fd)?;
        Ok(Answers { stream: Stream::new(fd, Interest::READABLE)?, unread: Vec::new() })
    }

    /// Watches for lines under [`TTY`].
    ///
    /// # Errors
    /// The system's.
    pub fn watch(&mut self, poller: &Poller) -> io::Result<()> {
        self.stream.register(poller, TTY)
    }

    /// Returns the next line once it is complete; the end completes the last one. Cuts
    /// one that is too long. A program that has closed its end counts as a user who left.
    pub fn read_line(&mut self) -> Line {
        loop {
            let end = self.unread.iter().position(|&byte| byte == b'\n');
            if let Some(end) = end.or((self.unread.len() > LINE).then_some(LINE)) {
                let line = self.unread.drain(..=end).collect::<Vec<_>>();
                return Line::Whole(String::from_utf8_lossy(&line).into_owned());
            }
            let mut bytes = [0; LINE];
            match self.stream.read(&mut [IoSliceMut::new(&mut bytes)]) {
                Ok(n @ 1..) => self.unread.extend_from_slice(&bytes[..n]),
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return Line::None,
                // Half an answer of a program that died is at worst a wrong one.
                Ok(0) if !self.unread.is_empty() => {
                    let line = std::mem::take(&mut self.unread);
                    return Line::Whole(String::from_utf8_lossy(&line).into_owned());
                }
                Ok(0) | Err(_) => return Line::End,
            }
        }
    }
}
