//! Stream sockets. A connection is one [`Socket`] from start to end; a [`Listener`]
//! accepts more of them.
//!
//! Each call asks not to block by itself, because other processes that share an inherited
//! socket would see O_NONBLOCK.

use super::poller::{Interest, Poller, Token};
use super::{platform, stream, zone};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use socket2::{Domain, Protocol, TcpKeepalive, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, RawFd};
use std::time::Duration;

/// TCP's longest pause between two retransmissions. Linux gives up after 15 of them:
/// after 96 s with a pause of 8 s, after 351 s with this one (measured), so that scat's
/// own limit of 5 minutes comes first. An outage of 4 minutes is survived, because the
/// next retransmission may be 35 s away.
const BACKOFF: Duration = Duration::from_secs(35);

/// A stream socket that is connected, or connecting: TCP, or one that was inherited.
pub struct Socket {
    socket: socket2::Socket,
    peer: Option<SocketAddr>,
}

/// Why an inherited descriptor cannot be the connection.
pub enum Unfit {
    /// A usage error, in words for the user.
    Usage(String),
    /// It was reset before the process started.
    Reset(io::Error),
    /// The system's reason.
    System(io::Error),
}

impl Socket {
    /// Makes a TCP socket to connect to `address`.
    ///
    /// # Errors
    /// The system's.
    pub fn tcp(address: SocketAddr) -> io::Result<Self> {
        let socket = tcp(address)?;
        socket.set_nonblocking(true)?;
        Ok(Socket { socket, peer: Some(address) })
    }

    /// Takes the inherited descriptor `number`: duplicates it and leaves the original
    /// open.
    ///
    /// # Errors
    /// [`Unfit`] unless it is a connected stream socket, and if it is also standard input,
    /// output or error.
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

    /// Binds the address to connect from.
    ///
    /// # Errors
    /// The system's.
    pub fn bind(&self, source: SocketAddr) -> io::Result<()> {
        self.socket.set_reuse_address(true)?;
        self.socket.bind(&source.into())
    }

    /// Starts to connect. Once it is writable, [`Socket::outcome`] returns the result.
    ///
    /// # Errors
    /// The system's, if known at once.
    pub fn connect(&self) -> io::Result<()> {
        let Some(to) = self.peer else { return Err(io::ErrorKind::AddrNotAvailable.into()) };
        match self.socket.connect(&to.into()) {
            Err(err) if Errno::from_io_error(&err) == Some(Errno::INPROGRESS) => Ok(()),
            result => result,
        }
    }

    /// Returns the result of [`Socket::connect`]; `None` while it is under way.
    pub fn outcome(&self) -> Option<io::Result<()>> {
        match self.socket.take_error() {
            Ok(Some(err)) | Err(err) => Some(Err(err)),
            Ok(None) => self.socket.peer_addr().is_ok().then_some(Ok(())),
        }
    }

    /// Returns the other end's address, which only TCP has.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Whether both ends are this same socket, which TCP allows.
    pub fn is_to_itself(&self) -> bool {
        let own = self.socket.local_addr().ok().and_then(|address| address.as_socket());
        own.is_some() && own == self.peer
    }

    /// Disables the delay of small frames, and sets TCP's timers for a vanished peer: an
    /// idle connection notices it after 5 minutes, and a peer that returns earlier loses
    /// nothing. (TCP_USER_TIMEOUT would also end a peer that is alive but does not read.)
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

    /// Returns the time since TCP's last acknowledgement if sent data waits for one; zero
    /// if data only waits to be sent. `None` if nothing waits, if the system cannot tell,
    /// and for anything but TCP.
    pub fn unacknowledged(&self) -> Option<Duration> {
        platform::unacknowledged(self.socket.as_fd())
    }

    /// Returns the error of a connection that acknowledges nothing.
    pub fn timed_out() -> io::Error {
        Errno::TIMEDOUT.into()
    }

    /// Makes keepalive notice a vanished peer sooner, after about a minute.
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

    /// Watches for `interest` under `token`.
    ///
    /// # Errors
    /// The system's.
    pub fn watch(&self, poller: &Poller, token: Token, interest: Interest) -> io::Result<()> {
        poller.watch(&self.socket, token, interest)
    }

