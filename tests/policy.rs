//! Whom each side accepts: every pair of policies, wrong keys, pre-shared keys,
//! key files, and the exit status that each of them promises.

mod peer;
mod pty;
mod scat;

use peer::{Handshake, Options, Peer, preface, read_flight};
use pty::Terminal;
use scat::{Ended, Scat, dial};
use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// An identity file and its public key.
struct Identity {
    file: String,
    public: String,
}

impl Identity {
    fn new(name: &str) -> Identity {
        let file = absent(name);
        let made = Scat::new(&["--genkey", &file]).end().expect(0, "");
        Identity { file, public: String::from_utf8(made.stdout).unwrap().trim().to_owned() }
    }
}

/// The path of a file that is not there, this process's own.
fn absent(name: &str) -> String {
    let path = format!("{}/{name}-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    // One of an earlier process, which may be a FIFO that nobody reads.
    let _ = std::fs::remove_file(&path);
    path
}

fn psk(name: &str) -> String {
    let path = absent(name);
    let made = Scat::new(&["--genpsk", &path]).end().expect(0, "");
    assert!(made.stdout.is_empty() && made.stderr.is_empty());
    path
}

/// One key file for each purpose, for all tests.
struct Keys {
    l: Identity,
    c: Identity,
    other: Identity,
    psk: String,
    other_psk: String,
}

fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| Keys {
        l: Identity::new("policy-l"),
        c: Identity::new("policy-c"),
        other: Identity::new("policy-other"),
        psk: psk("policy-psk"),
        other_psk: psk("policy-other-psk"),
    })
}

/// How one side makes sure; nothing of it is compare.
#[derive(Clone, Copy, Debug, Default)]
struct Way {
    confirm: bool,
    peer: bool,
    psk: bool,
}

impl Way {
    /// All eight.
    fn all() -> impl Iterator<Item = Way> {
        (0..8).map(|i| Way { confirm: i & 1 > 0, peer: i & 2 > 0, psk: i & 4 > 0 })
    }

    fn args(self, own: &'static Identity, other: &'static Identity) -> Vec<&'static str> {
        let mut args = vec!["-i", &own.file];
        args.extend(self.confirm.then_some("-c"));
        args.extend(self.peer.then_some(["--peer", other.public.as_str()]).iter().flatten());
        args.extend(self.psk.then_some(["--psk", keys().psk.as_str()]).iter().flatten());
        args
    }

    /// What it says of the peer's identity; nothing where a person asks.
    fn said(self) -> &'static str {
        match self {
            Way { confirm: true, .. } => "",
            Way { peer: true, psk: true, .. } => "; verified by key and pre-shared key",
            Way { peer: true, .. } => "; verified by key",
            Way { psk: true, .. } => "; verified by pre-shared key",
            _ => "; not verified. Compare by voice, and stop if they differ:",
        }
    }
}

/// One side and the person before its terminal.
struct End {
    scat: Scat,
    at: Terminal,
    way: Way,
}

impl End {
    /// The three words that its person says.
    fn says(&mut self, first: &str) -> String {
        let text = match self.way.said() {
            "" => {
                self.at.wait_for(first);
                self.at.wait_for("\r\n")
            }
            said @ "; not verified. Compare by voice, and stop if they differ:" => {
                self.scat.line(said);
                self.scat.words().you_say
            }
            said => {
                self.scat.line(said);
                let line = self.scat.line("if they ask, you say: ");
                line.split_once("you say: ").unwrap().1.to_owned()
            }
        };
        text.split_once('(').unwrap().0.trim().to_owned()
    }

    /// Its person hears these words and does what there is to do.
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
    let keys = keys();
    let (at_l, at_c) = (Terminal::new(), Terminal::new());
    let mut l_args = vec!["-l", "127.0.0.1", "0"];
    l_args.extend(l_way.args(&keys.l, &keys.c));
    let (l, port) = at_l.start(&l_args).with_port();
    let port = port.to_string();
    let mut c_args = vec!["127.0.0.1", &port];
    c_args.extend(c_way.args(&keys.c, &keys.l));
    let c = at_c.start(&c_args);
    (End { scat: l, at: at_l, way: l_way }, End { scat: c, at: at_c, way: c_way })
}

