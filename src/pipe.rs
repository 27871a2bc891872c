//! The loop: shuttles a session's bytes between stdin, stdout and the socket.
//!
//! It ends
//! * well, when both sides have sent and received EOF and DONE;
//! * by the peer's ABORT, by the connection's end or failure, by a frame that
//!   is forged or not allowed: then what was authentic is still written out;
//! * by stdin, stdout or a signal of this side: then the peer is told.
//!
//! Every end closes the same way: what is sealed is sent, sending is shut down,
//! and what still comes is read and thrown away until the peer has closed as
//! well, for 2 s at most. A close with unread data would send a reset, which
//! can destroy the last frames on their way.

use crate::error::{Ended, Error};
use crate::event_loop::{Asked, Wait};
use crate::keys;
use crate::net::Met;
use crate::policy::Policy;
use crate::protocol::role::Role;
use crate::protocol::sas::Sas;
use crate::protocol::session::{Event, Reason, Session};
use crate::report::{Address, Report};
use crate::term::confirm::{Ceremony, Progress, Questions};
use crate::term::stdio::Stdio;
use mio::net::TcpStream;
use mio::{Interest, Token};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

const LINK: Token = Token(0);
const STDIN: Token = Token(1);
const STDOUT: Token = Token(2);
const TERMINAL: Token = Token(3);

/// How long the connector waits for OPEN.
const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// How long a close may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);
/// How often a ceremony looks whether it has the terminal.
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// Rounds without a look at the poll, while there is always something to do.
const ROUNDS: u32 = 16;

/// The TCP connection and what is known of it.
struct Link {
    stream: TcpStream,
    readable: bool,
    writable: bool,
    /// The peer's FIN, or what broke the receiving half.
    ended: Option<Option<io::Error>>,
    /// What broke the sending half. Receiving goes on: the reason may still come.
    broken: bool,
}

/// A session with the descriptors that it runs between.
pub struct Pipe<'a> {
    wait: &'a mut Wait,
    link: Link,
    peer: SocketAddr,
    session: Session,
    policy: Policy,
    ceremony: Option<Ceremony>,
    stdin: Stdio,
    stdout: Stdio,
    status: Report,
    started: Instant,
    /// Until when OPEN has to be there; `None` once it is.
    open_by: Option<Instant>,
    /// When the present keys came into use.
    exchanged_at: Instant,
}

impl<'a> Pipe<'a> {
    /// Sets up a session whose handshake is done. With `open_by`, the connector
    /// gives up at that moment if that is before its own limit.
    ///
    /// # Errors
    /// [`Error::System`] if a descriptor cannot be watched.
    pub fn new(
        wait: &'a mut Wait,
        met: Met<Session>,
        policy: Policy,
        open_by: Option<Instant>,
        status: Report,
    ) -> Result<Self, Error> {
        let Met { stream, address, outcome: session } = met;
        let set_up = |why| Error::System("standard input and output", why);
        let registry = wait.registry();
        let stdin = Stdio::input(registry, STDIN).map_err(set_up)?;
        let stdout = Stdio::output(registry, STDOUT).map_err(set_up)?;
        let mut link = Link { stream, readable: true, writable: true, ended: None, broken: false };
        let both = Interest::READABLE | Interest::WRITABLE;
        registry.reregister(&mut link.stream, LINK, both).map_err(set_up)?;
        let now = Instant::now();
        let open_by = (session.role() == Role::Connector).then(|| {
            let own = now + OPEN_WITHIN;
            open_by.map_or(own, |given| given.min(own))
        });
        Ok(Pipe {
            wait,
            link,
            peer: address,
            session,
            policy,
            ceremony: None,
            stdin,
            stdout,
            status,
            started: now,
            open_by,
            exchanged_at: now,
        })
    }

