//! A network that falls silent: nothing says so.

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

    fn ip(&self, words: &str) {
        let words: Vec<&str> = ["ip"].into_iter().chain(words.split(' ')).collect();
        assert!(self.command(&words).status().unwrap().success(), "{words:?}");
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
    network.ip("link set lo down");
    connector.write(b"lost");
    listener.write(b"lost");
    for end in [listener, connector] {
        end.end_by_itself().expect(6, "cut off: connection timed out");
    }
}

/// A laptop that changes networks: what it sends from its old address goes nowhere.
#[test]
fn a_connector_whose_address_changes_goes_on_from_another() {
    let Some(network) = Network::new() else { return };
    network.ip("addr add 10.9.0.1/32 dev lo");
    let move_to = |address: &str| {
        network.ip(&format!("addr add {address}/32 dev lo"));
        network.ip(&format!("route change local 10.9.0.1 dev lo src {address} table local"));
    };
    move_to("10.9.0.2");
    let options = ["--no-confirm", "--reconnect", "30", "-v"];
    let (mut listener, port) =
        network.scat(&[&["-l", "10.9.0.1", "0"], &options[..]].concat()).with_port();
    let port = port.to_string();
    let mut connector = network.scat(&[&["10.9.0.1", &port], &options[..]].concat());
    listener.line("connection from 10.9.0.2 ");
    move_to("10.9.0.3");
    network.ip("addr del 10.9.0.2/32 dev lo");
    let ends = [&mut connector, &mut listener];
    ends[0].write(b"there");
    assert_eq!(ends[1].read(5), b"there");
    ends[1].write(b"and back");
    assert_eq!(ends[0].read(8), b"and back");
    connector.line("another connection replaces a silent one");
    connector.end_input();
    listener.end_input();
    for end in [listener, connector] {
        end.end().expect(0, "");
    }
}
