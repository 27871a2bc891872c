//! Connects to one of several addresses as in RFC 8305: the families alternate, and an
//! address that does not answer delays the next one by only a quarter of a second.

use super::Setup;
use super::connect::Target;
use super::link::Link;
use crate::error::{Error, Stage};
use crate::sys::poller::{Interest, LINK, Poller};
use crate::sys::socket::{Refusal, Socket};
use crate::text::Address;
use crate::ui::waiting::{Limit, Waiting};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Time from one attempt to the next: RFC 8305 section 5.
const STAGGER: Duration = Duration::from_millis(250);

/// The addresses of one target, tried until one of them is the peer's.
pub struct Dial<'a> {
    to: &'a Target,
    /// Addresses to try, including those put off because another one accepted first.
    left: VecDeque<SocketAddr>,
    /// Connections in progress, all watched as [`LINK`].
    trying: Vec<(SocketAddr, Socket)>,
    /// The most informative failure so far.
    failure: Option<Error>,
}

impl<'a> Dial<'a> {
    /// Prepares to dial.
    ///
    /// # Errors
    /// [`Error::Source`] if no address has the family of the source address.
    pub fn new(to: &'a Target) -> Result<Self, Error> {
        let fits = |address: &SocketAddr| to.sources.is_empty() || to.source(*address).is_some();
        let left = alternate(to.addresses.iter().copied().filter(fits));
        match to.addresses.first().filter(|_| left.is_empty()) {
            Some(unfit) => Err(Error::Source { to: Address(*unfit).to_string() }),
            None => Ok(Dial { to, left, trying: Vec::new(), failure: None }),
        }
    }

    /// Connects to the first address that accepts. The others remain for later calls,
    /// because that address may not be the peer's.
    ///
    /// # Errors
    /// If no address is left, the most informative failure; [`Error::Bind`],
    /// [`Error::Waited`], [`Error::Signal`].
    pub fn next(&mut self, poller: &mut Poller, setup: &Setup<'_>) -> Result<Link, Error> {
        let stage = Stage::Connecting(self.to.name());
        let mut waiting = Waiting::new(stage, setup.deadline, setup.report);
        let mut start_at = Instant::now();
        let mut limit = Limit::new(None);
        loop {
            while (self.trying.is_empty() || start_at <= Instant::now())
                && let Some(address) = self.left.pop_front()
            {
                setup.report.detail(format_args!("connecting to {}", Address(address)));
                match self.start(address, poller)? {
                    Ok(()) => start_at = Instant::now() + STAGGER,
                    Err(err) => self.not_taken(address, err, setup),
                }
            }
            if self.left.is_empty()
                && let Some(failure) = &self.failure
            {
                // The user already has an answer, or `-w` tries all again.
                let patience = match telling(failure) > 0 || setup.deadline.is_set() {
                    true => setup.limits.patience,
                    false => setup.limits.step,
                };
                limit.shorten(Instant::now() + patience);
            }
            if self.trying.is_empty() || limit.is_up() {
                return Err(self.failure.take().unwrap_or_else(|| Error::Connect {
                    to: self.to.name(),
                    err: io::ErrorKind::AddrNotAvailable.into(),
                }));
            }
            let start = Some(start_at).filter(|_| !self.left.is_empty());
            waiting.poll(poller, start.or(limit.at())).map_err(|err| self.passed(err, setup))?;
            let mut at = 0;
            while let Some((address, socket)) = self.trying.get(at) {
                let (address, Some(outcome)) = (*address, socket.outcome()) else {
                    at += 1;
                    continue;
                };
                let (_, socket) = self.trying.remove(at);
                socket.unwatch(poller);
                match outcome.and_then(|()| Link::new(socket, poller, LINK)) {
                    Ok(link) => {
                        self.put_off(poller);
                        return Ok(link);
                    }
                    Err(err) => self.not_taken(address, err, setup),
                }
                // Waiting would gain nothing.
                start_at = Instant::now();
            }
        }
    }

