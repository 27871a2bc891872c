//! The command line, as in netcat: bundled options, attached values, `host port`,
//! `host:port`, `[v6]:port`.

mod argv;
mod foreign;
mod place;

use crate::auth::keys::{self, Fault, Kind, KnownKey};
use crate::auth::policy::Confirm;
use crate::error::Error;
use crate::protocol::cipher;
use crate::sys::argument;
use crate::sys::resolver::Family;
use crate::ui::report::Talk;
use argh::{ArgsInfo, FromArgs};
use argv::{Argv, not_text};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the user wants.
pub enum Command {
    /// Print this text, such as the help.
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
    /// How to meet the peer.
    pub endpoint: Endpoint,
    /// `-4`, `-6`
    pub family: Family,
    /// `-n`
    pub numeric: bool,
    /// `-v`, `--quiet`
    pub talk: Talk,
    /// `-d`
    pub no_input: bool,
    /// `-w`
    pub within: Option<Duration>,
    /// `--reconnect`
    pub reconnect: Option<Duration>,
    /// `--idle`
    pub idle: Option<Duration>,
    /// `-c`, `--no-confirm`
    pub ask: Confirm,
    /// `-i`
    pub identity: Option<PathBuf>,
    /// `--peer`
    pub peers: Vec<Peers>,
    /// `--psk`
    pub psk: Option<PathBuf>,
}

/// The argument of one `--peer`.
pub enum Peers {
    /// A key.
    Key(KnownKey),
    /// `@file`: the keys in a file.
    File(PathBuf),
}

/// How to meet the peer.
pub enum Endpoint {
    /// `scat -l`
    Listen {
        /// Address to bind; `None` for every interface.
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
        /// `-l`: act as the listener.
        listen: bool,
    },
}

/// The descriptors that the command line names, even if it is wrong otherwise.
#[derive(Default)]
pub struct Descriptors {
    /// `--fd`: connections; only one is valid.
    pub connections: Vec<i32>,
    /// `--status-fd`
    pub status: Option<i32>,
    /// `--confirm-fd`
    pub confirm: Option<i32>,
}

/// Encrypted netcat: joins standard input and output with those of one peer. Compare
/// the words to know that nobody is listening in.
// Values are numbers: indices of argv's words.
#[derive(ArgsInfo, FromArgs)]
#[argh(
    help_triggers("-h", "--help"),
    example = "scat -l 9000 > copy            at one end, and\nscat their.host 9000 < file    at the other",
    note = "Exit status 0 means that everything arrived, at both ends. scat(1)\nexplains the others, and how to verify the other end."
)]
struct Args {
    /// listen for one peer instead of connecting
    #[argh(switch, short = 'l')]
    listen: bool,
    /// port to listen on, or to connect from
    #[argh(option, short = 'p', arg_name = "port")]
    port: Option<usize>,
    /// address to listen on, or to connect from
    #[argh(option, short = 's', arg_name = "addr")]
    source: Option<usize>,
    /// IPv4 only
    #[argh(switch, short = '4')]
    ipv4: bool,
    /// IPv6 only
    #[argh(switch, short = '6')]
    ipv6: bool,
    /// use the connection at this file descriptor, a stream socket that
    /// another program has connected
    #[argh(option, arg_name = "n")]
    fd: Option<usize>,
    /// the host is a numeric address: never ask DNS
    #[argh(switch, short = 'n')]
    numeric: bool,
    /// report events to programs at this file descriptor, one per line
    #[argh(option, arg_name = "n")]
    status_fd: Option<usize>,
    /// let a program ask the user: it receives the questions as events at
    /// --status-fd, and writes the answers to this file descriptor
    #[argh(option, arg_name = "n")]
    confirm_fd: Option<usize>,
    /// ignored, for compatibility with netcat: scat always sends the end of input
    #[argh(switch, short = 'N')]
    #[allow(dead_code)]
    end: bool,
    /// ignored, for compatibility with netcat: scat exits when both ends have
    /// finished
    #[argh(option, short = 'q', arg_name = "secs")]
    quit: Option<usize>,
    /// send nothing: standard input is not read
    #[argh(switch, short = 'd')]
    no_input: bool,
    /// always ask for the words, even in a pipeline; fail if there is no
    /// terminal to ask at
    #[argh(switch, short = 'c')]
    confirm: bool,
    /// do not ask at a terminal: data is exchanged before the words are
    /// compared
    #[argh(switch)]
    no_confirm: bool,
    /// identify yourself with the secret key in this file, so that the other
    /// end can check it with --peer
    #[argh(option, short = 'i', arg_name = "file")]
    identity: Option<usize>,
    /// the other end must have this public key, or one of those in a file
    /// (may be repeated with -l)
    #[argh(option, arg_name = "key|@file")]
    peer: Vec<usize>,
    /// the other end must have the same pre-shared key file
    #[argh(option, arg_name = "file")]
    psk: Option<usize>,
    /// make a new key in this new file, and print its public key
    #[argh(option, arg_name = "file")]
    genkey: Option<usize>,
    /// print the public key of the key in this file
    #[argh(option, arg_name = "file")]
    pubkey: Option<usize>,
    /// make a new pre-shared key in this new file
    #[argh(option, arg_name = "file")]
    genpsk: Option<usize>,
    /// report each stage, and at the end how much and how fast
    #[argh(switch, short = 'v')]
    verbose: bool,
    /// print nothing but errors, and the questions for the words
    #[argh(switch)]
    quiet: bool,
    /// if the connection is lost, wait this long for another one (needed at
    /// both ends)
    #[argh(option, arg_name = "secs")]
    reconnect: Option<usize>,
    /// give up unless there is a session within this time
    #[argh(option, short = 'w', arg_name = "secs")]
    within: Option<usize>,
    /// end a session without data for this long
    #[argh(option, arg_name = "secs")]
    idle: Option<usize>,
    /// print the version
    #[argh(switch)]
    version: bool,
    /// host and port; with -l, address (if any) and port
    #[argh(positional, arg_name = "where")]
    places: Vec<usize>,
}

