//! Key files: never overwritten, read from any kind of file, refused if others can read them.

use crate::support::scat::{self, Place, Scat, closed_port, fifo, key_file, private_file, start};
use crate::support::skip;
use rustix::process::Signal;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn new_keys_are_what_is_read_back_and_never_overwrite() {
    let (identity, psk) = (Place::new("identity"), Place::new("psk"));
    let made = Scat::new(&["--genkey", identity.arg()]).end().expect(0, "");
    let shown = Scat::new(&["--pubkey", identity.arg()]).end().expect(0, "");
    assert_eq!(made.stdout, shown.stdout);
    let made = Scat::new(&["--genpsk", psk.arg()]).end().expect(0, "");
    assert!(made.stdout.is_empty() && made.stderr.is_empty());
    for path in [&identity, &psk] {
        let before = fs::read(path).unwrap();
        for make in ["--genkey", "--genpsk"] {
            let ended = Scat::new(&[make, path.arg()]).end().expect(1, "this file exists");
            assert!(ended.stdout.is_empty());
            assert_eq!(fs::read(path).unwrap(), before);
        }
    }
}

#[test]
fn key_files_may_be_pipes_and_fifos() {
    let file = key_file("secret", &[1; 32]);
    let shown = Scat::new(&["--pubkey", file.arg()]).end().expect(0, "").stdout;
    let text = fs::read(&file).unwrap();
    let mut piped = Scat::new(&["--pubkey", "/dev/stdin"]);
    piped.write(&text);
    assert_eq!(piped.end().expect(0, "").stdout, shown);

    let fifo = fifo("key.fifo");
    let reader = Scat::new(&["--pubkey", fifo.arg()]);
    let to = fifo.arg().to_owned();
    start(move || fs::write(to, text).unwrap()).join();
    assert_eq!(reader.end().expect(0, "").stdout, shown);

    let mut substituted = Command::new("bash");
    substituted.args(["-c", "exec \"$0\" --pubkey <(cat \"$1\")", &scat::program(), file.arg()]);
    if Command::new("bash").args(["-c", ":"]).status().is_err() {
        return skip("no bash, so no process substitution was tested");
    }
    substituted.stdout(Stdio::piped());
    assert_eq!(Scat::spawn(substituted).end().expect(0, "").stdout, shown);
}

#[test]
fn key_files_that_others_can_read_are_refused() {
    let (secret, psk) = (key_file("secret", &[1; 32]), key_file("psk", &[1; 32]));
    for file in [&secret, &psk] {
        fs::set_permissions(file, Permissions::from_mode(0o640)).unwrap();
    }
    let (secret, psk) = (secret.arg(), psk.arg());
    for args in
        [&["--pubkey", secret][..], &["-i", secret, "127.0.0.1", "1"], &["--psk", psk, "-l", "0"]]
    {
        let ended = Scat::new(args).end().expect(1, "other users can read or write this file");
        let ended = ended.expect(1, "hint: chmod 600, or <(cat FILE)");
        assert!(ended.stdout.is_empty() && !ended.stderr.contains("listening"));
    }
}

