//! The ceremony (`-c`), at pseudo-terminals, with real programs at both ends.

use super::{at_terminals, words_of};
use crate::support::peer::{ABORT, CONTENT, DATA, EOF, Options, Peer, REKEY2, Role};
use crate::support::pty::Terminal;
use crate::support::scat::{self, Ended, Place, Scat, dial, door};
use crate::support::{ROLES, session_with, skip};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Signal;
use std::os::fd::AsFd;
use std::process::Command;
use std::time::Duration;

/// One user's half, as on the screen: `trouble suspicious kiwi     (1545 7148)`.
struct Half {
    words: String,
    digits: String,
}

impl Half {
    fn new(text: &str) -> Half {
        let (words, digits) = text.trim().strip_suffix(')').unwrap().split_once('(').unwrap();
        Half { words: words.trim().to_owned(), digits: digits.to_owned() }
    }

    /// Three other words, each from the right list.
    fn wrong(&self) -> String {
        let parts: Vec<&str> = self.words.split(' ').collect();
        let pick = |i: usize, [one, other]: [&'static str; 2]| {
            if parts[i] == one { other } else { one }
        };
        let (even, odd) = (["kiwi", "zulu"], ["impetus", "yucatan"]);
        let lists = if parts.len() == 3 && is_even(parts[0]) {
            [even, odd, even]
        } else {
            [odd, even, odd]
        };
        [pick(0, lists[0]), pick(1, lists[1]), pick(2, lists[2])].join(" ")
    }
}

/// Whether a word is in the list of two syllables.
fn is_even(word: &str) -> bool {
    (0..=255).any(|byte| pgp_words::to_words(&[byte]).join(" ").eq_ignore_ascii_case(word))
}

/// Both ends ask, each at its own terminal, and nobody has answered yet.
struct Asking {
    l: Scat,
    c: Scat,
    at_l: Terminal,
    at_c: Terminal,
    /// The half that the listener's user reads out.
    half: Half,
}

fn asking_with(l_args: &[&str], c_args: &[&str]) -> Asking {
    let (mut at_l, mut at_c) = (Terminal::new(), Terminal::new());
    let (l, port) = at_l.start(&[&["-lc", "127.0.0.1", "0"], l_args].concat()).with_port();
    let c = at_c.start(&[&["-c", "127.0.0.1", &port.to_string()], c_args].concat());
    at_l.wait_for("you say ");
    let half = Half::new(&at_l.wait_for("\r\n"));
    at_l.wait_for("they answer: ");
    at_c.wait_for("they say: ");
    Asking { l, c, at_l, at_c, half }
}

fn asking() -> Asking {
    asking_with(&[], &[])
}

impl Asking {
    /// The connector's user types this, which is right.
    fn connector_accepts(&mut self, answer: &str) -> Half {
        self.at_c.enter(answer);
        self.at_c.wait_for("you answer ");
        let half = Half::new(&self.at_c.wait_for("\r\n"));
        self.at_c.wait_for("scat: waiting for the other person to type your words");
        half
    }

    /// The listener's user types this, which is right.
    fn listener_accepts(&mut self, answer: &str) {
        self.at_l.enter(answer);
        // The line is "both verified" if the peer's first frame has already arrived.
        self.at_l.wait_for("verified\r\n");
        self.at_c.wait_for("scat: both verified\r\n");
    }

    /// Sends bytes both ways; both end well.
    fn works(mut self) {
        self.l.write(b"from the listener");
        self.c.write(b"from the connector");
        self.l.end_input();
        self.c.end_input();
        let (l, c) = (self.l.end().expect(0, ""), self.c.end().expect(0, ""));
        assert_eq!(l.stdout, b"from the connector");
        assert_eq!(c.stdout, b"from the listener");
        // A user who was asked sees the result.
        for (end, said) in [(&l, "17 bytes sent, 18 bytes received"), (&c, "18 bytes sent, 17")] {
            assert!(end.stderr.contains(&format!("scat: complete: {said}")), "{}", end.stderr);
        }
    }

    /// Waits for both ends, listener first. Neither has written anything out.
    fn ends(self) -> (Ended, Ended) {
        let (l, c) = (self.l.end_by_itself(), self.c.end_by_itself());
        assert!(l.stdout.is_empty() && c.stdout.is_empty());
        (l, c)
    }
}

