//! A listener under load: ten thousand strangers a minute, each from an address of its own, and
//! what each of them costs.

use crate::support::peer::{FLIGHT2, Handshake, Options, Role, read_flight};
use crate::support::scat::{Place, Scat, Started, noise, program, rest, start, try_dial};
use std::collections::VecDeque;
use std::fmt::Display;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Time between two strangers on an idle machine. A busy one answers late, and more of them
/// would measure only its other load.
const PACE: Duration = Duration::from_millis(6);
/// Threads that send strangers.
const SENDERS: u32 = 8;
/// Connections that each thread keeps open: together twice as many as a listener has places.
const KEPT: usize = 16;
/// Strangers that may come before a peer is through. That many take 6 s on an idle machine, and
/// as much longer on a busy one as the peer.
pub const SOON: u32 = 1000;

/// The number of strangers. SCAT_STRANGERS overrides it; 50000 take five minutes.
pub fn strangers() -> u32 {
    std::env::var("SCAT_STRANGERS").map_or(300, |count| count.parse().unwrap())
}

/// CPU time that a process or thread has used, in clock ticks (hundredths of a second).
pub fn ticks(of: impl Display) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{of}/stat")).unwrap();
    // proc(5): the name may contain anything; utime and stime are fields 14 and 15.
    let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11..13].iter().map(|field| field.parse::<u32>().unwrap()).sum()
}

/// Returns an address in a /24 network of its own.
fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x7f01_0001 + ((number % 60_000) << 8))
}

/// Performs a handshake with a key that the listener does not accept.
fn whole_handshake(mut stream: TcpStream) -> io::Result<()> {
    let mut handshake = Handshake::connect(&mut stream, Options::default())?;
    stream.write_all(&handshake.flight3()?)?;
    rest(&stream);
    Ok(())
}

/// Acts as one stranger of four kinds. Errors do not matter, because scat may already have given
/// its place to another.
fn stranger(number: u32, mut stream: TcpStream, flight1: &[u8]) -> Option<TcpStream> {
    match number % 4 {
        // Silent.
        0 => {}
        // Garbage.
        1 => drop(stream.write_all(&noise(number.into(), 2000))),
        // Half a handshake, as from an attacker who has recorded a flight 1.
        2 => {
            let _ = stream.write_all(flight1);
            let _ = read_flight(&mut stream, FLIGHT2);
        }
        _ => {
            let _ = whole_handshake(stream);
            return None;
        }
    }
    Some(stream)
}

/// Sends strangers until the port is closed. Returns a count of them, and the threads.
pub fn storm(port: u16) -> (Arc<AtomicU32>, Vec<Started<()>>) {
    let came = Arc::new(AtomicU32::new(0));
    let flight1 = Handshake::new(Role::Connector, Options::default()).unwrap().flight1().unwrap();
    let flight1 = Arc::new(flight1);
    let sender = |own: u32| {
        let (came, flight1) = (came.clone(), flight1.clone());
        start(move || {
            let mut kept = VecDeque::new();
            for number in (own..).step_by(SENDERS as usize) {
                let begin = Instant::now();
                let Ok(stream) = try_dial(address(number), port) else { return };
                came.fetch_add(1, Ordering::SeqCst);
                // Of each kind in turn.
                kept.extend(stranger(own + number / SENDERS, stream, &flight1));
                if kept.len() > KEPT {
                    kept.pop_front();
                }
                // After a delay, the missed ones do not all come at once.
                let took = begin.elapsed();
                thread::sleep(took.max((PACE * SENDERS).saturating_sub(took)));
            }
        })
    };
    let senders = (0..SENDERS).map(sender).collect();
    (came, senders)
}

/// Floods a listener that has this many descriptors and accepts one key, and checks its costs
/// and messages.
fn holds_out(descriptors: u32) {
    let identity = Place::new("load");
    let made = Scat::new(&["--genkey", identity.arg()]).end().expect(0, "");
    let public = String::from_utf8(made.stdout).unwrap();
    let mut command = Command::new("sh");
    let script = format!("ulimit -n {descriptors} && exec \"$@\"");
    command.args(["-c", &script, "sh", &program(), "-l", "127.0.0.1", "0"]);
    command.args(["-v", "--peer", public.trim()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let arrived = Instant::now();
    let (mut listener, port) = Scat::spawn(command).with_port();

    // The cost of a handshake, at both ends, without other load.
    let (alone, own) = (100, ticks("thread-self"));
    for number in 0..alone {
        let stream = try_dial(address(number), port).unwrap();
        whole_handshake(stream).unwrap();
    }
    let (cost, own) = (ticks(listener.id()), ticks("thread-self") - own);
    let peak = listener.peak_kb();

    let begin = Instant::now();
    let (came, senders) = storm(port);
    let count = strangers();
    while came.load(Ordering::SeqCst) < count {
        assert!(!listener.ends_within(Duration::from_millis(100)), "it has ended");
    }
    let (storm_cost, passed) = (ticks(listener.id()) - cost, begin.elapsed());

    let before = came.load(Ordering::SeqCst);
    let mut peer = Scat::connect_with(&["-w", "200", "-i", identity.arg()], port);
    peer.write(b"good");
    assert_eq!(listener.read(4), b"good");
    let passed_it = came.load(Ordering::SeqCst) - before;
    let grown = listener.peak_kb().saturating_sub(peak);
    listener.end_input();
    peer.end().expect(0, "");
    let ended = listener.end().expect(0, "connection from 127.0.0.1 port");
    senders.into_iter().for_each(Started::join);

    println!(
        "{descriptors} descriptors: {count} strangers in {passed:?}, {storm_cost} ticks of CPU \
         ({cost} for {alone} handshakes, {own} at the other end); peak of memory {peak} + {grown} kB; peer in after {passed_it} more"
    );
    assert!(cost < 5 * own.max(1), "{cost} and {own} ticks");
    // A quarter of the strangers make a whole handshake, and a quarter half of one.
    let each = f64::from(storm_cost) / f64::from(count);
    let handshake = f64::from(cost.max(1)) / f64::from(alone);
    assert!(each < 3.0 * handshake, "{each} and {handshake} ticks");
    assert!(grown < 4096, "{grown} kB");
    assert!(passed_it < SOON, "{passed_it}");
    // scat reports five strangers per second and the number of the others, and then the session.
    let most = 6 * (arrived.elapsed().as_secs() as usize + 2) + 10;
    assert!(ended.stderr.lines().count() < most, "{}", ended.stderr);
}

#[test]
fn ten_thousand_strangers_a_minute_cost_little_with_20_descriptors() {
    holds_out(20);
}

#[test]
fn ten_thousand_strangers_a_minute_cost_little_with_64_descriptors() {
    holds_out(64);
}
