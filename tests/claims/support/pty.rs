//! A pseudo-terminal, whose user reads the screen and types.
//!
//! It is scat's controlling terminal; standard input, output and error stay pipes unless a test
//! says otherwise.

use crate::support::scat::{LIMIT, Scat, program};
use crate::support::skip;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Both ends of a pseudo-terminal, and what its screen has shown.
pub struct Terminal {
    master: File,
    slave: OwnedFd,
    path: String,
    /// Everything that the screen has shown.
    bytes: Vec<u8>,
    /// The same as text, with a replacement character for an incomplete one.
    screen: String,
    /// The position up to which [`Terminal::wait_for`] has read.
    read: usize,
}

/// Whether a child can have a terminal here; reports the skip if not.
pub fn is_available() -> bool {
    let found = Command::new("setsid").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !found {
        skip("no setsid(1), so nothing was tested at a terminal");
    }
    found
}

impl Terminal {
    /// Makes a terminal without a session.
    pub fn new() -> Terminal {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags).unwrap();
        rustix::pty::grantpt(&master).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let path = rustix::pty::ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        // Keep it open, so that the screen outlives the programs on it.
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(&path, flags, Mode::empty()).unwrap();
        Terminal {
            master: master.into(),
            slave,
            path,
            bytes: Vec::new(),
            screen: String::new(),
            read: 0,
        }
    }

    /// A command for a shell with this controlling terminal. `script` sees the scat program as
    /// `$1`, `args` after it, and the terminal's path as `$0`.
    ///
    /// The first terminal that a session's leader opens becomes its own.
    pub fn shell(&self, script: &str, args: &[&str]) -> Command {
        let mut command = Command::new("setsid");
        command.args(["sh", "-c", &format!(": <\"$0\" && {script}"), &self.path]);
        command.arg(program()).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    }

    /// Starts `scat args...` here, between three pipes.
    pub fn start(&self, args: &[&str]) -> Scat {
        Scat::spawn(self.shell("exec \"$@\"", args))
    }

    /// The same with another build of scat.
    pub fn start_build(&self, build: &str, args: &[&str]) -> Scat {
        Scat::spawn(self.shell(&format!("shift && exec '{build}' \"$@\""), args))
    }

    /// Starts `scat args...` here, with this terminal as its input, output and standard error.
    pub fn sit(&self, args: &[&str]) -> Scat {
        Scat::spawn(self.shell("exec \"$@\" <\"$0\" >\"$0\" 2>\"$0\"", args))
    }

    /// Starts an interactive bash, for job control. Skips with `None` if it is missing.
    pub fn bash(&self) -> Option<Scat> {
        if Command::new("bash").arg("-c").arg(":").status().is_err() {
            skip("no bash, so no job control was tested");
            return None;
        }
        let mut command = self.shell("PS1=\"$ \" exec bash --norc -i <\"$0\" >\"$0\" 2>&1", &[]);
        command.stdin(Stdio::null());
        Some(Scat::spawn(command))
    }

    /// The program's end, for a program with another controlling terminal or none.
    pub fn slave(&self) -> Stdio {
        self.slave.try_clone().unwrap().into()
    }

    /// Types this.
    pub fn keys(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Types this and Enter.
    pub fn enter(&mut self, line: &str) {
        self.keys(&format!("{line}\n"));
    }

    /// Waits until the screen shows `text` after what it waited for before. Returns what is between
    /// the two.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(at) = self.screen[self.read..].find(text) {
                let before = self.screen[self.read..self.read + at].to_owned();
                self.read += at + text.len();
                return before;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let came = self.look(left.try_into().unwrap());
            assert!(came, "no {text:?} on the screen: {:?}", self.screen);
        }
    }

    /// Waits until `is_so` holds for everything that the screen has shown.
    pub fn wait_until(&mut self, is_so: impl Fn(&str) -> bool) -> bool {
        let deadline = Instant::now() + LIMIT;
        while !is_so(&self.screen) {
            let left = deadline.saturating_duration_since(Instant::now());
            if !self.look(left.try_into().unwrap()) {
                return false;
            }
        }
        true
    }

    /// Waits for the port that a listener announces here.
    pub fn port(&mut self) -> u16 {
        self.wait_for("listening on ");
        self.wait_for(" port ");
        self.wait_for("\r\n").parse().unwrap()
    }

    /// Everything that the screen has shown so far.
    pub fn screen(&mut self) -> &str {
        while self.look(Timespec::default()) {}
        &self.screen
    }

    fn look(&mut self, within: Timespec) -> bool {
        let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
        if rustix::event::poll(&mut fds, Some(&within)).unwrap() == 0 {
            return false;
        }
        let mut bytes = [0; 4096];
        let n = self.master.read(&mut bytes).unwrap();
        self.bytes.extend_from_slice(&bytes[..n]);
        // Convert everything again, because a read may end inside a character.
        self.screen = String::from_utf8_lossy(&self.bytes).into_owned();
        true
    }

    /// Sets the number of columns, which is 0 otherwise.
    pub fn set_width(&self, ws_col: u16) {
        let size = Winsize { ws_row: 24, ws_col, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&self.slave, size).unwrap();
    }

    /// Returns its settings: modes, special characters, speeds.
    pub fn settings(&self) -> String {
        format!("{:?}", rustix::termios::tcgetattr(&self.slave).unwrap())
    }

    /// Returns how many typed bytes nobody has read, in whole lines.
    pub fn unread(&self) -> u64 {
        rustix::io::ioctl_fionread(&self.slave).unwrap()
    }

    /// Closes the window.
    pub fn hang_up(self) {}
}
