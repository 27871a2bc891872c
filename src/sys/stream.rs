//! Makes any inherited descriptor usable in the event loop without setting O_NONBLOCK on
//! it, because the shell and its other children share the open file description.

use super::platform;
use super::poller::{Interest, Poller, Token};
use mio::Registry;
use mio::unix::SourceFd;
use rustix::event::{FdSetElement, Timespec, fd_set_insert, fd_set_num_elements, select};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::{Errno, FdFlags};
use std::io::{self, IoSlice, IoSliceMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Bytes that a pipe or terminal accepts at once when it polls as writable: 4096 on
/// Linux, 512 on BSD and macOS.
pub(super) const PIPE_BUF: usize = libc::PIPE_BUF;

/// An inherited descriptor. Nothing here closes it.
pub type Inherited = BorrowedFd<'static>;

/// Returns standard input.
pub fn stdin() -> Inherited {
    rustix::stdio::stdin()
}

/// Returns standard output.
pub fn stdout() -> Inherited {
    rustix::stdio::stdout()
}

/// Returns standard error.
pub fn stderr() -> Inherited {
    rustix::stdio::stderr()
}

/// Returns all three of them.
pub fn standard() -> [Inherited; 3] {
    [stdin(), stdout(), stderr()]
}

/// Returns the inherited descriptor `number`. Call this before anything else is opened
/// and could get that number.
///
/// # Errors
/// The system's: it is not open.
pub fn inherited(number: RawFd) -> io::Result<Inherited> {
    if number < 0 {
        return Err(Errno::BADF.into());
    }
    // SAFETY: not -1, and stays open: nothing here closes what it has not opened.
    #[allow(unsafe_code)]
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_getfd(fd)?;
    Ok(fd)
}

/// Keeps an inherited descriptor open; the sandbox closes all others.
///
/// # Errors
/// The system's; mostly that it is not open.
pub fn keep(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::io::fcntl_setfd(fd, FdFlags::CLOEXEC)?)
}

/// A duplicate of a regular file's descriptor. Some file systems (NFS, CIFS, FUSE, those
/// with quotas) report only at close(2) that written data could not be stored.
pub struct Store(OwnedFd);

impl Store {
    /// Duplicates `fd`; `None` if it is no regular file.
    ///
    /// # Errors
    /// The system's.
    pub fn of(fd: Inherited) -> io::Result<Option<Self>> {
        if Kind::of(fd) != Some(Kind::File) {
            return Ok(None);
        }
        Ok(Some(Store(rustix::io::fcntl_dupfd_cloexec(fd, 3)?)))
    }

    /// Closes the duplicate.
    ///
    /// # Errors
    /// The system's: written data may not be stored.
    pub fn close(self) -> io::Result<()> {
        // SAFETY: the descriptor is ours, and nobody closes it again.
        #[allow(unsafe_code)]
        let result = unsafe { libc::close(self.0.into_raw_fd()) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// The kind of a descriptor, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A pipe or a FIFO.
    Pipe,
    /// A socket.
    Socket,
    /// A terminal or another device.
    Device,
}

impl Kind {
    /// Returns the kind of `fd`; `None` if it is not open.
    pub fn of(fd: BorrowedFd<'_>) -> Option<Kind> {
        rustix::fs::fstat(fd).ok().map(|stat| match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Fifo => Kind::Pipe,
            FileType::Socket => Kind::Socket,
            _ => Kind::Device,
        })
    }
}

/// Whether both are the same file or socket, of this `kind`. (False where the system
/// gives sockets no number.)
pub fn are_same(kind: Kind, one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    let identity = |fd| {
        let stat = rustix::fs::fstat(fd).ok()?;
        (Kind::of(fd)? == kind).then_some((stat.st_dev as u64, stat.st_ino as u64))
    };
    identity(one).is_some_and(|it| it.1 != 0 && identity(other) == Some(it))
}

/// Whether both are the same descriptor.
pub fn are_one(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    one.as_raw_fd() == other.as_raw_fd()
}

/// Whether it was opened for writing.
pub fn is_for_writing(fd: BorrowedFd<'_>) -> bool {
    rustix::fs::fcntl_getfl(fd).is_ok_and(|flags| flags.intersects(OFlags::WRONLY | OFlags::RDWR))
}

/// Whether it was opened for reading.
pub fn is_for_reading(fd: BorrowedFd<'_>) -> bool {
    rustix::fs::fcntl_getfl(fd).is_ok_and(|flags| !flags.contains(OFlags::WRONLY))
}

/// Returns the bytes of a regular file from its offset to its end; `None` for anything
/// else.
pub fn rest_of_file(fd: BorrowedFd<'_>) -> Option<u64> {
    if Kind::of(fd) != Some(Kind::File) {
        return None;
    }
    let size = u64::try_from(rustix::fs::fstat(fd).ok()?.st_size).ok()?;
    let at = rustix::fs::tell(fd).ok()?;
    Some(size.saturating_sub(at))
}

/// Whether the terminal `fd` shows what this process writes now: it is not in the
/// background, and at least as wide as `columns`. (Some terminals do not report their
/// width.)
pub fn shows(fd: BorrowedFd<'_>, columns: usize) -> bool {
    let width = rustix::termios::tcgetwinsize(fd).map_or(0, |size| size.ws_col);
    super::tty::is_in_foreground(fd).unwrap_or(true)
        && (width == 0 || usize::from(width) >= columns)
}

/// Replaces standard input with an empty one.
///
/// # Errors
/// The system's.
pub fn no_input() -> io::Result<()> {
    Ok(rustix::stdio::dup2_stdin(empty()?)?)
}

/// Returns an empty input: /dev/null, or a pipe if that is missing.
fn empty() -> Result<OwnedFd, Errno> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty());
    null.or_else(|_| Ok(rustix::pipe::pipe()?.0))
}

