//! The loop: moves a session's bytes between stdin, stdout and the socket.
//!
//! It ends
//! * successfully, when both ends have sent and received EOF and DONE; with reconnection,
//!   this side stays until it knows that the peer has its last frame, or for a while;
//! * by the peer's ABORT, a lost connection, or a forged or forbidden frame: then data that
//!   has verified is still written out;
//! * by this side's stdin, stdout or a signal: then the peer receives ABORT.
//!
//! Every end closes alike: send what is sealed, shut down sending, and read and discard
//! what arrives until the peer has closed too, for at most 2 s. A close with unread data
//! would send a reset, which can destroy the last frames in transit.

use crate::auth::policy::Policy;
use crate::error::{Cause, Error, Totals, Unopened};
use crate::net::link::Link;
use crate::net::reconnect::{Change, Reconnect};
use crate::net::{Established, Limits, Opening};
use crate::protocol::handshake::Local;
use crate::protocol::sas::Sas;
use crate::protocol::secret;
use crate::protocol::session::{Counters, Event, Reason, Session};
use crate::run::standstill::{self, Facts, Quiet, Still, Wait};
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

/// Number of checks, within the time for it, whether sent data is acknowledged.
const LOOKS: u32 = 60;
/// Rounds without a poll while there is always work.
const ROUNDS: u32 = 16;

/// What the program drops once the session starts.
pub struct Before {
    /// This side's part of the handshake: a session needs no long-lived secret.
    pub local: Local,
    /// Entered when the session starts. Only tests that run the loop in their own process have
    /// none.
    pub sandbox: Option<Sandbox>,
}

/// A session and the descriptors between which it runs.
pub struct Pipe<'a> {
    poller: &'a mut Poller,
    link: Link,
    /// Replaces a lost connection, if both ends agreed on that.
    reconnect: Option<Reconnect>,
    /// A change of the connection that is not reported yet.
    news: Option<String>,
    session: Session,
    verification: Verification<'a>,
    stdin: Input,
    stdout: Output,
    report: &'a Report,
    started: Instant,
    /// The connector's time limit for OPEN until it arrives, and how to treat its
    /// absence.
    open_by: Option<(Limit, Unopened)>,
    /// Dropped when OPEN has arrived or is about to be sent.
    before: Option<Before>,
    /// The counters in the last PROGRESS, and when the next may follow.
    told: (Counters, Instant),
    limits: Limits,
    /// For `--idle`.
    idle: Quiet,
    /// For a standard output that nobody reads.
    unread: Quiet,
    /// For a peer that may lack the last frame.
    staying: Quiet,
    /// Since when nothing has changed, and whether that was explained.
    still: Still,
    /// When to check next whether sent data is acknowledged.
    look_at: Instant,
    /// The progress line on a terminal.
    progress: Progress,
}

impl<'a> Pipe<'a> {
    /// Runs a peer's session to its end, in the sandbox. With an `asker`, asks the user
    /// to compare the words first.
    ///
    /// # Errors
    /// Why it failed; ABORT was sent if possible. Also returns `before` if there was no
    /// session yet.
    pub fn run(
        poller: &'a mut Poller,
        established: Established,
        stdio: Stdio,
        policy: &'a Policy,
        asker: Option<Asker>,
        before: Before,
        report: &'a Report,
    ) -> Result<(), (Error, Option<Before>)> {
        // A function of its own that returned the pipe would leave copies of the session's
        // keys on the stack.
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
        if stdin.is_terminal() || stdout.may_be_shown() {
            report.set_shared();
        }
        let verification =
            Verification::new(&mut session, link.peer(), policy, asker, is_chat, report);
        let progress = Progress::new(stdin.rest_of_file(), limits.tell);
        let mut pipe = Pipe {
            poller,
            link,
            reconnect,
            news: None,
            session,
            verification,
            stdin,
            stdout,
            report,
            started: Instant::now(),
            open_by,
            before: Some(before),
            told: (Counters::default(), Instant::now() + limits.tell.refresh),
            limits,
            idle: Quiet::default(),
            unread: Quiet::default(),
            staying: Quiet::default(),
            look_at: Instant::now(),
            still: Still::default(),
            progress,
        };
        // A listener shows the words before it sends OPEN.
        if let Some(sas) = sas {
            pipe.verify(&sas);
        }
        let looked = pipe.stdout.look_again(pipe.poller);
        let result = looked.and_then(|()| pipe.shuttle());
        let result = pipe.end(result);
        pipe.tell_end(result.is_ok(), is_asked);
        result.map_err(|err| (err, pipe.before.take()))
    }

