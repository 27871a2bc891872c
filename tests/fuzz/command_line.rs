//! The command line: options in all their equivalent forms, and nonsense.

#![no_main]

use libfuzzer_sys::fuzz_target;
use scat::auth::keys;
use scat::cli::{self, Command, Endpoint, Options, Peers};
use scat::error::Status;
use scat_fuzz::input::Input;
use std::ffi::OsString;
use std::net::Ipv6Addr;
use std::os::unix::ffi::OsStringExt;

const KEY: &str = "scat-public:hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";

/// All options as one text.
fn told(options: &Options) -> String {
    let endpoint = match &options.endpoint {
        Endpoint::Listen { address, service } => format!("listen {address:?} {service:?}"),
        Endpoint::Connect { host, service, source, source_port } => {
            format!("connect {host:?} {service:?} from {source:?} {source_port:?}")
        }
        Endpoint::Inherited { listen } => format!("inherited {listen}"),
    };
    let peer = |peer: &Peers| match peer {
        Peers::Key(known) => format!("{} {:?}", keys::public_text(&known.key), known.name),
        Peers::File(path) => format!("file {path:?}"),
    };
    format!(
        "{endpoint} {:?} {} {:?} {} {:?} {:?} {:?} {:?} {:?}",
        options.family,
        options.numeric,
        options.talk,
        options.no_input,
        options.within,
        options.ask,
        options.identity,
        options.peers.iter().map(peer).collect::<Vec<_>>(),
        options.psk,
    )
}

fn parse(words: &[String]) -> Result<Command, scat::error::Error> {
    cli::parse(words.iter().map(OsString::from).collect()).1
}

/// An option, and its value if it takes one.
struct Given {
    short: Option<char>,
    long: Option<&'static str>,
    value: Option<String>,
}

fn given(short: impl Into<Option<char>>, long: impl Into<Option<&'static str>>) -> Given {
    Given { short: short.into(), long: long.into(), value: None }
}

impl Given {
    fn value(self, value: impl Into<String>) -> Given {
        Given { value: Some(value.into()), ..self }
    }
}

/// Writes the options and places in one of their equivalent forms.
fn write(input: &mut Input<'_>, mut all: Vec<Given>, places: &[String]) -> Vec<String> {
    let (mut words, mut places) = (Vec::new(), places.iter());
    while !all.is_empty() {
        // Places may appear between options, in their order.
        if input.byte().is_multiple_of(4) {
            words.extend(places.next().cloned());
        }
        let Given { short, long, value } = all.swap_remove(usize::from(input.byte()) % all.len());
        match (short, long, value, input.byte() % 4) {
            (_, Some(long), None, 0) | (None, Some(long), None, _) => {
                words.push(format!("--{long}"))
            }
            (_, Some(long), Some(value), 0) => words.push(format!("--{long}={value}")),
            (_, Some(long), Some(value), 1) | (None, Some(long), Some(value), _) => {
                words.extend([format!("--{long}"), value]);
            }
            (Some(short), _, None, _) => {
                // The rest of a bundle: switches, and perhaps a last option with a value.
                let mut word = format!("-{short}");
                while input.bit() {
                    let next = |given: &Given| given.short.is_some() && given.value.is_none();
                    let Some(at) = all.iter().position(next) else { break };
                    // `-l46` is a port.
                    if word.ends_with("l4") || word.ends_with("l6") {
                        break;
                    }
                    word.extend(all.swap_remove(at).short);
                }
                words.push(word);
            }
            (Some(short), _, Some(value), 2) if !value.is_empty() => {
                words.push(format!("-{short}{value}"));
            }
            (Some(short), _, Some(value), _) => words.extend([format!("-{short}"), value]),
            (None, None, ..) => {}
        }
    }
    if input.bit() {
        words.push("--".to_owned());
    }
    words.extend(places.cloned());
    words
}

const HOSTS: [&str; 6] = ["localhost", "example.org", "192.0.2.1", "::1", "fe80::1%lo", "a"];

fn port(input: &mut Input<'_>) -> (String, bool) {
    match input.byte() % 8 {
        0 => ("ssh".to_owned(), true),
        1 => {
            let number = (input.short() + 1) << (input.byte() % 17);
            (number.to_string(), number < 65536)
        }
        _ => {
            let number = input.short().max(1);
            (number.to_string(), true)
        }
    }
}

