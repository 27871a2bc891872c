//! What users and programs see: messages, the comparison of words, and data on a
//! terminal.

pub mod caret;
pub mod ceremony;
pub mod dialogue;
pub mod progress;
pub mod report;
pub mod status;
pub mod stdio;
pub mod waiting;
