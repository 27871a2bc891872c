//! Verification of the peer: reports what the handshake has proved, or asks the user to
//! compare the words.

use crate::auth::keys;
use crate::auth::policy::{Policy, Proof};
use crate::error::Error;
use crate::protocol::handshake::Peer;
use crate::protocol::role::Role;
use crate::protocol::sas::Sas;
use crate::protocol::session::Session;
use crate::ui::ceremony::{Asker, Ceremony, Progress};
use crate::ui::dialogue::Dialogue;
use crate::ui::report::{Report, Talk};
use crate::ui::status::Line;
use std::net::SocketAddr;
use std::time::Instant;

/// The verification of one peer.
pub struct Verification<'a> {
    role: Role,
    address: Option<SocketAddr>,
    peer: Peer,
    proof: Proof<'a>,
    /// Where to ask the user, until that begins.
    asker: Option<Asker>,
    /// The user is being asked, or waits for the other user.
    ceremony: Option<Ceremony>,
    /// The user has accepted, and the peer's user may not have.
    awaits_peer: bool,
    /// The user types what is sent, and sees what is received.
    is_chat: bool,
    advice: Option<&'static str>,
    report: &'a Report,
}

impl<'a> Verification<'a> {
    /// Verifies the peer at `address` (only TCP has one) as `policy` says. With an
    /// `asker`, asks the user, and holds the stream of `session` until then.
    pub fn new(
        session: &mut Session,
        address: Option<SocketAddr>,
        policy: &'a Policy,
        asker: Option<Asker>,
        is_chat: bool,
        report: &'a Report,
    ) -> Self {
        if asker.is_some() {
            session.hold();
        }
        let (role, peer) = (session.role(), session.peer());
        Verification {
            role,
            address,
            peer,
            proof: policy.proof(&peer.key),
            asker,
            ceremony: None,
            awaits_peer: false,
            is_chat,
            advice: policy.advice,
            report,
        }
    }

    /// Shows the words, which are now known, or starts to ask for them.
    pub fn begin(&mut self, sas: &Sas) {
        match self.asker.take() {
            Some(asker) => self.ask(asker, sas),
            None => self.tell(sas),
        }
    }

    /// Records an event for the answers.
    pub fn set_readable(&mut self) {
        if let Some(ceremony) = &mut self.ceremony {
            ceremony.set_readable();
        }
    }

    /// Asks again, because something else is on the screen.
    pub fn ask_again(&mut self) {
        if let Some(ceremony) = &mut self.ceremony {
            ceremony.ask_again();
        }
    }

    /// Whether [`Verification::advance`] could proceed without waiting.
    pub fn wants_input(&self) -> bool {
        self.ceremony.as_ref().is_some_and(Ceremony::wants_input)
    }

    /// Whether a user is being asked, here or still at the other end.
    pub fn is_asking(&self) -> bool {
        self.ceremony.is_some()
    }

    /// Whether an unanswered question is on a terminal, or about to be.
    pub fn has_question(&self) -> bool {
        self.ceremony.as_ref().is_some_and(Ceremony::has_question)
    }

    /// Returns when to call [`Verification::advance`] although no event comes.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.ceremony.as_ref().and_then(Ceremony::poll_timeout)
    }

    /// Clears an open question from the terminal.
    pub fn leave(&mut self) {
        if let Some(ceremony) = self.ceremony.take() {
            ceremony.leave(self.report);
        }
    }

    /// Gets the terminal for a question that waits for it. Call it when there is nothing
    /// else to do: the process is stopped until then.
    ///
    /// # Errors
    /// [`Error::HungUp`] if the terminal has hung up.
    pub fn claim_terminal(&mut self) -> Result<(), Error> {
        let Some(ceremony) = &mut self.ceremony else { return Ok(()) };
        ceremony.claim(self.report).map_err(|_| Error::HungUp)
    }

    fn ask(&mut self, asker: Asker, sas: &Sas) {
        let is_program = matches!(asker, Asker::Program(_));
        let dialogue = Dialogue::new(self.role, sas);
        let ceremony = Ceremony::new(asker, dialogue, self.address);
        if is_program {
            self.report.met(self.role, self.address);
        }
        // A connector's user speaks second, once the listener's words are accepted.
        if self.role == Role::Listener {
            self.report.event(&Line::OwnWords(sas.half(self.role)));
        }
        self.ceremony = Some(ceremony);
    }

    fn tell(&self, sas: &Sas) {
        let Verification { role, address, proof, report, .. } = self;
        report.event(&Line::OwnWords(sas.half(*role)));
        report.event(&Line::PeerWords(sas.half(role.peer())));
        match proof.by() {
            Some(by) => report.verified(*role, *address, by, proof.name(), sas),
            None => report.compare(*role, *address, sas, self.advice),
        }
        self.tell_programs(proof.token());
        // Always say who has connected: by name, or by the key.
        if report.talk == Talk::Stages || proof.key.is_some() && proof.name().is_none() {
            self.tell_key();
        }
    }

    /// Asks, reads the answer, and releases the stream of `session` once it is right.
    ///
    /// # Errors
    /// [`Error::WordsDiffer`], [`Error::NotAccepted`], [`Error::Left`]; [`Error::HungUp`] if
    /// the terminal has hung up.
    pub fn advance(&mut self, session: &mut Session) -> Result<(), Error> {
        let Some(ceremony) = &mut self.ceremony else {
            return Ok(());
        };
        match ceremony.advance(self.report).map_err(|_| Error::HungUp)? {
            Progress::Waiting => Ok(()),
            Progress::Wrong => Err(Error::WordsDiffer),
            Progress::No => Err(Error::NotAccepted),
            Progress::Left => Err(Error::Left),
            Progress::Accepted => {
                let own = ceremony.own_words();
                session.confirm()?;
                if self.role == Role::Connector {
                    self.report.event(&Line::OwnWords(own));
                }
                self.tell_programs("words");
                self.tell_key();
                // The listener's user accepts last.
                if self.role == Role::Connector && !session.peer_streams() {
                    self.awaits_peer = true;
                    self.tell_person("waiting for the other person to type your words");
                } else {
                    self.tell_verified(session);
                }
                Ok(())
            }
        }
    }

    /// The first data of the peer has arrived.
    pub fn peer_streams(&mut self, session: &Session) {
        if std::mem::take(&mut self.awaits_peer) {
            self.tell_verified(session);
        }
    }

    /// Reports success: the words are compared and the stream is released.
    fn tell_verified(&mut self, session: &Session) {
        let verified = if session.peer_accepted() { "both verified" } else { "verified" };
        self.tell_person(&match self.is_chat {
            true => format!("{verified}; type a line, Ctrl-D ends the chat"),
            false => verified.to_owned(),
        });
        self.ceremony = None;
    }

    fn tell_person(&mut self, text: &str) {
        if let Some(ceremony) = &mut self.ceremony {
            ceremony.tell(text, self.report);
        }
    }

    /// Reports to programs how the peer was verified, and its key if it is long-lived.
    fn tell_programs(&self, by: &str) {
        self.report.event(&Line::Verified(by, self.proof.name()));
        if self.peer.long_lived {
            self.report.event(&Line::PeerKey(&self.peer.key));
        }
    }

    /// Shows the name of the peer's key, or a long-lived key for `--peer` next time.
    fn tell_key(&self) {
        match self.proof.key {
            Some(known) => self.report.peer_key(known),
            None if self.peer.long_lived => {
                self.report.peer_key(keys::public_text(&self.peer.key));
            }
            None => {}
        }
    }
}
