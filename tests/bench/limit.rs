//! The limit: what scat could reach at most, measured in parts.
//!
//! * The loop without a cipher: this program started twice as a plain TCP
//!   pipe (`--null-pipe`), one thread that reads and writes blocks as large as
//!   scat's, timed like every other tool.
//! * The cipher without a loop: ChaCha20-Poly1305 over frames as large as
//!   scat's, in memory that does not stay in the first caches, one thread
//!   sealing and one opening at the same time, as the two ends do. The slower
//!   one counts.
//!
//! One thread of scat does both in series, so a byte costs the sum of the two
//! times: the limit is the harmonic sum 1 / (1/loop + 1/cipher).

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce, Tag};

/// scat's bulk frame: the largest multiple of 256 bytes that fits with its
/// tag into the 65,535 bytes of a frame.
pub const FRAME: usize = 65_280;

/// scat reads and writes the socket in blocks of about this many bytes.
pub const BLOCK: usize = 512 << 10;

/// Frames that lie side by side, as in scat's buffers.
const FRAMES: usize = BLOCK / FRAME + 1;

/// Bytes a second of the slower of sealing and opening, over about `size`
/// bytes each.
pub fn cipher_rate(size: u64) -> f64 {
    let rounds = (size as usize / (FRAME * FRAMES)).max(1);
    let start = Barrier::new(2);
    let bytes = (rounds * FRAMES * FRAME) as f64;
    let rate = |opens: bool| {
        let cipher = ChaCha20Poly1305::new(&[7; 32].into());
        let nonce = Nonce::default();
        let mut frames: Vec<Vec<u8>> = (0..FRAMES).map(|i| vec![i as u8; FRAME]).collect();
        let mut tags = vec![Tag::default(); FRAMES];
        // Opening in place needs something sealed each time, and undoes
        // itself: only the opening is inside the clock.
        let mut seconds = 0.0;
        let mut work = |frames: &mut [Vec<u8>], opens: bool, timed: bool| {
            let begin = Instant::now();
            for (frame, tag) in frames.iter_mut().zip(&mut tags) {
                let bytes = frame.as_mut_slice().into();
                if opens {
                    cipher
                        .decrypt_inout_detached(&nonce, &[], bytes, tag)
                        .expect("own tag");
                } else {
                    *tag = cipher
                        .encrypt_inout_detached(&nonce, &[], bytes)
                        .expect("short frame");
                }
            }
            black_box(&frames);
            if timed {
                seconds += begin.elapsed().as_secs_f64();
            }
        };
        start.wait();
        for _ in 0..rounds {
            if opens {
                work(&mut frames, false, false);
            }
            work(&mut frames, opens, true);
        }
        bytes / seconds
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| rate(true));
        let seal = rate(false);
        seal.min(other.join().expect("opening does not panic"))
    })
}

/// 1 / (1/a + 1/b).
pub fn harmonic(a: f64, b: f64) -> f64 {
    1.0 / (1.0 / a + 1.0 / b)
}

/// This program as a plain pipe: `listen`, or a port of 127.0.0.1. One way,
/// connector to listener; the listener's end is the connector's.
pub fn null_pipe(role: &str) -> io::Result<()> {
    // Unbuffered, unlike std's own standard input and output.
    if role == "listen" {
        let socket = TcpListener::bind("127.0.0.1:0")?;
        eprintln!("null-pipe: listening on {}", socket.local_addr()?);
        let (peer, _) = socket.accept()?;
        return copy(peer, std::fs::File::from(own(io::stdout())?));
    }
    let port: u16 = role
        .parse()
        .map_err(|_| io::Error::other("--null-pipe listen|PORT"))?;
    let mut peer = TcpStream::connect(("127.0.0.1", port))?;
    peer.set_nodelay(true)?;
    copy(std::fs::File::from(own(io::stdin())?), &peer)?;
    peer.shutdown(Shutdown::Write)?;
    peer.read(&mut [0]).map(drop)
}

fn own(fd: impl std::os::fd::AsFd) -> io::Result<OwnedFd> {
    fd.as_fd().try_clone_to_owned()
}

fn copy(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    loop {
        let n = from.read(&mut block)?;
        if n == 0 {
            return Ok(());
        }
        to.write_all(&block[..n])?;
    }
}