/// Whether there is nothing to read, and no end.
fn is_silent(fd: &impl AsFd) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    rustix::event::poll(&mut fds, Some(&Timespec::default())).unwrap() == 0
}

#[test]
fn right_words_let_the_stream_go() {
    at_terminals!();
    let mut pair = asking();
    let words = pair.half.words.clone();
    let answer = pair.connector_accepts(&words);
    pair.listener_accepts(&answer.words);
    pair.works();
}

#[test]
fn right_digits_let_the_stream_go() {
    at_terminals!();
    for separator in ["", " ", "-"] {
        let mut pair = asking();
        let digits = pair.half.digits.replace(' ', separator);
        let answer = pair.connector_accepts(&digits);
        pair.listener_accepts(&answer.digits.replace(' ', separator));
        pair.works();
    }
}

/// The shortest prefix of each word that no other word of either list has.
fn shortened(words: &str) -> String {
    let mut all = Vec::new();
    for byte in 0..=255u8 {
        all.extend(pgp_words::to_words(&[byte, byte]).iter().map(|word| word.to_lowercase()));
    }
    let short = |word: &str| {
        let is_unique =
            |len: &usize| all.iter().filter(|other| other.starts_with(&word[..*len])).count() == 1;
        word[..(3..=word.len()).find(is_unique).unwrap_or(word.len())].to_owned()
    };
    words.split(' ').map(short).collect::<Vec<_>>().join(" ")
}

#[test]
fn unique_beginnings_in_any_case_with_dashes_are_enough() {
    at_terminals!();
    let mut pair = asking();
    let said = format!("  {} ", shortened(&pair.half.words).to_uppercase().replace(' ', " - "));
    let answer = pair.connector_accepts(&said);
    pair.listener_accepts(&shortened(&answer.words).replace(' ', "-"));
    pair.works();
}

#[test]
fn no_screen_shows_the_half_that_its_user_must_hear() {
    at_terminals!();
    let mut pair = asking();
    assert!(!pair.at_c.screen().contains(&pair.half.words));
    assert!(!pair.at_c.screen().contains("you answer"), "the listener's person speaks first");
    let words = pair.half.words.clone();
    let answer = pair.connector_accepts(&words);
    assert!(!pair.at_l.screen().contains(&answer.words));
    assert!(!pair.at_l.screen().contains(&answer.digits));
    pair.listener_accepts(&answer.words);
    // Standard error, which may be a log, gets nothing of it.
    pair.l.end_input();
    let (c, l) = (pair.c.end().expect(0, ""), pair.l.end().expect(0, ""));
    for half in [&pair.half, &answer] {
        assert!(!c.stderr.contains(&half.words) && !l.stderr.contains(&half.words));
    }
}

#[test]
fn enter_alone_accepts_nothing() {
    at_terminals!();
    let mut pair = asking();
    for _ in 0..5 {
        pair.at_c.enter("");
        pair.at_c.wait_for("they say: ");
        pair.at_l.enter("yes");
        pair.at_l.wait_for("they answer: ");
    }
    let words = pair.half.words.clone();
    let answer = pair.connector_accepts(&words);
    pair.listener_accepts(&answer.words);
    pair.works();
}

#[test]
fn two_wrong_answers_leave_a_third_try() {
    at_terminals!();
    let mut pair = asking();
    let wrong = pair.half.wrong();
    pair.at_c.enter(&wrong);
    pair.at_c.wait_for("2 tries left");
    pair.at_c.enter(&wrong);
    pair.at_c.wait_for("one try left");
    let words = pair.half.words.clone();
    let answer = pair.connector_accepts(&words);
    pair.at_l.enter(&answer.wrong());
    pair.at_l.wait_for("2 tries left");
    pair.listener_accepts(&answer.words);
    pair.works();
}

#[test]
fn three_wrong_answers_of_the_connector_exit_4_at_both_ends() {
    at_terminals!();
    let mut pair = asking();
    pair.c.write(b"waiting");
    pair.l.write(b"waiting");
    let wrong = pair.half.wrong();
    for _ in 0..3 {
        pair.at_c.enter(&wrong);
    }
    let (l, c) = pair.ends();
    c.expect(4, "someone may be in the middle; nothing was sent");
    l.expect(4, "the other person typed 'no' or wrong words");
}

