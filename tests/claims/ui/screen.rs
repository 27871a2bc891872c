//! What scat shows if standard output is a terminal, and when it asks for the words: neither
//! the peer nor a man in the middle can write to the screen before the user has accepted them.

use super::{at_terminals, words_of};
use crate::support::peer::{ABORT, CONTENT, DATA, DONE, EOF, Options, Peer, REKEY2, Role};
use crate::support::pty::Terminal;
use crate::support::scat::{self, Scat, dial, door, key_file};
use crate::support::session;
use rustix::process::Signal;
use std::process::{Command, Stdio};

/// Clears the screen and shows lines that look like scat's.
const WIPED: &str = "\x1b[2J\x1b[Hscat: they say: forged\r\nscat: verified\r\n";
/// Scrolls the screen away, without a control character.
fn scrolled() -> String {
    format!("{}scat: you say    forged\nscat: verified\n", "\n".repeat(60))
}

/// Checks that the attacker got nothing from a side but its refusal.
fn only_refuses(mut peer: Peer) {
    assert_eq!(peer.recv().unwrap(), (ABORT, vec![1]));
}

/// Ann listens and Bob connects, each at a screen. A man in the middle paints on both screens,
/// and gets nothing.
fn in_the_middle(ann_args: &[&str], bob_args: &[&str], paint: &str) {
    let (mut ann_screen, mut bob_screen) = (Terminal::new(), Terminal::new());
    let ann = ann_screen.sit(&[ann_args, &["-l", "127.0.0.1", "0"]].concat());
    let port = ann_screen.port();
    let (door, at) = door();
    let bob = bob_screen.sit(&[bob_args, &["127.0.0.1", &at.to_string()]].concat());
    let mut as_ann = Peer::accept(door.accept().unwrap().0, Options::default()).unwrap();
    let mut as_bob = Peer::connect(dial(port), Options::default()).unwrap();
    for peer in [&mut as_ann, &mut as_bob] {
        peer.send(DATA, paint.as_bytes()).unwrap();
        // The answer shows that scat has processed everything before it.
        if peer.role == Role::Connector {
            peer.start_ratchet().unwrap();
            assert_eq!(peer.recv().unwrap().0, REKEY2);
        }
    }
    ann_screen.wait_for("you say ");
    let said = ann_screen.wait_for("(").trim().to_owned();
    ann_screen.wait_for("they answer: ");
    bob_screen.wait_for("they say: ");
    // Bob hears Ann's words, which are not those of his connection to the attacker.
    for tries in ["2 tries left", "one try left", "someone may be in the middle"] {
        bob_screen.enter(&said);
        bob_screen.wait_for(tries);
    }
    only_refuses(as_ann);
    bob.end_by_itself().expect(4, "");
    // Bob has nothing to answer.
    ann_screen.enter("no");
    only_refuses(as_bob);
    ann.end_by_itself().expect(4, "");
    for screen in [ann_screen.screen(), bob_screen.screen()] {
        for painted in ["\x1b", "forged", "verified", "\n\r\n", "\n\n"] {
            assert!(!screen.contains(painted), "{screen:?}");
        }
    }
}

#[test]
fn a_man_in_the_middle_who_clears_both_screens_is_detected() {
    at_terminals!();
    in_the_middle(&[], &[], WIPED);
}

#[test]
fn a_man_in_the_middle_who_scrolls_both_screens_is_detected() {
    at_terminals!();
    in_the_middle(&[], &[], &scrolled());
}

#[test]
fn a_man_in_the_middle_is_detected_with_c_at_one_end() {
    at_terminals!();
    in_the_middle(&["-c"], &[], &scrolled());
    in_the_middle(&[], &["-c"], WIPED);
}

#[test]
fn a_pipeline_that_ends_on_a_screen_is_not_painted_with_c() {
    at_terminals!();
    let mut screen = Terminal::new();
    let pipeline = "program=$1; port=$3; \
                    cat <\"$0\" | \"$program\" -c 127.0.0.1 \"$port\" | cat -v >\"$0\"";
    let (door, port) = door();
    // In one process group, like a pipeline of an interactive shell.
    let shell = Scat::spawn(screen.shell(pipeline, &["-c", &port.to_string()]));
    let mut peer = Peer::accept(door.accept().unwrap().0, Options::default()).unwrap();
    peer.send(DATA, scrolled().as_bytes()).unwrap();
    screen.wait_for("they say: ");
    drop(peer);
    assert!(!screen.screen().contains("forged"));
    drop(shell);
}

