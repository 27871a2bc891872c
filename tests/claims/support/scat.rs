//! The real program as a child process. Every wait is bounded, no port is guessed, and a child
//! is killed by its own id when its holder is dropped.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{CWD, FileType, Mode};
use rustix::process::{Pid, Signal};
use std::fmt;
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Once};
use std::thread;
use std::time::{Duration, Instant};

/// Far longer than anything here takes on a busy machine; a longer wait counts as hanging. No
/// claim that passes waits this long.
pub const LIMIT: Duration = Duration::from_secs(120);

/// A running scat.
pub struct Scat {
    /// The command line, for the message of a failed claim.
    command: String,
    child: Child,
    /// Its standard input, if that is a pipe; dropping it is the end of input.
    pub stdin: Option<ChildStdin>,
    /// Its standard output, if that is a pipe.
    pub stdout: Option<ChildStdout>,
    /// Lines of its standard error; the channel closes at its end.
    lines: Receiver<String>,
    seen: Vec<String>,
}

/// The result of a scat that has ended.
#[derive(Debug)]
pub struct Ended {
    command: String,
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

/// The words that one side has printed for its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    pub you_say: String,
    pub they_say: String,
}

impl Words {
    /// The same words as the other end prints them.
    pub fn mirrored(self) -> Words {
        Words { you_say: self.they_say, they_say: self.you_say }
    }
}

/// The program to test: the build that the variable SCAT names, if any.
pub fn program() -> String {
    std::env::var("SCAT").unwrap_or(env!("CARGO_BIN_EXE_scat").into())
}

/// A command `scat args...`, without redirections.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(args);
    command
}

impl Scat {
    /// Starts `scat args...` between three pipes.
    pub fn new(args: &[&str]) -> Scat {
        Scat::between(args, Stdio::piped(), Stdio::piped())
    }

    /// Starts `scat args...` with this standard input and output.
    pub fn between(args: &[&str], stdin: impl Into<Stdio>, stdout: impl Into<Stdio>) -> Scat {
        let mut command = command(args);
        command.stdin(stdin).stdout(stdout);
        Scat::spawn(command)
    }

    /// Starts this command, which is scat or executes it.
    pub fn spawn(mut command: Command) -> Scat {
        handle_ignored_signals();
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let lines = lines(child.stderr.take().unwrap());
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        Scat { command: format!("{command:?}"), child, stdin, stdout, lines, seen: Vec::new() }
    }

    /// Listens on 127.0.0.1 at a port that the system chooses.
    pub fn listen() -> (Scat, u16) {
        Scat::listen_with(&[])
    }

    /// The same with these options, and with `-v` if scat would not print the port without it.
    pub fn listen_with(options: &[&str]) -> (Scat, u16) {
        let is_silent = options.iter().any(|option| ["--peer", "--psk"].contains(option))
            && !options.contains(&"-v");
        let verbose: &[&str] = if is_silent { &["-v"] } else { &[] };
        Scat::new(&[&["-l", "127.0.0.1", "0"], verbose, options].concat()).with_port()
    }

    /// The same with this standard input and output.
    pub fn listen_between(stdin: impl Into<Stdio>, stdout: impl Into<Stdio>) -> (Scat, u16) {
        Scat::between(&["-l", "127.0.0.1", "0"], stdin, stdout).with_port()
    }

    /// Connects to this port of 127.0.0.1.
    pub fn connect(port: u16) -> Scat {
        Scat::connect_with(&[], port)
    }

    /// The same with these options.
    pub fn connect_with(options: &[&str], port: u16) -> Scat {
        Scat::new(&[options, &["127.0.0.1", &port.to_string()]].concat())
    }

    /// The same with this standard input and output.
    pub fn connect_between(port: u16, stdin: impl Into<Stdio>, stdout: impl Into<Stdio>) -> Scat {
        Scat::between(&["127.0.0.1", &port.to_string()], stdin, stdout)
    }

