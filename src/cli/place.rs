//! Hosts, addresses and ports in all forms that people write. For any other word, the error
//! says what to write instead.

use super::{Endpoint, is_number};
use crate::error::Error;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

const CONNECT: &str = "scat HOST PORT";
const LISTEN: &str = "scat -l [ADDR] PORT";

/// Words that are neither a host nor a port: what each is, and what to write instead.
const SHAPES: &[(&str, &str, &str)] = &[
    ("://", "a URL", "write host and port: scat HOST PORT"),
    ("@", "scat has no users", "write host and port: scat HOST PORT"),
    ("/", "a path", "to send a file: scat HOST PORT < FILE; to get one: > FILE"),
];

/// Parses `-l port`, `-l addr port`, `-l addr:port`, or `-p port` and `-s addr` instead.
pub fn listen(
    places: &[&str],
    port: Option<String>,
    source: Option<String>,
) -> Result<Endpoint, Error> {
    no_file(places)?;
    places.iter().copied().chain(source.as_deref()).try_for_each(host_or_port)?;
    let (address, service) = match (places, port) {
        ([], Some(port)) => (None, port),
        ([], None) => {
            return Err(Error::usage("no port to listen on", "for example: scat -l 9000"));
        }
        ([only], None) => match (split(only), unbracketed(only)) {
            (Some((address, service)), _) => (Some(address), service),
            (None, Some(hint)) => {
                return Err(Error::usage(format!("{only}: where does the port begin?"), hint));
            }
            (None, None) if only.parse::<IpAddr>().is_ok() => {
                let hint = format!("for example: scat -l {only} 9000");
                return Err(Error::usage("no port to listen on", hint));
            }
            (None, None) => (None, (*only).to_owned()),
        },
        ([address], Some(port)) if !is_number(address) => (Some(bare(address)), port),
        ([first, second], None) if !is_number(first) => (Some(bare(first)), (*second).to_owned()),
        _ => {
            let what = "-l takes one port, perhaps with an address before it";
            return Err(Error::usage(what, format!("{LISTEN}; to write to a file: > FILE")));
        }
    };
    // Every address, as other netcats write it.
    let is_one = |address: &String| !["*", ""].contains(&address.as_str());
    let source = source.map(|source| bare(&source)).filter(is_one);
    let address = match (address.filter(is_one), source) {
        (Some(_), Some(_)) => return Err(Error::usage("two addresses to listen on", LISTEN)),
        (address, source) => address.or(source),
    };
    address.iter().try_for_each(|address| resolvable(address, LISTEN))?;
    Ok(Endpoint::Listen { address, service: port_number(service)? })
}

/// Parses `host port` or `host:port`.
pub fn connect(
    places: &[&str],
    source_port: Option<String>,
    source: Option<String>,
) -> Result<Endpoint, Error> {
    no_file(places)?;
    places.iter().copied().chain(source.as_deref()).try_for_each(host_or_port)?;
    let (host, service) = match places {
        [] => {
            let port = source_port.as_deref().unwrap_or("9000");
            let hint = format!("for example: scat example.org {port}; to listen: scat -l {port}");
            return Err(Error::usage("no host and port to connect to", hint));
        }
        [only] => split(only)
            .filter(|(host, _)| !host.is_empty())
            .ok_or_else(|| half(only, source_port.as_deref()))?,
        // A host that is only a number is an address that no machine has, except 0, this one.
        [port, host] if *port != "0" && port.parse::<u16>().is_ok() => {
            let host = if is_number(host) { "HOST" } else { host };
            return Err(Error::usage(
                "the host comes first, then the port",
                format!("scat {host} {port}"),
            ));
        }
        [host, service] => (bare(host), (*service).to_owned()),
        _ => {
            return Err(Error::usage(
                "too many arguments",
                format!("{CONNECT}; for a file: < FILE"),
            ));
        }
    };
    let source = source.map(|source| bare(&source));
    [&host].into_iter().chain(&source).try_for_each(|host| resolvable(host, CONNECT))?;
    let service = port_number(service)?;
    if service.bytes().all(|byte| byte == b'0') {
        return Err(Error::usage("port 0: nobody can listen there", CONNECT));
    }
    Ok(Endpoint::Connect {
        host,
        service,
        source,
        source_port: source_port.map(port_number).transpose()?,
    })
}