/// Starts scat by `script` (see [`Terminal::shell`]) and returns whether it asks.
fn asks(script: &str, args: &[&str]) -> bool {
    let mut terminal = Terminal::new();
    let args = [args, &["-l", "127.0.0.1", "0"]].concat();
    let mut command = terminal.shell(script, &args);
    command.stdin(Stdio::null());
    let (mut l, port) = Scat::spawn(command).with_port();
    let mut peer = Peer::connect(dial(port), Options::default()).unwrap();
    peer.start_ratchet().unwrap();
    // Before this answer, scat has asked or shown the words.
    while peer.recv().unwrap().0 != REKEY2 {}
    let asked = terminal.screen().contains("they answer: ");
    if !asked {
        l.line("you say  ");
        l.line("they say  ");
    }
    drop(peer);
    assert!(l.end_by_itself().stderr.contains("cut off"));
    asked
}

#[test]
fn a_person_at_a_terminal_is_asked_and_a_script_is_not() {
    at_terminals!();
    let both = "exec \"$@\" <\"$0\" >\"$0\"";
    let input = "exec \"$@\" <\"$0\" | cat";
    let output = "exec \"$@\" >\"$0\"";
    let neither = "exec \"$@\"";
    for (script, args, asked) in [
        (both, &[][..], true),
        (input, &[], true),
        (output, &[], true),
        (neither, &[], false),
        (neither, &["-c"], true),
        (both, &["--no-confirm"], false),
        (output, &["--no-confirm"], false),
    ] {
        assert_eq!(asks(script, args), asked, "{script} {args:?}");
    }
}

/// Like scat started by `su -c`, `runuser -c` or setsid.
#[test]
fn at_a_screen_without_a_controlling_terminal_it_does_not_start_unasked() {
    at_terminals!();
    let screen = Terminal::new();
    let start = |args: &[&str], stdin: Stdio, stdout: Stdio| {
        let mut command = Command::new("setsid");
        command.arg(scat::program()).args(args).args(["-l", "127.0.0.1", "0"]);
        command.stdin(stdin).stdout(stdout);
        Scat::spawn(command)
    };
    for (stdin, stdout) in [(Stdio::null(), screen.slave()), (screen.slave(), Stdio::null())] {
        let ended = start(&[], stdin, stdout).end_by_itself().expect(2, "cannot ask for the words");
        assert!(ended.stderr.contains("--no-confirm"), "{}", ended.stderr);
    }
    let (mut l, port) = start(&["--no-confirm"], screen.slave(), screen.slave()).with_port();
    let mut peer = Peer::connect(dial(port), Options::default()).unwrap();
    l.line("not verified");
    peer.finish().unwrap();
    l.end_by_itself().expect(0, "");
}

/// Like scat started by `su -c`, which waits in the foreground of that screen.
#[test]
#[cfg(target_os = "linux")]
fn it_asks_at_the_terminal_of_a_parent_that_waits_in_the_foreground() {
    at_terminals!();
    let start = |script: &str| {
        let screen = Terminal::new();
        let command = screen.shell(script, &["-l", "127.0.0.1", "0"]);
        let (l, port) = Scat::spawn(command).with_port();
        let mut peer = Peer::connect(dial(port), Options::default()).unwrap();
        peer.send(DATA, b"hello Ann\n").unwrap();
        (screen, l, peer)
    };
    let (mut screen, l, mut peer) = start("setsid \"$@\" <\"$0\" >\"$0\"; exit $?");
    screen.wait_for("they answer: ");
    assert!(!screen.screen().contains("hello Ann"));
    screen.enter(&words_of(&peer));
    screen.wait_for("hello Ann");
    peer.finish().unwrap();
    l.end_by_itself().expect(0, "");
    // Ctrl-C ends the shell, and scat can then no longer ask.
    let (mut screen, mut l, mut peer) = start("{ setsid \"$@\" <\"$0\" >\"$0\" & wait; }");
    screen.wait_for("they answer: ");
    screen.keys("\x03");
    l.line("the terminal was closed");
    assert_eq!(peer.recv().unwrap(), (ABORT, vec![5]));
    l.end_by_itself().expect_signal(Signal::INT);
}

#[test]
fn a_background_job_that_writes_to_a_file_asks_nobody() {
    at_terminals!();
    let mut terminal = Terminal::new();
    let Some(shell) = terminal.bash() else { return };
    terminal.wait_for("$ ");
    terminal.enter(&format!("{} -l 127.0.0.1 0 >/dev/null & it=$!", scat::program()));
    let mut peer = Peer::connect(dial(terminal.port()), Options::default()).unwrap();
    terminal.wait_for("not verified");
    peer.send(EOF, &[]).unwrap();
    assert_eq!(peer.recv().unwrap().0, DONE);
    drop(peer);
    terminal.enter("kill $it; wait $it; exit");
    shell.end_by_itself();
}