    /// A listener and a connector to it.
    pub fn pair() -> (Scat, Scat) {
        let (listener, port) = Scat::listen();
        (listener, Scat::connect(port))
    }

    /// Waits for the line that names the port.
    pub fn with_port(mut self) -> (Scat, u16) {
        let line = self.line("listening on ");
        let port = line.rsplit_once(" port ").unwrap().1.parse().unwrap();
        (self, port)
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line of standard error that contains `part`; an earlier line counts, too.
    pub fn line(&mut self, part: &str) -> String {
        if let Some(line) = self.seen.iter().find(|line| line.contains(part)) {
            return line.clone();
        }
        self.next_line(part)
    }

    /// Waits for a line of standard error that contains `part`, after those already read.
    pub fn next_line(&mut self, part: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.seen.push(line),
                Err(err) => panic!("no line {part:?} ({err}): {} {:#?}", self.command, self.seen),
            }
            if let Some(line) = self.seen.last().filter(|line| line.contains(part)) {
                return line.clone();
            }
        }
    }

    /// Whether it ends within `time`. For a scat that must not end.
    pub fn ends_within(&mut self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.seen.push(line),
                Err(err) => return err == RecvTimeoutError::Disconnected,
            }
        }
    }

    /// Waits for the words, or for the end; returns whether there were words.
    pub fn gets_a_session(&mut self) -> bool {
        self.says("they say  ").is_some()
    }

    /// Waits for a line of standard error that contains `part`, or for the end.
    pub fn says(&mut self, part: &str) -> Option<String> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(err) => panic!("{err}: {} {:#?}", self.command, self.seen),
            }
            if let Some(line) = self.seen.last().filter(|line| line.contains(part)) {
                return Some(line.clone());
            }
        }
    }

    /// Waits for the words.
    pub fn words(&mut self) -> Words {
        let (you, they) = (self.line("you say  "), self.line("they say  "));
        let after = |line: String, what| line.split_once(what).unwrap().1.trim().to_owned();
        Words { you_say: after(you, "you say"), they_say: after(they, "they say") }
    }

    /// Gives it this input, all of which it must take.
    pub fn write(&mut self, bytes: &[u8]) {
        self.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// Ends its input.
    pub fn end_input(&mut self) {
        drop(self.stdin.take());
    }

    /// Waits for exactly this many bytes of its output.
    pub fn read(&mut self, len: usize) -> Vec<u8> {
        let stdout = self.stdout.as_mut().unwrap();
        let mut bytes = vec![0; len];
        let mut have = 0;
        while have < len {
            assert!(readable(&stdout), "{have} of {len} bytes came");
            match stdout.read(&mut bytes[have..]).unwrap() {
                0 => panic!("the output ended after {have} of {len} bytes"),
                n => have += n,
            }
        }
        bytes
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let id = Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Stops it (SIGSTOP) once it has nothing to do and sleeps in its poll.
    pub fn stop_while_it_waits(&self) {
        self.wait_for_threads(" S");
        self.signal(Signal::STOP);
        // A hurried scat has a second thread, which can run a little longer.
        self.wait_for_threads(" T");
    }

    /// Waits until all of its threads are in this state: proc(5).
    fn wait_for_threads(&self, state: &str) {
        let deadline = Instant::now() + LIMIT;
        let threads = format!("/proc/{}/task", self.id());
        let is_there = || {
            std::fs::read_dir(&threads).unwrap().all(|thread| {
                let stat = std::fs::read_to_string(thread.unwrap().path().join("stat")).unwrap();
                // The state follows the name.
                stat.rsplit_once(')').unwrap().1.starts_with(state)
            })
        };
        while !is_there() {
            assert!(Instant::now() < deadline, "it is not in state{state}");
            thread::yield_now();
        }
    }

    /// Sends SIGUSR1 until it has said `what` twice, because it may say so once unasked.
    pub fn asked(&mut self, what: &str) {
        let deadline = Instant::now() + LIMIT;
        for _ in 0..2 {
            self.signal(Signal::USR1);
            while !self.next_line("scat: ").contains(what) {
                assert!(Instant::now() < deadline, "it does not say {what:?}");
                self.signal(Signal::USR1);
            }
        }
    }

    /// Peak of its resident memory so far, in kB.
    pub fn peak_kb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    }

    /// Ends its input, takes its output, and waits for its end.
    pub fn end(mut self) -> Ended {
        self.end_input();
        self.end_by_itself()
    }

    /// Takes its output and waits for its end, its input left as it is.
    pub fn end_by_itself(mut self) -> Ended {
        let stdout = self.stdout.take().map(|mut stdout| {
            start(move || {
                let mut bytes = Vec::new();
                let _ = stdout.read_to_end(&mut bytes);
                bytes
            })
        });
        let ended = self.end_unread();
        Ended { stdout: stdout.map_or(Vec::new(), Started::join), ..ended }
    }

    /// Waits for its end, its output not taken.
    pub fn end_unread(&mut self) -> Ended {
        let deadline = Instant::now() + LIMIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.seen.push(line),
                // Standard error closes when the process ends.
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("it goes on: {} {:#?}", self.command, self.seen)
                }
            }
        }
        let status = self.child.wait().unwrap();
        Ended {
            command: self.command.clone(),
            code: status.code(),
            signal: status.signal(),
            stdout: Vec::new(),
            stderr: self.seen.join("\n"),
        }
    }
}