    /// Runs the session to its end. A listener has its `sas` already; it is shown
    /// before OPEN leaves.
    ///
    /// # Errors
    /// Why it did not end well; the peer knows it too, if it could be told.
    pub fn run(mut self, sas: Option<Sas>) -> Result<(), Error> {
        let introduced = sas.map_or(Ok(()), |sas| self.introduce(&sas));
        let mut result = introduced.and_then(|()| self.shuttle());
        if let Some(ceremony) = self.ceremony.take() {
            ceremony.leave();
        }
        if let Some(reason) = result.as_ref().err().and_then(Error::reason) {
            let _ = self.session.abort(reason);
        }
        let deliver = !matches!(
            result,
            Err(Error::Signal(_) | Error::Output(_) | Error::OutputClosed | Error::Input(_))
        );
        match (self.close(deliver), &result) {
            (Err(late @ Error::Signal(_)), Err(first)) => {
                // Whoever sends a signal is to see that it worked.
                self.status.say(first);
                result = Err(late);
            }
            (Err(late), Ok(())) => result = Err(late),
            _ => {}
        }
        if result.is_ok() && (self.link.broken || !self.session.sealed().is_empty()) {
            // The peer could not be told that all is well here.
            result = Err(Error::Cut(self.ended(), None));
        }
        self.summary(&result);
        result
    }

    /// Moves bytes until the session is complete or cannot go on.
    fn shuttle(&mut self) -> Result<(), Error> {
        let mut round = 0;
        loop {
            if !self.can_do_something() {
                let deadline = self.next_deadline();
                let asked = self.wait.until(deadline)?;
                self.note_events(asked);
                round = 0;
            } else if round == ROUNDS {
                let asked = self.wait.until(Some(Instant::now()))?;
                self.note_events(asked);
                round = 0;
            }
            round += 1;
            self.keep_time()?;
            self.go_on_with_ceremony()?;
            self.fill_outbound()?;
            self.drain_outbound();
            self.fill_inbound()?;
            self.drain_inbound()?;
            self.end_with_peer()?;
            // The peer's last frame and its FIN may come together.
            if self.is_complete() {
                return Ok(());
            }
            if let Some(why) = &mut self.link.ended {
                let why = why.take();
                return Err(Error::Cut(self.ended(), why));
            }
        }
    }

    /// Both sides have sent and received EOF and DONE, and ours have left.
    fn is_complete(&self) -> bool {
        self.session.is_finished() && self.session.sealed().is_empty()
    }

    fn can_do_something(&mut self) -> bool {
        self.takes_input()
            || self.link.writable && !self.session.sealed().is_empty()
            || self.link.readable && !self.session.space().is_empty()
            || self.stdout.is_ready() && self.session.wants_output()
            || self.ceremony.as_ref().is_some_and(Ceremony::can_go_on)
    }

    /// Whether input can be had and sent. What is taken once the peer is gone is
    /// lost, and would count as sent.
    fn takes_input(&self) -> bool {
        !self.link.broken && self.stdin.is_ready() && self.session.wants_input()
    }

    fn next_deadline(&self) -> Option<Instant> {
        let exchange =
            self.session.exchange_due(self.exchanged_at.elapsed()).map(|due| Instant::now() + due);
        let is_kept_waiting = self.ceremony.as_ref().is_some_and(Ceremony::is_kept_waiting);
        let look = is_kept_waiting.then(|| Instant::now() + LOOK_AGAIN);
        [self.open_by, exchange, look].into_iter().flatten().min()
    }

    fn note_events(&mut self, asked: Asked) {
        for event in self.wait.events() {
            // A hang-up or an error is noticed by the call that it makes fail.
            let (readable, writable) = (
                event.is_readable() || event.is_read_closed() || event.is_error(),
                event.is_writable() || event.is_write_closed() || event.is_error(),
            );
            match event.token() {
                LINK => {
                    self.link.readable |= readable;
                    self.link.writable |= writable;
                }
                STDIN if readable => self.stdin.set_ready(),
                STDOUT if writable => self.stdout.set_ready(),
                TERMINAL => {
                    if let Some(ceremony) = &mut self.ceremony {
                        ceremony.set_readable();
                    }
                }
                _ => {}
            }
        }
        if asked.resumed {
            self.stdin.look_again();
            // The shell has written over the question.
            if let Some(ceremony) = &mut self.ceremony {
                ceremony.ask_again();
            }
        }
        if asked.report {
            self.report();
            if let Some(ceremony) = &mut self.ceremony {
                ceremony.ask_again();
            }
        }
    }

