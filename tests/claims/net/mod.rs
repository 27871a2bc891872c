//! From addresses to one established peer, and all that can fail before that.

mod connect;
mod dial;
mod inherited;
mod listen;
#[cfg(target_os = "linux")]
mod load;
pub mod reconnect;
#[cfg(all(target_os = "linux", not(feature = "portable")))]
mod vanish;
mod zones;
