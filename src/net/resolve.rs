//! Looks up names.

use crate::error::{Error, Stage};
use crate::sys::poller::Poller;
use crate::sys::resolver::{Failure, Family, Found, look_up};
use crate::sys::zone;
use crate::text::plain;
use crate::ui::report::Report;
use crate::ui::waiting::{Deadline, Waiting};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of stack for the resolver, which loads modules of unknown size.
const STACK: usize = 2 << 20;

/// Looks up the addresses of `host` (without one, of every interface) and the number of
/// `service`, in the system's order. With `numeric`, asks no server.
///
/// The system's resolver cannot be interrupted, so it runs in a thread, which a signal or
/// `deadline` abandons. Addresses and port numbers need neither thread nor resolver.
///
/// # Errors
/// [`Error::Resolve`], [`Error::Usage`] if no retry can help, [`Error::Waited`] at
/// `deadline`, [`Error::Signal`].
pub fn resolve(
    poller: &mut Poller,
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
    let (address, zone) = match host.and_then(|host| host.split_once('%')) {
        Some((address, zone)) => (Some(address), Some(zone)),
        None => (host, None),
    };
    let literal: Option<IpAddr> = address.and_then(|address| address.parse().ok());
    if let (Some(IpAddr::V6(_)), Some(zone)) = (literal, zone)
        && zone::index(zone).is_none()
    {
        return Err(Error::Zone { name, zone: zone.to_owned() });
    }
    match (literal, family) {
        (Some(IpAddr::V6(ip)), Family::V4) => {
            return Err(Error::usage(
                format!("{ip}: an IPv6 address, and -4 says IPv4 only"),
                "leave out -4",
            ));
        }
        (Some(IpAddr::V4(ip)), Family::V6) => {
            return Err(Error::usage(
                format!("{ip}: an IPv4 address, and -6 says IPv6 only"),
                "leave out -6",
            ));
        }
        _ => {}
    }
    let failed =
        |err: String, is_temporary| Error::Resolve { name: name.clone(), err, is_temporary };
    let is_port = service.bytes().all(|byte| byte.is_ascii_digit());
    let found = if is_port && (numeric || host.is_none() || literal.is_some()) {
        look_up(host, service, family, numeric)
    } else {
        let stage = Waiting::new(Stage::Resolving(name.clone()), deadline, report);
        look_up_aside(poller, host, service, family, numeric, stage)?
    };
    match found {
        Ok(found) if found.is_empty() => Err(failed("no address".into(), false)),
        Ok(found) => {
            // A name may have the same address twice.
            let mut addresses = Vec::with_capacity(found.len());
            for address in found {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            Ok(addresses)
        }
        Err(Failure::Service) => {
            let what = format!("port {service}: no such service");
            Err(Error::usage(what, "give the port as a number"))
        }
        Err(_) if numeric && host.is_some() && literal.is_none() => {
            let what = format!("resolve {name}: -n allows numeric addresses only");
            Err(Error::usage(what, "leave out -n, or give the address"))
        }
        Err(Failure::Host(err)) => Err(failed(plain(&err), false)),
        Err(Failure::NoAnswer(err)) => Err(failed(plain(&err), true)),
    }
}

/// Looks up in a thread, which is abandoned if a signal or the deadline comes first.
fn look_up_aside(
    poller: &mut Poller,
    host: Option<&str>,
    service: &str,
    family: Family,
    numeric: bool,
    mut waiting: Waiting<'_>,
) -> Result<Found, Error> {
    let waker = poller.waker();
    let found = Arc::new(Mutex::new(None));
    let place = Arc::clone(&found);
    let (name, port) = (host.map(str::to_owned), service.to_owned());
    let job = move || {
        let result = look_up(name.as_deref(), &port, family, numeric);
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        let _ = waker.wake();
    };
    // Set explicitly, so that the environment (RUST_MIN_STACK) has no effect.
    if std::thread::Builder::new().stack_size(STACK).spawn(job).is_err() {
        // Without a thread, a signal has to wait. A second one ends the process.
        return Ok(look_up(host, service, family, numeric));
    }
    loop {
        waiting.poll(poller, None)?;
        if let Some(found) = found.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Ok(found);
        }
    }
}
