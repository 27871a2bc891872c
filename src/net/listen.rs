//! Listening: of many candidates, the first good one becomes the peer.
//!
//! No candidate can stop the listener. Each has a time limit for its whole handshake;
//! when all places are taken, the network that holds the most loses one. The source is
//! scat-protocol(7), LISTENING.

use super::candidate::{Candidate, Progress, Rejection, greediest};
use super::dialect::Dialect;
use super::link::Link;
use super::reconnect::Reconnect;
use super::{Established, Limits, Setup};
use crate::auth::policy::Policy;
use crate::error::{Error, Stage};
use crate::protocol::handshake::{Accepted, Local, Peer};
use crate::sys::poller::{FIRST_CANDIDATE, LISTENER, Poller, Ready, Token};
use crate::sys::resolver::Family;
use crate::sys::socket::{self, NotAccepted};
use crate::text::{Address, plain};
use crate::ui::report::{RateLimit, Report, Talk};
use crate::ui::status::Line;
use crate::ui::waiting::Limit;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Handshakes at the same time.
const CANDIDATES: usize = 64;
/// Pause between two connections while all places are taken. So each candidate keeps its
/// place for at least 64 times as long, enough for a handshake over a path of 100 ms,
/// however fast others arrive.
const PACE: Duration = Duration::from_millis(2);
/// Connections that the system queues meanwhile: about a second of [`PACE`].
const BACKLOG: i32 = 512;
/// Pause before accept is tried again after a failure.
const RETRY: Duration = Duration::from_millis(200);

/// Binds the first address that works.
///
/// # Errors
/// [`Error::Bind`].
pub fn bind(
    addresses: &[SocketAddr],
    any: bool,
    family: Family,
) -> Result<socket::Listener, Error> {
    // One socket for both families: an IPv6 socket that also accepts IPv4.
    let (first, then): (Vec<SocketAddr>, Vec<SocketAddr>) =
        addresses.iter().partition(|address| !any || address.is_ipv6());
    let mut refused = None;
    for address in first.into_iter().chain(then) {
        match socket::Listener::bind(address, any && family == Family::Any, BACKLOG) {
            Ok(listener) => return Ok(listener),
            Err(err) => {
                let at = Address(address).to_string();
                let is_taken = err.kind() == io::ErrorKind::AddrInUse;
                refused = Some(Error::Bind { at, err });
                // Another program has the port for one family. Listening for the other
                // alone would leave it half of the callers.
                if is_taken {
                    break;
                }
            }
        }
    }
    Err(refused.unwrap_or_else(|| Error::Bind {
        at: "no address".into(),
        err: io::ErrorKind::AddrNotAvailable.into(),
    }))
}

