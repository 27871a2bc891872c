//! Terminals as standard input.

mod pty;
mod scat;

use pty::Terminal;
use scat::Scat;
use std::process::Stdio;

#[test]
fn an_input_terminal_that_controls_nobody_is_read() {
    let (mut listener, port) = Scat::listen();
    let mut terminal = Terminal::new();
    let port = port.to_string();
    let mut connector = Scat::between(&["127.0.0.1", &port], terminal.slave(), Stdio::piped());
    connector.line("they say");
    terminal.enter("hello");
    assert_eq!(listener.read(6), b"hello\n");
    terminal.keys("\u{4}");
    listener.end().expect(0, "");
    connector.end_by_itself().expect(0, "");
}

#[test]
fn an_input_terminal_that_hangs_up_has_ended() {
    let (mut listener, port) = Scat::listen();
    let mut terminal = Terminal::new();
    let port = port.to_string();
    // Nobody is told: without a controlling terminal there is no SIGHUP.
    let mut connector = Scat::between(&["127.0.0.1", &port], terminal.slave(), Stdio::piped());
    connector.line("they say");
    terminal.enter("hello");
    assert_eq!(listener.read(6), b"hello\n");
    terminal.hang_up();
    listener.end().expect(0, "");
    connector.end_by_itself().expect(0, "");
}
