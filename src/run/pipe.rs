//! The loop: shuttles a session's bytes between stdin, stdout and the socket.
//!
//! It ends
//! * well, when both ends have sent and received EOF and DONE;
//! * by the peer's ABORT, by the connection's end or failure, by a frame that
//!   is forged or not allowed: then what was authentic is still written out;
//! * by stdin, stdout or a signal of this side: then the peer is told.
//!
//! Every end closes the same way: what is sealed is sent, sending is shut down,
//! and what still comes is read and thrown away until the peer has closed as
//! well, for 2 s at most. A close with unread data would send a reset, which
//! can destroy the last frames on their way.

use crate::auth::policy::Policy;
use crate::error::{Cause, Error, Totals, Unopened};
use crate::net::link::{End, Link};
use crate::net::reconnect::{Change, Reconnect};
use crate::net::{Established, Limits, Opening};
use crate::protocol::handshake::Local;
use crate::protocol::sas::Sas;
use crate::protocol::secret;
use crate::protocol::session::{Counters, Event, Reason, Session};
use crate::run::verification::Verification;
use crate::sys::poller::{LINK, Poller, STDIN, STDOUT, Signals, TTY};
use crate::sys::random;
use crate::sys::sandbox::{Allowed, Sandbox};
use crate::sys::socket::Socket;
use crate::text::{Rounded, plain};
use crate::ui::ceremony::Asker;
use crate::ui::progress::Progress;
use crate::ui::report::{Report, Talk};
use crate::ui::status::Line;
use crate::ui::stdio::{Input, Output, Stdio};
use crate::ui::waiting::Limit;
use std::io;
use std::time::{Duration, Instant};

/// PROGRESS is told at most once in this time.
const PROGRESS: Duration = Duration::from_secs(1);
/// How often it is looked, within the time for it, whether what was sent is acknowledged.
const LOOKS: u32 = 60;
/// Rounds without a poll while there is always something to do.
const ROUNDS: u32 = 16;

