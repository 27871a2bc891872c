//! The limits of the system: no threads, little memory, small files, descriptors that are
//! closed or of an unusual kind.

use crate::support::peer::{DATA, Options, Peer};
use crate::support::scat::{self, Ended, Place, Scat, closed_port, dial, noise, program};
use crate::support::{ROLES, session_between, skip};
use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};

/// Starts scat by `script`, which ends with `"$@"`, between three pipes.
fn behind(script: &str, args: &[&str]) -> Scat {
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", &program()]).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    Scat::spawn(command)
}

fn run(script: &str, args: &[&str]) -> Ended {
    behind(script, args).end()
}

/// Runs scat as a user who may have no second thread; skips if that is not possible.
fn without_threads(args: &[&str]) -> Option<Ended> {
    // This limit does not apply to root.
    let user = if rustix::process::geteuid().is_root() {
        "setpriv --reuid=54321 --clear-groups prlimit --nproc=1 --"
    } else {
        "prlimit --nproc=1 --"
    };
    let script = format!("exec {user} \"$@\"");
    let tried = Command::new("sh").args(["-c", &script, "sh", &program(), "--version"]).output();
    if !tried.is_ok_and(|tried| tried.status.success()) {
        skip("no setpriv(1) or prlimit(1), so threads were not limited");
        return None;
    }
    Some(run(&script, args))
}

#[test]
fn addresses_and_port_numbers_need_no_thread() {
    let (_taken, closed) = closed_port(1);
    let closed = closed.to_string();
    for args in [&["127.0.0.1", &closed][..], &["-n", "127.0.0.1", &closed]] {
        let Some(ended) = without_threads(args) else { return };
        ended.expect(3, "connection refused");
    }
    for args in [&["-w0.1", "-l", "127.0.0.1", "0"][..], &["-w0.1", "-l", "0"]] {
        let Some(ended) = without_threads(args) else { return };
        ended.expect(3, "no session in 0.1 s");
    }
    let Some(ended) = without_threads(&["-n", "localhost", "9"]) else { return };
    ended.expect(2, "-n allows numeric addresses only");
}

#[test]
fn a_name_is_looked_up_without_a_thread_too() {
    let (_taken, closed) = closed_port(1);
    let closed = closed.to_string();
    let Some(ended) = without_threads(&["-4", "localhost", &closed]) else { return };
    ended.expect(3, "connection refused");
}

#[test]
fn the_environment_has_no_say_in_the_stack_of_a_look_up() {
    let (_taken, closed) = closed_port(1);
    let closed = closed.to_string();
    for size in ["999999999999999", "0", "abc"] {
        let script = format!("RUST_MIN_STACK={size} exec \"$@\"");
        run(&script, &["-4", "localhost", &closed]).expect(3, "connection refused");
    }
}

/// A listener that strangers can reach has the stack that it needs, or does not begin to
/// listen.
#[test]
fn a_small_stack_is_made_larger_or_found_out_before_there_is_a_peer() {
    let soft = "ulimit -Ss 64 && exec \"$@\"";
    let (mut listener, port) = behind(soft, &["-l", "127.0.0.1", "0"]).with_port();
    listener.end_input();
    behind(soft, &["127.0.0.1", &port.to_string()]).end().expect(0, "");
    listener.end().expect(0, "");
    let hard = "ulimit -s 128 && exec \"$@\"";
    let ended = run(hard, &["-l", "127.0.0.1", "0"]);
    let ended = ended.expect(1, "stack: 256 KiB are needed (ulimit -s)");
    assert!(!ended.stderr.contains("listening"), "{}", ended.stderr);
}

/// Starts scat in a root directory that has only the program and its libraries, without /dev
/// and /proc. `redirected` is appended to the command.
fn in_a_bare_folder(root: &Place, redirected: &str, args: &[&str]) -> Option<Scat> {
    let root = root.arg();
    let make = "mkdir -p \"$0/bin\" && cp \"$1\" \"$0/bin/scat\" && \
                for it in $(ldd \"$1\" | grep -o '/[^ ]*'); do \
                mkdir -p \"$0${it%/*}\" && cp \"$it\" \"$0$it\" || exit; done && \
                chroot \"$0\" /bin/scat --version";
    let made = Command::new("sh").args(["-c", make, root, &program()]).output();
    if !made.is_ok_and(|made| made.status.success()) {
        skip("no chroot(8), which is for root, or no ldd(1), so /dev was always there");
        return None;
    }
    let mut command = Command::new("sh");
    let script = format!("exec chroot \"$0\" /bin/scat \"$@\" {redirected}");
    command.args(["-c", &script, root]).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    Some(Scat::spawn(command))
}

#[test]
fn without_dev_and_proc_it_works_too() {
    let root = Place::new("root");
    let (_taken, closed) = closed_port(1);
    let closed = closed.to_string();
    for (redirected, code) in [("<&-", 3), (">&-", 1), ("<&- 2>&-", 3), ("<&- >&- 2>&-", 1)] {
        let Some(scat) = in_a_bare_folder(&root, redirected, &["127.0.0.1", &closed]) else {
            return;
        };
        let ended = scat.end();
        assert_eq!(
            (ended.code, ended.signal),
            (Some(code), None),
            "{redirected}: {}",
            ended.stderr
        );
    }
    let args = ["-d", "-l", "127.0.0.1", "0"];
    let Some(listener) = in_a_bare_folder(&root, "", &args) else { return };
    let (mut listener, port) = listener.with_port();
    let mut connector = Scat::connect(port);
    connector.write(b"there");
    connector.end().expect(0, "");
    assert_eq!(listener.read(5), b"there");
    listener.end().expect(0, "");
    let _ = std::fs::remove_dir_all(&root);
}

