//! What a session gives up for good, so that a hole in it leads nowhere. It goes on
//! with the descriptors that it has, and whatever is still to be opened has to be
//! opened before.

use rustix::process::{Resource, Rlimit, setrlimit};

/// Enters the sandbox and says what holds, for `-v`. What the system does not have is
/// left out: that never makes a session fail.
///
/// Call it while there is one thread: Landlock and capabilities are a thread's own.
pub fn enter() -> String {
    let mut holds = Vec::new();
    #[cfg(target_os = "linux")]
    linux(&mut holds);
    // Not even one of 0, 1 and 2, closed and opened again: a single socket could reach
    // a desktop's or a container's control socket. (It makes poll(2) fail; epoll and
    // select go on.)
    if setrlimit(Resource::Nofile, NONE).is_ok() {
        holds.push("no new descriptors".to_owned());
    }
    // Root may all the same.
    if setrlimit(Resource::Nproc, NONE).is_ok() && !rustix::process::geteuid().is_root() {
        holds.push("no new processes".to_owned());
    }
    holds.join(", ")
}

const NONE: Rlimit = Rlimit { current: Some(0), maximum: Some(0) };

#[cfg(target_os = "linux")]
fn linux(holds: &mut Vec<String>) {
    use landlock::{
        ABI, Access, AccessFs, AccessNet, LandlockStatus, Ruleset, RulesetAttr, RulesetError, Scope,
    };
    use rustix::thread::{CapabilitySet, CapabilitySets};

    // Every right that there is to grant, and no rule that grants one.
    let restrict = || -> Result<_, RulesetError> {
        Ruleset::default()
            .handle_access(AccessFs::from_all(ABI::V7))?
            .handle_access(AccessNet::from_all(ABI::V7))?
            .scope(Scope::from_all(ABI::V7))?
            .create()?
            .restrict_self()
    };
    if let Ok(status) = restrict() {
        if let LandlockStatus::Available { effective_abi, .. } = status.landlock {
            holds.push(format!("Landlock ABI {}", effective_abi as i32));
        }
        if status.no_new_privs {
            holds.push("no new privileges".to_owned());
        }
    }
    // Root could raise its limits again.
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    if rustix::thread::set_capabilities(None, none).is_ok() {
        holds.push("no capabilities".to_owned());
    }
}