#[test]
fn any_two_policies_work_together() {
    if !pty::is_available() {
        return;
    }
    for l_way in Way::all() {
        for c_way in Way::all().filter(|c_way| c_way.psk == l_way.psk) {
            let (mut l, mut c) = start(l_way, c_way);
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
            // Who verifies by key sees its own half alone, so nobody takes the other's for granted.
            assert_eq!(c.stderr.contains(&words), !c_way.confirm && !c_way.peer && !c_way.psk);
            assert_eq!(l.stderr.contains(&answer), !l_way.confirm && !l_way.peer && !l_way.psk);
        }
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
                "listener wants a pre-shared key"
            } else {
                "listener has no pre-shared key"
            };
            let ended = c.scat.end().expect(4, said);
            assert!(ended.stdout.is_empty());
            // Said without -v.
            l.scat.line("only one side has a pre-shared key");
            assert_eq!((l.at.screen(), c.at.screen()), ("", ""), "nobody is asked");
        }
    }
}

/// A listener that turns away whoever comes with `turned_away`, and after that
/// takes who comes with `taken`.
#[track_caller]
fn turns_away(
    listen: &[&str],
    turned_away: &[&str],
    ended: (i32, &str),
    logged: &str,
    taken: &[&str],
) -> Ended {
    let (mut l, port) = Scat::new(&[&["-lv", "127.0.0.1", "0"], listen].concat()).with_port();
    l.write(b"for the right one");
    let port = port.to_string();
    let place = ["127.0.0.1", &port];
    for _ in 0..2 {
        let mut c = Scat::new(&[&place, turned_away].concat());
        // It may have ended by now.
        let _ = c.stdin.take().unwrap().write_all(b"from the wrong one");
        let c = c.end_by_itself().expect(ended.0, ended.1);
        assert!(c.stdout.is_empty());
        assert!(!c.stderr.contains("you say"), "{}", c.stderr);
        assert!(!c.stderr.contains("hint: is it"), "{}", c.stderr);
    }
    l.line(logged);
    let mut c = Scat::new(&[&place, taken].concat());
    c.write(b"from the right one");
    c.end_input();
    l.end_input();
    assert_eq!(c.end().expect(0, "").stdout, b"for the right one");
    let l = l.end().expect(0, logged);
    assert_eq!(l.stdout, b"from the right one");
    assert_eq!(l.stderr.matches(logged).count(), 2, "{}", l.stderr);
    assert_eq!(l.stderr.matches("you say").count(), 1, "{}", l.stderr);
    l
}

#[test]
fn a_connector_whose_key_is_not_pinned_is_told_and_exits_4() {
    let Keys { l, c, other, psk, .. } = keys();
    let said = (4, "the listener refused our key");
    let logged = "its key is not one of --peer";
    turns_away(&["--peer", &c.public], &[], said, logged, &["-i", &c.file]);
    turns_away(&["--peer", &c.public], &["-i", &other.file], said, logged, &["-i", &c.file]);
    turns_away(
        &["--peer", &c.public, "--psk", psk, "-i", &l.file],
        &["-i", &other.file, "--psk", psk, "--peer", &l.public],
        said,
        logged,
        &["-i", &c.file, "--psk", psk, "--peer", &l.public],
    );
}

#[test]
fn a_listener_whose_key_is_not_pinned_is_left_before_anything_is_sent() {
    let Keys { l, c, other, psk, .. } = keys();
    let said = (4, "the listener's key is not the one expected");
    let logged = "hung up during the handshake";
    turns_away(&[], &["--peer", &l.public], said, logged, &[]);
    turns_away(&["-i", &l.file], &["--peer", &other.public], said, logged, &["--peer", &l.public]);
    turns_away(
        &["-i", &l.file, "--psk", psk, "--peer", &c.public],
        &["-i", &c.file, "--psk", psk, "--peer", &other.public],
        said,
        logged,
        &["-i", &c.file, "--psk", psk, "--peer", &l.public],
    );
}

