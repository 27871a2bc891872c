//! The sandbox holds against code that takes over a session: the tests make system calls from
//! inside a running session, as such code would, and each call is refused.

use crate::support::filter::{self, Calls};
use crate::support::inside::{self, Inside};
use crate::support::scat::{self, Scat};
use crate::support::skip;
use libc::c_long;
use rustix::io::Errno;
use std::fs::{self, Permissions};
use std::io::{self, Read};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A user's directory, with scat in it.
struct Home {
    path: PathBuf,
    /// Another user than that of the tests, if any. (Root would pass every limit.)
    user: Option<u32>,
}

impl Home {
    fn new(user: Option<u32>) -> Home {
        let name = format!("scat-hole-{}-{user:?}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        write("cp -p \"$1\" \"$0\"", &path.join("scat"));
        let home = Home { path, user };
        home.victim();
        home
    }

    /// The file that the calls open, run, truncate and remove.
    fn victim(&self) -> PathBuf {
        let victim = self.path.join("victim");
        write("echo '#!/bin/sh' >\"$0\"", &victim);
        fs::set_permissions(&victim, Permissions::from_mode(0o777)).unwrap();
        std::os::unix::fs::chown(&victim, self.user, None).unwrap();
        victim
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    }

    /// Starts the process to attack.
    fn other(&self) -> Other {
        Other(self.command("cat", &[]).spawn().unwrap())
    }