/// What a session that does not move waits for.
#[derive(Clone, Copy)]
enum Wait {
    /// The end of an input, or its beginning: a person who watches may want to know.
    Input(&'static str),
    /// Something that could move and does not.
    Stuck(&'static str),
}

/// A session that does not move.
#[derive(Default)]
struct Still {
    /// What had moved, and which inputs had ended.
    seen: (Counters, [bool; 3]),
    /// When that was noticed.
    since: Option<Instant>,
    /// When it is to be explained next, if it is still so.
    tell_at: Option<Instant>,
}

/// A time in which no data moves.
struct Quiet {
    seen: Counters,
    limit: Limit,
}

impl Quiet {
    /// Not begun.
    fn new() -> Self {
        Quiet { seen: Counters::default(), limit: Limit::new(None) }
    }

    /// Whether `counters` have stayed as they are for `time`, from when there was one.
    fn has_lasted(&mut self, counters: Counters, time: Option<Duration>) -> bool {
        if time.is_none() || self.seen != counters || self.limit.at().is_none() {
            let until = time.and_then(|time| Instant::now().checked_add(time));
            *self = Quiet { seen: counters, limit: Limit::new(until) };
            return false;
        }
        self.limit.is_up()
    }
}

/// What is given up as soon as there is a session: no other one can follow.
pub struct Before {
    /// This side's part of the handshake: the session needs no long-lived secret.
    pub local: Local,
    /// Entered then. Only a test of the loop in its own process has none.
    pub sandbox: Option<Sandbox>,
}

/// A session with the descriptors that it runs between.
pub struct Pipe<'a> {
    poller: &'a mut Poller,
    link: Link,
    /// What replaces a lost connection, where both ends have agreed on that.
    reconnect: Option<Reconnect>,
    session: Session,
    verification: Verification<'a>,
    stdin: Input,
    stdout: Output,
    report: &'a Report,
    started: Instant,
    /// A connector's time limit for OPEN, until that has come, and what it comes to if it
    /// does not.
    open_by: Option<(Limit, Unopened)>,
    /// Until OPEN has come or is about to leave.
    before: Option<Before>,
    /// What the last PROGRESS told, and when the next one may.
    told: (Counters, Instant),
    limits: Limits,
    /// Against `--idle`.
    idle: Quiet,
    /// While nobody reads standard output.
    unread: Quiet,
    /// Since when all is as it was, and whether it is known what that was.
    still: Still,
    /// When it is looked next whether what was sent is acknowledged.
    look_at: Instant,
    /// What a person at a terminal sees of it.
    progress: Progress,
}

impl<'a> Pipe<'a> {
    /// Runs the session of a peer to its end, in the sandbox. With an `asker`, a person is asked
    /// there first.
    ///
    /// # Errors
    /// Why it did not end well; the peer knows it too, if it could be told. `before`, if
    /// it has not come to a session.
    pub fn run(
        poller: &'a mut Poller,
        established: Established,
        stdio: Stdio,
        policy: &'a Policy,
        asker: Option<Asker>,
        before: Before,
        report: &'a Report,
    ) -> Result<(), (Error, Option<Before>)> {
        let Established { link, mut session, opening, limits, reconnect } = established;
        let Stdio { input: stdin, output: stdout } = stdio;
        if stdout.has_to_store() {
            session.await_store();
        }
        let (sas, open_by) = match opening {
            Opening::Ours(sas) => (Some(sas), None),
            Opening::Theirs(by, unopened) => (None, Some((Limit::new(Some(by)), unopened))),
        };
        let is_asked = asker.is_some();
        let is_chat = stdin.is_terminal() && stdout.is_terminal();
        if stdin.is_terminal() {
            report.set_typed_at();
        }
        let verification =
            Verification::new(&mut session, link.peer(), policy, asker, is_chat, report);
        let progress = Progress::new(stdin.rest_of_file(), limits.tell);
        let mut pipe = Pipe {
            poller,
            link,
            reconnect,
            session,
            verification,
            stdin,
            stdout,
            report,
            started: Instant::now(),
            open_by,
            before: Some(before),
            told: (Counters::default(), Instant::now() + PROGRESS),
            limits,
            idle: Quiet::new(),
            unread: Quiet::new(),
            look_at: Instant::now(),
            still: Still::default(),
            progress,
        };
        // A listener shows the words before OPEN leaves.
        if let Some(sas) = sas {
            pipe.verify(&sas);
        }
        let looked = pipe.stdout.look_again(pipe.poller);
        let result = looked.and_then(|()| pipe.shuttle());
        let result = pipe.end(result);
        if pipe.progress_at().is_some() {
            pipe.tell_progress(Instant::now());
        }
        if pipe.before.is_none() {
            report.keys(&pipe.session);
        }
        // The person who confirmed, or sits at a terminal, sees nothing else of a file. In a
        // log, the last line tells a run that went well from one that was killed.
        let is_watched = (is_asked || report.is_watched()) && !pipe.is_chat();
        if result.is_ok() && (report.talk == Talk::Stages || is_watched) {
            report.complete(pipe.session.counters(), pipe.started.elapsed());
        }
        result.map_err(|err| (err, pipe.before.take()))
    }

    /// Moves bytes until the session is complete or cannot go on.
    fn shuttle(&mut self) -> Result<(), Error> {
        let mut round = 0;
        loop {
            if !self.has_work() {
                // By now the peer has what it has to have first: OPEN.
                self.verification.claim_terminal()?;
                self.poll(self.poll_timeout())?;
                round = 0;
            } else if round == ROUNDS {
                self.poll(Some(Instant::now()))?;
                round = 0;
            }
            round += 1;
            self.handle_timeout()?;
            self.verification.advance(&mut self.session)?;
            self.fill_outbound()?;
            self.drain_outbound();
            self.fill_inbound()?;
            self.drain_inbound()?;
            self.follow_end()?;
            // The peer's last frame and its FIN may come together.
            if self.session.is_finished() && self.session.has_told() {
                return Ok(());
            }
            self.keep_connected()?;
            if let Some((limit, unopened)) = &mut self.open_by
                && limit.is_up()
            {
                return Err(Error::OpenTimeout(*unopened));
            }
            self.judge_quiet()?;
            if self.session.is_ratchet_overdue() {
                return Err(Error::RatchetTimeout);
            }
        }
    }

    /// Whether the connection is lost, and another one may take its place.
    fn is_away(&self) -> bool {
        self.reconnect.as_ref().is_some_and(|it| it.lost_at().is_some())
    }