/// What `--help` prints: one screen.
const HELP: &str = "\
Usage: scat [options] host port         connect
       scat -l [options] [addr] port    listen

A chat:   scat -l 9000                  and   scat their.host 9000
A file:   scat -l 9000 > copy           and   scat their.host 9000 < file

At a terminal, each end shows three words. Read yours to the other person by
phone and type theirs: then nobody is listening in.

  -l           listen for one peer instead of connecting
  -c           ask for the words in a pipeline, too
  --psk FILE   no words: both ends have the same key (scat --genpsk FILE)
  --peer KEY   no words: the peer has this key; @FILE names several
  -i FILE      this end's key, for --peer at the other end (scat --genkey FILE)
  -w SECS      retry until there is a session; give up after this time
  -v           report each stage

In scripts and cron always give --peer or --psk.
Exit status 0 means that all data was received and written, at both ends.
All options: scat --help all. The manual: man scat.
";

/// Parses the arguments. Opens nothing and asks for nothing.
///
/// # Errors
/// [`Error::Usage`], [`Error::Argument`]. The descriptors are returned anyway, so that a
/// program at `--status-fd` learns of the error.
pub fn parse(words: Vec<OsString>) -> (Descriptors, Result<Command, Error>) {
    let argv = Argv::new(words);
    let number = |given: &str| descriptor("", given).ok();
    let descriptors = Descriptors {
        connections: argv.values_of("--fd").filter_map(number).collect(),
        status: argv.values_of("--status-fd").next().and_then(number),
        confirm: argv.values_of("--confirm-fd").next().and_then(number),
    };
    (descriptors, command(argv))
}

fn command(argv: Argv) -> Result<Command, Error> {
    let wants_all = argv.wants_all_help;
    let (words, values) = argv.finish()?;
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    // argh accepts nothing after it.
    if words.iter().any(|word| ["-h", "--help"].contains(word)) {
        words = vec!["--help"];
    }
    let args = match Args::from_args(&["scat"], &words) {
        Ok(args) => args,
        Err(exit) if exit.status.is_ok() => {
            return Ok(Command::Print(if wants_all { exit.output } else { HELP.to_owned() }));
        }
        Err(exit) => return Err(usage(&one_line(&exit.output))),
    };
    if args.version {
        return Ok(Command::Print(format!(
            "scat {} (ChaCha20-Poly1305: {})\n",
            env!("CARGO_PKG_VERSION"),
            cipher::NAME
        )));
    }
    let values = Values(values);
    // Before anything else, so that a secret among the arguments is always reported.
    let identity = values.file("-i", args.identity)?;
    let psk = values.file("--psk", args.psk)?;
    if let Some(command) = key_work(&args, &values)? {
        return match words.len() {
            2 => Ok(command),
            _ => Err(usage("--genkey, --pubkey and --genpsk stand alone")),
        };
    }
    options(&args, &values, identity, psk).map(Command::Run)
}

/// The words that the numbers in [`Args`] stand for.
struct Values(Vec<OsString>);

impl Values {
    fn text(&self, at: usize) -> Result<&str, Error> {
        self.0[at].to_str().ok_or_else(|| not_text(&self.0[at]))
    }

    fn owned(&self, at: Option<usize>) -> Result<Option<String>, Error> {
        at.map(|at| self.text(at).map(str::to_owned)).transpose()
    }

    fn file(&self, option: &str, at: Option<usize>) -> Result<Option<PathBuf>, Error> {
        at.map(|at| file_of_a_key(option, &self.0[at])).transpose()
    }

