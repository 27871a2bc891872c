//! When the connector starts an exchange of fresh keys, without a socket or a
//! clock.

use scat::protocol::handshake::{Initiator, Local, Responder, random};
use scat::protocol::noise::Ephemerals;
use scat::protocol::session::{Event, Schedule, Session};
use std::time::Duration;

/// A connector and a listener, OPEN taken.
fn sessions() -> (Session, Session) {
    let (c, l) = (Local::new(None, None).unwrap(), Local::new(None, None).unwrap());
    let fresh = || Ephemerals::random().unwrap();
    let (initiator, flight1) = Initiator::new(&c, fresh(), &random().unwrap()).unwrap();
    let (reply, flight2) =
        Responder::new(&l).answer(&flight1, fresh(), &random().unwrap()).unwrap();
    let (connected, flight3) = initiator.read_flight2(&flight2).unwrap().write_flight3().unwrap();
    let accepted = reply.read_flight3(&flight3).unwrap();
    let mut connector = Session::connector(connected, Schedule::STANDARD, false);
    let (mut listener, _) = Session::listener(accepted, Schedule::STANDARD, false).unwrap();
    let sealed = listener.sealed().to_vec();
    connector.space()[..sealed.len()].copy_from_slice(&sealed);
    connector.received(sealed.len());
    assert!(matches!(connector.open().unwrap(), Some(Event::Open(_))));
    listener.drained(sealed.len());
    (connector, listener)
}

const DUE: Duration = Schedule::STANDARD.interval;

#[test]
fn an_exchange_is_due_after_its_interval_and_only_at_the_connector() {
    let (mut connector, listener) = sessions();
    assert_eq!(connector.exchange_due(Duration::ZERO), Some(DUE));
    assert_eq!(connector.exchange_due(DUE), Some(Duration::ZERO));
    assert!(connector.start_exchange().unwrap());
    assert_eq!(connector.exchange_due(DUE), None);
    assert_eq!(listener.exchange_due(DUE), None);
}

#[test]
fn an_exchange_that_finds_no_room_is_not_due_before_there_is_some() {
    let (mut connector, _) = sessions();
    while connector.wants_input() {
        connector.fill(|pieces| Ok(pieces.iter().map(|piece| piece.len()).sum())).unwrap();
    }
    // Else a loop that waits until it is due would not wait at all.
    assert_eq!(connector.exchange_due(DUE), None);
    assert!(!connector.start_exchange().unwrap());
    let sealed = connector.sealed().len();
    connector.drained(sealed);
    assert_eq!(connector.exchange_due(DUE), Some(Duration::ZERO));
}
