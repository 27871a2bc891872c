//! Standard input and output as things that an event loop can use, whatever
//! they are, without ever setting O_NONBLOCK on a descriptor that was
//! inherited: the shell and its other children share it.

use crate::event_loop::{STDIN, STDOUT};
use crate::term::caret::Caret;
use crate::term::tty;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::io::{self, IoSlice, IoSliceMut};

/// Bytes that a pipe or terminal that polls as writable takes at once (POSIX's PIPE_BUF on Linux).
const PIPE_BUF: usize = 4096;

/// Bytes that a pipe should hold, four times the usual: the two at its ends then
/// wake each other a third as often. What a reader has not read when it dies counts
/// as written, so no more than that.
#[cfg(target_os = "linux")]
const PIPE_ROOM: usize = 256 * 1024;

/// Standard input.
pub struct Input {
    descriptor: Descriptor,
    /// What a read came upon behind bytes that had to be handed over first.
    pending_error: Option<Errno>,
}

impl Input {
    /// Descriptor 0.
    ///
    /// # Errors
    /// The system's.
    pub fn new(registry: &Registry) -> io::Result<Self> {
        let stdin = rustix::stdio::stdin();
        let descriptor = Descriptor::new(stdin, Interest::READABLE, registry, STDIN)?;
        Ok(Input { descriptor, pending_error: None })
    }

