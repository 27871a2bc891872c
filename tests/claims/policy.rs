//! Whom each side accepts: every pair of policies, wrong keys and pre-shared keys, and the exit
//! status of each case.

use crate::support::peer::{self, Handshake, Options, Peer, preface, read_flight};
use crate::support::pty::{self, Terminal};
use crate::support::scat::{self, Place, Scat, dial, file, noise, private_file, program};
use crate::support::{CIPHERS, skip};
use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// An identity file and its public key.
struct Identity {
    file: Place,
    public: String,
}

impl Identity {
    fn new(name: &str) -> Identity {
        let file = Place::new(name);
        let made = Scat::new(&["--genkey", file.arg()]).end().expect(0, "");
        Identity { file, public: String::from_utf8(made.stdout).unwrap().trim().to_owned() }
    }
}

fn psk(name: &str) -> Place {
    let file = Place::new(name);
    Scat::new(&["--genpsk", file.arg()]).end().expect(0, "");
    file
}

/// The key files that all tests share.
struct Keys {
    l: Identity,
    c: Identity,
    other: Identity,
    psk: Place,
    other_psk: Place,
}

fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| Keys {
        l: Identity::new("l"),
        c: Identity::new("c"),
        other: Identity::new("other"),
        psk: psk("psk"),
        other_psk: psk("other-psk"),
    })
}

/// Begins the warning when nothing verifies the peer.
const UNVERIFIED: &str = "WARNING: the other end is not verified and could be anyone;";

/// How one side verifies the other. With all fields false, people compare the words.
#[derive(Clone, Copy, Debug, Default)]
struct Way {
    confirm: bool,
    peer: bool,
    psk: bool,
}

impl Way {
    /// All eight combinations.
    fn all() -> impl Iterator<Item = Way> {
        (0..8).map(|i| Way { confirm: i & 1 > 0, peer: i & 2 > 0, psk: i & 4 > 0 })
    }

    fn args(self, own: &'static Identity, other: &'static Identity) -> Vec<&'static str> {
        let mut args = vec!["-v", "-i", own.file.arg()];
        args.extend(self.confirm.then_some("-c"));
        args.extend(self.peer.then_some(["--peer", other.public.as_str()]).iter().flatten());
        args.extend(self.psk.then_some(["--psk", keys().psk.arg()]).iter().flatten());
        args
    }

    /// What scat says about the peer's identity; nothing where the user is asked.
    fn said(self) -> &'static str {
        match self {
            Way { confirm: true, .. } => "",
            Way { peer: true, psk: true, .. } => "verified by key and pre-shared key",
            Way { peer: true, .. } => "verified by key",
            Way { psk: true, .. } => "verified by pre-shared key",
            _ => UNVERIFIED,
        }
    }
}

/// One side, and its terminal if it asks there.
struct End {
    scat: Scat,
    at: Terminal,
    way: Way,
}

impl End {
    /// Returns the three words that its user reads out.
    fn says(&mut self, first: &str) -> String {
        let text = match self.way.said() {
            "" => {
                self.at.wait_for(first);
                self.at.wait_for("\r\n")
            }
            said @ UNVERIFIED => {
                self.scat.line(said);
                self.scat.words().you_say
            }
            said => {
                self.scat.line(said);
                let line = self.scat.line("if they ask, read out: ");
                line.split_once("read out: ").unwrap().1.to_owned()
            }
        };
        text.split_once('(').unwrap().0.trim().to_owned()
    }

    /// Its user hears these words and types them if asked.
    fn hears(&mut self, words: &str, prompt: &str) {
        if self.way.confirm {
            self.at.wait_for(prompt);
            self.at.enter(words);
        } else if !self.way.peer && !self.way.psk {
            assert!(self.scat.words().they_say.starts_with(words));
        }
    }
}

fn start(l_way: Way, c_way: Way) -> (End, End) {
    start_builds([&program(), &program()], l_way, c_way)
}

