//! The user's terminal.

mod ceremony;
mod screen;
mod stdio;
mod told;

use crate::support::peer::{Peer, Role};

/// Skips a test where there are no terminals.
macro_rules! at_terminals {
    () => {
        if !$crate::support::pty::is_available() {
            return;
        }
    };
}

use at_terminals;

/// The three words that the peer's user reads out.
fn words_of(peer: &Peer) -> String {
    let words = pgp_words::to_words(&peer.sas);
    let at = if peer.role == Role::Listener { 0 } else { 3 };
    words[at..at + 3].join(" ").to_lowercase()
}