    fn scat(&self, args: &[&str]) -> Scat {
        Scat::spawn(self.command(self.path.join("scat").to_str().unwrap(), args))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Lets a shell write a file that is to be run: `$0`, and scat is `$1`. A file that this process
/// has open could still be open, and not run, in a child that another test is starting.
fn write(script: &str, file: &Path) {
    let mut shell = Command::new("sh");
    assert!(shell.args(["-c", script]).arg(file).arg(scat::program()).status().unwrap().success());
}

/// Another process of the same user, as the target of attacks.
struct Other(Child);

impl Other {
    fn id(&self) -> u64 {
        self.0.id().into()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One system call, tried once before a session and once in it.
struct Try {
    name: &'static str,
    number: c_long,
    args: [u64; 4],
    /// The error in a session.
    refused: Errno,
    /// The first version of Landlock that refuses it; 0 if none is needed.
    abi: i64,
    before: Before,
}

/// The result before the session.
#[derive(PartialEq)]
enum Before {
    /// Succeeds.
    Works,
    /// Fails, but for another reason.
    Fails(Errno),
    /// Not tried: it would change the process too much, or not every machine allows it.
    Untried,
}

/// Offset of the socket address behind the path.
const TO_ADDRESS: usize = 512;
/// Offset of a block of zeros behind the socket address.
const TO_ZEROES: usize = 16;
/// Bit that marks a call as one of the x32 ABI.
const X32: c_long = 0x4000_0000;

/// `path` is the address of the path in memory, `link` the connection's descriptor.
#[rustfmt::skip]
fn tries(path: u64, link: u64, other: u64) -> Vec<Try> {
    use Before::{Fails, Untried, Works};
    let new = |name, number, args, refused, abi, before| Try { name, number, args, refused, abi, before };
    // Calls that the filter refuses.
    let call = |name, number, args, before| new(name, number, args, Errno::PERM, 0, before);
    let address = path + TO_ADDRESS as u64;
    let zeroes = address + TO_ZEROES as u64;
    let unix = [libc::AF_UNIX as u64, libc::SOCK_STREAM as u64, 0, 0];
    let udp = [libc::AF_INET as u64, libc::SOCK_DGRAM as u64, 0, 0];
    let user_keys = libc::KEY_SPEC_USER_KEYRING as u64;
    let acl = [path, zeroes, zeroes, 1];
    vec![
        new("open", libc::SYS_open, [path, 0, 0, 0], Errno::MFILE, 0, Works),
        call("a Unix socket", libc::SYS_socket, unix, Works),
        call("a UDP socket", libc::SYS_socket, udp, Works),
        new("memfd", libc::SYS_memfd_create, [path, 0, 0, 0], Errno::MFILE, 0, Works),
        new("dup", libc::SYS_dup, [2, 0, 0, 0], Errno::MFILE, 0, Works),
        new("dup2", libc::SYS_dup2, [2, 0, 0, 0], Errno::BADF, 0, Untried),
        new("connect", libc::SYS_connect, [link, address, 16, 0], Errno::ACCESS, 4, Untried),
        call("fork", libc::SYS_fork, [0; 4], Untried),
        call("clone", libc::SYS_clone, [libc::SIGCHLD as u64, 0, 0, 0], Untried),
        call("clone3", libc::SYS_clone3, [zeroes, 0, 0, 0], Fails(Errno::INVAL)),
        call("exec", libc::SYS_execve, [path, 0, 0, 0], Untried),
        call("execveat", libc::SYS_execveat, [0, path, 0, 0], Untried),
        call("ptrace", libc::SYS_ptrace, [libc::PTRACE_SEIZE.into(), other, 0, 0], Works),
        call("another's memory", libc::SYS_process_vm_readv, [other, zeroes, 0, zeroes], Works),
        call("another's limits", libc::SYS_prlimit64, [other, 7, 0, zeroes], Works),
        call("another's priority", libc::SYS_setpriority, [0, other, 19, 0], Works),
        call("another's processor", libc::SYS_sched_setaffinity, [other, 0, 0, 0], Untried),
        call("kill", libc::SYS_kill, [other, 0, 0, 0], Works),
        call("tgkill", libc::SYS_tgkill, [other, other, 0, 0], Works),
        call("a signal at input", libc::SYS_fcntl, [0, libc::F_SETOWN as u64, other, 0], Works),
        call("truncate", libc::SYS_truncate, [path, 0, 0, 0], Works),
        call("mode", libc::SYS_chmod, [path, 0o777, 0, 0], Works),
        call("times", libc::SYS_utimensat, [libc::AT_FDCWD as u64, path, 0, 0], Works),
        call("an ACL", libc::SYS_setxattr, acl, Untried),
        call("an ACL by a descriptor", libc::SYS_fsetxattr, [1, zeroes, zeroes, 1], Untried),
        call("a newer number for it", 463, [0; 4], Untried),
        call("mkdir", libc::SYS_mkdir, [path, 0, 0, 0], Fails(Errno::EXIST)),
        call("unlink", libc::SYS_unlink, [path, 0, 0, 0], Works),
        call("typing", libc::SYS_ioctl, [0, libc::TIOCSTI, path, 0], Fails(Errno::NOTTY)),
        call("pasting", libc::SYS_ioctl, [0, 0x541c, path, 0], Fails(Errno::NOTTY)),
        // The kernel looks only at the lower half of a request.
        call("typing, at length", libc::SYS_ioctl, [0, libc::TIOCSTI | 1 << 32, path, 0], Fails(Errno::NOTTY)),
        call("shared memory", libc::SYS_shmget, [0, 4096, 0o600, 0], Works),
        call("another's shared memory", libc::SYS_shmat, [0, 0, 0, 0], Untried),
        call("messages", libc::SYS_msgget, [0, 0o600, 0, 0], Works),
        call("semaphores", libc::SYS_semget, [0, 1, 0o600, 0], Works),
        call("a message queue", libc::SYS_mq_unlink, [zeroes, 0, 0, 0], Untried),
        call("keys", libc::SYS_keyctl, [0, user_keys, 0, 0], Untried),
        call("a key", libc::SYS_add_key, [zeroes, zeroes, zeroes, 0], Untried),
        call("a user namespace", libc::SYS_unshare, [libc::CLONE_NEWUSER as u64, 0, 0, 0], Untried),
        call("io_uring", libc::SYS_io_uring_setup, [1, zeroes, 0, 0], Untried),
        call("bpf", libc::SYS_bpf, [0, zeroes, 0, 0], Untried),
        call("the kernel's log", libc::SYS_syslog, [3, zeroes, 0, 0], Untried),
        call("another number for it", libc::SYS_unshare | X32, [0; 4], Fails(Errno::NOSYS)),
    ]
}

/// The newest socket among the descriptors of process `id`.
fn newest_socket(id: u32) -> u64 {
    let fds = fs::read_dir(format!("/proc/{id}/fd")).unwrap();
    let sockets = fds
        .map(|fd| fd.unwrap().path())
        .filter(|fd| fs::read_link(fd).is_ok_and(|to| to.to_str().unwrap().starts_with("socket:")));
    sockets.map(|fd| fd.file_name().unwrap().to_str().unwrap().parse().unwrap()).max().unwrap()
}

#[test]
fn code_inside_of_a_session_can_open_run_reach_and_attack_nothing() {
    let users: &[_] =
        if rustix::process::geteuid().is_root() { &[Some(65534), None] } else { &[None] };
    users.iter().for_each(|user| attacks_nothing(&Home::new(*user)));
}

fn attacks_nothing(home: &Home) {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut strings = home.victim().into_os_string().into_encoded_bytes();
    strings.resize(TO_ADDRESS, 0);
    strings.extend((libc::AF_INET as u16).to_ne_bytes());
    strings.extend(target.local_addr().unwrap().port().to_be_bytes());
    strings.extend([127, 0, 0, 1]);
    strings.extend([0; 512]);

    {
        // The same attack works without the sandbox.
        let other = home.other();
        let (listener, _) = home.scat(&["-l", "127.0.0.1", "0"]).with_port();
        let inside = match Inside::of(listener.id()) {
            Err(err) => return skip(format_args!("nobody can be traced here: {err}")),
            Ok(inside) => inside,
        };
        let path = inside.put(&strings);
        for it in tries(path, 0, other.id()).iter().filter(|it| it.before != Before::Untried) {
            let result = inside.call(it.number, it.args);
            match it.before {
                Before::Fails(errno) => assert_eq!(errno_of(&result), Some(errno), "{}", it.name),
                _ => assert!(result.is_ok(), "{}: {result:?}", it.name),
            }
            if let Some(remove) = remover(it.number) {
                inside.call(remove, [result.unwrap(), 0, 0, 0]).unwrap();
            }
        }
        // scat traces `other`, which therefore cannot end first.
        drop((inside, listener, other));
    }

    home.victim();
    let other = home.other();
    let (mut listener, port) = home.scat(&["-l", "127.0.0.1", "0"]).with_port();
    let abi = inside::landlock_abi().unwrap_or(0);
    let mut connector = home.scat(&["127.0.0.1", &port.to_string()]);
    connector.words();
    listener.words();
    for scat in [&mut listener, &mut connector] {
        let inside = Inside::of(scat.id()).unwrap();
        let path = inside.put(&strings);
        for it in tries(path, newest_socket(scat.id()), other.id()) {
            if it.abi > abi {
                skip(format_args!("{} takes Landlock ABI {}, not {abi}", it.name, it.abi));
                continue;
            }
            let result = inside.call(it.number, it.args);
            assert_eq!(errno_of(&result), Some(it.refused), "{}", it.name);
        }
        // scat may signal itself: it ends by its own signal.
        inside.call(libc::SYS_kill, [scat.id().into(), 0, 0, 0]).unwrap();
    }
    // The session goes on.
    listener.write(b"there");
    assert_eq!(connector.read(5), b"there");
    connector.write(b"and back");
    assert_eq!(listener.read(8), b"and back");
    // A closed descriptor cannot be replaced either.
    let inside = Inside::of(listener.id()).unwrap();
    let path = inside.put(&strings);
    inside.call(libc::SYS_close, [0; 4]).unwrap();
    assert_eq!(errno_of(&inside.call(libc::SYS_open, [path, 0, 0, 0])), Some(Errno::MFILE));
}

fn errno_of(result: &io::Result<u64>) -> Option<Errno> {
    result.as_ref().err().and_then(Errno::from_io_error)
}

/// The call that removes what `number` has made: shmctl and the like, with IPC_RMID, 0.
fn remover(number: c_long) -> Option<c_long> {
    match number {
        libc::SYS_shmget => Some(libc::SYS_shmctl),
        libc::SYS_msgget => Some(libc::SYS_msgctl),
        libc::SYS_semget => Some(libc::SYS_semctl),
        _ => None,
    }
}

#[test]
fn every_session_runs_in_the_sandbox_whatever_it_prints() {
    for options in [&[][..], &["-v"]] {
        let (mut listener, port) = Scat::listen_with(options);
        let mut connector = Scat::connect_with(options, port);
        connector.words();
        listener.words();
        for scat in [&listener, &connector] {
            let proc = |file| fs::read_to_string(format!("/proc/{}/{file}", scat.id())).unwrap();
            let (status, limits) = (proc("status"), proc("limits"));
            for holds in ["NoNewPrivs:\t1\n", "Seccomp:\t2\n", "CapPrm:\t0000000000000000\n"] {
                assert!(status.contains(holds), "{options:?}: no {holds:?} in {status}");
            }
            let limit = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
            assert!(
                limit.split_whitespace().skip(3).eq(["0", "0", "files"]),
                "{options:?}: {limit}"
            );
        }
    }
}

/// `-v` lists the protections, and nothing as missing if the kernel has them all.
#[test]
fn v_lists_the_protections_of_the_sandbox() {
    let (mut listener, port) = Scat::listen_with(&["-v"]);
    let connector = Scat::connect(port);
    let line = listener.line("scat: sandbox: ");
    let landlock = match inside::landlock_abi() {
        Some(abi) => format!("Landlock ABI {}, no new privileges", abi.min(7)),
        None => "no new privileges".to_owned(),
    };
    assert!(line.starts_with(&format!("scat: sandbox: {landlock}, no capabilities, ")), "{line}");
    assert!(line.contains("refused system calls, no new descriptors, no new processes"), "{line}");
    assert_eq!(line.contains("not available"), inside::landlock_abi().is_none(), "{line}");
    drop(connector);
}

#[test]
fn unused_inherited_descriptors_are_closed_before_there_is_a_peer() {
    let (mut reader, writer) = io::pipe().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "exec 9>&0 8<. </dev/null && exec \"$@\"", "sh", &scat::program()]);
    command.args(["-l", "127.0.0.1", "0"]).stdin(writer).stdout(Stdio::null());
    let (listener, _) = Scat::spawn(command).with_port();
    // scat still listens, and has closed the last writing end of the pipe.
    assert!(scat::readable(&reader));
    assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
    drop(listener);
}

/// Sends bytes both ways and ends both well; the listener prints `said` meanwhile.
fn works((mut listener, port): (Scat, u16), said: &str) {
    let mut connector = Scat::connect(port);
    listener.write(b"there");
    connector.write(b"back");
    listener.end_input();
    connector.end_input();
    assert_eq!(connector.end().expect(0, "").stdout, b"there");
    assert_eq!(listener.end().expect(0, said).stdout, b"back");
}

/// A service manager's SystemCallFilter that lacks the calls of the sandbox.
#[test]
fn a_filter_that_kills_at_the_sandbox_calls_ends_no_session() {
    const LANDLOCK: [c_long; 3] = [444, 445, 446];
    const BOTH: [c_long; 4] = [444, 445, 446, libc::SYS_seccomp];
    for (answer, calls, missing) in [
        (filter::KILL, &LANDLOCK[..], "not available: Landlock"),
        (filter::KILL, &BOTH, "not available: Landlock, refused system calls"),
        (filter::error(libc::EPERM), &BOTH, "not available: Landlock, refused system calls"),
    ] {
        let mut command = scat::command(&["-v", "-l", "127.0.0.1", "0"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        filter::under(&mut command, answer, Calls::All(calls));
        works(Scat::spawn(command).with_port(), missing);
    }
}
