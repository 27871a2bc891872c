//! From names to one peer: resolving, connecting, listening among strangers,
//! and the handshake over TCP.

use crate::error::{Ended, Error, plain};
use crate::frame::{self, CONTENT_AT, Kind, Sealer, frame_len};
use crate::handshake::{
    Accepted, Connected, FLIGHT2_LEN, FLIGHT3_LEN, Greeting, Initiator, Local, PREFACE_LEN,
    Responder, ResponderReply, flight1_len, greeting, preface, random,
};
use crate::noise::Ephemerals;
use crate::policy::Policy;
use crate::role::Role;
use crate::session::{Counters, Reason};
use crate::status::{Address, RateLimit, Status};
use crate::wait::Wait;
use dns_lookup::{AddrFamily, AddrInfoHints, SockType, getaddrinfo};
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Token};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Time for each address while others remain, and for each step of the handshake.
const STEP: Duration = Duration::from_secs(10);
/// Time for a stranger who is turned away to take what it was told.
const LEAVE: Duration = Duration::from_secs(2);
/// Time until the next look when the system had no room for a connection.
const AGAIN: Duration = Duration::from_millis(200);
/// Handshakes at once.
const STRANGERS: usize = 64;
/// Most bytes that are thrown away at once for one who is turned away; none of
/// what scat sends in a handshake comes near.
const WASTE: usize = 1 << 16;
/// Connections that the system holds for us meanwhile.
const BACKLOG: i32 = 128;

const SOCKET: Token = Token(0);
/// Strangers' tokens count up from here.
const FIRST_STRANGER: usize = 1;

/// Which kinds of addresses may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Both.
    Any,
    /// `-4`
    V4,
    /// `-6`
    V6,
}

/// Asks for the addresses of `host` (of every interface without one) and the
/// number of `service`, in the system's order. With `numeric`, asks nobody.
///
/// The system's resolver cannot be interrupted, so it gets a thread; a signal
/// or `deadline` does not wait for it.
///
/// # Errors
/// [`Error::Resolve`], [`Error::Waited`] through `late`, [`Error::Signal`].
pub fn resolve(
    wait: &mut Wait,
    host: Option<&str>,
    service: &str,
    family: Family,
    numeric: bool,
    limit: &Limit,
) -> Result<Vec<SocketAddr>, Error> {
    let name = match host {
        Some(host) => format!("{host} port {service}"),
        None => format!("port {service}"),
    };
    let is_name = host.is_some_and(|host| host.parse::<IpAddr>().is_err());
    let failed = |why: String| Error::Resolve { name: name.clone(), why };
    let passive = if host.is_none() { libc::AI_PASSIVE } else { 0 };
    let hints = AddrInfoHints {
        flags: passive | if numeric { libc::AI_NUMERICHOST } else { 0 },
        address: match family {
            Family::Any => 0,
            Family::V4 => AddrFamily::Inet.into(),
            Family::V6 => AddrFamily::Inet6.into(),
        },
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let waker = wait.waker();
    let (sender, receiver) = mpsc::channel();
    let (host, service) = (host.map(str::to_owned), service.to_owned());
    std::thread::spawn(move || {
        let found = getaddrinfo(host.as_deref(), Some(&service), Some(hints))
            .map_err(io::Error::from)
            .and_then(|all| all.map(|one| Ok(one?.sockaddr)).collect::<io::Result<Vec<_>>>());
        let _ = sender.send(found);
        let _ = waker.wake();
    });
    loop {
        wait.until(limit.deadline)?;
        match receiver.try_recv() {
            Ok(Ok(found)) if found.is_empty() => return Err(failed("no address".into())),
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(_)) if is_name && numeric => {
                return Err(failed("not an address, and -n says not to ask for one".into()));
            }
            Ok(Err(why)) => return Err(failed(resolver_words(&why))),
            Err(mpsc::TryRecvError::Empty) => limit.check()?,
            Err(mpsc::TryRecvError::Disconnected) => return Err(failed("failed".into())),
        }
    }
}

