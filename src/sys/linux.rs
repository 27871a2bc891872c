//! Linux system calls that other systems lack.

use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, ReadWriteFlags};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::time::Duration;

/// Whether [`read_now`] and [`write_now`] never block.
pub const HAS_NOWAIT: bool = true;

/// Signals other than SIGUSR1 that print the counters.
pub const INFO: &[i32] = &[];

/// Bytes that a pipe should hold: four times the default, so that its two ends wake each
/// other a third as often. Not more, because data in the pipe counts as written even if
/// its reader dies.
const PIPE_ROOM: usize = 256 * 1024;

/// Reopens a file for reading or writing, to get a non-blocking open file description of
/// our own. `None` if it belongs to another user or there is no /proc.
pub fn reopen(fd: BorrowedFd<'_>, to_read: bool) -> Option<OwnedFd> {
    let access = if to_read { OFlags::RDONLY } else { OFlags::WRONLY };
    let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    rustix::fs::open(path, flags, Mode::empty()).ok()
}

/// Reads what is available, without blocking.
///
/// # Errors
/// [`Errno::AGAIN`] if nothing is; otherwise the system's.
pub fn read_now(fd: BorrowedFd<'_>, pieces: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
    rustix::io::preadv2(fd, pieces, u64::MAX, ReadWriteFlags::NOWAIT)
}

/// Writes what is accepted now, without blocking.
///
/// # Errors
/// [`Errno::AGAIN`] if nothing is; otherwise the system's.
pub fn write_now(fd: BorrowedFd<'_>, pieces: &[IoSlice<'_>]) -> Result<usize, Errno> {
    rustix::io::pwritev2(fd, pieces, u64::MAX, ReadWriteFlags::NOWAIT)
}

/// Makes a pipe hold [`PIPE_ROOM`] bytes. This fails, and changes nothing, for anything
/// else and for a user who has many pipes.
pub fn widen(fd: BorrowedFd<'_>) {
    if rustix::pipe::fcntl_getpipe_size(fd).is_ok_and(|has| has < PIPE_ROOM) {
        let _ = rustix::pipe::fcntl_setpipe_size(fd, PIPE_ROOM);
    }
}

/// Returns a name of the controlling terminal that can be opened and polled.
pub fn terminal(_own: Option<BorrowedFd<'_>>) -> CString {
    c"/dev/tty".into()
}

/// A process in the foreground of a terminal that has started this one, directly or
/// indirectly, and waits for it. su(1) is one: it gives its child a session without a
/// controlling terminal.
pub struct Starter {
    /// `/proc/PID/stat`, kept open because nothing can be opened in the sandbox.
    stat: File,
    /// That terminal, as in `stat`.
    terminal: u32,
}

/// Fields of a process's stat from its parent on; see proc_pid_stat(5).
struct Stat {
    parent: i32,
    group: i32,
    /// Its controlling terminal, as a device number in the kernel's 32-bit form.
    terminal: u32,
    /// The process group in that terminal's foreground.
    foreground: i32,
}

impl Starter {
    /// Most processes between this one and its starter.
    const LIMIT: usize = 16;

    /// Finds the nearest such process in the foreground of `terminal`.
    pub fn find(terminal: BorrowedFd<'_>) -> Option<Self> {
        let device = rustix::fs::fstat(terminal).ok()?.st_rdev;
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let terminal = minor & 0xff | major << 8 | (minor & !0xff) << 12;
        let mut id = rustix::process::getppid()?.as_raw_nonzero().get();
        for _ in 0..Self::LIMIT {
            let stat = File::open(format!("/proc/{id}/stat")).ok()?;
            let starter = Starter { stat, terminal };
            if starter.is_in_foreground().is_ok_and(|is| is) {
                return Some(starter);
            }
            id = starter.read().ok()?.parent;
        }
        None
    }

    /// Whether it still has the foreground.
    ///
    /// # Errors
    /// The system's: it has ended.
    pub fn is_in_foreground(&self) -> io::Result<bool> {
        let stat = self.read()?;
        match stat.terminal == self.terminal {
            true => Ok(stat.group == stat.foreground),
            // A zombie has no terminal.
            false => Err(Errno::SRCH.into()),
        }
    }

    fn read(&self) -> io::Result<Stat> {
        let mut text = [0; 512];
        let len = rustix::io::pread(&self.stat, &mut text, 0)?;
        let text = String::from_utf8_lossy(&text[..len]);
        // The process name can contain anything, even parentheses.
        let fields = text.rsplit_once(") ").map_or("", |(_, fields)| fields);
        let fields: Vec<i32> =
            fields.split(' ').skip(1).take(5).filter_map(|field| field.parse().ok()).collect();
        match fields[..] {
            [parent, group, _, terminal, foreground] => {
                Ok(Stat { parent, group, terminal: terminal as u32, foreground })
            }
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// Keeps other processes from reading this one's memory. (/proc/PID then belongs to
/// root.)
pub fn hide_memory() {
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// Excludes memory from core dumps.
pub const KEEP_FROM_DUMPS: Option<rustix::mm::Advice> = Some(rustix::mm::Advice::LinuxDontDump);

/// Limits TCP's pause between two retransmissions to `most` (Linux 6.15; older ones wait
/// up to 2 minutes).
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

/// Returns the time since TCP's last acknowledgement while sent data or a window probe is
/// unacknowledged. It is zero while data only waits to be sent: for window, or for a
/// route from this address. One probe may be in flight to a peer that does not read; if
/// there are two, the first was not answered.
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
    if result != 0 || info.tcpi_unacked + info.tcpi_notsent_bytes == 0 && info.tcpi_probes == 0 {
        return None;
    }
    let is_unanswered = info.tcpi_unacked > 0 || info.tcpi_probes > 1;
    let silence = if is_unanswered { info.tcpi_last_ack_recv } else { 0 };
    Some(Duration::from_millis(silence.into()))
}
