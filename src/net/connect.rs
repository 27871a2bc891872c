//! Connecting: from several addresses to one peer, by way of the handshake.

use crate::error::{Ended, Error, plain};
use crate::event_loop::Wait;
use crate::net::{Limit, Met, SOCKET, STEP, is_transient, tune};
use crate::policy::Policy;
use crate::protocol::handshake::{
    Connected, FLIGHT2_LEN, Greeting, Initiator, Local, PREFACE_LEN, greeting, random,
};
use crate::protocol::noise::Ephemerals;
use crate::protocol::role::Role;
use crate::protocol::session::Counters;
use crate::report::{Address, Report};
use mio::Interest;
use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

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
    status: Report,
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
        wait.until(patience.map_or(limit.deadline(), |at| Some(limit.or(at))))?;
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
