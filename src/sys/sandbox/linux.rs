//! Landlock, capabilities and refused system calls.

use super::Held;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use super::calls::refuse;
use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, NetPort, RestrictionStatus, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, Scope,
};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};
use rustix::thread::{CapabilitySet, CapabilitySets, SecureComputingMode};

/// The steps that are possible. A filter that the process was started with, such as
/// systemd's SystemCallFilter, may kill it at a call that it does not know.
pub struct Steps {
    landlock: bool,
    refuse: bool,
}

impl Steps {
    /// Finds out which steps are possible.
    pub fn find() -> Self {
        Steps {
            landlock: survives(|| drop(landlock(Some(1)))),
            refuse: survives(|| {
                let _ = rustix::thread::set_no_new_privs(true);
                let _ = refuse();
            }),
        }
    }

    /// Takes the possible steps.
    pub fn take(self, port: Option<u16>, held: &mut Held) {
        match self.landlock.then(|| landlock(port)) {
            Some(Ok(RestrictionStatus {
                landlock: LandlockStatus::Available { effective_abi, .. },
                ..
            })) => {
                let but_for = port.map_or(String::new(), |port| format!(" but for port {port}"));
                held.holds.push(format!("Landlock ABI {}{but_for}", effective_abi as i32));
            }
            _ => held.lacks.push("Landlock"),
        }
        held.note("no new privileges", rustix::thread::set_no_new_privs(true).is_ok());
        // Root could raise its limits again, so drop all capabilities.
        let none = CapabilitySet::empty();
        let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
        held.note("no capabilities", rustix::thread::set_capabilities(None, none).is_ok());
        held.refuses_calls = self.refuse && refuse().is_ok();
        held.note("refused system calls", held.refuses_calls);
    }
}

/// Restricts every right that Landlock has, and grants only connecting to `port`.
fn landlock(port: Option<u16>) -> Result<RestrictionStatus, RulesetError> {
    Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V7))?
        .handle_access(AccessNet::from_all(ABI::V7))?
        .scope(Scope::from_all(ABI::V7))?
        .create()?
        .add_rules(
            port.map(|port| Ok::<_, RulesetError>(NetPort::new(port, AccessNet::ConnectTcp))),
        )?
        .restrict_self()
}

/// The list of calls is for two architectures.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn refuse() -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// Whether a process survives this step. If there is a filter, a child process tries it.
fn survives(step: impl FnOnce()) -> bool {
    match rustix::thread::secure_computing_mode() {
        // No filter is active, or the kernel has none.
        Ok(SecureComputingMode::Disabled) | Err(_) => return true,
        Ok(_) => {}
    }
    let Ok((ours, theirs)) = pipe_with(PipeFlags::CLOEXEC) else {
        return false;
    };
    // SAFETY: there is no other thread whose locks the child could find taken.
    #[allow(unsafe_code)]
    let child = unsafe { libc::fork() };
    if child == 0 {
        step();
        let _ = rustix::io::write(&theirs, b"!");
        // SAFETY: always sound; nothing of the parent's is flushed or freed twice.
        #[allow(unsafe_code)]
        unsafe {
            libc::_exit(0)
        };
    }
    drop(theirs);
    let survived = rustix::io::retry_on_intr(|| rustix::io::read(&ours, &mut [0; 1])) == Ok(1);
    if let Some(child) = Pid::from_raw(child.max(0)) {
        let _ = rustix::io::retry_on_intr(|| waitpid(Some(child), WaitOptions::empty()));
    }
    survived
}
