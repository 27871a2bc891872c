//! What people and programs see: messages, poller, the ceremony, and the data on a
//! terminal.

pub mod caret;
pub mod ceremony;
pub mod dialogue;
pub mod progress;
pub mod report;
pub mod status;
pub mod stdio;
pub mod waiting;