impl Drop for Scat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Checks that it ended with this status and said this.
    #[track_caller]
    pub fn expect(self, code: i32, said: &str) -> Ended {
        assert!(self.code == Some(code), "not status {code}: {self}");
        assert!(self.stderr.contains(said), "no {said:?}: {self}");
        let foreign = self.stderr.lines().find(|line| !line.starts_with("scat: "));
        assert!(foreign.is_none(), "{foreign:?} is not scat's: {self}");
        self
    }

    /// Checks that it ended by this signal.
    #[track_caller]
    pub fn expect_signal(self, signal: Signal) -> Ended {
        assert!(self.signal == Some(signal.as_raw()), "not signal {signal:?}: {self}");
        self
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ended { command, code, signal, stdout, stderr } = self;
        let (shown, all) = (&stdout[..stdout.len().min(SHOWN)], stdout.len());
        writeln!(f, "{command}\nstatus {code:?}, signal {signal:?}\nstderr:\n{stderr}")?;
        write!(f, "stdout, {all} bytes: {}", shown.escape_ascii())
    }
}

/// Bytes of standard output that a failed claim shows.
const SHOWN: usize = 300;

/// A child that is killed when this is dropped.
pub struct Ending(pub Child);

impl Ending {
    /// Waits for its exit status.
    #[track_caller]
    pub fn code(&mut self) -> Option<i32> {
        let before = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(before.elapsed() < LIMIT, "it goes on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn lines(stderr: ChildStderr) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines() {
            let Ok(line) = line else { break };
            let _ = sender.send(line);
        }
    });
    receiver
}

/// Whether there are bytes to read, or the end, within [`LIMIT`].
pub fn readable(fd: &impl AsFd) -> bool {
    let limit = Timespec::try_from(LIMIT).unwrap();
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    rustix::event::poll(&mut fds, Some(&limit)).unwrap() > 0
}

/// Runs `job` in a thread of its own, which must end within [`LIMIT`].
pub fn start<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Started<T> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let _ = sender.send(job());
    });
    Started(receiver)
}

/// A running job.
pub struct Started<T>(Receiver<T>);

impl<T> Started<T> {
    /// Waits for its result.
    #[track_caller]
    pub fn join(self) -> T {
        self.0.recv_timeout(LIMIT).expect("the job ends in time, and well")
    }

