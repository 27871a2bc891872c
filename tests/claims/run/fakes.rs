//! The loop itself, in this process, between pipes and with a fake peer at the other end of a
//! socket pair.

use crate::support::ends;
use crate::support::scat::{LIMIT, Started, noise, start};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::pipe::PipeFlags;
use scat::auth::policy::Policy;
use scat::error::{Error, Unopened};
use scat::net::link::Link;
use scat::net::{Established, Limits, Opening};
use scat::protocol::handshake::{Features, Local};
use scat::protocol::role::Role;
use scat::protocol::sas::Sas;
use scat::protocol::session::{Event, Reason, Session};
use scat::run::pipe::{Before, Pipe};
use scat::sys::poller::{LINK, Poller, STDOUT};
use scat::sys::random;
use scat::sys::socket::Socket;
use scat::ui::report::Report;
use scat::ui::stdio::Stdio;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// A running loop; this test is its peer.
struct Loop {
    ended: Started<Result<(), Error>>,
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    peer: UnixStream,
    session: Session,
}

/// Keeps a descriptor open for good, like one that a process was started with.
fn inherited(fd: OwnedFd) -> BorrowedFd<'static> {
    Box::leak(Box::new(std::mem::ManuallyDrop::new(fd))).as_fd()
}

impl Loop {
    fn start(role: Role) -> Loop {
        Loop::start_with(role, Limits::default(), true)
    }

    /// Starts a loop with these limits. `is_read` is whether its output has a reader.
    fn start_with(role: Role, limits: Limits, is_read: bool) -> Loop {
        let (input, stdin) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (stdout, output) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
        let stdout = Some(stdout).filter(|_| is_read);
        let (own, peer) = UnixStream::pair().unwrap();
        let ended = start(move || {
            let mut poller = Poller::new()?;
            let Ok(socket) = Socket::inherited(own.as_raw_fd()) else { panic!("no socket") };
            drop(own);
            let link = Link::new(socket, &poller, LINK).unwrap();
            let stdio = Stdio::over(inherited(input), inherited(output), &poller)?;
            // The program has polled before the loop starts, while it waited for the peer.
            poller.wait(Some(Instant::now()))?;
            let policy = Policy { peers: Vec::new(), psk: true, asks: false, advice: None };
            let (session, opening) = match role {
                Role::Listener => {
                    let sas = Sas::new(&ends::keys().h3, &ends::N_L);
                    (ends::listener(false), Opening::Ours(sas))
                }
                Role::Connector => {
                    let by = Instant::now() + LIMIT;
                    (ends::connector(ends::NEVER, false), Opening::Theirs(by, Unopened::Safe))
                }
            };
            let established = Established { link, session, opening, limits, reconnect: None };
            let report = Report::to(None, None);
            let local = Local::new(random::key()?, false, None, Features::default());
            let before = Before { local, sandbox: None };
            Pipe::run(&mut poller, established, stdio, &policy, None, before, &report)
                .map_err(|(err, _)| err)
        });
        let session = match role {
            Role::Listener => ends::connector(ends::NEVER, false),
            Role::Connector => ends::listener(false),
        };
        let mut it = Loop { ended, stdin: Some(stdin), stdout, peer, session };
        match role {
            Role::Listener => assert!(matches!(it.receive(), Event::Open(_))),
            Role::Connector => it.send(),
        }
        it
    }

    /// Returns the next frame from the loop.
    fn receive(&mut self) -> Event {
        loop {
            if let Some(event) = ends::open(&mut self.session).unwrap() {
                return event;
            }
            let n = self.peer.read(self.session.space()).unwrap();
            assert!(n > 0, "the loop has closed");
            self.session.received(n);
        }
    }

    /// Writes the sealed frames.
    fn send(&mut self) {
        self.peer.write_all(self.session.sealed()).unwrap();
        self.session.drained(self.session.sealed().len());
    }

    /// Waits until the loop has shut down its sending half, even if its frames are not read yet.
    fn wait_for_shutdown(&self) {
        let mut fds = [PollFd::new(&self.peer, PollFlags::RDHUP)];
        let limit = Timespec::try_from(LIMIT).unwrap();
        assert_eq!(poll(&mut fds, Some(&limit)).unwrap(), 1, "it does not close");
    }

