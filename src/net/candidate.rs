//! A candidate: an accepted connection that is not authenticated yet, with the
//! responder's handshake.
//!
//! ```text
//! Flight1 --whole--> Flight3 --whole, verified--> accepted
//!    |                  |
//!    +---> Closing <----+        told why, then drained
//! ```
//!
//! A candidate never makes the listener fail. Whatever it does, it becomes the peer or a
//! [`Rejection`].

use super::dialect::Dialect;
use super::link::{End, Link};
use crate::auth::policy::Policy;
use crate::error::{Cause, Error};
use crate::protocol::frame::{self, CONTENT_AT, Kind, Sealer, frame_len};
use crate::protocol::handshake::{
    self, Accepted, FLIGHT3_LEN, Keys, Local, Mismatch, Peer, Preface, Responder, ResponderReply,
    check_preface, flight1_len,
};
use crate::protocol::role::Role;
use crate::protocol::session::Reason;
use crate::sys::poller::Token;
use crate::sys::random;
use crate::ui::waiting::Limit;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Time for a rejected candidate to read the answer.
const CLOSE: Duration = Duration::from_secs(2);
/// Most bytes dropped in one visit of a rejected candidate. A scat sends far less during
/// a handshake; a flood must not hold up the others.
const DISCARD: usize = 1 << 16;

/// An IPv4 address or an IPv6 /64, which counts as one source.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Network {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Network {
    pub fn of(address: SocketAddr) -> Self {
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => Network::V4(ip.octets()),
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, h, ..] = ip.octets();
                Network::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// One connection to a listener before it is the peer's.
pub struct Candidate<'a> {
    pub link: Link,
    /// The network that its place counts for.
    pub network: Option<Network>,
    pub token: Token,
    /// Its time limit.
    pub limit: Limit,
    state: State<'a>,
}

enum State<'a> {
    /// Flight 1 is arriving.
    Flight1(Vec<u8>),
    /// Flight 2 is written except for `unsent`; flight 3 is arriving.
    Flight3 { reply: Box<ResponderReply<'a>>, unsent: Vec<u8>, flight3: Vec<u8> },
    /// Rejected: `unsent` is still to be sent; then the connection is drained, so that no
    /// reset destroys the answer in transit.
    Closing { unsent: Vec<u8>, rejection: Rejection },
}

/// Why a candidate did not become the peer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// It closed before flight 1 was complete.
    Closed,
    /// It does not speak scat.
    Foreign(Dialect),
    /// Its preface does not match ours.
    Preface(Mismatch),
    /// It does not seem to have the same pre-shared key.
    PskDiffers,
    /// It closed before flight 3 was complete.
    HungUp,
    /// Its connection failed.
    Lost,
    /// It took longer than the time for a handshake.
    TooSlow,
    /// It did not acknowledge flight 2.
    Unheard,
    /// Its place was needed.
    TooMany,
    /// A flight did not verify.
    Forged,
    /// It has this side's own key.
    Myself,
    /// Its key is not one of `--peer`.
    OtherKey(Peer),
}

impl Rejection {
    /// Whether the user should see it without `-v`: the caller is a scat whose options do
    /// not match.
    pub fn concerns_user(self) -> bool {
        use Mismatch::{Psk, SameRole, Unknown, Version};
        matches!(
            self,
            Rejection::Preface(Version(_) | SameRole | Psk | Unknown)
                | Rejection::PskDiffers
                | Rejection::OtherKey(_)
        )
    }