/// Listens until a candidate completes the handshake. When this returns, all other
/// candidates are closed, and so is the listening socket, unless the session can
/// reconnect: then [`Reconnect`] has the socket, and never reads a flight 1. So this
/// process reveals at most one opening.
///
/// # Errors
/// [`Error::Waited`], [`Error::Signal`], [`Error::System`], [`Error::Random`]; never because
/// of a candidate.
pub fn listen(
    poller: &mut Poller,
    socket: socket::Listener,
    setup: Setup<'_>,
) -> Result<Established, Error> {
    let Setup { deadline, report, limits, .. } = setup;
    let system = |err| Error::System("listen", err);
    let (at, only_v6) = socket.local().map_err(system)?;
    report.listening(at, only_v6);
    let ways_in = [at.is_ipv4() || !only_v6, at.is_ipv6()];
    let own = match at.ip().is_unspecified() {
        false => Some(at),
        true => [false, true].into_iter().zip(ways_in).find_map(|(is_ipv6, is_open)| {
            let ip = is_open.then(|| socket::own_address(is_ipv6)).flatten()?;
            Some(SocketAddr::new(ip, at.port()))
        }),
    };
    if let Some(own) = own {
        report.invite(own, limits.away, setup.policy);
    }
    let mut alone_at = Some(Instant::now() + limits.tell.alone);
    let mut listener = Listener::new(socket, poller, &setup).map_err(system)?;
    let mut limit = deadline.limit();
    let (candidate, accepted) = loop {
        if limit.is_up() {
            let hangs = !listener.candidates.is_empty();
            return Err(deadline.passed(Stage::Listening { hangs, refused: listener.refused }));
        }
        // Any connection, even a port scan, shows that the port is reachable.
        if listener.next_token != FIRST_CANDIDATE {
            alone_at = None;
        } else if alone_at.is_some_and(|at| at <= Instant::now()) {
            alone_at = None;
            report.remark(format_args!(
                "nobody yet: is port {} open in the firewall, and forwarded by NAT?",
                at.port()
            ));
        }
        let timeout = [listener.poll_timeout(&limit), alone_at].into_iter().flatten().min();
        let signals = poller.wait(timeout)?;
        if signals.report {
            report.answer(format_args!(
                "listening; {} handshakes under way, {} failed",
                listener.candidates.len(),
                listener.failed
            ));
        }
        let mut winners = poller.ready().filter_map(|ready| listener.handle(ready).transpose());
        if let Some(winner) = winners.next() {
            break winner?;
        }
        drop(winners);
        listener.reject_late();
        if listener.accept_at.is_some_and(|at| at <= Instant::now()) {
            listener.accept_at = listener.accept(poller).map(|pause| Instant::now() + pause);
        }
    };
    // Close the socket and all other candidates first: a process may reveal its opening
    // only once.
    let Listener { socket, candidates, .. } = listener;
    drop(candidates);
    let port = limits
        .away
        .filter(|_| accepted.keys.kr.is_some())
        .map(|patience| Reconnect::port(socket, patience, limits.reconnect));
    let established = Established::listener(poller, candidate.link, accepted, setup)?;
    Ok(Established { reconnect: port, ..established })
}

/// A candidate that has completed the handshake, and the result.
type Winner<'a> = (Candidate<'a>, Accepted);

/// The listening socket and its candidates.
struct Listener<'a> {
    local: &'a Local,
    policy: &'a Policy,
    limits: Limits,
    socket: socket::Listener,
    candidates: Vec<Candidate<'a>>,
    next_token: usize,
    failed: u64,
    /// A rejection was shown to the user.
    refused: bool,
    /// When to accept again; there may be connections to accept from then on.
    accept_at: Option<Instant>,
    /// The last error of accept, if it was reported.
    accept_error: Option<i32>,
    log: RateLimit,
    /// Protocols of non-scat candidates, if they were reported.
    dialects: Vec<Dialect>,
    report: &'a Report,
}

impl<'a> Listener<'a> {
    fn new(socket: socket::Listener, poller: &Poller, setup: &Setup<'a>) -> io::Result<Self> {
        let &Setup { local, policy, limits, report, .. } = setup;
        socket.watch(poller, LISTENER)?;
        Ok(Listener {
            local,
            policy,
            limits,
            socket,
            candidates: Vec::new(),
            next_token: FIRST_CANDIDATE,
            failed: 0,
            refused: false,
            accept_at: None,
            accept_error: None,
            log: RateLimit::new(),
            dialects: Vec::new(),
            report,
        })
    }

