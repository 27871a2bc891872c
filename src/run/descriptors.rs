//! The descriptors that the process was started with and the command line names.

use crate::cli::Descriptors;
use crate::error::Error;
use crate::net::inherited::Inherited;
use crate::sys::stream;

/// Those that may be used, and why the others may not.
pub struct Claimed {
    /// `--status-fd`, if given.
    pub status: Result<Option<stream::Inherited>, Error>,
    /// `--confirm-fd`, if given.
    pub confirm: Result<Option<stream::Inherited>, Error>,
    /// `--fd`, if given.
    pub connection: Result<Option<Inherited>, Error>,
}

impl Claimed {
    /// Takes what is `named`. To be called before anything is opened, which could get the
    /// number of a descriptor that is not open.
    pub fn new(named: &Descriptors) -> Self {
        let status = named.status.map(|fd| status(fd, &named.connections)).transpose();
        let confirm = named.confirm.map(|fd| confirm(fd, named)).transpose();
        let connection = named.connections.first().map(|&fd| Inherited::take(fd)).transpose();
        Claimed { status, confirm, connection }
    }
}

/// A descriptor that takes lines, and is neither standard input, nor where the data goes,
/// nor one of the `connections`.
fn status(number: i32, connections: &[i32]) -> Result<stream::Inherited, Error> {
    let wrong = |what: &str| usage(format!("--status-fd {number}: {what}"));
    if number <= 1 {
        return Err(wrong("0 and 1 carry the data; use 2 or more"));
    }
    let fd = stream::inherited(number).map_err(|_| wrong("not open"))?;
    if is_one_of(fd, connections) {
        return Err(usage("--fd and --status-fd are the same connection"));
    }
    if !stream::is_for_writing(fd) {
        return Err(wrong("not open for writing"));
    }
    // Of messages in the file of the data, and lines among them, it is found out elsewhere.
    let has_messages = stream::are_one(fd, stream::stderr());
    let takes_data = |kind| stream::are_same(kind, fd, stream::stdout());
    if [stream::Kind::Pipe, stream::Kind::Socket].into_iter().any(takes_data)
        || !has_messages && takes_data(stream::Kind::File)
    {
        return Err(wrong("standard output is the same file"));
    }
    Ok(fd)
}

/// A descriptor that gives lines, and is not one that has another use.
fn confirm(number: i32, named: &Descriptors) -> Result<stream::Inherited, Error> {
    let wrong = |what: &str| usage(format!("--confirm-fd {number}: {what}"));
    if number <= 2 {
        return Err(wrong("0 to 2 carry data and messages; use 3 or more"));
    }
    let fd = stream::inherited(number).map_err(|_| wrong("not open"))?;
    if is_one_of(fd, &named.connections) {
        return Err(usage("--fd and --confirm-fd are the same connection"));
    }
    if named.status == Some(number) {
        return Err(usage("--status-fd and --confirm-fd are the same descriptor"));
    }
    if !stream::is_for_reading(fd) {
        return Err(wrong("not open for reading"));
    }
    // Data would be taken for an answer, and answers sent as data.
    let same = |kind| stream::are_same(kind, fd, stream::stdin());
    if [stream::Kind::Pipe, stream::Kind::Socket, stream::Kind::File].into_iter().any(same) {
        return Err(wrong("standard input is the same file"));
    }
    Ok(fd)
}

/// Whether `fd` is one of these, by its number or under another one.
fn is_one_of(fd: stream::Inherited, connections: &[i32]) -> bool {
    let mut connections = connections.iter().filter_map(|&fd| stream::inherited(fd).ok());
    connections.any(|connection| {
        stream::are_one(connection, fd) || stream::are_same(stream::Kind::Socket, connection, fd)
    })
}

fn usage(what: impl Into<String>) -> Error {
    Error::Usage { what: what.into(), hint: "see scat --help".to_owned() }
}