    /// `--idle`, and a standard output that nobody reads: while no person is asked here and
    /// the connection is there.
    fn judge_quiet(&mut self) -> Result<(), Error> {
        let counters = self.session.counters();
        let stands = self.open_by.is_some() || self.verification.is_asking() || self.is_away();
        let idle = self.limits.idle.filter(|_| !stands);
        if self.idle.has_lasted(counters, idle)
            && let Some(time) = idle
        {
            return Err(Error::Idle(time));
        }
        // A peer that has ended loses nothing, and what is being sent may be what matters.
        let sends = counters.sent > 0 && !self.session.input_ended();
        let loses = self.stdout.is_unread() && !self.session.peer_has_ended() && !sends;
        let unread = Some(self.limits.unread).filter(|_| loses && !stands);
        if self.unread.has_lasted(counters, unread) {
            self.stdout.look_again(self.poller)?;
            self.poll(Some(Instant::now()))?;
            if self.stdout.is_unread() {
                return Err(Error::OutputClosed);
            }
        }
        Ok(())
    }

    /// The connection is gone.
    fn cut(&self, why: Option<io::Error>) -> Error {
        match &self.open_by {
            Some((_, unopened)) => Error::NotOpened(*unopened, why),
            None => Error::Cut(why),
        }
    }

    /// Whether a step of the loop could do something without waiting.
    fn has_work(&self) -> bool {
        self.takes_input()
            || self.link.is_writable() && !self.session.sealed().is_empty()
            || self.may_receive() && self.session.has_space()
            || self.stdout.is_ready() && self.session.wants_output()
            || self.verification.wants_input()
    }

    /// Whether input can be had and sent. What is taken once the peer is gone is
    /// lost, and would count as sent.
    fn takes_input(&self) -> bool {
        let has_peer = self.reconnect.is_some() || !self.link.is_broken();
        has_peer && self.stdin.is_ready() && self.session.wants_input()
    }

    /// Whether a read from the socket may do something, and is allowed.
    fn may_receive(&self) -> bool {
        self.link.is_readable() && !self.reconnect.as_ref().is_some_and(Reconnect::is_paused)
    }

    /// When something has to be done although no event comes.
    fn poll_timeout(&self) -> Option<Instant> {
        let open_by = self.open_by.as_ref().and_then(|(limit, _)| limit.at());
        let ask = self.verification.poll_timeout();
        let acknowledged = self.link.may_be_unacknowledged().then_some(self.look_at);
        let ratchet = self.session.poll_timeout();
        let (idle, unread) = (self.idle.limit.at(), self.unread.limit.at());
        let ack = self.session.ack_at(Instant::now());
        let reconnect = self.reconnect.as_ref().and_then(|it| it.timeout(&self.link));
        let shown = self.progress.at().filter(|_| self.shows_progress());
        let own = [self.progress_at(), shown, self.still.tell_at, idle, unread];
        let of_others = [open_by, ratchet, ask, acknowledged, ack, reconnect];
        own.into_iter().chain(of_others).flatten().min()
    }

    /// When PROGRESS has to be told, if there is any.
    fn progress_at(&self) -> Option<Instant> {
        let (told, at) = self.told;
        (self.report.has_status() && told != self.session.counters()).then_some(at)
    }

    /// Whether a terminal may show how far it has come: nobody is asked there, and no data
    /// goes to it or comes from it.
    fn shows_progress(&self) -> bool {
        let Counters { sent, received, .. } = self.session.counters();
        let has_data =
            self.stdin.is_terminal() && sent > 0 || self.stdout.is_terminal() && received > 0;
        self.report.is_watched() && !has_data && !self.verification.is_asking() && !self.is_away()
    }

    fn tell_progress(&mut self, now: Instant) {
        let counters = self.session.counters();
        self.report.event(&Line::Progress(counters));
        self.told = (counters, now + PROGRESS);
    }

    /// Waits until `timeout` and notes what has become ready.
    fn poll(&mut self, timeout: Option<Instant>) -> Result<(), Error> {
        let signals = self.poller.wait(timeout)?;
        for ready in self.poller.ready() {
            match ready.token {
                LINK => self.link.note(ready),
                STDIN if ready.readable => self.stdin.set_ready(),
                STDOUT => {
                    if ready.writable {
                        self.stdout.set_ready();
                    }
                    if ready.unread {
                        self.stdout.set_unread();
                    }
                }
                TTY => {
                    self.verification.set_readable();
                }
                _ => {
                    if let Some(reconnect) = &mut self.reconnect {
                        reconnect.note(ready);
                    }
                }
            }
        }
        self.handle_signals(signals);
        Ok(())
    }

