//! Stream sockets: a connection is one [`Socket`] from its start to its end, and a
//! [`Listener`] hands out more of them.
//!
//! Each call says for itself that it does not wait: O_NONBLOCK would be seen by other
//! processes that share an inherited socket.

use super::poller::{Interest, Poller, Token};
use super::{platform, stream, zone};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use socket2::{Domain, Protocol, TcpKeepalive, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, RawFd};
use std::time::Duration;

/// The longest time from one try of TCP's to send something to the next. Linux gives up
/// after 15 tries: with 8 s that was after 96 s, with this it is after 351 s (measured),
/// so that we are the first, after 5 minutes; an outage of 4 is survived (the next try may
/// come 35 s after it).
const BACKOFF: Duration = Duration::from_secs(35);

/// A stream socket that is connected, or connecting: TCP, or whatever was inherited.
pub struct Socket {
    socket: socket2::Socket,
    peer: Option<SocketAddr>,
}

/// Why an inherited descriptor cannot be the connection.
pub enum Unfit {
    /// What it is or is not, for people.
    Usage(String),
    /// It was reset before the process started.
    Reset(io::Error),
    /// The system's reason.
    System(io::Error),
}

impl Socket {
    /// A TCP socket to connect to `address` with.
    ///
    /// # Errors
    /// The system's.
    pub fn tcp(address: SocketAddr) -> io::Result<Self> {
        let socket = tcp(address)?;
        socket.set_nonblocking(true)?;
        Ok(Socket { socket, peer: Some(address) })
    }

    /// Takes the inherited descriptor `number`: a duplicate, the original stays open.
    ///
    /// # Errors
    /// [`Unfit`] for all but a connected stream socket, and for one that standard
    /// input, output or error is as well.
    pub fn inherited(number: RawFd) -> Result<Self, Unfit> {
        let usage = |what: &str| Unfit::Usage(what.to_owned());
        let system = |err: Errno| match err {
            Errno::NOTSOCK => usage("not a socket"),
            err => Unfit::System(err.into()),
        };
        let given = stream::inherited(number).map_err(|_| usage("not open"))?;
        let socket = rustix::io::fcntl_dupfd_cloexec(given, 3).map_err(system)?;
        if rustix::net::sockopt::socket_type(&socket).map_err(system)?
            != rustix::net::SocketType::STREAM
        {
            return Err(usage("not a stream socket"));
        }
        for (name, standard) in
            [("input", stream::stdin()), ("output", stream::stdout()), ("error", stream::stderr())]
        {
            if stream::are_same(stream::Kind::Socket, given, standard) {
                return Err(Unfit::Usage(format!("standard {name} is the same connection")));
            }
        }
        let socket = socket2::Socket::from(socket);
        match socket.peer_addr() {
            Ok(peer) => Ok(Socket::with(socket, peer.as_socket())),
            Err(_) => Err(match socket.take_error() {
                Ok(Some(err)) => Unfit::Reset(err),
                _ => usage("not connected; a listening socket will not do"),
            }),
        }
    }

    fn with(socket: socket2::Socket, peer: Option<SocketAddr>) -> Self {
        peer.into_iter().for_each(zone::learn);
        Socket { socket, peer }
    }

    /// Chooses the address to connect from.
    ///
    /// # Errors
    /// The system's.
    pub fn bind(&self, source: SocketAddr) -> io::Result<()> {
        self.socket.set_reuse_address(true)?;
        self.socket.bind(&source.into())
    }

    /// Begins to connect. Once it is writable, [`Socket::outcome`] tells the rest.
    ///
    /// # Errors
    /// The system's, if that is known at once.
    pub fn connect(&self) -> io::Result<()> {
        let Some(to) = self.peer else { return Err(io::ErrorKind::AddrNotAvailable.into()) };
        match self.socket.connect(&to.into()) {
            Err(err) if Errno::from_io_error(&err) == Some(Errno::INPROGRESS) => Ok(()),
            result => result,
        }
    }

    /// What became of [`Socket::connect`]; `None` while it is under way.
    pub fn outcome(&self) -> Option<io::Result<()>> {
        match self.socket.take_error() {
            Ok(Some(err)) | Err(err) => Some(Err(err)),
            Ok(None) => self.socket.peer_addr().is_ok().then_some(Ok(())),
        }
    }

    /// The other end's address. Only TCP has one.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Whether both ends are this socket, as TCP allows.
    pub fn is_to_itself(&self) -> bool {
        let own = self.socket.local_addr().ok().and_then(|address| address.as_socket());
        own.is_some() && own == self.peer
    }

