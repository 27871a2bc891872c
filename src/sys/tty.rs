//! Terminals: who is in the foreground, what was typed ahead, and the controlling one as
//! something to show text on and read lines from.

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

/// Bytes of the longest line that is looked at.
pub(super) const LINE: usize = 256;

/// How a terminal is opened: to read and to show, for ourselves.
const OWN: OFlags =
    OFlags::RDWR.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// Whether this process is in the foreground of the terminal `fd`. A process in the
/// background that reads is stopped by SIGTTIN.
///
/// # Errors
/// The system's: the terminal has hung up, or is not the controlling one.
pub fn is_in_foreground(fd: impl AsFd) -> io::Result<bool> {
    match rustix::termios::tcgetpgrp(fd) {
        Ok(group) => Ok(group == rustix::process::getpgrp()),
        // One that has no number in this process's namespace, as its own group has none there
        // (unshare -p): if it is another one, the read stops us.
        Err(Errno::OPNOTSUPP) => Ok(true),
        Err(err) => Err(err.into()),
    }
}

/// Whether a person sits at standard output, or at standard input with this process in
/// the foreground there. (A job in the background may write to a screen, but does not
/// read from it: `scat -l 9000 > file &`. Of a terminal that is not the controlling one,
/// the system does not say who is in the foreground.)
pub fn is_attended() -> bool {
    let (stdin, stdout) = (rustix::stdio::stdin(), rustix::stdio::stdout());
    rustix::termios::isatty(stdout)
        || rustix::termios::isatty(stdin) && is_in_foreground(stdin).unwrap_or(true)
}

/// Whether `fd`, which was a terminal, is one no more: it has hung up. To read from it
/// then looks like Ctrl-D.
pub fn has_hung_up(fd: impl AsFd) -> bool {
    !rustix::termios::isatty(fd)
}

/// What leads to the left edge of the terminal `fd`, whatever stands in the line: as many
/// spaces as it is wide go on in the next line, unless they began at the edge. Nothing where
/// the width is not known.
pub fn left_edge(fd: impl AsFd) -> String {
    match rustix::termios::tcgetwinsize(fd).map_or(0, |size| size.ws_col) {
        0 => String::new(),
        width => " ".repeat(width.into()) + "\r",
    }
}

/// The name of the controlling terminal.
fn path() -> CString {
    // The kernel reports the foreground group only for the controlling terminal.
    platform::terminal(stream::standard().into_iter().find(|fd| is_in_foreground(fd).is_ok()))
}

/// Throws away what was typed on the terminal `fd` and not read.
pub fn discard_input(fd: impl AsFd) {
    let _ = rustix::termios::tcflush(fd, QueueSelector::IFlush);
}

/// What reading a line came to.
pub enum Line {
    /// Nothing, or not all of a line yet.
    None,
    /// A line without its end.
    Whole(String),
    /// Ctrl-D, or nobody can write another one.
    End,
}

/// The terminal at which a person is asked, whatever standard input is: the controlling one.
/// Where there is none, but one of the standard descriptors is a terminal and whoever has
/// started this process waits in its foreground, as su(1) does, it is that one. Its
/// settings are never touched, so there is nothing to put back.
pub struct Tty {
    fd: OwnedFd,
    /// It is not ours to set to non-blocking.
    blocks: bool,
    /// Who has it, if it does not control this process.
    starter: Option<Starter>,
    line: Vec<u8>,
    /// What the terminal has not taken yet: a person can stop it with Ctrl-S.
    unsent: Vec<u8>,
}

impl Tty {
    /// Opens it; `None` if there is none.
    ///
    /// # Errors
    /// The system's: it is there, and cannot be opened.
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

    /// `fd`, if it is a terminal at which this process's starter waits.
    fn of_starter(fd: Inherited) -> Option<Self> {
        if !rustix::termios::isatty(fd) {
            return None;
        }
        let starter = Some(Starter::find(fd)?);
        // Behind su(1) it may be another user's.
        let name = rustix::termios::ttyname(fd, []);
        if let Ok(own) = name.and_then(|name| rustix::fs::open(name, OWN, Mode::empty())) {
            return Some(Self::new(own, false, starter));
        }
        let is_for_both = stream::is_for_reading(fd) && stream::is_for_writing(fd);
        let shared = is_for_both.then(|| rustix::io::fcntl_dupfd_cloexec(fd, 3))?.ok()?;
        Some(Self::new(shared, true, starter))
    }

    /// Asks `poller` for what is typed, under [`TTY`].
    ///
    /// # Errors
    /// The system's.
    pub fn watch(&self, poller: &Poller) -> io::Result<()> {
        poller.watch(&self.fd, TTY, Interest::READABLE)
    }

    /// Whether scat may use it now.
    ///
    /// # Errors
    /// The system's: it has hung up, or who has it is gone; it will not come back.
    pub fn is_in_foreground(&self) -> io::Result<bool> {
        match &self.starter {
            None => is_in_foreground(&self.fd),
            Some(_) if has_hung_up(&self.fd) => Err(Errno::IO.into()),
            Some(starter) => starter.is_in_foreground(),
        }
    }

    /// Whether no signal tells that it is ours no more.
    pub fn has_to_be_watched(&self) -> bool {
        self.starter.is_some()
    }

    /// Whether a call does not wait.
    fn is_ready(&self, interest: Interest) -> bool {
        !self.blocks || stream::becomes_ready(self.fd.as_fd(), interest, Duration::ZERO)
    }

    /// Stops this process and its job (SIGTTIN), as a program that reads a terminal in its
    /// background is stopped, so that a shell or sudo(8) can hand it over. Returns when they
    /// have; says whether anything could stop it.
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
            // The signal is ignored, or nobody is there to continue it.
            Err(Errno::IO) => return Ok(false),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(err) => return Err(err.into()),
        }
        Ok(true)
    }

    /// [`left_edge`] of it.
    pub fn left_edge(&self) -> String {
        left_edge(&self.fd)
    }

    /// Whether it has not taken all that was shown.
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Shows `text`, or as much as the terminal takes, behind what is still unsent.
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

    /// Throws away what was typed and not read. Returns whether a line had been entered.
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

    /// The next line, if all of it was typed. One that is too long is cut.
    ///
    /// # Errors
    /// The system's: it has hung up.
    pub fn read_line(&mut self) -> io::Result<Line> {
        while self.is_ready(Interest::READABLE) {
            let mut bytes = [0; LINE];
            let n = match rustix::io::read(&self.fd, &mut bytes) {
                Ok(0) => {
                    // A terminal that has hung up reads like Ctrl-D, and is no refusal.
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
