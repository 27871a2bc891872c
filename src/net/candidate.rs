//! One who has connected to a listener and is not yet the peer: as much of the
//! handshake as it goes through.

use crate::error::Error;
use crate::net::is_transient;
use crate::policy::Policy;
use crate::protocol::frame::{self, CONTENT_AT, Kind, Sealer, frame_len};
use crate::protocol::handshake::{
    Accepted, FLIGHT3_LEN, Greeting, Local, Responder, ResponderReply, flight1_len, greeting,
    preface, random,
};
use crate::protocol::noise::Ephemerals;
use crate::protocol::role::Role;
use crate::protocol::session::Reason;
use mio::Token;
use mio::net::TcpStream;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr};
use std::time::{Duration, Instant};

/// Time for one who is turned away to take what it was told.
const LEAVE: Duration = Duration::from_secs(2);
/// Most bytes that are thrown away at once for one who is turned away; none of
/// what scat sends in a handshake comes near.
const WASTE: usize = 1 << 16;

/// An IPv4 address or an IPv6 /64: what counts as one source.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Network {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Network {
    pub fn of(address: &SocketAddr) -> Self {
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
pub struct Stranger<'a> {
    pub stream: TcpStream,
    pub address: SocketAddr,
    /// What its place is counted under.
    pub network: Network,
    pub token: Token,
    /// When its time is over.
    pub leave_by: Instant,
    pub stage: Stage<'a>,
}

pub enum Stage<'a> {
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
pub enum Why {
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
    pub fn concerns_user(self) -> bool {
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
pub enum Verdict {
    Stays,
    Gone(Why),
    Accepted(Box<Accepted>),
}

impl<'a> Stranger<'a> {
    /// Reads and writes what is possible now.
    pub fn advance(&mut self, local: &'a Local, policy: &Policy) -> io::Result<Verdict> {
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
    pub fn answer(&mut self, local: &'a Local) -> Result<(), Error> {
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
            Err(crate::protocol::handshake::Error::Myself) => Verdict::Gone(Why::Myself),
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
    pub fn rank(&self) -> (u8, Instant) {
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
