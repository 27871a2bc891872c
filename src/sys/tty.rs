//! Terminals: foreground, type-ahead, and the controlling terminal, on which scat shows
//! text and reads lines.

use super::platform::{self, Starter};
use super::poller::{Interest, Poller, TTY};
use super::stream::{self, Inherited, PIPE_BUF};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::termios::QueueSelector;
use std::ffi::CString;
use std::io;
use std::time::Duration;

/// Bytes of the longest line that is read.
pub(super) const LINE: usize = 256;

/// How scat opens a terminal for itself.
const OWN: OFlags =
    OFlags::RDWR.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// Whether this process is in the foreground of the terminal `fd`. SIGTTIN stops a
/// background process that reads it.
///
/// # Errors
/// The system's: the terminal has hung up, or is not the controlling one.
pub fn is_in_foreground(fd: impl AsFd) -> io::Result<bool> {
    match rustix::termios::tcgetpgrp(fd) {
        Ok(group) => Ok(group == rustix::process::getpgrp()),
        // The foreground group has no number in this process's namespace (unshare -p). If
        // it is another group than ours, a read stops us.
        Err(Errno::OPNOTSUPP) => Ok(true),
        Err(err) => Err(err.into()),
    }
}

/// Whether a user is at standard output, or at standard input with this process in its
/// foreground. (A background job may write to the screen but does not read from it: `scat
/// -l 9000 > file &`. The system reports the foreground only for the controlling
/// terminal.)
pub fn is_attended() -> bool {
    let (stdin, stdout) = (rustix::stdio::stdin(), rustix::stdio::stdout());
    rustix::termios::isatty(stdout)
        || rustix::termios::isatty(stdin) && is_in_foreground(stdin).unwrap_or(true)
}

/// Whether `fd`, which was a terminal, has hung up. Reading it then looks like Ctrl-D.
pub fn has_hung_up(fd: impl AsFd) -> bool {
    !rustix::termios::isatty(fd)
}

/// Returns what moves to the left edge of the terminal `fd` from anywhere in a line: as
/// many spaces as it is wide wrap into the next line, unless they began at the edge.
/// Empty if the width is unknown.
pub fn left_edge(fd: impl AsFd) -> String {
    match rustix::termios::tcgetwinsize(fd).map_or(0, |size| size.ws_col) {
        0 => String::new(),
        width => " ".repeat(width.into()) + "\r",
    }
}

/// Returns the name of the controlling terminal.
fn path() -> CString {
    // The kernel reports the foreground group only for the controlling terminal.
    platform::terminal(stream::standard().into_iter().find(|fd| is_in_foreground(fd).is_ok()))
}

/// Drops what was typed on the terminal `fd` but not read.
pub fn discard_input(fd: impl AsFd) {
    let _ = rustix::termios::tcflush(fd, QueueSelector::IFlush);
}

/// Result of reading a line.
pub enum Line {
    /// No complete line yet.
    None,
    /// A line without its end.
    Whole(String),
    /// Ctrl-D, or nobody can write another one.
    End,
}

/// The terminal on which scat asks the user, whatever standard input is: the controlling
/// one. If there is none, but a standard descriptor is a terminal in whose foreground the
/// starter of this process waits, as su(1) does, it is that one. Its settings are never
/// changed, so there is nothing to restore.
pub struct Tty {
    fd: OwnedFd,
    /// It is shared, so it cannot be set to non-blocking.
    blocks: bool,
    /// The process that has its foreground, if it does not control this process.
    starter: Option<Starter>,
    line: Vec<u8>,
    /// Text that the terminal has not taken yet, for example after Ctrl-S.
    unsent: Vec<u8>,
}

impl Tty {
    /// Opens it; `None` if there is none.
    ///
    /// # Errors
    /// The system's: it exists but cannot be opened.
    pub fn open() -> io::Result<Option<Self>> {
        match rustix::fs::open(path(), OWN, Mode::empty()) {
            Ok(fd) => Ok(Some(Self::new(fd, false, None))),
            Err(Errno::NXIO) => Ok(stream::standard().into_iter().find_map(Self::of_starter)),
            Err(err) => Err(err.into()),
        }
    }

    fn new(fd: OwnedFd, blocks: bool, starter: Option<Starter>) -> Self {
        Tty { fd, blocks, starter, line: Vec::new(), unsent: Vec::new() }
    }

