//! One session, from the options to its end.

pub mod descriptors;
pub mod key_file;
pub mod pipe;
pub mod verification;

use crate::auth::keys::Kind;
use crate::auth::policy::{Confirm, Policy};
use crate::cli::{Endpoint, Options, Peers};
use crate::error::Error;
use crate::net::connect::{Target, connect};
use crate::net::listen::{bind, listen};
use crate::net::resolve::resolve;
use crate::net::{Limits, Setup};
use crate::protocol::cipher;
use crate::protocol::handshake::{Features, Local};
use crate::protocol::secret;
use crate::protocol::session::Buffers;
use crate::sys::poller::Poller;
use crate::sys::random;
use crate::sys::sandbox::Sandbox;
use crate::ui::ceremony;
use crate::ui::report::Report;
use crate::ui::stdio::{self, Stdio};
use crate::ui::waiting::Deadline;
use descriptors::Claimed;
use pipe::Pipe;
use std::io;
use std::path::PathBuf;

/// Runs one session, from the options to its end.
///
/// # Errors
/// Why it did not end well.
pub fn session(
    options: Options,
    claimed: Claimed,
    limits: Limits,
    report: &mut Report,
) -> Result<(), Error> {
    claimed.status?;
    let connection = claimed.connection?;
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
    let mut poller = Poller::new()?;
    report.attach(&mut poller)?;
    let report = &*report;
    let mut read =
        |file: PathBuf, kind| key_file::read(&file, kind, &mut poller, &deadline, report);
    let identity = options.identity.map(|file| read(file, Kind::Secret)).transpose()?;
    let psk = options.psk.map(|file| read(file, Kind::Psk)).transpose()?;
    let mut known = Vec::new();
    for peer in peers {
        match peer {
            Peers::Key(key) => known.push(key),
            Peers::File(file) => {
                known.extend(key_file::read_known(&file, &mut poller, &deadline, report)?)
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
    let s = identity.map_or_else(random::key, Ok)?;
    let features = Features { aes: cipher::aes_is_fast(), reconnect: false };
    let local = Local::new(s, long_lived, psk, features);

    let sandbox = Sandbox::prepare();
    // What may fail for want of something here does so before there is a peer.
    let stdio = Stdio::new(&poller)?;
    let no_memory = |_| Error::System("session", io::ErrorKind::OutOfMemory.into());
    let buffers = Buffers::new().map_err(no_memory)?;

    let setup =
        Setup { local: &local, policy: &policy, deadline: &deadline, limits, report, buffers };
    let mut resolve = |host: Option<&str>, service: &str| {
        resolve(&mut poller, host, service, family, numeric, &deadline, report)
    };
    let established = match endpoint {
        Endpoint::Listen { address, service } => {
            let addresses = resolve(address.as_deref(), &service).map_err(Error::of_own)?;
            let listener = bind(&addresses, address.is_none(), family)?;
            listen(&mut poller, listener, setup)?
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
            let to = Target { host, service, addresses, sources };
            connect(&mut poller, &to, setup)?
        }
        Endpoint::Inherited { listen } => {
            let missing =
                || Error::Usage { what: "--fd: no descriptor".into(), hint: String::new() };
            let connection = connection.ok_or_else(missing)?;
            match listen {
                true => connection.listen(&mut poller, setup)?,
                false => connection.connect(&mut poller, setup)?,
            }
        }
    };

    // The session needs no long-lived secret.
    drop(local);
    secret::wipe_stack();
    Pipe::run(&mut poller, established, stdio, &policy, tty, sandbox, report)
}
