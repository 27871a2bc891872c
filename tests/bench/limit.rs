//! The limit: what scat could reach at most, measured in parts.
//!
//! * The loop without a cipher: this program started twice as a plain TCP
//!   pipe (`--null-pipe`), one thread that fills and drains blocks as large as
//!   scat's, with RWF_NOWAIT and poll, timed like every other tool.
//! * The cipher without a loop: ChaCha20-Poly1305 over frames as large as
//!   scat's, as many side by side as in its buffers, one thread sealing and
//!   one opening at the same time, as the two ends do. The slower one counts.
//!
//! One thread of scat does both in series, so a byte costs the sum of the two
//! times: the limit is the harmonic sum 1 / (1/loop + 1/cipher). The same in
//! CPU seconds is a plain sum; it is the steadier of the two where others use
//! the machine as well.

use std::fs;
use std::hint::black_box;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, ReadWriteFlags, preadv2, pwritev2};
use scat::protocol::cipher::{Cipher, TAGLEN};
use scat::protocol::frame::{MAX_CONTENT, MAX_RECEIVED};
use scat::protocol::noise::CipherState;

/// The plaintext of scat's bulk frame: its content and three bytes of header.
pub const FRAME: usize = MAX_CONTENT + 3;

/// Frames that lie side by side in scat's buffers.
const FRAMES: usize = 8;

/// scat reads and writes the socket in blocks of at most this many bytes.
pub const BLOCK: usize = FRAMES * MAX_RECEIVED;

/// What a part of the way costs.
pub struct Cost {
    /// Bytes a second, by the clock.
    pub rate: f64,
    /// CPU seconds a byte, both ends together.
    pub cpu: f64,
}

/// Seals about `size` bytes in one thread and opens as many in another.
pub fn cipher(size: u64) -> Cost {
    let rounds = (size as usize / (FRAME * FRAMES)).max(1);
    let bytes = (rounds * FRAMES * FRAME) as f64;
    let start = Barrier::new(2);
    // Opening in place needs something sealed each time, so the opening
    // thread seals as well, outside the clock.
    let work = |opens: bool| {
        let (mut tx, mut rx) = (
            CipherState::new(Cipher::ChaChaPoly, &[7; 32]),
            CipherState::new(Cipher::ChaChaPoly, &[7; 32]),
        );
        let mut frames = vec![vec![0; FRAME]; FRAMES];
        let mut tags = vec![[0; TAGLEN]; FRAMES];
        start.wait();
        let (cpu, mut seconds) = (thread_cpu(), 0.0);
        for _ in 0..rounds {
            let begin = Instant::now();
            for (frame, tag) in frames.iter_mut().zip(&mut tags) {
                *tag = tx.encrypt(&[], frame).expect("a short frame");
            }
            let sealed = Instant::now();
            for (frame, tag) in frames.iter_mut().zip(&tags).filter(|_| opens) {
                rx.decrypt(&[], frame, tag).expect("its own tag");
            }
            black_box(&frames);
            seconds += if opens { sealed.elapsed() } else { sealed - begin }.as_secs_f64();
        }
        Cost { rate: bytes / seconds, cpu: (thread_cpu() - cpu) / bytes }
    };
    let (seal, both) = thread::scope(|scope| {
        let other = scope.spawn(|| work(true));
        (work(false), other.join().expect("opening does not panic"))
    });
    // `both` sealed and opened: its CPU time is that of the two ends.
    Cost { rate: seal.rate.min(both.rate), cpu: both.cpu }
}

/// CPU seconds of this thread so far, exact to a scheduler tick.
fn thread_cpu() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|n| n.parse::<f64>().ok());
    nanoseconds.unwrap_or(f64::NAN) / 1e9
}

/// 1 / (1/a + 1/b).
pub fn harmonic(a: f64, b: f64) -> f64 {
    1.0 / (1.0 / a + 1.0 / b)
}

/// This program as a plain pipe: `listen`, or a port of 127.0.0.1. One way,
/// from the connector to the listener.
pub fn null_pipe(role: &str) -> io::Result<()> {
    if role == "listen" {
        let socket = TcpListener::bind("127.0.0.1:0")?;
        eprintln!("null-pipe: listening on {}", socket.local_addr()?);
        let (peer, _) = socket.accept()?;
        return copy(&peer, &io::stdout());
    }
    let port: u16 = role.parse().map_err(|_| io::Error::other("--null-pipe listen|PORT"))?;
    let mut peer = TcpStream::connect(("127.0.0.1", port))?;
    peer.set_nodelay(true)?;
    copy(&io::stdin(), &peer)?;
    peer.shutdown(Shutdown::Write)?;
    peer.read(&mut [0]).map(drop)
}

/// Offset -1 stands for the current position.
const HERE: u64 = u64::MAX;

/// Fills a block and drains it, without ever waiting in a call: RWF_NOWAIT,
/// and poll when nothing moves.
fn copy(from: &impl AsFd, to: &impl AsFd) -> io::Result<()> {
    for pipe in [from.as_fd(), to.as_fd()] {
        // As scat does; what is no pipe refuses.
        let room = 256 * 1024;
        if rustix::pipe::fcntl_getpipe_size(pipe).is_ok_and(|has| has < room) {
            let _ = rustix::pipe::fcntl_setpipe_size(pipe, room);
        }
    }
    let mut block = vec![0; BLOCK];
    let (mut start, mut end, mut ended) = (0, 0, false);
    while !(ended && start == end) {
        let mut moved = false;
        if !ended
            && end < BLOCK
            && let Some(n) = now(read_now(from, &mut block[end..]))?
        {
            ended = n == 0;
            end += n;
            moved = true;
        }
        if start < end {
            let full = [IoSlice::new(&block[start..end])];
            if let Some(n) = now(pwritev2(to, &full, HERE, ReadWriteFlags::NOWAIT))? {
                start += n;
                moved = true;
            }
        }
        if start == end {
            (start, end) = (0, 0);
        }
        if !moved {
            let of = |wanted, flag| if wanted { flag } else { PollFlags::empty() };
            let mut wait = [
                PollFd::new(from, of(!ended && end < BLOCK, PollFlags::IN)),
                PollFd::new(to, of(start < end, PollFlags::OUT)),
            ];
            poll(&mut wait, None)?;
        }
    }
    Ok(())
}

/// A file in memory refuses RWF_NOWAIT, and needs none.
fn read_now(from: impl AsFd, room: &mut [u8]) -> rustix::io::Result<usize> {
    let mut slices = [IoSliceMut::new(room)];
    match preadv2(&from, &mut slices, HERE, ReadWriteFlags::NOWAIT) {
        Err(Errno::OPNOTSUPP) => rustix::io::read(from, room),
        result => result,
    }
}

/// None for "not now".
fn now(result: rustix::io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(n) => Ok(Some(n)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(e) => Err(e.into()),
    }
}
