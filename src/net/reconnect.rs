//! Reconnection: replaces a lost connection. The connector dials; the listener accepts on
//! the port that it has kept. The source is scat-protocol(7), RECONNECTION.
//!
//! Until a new connection has proved itself, the current one stays, even if it is lost:
//! data still unread there may say why it ended.

use super::candidate::{Network, greediest};
use super::link::Link;
use crate::error::Error;
use crate::protocol::reconnect::{
    Answered, Asked, BUSY, Proven, R1_LEN, R1_PREFACE, R2_LEN, R3_LEN,
};
use crate::protocol::session::Session;
use crate::sys::poller::{FIRST_CANDIDATE, Interest, LINK, LISTENER, Poller, Ready, Token};
use crate::sys::random;
use crate::sys::sandbox::Allowed;
use crate::sys::socket::{self, NotAccepted, Socket, Spares};
use crate::ui::waiting::Limit;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Pauses between the end of one attempt and the start of the next.
const PAUSES: [Duration; 7] = [
    Duration::ZERO,
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(10),
];
/// Longest time before the connector doubts an existing connection again.
const LONGEST_DOUBT: Duration = Duration::from_secs(15 * 60);
/// How often to ask TCP whether the other end acknowledges anything.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Connections of strangers at the same time, until their R1 has verified.
const PLACES: usize = 16;
/// Pause between two connections while all places are taken.
const PACE: Duration = Duration::from_millis(8);
/// Pause before accept is tried again after a failure.
const RETRY: Duration = Duration::from_millis(200);
/// Time for a caller to read the answer.
const CLOSE: Duration = Duration::from_secs(2);
/// Most bytes dropped from a rejected caller.
const DISCARD: u64 = 1 << 16;

/// Time limits. No option sets these; tests use shorter ones.
#[derive(Clone, Copy)]
pub struct Times {
    /// For an attempt.
    pub attempt: Duration,
    /// Until a connection is doubted because TCP hears nothing while bytes are
    /// unacknowledged.
    pub silence: Duration,
    /// Until a connection is doubted because nothing has arrived since a frame that needs
    /// an answer.
    pub quiet: Duration,
    /// After which a connection counts as progress.
    pub steady: Duration,
    /// For which a finished side stays, unless it knows that its last frame has arrived.
    pub linger: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Times {
            attempt: Duration::from_secs(10),
            silence: Duration::from_secs(15),
            quiet: Duration::from_secs(60),
            steady: Duration::from_secs(60),
            linger: Duration::from_secs(30),
        }
    }
}

/// Changes that the loop must know of.
pub enum Change {
    /// The connection is lost, with its error if there is one.
    Lost(Option<io::Error>),
    /// Another connection has replaced it; how long it was away, if it was.
    Back(Option<Duration>),
    /// At a connector that has no OPEN yet: the listener does not know the session.
    Unknown,
}

/// What a session needs to replace a lost connection.
pub struct Reconnect {
    way: Way,
    times: Times,
    /// How long to wait for a lost connection.
    patience: Duration,
    /// When the current connection was lost, and when to give up.
    lost: Option<(Instant, Limit)>,
    /// When the wait without progress so far began.
    began: Option<Instant>,
    /// Progress of the session at the last check.
    progress: u64,
    up_since: Instant,
    /// The current connection is the first one, which may have its own source port.
    is_first: bool,
}

enum Way {
    Dial(Dialer),
    Accept(Port),
}

impl Reconnect {
    /// Prepares a connector: dials `addresses`, the first of which is in use, from one of
    /// `sources` if there are any. `link` is the current connection.
    ///
    /// # Errors
    /// The system's.
    pub fn dialer(
        link: &Link,
        addresses: Vec<SocketAddr>,
        sources: &[SocketAddr],
        patience: Duration,
        times: Times,
    ) -> io::Result<Self> {
        link.socket().map_or(Ok(()), Socket::watch_closely)?;
        let spares = Spares::new(&addresses, sources)?;
        let dialer = Dialer {
            addresses,
            next: 0,
            spares,
            attempt: None,
            dial_at: None,
            failures: 0,
            doubt: Doubt::new(Instant::now()),
        };
        Ok(Self::new(Way::Dial(dialer), patience, times))
    }

