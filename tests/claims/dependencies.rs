//! What scat is made of is what README says it is made of.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

/// A crate that is named in Cargo.toml, as README's table has it.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    /// Its repository: owner and name.
    kept_by: String,
    /// Lines of its source with `unsafe` in them.
    unsafe_lines: usize,
    /// Crates that nothing else of scat needs.
    alone: usize,
}

/// The packages that scat is built from by default, as cargo resolves them.
struct Packages(Value);

impl Packages {
    fn new() -> Packages {
        let mut command = Command::new(env!("CARGO"));
        command.args(["metadata", "--locked", "--offline", "--format-version=1"]);
        // The table's platform; on others there are a few more, or fewer.
        command.args(["--filter-platform", "x86_64-unknown-linux-gnu"]);
        let said = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        Packages(serde_json::from_slice(&said.stdout).unwrap())
    }

    fn root(&self) -> &str {
        self.0["resolve"]["root"].as_str().unwrap()
    }

    /// Ids of what this one needs to be built and to run.
    fn needed_by(&self, id: &str) -> Vec<&str> {
        let nodes = self.0["resolve"]["nodes"].as_array().unwrap();
        let node = nodes.iter().find(|node| node["id"] == id).unwrap();
        let is_shipped = |one: &&Value| {
            one["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"] != "dev")
        };
        let needed = node["deps"].as_array().unwrap().iter().filter(is_shipped);
        needed.map(|one| one["pkg"].as_str().unwrap()).collect()
    }

    /// These, and all that they need.
    fn with_all_needed<'a>(&'a self, ids: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
        let mut all = BTreeSet::new();
        let mut next: Vec<_> = ids.into_iter().collect();
        while let Some(id) = next.pop() {
            if all.insert(id) {
                next.extend(self.needed_by(id));
            }
        }
        all
    }

    /// What its Cargo.toml says.
    fn says(&self, id: &str, what: &str) -> &str {
        let packages = self.0["packages"].as_array().unwrap();
        let package = packages.iter().find(|package| package["id"] == id).unwrap();
        package[what].as_str().unwrap()
    }

    fn rows(&self) -> BTreeMap<&str, Row> {
        let direct = self.needed_by(self.root());
        let row = |id: &&'_ str| {
            let others = direct.iter().filter(|other| *other != id).copied();
            let without = self.with_all_needed(others);
            let alone = self.with_all_needed([*id]).difference(&without).count();
            // Itself is not one that it brings.
            let alone = alone - usize::from(!without.contains(id));
            let source = Path::new(self.says(id, "manifest_path")).with_file_name("src");
            let repository: Vec<_> = self.says(id, "repository").split('/').skip(3).collect();
            let kept_by = repository[..2].join("/");
            (
                self.says(id, "name"),
                Row { kept_by, unsafe_lines: lines_with("unsafe", &source), alone },
            )
        };
        direct.iter().map(row).collect()
    }
}

/// Lines of code below this directory in which `word` stands.
fn lines_with(word: &str, source: &Path) -> usize {
    let lines_of = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        let code = text.lines().map(|line| line.split("//").next().unwrap());
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        code.filter(|line| line.split(|c| !is_part(c)).any(|part| part == word)).count()
    };
    let paths = fs::read_dir(source).unwrap().map(|entry| entry.unwrap().path());
    let lines = paths.map(|path| match path.extension() {
        _ if path.is_dir() => lines_with(word, &path),
        Some(extension) if extension == "rs" => lines_of(&path),
        _ => 0,
    });
    lines.sum()
}

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// README's table, by name.
fn table(readme: &str) -> BTreeMap<&str, Row> {
    let (_, section) = readme.split_once("\n## What it is made of\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let row = |line| {
        let cells: Vec<&str> = str::split(line, '|').map(str::trim).collect();
        let [_, name, _, kept_by, unsafe_lines, alone, _] = cells[..] else { panic!("{line}") };
        let number = |cell: &str| cell.parse().unwrap_or_else(|_| panic!("{line}"));
        let (kept_by, unsafe_lines) = (kept_by.to_owned(), number(unsafe_lines));
        (name.trim_matches('`'), Row { kept_by, unsafe_lines, alone: number(alone) })
    };
    section.lines().filter(|line| line.starts_with("| `")).map(row).collect()
}

#[test]
fn readme_tells_each_dependency_its_unsafe_and_what_it_brings() {
    let (packages, readme) = (Packages::new(), readme());
    assert_eq!(table(&readme), packages.rows());
    let all = packages.with_all_needed([packages.root()]).len() - 1;
    assert!(readme.contains(&format!("By default {all} crates")), "{all}");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = lines_with("unsafe_code", &root.join("src"));
    assert!(readme.contains(&format!("with {own} exceptions")), "{own}");
}
