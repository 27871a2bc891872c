//! A thief on the same machine: another process of the same user cannot read scat's memory,
//! and scat leaves no core file with keys in it.

use crate::support::scat::{self, Ending, Place, Scat};
use crate::support::skip;
use rustix::process::{Pid, Signal};
use rustix::thread::CapabilitySet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

/// Runs `job`, and what it starts, without these capabilities, even as root.
fn without(dropped: CapabilitySet, job: impl FnOnce() + Send) {
    let unprivileged = || {
        let mut sets = rustix::thread::capabilities(None).unwrap();
        if sets.effective.contains(dropped) {
            rustix::thread::remove_capability_from_bounding_set(dropped).unwrap();
        }
        sets.effective.remove(dropped);
        sets.permitted.remove(dropped);
        sets.inheritable.remove(dropped);
        rustix::thread::set_capabilities(None, sets).unwrap();
        job();
    };
    // Capabilities belong to a thread.
    std::thread::scope(|scope| scope.spawn(unprivileged).join().unwrap());
}

/// Reads a byte of the process's memory, as a debugger would.
fn look_into(id: u32) -> Result<(), ErrorKind> {
    for file in ["mem", "environ", "maps"] {
        let path = format!("/proc/{id}/{file}");
        File::open(path).map_err(|err| err.kind())?;
    }
    Ok(())
}

/// Starts a process that does not protect its memory.
fn cat() -> Ending {
    let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // Once it has answered, exec has replaced the test program by cat.
    cat.stdin.as_mut().unwrap().write_all(b"?").unwrap();
    cat.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    Ending(cat)
}

#[test]
fn another_process_of_the_same_user_cannot_look_into_it() {
    without(CapabilitySet::SYS_PTRACE, || {
        let (listener, _) = Scat::listen();
        let cat = cat();
        assert_eq!(look_into(cat.0.id()), Ok(()), "nobody may look into anything here");
        assert_eq!(look_into(listener.id()), Err(ErrorKind::PermissionDenied));
    });
}

/// Whether `program`, if it is allowed to, leaves a core file at SIGQUIT. The program writes a
/// line and then waits for input.
fn leaves_core(program: &str, args: &[&str]) -> bool {
    scat::handle_ignored_signals();
    let place = Place::new("cores");
    fs::create_dir(&place).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -c unlimited && exec \"$0\" \"$@\" 2>&1", program]).args(args);
    command.current_dir(&place).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = Ending(command.spawn().unwrap());
    child.0.stdin.as_mut().unwrap().write_all(b"?\n").unwrap();
    child.0.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    rustix::process::kill_process(Pid::from_child(&child.0), Signal::QUIT).unwrap();
    let status = child.0.wait().unwrap();
    assert_eq!(status.signal(), Some(Signal::QUIT.as_raw()));
    fs::remove_dir_all(&place).unwrap();
    status.core_dumped()
}

#[test]
fn it_leaves_no_core_file() {
    if !leaves_core("cat", &[]) {
        return skip("nothing leaves a core file here");
    }
    assert!(!leaves_core(&scat::program(), &["-l", "127.0.0.1", "0"]));
}

/// The words that follow `what` on its line of /proc/`id`/`file`.
fn after(id: u32, file: &str, what: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{id}/{file}")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.split_whitespace().map(str::to_owned).collect()
}

/// A listener and a connector that have a session.
fn session() -> (Scat, Scat) {
    let (mut listener, mut connector) = Scat::pair();
    connector.words();
    listener.words();
    (listener, connector)
}

#[test]
fn a_session_has_given_up_what_it_does_not_need() {
    let (listener, connector) = session();
    for id in [listener.id(), connector.id()] {
        assert_eq!(after(id, "status", "NoNewPrivs:"), ["1"]);
        assert_eq!(after(id, "status", "CapPrm:"), ["0000000000000000"]);
        assert_eq!(after(id, "limits", "Max open files")[..2], ["0", "0"]);
        assert_eq!(after(id, "limits", "Max processes")[..2], ["0", "0"]);
    }
}

#[test]
fn keys_that_may_be_swapped_out_are_told_under_v() {
    without(CapabilitySet::IPC_LOCK, || {
        for (option, is_told) in [("-v", true), ("-n", false)] {
            let mut command = Command::new("sh");
            command.args(["-c", "ulimit -l 0 && exec \"$@\" 127.0.0.1 1", "sh"]);
            command.args([&scat::program(), option]).stdin(Stdio::null());
            let ended = Scat::spawn(command).end().expect(3, "");
            let told = ended.stderr.contains("keys are not kept out of the swap: ");
            assert_eq!(told, is_told, "{}", ended.stderr);
        }
    });
}
