//! The layout of the source: which module may import which, and which may print. What the
//! pages say about the source exists.

use crate::support::skip;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What src/protocol must not use.
const BEYOND_THE_WALL: &[&str] = &[
    "argh",
    "dns_lookup",
    "getrandom",
    "libc",
    "mio",
    "rustix",
    "signal_hook",
    "socket2",
    "std::env",
    "std::fs",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "Instant::now",
    "SystemTime",
];

/// Names of the operating system, which only src/sys may use.
const SYSTEM: &[&str] = &[
    "dns_lookup",
    "getrandom",
    "landlock",
    "libc",
    "mio",
    "rustix",
    "signal_hook",
    "socket2",
    "std::os",
    "target_os",
];

/// Which modules may print, and by which function.
const MOUTHS: &[(&str, &[&str])] = &[
    // Messages, and the check whether they would go into the file of the data.
    ("stderr()", &["sys/", "ui/", "run/descriptors.rs"]),
    // Keys, help, the version, and the data.
    ("stdout()", &["main.rs", "sys/", "ui/", "run/descriptors.rs"]),
    ("/dev/tty", &["sys/"]),
    ("print!", &[]),
    ("println!", &[]),
    ("eprint!", &[]),
    ("eprintln!", &[]),
    ("dbg!", &[]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files below `dir`, as paths from the root.
fn files(dir: &str) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    let mut dirs = vec![root().join(dir)];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            match path.is_dir() {
                true => dirs.push(path),
                false => {
                    let path = path.strip_prefix(root()).unwrap();
                    files.insert(path.to_str().unwrap().to_owned());
                }
            }
        }
    }
    files
}

/// Each source file: its path below src, and its code without comments and unit tests.
fn sources() -> Vec<(String, String)> {
    let source = |path: &String| {
        let text = fs::read_to_string(root().join(path)).unwrap();
        let text = text.split("#[cfg(test)]\nmod ").next().unwrap();
        let code: Vec<_> = text.lines().map(|line| line.split("//").next().unwrap()).collect();
        (path["src/".len()..].to_owned(), code.join("\n"))
    };
    files("src").iter().map(source).collect()
}

/// Every path that the code imports or spells out, `{...}` expanded.
fn paths(code: &str) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    let (mut prefixes, mut path) = (Vec::<String>::new(), String::new());
    for c in code.chars() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | ':' => path.push(c),
            // The braces of a `use`; any other block begins after a space.
            '{' if path.ends_with("::") => {
                let outer = prefixes.last().cloned().unwrap_or_default();
                prefixes.push(outer + &path);
                path.clear();
            }
            _ => {
                let outer = prefixes.last().cloned().unwrap_or_default();
                paths.insert(outer + &path);
                path.clear();
                if c == '}' {
                    prefixes.pop();
                }
            }
        }
    }
    paths
}

/// Whether `path` contains the parts of `part` in sequence.
fn has(path: &str, part: &str) -> bool {
    format!("::{path}::").contains(&format!("::{part}::"))
}

#[test]
fn paths_are_found_however_they_are_imported() {
    let code = "use std::{io, net::{self, IpAddr}};\nfn f() { if x { mio::y(std::fs::z) } }\n";
    let found = paths(code);
    for path in ["std::io", "std::net::IpAddr", "mio::y", "std::fs::z"] {
        assert!(found.contains(path), "{path} in {found:?}");
    }
    assert!(has("std::net::IpAddr", "std::net") && !has("std::network", "std::net"));
}

#[test]
fn protocol_is_a_wall() {
    for (file, code) in sources().iter().filter(|(file, _)| file.starts_with("protocol/")) {
        for path in paths(code) {
            let beyond = BEYOND_THE_WALL.iter().find(|part| has(&path, part));
            assert_eq!(beyond, None, "{file}: {path}");
            let is_outside = path.starts_with("crate::") && !has(&path, "crate::protocol");
            assert!(!is_outside && !has(&path, "super::super"), "{file}: {path}");
        }
    }
}

#[test]
fn only_sys_names_the_operating_system() {
    for (file, code) in sources().iter().filter(|(file, _)| !file.starts_with("sys/")) {
        for path in paths(code) {
            let named = SYSTEM.iter().find(|part| has(&path, part));
            assert_eq!(named, None, "{file}: {path}");
        }
    }
}

/// The modules in the list of lib.rs, layer by layer. Two spaces separate the names, and
/// precede the description.
fn floors() -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let (_, text) = text.split_once("//! ```text\n").unwrap();
    let (text, _) = text.split_once("//! ```\n").unwrap();
    let is_name = |name: &&str| name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let names = |line: &str| {
        let parts = line["//! ".len()..].split("  ").map(str::trim).filter(|part| !part.is_empty());
        parts.filter(is_name).map(str::to_owned).collect()
    };
    text.lines().map(names).collect()
}

#[test]
fn imports_point_downwards_as_lib_rs_says() {
    let floors = floors();
    let floor = |room: &str| floors.iter().position(|floor| floor.iter().any(|name| name == room));
    for (file, code) in sources().iter().filter(|(file, _)| file != "lib.rs") {
        let room = file.split(['/', '.']).next().unwrap();
        let own = floor(room).unwrap_or_else(|| panic!("{file} is on no floor"));
        for path in paths(code) {
            let path = path.strip_prefix("crate::").or(path.strip_prefix("scat::"));
            let Some(other) = path.and_then(|path| path.split("::").next()) else { continue };
            let to = floor(other).unwrap_or_else(|| panic!("{file} imports {other}"));
            assert!(other == room || to > own, "{file} imports {other}");
        }
    }
}

#[test]
fn only_report_and_the_terminal_speak() {
    for (file, code) in sources() {
        for (mouth, of) in MOUTHS {
            let speaks = code
                .match_indices(mouth)
                .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
            let may = of.iter().any(|place| file.starts_with(place));
            assert!(!speaks || may, "{file} uses {mouth}");
        }
    }
}

/// A reader who checks a claim looks for the test that the page names.
#[test]
fn every_test_that_a_page_names_is_there() {
    if root().join(".cargo_vcs_info.json").exists() {
        return skip("a package of cargo's has a part of the files only");
    }
    let pages = ["man", "tests"].into_iter().flat_map(files).filter(|path| {
        let is_readme = path.ends_with("README.md");
        is_readme || path.starts_with("man/")
    });
    let mut named = 0;
    for page in pages.chain(["README.md", "CONTRIBUTING.md"].map(str::to_owned)) {
        let text = fs::read_to_string(root().join(&page)).unwrap();
        // Roff escapes a hyphen.
        let text = text.replace("\\-", "-");
        for (at, _) in text.match_indices("tests/").chain(text.match_indices("src/")) {
            let is_path = |c: char| c.is_ascii_alphanumeric() || "_-/.".contains(c);
            let path = text[at..].split(|c| !is_path(c)).next().unwrap();
            let path = path.trim_end_matches(['.', '/', '-']);
            // Part of a longer path, as in a link to another site.
            if text[..at].ends_with(is_path) {
                continue;
            }
            assert!(root().join(path).exists(), "{page} names {path}");
            named += 1;
        }
    }
    assert!(named > 60, "{named}");
}
