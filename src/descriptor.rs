//! A descriptor that was inherited, as something that an event loop can use,
//! whatever it is, without ever setting O_NONBLOCK on it: the shell and its other
//! children share the open file description.

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::io::{self, IoSlice, IoSliceMut};
use std::time::Duration;

/// Bytes that a pipe or terminal that polls as writable takes at once (POSIX's PIPE_BUF on Linux).
const PIPE_BUF: usize = 4096;

/// Bytes that a pipe should hold, four times the usual: the two at its ends then
/// wake each other a third as often. What a reader has not read when it dies counts
/// as written, so no more than that.
#[cfg(target_os = "linux")]
const PIPE_ROOM: usize = 256 * 1024;

/// How a descriptor is read and written without holding up the loop.
enum IoMode {
    /// Always ready: regular files and directories, and all that epoll refuses.
    AlwaysReady,
    /// RWF_NOWAIT for each call: anonymous pipes and sockets.
    NoWait,
    /// An open file description of our own, non-blocking: FIFOs and terminals.
    Reopened(OwnedFd),
    /// Whatever is left: one blocking call each time that poll(2) says ready.
    Polled,
}

/// A descriptor, how it is used, and whether it is ready.
pub struct Descriptor {
    fd: BorrowedFd<'static>,
    interest: Interest,
    mode: IoMode,
    events: Option<(Registry, Token)>,
    /// It is a terminal.
    pub is_terminal: bool,
    /// A call may do something. Starts true: only a call can tell.
    pub ready: bool,
}

impl Descriptor {
    /// `fd`, to be read or written as `interest` says.
    ///
    /// # Errors
    /// The system's: above all that it is not open.
    pub fn new(fd: BorrowedFd<'static>, interest: Interest) -> io::Result<Self> {
        let is_terminal = rustix::termios::isatty(fd);
        let mode = match FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode) {
            FileType::RegularFile | FileType::Directory => IoMode::AlwaysReady,
            FileType::Fifo | FileType::Socket if cfg!(target_os = "linux") => IoMode::NoWait,
            FileType::CharacterDevice if is_terminal => reopen(fd, interest),
            _ => IoMode::Polled,
        };
        Ok(Descriptor { fd, interest, mode, events: None, is_terminal, ready: true })
    }

    /// Events for it come to `registry` under `token` from now on.
    ///
    /// # Errors
    /// The system's.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.events = Some((registry.try_clone()?, token));
        self.watch()
    }

    fn watch(&mut self) -> io::Result<()> {
        let Some((registry, token)) = &self.events else {
            return Ok(());
        };
        if matches!(self.mode, IoMode::AlwaysReady) {
            return Ok(());
        }
        match registry.register(&mut SourceFd(&self.used_fd().as_raw_fd()), *token, self.interest) {
            // What epoll refuses never makes anybody wait.
            Err(why) if why.kind() == io::ErrorKind::PermissionDenied => {
                self.mode = IoMode::AlwaysReady;
                Ok(())
            }
            result => result,
        }
    }

    /// The descriptor itself.
    pub fn fd(&self) -> BorrowedFd<'static> {
        self.fd
    }

    /// Whether each call sees to it by itself that it does not wait.
    pub fn never_waits(&self) -> bool {
        matches!(self.mode, IoMode::NoWait)
    }

    /// Makes a pipe hold [`PIPE_ROOM`] bytes. Anything else refuses, and so does the
    /// system for a user who has many: then it stays as it is.
    pub fn widen(&self) {
        #[cfg(target_os = "linux")]
        if rustix::pipe::fcntl_getpipe_size(self.fd).is_ok_and(|has| has < PIPE_ROOM) {
            let _ = rustix::pipe::fcntl_setpipe_size(self.fd, PIPE_ROOM);
        }
    }

    /// Reads into `pieces`.
    ///
    /// # Errors
    /// [`Errno::AGAIN`] when there is nothing now; else the system's.
    pub fn read(&mut self, pieces: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
        self.call(|fd, nowait| match nowait {
            true => read_now(fd, pieces),
            false => rustix::io::readv(fd, pieces),
        })
    }

    /// Writes from `pieces`.
    ///
    /// # Errors
    /// [`Errno::AGAIN`] when it takes nothing now; else the system's.
    pub fn write(&mut self, pieces: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let first = pieces.first().map_or(&[][..], |piece| piece);
        let little = [IoSlice::new(&first[..first.len().min(PIPE_BUF)])];
        let pieces = if matches!(self.mode, IoMode::Polled) { &little } else { pieces };
        self.call(|fd, nowait| match nowait {
            true => write_now(fd, pieces),
            false => rustix::io::writev(fd, pieces),
        })
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
                IoMode::Polled if !self.wait(Duration::ZERO) => Err(Errno::AGAIN),
                IoMode::Polled => io(self.fd, false),
            };
            match result {
                Err(Errno::INTR) => continue,
                // Not for this descriptor, this kernel or this sandbox.
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL)
                    if matches!(self.mode, IoMode::NoWait) =>
                {
                    self.unwatch();
                    self.mode = reopen(self.fd, self.interest);
                    self.watch().map_err(|why| Errno::from_io_error(&why).unwrap_or(Errno::IO))?;
                }
                Err(Errno::AGAIN) => {
                    self.ready = false;
                    return result;
                }
                result => return result,
            }
        }
    }

    /// Waits until a call may do something, for `limit` at most; says whether one may.
    pub fn wait(&self, limit: Duration) -> bool {
        let flags = if self.interest.is_readable() { PollFlags::IN } else { PollFlags::OUT };
        let used = self.used_fd();
        let mut fds = [PollFd::new(&used, flags)];
        let limit = Timespec::try_from(limit).ok();
        rustix::event::poll(&mut fds, limit.as_ref()).is_ok_and(|ready| ready > 0)
    }

    /// Closes what was opened for it, and is never ready again.
    pub fn release(&mut self) {
        self.ready = false;
        self.unwatch();
        self.mode = IoMode::AlwaysReady;
    }

    fn unwatch(&mut self) {
        if let Some((registry, _)) = &self.events {
            let _ = registry.deregister(&mut SourceFd(&self.used_fd().as_raw_fd()));
        }
    }

    fn used_fd(&self) -> BorrowedFd<'_> {
        match &self.mode {
            IoMode::Reopened(own) => own.as_fd(),
            _ => self.fd,
        }
    }
}

/// Opens the same file again, for a description of our own.
fn reopen(fd: BorrowedFd<'_>, interest: Interest) -> IoMode {
    let access = if interest.is_readable() { OFlags::RDONLY } else { OFlags::WRONLY };
    let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match rustix::fs::open(format!("/proc/self/fd/{}", fd.as_raw_fd()), flags, Mode::empty()) {
        Ok(own) => IoMode::Reopened(own),
        // Somebody else's terminal or pipe, or no /proc.
        Err(_) => IoMode::Polled,
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
fn read_now(fd: BorrowedFd<'_>, pieces: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
    rustix::io::readv(fd, pieces)
}

#[cfg(not(target_os = "linux"))]
fn write_now(fd: BorrowedFd<'_>, pieces: &[IoSlice<'_>]) -> Result<usize, Errno> {
    rustix::io::writev(fd, pieces)
}