/// The resolver's words behind the library's own prefix.
fn resolver_words(why: &io::Error) -> String {
    let text = why.to_string();
    let text = text.rsplit(": ").next().unwrap_or(&text);
    plain(&io::Error::other(text.to_owned()))
}

/// `-w`: the moment until which there has to be a session.
#[derive(Clone, Copy)]
pub struct Limit {
    given: Option<Duration>,
    deadline: Option<Instant>,
}

impl Limit {
    /// Counts from now.
    pub fn new(given: Option<Duration>) -> Self {
        Limit { given, deadline: given.and_then(|time| Instant::now().checked_add(time)) }
    }

    /// The moment, if there is one.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// `other`, or the limit where that comes first.
    fn or(&self, other: Instant) -> Instant {
        self.deadline.map_or(other, |at| at.min(other))
    }

    fn check(&self) -> Result<(), Error> {
        match (self.given, self.deadline) {
            (Some(given), Some(at)) if Instant::now() >= at => Err(Error::Waited(given)),
            _ => Ok(()),
        }
    }
}

/// A handshake that came to its end: what the session is made of.
pub struct Met<T> {
    /// The connection, non-blocking, registered with the poll.
    pub stream: TcpStream,
    /// The other end.
    pub address: SocketAddr,
    /// The handshake's outcome.
    pub outcome: T,
}

// Connecting.

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
pub fn connect(
    wait: &mut Wait,
    to: &Target,
    local: &Local,
    policy: &Policy,
    limit: &Limit,
    status: Status,
) -> Result<Met<Connected>, Error> {
    let mut refused = None;
    for (i, &address) in to.addresses.iter().enumerate() {
        let is_last = i + 1 == to.addresses.len();
        status.detail(format_args!("connecting to {}", Address(address)));
        match connect_one(wait, address, &to.sources, is_last, limit) {
            Ok(stream) => {
                status.detail(format_args!("connected to {}; handshake", Address(address)));
                return greet(wait, stream, address, local, policy, limit);
            }
            Err(Error::Connect { to, why }) => {
                status.detail(format_args!("connect {to}: {}", plain(&why)));
                refused = Some(why);
            }
            Err(error) => return Err(error),
        }
    }
    let why = refused.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into());
    Err(Error::Connect { to: to.name.clone(), why })
}

fn connect_one(
    wait: &mut Wait,
    address: SocketAddr,
    sources: &[SocketAddr],
    is_last: bool,
    limit: &Limit,
) -> Result<TcpStream, Error> {
    let failed = |why| Error::Connect { to: Address(address).to_string(), why };
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
        .map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    if !sources.is_empty() {
        let fitting = sources.iter().find(|source| source.is_ipv4() == address.is_ipv4());
        let source = fitting.ok_or_else(|| failed(io::ErrorKind::AddrNotAvailable.into()))?;
        let at = Address(*source).to_string();
        let bind = |why| Error::Bind { at: at.clone(), why };
        socket.set_reuse_address(true).map_err(bind)?;
        socket.bind(&(*source).into()).map_err(bind)?;
    }
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(why) if why.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(why) => return Err(failed(why)),
    }
    let mut stream = TcpStream::from_std(socket.into());
    let both = Interest::READABLE | Interest::WRITABLE;
    wait.registry().register(&mut stream, SOCKET, both).map_err(failed)?;
    let patience = (!is_last).then(|| Instant::now() + STEP);
    loop {
        wait.until(patience.map_or(limit.deadline, |at| Some(limit.or(at))))?;
        if wait.events().any(|event| event.token() == SOCKET) {
            if let Some(why) = stream.take_error().map_err(failed)? {
                return Err(failed(why));
            }
            if stream.peer_addr().is_ok() {
                return Ok(stream);
            }
        }
        limit.check()?;
        if patience.is_some_and(|at| Instant::now() >= at) {
            return Err(failed(io::ErrorKind::TimedOut.into()));
        }
    }
}