    /// Prepares a listener: accepts at `socket`, which is already watched as
    /// [`LISTENER`].
    pub fn port(socket: socket::Listener, patience: Duration, times: Times) -> Self {
        let port = Port {
            socket,
            places: Vec::new(),
            next_token: FIRST_CANDIDATE,
            accept_at: Some(Instant::now()),
            attempt: None,
            has_news: false,
        };
        Self::new(Way::Accept(port), patience, times)
    }

    fn new(way: Way, patience: Duration, times: Times) -> Self {
        let up_since = Instant::now();
        Reconnect {
            way,
            times,
            patience,
            lost: None,
            began: None,
            progress: 0,
            up_since,
            is_first: true,
        }
    }

    /// Returns what the sandbox must allow for this.
    pub fn needs(&self) -> Allowed {
        let (port, descriptors) = match &self.way {
            Way::Dial(dialer) => (dialer.addresses.first().map(SocketAddr::port), Spares::MORE),
            // One more is accepted before another is dropped, one has verified, and the
            // current connection stays until that has proved itself.
            Way::Accept(_) => (None, PLACES + 3),
        };
        Allowed { port, descriptors }
    }

    /// Returns how long to wait for a lost connection.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Returns how long a finished side stays, unless it knows that its last frame has
    /// arrived.
    pub fn linger(&self) -> Duration {
        self.times.linger.min(self.patience)
    }

    /// Returns since when the connection has been lost.
    pub fn lost_at(&self) -> Option<Instant> {
        self.lost.as_ref().map(|(at, _)| *at)
    }

    /// Whether the current connection must not be read, because the two ends are telling
    /// each other where to continue.
    pub fn is_paused(&self) -> bool {
        match &self.way {
            Way::Dial(dialer) => matches!(dialer.attempt, Some((Dialing::Asked { .. }, _))),
            Way::Accept(port) => port.attempt.is_some(),
        }
    }

    /// Records readiness that the loop saw.
    pub fn note(&mut self, ready: Ready) {
        match &mut self.way {
            Way::Dial(dialer) => dialer.note(ready),
            Way::Accept(port) => port.note(ready),
        }
    }

    /// Returns when to call [`Reconnect::advance`] although no event comes.
    pub fn timeout(&self, link: &Link) -> Option<Instant> {
        let until = self.lost.as_ref().and_then(|(_, limit)| limit.at());
        let next = match &self.way {
            Way::Dial(dialer) => dialer.timeout(link, self.lost.is_some()),
            Way::Accept(port) => port.timeout(),
        };
        [until, next].into_iter().flatten().min()
    }

    /// Does what is possible now; replaces `link` when another connection has proved
    /// itself.
    ///
    /// # Errors
    /// [`Error::NotBack`] when the time is over, [`Error::Session`] for an impossible offset,
    /// [`Error::Random`].
    pub fn advance(
        &mut self,
        poller: &Poller,
        link: &mut Link,
        session: &mut Session,
    ) -> Result<Option<Change>, Error> {
        let now = Instant::now();
        if session.progress() > self.progress {
            self.progress = session.progress();
            self.start_anew();
        }
        let is_gone = link.end().is_some() || link.socket().is_none();
        let is_lost = is_gone || link.has_hung_up() && !session.has_space();
        // If an attempt is under way, its result decides whether this is a loss.
        if is_lost && self.lost.is_none() && !self.is_paused() {
            self.lose(now);
            return Ok(Some(Change::Lost(link.error())));
        }
        if is_gone {
            // Nothing is left to read.
            self.close(link, poller);
        }
        let step = match &mut self.way {
            Way::Dial(dialer) => {
                dialer.advance(poller, link, session, self.lost.is_some(), &self.times, now)?
            }
            Way::Accept(port) => port.advance(poller, session, &self.times, now)?,
        };
        match step {
            Step::Proven(new, proven) => {
                session.go_on(proven)?;
                self.close(link, poller);
                *link = new;
                link.rewatch(poller, LINK)?;
                let was_lost = self.lost.take();
                self.up_since = now;
                if let Way::Dial(dialer) = &mut self.way {
                    dialer.connected(link, now);
                }
                Ok(Some(Change::Back(was_lost.map(|(at, _)| now - at))))
            }
            Step::Unknown => Ok(Some(Change::Unknown)),
            Step::None if self.lost.as_mut().is_some_and(|(_, limit)| limit.is_up()) => {
                Err(Error::NotBack(self.patience))
            }
            Step::None => Ok(None),
        }
    }