    /// Deadlines, and the connector's exchanges of fresh keys.
    fn keep_time(&mut self) -> Result<(), Error> {
        if self.open_by.is_some_and(|by| Instant::now() >= by) {
            return Err(Error::OpenTimeout);
        }
        let since = self.exchanged_at.elapsed();
        if self.session.exchange_due(since) == Some(Duration::ZERO) {
            self.session.start_exchange()?;
        }
        Ok(())
    }

    fn fill_outbound(&mut self) -> Result<(), Error> {
        if !self.takes_input() {
            return Ok(());
        }
        match self.session.fill(|pieces| self.stdin.read(pieces)) {
            Ok(0) => Ok(self.session.end_input()?),
            Ok(_) => Ok(()),
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(why) => Err(Error::Input(why)),
        }
    }

    fn drain_outbound(&mut self) {
        let sealed = self.session.sealed();
        if sealed.is_empty() || !self.link.writable {
            return;
        }
        if self.link.broken {
            self.session.drained(sealed.len());
            return;
        }
        match self.link.stream.write(sealed) {
            Ok(n) => self.session.drained(n),
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => self.link.writable = false,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            // The peer is gone; why, only its last frames can tell.
            Err(_) => self.link.broken = true,
        }
    }

    fn fill_inbound(&mut self) -> Result<(), Error> {
        if !self.link.readable {
            return Ok(());
        }
        let space = self.session.space();
        if space.is_empty() {
            return Ok(());
        }
        match self.link.stream.read(space) {
            Ok(0) => self.link.ended = Some(None),
            Ok(n) => self.session.received(n),
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => self.link.readable = false,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => self.link.ended = Some(Some(why)),
        }
        while let Some(event) = self.session.open()? {
            self.on(event)?;
        }
        Ok(())
    }

