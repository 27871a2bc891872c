//! Hosts, addresses and ports in the shapes that people write, and a line for each
//! shape that cannot be meant: what is wrong with it, and what to write instead.

use super::{Endpoint, corrected, is_number};
use crate::error::Error;
use std::net::Ipv6Addr;

/// `-l port`, `-l addr port`, `-l addr:port`, and `-p port` and `-s addr` in their place.
pub fn listen(
    places: &[&str],
    port: Option<String>,
    source: Option<String>,
) -> Result<Endpoint, Error> {
    const WRITE: &str = "scat -l [ADDR] PORT";
    places.iter().copied().chain(source.as_deref()).try_for_each(|place| meant(place, WRITE))?;
    let (address, service) = match (places, port) {
        ([], Some(port)) => (None, port),
        ([], None) => return Err(corrected("no port to listen on", "scat -l PORT")),
        ([address], Some(port)) if !is_number(address) => (Some(bare(address)), port),
        ([only], None) => listening_at(only)?,
        ([first, second], None) => match (is_number(first), is_number(second)) {
            (true, false) => {
                return Err(corrected(
                    format!("-l {first} {second}: the address comes first, then the port"),
                    format!(
                        "scat -l {second} {first}; to write to a file: scat -l {first} > {second}"
                    ),
                ));
            }
            (true, true) => return Err(corrected("two ports to listen on", "scat -l PORT")),
            _ => (Some(bare(first)), (*second).to_owned()),
        },
        (_, Some(_)) => return Err(corrected("two ports to listen on", "scat -l PORT")),
        _ => return Err(corrected("too many arguments", format!("{WRITE}; to a file: > FILE"))),
    };
    // Every address, in the ways of netcat's relatives.
    let is_one = |address: &String| !["*", ""].contains(&address.as_str());
    let source = source.map(|source| bare(&source)).filter(is_one);
    let address = match (address.filter(is_one), source) {
        (Some(_), Some(_)) => return Err(corrected("two addresses to listen on", WRITE)),
        (address, source) => address.or(source),
    };
    address.iter().try_for_each(|address| resolvable(address, WRITE))?;
    Ok(Endpoint::Listen { address, service: port_number(service)? })
}

/// One word behind `-l`: a port, or an address and a port.
fn listening_at(only: &str) -> Result<(Option<String>, String), Error> {
    if let Some((address, service)) = split(only) {
        return Ok((Some(address), service));
    }
    match unbracketed(only) {
        Some(hint) => {
            Err(corrected(format!("{only}: the port of an IPv6 address is not clear"), hint))
        }
        None if only.parse::<std::net::IpAddr>().is_ok() => {
            Err(corrected("no port to listen on", format!("scat -l {only} PORT")))
        }
        None => Ok((None, only.to_owned())),
    }
}

/// `host port`, `host:port`.
pub fn connect(
    places: &[&str],
    source_port: Option<String>,
    source: Option<String>,
) -> Result<Endpoint, Error> {
    const WRITE: &str = "scat HOST PORT";
    places.iter().copied().chain(source.as_deref()).try_for_each(|place| meant(place, WRITE))?;
    let (host, service) = match places {
        [] => {
            let hint = match &source_port {
                Some(port) => format!("scat HOST {port}, or to listen there: scat -l {port}"),
                None => format!("{WRITE}, or to listen: scat -l PORT"),
            };
            return Err(corrected("nowhere to connect to", hint));
        }
        [only] => split(only)
            .filter(|(host, _)| !host.is_empty())
            .ok_or_else(|| half(only, source_port.as_deref()))?,
        // A host that is a small number would be an address that nobody has; but 0 is
        // this machine.
        [port, host] if is_number(port) && !is_number(host) => {
            return Err(corrected(
                format!("{port} {host}: the host comes first, then the port"),
                format!("scat {host} {port}"),
            ));
        }
        [port, _] if *port != "0" && port.parse::<u16>().is_ok() => {
            return Err(corrected(
                format!("{port}: a port in the place of the host"),
                format!("{WRITE}; to connect from a port: -p PORT"),
            ));
        }
        [place, file] if !is_number(file) && split(place).is_some() => return Err(too_many()),
        [host, service] => (bare(host), (*service).to_owned()),
        _ => return Err(too_many()),
    };
    let source = source.map(|source| bare(&source));
    [&host].into_iter().chain(&source).try_for_each(|host| resolvable(host, WRITE))?;
    let service = port_number(service)?;
    if service.bytes().all(|byte| byte == b'0') {
        return Err(corrected("port 0: nobody can listen there", WRITE));
    }
    Ok(Endpoint::Connect {
        host,
        service,
        source,
        source_port: source_port.map(port_number).transpose()?,
    })
}

