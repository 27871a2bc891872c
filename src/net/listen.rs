//! Listening: many candidates, of whom the first good one becomes the peer.
//!
//! Nothing that a candidate does stops the listener. Each has a time limit for its
//! whole handshake; when all places are taken, the network that holds the most gives
//! one up. The source is scat-protocol(7), LISTENING.

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

/// Handshakes at once.
const CANDIDATES: usize = 64;
/// Time from one connection to the next while all places are taken. So each place
/// lasts 64 times as long at least: enough for a handshake over a path of 100 ms,
/// however fast others come.
const PACE: Duration = Duration::from_millis(2);
/// Connections that the system holds for us meanwhile: about a second of [`PACE`].
const BACKLOG: i32 = 512;
/// Time until accept is tried again after it has failed.
const RETRY: Duration = Duration::from_millis(200);
/// Binds the first of `addresses` that is to be had.
///
/// # Errors
/// [`Error::Bind`].
pub fn bind(
    addresses: &[SocketAddr],
    any: bool,
    family: Family,
) -> Result<socket::Listener, Error> {
    // One socket for both kinds: the IPv6 one, which takes IPv4 as well.
    let (first, then): (Vec<SocketAddr>, Vec<SocketAddr>) =
        addresses.iter().partition(|address| !any || address.is_ipv6());
    let mut refused = None;
    for address in first.into_iter().chain(then) {
        match socket::Listener::bind(address, any && family == Family::Any, BACKLOG) {
            Ok(listener) => return Ok(listener),
            Err(why) => {
                let at = Address(address).to_string();
                let is_taken = why.kind() == io::ErrorKind::AddrInUse;
                refused = Some(Error::Bind { at, why });
                // Somebody has the port on one kind of address: listening on the
                // other one alone would leave half of the callers to them.
                if is_taken {
                    break;
                }
            }
        }
    }
    Err(refused.unwrap_or_else(|| Error::Bind {
        at: "no address".into(),
        why: io::ErrorKind::AddrNotAvailable.into(),
    }))
}

/// Listens until a candidate completes the handshake. Every other candidate is gone when
/// this returns, and so is the listening socket, unless the session can go on over
/// another connection; then it is left to [`Reconnect`], which knows no handshake.
/// Whatever this process does from then on, it reveals one opening at most.
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
    let system = |why| Error::System("listen", why);
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
        report.invite(own, setup.local.has_psk(), setup.policy);
    }
    let mut alone_at = Some(Instant::now() + limits.tell.alone);
    let mut listener = Listener::new(socket, poller, &setup).map_err(system)?;
    let mut limit = deadline.limit();
    let (candidate, accepted) = loop {
        if limit.is_up() {
            let hangs = !listener.candidates.is_empty();
            return Err(deadline.passed(Stage::Listening { hangs, refused: listener.refused }));
        }
        // Whoever has come, port scanners too, shows that the port can be reached.
        if listener.next_token != FIRST_CANDIDATE {
            alone_at = None;
        } else if alone_at.is_some_and(|at| at <= Instant::now()) {
            alone_at = None;
            report.remark(format_args!(
                "nobody yet: is port {} open in the firewall, and forwarded by the router?",
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
    // The door is closed behind the peer before anything of the opening is used.
    let Listener { socket, candidates, .. } = listener;
    drop(candidates);
    let port = limits
        .away
        .filter(|_| accepted.keys.kr.is_some())
        .map(|patience| Reconnect::port(socket, patience, limits.reconnect));
    let established = Established::listener(poller, candidate.link, accepted, setup)?;
    Ok(Established { reconnect: port, ..established })
}

/// A candidate whose handshake is done, and what came of it.
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
    /// The user was told of one.
    refused: bool,
    /// There may be connections to accept from then on.
    accept_at: Option<Instant>,
    /// What made accept fail last, as far as it was told.
    accept_error: Option<i32>,
    log: RateLimit,
    /// What those spoke who did not speak scat, as far as it was told.
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

    /// Somebody waits to be taken in, or a candidate can go on.
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
            Progress::Rejected(why) => {
                self.reject(ready.token, why);
                Ok(None)
            }
            Progress::Accepted(accepted) => Ok(Some((self.candidates.swap_remove(at), *accepted))),
        }
    }

    /// Takes in those who wait. Returns the pause until the next ones, or nothing when
    /// the queue is empty: then an event will tell of them.
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

    /// Whatever makes accept fail may pass; an error is never a reason to stop listening.
    fn accept_failed(&mut self, failure: NotAccepted) -> Option<Duration> {
        let err = match failure {
            NotAccepted::Empty => return None,
            // Not in a loop of its own: signals and candidates are not kept waiting.
            NotAccepted::Next => return Some(Duration::ZERO),
            NotAccepted::NoRoom(_) if !self.candidates.is_empty() => {
                // A candidate gives its own up.
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

    /// Drops one.
    fn evict(&mut self) {
        let places = self.candidates.iter().map(|it| (it.network, it.token));
        if let Some(token) = greediest(places) {
            self.reject(token, Rejection::TooMany);
        }
    }

    /// Rejects those whose time is up.
    fn reject_late(&mut self) {
        let mut late = Vec::new();
        for candidate in &mut self.candidates {
            if candidate.limit.is_up() {
                late.push((candidate.token, candidate.late()));
            }
        }
        for (token, why) in late {
            self.reject(token, why);
        }
    }

    /// When something has to be done although no event comes.
    fn poll_timeout(&self, deadline: &Limit) -> Option<Instant> {
        let late = self.candidates.iter().filter_map(|it| it.limit.at()).min();
        [self.accept_at, late, deadline.at()].into_iter().flatten().min()
    }

    /// Lets a candidate go, and says so as far as it concerns the user.
    fn reject(&mut self, token: Token, why: Rejection) {
        let Some(at) = self.candidates.iter().position(|it| it.token == token) else {
            return;
        };
        let candidate = self.candidates.swap_remove(at);
        self.failed += 1;
        if let Some(address) = candidate.link.peer() {
            let key = match &why {
                Rejection::OtherKey(Peer { key, long_lived: true }) => Some(key),
                _ => None,
            };
            self.report.event(&Line::Rejected(address, why.cause(), key));
        }
        // Who does not speak scat may still be the person who is waited for; where nobody
        // sits, it is a port scan.
        let news = match why {
            Rejection::Foreign(dialect) if self.report.talk >= Talk::Usual => {
                Some(dialect).filter(|it| !self.dialects.contains(it))
            }
            _ => None,
        };
        let is_for_all = why.concerns_user() || news.is_some() || why == Rejection::Unheard;
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
            self.report.trouble(format_args!("{}: {why}", Address(address)));
            if let Rejection::OtherKey(Peer { key, long_lived: true }) = why {
                self.report.unverified_key(&key);
            }
        }
    }
}
