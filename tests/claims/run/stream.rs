//! Every byte arrives, whatever standard input and output are. Each direction has its own end
//! and pace, and memory does not grow.

#[cfg(target_os = "linux")]
use crate::support::filter::{self, Calls};
use crate::support::peer::{self, DATA, Options, Peer};
use crate::support::relay::{Deed, relay};
use crate::support::scat::{self, Ended, Place, Scat, door, fifo, file, noise, readable, start};
use rustix::fs::OFlags;
use rustix::process::Signal;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

/// Runs a listener and a connector with these inputs and outputs. Both must end well and show
/// the same words. Returns what they wrote into pipes.
fn run(listener: (Stdio, Stdio), connector: (Stdio, Stdio)) -> (Ended, Ended) {
    let (mut l, port) = Scat::listen_between(listener.0, listener.1);
    let mut c = Scat::connect_between(port, connector.0, connector.1);
    l.end_input();
    c.end_input();
    assert_eq!(l.words(), c.words().mirrored());
    let l = start(|| l.end_by_itself());
    let c = c.end_by_itself().expect(0, "");
    (l.join().expect(0, ""), c)
}

fn pipe() -> (Stdio, Stdio) {
    (Stdio::piped(), Stdio::piped())
}

fn reading(path: &Place) -> Stdio {
    File::open(path).unwrap().into()
}

fn is_nonblocking(fd: impl AsFd) -> bool {
    rustix::fs::fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK)
}

#[test]
fn nothing_at_all_is_a_whole_stream() {
    let (l, c) = run(pipe(), pipe());
    assert!(l.stdout.is_empty() && c.stdout.is_empty());
    let (l, c) = run((Stdio::null(), Stdio::null()), (Stdio::null(), Stdio::null()));
    assert!(l.stdout.is_empty() && c.stdout.is_empty());
}

#[test]
fn streams_of_any_length_arrive_whole() {
    // Lengths around a block of padding, a frame, and the whole buffer.
    for len in [1, 252, 253, 254, 4096, 65_276, 65_277, 65_278, 522_216, 522_217, 3_000_001] {
        let data = noise(len as u64, len);
        let path = file("lengths", &data);
        let (l, c) = run((reading(&path), Stdio::piped()), (reading(&path), Stdio::piped()));
        assert!(l.stdout == data && c.stdout == data, "{len} bytes");
    }
}

#[test]
fn files_are_read_from_and_written_to_where_they_stand() {
    let data = noise(6, 300_000);
    let path = file("from", &data);
    let mut from = File::open(&path).unwrap();
    from.seek(SeekFrom::Start(1000)).unwrap();
    let at = file("at", &[b'.'; 500]);
    let mut to_at = File::options().write(true).open(&at).unwrap();
    to_at.seek(SeekFrom::Start(200)).unwrap();
    let appended = file("appended", b"before");
    let to_end = File::options().append(true).open(&appended).unwrap();
    run((from.into(), to_end.into()), (reading(&path), to_at.into()));
    let expected = [&[b'.'; 200][..], &data[1000..]].concat();
    assert!(std::fs::read(&at).unwrap() == expected);
    assert!(std::fs::read(&appended).unwrap() == [b"before", &data[..]].concat());
}

#[test]
fn named_fifos_work_both_ways() {
    let data = noise(7, 500_000);
    let (inward, outward) = (fifo("in.fifo"), fifo("out.fifo"));
    // Opens a FIFO for reading and writing, so that the later opens do not wait.
    let both = |path: &Place| File::options().read(true).write(true).open(path).unwrap();
    let (hold_in, hold_out) = (both(&inward), both(&outward));
    let scat_in = File::open(&inward).unwrap();
    let scat_out = File::options().write(true).open(&outward).unwrap();
    let mut feed = File::options().write(true).open(&inward).unwrap();
    let mut drain = File::open(&outward).unwrap();
    let (kept_in, kept_out) = (scat_in.try_clone().unwrap(), scat_out.try_clone().unwrap());
    let (l, port) = Scat::listen_between(scat_in, scat_out);
    drop((hold_in, hold_out));
    let mut c = Scat::connect(port);

    let sent = data.clone();
    let feeding = start(move || feed.write_all(&sent).unwrap());
    assert!(c.read(data.len()) == data);
    feeding.join();

    let mut input = c.stdin.take().unwrap();
    let sent = data.clone();
    let writing = start(move || input.write_all(&sent).unwrap());
    let expected = data.len();
    let drained = start(move || {
        let mut bytes = vec![0; expected];
        drain.read_exact(&mut bytes).unwrap();
        bytes
    });
    assert!(drained.join() == data);
    writing.join();
    assert!(!is_nonblocking(&kept_in) && !is_nonblocking(&kept_out));
    c.end().expect(0, "");
    l.end_by_itself().expect(0, "");
}