/// Returns the error for one word where a host and a port are needed.
fn half(only: &str, source_port: Option<&str>) -> Error {
    let port = only.strip_prefix(':').unwrap_or(only);
    if is_number(port) {
        let hint = format!("scat HOST {port}, or to listen: scat -l {port}");
        return Error::usage(format!("{only}: a port without a host"), hint);
    }
    if let Some(hint) = unbracketed(only) {
        return Error::usage(format!("{only}: where does the port begin?"), hint);
    }
    let host = only.trim_end_matches(':');
    let what = format!("no port for {host}");
    match (only, source_port) {
        ("help", _) => Error::usage(what, "for the options: scat --help"),
        (_, Some(port)) => Error::usage(
            format!("{what}: -p is the one to connect from"),
            format!("scat {host} {port}"),
        ),
        _ => Error::usage(
            what,
            format!("for example: scat {host} 9000; at the other end: scat -l 9000"),
        ),
    }
}

/// Rejects the name of a file: `scat photo.jpg`, `scat send photo.jpg`.
fn no_file(places: &[&str]) -> Result<(), Error> {
    let ([file] | ["send", file]) = places else { return Ok(()) };
    // A port or a service may have a file's name.
    if !file.contains(['.', '/']) || split(file).is_some() || !Path::new(file).is_file() {
        return Ok(());
    }
    let file = quoted(file);
    Err(Error::usage(
        format!("{file} is a file; to send it, make it the input of one end:"),
        format!("scat -l 9000 < {file}, and there: scat HOST 9000 > {file}"),
    ))
}

/// Quotes `name` for a shell.
fn quoted(name: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "._-/+".contains(c);
    match name.chars().all(is_plain) {
        true => name.to_owned(),
        false => format!("'{}'", name.replace('\'', "'\\''")),
    }
}

/// Rejects words that are neither host nor port.
fn host_or_port(place: &str) -> Result<(), Error> {
    if place.contains(|c: char| c.is_whitespace() || c.is_control()) {
        let words: Vec<&str> = place.split_whitespace().collect();
        let hint = match words.len() {
            ..=2 => format!("without the quotes and spaces: {}", words.join(" ")),
            _ => "scat starts no programs: use a pipeline, scat -l PORT | PROGRAM".to_owned(),
        };
        return Err(Error::usage(format!("\"{place}\": neither a host nor a port"), hint));
    }
    match SHAPES.iter().find(|(part, ..)| place.contains(part)) {
        Some((_, what, hint)) => Err(Error::usage(format!("{place}: {what}"), *hint)),
        None => Ok(()),
    }
}

/// Rejects words that the resolver would only call unknown, as if a retry could help: an
/// unset variable, and a second port.
fn resolvable(host: &str, write: &str) -> Result<(), Error> {
    let address = host.split_once('%').map_or(host, |(address, _zone)| address);
    match host {
        "" => Err(Error::usage("the address is empty: is a shell variable unset?", write)),
        _ if host.contains(':') && address.parse::<Ipv6Addr>().is_err() => {
            Err(Error::usage(format!("{host}: neither a name nor an address"), write))
        }
        _ => Ok(()),
    }
}

/// Returns what to write instead of `::1:9000`, which is also an address.
fn unbracketed(place: &str) -> Option<String> {
    let (host, service) = place.rsplit_once(':')?;
    let is_clear = host.starts_with('[') || !host.contains(':');
    (!is_clear && is_number(service) && host.parse::<Ipv6Addr>().is_ok())
        .then(|| format!("[{host}]:{service}; if all of it is the address: {place} PORT"))
}

/// Removes the brackets of `[::1]`.
fn bare(host: &str) -> String {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    bare.unwrap_or(host).to_owned()
}

/// Splits `host:port`, `[v6]:port` or `:port`. A bare IPv6 address has no port.
fn split(place: &str) -> Option<(String, String)> {
    let (host, service) = place.rsplit_once(':')?;
    let is_clear = host.starts_with('[') && host.ends_with(']') || !host.contains(':');
    (is_clear && !service.is_empty()).then(|| (bare(host), service.to_owned()))
}

/// Rejects port numbers that the resolver mishandles: it treats port 0 as no service, and
/// uses only the lower 16 bits of a number.
fn port_number(service: String) -> Result<String, Error> {
    let is_small = !is_number(&service) || service.parse::<u16>().is_ok();
    if service.is_empty() || !is_small {
        let what = format!("port {service}: not a number up to 65535");
        return Err(Error::usage(what, "choose one from 1024 to 65535"));
    }
    Ok(service)
}
