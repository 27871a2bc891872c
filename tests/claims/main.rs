//! What scat promises, one claim per test. The modules correspond to those of src/. Tests in
//! protocol/ call the library, with few exceptions; all others run the program.

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
