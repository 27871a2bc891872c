//! Everything about the person's terminal, and standard input and output.

pub mod confirm;
pub mod stdio;