    /// Changes the interest or the token.
    ///
    /// # Errors
    /// The system's.
    pub fn rewatch(&self, poller: &Poller, token: Token, interest: Interest) -> io::Result<()> {
        poller.rewatch(&self.socket, token, interest)
    }

    /// Stops watching it. Call this before dropping it, because another process may share
    /// the socket and keep it open.
    pub fn unwatch(&self, poller: &Poller) {
        poller.unwatch(&self.socket);
    }

    /// Reads what is available, up to the length of `buffer`. Zero means the peer's FIN.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if there is no data yet; otherwise the system's.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match rustix::net::recv(&self.socket, &mut *buffer, RecvFlags::DONTWAIT) {
                Err(Errno::INTR) => {}
                result => return Ok(result?.0),
            }
        }
    }

    /// Writes as much of `bytes` as the system accepts in one call.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if it accepts nothing now; otherwise the system's.
    pub fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::net::send(&self.socket, bytes, SendFlags::DONTWAIT) {
                Err(Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }

    /// Sends FIN after what was written. A broken connection returns an error, which does
    /// not matter.
    pub fn shutdown(&self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}

/// Whether a socket can connect again. On other systems each attempt needs a new one.
const REUSES: bool = cfg!(target_os = "linux");

/// TCP sockets made in advance, for a process that may no longer make any.
pub struct Spares {
    /// Sockets that are not connected.
    sockets: Vec<Socket>,
    /// Where each connects from; empty for anywhere.
    sources: Vec<SocketAddr>,
}

impl Spares {
    /// Sockets for each family: one in use and one for the next attempt.
    const EACH: usize = 2;

    /// Makes sockets to connect to `addresses`, from one of `sources` if there are any.
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

    /// New descriptors that the sandbox must allow for this.
    pub const MORE: usize = if REUSES { 0 } else { Self::EACH };

    /// Returns a socket to connect to `address`.
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

    /// Takes a socket back, and ends its connection.
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

/// Returns the address that a packet from this machine to the Internet would have, IPv6
/// or IPv4, if another machine can reach it. Sends no packet.
pub fn own_address(is_ipv6: bool) -> Option<IpAddr> {
    // Documentation addresses (RFC 3849, RFC 5737), which are routed like any others.
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
    /// One connection failed, or a signal came: try the next.
    Next,
    /// No descriptor or memory is left for another connection.
    NoRoom(io::Error),
    /// Another reason, which may be temporary.
    Failed(io::Error),
}

impl Listener {
    /// Listens at `address` with a queue of `backlog` connections; an IPv6 socket also
    /// accepts IPv4 if `dual`.
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

    /// Returns where it listens, and whether it excludes IPv4.
    ///
    /// # Errors
    /// The system's.
    pub fn local(&self) -> io::Result<(SocketAddr, bool)> {
        let address = self.0.local_addr()?.as_socket();
        let address = address.ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok((address, address.is_ipv6() && self.0.only_v6()?))
    }

    /// Watches for callers under `token`.
    ///
    /// # Errors
    /// The system's.
    pub fn watch(&self, poller: &Poller, token: Token) -> io::Result<()> {
        poller.watch(&self.0, token, Interest::READABLE)
    }

    /// Accepts the next connection.
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

/// Why connecting to an address fails, if a retry would fail as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing listens there.
    Refused,
    /// The address is not valid here: link-local without its interface.
    Invalid,
    /// A rule of this machine forbids it.
    Forbidden,
    /// Any other reason, which may be temporary.
    Other,
}

impl Refusal {
    /// Classifies an error of [`Socket::connect`] or [`Socket::outcome`].
    pub fn of(err: &io::Error) -> Self {
        match Errno::from_io_error(err) {
            Some(Errno::CONNREFUSED) => Refusal::Refused,
            Some(Errno::INVAL) => Refusal::Invalid,
            Some(Errno::ACCESS | Errno::AFNOSUPPORT) => Refusal::Forbidden,
            _ => Refusal::Other,
        }
    }
}
