//! The functions of `linux` for systems without its calls. The feature `portable` selects
//! them on Linux too, for tests.

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::ffi::CString;
use std::io::{self, IoSlice, IoSliceMut};
use std::time::Duration;

pub const HAS_NOWAIT: bool = false;

#[cfg(not(target_os = "linux"))]
pub const INFO: &[i32] = &[libc::SIGINFO];
#[cfg(target_os = "linux")]
pub const INFO: &[i32] = &[];

pub fn reopen(_fd: BorrowedFd<'_>, _to_read: bool) -> Option<OwnedFd> {
    None
}

/// May block; callers check [`HAS_NOWAIT`].
pub fn read_now(fd: BorrowedFd<'_>, pieces: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
    rustix::io::readv(fd, pieces)
}

/// May block as well.
pub fn write_now(fd: BorrowedFd<'_>, pieces: &[IoSlice<'_>]) -> Result<usize, Errno> {
    rustix::io::writev(fd, pieces)
}

pub fn widen(_fd: BorrowedFd<'_>) {}

/// kqueue cannot watch /dev/tty, so this uses the terminal's own name if a standard
/// descriptor tells it.
pub fn terminal(own: Option<BorrowedFd<'_>>) -> CString {
    own.and_then(|fd| rustix::termios::ttyname(fd, []).ok()).unwrap_or(c"/dev/tty".into())
}

/// These systems cannot tell.
pub struct Starter(std::convert::Infallible);

impl Starter {
    pub fn find(_terminal: BorrowedFd<'_>) -> Option<Self> {
        None
    }

    pub fn is_in_foreground(&self) -> io::Result<bool> {
        match self.0 {}
    }
}

pub fn hide_memory() {}

pub const KEEP_FROM_DUMPS: Option<rustix::mm::Advice> = None;

pub fn limit_backoff(_socket: BorrowedFd<'_>, _most: Duration) {}

/// These systems cannot tell.
pub fn unacknowledged(_socket: BorrowedFd<'_>) -> Option<Duration> {
    None
}
