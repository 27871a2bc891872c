//! The command line, in netcat's ways: bundled options, values attached or
//! not, `host port`, `host:port`, `[v6]:port`.

mod foreign;
mod place;

use crate::auth::keys::{self, Kind, KnownKey, Why};
use crate::auth::policy::Confirm;
use crate::error::Error;
use crate::net::inherited::Inherited;
use crate::protocol::cipher;
use crate::sys::resolver::Family;
use crate::sys::stream;
use argh::{ArgsInfo, FlagInfo, FlagInfoKind, FromArgs};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
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
    /// `-d`
    pub no_input: bool,
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
    /// `--fd n`
    Inherited {
        /// The connection, taken before anything else could get that number.
        socket: Inherited,
        /// `-l`: which role to play there.
        listen: bool,
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
    /// use the connection at this file descriptor, a stream socket that
    /// something else has connected
    #[argh(option, arg_name = "n")]
    fd: Option<String>,
    /// addresses are numbers: never ask DNS
    #[argh(switch, short = 'n')]
    numeric: bool,
    /// tell programs what happens, one event a line, at this file descriptor
    #[argh(option, arg_name = "n")]
    status_fd: Option<String>,
    /// accepted for netcat's sake: the end of input is always sent
    #[argh(switch, short = 'N')]
    #[allow(dead_code)]
    end: bool,
    /// accepted for netcat's sake: scat ends when both ends have ended
    #[argh(option, short = 'q', arg_name = "secs")]
    quit: Option<String>,
    /// send nothing: standard input is not read
    #[argh(switch, short = 'd')]
    no_input: bool,
    /// ask for the words, and never start without a terminal to ask at:
    /// nothing moves before a person has typed what the other person says
    #[argh(switch, short = 'c')]
    confirm: bool,
    /// do not ask at a terminal: bytes move at once, before the words are
    /// compared
    #[argh(switch)]
    no_confirm: bool,
    /// use the key in this file, that the other end can pin
    #[argh(option, short = 'i', arg_name = "file")]
    identity: Option<PathBuf>,
    /// the other end must have this public key, or one of those in a file
    /// (may be repeated with -l)
    #[argh(option, arg_name = "key|@file")]
    peer: Vec<String>,
    /// the other end must have the same pre-shared key file
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
    /// report each stage
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

/// Reads the words behind the program's name.
///
/// # Errors
/// [`Error::Usage`].
pub fn parse(words: Vec<OsString>) -> Result<Command, Error> {
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
    for (option, file) in [
        ("-i", &args.identity),
        ("--psk", &args.psk),
        ("--genkey", &args.genkey),
        ("--pubkey", &args.pubkey),
        ("--genpsk", &args.genpsk),
    ] {
        file.iter().try_for_each(|file| names_a_file(option, file))?;
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
    // An option that has taken a host or a port for its value is named first.
    let within = args.within.as_deref().map(|given| seconds("-w", given)).transpose()?;
    if within.is_some_and(|time| time.is_zero()) {
        return Err(corrected("-w 0: no time at all", "without -w there is no limit"));
    }
    if let Some(given) = &args.quit {
        // Some netcats take -1 for "never".
        seconds("-q", given.strip_prefix('-').unwrap_or(given))?;
    }
    let peers = args.peer.iter().map(|given| peers(given)).collect::<Result<_, _>>()?;
    if let Some(given) = &args.status_fd {
        status(given, args.fd.as_deref())?;
    }
    let endpoint = match args.fd {
        Some(_) if !args.places.is_empty() || args.port.is_some() || args.source.is_some() => {
            return Err(usage("--fd has its connection already: no address or port"));
        }
        Some(fd) => {
            Endpoint::Inherited { socket: Inherited::take(connection(&fd)?)?, listen: args.listen }
        }
        None if args.listen => place::listen(&args.places, args.port, args.source)?,
        None => place::connect(&args.places, args.port, args.source)?,
    };
    if let Some(number) = args.identity.as_deref().and_then(Path::to_str).filter(|it| is_number(it))
    {
        return Err(corrected(
            format!("-i {number}: -i names a key file here, no time between lines"),
            format!("leave it out; for a file of that name: -i ./{number}"),
        ));
    }
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
        no_input: args.no_input,
        within,
        ask: match (args.confirm, args.no_confirm) {
            (true, true) => return Err(usage("-c and --no-confirm exclude each other")),
            (true, false) => Confirm::Always,
            (false, true) => Confirm::Never,
            (false, false) => Confirm::AtTerminal,
        },
        identity: args.identity,
        peers,
        psk: args.psk,
    }))
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
            refuse_foreign(&name)?;
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
        if word == "-" {
            let what = "-: standard input and output are always used";
            return Err(corrected(what, "leave it out"));
        }
        let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
            out.push(word);
            continue;
        };
        let mut letters = letters.chars();
        let mut listens = false;
        while let Some(letter) = letters.next() {
            // `--` would end the options.
            if letter == '-' {
                return Err(usage(&format!("{word}: a dash among the letters")));
            }
            let name = format!("-{letter}");
            refuse_foreign(&name)?;
            out.push(name);
            listens |= letter == 'l';
            let rest = letters.as_str();
            if takes_value(|flag| flag.short == Some(letter)) {
                if rest.is_empty() {
                    out.extend(words.next());
                } else {
                    out.push(rest.to_owned());
                }
                break;
            }
            // `-l9000`, `-lv9000`; a single digit is an option.
            if listens && rest.len() > 1 && is_number(rest) {
                out.extend(["-p".to_owned(), rest.to_owned()]);
                break;
            }
        }
    }
    Ok(out)
}

