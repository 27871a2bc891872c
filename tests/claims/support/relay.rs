//! A relay between two scats that can cut, reset or alter their connection.

use crate::support::scat::{LIMIT, door};
use socket2::SockRef;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// What the relay does.
#[derive(Clone, Copy)]
pub enum Deed {
    /// Forwards 1 to 7 bytes at a time, both ways.
    Crumbs,
    /// Forwards this many bytes to the listener, then ends both directions with a FIN.
    Finish(usize),
    /// Forwards this many bytes to the listener, then resets both connections.
    Reset(usize),
    /// Flips these bits of this byte to the listener.
    Turn(usize, u8),
}

/// Forwards one connection to this port of 127.0.0.1. Returns the port to connect to.
pub fn relay(to: u16, deed: Deed) -> u16 {
    let (listener, port) = door();
    thread::spawn(move || {
        let c = listener.accept().unwrap().0;
        let l = TcpStream::connect(("127.0.0.1", to)).unwrap();
        for stream in [&c, &l] {
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(Some(LIMIT)).unwrap();
        }
        let over = Arc::new(AtomicBool::new(false));
        let (c2, l2, over2) = (c.try_clone().unwrap(), l.try_clone().unwrap(), over.clone());
        let back_deed = match deed {
            Deed::Crumbs => Deed::Crumbs,
            _ => Deed::Turn(usize::MAX, 0),
        };
        let back = thread::spawn(move || carry(l2, c2, back_deed, &over2));
        carry(c, l, deed, &over);
        let _ = back.join();
    });
    port
}

fn carry(mut from: TcpStream, mut to: TcpStream, deed: Deed, over: &AtomicBool) {
    let mut buffer = vec![0; 65536];
    let mut carried = 0;
    loop {
        let most = match deed {
            Deed::Crumbs => 1 + carried % 7,
            Deed::Finish(left) | Deed::Reset(left) => buffer.len().min(left - carried),
            Deed::Turn(..) => buffer.len(),
        };
        let n = match from.read(&mut buffer[..most]) {
            Ok(0) | Err(_) => {
                // After the deed, a FIN would arrive before its reset.
                if !over.load(Ordering::SeqCst) {
                    let _ = to.shutdown(Shutdown::Write);
                }
                return;
            }
            Ok(n) => n,
        };
        // After the deed, only drain, so that the deed alone ends the connection.
        if over.load(Ordering::SeqCst) {
            continue;
        }
        if let Deed::Turn(at, bits) = deed
            && (carried..carried + n).contains(&at)
        {
            buffer[at - carried] ^= bits;
        }
        if to.write_all(&buffer[..n]).is_err() {
            return;
        }
        carried += n;
        match deed {
            Deed::Finish(left) if carried == left => {
                over.store(true, Ordering::SeqCst);
                let _ = from.shutdown(Shutdown::Write);
                let _ = to.shutdown(Shutdown::Write);
                // Forward nothing more; discard what arrives.
                while from.read(&mut buffer).is_ok_and(|n| n > 0) {}
                return;
            }
            Deed::Reset(left) if carried == left => {
                over.store(true, Ordering::SeqCst);
                for stream in [&from, &to] {
                    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
                    // The copy of the other direction must not keep the socket open.
                    let _ = stream.shutdown(Shutdown::Read);
                }
                return;
            }
            _ => {}
        }
    }
}