#[test]
fn with_a_key_or_a_pre_shared_key_nobody_is_asked() {
    at_terminals!();
    let psk = key_file("psk", &[9; 32]);
    let psk = psk.arg();
    let (mut at_l, mut at_c) = (Terminal::new(), Terminal::new());
    let l = at_l.sit(&["--psk", psk, "-l", "127.0.0.1", "0"]);
    let c = at_c.sit(&["--psk", psk, "127.0.0.1", &at_l.port().to_string()]);
    at_c.wait_for("verified by pre-shared key");
    at_c.enter("hello Ann");
    at_l.wait_for("hello Ann");
    at_c.keys("\x04");
    c.end_by_itself().expect(0, "");
    l.end_by_itself().expect(0, "");
}

/// A listener with --no-confirm at a screen, and its peer.
fn unasked() -> (Terminal, Scat, Peer) {
    let mut screen = Terminal::new();
    let l = screen.sit(&["--no-confirm", "-l", "127.0.0.1", "0"]);
    let peer = Peer::connect(dial(screen.port()), Options::default()).unwrap();
    screen.wait_for("they say ");
    screen.wait_for("\r\n");
    (screen, l, peer)
}

#[test]
fn a_screen_shows_control_characters_and_does_not_obey_them() {
    at_terminals!();
    let (mut screen, l, mut peer) = unasked();
    // U+009B, split between two frames, and the single byte 9B.
    for part in [&b"a\tb\x1b[2J\r\x07\xc2"[..], b"\x9b1m \x9b", b"\x7f \xc3", b"\xa9nd\n"] {
        peer.send(DATA, part).unwrap();
    }
    // The terminal turns a newline into \r\n.
    let shown = screen.wait_for("énd\r\n");
    assert!(shown.starts_with("a\tb^[[2J^M^G"), "{shown:?}");
    assert!(shown.ends_with("M-^[1m M-^[^? "), "{shown:?}");
    assert!(!shown.contains(['\x1b', '\r', '\u{9b}']), "{shown:?}");
    peer.finish().unwrap();
    l.end_by_itself().expect(0, "");
}

/// scat marks lines that imitate its own, and starts its own at the left edge.
#[test]
fn the_peer_cannot_write_lines_that_look_like_ours() {
    at_terminals!();
    let (mut screen, l, mut peer) = unasked();
    peer.send(DATA, "bye\u{202e}\nsc".as_bytes()).unwrap();
    peer.send(DATA, b"at: the other end has ended\nann@home:~$ ").unwrap();
    screen.wait_for("bye<U+202E>\r\n");
    screen.wait_for("scat (the peer): the other end has ended\r\nann@home:~$ ");
    peer.finish().unwrap();
    screen.wait_for("\r\nscat: the other person has ended the chat\r\n");
    l.end_by_itself().expect(0, "");
}

#[test]
fn binary_data_is_not_shown_on_a_screen_and_both_ends_report_it() {
    at_terminals!();
    let (mut screen, l, mut peer) = unasked();
    peer.send(DATA, b"ELF\n\0\x01").unwrap();
    screen.wait_for("scat: binary data is not shown on a terminal\r\n");
    screen.wait_for("scat: hint: start again with > FILE\r\n");
    assert_eq!(peer.recv().unwrap(), (ABORT, vec![2]));
    assert!(!screen.screen().contains("ELF"));
    l.end_by_itself().expect(7, "");
}

#[test]
fn a_message_begins_at_the_left_edge_after_half_typed_input() {
    at_terminals!();
    let mut screen = Terminal::new();
    screen.set_width(40);
    let l = screen.sit(&["--no-confirm", "-l", "127.0.0.1", "0"]);
    let mut peer = Peer::connect(dial(screen.port()), Options::default()).unwrap();
    screen.wait_for("they say ");
    screen.wait_for("\r\n");
    screen.keys("half a line");
    screen.wait_for("half a line");
    peer.finish().unwrap();
    // scat writes as many spaces as the screen has columns, which leads to the next line.
    screen.wait_for(&format!("{}\rscat: the other person has ended the chat\r\n", " ".repeat(40)));
    l.end_by_itself().expect(0, "");
}

#[test]
fn a_pipe_gets_control_characters_as_they_are() {
    let (mut l, mut peer) = session(Role::Listener);
    peer.send(DATA, b"\x1b[2J\r\x9b\xc2\x9b\x7f").unwrap();
    assert_eq!(l.read(9), b"\x1b[2J\r\x9b\xc2\x9b\x7f");
    l.end_input();
    peer.finish().unwrap();
    l.end_by_itself().expect(0, "");
}