    /// Returns `fd` if it is a terminal on which this process's starter waits.
    fn of_starter(fd: Inherited) -> Option<Self> {
        if !rustix::termios::isatty(fd) {
            return None;
        }
        let starter = Some(Starter::find(fd)?);
        // Under su(1) it may belong to another user.
        let name = rustix::termios::ttyname(fd, []);
        if let Ok(own) = name.and_then(|name| rustix::fs::open(name, OWN, Mode::empty())) {
            return Some(Self::new(own, false, starter));
        }
        let is_for_both = stream::is_for_reading(fd) && stream::is_for_writing(fd);
        let shared = is_for_both.then(|| rustix::io::fcntl_dupfd_cloexec(fd, 3))?.ok()?;
        Some(Self::new(shared, true, starter))
    }

    /// Watches for input under [`TTY`].
    ///
    /// # Errors
    /// The system's.
    pub fn watch(&self, poller: &Poller) -> io::Result<()> {
        poller.watch(&self.fd, TTY, Interest::READABLE)
    }

    /// Whether scat may use it now.
    ///
    /// # Errors
    /// The system's: it has hung up or its starter has ended, for good.
    pub fn is_in_foreground(&self) -> io::Result<bool> {
        match &self.starter {
            None => is_in_foreground(&self.fd),
            Some(_) if has_hung_up(&self.fd) => Err(Errno::IO.into()),
            Some(starter) => starter.is_in_foreground(),
        }
    }

    /// Whether it must be polled, because no signal reports that the foreground was lost.
    pub fn has_to_be_watched(&self) -> bool {
        self.starter.is_some()
    }

    /// Whether a call would not block.
    fn is_ready(&self, interest: Interest) -> bool {
        !self.blocks || stream::becomes_ready(self.fd.as_fd(), interest, Duration::ZERO)
    }

    /// Stops this process and its job with SIGTTIN, as the kernel stops a background
    /// process that reads a terminal, so that a shell or sudo(8) can hand the terminal
    /// over. Returns after that; tells whether anything could stop it.
    ///
    /// # Errors
    /// The system's: it has hung up.
    pub fn await_foreground(&mut self) -> io::Result<bool> {
        if self.starter.is_some() {
            return Ok(false);
        }
        let mut byte = [0];
        match rustix::io::read(&self.fd, &mut byte) {
            Ok(n) => self.line.extend_from_slice(&byte[..n]),
            // The signal is ignored, or no process could continue this one.
            Err(Errno::IO) => return Ok(false),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(err) => return Err(err.into()),
        }
        Ok(true)
    }

    /// Returns [`left_edge`] of it.
    pub fn left_edge(&self) -> String {
        left_edge(&self.fd)
    }

    /// Whether it has not yet taken all of the text.
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Shows `text`, after what is still unsent, as far as the terminal takes it.
    pub fn show(&mut self, text: &str) {
        self.unsent.extend_from_slice(text.as_bytes());
        while !self.unsent.is_empty() && self.is_ready(Interest::WRITABLE) {
            let len = if self.blocks { PIPE_BUF } else { usize::MAX }.min(self.unsent.len());
            match rustix::io::write(&self.fd, &self.unsent[..len]) {
                Ok(n) => drop(self.unsent.drain(..n)),
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    /// Drops what was typed but not read. Returns whether it contained a complete line.
    pub fn discard_input(&mut self) -> bool {
        let has_read = !self.line.is_empty();
        self.line.clear();
        if !self.is_in_foreground().unwrap_or(false) {
            return false;
        }
        let was_entered = has_read || rustix::io::ioctl_fionread(&self.fd).is_ok_and(|len| len > 0);
        discard_input(&self.fd);
        was_entered
    }

    /// Returns the next line once it is complete. Cuts one that is too long.
    ///
    /// # Errors
    /// The system's: it has hung up.
    pub fn read_line(&mut self) -> io::Result<Line> {
        while self.is_ready(Interest::READABLE) {
            let mut bytes = [0; LINE];
            let n = match rustix::io::read(&self.fd, &mut bytes) {
                Ok(0) => {
                    // A terminal that has hung up reads like Ctrl-D, which must not count
                    // as a refusal.
                    self.is_in_foreground()?;
                    return Ok(Line::End);
                }
                Ok(n) => n,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Ok(Line::None),
                Err(err) => return Err(err.into()),
            };
            self.line.extend_from_slice(&bytes[..n]);
            let is_whole = matches!(self.line.last(), Some(b'\n' | b'\r'));
            if is_whole || self.line.len() > LINE {
                let line = String::from_utf8_lossy(&self.line).into_owned();
                self.line.clear();
                return Ok(Line::Whole(line));
            }
        }
        Ok(Line::None)
    }
}