/// The connector's handshake.
fn greet(
    wait: &mut Wait,
    mut stream: TcpStream,
    address: SocketAddr,
    local: &Local,
    policy: &Policy,
    limit: &Limit,
) -> Result<Met<Connected>, Error> {
    tune(&stream).map_err(|why| Error::System("socket", why))?;
    let myself = stream.local_addr().is_ok_and(|own| own == address);
    let (initiator, flight1) = Initiator::new(local, Ephemerals::random()?, &*random()?)?;
    let deadline = limit.or(Instant::now() + STEP);
    let mut unsent = &flight1[..];
    let mut flight2 = [0; FLIGHT2_LEN];
    let mut len = 0;
    while len < FLIGHT2_LEN {
        let mut ended = None;
        let mut is_idle = false;
        match send(&mut stream, &mut unsent) {
            Err(why) if why.kind() != io::ErrorKind::WouldBlock => ended = Some(why),
            _ => {}
        }
        // What has arrived is read even if sending has failed: it tells more.
        let at_end = match stream.read(&mut flight2[len..]) {
            Ok(0) => true,
            Ok(n) => {
                len += n;
                false
            }
            Err(why) if is_transient(&why) => {
                is_idle = true;
                false
            }
            Err(why) => {
                ended = Some(why);
                true
            }
        };
        match greeting(&flight2[..len], Role::Listener, local.has_psk()) {
            Greeting::Fits | Greeting::Unfinished => {}
            Greeting::Stranger => return Err(Error::NotScat),
            Greeting::Version(version) => return Err(Error::Version(version)),
            Greeting::Other => return Err(Error::Version(0)),
            Greeting::SameRole if myself => return Err(Error::Myself),
            Greeting::SameRole => return Err(Error::BothConnect),
            Greeting::Psk if local.has_psk() => return Err(Error::PskUnwanted),
            Greeting::Psk => return Err(Error::PskWanted),
        }
        if at_end {
            return Err(match len {
                0 => Error::Silent,
                PREFACE_LEN if local.has_psk() => Error::PskDiffers,
                _ => Error::HandshakeCut(ended),
            });
        }
        if is_idle {
            wait.until(Some(deadline))?;
            limit.check()?;
            if Instant::now() >= deadline {
                return Err(Error::HandshakeTimeout);
            }
        }
    }
    let reply = initiator.read_flight2(&flight2)?;
    if !policy.admits(&reply.peer) {
        return Err(Error::OtherKey);
    }
    let (outcome, flight3) = reply.write_flight3()?;
    let mut unsent = &flight3[..];
    while !unsent.is_empty() {
        match send(&mut stream, &mut unsent) {
            Ok(()) => {}
            Err(why) if is_transient(&why) => {
                wait.until(Some(deadline))?;
                if Instant::now() >= deadline {
                    return Err(Error::OpenTimeout);
                }
            }
            Err(why) => return Err(Error::Cut(NOTHING, Some(why))),
        }
    }
    Ok(Met { stream, address, outcome })
}

const NOTHING: Ended =
    Ended { counters: Counters { sent: 0, received: 0, written: 0 }, confirmed: false };

/// Writes as much of `unsent` as the socket takes.
fn send(stream: &mut TcpStream, unsent: &mut &[u8]) -> io::Result<()> {
    while !unsent.is_empty() {
        let n = stream.write(unsent)?;
        *unsent = &unsent[n..];
    }
    Ok(())
}