    /// Whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.descriptor.is_terminal
    }

    /// Whether a read may do something.
    pub fn is_ready(&self) -> bool {
        self.descriptor.ready
    }

    /// The loop saw an event for it.
    pub fn set_ready(&mut self) {
        self.descriptor.ready = true;
    }

    /// The process was resumed: what the background could not read may be ours now.
    pub fn resume(&mut self) {
        match self.descriptor.mode {
            // Only poll may say so: the call would block.
            IoMode::Polled => {
                let _ = self.descriptor.rearm();
            }
            _ => self.descriptor.ready = true,
        }
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
            // Opened for writing only (nohup does that), or a terminal that has
            // gone: there is nothing to be read, so it has ended.
            Err(Errno::BADF) => Ok(0),
            Err(Errno::IO) if self.is_terminal() => Ok(0),
            result => Ok(result?),
        }
    }

    /// What one call hands over can be less than a frame takes. Full frames are
    /// cheaper, so a pipe is asked again until it is empty.
    fn read_full(&mut self, mut pieces: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
        let mut len = 0;
        loop {
            match self.pending_error.take().map_or_else(|| self.read_once(pieces), Err) {
                Ok(n) if n > 0 && matches!(self.descriptor.mode, IoMode::NoWait) => {
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

    fn read_once(&mut self, pieces: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
        self.descriptor.call(|fd, nowait| match nowait {
            true => read_now(fd, pieces),
            false => rustix::io::readv(fd, pieces),
        })
    }

    /// Throws away what was typed and not entered, so that it does not land in the shell.
    pub fn discard_typed(&self) {
        if self.is_terminal() && self.is_in_foreground() {
            tty::discard_input(self.descriptor.fd);
        }
    }

    /// A terminal that is not our controlling one, or has hung up, has no background.
    fn is_in_foreground(&self) -> bool {
        tty::is_in_foreground(self.descriptor.fd).unwrap_or(true)
    }
}

/// Standard output.
pub struct Output {
    descriptor: Descriptor,
    /// A terminal's: everything else gets the bytes as they are.
    caret: Option<Box<Caret>>,
    /// It is the file that standard error goes to, so that messages would stand among
    /// the data. A pipe or a terminal for both can be meant so; a file with messages
    /// in it is a copy that is wrong.
    has_messages: bool,
    is_closed: bool,
}

impl Output {
    /// Descriptor 1.
    ///
    /// # Errors
    /// The system's.
    pub fn new(registry: &Registry) -> io::Result<Self> {
        let stdout = rustix::stdio::stdout();
        let file = regular(stdout);
        let descriptor = Descriptor::new(stdout, Interest::WRITABLE, registry, STDOUT)?;
        Ok(Output {
            caret: descriptor.is_terminal.then(Box::default),
            descriptor,
            has_messages: file.is_some() && file == regular(rustix::stdio::stderr()),
            is_closed: false,
        })
    }

    /// Whether a write may do something.
    pub fn is_ready(&self) -> bool {
        self.descriptor.ready
    }

    /// The loop saw an event for it.
    pub fn set_ready(&mut self) {
        self.descriptor.ready = true;
    }

    /// Writes from `pieces`; returns how many of their bytes were taken. A terminal is
    /// shown their control characters instead.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when it takes nothing now; else the system's.
    pub fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.has_messages {
            return Err(io::Error::other("messages go to the same file; 2>log keeps them out"));
        }
        if let Some(caret) = &mut self.caret {
            return Ok(caret.write(pieces, |shown| {
                self.descriptor.call(|fd, _| rustix::io::write(fd, shown))
            })?);
        }
        let first = pieces.first().map_or(&[][..], |piece| piece);
        let little = [IoSlice::new(&first[..first.len().min(PIPE_BUF)])];
        let pieces = if matches!(self.descriptor.mode, IoMode::Polled) { &little } else { pieces };
        Ok(self.descriptor.call(|fd, nowait| match nowait {
            true => write_now(fd, pieces),
            false => rustix::io::writev(fd, pieces),
        })?)
    }

    /// Lets go of standard output, so that its reader sees the end.
    pub fn close(&mut self) {
        if self.is_closed {
            return;
        }
        self.is_closed = true;
        self.descriptor.release();
        // A socket may be standard input as well, and would stay open.
        let _ = rustix::net::shutdown(self.descriptor.fd, rustix::net::Shutdown::Write);
        // Descriptor 1 itself stays taken, or the next file opened would get it.
        if let Ok(null) = rustix::fs::open("/dev/null", OFlags::WRONLY, Mode::empty()) {
            let _ = rustix::stdio::dup2_stdout(null);
        }
    }
}

/// How a descriptor is read and written without holding up the loop.
enum IoMode {
    /// Always ready: regular files, /dev/null, all that epoll refuses.
    AlwaysReady,
    /// RWF_NOWAIT for each call: anonymous pipes and sockets.
    NoWait,
    /// An open file description of our own, non-blocking: FIFOs and terminals.
    Reopened(OwnedFd),
    /// Whatever is left: one blocking call each time that poll says ready.
    Polled,
}

/// A descriptor, how it is used, and whether it is ready.
struct Descriptor {
    fd: BorrowedFd<'static>,
    mode: IoMode,
    interest: Interest,
    token: Token,
    registry: Registry,
    is_terminal: bool,
    /// A call may do something. Starts true: only a call can tell.
    ready: bool,
}

impl Descriptor {
    fn new(
        fd: BorrowedFd<'static>,
        interest: Interest,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let is_terminal = rustix::termios::isatty(fd);
        let mut descriptor = Descriptor {
            fd,
            mode: IoMode::Polled,
            interest,
            token,
            registry: registry.try_clone()?,
            is_terminal,
            ready: true,
        };
        match FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode) {
            FileType::Fifo | FileType::Socket if cfg!(target_os = "linux") => {
                widen(fd);
                descriptor.mode = IoMode::NoWait;
                descriptor.register()?;
            }
            FileType::CharacterDevice if is_terminal => descriptor.reopen()?,
            FileType::Fifo | FileType::Socket | FileType::CharacterDevice => {
                descriptor.register()?;
            }
            _ => descriptor.mode = IoMode::AlwaysReady,
        }
        Ok(descriptor)
    }

    /// Makes one call in this descriptor's mode and learns from its result. `io` is
    /// told whether the call itself has to see to it that it does not wait.
    fn call(
        &mut self,
        mut io: impl FnMut(BorrowedFd<'_>, bool) -> Result<usize, Errno>,
    ) -> Result<usize, Errno> {
        loop {
            let result = match &self.mode {
                IoMode::AlwaysReady => io(self.fd, false),
                IoMode::NoWait => io(self.fd, true),
                IoMode::Reopened(own) => io(own.as_fd(), false),
                IoMode::Polled => {
                    // Edges come with changes; asking again makes one of the present state.
                    self.ready = false;
                    let result = io(self.fd, false);
                    self.rearm()?;
                    result
                }
            };
            match result {
                Err(Errno::INTR) => continue,
                // Not for this descriptor, this kernel or this sandbox.
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL)
                    if matches!(self.mode, IoMode::NoWait) =>
                {
                    let _ = self.registry.deregister(&mut SourceFd(&self.fd.as_raw_fd()));
                    self.reopen().map_err(|why| Errno::from_io_error(&why).unwrap_or(Errno::IO))?;
                    if !self.ready {
                        return Err(Errno::AGAIN);
                    }
                }
                Err(Errno::AGAIN) => {
                    self.ready = false;
                    return result;
                }
                result => return result,
            }
        }
    }

    /// Opens the same file again, for a description of our own.
    fn reopen(&mut self) -> io::Result<()> {
        let access = if self.interest.is_readable() { OFlags::RDONLY } else { OFlags::WRONLY };
        let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let path = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        self.mode = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(own) => IoMode::Reopened(own),
            // Somebody else's terminal or pipe, or no /proc.
            Err(_) => IoMode::Polled,
        };
        self.register()
    }

    fn register(&mut self) -> io::Result<()> {
        let fd = self.polled_fd();
        match self.registry.register(&mut SourceFd(&fd), self.token, self.interest) {
            // What epoll refuses never makes anybody wait.
            Err(why) if why.kind() == io::ErrorKind::PermissionDenied => {
                self.mode = IoMode::AlwaysReady;
                Ok(())
            }
            result => {
                if matches!(self.mode, IoMode::Polled) {
                    self.ready = false;
                }
                result
            }
        }
    }

    fn rearm(&self) -> Result<(), Errno> {
        self.registry
            .reregister(&mut SourceFd(&self.fd.as_raw_fd()), self.token, self.interest)
            .map_err(|why| Errno::from_io_error(&why).unwrap_or(Errno::IO))
    }

    /// Closes what was opened for it, and is never ready again.
    fn release(&mut self) {
        self.ready = false;
        let _ = self.registry.deregister(&mut SourceFd(&self.polled_fd()));
        self.mode = IoMode::AlwaysReady;
    }

    fn polled_fd(&self) -> i32 {
        match &self.mode {
            IoMode::Reopened(own) => own.as_raw_fd(),
            _ => self.fd.as_raw_fd(),
        }
    }
}

