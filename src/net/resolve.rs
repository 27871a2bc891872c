//! Names to addresses.

use crate::error::{Error, Stage};
use crate::sys::poller::EventLoop;
use crate::text::plain;
use crate::ui::report::Report;
use crate::ui::waiting::{Deadline, Waiting};
use dns_lookup::{AddrFamily, AddrInfoHints, LookupErrorKind, SockType, getaddrinfo};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

/// Which kinds of addresses may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Both.
    Any,
    /// `-4`
    V4,
    /// `-6`
    V6,
}

/// Asks for the addresses of `host` (of every interface without one) and the
/// number of `service`, in the system's order. With `numeric`, asks no server.
///
/// The system's resolver cannot be interrupted, so it gets a thread; a signal
/// or `deadline` does not wait for it. Addresses and port numbers need neither.
///
/// # Errors
/// [`Error::Resolve`], [`Error::Usage`] for what no retry can mend, [`Error::Waited`] at
/// `deadline`, [`Error::Signal`]; [`Error::System`] if there is no thread to be had.
pub fn resolve(
    events: &mut EventLoop,
    host: Option<&str>,
    service: &str,
    family: Family,
    numeric: bool,
    deadline: &Deadline,
    report: &Report,
) -> Result<Vec<SocketAddr>, Error> {
    let name = match host {
        Some(host) => format!("{host} port {service}"),
        None => format!("port {service}"),
    };
    let literal: Option<IpAddr> = host.and_then(|host| host.parse().ok());
    let usage = |what: String, hint: &str| Error::Usage { what, hint: hint.to_owned() };
    match (literal, family) {
        (Some(IpAddr::V6(ip)), Family::V4) => {
            return Err(usage(
                format!("{ip}: an IPv6 address, and -4 says IPv4 only"),
                "leave out -4",
            ));
        }
        (Some(IpAddr::V4(ip)), Family::V6) => {
            return Err(usage(
                format!("{ip}: an IPv4 address, and -6 says IPv6 only"),
                "leave out -6",
            ));
        }
        _ => {}
    }
    let failed = |why: String| Error::Resolve { name: name.clone(), why };
    let passive = if host.is_none() { libc::AI_PASSIVE } else { 0 };
    let hints = AddrInfoHints {
        flags: passive | if numeric { libc::AI_NUMERICHOST } else { 0 },
        address: match family {
            Family::Any => 0,
            Family::V4 => AddrFamily::Inet.into(),
            Family::V6 => AddrFamily::Inet6.into(),
        },
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let is_port = service.bytes().all(|byte| byte.is_ascii_digit());
    let found = if is_port && (numeric || host.is_none() || literal.is_some()) {
        look_up(host, service, hints)
    } else {
        let stage = Waiting::new(Stage::Resolving(name.clone()), deadline, report);
        look_up_aside(events, host, service, hints, stage)?
    };
    match found {
        Ok(found) if found.is_empty() => Err(failed("no address".into())),
        Ok(found) => Ok(found),
        Err(Failure::Service) => {
            let what = format!("port {service}: no such service");
            Err(usage(what, "give the port as a number"))
        }
        Err(_) if numeric && host.is_some() && literal.is_none() => {
            let what = format!("resolve {name}: not an address, and -n says not to ask for one");
            Err(usage(what, "leave out -n, or give the address"))
        }
        Err(Failure::Host(why)) => Err(failed(resolver_words(&why))),
    }
}

/// What the resolver does not find.
enum Failure {
    Service,
    Host(io::Error),
}

type Found = Result<Vec<SocketAddr>, Failure>;

/// Asks the system's resolver.
fn look_up(host: Option<&str>, service: &str, hints: AddrInfoHints) -> Found {
    let found = getaddrinfo(host, Some(service), Some(hints)).map_err(|why| match why.kind() {
        LookupErrorKind::Service => Failure::Service,
        _ => Failure::Host(why.into()),
    })?;
    found.map(|one| Ok(one.map_err(Failure::Host)?.sockaddr)).collect()
}

/// The same in a thread, which is left to itself when a signal or the deadline comes first.
fn look_up_aside(
    events: &mut EventLoop,
    host: Option<&str>,
    service: &str,
    hints: AddrInfoHints,
    mut waiting: Waiting<'_>,
) -> Result<Found, Error> {
    let waker = events.waker();
    let found = Arc::new(Mutex::new(None));
    let place = Arc::clone(&found);
    let (host, service) = (host.map(str::to_owned), service.to_owned());
    let job = move || {
        let result = look_up(host.as_deref(), &service, hints);
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        let _ = waker.wake();
    };
    let thread = std::thread::Builder::new().spawn(job);
    thread.map_err(|why| Error::System("name look-up", why))?;
    loop {
        waiting.poll(events, None)?;
        if let Some(found) = found.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Ok(found);
        }
    }
}

/// The resolver's words behind the library's own prefix.
fn resolver_words(why: &io::Error) -> String {
    let text = why.to_string();
    let text = text.rsplit(": ").next().unwrap_or(&text);
    plain(&io::Error::other(text.to_owned()))
}