    fn handle_signals(&mut self, signals: Signals) {
        if signals.resumed {
            self.stdin.set_ready();
        }
        if signals.report {
            self.report.counters(&self.session, self.started);
            if let Some(at) = self.reconnect.as_ref().and_then(Reconnect::lost_at) {
                let time = Rounded(at.elapsed());
                self.report.answer(format_args!("connection lost {time} ago, and waited for"));
            } else if let Some(Wait::Input(why) | Wait::Stuck(why)) = self.standstill() {
                self.report.answer(why);
            }
        }
        // The shell or the report has written over the prompt.
        if signals.resumed || signals.report {
            self.verification.ask_again();
        }
    }

    /// PROGRESS, the connector's ratchets, and a peer that has vanished while something
    /// was on its way to it. (One that is idle is noticed by TCP's keepalive, which does
    /// nothing as long as bytes are unacknowledged.)
    fn handle_timeout(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        if self.progress_at().is_some_and(|at| at <= now) {
            self.tell_progress(now);
        }
        self.explain_standstill(now);
        if self.shows_progress()
            && let Some(line) = self.progress.line(now, self.session.counters())
        {
            self.report.progress(&line);
        }
        if self.session.poll_timeout().is_some_and(|at| at <= now) {
            self.session.start_ratchet(random::ephemerals()?)?;
        }
        if self.session.ack_at(now).is_some_and(|at| at <= now) {
            self.session.send_ack()?;
        }
        if self.link.may_be_unacknowledged() && self.look_at <= now {
            self.look_at = now + self.limits.vanished / LOOKS;
            let silence = self.link.unacknowledged_for();
            if silence.is_some_and(|time| time >= self.limits.vanished) {
                self.link.fail(Socket::timed_out());
            }
        }
        Ok(())
    }

    /// Explains a silence, once for each.
    fn explain_standstill(&mut self, now: Instant) {
        let tell = self.limits.tell;
        let session = &self.session;
        let ends = [session.peer_has_ended(), session.input_ended(), session.is_acknowledged()];
        let seen = (session.counters(), ends);
        let Some(since) = self.still.since.filter(|_| self.still.seen == seen) else {
            self.still = Still { seen, since: Some(now), tell_at: Some(now + tell.ends) };
            return;
        };
        if self.still.tell_at.is_none_or(|at| now < at) {
            return;
        }
        self.still.tell_at = None;
        match self.standstill() {
            Some(Wait::Input(why)) => self.report.remark(why),
            Some(Wait::Stuck(why)) if since + tell.stuck <= now => self.report.say(why),
            _ => self.still.tell_at = Some(since + tell.stuck).filter(|at| *at > now),
        }
    }

    /// What the session waits for, if that is nothing that a person knows.
    fn standstill(&mut self) -> Option<Wait> {
        if self.open_by.is_some() || self.verification.is_asking() || self.is_away() {
            return None;
        }
        let is_silent =
            self.link.unacknowledged_for().is_some_and(|time| time >= self.limits.tell.stuck);
        let session = &self.session;
        if session.wants_output() && !self.stdout.is_ready() {
            return Some(Wait::Stuck(
                "standard output is blocked: the program that reads it does not",
            ));
        }
        if is_silent {
            return Some(Wait::Stuck(
                "the network acknowledges nothing: it is down, or drops large packets (MTU)",
            ));
        }
        if !session.sealed().is_empty() {
            return Some(Wait::Stuck("the other end does not read: its output is blocked"));
        }
        let is_terminal = self.stdin.is_terminal();
        if session.output_ended() && !session.input_ended() && !is_terminal {
            return Some(Wait::Input(
                "all received; waiting for the end of input here (next time: -d)",
            ));
        }
        let Counters { sent, received, .. } = session.counters();
        if session.input_ended() && sent > 0 && !session.peer_has_ended() {
            return Some(match session.is_acknowledged() {
                true => Wait::Input("all sent; waiting for the end of input at the other end"),
                false => Wait::Stuck("all sent; waiting for the other end to write it out"),
            });
        }
        let only_receives = (is_terminal || session.input_ended()) && !self.stdout.is_terminal();
        if only_receives && (sent, received) == (0, 0) && !session.peer_has_ended() {
            return Some(Wait::Input("nothing received yet: is the other end to send? (< FILE)"));
        }
        None
    }

