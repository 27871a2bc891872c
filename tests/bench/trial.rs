//! One run of one tool: a listener, a connector, a job, and the clock.
//!
//! The clock starts just before the connector is started, and the work is
//! over when the last expected byte has reached the sink. The sink is a
//! thread of this program that reads a pipe 256 KiB at a time into one buffer
//! and counts (for spiped: a Unix socket). A run with a byte missing or a
//! byte too many is a failure and has no time.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

use crate::process::{Process, listens, peak, signal_by, tree};
use crate::tools::{Far, Idle, Job, Ready, Site, Tool};

const MIB: u64 = 1 << 20;

/// How long a tool may take to listen, to connect and to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// What one run gave. Pairs are (connector, listener).
pub struct Outcome {
    /// Seconds to the first byte at the sink.
    pub first: f64,
    /// Seconds to the last byte at the sink, or at both sinks.
    pub last: f64,
    /// Seconds to the connector's end.
    pub exit: f64,
    /// CPU seconds of each end.
    pub cpu: (f64, f64),
    /// Peak resident KiB of each end; 0 where the work is too
    /// small to look.
    pub peak: (u64, u64),
}

/// What the connector sends in a push.
pub enum Source<'a> {
    /// A file, from its start: the tool reads it itself.
    File(&'a File, u64),
    /// A pipe, into which this program writes `chunk` until it is enough.
    Pipe(&'a Arc<Vec<u8>>, u64),
}

/// Sends `source` through `tool`. With `check`, what comes out is compared
/// with that file, byte for byte.
pub fn push(
    tool: &Tool,
    site: &Site,
    source: Source,
    check: Option<&File>,
) -> Result<Outcome, String> {
    let (size, stdin, feed) = match source {
        Source::File(file, size) => (size, reopen(file)?.into(), None),
        Source::Pipe(chunk, size) => {
            let (read, write) = pipe()?;
            (size, Stdio::from(read), Some((write, chunk)))
        }
    };
    let mut run = Run::start(tool, site, Job::Push, stdin, Stdio::null(), size)?;
    let feeder = feed.map(|(write, chunk)| feed_thread(write, chunk, size));
    let mut output = run.output.take().ok_or("no output")?;
    let check = check.map(reopen).transpose()?;
    let watch = run.watch();
    let sink = thread::spawn(move || sink(&mut output, size, true, check, watch));
    if let Some(feeder) = feeder {
        drop(feeder.join());
    }
    // The guard bounds this wait.
    run.connector().ends_within(Duration::from_secs(86400));
    let exit = run.since(Instant::now());
    let sunk = sink.join().map_err(|_| "the sink panicked")?;
    run.check(size, &sunk)?;
    let cpu = run.end()?;
    let since = |at: Option<Instant>| at.map_or(f64::NAN, |at| run.since(at));
    Ok(Outcome { first: since(sunk.first), last: since(sunk.last), exit, cpu, peak: sunk.peak })
}

/// Sends `size` bytes each way at once. Both inputs are pipes that stay open
/// until both outputs have everything: several tools (nc, `ncat --ssl`,
/// openssl) drop the other direction at the first end of input.
pub fn both(tool: &Tool, site: &Site, chunk: &Arc<Vec<u8>>, size: u64) -> Result<Outcome, String> {
    let (near_in, near_feed) = pipe()?;
    let (mut near_out, near_end) = pipe()?;
    let mut run = Run::start(tool, site, Job::Both, near_in.into(), near_end.into(), 2 * size)?;
    let near_feeder = feed_thread(near_feed, chunk, size);
    let far_feeder = feed_thread(run.input.take().ok_or("no input")?, chunk, size);
    let (mut output, watch) = (run.output.take().ok_or("no output")?, run.watch());
    let far = thread::spawn(move || (sink(&mut output, size, false, None, watch), output));
    let watch = Watch { keepers: Keepers::default(), ..run.watch() };
    let near = sink(&mut near_out, size, false, None, watch);
    // The outputs stay open as well, or their end would look like `| head`.
    let (far, _output) = far.join().map_err(|_| "the sink panicked")?;
    // Only now may the inputs end.
    drop((near_feeder.join(), far_feeder.join()));
    let (short, long) = if near.count < far.count { (&near, &far) } else { (&far, &near) };
    run.check(size, short)?;
    run.check(size, long)?;
    let cpu = run.end()?;
    let last = far.last.max(near.last).map_or(f64::NAN, |at| run.since(at));
    let peak = (far.peak.0.max(near.peak.0), far.peak.1.max(near.peak.1));
    Ok(Outcome { first: f64::NAN, last, exit: f64::NAN, cpu, peak })
}

/// Sends lines of 64 bytes, each after the echo of the one before, and
/// returns round trips a second. The first one, with the handshake in it, is
/// not counted.
pub fn ping(tool: &Tool, site: &Site, lines: u32) -> Result<f64, String> {
    let (stdin, mut there) = pipe()?;
    let (mut back, stdout) = pipe()?;
    let mut run = Run::start(tool, site, Job::Echo, stdin.into(), stdout.into(), 0)?;
    let mut line = [b'.'; 64];
    line[63] = b'\n';
    let mut trip = || -> io::Result<()> {
        there.write_all(&line)?;
        let mut echo = [0; 64];
        back.read_exact(&mut echo)?;
        if echo == line { Ok(()) } else { Err(io::Error::other("the echo differs")) }
    };
    let mut trips = || -> io::Result<f64> {
        trip()?;
        let start = Instant::now();
        for _ in 0..lines {
            trip()?;
        }
        Ok(f64::from(lines) / start.elapsed().as_secs_f64())
    };
    let rate = trips().map_err(|e| format!("echo: {e}{}", run.last_words()))?;
    drop(there);
    run.end()?;
    Ok(rate)
}

/// A listener and a connector at work.
struct Run<'a> {
    tool: &'a Tool,
    job: Job,
    started: Instant,
    listener: Option<Process>,
    connector: Option<Process>,
    /// Into the far end (only for [`Job::Both`]).
    input: Option<Box<dyn Write + Send>>,
    /// Out of the far end.
    output: Option<Box<dyn Read + Send>>,
    keepers: Keepers,
    _echo: Option<Killed>,
    /// The idle input of a listener, silent until the end.
    held: Option<PipeWriter>,
    guard: Guard,
}

