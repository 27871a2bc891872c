//! A session of the program, from its first byte to its exit status.

mod close;
mod signals;
mod status;
mod stream;
