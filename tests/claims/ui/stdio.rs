//! Terminals as standard input and standard error.

use crate::support::pty::{self, Terminal};
use crate::support::scat::{self, Scat};
use rustix::process::Signal;
use std::process::Stdio;

/// A session whose connector reads a terminal that is not its controlling one, so it gets no
/// SIGHUP when that hangs up. One line has been sent.
fn typed_at() -> (Terminal, Scat, Scat) {
    let (mut listener, port) = Scat::listen();
    let mut terminal = Terminal::new();
    let args = ["--no-confirm", "127.0.0.1", &port.to_string()];
    let mut connector = Scat::between(&args, terminal.slave(), Stdio::piped());
    connector.line("they say");
    terminal.enter("hello");
    assert_eq!(listener.read(6), b"hello\n");
    (terminal, connector, listener)
}

#[test]
fn an_input_terminal_that_controls_nobody_is_read() {
    let (mut terminal, connector, listener) = typed_at();
    terminal.keys("\u{4}");
    listener.end().expect(0, "");
    connector.end_by_itself().expect(0, "");
}

#[test]
fn an_input_terminal_that_hangs_up_is_no_end_of_input() {
    let (terminal, connector, listener) = typed_at();
    terminal.hang_up();
    listener.end().expect(6, "was interrupted");
    connector.end_by_itself().expect(6, "the terminal was closed");
}

/// The user closes the window of a chat, with and without SIGHUP.
#[test]
fn a_window_that_is_closed_interrupts_a_chat() {
    if !pty::is_available() {
        return;
    }
    for ignored in ["", "trap '' HUP; "] {
        let mut window = Terminal::new();
        let script = format!("{ignored} exec \"$@\" <\"$0\" >\"$0\"");
        let args = ["-l", "--no-confirm", "127.0.0.1", "0"];
        let (chat, port) = Scat::spawn(window.shell(&script, &args)).with_port();
        let mut other = Scat::connect(port);
        other.write(b"hello\n");
        window.wait_for("hello");
        window.hang_up();
        other.end_by_itself().expect(6, "was interrupted");
        let chat = chat.end_by_itself();
        // scat may see the end of the terminal before the signal.
        if chat.signal != Some(Signal::HUP.as_raw()) || !ignored.is_empty() {
            chat.expect(6, "the terminal was closed");
        }
    }
}

#[test]
fn a_message_from_the_background_does_not_stop_it() {
    if !pty::is_available() {
        return;
    }
    let mut terminal = Terminal::new();
    let Some(shell) = terminal.bash() else { return };
    terminal.wait_for("$ ");
    // pv sets this mode, too.
    terminal.enter("stty tostop");
    terminal.enter(&format!("{} -l 127.0.0.1 0 </dev/null >/dev/null &", scat::program()));
    terminal.wait_for("listening on ");
    terminal.enter("kill %1; wait %1; echo it was $?");
    terminal.wait_for("it was 143");
    terminal.enter("exit");
    shell.end_by_itself();
}