    /// Returns the word for programs.
    pub fn cause(self) -> Cause {
        match self {
            Rejection::Closed => Cause::Silent,
            Rejection::Foreign(_) => Cause::Foreign,
            Rejection::Preface(Mismatch::Version(_) | Mismatch::Unknown) => Cause::Version,
            Rejection::Preface(Mismatch::SameRole | Mismatch::Busy) | Rejection::Myself => {
                Cause::Usage
            }
            Rejection::Preface(Mismatch::Reconnects) => Cause::Lost,
            Rejection::Preface(Mismatch::Psk) | Rejection::PskDiffers => Cause::Psk,
            Rejection::HungUp | Rejection::Lost => Cause::Cut,
            Rejection::TooSlow | Rejection::Unheard => Cause::Timeout,
            Rejection::TooMany => Cause::Busy,
            Rejection::Forged => Cause::Forged,
            Rejection::OtherKey(_) => Cause::Key,
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rejection::Foreign(dialect) => return dialect.fmt(f),
            Rejection::Closed => "closed before the handshake",
            Rejection::Preface(Mismatch::Version(_) | Mismatch::Unknown) => {
                "speaks another version"
            }
            Rejection::Preface(Mismatch::SameRole | Mismatch::Busy) => "listens as well",
            Rejection::Preface(Mismatch::Reconnects) => "looks for a session that is over",
            Rejection::Preface(Mismatch::Psk) => "only one side has a pre-shared key",
            Rejection::PskDiffers => "the pre-shared keys differ",
            Rejection::HungUp => "hung up during the handshake",
            Rejection::Lost => "connection lost during the handshake",
            Rejection::TooSlow => "too slow",
            Rejection::Unheard => "it does not acknowledge the answer (path MTU?)",
            Rejection::TooMany => "dropped: too many connections",
            Rejection::Forged => "forged or altered handshake",
            Rejection::Myself => "connected to itself",
            Rejection::OtherKey(Peer { long_lived: true, .. }) => "its key is not one of --peer",
            Rejection::OtherKey(_) => {
                "its key is not one of --peer, but made for one run: that end needs -i"
            }
        })
    }
}

/// Result of a visit.
pub enum Progress {
    Waiting,
    Rejected(Rejection),
    Accepted(Box<Accepted>),
}

impl<'a> Candidate<'a> {
    /// Starts a candidate that has `time` for its whole handshake.
    pub fn new(link: Link, token: Token, time: Duration) -> Self {
        Candidate {
            network: link.peer().map(Network::of),
            link,
            token,
            limit: Limit::new(Some(Instant::now() + time)),
            state: State::Flight1(Vec::new()),
        }
    }

