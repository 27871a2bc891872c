//! Waiting: the one mio poll of the process, with the signals in it.

use crate::error::Error;
use crate::protocol::secret;
use mio::event::Event;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook_mio::v1_0::Signals;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// Where the signals arrive; every other token belongs to the caller.
const SIGNALS: Token = Token(usize::MAX);
/// Where other threads knock.
const WAKER: Token = Token(usize::MAX - 1);
/// Events taken from the system at once.
const EVENTS: usize = 128;

/// What signals asked for since the last look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// SIGUSR1 (SIGINFO where it exists): tell how things are.
    pub report: bool,
    /// SIGCONT: the terminal may be ours again.
    pub resumed: bool,
}

/// The poll, its events and the signals.
pub struct Wait {
    poll: Poll,
    events: Events,
    signals: Signals,
    waker: Arc<Waker>,
}

impl Wait {
    /// From here on SIGINT, SIGTERM and SIGHUP are seen by [`Wait::until`], and a
    /// second one ends the process at once. One that the process was started to
    /// ignore (nohup, a shell's background jobs) stays ignored. SIGTTOU is ignored:
    /// a background job that is stopped at a message could not even be ended.
    ///
    /// # Errors
    /// The system's.
    pub fn new() -> Result<Self, Error> {
        Self::try_new().map_err(|why| Error::System("event loop", why))
    }

    fn try_new() -> io::Result<Self> {
        ignore(libc::SIGTTOU);
        let poll = Poll::new()?;
        let seen = Arc::new(AtomicBool::new(false));
        let mut watched = vec![SIGUSR1, SIGCONT];
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        watched.push(libc::SIGINFO);
        for end in [SIGINT, SIGTERM, SIGHUP] {
            if is_ignored(end) {
                continue;
            }
            // In this order: the first one only sets the flag for the second.
            signal_hook::flag::register_conditional_default(end, Arc::clone(&seen))?;
            signal_hook::flag::register(end, Arc::clone(&seen))?;
            watched.push(end);
        }
        let mut signals = Signals::new(watched)?;
        poll.registry().register(&mut signals, SIGNALS, Interest::READABLE)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        Ok(Wait { poll, events: Events::with_capacity(EVENTS), signals, waker })
    }

    /// Where sources are registered.
    pub fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Makes [`Wait::until`] return from another thread. There is one for all:
    /// mio allows a poll no second.
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Waits for events until `deadline` (for ever without one; not at all with
    /// one that has passed). Read them with [`Wait::events`].
    ///
    /// # Errors
    /// [`Error::Signal`] when the process is asked to end.
    pub fn until(&mut self, deadline: Option<Instant>) -> Result<Asked, Error> {
        // While scat waits, its memory holds no keys but those in use.
        secret::wipe_stack();
        self.poll(deadline)
    }

    // Not inlined: its stack has to be below its caller's, where it is wiped.
    #[inline(never)]
    fn poll(&mut self, deadline: Option<Instant>) -> Result<Asked, Error> {
        let timeout = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        match self.poll.poll(&mut self.events, timeout) {
            Err(why) if why.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            result => result.map_err(|why| Error::System("poll", why))?,
        }
        let mut asked = Asked::default();
        if self.events.iter().any(|event| event.token() == SIGNALS) {
            for signal in self.signals.pending() {
                match signal {
                    SIGINT | SIGTERM | SIGHUP => return Err(Error::Signal(signal)),
                    SIGCONT => asked.resumed = true,
                    _ => asked.report = true,
                }
            }
        }
        Ok(asked)
    }

    /// What the last [`Wait::until`] brought.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(|event| ![SIGNALS, WAKER].contains(&event.token()))
    }
}

fn ignore(signal: i32) {
    // SAFETY: no handler is installed, so nothing can run at a bad moment.
    #[allow(unsafe_code)]
    unsafe {
        libc::signal(signal, libc::SIG_IGN);
    }
}

/// Whether `signal` is ignored. To be asked before a handler is set.
fn is_ignored(signal: i32) -> bool {
    let mut old = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null new action changes nothing; `old` is valid for a write and zeroes are a valid sigaction.
    #[allow(unsafe_code)]
    let old = unsafe {
        libc::sigaction(signal, std::ptr::null(), old.as_mut_ptr());
        old.assume_init()
    };
    old.sa_sigaction == libc::SIG_IGN
}
