//! What Linux can do and other systems cannot.

use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, ReadWriteFlags};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
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

/// A process that has started this one, directly or not, and had a terminal's foreground
/// then: it waits for this one, as su(1) does, which puts it into a session without a
/// controlling terminal.
pub struct Starter {
    /// `/proc/PID/stat`: in the sandbox nothing can be opened.
    stat: File,
    /// That terminal, as there.
    terminal: u32,
}

/// The fields of a process's stat from its parent on, as proc_pid_stat(5) has them.
struct Stat {
    parent: i32,
    group: i32,
    /// The terminal that controls it, as a device number in the kernel's 32-bit form.
    terminal: u32,
    /// The process group in that terminal's foreground.
    foreground: i32,
}

impl Starter {
    /// How many processes may stand between.
    const LIMIT: usize = 16;

    /// The nearest one in the foreground of `terminal`, if there is one.
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
            // One that nobody has waited for yet has none.
            false => Err(Errno::SRCH.into()),
        }
    }

    fn read(&self) -> io::Result<Stat> {
        let mut text = [0; 512];
        let len = rustix::io::pread(&self.stat, &mut text, 0)?;
        let text = String::from_utf8_lossy(&text[..len]);
        // Its name may have anything in it.
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

/// How long ago TCP's last acknowledgement came, while something that was sent, or a
/// question for room, has none. It is zero while something only waits to be sent: for
/// room, or for a route from this address. One question may be on its way to a peer that
/// does not read; of two the first was not answered.
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
