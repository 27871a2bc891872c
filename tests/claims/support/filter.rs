//! Starts a program under a system call filter (seccomp(2)), as service managers and containers
//! do. A filter also makes calls fail that hardly fail otherwise.

use libc::{c_long, sock_filter, sock_fprog};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Ends the process.
pub const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;

/// Makes the call fail with this error; 0 makes it return 0.
pub const fn error(errno: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno as u32
}

/// The system calls that a filter answers.
#[derive(Clone, Copy)]
pub enum Calls<'a> {
    /// All of these.
    All(&'a [c_long]),
    /// This call, if its first argument has this value.
    With(c_long, u32),
}

/// Makes `command` start under a filter with this answer to these calls; others are allowed.
pub fn under(command: &mut Command, answer: u32, calls: Calls<'_>) {
    let instruction = |code: u32, jf, k| sock_filter { code: code as u16, jt: 0, jf, k };
    let load = |at| instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, at);
    let end = |k| instruction(libc::BPF_RET | libc::BPF_K, 0, k);
    // Skips `jf` instructions unless `k` was loaded.
    let unless = |k, jf| instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, jf, k);
    let mut program = vec![load(0)];
    match calls {
        Calls::With(call, value) => {
            program.extend([unless(call as u32, 3), load(16), unless(value, 1), end(answer)]);
        }
        Calls::All(calls) => {
            for call in calls {
                program.extend([unless(*call as u32, 1), end(answer)]);
            }
        }
    }
    program.push(end(libc::SECCOMP_RET_ALLOW));
    let install = move || {
        let program = sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
        // SAFETY: the program lives until the kernel has copied it.
        #[allow(unsafe_code)]
        let result = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: it makes two system calls and allocates nothing.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(install);
    }
}
