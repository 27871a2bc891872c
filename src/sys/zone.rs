//! Zones of link-local addresses: the interface after the `%` (RFC 4007).

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

/// Names of the interfaces used so far. They are cached, because asking the system takes
/// a socket, which a session may not make.
static NAMES: Mutex<BTreeMap<u32, String>> = Mutex::new(BTreeMap::new());

/// Returns the number of the interface `zone`, which is a name or a number.
pub fn index(zone: &str) -> Option<u32> {
    let name = CString::new(zone).ok()?;
    // SAFETY: the name ends with a zero byte and is alive.
    #[allow(unsafe_code)]
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    match index {
        0 => zone.parse().ok().filter(|index| ask(*index).is_some()),
        index => Some(index),
    }
}

/// Stores the name of the interface of `address`, if it has one, for [`name`].
pub fn learn(address: SocketAddr) {
    let SocketAddr::V6(v6) = address else { return };
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if v6.scope_id() != 0
        && !names.contains_key(&v6.scope_id())
        && let Some(name) = ask(v6.scope_id())
    {
        names.insert(v6.scope_id(), name);
    }
}

/// Returns the name of the interface with this number, or the number if it is not known.
pub fn name(index: u32) -> String {
    let names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    names.get(&index).cloned().unwrap_or_else(|| index.to_string())
}

fn ask(index: u32) -> Option<String> {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: at most IF_NAMESIZE bytes are written, the last of them zero.
    #[allow(unsafe_code)]
    let found = unsafe { !libc::if_indextoname(index, name.as_mut_ptr().cast()).is_null() };
    let name = found.then(|| CStr::from_bytes_until_nul(&name).ok())??;
    name.to_str().ok().map(str::to_owned)
}