/// Their owner could put another key there. (A descriptor was opened by the user who started
/// scat.)
#[test]
fn key_files_of_other_users_are_refused() {
    const NOBODY: u32 = 65534;
    if !rustix::process::geteuid().is_root() {
        return skip("not root, so no file could be given to another user");
    }
    let secret = key_file("secret", &[1; 32]);
    let public = Scat::new(&["--pubkey", secret.arg()]).end().expect(0, "").stdout;
    let known = private_file("their-peers", &String::from_utf8(public).unwrap());
    let fifo = fifo("their.fifo");
    for file in [&secret, &known, &fifo] {
        chown(file, Some(NOBODY), None).unwrap();
    }
    let peer = format!("@{}", known.arg());
    let said = "this file belongs to another user";
    for option in [["-i", secret.arg()], ["--peer", &peer], ["--psk", fifo.arg()]] {
        let ended = Scat::new(&[&option, &["127.0.0.1", "1"][..]].concat()).end().expect(1, said);
        assert!(!ended.stderr.contains("connect"), "{}", ended.stderr);
    }
    let given = File::open(&secret).unwrap();
    Scat::between(&["--pubkey", "/dev/stdin"], given, Stdio::piped()).end().expect(0, "");

    // Other users may use a file that root owns.
    fs::set_permissions(&known, Permissions::from_mode(0o644)).unwrap();
    let (_taken, port) = closed_port(1);
    for (owner, status, said) in [(0, 3, "connection refused"), (NOBODY, 3, ""), (1, 1, said)] {
        chown(&known, Some(owner), None).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
        command.arg(scat::program()).args(["--peer", &peer, "127.0.0.1", &port.to_string()]);
        if Command::new("setpriv").arg("--version").output().is_err() {
            return skip("no setpriv, so nothing was tried as another user");
        }
        command.stdin(Stdio::null());
        Scat::spawn(command).end().expect(status, said);
    }
}

#[test]
fn files_without_a_valid_key_are_1() {
    for args in [["--pubkey", "/nonexistent"], ["--pubkey", "/dev/null"]] {
        Scat::new(&args).end().expect(1, args[1]);
    }
}

#[test]
fn a_key_of_the_wrong_kind_is_refused_by_name() {
    let secret = key_file("secret", &[1; 32]);
    let psk = key_file("psk", &[2; 32]);
    let shown = Scat::new(&["--pubkey", secret.arg()]).end().expect(0, "").stdout;
    let shown = String::from_utf8(shown).unwrap();
    let bare_key = shown.trim().strip_prefix("scat-public:").unwrap();
    let public = private_file("public", &shown);
    let bare = private_file("bare", bare_key);
    let empty = private_file("empty", "# nobody\n");
    let ssh = private_file("ssh", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n");
    let [secret, psk, public, bare, empty, ssh] =
        [&secret, &psk, &public, &bare, &empty, &ssh].map(Place::arg);
    let place = ["127.0.0.1", "1"];
    for (option, path, said, hint) in [
        ("--psk", public, "a public key, not a pre-shared key", "a public key is no secret"),
        ("--psk", secret, "a secret key, not a pre-shared key", "with -i"),
        ("--psk", bare, "the prefix scat-psk: is missing", "scat-psk: before"),
        ("--psk", empty, "contains no key", "--genpsk"),
        ("-i", public, "a public key, not a secret key", "--peer at the other end"),
        ("-i", psk, "a pre-shared key, not a secret key", "with --psk"),
        ("-i", ssh, "a key of ssh or another program, not of scat", "scat --genkey FILE"),
        ("-i", bare, "the prefix scat-secret: is missing", "scat-secret: before"),
        ("--pubkey", psk, "a pre-shared key, which has no public key", "--psk FILE"),
        ("--pubkey", public, "this is a public key already", "--peer @FILE"),
        ("--peer", &format!("@{secret}"), "a secret key, not a public key", "--pubkey FILE"),
        ("--peer", &format!("@{psk}"), "a pre-shared key, not a public key", "with --psk"),
        (
            "--peer",
            &format!("@{bare}"),
            "the prefix scat-public: is missing",
            "scat-public: before",
        ),
        // Accepting a file without keys would admit everybody.
        ("--peer", &format!("@{empty}"), "contains no key", ""),
        ("--peer", "@/nonexistent", "no such file", ""),
    ] {
        let place = if option == "--pubkey" { &[][..] } else { &place };
        let ended = Scat::new(&[&[option, path], place].concat()).end();
        let ended = ended.expect(1, said).expect(1, hint);
        assert!(ended.stdout.is_empty() && !ended.stderr.contains("connect"), "{}", ended.stderr);
    }
    let said = "the prefix scat-public: is missing";
    Scat::new(&["--peer", bare_key, "127.0.0.1", "1"]).end().expect(2, said);
    let public = format!("@{}", shown.trim());
    Scat::new(&["--peer", &public, "127.0.0.1", "1"]).end().expect(2, "without @");
}

#[test]
fn a_mistake_in_a_file_of_keys_is_told_with_its_line() {
    let key = "scat-public:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let named = |content: &[u8], said: &str| {
        let file = scat::file("friends", content);
        let peers = format!("@{}", file.arg());
        let ended = Scat::new(&["-w0.1", "-l", "--peer", &peers, "127.0.0.1", "0"]).end();
        ended.expect(1, &said.replace("FILE", file.arg()));
    };
    let typo = format!("# friends\n{key} ann\n\n{key} bob\noops\n{key}\n");
    named(typo.as_bytes(), "FILE line 5: not a public key");
    named(format!("{key}\nscat-psk:\n").as_bytes(), "FILE line 2: a pre-shared key, not");
    // Line ends as PowerShell and Notepad write them.
    let line = format!("{key} ann\r\n");
    let little: Vec<u8> = line.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = line.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for text in [[&b"\xff\xfe"[..], &little], [b"\xfe\xff", &big], [b"", &little], [b"", &big]] {
        named(&text.concat(), "FILE: UTF-16 text");
    }
    let marked = scat::file("marked", format!("\u{feff}{line}").as_bytes());
    let peers = format!("@{}", marked.arg());
    let ended = Scat::new(&["-w0.1", "-l", "--peer", &peers, "127.0.0.1", "0"]).end();
    ended.expect(3, "still listening");
}