/// How to read and write a descriptor without blocking the loop.
enum IoMode {
    /// Regular files, directories, and anything else that epoll refuses.
    AlwaysReady,
    /// A non-blocking open file description of our own: pipes and terminals.
    Reopened(OwnedFd),
    /// RWF_NOWAIT in each call: sockets, and pipes of other users.
    NoWait,
    /// Anything else: one blocking call whenever select(2) reports it ready.
    Selected,
}

/// A descriptor, how to use it, and whether it is ready.
pub struct Stream {
    fd: Inherited,
    interest: Interest,
    mode: IoMode,
    /// The poll that watches it.
    registry: Option<Registry>,
    /// It is a terminal.
    pub is_terminal: bool,
    /// A call may succeed. Initially true, because only a call can tell.
    pub ready: bool,
}

impl Stream {
    /// Prepares `fd` for reading or writing, as `interest` says.
    ///
    /// # Errors
    /// The system's; mostly that it is not open.
    pub fn new(fd: Inherited, interest: Interest) -> io::Result<Self> {
        let is_terminal = rustix::termios::isatty(fd);
        // Only these: reopening would restart a file and rewind a tape.
        let reopened = || platform::reopen(fd, interest.is_readable()).map(IoMode::Reopened);
        let once = if platform::HAS_NOWAIT { IoMode::NoWait } else { IoMode::Selected };
        let mode = match Kind::of(fd).ok_or(Errno::BADF)? {
            Kind::File | Kind::Directory => IoMode::AlwaysReady,
            Kind::Device if is_terminal => reopened().unwrap_or(IoMode::Selected),
            Kind::Pipe => reopened().unwrap_or(once),
            Kind::Socket => once,
            Kind::Device => IoMode::Selected,
        };
        Ok(Stream { fd, interest, mode, registry: None, is_terminal, ready: true })
    }

    /// Registers it with `poller` under `token`.
    ///
    /// # Errors
    /// The system's.
    pub fn register(&mut self, poller: &Poller, token: Token) -> io::Result<()> {
        if matches!(self.mode, IoMode::AlwaysReady) {
            return Ok(());
        }
        match poller.watch(self.used_fd(), token, self.interest) {
            // Anything that epoll refuses is always ready.
            Err(err) if err.kind() == io::ErrorKind::PermissionDenied => {
                self.mode = IoMode::AlwaysReady;
            }
            result => {
                result?;
                self.registry = Some(poller.registry().try_clone()?);
            }
        }
        Ok(())
    }

    /// Makes the next wait report its state again, even if an event already did.
    ///
    /// # Errors
    /// The system's.
    pub fn look_again(&self, poller: &Poller, token: Token) -> io::Result<()> {
        match self.registry {
            Some(_) => poller.rewatch(self.used_fd(), token, self.interest),
            None => Ok(()),
        }
    }

    /// Returns the descriptor.
    pub fn fd(&self) -> Inherited {
        self.fd
    }

    /// Whether another read may follow one that returned data: it does not block, and
    /// does not consume an end that is reported only once, as a terminal's is.
    pub fn can_read_on(&self) -> bool {
        !self.is_terminal && matches!(self.mode, IoMode::Reopened(_) | IoMode::NoWait)
    }

    /// Makes a pipe hold 256 KiB. This fails, and changes nothing, for anything else and
    /// for a user who has many pipes.
    pub fn widen(&self) {
        platform::widen(self.fd);
    }

    /// Reads into `pieces`. Zero means the end.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if there is no data yet; otherwise the system's.
    pub fn read(&mut self, pieces: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let result = self.call(|fd, nowait| match nowait {
            true => platform::read_now(fd, pieces),
            false => rustix::io::readv(fd, pieces),
        });
        match result {
            // Opened for writing only, as by nohup: there is nothing to read.
            Err(Errno::BADF) => Ok(0),
            result => Ok(result?),
        }
    }

