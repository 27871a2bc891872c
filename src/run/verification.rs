//! Who is at the other end: what the handshake has proved is told, or a person
//! compares the words.

use crate::auth::keys;
use crate::auth::policy::{Policy, Proof};
use crate::error::Error;
use crate::protocol::handshake::Peer;
use crate::protocol::role::Role;
use crate::protocol::sas::Sas;
use crate::protocol::session::Session;
use crate::sys::poller::Poller;
use crate::sys::tty::Tty;
use crate::ui::ceremony::{Ceremony, Progress};
use crate::ui::dialogue::Dialogue;
use crate::ui::report::Report;
use crate::ui::status::Line;
use std::net::SocketAddr;

/// The verification of one peer.
pub struct Verification<'a> {
    role: Role,
    address: Option<SocketAddr>,
    peer: Peer,
    proof: Proof<'a>,
    /// Where a person is asked, until that begins.
    tty: Option<Tty>,
    /// A person is being asked.
    pub ceremony: Option<Ceremony>,
    /// The person here has accepted, and nothing says yet that the one there has.
    awaits_peer: bool,
    advice: Option<&'static str>,
    report: &'a Report,
}

impl<'a> Verification<'a> {
    /// Of the peer at `address`, which TCP has and others may not, as `policy` says. With
    /// `tty`, a person is asked there, and holds the stream of `session` until then.
    pub fn new(
        session: &mut Session,
        address: Option<SocketAddr>,
        policy: &'a Policy,
        tty: Option<Tty>,
        report: &'a Report,
    ) -> Self {
        if tty.is_some() {
            session.hold();
        }
        let (role, peer) = (session.role(), session.peer());
        let proof = policy.proof(&peer.key);
        let (ceremony, awaits_peer, advice) = (None, false, policy.advice);
        Verification { role, address, peer, proof, tty, ceremony, awaits_peer, advice, report }
    }

    /// The words are there: shows them, or begins to ask for them.
    ///
    /// # Errors
    /// [`Error::System`] and [`Error::HungUp`]: the terminal's.
    pub fn begin(&mut self, sas: &Sas, poller: &Poller) -> Result<(), Error> {
        match self.tty.take() {
            Some(tty) => self.ask(tty, sas, poller),
            None => {
                self.tell(sas);
                Ok(())
            }
        }
    }

    fn ask(&mut self, tty: Tty, sas: &Sas, poller: &Poller) -> Result<(), Error> {
        let dialogue = Dialogue::new(self.role, sas);
        let ceremony = Ceremony::new(tty, dialogue, self.address, poller)
            .map_err(|why| Error::System("terminal", why))?;
        if !ceremony.is_in_foreground().map_err(|_| Error::HungUp)? {
            self.report.met(self.role, self.address);
            self.report.say("bring scat to the foreground (fg) to compare the words");
        }
        // A connector's person says nothing before the listener's words are right.
        if self.role == Role::Listener {
            self.report.event(&Line::OwnWords(sas.half(self.role)));
        }
        self.ceremony = Some(ceremony);
        Ok(())
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
        // Who has come is always said: by name, or by the key itself.
        if report.verbose || proof.key.is_some() && proof.name().is_none() {
            self.tell_key();
        }
    }

    /// Prompts, reads what was typed, and lets the stream of `session` move once it is
    /// right.
    ///
    /// # Errors
    /// [`Error::WordsDiffer`], [`Error::NotAccepted`]; [`Error::HungUp`]: the terminal's.
    pub fn advance(&mut self, session: &mut Session) -> Result<(), Error> {
        let Some(ceremony) = &mut self.ceremony else {
            return Ok(());
        };
        match ceremony.advance().map_err(|_| Error::HungUp)? {
            Progress::Waiting => Ok(()),
            Progress::Wrong => Err(Error::WordsDiffer),
            Progress::No => Err(Error::NotAccepted),
            Progress::Accepted => {
                let own = ceremony.own_words();
                self.ceremony = None;
                self.awaits_peer = self.role == Role::Connector && !session.peer_streams();
                session.confirm()?;
                if self.role == Role::Connector {
                    self.report.event(&Line::OwnWords(own));
                }
                self.tell_programs("words");
                self.tell_key();
                if self.awaits_peer {
                    self.report.say(
                        "they may still have to type your words: what you send waits for that",
                    );
                }
                Ok(())
            }
        }
    }

    /// Something of the peer's stream has come: its person has accepted the words.
    pub fn peer_streams(&mut self) {
        if std::mem::take(&mut self.awaits_peer) {
            self.report.say("the other end is ready");
        }
    }

    /// Tells programs how the peer was verified, and its key if it keeps one.
    fn tell_programs(&self, by: &str) {
        self.report.event(&Line::Verified(by, self.proof.name()));
        if self.peer.long_lived {
            self.report.event(&Line::PeerKey(&self.peer.key));
        }
    }

    /// Tells whose key it is, or the key of a peer that keeps it, for `--peer` next time.
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
