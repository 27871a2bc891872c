//! A peer that vanishes: its network is gone, and nothing says so.

use crate::support::hurried;
use crate::support::scat::{Ending, Scat};
use crate::support::skip;
use std::process::{Command, Stdio};

/// A network of its own, until this is dropped.
struct Network(Ending);

impl Network {
    /// `None`, and said so, where the system grants none.
    fn new() -> Option<Network> {
        let up = "ip link set lo up && echo up && exec cat";
        let mut command = Command::new("unshare");
        command.args(["-rn", "sh", "-c", up]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let Ok(mut holder) = command.stderr(Stdio::null()).spawn() else {
            skip("no unshare");
            return None;
        };
        let mut up = [0; 3];
        let read = std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut up);
        let network = Network(Ending(holder));
        if read.is_err() {
            skip("no network namespace for this user, or no ip");
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

    /// A hurried scat in it.
    fn scat(&self, args: &[&str]) -> Scat {
        let words = hurried::words();
        let words: Vec<&str> =
            words.iter().map(String::as_str).chain(args.iter().copied()).collect();
        let mut command = self.command(&words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Scat::spawn(command)
    }

    /// Nothing arrives any more.
    fn pull_the_cable(&self) {
        assert!(self.command(&["ip", "link", "set", "lo", "down"]).status().unwrap().success());
    }
}

#[test]
fn a_peer_that_vanishes_while_something_is_sent_to_it_is_noticed() {
    let Some(network) = Network::new() else { return };
    let (mut listener, port) = network.scat(&["-l", "127.0.0.1", "0"]).with_port();
    let mut connector = network.scat(&["127.0.0.1", &port.to_string()]);
    for (from, to) in [(0, 1), (1, 0)] {
        let ends = [&mut listener, &mut connector];
        ends[from].write(b"there");
        assert_eq!(ends[to].read(5), b"there");
    }
    network.pull_the_cable();
    connector.write(b"lost");
    listener.write(b"lost");
    for end in [listener, connector] {
        end.end_by_itself().expect(6, "cut off: connection timed out");
    }
}
