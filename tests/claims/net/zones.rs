//! Link-local addresses: each belongs to one interface, its zone.

use crate::support::has_ipv6;
#[cfg(all(target_os = "linux", not(feature = "portable")))]
use crate::support::network::Network;
use crate::support::scat::Scat;

#[cfg(all(target_os = "linux", not(feature = "portable")))]
#[test]
fn every_line_about_a_link_local_address_names_its_interface() {
    let up = "ip link set lo up && ip link add wire type veth peer name other && ip link set wire up && \
              ip link set other up && ip -6 addr add fe80::1/64 dev wire nodad";
    let Some(network) = Network::with(up) else { return };
    let args = ["--status-fd", "2", "-l", "fe80::1%wire", "0"];
    let mut listener = network.scat(&args);
    let line = listener.line("listening on fe80::1%wire port ");
    let port = line.rsplit_once(' ').unwrap().1;
    listener.line(&format!("LISTENING fe80::1%wire {port}"));
    listener.end_input();
    let connector = network.scat(&["-v", "--status-fd", "2", "fe80::1%wire", port]);
    let ended = connector.end();
    for said in [
        format!("connecting to fe80::1%wire port {port}"),
        format!("connected to fe80::1%wire port {port}"),
        format!("CONNECTED fe80::1%wire {port}"),
    ] {
        assert!(ended.stderr.contains(&said), "no {said:?}: {ended}");
    }
    let ended = listener.end();
    for said in ["connection from fe80::1%wire port ", "CONNECTED fe80::1%wire "] {
        assert!(ended.stderr.contains(said), "no {said:?}: {ended}");
    }
}

#[test]
fn a_missing_interface_is_1() {
    for args in [
        &["fe80::1%nothing", "9"][..],
        &["fe80::1%4294967295", "9"],
        &["-w9", "fe80::1%nothing", "9"],
        &["-l", "fe80::1%nothing", "0"],
        &["-s", "fe80::1%nothing", "::1", "9"],
    ] {
        Scat::new(args).end().expect(1, "this machine has no interface ");
    }
}

#[test]
fn a_link_local_address_without_its_interface_is_told_what_it_lacks() {
    if !has_ipv6() {
        return;
    }
    for (args, status) in [
        (&["fe80::1", "9"][..], 2),
        (&["-l", "fe80::1", "0"], 1),
        (&["-s", "fe80::1", "::1", "9"], 1),
    ] {
        Scat::new(args).end().expect(status, "hint: a link-local address needs its interface");
    }
}