    /// Handles an event: accepts connections, or advances a candidate.
    ///
    /// # Errors
    /// [`Error::Random`].
    fn handle(&mut self, ready: Ready) -> Result<Option<Winner<'a>>, Error> {
        if ready.token == LISTENER {
            self.accept_at.get_or_insert_with(Instant::now);
            return Ok(None);
        }
        let Some(at) = self.candidates.iter().position(|it| it.token == ready.token) else {
            return Ok(None);
        };
        let candidate = &mut self.candidates[at];
        candidate.link.note(ready);
        match candidate.advance(self.local, self.policy)? {
            Progress::Waiting => Ok(None),
            Progress::Rejected(rejection) => {
                self.reject(ready.token, rejection);
                Ok(None)
            }
            Progress::Accepted(accepted) => Ok(Some((self.candidates.swap_remove(at), *accepted))),
        }
    }

    /// Accepts what is queued. Returns how long to pause, or `None` if the queue is
    /// empty, so that an event will follow.
    fn accept(&mut self, poller: &Poller) -> Option<Duration> {
        loop {
            let socket = match self.socket.accept() {
                Ok(socket) => socket,
                Err(failure) => return self.accept_failed(failure),
            };
            let token = Token(self.next_token);
            self.next_token += 1;
            let Ok(link) = Link::new(socket, poller, token) else {
                continue;
            };
            self.candidates.push(Candidate::new(link, token, self.limits.step));
            if self.candidates.len() > CANDIDATES {
                self.evict();
                return Some(PACE);
            }
        }
    }

    /// Handles an error of accept, which may always be temporary and never stops the
    /// listener.
    fn accept_failed(&mut self, failure: NotAccepted) -> Option<Duration> {
        let err = match failure {
            NotAccepted::Empty => return None,
            // Returning lets signals and candidates have their turn.
            NotAccepted::Next => return Some(Duration::ZERO),
            NotAccepted::NoRoom(_) if !self.candidates.is_empty() => {
                // A candidate gives up its descriptor.
                self.evict();
                return Some(PACE);
            }
            NotAccepted::NoRoom(err) | NotAccepted::Failed(err) => err,
        };
        if self.accept_error != err.raw_os_error() {
            self.accept_error = err.raw_os_error();
            self.report.trouble(format_args!("accept: {}", plain(&err)));
        }
        Some(RETRY)
    }

    /// Drops one candidate to free its place.
    fn evict(&mut self) {
        let places = self.candidates.iter().map(|it| (it.network, it.token));
        if let Some(token) = greediest(places) {
            self.reject(token, Rejection::TooMany);
        }
    }

    /// Rejects candidates whose time limit has passed.
    fn reject_late(&mut self) {
        let mut late = Vec::new();
        for candidate in &mut self.candidates {
            if candidate.limit.is_up() {
                late.push((candidate.token, candidate.late()));
            }
        }
        for (token, rejection) in late {
            self.reject(token, rejection);
        }
    }

    /// Returns when to act although no event comes.
    fn poll_timeout(&self, deadline: &Limit) -> Option<Instant> {
        let late = self.candidates.iter().filter_map(|it| it.limit.at()).min();
        [self.accept_at, late, deadline.at()].into_iter().flatten().min()
    }

    /// Rejects a candidate, and reports it if it concerns the user.
    fn reject(&mut self, token: Token, rejection: Rejection) {
        let Some(at) = self.candidates.iter().position(|it| it.token == token) else {
            return;
        };
        let candidate = self.candidates.swap_remove(at);
        self.failed += 1;
        if let Some(address) = candidate.link.peer() {
            let key = match &rejection {
                Rejection::OtherKey(Peer { key, long_lived: true }) => Some(key),
                _ => None,
            };
            self.report.event(&Line::Rejected(address, rejection.cause(), key));
        }
        // At a terminal, a non-scat peer may be the expected person with another program;
        // otherwise it is a port scan.
        let news = match rejection {
            Rejection::Foreign(dialect) if self.report.talk >= Talk::Usual => {
                Some(dialect).filter(|it| !self.dialects.contains(it))
            }
            _ => None,
        };
        let is_for_all =
            rejection.concerns_user() || news.is_some() || rejection == Rejection::Unheard;
        let talk = if is_for_all { Talk::Troubles } else { Talk::Stages };
        if self.report.talk < talk {
            return;
        }
        if let (Some(kept), Some(address)) = (self.log.pass(), candidate.link.peer()) {
            self.dialects.extend(news);
            self.refused |= is_for_all;
            if kept > 0 {
                self.report.trouble(format_args!("({kept} more failed handshakes)"));
            }
            self.report.trouble(format_args!("{}: {rejection}", Address(address)));
            if let Rejection::OtherKey(Peer { key, long_lived: true }) = rejection {
                self.report.unverified_key(&key);
            }
        }
    }
}
