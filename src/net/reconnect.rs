//! Reconnection: replaces a lost connection. The connector dials; the listener accepts on
//! the port that it has kept. The source is scat-protocol(7), RECONNECTION.
//!
//! Until a new connection has proved itself, the current one stays, even if it is lost:
//! data still unread there may say why it ended.

use super::candidate::{Network, greediest};
use super::link::Link;
use crate::error::Error;
use crate::protocol::reconnect::{
    Answered, Asked, BUSY, Proven, R1_LEN, R1_PREFACE, R2_LEN, R3_LEN, Refused,
};
use crate::protocol::secret::Secret;
use crate::protocol::session::Session;
use crate::sys::poller::{FIRST_CANDIDATE, LINK, LISTENER, Poller, Ready, Token};
use crate::sys::random;
use crate::sys::sandbox::Allowed;
use crate::sys::socket::{self, NotAccepted, Socket, Spares};
use crate::ui::waiting::Limit;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Longest pause between the end of one attempt and the start of the next.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
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
            times,
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
            times,
            places: Vec::new(),
            verified: None,
            next_token: FIRST_CANDIDATE,
            accept_at: Some(Instant::now()),
            has_news: false,
        };
        Self::new(Way::Accept(port), patience, times)
    }

    fn new(way: Way, patience: Duration, times: Times) -> Self {
        let (lost, began, up_since) = (None, None, Instant::now());
        Reconnect { way, times, patience, lost, began, progress: 0, up_since, is_first: true }
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
            Way::Dial(dialer) => dialer.attempt.as_ref().is_some_and(|it| it.asked.is_some()),
            Way::Accept(port) => port.verified.is_some(),
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
        let is_lost = self.lost.is_some();
        let proven = match &mut self.way {
            Way::Dial(dialer) => dialer.advance(poller, link, session, is_lost, now)?,
            Way::Accept(port) => port.advance(poller, session, now)?,
        };
        let Some((new, proven)) = proven else {
            let is_over = self.lost.as_mut().is_some_and(|(_, limit)| limit.is_up());
            return if is_over { Err(Error::NotBack(self.patience)) } else { Ok(None) };
        };
        session.go_on(proven)?;
        self.close(link, poller);
        *link = new;
        link.rewatch(poller, LINK)?;
        self.up_since = now;
        if let Way::Dial(dialer) = &mut self.way {
            dialer.connected(link, now);
        }
        Ok(Some(Change::Back(self.lost.take().map(|(at, _)| now - at))))
    }

    /// Handles the loss of the connection. Only progress restarts the wait, so that a
    /// path that kills each connection after its first kilobyte is not dialled forever.
    fn lose(&mut self, now: Instant) {
        if now - self.up_since >= self.times.steady {
            self.start_anew();
        }
        if let Way::Dial(dialer) = &mut self.way {
            dialer.failures += u32::from(self.began.is_some());
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

// ---- the connector ----

/// The connector's half: it dials.
struct Dialer {
    /// The address in use comes first.
    addresses: Vec<SocketAddr>,
    /// Index of the next address to try.
    next: usize,
    spares: Spares,
    times: Times,
    attempt: Option<Attempt>,
    /// No attempt starts before this time.
    dial_at: Option<Instant>,
    /// Failed attempts since the last progress.
    failures: u32,
    doubt: Doubt,
}

/// An attempt of the connector.
struct Attempt {
    /// TCP may still be connecting.
    link: Link,
    limit: Limit,
    n_c: Secret,
    /// Once R1 is sent; R2 is arriving.
    asked: Option<Asked>,
    r2: Vec<u8>,
}

const ATTEMPT: Token = Token(FIRST_CANDIDATE);

impl Dialer {
    fn note(&mut self, ready: Ready) {
        if let Some(attempt) = self.attempt.as_mut().filter(|_| ready.token == ATTEMPT) {
            attempt.link.note(ready);
        }
    }

    fn timeout(&self, link: &Link, is_lost: bool) -> Option<Instant> {
        match &self.attempt {
            Some(attempt) => attempt.limit.at(),
            None if is_lost => self.dial_at,
            // Without doubt, nothing is due when the pause is over.
            None => self.doubt.timeout(link).and_then(|at| Some(at).max(self.dial_at)),
        }
    }

    /// Sets the pause before the next attempt: none, 0.5 s, and then twice as long each
    /// time.
    fn dial_later(&mut self, now: Instant) {
        let pause = Duration::from_millis(250) * (1 << self.failures.min(6));
        let pause = if self.failures == 0 { Duration::ZERO } else { pause.min(LONGEST_PAUSE) };
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
        now: Instant,
    ) -> Result<Option<(Link, Proven)>, Error> {
        let Some(mut attempt) = self.attempt.take() else {
            let is_wanted = is_lost || self.doubt.is_due(link, session, &self.times, now);
            if is_wanted && self.dial_at.is_none_or(|at| at <= now) {
                self.begin(poller, random::key()?, now);
            }
            return Ok(None);
        };
        let was_connecting = attempt.asked.is_none();
        let result = attempt.advance(session);
        if was_connecting && attempt.asked.is_some() && !is_lost {
            self.doubt.found += 1;
        }
        match result {
            Ok(Some(proven)) => return Ok(Some((attempt.link, proven))),
            Ok(None) if !attempt.limit.is_up() => self.attempt = Some(attempt),
            _ => self.fail(attempt.link.take(poller), now),
        }
        Ok(None)
    }

    /// Starts to connect to the next address.
    fn begin(&mut self, poller: &Poller, n_c: Secret, now: Instant) {
        let address = self.addresses[self.next];
        self.next = (self.next + 1) % self.addresses.len();
        let Ok(socket) = self.spares.take(address) else { return self.fail(None, now) };
        if socket.connect().is_err() {
            return self.fail(Some(socket), now);
        }
        let Ok(link) = Link::new(socket, poller, ATTEMPT) else { return self.fail(None, now) };
        let limit = Limit::new(Some(now + self.times.attempt));
        let (asked, r2) = (None, Vec::with_capacity(R2_LEN));
        self.attempt = Some(Attempt { link, limit, n_c, asked, r2 });
    }

    /// Records that an attempt failed. If the current connection still exists, that is
    /// no loss.
    fn fail(&mut self, socket: Option<Socket>, now: Instant) {
        socket.into_iter().for_each(|socket| self.spares.give_back(socket));
        self.failures += 1;
        self.dial_later(now);
    }
}

impl Attempt {
    /// Does what is possible now. The result is `None` until the other end has proved
    /// itself.
    ///
    /// # Errors
    /// [`Refused`]: this attempt has failed.
    fn advance(&mut self, session: &Session) -> Result<Option<Proven>, Refused> {
        if self.asked.is_none() {
            let outcome = self.link.socket().and_then(Socket::outcome);
            let Some(Ok(())) = outcome else {
                return if outcome.is_some() { Err(Refused) } else { Ok(None) };
            };
            let (asked, r1) = session.ask(&self.n_c).ok_or(Refused)?;
            self.asked = Some(asked);
            if self.link.is_to_itself() || self.link.write(&r1) < R1_LEN {
                return Err(Refused);
            }
        }
        self.link.receive(&mut self.r2, R2_LEN);
        let Ok(r2) = <[u8; R2_LEN]>::try_from(&*self.r2) else {
            return if self.link.has_ended() { Err(Refused) } else { Ok(None) };
        };
        let (proven, r3) = self.asked.take().ok_or(Refused)?.read_r2(&r2)?;
        if self.link.write(&r3) == R3_LEN { Ok(Some(proven)) } else { Err(Refused) }
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
    times: Times,
    places: Vec<Caller>,
    /// The caller whose R1 has verified: R2 is sent, R3 is arriving.
    verified: Option<(Caller, Answered)>,
    next_token: usize,
    accept_at: Option<Instant>,
    /// Something has arrived since the last visit.
    has_news: bool,
}

struct Caller {
    link: Link,
    network: Option<Network>,
    token: Token,
    limit: Limit,
    /// What has arrived of R1, then of R3.
    flight: Vec<u8>,
    /// Not the peer of this session: it receives "busy", and its data is dropped.
    is_stranger: bool,
}

impl Port {
    fn note(&mut self, ready: Ready) {
        self.has_news = true;
        if ready.token == LISTENER {
            self.accept_at.get_or_insert_with(Instant::now);
        }
        let verified = self.verified.iter_mut().map(|(caller, _)| caller);
        for caller in self.places.iter_mut().chain(verified) {
            if caller.token == ready.token {
                caller.link.note(ready);
            }
        }
    }

    fn timeout(&self) -> Option<Instant> {
        let verified = self.verified.iter().map(|(caller, _)| caller);
        let callers = self.places.iter().chain(verified);
        callers.filter_map(|it| it.limit.at()).chain(self.accept_at).min()
    }

    fn advance(
        &mut self,
        poller: &Poller,
        session: &mut Session,
        now: Instant,
    ) -> Result<Option<(Link, Proven)>, Error> {
        if !self.has_news && self.timeout().is_none_or(|at| at > now) {
            return Ok(None);
        }
        self.has_news = false;
        if self.accept_at.is_some_and(|at| at <= now) {
            self.accept_at = self.accept(poller, now).map(|pause| now + pause);
        }
        for mut caller in std::mem::take(&mut self.places) {
            match caller.read_r1(now) {
                Ok(Some(r1)) => self.answer(caller, &r1, session, now)?,
                Ok(None) if !caller.is_over() => self.places.push(caller),
                _ => {}
            }
        }
        Ok(self.finish())
    }

    /// Answers R1. One that does not verify, or was answered before, closes its
    /// connection without an answer; one that does ends an older attempt.
    fn answer(
        &mut self,
        mut caller: Caller,
        r1: &[u8; R1_LEN],
        session: &mut Session,
        now: Instant,
    ) -> Result<(), Error> {
        let n_l = random::key()?;
        if let Ok((answered, r2)) = session.answer(r1, &n_l) {
            let is_sent = caller.link.write(&r2) == R2_LEN;
            caller.limit = Limit::new(Some(now + self.times.attempt));
            caller.flight.clear();
            self.verified = is_sent.then_some((caller, answered));
        }
        Ok(())
    }

    /// Reads R3.
    fn finish(&mut self) -> Option<(Link, Proven)> {
        let (mut caller, answered) = self.verified.take()?;
        caller.link.receive(&mut caller.flight, R3_LEN);
        if let Ok(r3) = <[u8; R3_LEN]>::try_from(&*caller.flight) {
            let proven = answered.read_r3(&r3).ok()?;
            return Some((caller.link, proven));
        }
        if !caller.is_over() {
            self.verified = Some((caller, answered));
        }
        None
    }

    /// Accepts what is queued. Returns how long to pause, or `None` if the queue is
    /// empty, so that an event will follow.
    fn accept(&mut self, poller: &Poller, now: Instant) -> Option<Duration> {
        loop {
            match self.socket.accept() {
                Ok(socket) => {
                    let token = Token(self.next_token);
                    self.next_token += 1;
                    let Ok(link) = Link::new(socket, poller, token) else { continue };
                    let network = link.peer().map(Network::of);
                    let limit = Limit::new(Some(now + self.times.attempt));
                    let (flight, is_stranger) = (Vec::with_capacity(R1_LEN), false);
                    self.places.push(Caller { link, network, token, limit, flight, is_stranger });
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

impl Caller {
    /// Reads what has arrived, and returns R1 once it is whole. After OPEN a flight 1 is
    /// never read again, because only one opening may be revealed: its caller receives
    /// "busy". An error means that it is neither.
    fn read_r1(&mut self, now: Instant) -> Result<Option<[u8; R1_LEN]>, Refused> {
        if !self.is_stranger {
            self.link.receive(&mut self.flight, R1_LEN);
            self.is_stranger = self.flight.starts_with(b"SCAT1C");
            if !self.is_stranger {
                let start = &self.flight[..self.flight.len().min(R1_PREFACE.len())];
                let is_r1 = R1_PREFACE.starts_with(start);
                return if is_r1 { Ok(self.flight[..].try_into().ok()) } else { Err(Refused) };
            }
            self.limit.shorten(now + CLOSE);
            self.link.write(&BUSY);
            self.link.shutdown();
        }
        while self.link.received() <= DISCARD && self.link.read(&mut [0; 2048]) > 0 {}
        Ok(None)
    }

    /// Whether it has left or must go.
    fn is_over(&mut self) -> bool {
        self.link.has_ended() || self.link.received() > DISCARD || self.limit.is_up()
    }
}