#[test]
fn an_input_that_cannot_be_opened_again_does_not_hold_up_the_output() {
    // scat opens a FIFO again, to get a file description of its own. That can fail: the FIFO may
    // belong to another user, or, as here, descriptors may run out. At one of these limits, it is
    // the only call that fails.
    let mut sessions = 0;
    for limit in 4..40 {
        let path = fifo("limit.fifo");
        let writer = File::options().read(true).write(true).open(&path).unwrap();
        let (door, port) = door();
        let peer = start(move || Peer::accept(door.accept().unwrap().0, Options::default()));
        let mut command = std::process::Command::new("sh");
        let script = format!("ulimit -n {limit}; exec \"$0\" 127.0.0.1 {port}");
        command.args(["-c", &script, &scat::program()]);
        command.stdin(File::open(&path).unwrap()).stdout(Stdio::piped());
        let mut scat = Scat::spawn(command);
        if !scat.gets_a_session() {
            let _ = std::net::TcpStream::connect(("127.0.0.1", port));
            assert_ne!(scat.end_by_itself().code, Some(0));
            drop(peer.join());
            continue;
        }
        sessions += 1;
        let mut peer = peer.join().unwrap();
        // SIGCONT does not make scat read an empty input either.
        scat.signal(Signal::CONT);
        scat.signal(Signal::USR1);
        scat.line("received nothing, in");
        peer.send(DATA, b"x").unwrap();
        assert_eq!(scat.read(1), b"x", "{limit} descriptors");
        (&writer).write_all(b"y").unwrap();
        assert_eq!(peer.recv().unwrap(), (DATA, b"y".to_vec()));
        drop(writer);
        peer.finish().unwrap();
        scat.end_by_itself().expect(0, "");
    }
    assert!(sessions > 1, "no limit was high enough");
}

#[test]
fn a_socket_pair_works_as_input_and_output() {
    let data = noise(8, 700_000);
    let (ours, its) = UnixStream::pair().unwrap();
    let (stdin, stdout): (std::os::fd::OwnedFd, std::os::fd::OwnedFd) =
        (its.try_clone().unwrap().into(), its.try_clone().unwrap().into());
    let (l, port) = Scat::listen_between(stdin, stdout);
    let mut c = Scat::connect(port);
    let (mut writer, mut reader) = (ours.try_clone().unwrap(), ours);
    let sent = data.clone();
    let writing = start(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    assert!(c.read(data.len()) == data);
    writing.join();
    let mut input = c.stdin.take().unwrap();
    let sent = data.clone();
    let writing = start(move || input.write_all(&sent).unwrap());
    let reading = start(move || {
        let mut bytes = vec![0; 700_000];
        reader.read_exact(&mut bytes).unwrap();
        (bytes, reader)
    });
    assert!(reading.join().0 == data);
    writing.join();
    assert!(!is_nonblocking(&its));
    c.end().expect(0, "");
    l.end_by_itself().expect(0, "");
}

/// Some containers refuse unknown calls with EPERM.
#[cfg(target_os = "linux")]
#[test]
fn sockets_as_input_and_output_work_where_reads_that_do_not_wait_are_refused() {
    for errno in [libc::EPERM, libc::ENOSYS] {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut command = scat::command(&["-l", "127.0.0.1", "0"]);
        let theirs = std::os::fd::OwnedFd::from(theirs);
        command.stdin(theirs.try_clone().unwrap()).stdout(theirs);
        let calls = [libc::SYS_preadv2, libc::SYS_pwritev2];
        filter::under(&mut command, filter::error(errno), Calls::All(&calls));
        let (listener, port) = Scat::spawn(command).with_port();
        let mut connector = Scat::connect(port);
        connector.write(b"question");
        let mut question = [0; 8];
        (&ours).read_exact(&mut question).unwrap();
        (&ours).write_all(b"answer").unwrap();
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(connector.end().expect(0, "").stdout, b"answer");
        listener.end_by_itself().expect(0, "");
        assert_eq!(&question, b"question");
    }
}

#[test]
fn inherited_descriptors_stay_blocking() {
    // This holds while scat runs, too: the shell and its other children share the descriptors.
    let ((in_reader, mut in_writer), (mut out_reader, out_writer)) =
        (std::io::pipe().unwrap(), std::io::pipe().unwrap());
    let kept = (in_reader.try_clone().unwrap(), out_writer.try_clone().unwrap());
    let (l, port) = Scat::listen_between(in_reader, out_writer);
    let mut c = Scat::connect(port);
    c.write(b"there");
    in_writer.write_all(b"back").unwrap();
    assert_eq!(c.read(4), b"back");
    assert!(readable(&out_reader));
    let mut bytes = [0; 5];
    out_reader.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"there");
    assert!(!is_nonblocking(&kept.0) && !is_nonblocking(&kept.1));
    drop(in_writer);
    c.end().expect(0, "");
    l.end_by_itself().expect(0, "");
    assert!(!is_nonblocking(&kept.0) && !is_nonblocking(&kept.1));
}

