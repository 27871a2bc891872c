//! `--reconnect`: a session survives the loss of its connection at any moment, and strangers at
//! the port that it keeps get nothing.

use super::load;
use crate::support::hurried;
use crate::support::peer::{FLIGHT1, FLIGHT2, FLIGHT3, Role};
use crate::support::pty::{self, Terminal};
use crate::support::scat::{LIMIT, Scat, dial, door, key_file, noise, rest, start};
use rustix::process::Signal;
use scat::protocol::reconnect::{R1_LEN, R2_LEN, R3_LEN};
use socket2::SockRef;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

pub const OPTIONS: [&str; 3] = ["--no-confirm", "--reconnect", "30"];

/// Ends a connection after this many bytes from one side.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    pub from: Role,
    pub at: usize,
    /// Whether by a reset or by a FIN.
    pub resets: bool,
}

/// A relay to a port of 127.0.0.1 that cuts or silences connections when a test asks for it.
#[derive(Clone)]
pub struct Network(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// How to cut the next connections; later ones are not cut.
    cuts: VecDeque<Cut>,
    /// The relayed connections: the number and both ends of each.
    carried: Vec<(usize, [TcpStream; 2])>,
    /// The number of connections so far.
    count: usize,
    /// Connections with lower numbers are silent: the relay discards their data.
    silent_before: usize,
    /// The first bytes that each connection carried to the listener.
    recorded: Vec<Vec<u8>>,
}

impl Network {
    /// Starts a relay to port `to`. Also returns the port to connect to.
    pub fn new(to: u16, cuts: &[Cut]) -> (Network, u16) {
        let (door, port) = door();
        let state = State { cuts: cuts.iter().copied().collect(), ..State::default() };
        let network = Network(Arc::new(Mutex::new(state)));
        let here = network.clone();
        thread::spawn(move || {
            loop {
                let c = door.accept().unwrap().0;
                let Ok(l) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                for stream in [&c, &l] {
                    stream.set_nodelay(true).unwrap();
                }
                let (number, cut) = {
                    let mut state = here.0.lock().unwrap();
                    let number = state.count;
                    state.count += 1;
                    state.recorded.push(Vec::new());
                    let ends = [c.try_clone().unwrap(), l.try_clone().unwrap()];
                    state.carried.push((number, ends));
                    (number, state.cuts.pop_front())
                };
                let (c2, l2, back) = (c.try_clone().unwrap(), l.try_clone().unwrap(), here.clone());
                let forth = here.clone();
                thread::spawn(move || back.carry(number, Role::Listener, l2, c2, cut));
                thread::spawn(move || forth.carry(number, Role::Connector, c, l, cut));
            }
        });
        (network, port)
    }

    fn carry(
        &self,
        number: usize,
        from: Role,
        mut a: TcpStream,
        mut b: TcpStream,
        cut: Option<Cut>,
    ) {
        let mut buffer = [0; 65536];
        let cut = cut.filter(|cut| cut.from == from);
        let mut left = cut.map_or(usize::MAX, |cut| cut.at);
        while left > 0 {
            let most = buffer.len().min(left);
            let Ok(n @ 1..) = a.read(&mut buffer[..most]) else { break };
            let is_silent = {
                let mut state = self.0.lock().unwrap();
                let recorded = &mut state.recorded[number];
                if from == Role::Connector && recorded.len() < 4096 {
                    recorded.extend_from_slice(&buffer[..n]);
                }
                number < state.silent_before
            };
            if !is_silent && b.write_all(&buffer[..n]).is_err() {
                break;
            }
            left -= n;
        }
        let is_carried = || {
            let state = self.0.lock().unwrap();
            number >= state.silent_before && state.carried.iter().any(|(it, _)| *it == number)
        };
        match cut {
            Some(cut) if left == 0 => self.end(number, cut.resets),
            // Forward the FIN.
            _ if is_carried() => drop(b.shutdown(Shutdown::Write)),
            _ => {}
        }
    }

