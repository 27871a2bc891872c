//! Privileges that a session drops permanently, to limit the damage if it is exploited.
//! It keeps its open descriptors; anything else must be opened before.
//!
//! For comparison, according to their sources: ssh-agent(1) is undumpable, has a core
//! limit of 0 and keeps private keys encrypted in memory; sshd(8) handles a client before
//! its login in a sandbox (seccomp, Capsicum); ssh(1) has one on OpenBSD only. spiped
//! erases keys and can change its user (`-u`). age does none of this. WireGuard runs in
//! the kernel, whose memory is not swapped out, and erases keys.

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod calls;
#[cfg(target_os = "linux")]
mod linux;

use rustix::fs::{Dir, DirEntry, Mode, OFlags};
use rustix::io::{Errno, FdFlags};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// Directory where the system lists the descriptors of the current process.
const OPEN: &str = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
/// Highest descriptor checked if there is no such list.
const UNLISTED: RawFd = 1024;
/// A limit that allows no new ones.
const NONE: Rlimit = Rlimit { current: Some(0), maximum: Some(0) };

/// A sandbox, ready to enter.
pub struct Sandbox {
    #[cfg(target_os = "linux")]
    steps: linux::Steps,
}

impl Sandbox {
    /// Closes the inherited descriptors that scat does not use, and finds out what the
    /// sandbox can do here. Call it before there is a peer, in the only thread.
    pub fn prepare() -> Self {
        close_unused();
        Sandbox {
            #[cfg(target_os = "linux")]
            steps: linux::Steps::find(),
        }
    }

    /// Enters the sandbox, with the exceptions in `allowed`. Whatever the system lacks is
    /// left out, and never makes a session fail.
    ///
    /// Call it in the only thread: Landlock, capabilities and the filter apply to one
    /// thread.
    pub fn enter(self, allowed: Allowed) -> Held {
        let mut held = Held::default();
        #[cfg(target_os = "linux")]
        self.steps.take(allowed.port, &mut held);
        // This also prevents opening a closed 0, 1 or 2 again: a single new socket could
        // reach the control socket of a desktop or a container. (With this limit poll(2)
        // fails; epoll and select still work.)
        let is_limited = setrlimit(Resource::Nofile, numbers(allowed.descriptors)).is_ok();
        match allowed.descriptors {
            0 => held.note("no new descriptors", is_limited),
            _ => held.note("a few new descriptors", is_limited),
        }
        // This limit does not bind root; the filter does.
        let is_limited = setrlimit(Resource::Nproc, NONE).is_ok();
        let is_root = rustix::process::geteuid().is_root();
        held.note("no new processes", is_limited && !is_root || held.refuses_calls);
        held
    }
}

/// Exceptions from the sandbox.
#[derive(Clone, Copy, Default)]
pub struct Allowed {
    /// TCP port to which the session may connect.
    pub port: Option<u16>,
    /// Further descriptors that the session may have at once.
    pub descriptors: usize,
}

/// Returns the limit that allows this many further descriptors: the system uses the lowest
/// free numbers first.
fn numbers(descriptors: usize) -> Rlimit {
    let free = (0..descriptors).map_while(|_| rustix::io::dup(rustix::stdio::stderr()).ok());
    let end = free.collect::<Vec<_>>().iter().map(|fd| fd.as_raw_fd() as u64 + 1).max();
    Rlimit { current: Some(end.unwrap_or(0)), maximum: Some(end.unwrap_or(0)) }
}

/// Restrictions in force, as `-v` shows them.
#[derive(Default)]
pub struct Held {
    holds: Vec<String>,
    /// Restrictions that this system lacks.
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

/// Closes inherited descriptors that scat does not use. All that scat has opened, or
/// keeps (`stream::keep`), is marked close-on-exec; a descriptor that came through
/// exec(2) is not.
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