/// Starts a listener of one build of scat and a connector of another.
fn start_builds([l_build, c_build]: [&str; 2], l_way: Way, c_way: Way) -> (End, End) {
    let keys = keys();
    let (at_l, at_c) = (Terminal::new(), Terminal::new());
    let mut l_args = vec!["-l", "127.0.0.1", "0"];
    l_args.extend(l_way.args(&keys.l, &keys.c));
    let (l, port) = at_l.start_build(l_build, &l_args).with_port();
    let port = port.to_string();
    let mut c_args = vec!["127.0.0.1", &port];
    c_args.extend(c_way.args(&keys.c, &keys.l));
    let c = at_c.start_build(c_build, &c_args);
    (End { scat: l, at: at_l, way: l_way }, End { scat: c, at: at_c, way: c_way })
}

#[test]
fn any_two_policies_work_together() {
    if pty::is_available() {
        work_together([&program(), &program()]);
    }
}

#[test]
fn builds_with_either_library_work_together() {
    let Ok(other) = std::env::var("SCAT_OTHER") else {
        skip("SCAT_OTHER names no second build, so only one talked to itself");
        return;
    };
    let version = |build: &str| Command::new(build).arg("--version").output().unwrap().stdout;
    assert_ne!(version(&program()), version(&other), "it is the same build");
    let ours = program();
    for builds in [[&*ours, &other], [&other, &*ours]] {
        if pty::is_available() {
            work_together(builds);
        }
        // Enough data for a symmetric rekey.
        let data = noise(3, 70_000_000);
        let file = file("builds", &data);
        let between = |build: &str, args: &[&str]| {
            let mut command = Command::new(build);
            command.args(args).stdin(File::open(&file).unwrap()).stdout(Stdio::piped());
            Scat::spawn(command)
        };
        let (mut l, port) = between(builds[0], &["-l", "127.0.0.1", "0"]).with_port();
        let mut c = between(builds[1], &["127.0.0.1", &port.to_string()]);
        assert_eq!(l.words(), c.words().mirrored());
        let l = scat::start(|| l.end_by_itself());
        let c = c.end_by_itself().expect(0, "");
        assert!(l.join().expect(0, "").stdout == data && c.stdout == data);
    }
}

/// Tries every pair of ways.
fn work_together(builds: [&str; 2]) {
    for l_way in Way::all() {
        for c_way in Way::all().filter(|c_way| c_way.psk == l_way.psk) {
            let (mut l, mut c) = start_builds(builds, l_way, c_way);
            l.scat.write(b"from the listener");
            c.scat.write(b"from the connector");
            let words = l.says("you say ");
            c.hears(&words, "they say: ");
            let answer = c.says("you answer ");
            l.hears(&answer, "they answer: ");
            l.scat.end_input();
            c.scat.end_input();
            let (l, c) = (l.scat.end(), c.scat.end());
            let (l, c) = (l.expect(0, l_way.said()), c.expect(0, c_way.said()));
            assert_eq!(l.stdout, b"from the connector", "{l_way:?} {c_way:?}");
            assert_eq!(c.stdout, b"from the listener", "{l_way:?} {c_way:?}");
            // A side that verifies by key shows only its own half, so that its user cannot take the
            // other half for verified.
            assert_eq!(c.stderr.contains(&words), !c_way.confirm && !c_way.peer && !c_way.psk);
            assert_eq!(l.stderr.contains(&answer), !l_way.confirm && !l_way.peer && !l_way.psk);
        }
    }
}