/// Pipe ends that this program holds until the remote `cat` has opened its own.
type Keepers = Arc<Mutex<Vec<OwnedFd>>>;

impl<'a> Run<'a> {
    fn start(
        tool: &'a Tool,
        site: &Site,
        job: Job,
        stdin: Stdio,
        stdout: Stdio,
        work: u64,
    ) -> Result<Run<'a>, String> {
        let (far_in, feed) = pipe()?;
        let (drain, far_out) = pipe()?;
        let mut keepers = Vec::new();
        let mut input: Option<Box<dyn Write + Send>> = None;
        let mut output: Option<Box<dyn Read + Send>> = None;
        let (mut echo, mut held, mut socket) = (None, None, None);
        let mut remote = String::new();
        let (listener_in, listener_out): (Option<OwnedFd>, Option<OwnedFd>) = match tool.far {
            Far::Stdio => match job {
                Job::Push => {
                    output = Some(Box::new(drain));
                    let idle = match tool.idle {
                        Idle::Null => None,
                        Idle::Held => {
                            held = Some(feed);
                            Some(far_in.into())
                        }
                    };
                    (idle, Some(far_out.into()))
                }
                Job::Both => {
                    input = Some(Box::new(feed));
                    output = Some(Box::new(drain));
                    (Some(far_in.into()), Some(far_out.into()))
                }
                Job::Echo => {
                    echo = Some(Killed::cat(drain.into(), feed.into())?);
                    (Some(far_in.into()), Some(far_out.into()))
                }
            },
            Far::Remote => {
                let path = |fd| format!("/proc/{}/fd/{fd}", std::process::id());
                let (r, w) = (path(far_in.as_raw_fd()), path(far_out.as_raw_fd()));
                remote = match job {
                    Job::Push => format!("exec cat >{w}"),
                    Job::Both => format!("cat <{r} & cat >{w}; wait"),
                    Job::Echo => "exec cat".into(),
                };
                if job != Job::Echo {
                    output = Some(Box::new(drain));
                    input = (job == Job::Both).then(|| Box::new(feed) as Box<dyn Write + Send>);
                    keepers = vec![far_in.into(), far_out.into()];
                    // The far sink lets the last one go, with its first byte.
                }
                (None, None)
            }
            Far::Socket => {
                let path = site.dir.join("sink");
                let _ = std::fs::remove_file(&path);
                socket = Some(UnixListener::bind(path).map_err(|e| format!("sink: {e}"))?);
                (None, None)
            }
        };
        let keepers: Keepers = Arc::new(Mutex::new(keepers));
        let (listener, port) = start_listener(tool, site, job, listener_in, listener_out)?;
        let port = site.way.port(port)?;
        let argv = site.way.near(tool.argv(tool.connect, job, site, port, &remote));
        let started = Instant::now();
        let connector = Process::start(&argv, stdin, stdout)?;
        if let Some(socket) = socket {
            let stream = accept(&socket, &connector)?;
            let clone = || stream.try_clone().map_err(|e| format!("sink: {e}"));
            match job {
                Job::Push => output = Some(Box::new(clone()?)),
                Job::Both => {
                    output = Some(Box::new(clone()?));
                    input = Some(Box::new(Half(clone()?)));
                }
                Job::Echo => {
                    echo = Some(Killed::cat(
                        OwnedFd::from(clone()?).into(),
                        OwnedFd::from(clone()?).into(),
                    )?);
                }
            }
        }
        let handles = vec![listener.handle(), connector.handle()];
        let limit = PATIENCE * 2 + Duration::from_secs(work / (40 * MIB));
        let guard = Guard::new(limit, handles, keepers.clone());
        Ok(Run {
            tool,
            job,
            started,
            listener: Some(listener),
            connector: Some(connector),
            input,
            output,
            keepers,
            _echo: echo,
            held,
            guard,
        })
    }

    fn connector(&self) -> &Process {
        self.connector.as_ref().expect("not yet reaped")
    }

    /// What the sink needs to measure memory and to let the keepers go.
    fn watch(&self) -> Watch {
        let id = |process: &Option<Process>| process.as_ref().map_or(0, Process::id);
        Watch {
            pair: (id(&self.connector), id(&self.listener)),
            trees: self.tool.far == Far::Remote,
            keepers: self.keepers.clone(),
        }
    }

    fn since(&self, at: Instant) -> f64 {
        (at - self.started).as_secs_f64()
    }

    /// Says whether what came out is what went in.
    fn check(&mut self, size: u64, sunk: &Sunk) -> Result<(), String> {
        let expired = self.guard.expired();
        let fault = match sunk.count {
            count if count < size && expired => format!("gave up at {count} of {size} bytes"),
            count if count < size => format!("truncated, {count} of {size} bytes"),
            count if count > size => format!("{count} bytes came out of {size}"),
            _ if sunk.differs => "other bytes came out".into(),
            _ if expired => "everything came out, but it does not end".into(),
            _ => return Ok(()),
        };
        Err(fault + &self.last_words())
    }

    /// The last lines of standard error of both ends.
    fn last_words(&self) -> String {
        let ends = [&self.connector, &self.listener];
        ends.iter().filter_map(|end| end.as_ref()).map(Process::last_words).collect()
    }

    /// Waits for both ends, or ends them, and returns their CPU seconds.
    fn end(&mut self) -> Result<(f64, f64), String> {
        if self.guard.expired() {
            return Err("gave up".into());
        }
        self.input = None;
        let connector = self.connector.take().expect("ends once");
        let listener = self.listener.take().expect("ends once");
        let connector_ended = connector.ends_within(PATIENCE);
        self.held = None;
        // sshd's CPU time is in its zombie only when it has reaped its
        // session, and the session its `cat`.
        let deadline = Instant::now() + PATIENCE;
        while !self.tool.ends && tree(listener.id()).len() > 1 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        if !self.tool.ends {
            listener.signal(Signal::TERM);
        }
        let listener_ended = listener.ends_within(PATIENCE);
        // In a push everyone has to end well; otherwise only scat and the
        // null pipe, for several tools have no clean end in both directions.
        let strict = self.job == Job::Push || matches!(self.tool.ready, Ready::Announces);
        for (process, ended) in [(&connector, connector_ended), (&listener, listener_ended)] {
            if !ended {
                process.signal(Signal::KILL);
                process.ends_within(PATIENCE);
            }
        }
        let words = [connector.last_words(), listener.last_words()];
        let ended = [connector.reap(), listener.reap()];
        // A server that was ended by SIGTERM cannot fail.
        let failed = !ended[0].status.success() || self.tool.ends && !ended[1].status.success();
        if strict && failed {
            let alone = [connector_ended, listener_ended];
            let end = |i: usize| match alone[i] {
                true => format!("{}{}", ended[i].status, words[i]),
                false => format!("still running{}", words[i]),
            };
            return Err(format!("does not end well: connector {}, listener {}", end(0), end(1)));
        }
        Ok((ended[0].cpu, ended[1].cpu))
    }
}