#[test]
fn a_descriptor_that_somebody_made_nonblocking_works_too() {
    let data = noise(9, 1_000_000);
    let ((in_reader, mut in_writer), (mut out_reader, out_writer)) =
        (std::io::pipe().unwrap(), std::io::pipe().unwrap());
    for fd in [in_reader.as_fd(), out_writer.as_fd()] {
        rustix::io::ioctl_fionbio(fd, true).unwrap();
    }
    let (l, port) = Scat::listen_between(in_reader, out_writer);
    let mut c = Scat::connect(port);
    let sent = data.clone();
    let writing = start(move || in_writer.write_all(&sent).unwrap());
    assert!(c.read(data.len()) == data);
    writing.join();
    let mut input = c.stdin.take().unwrap();
    let sent = data.clone();
    let writing = start(move || input.write_all(&sent).unwrap());
    let drained = start(move || {
        let mut bytes = Vec::new();
        out_reader.read_to_end(&mut bytes).unwrap();
        bytes
    });
    writing.join();
    c.end().expect(0, "");
    l.end_by_itself().expect(0, "");
    assert!(drained.join() == data);
}

const MIB: usize = 1 << 20;

/// Writes `mib` MiB made from `seed`, and returns their hash.
fn pour(mut to: impl Write, seed: u64, mib: usize) -> [u8; 32] {
    let mut hashes = Vec::new();
    let block = noise(seed, MIB);
    for i in 0..mib {
        // All blocks differ, so an exchange of two shows.
        let mut block = block.clone();
        block[..8].copy_from_slice(&(i as u64).to_be_bytes());
        to.write_all(&block).unwrap();
        hashes.push(peer::hash(&[&block]));
    }
    peer::hash(&[hashes.as_flattened()])
}

/// Reads `mib` MiB, and returns their hash.
fn catch(mut from: impl Read, mib: usize) -> [u8; 32] {
    let mut hashes = Vec::new();
    let mut block = vec![0; MIB];
    for _ in 0..mib {
        from.read_exact(&mut block).unwrap();
        hashes.push(peer::hash(&[&block]));
    }
    assert_eq!(from.read(&mut block).unwrap(), 0);
    peer::hash(&[hashes.as_flattened()])
}

#[test]
fn a_hundred_megabytes_each_way_at_once_arrive_whole_in_little_memory() {
    let (mut l, mut c) = Scat::pair();
    let ((l_in, l_out), (c_in, c_out)) = (
        (l.stdin.take().unwrap(), l.stdout.take().unwrap()),
        (c.stdin.take().unwrap(), c.stdout.take().unwrap()),
    );
    let sums = [
        start(move || catch(l_out, 96)),
        start(move || catch(c_out, 96)),
        start(move || pour(c_in, 10, 96)),
    ];
    // This input stays open, so that both still run when their memory is measured.
    let (back, held) = start(move || {
        let held = l_in;
        (pour(&held, 11, 96), held)
    })
    .join();
    let peaks = [l.peak_kb(), c.peak_kb()];
    drop(held);
    let [at_l, at_c, there] = sums.map(|sum| sum.join());
    assert!(at_l == there && at_c == back);
    c.end_by_itself().expect(0, "");
    l.end_by_itself().expect(0, "");
    assert!(peaks.iter().all(|&kb| kb < MAX_KB), "{peaks:?} kB");
}

/// Limit of a side's peak memory, in kB. (It includes the code, which is larger in a dev build.)
const MAX_KB: u64 = 6_000;

#[test]
fn an_answer_long_after_the_end_of_input_arrives() {
    let (mut asking, port) = Scat::listen();
    let mut answering = Scat::connect(port);
    asking.write(b"a question");
    asking.end_input();
    assert_eq!(answering.read(10), b"a question");
    // Wait for another scat, which runs out of time after 1.5 s.
    Scat::listen_with(&["-w1.5"]).0.end().expect(3, "no session in 1.5 s");
    answering.write(b"the answer");
    answering.end_input();
    assert_eq!(asking.read(10), b"the answer");
    asking.end_by_itself().expect(0, "");
    answering.end_by_itself().expect(0, "");
}

