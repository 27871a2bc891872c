//! Standard input and output: what their ends mean, and what a terminal in the
//! background may do.

use crate::error::Error;
use crate::sys::poller::{STDIN, STDOUT};
use crate::sys::stream::{self, Descriptor};
use crate::sys::tty;
use crate::ui::caret::Caret;
use mio::{Interest, Registry};
use rustix::fd::BorrowedFd;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::io::{self, IoSlice, IoSliceMut};

/// Finds out before anybody has come what would stop a session.
///
/// # Errors
/// [`Error::Input`] for a directory; [`Error::Output`] where data could only come, and
/// would go to the file of the messages. (Who has something to send may log both to one
/// file: then it is found out when data comes.)
pub fn check() -> Result<(), Error> {
    let kind = |fd| rustix::fs::fstat(fd).map(|stat| FileType::from_raw_mode(stat.st_mode));
    let stdin = kind(rustix::stdio::stdin());
    if stdin == Ok(FileType::Directory) {
        return Err(Error::Input(io::ErrorKind::IsADirectory.into()));
    }
    let has_data = matches!(stdin, Ok(FileType::RegularFile | FileType::Fifo | FileType::Socket));
    match has_messages(rustix::stdio::stdout()) && !has_data {
        true => Err(Error::Output(messages_among_data())),
        false => Ok(()),
    }
}

/// Sends nothing (`-d`): `/dev/null` in the place of standard input.
///
/// # Errors
/// [`Error::System`].
pub fn no_input() -> Result<(), Error> {
    let null = rustix::fs::open("/dev/null", OFlags::RDONLY, Mode::empty());
    null.and_then(rustix::stdio::dup2_stdin).map_err(|why| Error::System("/dev/null", why.into()))
}

/// Whether it is the regular file that standard error goes to.
fn has_messages(stdout: BorrowedFd<'_>) -> bool {
    stream::are_same(FileType::RegularFile, stdout, rustix::stdio::stderr())
}

fn messages_among_data() -> io::Error {
    io::Error::other("messages would end up in the data; 2>log puts them elsewhere")
}

/// Both of them, to be had before there is a peer.
pub struct Stdio {
    /// Standard input.
    pub input: Input,
    /// Standard output.
    pub output: Output,
}

impl Stdio {
    /// Descriptors 0 and 1.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn new(registry: &Registry) -> Result<Self, Error> {
        let set_up = |why| Error::System("standard input and output", why);
        let input = Input::new(registry).map_err(set_up)?;
        let output = Output::new(registry).map_err(set_up)?;
        Ok(Stdio { input, output })
    }
}

/// Standard input.
pub struct Input {
    descriptor: Descriptor,
    /// What a read came upon behind bytes that had to be handed over first.
    pending_error: Option<Errno>,
}

impl Input {
    fn new(registry: &Registry) -> io::Result<Self> {
        let mut descriptor = Descriptor::new(rustix::stdio::stdin(), Interest::READABLE)?;
        descriptor.widen();
        descriptor.register(registry, STDIN)?;
        Ok(Input { descriptor, pending_error: None })
    }

