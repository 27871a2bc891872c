//! The system's resolver.

use dns_lookup::{AddrFamily, AddrInfoHints, LookupErrorKind, SockType, getaddrinfo};
use std::io;
use std::net::SocketAddr;

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

/// What the resolver does not find.
pub enum Failure {
    /// No service of that name.
    Service,
    /// No such host: the resolver's words.
    Host(io::Error),
    /// No answer, or none yet: the resolver's words.
    NoAnswer(io::Error),
}

/// Addresses in the system's order, or why there are none.
pub type Found = Result<Vec<SocketAddr>, Failure>;

/// Asks for the addresses of `host` (those to listen on at every interface without one)
/// and the number of `service`, and waits for the answer. With `numeric`, asks no server.
///
/// # Errors
/// [`Failure`].
pub fn look_up(host: Option<&str>, service: &str, family: Family, numeric: bool) -> Found {
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
    let found = getaddrinfo(host, Some(service), Some(hints)).map_err(|err| match err.kind() {
        LookupErrorKind::Service => Failure::Service,
        LookupErrorKind::Again => Failure::NoAnswer(own_words(&err.into())),
        _ => Failure::Host(own_words(&err.into())),
    })?;
    found.map(|one| Ok(one.map_err(Failure::Host)?.sockaddr)).collect()
}

/// The resolver's words behind the library's own prefix.
fn own_words(err: &io::Error) -> io::Error {
    let text = err.to_string();
    io::Error::other(text.rsplit(": ").next().unwrap_or(&text).to_owned())
}
