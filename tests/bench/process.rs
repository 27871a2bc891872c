//! Child processes, and what /proc knows about them.
//!
//! CPU time: std offers no rusage and the crate forbids unsafe code, so it is
//! read from `/proc/PID/stat` while the ended process is still a zombie. That
//! is its user and system time with those of all descendants it has waited
//! for, in ticks of 10 ms. Peak memory: `VmHWM` is gone once a process has
//! ended, so it is read while the work passes (see `trial.rs`).

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// USER_HZ: the unit of `/proc/PID/stat`, 100 on every architecture of today.
const TICKS: f64 = 100.0;

/// Held while a child is started; whoever keeps it stops further starts.
pub static STARTING: Mutex<()> = Mutex::new(());

/// A running child. Dropped, it is killed and reaped.
pub struct Process {
    child: Child,
    handle: Arc<OwnedFd>,
    stderr: Receiver<String>,
}

/// What a child left behind.
pub struct Ended {
    pub status: ExitStatus,
    /// CPU seconds, user and system, waited-for descendants included.
    pub cpu: f64,
}

impl Process {
    /// Starts `argv`; its standard error is collected.
    pub fn start(argv: &[String], stdin: Stdio, stdout: Stdio) -> Result<Process, String> {
        let _starting = STARTING.lock().expect("no panic");
        let mut child = Command::new(&argv[0])
            .args(&argv[1..])
            .stdin(stdin)
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{}: {e}", argv[0]))?;
        let (send, stderr) = channel();
        let lines = BufReader::new(child.stderr.take().expect("piped"));
        thread::spawn(move || {
            lines.split(b'\n').map_while(Result::ok).for_each(|line| {
                let _ = send.send(String::from_utf8_lossy(&line).trim().into());
            });
        });
        match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(handle) => Ok(Process { child, handle: handle.into(), stderr }),
            Err(e) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(format!("pidfd: {e}"))
            }
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A handle that can signal this process, and never another one.
    pub fn handle(&self) -> Arc<OwnedFd> {
        self.handle.clone()
    }

    /// Waits for the line "listening on ... PORT" and returns its last number.
    pub fn announced_port(&self, limit: Duration) -> Result<u16, String> {
        let deadline = Instant::now() + limit;
        loop {
            match self.stderr.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let Some((_, place)) = line.split_once("listening on") else {
                        continue;
                    };
                    let port = place.split(|c: char| !c.is_ascii_digit()).rfind(|n| !n.is_empty());
                    return port
                        .and_then(|n| n.parse().ok())
                        .ok_or_else(|| format!("no port in: {line}"));
                }
                Err(RecvTimeoutError::Timeout) => return Err("does not announce a port".into()),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err("ended without announcing a port".into());
                }
            }
        }
    }

    /// The last line of standard error so far, for a complaint.
    pub fn last_words(&self) -> String {
        let line = self.stderr.try_iter().filter(|line| !line.is_empty()).last();
        line.map(|line| format!(" ({line})")).unwrap_or_default()
    }

    /// True if it has ended within `limit`.
    pub fn ends_within(&self, limit: Duration) -> bool {
        let limit =
            Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
        poll(&mut [PollFd::new(&*self.handle, PollFlags::IN)], Some(&limit)).is_ok_and(|n| n == 1)
    }

    pub fn signal(&self, signal: Signal) {
        signal_by(&self.handle, signal);
    }

    /// Reaps a process that has ended, its CPU time first.
    pub fn reap(mut self) -> Ended {
        let cpu = stat(self.id()).map_or(f64::NAN, |stat| stat.cpu);
        let status = self.child.wait().unwrap_or_default();
        Ended { status, cpu }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both do nothing to a child that has been reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Signals through a handle; one that has ended already is no matter.
pub fn signal_by(handle: &OwnedFd, signal: Signal) {
    let _ = pidfd_send_signal(handle, signal);
}

struct Stat {
    parent: u32,
    cpu: f64,
}

/// Reads `/proc/PID/stat`; the fields after the name's closing parenthesis.
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    // utime, stime, cutime, cstime: fields 14 to 17 of proc_pid_stat(5).
    let ticks: u64 = fields.get(11..15)?.iter().filter_map(|n| n.parse::<u64>().ok()).sum();
    Some(Stat { parent: fields.get(1)?.parse().ok()?, cpu: ticks as f64 / TICKS })
}

/// A process and its living descendants.
pub fn tree(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?.parent)))
        .collect();
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(parents.iter().filter(|pair| pair.1 == parent).map(|pair| pair.0));
        next += 1;
    }
    found
}

/// Peak resident memory in KiB, 0 when the process has ended.
pub fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or(0)
}

/// True if some socket is in state LISTEN (0A) on this TCP port, in the
/// network namespace of process `pid`.
pub fn listens(pid: u32, port: u16) -> bool {
    let port = format!(":{port:04X}");
    ["tcp", "tcp6"].iter().any(|table| {
        fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default().lines().any(
            |line| {
                let mut fields = line.split_ascii_whitespace().skip(1);
                fields.next().is_some_and(|local| local.ends_with(&port))
                    && fields.nth(1) == Some("0A")
            },
        )
    })
}
