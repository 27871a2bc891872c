//! Names to addresses.

use crate::error::Error;
use crate::event_loop::EventLoop;
use crate::report::{Report, plain};
use crate::waiting::{Deadline, Stage, Waiting};
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
/// [`Error::Resolve`], [`Error::Usage`] for what no retry can mend, [`Error::Waited`] at
/// `deadline`, [`Error::Signal`].
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
    let waker = events.waker();
    let (sender, receiver) = mpsc::channel();
    let (asked, port) = (host.map(str::to_owned), service.to_owned());
    std::thread::spawn(move || {
        let found = getaddrinfo(asked.as_deref(), Some(&port), Some(hints))
            .map_err(|why| (matches!(why.kind(), LookupErrorKind::Service), io::Error::from(why)));
        let found = found.and_then(|all| {
            let all: io::Result<Vec<_>> = all.map(|one| Ok(one?.sockaddr)).collect();
            all.map_err(|why| (false, why))
        });
        let _ = sender.send(found);
        let _ = waker.wake();
    });
    let mut waiting = Waiting::new(Stage::Resolving(name.clone()), deadline, report);
    loop {
        waiting.poll(events, None)?;
        match receiver.try_recv() {
            Ok(Ok(found)) if found.is_empty() => return Err(failed("no address".into())),
            Ok(Ok(found)) => return Ok(found),
            Ok(Err((true, _))) => {
                let what = format!("port {service}: no such service");
                return Err(usage(what, "give the port as a number"));
            }
            Ok(Err(_)) if numeric && host.is_some() && literal.is_none() => {
                let what =
                    format!("resolve {name}: not an address, and -n says not to ask for one");
                return Err(usage(what, "leave out -n, or give the address"));
            }
            Ok(Err((false, why))) => return Err(failed(resolver_words(&why))),
            Err(mpsc::TryRecvError::Empty) => {}
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