#[test]
fn too_little_memory_is_found_out_before_there_is_a_peer() {
    let mut served = 0;
    for kilobytes in (1000..9000).step_by(500) {
        let script = format!("ulimit -v {kilobytes} && exec \"$@\"");
        let mut scat = behind(&script, &["-l", "127.0.0.1", "0"]);
        let Some(line) = scat.says("listening on ") else {
            assert_ne!(scat.end().code, Some(0), "{kilobytes}");
            continue;
        };
        let port = line.rsplit_once(" port ").unwrap().1.parse().unwrap();
        let mut peer = Peer::connect(dial(port), Options::default()).unwrap();
        peer.send(DATA, &[7; 60_000]).unwrap();
        scat.end_input();
        assert!(peer.finish().unwrap().is_empty());
        drop(peer);
        scat.end().expect(0, "");
        served += 1;
    }
    assert!((1..16).contains(&served), "{served}");
}

#[test]
fn a_file_size_limit_is_1_here_and_7_there() {
    let place = scat::file("limited", b"");
    let out = File::options().write(true).open(&place).unwrap();
    let mut command = Command::new("sh");
    // `ulimit -f` counts blocks of 512 bytes or of 1024, depending on the shell.
    command.args(["-c", "ulimit -f 8 && exec \"$@\"", "sh", &program(), "-l", "127.0.0.1", "0"]);
    command.stdin(Stdio::piped()).stdout(out);
    let (listener, port) = Scat::spawn(command).with_port();
    let mut connector = Scat::connect(port);
    connector.write(&[b'x'; 60_000]);
    connector.end_by_itself().expect(7, "the other end could not write its output");
    listener.end_by_itself().expect(1, "write standard output: file too large");
}

#[test]
fn a_key_file_that_cannot_be_written_leaves_nothing_behind() {
    let place = Place::new("key");
    for option in ["--genkey", "--genpsk"] {
        let path = place.as_ref().to_str().unwrap();
        run("ulimit -f 0 && exec \"$@\"", &[option, path]).expect(1, "file too large");
        assert!(!place.as_ref().exists());
    }
}

#[test]
fn a_closed_standard_output_is_1() {
    for args in [&["-w5", "-l", "127.0.0.1", "0"][..], &["-w5", "127.0.0.1", "9"], &["--version"]] {
        let ended = run("exec \"$@\" >&-", args).expect(1, "standard output is closed");
        assert!(!ended.stderr.contains("listening"), "{}", ended.stderr);
    }
}

#[test]
fn a_closed_standard_input_has_ended_and_a_closed_standard_error_says_nothing() {
    let (mut listener, port) = Scat::listen();
    listener.end_input();
    let ended = run("exec \"$@\" <&- 2>&-", &["127.0.0.1", &port.to_string()]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    listener.end().expect(0, "");
}

#[test]
fn a_directory_as_input_is_1_before_anybody_is_met() {
    for args in [&["-w5", "-l", "127.0.0.1", "0"][..], &["-w5", "127.0.0.1", "9"]] {
        let scat = Scat::between(args, File::open("/").unwrap(), Stdio::piped());
        let ended = scat.end_by_itself().expect(1, "read standard input: is a directory");
        assert!(!ended.stderr.contains("listening"), "{}", ended.stderr);
    }
}

/// A block device with the content of a file, until this is dropped.
struct Loop(String);

impl Loop {
    /// Skips with `None` if that is not possible.
    fn new(image: &Place) -> Option<Loop> {
        let command = ["--read-only", "--find", "--show", image.arg()];
        match Command::new("losetup").args(command).output() {
            Ok(made) if made.status.success() => {
                Some(Loop(String::from_utf8(made.stdout).unwrap().trim().to_owned()))
            }
            _ => {
                skip("losetup(8) is missing or may not make a block device, so none was read");
                None
            }
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

#[test]
fn a_block_device_as_input_is_sent_to_its_end_and_holds_up_nothing() {
    // A whole number of sectors.
    let content = noise(5, 5000 * 512);
    let image = scat::file("image", &content);
    let Some(device) = Loop::new(&image) else { return };
    for role in ROLES {
        let input = File::open(&device.0).unwrap();
        let (mut scat, mut peer) = session_between(role, input.into(), Stdio::piped());
        // Nobody reads scat's output, and it keeps receiving.
        peer.send(DATA, b"hello").unwrap();
        assert_eq!(scat.read(5), b"hello");
        assert!(peer.finish().unwrap() == content);
        drop(peer);
        scat.end_by_itself().expect(0, "");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_eventfd_as_input_holds_up_nothing() {
    let counter = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
    let input = counter.try_clone().unwrap();
    let (mut scat, port) =
        Scat::between(&["-l", "127.0.0.1", "0"], input, Stdio::piped()).with_port();
    let mut peer = Peer::connect(dial(port), Options::default()).unwrap();
    for count in [5_u64, 7] {
        peer.send(DATA, b"hello").unwrap();
        assert_eq!(scat.read(5), b"hello");
        File::from(counter.try_clone().unwrap()).write_all(&count.to_ne_bytes()).unwrap();
        assert_eq!(peer.recv().unwrap(), (DATA, count.to_ne_bytes().to_vec()));
    }
}