fn is_transient(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// No delay for small frames; a peer that vanishes from an idle connection is
/// noticed within about two minutes. (TCP_USER_TIMEOUT would also end a peer
/// that lives and merely does not read.)
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

// Listening.

/// Binds the first of `addresses` that is to be had.
///
/// # Errors
/// [`Error::Bind`].
pub fn bind(
    addresses: &[SocketAddr],
    any: bool,
    family: Family,
) -> Result<std::net::TcpListener, Error> {
    // One socket for both kinds: the IPv6 one, which takes IPv4 as well.
    let mut addresses = addresses.to_vec();
    if any {
        addresses.sort_by_key(SocketAddr::is_ipv4);
    }
    let mut refused = None;
    for address in addresses {
        match bind_one(address, any && family == Family::Any) {
            Ok(listener) => return Ok(listener),
            Err(why) => {
                let at = Address(address).to_string();
                let is_taken = why.kind() == io::ErrorKind::AddrInUse;
                refused = Some(Error::Bind { at, why });
                // Half a port is not what was asked for.
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

fn bind_one(address: SocketAddr, dual: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!dual)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Listens until a stranger completes the handshake. The listening socket and
/// every other stranger are gone when this returns, so an opening cannot be
/// revealed by anything that this process does afterwards but once.
///
/// # Errors
/// [`Error::Waited`], [`Error::Signal`], [`Error::System`]; never because of a stranger.
pub fn listen(
    wait: &mut Wait,
    listener: std::net::TcpListener,
    local: &Local,
    policy: &Policy,
    limit: &Limit,
    status: Status,
) -> Result<Met<Accepted>, Error> {
    let system = |why| Error::System("listen", why);
    let at = listener.local_addr().map_err(system)?;
    let only_v6 = at.is_ipv6() && SockRef::from(&listener).only_v6().map_err(system)?;
    status.say(format_args!(
        "listening on {} port {}",
        match (at.ip(), only_v6) {
            (ip, _) if !ip.is_unspecified() => ip.to_canonical().to_string(),
            (IpAddr::V4(_), _) => "every IPv4 address,".to_owned(),
            (IpAddr::V6(_), true) => "every IPv6 address,".to_owned(),
            (IpAddr::V6(_), false) => "every address,".to_owned(),
        },
        at.port()
    ));
    let mut listener = TcpListener::from_std(listener);
    wait.registry().register(&mut listener, SOCKET, Interest::READABLE).map_err(system)?;
    let mut door = Door {
        local,
        policy,
        listener,
        strangers: Vec::new(),
        next: FIRST_STRANGER,
        served: HashMap::new(),
        turns: 0,
        failed: 0,
        is_knocked_at: false,
        log: RateLimit::new(),
        status,
    };
    loop {
        let deadline = if door.has_work() { Some(Instant::now()) } else { door.deadline(limit) };
        let asked = wait.until(deadline)?;
        limit.check()?;
        if asked.report {
            status.say(format_args!(
                "listening; {} handshakes under way, {} failed",
                door.strangers.len(),
                door.failed
            ));
        }
        let tokens: Vec<Token> = wait.events().map(|event| event.token()).collect();
        for token in tokens {
            if token == SOCKET {
                door.is_knocked_at = true;
            } else if let Some(met) = door.visit(token) {
                return Ok(met);
            }
        }
        door.send_away_the_late();
        if door.is_knocked_at {
            door.accept(wait).map_err(system)?;
        }
        if let Some(met) = door.answer_one() {
            return Ok(met);
        }
    }
}

/// An IPv4 address or an IPv6 /64: what counts as one source.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Network {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Network {
    fn of(address: &SocketAddr) -> Self {
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => Network::V4(ip.octets()),
            IpAddr::V6(ip) => Network::V6(half(ip)),
        }
    }
}

fn half(ip: Ipv6Addr) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = ip.octets();
    [a, b, c, d, e, f, g, h]
}

/// Somebody who has connected and is not yet the peer.
struct Stranger<'a> {
    stream: TcpStream,
    address: SocketAddr,
    network: Network,
    token: Token,
    leave_by: Instant,
    stage: Stage<'a>,
}

enum Stage<'a> {
    /// Sending flight 1.
    Knocking(Vec<u8>),
    /// Flight 1 is whole and waits for its turn.
    Queued(Vec<u8>),
    /// Flight 2 is written, up to what is left here; flight 3 is arriving.
    Replied { reply: Box<ResponderReply<'a>>, unsent: Vec<u8>, flight3: Vec<u8> },
    /// Turned away for this reason: being told what is left here, then drained.
    Leaving(Vec<u8>, Why),
}

/// Why a stranger did not become the peer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    Closed,
    NotScat,
    Version,
    SameRole,
    OnePsk,
    OtherPsk,
    HungUp,
    Lost,
    TooSlow,
    TooMany,
    Forged,
    Myself,
    OtherKey,
    Random,
}