/// The listener's options, what it says, and what it does not say.
#[test]
fn scat_warns_that_nobody_is_verified_unless_the_user_knows() {
    let own = keys().l.file.arg();
    for (options, said, hint) in [
        (&[][..], UNVERIFIED, "hint: to verify it: -c asks for the words"),
        (&["-i", own], UNVERIFIED, "hint: -i only identifies you"),
        (&["--no-confirm"], "not verified: compare these words by voice; press Ctrl-C", ""),
    ] {
        let (mut l, port) = Scat::listen_with(options);
        l.end_input();
        let mut c = Scat::connect(port);
        c.end_input();
        c.end().expect(0, "");
        let ended = l.end().expect(0, said).expect(0, hint).expect(0, "you say");
        assert_eq!(ended.stderr.contains("hint: "), !hint.is_empty(), "{}", ended.stderr);
    }
}

#[test]
fn a_psk_at_one_end_only_is_said_at_both() {
    if !pty::is_available() {
        return;
    }
    for l_way in Way::all() {
        for c_way in Way::all().filter(|c_way| c_way.psk != l_way.psk) {
            let (mut l, mut c) = start(l_way, c_way);
            let said = if l_way.psk {
                "listener requires a pre-shared key"
            } else {
                "listener has no pre-shared key"
            };
            let ended = c.scat.end().expect(4, said);
            assert!(ended.stdout.is_empty());
            // Reported even without -v.
            l.scat.line("only one side has a pre-shared key");
            assert_eq!((l.at.screen(), c.at.screen()), ("", ""), "nobody is asked");
        }
    }
}

/// Starts a listener that rejects a caller with the options `turned_away` and then accepts one
/// with `taken`.
#[track_caller]
fn turns_away(
    listen: &[&str],
    turned_away: &[&str],
    ended: (i32, &str),
    logged: &str,
    taken: &[&str],
) {
    let (mut l, port) = Scat::listen_with(&[&["-v"], listen].concat());
    l.write(b"for the right one");
    for _ in 0..2 {
        let mut c = Scat::connect_with(turned_away, port);
        // scat may have ended already, so the write may fail.
        let _ = c.stdin.take().unwrap().write_all(b"from the wrong one");
        let c = c.end_by_itself().expect(ended.0, ended.1);
        assert!(c.stdout.is_empty());
        assert!(!c.stderr.contains("you say"), "{}", c.stderr);
        assert!(!c.stderr.contains("hint: is it"), "{}", c.stderr);
    }
    l.line(logged);
    let mut c = Scat::connect_with(taken, port);
    c.write(b"from the right one");
    c.end_input();
    l.end_input();
    assert_eq!(c.end().expect(0, "").stdout, b"for the right one");
    let l = l.end().expect(0, logged);
    assert_eq!(l.stdout, b"from the right one");
    assert_eq!(l.stderr.matches(logged).count(), 2, "{}", l.stderr);
    assert_eq!(l.stderr.matches("connection from").count(), 1, "{}", l.stderr);
}

#[test]
fn a_connector_whose_key_is_not_pinned_is_told_and_exits_4() {
    let Keys { l, c, other, psk, .. } = keys();
    let said = (4, "the listener does not accept");
    let logged = "its key is not one of --peer";
    turns_away(&["--peer", &c.public], &[], said, logged, &["-i", c.file.arg()]);
    turns_away(
        &["--peer", &c.public],
        &["-i", other.file.arg()],
        said,
        logged,
        &["-i", c.file.arg()],
    );
    turns_away(
        &["--peer", &c.public, "--psk", psk.arg(), "-i", l.file.arg()],
        &["-i", other.file.arg(), "--psk", psk.arg(), "--peer", &l.public],
        said,
        logged,
        &["-i", c.file.arg(), "--psk", psk.arg(), "--peer", &l.public],
    );
}

#[test]
fn a_listener_whose_key_is_not_pinned_is_left_before_anything_is_sent() {
    let Keys { l, c, other, psk, .. } = keys();
    let said = (4, "not the one expected");
    let logged = "hung up during the handshake";
    turns_away(&[], &["--peer", &l.public], said, logged, &[]);
    turns_away(
        &["-i", l.file.arg()],
        &["--peer", &other.public],
        said,
        logged,
        &["--peer", &l.public],
    );
    turns_away(
        &["-i", l.file.arg(), "--psk", psk.arg(), "--peer", &c.public],
        &["-i", c.file.arg(), "--psk", psk.arg(), "--peer", &other.public],
        said,
        logged,
        &["-i", c.file.arg(), "--psk", psk.arg(), "--peer", &l.public],
    );
}

