//! Everything on standard error, and for programs on `--status-fd`. Of the peer's data it
//! contains only addresses, keys and numbers.

use crate::auth::keys;
use crate::auth::policy::Policy;
use crate::error::{Error, Received};
use crate::protocol::role::Role;
use crate::protocol::sas::Sas;
use crate::protocol::session::{Counters, Session};
use crate::sys::lines::Lines;
use crate::sys::poller::{Poller, STATUS, STDERR};
use crate::sys::stream::{self, Inherited};
use crate::sys::tty;
use crate::text::{Address, Bytes, Ip, Rate, Rounded, printable};
use crate::ui::status::Line;
use crate::ui::stdio;
use std::cell::Cell;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Prefix of every line.
const PREFIX: &str = "scat: ";
/// Characters of a line on a terminal.
const COLUMNS: usize = 80;
/// Clears the line of a terminal.
const CLEAR: &str = "\r\x1b[K";

/// How much to print while all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Talk {
    /// `--quiet`: nothing.
    Nothing,
    /// Only rejected callers and lost connections: a key verifies the peer, nobody is
    /// asked and no terminal shows it. So cron(8) has nothing to mail.
    Troubles,
    /// What a user needs.
    Usual,
    /// `-v`: also the stages, and a summary at the end.
    Stages,
}

/// Where messages go, and how many there are. Nothing here waits for standard error, and
/// a failure to write it is ignored.
pub struct Report {
    /// How much to print.
    pub talk: Talk,
    /// Standard error, if it is open.
    messages: Option<Rc<Lines>>,
    /// `--status-fd`
    status: Option<Rc<Lines>>,
    /// Other text is on the screen where our next line would begin.
    is_within_line: Cell<bool>,
    /// The user or another program may have put something there.
    is_shared: Cell<bool>,
    /// The terminal's last line is [`Report::progress`].
    has_progress: Cell<bool>,
}

impl Report {
    /// Prints to standard error, without `-v`, and for programs to `status`.
    pub fn new(status: Option<Inherited>) -> Self {
        Self::to(Some(stream::stderr()), status)
    }

    /// Prints for people to `messages` and for programs to `status`, if given.
    pub fn to(messages: Option<Inherited>, status: Option<Inherited>) -> Self {
        let lost = |count| match count {
            1 => "scat: 1 message lost\n".to_owned(),
            count => format!("scat: {count} messages lost\n"),
        };
        let messages = messages.and_then(|fd| Lines::new(fd, lost).ok()).map(Rc::new);
        let status = match status {
            // A poll can watch a descriptor only once.
            Some(fd) if stream::are_one(fd, stream::stderr()) => messages.clone(),
            fd => fd.and_then(|fd| Lines::new(fd, |_| String::new()).ok()).map(Rc::new),
        };
        Report {
            talk: Talk::Usual,
            messages,
            status,
            is_within_line: Cell::new(false),
            is_shared: Cell::new(false),
            has_progress: Cell::new(false),
        }
    }

    /// Sets whether other text is on the screen where our next line would begin.
    pub fn set_within_line(&self, is: bool) {
        self.is_within_line.set(is);
    }

    /// From now on the screen shows what the user types or the reader of the data prints.
    pub fn set_shared(&self) {
        self.is_shared.set(true);
    }

    /// Formats a line that begins at the left edge of a screen; on a terminal, breaks it
    /// at spaces. Control characters are spelled out, so that no argument, path or name
    /// can write a line of its own.
    fn text(&self, line: impl fmt::Display) -> String {
        let line = printable(&line.to_string());
        if !self.is_watched() {
            return format!("{PREFIX}{line}\n");
        }
        let rows = rows(&line, COLUMNS - PREFIX.len()).into_iter();
        self.edge() + &rows.map(|row| format!("{PREFIX}{row}\n")).collect::<String>()
    }

    /// Returns what moves to the left edge of the screen.
    fn edge(&self) -> String {
        if self.has_progress.take() {
            return CLEAR.to_owned();
        }
        match self.is_within_line.take() {
            true => "\n".to_owned(),
            false if self.is_shared.get() => tty::left_edge(stream::stderr()),
            false => String::new(),
        }
    }

