//! From addresses to one established peer, and what can go wrong on the way.

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
