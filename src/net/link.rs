//! The connection and its readiness, with one definition of "closed".

use crate::error::Error;
use crate::sys::poller::{Interest, Poller, Ready, Token};
use crate::sys::socket::Socket;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// How receiving ended.
pub enum End {
    /// The peer's FIN, which is not authenticated.
    Fin,
    /// A reset, or another failure.
    Failed(io::Error),
}

/// A connected stream socket: TCP, or the one given with `--fd`.
///
/// Reads and writes do not return errors; the error is kept for a later question. After a
/// failed write, reading continues, because the peer may have sent the reason.
pub struct Link {
    /// `None` after [`Link::close`].
    socket: Option<Socket>,
    peer: Option<SocketAddr>,
    readable: bool,
    writable: bool,
    /// The other end has closed, although data may be left to read.
    hung_up: bool,
    /// Bytes read so far.
    received: u64,
    end: Option<End>,
    send_error: Option<io::Error>,
    /// When data was first sent after everything had been acknowledged.
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

    /// Returns the other end's address, if it has one.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Whether both ends are the same socket, which TCP allows.
    pub fn is_to_itself(&self) -> bool {
        self.socket.as_ref().is_some_and(Socket::is_to_itself)
    }

    /// Watches it under another token.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn rewatch(&mut self, poller: &Poller, token: Token) -> Result<(), Error> {
        let Some(socket) = &self.socket else { return Ok(()) };
        socket.rewatch(poller, token, BOTH).map_err(|err| Error::System("socket", err))
    }

    /// Records readiness that the loop saw.
    pub fn note(&mut self, ready: Ready) {
        self.readable |= ready.readable;
        self.writable |= ready.writable;
        self.hung_up |= ready.hung_up;
    }

    /// Whether a read may succeed.
    pub fn is_readable(&self) -> bool {
        self.readable && self.end.is_none() && self.socket.is_some()
    }

    /// Whether a write may succeed.
    pub fn is_writable(&self) -> bool {
        self.writable && self.send_error.is_none() && self.socket.is_some()
    }

    /// Reads what is available, up to the length of `buffer`. Zero means that nothing is,
    /// or that [`Link::end`] is set.
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

    /// Writes as much of `bytes` as the socket accepts; nothing after a write has failed.
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

    /// Appends what is available to `buffer`, until it has `whole` bytes.
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

    /// Writes what the socket accepts of `unsent`, and keeps the rest there.
    pub fn send(&mut self, unsent: &mut Vec<u8>) {
        let n = self.write(unsent);
        unsent.drain(..n);
    }

    /// Whether [`Link::unacknowledged_for`] may have a result.
    pub fn may_be_unacknowledged(&self) -> bool {
        self.unacknowledged_since.is_some()
    }

    /// Returns for how long the other end's TCP has acknowledged nothing at all, although
    /// something was sent. (A peer that is alive but does not read still acknowledges
    /// probes.) `None` also if the system cannot tell.
    pub fn unacknowledged_for(&mut self) -> Option<Duration> {
        let silence = self.socket.as_ref().and_then(Socket::unacknowledged);
        if silence.is_none() {
            self.unacknowledged_since = None;
        }
        // The last acknowledgement may be older than the data.
        Some(silence?.min(self.unacknowledged_since?.elapsed()))
    }

    /// Whether data sent more than a moment ago is still unacknowledged, even if the
    /// other end has sent something since.
    pub fn is_unheard(&self) -> bool {
        const MOMENT: Duration = Duration::from_secs(1);
        let is_old = self.unacknowledged_since.is_some_and(|at| at.elapsed() >= MOMENT);
        is_old && self.socket.as_ref().and_then(Socket::unacknowledged).is_some()
    }

    /// Whether sending has failed, or the link is closed.
    pub fn is_broken(&self) -> bool {
        self.send_error.is_some() || self.socket.is_none()
    }

    /// Whether nothing more can be received, or sending has failed.
    pub fn has_ended(&self) -> bool {
        self.end.is_some() || self.is_broken()
    }

    /// Ends the connection with this error.
    pub fn fail(&mut self, err: io::Error) {
        self.end = Some(End::Failed(err));
    }

    /// Whether the other end has closed, although data may be left to read.
    pub fn has_hung_up(&self) -> bool {
        self.hung_up || self.has_ended()
    }

    /// Returns the number of bytes read.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Returns how receiving ended, if it has.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Returns why the connection failed, if it did. The system reports a failure only
    /// once, to whichever call comes first; the other call then sees an end or a broken
    /// pipe.
    pub fn error(&self) -> Option<io::Error> {
        let received = match &self.end {
            Some(End::Failed(err)) => Some(err),
            Some(End::Fin) | None => None,
        };
        let sent = self.send_error.as_ref();
        let told = sent.filter(|err| err.kind() != io::ErrorKind::BrokenPipe);
        received.or(told).map(again)
    }

    /// Sends FIN after what was written. A broken connection returns an error, which does
    /// not matter.
    pub fn shutdown(&self) {
        if let Some(socket) = &self.socket {
            socket.shutdown();
        }
    }

    /// Closes it at once. Nothing is read or written afterwards.
    pub fn close(&mut self, poller: &Poller) {
        drop(self.take(poller));
    }

    /// Returns the socket, which this no longer reads or writes.
    pub fn take(&mut self, poller: &Poller) -> Option<Socket> {
        let socket = self.socket.take()?;
        socket.unwatch(poller);
        Some(socket)
    }

    /// Returns the socket, until it is closed.
    pub fn socket(&self) -> Option<&Socket> {
        self.socket.as_ref()
    }
}

/// Copies a system error, which cannot be cloned.
fn again(err: &io::Error) -> io::Error {
    err.raw_os_error().map_or_else(|| err.kind().into(), io::Error::from_raw_os_error)
}