    /// Whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.descriptor.is_terminal
    }

    /// Whether it was a terminal, and has hung up.
    pub fn has_hung_up(&self) -> bool {
        self.is_terminal() && tty::has_hung_up(self.descriptor.fd())
    }

    /// Whether a read may do something.
    pub fn is_ready(&self) -> bool {
        self.descriptor.ready
    }

    /// The loop saw an event for it, or the process was resumed: what the background
    /// could not read may be ours now.
    pub fn set_ready(&mut self) {
        self.descriptor.ready = true;
    }

    /// Reads into `pieces`. Zero, without an error, is the end.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is nothing now, or this is a
    /// terminal and scat is in its background; else the system's.
    pub fn read(&mut self, pieces: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if self.is_terminal() && !self.is_in_foreground() {
            self.descriptor.ready = false;
            return Err(Errno::AGAIN.into());
        }
        match self.read_full(pieces) {
            // Opened for writing only (nohup does that): there is nothing to be read, so
            // it has ended.
            Err(Errno::BADF) => Ok(0),
            // A window that was closed is not Ctrl-D.
            Ok(0) if self.has_hung_up() => Err(Errno::IO.into()),
            result => Ok(result?),
        }
    }

    /// What one call hands over can be less than a frame takes. Full frames are
    /// cheaper, so a pipe is asked again until it is empty.
    fn read_full(&mut self, mut pieces: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
        let mut len = 0;
        loop {
            match self.pending_error.take().map_or_else(|| self.descriptor.read(pieces), Err) {
                Ok(n) if n > 0 && self.descriptor.can_read_on() => {
                    IoSliceMut::advance_slices(&mut pieces, n);
                    len += n;
                    if pieces.iter().all(|piece| piece.is_empty()) {
                        return Ok(len);
                    }
                }
                // The end is there again next time.
                Ok(n) => return Ok(len + n),
                Err(why) if len == 0 => return Err(why),
                Err(why) => {
                    // The system may report an error only once.
                    self.pending_error = (why != Errno::AGAIN).then_some(why);
                    return Ok(len);
                }
            }
        }
    }

    /// Throws away what was typed and not entered, so that it does not land in the shell.
    pub fn discard_typed(&self) {
        if self.is_terminal() && self.is_in_foreground() {
            tty::discard_input(self.descriptor.fd());
        }
    }

    /// A terminal that is not our controlling one, or has hung up, has no background.
    fn is_in_foreground(&self) -> bool {
        tty::is_in_foreground(self.descriptor.fd()).unwrap_or(true)
    }
}

/// Standard output.
pub struct Output {
    /// Until it is closed.
    descriptor: Option<Descriptor>,
    /// A terminal's: everything else gets the bytes as they are.
    caret: Option<Box<Caret>>,
    /// It is the file that standard error goes to, so that messages would stand among
    /// the data. A pipe or a terminal for both can be meant so; a file with messages
    /// in it is a copy that is wrong.
    has_messages: bool,
}

impl Output {
    fn new(registry: &Registry) -> io::Result<Self> {
        let stdout = rustix::stdio::stdout();
        let mut descriptor = Descriptor::new(stdout, Interest::WRITABLE)?;
        descriptor.widen();
        descriptor.register(registry, STDOUT)?;
        Ok(Output {
            caret: descriptor.is_terminal.then(Box::default),
            descriptor: Some(descriptor),
            has_messages: has_messages(stdout),
        })
    }

    /// Whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.caret.is_some()
    }

    /// Whether it was a terminal, and has hung up.
    pub fn has_hung_up(&self) -> bool {
        let has =
            |descriptor: &Descriptor| descriptor.is_terminal && tty::has_hung_up(descriptor.fd());
        self.descriptor.as_ref().is_some_and(has)
    }

    /// Whether a write may do something.
    pub fn is_ready(&self) -> bool {
        self.descriptor.as_ref().is_some_and(|descriptor| descriptor.ready)
    }

    /// The loop saw an event for it.
    pub fn set_ready(&mut self) {
        if let Some(descriptor) = &mut self.descriptor {
            descriptor.ready = true;
        }
    }

    /// Writes from `pieces`; returns how many of their bytes were taken. A terminal is
    /// shown their control characters instead.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when it takes nothing now; else the system's.
    pub fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.has_messages {
            return Err(messages_among_data());
        }
        let Some(descriptor) = &mut self.descriptor else {
            return Err(Errno::PIPE.into());
        };
        if let Some(caret) = &mut self.caret {
            return Ok(caret.write(pieces, |shown| descriptor.write(&[IoSlice::new(shown)]))?);
        }
        Ok(descriptor.write(pieces)?)
    }

    /// Lets go of standard output, so that its reader sees the end.
    pub fn close(&mut self) {
        let Some(descriptor) = self.descriptor.take() else {
            return;
        };
        // A socket may be standard input as well, and would stay open.
        let _ = rustix::net::shutdown(descriptor.fd(), rustix::net::Shutdown::Write);
        drop(descriptor);
        // SAFETY: its only user is gone, and in the sandbox nothing gets its number.
        #[allow(unsafe_code)]
        drop(unsafe { rustix::stdio::take_stdout() });
    }
}
