//! What scat promises, one claim a test. A module stands for a room of src/:
//! below protocol/ the library is called, with few exceptions; everywhere else
//! the program runs.

mod cli;
mod completions;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod hole;
mod keys;
mod layout;
mod limits;
#[cfg(target_os = "linux")]
mod memory;
mod messages;
mod mistakes;
mod net;
mod pages;
mod policy;
mod protocol;
mod report;
mod run;
mod status;
mod support;
mod ui;