    /// stdin -> plain -> sealed
    fn fill_outbound(&mut self) -> Result<(), Error> {
        if !self.takes_input() {
            return Ok(());
        }
        let Some(mut room) = self.session.room() else { return Ok(()) };
        match self.stdin.read(&mut room) {
            Ok(0) => Ok(self.session.end_input()?),
            Ok(n) => {
                if self.stdin.is_terminal() {
                    self.report.set_within_line(false);
                }
                Ok(self.session.filled(n)?)
            }
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(_) if self.stdin.has_hung_up() => Err(Error::HungUp),
            Err(why) => Err(Error::Input(why)),
        }
    }

    /// sealed -> socket. With a peer that is gone everything is lost; why it is gone,
    /// only its last frames can tell.
    fn drain_outbound(&mut self) {
        let n = self.link.write(self.session.sealed());
        self.session.drained(n);
        if self.link.is_broken() && self.reconnect.is_none() {
            self.session.lost();
        }
    }

    /// socket -> sealed -> plain
    fn fill_inbound(&mut self) -> Result<(), Error> {
        if !self.may_receive() {
            return Ok(());
        }
        let n = self.link.read(self.session.space());
        self.session.received(n);
        let now = Instant::now();
        while let Some(event) = self.open(now)? {
            self.handle(event)?;
        }
        Ok(())
    }

    /// Replaces a connection that is lost; where that was not agreed on, the session ends
    /// with it.
    fn keep_connected(&mut self) -> Result<(), Error> {
        let change = match &mut self.reconnect {
            Some(reconnect) if self.session.may_reconnect() => {
                reconnect.advance(self.poller, &mut self.link, &mut self.session)?
            }
            _ if self.link.end().is_some() => return Err(self.cut(self.link.error())),
            _ => None,
        };
        match change {
            None | Some(Change::Failed) => return Ok(()),
            Some(Change::Unknown) => return Err(self.cut(None)),
            Some(Change::Lost(err)) => {
                let cause = Cause::of(err.as_ref(), Cause::Cut);
                let why = err.map_or("closed".into(), |err| plain(&err));
                let patience = self.reconnect.as_ref().map_or(Duration::ZERO, Reconnect::patience);
                let time = Rounded(patience);
                self.report.event(&Line::Lost(cause, &why));
                self.report.say(format_args!(
                    "connection lost: {why}; waiting up to {time} for it (Ctrl-C gives up)"
                ));
            }
            Some(Change::Back(away)) => {
                self.report.event(&Line::Back(self.link.peer()));
                match away {
                    Some(time) => {
                        self.report.say(format_args!("connected again after {}", Rounded(time)));
                    }
                    None => self.report.detail("another connection replaces a silent one"),
                }
            }
        }
        self.verification.ask_again();
        Ok(())
    }

    fn open(&mut self, now: Instant) -> Result<Option<Event>, Error> {
        self.session.open(now, || Ok(random::ephemerals()?))
    }

    fn handle(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Data => self.verification.peer_streams(&self.session),
            Event::Eof => {
                self.verification.peer_streams(&self.session);
                self.report.event(&Line::Eof);
            }
            Event::Done => self.report.event(&Line::Done),
            Event::Control => {}
            Event::Ratchet => self.report.event(&Line::Ratchet(self.session.ratchets())),
            Event::Open(sas) => {
                self.open_by = None;
                self.verify(&sas);
            }
            Event::Abort(reason) => {
                self.report.event(&Line::Abort(reason));
                return Err(match reason {
                    // In the place of OPEN, it is the key that is refused.
                    Reason::Refused if self.open_by.is_some() => {
                        let before = self.before.as_ref();
                        let long_lived = before.is_some_and(|it| it.local.is_long_lived());
                        Error::KeyRefused { long_lived }
                    }
                    reason => Error::Aborted(reason),
                });
            }
        }
        Ok(())
    }

