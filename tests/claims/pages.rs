//! The commands in README and scat(1) work. (tests/recipes runs scat-recipes(7).)

use crate::support::scat::{Place, Scat, closed_port, program, start};
use crate::support::skip;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

/// The lines of a page's blocks, which show what to type.
fn printed(page: &str) -> Vec<String> {
    let text = std::fs::read_to_string(format!("{}/{page}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let text = text.replace("\\-", "-").replace("\\e", "\\").replace("\\\n", " ");
    let mut inside = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        match line.split(' ').next() {
            Some(".Dl") => lines.push(line.to_owned()),
            Some(".Bd") => inside = true,
            Some(".Ed") => inside = false,
            Some(fence) if fence.starts_with("```") => inside = !inside,
            _ if inside => lines.push(line.to_owned()),
            _ => {}
        }
    }
    lines
}

/// The arguments of each scat in a line of shell.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut line = line.to_owned();
    while let Some((before, inside)) = line.split_once("<(") {
        line = format!("{before}/dev/fd/63{}", inside.split_once(')').unwrap().1);
    }
    let mut words = line.split_whitespace();
    let mut commands = Vec::new();
    while words.any(|word| word.rsplit(['\'', '"', '(']).next() == Some("scat")) {
        let mut args = Vec::new();
        for word in words.by_ref() {
            let is_over = word.starts_with(['|', '<', '>', '&', ';', '#', '}'])
                || word.split_once(['<', '>']).is_some_and(|(fd, _)| fd.parse::<u8>().is_ok());
            if is_over {
                break;
            }
            let word_and_more = word.split_once([';', '\'', '"', ')', '`']);
            args.push(word_and_more.map_or(word, |(word, _)| word).to_owned());
            if word_and_more.is_some() {
                break;
            }
        }
        commands.push(args);
    }
    commands
}

#[test]
fn every_command_that_a_page_prints_is_one_that_scat_takes() {
    let line = "scat -i <(age -d k) h 9 3> x | (scat -l 9); socat EXEC:'scat --fd 3',fdin=3";
    let found: Vec<_> = commands(line).iter().map(|args| args.join(" ")).collect();
    assert_eq!(found, ["-i /dev/fd/63 h 9", "-l 9", "--fd 3"]);
    let mut taken = 0;
    for page in ["README.md", "man/scat.1"] {
        for line in printed(page) {
            for args in commands(&line) {
                let (_, command) = scat::cli::parse(args.iter().map(Into::into).collect());
                assert!(command.is_ok(), "{page} prints scat {}: {line}", args.join(" "));
                taken += 1;
            }
        }
    }
    assert!(taken > 20, "{taken}");
}

/// The contents, sorted, of the files in `dir` whose names begin with `prefix`.
fn files(dir: &Path, prefix: &str) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let found = entries.filter(|entry| entry.file_name().to_str().unwrap().starts_with(prefix));
    let mut texts: Vec<_> =
        found.map(|entry| std::fs::read_to_string(entry.path()).unwrap()).collect();
    texts.sort();
    texts
}

/// The examples of programs that wrap scat, in a run that succeeds and one that fails.
#[test]
fn the_wrappers_of_scat_1_tell_progress_and_the_end() {
    let place = Place::new("wrapper");
    let at: &Path = place.as_ref();
    std::fs::create_dir(at).unwrap();
    std::os::unix::fs::symlink(program(), at.join("scat")).unwrap();
    let psk = at.join("my.psk").into_os_string().into_string().unwrap();
    Scat::new(&["--genpsk", &psk]).end().expect(0, "");
    std::fs::write(at.join("file"), "12345").unwrap();
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/man/scat.1")).unwrap();
    let search = format!("{}:{}", at.display(), std::env::var("PATH").unwrap());
    for language in ["sh", "python3"] {
        let (_, block) = page.split_once(&format!(".\\\" wrapped by {language}\n")).unwrap();
        let code = block.split_once("\n.Ed").unwrap().0;
        let run = |port: u16| {
            let port = port.to_string();
            let code = code.replace("host.example.com", "127.0.0.1").replace("9000", &port);
            let mut command = Command::new(language);
            command.args(["-c", &code]).current_dir(at).env("PATH", &search).output().ok()
        };
        // Nothing listens at port 1.
        let Some(refused) = run(1) else {
            skip(format!("no {language}, so its example was not run"));
            continue;
        };
        let refused = String::from_utf8(refused.stdout).unwrap();
        assert!(refused.starts_with("refused (status 3) connect 127.0.0.1"), "{refused}");
        let (l, port) = Scat::listen_with(&["--psk", &psk]);
        let l = start(|| l.end());
        let sent = run(port).unwrap();
        assert!(sent.status.success());
        let lines = String::from_utf8(sent.stdout).unwrap();
        assert_eq!(lines.trim_end(), "5 bytes sent\ncomplete (status 0)");
        assert_eq!(l.join().expect(0, "").stdout, b"12345");
    }
    std::fs::remove_dir_all(at).unwrap();
}

#[test]
fn the_server_of_scat_1_keeps_every_file_that_is_complete_and_no_other() {
    let place = Place::new("server");
    let at: &Path = place.as_ref();
    std::fs::create_dir(at).unwrap();
    std::os::unix::fs::symlink(program(), at.join("scat")).unwrap();
    let path = |name: &str| at.join(name).into_os_string().into_string().unwrap();
    let key = |name: &str| {
        let made = Scat::new(&["--genkey", &path(name)]).end().expect(0, "");
        String::from_utf8(made.stdout).unwrap()
    };
    let (server_key, _) = (key("my.key"), std::fs::write(at.join("peers"), key("peer.key")));

    // No other test uses this address, so the port stays free between two runs.
    let host = Ipv4Addr::new(127, 0, 0, 6);
    let port = closed_port(6).1;
    let lines = printed("man/scat.1");
    let from = lines.iter().position(|line| line.starts_with("while part=")).unwrap();
    let until = lines[from..].iter().position(|line| line == "done").unwrap();
    let script = lines[from..=from + until].join("\n");
    // -v reports when scat listens.
    let script = script.replace(" 9000 ", &format!(" -v {host} {port} "));
    let search = format!("{}:{}", at.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-c", &script]).current_dir(at).env("PATH", search);
    let mut server = Scat::spawn(command);

    for text in ["1\ncomplete\n", "2\n", "3\ncomplete\n"] {
        server.next_line("listening on");
        let args = ["-vi", &path("peer.key"), "--peer", server_key.trim(), "127.0.0.6"];
        let mut peer = Scat::new(&[&args[..], &[&port.to_string()]].concat());
        peer.write(text.as_bytes());
        peer.end().expect(0, "verified by key");
    }
    // Without the file of peers scat exits with status 1, which ends the loop.
    server.next_line("listening on");
    std::fs::remove_file(at.join("peers")).unwrap();
    let stranger = Scat::new(&["-i", &path("peer.key"), "127.0.0.6", &port.to_string()]);
    stranger.end().expect(0, "");
    server.end_by_itself().expect(1, "peers: ");
    assert_eq!(files(at, "file."), ["1\ncomplete\n", "3\ncomplete\n"]);
    assert!(files(at, "part.").contains(&"2\n".to_owned()));
    std::fs::remove_dir_all(at).unwrap();
}
