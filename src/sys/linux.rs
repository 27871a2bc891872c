//! What Linux can do and other systems cannot.

use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, ReadWriteFlags};
use std::ffi::CString;
use std::io::{IoSlice, IoSliceMut};
use std::time::Duration;

/// Whether [`read_now`] and [`write_now`] never wait.
pub const HAS_NOWAIT: bool = true;

/// Signals besides SIGUSR1 that ask for the counters.
pub const INFO: &[i32] = &[];

/// Bytes that a pipe should hold, four times the usual: the two at its ends then
/// wake each other a third as often. What a reader has not read when it dies counts
/// as written, so no more than that.
const PIPE_ROOM: usize = 256 * 1024;

/// Opens the same file again, to read or to write, for a non-blocking description of
/// our own. `None` where it is another user's, or there is no /proc.
pub fn reopen(fd: BorrowedFd<'_>, to_read: bool) -> Option<OwnedFd> {
    let access = if to_read { OFlags::RDONLY } else { OFlags::WRONLY };
    let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    rustix::fs::open(path, flags, Mode::empty()).ok()
}

/// Reads what is there.
///
/// # Errors
/// [`Errno::AGAIN`] if that is nothing; else the system's.
pub fn read_now(fd: BorrowedFd<'_>, pieces: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
    rustix::io::preadv2(fd, pieces, u64::MAX, ReadWriteFlags::NOWAIT)
}

/// Writes what is taken now.
///
/// # Errors
/// [`Errno::AGAIN`] if that is nothing; else the system's.
pub fn write_now(fd: BorrowedFd<'_>, pieces: &[IoSlice<'_>]) -> Result<usize, Errno> {
    rustix::io::pwritev2(fd, pieces, u64::MAX, ReadWriteFlags::NOWAIT)
}

/// Makes a pipe hold [`PIPE_ROOM`] bytes. Anything else refuses, and so does the system
/// for a user who has many: then it stays as it is.
pub fn widen(fd: BorrowedFd<'_>) {
    if rustix::pipe::fcntl_getpipe_size(fd).is_ok_and(|has| has < PIPE_ROOM) {
        let _ = rustix::pipe::fcntl_setpipe_size(fd, PIPE_ROOM);
    }
}

/// The controlling terminal, by a name that can be opened and polled.
pub fn terminal(_own: Option<BorrowedFd<'_>>) -> CString {
    c"/dev/tty".into()
}

/// Keeps other processes out of this one's memory. (Also makes /proc/PID root's.)
pub fn hide_memory() {
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// Keeps memory out of copies that root makes.
pub const KEEP_FROM_DUMPS: Option<rustix::mm::Advice> = Some(rustix::mm::Advice::LinuxDontDump);

/// Lets TCP wait at most `most` between two tries to send the same (Linux 6.15; earlier
/// ones wait up to 2 minutes).
pub fn limit_backoff(socket: BorrowedFd<'_>, most: Duration) {
    const TCP_RTO_MAX_MS: i32 = 44;
    let milliseconds = most.as_millis() as i32;
    // SAFETY: the option is read from one integer that is alive.
    #[allow(unsafe_code)]
    let _ = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            TCP_RTO_MAX_MS,
            std::ptr::from_ref(&milliseconds).cast(),
            size_of_val(&milliseconds) as libc::socklen_t,
        )
    };
}

/// How long ago TCP's last acknowledgement came, while something that was sent, or the
/// question for room that stands for it, has none yet.
pub fn unacknowledged(socket: BorrowedFd<'_>) -> Option<Duration> {
    let mut info = std::mem::MaybeUninit::<libc::tcp_info>::zeroed();
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: `len` bytes may be written to `info`, for which zeroes are valid.
    #[allow(unsafe_code)]
    let (result, info) = unsafe {
        let fd = socket.as_raw_fd();
        let at = info.as_mut_ptr().cast();
        let result = libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, at, &mut len);
        (result, info.assume_init())
    };
    let is_waiting = result == 0 && (info.tcpi_unacked > 0 || info.tcpi_probes > 0);
    is_waiting.then(|| Duration::from_millis(info.tcpi_last_ack_recv.into()))
}
