//! A session of the program, from its first byte to its exit status.

mod close;
mod fakes;
mod signals;
mod status;
mod stream;