#[test]
fn different_psks_are_said_at_both_ends() {
    let Keys { l, psk, other_psk, .. } = keys();
    turns_away(
        &["--psk", psk, "-i", &l.file],
        &["--psk", other_psk, "--peer", &l.public],
        (4, "the pre-shared keys may differ"),
        "the pre-shared keys differ",
        &["--psk", psk],
    );
}

#[test]
fn one_psk_only_leaves_the_listener_listening() {
    let Keys { psk, .. } = keys();
    let logged = "only one side has a pre-shared key";
    turns_away(&["--psk", psk], &[], (4, "wants a pre-shared key"), logged, &["--psk", psk]);
    turns_away(&[], &["--psk", psk], (4, "has no pre-shared key"), logged, &[]);
}

#[test]
fn the_same_identity_at_both_ends_is_a_connection_to_oneself() {
    let Keys { l, c, psk, .. } = keys();
    let said = (4, "connected to myself");
    let logged = "hung up during the handshake";
    turns_away(&["-i", &l.file], &["-i", &l.file], said, logged, &["-i", &c.file]);
    turns_away(
        &["-i", &l.file, "--psk", psk],
        &["-i", &l.file, "--psk", psk],
        said,
        logged,
        &["-i", &c.file, "--psk", psk],
    );
}

#[test]
fn a_wrong_pin_ends_it_before_anybody_is_asked() {
    if !pty::is_available() {
        return;
    }
    let Keys { l, c, other, .. } = keys();
    let (mut at_l, mut at_c) = (Terminal::new(), Terminal::new());
    let (mut listener, port) =
        at_l.start(&["-lcv", "127.0.0.1", "0", "-i", &l.file, "--peer", &c.public]).with_port();
    let port = port.to_string();
    let place = ["-c", "127.0.0.1", &port];
    let c = at_c.start(&[&place, &["-i", other.file.as_str()][..]].concat());
    c.end().expect(4, "the listener refused our key");
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
        let pins = ["-l", "127.0.0.1", "0", "--peer", &c.public, "--peer", &other.public];
        let (mut l, port) = Scat::new(&pins).with_port();
        l.end_input();
        let c = Scat::new(&["127.0.0.1", &port.to_string(), "-i", &identity.file]);
        c.end().expect(0, "");
        l.end().expect(0, "verified by key");
    }
}

#[test]
fn pins_that_cannot_be_are_usage_errors() {
    let Keys { c, other, .. } = keys();
    let two = ["--peer", &c.public, "--peer", &other.public, "127.0.0.1", "1"];
    Scat::new(&two).end().expect(2, "--peer can be repeated with -l only");
    let unpadded = c.public.trim_end_matches('=');
    for wrong in ["", "kiwi", "bob.pub", unpadded, &format!("{0}{0}", c.public)] {
        let ended = Scat::new(&["--peer", wrong, "127.0.0.1", "1"]).end();
        ended.expect(2, "not a public key: scat-public:").expect(2, "--peer @FILE");
    }
}

#[test]
fn on_request_the_key_to_pin_is_shown() {
    let Keys { l, .. } = keys();
    for (args, shown) in [(["-v"], true), (["-n"], false)] {
        let (mut listener, port) = Scat::new(&["-l", "127.0.0.1", "0", "-i", &l.file]).with_port();
        listener.end_input();
        let c = Scat::new(&[&["127.0.0.1", &port.to_string()], &args[..]].concat());
        let c = c.end().expect(0, "");
        assert_eq!(c.stderr.contains(&format!("their key: {}", l.public)), shown, "{}", c.stderr);
        listener.end().expect(0, "");
    }
}