/// Every user of the machine can read the arguments, and any passer-by the screen.
#[test]
fn a_secret_among_the_arguments_is_refused_and_not_repeated() {
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    for kind in ["scat-secret:", "scat-psk:"] {
        for secret in [format!("{kind}{key}"), format!("# mine\n{kind}{key}\n")] {
            for option in ["-i", "--psk", "--peer", "--pubkey", "--genkey", "--genpsk"] {
                let ended = Scat::new(&[option, &secret, "127.0.0.1", "1"]).end();
                let ended = ended.expect(2, "");
                assert!(!ended.stderr.contains("AAECAwQF"), "{option}: {}", ended.stderr);
                let said = if option == "--peer" { "" } else { "a secret key on the command line" };
                ended.expect(2, said);
            }
        }
    }
}

#[test]
fn a_wrong_file_is_reported_as_wrong_not_as_readable_by_others() {
    let text = "scat-public:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
    let public = private_file("public", text);
    fs::set_permissions(&public, Permissions::from_mode(0o644)).unwrap();
    Scat::new(&["--pubkey", public.arg()]).end().expect(1, "this is a public key already");
    let ended = Scat::new(&["-i", public.arg(), "127.0.0.1", "1"]).end();
    ended.expect(1, "a public key, not a secret key");
}

#[test]
fn a_fifo_that_nobody_writes_to_is_waited_for_until_w_or_a_signal() {
    let fifo = fifo("silent.fifo");
    let path = fifo.arg();
    let known = format!("@{path}");
    for option in [["-i", path], ["--psk", path], ["--peer", &known]] {
        let args = [&["-w", "0.2", "127.0.0.1", "1"], &option[..]].concat();
        Scat::new(&args).end().expect(3, "no session in 0.2 s");
        let mut waits = Scat::new(&[&["127.0.0.1", "1"], &option[..]].concat());
        assert!(!waits.ends_within(Duration::from_millis(200)));
        waits.signal(Signal::TERM);
        waits.end().expect_signal(Signal::TERM);
    }
    // Anyone who may write to the FIFO chooses the key.
    fs::set_permissions(&fifo, Permissions::from_mode(0o622)).unwrap();
    for (option, said) in [
        (["-i", path], "other users can read or write this file"),
        (["--psk", path], "other users can read or write this file"),
        (["--peer", &known], "other users can write this file"),
    ] {
        Scat::new(&[&["127.0.0.1", "1"], &option[..]].concat()).end().expect(1, said);
    }
}
