//! Connecting: from several addresses to one established peer.
//!
//! `Dial` connects to one address after the other until one takes the connection;
//! whoever answers there has to go through the handshake (`Attempt`). Until flight 3 is
//! sent nothing was revealed, so every failure is one that may be tried again (status 3),
//! or says who is there (status 4), and the next address has its turn. From flight 3 on
//! no failure invites a retry: each one would be another try at the words for a man in
//! the middle.

use super::attempt::{Attempt, Progress};
use super::dial::Dial;
use super::link::Link;
use super::{Established, Setup};
use crate::error::{Error, Stage};
use crate::protocol::handshake::Connected;
use crate::sys::poller::{LINK, Poller};
use crate::text::{Address, Ip};
use crate::ui::waiting::Waiting;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// Where to connect to.
pub struct Target {
    /// What the user asked for: a name or an address.
    pub host: String,
    /// The same: a service's name or a port.
    pub service: String,
    /// What they stand for; each is tried in turn.
    pub addresses: Vec<SocketAddr>,
    /// Where to connect from: one that fits; anything if there is none.
    pub sources: Vec<SocketAddr>,
}

impl Target {
    /// What the user asked for: `example.org port 9000`.
    pub fn name(&self) -> String {
        format!("{} port {}", self.host, self.service)
    }

    /// One of its addresses, as what the user asked for: `example.org (192.0.2.7) port 9000`.
    pub(super) fn at(&self, address: SocketAddr) -> String {
        match self.is_numeric() {
            true => Address(address).to_string(),
            false => format!("{} ({}) port {}", self.host, Ip(address), address.port()),
        }
    }

    /// Whether the user asked for an address.
    pub(super) fn is_numeric(&self) -> bool {
        let address = self.host.split_once('%').map_or(&*self.host, |(address, _zone)| address);
        address.parse::<IpAddr>().is_ok()
    }

    /// Where to connect to `address` from, if that was asked for.
    pub(super) fn source(&self, address: SocketAddr) -> Option<SocketAddr> {
        self.sources.iter().copied().find(|source| source.is_ipv4() == address.is_ipv4())
    }
}

/// Connects to the first address that takes the connection and goes through the
/// handshake.
///
/// # Errors
/// Everything with exit status 3 or 4; after flight 3, [`Error::NotOpened`] and
/// [`Error::OpenTimeout`].
pub fn connect(poller: &mut Poller, to: &Target, setup: Setup<'_>) -> Result<Established, Error> {
    let mut dial = Dial::new(to)?;
    loop {
        let link = dial.next(poller, &setup)?;
        let address = link.peer();
        if let Some(address) = address {
            setup.report.detail(format_args!("connected to {}; handshake", Address(address)));
        }
        let answer_by = Some(Instant::now() + setup.limits.step);
        match handshake(poller, link, answer_by, &setup)? {
            Ok((link, connected)) => {
                return established(link, connected, setup).redialled(to);
            }
            Err(err) => dial.not_the_peer(address, err, &setup),
        }
    }
}

/// The same over a connection that is there already. However late flight 2 comes, it is
/// waited for.
///
/// # Errors
/// As for [`connect`].
pub(super) fn connect_over(
    poller: &mut Poller,
    link: Link,
    setup: Setup<'_>,
) -> Result<Established, Error> {
    let (link, connected) = handshake(poller, link, None, &setup)??;
    Ok(established(link, connected, setup))
}

fn established(link: Link, connected: Connected, setup: Setup<'_>) -> Established {
    let open_by = setup.deadline.or(Instant::now() + setup.limits.step);
    Established::connector(link, connected, open_by, setup)
}

/// The connector's three flights. After the inner error nothing was revealed, and
/// another address may be tried; the outer one ends the run.
fn handshake(
    poller: &mut Poller,
    link: Link,
    answer_by: Option<Instant>,
    setup: &Setup<'_>,
) -> Result<Result<(Link, Connected), Error>, Error> {
    let of = link.peer().map_or("the other end".into(), |peer| Address(peer).to_string());
    let mut waiting = Waiting::new(Stage::Answer(of), setup.deadline, setup.report);
    let mut attempt = Attempt::new(link, answer_by, setup)?;
    loop {
        let failure = match attempt.advance() {
            Progress::Connected(connected) => return Ok(Ok((attempt.link, *connected))),
            Progress::Failed(err) => Some(err),
            Progress::Waiting => attempt.limit.is_up().then(|| attempt.late()),
        };
        match failure {
            Some(err) if attempt.has_revealed => return Err(err),
            Some(err) => {
                attempt.link.close(poller);
                return Ok(Err(err));
            }
            None => {}
        }
        // It has a time limit of its own then, and another exit status.
        if attempt.has_revealed {
            waiting.forget_deadline();
        }
        waiting.poll(poller, attempt.limit.at())?;
        for ready in poller.ready().filter(|ready| ready.token == LINK) {
            attempt.link.note(ready);
        }
    }
}