    /// Handles the loss of the connection. Only progress restarts the wait, so that a
    /// path that kills each connection after its first kilobyte is not dialled forever.
    fn lose(&mut self, now: Instant) {
        if now - self.up_since >= self.times.steady {
            self.start_anew();
        }
        if let Way::Dial(dialer) = &mut self.way {
            dialer.failures += usize::from(self.began.is_some());
            dialer.dial_later(now);
        }
        let began = *self.began.get_or_insert(now);
        self.lost = Some((now, Limit::new(began.checked_add(self.patience))));
    }

    /// Restarts the wait after progress.
    fn start_anew(&mut self) {
        self.began = None;
        if let Way::Dial(dialer) = &mut self.way {
            (dialer.failures, dialer.doubt.found) = (0, 0);
        }
    }

    /// Closes the current connection.
    fn close(&mut self, link: &mut Link, poller: &Poller) {
        let Some(socket) = link.take(poller) else { return };
        let was_first = std::mem::take(&mut self.is_first);
        if let Way::Dial(dialer) = &mut self.way
            && !was_first
        {
            dialer.spares.give_back(socket);
        }
    }
}

/// Result of a step.
enum Step {
    None,
    /// This connection belongs to the peer.
    Proven(Link, Proven),
    Unknown,
}

// ---- the connector ----

/// The connector's half: it dials.
struct Dialer {
    /// The address in use comes first.
    addresses: Vec<SocketAddr>,
    /// Index of the next address to try.
    next: usize,
    spares: Spares,
    /// The attempt under way, and its time limit.
    attempt: Option<(Dialing, Limit)>,
    /// No attempt starts before this time.
    dial_at: Option<Instant>,
    /// Failed attempts since the last progress.
    failures: usize,
    doubt: Doubt,
}

/// Steps of an attempt.
enum Dialing {
    /// TCP is connecting.
    Connecting { socket: Socket, is_ready: bool },
    /// R1 is sent; R2 is arriving.
    Asked { link: Box<Link>, asked: Asked, r2: Vec<u8> },
}

const ATTEMPT: Token = Token(FIRST_CANDIDATE);

impl Dialer {
    fn note(&mut self, ready: Ready) {
        if ready.token != ATTEMPT {
            return;
        }
        match &mut self.attempt {
            Some((Dialing::Connecting { is_ready, .. }, _)) => *is_ready = true,
            Some((Dialing::Asked { link, .. }, _)) => link.note(ready),
            None => {}
        }
    }

    fn timeout(&self, link: &Link, is_lost: bool) -> Option<Instant> {
        match &self.attempt {
            Some((_, limit)) => limit.at(),
            None if is_lost => self.dial_at,
            None => self.doubt.timeout(link).max(self.dial_at),
        }
    }

    fn dial_later(&mut self, now: Instant) {
        let pause = PAUSES[self.failures.min(PAUSES.len() - 1)];
        self.dial_at = now.checked_add(pause);
    }

    /// Records that another connection has replaced the lost one.
    fn connected(&mut self, link: &Link, now: Instant) {
        self.dial_at = None;
        self.doubt = Doubt { found: self.doubt.found, ..Doubt::new(now) };
        let _ = link.socket().map_or(Ok(()), Socket::watch_closely);
        if let Some(at) = self.addresses.iter().position(|it| link.peer() == Some(*it)) {
            self.addresses[..=at].rotate_right(1);
            self.next = 0;
        }
    }

