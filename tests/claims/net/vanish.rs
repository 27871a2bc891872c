//! A network that falls silent, or drops large packets, without an error.

use crate::support::network::Network;
use rustix::process::Signal;

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

/// A laptop changes networks, so packets from its old address are lost. Here that is only an
/// ACK, to which no answer is due.
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
    connector.line("they say");
    connector.stop_while_it_waits();
    listener.write(b"before");
    network.wait_for_bytes_at("src 10.9.0.2");
    move_to("10.9.0.3");
    network.ip("addr del 10.9.0.2/32 dev lo");
    connector.signal(Signal::CONT);
    assert_eq!(connector.read(6), b"before");
    listener.write(b"behind");
    assert_eq!(connector.read(6), b"behind");
    connector.line("another connection replaces a silent one");
    connector.end_input();
    listener.end_input();
    for end in [listener, connector] {
        end.end().expect(0, "");
    }
}

/// A network that drops large packets, those of this rule of nft(8).
fn black_hole(which: &str) -> Option<Network> {
    Network::with(&format!(
        "ip link set lo up && PATH=$PATH:/usr/sbin:/sbin nft 'table ip t {{ chain i {{ \
         type filter hook input priority 0; {which} meta length > 1000 drop; }}; }}'"
    ))
}

#[test]
fn large_packets_that_vanish_are_named_when_a_handshake_stands_still() {
    let (Some(there), Some(back)) = (black_hole("tcp dport 9000"), black_hole("tcp sport 9000"))
    else {
        return;
    };
    let (mut there_listener, _) = there.scat(&["-l", "127.0.0.1", "9000"]).with_port();
    let (mut back_listener, _) = back.scat(&["-l", "127.0.0.1", "9000"]).with_port();
    let unheard = there.scat(&["127.0.0.1", "9000"]);
    let unanswered = back.scat(&["127.0.0.1", "9000"]);
    let said = "the other end has not acknowledged any data";
    unheard.end().expect(3, said).expect(3, "large packets may be lost");
    unanswered.end().expect(3, "does not answer").expect(3, "large packets may be lost (path MTU)");
    back_listener.line("it does not acknowledge the answer");
    for listener in [&mut there_listener, &mut back_listener] {
        listener.signal(Signal::TERM);
        listener.end_unread().expect_signal(Signal::TERM);
    }
}
