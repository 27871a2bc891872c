//! Makes system calls inside another process, as code that took it over would: stops it where
//! it waits, and runs its own `syscall` instruction with other registers. This needs the
//! privilege to trace the process.

use super::scat::LIMIT;
use libc::{c_long, user_regs_struct};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::ptr;
use std::time::Instant;

/// Distance below the stack pointer, in bytes, where nothing is stored: beyond the red zone.
const SCRATCH: u64 = 4096;

/// A process that is held in a system call. Dropping this lets it continue.
pub struct Inside {
    id: u32,
    held: user_regs_struct,
}

impl Inside {
    /// Stops the process `id` where it waits for events.
    pub fn of(id: u32) -> io::Result<Inside> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let inside = Inside::anywhere(id)?;
            let waits = [libc::SYS_epoll_wait, libc::SYS_epoll_pwait];
            if waits.contains(&(inside.held.orig_rax as c_long)) {
                return Ok(inside);
            }
            assert!(Instant::now() < deadline, "it does not wait");
        }
    }

    fn anywhere(id: u32) -> io::Result<Inside> {
        let mut inside = Inside { id, held: NO_REGISTERS };
        inside.trace(libc::PTRACE_SEIZE, ptr::null_mut())?;
        inside.trace(libc::PTRACE_INTERRUPT, ptr::null_mut())?;
        inside.wait();
        inside.held = inside.registers();
        Ok(inside)
    }

    /// Makes the system call `number`, with 0 as fifth and sixth argument. Returns its result or
    /// error.
    pub fn call(&self, number: c_long, args: [u64; 4]) -> Result<u64, io::Error> {
        let mut registers = self.held;
        // Go back to the instruction in which it waits.
        registers.rip -= 2;
        registers.orig_rax = u64::MAX;
        registers.rax = number as u64;
        [registers.rdi, registers.rsi, registers.rdx, registers.r10] = args;
        [registers.r8, registers.r9] = [0; 2];
        self.set_registers(&mut registers);
        self.trace(libc::PTRACE_SINGLESTEP, ptr::null_mut()).unwrap();
        self.wait();
        let registers = self.registers();
        assert_eq!(registers.rip, self.held.rip);
        match registers.rax as i64 {
            error @ -4095..0 => Err(io::Error::from_raw_os_error(-error as i32)),
            result => Ok(result as u64),
        }
    }

    /// Writes `bytes` into its memory, where the next call overwrites them.
    pub fn put(&self, bytes: &[u8]) -> u64 {
        let at = self.held.rsp - SCRATCH;
        let memory = OpenOptions::new().write(true).open(format!("/proc/{}/mem", self.id));
        memory.unwrap().write_all_at(bytes, at).unwrap();
        at
    }

    fn registers(&self) -> user_regs_struct {
        let mut registers = NO_REGISTERS;
        self.trace(libc::PTRACE_GETREGS, &mut registers).unwrap();
        registers
    }

    fn set_registers(&self, registers: &mut user_regs_struct) {
        self.trace(libc::PTRACE_SETREGS, registers).unwrap();
    }

    fn trace(&self, request: u32, registers: *mut user_regs_struct) -> io::Result<()> {
        let nothing = ptr::null_mut::<libc::c_void>();
        // SAFETY: only GETREGS writes, and then `registers` is a whole user_regs_struct.
        #[allow(unsafe_code)]
        let result = unsafe { libc::ptrace(request, self.id as libc::pid_t, nothing, registers) };
        if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits until it stops.
    fn wait(&self) {
        let mut status = 0;
        // SAFETY: `status` is valid for a write.
        #[allow(unsafe_code)]
        let id = unsafe { libc::waitpid(self.id as libc::pid_t, &mut status, libc::__WALL) };
        assert!(id as u32 == self.id && libc::WIFSTOPPED(status), "it ended: {status:#x}");
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let mut held = self.held;
        let _ = self.trace(libc::PTRACE_SETREGS, &mut held);
        let _ = self.trace(libc::PTRACE_DETACH, ptr::null_mut());
    }
}

// SAFETY: all zeros are valid integers.
#[allow(unsafe_code)]
const NO_REGISTERS: user_regs_struct = unsafe { std::mem::zeroed() };

/// This kernel's version of Landlock, if it has any.
pub fn landlock_abi() -> Option<i64> {
    let version = 1;
    // SAFETY: asks for a number; there is no pointer.
    #[allow(unsafe_code)]
    let abi =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<u8>(), 0, version) };
    (abi > 0).then_some(abi)
}
