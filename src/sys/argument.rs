//! Arguments of a program: bytes that need not be text.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Splits `argument` before its byte `at`.
///
/// # Panics
/// If it has fewer bytes than `at`.
pub fn split(argument: &OsStr, at: usize) -> (&OsStr, &OsStr) {
    let (before, behind) = argument.as_bytes().split_at(at);
    (OsStr::from_bytes(before), OsStr::from_bytes(behind))
}