    fn advance(
        &mut self,
        poller: &Poller,
        link: &mut Link,
        session: &Session,
        is_lost: bool,
        times: &Times,
        now: Instant,
    ) -> Result<Step, Error> {
        let Some((dialing, mut limit)) = self.attempt.take() else {
            let is_wanted = is_lost || self.doubt.is_due(link, session, times, now);
            return Ok(match is_wanted && self.dial_at.is_none_or(|at| at <= now) {
                true => self.begin(poller, Limit::new(Some(now + times.attempt)), now),
                false => Step::None,
            });
        };
        let dialing = match dialing {
            Dialing::Connecting { socket, is_ready: true } => match socket.outcome() {
                None => Ok(Dialing::Connecting { socket, is_ready: true }),
                Some(Ok(())) => {
                    self.doubt.found += u32::from(!is_lost);
                    socket.unwatch(poller);
                    // Until the attempt is over, the current connection is not read.
                    let Some((asked, r1)) = session.ask(&*random::key()?) else {
                        return Ok(self.fail(Some(socket), now));
                    };
                    match Link::new(socket, poller, ATTEMPT) {
                        Ok(mut link) => {
                            let is_sent = !link.is_to_itself() && link.write(&r1) == R1_LEN;
                            let r2 = Vec::with_capacity(R2_LEN);
                            let dialing = Dialing::Asked { link: Box::new(link), asked, r2 };
                            if is_sent { Ok(dialing) } else { Err(dialing) }
                        }
                        Err(_) => return Ok(self.fail(None, now)),
                    }
                }
                Some(Err(_)) => Err(Dialing::Connecting { socket, is_ready: true }),
            },
            Dialing::Asked { mut link, asked, mut r2 } => {
                link.receive(&mut r2, R2_LEN);
                if r2.starts_with(b"SCAT1L") && !session.is_open() {
                    return Ok(Step::Unknown);
                }
                if let Ok(r2) = <[u8; R2_LEN]>::try_from(r2.as_slice()) {
                    return Ok(match asked.read_r2(&r2) {
                        Ok((proven, r3)) if link.write(&r3) == R3_LEN => {
                            Step::Proven(*link, proven)
                        }
                        _ => self.fail(link.take(poller), now),
                    });
                }
                let is_gone = link.end().is_some() || link.is_broken();
                let dialing = Dialing::Asked { link, asked, r2 };
                if is_gone { Err(dialing) } else { Ok(dialing) }
            }
            connecting => Ok(connecting),
        };
        match dialing {
            Ok(dialing) if !limit.is_up() => {
                self.attempt = Some((dialing, limit));
                Ok(Step::None)
            }
            Ok(failed) | Err(failed) => Ok(self.fail(failed.close(poller), now)),
        }
    }

    /// Starts to connect to the next address.
    fn begin(&mut self, poller: &Poller, limit: Limit, now: Instant) -> Step {
        let address = self.addresses[self.next];
        self.next = (self.next + 1) % self.addresses.len();
        let Ok(socket) = self.spares.take(address) else { return self.fail(None, now) };
        let begun = socket.connect().and_then(|()| {
            socket.watch(poller, ATTEMPT, Interest::READABLE.add(Interest::WRITABLE))
        });
        if begun.is_err() {
            return self.fail(Some(socket), now);
        }
        self.attempt = Some((Dialing::Connecting { socket, is_ready: false }, limit));
        Step::None
    }

    /// Records that the attempt failed. If the current connection still exists, that is
    /// no loss.
    fn fail(&mut self, socket: Option<Socket>, now: Instant) -> Step {
        if let Some(socket) = socket {
            self.spares.give_back(socket);
        }
        self.failures += 1;
        self.dial_later(now);
        Step::None
    }
}

impl Dialing {
    /// Closes what is left of the attempt.
    fn close(self, poller: &Poller) -> Option<Socket> {
        match self {
            Dialing::Connecting { socket, .. } => {
                socket.unwatch(poller);
                Some(socket)
            }
            Dialing::Asked { mut link, .. } => link.take(poller),
        }
    }
}

