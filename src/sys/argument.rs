//! Arguments of a program, which are bytes and need not be text.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// `argument` before and behind its byte `at`.
///
/// # Panics
/// If it has fewer bytes than that.
pub fn split(argument: &OsStr, at: usize) -> (&OsStr, &OsStr) {
    let (before, behind) = argument.as_bytes().split_at(at);
    (OsStr::from_bytes(before), OsStr::from_bytes(behind))
}
