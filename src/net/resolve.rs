//! Names to addresses.

use crate::error::Error;
use crate::event_loop::{Deadline, EventLoop};
use crate::report::plain;
use dns_lookup::{AddrFamily, AddrInfoHints, LookupErrorKind, SockType, getaddrinfo};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc;

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
/// or `deadline` does not wait for it.
///
/// # Errors
/// [`Error::Resolve`], [`Error::Waited`] at `deadline`, [`Error::Signal`].
pub fn resolve(
    events: &mut EventLoop,
    host: Option<&str>,
    service: &str,
    family: Family,
    numeric: bool,
    deadline: &Deadline,
) -> Result<Vec<SocketAddr>, Error> {
    let name = match host {
        Some(host) => format!("{host} port {service}"),
        None => format!("port {service}"),
    };
    let is_name = host.is_some_and(|host| host.parse::<IpAddr>().is_err());
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
    let waker = events.waker();
    let (sender, receiver) = mpsc::channel();
    let (host, service) = (host.map(str::to_owned), service.to_owned());
    std::thread::spawn(move || {
        let found = getaddrinfo(host.as_deref(), Some(&service), Some(hints))
            .map_err(|why| match why.kind() {
                LookupErrorKind::Service => io::Error::other("no such service or port"),
                _ => why.into(),
            })
            .and_then(|all| all.map(|one| Ok(one?.sockaddr)).collect::<io::Result<Vec<_>>>());
        let _ = sender.send(found);
        let _ = waker.wake();
    });
    loop {
        events.poll(deadline.at())?;
        match receiver.try_recv() {
            Ok(Ok(found)) if found.is_empty() => return Err(failed("no address".into())),
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(_)) if is_name && numeric => {
                return Err(failed("not an address, and -n says not to ask for one".into()));
            }
            Ok(Err(why)) => return Err(failed(resolver_words(&why))),
            Err(mpsc::TryRecvError::Empty) => deadline.check()?,
            Err(mpsc::TryRecvError::Disconnected) => return Err(failed("failed".into())),
        }
    }
}

/// The resolver's words behind the library's own prefix.
fn resolver_words(why: &io::Error) -> String {
    let text = why.to_string();
    let text = text.rsplit(": ").next().unwrap_or(&text);
    plain(&io::Error::other(text.to_owned()))
}