    fn read_output(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut output = std::fs::File::from(self.stdout.take().unwrap());
        output.read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// Checks that the loop ends because its output has no reader, and tells the peer.
    fn ends_unread(mut self) {
        assert_eq!(self.receive(), Event::Abort(Reason::OutputClosed));
        drop(self.peer);
        let Err(Error::Early(err, _)) = self.ended.join() else { panic!("it ended well") };
        assert!(matches!(*err, Error::OutputClosed), "{err}");
    }
}

#[test]
fn bytes_pass_through_the_loop_both_ways() {
    for role in [Role::Listener, Role::Connector] {
        let mut it = Loop::start(role);
        let sent = noise(30, 300_000);
        let stdin = it.stdin.take().unwrap();
        let input = sent.clone();
        let writer = start(move || std::fs::File::from(stdin).write_all(&input).unwrap());
        let mut came = Vec::new();
        loop {
            match it.receive() {
                Event::Data => {
                    let before = came.len();
                    came.extend(it.session.plain().iter().flat_map(|piece| piece.iter().copied()));
                    it.session.written(came.len() - before).unwrap();
                }
                Event::Eof => break,
                event => panic!("{event:?}"),
            }
        }
        writer.join();
        assert!(came == sent);
        ends::fill(&mut it.session, b"an answer");
        it.session.end_input().unwrap();
        it.send();
        assert_eq!(it.read_output(), b"an answer");
        assert_eq!(it.receive(), Event::Done);
        drop(it.peer);
        it.ended.join().unwrap();
    }
}

#[test]
fn the_last_frames_reach_a_peer_who_still_sends() {
    for role in [Role::Listener, Role::Connector] {
        let mut it = Loop::start(role);
        let data = noise(20, 60_000);
        // The loop's input stays open.
        let mut stdin = std::fs::File::from(it.stdin.take().unwrap());
        stdin.write_all(&data).unwrap();
        assert_eq!(it.receive(), Event::Data);
        // A malformed frame, which makes the loop abort the session and shut its sending half.
        it.peer.write_all(&[&[1, 0][..], &[7; 256]].concat()).unwrap();
        it.wait_for_shutdown();
        // If the loop closed now, this data would cause a reset, which destroys what the peer has
        // not read yet.
        it.peer.write_all(&[7; 50_000]).unwrap();
        let reason = loop {
            match it.receive() {
                Event::Data => {}
                Event::Abort(reason) => break reason,
                event => panic!("{event:?}"),
            }
        };
        assert_eq!(reason, Reason::Protocol);
        drop(it.peer);
        let Err(Error::Early(err, _)) = it.ended.join() else { panic!("it ended well") };
        assert!(matches!(*err, Error::Session(_)));
    }
}

/// A short limit for an output without a reader.
fn unread() -> Limits {
    Limits { unread: Duration::from_millis(50), ..Limits::default() }
}

#[test]
fn a_reader_who_goes_is_noticed_although_nothing_comes() {
    for role in [Role::Listener, Role::Connector] {
        let mut it = Loop::start_with(role, unread(), true);
        ends::fill(&mut it.session, b"one");
        it.send();
        let mut one = [0; 3];
        rustix::io::read(it.stdout.as_ref().unwrap(), &mut one).unwrap();
        assert_eq!(&one, b"one");
        drop(it.stdout.take());
        it.ends_unread();
        // The reader left before there was a session.
        Loop::start_with(role, unread(), false).ends_unread();
    }
}

#[test]
fn a_reader_who_goes_ends_nothing_before_the_input_is_sent() {
    for role in [Role::Listener, Role::Connector] {
        let mut it = Loop::start_with(role, unread(), true);
        let mut stdin = std::fs::File::from(it.stdin.take().unwrap());
        for _ in 0..2 {
            stdin.write_all(b"more").unwrap();
            assert_eq!(it.receive(), Event::Data);
            drop(it.stdout.take());
            // The next input comes late.
            assert!(it.ended.goes_on_for(3 * unread().unread));
        }
        drop(stdin);
        assert_eq!(it.receive(), Event::Eof);
        it.ends_unread();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_pipe_that_has_another_reader_by_now_is_read() {
    let (input, _stdin) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
    let (stdout, output) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
    let path = format!("/proc/self/fd/{}", output.as_raw_fd());
    let mut poller = Poller::new().unwrap();
    let mut output = Stdio::over(inherited(input), inherited(output), &poller).unwrap().output;
    let mut is_unread = || {
        output.look_again(&poller).unwrap();
        poller.wait(Some(Instant::now())).unwrap();
        if poller.ready().any(|ready| ready.token == STDOUT && ready.unread) {
            output.set_unread();
        }
        output.is_unread()
    };
    assert!(!is_unread());
    drop(stdout);
    assert!(is_unread());
    // A FIFO gets its next reader in the same way.
    let _again = std::fs::File::open(path).unwrap();
    assert!(!is_unread());
}