    /// From now on `poller` writes what was not taken at once.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn attach(&self, poller: &mut Poller) -> Result<(), Error> {
        if let Some(messages) = &self.messages {
            poller.carry(messages, STDERR)?;
        }
        match (&self.status, &self.messages) {
            (Some(status), Some(messages)) if Rc::ptr_eq(status, messages) => {}
            (Some(status), _) => poller.carry(status, STATUS)?,
            (None, _) => {}
        }
        Ok(())
    }

    /// Whether a program receives events.
    pub fn has_status(&self) -> bool {
        self.status.is_some()
    }

    /// Reports an event to programs. PROGRESS may be lost, because the next one replaces
    /// it, and REJECTED, because strangers can cause any number of them.
    pub fn event(&self, line: &Line<'_>) {
        let Some(status) = &self.status else {
            return;
        };
        // One event is one line, whatever a message or a name contains.
        let text = line.to_string().replace('\n', " ").replace(char::is_control, "?") + "\n";
        match line {
            Line::Progress(_) | Line::Rejected(..) => status.offer(&text),
            Line::Exit(_) => status.keep_last(&text),
            _ => status.keep(&text),
        }
    }

    /// Whether a terminal shows the messages.
    pub fn is_watched(&self) -> bool {
        self.messages.as_ref().is_some_and(|messages| messages.is_terminal())
    }

    /// Prints a line even with `--quiet`.
    pub fn insist(&self, line: impl fmt::Display) {
        if let Some(messages) = &self.messages {
            messages.keep(&self.text(line));
        }
    }

    /// Prints a line about the session, and keeps it until standard error takes it.
    pub fn say(&self, line: impl fmt::Display) {
        if self.talk >= Talk::Usual {
            self.insist(line);
        }
    }

    /// Prints a line for a user who is watching: at a terminal, or with `-v`.
    pub fn remark(&self, line: impl fmt::Display) {
        if self.talk == Talk::Stages || self.is_watched() {
            self.say(line);
        }
    }

    /// Shows `line` at the terminal in place of the previous one.
    pub fn progress(&self, line: &str) {
        let Some(messages) = self.messages.as_ref().filter(|it| it.is_terminal()) else { return };
        if self.talk >= Talk::Usual && stream::shows(stream::stderr(), COLUMNS) {
            self.has_progress.set(true);
            messages.try_now(&format!("{CLEAR}{PREFIX}{line}"));
        }
    }

    /// Clears what [`Report::progress`] has shown.
    pub fn end_progress(&self) {
        if let (true, Some(messages)) = (self.has_progress.take(), &self.messages) {
            messages.keep(CLEAR);
        }
    }

    /// Prints an answer to SIGUSR1. It is lost, and counted, if standard error does not
    /// take it now; so may be the next two.
    pub fn answer(&self, line: impl fmt::Display) {
        if let Some(messages) = &self.messages {
            messages.offer(&self.text(line));
        }
    }

    /// Reports a problem that does not end the run.
    pub fn trouble(&self, line: impl fmt::Display) {
        if self.talk >= Talk::Troubles {
            self.answer(line);
        }
    }

    /// Prints a line with `-v`.
    pub fn detail(&self, line: impl fmt::Display) {
        if self.talk == Talk::Stages {
            self.answer(line);
        }
    }

    /// Waits for the reader of unwritten lines before the process ends, for at most
    /// `limit`.
    pub fn finish(&self, limit: Duration) {
        self.end_progress();
        let deadline = Instant::now() + limit;
        for lines in [&self.messages, &self.status].into_iter().flatten() {
            lines.finish(deadline.saturating_duration_since(Instant::now()));
        }
    }

    /// Reports the error that ended the run, the byte counts, and a hint.
    pub fn error(&self, error: &Error) {
        let Some(messages) = &self.messages else {
            return;
        };
        messages.keep_last(&self.text(error));
        if let Some(details) = error.details() {
            messages.keep_last(&self.text(details));
        }
        if let Some(hint) = error.hint() {
            messages.keep_last(&self.text(format_args!("hint: {hint}")));
        }
    }

    /// Reports the byte counts of the session that `error` ended.
    pub fn totals(&self, error: &Error) {
        if let (Some(messages), Some(totals)) = (&self.messages, error.totals()) {
            messages.keep_last(&self.text(totals));
        }
    }

    /// Reports where a listener listens; `only_v6` if its socket excludes IPv4.
    pub fn listening(&self, at: SocketAddr, only_v6: bool) {
        let address = match (at.ip(), only_v6) {
            (ip, _) if !ip.is_unspecified() => Ip(at).to_string(),
            (IpAddr::V4(_), _) => "every IPv4 address,".to_owned(),
            (IpAddr::V6(_), true) => "every IPv6 address,".to_owned(),
            (IpAddr::V6(_), false) => "every address,".to_owned(),
        };
        self.say(format_args!("listening on {address} port {}", at.port()));
        self.event(&Line::Listening(at));
    }

    /// Prints the command for the other end to reach a listener at `at`, with the options
    /// that match `policy` and `away` (`--reconnect`).
    pub fn invite(&self, at: SocketAddr, away: Option<Duration>, policy: &Policy) {
        let psk = if policy.psk { "--psk FILE " } else { "" };
        let key = if policy.peers.is_empty() { "" } else { "-i FILE " };
        let away =
            away.map_or(String::new(), |time| format!("--reconnect {} ", time.as_secs().max(1)));
        let (ip, port, data) = (Ip(at), at.port(), stdio::counterpart());
        self.remark(format_args!("at the other end: scat {psk}{key}{away}{ip} {port}{data}"));
    }

    /// Reports the other end's address.
    pub fn met(&self, role: Role, peer: Option<SocketAddr>) {
        self.say(Met { role, peer });
    }

    /// Reports a peer that was verified `by` something other than the words, under the
    /// name `name`; its user may still ask for this side's half.
    pub fn verified(
        &self,
        role: Role,
        peer: Option<SocketAddr>,
        by: &str,
        name: Option<&str>,
        sas: &Sas,
    ) {
        let name = name.map_or(String::new(), |name| format!(": {name}"));
        self.met(role, peer);
        self.say(format_args!("verified by {by}{name}"));
        self.say(format_args!("if they ask, read out: {}", sas.half(role)));
    }

    /// Reports an unverified peer with which data is exchanged: both halves, the
    /// listener's first, as seen from this side; and `advice`.
    pub fn compare(
        &self,
        role: Role,
        peer: Option<SocketAddr>,
        sas: &Sas,
        advice: Option<&'static str>,
    ) {
        let (first, second) = match role {
            Role::Listener => ("you say ", "they say"),
            Role::Connector => ("they say", "you say "),
        };
        self.met(role, peer);
        let compare = "compare these words by voice; press Ctrl-C if they differ";
        if advice.is_some() {
            self.insist("WARNING: the other end is not verified and could be anyone;");
            self.insist("WARNING: data is already being exchanged");
            self.say(compare);
        } else {
            self.say(format_args!("not verified: {compare}"));
        }
        self.say(format_args!("  {first}   {}", sas.half(Role::Listener)));
        self.say(format_args!("  {second}   {}", sas.half(Role::Connector)));
        if let Some(advice) = advice {
            self.say(format_args!("hint: {advice}"));
        }
    }

    /// Reports a long-lived key of the peer: the name that the user gave it, or the key
    /// in the form that `--peer` takes.
    pub fn peer_key(&self, key: impl fmt::Display) {
        self.say(format_args!("their key: {key}"));
    }

    /// Reports the key (32 bytes, public) of a rejected caller. Anyone can make one.
    pub fn unverified_key(&self, key: &[u8; 32]) {
        self.trouble(format_args!("unverified key: {}", keys::public_text(key)));
    }

    /// Reports success and the byte counts, with `-v` also the rate.
    pub fn complete(&self, moved: Counters, time: Duration) {
        let what = match (moved.sent, moved.received) {
            (0, 0) => "nothing sent or received".to_owned(),
            (0, received) => format!("{} received", Bytes(received)),
            (sent, 0) => format!("{} sent", Bytes(sent)),
            (sent, received) => format!("{} sent, {} received", Bytes(sent), Bytes(received)),
        };
        let rate = Rate { bytes: moved.sent.max(moved.received), time };
        match self.talk {
            Talk::Stages => self.say(format_args!("complete: {what}, in {}{rate}", Rounded(time))),
            _ => self.say(format_args!("complete: {what}")),
        }
    }

    /// Prints what SIGUSR1 asks for.
    pub fn counters(&self, session: &Session, started: Instant) {
        let (counters, time) = (session.counters(), Rounded(started.elapsed()));
        let (sent, received) = (Bytes(counters.sent), Received(counters));
        self.answer(format_args!("sent {sent}, {received}, in {time}"));
        self.answer(Keys(session));
    }

    /// Prints the age of the keys, with `-v` at the end.
    pub fn keys(&self, session: &Session) {
        if self.talk == Talk::Stages {
            self.say(Keys(session));
        }
    }
}