#[test]
fn a_slow_reader_slows_the_writer_and_memory_stays() {
    let (mut l, mut c) = Scat::pair();
    // Nobody reads the listener's output.
    let stdin = c.stdin.take().unwrap();
    rustix::io::ioctl_fionbio(&stdin, true).unwrap();
    let limit = rustix::event::Timespec { tv_sec: 0, tv_nsec: 400_000_000 };
    let block = noise(12, MIB);
    let mut taken = 0;
    // Ends when scat reads nothing for a while: the slow reader has slowed it down.
    loop {
        let mut fds = [rustix::event::PollFd::new(&stdin, rustix::event::PollFlags::OUT)];
        if rustix::event::poll(&mut fds, Some(&limit)).unwrap() == 0 {
            break;
        }
        taken += rustix::io::write(&stdin, &block[taken % MIB..]).unwrap();
        assert!(taken < 64 * MIB, "it takes everything");
    }
    // The other direction is not blocked.
    let back = noise(13, 4 * MIB);
    let mut l_in = l.stdin.take().unwrap();
    let sent = back.clone();
    let writing = start(move || l_in.write_all(&sent).unwrap());
    assert!(c.read(back.len()) == back);
    writing.join();
    let peaks = [l.peak_kb(), c.peak_kb()];
    assert!(peaks.iter().all(|&kb| kb < MAX_KB), "{peaks:?} kB");
    // The rest arrives as soon as the test reads.
    drop(stdin);
    let arrived = l.read(taken);
    assert!(arrived.chunks(MIB).all(|chunk| block.starts_with(chunk)));
    c.end_by_itself().expect(0, "");
    l.end_by_itself().expect(0, "");
}

#[test]
fn two_ends_that_read_nothing_finish_once_they_read() {
    // Far more than all pipes and buffers hold, so each side must send while its output is
    // blocked.
    let (mut l, mut c) = Scat::pair();
    let (at_l, at_c) = (noise(18, 24 * MIB), noise(19, 24 * MIB));
    let (mut l_in, mut c_in) = (l.stdin.take().unwrap(), c.stdin.take().unwrap());
    let (from_l, from_c) = (at_c.clone(), at_l.clone());
    let writing = [
        start(move || l_in.write_all(&from_l).unwrap()),
        start(move || c_in.write_all(&from_c).unwrap()),
    ];
    assert!(l.read(24 * MIB) == at_l);
    assert!(c.read(24 * MIB) == at_c);
    writing.into_iter().for_each(|job| job.join());
    c.end_by_itself().expect(0, "");
    l.end_by_itself().expect(0, "");
}

/// Returns the byte counts that scat prints on SIGUSR1.
fn counters(scat: &mut Scat) -> String {
    scat.signal(Signal::USR1);
    scat.next_line("received").split_once(", in ").unwrap().0.to_owned()
}

#[test]
fn once_the_peer_is_gone_no_input_is_taken_however_long_the_output_blocks() {
    let zero = || File::open("/dev/zero").unwrap();
    let (mut l, port) = Scat::listen_between(zero(), Stdio::piped());
    let mut c = Scat::connect_between(port, zero(), Stdio::piped());
    c.line("they say");
    // Nobody reads either output, so all buffers fill up and nothing moves.
    let (mut before, mut same) = (String::new(), 0);
    while same < 5 {
        let now = counters(&mut c) + &counters(&mut l);
        same = if now == before { same + 1 } else { 0 };
        before = now;
    }
    // The connector dies with unread bytes, which causes a reset; the listener's full buffer hides
    // it.
    drop(c);
    counters(&mut l);
    let after = counters(&mut l);
    assert_eq!(counters(&mut l), after);
    l.end_by_itself().expect(6, "cut off");
}

#[test]
fn a_session_in_crumbs_of_1_to_7_bytes_is_whole() {
    let (mut l, port) = Scat::listen();
    let mut c = Scat::connect(relay(port, Deed::Crumbs));
    let (there, back) = (noise(15, 5000), noise(16, 5000));
    l.write(&back);
    c.write(&there);
    l.end_input();
    c.end_input();
    assert_eq!(l.words(), c.words().mirrored());
    let l = start(|| l.end_by_itself());
    assert!(c.end_by_itself().expect(0, "").stdout == back);
    assert!(l.join().expect(0, "").stdout == there);
}

#[test]
fn a_keystroke_leaves_at_once() {
    let (mut l, mut c) = Scat::pair();
    let mut times = Vec::new();
    for key in 0..100 {
        let before = std::time::Instant::now();
        // With Nagle's algorithm, the second of two keystrokes would wait for an acknowledgement of
        // the first, which usually travels with an answer.
        for half in [0, 100] {
            c.write(&[key + half]);
            assert_eq!(l.read(1), [key + half]);
        }
        l.write(&[key]);
        assert_eq!(c.read(1), [key]);
        times.push(before.elapsed());
    }
    // Nearly all would then take the 40 ms of a delayed acknowledgement. On a busy machine some
    // take as long in any case, but not the quickest quarter.
    times.sort_unstable();
    assert!(times[25] < Duration::from_millis(35), "{times:?}");
    l.end_input();
    c.end().expect(0, "");
    l.end().expect(0, "");
}