#[test]
fn key_files_are_read_from_fifos_and_refused_when_others_can_read_them() {
    let Keys { l, .. } = keys();
    let text = std::fs::read(&l.file).unwrap();
    let mut piped = Scat::new(&["--pubkey", "/dev/stdin"]);
    piped.write(&text);
    let shown = piped.end().expect(0, "").stdout;
    assert_eq!(shown, format!("{}\n", l.public).into_bytes());

    let fifo = absent("policy-fifo");
    assert!(Command::new("mkfifo").args(["-m", "600", &fifo]).status().unwrap().success());
    let reader = Scat::new(&["--pubkey", &fifo]);
    let (to, content) = (fifo.clone(), text.clone());
    let written = scat::start(move || std::fs::write(to, content).unwrap());
    written.join();
    assert_eq!(reader.end().expect(0, "").stdout, shown);
    std::fs::remove_file(&fifo).unwrap();

    let mut substituted = Command::new("bash");
    substituted.args(["-c", "exec \"$0\" --pubkey <(cat \"$1\")", &scat::program(), &l.file]);
    substituted.stdout(Stdio::piped());
    assert_eq!(Scat::spawn(substituted).end().expect(0, "").stdout, shown);

    let open = absent("policy-open");
    std::fs::copy(&l.file, &open).unwrap();
    assert!(Command::new("chmod").args(["640", &open]).status().unwrap().success());
    for args in
        [&["--pubkey", &open][..], &["-i", &open, "127.0.0.1", "1"], &["--psk", &open, "-l", "0"]]
    {
        let ended = Scat::new(args).end().expect(1, "others may read or write this file");
        assert!(ended.stdout.is_empty() && !ended.stderr.contains("listening"));
    }
    for args in [["--pubkey", "/nonexistent"], ["--pubkey", "/dev/null"]] {
        Scat::new(&args).end().expect(1, args[1]);
    }
}

#[test]
fn a_key_of_the_wrong_kind_is_refused_by_name() {
    let Keys { l, psk, .. } = keys();
    let file = |name: &str, text: &str| {
        let path = absent(name);
        std::fs::write(&path, text).unwrap();
        assert!(Command::new("chmod").args(["600", &path]).status().unwrap().success());
        path
    };
    let public = file("policy-public", &format!("{}\n", l.public));
    let bare = file("policy-bare", &l.public["scat-public:".len()..]);
    let empty = file("policy-empty", "# nobody\n");
    let place = ["127.0.0.1", "1"];
    for (option, path, said, hint) in [
        ("--psk", &public, "a public key, not a pre-shared key", "everybody may have"),
        ("--psk", &l.file, "a secret key, not a pre-shared key", "with -i"),
        ("--psk", &bare, "does not say that it is a pre-shared key", "scat-psk: in front"),
        ("--psk", &empty, "no key in it", "--genpsk"),
        ("-i", &public, "a public key, not a secret key", "--peer at the other end"),
        ("-i", psk, "a pre-shared key, not a secret key", "with --psk"),
        ("-i", &bare, "does not say that it is a secret key", "scat-secret: in front"),
        ("--pubkey", psk, "a pre-shared key, which has no public key", "--psk FILE"),
        ("--pubkey", &public, "this is the public key already", "--peer @FILE"),
        ("--peer", &format!("@{}", l.file), "a secret key, not a public key", "--pubkey FILE"),
        ("--peer", &format!("@{psk}"), "a pre-shared key, not a public key", "with --psk"),
        ("--peer", &format!("@{bare}"), "does not say that it is a public key", "scat-public: in"),
        // No key in it would admit everybody.
        ("--peer", &format!("@{empty}"), "no key in it", ""),
        ("--peer", &"@/nonexistent".to_owned(), "no such file", ""),
    ] {
        let place = if option == "--pubkey" { &[][..] } else { &place };
        let ended = Scat::new(&[&[option, path.as_str()], place].concat()).end();
        let ended = ended.expect(1, said).expect(1, hint);
        assert!(ended.stdout.is_empty() && !ended.stderr.contains("connect"), "{}", ended.stderr);
    }
    let bare = &l.public["scat-public:".len()..];
    let said = "does not say that it is a public key";
    Scat::new(&["--peer", bare, "127.0.0.1", "1"]).end().expect(2, said);
    // Not repeated on the screen.
    let secret = format!("scat-secret:{bare}");
    let ended = Scat::new(&["--peer", &secret, "127.0.0.1", "1"]).end();
    let ended = ended.expect(2, "a secret key on the command line");
    assert!(!ended.stderr.contains(bare), "{}", ended.stderr);
}

