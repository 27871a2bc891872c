//! What keeps a thief on the same machine from this process's secrets: nobody may
//! look into its memory, it leaves no core file, and secrets stay out of the swap.

use super::platform;
use crate::protocol::secret::{self, Place};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::sync::atomic::{AtomicI32, Ordering};

/// Bytes of a page; where they are larger, one holds several of ours.
const PAGE: usize = 4096;
/// Enough for the handshakes of all of a listener's candidates at once.
const PAGES: usize = 8;
/// Bytes of one secret's place.
const PLACE: usize = size_of::<Place>();

/// Bytes of stack that handshakes and sessions are safe with: ten times what they take.
const STACK: u64 = 1 << 20;
/// And what they cannot do without.
const LEAST_STACK: u64 = 1 << 18;

/// Lets the stack grow as far as it has to. To be called before there is a peer: one that
/// is too small ends the process in the midst of a handshake.
///
/// # Errors
/// The user may not have that much.
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

/// To be called before there is any secret. What the system refuses is left out.
pub fn protect() {
    platform::hide_memory();
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let pages = vec![Page([[0; PLACE]; PAGE / PLACE]); PAGES].leak();
    keep(pages);
    secret::add_places(pages.iter_mut().flat_map(|page| &mut page.0));
}

/// Why secrets are not kept out of the swap, if they are not.
pub fn not_locked() -> Option<io::Error> {
    let code = NOT_LOCKED.load(Ordering::Relaxed);
    (code != 0).then(|| io::Error::from_raw_os_error(code))
}

/// The system's error number.
static NOT_LOCKED: AtomicI32 = AtomicI32::new(0);

/// Keeps `pages` out of the swap and of copies of the memory that root makes.
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