    /// Reports the last counters, the keys that were used, and a success that would
    /// otherwise not be seen.
    fn tell_end(&mut self, is_success: bool, is_asked: bool) {
        if self.progress_at().is_some() {
            self.tell_progress(Instant::now());
        }
        if self.before.is_none() {
            self.report.keys(&self.session);
        }
        // A user who has confirmed, or is at a terminal, has seen no other sign of a file
        // transfer. In a log, the last line tells a successful run from one that was
        // killed.
        let is_watched = (is_asked || self.report.is_watched()) && !self.is_chat();
        if is_success && (self.report.talk == Talk::Stages || is_watched) {
            self.report.complete(self.session.counters(), self.started.elapsed());
        }
    }

    /// Moves bytes until the session is complete or fails.
    fn shuttle(&mut self) -> Result<(), Error> {
        match self.rounds() {
            // The session is complete, and stayed only in case the peer lacks the last frame.
            Err(err) if self.is_complete() && !matches!(err, Error::Signal(_)) => Ok(()),
            // A signal may have come first: one Ctrl-C can end both ends.
            Err(
                err @ (Error::Cut(_) | Error::NotOpened(..) | Error::Aborted(Reason::Interrupted)),
            ) => {
                self.poll(Some(Instant::now()))?;
                Err(err)
            }
            result => result,
        }
    }