    fn end(&self, number: usize, resets: bool) {
        let mut state = self.0.lock().unwrap();
        state.carried.retain(|(it, ends)| {
            if *it != number {
                return true;
            }
            for stream in ends {
                if resets {
                    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
                }
                // Both threads then drop their copies, which closes the socket.
                let how = if resets { Shutdown::Read } else { Shutdown::Both };
                let _ = stream.shutdown(how);
            }
            false
        });
    }

    /// Ends the current connections, and cuts the next ones as `next` says.
    fn cut(&self, next: &[Cut]) {
        let numbers: Vec<usize> = {
            let mut state = self.0.lock().unwrap();
            state.cuts.extend(next);
            state.carried.iter().map(|(number, _)| *number).collect()
        };
        numbers.into_iter().for_each(|number| self.end(number, false));
    }

    /// Ends every relayed connection by a reset, which no unread data holds up.
    fn reset(&self) {
        for stream in self.0.lock().unwrap().carried.iter().flat_map(|(_, ends)| ends) {
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
        self.cut(&[]);
    }

    /// Forwards nothing more on the current connections, but keeps reading.
    fn silence(&self) {
        let mut state = self.0.lock().unwrap();
        state.silent_before = state.count;
    }

    /// Returns the number of connections so far.
    fn count(&self) -> usize {
        self.0.lock().unwrap().count
    }

    /// Waits for this many connections.
    fn wait_for(&self, count: usize) {
        let deadline = Instant::now() + LIMIT;
        while self.count() < count {
            assert!(Instant::now() < deadline, "{} connections", self.count());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for this many connections, the last of which carries the session.
    fn wait_until_back(&self, count: usize) {
        self.wait_for(count);
        let deadline = Instant::now() + LIMIT;
        while self.recorded(0).len() < R1_LEN + R3_LEN {
            assert!(Instant::now() < deadline, "no R3");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The first bytes of the last connection but `n`, from the connector.
    fn recorded(&self, n: usize) -> Vec<u8> {
        let state = self.0.lock().unwrap();
        state.recorded[state.count - 1 - n].clone()
    }
}

/// A session: the listener, the connector, the relay between them, and its port.
fn session() -> (Scat, Scat, Network, u16) {
    let (mut listener, port) = Scat::listen_with(&OPTIONS);
    let (network, door) = Network::new(port, &[]);
    let mut connector = Scat::connect_with(&OPTIONS, door);
    connector.line("they say");
    listener.line("they say");
    (listener, connector, network, port)
}

fn carries(from: &mut Scat, to: &mut Scat, line: &[u8]) {
    from.write(line);
    assert_eq!(to.read(line.len()), line);
}

/// Ends the input of both; both end well.
fn ends_well(mut connector: Scat, listener: Scat) {
    connector.end_input();
    let listener = start(move || listener.end());
    connector.end().expect(0, "");
    listener.join().expect(0, "");
}

// Losses.

#[test]
fn a_session_goes_on_over_other_connections() {
    let cuts = [(1_400, false), (50_000, true), (130, false), (300_000, true), (1_000, true)];
    let cuts = cuts.map(|(at, resets)| Cut { from: Role::Connector, at, resets });
    let (listener, port) = Scat::listen_with(&OPTIONS);
    let mut connector = Scat::connect_with(&OPTIONS, Network::new(port, &cuts).1);
    let data = noise(31, 3_000_000);
    let sent = data.clone();
    let received = start(move || listener.end());
    connector.line("you say");
    connector.write(&sent);
    let ended = connector.end().expect(0, "connected again after");
    assert!(ended.stdout.is_empty());
    let ended = received.join().expect(0, "connected again after");
    assert!(ended.stdout == data, "other bytes arrived");
}

/// Cuts from OPEN to the ACK of the last DONE; a frame is 274 bytes long. One cut is left
/// out: a reset before the first frame would destroy flight 3.
#[test]
fn a_short_session_is_whole_wherever_it_is_cut() {
    let begin = FLIGHT1 + FLIGHT3;
    let connector = (begin..begin + 5 * 274).step_by(61);
    let listener = (FLIGHT2 + 1..FLIGHT2 + 5 * 274).step_by(61);
    let mut cuts: Vec<Cut> = connector
        .map(|at| Cut { from: Role::Connector, at, resets: at > begin + 274 })
        .chain(listener.map(|at| Cut { from: Role::Listener, at, resets: true }))
        .collect();
    // A FIN right before or behind a frame may seem to be the other end's.
    for frames in 2..=5 {
        let ends = [(Role::Connector, begin), (Role::Listener, FLIGHT2)];
        cuts.extend(ends.map(|(from, at)| Cut { from, at: at + frames * 274, resets: false }));
    }
    let cases = cuts.chunks(5).map(|cuts| {
        let cuts = cuts.to_vec();
        start(move || {
            for cut in cuts {
                let (mut listener, mut connector, _) = hurried_session_behind(&[cut]);
                connector.write(b"there");
                listener.write(b"and back");
                connector.end_input();
                listener.end_input();
                let listener = start(move || listener.end());
                let (c, l) = (connector.end(), listener.join());
                assert_eq!(
                    (&c.stdout[..], &l.stdout[..]),
                    (&b"and back"[..], &b"there"[..]),
                    "{cut:?}: {c} {l}"
                );
                assert_eq!((c.code, l.code), (Some(0), Some(0)), "{cut:?}: {c} {l}");
            }
        })
    });
    cases.collect::<Vec<_>>().into_iter().for_each(|case| case.join());
}

/// The first cut ends the session's connection, the second the first attempt to reconnect.
#[test]
fn two_cuts_within_a_second_are_survived_at_every_offset_of_the_flights() {
    let connector = (0..=R1_LEN + R3_LEN).map(|at| (Role::Connector, at));
    let cuts: Vec<_> = connector.chain((0..=R2_LEN).map(|at| (Role::Listener, at))).collect();
    let sessions = cuts.chunks(cuts.len().div_ceil(32)).map(|cuts| {
        let cuts = cuts.to_vec();
        start(move || {
            let (mut listener, mut connector, network, _) = session();
            for (from, at) in cuts {
                carries(&mut connector, &mut listener, b"before");
                network.cut(&[Cut { from, at, resets: at % 2 == 0 }]);
                carries(&mut listener, &mut connector, b"behind");
            }
            ends_well(connector, listener);
        })
    });
    sessions.collect::<Vec<_>>().into_iter().for_each(|session| session.join());
}

#[test]
fn a_loss_before_open_brings_open_or_an_end() {
    // If OPEN is lost, the listener sends the same one again.
    let (mut listener, port) = Scat::listen_with(&OPTIONS);
    let cut = Cut { from: Role::Listener, at: FLIGHT2 + 10, resets: true };
    let mut connector = Scat::connect_with(&OPTIONS, Network::new(port, &[cut]).1);
    assert_eq!(connector.words(), listener.words().mirrored());
    ends_well(connector, listener);
    // If flight 3 is lost, the listener has no session, and the limit for OPEN ends the wait.
    let cut = Cut { from: Role::Connector, at: FLIGHT1 + 50, resets: true };
    let (mut listener, port) = Scat::listen_with(&OPTIONS);
    let door = Network::new(port, &[cut]).1.to_string();
    let connector = hurried::start(&[&OPTIONS[..], &["127.0.0.1", &door]].concat());
    connector.end_by_itself().expect(6, "did not finish the handshake");
    let mut connector = Scat::connect_with(&OPTIONS, port);
    carries(&mut connector, &mut listener, b"another");
    ends_well(connector, listener);
}

/// The answer needs no connection, so the question stays as it is, with what was typed.
#[test]
fn a_loss_while_the_words_are_asked_interrupts_nobody() {
    if !pty::is_available() {
        return;
    }
    let (mut at_l, mut at_c) = (Terminal::new(), Terminal::new());
    let (mut l, port) = at_l.start(&["-lc", "127.0.0.1", "0", "--reconnect", "30"]).with_port();
    let (network, door) = Network::new(port, &[]);
    let mut c = at_c.start(&["-c", "127.0.0.1", &door.to_string(), "--reconnect", "30"]);
    let digits = |screen: &mut Terminal| {
        screen.wait_for("(");
        screen.wait_for(")")
    };
    at_l.wait_for("you say ");
    let said = digits(&mut at_l);
    at_c.wait_for("they say: ");
    at_c.keys(&said[..4]);
    network.cut(&[]);
    network.wait_until_back(2);
    at_c.enter(&said[4..]);
    at_c.wait_for("you answer ");
    let answered = digits(&mut at_c);
    at_l.wait_for("they answer: ");
    at_l.keys(&answered[..4]);
    network.cut(&[]);
    // This end asks nothing any more.
    c.next_line("connection lost");
    c.next_line("connected again");
    network.wait_until_back(3);
    at_l.enter(&answered[4..]);
    at_l.wait_for("verified");
    carries(&mut c, &mut l, b"from the connector");
    carries(&mut l, &mut c, b"from the listener");
    for screen in [&mut at_l, &mut at_c] {
        assert_eq!(screen.screen().matches("check who that is").count(), 1);
    }
    c.end_input();
    let l = start(move || l.end());
    c.end().expect(0, "");
    let ended = l.join().expect(0, "");
    assert!(!ended.stderr.contains("connection lost"), "{ended}");
}

/// The end that does not read must notice the loss as well: a connector, to dial.
#[test]
fn a_loss_while_an_output_takes_nothing_loses_nothing() {
    for is_connector in [true, false] {
        let (listener, connector, network, _) = session();
        let (mut sender, mut receiver) =
            if is_connector { (connector, listener) } else { (listener, connector) };
        // More than the network holds.
        let data = noise(33, 40_000_000);
        let sent = data.clone();
        let mut stdin = sender.stdin.take().unwrap();
        let writer = start(move || stdin.write_all(&sent).unwrap());
        sender.asked("the other end does not read");
        network.reset();
        sender.next_line("connection lost");
        sender.next_line("connected again");
        // The other direction is not blocked.
        carries(&mut receiver, &mut sender, b"meanwhile");
        let received = start(move || receiver.end());
        writer.join();
        sender.end().expect(0, "");
        assert!(received.join().expect(0, "").stdout == data, "other bytes arrived");
    }
}

#[test]
fn a_loss_between_the_end_of_input_and_done_does_no_harm() {
    let (listener, mut connector, network, _) = session();
    // More than a pipe holds, so the listener cannot write it all before the test reads.
    let data = noise(34, 300_000);
    connector.write(&data);
    connector.end_input();
    for _ in 0..2 {
        connector.asked("waiting for the other end to write it out");
        network.cut(&[]);
        connector.next_line("connected again");
    }
    let received = start(move || listener.end());
    connector.end().expect(0, "");
    assert!(received.join().expect(0, "").stdout == data, "other bytes arrived");
}

// A network that falls silent.

/// Starts two hurried scats and the relay between them.
fn hurried_session_behind(cuts: &[Cut]) -> (Scat, Scat, Network) {
    let options = ["--no-confirm", "--reconnect", "30", "-v"];
    let start_hurried = |args: &[&str]| hurried::start(&[&options, args].concat());
    let (listener, port) = start_hurried(&["-l", "127.0.0.1", "0"]).with_port();
    let (network, door) = Network::new(port, cuts);
    let connector = start_hurried(&["127.0.0.1", &door.to_string()]);
    (listener, connector, network)
}

/// Does the same, and waits until the session carries data.
fn hurried_session() -> (Scat, Scat, Network) {
    let (mut listener, mut connector, network) = hurried_session_behind(&[]);
    carries(&mut connector, &mut listener, b"before");
    carries(&mut listener, &mut connector, b"before");
    (listener, connector, network)
}

/// Ends the input; both end well, and neither has reported a loss.
fn was_never_lost(mut connector: Scat, listener: Scat) -> [String; 2] {
    connector.end_input();
    let listener = start(move || listener.end());
    [connector.end(), listener.join()].map(|end| {
        assert!(!end.stderr.contains("connection lost"), "{end}");
        end.expect(0, "").stderr
    })
}

/// The relay still takes everything.
#[test]
fn a_connection_that_leads_nowhere_is_replaced() {
    let (mut listener, mut connector, network) = hurried_session();
    network.silence();
    connector.write(b"behind");
    assert_eq!(listener.read(6), b"behind");
    carries(&mut listener, &mut connector, b"behind");
    for said in was_never_lost(connector, listener) {
        assert!(said.contains("another connection replaces a silent one"), "{said}");
    }
}

#[test]
fn a_peer_that_is_stopped_is_not_cut_off() {
    let (mut listener, mut connector, network) = hurried_session();
    listener.stop_while_it_waits();
    connector.write(b"behind");
    // The second attempt waits twice as long as the first.
    network.wait_for(3);
    listener.signal(Signal::CONT);
    assert_eq!(listener.read(6), b"behind");
    carries(&mut listener, &mut connector, b"behind");
    was_never_lost(connector, listener);
}

#[test]
fn a_connector_whose_attempt_was_in_vain_waits_again() {
    let never = Cut { from: Role::Connector, at: usize::MAX, resets: false };
    let at_once = Cut { at: 8, ..never };
    let (mut listener, mut connector, network) = hurried_session_behind(&[never, at_once]);
    carries(&mut connector, &mut listener, b"before");
    listener.stop_while_it_waits();
    connector.write(b"behind");
    network.wait_for(2);
    listener.signal(Signal::CONT);
    assert_eq!(listener.read(6), b"behind");
    // Meanwhile the pause ends after which another attempt would be allowed.
    assert!(!connector.ends_within(Duration::from_secs(1)));
    let before = load::ticks(connector.id());
    assert!(!connector.ends_within(Duration::from_secs(2)));
    let used = load::ticks(connector.id()) - before;
    assert!(used < 10, "{used} ticks of CPU time while it waits");
    assert_eq!(network.count(), 2);
    was_never_lost(connector, listener);
}

/// As in `| less`: the connector sends meanwhile, and cannot receive what acknowledges it.
#[test]
fn a_connector_whose_output_takes_nothing_doubts_no_connection() {
    let (mut listener, mut connector, network) = hurried_session();
    let data = noise(35, 40_000_000);
    let sent = data.clone();
    let mut stdin = listener.stdin.take().unwrap();
    let writer = start(move || stdin.write_all(&sent).unwrap());
    listener.asked("the other end does not read");
    carries(&mut connector, &mut listener, b"meanwhile");
    assert!(!connector.ends_within(hurried::RECONNECT.quiet * 3 / 2));
    assert_eq!(network.count(), 1);
    let received = start(move || connector.end());
    writer.join();
    listener.end().expect(0, "");
    assert!(received.join().expect(0, "").stdout == data, "other bytes arrived");
}

// Strangers.

#[test]
fn strangers_at_the_port_get_no_second_reveal() {
    let (mut listener, mut connector, _, port) = session();
    Scat::connect(port).end().expect(3, "busy with another peer");
    let false_r1 = [&b"SCAT1R\0\n"[..], &[7; 88]].concat();
    let flight1 = [&b"SCAT1C\0\n"[..], &[7; 1216]].concat();
    for (sent, answer) in
        [(&b"GET / HTTP/1.1\r\n\r\n"[..], &b""[..]), (&false_r1, b""), (&flight1, b"SCAT1B\0\n")]
    {
        let mut stranger = dial(port);
        stranger.set_read_timeout(Some(LIMIT)).unwrap();
        stranger.write_all(sent).unwrap();
        let _ = stranger.shutdown(Shutdown::Write);
        assert_eq!(rest(&stranger), answer);
    }
    carries(&mut connector, &mut listener, b"still there");
    ends_well(connector, listener);
}

#[test]
fn a_recorded_reconnection_played_back_gets_nothing() {
    let (mut listener, mut connector, network, port) = session();
    network.cut(&[]);
    connector.line("connected again");
    carries(&mut connector, &mut listener, b"sent once");
    let recorded = network.recorded(0);
    assert!(recorded.len() > R1_LEN + R3_LEN && recorded.starts_with(b"SCAT1R"));
    for len in [R1_LEN, R1_LEN + R3_LEN, recorded.len()] {
        let mut stranger = dial(port);
        stranger.set_read_timeout(Some(LIMIT)).unwrap();
        stranger.write_all(&recorded[..len]).unwrap();
        assert_eq!(rest(&stranger), b"");
    }
    carries(&mut connector, &mut listener, b"and on");
    carries(&mut listener, &mut connector, b"and back");
    ends_well(connector, listener);
}

#[test]
fn ten_thousand_strangers_a_minute_delay_no_reconnection() {
    let (mut listener, mut connector, network, port) = session();
    network.cut(&[]);
    connector.next_line("connected again");
    let peak = listener.peak_kb();
    let (came, senders) = load::storm(port);
    let came = || came.load(Ordering::SeqCst);
    let mut most = 0;
    while came() < load::strangers() {
        carries(&mut connector, &mut listener, b"before");
        let before = came();
        network.cut(&[]);
        carries(&mut listener, &mut connector, b"behind");
        most = most.max(came() - before);
    }
    let grown = listener.peak_kb().saturating_sub(peak);
    ends_well(connector, listener);
    senders.into_iter().for_each(|sender| sender.join());
    println!("back after {most} strangers at most; peak of memory {peak} + {grown} kB");
    assert!(most < load::SOON, "{most}");
    assert!(grown < 1024, "{grown} kB");
}

// The end of a session.

#[test]
fn one_whose_peer_is_killed_waits_its_time_and_ends_with_6() {
    let (mut listener, port) = Scat::listen_with(&["--no-confirm", "--reconnect", "1"]);
    // The time without a connection does not count for --idle.
    let options = ["--no-confirm", "--reconnect", "4", "--idle", "3"];
    let mut connector = Scat::connect_with(&options, port);
    connector.line("you say");
    listener.line("you say");
    drop(listener);
    connector.line("connection lost");
    connector.end_by_itself().expect(6, "not restored within 4 s");
}

#[test]
fn a_loss_after_progress_is_waited_for_anew() {
    let options = ["--no-confirm", "--reconnect", "5"];
    let (mut listener, port) = Scat::listen_with(&options);
    let (network, door) = Network::new(port, &[]);
    let mut connector = Scat::connect_with(&options, door);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(6) {
        carries(&mut connector, &mut listener, b"before");
        network.cut(&[]);
        carries(&mut listener, &mut connector, b"after");
    }
    ends_well(connector, listener);
}

/// Only progress starts the pauses and the wait anew.
#[test]
fn a_path_that_ends_every_connection_is_not_dialled_for_ever() {
    let options = ["--no-confirm", "--reconnect", "3"];
    let (mut listener, port) = Scat::listen_with(&options);
    let (network, door) = Network::new(port, &[]);
    let mut connector = Scat::connect_with(&options, door);
    carries(&mut connector, &mut listener, b"forth");
    carries(&mut listener, &mut connector, b"and back");
    let at = R1_LEN + R3_LEN;
    network.cut(&[Cut { from: Role::Connector, at, resets: false }; 1000]);
    let listener = start(move || listener.end_by_itself());
    for end in [connector.end_by_itself(), listener.join()] {
        assert!(end.stderr.contains("connected again"), "{end}");
        end.expect(6, "not restored within 3 s");
    }
    assert!(network.count() < 20, "{} connections", network.count());
}

#[test]
fn without_the_other_end_s_consent_a_loss_ends_the_session() {
    // Told in a log as well, where a verified session writes nothing else.
    let psk = key_file("psk", &[7; 32]);
    let options = ["--psk", psk.arg()];
    let (mut listener, port) = Scat::listen_with(&options);
    let with = [&options[..], &["--reconnect", "30"]].concat();
    let mut connector = Scat::connect_with(&with, port);
    connector.line("the other end has no --reconnect");
    listener.line("cipher");
    drop(listener);
    connector.end_by_itself().expect(6, "cut off");
}