    /// Returns a time limit. It cannot be 0; `without` says what happens without the option.
    fn limit(
        &self,
        option: &str,
        at: Option<usize>,
        without: &str,
    ) -> Result<Option<Duration>, Error> {
        let time = at.map(|at| seconds(option, self.text(at)?)).transpose()?;
        match time {
            Some(Duration::ZERO) => {
                Err(Error::usage(format!("{option} 0: the time cannot be 0"), without))
            }
            time => Ok(time),
        }
    }
}

/// Returns what to do with a key file instead of running a session, if that is wanted.
fn key_work(args: &Args, values: &Values) -> Result<Option<Command>, Error> {
    let wanted = [
        values.file("--genkey", args.genkey)?.map(Command::GenerateKey),
        values.file("--pubkey", args.pubkey)?.map(Command::PublicKey),
        values.file("--genpsk", args.genpsk)?.map(Command::GeneratePsk),
    ];
    Ok(wanted.into_iter().flatten().next())
}

fn options(
    args: &Args,
    values: &Values,
    identity: Option<PathBuf>,
    psk: Option<PathBuf>,
) -> Result<Options, Error> {
    // An option that has swallowed a host or a port is reported first.
    let within = values.limit("-w", args.within, "without -w there is no limit")?;
    let ends = "without --reconnect a lost connection ends the session";
    let reconnect = values.limit("--reconnect", args.reconnect, ends)?;
    let idle = values.limit("--idle", args.idle, "without --idle there is no limit")?;
    if let Some(at) = args.quit {
        // Some netcats take -1 for "never".
        let given = values.text(at)?;
        seconds("-q", given.strip_prefix('-').unwrap_or(given))?;
    }
    let peers = args.peer.iter().map(|&at| peers(&values.0[at])).collect::<Result<Vec<_>, _>>()?;
    check_descriptors(args, values)?;
    let endpoint = endpoint(args, values)?;
    if let Some(number) = identity.as_deref().and_then(Path::to_str).filter(|it| is_number(it)) {
        return Err(Error::usage(
            format!("-i {number}: in scat, -i takes a key file, not netcat's interval"),
            format!("leave it out; for a file of that name: -i ./{number}"),
        ));
    }
    if peers.len() > 1 && !args.listen {
        return Err(usage("--peer can be repeated with -l only"));
    }
    Ok(Options {
        endpoint,
        family: match (args.ipv4, args.ipv6) {
            (true, true) => return Err(usage("-4 and -6 exclude each other")),
            (true, false) => Family::V4,
            (false, true) => Family::V6,
            (false, false) => Family::Any,
        },
        numeric: args.numeric,
        talk: match (args.verbose, args.quiet) {
            (true, true) => return Err(usage("-v and --quiet exclude each other")),
            (true, false) => Talk::Stages,
            (false, true) => Talk::Nothing,
            (false, false) => Talk::Usual,
        },
        no_input: args.no_input,
        within,
        reconnect,
        idle,
        ask: match (args.confirm, args.no_confirm) {
            (true, true) => return Err(usage("-c and --no-confirm exclude each other")),
            (true, false) => Confirm::Always,
            (false, true) => Confirm::Never,
            (false, false) => Confirm::AtTerminal,
        },
        identity,
        peers,
        psk,
    })
}

/// Checks `--status-fd` and `--confirm-fd`, whose numbers [`parse`] has read.
fn check_descriptors(args: &Args, values: &Values) -> Result<(), Error> {
    args.status_fd.map(|at| descriptor("--status-fd", values.text(at)?)).transpose()?;
    args.confirm_fd.map(|at| descriptor("--confirm-fd", values.text(at)?)).transpose()?;
    match (args.confirm_fd, args.status_fd) {
        (Some(_), None) => {
            let what = "--confirm-fd needs --status-fd, where the questions are asked";
            Err(Error::usage(what, "see scat(1), STATUS LINES"))
        }
        (Some(_), _) if args.no_confirm => {
            Err(usage("--confirm-fd and --no-confirm exclude each other"))
        }
        _ => Ok(()),
    }
}

