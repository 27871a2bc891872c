//! Authentication of the other end: keys as text, and the policy.

pub mod error;
pub mod keys;
pub mod policy;