    /// Writes from `pieces`; the first must not be empty.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if it accepts nothing now; otherwise the system's.
    pub fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let first = pieces.first().map_or(&[][..], |piece| piece);
        let little = [IoSlice::new(&first[..first.len().min(PIPE_BUF)])];
        let pieces = if matches!(self.mode, IoMode::Selected) { &little } else { pieces };
        let written = self.call(|fd, nowait| match nowait {
            true => platform::write_now(fd, pieces),
            false => rustix::io::writev(fd, pieces),
        })?;
        match written {
            // Neither error nor progress: trying again would loop forever.
            0 => Err(io::Error::other("it takes nothing more")),
            written => Ok(written),
        }
    }

    /// Makes one call in this descriptor's mode and learns from the result. The argument
    /// of `io` says whether the call must ask not to block (RWF_NOWAIT).
    fn call(
        &mut self,
        mut io: impl FnMut(BorrowedFd<'_>, bool) -> Result<usize, Errno>,
    ) -> Result<usize, Errno> {
        loop {
            let result = match &self.mode {
                IoMode::AlwaysReady => io(self.fd, false),
                IoMode::NoWait => io(self.fd, true),
                IoMode::Reopened(own) => io(own.as_fd(), false),
                IoMode::Selected if !self.wait(Duration::ZERO) => Err(Errno::AGAIN),
                IoMode::Selected => io(self.fd, false),
            };
            match result {
                Err(Errno::INTR) => continue,
                // This descriptor, kernel or filter does not support the flag.
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::PERM)
                    if matches!(self.mode, IoMode::NoWait) =>
                {
                    self.mode = IoMode::Selected;
                }
                Err(Errno::AGAIN) => {
                    self.ready = false;
                    return result;
                }
                result => return result,
            }
        }
    }

    /// Waits at most `limit` until a call may succeed; returns whether one may.
    pub fn wait(&self, limit: Duration) -> bool {
        becomes_ready(self.used_fd(), self.interest, limit)
    }

    /// Closes the descriptor for good, so that its reader sees the end.
    pub fn close(self) {
        let fd = self.fd;
        // A socket may also be standard input, and would stay open.
        let _ = rustix::net::shutdown(fd, rustix::net::Shutdown::Write);
        drop(self);
        // SAFETY: its only user is gone, and in the sandbox nothing gets its number.
        #[allow(unsafe_code)]
        drop(unsafe { OwnedFd::from_raw_fd(fd.as_raw_fd()) });
    }

    fn used_fd(&self) -> BorrowedFd<'_> {
        match &self.mode {
            IoMode::Reopened(own) => own.as_fd(),
            _ => self.fd,
        }
    }
}

/// Waits at most `limit` until `fd` is readable or writable; returns whether it is.
pub(super) fn becomes_ready(fd: BorrowedFd<'_>, interest: Interest, limit: Duration) -> bool {
    // select(2), because poll(2) fails in the sandbox, which allows no new descriptors. A
    // number above FD_SETSIZE needs a set of that size, so this does not use `fd_set`.
    let fd = fd.as_raw_fd();
    let mut set = vec![FdSetElement::default(); fd_set_num_elements(1, fd + 1)];
    fd_set_insert(&mut set, fd);
    let set = Some(&mut set[..]);
    let (read, write) = if interest.is_readable() { (set, None) } else { (None, set) };
    let limit = Timespec::try_from(limit).ok();
    // SAFETY: the set holds one descriptor, which is open as long as it is borrowed.
    #[allow(unsafe_code)]
    let ready = unsafe { select(fd + 1, read, write, None, limit.as_ref()) };
    ready.is_ok_and(|ready| ready > 0)
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Other processes may have it open, so closing it does not unregister it.
        if let Some(registry) = &self.registry {
            let _ = registry.deregister(&mut SourceFd(&self.used_fd().as_raw_fd()));
        }
    }
}

/// Whether descriptor 1 was open when the process started. If not, Rust's runtime has
/// opened /dev/null there, which would swallow all data.
pub fn stdout_was_open() -> bool {
    STDOUT_WAS_OPEN.load(Ordering::Relaxed)
}

static STDOUT_WAS_OPEN: AtomicBool = AtomicBool::new(true);

/// Checks whether 0, 1 and 2 are open, and opens those that are not, because without
/// /dev/null Rust's runtime would abort the process silently.
extern "C" fn look() {
    for (number, fd) in standard().into_iter().enumerate() {
        if rustix::io::fcntl_getfd(fd).is_err() {
            // open(2) returns the lowest free number.
            let _ = empty().map(IntoRawFd::into_raw_fd);
            if number == 1 {
                STDOUT_WAS_OPEN.store(false, Ordering::Relaxed);
            }
        }
    }
}

// SAFETY: the loader calls what stands in this section once, in the only thread, before
// Rust's runtime starts; `look` needs nothing of it and makes a few system calls.
#[allow(unsafe_code)]
#[used]
#[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
#[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
static LOOK: extern "C" fn() = look;
