//! The person's terminal.

mod ceremony;
mod screen;
mod stdio;
mod told;

use crate::support::peer::{Peer, Role};

/// Ends a test where there are no terminals; says so.
macro_rules! at_terminals {
    () => {
        if !$crate::support::pty::is_available() {
            return;
        }
    };
}

use at_terminals;

/// The three words that the person at the other end of scat says.
fn words_of(peer: &Peer) -> String {
    let words = pgp_words::to_words(&peer.sas);
    let at = if peer.role == Role::Listener { 0 } else { 3 };
    words[at..at + 3].join(" ").to_lowercase()
}
