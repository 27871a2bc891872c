//! System calls that a seccomp filter refuses (EPERM) in a session. It lists what no
//! session calls, not what it may call, so that a C library that uses other calls still
//! works.

use libc::{c_long, sock_filter, sock_fprog};
use std::io;

/// Refused with any arguments. (From 424 on, a call has the same number on every
/// architecture; the number is used here if libc does not name it.)
#[rustfmt::skip]
const REFUSED: &[c_long] = &[
    // Sockets: all that a session needs already exist, or are accepted.
    libc::SYS_socket, libc::SYS_socketpair,
    // Other processes: their memory, their descriptors, their scheduling.
    libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev,
    libc::SYS_process_madvise, libc::SYS_kcmp, libc::SYS_pidfd_open, libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal, libc::SYS_setpriority, libc::SYS_sched_setaffinity,
    libc::SYS_sched_setscheduler, libc::SYS_sched_setparam, libc::SYS_sched_setattr,
    libc::SYS_ioprio_set, libc::SYS_migrate_pages, libc::SYS_move_pages,
    libc::SYS_perf_event_open,
    // New processes, and namespaces, in which any user has all capabilities.
    libc::SYS_clone, libc::SYS_clone3, libc::SYS_execve, libc::SYS_execveat,
    libc::SYS_unshare, libc::SYS_setns,
    // Memory and messages that programs share by number instead of descriptor.
    libc::SYS_shmget, libc::SYS_shmat, libc::SYS_shmctl, libc::SYS_semget, libc::SYS_semop,
    libc::SYS_semtimedop, libc::SYS_semctl, libc::SYS_msgget, libc::SYS_msgsnd,
    libc::SYS_msgrcv, libc::SYS_msgctl, libc::SYS_mq_open, libc::SYS_mq_unlink,
    // The kernel's keyrings.
    libc::SYS_add_key, libc::SYS_request_key, libc::SYS_keyctl,
    // Files: operations that Landlock does not cover, and the others for kernels without
    // it.
    libc::SYS_fchmod, libc::SYS_fchmodat, 452 /* fchmodat2 */, libc::SYS_fchown,
    libc::SYS_fchownat, libc::SYS_utimensat, libc::SYS_setxattr, libc::SYS_lsetxattr,
    libc::SYS_fsetxattr, 463 /* setxattrat */, libc::SYS_removexattr, libc::SYS_lremovexattr,
    libc::SYS_fremovexattr, 466 /* removexattrat */, 469 /* file_setattr */,
    libc::SYS_truncate, libc::SYS_unlinkat, libc::SYS_renameat2, libc::SYS_linkat,
    libc::SYS_symlinkat, libc::SYS_mkdirat, libc::SYS_mknodat,
    // Large parts of the kernel, and io_uring, which would bypass this filter.
    libc::SYS_bpf, libc::SYS_userfaultfd, libc::SYS_syslog, libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter, libc::SYS_io_uring_register,
];

/// Older forms of these calls.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const OLDER: &[c_long] = &[
    libc::SYS_fork, libc::SYS_vfork, libc::SYS_unlink, libc::SYS_rmdir, libc::SYS_rename,
    libc::SYS_renameat, libc::SYS_link, libc::SYS_symlink, libc::SYS_mkdir, libc::SYS_mknod,
    libc::SYS_chmod, libc::SYS_chown, libc::SYS_lchown, libc::SYS_utime, libc::SYS_utimes,
    libc::SYS_futimesat, libc::SYS_modify_ldt,
];
#[cfg(target_arch = "aarch64")]
const OLDER: &[c_long] = &[38 /* renameat */];

/// Requests of ioctl(2). The first two type into a terminal, which a shell might then
/// execute.
#[rustfmt::skip]
const IOCTLS: &[u32] = &[
    libc::TIOCSTI as u32, 0x541c /* TIOCLINUX */,
    // Redirecting the console, another line discipline, signals to other processes.
    libc::TIOCCONS as u32, 0x5423 /* TIOCSETD */, 0x8901 /* FIOSETOWN */, 0x8902 /* SIOCSPGRP */,
];