/// Doubt whether an existing connection still works. A peer that merely does not read
/// causes none: its TCP answers, and scat's own frames arrive.
struct Doubt {
    /// How often something answered at the port although this connection exists, without
    /// progress since. It may be the peer, suspended, or a relay.
    found: u32,
    look_at: Instant,
    /// Since when nothing has arrived although something needs an answer.
    quiet_since: Option<Instant>,
    /// Bytes received at the last check.
    received: u64,
}

impl Doubt {
    fn new(now: Instant) -> Self {
        Doubt { found: 0, look_at: now, quiet_since: None, received: 0 }
    }

    /// Returns when to check again.
    fn timeout(&self, link: &Link) -> Option<Instant> {
        let is_waiting = link.may_be_unacknowledged() || self.quiet_since.is_some();
        is_waiting.then_some(self.look_at)
    }

    fn is_due(&mut self, link: &mut Link, session: &Session, times: &Times, now: Instant) -> bool {
        // A side that does not read cannot hear either.
        let is_heard = link.received() != self.received || !session.has_space();
        self.received = link.received();
        if is_heard || !session.wants_answer() {
            self.quiet_since = None;
        }
        if session.wants_answer() {
            self.quiet_since.get_or_insert(now);
        }
        if self.look_at > now {
            return false;
        }
        self.look_at = now + LOOK_AGAIN.min(times.silence / 4);
        let wait = |time: Duration| time.saturating_mul(1 << self.found.min(16)).min(LONGEST_DOUBT);
        link.unacknowledged_for().is_some_and(|silence| silence >= wait(times.silence))
            || self.quiet_since.is_some_and(|since| now - since >= wait(times.quiet))
    }
}

// ---- the listener ----

/// The listener's half: the port that it keeps, and the callers there.
struct Port {
    socket: socket::Listener,
    places: Vec<Place>,
    next_token: usize,
    accept_at: Option<Instant>,
    attempt: Option<Attempt>,
    /// Something has arrived since the last visit.
    has_news: bool,
}

/// A caller whose R1 has not verified.
struct Place {
    link: Link,
    network: Option<Network>,
    token: Token,
    limit: Limit,
    r1: Vec<u8>,
    /// It gets the answer "busy", of which this is still unsent.
    told: Option<Vec<u8>>,
}

/// A caller whose R1 has verified: R2 is sent, R3 is arriving.
struct Attempt {
    link: Link,
    token: Token,
    answered: Answered,
    r3: Vec<u8>,
    limit: Limit,
}

impl Port {
    fn note(&mut self, ready: Ready) {
        self.has_news = true;
        if ready.token == LISTENER {
            self.accept_at.get_or_insert_with(Instant::now);
        }
        let links = self.places.iter_mut().map(|it| (it.token, &mut it.link));
        let attempt = self.attempt.iter_mut().map(|it| (it.token, &mut it.link));
        for (_, link) in links.chain(attempt).filter(|(token, _)| *token == ready.token) {
            link.note(ready);
        }
    }

    fn timeout(&self) -> Option<Instant> {
        let places = self.places.iter().filter_map(|it| it.limit.at());
        let attempt = self.attempt.iter().filter_map(|it| it.limit.at());
        places.chain(attempt).chain(self.accept_at).min()
    }

    fn advance(
        &mut self,
        poller: &Poller,
        session: &mut Session,
        times: &Times,
        now: Instant,
    ) -> Result<Step, Error> {
        if !self.has_news && self.timeout().is_none_or(|at| at > now) {
            return Ok(Step::None);
        }
        self.has_news = false;
        if self.accept_at.is_some_and(|at| at <= now) {
            self.accept_at = self.accept(poller, times, now).map(|pause| now + pause);
        }
        let mut verified = None;
        let mut at = 0;
        while let Some(place) = self.places.get_mut(at) {
            match place.advance() {
                Visit::Stays => at += 1,
                Visit::Leaves => drop(self.places.swap_remove(at)),
                Visit::R1(r1) => {
                    let place = self.places.swap_remove(at);
                    let n_l = random::key()?;
                    // An R1 that does not verify, or was answered before, closes its
                    // connection without an answer.
                    if let Ok((answered, r2)) = session.answer(&r1, &n_l) {
                        verified = Some((place, answered, r2));
                    }
                }
            }
        }
        if let Some((Place { mut link, token, .. }, answered, r2)) = verified {
            // A newer R1 ends an older attempt.
            let is_sent = link.write(&r2) == R2_LEN;
            let limit = Limit::new(Some(now + times.attempt));
            let r3 = Vec::with_capacity(R3_LEN);
            self.attempt = is_sent.then_some(Attempt { link, token, answered, r3, limit });
        }
        Ok(self.finish())
    }

