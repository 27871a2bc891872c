//! Connecting: from several addresses to one established peer.
//!
//! `Dial` connects to one address after another until one accepts; then that end must
//! complete the handshake (`Attempt`). Until flight 3 is sent, nothing was revealed: a
//! failure may be retried (status 3) or names what is there (status 4), and the next
//! address is tried. From flight 3 on no failure invites a retry, because each would give
//! a man in the middle another guess at the words.

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

/// The destination of a connection.
pub struct Target {
    /// The name or address that the user gave.
    pub host: String,
    /// The service name or port that the user gave.
    pub service: String,
    /// The addresses of the host, tried in turn.
    pub addresses: Vec<SocketAddr>,
    /// Addresses to connect from, one for each family; empty for any.
    pub sources: Vec<SocketAddr>,
}

impl Target {
    /// Returns the host as the user gave it: `example.org port 9000`.
    pub fn name(&self) -> String {
        format!("{} port {}", self.host, self.service)
    }

    /// Returns one of its addresses with its name: `example.org (192.0.2.7) port 9000`.
    pub(super) fn at(&self, address: SocketAddr) -> String {
        match self.is_numeric() {
            true => Address(address).to_string(),
            false => format!("{} ({}) port {}", self.host, Ip(address), address.port()),
        }
    }

    /// Whether the user gave an address, not a name.
    pub(super) fn is_numeric(&self) -> bool {
        let address = self.host.split_once('%').map_or(&*self.host, |(address, _zone)| address);
        address.parse::<IpAddr>().is_ok()
    }

    /// Returns the address to connect to `address` from, if the user gave one.
    pub(super) fn source(&self, address: SocketAddr) -> Option<SocketAddr> {
        self.sources.iter().copied().find(|source| source.is_ipv4() == address.is_ipv4())
    }
}

/// Connects to the first address that accepts and completes the handshake.
///
/// # Errors
/// All with exit status 3 or 4; after flight 3, [`Error::NotOpened`] and
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

/// Does the same over an existing connection, and waits for flight 2 without limit.
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

/// Performs the connector's handshake. After the inner error nothing was revealed, and
/// another address may be tried; the outer error ends the run.
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
        // From then on it has its own time limit and another exit status.
        if attempt.has_revealed {
            waiting.forget_deadline();
        }
        waiting.poll(poller, attempt.limit.at())?;
        for ready in poller.ready().filter(|ready| ready.token == LINK) {
            attempt.link.note(ready);
        }
    }
}
