//! A long path on loopback: every byte goes on [`DELAY`] after it came in.
//!
//! A thread for each direction takes bytes in and notes when they are due, and
//! another one lets them out, so a slow reader at one end never holds up what
//! is under way in the other direction. There is no limit of rate. What is
//! under way is bounded; when it is full, TCP holds the sender back.
//!
//! The kernel answers a SYN on loopback at once. So that TCP's own round trip
//! is not forgotten, the relay reads nothing of a new connection for one round
//! trip, and the far end hears of it when the third packet would arrive.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// One way. A round trip is twice this.
pub const DELAY: Duration = Duration::from_millis(20);

/// At most this many bytes are taken in at once.
const PARCEL: usize = 64 << 10;

/// Parcels under way in one direction: at most 256 MiB.
const PARCELS: usize = 4096;

/// Some bytes, and when they are due at the far end.
type Parcels = Receiver<(Instant, Vec<u8>)>;

/// Relays one connection to `target` on 127.0.0.1; returns the port on which
/// it waits for it.
pub fn start(target: u16) -> io::Result<u16> {
    let door = TcpListener::bind("127.0.0.1:0")?;
    let port = door.local_addr()?.port();
    thread::spawn(move || door.accept().and_then(|(near, _)| carry(near, target)));
    Ok(port)
}

fn carry(near: TcpStream, target: u16) -> io::Result<()> {
    let syn = Instant::now();
    near.set_nodelay(true)?;
    sleep_until(syn + 2 * DELAY);
    let up = intake(near.try_clone()?);
    sleep_until(syn + 3 * DELAY);
    let far = TcpStream::connect(("127.0.0.1", target))
        .inspect_err(|_| drop(near.shutdown(Shutdown::Both)))?;
    far.set_nodelay(true)?;
    let down = intake(far.try_clone()?);
    thread::spawn(move || outlet(up, far));
    outlet(down, near);
    Ok(())
}

/// Takes in all that comes until the end, which is a parcel without bytes. A
/// reset goes on as an end.
fn intake(mut from: TcpStream) -> Parcels {
    let (send, parcels) = sync_channel(PARCELS);
    thread::spawn(move || {
        let mut block = vec![0; PARCEL];
        loop {
            let n = from.read(&mut block).unwrap_or(0);
            if send.send((Instant::now() + DELAY, block[..n].to_vec())).is_err() {
                // Nobody takes it any more at the far end: say so here.
                let _ = from.shutdown(Shutdown::Both);
            } else if n > 0 {
                continue;
            }
            break;
        }
    });
    parcels
}

/// Lets out what is due, in order, and then the end.
fn outlet(parcels: Parcels, mut to: TcpStream) {
    for (due, bytes) in parcels {
        sleep_until(due);
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn sleep_until(due: Instant) {
    thread::sleep(due.saturating_duration_since(Instant::now()));
}