fn endpoint(args: &Args, values: &Values) -> Result<Endpoint, Error> {
    let places = args.places.iter().map(|&at| values.text(at)).collect::<Result<Vec<_>, _>>()?;
    let (port, source) = (values.owned(args.port)?, values.owned(args.source)?);
    if places.is_empty() && port.is_none() && args.fd.is_none() {
        within_is_no_port(args, values)?;
    }
    match args.fd {
        Some(_) if !places.is_empty() || port.is_some() || source.is_some() => {
            Err(usage("--fd is a connection already: no address or port"))
        }
        Some(_) if args.reconnect.is_some() => {
            let what = "--fd and --reconnect exclude each other";
            Err(Error::usage(what, "leave out --reconnect"))
        }
        Some(at) => match descriptor("--fd", values.text(at)?)? {
            fd @ 0..=2 => Err(Error::usage(
                format!("--fd {fd}: 0 to 2 carry data and messages"),
                format!("make it 3: scat --fd 3 3<&{fd} < FILE"),
            )),
            _ => Ok(Endpoint::Inherited { listen: args.listen }),
        },
        None if args.listen => place::listen(&places, port, source),
        None => place::connect(&places, port, source),
    }
}

/// Rejects `-l -w 9000`, where the time looks like the port that is missing.
fn within_is_no_port(args: &Args, values: &Values) -> Result<(), Error> {
    let Some(at) = args.within else { return Ok(()) };
    let given = values.text(at)?;
    if given.parse().is_ok_and(|port: u16| port > 1023) {
        let line = if args.listen { "scat -l -w SECS PORT" } else { "scat -w SECS HOST PORT" };
        let what = format!("-w {given} is a time in seconds, and there is no port");
        return Err(Error::usage(what, line));
    }
    Ok(())
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// Parses `5` or `0.5`. (Floating-point parsing would make the program much larger.)
fn seconds(option: &str, given: &str) -> Result<Duration, Error> {
    // Check both parts for digits first, because parse would accept a sign.
    let (whole, part) = given.split_once('.').unwrap_or((given, ""));
    let is_number = is_number(&(whole.to_owned() + part));
    // Whole seconds, and milliseconds: the first three digits of the fraction, padded
    // with zeros.
    let milliseconds = format!("{part:0<3.3}").parse().ok().filter(|_| is_number);
    milliseconds
        .and_then(|part| {
            // `.5`
            let whole = if whole.is_empty() { "0" } else { whole };
            Some(Duration::from_secs(whole.parse().ok()?) + Duration::from_millis(part))
        })
        .ok_or_else(|| {
            let what = format!("{option} {given}: not a number of seconds");
            Error::usage(what, format!("for five minutes: {option} 300"))
        })
}

/// Rejects a secret among the arguments, which every user of the machine can read. The
/// message does not repeat it.
fn holds_no_secret(option: &str, given: &str) -> Result<(), Error> {
    match [Kind::Secret, Kind::Psk].iter().any(|kind| given.contains(kind.prefix())) {
        true => Err(Error::Argument(Fault::OnCommandLine.at(option))),
        false => Ok(()),
    }
}

/// Returns the name of a key file, which need not be text.
fn file_of_a_key(option: &str, file: &OsStr) -> Result<PathBuf, Error> {
    let given = file.to_string_lossy();
    holds_no_secret(option, &given)?;
    if given.contains(Kind::Public.prefix()) {
        let what = format!("{option}: that is a public key, not a file");
        return Err(Error::usage(what, "it is for --peer at the other end, and there without @"));
    }
    if given == "-" {
        return Err(Error::usage(
            format!("{option} -: that takes the name of a file"),
            "for standard input: /dev/stdin; for a file of that name: ./-",
        ));
    }
    Ok(file.into())
}

/// Parses the number of a descriptor.
fn descriptor(option: &str, given: &str) -> Result<i32, Error> {
    let number = given.parse().ok().filter(|_| is_number(given));
    number.ok_or_else(|| usage(&format!("{option} {given}: not a file descriptor")))
}

/// Parses `scat-public:BASE64`, optionally followed by a name; or `@file`.
fn peers(given: &OsStr) -> Result<Peers, Error> {
    if given.as_encoded_bytes().starts_with(b"@") {
        return file_of_a_key("--peer", argument::split(given, 1).1).map(Peers::File);
    }
    let given = given.to_str().ok_or_else(|| not_text(given))?;
    holds_no_secret("--peer", given)?;
    if Path::new(given).is_file() {
        let what = format!("--peer {given}: that is a file");
        return Err(Error::usage(what, format!("write --peer @{given}")));
    }
    keys::parse_public(given)
        .map(Peers::Key)
        .map_err(|fault| Error::Argument(fault.at(format!("--peer {given}"))))
}

/// Makes a usage error where nothing better is known to write instead.
fn usage(what: &str) -> Error {
    Error::usage(what, "for all options: scat --help all")
}

/// Converts argh's message into our form: `unrecognized argument: -x`.
fn one_line(words: &str) -> String {
    // Values are numbers, so only the option can be wrong.
    if let Some((option, _)) =
        words.strip_prefix("Error parsing option '").and_then(|words| words.split_once('\''))
    {
        return format!("{option} is given twice");
    }
    let mut line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    line.truncate(line.trim_end_matches('.').len());
    if let Some(first) = line.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    line
}