/// Starts the listener and waits until it listens; a port that somebody took
/// in between is tried again elsewhere. No descriptor means `/dev/null`.
fn start_listener(
    tool: &Tool,
    site: &Site,
    job: Job,
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
) -> Result<(Process, u16), String> {
    let start = |port| {
        let stdio = |fd: &Option<OwnedFd>| match fd {
            Some(fd) => fd.try_clone().map(Stdio::from).map_err(|e| format!("pipe: {e}")),
            None => Ok(Stdio::null()),
        };
        Process::start(
            &site.way.far(tool.argv(tool.listen, job, site, port, "")),
            stdio(&stdin)?,
            stdio(&stdout)?,
        )
    };
    let mut complaint = String::new();
    for _ in 0..3 {
        if matches!(tool.ready, Ready::Announces) {
            let listener = start(0)?;
            let port = listener.announced_port(PATIENCE);
            return match port {
                Ok(port) => Ok((listener, port)),
                Err(e) => Err(format!("the listener {e}{}", listener.last_words())),
            };
        }
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let port = free.map_err(|e| format!("no free port: {e}"))?.port();
        let listener = start(port)?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if listens(listener.id(), port) {
                return Ok((listener, port));
            }
            if listener.ends_within(Duration::from_millis(1)) {
                break;
            }
        }
        complaint = format!("does not listen{}", listener.last_words());
    }
    Err(complaint)
}