impl Why {
    /// Whether the person here should know without `-v`: somebody who speaks
    /// scat was started in a way that does not fit.
    fn concerns_user(self) -> bool {
        matches!(self, Why::Version | Why::OnePsk | Why::OtherPsk)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Closed => "closed before the handshake",
            Why::NotScat => "does not speak scat",
            Why::Version => "speaks another version",
            Why::SameRole => "listens as well",
            Why::OnePsk => "only one side has a pre-shared key",
            Why::OtherPsk => "the pre-shared keys differ",
            Why::HungUp => "hung up during the handshake",
            Why::Lost => "connection lost during the handshake",
            Why::TooSlow => "too slow",
            Why::TooMany => "dropped: too many connections",
            Why::Forged => "forged or altered handshake",
            Why::Myself => "connected to myself",
            Why::OtherKey => "its key is not one of --peer",
            Why::Random => "no random numbers",
        })
    }
}

/// What became of a stranger after it was looked at.
enum Verdict {
    Stays,
    Gone(Why),
    Accepted(Box<Accepted>),
}

impl<'a> Stranger<'a> {
    /// Reads and writes what is possible now.
    fn advance(&mut self, local: &'a Local, policy: &Policy) -> io::Result<Verdict> {
        let mut wasted = 0;
        loop {
            match &mut self.stage {
                Stage::Knocking(flight1) => {
                    let whole = flight1_len(local.has_psk());
                    if receive(&mut self.stream, flight1, whole)? == 0 {
                        return Ok(Verdict::Gone(Why::Closed));
                    }
                    match greeting(flight1, Role::Connector, local.has_psk()) {
                        Greeting::Unfinished => {}
                        Greeting::Fits if flight1.len() < whole => {}
                        Greeting::Fits => {
                            self.stage = Stage::Queued(std::mem::take(flight1));
                            return Ok(Verdict::Stays);
                        }
                        Greeting::Stranger => return Ok(Verdict::Gone(Why::NotScat)),
                        Greeting::Version(_) | Greeting::Other => {
                            self.turn_away(local, Why::Version)
                        }
                        Greeting::SameRole => self.turn_away(local, Why::SameRole),
                        Greeting::Psk => self.turn_away(local, Why::OnePsk),
                    }
                }
                Stage::Queued(_) => return Ok(Verdict::Stays),
                Stage::Replied { unsent, flight3, .. } => {
                    flush(&mut self.stream, unsent)?;
                    if receive(&mut self.stream, flight3, FLIGHT3_LEN)? == 0 {
                        return Ok(Verdict::Gone(Why::HungUp));
                    }
                    if let Ok(flight3) = <[u8; FLIGHT3_LEN]>::try_from(flight3.as_slice()) {
                        match self.accept(&flight3, policy) {
                            Verdict::Stays => {}
                            verdict => return Ok(verdict),
                        }
                    }
                }
                Stage::Leaving(unsent, why) => {
                    let waste = flush(&mut self.stream, unsent).and_then(|()| {
                        self.stream.shutdown(Shutdown::Write)?;
                        self.stream.read(&mut [0; 2048])
                    });
                    match waste {
                        Err(error) if is_transient(&error) => return Err(error),
                        // How it went is no reason; a socket that both have closed
                        // refuses the shutdown.
                        Ok(0) | Err(_) => return Ok(Verdict::Gone(*why)),
                        // Who sends as fast as it is thrown away holds up the others.
                        Ok(n) if wasted + n > WASTE => return Ok(Verdict::Gone(*why)),
                        Ok(n) => wasted += n,
                    }
                }
            }
        }
    }

    /// Its turn: the expensive step, taken once flight 1 is whole.
    fn answer(&mut self, local: &'a Local) -> Result<(), Error> {
        let Stage::Queued(flight1) = &self.stage else {
            return Ok(());
        };
        match Responder::new(local).answer(flight1, Ephemerals::random()?, &*random()?) {
            Ok((reply, flight2)) => {
                self.stage = Stage::Replied {
                    reply: Box::new(reply),
                    unsent: flight2.to_vec(),
                    flight3: Vec::with_capacity(FLIGHT3_LEN),
                };
            }
            // Under a pre-shared key, the preface alone says that the keys differ.
            Err(_) if local.has_psk() => self.turn_away(local, Why::OtherPsk),
            Err(_) => self.stage = Stage::Leaving(Vec::new(), Why::Forged),
        }
        Ok(())
    }

