//! The command line, in netcat's ways: bundled options, values attached or
//! not, `host port`, `host:port`, `[v6]:port`.

use crate::error::Error;
use crate::keys::{self, KnownKey, Why};
use crate::net::resolve::Family;
use crate::policy::Confirm;
use crate::protocol::cipher;
use argh::{ArgsInfo, FlagInfo, FlagInfoKind, FromArgs};
use std::path::PathBuf;
use std::time::Duration;

/// What the user asked for.
pub enum Command {
    /// Print this text, which answers a question.
    Print(String),
    /// Run a session.
    Run(Options),
    /// `--genkey`: make an identity in this new file.
    GenerateKey(PathBuf),
    /// `--pubkey`: print this identity's public key.
    PublicKey(PathBuf),
    /// `--genpsk`: make a pre-shared key in this new file.
    GeneratePsk(PathBuf),
}

/// A session's options.
pub struct Options {
    /// How the peer is met.
    pub endpoint: Endpoint,
    /// `-4`, `-6`
    pub family: Family,
    /// `-n`
    pub numeric: bool,
    /// `-v`
    pub verbose: bool,
    /// `-w`
    pub within: Option<Duration>,
    /// `-c`, `--no-confirm`
    pub ask: Confirm,
    /// `-i`
    pub identity: Option<PathBuf>,
    /// `--peer`
    pub peers: Vec<Peers>,
    /// `--psk`
    pub psk: Option<PathBuf>,
}

/// What one `--peer` names.
pub enum Peers {
    /// This key.
    Key(KnownKey),
    /// `@file`: each key in it.
    File(PathBuf),
}

/// How the peer is met.
pub enum Endpoint {
    /// `scat -l`
    Listen {
        /// Address to bind; every interface without one.
        address: Option<String>,
        /// Port number or service name.
        service: String,
    },
    /// `scat host port`
    Connect {
        /// Name or address.
        host: String,
        /// Port number or service name.
        service: String,
        /// `-s`: address to connect from.
        source: Option<String>,
        /// `-p`: port to connect from.
        source_port: Option<String>,
    },
}

/// Encrypted netcat: standard input and output to one peer and back. Read the
/// words aloud to know that nobody sits in between.
#[derive(ArgsInfo, FromArgs)]
#[argh(
    help_triggers("-h", "--help"),
    example = "scat -l 9000 > copy            at one end, and\nscat their.host 9000 < file    at the other",
    note = "Exit status 0 means that everything arrived, at both ends. The manual,\nscat(1), has the others, and says how to verify who is there."
)]
struct Args {
    /// listen for one peer instead of connecting
    #[argh(switch, short = 'l')]
    listen: bool,
    /// port to listen on, or to connect from
    #[argh(option, short = 'p', arg_name = "port")]
    port: Option<String>,
    /// address to listen on, or to connect from
    #[argh(option, short = 's', arg_name = "addr")]
    source: Option<String>,
    /// IPv4 only
    #[argh(switch, short = '4')]
    ipv4: bool,
    /// IPv6 only
    #[argh(switch, short = '6')]
    ipv6: bool,
    /// addresses are numbers: never ask DNS
    #[argh(switch, short = 'n')]
    numeric: bool,
    /// accepted for netcat's sake: the end of input is always sent
    #[argh(switch, short = 'N')]
    #[allow(dead_code)]
    end: bool,
    /// ask for the words, and never start without a terminal to ask at:
    /// nothing moves before a person has typed what the other person says
    #[argh(switch, short = 'c')]
    confirm: bool,
    /// do not ask at a terminal: bytes move at once, before the words are
    /// compared
    #[argh(switch)]
    no_confirm: bool,
    /// use the key in this file, that the other side can pin
    #[argh(option, short = 'i', arg_name = "file")]
    identity: Option<PathBuf>,
    /// the other side must have this public key, or one of those in a file
    /// (may be repeated with -l)
    #[argh(option, arg_name = "key|@file")]
    peer: Vec<String>,
    /// the other side must have the same pre-shared key file
    #[argh(option, arg_name = "file")]
    psk: Option<PathBuf>,
    /// make a new key in this new file, and print its public key
    #[argh(option, arg_name = "file")]
    genkey: Option<PathBuf>,
    /// print the public key of the key in this file
    #[argh(option, arg_name = "file")]
    pubkey: Option<PathBuf>,
    /// make a new pre-shared key in this new file
    #[argh(option, arg_name = "file")]
    genpsk: Option<PathBuf>,
    /// tell the stages on the way
    #[argh(switch, short = 'v')]
    verbose: bool,
    /// give up unless there is a session within this time
    #[argh(option, short = 'w', arg_name = "secs")]
    within: Option<String>,
    /// print the version
    #[argh(switch)]
    version: bool,
    /// host and port; with -l, address (if any) and port
    #[argh(positional, arg_name = "where")]
    places: Vec<String>,
}