fn refuse_foreign(option: &str) -> Result<(), Error> {
    match foreign::instead(option) {
        Some(instead) => Err(Error::Foreign { option: option.to_owned(), instead }),
        None => Ok(()),
    }
}

/// Whether the option that `is_it` finds takes a value. (argh knows, but wants each
/// option and each value to be a word of its own.)
fn takes_value(is_it: impl Fn(&FlagInfo<'_>) -> bool) -> bool {
    let info = Args::get_args_info();
    info.flags.iter().any(|flag| is_it(flag) && matches!(flag.kind, FlagInfoKind::Option { .. }))
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// `5`, `0.5`. (Floating-point numbers would make the program a good deal larger.)
fn seconds(option: &str, given: &str) -> Result<Duration, Error> {
    let (whole, part) = given.split_once('.').unwrap_or((given, ""));
    let is_number = (whole.to_owned() + part).bytes().all(|byte| byte.is_ascii_digit());
    // Whole seconds, and milliseconds if there are any.
    let milliseconds = format!("{part:0<3.3}").parse().ok().filter(|_| is_number);
    milliseconds
        .and_then(|part| {
            // `.5`
            let whole = if whole.is_empty() && !given.is_empty() { "0" } else { whole };
            Some(Duration::from_secs(whole.parse().ok()?) + Duration::from_millis(part))
        })
        .ok_or_else(|| usage(&format!("{option} {given}: not a number of seconds")))
}

/// Every user of the machine can read a secret among the arguments. It is not repeated
/// on the screen.
fn holds_no_secret(option: &str, given: &str) -> Result<(), Error> {
    match [Kind::Secret, Kind::Psk].iter().any(|kind| given.contains(kind.prefix())) {
        true => Err(Error::Argument(Why::OnCommandLine.at(option))),
        false => Ok(()),
    }
}

/// A file that holds a key, or is to.
fn names_a_file(option: &str, file: &Path) -> Result<(), Error> {
    let given = file.to_string_lossy();
    holds_no_secret(option, &given)?;
    if given.contains(Kind::Public.prefix()) {
        let what = format!("{option}: a public key in the place of a file");
        return Err(corrected(what, "it is for --peer at the other end, and there without @"));
    }
    if given == "-" {
        return Err(corrected(
            format!("{option} -: a file is wanted"),
            "for standard input: /dev/stdin; for a file of that name: ./-",
        ));
    }
    Ok(())
}

/// The descriptor of `--status-fd`. What is said there includes a command line that makes
/// no sense, so it is looked for in `words` as they are.
pub fn status_fd(words: &[OsString]) -> Option<stream::Inherited> {
    let words = words.iter().filter_map(|word| word.to_str()).take_while(|word| *word != "--");
    let words = &words.collect::<Vec<_>>();
    let values = |name: &'static str| {
        words.iter().enumerate().filter_map(move |(at, word)| match word.split_once('=') {
            Some((option, value)) => (option == name).then_some(value),
            None => words.get(at + 1).copied().filter(|_| *word == name),
        })
    };
    status(values("--status-fd").next()?, values("--fd")).ok()
}

/// A descriptor that takes lines, and is neither standard input, nor where the data
/// goes, nor one of the `connections`.
fn status<'a>(
    given: &str,
    connections: impl IntoIterator<Item = &'a str>,
) -> Result<stream::Inherited, Error> {
    let wrong = |what: &str| usage(&format!("--status-fd {given}: {what}"));
    let fd = match given.parse().ok().filter(|_| is_number(given)) {
        None => return Err(wrong("not a file descriptor")),
        Some(0 | 1) => return Err(wrong("that is where data goes; 2 or more")),
        Some(fd) => stream::inherited(fd).map_err(|_| wrong("not open"))?,
    };
    let inherited = |given: &str| stream::inherited(given.parse().ok()?).ok();
    let mut connections = connections.into_iter().filter_map(inherited);
    if connections.any(|connection| {
        stream::are_one(connection, fd) || stream::are_same(stream::Kind::Socket, connection, fd)
    }) {
        return Err(usage("--fd and --status-fd are the same connection"));
    }
    if !stream::is_for_writing(fd) {
        return Err(wrong("not open for writing"));
    }
    // Of messages, and lines among them, it is found out elsewhere.
    let has_messages = stream::are_one(fd, stream::stderr());
    if !has_messages && stream::are_same(stream::Kind::File, fd, stream::stdout()) {
        return Err(wrong("standard output is the same file"));
    }
    Ok(fd)
}

/// The number of a descriptor that is not standard input, output or error.
fn connection(given: &str) -> Result<i32, Error> {
    let number = given.parse().ok().filter(|_| is_number(given));
    match number {
        None => Err(usage(&format!("--fd {given}: not a file descriptor"))),
        Some(0..=2) => Err(usage(&format!(
            "--fd {given}: that is where data and messages go; as 3: scat --fd 3 3<&{given} <FILE"
        ))),
        Some(fd) => Ok(fd),
    }
}

/// `scat-public:BASE64`, with or without a name behind it; `@file`.
fn peers(given: &str) -> Result<Peers, Error> {
    if let Some(file) = given.strip_prefix('@') {
        names_a_file("--peer", Path::new(file))?;
        return Ok(Peers::File(file.into()));
    }
    holds_no_secret("--peer", given)?;
    keys::parse_public(given)
        .map(Peers::Key)
        .map_err(|why| Error::Argument(why.at(format!("--peer {given}"))))
}

fn usage(what: &str) -> Error {
    corrected(what, "see scat --help")
}

/// What is wrong, and what to write instead.
fn corrected(what: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::Usage { what: what.into(), hint: hint.into() }
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
