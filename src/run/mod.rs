//! One session, from the options to its end.

pub mod key_file;
pub mod pipe;
pub mod verification;