/// netcat's options that scat has none of, and what to do instead.
const UNSUPPORTED: [(char, &str); 6] = [
    ('k', "-k: one run serves one peer; for more, a loop: while :; do scat -l 9000; done"),
    ('e', "-e: scat starts no programs; use a pipeline, or socat as in scat(1)"),
    ('u', "-u: scat speaks TCP only"),
    ('z', "-z: scat does not scan; use nc -z"),
    ('q', "-q: not needed, scat ends by itself when both directions have ended"),
    ('d', "-d: to send nothing, give it < /dev/null"),
];

/// Reads the words behind the program's name.
///
/// # Errors
/// [`Error::Usage`].
pub fn parse(words: Vec<std::ffi::OsString>) -> Result<Command, Error> {
    let words = words
        .into_iter()
        .map(|word| word.into_string().map_err(|_| usage("an argument is not valid UTF-8")))
        .collect::<Result<Vec<_>, _>>()?;
    let words = one_each(words)?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let args = match Args::from_args(&["scat"], &words) {
        Ok(args) => args,
        Err(exit) if exit.status.is_ok() => return Ok(Command::Print(exit.output)),
        Err(exit) => return Err(usage(&one_line(&exit.output))),
    };
    if args.version {
        return Ok(Command::Print(format!(
            "scat {} (ChaCha20-Poly1305: {})\n",
            env!("CARGO_PKG_VERSION"),
            cipher::NAME
        )));
    }
    let key_work = [
        args.genkey.map(Command::GenerateKey),
        args.pubkey.map(Command::PublicKey),
        args.genpsk.map(Command::GeneratePsk),
    ];
    let mut key_work = key_work.into_iter().flatten();
    if let Some(command) = key_work.next() {
        return match words.len() {
            2 => Ok(command),
            _ => Err(usage("--genkey, --pubkey and --genpsk stand alone")),
        };
    }
    let endpoint = match args.listen {
        true => listen(args.places, args.port, args.source)?,
        false => connect(args.places, args.port, args.source)?,
    };
    if args.peer.len() > 1 && !args.listen {
        return Err(usage("--peer can be repeated with -l only"));
    }
    Ok(Command::Run(Options {
        endpoint,
        family: match (args.ipv4, args.ipv6) {
            (true, true) => return Err(usage("-4 and -6 exclude each other")),
            (true, false) => Family::V4,
            (false, true) => Family::V6,
            (false, false) => Family::Any,
        },
        numeric: args.numeric,
        verbose: args.verbose,
        within: args.within.as_deref().map(seconds).transpose()?,
        ask: match (args.confirm, args.no_confirm) {
            (true, true) => return Err(usage("-c and --no-confirm exclude each other")),
            (true, false) => Confirm::Always,
            (false, true) => Confirm::Never,
            (false, false) => Confirm::AtTerminal,
        },
        identity: args.identity,
        peers: args.peer.iter().map(|given| peers(given)).collect::<Result<_, _>>()?,
        psk: args.psk,
    }))
}

/// `-l port`, `-l addr port`, `-l addr:port`, and `-p port` and `-s addr` in their place.
fn listen(
    places: Vec<String>,
    given: Option<String>,
    source: Option<String>,
) -> Result<Endpoint, Error> {
    let mut places = places.into_iter();
    let places = (places.next(), places.next(), places.next());
    let (address, service) = match (places, given) {
        ((Some(only), None, None), None) => match split(&only) {
            Some((address, service)) => (Some(address), service),
            None => (None, only),
        },
        ((Some(address), Some(service), None), None) => (Some(address), service),
        ((address, None, None), Some(port)) if !address.as_deref().is_some_and(is_number) => {
            (address, port)
        }
        (_, Some(_)) => return Err(usage("two ports to listen on")),
        ((None, ..), None) => return Err(usage("no port to listen on: scat -l PORT")),
        _ => return Err(usage("too many arguments: scat -l [ADDR] PORT")),
    };
    let address = match (address, source) {
        (Some(_), Some(_)) => return Err(usage("two addresses to listen on")),
        (address, source) => address.or(source),
    };
    Ok(Endpoint::Listen { address, service: port(service)? })
}