    fn accept(&mut self, flight3: &[u8; FLIGHT3_LEN], policy: &Policy) -> Verdict {
        let gone = Stage::Leaving(Vec::new(), Why::Forged);
        let stage = std::mem::replace(&mut self.stage, gone);
        let Stage::Replied { reply, .. } = stage else {
            return Verdict::Stays;
        };
        match reply.read_flight3(flight3) {
            Ok(accepted) if policy.admits(&accepted.peer) => Verdict::Accepted(Box::new(accepted)),
            Ok(accepted) => {
                let abort = refusal(accepted).unwrap_or_default();
                self.leave(abort, Why::OtherKey);
                Verdict::Stays
            }
            Err(crate::handshake::Error::Myself) => Verdict::Gone(Why::Myself),
            Err(_) => Verdict::Gone(Why::Forged),
        }
    }

    fn turn_away(&mut self, local: &Local, why: Why) {
        self.leave(preface(Role::Listener, local.has_psk()).to_vec(), why);
    }

    fn leave(&mut self, last_words: Vec<u8>, why: Why) {
        self.leave_by = self.leave_by.min(Instant::now() + LEAVE);
        self.stage = Stage::Leaving(last_words, why);
    }

    /// Who is dropped first when there are too many: lower goes first.
    fn rank(&self) -> (u8, Instant) {
        let stage = match self.stage {
            Stage::Leaving(..) => 0,
            Stage::Knocking(_) => 1,
            Stage::Queued(_) | Stage::Replied { .. } => 2,
        };
        (stage, self.leave_by)
    }
}

/// ABORT in the place of OPEN, for a peer whose key is not wanted.
fn refusal(accepted: Accepted) -> Result<Vec<u8>, frame::Error> {
    let mut frame = vec![0; frame_len(1)];
    frame[CONTENT_AT] = Reason::Refused as u8;
    Sealer::new(&accepted.keys.l2c).seal(Kind::Abort, &mut frame, 1)?;
    Ok(frame)
}

/// Appends what there is to `buffer`, up to `whole` bytes in all. Nothing is the end.
fn receive(stream: &mut TcpStream, buffer: &mut Vec<u8>, whole: usize) -> io::Result<usize> {
    let len = buffer.len();
    buffer.resize(whole, 0);
    let read = stream.read(&mut buffer[len..]);
    buffer.truncate(len + *read.as_ref().unwrap_or(&0));
    read
}

fn flush(stream: &mut TcpStream, unsent: &mut Vec<u8>) -> io::Result<()> {
    while !unsent.is_empty() {
        let n = stream.write(unsent)?;
        unsent.drain(..n);
    }
    Ok(())
}

/// The listening socket and the strangers before it.
struct Door<'a> {
    local: &'a Local,
    policy: &'a Policy,
    listener: TcpListener,
    strangers: Vec<Stranger<'a>>,
    next: usize,
    /// When each network had its last turn, by [`Door::turns`].
    served: HashMap<Network, u64>,
    turns: u64,
    failed: u64,
    /// There may be connections to accept.
    is_knocked_at: bool,
    log: RateLimit,
    status: Status,
}