/// Which file it is, if it is a regular one.
fn regular(fd: BorrowedFd<'_>) -> Option<(u64, u64)> {
    let stat = rustix::fs::fstat(fd).ok()?;
    let is_regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    is_regular.then_some((stat.st_dev as u64, stat.st_ino as u64))
}

/// Makes a pipe hold [`PIPE_ROOM`] bytes. Anything else refuses, and so does the
/// system for a user who has many: then it stays as it is.
#[cfg(target_os = "linux")]
fn widen(fd: BorrowedFd<'_>) {
    if rustix::pipe::fcntl_getpipe_size(fd).is_ok_and(|has| has < PIPE_ROOM) {
        let _ = rustix::pipe::fcntl_setpipe_size(fd, PIPE_ROOM);
    }
}

#[cfg(target_os = "linux")]
fn read_now(fd: BorrowedFd<'_>, pieces: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
    rustix::io::preadv2(fd, pieces, u64::MAX, rustix::io::ReadWriteFlags::NOWAIT)
}

#[cfg(target_os = "linux")]
fn write_now(fd: BorrowedFd<'_>, pieces: &[IoSlice<'_>]) -> Result<usize, Errno> {
    rustix::io::pwritev2(fd, pieces, u64::MAX, rustix::io::ReadWriteFlags::NOWAIT)
}

// Elsewhere there is no such call, and [`IoMode::NoWait`] is never chosen.

#[cfg(not(target_os = "linux"))]
fn widen(_: BorrowedFd<'_>) {}

#[cfg(not(target_os = "linux"))]
fn read_now(fd: BorrowedFd<'_>, pieces: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
    rustix::io::readv(fd, pieces)
}

#[cfg(not(target_os = "linux"))]
fn write_now(fd: BorrowedFd<'_>, pieces: &[IoSlice<'_>]) -> Result<usize, Errno> {
    rustix::io::writev(fd, pieces)
}
