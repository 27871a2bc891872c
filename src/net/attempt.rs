//! A connector's handshake over one connection.
//!
//! ```text
//! Flight2 --whole, verified--> Flight3 --sent--> connected
//!    |                            |
//!    v                            v
//! failed: nothing was revealed  cut: this side's share of the words was revealed
//! ```

use super::dialect::Dialect;
use super::link::Link;
use super::{Limits, Setup};
use crate::auth::policy::Policy;
use crate::error::{Error, Unopened};
use crate::protocol::handshake::{
    Connected, FLIGHT2_LEN, Initiator, Local, Mismatch, PREFACE_LEN, Preface, check_preface,
};
use crate::protocol::role::Role;
use crate::sys::random;
use crate::ui::waiting::{Deadline, Limit};
use std::time::Instant;

/// One connection of a connector before its handshake is finished.
pub struct Attempt<'a> {
    pub link: Link,
    /// Time limit of the current step.
    pub limit: Limit,
    local: &'a Local,
    policy: &'a Policy,
    deadline: &'a Deadline,
    limits: Limits,
    state: State<'a>,
    /// Flight 3 may have been sent: from then on no failure may invite a retry.
    pub has_revealed: bool,
}

enum State<'a> {
    /// Flight 1 is written except for `unsent`; flight 2 is arriving.
    Flight2 { initiator: Box<Initiator<'a>>, unsent: Vec<u8>, flight2: Vec<u8> },
    /// Flight 3 is written except for `unsent`.
    Flight3 { connected: Box<Connected>, unsent: Vec<u8> },
    /// It has failed, or the connection was handed over.
    Over,
}

/// Result of a visit.
pub enum Progress {
    Waiting,
    Failed(Error),
    Connected(Box<Connected>),
}

impl<'a> Attempt<'a> {
    /// Starts over `link`. If `answer_by` is set, flight 2 must arrive before then.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn new(link: Link, answer_by: Option<Instant>, setup: &Setup<'a>) -> Result<Self, Error> {
        let Setup { local, policy, deadline, limits, .. } = *setup;
        let (initiator, unsent) = Initiator::new(local, random::ephemerals()?, &*random::key()?)?;
        let flight2 = Vec::with_capacity(FLIGHT2_LEN);
        Ok(Attempt {
            link,
            limit: Limit::new(answer_by),
            local,
            policy,
            deadline,
            limits,
            state: State::Flight2 { initiator: Box::new(initiator), unsent, flight2 },
            has_revealed: false,
        })
    }

    /// Reads and writes what is possible now.
    pub fn advance(&mut self) -> Progress {
        loop {
            match &mut self.state {
                State::Flight2 { unsent, flight2, .. } => {
                    self.link.send(unsent);
                    // Read what has arrived even if sending has failed: it may say why.
                    self.link.receive(flight2, FLIGHT2_LEN);
                    let psk = self.local.has_psk();
                    match check_preface(flight2, Role::Listener, psk) {
                        Preface::Fits if flight2.len() == FLIGHT2_LEN => {}
                        Preface::Unfinished | Preface::Fits => {
                            return match self.link.end() {
                                Some(_) => {
                                    Progress::Failed(hung_up(&self.link, flight2.len(), psk))
                                }
                                None => Progress::Waiting,
                            };
                        }
                        Preface::Foreign => {
                            let dialect = Dialect::of(flight2).to_string();
                            return Progress::Failed(Error::NotScat(dialect));
                        }
                        Preface::Differs(mismatch) => {
                            return Progress::Failed(mismatched(&self.link, mismatch, psk));
                        }
                    }
                    if let Err(err) = self.answer() {
                        return Progress::Failed(err);
                    }
                }
                State::Flight3 { unsent, .. } => {
                    self.link.send(unsent);
                    if self.link.is_broken() {
                        let unopened = unopened(self.policy);
                        return Progress::Failed(Error::NotOpened(unopened, self.link.error()));
                    }
                    if !unsent.is_empty() {
                        return Progress::Waiting;
                    }
                    let State::Flight3 { connected, .. } = self.leave() else { continue };
                    return Progress::Connected(connected);
                }
                State::Over => return Progress::Waiting,
            }
        }
    }

    /// Verifies a complete flight 2 and makes flight 3. That reveals this side's share of
    /// the words, so it happens only for a listener that the policy admits.
    fn answer(&mut self) -> Result<(), Error> {
        let State::Flight2 { initiator, flight2, .. } = self.leave() else { return Ok(()) };
        let flight2 = flight2.try_into().map_err(|_| Error::HandshakeAltered)?;
        let reply = initiator.read_flight2(&flight2)?;
        if !self.policy.admits(&reply.peer.key) {
            return Err(Error::OtherKey(reply.peer));
        }
        let (connected, flight3) = reply.write_flight3()?;
        self.limit = Limit::new(Some(self.deadline.or(Instant::now() + self.limits.step)));
        self.has_revealed = true;
        self.state = State::Flight3 { connected: Box::new(connected), unsent: flight3.to_vec() };
        Ok(())
    }

    fn leave(&mut self) -> State<'a> {
        std::mem::replace(&mut self.state, State::Over)
    }

    /// Returns the error if the time limit has passed.
    pub fn late(&self) -> Error {
        match self.has_revealed {
            true => Error::OpenTimeout(unopened(self.policy)),
            false if self.link.is_unheard() => Error::Unheard,
            false => Error::HandshakeTimeout,
        }
    }
}

/// Returns how to treat a failure before OPEN under `policy`.
pub fn unopened(policy: &Policy) -> Unopened {
    match policy.needs_no_words() {
        true => Unopened::Safe,
        false => Unopened::Revealed,
    }
}

/// Returns the error for a listener whose preface does not match ours.
fn mismatched(link: &Link, mismatch: Mismatch, psk: bool) -> Error {
    match mismatch {
        Mismatch::Version(byte) => {
            Error::Version(Some(char::from(byte)).filter(char::is_ascii_graphic))
        }
        // Only connectors reconnect, so nothing here is taken for that.
        Mismatch::Unknown | Mismatch::Reconnects => Error::Version(None),
        Mismatch::SameRole if link.is_to_itself() => Error::Myself,
        Mismatch::SameRole => Error::SameRole,
        Mismatch::Psk => Error::OnePsk(psk),
        Mismatch::Busy => Error::Busy,
    }
}

/// Returns the error of a connection that ended after `len` matching bytes: a listener
/// answers what it cannot read with its preface alone.
fn hung_up(link: &Link, len: usize, psk: bool) -> Error {
    match len {
        // Flight 1 was the first large packet.
        0 if link.is_unheard() => Error::Unheard,
        0 => Error::Silent,
        PREFACE_LEN if psk => Error::PskDiffers,
        _ => Error::HandshakeCut(link.error()),
    }
}