    /// Returns the error after the deadline: that of an address that has failed is more
    /// informative than those that did not answer.
    fn passed(&self, err: Error, setup: &Setup<'_>) -> Error {
        match (&err, &self.failure) {
            (Error::Waited(..), Some(failure)) => setup.deadline.passed(Stage::failing(failure)),
            _ => err,
        }
    }

    /// Starts to connect. The inner error concerns that address, the outer one this
    /// process.
    fn start(&mut self, address: SocketAddr, poller: &Poller) -> Result<io::Result<()>, Error> {
        let socket = match Socket::tcp(address) {
            Ok(socket) => socket,
            Err(err) => return Ok(Err(err)),
        };
        if let Some(source) = self.to.source(address) {
            let at = Address(source).to_string();
            socket.bind(source).map_err(|err| Error::Bind { at, err })?;
        }
        let begun = socket.connect().and_then(|()| socket.watch(poller, LINK, Interest::WRITABLE));
        if begun.is_ok() {
            self.trying.push((address, socket));
        }
        Ok(begun)
    }

    /// Cancels the other attempts, because one address has accepted, so that no listener
    /// sees a second connection from us.
    fn put_off(&mut self, poller: &Poller) {
        for (address, socket) in self.trying.drain(..).rev() {
            socket.unwatch(poller);
            self.left.push_front(address);
        }
    }

    /// Records that this address did not accept.
    fn not_taken(&mut self, address: SocketAddr, err: io::Error, setup: &Setup<'_>) {
        self.keep(Error::Connect { to: self.to.at(address), err }, setup);
    }

    /// Records that the end that accepted at this address is not the peer.
    pub fn not_the_peer(&mut self, address: Option<SocketAddr>, err: Error, setup: &Setup<'_>) {
        let err = match address {
            Some(address) if !self.to.is_numeric() => {
                Error::At { at: self.to.at(address), error: Box::new(err) }
            }
            _ => err,
        };
        self.keep(err, setup);
    }

    fn keep(&mut self, err: Error, setup: &Setup<'_>) {
        setup.report.detail(&err);
        if self.failure.as_ref().is_none_or(|kept| telling(&err) >= telling(kept)) {
            self.failure = Some(err);
        }
    }
}

/// Returns how informative the failure of an address is: zero without an answer from there.
fn telling(err: &Error) -> u8 {
    match err {
        Error::Connect { err, .. } => u8::from(Refusal::of(err) == Refusal::Refused),
        err => 2 + err.weight(),
    }
}

/// Alternates the families, starting with that of the first address, and keeps the
/// system's order within each: RFC 8305 section 4.
fn alternate(addresses: impl Iterator<Item = SocketAddr>) -> VecDeque<SocketAddr> {
    let mut addresses = addresses.peekable();
    let first = addresses.peek().is_some_and(SocketAddr::is_ipv4);
    let (one, other): (Vec<_>, Vec<_>) = addresses.partition(|it| it.is_ipv4() == first);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut all = VecDeque::new();
    while one.len() + other.len() > 0 {
        all.extend(one.next());
        all.extend(other.next());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let parse = |text: &str| -> VecDeque<SocketAddr> {
            text.split_whitespace().map(|ip| SocketAddr::new(ip.parse().unwrap(), 9)).collect()
        };
        for (given, tried) in [
            ("", ""),
            ("1.1.1.1 1.1.1.2", "1.1.1.1 1.1.1.2"),
            ("::1 ::2 ::3 1.1.1.1", "::1 1.1.1.1 ::2 ::3"),
            ("1.1.1.1 ::1 ::2 1.1.1.2 1.1.1.3", "1.1.1.1 ::1 1.1.1.2 ::2 1.1.1.3"),
        ] {
            assert_eq!(alternate(parse(given).into_iter()), parse(tried), "{given}");
        }
    }
}
