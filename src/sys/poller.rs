//! The only place where the program waits: for descriptors, signals and the clock.

use super::Error;
use super::lines::Lines;
use super::platform;
use crate::protocol::secret;
use mio::event::Event;
use mio::net::UnixStream;
use mio::unix::SourceFd;
use mio::{Events, Poll, Registry, Waker};
pub use mio::{Interest, Token};
use rustix::fd::{AsFd, AsRawFd};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::flag;
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// The connection to the peer, from connecting to the end of the session. (A listener's
/// candidates have tokens of their own; the one that becomes the peer gets this one.)
pub const LINK: Token = Token(0);
/// The listening socket.
pub const LISTENER: Token = Token(1);
/// Standard input.
pub const STDIN: Token = Token(2);
/// Standard output.
pub const STDOUT: Token = Token(3);
/// Source of the user's answers about the words: a terminal, or a program.
pub const TTY: Token = Token(4);
/// Standard error.
pub const STDERR: Token = Token(5);
/// `--status-fd`
pub const STATUS: Token = Token(6);
/// Signals, which [`Poller::wait`] handles itself.
const SIGNALS: Token = Token(7);
/// Other threads.
const WAKER: Token = Token(8);
/// A key file that must be waited for, such as a FIFO.
pub const KEY_FILE: Token = Token(9);
/// First token of a listener's candidates.
pub const FIRST_CANDIDATE: usize = 10;

/// Most events taken from the system at once.
const EVENTS: usize = 128;

/// Requests by signals since the last poll.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signals {
    /// SIGUSR1 (SIGINFO where it exists): show the counters.
    pub report: bool,
    /// SIGCONT: the process may be in the terminal's foreground again.
    pub resumed: bool,
}

/// What can be done with a watched descriptor without blocking. A hang-up or an error
/// makes it ready for everything; the call that then fails returns the error.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// Token of the descriptor.
    pub token: Token,
    /// A read may succeed.
    pub readable: bool,
    /// A write may succeed.
    pub writable: bool,
    /// The other end has closed the connection, or its sending half; data before that may
    /// still be readable.
    pub hung_up: bool,
    /// Nobody will read what is written. A socket reports this only after both halves are
    /// closed.
    pub unread: bool,
}

impl Ready {
    fn new(event: &Event) -> Self {
        Ready {
            token: event.token(),
            readable: event.is_readable() || event.is_read_closed() || event.is_error(),
            writable: event.is_writable() || event.is_write_closed() || event.is_error(),
            hung_up: event.is_read_closed() || event.is_error(),
            unread: event.is_write_closed(),
        }
    }
}

/// The poll, its events and the signals.
pub struct Poller {
    poll: Poll,
    events: Events,
    signals: SignalDelivery<UnixStream, SignalOnly>,
    waker: Arc<Waker>,
    lines: Vec<(Token, Rc<Lines>)>,
}