    fn on(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Data | Event::Eof | Event::Done => {}
            Event::Open(sas) => {
                self.open_by = None;
                self.exchanged_at = Instant::now();
                self.introduce(&sas)?;
            }
            Event::Rekey => self.exchanged_at = Instant::now(),
            // In the place of OPEN, it is the key that is refused.
            Event::Abort(Reason::Refused) if self.open_by.is_some() => {
                return Err(Error::KeyRefused);
            }
            Event::Abort(reason) => return Err(Error::from_abort(reason, self.ended())),
        }
        Ok(())
    }

    fn drain_inbound(&mut self) -> Result<(), Error> {
        if !self.stdout.is_ready() || !self.session.wants_output() {
            return Ok(());
        }
        match self.stdout.write(&self.session.plain()) {
            Ok(n) => Ok(self.session.written(n)?),
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(why) if is_gone(&why) => Err(Error::OutputClosed),
            Err(why) => Err(Error::Output(why)),
        }
    }

    /// When the peer has ended and all is written out, whoever reads our output
    /// sees its end too. And a person at a terminal is not left waiting for
    /// nobody: what was entered is sent, what was only typed is thrown away.
    fn end_with_peer(&mut self) -> Result<(), Error> {
        if !self.session.output_ended() {
            return Ok(());
        }
        self.stdout.close();
        if self.stdin.is_terminal() && !self.stdin.is_ready() && !self.session.input_ended() {
            self.stdin.flush_typed();
            self.session.end_input()?;
        }
        Ok(())
    }

    /// Sends what is sealed and closes; with `deliver`, also writes out what has
    /// been received. A second signal ends the process meanwhile.
    fn close(&mut self, deliver: bool) -> Result<(), Error> {
        let deadline = Instant::now() + CLOSE_WITHIN;
        let mut waste = [0; 16384];
        let mut shut = false;
        loop {
            let in_time = Instant::now() < deadline;
            self.drain_outbound();
            if !shut && self.session.sealed().is_empty() {
                let _ = self.link.stream.shutdown(Shutdown::Write);
                shut = true;
            }
            if in_time && self.link.readable && self.link.ended.is_none() {
                match self.link.stream.read(&mut waste) {
                    Ok(0) => self.link.ended = Some(None),
                    Ok(_) => continue,
                    Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
                        self.link.readable = false;
                    }
                    Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                    Err(why) => self.link.ended = Some(Some(why)),
                }
            }
            let mut delivering = deliver && self.session.wants_output();
            if delivering {
                self.drain_inbound()?;
                delivering = self.session.wants_output();
                if delivering && self.stdout.is_ready() {
                    continue;
                }
            }
            let is_closed = !in_time || shut && self.link.ended.is_some();
            if !delivering && is_closed {
                return Ok(());
            }
            let until = (!is_closed).then_some(deadline);
            let asked = self.wait.until(until)?;
            self.note_events(asked);
        }
    }

    /// The words are there: shows them as the policy says.
    fn introduce(&mut self, sas: &Sas) -> Result<(), Error> {
        let role = self.session.role();
        if let Some(terminal) = self.policy.confirm.take() {
            let questions = Questions::new(role, sas);
            let registry = self.wait.registry();
            let ceremony = Ceremony::new(terminal, questions, self.peer.ip(), registry, TERMINAL)
                .map_err(terminal_failed)?;
            if !ceremony.is_in_foreground().map_err(terminal_failed)? {
                self.status.say(format_args!(
                    "connected to {}; bring scat to the foreground (fg) to compare the words",
                    Address(self.peer)
                ));
            }
            self.ceremony = Some(ceremony);
            return Ok(());
        }
        match self.policy.verified_by() {
            Some(by) => self.status.verified(role, self.peer, by, sas),
            None => self.status.compare(role, self.peer, sas),
        }
        if self.status.verbose {
            self.tell_key();
        }
        Ok(())
    }

    /// Asks, reads what was typed, and lets the stream move once it is right.
    fn go_on_with_ceremony(&mut self) -> Result<(), Error> {
        let Some(ceremony) = &mut self.ceremony else {
            return Ok(());
        };
        match ceremony.go_on().map_err(terminal_failed)? {
            Progress::Waiting => Ok(()),
            Progress::Wrong => Err(Error::WordsDiffer),
            Progress::No => Err(Error::NotAccepted),
            Progress::Accepted => {
                self.ceremony = None;
                self.session.release()?;
                self.tell_key();
                Ok(())
            }
        }
    }

    /// A key that the peer keeps, in the form that `--peer` takes.
    fn tell_key(&self) {
        let peer = self.session.peer();
        if peer.long_lived {
            self.status.say(format_args!("their key, for --peer: {}", keys::encode(&peer.key)));
        }
    }

    fn ended(&self) -> Ended {
        Ended {
            counters: self.session.counters(),
            confirmed: self.session.input_ended() && self.session.is_confirmed(),
        }
    }

    /// What SIGUSR1 asks for.
    fn report(&self) {
        let counters = self.session.counters();
        self.status.say(format_args!(
            "sent {} bytes, received {}, written {}; {:.1?}; {} key exchanges, the keys {} s old",
            counters.sent,
            counters.received,
            counters.written,
            self.started.elapsed(),
            self.session.exchanges(),
            self.exchanged_at.elapsed().as_secs(),
        ));
    }

    /// What `-v` tells at the end.
    fn summary(&self, result: &Result<(), Error>) {
        let counters = self.session.counters();
        let time = self.started.elapsed();
        let rate = |bytes: u64| u128::from(bytes) / time.as_micros().max(1);
        let confirmed = if self.session.is_confirmed() { "confirmed" } else { "not confirmed" };
        self.status.detail(format_args!(
            "{}: sent {} bytes ({confirmed}, {} MB/s), wrote {} of {} received ({} MB/s) \
             in {time:.1?}, {} key exchanges, the keys {} s old",
            if result.is_ok() { "complete" } else { "incomplete" },
            counters.sent,
            rate(counters.sent),
            counters.written,
            counters.received,
            rate(counters.received),
            self.session.exchanges(),
            self.exchanged_at.elapsed().as_secs(),
        ));
    }
}

fn terminal_failed(why: io::Error) -> Error {
    Error::System("terminal", why)
}

/// Nobody reads our output: a pipe says the one, a socket either.
fn is_gone(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}