fn too_many() -> Error {
    corrected("too many arguments", "scat HOST PORT; to send a file: scat HOST PORT < FILE")
}

/// One word where a host and a port are wanted.
fn half(only: &str, source_port: Option<&str>) -> Error {
    if let Some(hint) = unbracketed(only) {
        return corrected(format!("{only}: the port of an IPv6 address is not clear"), hint);
    }
    let port = only.strip_prefix(':').filter(|port| !port.contains(':'));
    if let Some(port) = port.or(is_number(only).then_some(only)) {
        let hint = format!("scat HOST {port}, or to listen there: scat -l {port}");
        return corrected(format!("{only}: a port without a host"), hint);
    }
    if let Some(port) = source_port {
        let what = format!("no port to connect to: -p {port} is the one to connect from");
        return corrected(what, format!("scat {only} {port}"));
    }
    let host = only.trim_end_matches(':');
    let what = format!("no port for the host {host}");
    match only {
        "help" => corrected(what, "for the options: scat --help"),
        _ => corrected(what, format!("scat {host} PORT; to send a file: scat HOST PORT < FILE")),
    }
}

/// Refuses words that are neither host nor port, whatever their place.
fn meant(place: &str, write: &str) -> Result<(), Error> {
    if let Some((_, rest)) = place.split_once("://") {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = host.rsplit('@').next().unwrap_or_default();
        let hint = match split(host) {
            Some((host, port)) => format!("scat {host} {port}"),
            None => write.to_owned(),
        };
        return Err(corrected(format!("{place}: a URL, not a host and a port"), hint));
    }
    // TCP:host:9000, TCP-LISTEN:9000, TCP6:...
    let scheme = place.split_once(':').map_or("", |(scheme, _)| scheme);
    let family = scheme.split(['-', '4', '6']).next().unwrap_or_default();
    if ["TCP", "OPENSSL", "SSL", "UNIX", "EXEC"].contains(&family) {
        return Err(corrected(format!("{place}: an address of socat's"), write));
    }
    let what = || format!("{place}: neither a host nor a port");
    if place.contains(|c: char| c.is_whitespace() || c.is_control()) {
        let hint = match place.trim().contains(char::is_whitespace) {
            true => "scat starts no programs, and -c asks for the words: scat -l PORT | PROGRAM",
            false => "without the white space around it",
        };
        return Err(corrected(what(), hint));
    }
    if place.contains('/') {
        let hint = "to send a file: scat HOST PORT < FILE; to get one: scat -l PORT > FILE";
        return Err(corrected(what(), hint));
    }
    if let Some((user, host)) = place.split_once('@') {
        return Err(corrected(format!("{user}@{host}: scat knows no users"), write));
    }
    Ok(())
}

/// Refuses what the resolver would only call unknown, as if it could be known the next
/// time: an unset variable, and a port that follows a port.
fn resolvable(host: &str, write: &str) -> Result<(), Error> {
    let address = host.split_once('%').map_or(host, |(address, _zone)| address);
    match host {
        "" => Err(corrected("an empty word in the place of an address", write)),
        _ if host.contains(':') && address.parse::<Ipv6Addr>().is_err() => {
            Err(corrected(format!("{host}: neither a name nor an address"), write))
        }
        _ => Ok(()),
    }
}

/// `::1:9000`, which is an address as well: what to write for either.
fn unbracketed(place: &str) -> Option<String> {
    let (host, service) = place.rsplit_once(':')?;
    let is_clear = host.starts_with('[') || !host.contains(':');
    (!is_clear && is_number(service) && host.parse::<Ipv6Addr>().is_ok())
        .then(|| format!("[{host}]:{service}; if all of it is the address: {place} PORT"))
}

/// `[::1]` without its brackets.
fn bare(host: &str) -> String {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    bare.unwrap_or(host).to_owned()
}

/// `host:port`, `[v6]:port`, `:port`. A bare IPv6 address has no port in it.
fn split(place: &str) -> Option<(String, String)> {
    let (host, service) = place.rsplit_once(':')?;
    let is_clear = host.starts_with('[') && host.ends_with(']') || !host.contains(':');
    (is_clear && !service.is_empty()).then(|| (bare(host), service.to_owned()))
}

/// A service that the resolver may see: it takes no name at all for port 0 and
/// only the lower 16 bits of a number.
fn port_number(service: String) -> Result<String, Error> {
    let is_small = !is_number(&service) || service.parse::<u16>().is_ok();
    if service.is_empty() || !is_small {
        let what = format!("port {service}: not a number up to 65535");
        return Err(corrected(what, "take one from 1024 to 65535"));
    }
    Ok(service)
}