    fn rounds(&mut self) -> Result<(), Error> {
        let mut round = 0;
        loop {
            if !self.has_work() {
                // The peer already has what it needs first: OPEN.
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
            // The peer's last frame and its FIN may arrive together.
            if self.may_leave() {
                return Ok(());
            }
            self.keep_connected()?;
            self.tell_news();
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

    /// Whether both ends are finished and the socket took the last frames of this one.
    fn is_complete(&self) -> bool {
        self.session.is_finished() && self.session.has_told()
    }

    /// Whether the session is complete and the peer can do without this side.
    fn may_leave(&mut self) -> bool {
        let is_awaited = self.is_complete() && !self.session.is_settled();
        let stay = self.reconnect.as_ref().filter(|_| is_awaited).map(Reconnect::linger);
        let has_stayed = self.staying.has_lasted(self.session.counters(), stay);
        self.is_complete() && (stay.is_none() || has_stayed)
    }

    /// Whether the connection is lost but may be replaced.
    fn is_away(&self) -> bool {
        self.reconnect.as_ref().is_some_and(|it| it.lost_at().is_some())
    }

    /// Whether there is another reason why no data passes: OPEN is missing, a user is
    /// asked, or the connection is lost.
    fn is_excused(&self) -> bool {
        self.open_by.is_some() || self.verification.is_asking() || self.is_away()
    }

    /// Ends an idle session (`--idle`), or one whose output nobody reads.
    fn judge_quiet(&mut self) -> Result<(), Error> {
        let counters = self.session.counters();
        let stands = self.is_excused();
        let idle = self.limits.idle.filter(|_| !stands);
        if self.idle.has_lasted(counters, idle)
            && let Some(time) = idle
        {
            return Err(Error::Idle(time));
        }
        // If the peer has ended, it loses nothing; and this side's input may be all that
        // matters.
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

    /// Returns the error of a lost connection.
    fn cut(&self, err: Option<io::Error>) -> Error {
        match &self.open_by {
            Some((_, unopened)) => Error::NotOpened(*unopened, err),
            None => Error::Cut(err),
        }
    }

    /// Whether any step of the loop could proceed without waiting.
    fn has_work(&self) -> bool {
        self.takes_input()
            || self.link.is_writable() && !self.session.sealed().is_empty()
            || self.may_receive() && self.session.has_space()
            || self.stdout.is_ready() && self.session.wants_output()
            || self.verification.wants_input()
    }

    /// Whether to read stdin. Not while the connection is broken: those bytes might be
    /// lost, but counted as sent.
    fn takes_input(&self) -> bool {
        !self.link.is_broken() && self.stdin.is_ready() && self.session.wants_input()
    }

    /// Whether a read from the socket may succeed and is allowed.
    fn may_receive(&self) -> bool {
        self.link.is_readable() && !self.reconnect.as_ref().is_some_and(Reconnect::is_paused)
    }

    /// Returns when to act although no event comes.
    fn poll_timeout(&self) -> Option<Instant> {
        let open_by = self.open_by.as_ref().and_then(|(limit, _)| limit.at());
        let ask = self.verification.poll_timeout();
        let acknowledged = self.link.may_be_unacknowledged().then_some(self.look_at);
        let ratchet = self.session.poll_timeout();
        let quiet = [&self.idle, &self.unread, &self.staying].map(Quiet::at);
        let ack = self.session.ack_at(Instant::now());
        let reconnect = self.reconnect.as_ref().and_then(|it| it.timeout(&self.link));
        let shown = self.progress.at().filter(|_| self.shows_progress().is_some());
        let own = [self.progress_at(), shown, self.still.at()];
        let of_others = [open_by, ratchet, ask, acknowledged, ack, reconnect];
        own.into_iter().chain(quiet).chain(of_others).flatten().min()
    }

    /// Returns when the next PROGRESS is due, if any.
    fn progress_at(&self) -> Option<Instant> {
        let (told, at) = self.told;
        (self.report.has_status() && told != self.session.counters()).then_some(at)
    }

    /// Whether a terminal may show progress, as it is not in use for a question or for the
    /// data. If so, whether each line has to stay, because the reader of a pipe may print
    /// on the same terminal.
    fn shows_progress(&self) -> Option<bool> {
        let Counters { sent, received, .. } = self.session.counters();
        let has_data =
            self.stdin.is_terminal() && sent > 0 || self.stdout.is_terminal() && received > 0;
        let is_used = has_data || self.verification.is_asking() || self.is_away();
        (self.report.is_watched() && !is_used).then(|| self.stdout.may_be_shown() && received > 0)
    }

    fn tell_progress(&mut self, now: Instant) {
        let counters = self.session.counters();
        self.report.event(&Line::Progress(counters));
        self.told = (counters, now + self.limits.tell.refresh);
    }

    /// Waits until `timeout` and records what is ready.
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
                self.report
                    .answer(format_args!("connection lost {time} ago; waiting for another one"));
            } else if let Some(Wait::Input(reason) | Wait::Stuck(reason)) = self.standstill() {
                self.report.answer(reason);
            }
        }
        // The shell or the report has overwritten the prompt.
        if signals.resumed || signals.report {
            self.verification.ask_again();
        }
    }

    /// Does what is due: PROGRESS and the progress line, the explanation of a standstill,
    /// the connector's ratchets, ACKs, and the search for a peer that vanished while data
    /// was in flight. (TCP's keepalive detects an idle peer that vanished; it does
    /// nothing while bytes are unacknowledged.)
    fn handle_timeout(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        if self.progress_at().is_some_and(|at| at <= now) {
            self.tell_progress(now);
        }
        self.explain_standstill(now);
        if let Some(stays) = self.shows_progress()
            && let Some(line) = self.progress.line(now, self.session.counters(), stays)
        {
            match stays {
                true => self.report.remark(line),
                false => self.report.progress(&line),
            }
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

    /// Explains a standstill, once.
    fn explain_standstill(&mut self, now: Instant) {
        let tell = self.limits.tell;
        let Some(since) = self.still.due(&self.session, now, tell.ends) else { return };
        let stuck_at = since + tell.stuck;
        match self.standstill() {
            Some(Wait::Input(reason)) => self.report.remark(reason),
            Some(Wait::Stuck(reason)) if stuck_at <= now => self.report.say(reason),
            _ if now < stuck_at => self.still.put_off(stuck_at),
            _ => {}
        }
    }

    /// Returns what the session waits for, unless the user knows it anyway.
    fn standstill(&mut self) -> Option<Wait> {
        if self.is_excused() {
            return None;
        }
        let silence = self.link.unacknowledged_for();
        let facts = Facts {
            is_output_blocked: !self.stdout.is_ready(),
            is_unacknowledged: silence.is_some_and(|time| time >= self.limits.tell.stuck),
            types_input: self.stdin.is_terminal(),
            shows_output: self.stdout.is_terminal(),
        };
        standstill::explain(&self.session, &facts)
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
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(_) if self.stdin.has_hung_up() => Err(Error::HungUp),
            Err(err) => Err(Error::Input(err)),
        }
    }

    /// sealed -> socket. On failure drops what is queued; reading continues, because the
    /// peer's last frame may say why.
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

    /// Replaces a lost connection; without an agreement on that, the session ends.
    fn keep_connected(&mut self) -> Result<(), Error> {
        let change = match &mut self.reconnect {
            Some(reconnect) if self.session.may_reconnect() => {
                reconnect.advance(self.poller, &mut self.link, &mut self.session)?
            }
            _ if self.link.end().is_some() => return Err(self.cut(self.link.error())),
            _ => None,
        };
        match change {
            None => return Ok(()),
            Some(Change::Lost(err)) => {
                let cause = Cause::of(err.as_ref(), Cause::Cut);
                let reason = err.map_or("closed".into(), |err| plain(&err));
                let wait = if self.is_complete() { Reconnect::linger } else { Reconnect::patience };
                let time = Rounded(self.reconnect.as_ref().map_or(Duration::ZERO, wait));
                self.report.event(&Line::Lost(cause, &reason));
                self.news = Some(format!(
                    "connection lost: {reason}; waiting up to {time} for another (Ctrl-C gives up)"
                ));
            }
            Some(Change::Back(away)) => {
                self.report.event(&Line::Back(self.link.peer()));
                let was_told = self.news.take().is_none();
                self.news = away
                    .filter(|_| was_told)
                    .map(|time| format!("connected again after {}", Rounded(time)));
                if away.is_none() && !self.verification.has_question() {
                    self.report.detail("another connection replaces a silent one");
                }
            }
        }
        Ok(())
    }

    /// Reports a change of the connection; not during a question about the words, whose
    /// answer needs no connection and would have to be typed again.
    fn tell_news(&mut self) {
        if !self.verification.has_question()
            && let Some(news) = self.news.take()
        {
            self.report.trouble(news);
        }
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
                    // Instead of OPEN, it means that the key is refused.
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

    /// Starts the session, whose words are now known.
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
                self.report.trouble(
                    "the other end has no --reconnect: a lost connection ends the session",
                );
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
            Err(err) => match err.kind() {
                io::ErrorKind::WouldBlock => Ok(()),
                io::ErrorKind::InvalidData if self.stdout.is_terminal() => Err(Error::NoText),
                // The reader is gone: EPIPE from a pipe, EPIPE or ECONNRESET from a
                // socket.
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                    Err(Error::OutputClosed)
                }
                _ if self.stdout.has_hung_up() => Err(Error::HungUp),
                _ => Err(Error::Output(err)),
            },
        }
    }

