//! Connecting: from several addresses to one established peer.
//!
//! Each address is tried in turn until one takes the connection; whoever answers
//! there has to go through the handshake. Until flight 3 is sent nothing was
//! revealed, so every failure is one that may be tried again (status 3), or says
//! who is there (status 4). From flight 3 on no failure invites a retry: each one
//! would be another try at the words for somebody in the middle.

use super::dialect::Dialect;
use super::link::Link;
use super::{Established, Setup};
use crate::error::{Error, Stage, Totals};
use crate::protocol::handshake::{
    FLIGHT2_LEN, Initiator, Mismatch, PREFACE_LEN, Preface, check_preface,
};
use crate::protocol::role::Role;
use crate::sys::poller::{Interest, LINK, Poller};
use crate::sys::random;
use crate::sys::socket::Socket;
use crate::text::{Address, plain};
use crate::ui::waiting::{Limit, Waiting};
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

/// Where to connect to.
pub struct Target {
    /// What the user asked for.
    pub name: String,
    /// What it stands for; each is tried in turn.
    pub addresses: Vec<SocketAddr>,
    /// Where to connect from: one that fits; anything if there is none.
    pub sources: Vec<SocketAddr>,
}

/// Connects to the first address that takes it and goes through the handshake.
///
/// # Errors
/// Everything with exit status 3 or 4; after flight 3, [`Error::Cut`].
pub fn connect(poller: &mut Poller, to: &Target, setup: Setup<'_>) -> Result<Established, Error> {
    let report = setup.report;
    let mut refused = None;
    for (i, &address) in to.addresses.iter().enumerate() {
        let is_last = i + 1 == to.addresses.len();
        report.detail(format_args!("connecting to {}", Address(address)));
        match connect_one(poller, address, &to.sources, is_last, &setup) {
            Ok(socket) => {
                report.detail(format_args!("connected to {}; handshake", Address(address)));
                let link =
                    Link::new(socket, poller, LINK).map_err(|why| Error::System("socket", why))?;
                let answer_by = Some(Instant::now() + setup.limits.step);
                return handshake(poller, link, answer_by, setup);
            }
            Err(Error::Connect { to, why }) => {
                report.detail(format_args!("connect {to}: {}", plain(&why)));
                refused = Some(why);
            }
            // Another address may be of the kind that -s names.
            Err(error @ Error::Source { .. }) if is_last && refused.is_none() => return Err(error),
            Err(Error::Source { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let why = refused.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into());
    Err(Error::Connect { to: to.name.clone(), why })
}

/// Opens a TCP connection to `address`. Only while other addresses remain does it
/// have a time limit of its own; the last one has the system's.
fn connect_one(
    poller: &mut Poller,
    address: SocketAddr,
    sources: &[SocketAddr],
    is_last: bool,
    setup: &Setup<'_>,
) -> Result<Socket, Error> {
    let failed = |err| Error::Connect { to: Address(address).to_string(), why: err };
    let socket = Socket::tcp(address).map_err(failed)?;
    if !sources.is_empty() {
        let fitting = sources.iter().find(|source| source.is_ipv4() == address.is_ipv4());
        let source = fitting.ok_or_else(|| Error::Source { to: Address(address).to_string() })?;
        let at = Address(*source).to_string();
        socket.bind(*source).map_err(|err| Error::Bind { at, why: err })?;
    }
    socket.connect().map_err(failed)?;
    socket.watch(poller, LINK, Interest::WRITABLE).map_err(failed)?;
    let mut limit = Limit::new((!is_last).then(|| Instant::now() + setup.limits.step));
    let stage = Stage::Connecting(Address(address).to_string());
    let mut waiting = Waiting::new(stage, setup.deadline, setup.report);
    loop {
        if limit.is_up() {
            return Err(failed(io::ErrorKind::TimedOut.into()));
        }
        waiting.poll(poller, limit.at())?;
        if poller.ready().any(|ready| ready.token == LINK)
            && let Some(outcome) = socket.outcome()
        {
            outcome.map_err(failed)?;
            socket.unwatch(poller);
            return Ok(socket);
        }
    }
}

/// The connector's three flights. Flight 2 has to come until `answer_by`, if at all by
/// some time.
///
/// # Errors
/// As for [`connect`].
pub(super) fn handshake(
    poller: &mut Poller,
    mut link: Link,
    answer_by: Option<Instant>,
    setup: Setup<'_>,
) -> Result<Established, Error> {
    let Setup { local, policy, deadline, limits, report, .. } = setup;
    let (initiator, flight1) = Initiator::new(local, random::ephemerals()?, &*random::key()?)?;
    let of = link.peer().map_or("the other end".into(), |peer| Address(peer).to_string());
    let mut waiting = Waiting::new(Stage::Answer(of), deadline, report);

    let mut sent = 0;
    let mut flight2 = [0; FLIGHT2_LEN];
    let mut len = 0;
    let mut limit = Limit::new(answer_by);
    while len < FLIGHT2_LEN {
        sent += link.write(&flight1[sent..]);
        // What has arrived is read even if sending has failed: it says more.
        len += link.read(&mut flight2[len..]);
        match check_preface(&flight2[..len], Role::Listener, local.has_psk()) {
            Preface::Unfinished | Preface::Fits => {}
            Preface::Foreign => {
                return Err(Error::NotScat(Dialect::of(&flight2[..len]).to_string()));
            }
            Preface::Differs(Mismatch::SameRole) if link.is_to_itself() => {
                return Err(Error::Myself);
            }
            Preface::Differs(mismatch) => {
                return Err(Error::Preface { mismatch, psk: local.has_psk() });
            }
        }
        if len < FLIGHT2_LEN && link.end().is_some() {
            return Err(hung_up(&link, len, local.has_psk()));
        }
        if len < FLIGHT2_LEN && !link.is_readable() {
            if limit.is_up() {
                return Err(Error::HandshakeTimeout);
            }
            waiting.poll(poller, limit.at())?;
            note(poller, &mut link);
        }
    }

    let reply = initiator.read_flight2(&flight2)?;
    if !policy.admits(&reply.peer.key) {
        return Err(Error::OtherKey);
    }

    // From here on this side has revealed its share of the words.
    let (connected, flight3) = reply.write_flight3()?;
    let mut limit = Limit::new(Some(deadline.or(Instant::now() + limits.step)));
    let mut sent = 0;
    loop {
        sent += link.write(&flight3[sent..]);
        if link.is_broken() {
            return Err(Error::Cut(link.error(), Some(Totals::default())));
        }
        if sent == flight3.len() {
            break;
        }
        if limit.is_up() {
            return Err(Error::OpenTimeout);
        }
        poller.wait(limit.at())?;
        note(poller, &mut link);
    }
    let open_by = deadline.or(Instant::now() + limits.step);
    Ok(Established::connector(link, connected, open_by, setup))
}

fn note(poller: &Poller, link: &mut Link) {
    for ready in poller.ready().filter(|ready| ready.token == LINK) {
        link.note(ready);
    }
}

/// What it means that the connection has ended after `len` bytes that fit: a listener
/// answers what it cannot read with its preface alone.
fn hung_up(link: &Link, len: usize, psk: bool) -> Error {
    match len {
        0 => Error::Silent,
        PREFACE_LEN if psk => Error::PskDiffers,
        _ => Error::HandshakeCut(link.error()),
    }
}