#[test]
fn a_file_of_peers_names_who_has_come_at_both_ends() {
    let Keys { l, c, other, .. } = keys();
    let path = absent("policy-peers");
    let text =
        format!("# people\n{}\n\n{} bob at home\n{} ann\n", other.public, c.public, l.public);
    std::fs::write(&path, text).unwrap();
    let known = format!("@{path}");
    for (own, said) in [
        (c, "; verified by key: bob at home".to_owned()),
        // Without a name, the key itself.
        (other, format!("scat: their key: {}", other.public)),
    ] {
        let pins = ["-l", "127.0.0.1", "0", "-i", &l.file, "--peer", &known];
        let (mut l, port) = Scat::new(&pins).with_port();
        l.end_input();
        let port = port.to_string();
        let c = Scat::new(&["127.0.0.1", &port, "-i", &own.file, "--peer", &known]);
        c.end().expect(0, "; verified by key: ann");
        l.end().expect(0, &said);
    }
    // A name may also stand behind the key in one argument.
    let (mut at_l, port) = Scat::new(&["-l", "127.0.0.1", "0", "-i", &l.file]).with_port();
    at_l.end_input();
    let ann = format!("{} ann", l.public);
    let c = Scat::new(&["127.0.0.1", &port.to_string(), "--peer", &ann]);
    c.end().expect(0, "; verified by key: ann");
    at_l.end().expect(0, "");
}

#[test]
fn a_listener_shows_the_key_that_it_refuses() {
    let Keys { c, other, .. } = keys();
    let (mut l, port) = Scat::new(&["-l", "127.0.0.1", "0", "--peer", &c.public]).with_port();
    let port = port.to_string();
    Scat::new(&["127.0.0.1", &port, "-i", &other.file]).end().expect(4, "refused our key");
    l.line("its key is not one of --peer");
    assert_eq!(l.line("their key: "), format!("scat: their key: {}", other.public));
    Scat::new(&["127.0.0.1", &port]).end().expect(4, "refused our key");
    l.line("its key is not one of --peer, and new for this run: -i gives it a lasting one");
}

#[test]
fn a_fifo_that_nobody_writes_to_is_waited_for_until_w_or_a_signal() {
    let fifo = absent("policy-silent-fifo");
    assert!(Command::new("mkfifo").args(["-m", "600", &fifo]).status().unwrap().success());
    let known = format!("@{fifo}");
    for option in [["-i", &fifo], ["--psk", &fifo], ["--peer", &known]] {
        let args = [&["-w", "0.2", "127.0.0.1", "1"], &option[..]].concat();
        Scat::new(&args).end().expect(3, "within 200ms");
        let mut waits = Scat::new(&[&["127.0.0.1", "1"], &option[..]].concat());
        assert!(!waits.ends_within(std::time::Duration::from_millis(200)));
        waits.signal(rustix::process::Signal::TERM);
        assert_eq!(waits.end().signal, Some(rustix::process::Signal::TERM.as_raw()));
    }
    // Who may write it chooses the key.
    assert!(Command::new("chmod").args(["622", &fifo]).status().unwrap().success());
    for (option, said) in [
        (["-i", &fifo], "others may read or write this file"),
        (["--psk", &fifo], "others may read or write this file"),
        (["--peer", &known], "others may write this file"),
    ] {
        Scat::new(&[&["127.0.0.1", "1"], &option[..]].concat()).end().expect(1, said);
    }
    std::fs::remove_file(&fifo).unwrap();
}

#[test]
fn new_keys_never_overwrite() {
    let Keys { l, psk, .. } = keys();
    for path in [&l.file, psk] {
        let before = std::fs::read(path).unwrap();
        for make in ["--genkey", "--genpsk"] {
            let ended = Scat::new(&[make, path]).end().expect(1, "file exists");
            assert!(ended.stdout.is_empty());
            assert_eq!(std::fs::read(path).unwrap(), before);
        }
    }
}

