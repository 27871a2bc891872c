//! A name with several addresses, some of which do not work.

use crate::support::peer::{self, FLIGHT1};
use crate::support::scat::{Scat, closed_port, full_door, start};
use scat::auth::policy::Policy;
use scat::error::{Error, Stage};
use scat::net::connect::{Target, connect};
use scat::net::{Established, Limits, Setup};
use scat::protocol::handshake::{Features, Local};
use scat::protocol::session::Buffers;
use scat::sys::poller::Poller;
use scat::sys::random;
use scat::ui::report::Report;
use scat::ui::waiting::Deadline;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

/// Connects from this process to a name with these addresses.
fn call(addresses: Vec<SocketAddr>) -> Result<Established, Error> {
    call_within(None, addresses)
}

/// The same with `-w` and short limits.
fn call_within(within: Option<Duration>, addresses: Vec<SocketAddr>) -> Result<Established, Error> {
    call_with(within, Duration::from_millis(100), addresses)
}

fn call_with(
    within: Option<Duration>,
    patience: Duration,
    addresses: Vec<SocketAddr>,
) -> Result<Established, Error> {
    let local = Local::new(random::key().unwrap(), false, None, Features::NONE);
    let policy = Policy { peers: Vec::new(), psk: false, asks: false, advice: None };
    let (deadline, report) = (Deadline::new(within), Report::new(None));
    let to = Target {
        host: "ann.example".into(),
        service: "9000".into(),
        addresses,
        sources: Vec::new(),
    };
    let setup = Setup {
        local: &local,
        policy: &policy,
        deadline: &deadline,
        limits: Limits { patience, ..Limits::default() },
        report: &report,
        buffers: Buffers::new().unwrap(),
    };
    connect(&mut Poller::new().unwrap(), &to, setup)
}

fn at(host: u8, port: u16) -> SocketAddr {
    (Ipv4Addr::new(127, 0, 0, host), port).into()
}

#[test]
fn addresses_that_do_not_answer_hold_up_the_next_one_for_a_moment_only() {
    let (_full, dead) = full_door();
    let (_listener, good) = Scat::listen();
    let before = Instant::now();
    let addresses = vec![at(1, dead), at(1, dead), at(1, dead), at(1, good)];
    let established = call(addresses).unwrap();
    assert_eq!(established.link.peer(), Some(at(1, good)));
    // The system would take minutes to give up one of them.
    assert!(before.elapsed() < Duration::from_secs(60));
}

/// A listener that answers a flight 1 with `answer`, and closes.
fn stranger(answer: &'static [u8]) -> SocketAddr {
    let door = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = door.local_addr().unwrap();
    start(move || {
        let mut stream = door.accept().unwrap().0;
        peer::read_flight(&mut stream, FLIGHT1).unwrap();
        stream.write_all(answer).unwrap();
    });
    address
}

#[test]
fn after_a_wrong_answer_the_next_address_is_tried() {
    let (_listener, good) = Scat::listen();
    let addresses = vec![stranger(b"HTTP/1.1 400 Bad Request\r\n"), at(1, good)];
    assert_eq!(call(addresses).unwrap().link.peer(), Some(at(1, good)));
}

#[test]
fn the_most_informative_failure_is_reported_with_its_address() {
    let closed = closed_port(1);
    let http = stranger(b"HTTP/1.1 400 Bad Request\r\n");
    let err = call(vec![http, at(1, closed.1)]).err().unwrap();
    let said = format!("ann.example (127.0.0.1) port {}: the other end does not", http.port());
    assert!(err.to_string().starts_with(&said), "{err}");
    let err = call(vec![at(1, closed.1)]).err().unwrap();
    let said = format!("connect ann.example (127.0.0.1) port {}: connection refused", closed.1);
    assert_eq!(err.to_string(), said);
}

#[test]
fn an_expired_w_reports_a_failed_address_before_a_silent_one() {
    let (_full, dead) = full_door();
    let closed = closed_port(1);
    let within = Some(Duration::from_millis(400));
    let err = call_with(within, Duration::from_secs(60), vec![at(1, closed.1), at(1, dead)]);
    let Err(Error::Waited(_, Stage::Failing(line, _))) = err else { panic!("another end") };
    assert!(line.ends_with("connection refused"), "{line}");
}

#[test]
fn once_an_address_has_refused_one_that_says_nothing_is_not_waited_for_long() {
    let (_full, dead) = full_door();
    let closed = closed_port(1);
    let before = Instant::now();
    let err = call(vec![at(1, dead), at(1, closed.1)]).err().unwrap();
    assert!(err.to_string().ends_with("connection refused"), "{err}");
    assert!(before.elapsed() < Limits::default().step);
}

#[test]
fn with_w_an_address_that_refuses_is_tried_again_although_another_one_says_nothing() {
    let (_full, dead) = full_door();
    let closed = closed_port(1);
    let within = Some(Duration::from_secs(60));
    let err = call_within(within, vec![at(1, dead), at(1, closed.1)]).err().unwrap();
    assert!(err.to_string().ends_with("connection refused"), "{err}");
    assert!(err.may_pass());
}
