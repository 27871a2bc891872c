//! Inherited descriptors that the command line names.

use crate::cli::Descriptors;
use crate::error::Error;
use crate::net::inherited::Inherited;
use crate::sys::stream;

/// The named descriptors, or why they cannot be used.
pub struct Claimed {
    /// `--status-fd`, if given.
    pub status: Result<Option<stream::Inherited>, Error>,
    /// `--confirm-fd`, if given.
    pub confirm: Result<Option<stream::Inherited>, Error>,
    /// `--fd`, if given.
    pub connection: Result<Option<Inherited>, Error>,
}

impl Claimed {
    /// Claims the descriptors in `named`. Call it before anything is opened that could
    /// get the number of one that is not open.
    pub fn new(named: &Descriptors) -> Self {
        let status = named.status.map(|fd| status(fd, &named.connections)).transpose();
        let confirm = named.confirm.map(|fd| confirm(fd, named)).transpose();
        let connection = named.connections.first().map(|&fd| Inherited::take(fd)).transpose();
        Claimed { status, confirm, connection }
    }
}

/// Claims a descriptor to which lines can be written. It must not be standard input, the
/// output of the data, or one of the `connections`.
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
    // Messages in the file of the data, and so lines in it, are rejected elsewhere.
    let has_messages = stream::are_one(fd, stream::stderr());
    let takes_data = |kind| stream::are_same(kind, fd, stream::stdout());
    if [stream::Kind::Pipe, stream::Kind::Socket].into_iter().any(takes_data)
        || !has_messages && takes_data(stream::Kind::File)
    {
        return Err(wrong("standard output is the same file"));
    }
    Ok(fd)
}

/// Claims a descriptor from which lines can be read, and which has no other use.
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
    // Data would be taken for answers, and answers sent as data.
    let same = |kind| stream::are_same(kind, fd, stream::stdin());
    if [stream::Kind::Pipe, stream::Kind::Socket, stream::Kind::File].into_iter().any(same) {
        return Err(wrong("standard input is the same file"));
    }
    Ok(fd)
}

/// Whether `fd` is one of these, under its own or another number.
fn is_one_of(fd: stream::Inherited, connections: &[i32]) -> bool {
    let mut connections = connections.iter().filter_map(|&fd| stream::inherited(fd).ok());
    connections.any(|connection| {
        stream::are_one(connection, fd) || stream::are_same(stream::Kind::Socket, connection, fd)
    })
}

fn usage(what: impl Into<String>) -> Error {
    Error::usage(what, "to open descriptor 3: scat ... 3> FILE, or 3< FILE")
}
