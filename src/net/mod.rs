//! What connecting and listening share: names, deadlines, the TCP connection.

mod candidate;
pub mod connect;
pub mod listen;

use crate::error::{Error, plain};
use crate::event_loop::Wait;
use dns_lookup::{AddrFamily, AddrInfoHints, LookupErrorKind, SockType, getaddrinfo};
use mio::Token;
use mio::net::TcpStream;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Time for each address while others remain, and for each step of the handshake.
pub(crate) const STEP: Duration = Duration::from_secs(10);
/// The one socket that connects or listens.
pub(crate) const SOCKET: Token = Token(0);

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
            .map_err(|why| match why.kind() {
                LookupErrorKind::Service => io::Error::other("no such service or port"),
                _ => why.into(),
            })
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
    pub(crate) fn or(&self, other: Instant) -> Instant {
        self.deadline.map_or(other, |at| at.min(other))
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
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

/// Whether the call may be made again.
pub(crate) fn is_transient(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// No delay for small frames; a peer that vanishes from an idle connection is
/// noticed within about two minutes. (TCP_USER_TIMEOUT would also end a peer
/// that lives and merely does not read.)
pub(crate) fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}
