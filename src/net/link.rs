//! The connection with its readiness: one read, one write, one meaning of "gone".

use crate::error::Error;
use crate::sys::poller::{Interest, Poller, Ready, Token};
use crate::sys::socket::Socket;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// How the receiving half of a connection ended.
pub enum End {
    /// The peer's FIN. Nothing authenticates it.
    Fin,
    /// A reset, or another failure.
    Failed(io::Error),
}

/// A connected stream socket: TCP, or whatever `--fd` was given.
///
/// Reads and writes never fail by themselves: what went wrong is kept and asked
/// for. Sending that has failed is no reason to stop receiving, because what the
/// peer sent before may say why.
pub struct Link {
    /// Until [`Link::close`].
    socket: Option<Socket>,
    peer: Option<SocketAddr>,
    readable: bool,
    writable: bool,
    /// The other end is gone, although something may be left to read.
    hung_up: bool,
    /// Bytes that were read.
    received: u64,
    end: Option<End>,
    send_error: Option<io::Error>,
    /// When something was sent first after everything had been acknowledged.
    unacknowledged_since: Option<Instant>,
}

impl Link {
    /// Takes over a connection, tunes it and watches it.
    ///
    /// # Errors
    /// The system's.
    pub fn new(socket: Socket, poller: &Poller, token: Token) -> io::Result<Self> {
        let peer = socket.peer();
        if peer.is_some() {
            socket.tune()?;
        }
        socket.watch(poller, token, BOTH)?;
        Ok(Link {
            socket: Some(socket),
            peer,
            readable: true,
            writable: true,
            hung_up: false,
            received: 0,
            end: None,
            send_error: None,
            unacknowledged_since: None,
        })
    }

    /// The other end's address, if it has one.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Whether both ends are the same socket, as TCP allows.
    pub fn is_to_itself(&self) -> bool {
        self.socket.as_ref().is_some_and(Socket::is_to_itself)
    }

    /// Goes on under another token.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn rewatch(&mut self, poller: &Poller, token: Token) -> Result<(), Error> {
        let Some(socket) = &self.socket else { return Ok(()) };
        socket.rewatch(poller, token, BOTH).map_err(|err| Error::System("socket", err))
    }

    /// Remembers what the loop saw of it.
    pub fn note(&mut self, ready: Ready) {
        self.readable |= ready.readable;
        self.writable |= ready.writable;
        self.hung_up |= ready.hung_up;
    }

    /// Whether a read may do something.
    pub fn is_readable(&self) -> bool {
        self.readable && self.end.is_none() && self.socket.is_some()
    }

    /// Whether a write may do something.
    pub fn is_writable(&self) -> bool {
        self.writable && self.send_error.is_none() && self.socket.is_some()
    }

    /// Reads what is there, up to the length of `buffer`. Zero means that there is
    /// nothing now, or that [`Link::end`] has come.
    pub fn read(&mut self, buffer: &mut [u8]) -> usize {
        while self.is_readable() && !buffer.is_empty() {
            let Some(socket) = &self.socket else { break };
            match socket.receive(buffer) {
                Ok(0) => self.end = Some(End::Fin),
                Ok(n) => {
                    self.received += n as u64;
                    return n;
                }
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(err) => self.end = Some(End::Failed(err)),
            }
        }
        0
    }

    /// Writes as much of `bytes` as the socket takes: nothing more once sending has
    /// failed.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while self.is_writable() && written < bytes.len() {
            let Some(socket) = &self.socket else { break };
            match socket.send(&bytes[written..]) {
                Ok(n) => written += n,
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(err) => self.send_error = Some(err),
            }
        }
        if written > 0 {
            self.unacknowledged_since.get_or_insert_with(Instant::now);
        }
        written
    }

    /// Appends what there is to `buffer`, up to `whole` bytes in all.
    pub fn receive(&mut self, buffer: &mut Vec<u8>, whole: usize) {
        let mut len = buffer.len();
        buffer.resize(whole, 0);
        while len < whole {
            match self.read(&mut buffer[len..]) {
                0 => break,
                n => len += n,
            }
        }
        buffer.truncate(len);
    }

    /// Writes what it takes of `unsent`, and leaves the rest there.
    pub fn send(&mut self, unsent: &mut Vec<u8>) {
        let n = self.write(unsent);
        unsent.drain(..n);
    }

    /// Whether [`Link::unacknowledged_for`] may have something to tell.
    pub fn may_be_unacknowledged(&self) -> bool {
        self.unacknowledged_since.is_some()
    }

    /// For how long the other end's TCP has acknowledged nothing, not even that it has no
    /// room, although something was sent. A peer that lives and does not read does so.
    /// `None` also where the system does not tell.
    pub fn unacknowledged_for(&mut self) -> Option<Duration> {
        let silence = self.socket.as_ref().and_then(Socket::unacknowledged);
        if silence.is_none() {
            self.unacknowledged_since = None;
        }
        // The last acknowledgement may be older than what was sent.
        Some(silence?.min(self.unacknowledged_since?.elapsed()))
    }

    /// Whether the other end's TCP lacks what was sent more than a moment ago, although it
    /// may have said something since.
    pub fn is_unheard(&self) -> bool {
        const MOMENT: Duration = Duration::from_secs(1);
        let is_old = self.unacknowledged_since.is_some_and(|at| at.elapsed() >= MOMENT);
        is_old && self.socket.as_ref().and_then(Socket::unacknowledged).is_some()
    }

    /// Whether sending has failed, or it is closed.
    pub fn is_broken(&self) -> bool {
        self.send_error.is_some() || self.socket.is_none()
    }

    /// Gives it up: it ends with this error.
    pub fn fail(&mut self, err: io::Error) {
        self.end = Some(End::Failed(err));
    }

    /// Whether the other end is gone, although something may be left to read.
    pub fn has_hung_up(&self) -> bool {
        self.hung_up || self.is_broken() || self.end.is_some()
    }

    /// Bytes that were read.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// How receiving has ended, if it has.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// What made the connection fail, if something did. The system tells a failure once,
    /// to whichever call comes first: then the other one sees an end, or a broken pipe.
    pub fn error(&self) -> Option<io::Error> {
        let received = match &self.end {
            Some(End::Failed(err)) => Some(err),
            Some(End::Fin) | None => None,
        };
        let sent = self.send_error.as_ref();
        let told = sent.filter(|err| err.kind() != io::ErrorKind::BrokenPipe);
        received.or(told).map(again)
    }

    /// Sends FIN behind what was written. A connection that is gone refuses, and
    /// needs none.
    pub fn shutdown(&self) {
        if let Some(socket) = &self.socket {
            socket.shutdown();
        }
    }

    /// Closes it as it is. Nothing is read or written any more.
    pub fn close(&mut self, poller: &Poller) {
        drop(self.take(poller));
    }

    /// The socket itself, which this no longer reads or writes.
    pub fn take(&mut self, poller: &Poller) -> Option<Socket> {
        let socket = self.socket.take()?;
        socket.unwatch(poller);
        Some(socket)
    }

    /// The socket, until it is closed.
    pub fn socket(&self) -> Option<&Socket> {
        self.socket.as_ref()
    }
}

/// The same system error once more: it cannot be cloned.
fn again(why: &io::Error) -> io::Error {
    why.raw_os_error().map_or_else(|| why.kind().into(), io::Error::from_raw_os_error)
}