#[test]
fn three_wrong_answers_of_the_listener_exit_4_at_both_ends() {
    at_terminals!();
    let mut pair = asking();
    pair.c.write(b"waiting");
    let words = pair.half.words.clone();
    let answer = pair.connector_accepts(&words);
    for _ in 0..3 {
        pair.at_l.enter(&answer.wrong());
    }
    let (l, c) = pair.ends();
    l.expect(4, "nothing was sent");
    // This side has accepted, so the message says what it has sent.
    c.expect(4, "sent 7 bytes, not confirmed");
}

#[test]
fn no_is_a_refusal_at_both_ends_and_leaving_is_not() {
    at_terminals!();
    let refused = ["you rejected", "the other person typed 'no' or wrong words"];
    let left = ["you left before", "the other person left before"];
    for (keys, [here, there]) in [
        ("no\n", refused),
        (" NO!\n", refused),
        ("n\n", refused),
        ("q\n", left),
        ("quit\n", left),
        ("\x04", left),
    ] {
        let mut pair = asking();
        pair.at_l.keys(keys);
        let (l, c) = pair.ends();
        let alarms = [l.expect(4, here), c.expect(4, there)];
        // Its message says that nothing was sent.
        assert!(!alarms[0].stderr.contains("nothing was sent or received"));

        let mut pair = asking();
        pair.at_c.keys(keys);
        let (l, c) = pair.ends();
        let more = [c.expect(4, here), l.expect(4, there)];
        // A person who leaves is no sign of a man in the middle.
        if here == left[0] {
            let is_alarm = |ended: &Ended| ended.stderr.contains("middle");
            assert!(!alarms.iter().chain(&more).any(is_alarm));
        }
    }
}

#[test]
fn signals_leave_the_terminal_as_it_was() {
    at_terminals!();
    let before = Terminal::new().settings();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::KILL] {
        let mut pair = asking();
        match signal {
            Signal::INT => pair.at_l.keys("half an answer\x03"),
            _ => pair.l.signal(signal),
        }
        let Asking { l, c, at_l, .. } = pair;
        l.end_by_itself().expect_signal(signal);
        assert_eq!(at_l.settings(), before);
        let said = if signal == Signal::KILL { "cut off" } else { "was interrupted" };
        c.end_by_itself().expect(6, said);
    }
}

#[test]
fn every_other_end_leaves_the_terminal_as_it_was() {
    at_terminals!();
    let before = Terminal::new().settings();
    let mut pair = asking();
    assert_eq!(pair.at_l.settings(), before, "during the ceremony");
    pair.at_l.keys("half an answer");
    pair.at_l.wait_for("half an answer");
    pair.at_c.enter("no");
    let Asking { l, c, mut at_l, at_c, .. } = pair;
    l.end_by_itself().expect(4, "");
    c.end_by_itself().expect(4, "");
    at_l.enter("#");
    at_l.wait_for("#\r\n");
    assert_eq!(at_l.unread(), 2, "half an answer is left for the shell");
    assert_eq!((at_l.settings(), at_c.settings()), (before.clone(), before));
}

#[test]
fn text_typed_before_the_question_is_no_answer() {
    at_terminals!();
    let (mut at_l, at_c) = (Terminal::new(), Terminal::new());
    let (l, port) = at_l.start(&["-lc", "127.0.0.1", "0"]).with_port();
    at_l.enter("no");
    // The echo shows that the terminal has taken the line.
    at_l.wait_for("no\r\n");
    let mut c = at_c.start(&["-c", "127.0.0.1", &port.to_string()]);
    at_l.wait_for("what you typed before this question is lost");
    at_l.wait_for("you say ");
    let half = Half::new(&at_l.wait_for("\r\n"));
    at_l.wait_for("they answer: ");
    let mut pair = Asking { l, c, at_l, at_c, half };
    pair.at_c.wait_for("they say: ");
    let words = pair.half.words.clone();
    let answer = pair.connector_accepts(&words);
    pair.listener_accepts(&answer.words);
    c = pair.c;
    pair.l.end_input();
    c.end_input();
    c.end().expect(0, "");
    pair.l.end().expect(0, "");
}