    /// No delay for small frames, and times of TCP's own that fit a peer that vanishes:
    /// one that is idle is noticed after 5 minutes, and one that comes back before that
    /// has lost nothing. (TCP_USER_TIMEOUT would also end a peer that lives and merely
    /// does not read.)
    ///
    /// # Errors
    /// The system's.
    pub fn tune(&self) -> io::Result<()> {
        self.socket.set_tcp_nodelay(true)?;
        platform::limit_backoff(self.socket.as_fd(), BACKOFF);
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(60))
            .with_interval(Duration::from_secs(15))
            .with_retries(16);
        self.socket.set_tcp_keepalive(&keepalive)
    }

    /// How long ago TCP's last acknowledgement came, if something that was sent waits for
    /// one; zero if something only waits to be sent. `None` also where the system does not
    /// tell, and for all but TCP.
    pub fn unacknowledged(&self) -> Option<Duration> {
        platform::unacknowledged(self.socket.as_fd())
    }

    /// The error of a connection that nobody acknowledges.
    pub fn timed_out() -> io::Error {
        Errno::TIMEDOUT.into()
    }

    /// Notices sooner that the other end has vanished from an idle connection: after
    /// about a minute.
    ///
    /// # Errors
    /// The system's.
    pub fn watch_closely(&self) -> io::Result<()> {
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(20))
            .with_interval(Duration::from_secs(10))
            .with_retries(4);
        self.socket.set_tcp_keepalive(&keepalive)
    }

    /// Asks `poller` for `interest` under `token`.
    ///
    /// # Errors
    /// The system's.
    pub fn watch(&self, poller: &Poller, token: Token, interest: Interest) -> io::Result<()> {
        poller.watch(&self.socket, token, interest)
    }

    /// Asks for something else, or under another token.
    ///
    /// # Errors
    /// The system's.
    pub fn rewatch(&self, poller: &Poller, token: Token, interest: Interest) -> io::Result<()> {
        poller.rewatch(&self.socket, token, interest)
    }

    /// Asks for nothing any more. To be called before it is dropped: another process
    /// may share it and keep it open.
    pub fn unwatch(&self, poller: &Poller) {
        poller.unwatch(&self.socket);
    }

    /// Reads what is there, up to the length of `buffer`. Zero is the peer's FIN.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is nothing now; else the system's.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match rustix::net::recv(&self.socket, &mut *buffer, RecvFlags::DONTWAIT) {
                Err(Errno::INTR) => {}
                result => return Ok(result?.0),
            }
        }
    }

    /// Writes as much of `bytes` as the system takes with one call.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when it takes nothing now; else the system's.
    pub fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::net::send(&self.socket, bytes, SendFlags::DONTWAIT) {
                Err(Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }

    /// Sends FIN behind what was written. A connection that is gone refuses, and
    /// needs none.
    pub fn shutdown(&self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}

/// Whether a socket can connect once more. Elsewhere a new one has to be made.
const REUSES: bool = cfg!(target_os = "linux");

/// TCP sockets that were made in advance, for a process that may make none any more.
pub struct Spares {
    /// Not connected.
    sockets: Vec<Socket>,
    /// Where each connects from; anywhere without one.
    sources: Vec<SocketAddr>,
}

impl Spares {
    /// For each family one that is in use and one for the next attempt.
    const EACH: usize = 2;

    /// What is to connect to `addresses`, from one of `sources` if there are any.
    ///
    /// # Errors
    /// The system's.
    pub fn new(addresses: &[SocketAddr], sources: &[SocketAddr]) -> io::Result<Self> {
        let mut spares = Spares { sockets: Vec::new(), sources: sources.to_vec() };
        if REUSES {
            for is_ipv4 in [true, false] {
                let of_kind = addresses.iter().find(|address| address.is_ipv4() == is_ipv4);
                for &address in of_kind.into_iter().cycle().take(Self::EACH) {
                    spares.sockets.push(spares.make(address)?);
                }
            }
        }
        Ok(spares)
    }

    /// New descriptors that the process has to be allowed for this.
    pub const MORE: usize = if REUSES { 0 } else { Self::EACH };

    /// One to connect to `address` with.
    ///
    /// # Errors
    /// The system's.
    pub fn take(&mut self, address: SocketAddr) -> io::Result<Socket> {
        let fits = |it: &Socket| it.peer.is_some_and(|peer| peer.is_ipv4() == address.is_ipv4());
        match self.sockets.iter().position(fits) {
            Some(at) => Ok(Socket { peer: Some(address), ..self.sockets.swap_remove(at) }),
            None => self.make(address),
        }
    }

    /// Takes one back, and ends its connection.
    pub fn give_back(&mut self, socket: Socket) {
        if REUSES && rustix::net::connect_unspec(&socket.socket).is_ok() {
            self.sockets.push(socket);
        }
    }

    fn make(&self, address: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::tcp(address)?;
        if let Some(source) = self.sources.iter().find(|it| it.is_ipv4() == address.is_ipv4()) {
            socket.bind(SocketAddr::new(source.ip(), 0))?;
        }
        Ok(socket)
    }
}

/// The address of this machine that a packet to the outside would have, IPv6 or IPv4, if
/// another machine can use it. No packet is sent.
pub fn own_address(is_ipv6: bool) -> Option<IpAddr> {
    // Documentation addresses, which are routed like any other: RFC 3849, RFC 5737.
    let (here, there): (SocketAddr, SocketAddr) = match is_ipv6 {
        true => {
            let there = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
            ((Ipv6Addr::UNSPECIFIED, 0).into(), (there, 9).into())
        }
        false => ((Ipv4Addr::UNSPECIFIED, 0).into(), (Ipv4Addr::new(192, 0, 2, 1), 9).into()),
    };
    let socket = UdpSocket::bind(here).ok()?;
    socket.connect(there).ok()?;
    let address = socket.local_addr().ok()?.ip();
    let is_local = match address {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    (!address.is_loopback() && !address.is_unspecified() && !is_local).then_some(address)
}

/// A socket that listens.
pub struct Listener(socket2::Socket);

/// Why [`Listener::accept`] returned no connection.
pub enum NotAccepted {
    /// The queue is empty.
    Empty,
    /// The next one may be good: the error was about one connection, or a signal came.
    Next,
    /// There is no descriptor or memory left for another one.
    NoRoom(io::Error),
    /// Another reason, which may pass.
    Failed(io::Error),
}

impl Listener {
    /// Listens at `address`, with room for `backlog` connections in the system's queue;
    /// an IPv6 socket also takes IPv4 if `dual`.
    ///
    /// # Errors
    /// The system's.
    pub fn bind(address: SocketAddr, dual: bool, backlog: i32) -> io::Result<Self> {
        let socket = tcp(address)?;
        if address.is_ipv6() {
            socket.set_only_v6(!dual)?;
        }
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(backlog)?;
        socket.set_nonblocking(true)?;
        Ok(Listener(socket))
    }

    /// Where it listens, and whether that takes no IPv4.
    ///
    /// # Errors
    /// The system's.
    pub fn local(&self) -> io::Result<(SocketAddr, bool)> {
        let address = self.0.local_addr()?.as_socket();
        let address = address.ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok((address, address.is_ipv6() && self.0.only_v6()?))
    }

    /// Asks `poller` for callers under `token`.
    ///
    /// # Errors
    /// The system's.
    pub fn watch(&self, poller: &Poller, token: Token) -> io::Result<()> {
        poller.watch(&self.0, token, Interest::READABLE)
    }

    /// Takes the next connection in.
    ///
    /// # Errors
    /// [`NotAccepted`].
    pub fn accept(&self) -> Result<Socket, NotAccepted> {
        let (socket, address) =
            self.0.accept().map_err(|err| match Errno::from_io_error(&err) {
                Some(Errno::AGAIN) => NotAccepted::Empty,
                Some(
                    Errno::CONNABORTED
                    | Errno::HOSTDOWN
                    | Errno::HOSTUNREACH
                    | Errno::INTR
                    | Errno::NETDOWN
                    | Errno::NETUNREACH
                    | Errno::NOPROTOOPT
                    | Errno::OPNOTSUPP
                    | Errno::PROTO,
                ) => NotAccepted::Next,
                Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    NotAccepted::NoRoom(err)
                }
                _ => NotAccepted::Failed(err),
            })?;
        Ok(Socket::with(socket, address.as_socket()))
    }
}

fn tcp(address: SocketAddr) -> io::Result<socket2::Socket> {
    socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
}

/// Why the system would refuse to connect to an address again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody listens there.
    Refused,
    /// The address makes no sense here: a link-local one without its interface.
    Invalid,
    /// A rule of this machine forbids it.
    Forbidden,
    /// Any other reason, which may pass.
    Other,
}

impl Refusal {
    /// Reads an error of [`Socket::connect`] or [`Socket::outcome`].
    pub fn of(err: &io::Error) -> Self {
        match Errno::from_io_error(err) {
            Some(Errno::CONNREFUSED) => Refusal::Refused,
            Some(Errno::INVAL) => Refusal::Invalid,
            Some(Errno::ACCESS | Errno::AFNOSUPPORT) => Refusal::Forbidden,
            _ => Refusal::Other,
        }
    }
}
