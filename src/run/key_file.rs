//! Key files: one key and any number of `#` lines, readable only by the owner.
//!
//! There are no passphrases, because an eavesdropper could test them offline against
//! flight 1. A key that is stored encrypted is passed through a pipe: `-i <(age -d
//! key.age)`.

use crate::auth::keys::{self, ENCODED, Fault, Kind, KnownKey, parse, parse_public, public};
use crate::error::{Error, Stage};
use crate::protocol::secret::Secret;
use crate::sys::file::{PrivateFile, create_private, is_descriptor};
use crate::sys::poller::{KEY_FILE, Poller};
use crate::ui::report::Report;
use crate::ui::waiting::{Deadline, Waiting};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io;
use std::path::Path;
use zeroize::Zeroizing;

/// Largest file in bytes: some ten thousand public keys.
const LIMIT: usize = 1 << 20;

/// Reads a secret key or a pre-shared key, as `wanted` says. Waits for a FIFO until
/// `deadline`.
///
/// # Errors
/// [`Error::Key`] if the file is missing, exposed or not such a key; [`Error::Waited`],
/// [`Error::Signal`].
#[inline(never)] // what it leaves on the stack is wiped by its caller's next wait
pub fn read(
    path: &Path,
    wanted: Kind,
    poller: &mut Poller,
    deadline: &Deadline,
    report: &Report,
) -> Result<Secret, Error> {
    let content = content(path, wanted, poller, deadline, report)?;
    let mut keys = lines(&content.text).map(|(_, line)| parse(line, wanted));
    let key =
        keys.next().unwrap_or(Err(Fault::Empty(wanted))).map_err(|fault| failed(path, fault))?;
    match (keys.next(), content.unsafe_because) {
        (Some(_), _) => Err(failed(path, Fault::Several)),
        // No generator produces it, and an attacker would try it first.
        _ if key.iter().all(|&byte| byte == 0) => Err(failed(path, Fault::Zero)),
        (None, Some(fault)) => Err(failed(path, fault)),
        (None, None) => Ok(key),
    }
}

/// Reads an identity and returns its public key.
///
/// # Errors
/// As [`read`].
pub fn read_public(
    path: &Path,
    poller: &mut Poller,
    deadline: &Deadline,
    report: &Report,
) -> Result<String, Error> {
    match read(path, Kind::Secret, poller, deadline, report) {
        Ok(secret) => Ok(public(&secret)),
        Err(Error::Key(keys::Error { fault: Fault::Kind { is, .. }, .. })) => {
            Err(failed(path, Fault::NoPublic(is)))
        }
        Err(error) => Err(error),
    }
}

/// Reads public keys, one per line. There must be at least one: none would admit
/// everyone.
///
/// # Errors
/// As [`read`]; but others may read such a file, only not write it.
pub fn read_known(
    path: &Path,
    poller: &mut Poller,
    deadline: &Deadline,
    report: &Report,
) -> Result<Vec<KnownKey>, Error> {
    let content = content(path, Kind::Public, poller, deadline, report)?;
    let known = |(number, line)| {
        let key = parse_public(&String::from_utf8_lossy(line));
        key.map_err(|fault| fault.at(format!("{} line {number}", path.display())).into())
    };
    let known: Vec<_> = lines(&content.text).map(known).collect::<Result<_, Error>>()?;
    match content.unsafe_because {
        _ if known.is_empty() => Err(failed(path, Fault::Empty(Kind::Public))),
        Some(fault) => Err(failed(path, fault)),
        None => Ok(known),
    }
}

/// Returns the lines that are neither empty nor comments, without surrounding white
/// space, and their numbers. Skips a byte-order mark, as Notepad writes it.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let lines = (1..).zip(text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#"))
}

/// Content of a file.
struct Content {
    text: Zeroizing<Vec<u8>>,
    /// Others have access to the file that they must not have. scat reports this only if
    /// the content is right, so that it never advises to chmod the wrong file.
    unsafe_because: Option<Fault>,
}

