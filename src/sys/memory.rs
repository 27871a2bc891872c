//! Keeps secrets in this process's memory from other users of the machine: no process may
//! read the memory, there is no core dump, and secrets are not swapped out.

use super::platform;
use crate::protocol::secret::{self, Place};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::sync::atomic::{AtomicI32, Ordering};

/// Bytes of a page. If the system's pages are larger, one holds several of these.
const PAGE: usize = 4096;
/// Enough for the handshakes of all candidates of a listener at once.
const PAGES: usize = 8;
/// Bytes of the place of one secret.
const PLACE: usize = size_of::<Place>();

/// Bytes of stack that suffice for handshakes and sessions: ten times what they use.
const STACK: u64 = 1 << 20;
/// Bytes of stack that they cannot do without.
const LEAST_STACK: u64 = 1 << 18;

/// Raises the stack limit as far as needed. Call it before there is a peer: if the stack
/// is too small, the process crashes during a handshake.
///
/// # Errors
/// The user's limit is too low.
pub fn ensure_stack() -> io::Result<()> {
    let has = getrlimit(Resource::Stack);
    if has.current.is_none_or(|bytes| bytes >= STACK) {
        return Ok(());
    }
    let current = has.maximum.map_or(STACK, |most| most.min(STACK));
    setrlimit(Resource::Stack, Rlimit { current: Some(current), ..has })?;
    match current < LEAST_STACK {
        true => Err(io::Error::other("256 KiB are needed (ulimit -s)")),
        false => Ok(()),
    }
}

#[derive(Clone)]
#[repr(align(4096))]
struct Page([Place; PAGE / PLACE]);

/// Protects the memory as far as the system allows. Call it before there is any secret.
pub fn protect() {
    platform::hide_memory();
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let pages = vec![Page([[0; PLACE]; PAGE / PLACE]); PAGES].leak();
    keep(pages);
    secret::add_places(pages.iter_mut().flat_map(|page| &mut page.0));
}

/// Returns why secrets may be swapped out, if they may.
pub fn not_locked() -> Option<io::Error> {
    let code = NOT_LOCKED.load(Ordering::Relaxed);
    (code != 0).then(|| io::Error::from_raw_os_error(code))
}

/// The system's error number, or zero.
static NOT_LOCKED: AtomicI32 = AtomicI32::new(0);

/// Keeps `pages` out of swap and core dumps.
fn keep(pages: &mut [Page]) {
    let (at, len) = (pages.as_mut_ptr().cast(), size_of_val(pages));
    // SAFETY: the range is one allocation that is never freed, and what it holds stays as it is.
    #[allow(unsafe_code)]
    let locked = unsafe {
        let _ = platform::KEEP_FROM_DUMPS.map(|advice| rustix::mm::madvise(at, len, advice));
        rustix::mm::mlock(at, len)
    };
    NOT_LOCKED.store(locked.map_or_else(Errno::raw_os_error, |()| 0), Ordering::Relaxed);
}
