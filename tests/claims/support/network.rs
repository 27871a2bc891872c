//! Network namespaces for tests.

use super::hurried;
use super::scat::{Ending, LIMIT, Scat};
use super::skip;
use std::process::{Command, Stdio};
use std::time::Instant;

/// A network namespace, until this is dropped.
pub struct Network(Ending);

impl Network {
    /// Makes a namespace. Skips with `None` if the system does not allow it.
    pub fn new() -> Option<Network> {
        Network::with("ip link set lo up")
    }

    /// The same, set up by these shell commands.
    pub fn with(commands: &str) -> Option<Network> {
        let up = format!("{commands} && echo up && exec cat");
        let mut command = Command::new("unshare");
        command.args(["-rn", "sh", "-c", &up]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let Ok(mut holder) = command.stderr(Stdio::null()).spawn() else {
            skip("no unshare");
            return None;
        };
        let mut up = [0; 3];
        let read = std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut up);
        let network = Network(Ending(holder));
        if read.is_err() {
            skip(format_args!("no network namespace for this user, or no ip(8): {commands}"));
            return None;
        }
        Some(network)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        let holder = self.0.0.id().to_string();
        command.args(["-t", &holder, "-U", "-n", "--preserve-credentials"]).args(words);
        command
    }

    /// Starts a hurried scat in it.
    pub fn scat(&self, args: &[&str]) -> Scat {
        let words = hurried::words();
        let words: Vec<&str> =
            words.iter().map(String::as_str).chain(args.iter().copied()).collect();
        let mut command = self.command(&words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Scat::spawn(command)
    }

    /// Waits until a connection with this address has bytes that its program has not read.
    pub fn wait_for_bytes_at(&self, address: &str) {
        let words = ["ss", "-Htn", "state", "established"];
        let words: Vec<&str> = words.into_iter().chain(address.split(' ')).collect();
        let deadline = Instant::now() + LIMIT;
        loop {
            let out = self.command(&words).output().unwrap();
            let out = String::from_utf8(out.stdout).unwrap();
            if out.split_whitespace().next().is_some_and(|unread| unread != "0") {
                return;
            }
            assert!(Instant::now() < deadline, "{out:?}");
        }
    }

    /// Runs `ip words...` in it.
    pub fn ip(&self, words: &str) {
        let words: Vec<&str> = ["ip"].into_iter().chain(words.split(' ')).collect();
        assert!(self.command(&words).status().unwrap().success(), "{words:?}");
    }
}
