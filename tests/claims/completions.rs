//! The completions for three shells have the options and texts of `scat --help all`.
//! (tests/completions.py asks the shells themselves.)

use crate::support::scat::Scat;
use std::collections::BTreeMap;

/// An option by one of its names (`-i`, `--identity`): whether it takes a value.
type Options = BTreeMap<String, bool>;

/// The options of `scat --help all`, and the text for each.
fn help() -> (Options, BTreeMap<String, String>) {
    let help = String::from_utf8(Scat::new(&["--help", "all"]).end().expect(0, "").stdout).unwrap();
    let (usage, rest) = help.split_once('\n').unwrap();
    let (_, rest) = rest.split_once("Options:\n").unwrap();
    let (list, _) = rest.split_once("\n\n").unwrap();
    let (mut options, mut said) = (Options::new(), BTreeMap::<String, String>::new());
    let mut current = Vec::new();
    for line in list.lines() {
        // `  -i, --identity    text`; continuation lines are indented further.
        let (names, what) = match line.trim().split_once("  ") {
            Some((names, what)) if line.starts_with("  -") => (names, what.trim()),
            _ => ("", line.trim()),
        };
        if !names.is_empty() {
            current = names.split(", ").map(str::to_owned).collect();
            // The usage line shows the short name if there is one.
            let is_valued = usage.contains(&format!("[{} <", current[0]));
            options.extend(current.iter().map(|name| (name.clone(), is_valued)));
        }
        for name in &current {
            let said = said.entry(name.clone()).or_default();
            *said = format!("{said} {what}").trim().to_owned();
        }
    }
    assert!(options.len() > 30 && options["--peer"] && !options["-l"], "{options:?}");
    (options, said)
}

fn completions(name: &str) -> String {
    let path = format!("{}/completions/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

/// The text between the first `from` and the next `to`.
fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    Some(text.split_once(from)?.1.split_once(to)?.0)
}

#[test]
fn bash_completes_every_option_and_no_other() {
    let text = completions("scat.bash");
    let list = |from| between(&text, from, "'").unwrap();
    let patterns = [list("files='"), list("values='"), "--peer"].join("|");
    // `-*([!-])[ps]` matches -p and -s, after any other letters.
    let names = patterns.split('|').flat_map(|name| match name.strip_prefix("-*([!-])") {
        Some(letters) => {
            letters.trim_matches(['[', ']']).chars().map(|it| format!("-{it}")).collect()
        }
        None => vec![name.to_owned()],
    });
    let valued: Vec<String> = names.collect();
    let words = list("compgen -W '").split_whitespace().map(str::to_owned);
    let options: Options = words.map(|name| (name.clone(), valued.contains(&name))).collect();
    assert_eq!(options, help().0);
    assert!(valued.iter().all(|name| options.contains_key(name)), "{valued:?}");
}

#[test]
fn zsh_completes_every_option_and_no_other_in_help_s_words() {
    let (wanted, said) = help();
    let mut options = Options::new();
    let text = completions("_scat").replace("'\\''", "\u{2019}");
    for line in text.lines().filter_map(|line| line.strip_prefix("    '")) {
        // `(excluded)'{-i+,--identity=}'[what]:value:action`, `*--peer=[what]:value:action`
        let Some((names, rest)) = line.split_once('[') else { continue };
        let names = names.rsplit([')', '*']).next().unwrap();
        let (what, value) = rest.split_once(']').unwrap();
        for name in names.split(['\'', '{', '}', ',']).filter(|name| !name.is_empty()) {
            let is_valued = value.starts_with(':');
            assert_eq!(name.ends_with(['=', '+']), is_valued, "{line}");
            let name = name.trim_end_matches(['=', '+']);
            let what = what.replace('\u{2019}', "'");
            assert!(said.get(name).is_some_and(|said| said.starts_with(&what)), "{line}");
            options.insert(name.to_owned(), is_valued);
        }
    }
    assert_eq!(options, wanted);
}

#[test]
fn fish_completes_every_option_and_no_other_in_help_s_words() {
    let (wanted, said) = help();
    let mut options = Options::new();
    let text = completions("scat.fish");
    for line in text.lines().filter(|line| line.contains(" -l ")) {
        let line = line.strip_prefix("complete -c scat ").unwrap_or_default();
        let (words, what) = line.split_once(" -d ").unwrap();
        let what = what.trim_matches('\'').replace("\\'", "'").to_lowercase();
        let words: Vec<_> = words.split(' ').collect();
        for pair in words.windows(2).filter(|pair| ["-s", "-l"].contains(&pair[0])) {
            let name = if pair[0] == "-s" { "-" } else { "--" }.to_owned() + pair[1];
            let said = said.get(&name).map(|said| said.to_lowercase());
            assert!(said.is_some_and(|said| said.starts_with(&what)), "{line}");
            options.insert(name, words.contains(&"-x") || words.contains(&"-r"));
        }
    }
    assert_eq!(options, wanted);
}