#[test]
fn different_psks_are_said_at_both_ends() {
    let Keys { l, psk, other_psk, .. } = keys();
    turns_away(
        &["--psk", psk.arg(), "-i", l.file.arg()],
        &["--psk", other_psk.arg(), "--peer", &l.public],
        (4, "the pre-shared keys may differ"),
        "the pre-shared keys differ",
        &["--psk", psk.arg()],
    );
}

#[test]
fn one_psk_only_leaves_the_listener_listening() {
    let Keys { psk, .. } = keys();
    let logged = "only one side has a pre-shared key";
    turns_away(
        &["--psk", psk.arg()],
        &[],
        (4, "requires a pre-shared key"),
        logged,
        &["--psk", psk.arg()],
    );
    turns_away(&[], &["--psk", psk.arg()], (4, "has no pre-shared key"), logged, &[]);
}

#[test]
fn the_same_identity_at_both_ends_is_a_connection_to_oneself() {
    let Keys { l, c, psk, .. } = keys();
    let said = (4, "connected to itself");
    let logged = "hung up during the handshake";
    turns_away(&["-i", l.file.arg()], &["-i", l.file.arg()], said, logged, &["-i", c.file.arg()]);
    turns_away(
        &["-i", l.file.arg(), "--psk", psk.arg()],
        &["-i", l.file.arg(), "--psk", psk.arg()],
        said,
        logged,
        &["-i", c.file.arg(), "--psk", psk.arg()],
    );
}

#[test]
fn a_wrong_pin_ends_it_before_anybody_is_asked() {
    if !pty::is_available() {
        return;
    }
    let Keys { l, c, other, .. } = keys();
    let (mut at_l, mut at_c) = (Terminal::new(), Terminal::new());
    let (mut listener, port) = at_l
        .start(&["-lcv", "127.0.0.1", "0", "-i", l.file.arg(), "--peer", &c.public])
        .with_port();
    let port = port.to_string();
    let place = ["-c", "127.0.0.1", &port];
    let c = at_c.start(&[&place, &["-i", other.file.arg()][..]].concat());
    c.end().expect(4, "the listener does not accept");
    listener.line("its key is not one of --peer");
    let c = at_c.start(&[&place, &["--peer", other.public.as_str()][..]].concat());
    c.end().expect(4, "not the one expected");
    listener.line("hung up during the handshake");
    assert_eq!((at_l.screen(), at_c.screen()), ("", ""));
}

#[test]
fn a_listener_takes_any_of_several_pinned_keys() {
    let Keys { c, other, .. } = keys();
    for identity in [c, other] {
        let (mut l, port) = Scat::listen_with(&["--peer", &c.public, "--peer", &other.public]);
        l.end_input();
        Scat::connect_with(&["-i", identity.file.arg()], port).end().expect(0, "");
        l.end().expect(0, "verified by key");
    }
}

#[test]
fn impossible_pins_are_usage_errors() {
    let Keys { c, other, .. } = keys();
    let two = ["--peer", &c.public, "--peer", &other.public, "127.0.0.1", "1"];
    Scat::new(&two).end().expect(2, "--peer can be repeated with -l only");
    let unpadded = c.public.trim_end_matches('=');
    for wrong in ["", "kiwi", "bob.pub", unpadded, &format!("{0}{0}", c.public)] {
        let ended = Scat::new(&["--peer", wrong, "127.0.0.1", "1"]).end();
        ended.expect(2, "not a public key (scat-public:").expect(2, "--peer @FILE");
    }
}