    /// After the peer's end, once all is written out, closes the output, so that its
    /// reader sees the end too. If a user types the input, this side then ends as well:
    /// it sends the lines that were entered, and drops a line that was only begun.
    fn follow_end(&mut self) -> Result<(), Error> {
        if !self.session.output_ended() {
            return Ok(());
        }
        // DONE confirms that everything is stored, so find out now.
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

    /// Clears the prompt, sends ABORT if this side failed, closes, and picks the error to
    /// return.
    fn end(&mut self, result: Result<(), Error>) -> Result<(), Error> {
        self.verification.leave();
        if let Err(error) = &result {
            self.tell(error);
        }
        // Data that has verified is written out, even after a lost connection or a
        // forgery; but not if this side's terminal, input or output failed.
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
        self.reconnect = None;
        self.close(deliver, &mut errors);
        // The peer did not get our EOF and DONE, so it cannot know that all is well.
        if errors.is_empty() && !self.session.has_told() {
            errors.push(Error::Cut(None));
        }
        let mut errors: Vec<Error> =
            errors.into_iter().map(|error| self.with_totals(error)).collect();
        // Report all errors, the one that sets the exit status last.
        let heaviest = (0..errors.len()).max_by_key(|&at| errors[at].weight());
        let last = heaviest.map(|at| errors.remove(at));
        errors.iter().for_each(|error| self.report.error(error));
        last.map_or(Ok(()), Err)
    }

    /// Tells the peer of a failure here, after which nothing more is confirmed to it.
    fn tell(&mut self, error: &Error) {
        if let Some(reason) = error.abort() {
            let _ = self.session.abort(reason);
        }
    }

    /// Sends what is sealed and closes. With `deliver`, also writes out what was
    /// received, however long that takes after the close. Adds failures to `errors`. A
    /// second signal ends the process meanwhile.
    fn close(&mut self, mut deliver: bool, errors: &mut Vec<Error>) {
        let mut limit = Limit::new(Some(Instant::now() + self.limits.close));
        let mut is_shut = false;
        // Two things happen side by side: the connection is closed within `limit`, and
        // the output takes what was received, however slow it is.
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
                // The peer learns of it only if the connection is still open.
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

    /// Drops what still arrives, and returns its number of bytes. Even if nothing is
    /// delivered because this side failed, it opens the frames: the peer may have failed, too,
    /// and sent ABORT after the data.
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

    /// Adds the byte counts to an error. A chat has none, unless the words were refused:
    /// then they tell what may have gone to the wrong person.
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