/// The screen gets four bytes for each one received, and is not read for a while.
#[test]
fn done_waits_until_a_slow_screen_has_shown_all() {
    at_terminals!();
    let (mut screen, l, mut peer) = unasked();
    const BYTES: usize = 50_000;
    let bytes = vec![0x9b; BYTES];
    for part in bytes.chunks(CONTENT) {
        peer.send(DATA, part).unwrap();
    }
    peer.send(EOF, &[]).unwrap();
    // If DONE arrived before this answer, it would be too early.
    peer.start_ratchet().unwrap();
    assert_eq!(peer.recv().unwrap().0, REKEY2);
    let shown = screen.wait_until(|screen| screen.matches("M-^[").count() == BYTES);
    assert!(shown, "not all was shown");
    assert_eq!(peer.recv().unwrap().0, DONE);
    // At a terminal, scat then ends its own side, too.
    assert_eq!(peer.recv().unwrap().0, EOF);
    peer.send(DONE, &[]).unwrap();
    drop(peer);
    l.end_by_itself().expect(0, "");
}

#[test]
fn the_person_who_knows_the_words_gets_through() {
    at_terminals!();
    let mut screen = Terminal::new();
    let l = screen.sit(&["-l", "127.0.0.1", "0"]);
    let mut peer = Peer::connect(dial(screen.port()), Options::default()).unwrap();
    peer.send(DATA, b"hello Ann\n").unwrap();
    screen.wait_for("they answer: ");
    screen.enter(&words_of(&peer));
    screen.wait_for("hello Ann");
    screen.enter("hello Bob");
    let (mut said, mut kind) = (Vec::new(), DATA);
    while kind == DATA && !said.ends_with(b"\n") {
        let (next, content) = peer.recv().unwrap();
        kind = next;
        said.extend(content);
    }
    assert_eq!(said, b"hello Bob\n");
    peer.finish().unwrap();
    l.end_by_itself().expect(0, "");
}

/// Two people at screens; both are asked and neither has answered. Also returns Ann's words.
fn two_people() -> (Terminal, Scat, Terminal, Scat, String) {
    let (mut ann_screen, mut bob_screen) = (Terminal::new(), Terminal::new());
    let ann = ann_screen.sit(&["-l", "127.0.0.1", "0"]);
    ann_screen.wait_for(" port ");
    let port = ann_screen.wait_for("\r\n");
    let bob = bob_screen.sit(&["127.0.0.1", &port]);
    ann_screen.wait_for("connection from 127.0.0.1 port ");
    ann_screen.wait_for("you say ");
    let said = ann_screen.wait_for("(").trim().to_owned();
    ann_screen.wait_for("they answer: ");
    bob_screen.wait_for("they say: ");
    (ann_screen, ann, bob_screen, bob, said)
}

#[test]
fn each_learns_what_the_other_still_has_to_do_and_when_a_chat_ends() {
    at_terminals!();
    let (mut ann_screen, ann, mut bob_screen, bob, said) = two_people();
    ann_screen.enter(&said);
    ann_screen.wait_for("your own words");
    bob_screen.enter(&said);
    bob_screen.wait_for("you answer ");
    let answer = bob_screen.wait_for("(").trim().to_owned();
    bob_screen.wait_for("waiting for the other person to type your words");
    assert!(!bob_screen.screen().contains("verified"));
    ann_screen.enter(&answer);
    ann_screen.wait_for("verified; type a line, Ctrl-D ends the chat\r\n");
    bob_screen.wait_for("both verified; type a line, Ctrl-D ends the chat\r\n");
    ann_screen.enter("hello Bob");
    bob_screen.wait_for("hello Bob");
    ann_screen.keys("\x04");
    bob_screen.wait_for("the other person has ended the chat");
    ann.end_by_itself().expect(0, "");
    bob.end_by_itself().expect(0, "");
    let whole = [ann_screen.screen(), bob_screen.screen()].concat();
    let wide = whole.lines().find(|line| line.chars().count() > 80);
    assert_eq!(wide, None, "{whole}");
}

#[test]
fn ctrl_c_in_a_chat_reads_as_such_and_counts_nothing() {
    at_terminals!();
    let (mut screen, l, mut peer) = unasked();
    peer.send(DATA, b"hello\n").unwrap();
    screen.wait_for("hello");
    peer.send(ABORT, &[5]).unwrap();
    drop(peer);
    screen.wait_for("the other person has left\r\n");
    l.end_by_itself().expect(6, "");
    assert!(!screen.screen().contains("bytes"), "{}", screen.screen());
}