    /// Whether it still runs after `time`. For a job that must not end.
    pub fn goes_on_for(&self, time: Duration) -> bool {
        self.0.recv_timeout(time).is_err_and(|err| err == RecvTimeoutError::Timeout)
    }
}

/// Lets children start with the default action for the signals of these tests, even if this
/// process ignores one: shells ignore SIGINT for background jobs, nohup ignores SIGHUP. A
/// handler, unlike an ignored signal, does not survive exec.
pub fn handle_ignored_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for signal in
            [Signal::INT, Signal::QUIT, Signal::TERM, Signal::HUP].into_iter().filter(is_ignored)
        {
            signal_hook::flag::register(signal.as_raw(), Arc::default()).unwrap();
        }
    });
}

fn is_ignored(signal: &Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    let mask = u64::from_str_radix(mask.trim(), 16).unwrap();
    mask >> (signal.as_raw() - 1) & 1 == 1
}

/// Connects to a port of 127.0.0.1, from address `from`.
pub fn try_dial(from: Ipv4Addr, port: u16) -> std::io::Result<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into(), LIMIT)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    Ok(stream)
}

/// A listening socket on 127.0.0.1 that is no scat, and its port.
pub fn door() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A port of 127.0.0.`host` that refuses connections while the socket exists. scat can bind it
/// even if a child that another test is starting still has the socket.
pub fn closed_port(host: u8) -> (socket2::Socket, u16) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 0)).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket_ipv4().unwrap().port();
    (socket, port)
}

/// A listening socket whose queue is full, so that connecting to it gets no answer. Returns what
/// keeps it full, and its port.
pub fn full_door() -> ([socket2::Socket; 3], u16) {
    let socket = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let door = socket().unwrap();
    door.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    door.listen(0).unwrap();
    let at = door.local_addr().unwrap();
    let [one, other] = [socket(), socket()].map(|waiting| {
        let waiting = waiting.unwrap();
        waiting.set_nonblocking(true).unwrap();
        let _ = waiting.connect(&at);
        waiting
    });
    ([door, one, other], at.as_socket().unwrap().port())
}

/// Connects to a port of 127.0.0.1, from 127.0.0.`host`.
pub fn dial_from(host: u8, port: u16) -> TcpStream {
    try_dial(Ipv4Addr::new(127, 0, 0, host), port).unwrap()
}

/// Connects to a port of 127.0.0.1.
pub fn dial(port: u16) -> TcpStream {
    dial_from(1, port)
}

/// Returns what arrives before the other end closes or resets.
pub fn rest(mut stream: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

/// A path of its own; dropping it removes the file.
pub struct Place(PathBuf);

impl Place {
    /// Makes a path that contains `name`.
    pub fn new(name: &str) -> Place {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}-{name}", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        // An earlier process with this id may have left a FIFO that nobody reads.
        let _ = std::fs::remove_file(&path);
        Place(path)
    }

    /// The path as an argument.
    pub fn arg(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl AsRef<Path> for Place {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A file of this test's own, with this content.
pub fn file(name: &str, content: &[u8]) -> Place {
    let place = Place::new(name);
    std::fs::write(&place, content).unwrap();
    place
}

/// 32 bytes as a key file of this kind has them.
pub fn key_file(kind: &str, key: &[u8; 32]) -> Place {
    private_file(kind, &format!("scat-{kind}:{}\n", STANDARD.encode(key)))
}

/// A file of this test's own that nobody else may read.
pub fn private_file(name: &str, content: &str) -> Place {
    let place = file(name, content.as_bytes());
    std::fs::set_permissions(&place, Permissions::from_mode(0o600)).unwrap();
    place
}

/// A FIFO of this test's own.
pub fn fifo(name: &str) -> Place {
    let place = Place::new(name);
    rustix::fs::mknodat(CWD, place.as_ref(), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    place
}

/// Random-looking bytes that are the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        // xorshift64, Marsaglia 2003.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
