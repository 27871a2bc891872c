//! A hole in scat leads nowhere: system calls are made inside of a session as it runs,
//! as code that took it over would make them, and each is refused.

use crate::support::inside::{self, Inside};
use crate::support::scat::{self, Scat};
use crate::support::skip;
use libc::c_long;
use rustix::io::Errno;
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A user's directory, with scat in it. No limit holds root back from starting
/// processes, so the user is somebody else.
struct Home(PathBuf);

impl Home {
    fn new() -> Home {
        let home = std::env::temp_dir().join(format!("scat-hole-{}", std::process::id()));
        fs::create_dir(&home).unwrap();
        fs::set_permissions(&home, Permissions::from_mode(0o777)).unwrap();
        fs::copy(scat::program(), home.join("scat")).unwrap();
        let home = Home(home);
        home.victim();
        home
    }

    /// What is to be opened, run, cut off and removed.
    fn victim(&self) -> PathBuf {
        let victim = self.0.join("victim");
        fs::write(&victim, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&victim, Permissions::from_mode(0o777)).unwrap();
        victim
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        if rustix::process::geteuid().is_root() {
            command.uid(65534).gid(65534);
        }
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    }

    /// Somebody to be attacked.
    fn other(&self) -> Other {
        Other(self.command("cat", &[]).spawn().unwrap())
    }

    fn scat(&self, args: &[&str]) -> Scat {
        Scat::spawn(self.command(self.0.join("scat").to_str().unwrap(), args))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Another process of the same user, to be attacked.
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

/// One thing to try, once in a session and once before.
struct Try {
    name: &'static str,
    number: c_long,
    args: [u64; 4],
    /// The error in a session.
    refused: Errno,
    /// The first Landlock that refuses it; 0 if it takes none.
    abi: i64,
    /// Whether it is tried before as well, where it has to work. Not what would change
    /// the process too much.
    works_before: bool,
}

/// Bytes between the path and the address that it is followed by.
const TO_ADDRESS: usize = 512;

/// `path` is where the path stands, `link` the connection.
fn tries(path: u64, link: u64, other: u64) -> Vec<Try> {
    let new = |name, number, args, refused, abi, works_before| Try {
        name,
        number,
        args,
        refused,
        abi,
        works_before,
    };
    let address = path + TO_ADDRESS as u64;
    let unix = [libc::AF_UNIX as u64, libc::SOCK_STREAM as u64, 0, 0];
    let udp = [libc::AF_INET as u64, libc::SOCK_DGRAM as u64, 0, 0];
    let seize = libc::PTRACE_SEIZE.into();
    vec![
        new("open", libc::SYS_open, [path, 0, 0, 0], Errno::MFILE, 0, true),
        new("a Unix socket", libc::SYS_socket, unix, Errno::MFILE, 0, true),
        new("a UDP socket", libc::SYS_socket, udp, Errno::MFILE, 0, true),
        new("memfd", libc::SYS_memfd_create, [path, 0, 0, 0], Errno::MFILE, 0, true),
        new("dup", libc::SYS_dup, [2, 0, 0, 0], Errno::MFILE, 0, true),
        new("dup2", libc::SYS_dup2, [2, 0, 0, 0], Errno::BADF, 0, false),
        new("fork", libc::SYS_fork, [0; 4], Errno::AGAIN, 0, false),
        new("exec", libc::SYS_execve, [path, 0, 0, 0], Errno::ACCESS, 1, false),
        new("ptrace", libc::SYS_ptrace, [seize, other, 0, 0], Errno::PERM, 1, true),
        new("truncate", libc::SYS_truncate, [path, 0, 0, 0], Errno::ACCESS, 3, true),
        new("unlink", libc::SYS_unlink, [path, 0, 0, 0], Errno::ACCESS, 1, true),
        new("connect", libc::SYS_connect, [link, address, 16, 0], Errno::ACCESS, 4, false),
        new("kill", libc::SYS_kill, [other, 0, 0, 0], Errno::PERM, 6, true),
    ]
}

/// The newest socket among its descriptors.
fn newest_socket(id: u32) -> u64 {
    let fds = fs::read_dir(format!("/proc/{id}/fd")).unwrap();
    let sockets = fds
        .map(|fd| fd.unwrap().path())
        .filter(|fd| fs::read_link(fd).is_ok_and(|to| to.to_str().unwrap().starts_with("socket:")));
    sockets.map(|fd| fd.file_name().unwrap().to_str().unwrap().parse().unwrap()).max().unwrap()
}

#[test]
fn code_inside_of_a_session_can_open_run_reach_and_attack_nothing() {
    let home = Home::new();
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut strings = home.victim().into_os_string().into_encoded_bytes();
    strings.resize(TO_ADDRESS, 0);
    strings.extend((libc::AF_INET as u16).to_ne_bytes());
    strings.extend(target.local_addr().unwrap().port().to_be_bytes());
    strings.extend([127, 0, 0, 1]);
    strings.extend([0; 8]);

    {
        // Without the sandbox it is possible.
        let other = home.other();
        let (listener, _) = home.scat(&["-l", "127.0.0.1", "0"]).with_port();
        let mut inside = match Inside::of(listener.id()) {
            Err(why) => return skip(format_args!("nobody can be traced here: {why}")),
            Ok(inside) => inside,
        };
        let path = inside.put(&strings);
        for it in tries(path, 0, other.id()).iter().filter(|it| it.works_before) {
            let result = inside.call(it.number, it.args);
            assert!(result.is_ok(), "{}: {result:?}", it.name);
        }
        // It traces the other one, which can only end after it.
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
        let mut inside = Inside::of(scat.id()).unwrap();
        let path = inside.put(&strings);
        for it in tries(path, newest_socket(scat.id()), other.id()) {
            if it.abi > abi {
                skip(format_args!("{} takes Landlock ABI {}, not {abi}", it.name, it.abi));
                continue;
            }
            let error = inside.call(it.number, it.args).err();
            let errno = error.as_ref().and_then(Errno::from_io_error);
            assert_eq!(errno, Some(it.refused), "{}", it.name);
        }
    }
    // The session goes on.
    listener.write(b"there");
    assert_eq!(connector.read(5), b"there");
    connector.write(b"and back");
    assert_eq!(listener.read(8), b"and back");
    // No descriptor can be had in the place of one that is closed either.
    let mut inside = Inside::of(listener.id()).unwrap();
    let path = inside.put(&strings);
    inside.call(libc::SYS_close, [0; 4]).unwrap();
    let open = inside.call(libc::SYS_open, [path, 0, 0, 0]);
    assert_eq!(Errno::from_io_error(&open.unwrap_err()), Some(Errno::MFILE));
}
