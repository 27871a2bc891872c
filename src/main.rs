//! scat: options -> peer -> session -> exit status.

use scat::auth::keys::{self, Kind};
use scat::auth::policy::{Confirm, Policy};
use scat::cli::{self, Command, Endpoint, Options, Peers};
use scat::error::Error;
use scat::net::Setup;
use scat::net::connect::{Target, connect};
use scat::net::listen::{bind, listen};
use scat::net::resolve::resolve;
use scat::protocol::handshake::Local;
use scat::protocol::secret;
use scat::protocol::session::Buffers;
use scat::run::key_file;
use scat::run::pipe::Pipe;
use scat::sys::memory;
use scat::sys::poller::{self, EventLoop};
use scat::sys::random;
use scat::sys::stream;
use scat::ui::ceremony;
use scat::ui::report::Report;
use scat::ui::status::Line;
use scat::ui::stdio::{self, Stdio};
use scat::ui::waiting::Deadline;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    memory::protect();
    poller::ignore_file_size_limit();
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    // Both take descriptors, before their numbers can be another's.
    let status = cli::status_fd(&words);
    let command = cli::parse(words);
    let mut report = Report::new(status);
    let result = command.and_then(|command| execute(command, &mut report));
    report.event(&Line::Exit(result.as_ref().err()));
    let code = result.map_or_else(|error| conclude(&error, &report), |()| ExitCode::SUCCESS);
    report.finish();
    code
}

/// Tells how it ended, and returns the exit status that belongs to it.
fn conclude(error: &Error, report: &Report) -> ExitCode {
    if let &Error::Signal(signal) = error {
        report.finish();
        // Whoever sent it is to see that it worked.
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    }
    report.error(error);
    (error.account().status as u8).into()
}

fn execute(command: Command, report: &mut Report) -> Result<(), Error> {
    if !stream::stdout_was_open() {
        return Err(Error::NoOutput);
    }
    match command {
        Command::Print(text) => print(&text),
        Command::GenerateKey(path) => {
            let secret = random::key()?;
            key_file::create_secret(&path, &secret)?;
            print(&format!("{}\n", keys::public(&secret)))
        }
        Command::PublicKey(path) => {
            let key =
                key_file::read_public(&path, &mut EventLoop::new()?, &Deadline::new(None), report)?;
            print(&format!("{key}\n"))
        }
        Command::GeneratePsk(path) => key_file::create_psk(&path, &random::key()?),
        Command::Run(options) => run(options, report),
    }
}

fn print(text: &str) -> Result<(), Error> {
    io::stdout().write_all(text.as_bytes()).map_err(|why| match why.kind() {
        io::ErrorKind::BrokenPipe => Error::OutputClosed,
        _ => Error::Output(why),
    })
}

/// One run, from the options to the session's end.
fn run(options: Options, report: &mut Report) -> Result<(), Error> {
    let Options { endpoint, family, numeric, verbose, ask, peers, .. } = options;
    report.verbose = verbose;
    if options.no_input {
        stdio::no_input()?;
    }
    stdio::check()?;
    let deadline = Deadline::new(options.within);
    let is_verified = !peers.is_empty() || options.psk.is_some();
    let tty = ceremony::terminal(ask, is_verified)?;
    if matches!(endpoint, Endpoint::Inherited { listen: true, .. }) && !is_verified && tty.is_none()
    {
        return Err(Error::Unverified);
    }
    let mut events = EventLoop::new()?;
    report.attach(&mut events)?;
    let report = &*report;
    let mut read =
        |file: PathBuf, kind| key_file::read(&file, kind, &mut events, &deadline, report);
    let identity = options.identity.map(|file| read(file, Kind::Secret)).transpose()?;
    let psk = options.psk.map(|file| read(file, Kind::Psk)).transpose()?;
    let mut known = Vec::new();
    for peer in peers {
        match peer {
            Peers::Key(key) => known.push(key),
            Peers::File(file) => {
                known.extend(key_file::read_known(&file, &mut events, &deadline, report)?)
            }
        }
    }
    let advice = match (ask, &identity) {
        (Confirm::Never, _) => None,
        (_, None) => Some("-c asks a person before anything moves; --peer or --psk needs nobody"),
        (_, Some(_)) => Some("-i shows your key; whose key they must have, --peer says"),
    };
    let policy = Policy { peers: known, psk: psk.is_some(), advice };
    let long_lived = identity.is_some();
    let local = Local::new(identity.map_or_else(random::key, Ok)?, long_lived, psk);

    // What may fail for want of something here does so before there is a peer.
    let stdio = Stdio::new(events.registry())?;
    let no_memory = |_| Error::System("session", io::ErrorKind::OutOfMemory.into());
    let buffers = Buffers::new().map_err(no_memory)?;

    let setup = Setup { local: &local, policy: &policy, deadline: &deadline, report, buffers };
    let mut resolve = |host: Option<&str>, service: &str| {
        resolve(&mut events, host, service, family, numeric, &deadline, report)
    };
    let established = match endpoint {
        Endpoint::Listen { address, service } => {
            let addresses = resolve(address.as_deref(), &service).map_err(Error::of_own)?;
            let listener = bind(&addresses, address.is_none(), family)?;
            listen(&mut events, listener, setup)?
        }
        Endpoint::Connect { host, service, source, source_port } => {
            report.detail(format_args!("resolving {host} port {service}"));
            let addresses = resolve(Some(&host), &service)?;
            let sources = match (source, source_port) {
                (None, None) => Vec::new(),
                (source, port) => {
                    let port = port.as_deref().unwrap_or("0");
                    resolve(source.as_deref(), port).map_err(Error::of_own)?
                }
            };
            let to = Target { name: format!("{host} port {service}"), addresses, sources };
            connect(&mut events, &to, setup)?
        }
        Endpoint::Inherited { socket, listen: true } => socket.listen(&mut events, setup)?,
        Endpoint::Inherited { socket, listen: false } => socket.connect(&mut events, setup)?,
    };

    // The session needs no long-lived secret.
    drop(local);
    secret::wipe_stack();
    Pipe::run(&mut events, established, stdio, &policy, tty, report)
}