/// Reads a file of `wanted` keys.
fn content(
    path: &Path,
    wanted: Kind,
    poller: &mut Poller,
    deadline: &Deadline,
    report: &Report,
) -> Result<Content, Error> {
    let system = |err| failed(path, Fault::System(err));
    let mut file = PrivateFile::open(path).map_err(|err| match err.kind() {
        io::ErrorKind::NotFound => failed(path, Fault::Missing(wanted)),
        _ => system(err),
    })?;
    let unsafe_because = match wanted {
        _ if file.is_of_another_user() && !is_descriptor(path) => Some(Fault::AnotherUsers),
        Kind::Public if file.is_writable_by_others() => Some(Fault::Writable),
        Kind::Secret | Kind::Psk if file.is_exposed() => Some(Fault::Exposed),
        _ => None,
    };
    // Do not wait for a file that others may write.
    let unsafe_because = match unsafe_because {
        Some(fault) if file.is_fifo() => return Err(failed(path, fault)),
        other => other,
    };
    file.watch(poller, KEY_FILE).map_err(system)?;
    let mut has_to_wait = file.is_fifo();
    let stage = Stage::KeyFile(path.display().to_string());
    let mut waiting = Waiting::new(stage, deadline, report);
    let mut text = Zeroizing::new(vec![0; 4096]);
    let mut len = 0;
    loop {
        while has_to_wait {
            waiting.poll(poller, None)?;
            has_to_wait = poller.ready().all(|ready| ready.token != KEY_FILE);
        }
        if len == text.len() {
            if len >= LIMIT {
                return Err(failed(path, Fault::TooLong(wanted)));
            }
            // A vector that grows by itself would leave copies of the key behind.
            let mut longer = Zeroizing::new(vec![0; 2 * len]);
            longer[..len].copy_from_slice(&text);
            text = longer;
        }
        match file.read(&mut text[len..]) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(err) => match err.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => has_to_wait = true,
                _ => return Err(system(err)),
            },
        }
    }
    file.unwatch(poller);
    text.truncate(len);
    // UTF-16: a byte-order mark, or an ASCII character first.
    if let [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, 1..0x80, ..] | [1..0x80, 0, ..] = text[..] {
        return Err(failed(path, Fault::Utf16));
    }
    Ok(Content { text, unsafe_because })
}

/// Writes an identity to a new file, readable only by its owner.
///
/// # Errors
/// [`Error::Key`], mostly if the file exists already.
pub fn create_secret(path: &Path, secret: &Secret) -> Result<(), Error> {
    let public = public(secret);
    let comment = format!(
        "# scat secret key, for -i: keep it to yourself\n\
         # its public key, for --peer at the other end:\n\
         # {public}\n"
    );
    create(path, &comment, Kind::Secret, secret)
}

/// Writes a pre-shared key to a new file, readable only by its owner.
///
/// # Errors
/// As [`create_secret`].
pub fn create_psk(path: &Path, psk: &Secret) -> Result<(), Error> {
    let comment =
        "# scat pre-shared key, for --psk: the same file at every end, and nowhere else\n";
    create(path, comment, Kind::Psk, psk)
}

fn create(path: &Path, comment: &str, kind: Kind, key: &Secret) -> Result<(), Error> {
    let before = [comment.as_bytes(), kind.prefix().as_bytes()].concat();
    let mut text = Zeroizing::new(vec![b'\n'; before.len() + ENCODED + 1]);
    text[..before.len()].copy_from_slice(&before);
    STANDARD
        .encode_slice(key.as_slice(), &mut text[before.len()..][..ENCODED])
        .map_err(|_| failed(path, Fault::Malformed(kind)))?;
    create_private(path, &text).map_err(|err| match err.kind() {
        io::ErrorKind::AlreadyExists => failed(path, Fault::Exists),
        _ => failed(path, Fault::System(err)),
    })
}

