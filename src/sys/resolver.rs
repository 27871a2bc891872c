//! The system's resolver.

use super::zone;
use dns_lookup::{AddrFamily, AddrInfoHints, LookupErrorKind, SockType, getaddrinfo};
use std::io;
use std::net::SocketAddr;

/// The address families that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Both.
    Any,
    /// `-4`
    V4,
    /// `-6`
    V6,
}

/// Why the resolver found nothing.
pub enum Failure {
    /// The service name is unknown.
    Service,
    /// The host name is unknown: the resolver's message.
    Host(io::Error),
    /// No name server answered, at least for now: the resolver's message.
    NoAnswer(io::Error),
}

/// Addresses in the system's order, or the failure.
pub type Found = Result<Vec<SocketAddr>, Failure>;

/// Looks up the addresses of `host` (without one, those to listen on at every interface)
/// and the number of `service`, and waits for the answer. With `numeric`, asks no server.
/// localhost always is this machine, whatever the resolver says (RFC 6761 section 6.3).
///
/// # Errors
/// [`Failure`].
pub fn look_up(host: Option<&str>, service: &str, family: Family, numeric: bool) -> Found {
    let numeric_host = if numeric { libc::AI_NUMERICHOST } else { 0 };
    let flags = if host.is_none() { libc::AI_PASSIVE } else { numeric_host };
    if numeric || !host.is_some_and(|host| host.eq_ignore_ascii_case("localhost")) {
        return ask(host, service, family, flags);
    }
    let mut found = ask(host, service, family, flags).unwrap_or_default();
    found.retain(|address| address.ip().is_loopback());
    match found.is_empty() {
        // Only the service, unless the addresses to listen on are wanted.
        true => ask(None, service, family, 0),
        false => Ok(found),
    }
}

fn ask(host: Option<&str>, service: &str, family: Family, flags: i32) -> Found {
    let hints = AddrInfoHints {
        flags,
        address: match family {
            Family::Any => 0,
            Family::V4 => AddrFamily::Inet.into(),
            Family::V6 => AddrFamily::Inet6.into(),
        },
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let found = getaddrinfo(host, Some(service), Some(hints)).map_err(|err| match err.kind() {
        LookupErrorKind::Service => Failure::Service,
        LookupErrorKind::Again => Failure::NoAnswer(own_words(&err.into())),
        _ => Failure::Host(own_words(&err.into())),
    })?;
    let found = found.map(|one| Ok(one.map_err(Failure::Host)?.sockaddr));
    let found: Vec<SocketAddr> = found.collect::<Result<_, _>>()?;
    found.iter().copied().for_each(zone::learn);
    Ok(found)
}

/// Returns the resolver's message without the library's own prefix.
fn own_words(err: &io::Error) -> io::Error {
    let text = err.to_string();
    io::Error::other(text.rsplit(": ").next().unwrap_or(&text).to_owned())
}