/// Valid options, in any order and form.
fn meant(input: &mut Input<'_>) {
    let (mut all, mut places) = (Vec::new(), Vec::new());
    let (switches, more) = (input.byte(), input.byte());
    let has = |bit: u8| switches >> bit & 1 == 1;
    let switch = |all: &mut Vec<Given>, is_on: bool, given: Given| {
        all.extend(is_on.then_some(given));
    };
    let (v4, v6) = (has(0), has(1) && more & 0xf == 0 || has(1) && !has(0));
    switch(&mut all, v4, given('4', "ipv4"));
    switch(&mut all, v6, given('6', "ipv6"));
    switch(&mut all, has(2), given('n', "numeric"));
    switch(&mut all, has(3), given('v', "verbose"));
    switch(&mut all, has(4), given('d', "no-input"));
    switch(&mut all, has(5), given('N', "end"));
    let (always, never) = (has(6), has(7) && (!has(6) || more & 0xf == 1));
    switch(&mut all, always, given('c', "confirm"));
    switch(&mut all, never, given(None, "no-confirm"));
    if more & 0x10 != 0 {
        all.push(given('q', "quit").value(input.byte().to_string()));
    }
    let mut is_valid = !(v4 && v6 || always && never);

    let mut within = None;
    if more & 0x20 != 0 {
        let milliseconds = input.short() as u64;
        let (whole, part) = (milliseconds / 1000, milliseconds % 1000);
        let text = match input.byte() % 3 {
            0 => format!("{whole}.{part:03}"),
            1 => format!("{whole}.{part:03}9"),
            _ => {
                format!("{whole}.{part:03}").trim_end_matches('0').trim_end_matches('.').to_owned()
            }
        };
        all.push(given('w', "within").value(text));
        is_valid &= milliseconds > 0;
        within = Some(std::time::Duration::from_millis(milliseconds));
    }
    let identity = (more & 0x40 != 0).then_some("my.key");
    all.extend(identity.map(|path| given('i', "identity").value(path)));
    let psk = (more & 0x80 != 0).then_some("-both.key");
    all.extend(psk.map(|path| given(None, "psk").value(path)));

    let form = input.byte();
    let is_listening = form & 1 == 1;
    let mut peers = Vec::new();
    for _ in 0..input.byte() % 4 {
        let (value, told) = match input.byte() % 3 {
            0 => ("@friends".to_owned(), "file \"friends\"".to_owned()),
            1 => (KEY.to_owned(), format!("{KEY} None")),
            _ => (format!("{KEY} ann"), format!("{KEY} Some(\"ann\")")),
        };
        all.push(given(None, "peer").value(value));
        peers.push(told);
    }
    is_valid &= peers.len() < 2 || is_listening;

    let host = input.pick(&HOSTS);
    let (service, is_port) = port(input);
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let source = (form & 0x80 != 0).then_some(if form & 0x40 != 0 { "127.0.0.1" } else { "::1" });
    all.extend(source.map(|source| given('s', "source").value(source)));
    all.extend(is_listening.then(|| given('l', "listen")));
    let endpoint = match form >> 1 & 7 {
        0 => {
            let fd = input.short();
            all.push(given(None, "fd").value(fd.to_string()));
            is_valid &= fd > 2;
            is_valid &= source.is_none();
            format!("inherited {is_listening}")
        }
        form if is_listening => {
            let mut address = source;
            match form {
                1 | 2 => places.push(service.clone()),
                3 => all.push(given('p', "port").value(&service)),
                _ => {
                    is_valid &= source.is_none();
                    address = Some(host);
                    match form {
                        4 | 5 => places.extend([bracketed, service.clone()]),
                        _ => places.push(format!("{bracketed}:{service}")),
                    }
                }
            }
            is_valid &= is_port;
            format!("listen {address:?} {service:?}")
        }
        form => {
            let mut source_port = None;
            if form & 1 == 1 {
                let (port, is_port) = port(input);
                all.push(given('p', "port").value(&port));
                source_port = Some(port);
                is_valid &= is_port;
            }
            match form {
                1..=3 => places.extend([host.to_owned(), service.clone()]),
                4 | 5 => places.extend([bracketed, service.clone()]),
                _ => places.push(format!("{bracketed}:{service}")),
            }
            is_valid &= is_port;
            format!("connect {host:?} {service:?} from {source:?} {source_port:?}")
        }
    };
    let family = if v4 {
        "V4"
    } else if v6 {
        "V6"
    } else {
        "Any"
    };
    let ask = if always {
        "Always"
    } else if never {
        "Never"
    } else {
        "AtTerminal"
    };
    let words = write(input, all, &places);
    match (parse(&words), is_valid) {
        (Ok(Command::Run(options)), true) => {
            let mut told = told(&options);
            // The peers may be in any order.
            for peer in &peers {
                let quoted = format!("{peer:?}");
                let at = told.find(&quoted).unwrap_or_else(|| panic!("{peer} is not in {told}"));
                told.replace_range(at..at + quoted.len(), "");
            }
            let commas = ", ".repeat(peers.len().saturating_sub(1));
            let (identity, psk) = (identity.map(|it| it.to_owned()), psk.map(|it| it.to_owned()));
            let (n, v, d) = (has(2), if has(3) { "Stages" } else { "Usual" }, has(4));
            let right = format!(
                "{endpoint} {family} {n} {v} {d} {within:?} {ask} {identity:?} [{commas}] {psk:?}"
            );
            assert_eq!(told, right, "{words:?}");
        }
        (Err(error), false) => assert_eq!(error.status(), Status::Usage, "{words:?}"),
        (Ok(_), _) => panic!("{words:?} makes no sense and is accepted"),
        (Err(error), true) => panic!("{words:?} is refused: {error}"),
    }
}

