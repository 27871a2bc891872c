//! scat: options -> peer -> session -> exit status.

use scat::cli::{self, Command, Common, Connect, Listen};
use scat::error::Error;
use scat::event_loop::Wait;
use scat::keys;
use scat::net::connect;
use scat::net::listen;
use scat::net::{self, Limit, Met};
use scat::pipe::Pipe;
use scat::policy::Policy;
use scat::protocol::handshake::{self, Local};
use scat::protocol::secret;
use scat::protocol::session::{Schedule, Session};
use scat::report::Report;
use scat::term::confirm::Terminal;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let result = cli::parse(std::env::args_os().skip(1).collect()).and_then(run);
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    let status = Report { verbose: false };
    if let Error::Signal(signal) = error {
        // Whoever sent it is to see that it worked.
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    }
    status.say(&error);
    if let Some(hint) = error.hint() {
        status.say(format_args!("hint: {hint}"));
    }
    error.status().into()
}

fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Print(text) => print(&text),
        Command::GenerateKey(path) => {
            let secret = handshake::random()?;
            keys::create(&path, &secret)?;
            print(&format!("{}\n", keys::public(&secret)))
        }
        Command::PublicKey(path) => print(&format!("{}\n", keys::public(&keys::read(&path)?))),
        Command::GeneratePsk(path) => Ok(keys::create(&path, &*handshake::random()?)?),
        Command::Listen(listen) => run_listener(listen),
        Command::Connect(connect) => run_connector(connect),
    }
}

fn print(text: &str) -> Result<(), Error> {
    std::io::stdout().write_all(text.as_bytes()).map_err(Error::Output)
}

/// What this side brings to the handshake, and what it asks of the other.
fn credentials(common: &Common) -> Result<(Local, Policy), Error> {
    let confirm = common.confirm.then(Terminal::open).transpose().map_err(Error::NoTerminal)?;
    let identity = common.identity.as_deref().map(keys::read).transpose()?;
    let psk = common.psk.as_deref().map(keys::read).transpose()?;
    let policy = Policy { confirm, peers: common.peers.clone(), psk: psk.is_some() };
    Ok((Local::new(identity, psk)?, policy))
}

fn run_listener(options: Listen) -> Result<(), Error> {
    let Listen { host, service, common } = options;
    let status = Report { verbose: common.verbose };
    let limit = Limit::new(common.within);
    let (local, policy) = credentials(&common)?;
    let mut wait = Wait::new()?;

    let host = host.as_deref();
    let addresses = net::resolve(&mut wait, host, &service, common.family, common.numeric, &limit)?;
    let listener = listen::bind(&addresses, host.is_none(), common.family)?;
    let met = listen::listen(&mut wait, listener, &local, &policy, &limit, status)?;
    let Met { stream, address, outcome } = met;

    let held = policy.confirm.is_some();
    let (session, sas) = Session::listener(outcome, Schedule::STANDARD, held)?;
    let met = Met { stream, address, outcome: session };
    // The session needs no long-lived secret.
    drop(local);
    secret::wipe_stack();
    Pipe::new(&mut wait, met, policy, None, status)?.run(Some(sas))
}

fn run_connector(options: Connect) -> Result<(), Error> {
    let Connect { host, service, source, source_port, common } = options;
    let status = Report { verbose: common.verbose };
    let limit = Limit::new(common.within);
    let (local, policy) = credentials(&common)?;
    let mut wait = Wait::new()?;

    status.detail(format_args!("resolving {host} port {service}"));
    let mut resolve = |host: Option<&str>, service: &str| {
        net::resolve(&mut wait, host, service, common.family, common.numeric, &limit)
    };
    let addresses = resolve(Some(&host), &service)?;
    let sources = match (source, source_port) {
        (None, None) => Vec::new(),
        (source, port) => resolve(source.as_deref(), port.as_deref().unwrap_or("0"))?,
    };
    let to = connect::Target { name: format!("{host} port {service}"), addresses, sources };
    let met = connect::connect(&mut wait, &to, &local, &policy, &limit, status)?;
    let Met { stream, address, outcome } = met;

    let held = policy.confirm.is_some();
    let session = Session::connector(outcome, Schedule::STANDARD, held);
    let met = Met { stream, address, outcome: session };
    // The session needs no long-lived secret.
    drop(local);
    secret::wipe_stack();
    Pipe::new(&mut wait, met, policy, limit.deadline(), status)?.run(None)
}