#[test]
fn the_other_side_hangs_up_while_a_person_is_asked() {
    at_terminals!();
    let pair = asking();
    pair.c.signal(Signal::KILL);
    pair.l.end_by_itself().expect(6, "cut off");
    let pair = asking();
    pair.l.signal(Signal::KILL);
    pair.c.end_by_itself().expect(6, "cut off");
}

/// Closing the window does not accuse the other person.
#[test]
fn a_terminal_that_goes_away_is_no_refusal() {
    at_terminals!();
    for ignored in ["", "trap '' HUP; "] {
        let (mut at_l, mut at_c) = (Terminal::new(), Terminal::new());
        let command = at_l.shell(&format!("{ignored} exec \"$@\""), &["-lc", "127.0.0.1", "0"]);
        let (l, port) = Scat::spawn(command).with_port();
        let c = at_c.start(&["-c", "127.0.0.1", &port.to_string()]);
        at_l.wait_for("they answer: ");
        at_c.wait_for("they say: ");
        at_l.hang_up();
        c.end_by_itself().expect(6, "was interrupted");
        let l = l.end_by_itself();
        // scat may see the end of the terminal before the signal.
        if l.signal != Some(Signal::HUP.as_raw()) || !ignored.is_empty() {
            l.expect(6, "the terminal was closed");
        }
    }
}

/// Starts a scat that has input and asks its user; the second implementation is its peer.
fn asked(role: Role) -> (Scat, Peer, Terminal) {
    let at = Terminal::new();
    let (scat, peer) = session_with(role, Options::default(), |args| {
        let mut scat = at.start(&[&["-c"], args].concat());
        scat.write(b"the answer");
        scat.end_input();
        scat
    });
    (scat, peer, at)
}

#[test]
fn nothing_of_the_stream_moves_before_a_person_accepts() {
    at_terminals!();
    for (role, prompt) in ROLES.into_iter().zip(["they answer: ", "they say: "]) {
        let (mut scat, mut peer, mut at) = asked(role);
        peer.send(DATA, b"a question").unwrap();
        peer.send(EOF, &[]).unwrap();
        for wrong in ["no such words", "", "99999999"] {
            at.wait_for(prompt);
            if role == Role::Listener {
                // scat answers an exchange of fresh keys, and sends nothing before that answer.
                peer.start_ratchet().unwrap();
                assert_eq!(peer.recv().unwrap().0, REKEY2);
            }
            assert!(is_silent(&peer.stream) && is_silent(scat.stdout.as_ref().unwrap()));
            at.enter(wrong);
        }
        at.wait_for(prompt);
        at.enter(&words_of(&peer));
        assert_eq!(scat.read(10), b"a question");
        assert!(peer.finish().unwrap() == b"the answer");
        scat.end().expect(0, "");
    }
}

#[test]
fn an_abort_behind_held_data_is_seen_before_the_answer() {
    at_terminals!();
    let (l, mut peer, _at_l) = asked(Role::Listener);
    peer.send(DATA, b"held").unwrap();
    peer.send(ABORT, &[1]).unwrap();
    let ended = l.end_by_itself().expect(4, "the other person typed 'no' or wrong words");
    assert!(ended.stdout.is_empty());
}

#[test]
fn held_data_is_bounded_and_not_lost() {
    at_terminals!();
    let (mut l, mut peer, mut at_l) = asked(Role::Listener);
    // The connection is full when it takes nothing for a while.
    peer.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let frame = scat::noise(1, CONTENT);
    let mut frames = 0;
    while peer.send(DATA, &frame).is_ok() {
        frames += 1;
        assert!(frames < 1024, "64 MiB were taken");
    }
    assert!(l.peak_kb() < 16 << 10, "{} kB", l.peak_kb());
    assert!(is_silent(l.stdout.as_ref().unwrap()));
    at_l.wait_for("they answer: ");
    at_l.enter(&words_of(&peer));
    for _ in 0..frames {
        assert!(l.read(CONTENT) == frame);
    }
    drop(peer);
    l.end_by_itself().expect(6, "cut off");
}