impl Default for Report {
    fn default() -> Self {
        Self::new(None)
    }
}

/// Breaks `line` at spaces into rows of at most `width` characters, unless a word is
/// longer.
fn rows(line: &str, width: usize) -> Vec<String> {
    let mut rows = vec![String::new()];
    for (i, word) in line.split(' ').enumerate() {
        let row = rows.last_mut().filter(|row| row.chars().count() + word.chars().count() < width);
        match row {
            Some(row) if i > 0 => *row += &format!(" {word}"),
            Some(row) => row.push_str(word),
            None if i == 0 => rows[0].push_str(word),
            None => rows.push(format!("  {word}")),
        }
    }
    rows
}

/// How many key exchanges there were, and when.
struct Keys<'a>(&'a Session);

impl fmt::Display for Keys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let age = self.0.keyed_at().map_or(Duration::ZERO, |at| at.elapsed());
        write!(f, "session keys: {} old, ", Rounded(age))?;
        match self.0.ratchets() {
            0 => write!(f, "not renewed yet"),
            1 => write!(f, "renewed once"),
            count => write!(f, "renewed {count} times"),
        }
    }
}

/// Formats who is at the other end: `connection from 198.51.100.4 port 40312`.
pub struct Met {
    /// Which end this is.
    pub role: Role,
    /// The other end's address, if it has one.
    pub peer: Option<SocketAddr>,
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.role, self.peer) {
            (_, None) => write!(f, "connected"),
            (Role::Listener, Some(peer)) => write!(f, "connection from {}", Address(peer)),
            (Role::Connector, Some(peer)) => write!(f, "connected to {}", Address(peer)),
        }
    }
}