/// Parts of meaningful words.
const PARTS: &[&str] = &[
    "-",
    "--",
    "=",
    "l",
    "p",
    "s",
    "4",
    "6",
    "n",
    "N",
    "q",
    "d",
    "c",
    "i",
    "v",
    "w",
    "h",
    "k",
    "e",
    "fd",
    "status-fd",
    "peer",
    "psk",
    "genkey",
    "pubkey",
    "genpsk",
    "version",
    "help",
    "no-confirm",
    "listen",
    "port",
    "within",
    "9000",
    "65535",
    "65536",
    "0",
    "00",
    "1",
    "2",
    "3",
    ".",
    ".5",
    ":",
    "::1",
    "[::1]",
    "[",
    "]",
    "localhost",
    "*",
    "@",
    "@file",
    "/",
    "://",
    "http://",
    "TCP:",
    " ",
    KEY,
    "scat-secret:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "ssl",
    "\u{e9}",
    "%",
    "-l",
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
];

/// Words with any meaning or none.
fn anything(input: &mut Input<'_>) {
    let mut words = vec![Vec::new()];
    while !input.is_empty() {
        let word = words.last_mut().unwrap();
        match input.byte() {
            0..64 => words.push(Vec::new()),
            64..208 => word.extend_from_slice(input.pick(PARTS).as_bytes()),
            _ => word.push(input.byte()),
        }
    }
    let raw: Vec<_> = words.iter().cloned().map(OsString::from_vec).collect();
    let (descriptors, parsed) = cli::parse(raw);
    let is_text = words.iter().all(|word| std::str::from_utf8(word).is_ok());
    let words: Vec<_> =
        words.into_iter().map(|word| String::from_utf8_lossy(&word).into_owned()).collect();
    let is_in = |text: &str| words.iter().any(|word| word.contains(text));
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_port = |text: &str| {
        let is_right = !number(text) || text.parse::<u16>().is_ok();
        assert!(!text.is_empty() && is_right && is_in(text), "{text:?} as a port: {words:?}");
    };
    let is_host = |text: &str| {
        let address = text.split('%').next().unwrap_or_default();
        let is_name = !text.is_empty() && !text.contains(':');
        assert!(is_name || address.parse::<Ipv6Addr>().is_ok(), "{text:?} as a host: {words:?}");
    };
    match parsed {
        Ok(Command::Run(options)) => {
            match &options.endpoint {
                Endpoint::Listen { address, service } => {
                    is_port(service);
                    assert!(is_in("l"));
                    assert!(address.as_deref().is_none_or(is_in), "{words:?}");
                    address.as_deref().into_iter().for_each(is_host);
                }
                Endpoint::Connect { host, service, source, source_port } => {
                    is_port(service);
                    source_port.as_deref().into_iter().for_each(is_port);
                    let is_zero = service.bytes().all(|byte| byte == b'0');
                    assert!(!is_zero && !host.is_empty() && is_in(host), "{words:?}");
                    is_host(host);
                    source.as_deref().into_iter().for_each(is_host);
                    let is_clean = |c: char| !c.is_whitespace() && !c.is_control() && c != '/';
                    assert!(host.chars().all(is_clean) && source.as_deref().is_none_or(is_in));
                }
                Endpoint::Inherited { .. } => assert!(is_in("--fd")),
            }
            assert!(options.within.is_none_or(|within| !within.is_zero()));
            assert!(
                options
                    .identity
                    .iter()
                    .chain(&options.psk)
                    .all(|path| is_in(&path.to_string_lossy()))
            );
            for peer in &options.peers {
                match peer {
                    Peers::Key(known) => assert!(is_in(&keys::public_text(&known.key))),
                    Peers::File(path) => assert!(is_in(&format!("@{}", path.to_string_lossy()))),
                }
            }
            // -N, which is ignored, changes nothing.
            if !is_text {
                return;
            }
            let mut again = words.clone();
            again.insert(0, "-N".to_owned());
            match parse(&again) {
                Ok(Command::Run(other)) => assert_eq!(told(&other), told(&options), "{again:?}"),
                Ok(_) => panic!("{again:?}"),
                Err(error) => panic!("{again:?}: {error}"),
            }
        }
        Ok(Command::Print(text)) => {
            assert!(text.starts_with("scat ") || text.starts_with("Usage: scat"), "{text}");
            assert!(is_in("h") || is_in("--version"), "{words:?}");
        }
        Ok(Command::GenerateKey(path) | Command::PublicKey(path) | Command::GeneratePsk(path)) => {
            assert!(is_in(&path.to_string_lossy()) && descriptors.status.is_none());
        }
        Err(error) => {
            assert_eq!(error.status(), Status::Usage, "{words:?}: {error}");
            assert!(!error.to_string().is_empty());
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    match input.bit() {
        true => meant(&mut input),
        false => anything(&mut input),
    }
});
