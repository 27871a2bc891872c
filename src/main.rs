//! scat: options -> peer -> session -> exit status.

use scat::cli::{self, Command, Connect, Listen};
use scat::error::Error;
use scat::handshake::{Local, Role};
use scat::net::{self, Limit, Met};
use scat::pipe::Pipe;
use scat::session::{Schedule, Session};
use scat::status::Status;
use scat::wait::Wait;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let result = cli::parse(std::env::args_os().skip(1).collect()).and_then(run);
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    let status = Status { verbose: false };
    if let Error::Signal(signal) = error {
        // The one who sent it is to see that it worked.
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    } else {
        status.say(&error);
    }
    if let Some(hint) = error.hint() {
        status.say(format_args!("hint: {hint}"));
    }
    error.status().into()
}

fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Print(text) => {
            let written = std::io::stdout().write_all(text.as_bytes());
            written.map_err(Error::Output)
        }
        Command::Listen(listen) => run_listener(listen),
        Command::Connect(connect) => run_connector(connect),
    }
}

fn run_listener(options: Listen) -> Result<(), Error> {
    let Listen { host, service, common } = options;
    let status = Status { verbose: common.verbose };
    let limit = Limit::new(common.within);
    let local = Local::new(None, None)?;
    let mut wait = Wait::new()?;

    let host = host.as_deref();
    let addresses = net::resolve(&mut wait, host, &service, common.family, common.numeric, &limit)?;
    let listener = net::bind(&addresses, host.is_none(), common.family)?;
    let Met { stream, address, outcome } =
        net::listen(&mut wait, listener, &local, &limit, status)?;

    let (session, sas) = Session::listener(outcome, Schedule::STANDARD, false)?;
    status.compare(Role::Listener, address, &sas);
    Pipe::new(&mut wait, stream, address, session, Role::Listener, None, status)?.run()
}

fn run_connector(options: Connect) -> Result<(), Error> {
    let Connect { host, service, source, source_port, common } = options;
    let status = Status { verbose: common.verbose };
    let limit = Limit::new(common.within);
    let local = Local::new(None, None)?;
    let mut wait = Wait::new()?;

    let mut resolve = |host: Option<&str>, service: &str| {
        if common.verbose && host.is_some() {
            status.say(format_args!("resolving {}", host.unwrap_or_default()));
        }
        net::resolve(&mut wait, host, service, common.family, common.numeric, &limit)
    };
    let addresses = resolve(Some(&host), &service)?;
    let sources = match (source, source_port) {
        (None, None) => Vec::new(),
        (source, port) => resolve(source.as_deref(), port.as_deref().unwrap_or("0"))?,
    };
    let name = format!("{host} port {service}");
    let Met { stream, address, outcome } =
        net::connect(&mut wait, &name, &addresses, &sources, &local, &limit, status)?;

    let session = Session::connector(outcome, Schedule::STANDARD, false);
    let open_by = limit.deadline();
    Pipe::new(&mut wait, stream, address, session, Role::Connector, open_by, status)?.run()
}