    /// The words are there, and with them a session.
    fn verify(&mut self, sas: &Sas) {
        if let Some(Before { local, sandbox }) = self.before.take() {
            drop(local);
            secret::wipe_stack();
            self.report.detail(format_args!("cipher: {}", self.session.cipher()));
            let allowed = self.reconnect.as_ref().map_or(Allowed::default(), Reconnect::needs);
            if let Some(held) = sandbox.map(|sandbox| sandbox.enter(allowed)) {
                self.report.detail(format_args!("sandbox: {held}"));
            }
            if self.limits.away.is_some() && self.reconnect.is_none() {
                self.report
                    .say("the other end has no --reconnect: a lost connection ends the session");
            }
        }
        self.report.event(&Line::Connected(self.link.peer()));
        self.verification.begin(sas);
    }

    /// plain -> stdout
    fn drain_inbound(&mut self) -> Result<(), Error> {
        if !self.stdout.is_ready() || !self.session.wants_output() {
            return Ok(());
        }
        match self.stdout.write(&self.session.plain()) {
            Ok(n) => {
                self.report.set_within_line(self.stdout.is_within_line());
                Ok(self.session.written(n)?)
            }
            Err(why) => match why.kind() {
                io::ErrorKind::WouldBlock => Ok(()),
                io::ErrorKind::InvalidData if self.stdout.is_terminal() => Err(Error::NoText),
                // Nobody reads it: a pipe says the one, a socket either.
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                    Err(Error::OutputClosed)
                }
                _ if self.stdout.has_hung_up() => Err(Error::HungUp),
                _ => Err(Error::Output(why)),
            },
        }
    }

    /// When the peer has ended and all is written out, whoever reads our output
    /// sees its end too. And a person at a terminal is not left waiting for
    /// nobody: what was entered is sent, what was only typed is thrown away.
    fn follow_end(&mut self) -> Result<(), Error> {
        if !self.session.output_ended() {
            return Ok(());
        }
        // DONE says that everything arrived, so a file that is not stored has to be known by then.
        self.stdout.store().map_err(Error::Output)?;
        self.session.stored()?;
        self.stdout.close();
        if self.stdin.is_terminal() && !self.stdin.is_ready() && !self.session.input_ended() {
            self.stdin.discard_typed();
            if self.is_chat() {
                self.report.say("the other person has ended the chat");
            }
            self.session.end_input()?;
        }
        Ok(())
    }

    /// Leaves the terminal, tells the peer, closes, and settles what the end was.
    fn end(&mut self, result: Result<(), Error>) -> Result<(), Error> {
        self.verification.leave();
        if let Err(error) = &result {
            self.tell(error);
        }
        // What has arrived is authentic and is written out, even after a cut or a forgery;
        // not if it was this side's terminal, input or output that failed.
        let deliver = !matches!(
            result,
            Err(Error::Signal(_)
                | Error::HungUp
                | Error::Output(_)
                | Error::OutputClosed
                | Error::NoText
                | Error::Input(_))
        );
        let mut errors: Vec<Error> = result.err().into_iter().collect();
        if !errors.is_empty() {
            self.reconnect = None;
        }
        self.close(deliver, &mut errors);
        self.linger(&mut errors);
        // The peer could not be told that all is well here.
        if errors.is_empty() && !self.session.has_told() {
            errors.push(Error::Cut(None));
        }
        let mut errors: Vec<Error> =
            errors.into_iter().map(|error| self.with_totals(error)).collect();
        // All are reported, the one that sets the exit status last.
        let heaviest = (0..errors.len()).max_by_key(|&at| errors[at].weight());
        let last = heaviest.map(|at| errors.remove(at));
        errors.iter().for_each(|error| self.report.error(error));
        last.map_or(Ok(()), Err)
    }

    /// Tells the peer of a failure here. Nothing more is confirmed to it from then on.
    fn tell(&mut self, error: &Error) {
        if let Some(reason) = error.abort() {
            let _ = self.session.abort(reason);
        }
    }

    /// Sends what is sealed and closes; with `deliver`, also writes out what has
    /// been received, however long that takes after the close. What goes wrong on the
    /// way is added to `errors`. A second signal ends the process meanwhile.
    fn close(&mut self, mut deliver: bool, errors: &mut Vec<Error>) {
        let mut limit = Limit::new(Some(Instant::now() + self.limits.close));
        let mut is_shut = false;
        // Two things go on side by side: the connection is closed, within `limit`, and the
        // output takes what has been received, however slow it is.
        loop {
            let is_late = limit.is_up();
            self.drain_outbound();
            // FIN only behind the last frame.
            if !is_shut && self.session.sealed().is_empty() {
                self.link.shutdown();
                is_shut = true;
            }
            if !is_late {
                // Unread data at the close would send a reset, which can overtake what was
                // sent last.
                match self.discard(deliver) {
                    Ok(0) => {}
                    Ok(_) => continue,
                    Err(error) => errors.push(error),
                }
            }
            if deliver && let Err(error) = self.drain_inbound() {
                // In time only if the connection is still open.
                self.tell(&error);
                errors.push(error);
                deliver = false;
            }
            let is_sent = is_shut || self.link.is_broken();
            let is_closed = is_late || is_sent && self.link.end().is_some();
            if is_closed {
                self.link.close(self.poller);
            }
            let delivers = deliver && self.session.wants_output();
            if delivers && self.stdout.is_ready() {
                continue;
            }
            if is_closed && !delivers {
                return;
            }
            if let Err(signal) = self.poll(limit.at().filter(|_| !is_closed)) {
                return errors.push(signal);
            }
        }
    }

    /// A peer that has not closed may lack the last frames: stays for a while, so that it
    /// can get them over another connection. All is well here, whatever comes of that.
    #[inline(never)] // as `discard`
    fn linger(&mut self, errors: &mut Vec<Error>) {
        let Some(mut reconnect) = self.reconnect.take() else { return };
        if !errors.is_empty() || matches!(self.link.end(), Some(End::Fin)) {
            return;
        }
        let mut limit = Limit::new(Some(Instant::now() + reconnect.linger()));
        let mut is_back = false;
        while !limit.is_up() {
            match reconnect.advance(self.poller, &mut self.link, &mut self.session) {
                Ok(Some(Change::Back(_))) => is_back = true,
                Ok(None | Some(Change::Lost(_))) => {}
                Ok(Some(Change::Failed | Change::Unknown)) | Err(_) => return,
            }
            let n = self.link.write(self.session.sealed());
            self.session.drained(n);
            if is_back && self.session.sealed().is_empty() {
                self.link.shutdown();
            }
            while self.link.read(&mut [0; 16384]) > 0 {}
            if is_back && self.link.end().is_some() {
                return;
            }
            let timeout = reconnect.timeout(&self.link).into_iter().chain(limit.at()).min();
            match self.poller.wait(timeout) {
                Ok(_) => {}
                Err(signal) => return errors.push(signal.into()),
            }
            for ready in self.poller.ready() {
                match ready.token {
                    LINK => self.link.note(ready),
                    _ => reconnect.note(ready),
                }
            }
        }
    }

    /// Throws away what still comes, and returns how many bytes that were. If nothing is
    /// delivered because this side has failed, the peer may have failed too: an ABORT
    /// behind its data is looked for.
    #[inline(never)] // in a frame of `run`, its buffer would cover what `wipe_stack` is to reach
    fn discard(&mut self, deliver: bool) -> Result<usize, Error> {
        if deliver || !self.session.may_open() {
            return Ok(self.link.read(&mut [0; 16384]));
        }
        self.session.discard();
        let n = self.link.read(self.session.space());
        self.session.received(n);
        let now = Instant::now();
        while let Some(event) = self.open(now)? {
            if matches!(event, Event::Abort(_) | Event::Ratchet) {
                self.handle(event)?;
            }
        }
        Ok(n)
    }

    /// How far it had come belongs to a bad end, but not to a chat's: nobody counts what
    /// was said there, unless it may have gone to the wrong person.
    fn with_totals(&self, error: Error) -> Error {
        match error {
            Error::Aborted(Reason::Refused) => error.with_totals(self.totals()),
            Error::Aborted(Reason::Interrupted) if self.is_chat() => Error::PersonLeft,
            error if self.is_chat() => error,
            error => error.with_totals(self.totals()),
        }
    }

    fn is_chat(&self) -> bool {
        self.stdin.is_terminal() && self.stdout.is_terminal()
    }

    fn totals(&self) -> Totals {
        Totals {
            counters: self.session.counters(),
            acknowledged: self.session.input_ended() && self.session.is_acknowledged(),
        }
    }
}