/// Data from a peer does not show that its user has accepted the words; empty DATA does.
#[test]
fn both_are_verified_only_where_both_were_asked() {
    at_terminals!();
    for (first, said) in [(&b"a question"[..], "scat: verified"), (b"", "scat: both verified")] {
        let (scat, mut peer, mut at) = asked(Role::Listener);
        peer.send(DATA, first).unwrap();
        peer.send(DATA, b"; more").unwrap();
        // scat has read both frames, because it answers the exchange of fresh keys behind them.
        peer.start_ratchet().unwrap();
        assert_eq!(peer.recv().unwrap().0, REKEY2);
        at.wait_for("they answer: ");
        at.enter(&words_of(&peer));
        at.wait_for(said);
        assert_eq!(peer.recv().unwrap(), (DATA, vec![]));
        assert!(peer.finish().unwrap() == b"the answer");
        scat.end().expect(0, "");
    }
}

#[test]
fn without_a_terminal_it_refuses_to_start() {
    at_terminals!();
    for args in [["-lc", "127.0.0.1", "0"], ["-c", "127.0.0.1", "1"]] {
        let mut command = std::process::Command::new("setsid");
        command.arg(scat::program()).args(args);
        let ended = Scat::spawn(command).end_by_itself();
        let ended = ended.expect(2, "cannot ask for the words without a terminal");
        assert!(!ended.stderr.contains("listening"), "{}", ended.stderr);
    }
}

#[test]
fn in_the_background_it_stops_and_asks_in_the_foreground() {
    at_terminals!();
    let mut at_l = Terminal::new();
    let Some(shell) = at_l.bash() else { return };
    at_l.wait_for("$ ");
    at_l.enter("set -b; fg_it='fg %1'");
    at_l.enter(&format!("{} -lc 127.0.0.1 0 </dev/null &", scat::program()));
    // scat stops once it has sent OPEN.
    let mut peer = Peer::connect(dial(at_l.port()), Options::default()).unwrap();
    at_l.wait_for("to ask for the words, scat needs the foreground (fg;");
    at_l.wait_for("Stopped");
    assert!(!at_l.screen().contains("they answer"));
    at_l.enter("$fg_it");
    at_l.wait_for("they answer: ");
    // After another stop, scat asks again.
    at_l.keys("\x1a");
    at_l.wait_for("Stopped");
    at_l.enter("$fg_it");
    at_l.wait_for("they answer: ");
    at_l.enter(&words_of(&peer));
    at_l.wait_for("scat: verified\r\n");
    peer.finish().unwrap();
    at_l.enter("echo it was $?");
    at_l.wait_for("it was 0");
    at_l.enter("exit");
    shell.end_by_itself();
}

/// With use_pty, sudo(8) starts a program of a pipeline in the background of its terminal.
#[test]
fn sudo_hands_the_terminal_over() {
    at_terminals!();
    let sudo = |args: &[&str]| Command::new("sudo").args(args).output();
    if !sudo(&["-n", "true"]).is_ok_and(|output| output.status.success()) {
        return skip("sudo is not here, or wants a password");
    }
    let mut at = Terminal::new();
    let (door, port) = door();
    let pipeline = at.shell("echo data | sudo -n \"$@\"", &["-c", "127.0.0.1", &port.to_string()]);
    let shell = Scat::spawn(pipeline);
    let mut peer = Peer::accept(door.accept().unwrap().0, Options::default()).unwrap();
    at.wait_for("they say: ");
    at.enter(&words_of(&peer));
    at.wait_for("you answer ");
    assert_eq!(peer.finish().unwrap(), b"data\n");
    shell.end().expect(0, "");
}

#[test]
fn after_a_ceremony_the_key_to_pin_is_shown() {
    at_terminals!();
    let key = Place::new("identity");
    let public = Scat::new(&["--genkey", key.arg()]).end().expect(0, "").stdout;
    let public = String::from_utf8(public).unwrap();
    let mut pair = asking_with(&["-i", key.arg()], &[]);
    let words = pair.half.words.clone();
    assert_eq!(pair.at_c.screen().matches(public.trim()).count(), 0, "not verified yet");
    let answer = pair.connector_accepts(&words);
    assert!(pair.c.line("their key").ends_with(&format!(" {}", public.trim())));
    pair.listener_accepts(&answer.words);
    pair.l.end_input();
    pair.c.end().expect(0, "");
    let l = pair.l.end().expect(0, "");
    // A key for one run is not worth pinning.
    assert!(!l.stderr.contains("their key"), "{}", l.stderr);
}