impl<'a> Door<'a> {
    fn accept(&mut self, wait: &Wait) -> io::Result<()> {
        loop {
            let (mut stream, address) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
                    self.is_knocked_at = false;
                    return Ok(());
                }
                Err(why) => match why.raw_os_error() {
                    Some(libc::EBADF | libc::EINVAL | libc::ENOTSOCK) => return Err(why),
                    // No descriptors, no memory: a stranger goes, or it is tried again soon.
                    Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                        if self.strangers.is_empty() {
                            return Ok(());
                        }
                        self.evict();
                        continue;
                    }
                    // What went wrong with that one connection has taken it from the queue.
                    _ => continue,
                },
            };
            let token = Token(self.next);
            self.next += 1;
            let both = Interest::READABLE | Interest::WRITABLE;
            if tune(&stream).is_err() || wait.registry().register(&mut stream, token, both).is_err()
            {
                continue;
            }
            self.strangers.push(Stranger {
                stream,
                address,
                network: Network::of(&address),
                token,
                leave_by: Instant::now() + STEP,
                stage: Stage::Knocking(Vec::new()),
            });
            if self.strangers.len() > STRANGERS {
                self.evict();
            }
        }
    }

    /// Drops one: of the network that holds the most places, the first by rank.
    fn evict(&mut self) {
        let mut places: HashMap<Network, usize> = HashMap::new();
        for stranger in &self.strangers {
            *places.entry(stranger.network).or_default() += 1;
        }
        let most = places.values().copied().max().unwrap_or(0);
        let greedy = self.strangers.iter().filter(|it| places.get(&it.network) == Some(&most));
        if let Some(token) = greedy.min_by_key(|it| it.rank()).map(|it| it.token) {
            self.dismiss(token, Why::TooMany);
        }
    }

    /// Looks at one stranger. If it has become the peer, that is what comes back.
    fn visit(&mut self, token: Token) -> Option<Met<Accepted>> {
        let at = self.strangers.iter().position(|it| it.token == token)?;
        match self.strangers[at].advance(self.local, self.policy) {
            Ok(Verdict::Stays) => {}
            Ok(Verdict::Gone(why)) => self.dismiss(token, why),
            Ok(Verdict::Accepted(outcome)) => {
                let Stranger { stream, address, .. } = self.strangers.swap_remove(at);
                return Some(Met { stream, address, outcome: *outcome });
            }
            Err(why) if is_transient(&why) => {}
            Err(_) => self.dismiss(token, Why::Lost),
        }
        None
    }

    fn has_work(&self) -> bool {
        self.strangers.iter().any(|it| matches!(it.stage, Stage::Queued(_)))
    }

    /// Gives one turn, to the network that had none for the longest time.
    fn answer_one(&mut self) -> Option<Met<Accepted>> {
        let queued = self.strangers.iter_mut().filter(|it| matches!(it.stage, Stage::Queued(_)));
        let served = &self.served;
        let next = queued.min_by_key(|it| (served.get(&it.network), it.leave_by))?;
        let (token, network) = (next.token, next.network);
        let answered = next.answer(self.local);
        self.turns += 1;
        self.served.insert(network, self.turns);
        let strangers = &self.strangers;
        self.served.retain(|network, _| strangers.iter().any(|it| it.network == *network));
        if answered.is_err() {
            self.dismiss(token, Why::Random);
        }
        self.visit(token)
    }

    fn send_away_the_late(&mut self) {
        let now = Instant::now();
        while let Some(late) = self.strangers.iter().find(|it| it.leave_by <= now) {
            let why = match late.stage {
                Stage::Leaving(_, why) => why,
                _ => Why::TooSlow,
            };
            self.dismiss(late.token, why);
        }
    }

    fn deadline(&self, limit: &Limit) -> Option<Instant> {
        let again = self.is_knocked_at.then(|| Instant::now() + AGAIN);
        let first = self.strangers.iter().map(|it| it.leave_by).chain(again).min();
        first.map_or(limit.deadline, |at| Some(limit.or(at)))
    }

    fn dismiss(&mut self, token: Token, why: Why) {
        let Some(at) = self.strangers.iter().position(|it| it.token == token) else {
            return;
        };
        let stranger = self.strangers.swap_remove(at);
        self.failed += 1;
        if !self.status.verbose && !why.concerns_user() {
            return;
        }
        if let Some(kept) = self.log.pass() {
            if kept > 0 {
                self.status.say(format_args!("({kept} more failed handshakes)"));
            }
            self.status.say(format_args!("{}: {why}", Address(stranger.address)));
        }
    }
}
