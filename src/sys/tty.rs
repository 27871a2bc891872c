//! Terminals: who is in the foreground, what was typed ahead, and the controlling one as
//! something to show text on and read lines from.

use super::platform;
use super::poller::{Interest, Poller, TTY};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::termios::QueueSelector;
use std::ffi::CString;
use std::io;

/// Bytes of the longest line that is looked at.
pub(super) const LINE: usize = 256;

/// Whether this process is in the foreground of the terminal `fd`. A process in the
/// background that reads is stopped by SIGTTIN.
///
/// # Errors
/// The system's: the terminal has hung up, or is not the controlling one.
pub fn is_in_foreground(fd: impl AsFd) -> io::Result<bool> {
    Ok(rustix::termios::tcgetpgrp(fd)? == rustix::process::getpgrp())
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
    let standard = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    // The kernel reports the foreground group only for the controlling terminal.
    platform::terminal(standard.into_iter().find(|fd| is_in_foreground(fd).is_ok()))
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

/// The controlling terminal, whatever standard input is. Its settings are never
/// touched, so there is nothing to put back.
pub struct Tty {
    fd: OwnedFd,
    line: Vec<u8>,
    /// What the terminal has not taken yet: a person can stop it with Ctrl-S.
    unsent: Vec<u8>,
}

impl Tty {
    /// Opens it for ourselves, non-blocking; `None` if this process has none.
    ///
    /// # Errors
    /// The system's: it is there, and cannot be opened.
    pub fn open() -> io::Result<Option<Self>> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        match rustix::fs::open(path(), flags, Mode::empty()) {
            Ok(fd) => Ok(Some(Tty { fd, line: Vec::new(), unsent: Vec::new() })),
            Err(Errno::NXIO) => Ok(None),
            Err(err) => Err(err.into()),
        }
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
    /// The system's: it has hung up, and will not come back.
    pub fn is_in_foreground(&self) -> io::Result<bool> {
        is_in_foreground(&self.fd)
    }

    /// Stops this process and its job (SIGTTIN), as a program that reads a terminal in its
    /// background is stopped, so that a shell or sudo(8) can hand it over. Returns when they
    /// have; says whether anything could stop it.
    ///
    /// # Errors
    /// The system's: it has hung up.
    pub fn await_foreground(&mut self) -> io::Result<bool> {
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
        while !self.unsent.is_empty() {
            match rustix::io::write(&self.fd, &self.unsent) {
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
        loop {
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
                Err(why) => return Err(why.into()),
            };
            self.line.extend_from_slice(&bytes[..n]);
            let is_whole = matches!(self.line.last(), Some(b'\n' | b'\r'));
            if is_whole || self.line.len() > LINE {
                let line = String::from_utf8_lossy(&self.line).into_owned();
                self.line.clear();
                return Ok(Line::Whole(line));
            }
        }
    }
}