    /// Reads and writes what is possible now.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn advance(&mut self, local: &'a Local, policy: &Policy) -> Result<Progress, Error> {
        let mut discarded = 0;
        loop {
            match &mut self.state {
                State::Flight1(flight1) => {
                    let whole = flight1_len(local.has_psk());
                    self.link.receive(flight1, whole);
                    match check_preface(flight1, Role::Connector, local.has_psk()) {
                        Preface::Fits if flight1.len() == whole => {
                            let flight1 = std::mem::take(flight1);
                            self.answer(local, &flight1)?;
                        }
                        Preface::Unfinished | Preface::Fits => {
                            return Ok(self.wait_or(Rejection::Closed));
                        }
                        // Only another scat gets our preface.
                        Preface::Foreign => {
                            let dialect = Dialect::of(flight1);
                            return Ok(Progress::Rejected(Rejection::Foreign(dialect)));
                        }
                        Preface::Differs(mismatch) => {
                            self.turn_away(local, Rejection::Preface(mismatch));
                        }
                    }
                }
                State::Flight3 { unsent, flight3, .. } => {
                    self.link.send(unsent);
                    self.link.receive(flight3, FLIGHT3_LEN);
                    let Ok(flight3) = <[u8; FLIGHT3_LEN]>::try_from(flight3.as_slice()) else {
                        let is_unheard = self.link.is_unheard();
                        return Ok(self.wait_or(match is_unheard {
                            true => Rejection::Unheard,
                            false => Rejection::HungUp,
                        }));
                    };
                    if let Some(progress) = self.judge(&flight3, policy) {
                        return Ok(progress);
                    }
                }
                State::Closing { unsent, rejection } => {
                    let rejection = *rejection;
                    self.link.send(unsent);
                    if unsent.is_empty() {
                        self.link.shutdown();
                    }
                    let n = self.link.read(&mut [0; 2048]);
                    discarded += n;
                    let is_gone = self.link.end().is_some() || self.link.is_broken();
                    if is_gone || discarded > DISCARD {
                        return Ok(Progress::Rejected(rejection));
                    }
                    if n == 0 {
                        return Ok(Progress::Waiting);
                    }
                }
            }
        }
    }

    /// Waits for more, unless the connection has ended: then rejects it for `at_fin`.
    fn wait_or(&self, at_fin: Rejection) -> Progress {
        match self.link.end() {
            Some(End::Fin) => Progress::Rejected(at_fin),
            Some(End::Failed(_)) => Progress::Rejected(Rejection::Lost),
            None if self.link.is_broken() => Progress::Rejected(Rejection::Lost),
            None => Progress::Waiting,
        }
    }

    /// Answers a complete flight 1, which is the expensive step.
    fn answer(&mut self, local: &'a Local, flight1: &[u8]) -> Result<(), Error> {
        match Responder::new(local).answer(flight1, random::ephemerals()?, &*random::key()?) {
            Ok((reply, flight2)) => {
                self.state = State::Flight3 {
                    reply: Box::new(reply),
                    unsent: flight2.to_vec(),
                    flight3: Vec::with_capacity(FLIGHT3_LEN),
                };
            }
            // With a pre-shared key, the preface alone tells that the keys differ.
            Err(_) if local.has_psk() => self.turn_away(local, Rejection::PskDiffers),
            Err(_) => self.close(Vec::new(), Rejection::Forged),
        }
        Ok(())
    }

    /// Verifies a complete flight 3. `None` if it was rejected and must still be sent ABORT.
    fn judge(&mut self, flight3: &[u8; FLIGHT3_LEN], policy: &Policy) -> Option<Progress> {
        // `read_flight3` consumes the handshake, so `self` needs another state until the
        // result is known. If this function returns early, the candidate closes.
        let closing = State::Closing { unsent: Vec::new(), rejection: Rejection::Forged };
        let State::Flight3 { reply, .. } = std::mem::replace(&mut self.state, closing) else {
            return None;
        };
        match reply.read_flight3(flight3) {
            Ok(accepted) if policy.admits(&accepted.peer.key) => {
                Some(Progress::Accepted(Box::new(accepted)))
            }
            Ok(accepted) => {
                let rejection = Rejection::OtherKey(accepted.peer);
                self.close(refusal(&accepted).unwrap_or_default(), rejection);
                None
            }
            Err(handshake::Error::Myself) => Some(Progress::Rejected(Rejection::Myself)),
            Err(_) => Some(Progress::Rejected(Rejection::Forged)),
        }
    }

    /// Rejects it, and sends another scat our preface.
    fn turn_away(&mut self, local: &Local, rejection: Rejection) {
        self.close(local.preface(Role::Listener).to_vec(), rejection);
    }

    fn close(&mut self, unsent: Vec<u8>, rejection: Rejection) {
        self.limit.shorten(Instant::now() + CLOSE);
        self.state = State::Closing { unsent, rejection };
    }

    /// Returns the rejection if the time limit has passed.
    pub fn late(&self) -> Rejection {
        match self.state {
            State::Closing { rejection, .. } => rejection,
            State::Flight3 { .. } if self.link.is_unheard() => Rejection::Unheard,
            _ => Rejection::TooSlow,
        }
    }
}

/// Makes an ABORT in place of OPEN, for a peer whose key is not admitted.
fn refusal(accepted: &Accepted) -> Result<Vec<u8>, frame::Error> {
    let mut frame = vec![0; frame_len(1)];
    frame[CONTENT_AT] = Reason::Refused as u8;
    let Keys { cipher, l2c, .. } = &accepted.keys;
    Sealer::new(*cipher, l2c).seal(Kind::Abort, &mut frame, 1)?;
    Ok(frame)
}

/// Returns which place to free: the oldest of the network that holds the most, whatever
/// it has sent. So a new connection always gets a place. Tokens count up.
pub fn greediest(places: impl Iterator<Item = (Option<Network>, Token)> + Clone) -> Option<Token> {
    let mut held: BTreeMap<Option<Network>, usize> = BTreeMap::new();
    for (network, _) in places.clone() {
        *held.entry(network).or_default() += 1;
    }
    let most = held.values().max();
    places.filter(|(network, _)| held.get(network) == most).map(|(_, token)| token).min()
}