impl Poller {
    /// Installs the signal handlers. SIGINT, SIGTERM and SIGHUP then end
    /// [`Poller::wait`], and a second one ends the process at once. Signals that were
    /// ignored at the start (by nohup, or in a shell's background jobs) stay ignored.
    /// SIGTTOU is ignored, because a background job that it stops at a message cannot
    /// react to SIGTERM.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn new() -> Result<Self, Error> {
        // Block signals until all handlers are installed: one that came earlier would be
        // lost.
        let blocked = block(None);
        let made = Self::try_new();
        block(Some(blocked));
        made.map_err(|err| Error::System("event loop", err))
    }

    fn try_new() -> io::Result<Self> {
        ignore(libc::SIGTTOU);
        if is_first_process() {
            // Nothing stops the first process, and a read in the background would never
            // return.
            ignore(libc::SIGTTIN);
        }
        let poll = Poll::new()?;
        let seen = Arc::new(AtomicBool::new(false));
        let mut watched = vec![SIGUSR1, SIGCONT];
        watched.extend(platform::INFO);
        for end in [SIGINT, SIGTERM, SIGHUP] {
            if is_ignored(end) {
                continue;
            }
            // The order matters: the first handler only sets the flag for the second.
            match is_first_process() {
                true => flag::register_conditional_shutdown(end, 128 + end, Arc::clone(&seen))?,
                false => flag::register_conditional_default(end, Arc::clone(&seen))?,
            };
            flag::register(end, Arc::clone(&seen))?;
            watched.push(end);
        }
        let (mut woken, wakes) = UnixStream::pair()?;
        poll.registry().register(&mut woken, SIGNALS, Interest::READABLE)?;
        let signals = SignalDelivery::with_pipe(woken, wakes, SignalOnly, &watched)?;
        watched.into_iter().for_each(end_waits);
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let events = Events::with_capacity(EVENTS);
        Ok(Poller { poll, events, signals, waker, lines: Vec::new() })
    }

    pub(super) fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Reports `fd` under `token` when it becomes ready for `interest`.
    ///
    /// # Errors
    /// The system's: [`io::ErrorKind::PermissionDenied`] for what is always ready.
    pub fn watch(&self, fd: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        self.registry().register(&mut SourceFd(&fd.as_fd().as_raw_fd()), token, interest)
    }

    /// Changes the token or interest of a watched `fd`.
    ///
    /// # Errors
    /// The system's.
    pub fn rewatch(&self, fd: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        self.registry().reregister(&mut SourceFd(&fd.as_fd().as_raw_fd()), token, interest)
    }

    /// Forgets `fd`, if it was watched.
    pub fn unwatch(&self, fd: impl AsFd) {
        let _ = self.registry().deregister(&mut SourceFd(&fd.as_fd().as_raw_fd()));
    }

    /// Lets [`Poller::wait`] write what `lines` keeps as soon as the stream takes it.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn carry(&mut self, lines: &Rc<Lines>, token: Token) -> Result<(), Error> {
        lines.register(self, token).map_err(|err| Error::System("event loop", err))?;
        self.lines.push((token, Rc::clone(lines)));
        Ok(())
    }

    /// Returns a waker that makes [`Poller::wait`] return, from any thread. All threads
    /// share one, because mio allows only one per poll.
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Waits for events until `timeout`: forever without one, not at all if it has
    /// passed. [`Poller::ready`] then returns them.
    ///
    /// # Errors
    /// [`Error::Signal`] if a signal asks the process to end.
    pub fn wait(&mut self, timeout: Option<Instant>) -> Result<Signals, Error> {
        // While scat waits, its memory holds only the keys in use.
        secret::wipe_stack();
        self.poll(timeout)
    }

    #[inline(never)] // its stack lies where the caller has wiped
    fn poll(&mut self, timeout: Option<Instant>) -> Result<Signals, Error> {
        let left = || timeout.map(|at| at.saturating_duration_since(Instant::now()));
        // Events that came while the process was suspended count as in time.
        while let Err(err) = self.poll.poll(&mut self.events, left()) {
            if err.kind() != io::ErrorKind::Interrupted {
                return Err(Error::System("poll", err));
            }
        }
        for (token, lines) in &self.lines {
            if self.events.iter().any(|event| event.token() == *token) {
                lines.resume();
            }
        }
        let mut signals = Signals::default();
        if self.events.iter().any(|event| event.token() == SIGNALS) {
            for signal in self.signals.pending() {
                match signal {
                    SIGINT | SIGTERM | SIGHUP => return Err(Error::Signal(signal)),
                    SIGCONT => signals.resumed = true,
                    _ => signals.report = true,
                }
            }
        }
        Ok(signals)
    }

    /// Returns the descriptors that the last [`Poller::wait`] reported.
    pub fn ready(&self) -> impl Iterator<Item = Ready> {
        let own = [SIGNALS, WAKER];
        self.events.iter().map(Ready::new).filter(move |ready| !own.contains(&ready.token))
    }
}

/// Ends the process by the default action of `signal`, so that its sender and the shell
/// see that. Returns only if the process survives.
pub fn end_by(signal: i32) {
    if !is_first_process() {
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    }
}

/// Whether this is the first process of a system or a container, which no default action
/// ends.
fn is_first_process() -> bool {
    std::process::id() == 1
}

/// Turns a file size limit into a write error instead of death by SIGXFSZ.
pub fn ignore_file_size_limit() {
    ignore(libc::SIGXFSZ);
}

fn ignore(signal: i32) {
    // SAFETY: no handler is installed, so nothing can run at a bad moment.
    #[allow(unsafe_code)]
    unsafe {
        libc::signal(signal, libc::SIG_IGN);
    }
}

/// Blocks these signals for this thread, by default all of them, and returns those that
/// were blocked before.
fn block(signals: Option<libc::sigset_t>) -> libc::sigset_t {
    // SAFETY: zeroes are a valid sigset_t, and each pointer is to one that is alive.
    #[allow(unsafe_code)]
    unsafe {
        let (mut all, mut old) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &signals.unwrap_or(all), &mut old);
        old
    }
}

/// Whether `signal` is ignored. Call it before a handler is set.
fn is_ignored(signal: i32) -> bool {
    action(signal).sa_sigaction == libc::SIG_IGN
}

/// Makes `signal`, which has a handler, interrupt a blocking system call with EINTR.
/// Otherwise a read of a terminal from the background would restart and stop the process
/// again, before it could handle the signal.
fn end_waits(signal: i32) {
    let mut action = action(signal);
    action.sa_flags &= !libc::SA_RESTART;
    // SAFETY: the handler is the one that is set, which is sound with any flags.
    #[allow(unsafe_code)]
    unsafe {
        libc::sigaction(signal, &action, std::ptr::null_mut());
    }
}

/// Returns the action set for `signal`.
fn action(signal: i32) -> libc::sigaction {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null new action changes nothing; `action` is valid for a write and zeroes are a valid sigaction.
    #[allow(unsafe_code)]
    unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr());
        action.assume_init()
    }
}