    /// Reads R3.
    fn finish(&mut self) -> Step {
        let Some(mut it) = self.attempt.take() else { return Step::None };
        it.link.receive(&mut it.r3, R3_LEN);
        if let Ok(r3) = <[u8; R3_LEN]>::try_from(it.r3.as_slice()) {
            return it
                .answered
                .read_r3(&r3)
                .map_or(Step::None, |proven| Step::Proven(it.link, proven));
        }
        if it.link.end().is_none() && !it.link.is_broken() && !it.limit.is_up() {
            self.attempt = Some(it);
        }
        Step::None
    }

    /// Accepts what is queued. Returns how long to pause, or `None` if the queue is
    /// empty, so that an event will follow.
    fn accept(&mut self, poller: &Poller, times: &Times, now: Instant) -> Option<Duration> {
        loop {
            match self.socket.accept() {
                Ok(socket) => {
                    let token = Token(self.next_token);
                    self.next_token += 1;
                    let Ok(link) = Link::new(socket, poller, token) else { continue };
                    let network = link.peer().map(Network::of);
                    let limit = Limit::new(Some(now + times.attempt));
                    self.places.push(Place {
                        link,
                        network,
                        token,
                        limit,
                        r1: Vec::with_capacity(R1_LEN),
                        told: None,
                    });
                    if self.places.len() > PLACES {
                        self.evict();
                        return Some(PACE);
                    }
                }
                Err(NotAccepted::Empty) => return None,
                Err(NotAccepted::Next) => return Some(Duration::ZERO),
                Err(NotAccepted::NoRoom(_)) if !self.places.is_empty() => {
                    self.evict();
                    return Some(PACE);
                }
                Err(NotAccepted::NoRoom(_) | NotAccepted::Failed(_)) => return Some(RETRY),
            }
        }
    }

    fn evict(&mut self) {
        let token = greediest(self.places.iter().map(|it| (it.network, it.token)));
        self.places.retain(|it| Some(it.token) != token);
    }
}

/// What a caller has done after a visit.
enum Visit {
    Stays,
    Leaves,
    R1([u8; R1_LEN]),
}

impl Place {
    fn advance(&mut self) -> Visit {
        if self.told.is_none() {
            self.link.receive(&mut self.r1, R1_LEN);
            let start = &self.r1[..self.r1.len().min(R1_PREFACE.len())];
            if start.starts_with(b"SCAT1C") {
                // After OPEN, a flight 1 is never read again: only one opening may be
                // revealed.
                self.told = Some(BUSY.to_vec());
                self.limit.shorten(Instant::now() + CLOSE);
            } else if !R1_PREFACE.starts_with(start) && !b"SCAT1C".starts_with(start) {
                return Visit::Leaves;
            } else if let Ok(r1) = <[u8; R1_LEN]>::try_from(self.r1.as_slice()) {
                return Visit::R1(r1);
            }
        }
        if let Some(told) = &mut self.told {
            let n = self.link.write(told);
            told.drain(..n);
            if told.is_empty() {
                self.link.shutdown();
            }
            while self.link.read(&mut [0; 2048]) > 0 {
                if self.link.received() > DISCARD {
                    return Visit::Leaves;
                }
            }
        }
        match self.link.end().is_some() || self.link.is_broken() || self.limit.is_up() {
            true => Visit::Leaves,
            false => Visit::Stays,
        }
    }
}