/// `host port`, `host:port`.
fn connect(
    places: Vec<String>,
    source_port: Option<String>,
    source: Option<String>,
) -> Result<Endpoint, Error> {
    let mut places = places.into_iter();
    let (host, service) = match (places.next(), places.next(), places.next()) {
        (Some(only), None, None) => {
            split(&only).ok_or_else(|| usage(&format!("no port: scat {only} PORT")))?
        }
        (Some(host), Some(service), None) => (host, service),
        (None, ..) => {
            return Err(usage("nowhere to connect to: scat HOST PORT, or scat -l PORT"));
        }
        _ => return Err(usage("too many arguments: scat HOST PORT")),
    };
    Ok(Endpoint::Connect {
        host,
        service: port(service)?,
        source,
        source_port: source_port.map(port).transpose()?,
    })
}

/// Takes bundles (`-lvp9000`) and `--name=value` apart, so that each option and
/// each value is one word.
fn one_each(words: Vec<String>) -> Result<Vec<String>, Error> {
    let mut out = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if word == "--" {
            out.push(word);
            out.extend(words);
            break;
        }
        if let Some(long) = word.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            let name = format!("--{name}");
            let is_valued = takes_value(|flag| flag.long == name);
            out.push(name.clone());
            match value {
                Some(_) if !is_valued => return Err(usage(&format!("{name} takes no value"))),
                Some(value) => out.push(value),
                // A value may look like an option.
                None if is_valued => out.extend(words.next()),
                None => {}
            }
            continue;
        }
        let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
            out.push(word);
            continue;
        };
        let mut letters = letters.chars();
        while let Some(letter) = letters.next() {
            if let Some((_, instead)) = UNSUPPORTED.iter().find(|(own, _)| *own == letter) {
                return Err(Error::Unsupported(instead));
            }
            out.push(format!("-{letter}"));
            if takes_value(|flag| flag.short == Some(letter)) {
                let attached = letters.as_str();
                if attached.is_empty() {
                    out.extend(words.next());
                } else {
                    out.push(attached.to_owned());
                }
                break;
            }
        }
    }
    Ok(out)
}

/// Whether the option that `is_it` finds takes a value. (argh knows, but wants each
/// option and each value to be a word of its own.)
fn takes_value(is_it: impl Fn(&FlagInfo<'_>) -> bool) -> bool {
    let info = Args::get_args_info();
    info.flags.iter().any(|flag| is_it(flag) && matches!(flag.kind, FlagInfoKind::Option { .. }))
}

/// `host:port`, `[v6]:port`. A bare IPv6 address has no port in it.
fn split(place: &str) -> Option<(String, String)> {
    let (host, service) = place.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match bare {
        Some(bare) => bare,
        None if host.contains(':') => return None,
        None => host,
    };
    (!host.is_empty() && !service.is_empty()).then(|| (host.to_owned(), service.to_owned()))
}

/// A service that the resolver may see: it takes no name at all for port 0 and
/// only the lower 16 bits of a number.
fn port(service: String) -> Result<String, Error> {
    if is_number(&service) && service.parse::<u16>().is_err() {
        return Err(usage(&format!("port {service}: not a number up to 65535")));
    }
    Ok(service)
}

fn is_number(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit())
}

/// `5`, `0.5`. (Floating-point numbers would make the program a good deal larger.)
fn seconds(given: &str) -> Result<Duration, Error> {
    let (whole, part) = given.split_once('.').unwrap_or((given, ""));
    let is_number = (whole.to_owned() + part).bytes().all(|byte| byte.is_ascii_digit());
    // Whole seconds, and milliseconds if there are any.
    let milliseconds = format!("{part:0<3.3}").parse().ok().filter(|_| is_number);
    milliseconds
        .and_then(|part| {
            Some(Duration::from_secs(whole.parse().ok()?) + Duration::from_millis(part))
        })
        .filter(|time| !time.is_zero())
        .ok_or_else(|| usage(&format!("-w {given}: not a number of seconds")))
}

/// `scat-public:BASE64`, with or without a name behind it; `@file`.
fn peers(given: &str) -> Result<Peers, Error> {
    if let Some(file) = given.strip_prefix('@') {
        return Ok(Peers::File(file.into()));
    }
    keys::parse_public(given).map(Peers::Key).map_err(|why| match why {
        // A secret is not repeated on the screen.
        Why::Kind { .. } => Error::Argument(Why::OnCommandLine.at("--peer")),
        why => Error::Argument(why.at(format!("--peer {given}"))),
    })
}

fn usage(what: &str) -> Error {
    Error::Usage(what.to_owned())
}

/// argh's words in our form: `unrecognized argument: -x`.
fn one_line(words: &str) -> String {
    let mut line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    line.truncate(line.trim_end_matches('.').len());
    if let Some(first) = line.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    line
}
