//! Everything about the person's side: standard input and output, the terminal,
//! and the ceremony in which a person accepts the peer.

pub mod caret;
pub mod confirm;
pub mod stdio;
pub mod tty;
