//! The connection with its readiness: one read, one write, one meaning of "gone".

use crate::error::Error;
use crate::sys::poller::{is_readable, is_writable};
use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// How the receiving half of a connection ended.
pub enum End {
    /// The peer's FIN. Nothing authenticates it.
    Fin,
    /// A reset, or another failure.
    Failed(io::Error),
}

/// A connected stream socket: TCP, or whatever `--fd` was given.
///
/// Each call says for itself that it does not wait. O_NONBLOCK would be seen by
/// whoever shares a socket that was handed over.
///
/// Reads and writes never fail by themselves: what went wrong is kept and asked
/// for. Sending that has failed is no reason to stop receiving, because what the
/// peer sent before may say why.
pub struct Link {
    /// Until [`Link::close`].
    socket: Option<OwnedFd>,
    peer: Option<SocketAddr>,
    readable: bool,
    writable: bool,
    end: Option<End>,
    send_error: Option<io::Error>,
}

impl Link {
    /// Takes over a connection, tunes it and registers it. `peer` is the other end's
    /// address, which only TCP has.
    ///
    /// # Errors
    /// The system's.
    pub fn new(
        socket: OwnedFd,
        peer: Option<SocketAddr>,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        if peer.is_some() {
            tune(&socket)?;
        }
        let both = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut SourceFd(&socket.as_raw_fd()), token, both)?;
        let socket = Some(socket);
        Ok(Link { socket, peer, readable: true, writable: true, end: None, send_error: None })
    }

    /// The other end's address, if it has one.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Whether both ends are the same socket, as TCP allows.
    pub fn is_to_itself(&self) -> bool {
        let own = self.socket.as_ref().and_then(|socket| SockRef::from(socket).local_addr().ok());
        self.peer.is_some() && self.peer == own.and_then(|own| own.as_socket())
    }

    /// Goes on under another token.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn reregister(&mut self, registry: &Registry, token: Token) -> Result<(), Error> {
        let both = Interest::READABLE | Interest::WRITABLE;
        let Some(socket) = &self.socket else { return Ok(()) };
        registry
            .reregister(&mut SourceFd(&socket.as_raw_fd()), token, both)
            .map_err(|why| Error::System("socket", why))
    }

    /// The loop saw an event for it.
    pub fn note(&mut self, event: &Event) {
        self.readable |= is_readable(event);
        self.writable |= is_writable(event);
    }

    /// Whether a read may do something.
    pub fn is_readable(&self) -> bool {
        self.readable && self.end.is_none()
    }

    /// Whether a write may do something.
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// Reads what is there, up to the length of `buffer`. Zero means that there is
    /// nothing now, or that [`Link::end`] has come.
    pub fn read(&mut self, buffer: &mut [u8]) -> usize {
        while self.is_readable() && !buffer.is_empty() {
            let Some(socket) = &self.socket else { break };
            match rustix::net::recv(socket, &mut *buffer, RecvFlags::DONTWAIT) {
                Ok((0, _)) => self.end = Some(End::Fin),
                Ok((n, _)) => return n,
                Err(Errno::AGAIN) => self.readable = false,
                Err(Errno::INTR) => {}
                Err(why) => self.end = Some(End::Failed(why.into())),
            }
        }
        0
    }

    /// Writes as much of `bytes` as the socket takes: nothing more once sending has
    /// failed, as [`Link::send_error`] says then.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while self.writable && self.send_error.is_none() && written < bytes.len() {
            let Some(socket) = &self.socket else { break };
            match rustix::net::send(socket, &bytes[written..], SendFlags::DONTWAIT) {
                Ok(n) => written += n,
                Err(Errno::AGAIN) => self.writable = false,
                Err(Errno::INTR) => {}
                Err(why) => self.send_error = Some(why.into()),
            }
        }
        written
    }

    /// Whether sending has failed.
    pub fn is_broken(&self) -> bool {
        self.send_error.is_some()
    }

    /// How receiving has ended, if it has.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// What made receiving fail, if something did.
    pub fn receive_error(&self) -> Option<io::Error> {
        match &self.end {
            Some(End::Failed(why)) => Some(again(why)),
            Some(End::Fin) | None => None,
        }
    }

    /// What made sending fail, if something did.
    pub fn send_error(&self) -> Option<io::Error> {
        self.send_error.as_ref().map(again)
    }

    /// Sends FIN behind what was written. A connection that is gone refuses, and
    /// needs none.
    pub fn shutdown(&self) {
        if let Some(socket) = &self.socket {
            let _ = rustix::net::shutdown(socket, Shutdown::Write);
        }
    }

    /// Closes it as it is. Nothing is read or written any more.
    pub fn close(&mut self, registry: &Registry) {
        if let Some(socket) = self.socket.take() {
            // Whoever shares the socket keeps it open.
            let _ = registry.deregister(&mut SourceFd(&socket.as_raw_fd()));
        }
    }
}

/// The same system error once more: it cannot be cloned.
fn again(why: &io::Error) -> io::Error {
    why.raw_os_error().map_or_else(|| why.kind().into(), io::Error::from_raw_os_error)
}

/// No delay for small frames; a peer that vanishes from an idle connection is
/// noticed within about two minutes. (TCP_USER_TIMEOUT would also end a peer
/// that lives and merely does not read.)
fn tune(socket: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4);
    socket.set_tcp_keepalive(&keepalive)
}