fn failed(path: &Path, fault: Fault) -> Error {
    fault.at(path.display().to_string()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::path::PathBuf;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn counting() -> [u8; 32] {
        std::array::from_fn(|i| i as u8)
    }

    /// A directory of one test, removed at its end.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Place {
            let own = format!("scat-keys-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(own);
            std::fs::create_dir(&path).unwrap();
            Place(path)
        }

        fn file(&self, content: &str, mode: u32) -> PathBuf {
            let path = self.0.join("key");
            let _ = std::fs::remove_file(&path);
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn read_as(path: &Path, kind: Kind) -> Result<Secret, Fault> {
        let mut poller = Poller::new().unwrap();
        read(path, kind, &mut poller, &Deadline::new(None), &Report::new(None)).map_err(fault)
    }

    fn read_all(path: &Path) -> Result<Vec<KnownKey>, Fault> {
        let mut poller = Poller::new().unwrap();
        read_known(path, &mut poller, &Deadline::new(None), &Report::new(None)).map_err(fault)
    }

    fn fault(error: Error) -> Fault {
        match error {
            Error::Key(error) => error.fault,
            error => panic!("{error}"),
        }
    }

    #[test]
    fn comments_empty_lines_and_white_space_are_no_keys() {
        let place = Place::new("lines");
        for text in [
            format!("scat-psk:{KEY}"),
            format!("scat-psk:{KEY}\n"),
            format!("# from Ann\r\n\r\n  scat-psk:{KEY}  \r\n#scat-psk:{KEY}\n"),
            format!("{}scat-psk:{KEY}\n", "# long\n".repeat(2000)),
        ] {
            assert_eq!(*read_as(&place.file(&text, 0o600), Kind::Psk).unwrap(), counting());
        }
        for text in ["", "\n", "# scat-psk:\n"] {
            let read = read_as(&place.file(text, 0o600), Kind::Psk);
            assert!(matches!(read, Err(Fault::Empty(_))), "{text:?}");
        }
        let zeros = format!("scat-psk:{}=\n", "A".repeat(43));
        assert!(matches!(read_as(&place.file(&zeros, 0o600), Kind::Psk), Err(Fault::Zero)));
        let two = format!("scat-psk:{KEY}\n").repeat(2);
        assert!(matches!(read_as(&place.file(&two, 0o600), Kind::Psk), Err(Fault::Several)));
        let named = format!("scat-psk:{KEY} ann\n");
        assert!(matches!(read_as(&place.file(&named, 0o600), Kind::Psk), Err(Fault::Malformed(_))));
        let long = "#".repeat(LIMIT + 1);
        assert!(matches!(read_as(&place.file(&long, 0o600), Kind::Psk), Err(Fault::TooLong(_))));
    }

    #[test]
    fn a_file_of_public_keys_has_one_at_least_and_no_other_kind() {
        let place = Place::new("known");
        let two = format!("# friends\nscat-public:{KEY} ann\n\nscat-public:{KEY}\n");
        let known = read_all(&place.file(&two, 0o644)).unwrap();
        let names: Vec<_> = known.iter().map(|known| known.name.as_deref()).collect();
        assert_eq!(names, [Some("ann"), None]);
        assert!(known.iter().all(|known| known.key == counting()));
        // An empty list would admit everyone.
        assert!(matches!(read_all(&place.file("# nobody\n", 0o644)), Err(Fault::Empty(_))));
        let secret = format!("scat-public:{KEY}\nscat-secret:{KEY}\n");
        assert!(matches!(read_all(&place.file(&secret, 0o600)), Err(Fault::Kind { .. })));
        let bare = format!("scat-public:{KEY}\n{KEY}\n");
        assert!(matches!(read_all(&place.file(&bare, 0o600)), Err(Fault::Bare(_))));
    }

    #[test]
    fn a_file_that_others_can_read_or_write_is_refused() {
        let place = Place::new("mode");
        let secret = format!("scat-secret:{KEY}\n");
        let public = format!("scat-public:{KEY}\n");
        for bit in [0o40, 0o20, 0o10, 0o4, 0o2, 0o1] {
            let read = read_as(&place.file(&secret, 0o600 | bit), Kind::Secret);
            assert!(matches!(read, Err(Fault::Exposed)), "{bit:o}");
        }
        // The report is that it is the wrong file, not that others may read it.
        for (text, mode) in [("", 0o644), (public.as_str(), 0o644), ("nothing\n", 0o666)] {
            let read = read_as(&place.file(text, mode), Kind::Secret);
            assert!(!matches!(read, Ok(_) | Err(Fault::Exposed)), "{text:?}");
        }
        for mode in [0o600, 0o400, 0o700] {
            assert!(read_as(&place.file(&secret, mode), Kind::Secret).is_ok(), "{mode:o}");
        }
        for mode in [0o620, 0o602] {
            let read = read_all(&place.file(&public, mode));
            assert!(matches!(read, Err(Fault::Writable)), "{mode:o}");
        }
        assert!(read_all(&place.file(&public, 0o644)).is_ok());
    }

    #[test]
    fn a_new_key_is_its_owners_alone_and_never_overwrites() {
        let place = Place::new("new");
        let path = place.0.join("identity");
        let key = Secret::copy(&counting());
        create_secret(&path, &key).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(*read_as(&path, Kind::Secret).unwrap(), counting());
        let before = std::fs::read_to_string(&path).unwrap();
        assert!(before.ends_with(&format!("\nscat-secret:{KEY}\n")), "{before}");
        assert!(before.contains(&format!("\n# {}\n", public(&key))), "{before}");
        let link = place.0.join("link");
        std::os::unix::fs::symlink(place.0.join("nothing yet"), &link).unwrap();
        for taken in [&path, &link] {
            assert!(matches!(create_psk(taken, &key).map_err(fault), Err(Fault::Exists)));
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
        assert!(!place.0.join("nothing yet").exists());
        let psk = place.0.join("psk");
        create_psk(&psk, &key).unwrap();
        assert_eq!(std::fs::metadata(&psk).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(*read_as(&psk, Kind::Psk).unwrap(), counting());
    }
}