/// Lets a few lines per second through and counts the others.
pub struct RateLimit {
    since: Instant,
    passed: u32,
    kept: u64,
}

impl RateLimit {
    const PER_SECOND: u32 = 5;

    /// Starts now.
    pub fn new() -> Self {
        RateLimit { since: Instant::now(), passed: 0, kept: 0 }
    }

    /// Returns whether a line may pass, with the number of lines suppressed before it.
    pub fn pass(&mut self) -> Option<u64> {
        if self.since.elapsed() >= Duration::from_secs(1) {
            self.since = Instant::now();
            self.passed = 0;
        }
        if self.passed == Self::PER_SECOND {
            self.kept += 1;
            return None;
        }
        self.passed += 1;
        Some(std::mem::take(&mut self.kept))
    }
}

impl Default for RateLimit {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::rows;

    #[test]
    fn a_line_is_broken_between_words_and_never_inside_one() {
        for (line, broken) in [
            ("", &[""][..]),
            ("  you say   kiwi", &["  you say   kiwi"]),
            ("one two three four five", &["one two three", "  four five"]),
            ("1234567890123456 one", &["1234567890123456", "  one"]),
            ("one 12345678901234567890 two", &["one", "  12345678901234567890", "  two"]),
        ] {
            assert_eq!(rows(line, 16), broken, "{line:?}");
        }
    }
}