fn psk_bytes(path: &str) -> [u8; 32] {
    // base64 without a crate for it: four characters are three bytes.
    let text = std::fs::read_to_string(path).unwrap();
    let (_, text) = text.split_once("\nscat-psk:").unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    for group in text.trim().as_bytes().chunks(4) {
        let bits = group
            .iter()
            .fold(0, |bits, &c| bits << 6 | alphabet.find(char::from(c)).unwrap_or(0) as u32);
        bytes.extend(&bits.to_be_bytes()[1..]);
    }
    bytes[..32].try_into().unwrap()
}

/// Bytes both ways and a good end.
fn converse(mut scat: Scat, mut peer: Peer) {
    let (there, back) = (scat::noise(1, 100_000), scat::noise(2, 100_000));
    peer.send_data(&there).unwrap();
    assert!(scat.read(there.len()) == there);
    scat.write(&back);
    scat.end_input();
    assert!(peer.finish().unwrap() == back);
    scat.end().expect(0, "verified by pre-shared key");
}

#[test]
fn flights_under_a_psk_have_their_sizes_and_prefaces_when_scat_connects() {
    let path = &keys().psk;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let scat = Scat::new(&["--psk", path, "127.0.0.1", &port]);
    let mut stream = listener.accept().unwrap().0;
    let options = Options { psk: Some(psk_bytes(path)), ..Options::default() };
    let mut handshake = Handshake::new(peer::Role::Listener, options).unwrap();
    let flight1 = read_flight(&mut stream, 1256).unwrap();
    assert_eq!(&flight1[..8], b"SCAT1C\x01\n");
    handshake.read_flight1(&flight1).unwrap();
    let flight2 = handshake.flight2().unwrap();
    assert_eq!(flight2.len(), 1241);
    stream.write_all(&flight2).unwrap();
    // A byte more before this one, and the sizes would not fit the bytes.
    handshake.read_flight3(&read_flight(&mut stream, 97).unwrap()).unwrap();
    let mut peer = handshake.into_peer(stream).unwrap();
    peer.send_open().unwrap();
    converse(scat, peer);
}

#[test]
fn flights_under_a_psk_have_their_sizes_and_prefaces_when_scat_listens() {
    let path = &keys().psk;
    let (scat, port) = Scat::new(&["--psk", path, "-l", "127.0.0.1", "0"]).with_port();
    let mut stream = dial(port);
    let options = Options { psk: Some(psk_bytes(path)), ..Options::default() };
    let mut handshake = Handshake::new(peer::Role::Connector, options).unwrap();
    let flight1 = handshake.flight1().unwrap();
    assert_eq!(flight1.len(), 1256);
    stream.write_all(&flight1).unwrap();
    let flight2 = read_flight(&mut stream, 1241).unwrap();
    assert_eq!(&flight2[..8], b"SCAT1L\x01\n");
    handshake.read_flight2(&flight2).unwrap();
    let flight3 = handshake.flight3().unwrap();
    assert_eq!(flight3.len(), 97);
    stream.write_all(&flight3).unwrap();
    let mut peer = handshake.into_peer(stream).unwrap();
    peer.receive_open().unwrap();
    converse(scat, peer);
}

#[test]
fn a_flight_1_under_another_psk_is_answered_with_the_preface_alone() {
    let (_scat, port) = Scat::new(&["--psk", &keys().psk, "-l", "127.0.0.1", "0"]).with_port();
    let mut stream = dial(port);
    let options = Options { psk: Some([7; 32]), ..Options::default() };
    let mut handshake = Handshake::new(peer::Role::Connector, options).unwrap();
    stream.write_all(&handshake.flight1().unwrap()).unwrap();
    assert_eq!(read_flight(&mut stream, 8).unwrap(), preface(peer::Role::Listener, true));
    assert!(read_flight(&mut stream, 1).is_err(), "the end");
}