/// Takes spiped's connection, or gives up when it does not come.
fn accept(socket: &UnixListener, connector: &Process) -> Result<UnixStream, String> {
    let limit = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    match poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&limit)) {
        Ok(1) => socket.accept().map(|pair| pair.0).map_err(|e| format!("sink: {e}")),
        _ => Err(format!("no connection at the far end{}", connector.last_words())),
    }
}

/// The writing half of a socket: dropped, it says end of input.
struct Half(UnixStream);

impl Write for Half {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        let _ = self.0.shutdown(std::net::Shutdown::Write);
    }
}

/// The `cat` that answers pings.
struct Killed(std::process::Child);

impl Killed {
    fn cat(stdin: Stdio, stdout: Stdio) -> Result<Killed, String> {
        let child = Command::new("cat").stdin(stdin).stdout(stdout).spawn();
        child.map(Killed).map_err(|e| format!("cat: {e}"))
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ends a run that takes too long: without its processes every pipe of this
/// program comes to its end. Dropped in time, it does nothing.
struct Guard {
    cancel: Option<Sender<()>>,
    thread: Option<JoinHandle<bool>>,
    expired: Option<bool>,
}

impl Guard {
    fn new(limit: Duration, processes: Vec<Arc<OwnedFd>>, keepers: Keepers) -> Guard {
        let (cancel, cancelled) = channel();
        let thread = thread::spawn(move || {
            let expired = cancelled.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            if expired {
                processes.iter().for_each(|process| signal_by(process, Signal::KILL));
                keepers.lock().expect("no panic").clear();
            }
            expired
        });
        Guard { cancel: Some(cancel), thread: Some(thread), expired: None }
    }

    /// Calls the guard off; true if it had to act.
    fn expired(&mut self) -> bool {
        self.cancel = None;
        if let Some(thread) = self.thread.take() {
            self.expired = Some(thread.join().unwrap_or(true));
        }
        self.expired == Some(true)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.expired();
    }
}

struct Watch {
    /// Process ids of connector and listener.
    pair: (u32, u32),
    /// Whether their descendants count as well.
    trees: bool,
    keepers: Keepers,
}

impl Watch {
    fn peak(&self) -> (u64, u64) {
        let of = |pid| match self.trees {
            true => tree(pid).into_iter().map(peak).sum(),
            false => peak(pid),
        };
        (of(self.pair.0), of(self.pair.1))
    }
}

/// What a sink saw.
#[derive(Default)]
struct Sunk {
    first: Option<Instant>,
    last: Option<Instant>,
    count: u64,
    differs: bool,
    peak: (u64, u64),
}

/// Reads until `size` bytes are there, or until the end with `to_end`.
fn sink(from: &mut impl Read, size: u64, to_end: bool, check: Option<File>, watch: Watch) -> Sunk {
    let mut sunk = Sunk::default();
    let mut buffer = vec![0; 256 << 10];
    let mut expected = vec![0; if check.is_some() { buffer.len() } else { 0 }];
    // Eight looks at the memory on the way, at the same places in every run.
    let step = (size / 8).max(MIB / 8);
    let mut look = step;
    while to_end || sunk.count < size {
        let n = match from.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(n) => n,
        };
        if sunk.first.is_none() {
            sunk.first = Some(Instant::now());
            watch.keepers.lock().expect("no panic").pop();
        }
        sunk.count += n as u64;
        if sunk.count >= size && sunk.last.is_none() {
            sunk.last = Some(Instant::now());
        }
        if let Some(mut check) = check.as_ref() {
            let same = check.read_exact(&mut expected[..n]).is_ok() && expected[..n] == buffer[..n];
            sunk.differs |= !same;
        }
        if sunk.count >= look {
            look += step;
            let peak = watch.peak();
            sunk.peak = (sunk.peak.0.max(peak.0), sunk.peak.1.max(peak.1));
        }
    }
    sunk
}

/// Writes `chunk` again and again until `size` bytes are out, and gives the
/// pipe back, still open. A reader that goes away ends it early.
fn feed_thread<W: Write + Send + 'static>(
    mut to: W,
    chunk: &Arc<Vec<u8>>,
    size: u64,
) -> JoinHandle<W> {
    let chunk = chunk.clone();
    thread::spawn(move || {
        let mut left = size;
        while left > 0 {
            let n = left.min(chunk.len() as u64);
            if to.write_all(&chunk[..n as usize]).is_err() {
                break;
            }
            left -= n;
        }
        to
    })
}

fn pipe() -> Result<(PipeReader, PipeWriter), String> {
    io::pipe().map_err(|e| format!("pipe: {e}"))
}

/// Opens a file anew, so that it is read from its start.
fn reopen(file: &File) -> Result<File, String> {
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).map_err(|e| format!("the file: {e}"))
}