/// Commands of fcntl(2) that send signals to another process.
const FCNTLS: &[u32] = &[libc::F_SETOWN as u32, 10 /* F_SETSIG */, 15 /* F_SETOWN_EX */];

/// Refuses all of these from now on. The caller must have set no_new_privs.
///
/// # Errors
/// The kernel has no filters, or allows none.
pub fn refuse() -> io::Result<()> {
    let mut program = program();
    let program = sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    let set = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the kernel reads the program, which lives until then, and keeps a copy.
    #[allow(unsafe_code)]
    let result = unsafe { libc::syscall(libc::SYS_seccomp, set, 0, &raw const program) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Builds the filter, which compares a call with each refused one in turn. (For a call
/// that is allowed with any arguments, the kernel asks it only once.)
fn program() -> Vec<sock_filter> {
    let mut program = vec![
        load(ARCHITECTURE),
        jump(libc::BPF_JEQ, OWN, 1, 0),
        REFUSE,
        load(NUMBER),
        jump(libc::BPF_JGE, OTHER_NUMBERS, 0, 1),
        REFUSE,
    ];
    for number in REFUSED.iter().chain(OLDER) {
        program.extend([unless(*number as u32, 1), REFUSE]);
    }
    for (call, requests) in [(libc::SYS_ioctl, IOCTLS), (libc::SYS_fcntl, FCNTLS)] {
        program.extend([unless(call as u32, 2 * requests.len() as u8 + 2), load(argument(1))]);
        requests.iter().for_each(|request| program.extend([unless(*request, 1), REFUSE]));
        program.push(ALLOW);
    }
    // The first argument is a process. scat signals itself when it ends by a signal, and
    // passes 0 for its own limits.
    let own = std::process::id();
    for (call, allowed) in [
        (libc::SYS_kill, own),
        (libc::SYS_tgkill, own),
        (libc::SYS_tkill, own),
        (libc::SYS_rt_sigqueueinfo, own),
        (libc::SYS_rt_tgsigqueueinfo, own),
        (libc::SYS_prlimit64, 0),
    ] {
        let others = [load(argument(0)), unless(allowed, 1), ALLOW, REFUSE];
        program.push(unless(call as u32, others.len() as u8));
        program.extend(others);
    }
    program.push(ALLOW);
    program
}

// Constants of seccomp(2) and struct seccomp_data.

/// Offset of the call's number.
const NUMBER: u32 = 0;
/// Offset of the architecture.
const ARCHITECTURE: u32 = 4;

/// Offset of the lower half of an argument; both architectures are little-endian.
const fn argument(at: u32) -> u32 {
    16 + 8 * at
}

/// The architecture that the numbers above belong to.
#[cfg(target_arch = "x86_64")]
const OWN: u32 = 0xc000_003e; // AUDIT_ARCH_X86_64
#[cfg(target_arch = "aarch64")]
const OWN: u32 = 0xc000_00b7; // AUDIT_ARCH_AARCH64
/// From here on, x86-64 has further numbers for the same calls (x32).
const OTHER_NUMBERS: u32 = 0x4000_0000;

const ALLOW: sock_filter = answer(libc::SECCOMP_RET_ALLOW);
const REFUSE: sock_filter = answer(libc::SECCOMP_RET_ERRNO | libc::EPERM as u32);

const fn answer(k: u32) -> sock_filter {
    sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k }
}

/// Loads the four bytes at this offset.
const fn load(k: u32) -> sock_filter {
    sock_filter { code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, jt: 0, jf: 0, k }
}

/// Compares the loaded value with `k`; skips `jt` instructions if true, else `jf`.
const fn jump(comparison: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: (libc::BPF_JMP | libc::BPF_K | comparison) as u16, jt, jf, k }
}

/// Skips `jf` instructions unless the loaded value is `k`.
const fn unless(k: u32, jf: u8) -> sock_filter {
    jump(libc::BPF_JEQ, k, 0, jf)
}
