//! What scat tells its user at a terminal unasked: what to type at the other end, why no caller
//! may arrive, the progress of a transfer, and that the other end sends nothing.

use super::at_terminals;
use crate::support::hurried;
use crate::support::peer::{CONTENT, DATA, Options, Peer, REKEY2};
use crate::support::pty::Terminal;
use crate::support::scat::{Scat, dial, file, key_file};

/// Erases a progress line.
const CLEAR: &str = "\r\x1b[K";

/// Starts a hurried scat at this terminal with these redirections of input and output; its
/// messages appear on the screen.
fn hurried(terminal: &Terminal, redirections: &str, args: &[&str]) -> Scat {
    let words: Vec<String> = hurried::words().iter().map(|word| format!("'{word}'")).collect();
    let script = format!("shift && exec {} \"$@\" 2>\"$0\" {redirections}", words.join(" "));
    Scat::spawn(terminal.shell(&script, args))
}

#[test]
fn a_listener_says_what_to_type_at_the_other_end() {
    at_terminals!();
    let psk = key_file("psk", &[5; 32]);
    for (args, redirections, typed) in [
        (&[][..], "<\"$0\" >\"$0\"", "scat 127.0.0.1 PORT\r\n"),
        (&["--psk", psk.arg()], "</dev/null >\"$0\"", "scat --psk FILE 127.0.0.1 PORT\r\n"),
        (&[], "<\"$0\" | cat >/dev/null", "scat 127.0.0.1 PORT < FILE\r\n"),
        (&["--reconnect", "60"], "<\"$0\" >\"$0\"", "scat --reconnect 60 127.0.0.1 PORT\r\n"),
    ] {
        let mut screen = Terminal::new();
        let script = format!("\"$@\" 2>\"$0\" {redirections}");
        let args = [&["-l", "127.0.0.1", "0"], args].concat();
        let scat = Scat::spawn(screen.shell(&script, &args));
        let port = screen.port().to_string();
        screen.wait_for(&format!("at the other end: {}", typed.replace("PORT", &port)));
        screen.keys("\x03");
        drop(scat);
    }
    // A log does not get this line.
    let (l, _) = Scat::listen_with(&["-w0.1"]);
    assert!(!l.end().expect(3, "").stderr.contains("at the other end"));
}

#[test]
fn a_listener_that_nobody_calls_says_what_may_be_wrong() {
    at_terminals!();
    let mut screen = Terminal::new();
    let _alone = hurried(&screen, "", &["-l", "127.0.0.1", "0"]);
    let port = screen.port();
    screen.wait_for(&format!("nobody yet: is port {port} open in the firewall"));
}

#[test]
fn a_transfer_shows_how_far_it_has_come_and_leaves_nothing_of_it_behind() {
    at_terminals!();
    let mut screen = Terminal::new();
    let copy = file("copy", b"");
    let redirections = format!("</dev/null >'{}'", copy.arg());
    let l = hurried(&screen, &redirections, &["-l", "127.0.0.1", "0"]);
    let mut peer = Peer::connect(dial(screen.port()), Options::default()).unwrap();
    for _ in 0..2 {
        peer.send(DATA, &[7; CONTENT]).unwrap();
    }
    screen.wait_for(&format!("{CLEAR}scat: "));
    assert!(screen.wait_for(" received, ").len() < 12);
    peer.finish().unwrap();
    screen.wait_for(&format!("{CLEAR}scat: complete: "));
    assert!(!screen.wait_for(" received\r\n").contains(CLEAR));
    l.end_by_itself().expect(0, "");
    assert!(screen.screen().ends_with(" received\r\n"), "{:?}", screen.screen());
}

/// `scat -l 9000 | tar x`
#[test]
fn progress_of_a_pipe_stays_on_lines_of_its_own() {
    at_terminals!();
    let mut screen = Terminal::new();
    let args = ["--no-confirm", "-l", "127.0.0.1", "0"];
    let scat = hurried(&screen, "</dev/null | cat >/dev/null", &args);
    let mut peer = Peer::connect(dial(screen.port()), Options::default()).unwrap();
    for _ in 0..2 {
        peer.send(DATA, &[7; CONTENT]).unwrap();
    }
    peer.start_ratchet().unwrap();
    while peer.recv().unwrap().0 != REKEY2 {}
    peer.send(DATA, &[7; CONTENT]).unwrap();
    let line = screen.wait_for("/s\r\n");
    let line = line.rsplit(['\r', '\n']).next().unwrap();
    assert!(line.starts_with("scat: ") && line.contains(" received, "), "{line:?}");
    peer.finish().unwrap();
    scat.end_by_itself().expect(0, "");
    assert!(!screen.screen().contains(CLEAR), "{:?}", screen.screen());
}

/// Progress would be mixed with the data on the same screen, directly or through a pipeline.
#[test]
fn no_line_is_erased_among_the_data() {
    at_terminals!();
    let args = ["--no-confirm", "-l", "127.0.0.1", "0"];
    for redirections in ["<\"$0\" >\"$0\"", "</dev/null | cat >\"$0\""] {
        let mut screen = Terminal::new();
        let scat = hurried(&screen, redirections, &args);
        let mut peer = Peer::connect(dial(screen.port()), Options::default()).unwrap();
        for _ in 0..2 {
            peer.send(DATA, &[b'x'; CONTENT]).unwrap();
        }
        assert!(screen.wait_until(|screen| screen.matches('x').count() >= 2 * CONTENT));
        // After this answer, a progress line would have appeared.
        peer.start_ratchet().unwrap();
        while peer.recv().unwrap().0 != REKEY2 {}
        peer.finish().unwrap();
        scat.end_by_itself().expect(0, "");
        assert!(!screen.screen().contains(CLEAR), "{:?}", screen.screen());
    }
}

#[test]
fn a_receiver_learns_that_nobody_sends() {
    at_terminals!();
    let mut screen = Terminal::new();
    let args = ["--no-confirm", "-l", "127.0.0.1", "0"];
    let l = hurried(&screen, "<\"$0\"", &args);
    let mut peer = Peer::connect(dial(screen.port()), Options::default()).unwrap();
    screen.wait_for("nothing received yet; to send a file, the other end needs < FILE");
    peer.finish().unwrap();
    l.end_by_itself().expect(0, "");
}
