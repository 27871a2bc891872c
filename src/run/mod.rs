//! One session, from the options to its end.

pub mod descriptors;
pub mod key_file;
pub mod pipe;
pub mod standstill;
pub mod verification;

use crate::auth::keys::Kind;
use crate::auth::policy::{Confirm, Policy};
use crate::cli::{Endpoint, Options, Peers};
use crate::error::Error;
use crate::net::connect::{Target, connect};
use crate::net::inherited::Inherited;
use crate::net::listen::{bind, listen};
use crate::net::resolve::resolve;
use crate::net::{Established, Limits, Setup};
use crate::protocol::cipher;
use crate::protocol::handshake::{Features, Local};
use crate::protocol::session::Buffers;
use crate::sys::memory;
use crate::sys::poller::Poller;
use crate::sys::random;
use crate::sys::resolver::Family;
use crate::sys::sandbox::Sandbox;
use crate::text::plain;
use crate::ui::ceremony::Asker;
use crate::ui::report::{Report, Talk};
use crate::ui::stdio::{self, Stdio};
use crate::ui::waiting::{Deadline, Retry};
use descriptors::Claimed;
use pipe::{Before, Pipe};
use std::io;
use std::path::PathBuf;

/// Runs one session, from the options to its end.
///
/// # Errors
/// Why it failed.
pub fn session(
    options: Options,
    claimed: Claimed,
    limits: Limits,
    report: &mut Report,
) -> Result<(), Error> {
    claimed.status?;
    let confirm = claimed.confirm?;
    let connection = claimed.connection?;
    if options.no_input {
        stdio::no_input()?;
    }
    stdio::check()?;
    memory::ensure_stack().map_err(|err| Error::System("stack", err))?;
    let deadline = Deadline::new(options.within);
    let limits = Limits { idle: options.idle, away: options.reconnect, ..limits };
    let is_verified = !options.peers.is_empty() || options.psk.is_some();
    let mut asker = Asker::choose(options.ask, is_verified, confirm)?;
    // The program that makes the connections may make one after another, and each gives an
    // attacker a guess at the words.
    if matches!(options.endpoint, Endpoint::Inherited { .. }) && !is_verified && asker.is_none() {
        return Err(Error::Unverified);
    }
    report.talk = match is_verified && asker.is_none() && !report.is_watched() {
        true if options.talk == Talk::Usual => Talk::Troubles,
        _ => options.talk,
    };
    let mut poller = Poller::new()?;
    report.attach(&mut poller)?;
    asker.iter_mut().try_for_each(|asker| asker.watch(&poller))?;
    let report = &*report;
    if let Some(err) = memory::not_locked() {
        let reason = plain(&err);
        report.detail(format_args!("keys are not kept out of the swap: {reason} (ulimit -l)"));
    }
    let (local, policy) = keys(&options, asker.is_some(), &mut poller, &deadline, report)?;

    let mut before = Before { local, sandbox: Some(Sandbox::prepare()) };
    let Options { endpoint, family, numeric, .. } = options;
    let mut place = Place { endpoint, family, numeric, connection, target: None };
    let mut retry = Retry::new(&deadline, report);
    loop {
        // Allocate now: a failure later would cost the peer its session.
        let stdio = Stdio::new(&poller)?;
        let no_memory = |_| Error::System("session", io::ErrorKind::OutOfMemory.into());
        let buffers = Buffers::new().map_err(no_memory)?;
        let local = &before.local;
        let setup = Setup { local, policy: &policy, deadline: &deadline, limits, report, buffers };
        let ended = match place.meet(&mut poller, setup) {
            Err(err) => Err((err, Some(before))),
            Ok(peer) => Pipe::run(&mut poller, peer, stdio, &policy, asker.take(), before, report),
        };
        before = match ended {
            Ok(()) => return Ok(()),
            Err((err, Some(before))) if place.can_be_met_again() => {
                retry.after(err, &mut poller)?;
                before
            }
            Err((err, _)) => return Err(err),
        };
    }
}

/// Reads the keys. Returns what this end brings to a handshake, and what the other end
/// must prove; `asks` says that the user is asked for the words.
fn keys(
    options: &Options,
    asks: bool,
    poller: &mut Poller,
    deadline: &Deadline,
    report: &Report,
) -> Result<(Local, Policy), Error> {
    let mut read = |file: &PathBuf, kind| key_file::read(file, kind, poller, deadline, report);
    let identity = options.identity.as_ref().map(|file| read(file, Kind::Secret)).transpose()?;
    let psk = options.psk.as_ref().map(|file| read(file, Kind::Psk)).transpose()?;
    let mut peers = Vec::new();
    for peer in &options.peers {
        match peer {
            Peers::Key(key) => peers.push(key.clone()),
            Peers::File(file) => {
                peers.extend(key_file::read_known(file, poller, deadline, report)?);
            }
        }
    }
    let advice = match (options.ask, &identity) {
        (Confirm::Never, _) => None,
        (_, None) => Some("to verify it: -c asks for the words; --peer and --psk ask nobody"),
        (_, Some(_)) => Some("-i only identifies you; to check who the other end is: --peer"),
    };
    let policy = Policy { peers, psk: psk.is_some(), asks, advice };
    let long_lived = identity.is_some();
    let s = identity.map_or_else(random::key, Ok)?;
    let features = Features { aes: cipher::aes_is_fast(), reconnect: options.reconnect.is_some() };
    Ok((Local::new(s, long_lived, psk, features), policy))
}

/// Where to meet the peer.
struct Place {
    endpoint: Endpoint,
    family: Family,
    numeric: bool,
    /// The connection of `--fd`, until it is used.
    connection: Option<Inherited>,
    /// Where to connect, once the name is looked up.
    target: Option<Target>,
}

impl Place {
    /// Whether another attempt can follow a failed one.
    fn can_be_met_again(&self) -> bool {
        matches!(self.endpoint, Endpoint::Connect { .. })
    }

    /// Listens, connects, or takes the existing connection.
    fn meet(&mut self, poller: &mut Poller, setup: Setup<'_>) -> Result<Established, Error> {
        let Setup { deadline, report, .. } = setup;
        let (family, numeric) = (self.family, self.numeric);
        let mut resolve = |host: Option<&str>, service: &str| {
            resolve(poller, host, service, family, numeric, deadline, report)
        };
        match &self.endpoint {
            Endpoint::Listen { address, service } => {
                let addresses = resolve(address.as_deref(), service).map_err(Error::of_own)?;
                let listener = bind(&addresses, address.is_none(), family)?;
                listen(poller, listener, setup)
            }
            Endpoint::Connect { host, service, source, source_port } => {
                let found = match self.target.take() {
                    Some(found) => found,
                    None => {
                        report.detail(format_args!("resolving {host} port {service}"));
                        let addresses = resolve(Some(host), service)?;
                        let sources = match (source, source_port) {
                            (None, None) => Vec::new(),
                            (source, port) => {
                                let port = port.as_deref().unwrap_or("0");
                                resolve(source.as_deref(), port).map_err(Error::of_own)?
                            }
                        };
                        let (host, service) = (host.clone(), service.clone());
                        Target { host, service, addresses, sources }
                    }
                };
                connect(poller, self.target.insert(found), setup)
            }
            Endpoint::Inherited { listen } => {
                // Never: it was claimed before, and no second attempt follows the first.
                let missing = || Error::System("--fd", io::ErrorKind::NotConnected.into());
                let connection = self.connection.take().ok_or_else(missing)?;
                match listen {
                    true => connection.listen(poller, setup),
                    false => connection.connect(poller, setup),
                }
            }
        }
    }
}
