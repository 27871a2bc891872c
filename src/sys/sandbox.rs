//! What a session gives up for good, so that a hole in it leads nowhere. It goes on
//! with the descriptors that it has, and whatever is still to be opened has to be
//! opened before.
//!
//! What others do, by their sources: ssh-agent(1) is undumpable, has a core limit of 0 and
//! keeps private keys encrypted in memory; sshd(8) talks to a client before its login in a
//! sandbox (seccomp, Capsicum), ssh(1) has one on OpenBSD only. spiped erases keys and can
//! change its user (`-u`). age does none of this. WireGuard runs in the kernel, whose memory
//! is not swapped out, and erases keys.

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod calls;
#[cfg(target_os = "linux")]
mod linux;

use rustix::fs::{Dir, DirEntry, Mode, OFlags};
use rustix::io::{Errno, FdFlags};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// Where the system lists the descriptors of the process that asks.
const OPEN: &str = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
/// Descriptors up to here are looked at where it does not list them.
const UNLISTED: RawFd = 1024;
/// No more than there are.
const NONE: Rlimit = Rlimit { current: Some(0), maximum: Some(0) };

/// A sandbox that can be entered.
pub struct Sandbox {
    #[cfg(target_os = "linux")]
    steps: linux::Steps,
}

impl Sandbox {
    /// Closes the descriptors that scat was started with and does not use, and finds out
    /// what the sandbox may do here. Call it before there is a peer, in the only thread.
    pub fn prepare() -> Self {
        close_unused();
        Sandbox {
            #[cfg(target_os = "linux")]
            steps: linux::Steps::find(),
        }
    }

    /// Enters the sandbox, but for what is `allowed`. What the system lacks is left out:
    /// that never makes a session fail.
    ///
    /// Call it in the only thread: Landlock, capabilities and the filter are a thread's
    /// own.
    pub fn enter(self, allowed: Allowed) -> Held {
        let mut held = Held::default();
        #[cfg(target_os = "linux")]
        self.steps.take(allowed.port, &mut held);
        // Not even one of 0, 1 and 2, closed and opened again: a single socket could reach
        // a desktop's or a container's control socket. (It makes poll(2) fail; epoll and
        // select go on.)
        let is_limited = setrlimit(Resource::Nofile, numbers(allowed.descriptors)).is_ok();
        match allowed.descriptors {
            0 => held.note("no new descriptors", is_limited),
            _ => held.note("a few new descriptors", is_limited),
        }
        // No limit holds root back; the filter does.
        let is_limited = setrlimit(Resource::Nproc, NONE).is_ok();
        let is_root = rustix::process::geteuid().is_root();
        held.note("no new processes", is_limited && !is_root || held.refuses_calls);
        held
    }
}

/// What a session may do all the same.
#[derive(Clone, Copy, Default)]
pub struct Allowed {
    /// Connect to this TCP port.
    pub port: Option<u16>,
    /// Have so many descriptors more at once.
    pub descriptors: usize,
}

/// The limit under which so many descriptors more can be had: the lowest numbers that are
/// free are taken first.
fn numbers(descriptors: usize) -> Rlimit {
    let free = (0..descriptors).map_while(|_| rustix::io::dup(rustix::stdio::stderr()).ok());
    let end = free.collect::<Vec<_>>().iter().map(|fd| fd.as_raw_fd() as u64 + 1).max();
    Rlimit { current: Some(end.unwrap_or(0)), maximum: Some(end.unwrap_or(0)) }
}

/// What is in force in a session, as `-v` shows it.
#[derive(Default)]
pub struct Held {
    holds: Vec<String>,
    /// What this system lacks.
    lacks: Vec<&'static str>,
    refuses_calls: bool,
}

impl Held {
    fn note(&mut self, what: &'static str, holds: bool) {
        match holds {
            true => self.holds.push(what.to_owned()),
            false => self.lacks.push(what),
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.holds.join(", "))?;
        match self.lacks.is_empty() {
            true => Ok(()),
            false => write!(f, "; not available: {}", self.lacks.join(", ")),
        }
    }
}

/// Closes what scat was started with and does not use. Everything that it has opened is
/// marked close-on-exec, and so is what it keeps (`stream::keep`); what has just come
/// through exec(2) is not.
fn close_unused() {
    let open = || {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = Dir::new(rustix::fs::open(OPEN, flags, Mode::empty())?)?;
        let number = |entry: DirEntry| entry.file_name().to_str().ok()?.parse().ok();
        Ok(open.filter_map(|entry| number(entry.ok()?)).collect())
    };
    let open: Result<Vec<RawFd>, Errno> = open();
    for fd in open.unwrap_or_else(|_| (0..UNLISTED).collect()).into_iter().filter(|fd| *fd > 2) {
        // SAFETY: what is closed here is nobody's: nothing uses it, or closes it again.
        #[allow(unsafe_code)]
        unsafe {
            let flags = rustix::io::fcntl_getfd(BorrowedFd::borrow_raw(fd));
            if flags.is_ok_and(|flags| !flags.contains(FdFlags::CLOEXEC)) {
                rustix::io::close(fd);
            }
        }
    }
}