#[test]
fn on_request_the_key_to_pin_is_shown() {
    let Keys { l, .. } = keys();
    for (args, shown) in [(["-v"], true), (["-n"], false)] {
        let (mut listener, port) = Scat::listen_with(&["-i", l.file.arg()]);
        listener.end_input();
        let c = Scat::connect_with(&args, port).end().expect(0, "");
        assert_eq!(c.stderr.contains(&format!("their key: {}", l.public)), shown, "{}", c.stderr);
        listener.end().expect(0, "");
    }
}

#[test]
fn a_file_of_peers_names_who_has_come_at_both_ends() {
    let Keys { l, c, other, .. } = keys();
    let text =
        format!("# people\n{}\n\n{} bob at home\n{} ann\n", other.public, c.public, l.public);
    let file = private_file("peers", &text);
    let known = format!("@{}", file.arg());
    for (own, said) in [
        (c, "verified by key: bob at home".to_owned()),
        // Without a name, scat shows the key itself.
        (other, format!("scat: their key: {}", other.public)),
    ] {
        let (mut l, port) = Scat::listen_with(&["-i", l.file.arg(), "--peer", &known]);
        l.end_input();
        let c = Scat::connect_with(&["-v", "-i", own.file.arg(), "--peer", &known], port);
        c.end().expect(0, "verified by key: ann");
        l.end().expect(0, &said);
    }
    // A name may also follow the key in the argument.
    let (mut at_l, port) = Scat::listen_with(&["-i", l.file.arg()]);
    at_l.end_input();
    let c = Scat::connect_with(&["-v", "--peer", &format!("{} ann", l.public)], port);
    c.end().expect(0, "verified by key: ann");
    at_l.end().expect(0, "");
}

/// The user can then ask the other person whether the key is theirs.
#[test]
fn an_unexpected_key_is_shown_and_a_missing_one_reported() {
    let Keys { l, other, .. } = keys();
    let pinned = ["--peer", &other.public];
    let (_l, port) = Scat::listen_with(&["-i", l.file.arg()]);
    let shown = format!("scat: its key: {}\nscat: hint: ask them first", l.public);
    Scat::connect_with(&pinned, port).end().expect(4, &shown);
    let (_l, port) = Scat::listen();
    let ended = Scat::connect_with(&pinned, port).end().expect(4, "gave no key (-i)");
    assert!(!ended.stderr.contains("scat-public:"), "{}", ended.stderr);
}

#[test]
fn a_listener_shows_the_key_that_it_refuses() {
    let Keys { c, other, .. } = keys();
    let (mut l, port) = Scat::listen_with(&["--peer", &c.public]);
    Scat::connect_with(&["-i", other.file.arg()], port).end().expect(4, "does not accept");
    l.line("its key is not one of --peer");
    assert_eq!(l.line("unverified key: "), format!("scat: unverified key: {}", other.public));
    Scat::connect(port).end().expect(4, "does not accept");
    l.line("its key is not one of --peer, but made for one run: that end needs -i");
    // The refusal is a frame, sealed with the cipher that was agreed on.
    for features in CIPHERS {
        let options = Options { features, ..Options::default() };
        let error = Peer::connect(dial(port), options).err().unwrap().to_string();
        assert!(error.contains("ABORT [1]"), "{error}");
    }
}

#[test]
fn a_flight_1_under_another_psk_is_answered_with_the_preface_alone() {
    let (_scat, port) = Scat::listen_with(&["--psk", keys().psk.arg()]);
    let mut stream = dial(port);
    let options = Options { psk: Some([7; 32]), ..Options::default() };
    let mut handshake = Handshake::new(peer::Role::Connector, options).unwrap();
    stream.write_all(&handshake.flight1().unwrap()).unwrap();
    assert_eq!(read_flight(&mut stream, 8).unwrap(), preface(peer::Role::Listener, true));
    assert!(read_flight(&mut stream, 1).is_err(), "the end");
}
