//! The message of every error, in one table that can be read in one go:
//!
//! ```text
//! cargo test --locked --test claims every_error_fits -- --nocapture
//! ```

use scat::auth::keys::{Fault, Kind};
use scat::error::{Cause, Error, Stage, Totals, Unopened};
use scat::protocol::handshake::Peer;
use scat::protocol::session::{self, Counters, Reason};
use scat::protocol::{frame, noise};
use std::fmt::Write;
use std::io::{Error as Io, ErrorKind};
use std::time::Duration;

/// Columns of a line, with its prefix.
const WIDTH: usize = 80;

/// The number of an error. A new error does not compile until it has one; then add it to
/// [`errors`], too.
fn number(error: &Error) -> usize {
    match error {
        Error::System(..) => 0,
        Error::Input(_) => 1,
        Error::Output(_) => 2,
        Error::NoOutput => 3,
        Error::Random => 4,
        Error::Key(_) => 5,
        Error::Bind { .. } => 6,
        Error::Own { .. } => 7,
        Error::Usage { .. } => 8,
        Error::Source { .. } => 9,
        Error::Argument(_) => 10,
        Error::Unverified => 11,
        Error::NoTerminal(_) => 12,
        Error::Resolve { .. } => 13,
        Error::Connect { .. } => 14,
        Error::Waited(..) => 15,
        Error::Silent => 16,
        Error::NotScat(_) => 17,
        Error::HandshakeCut(_) => 18,
        Error::HandshakeTimeout => 19,
        Error::HandshakeAltered => 20,
        Error::CallerFailed(..) => 21,
        Error::Busy => 22,
        Error::At { .. } => 23,
        Error::SameRole => 24,
        Error::NotOpened(..) => 25,
        Error::OpenTimeout(_) => 26,
        Error::PskDiffers => 27,
        Error::CallerRefused(..) => 28,
        Error::Myself => 29,
        Error::OtherKey(_) => 30,
        Error::WordsDiffer => 31,
        Error::NotAccepted => 32,
        Error::Left => 33,
        Error::KeyRefused { .. } => 34,
        Error::Session(_) => 35,
        Error::Cut(_) => 36,
        Error::NotBack(_) => 37,
        Error::LetGo => 38,
        Error::HungUp => 39,
        Error::RatchetTimeout => 40,
        Error::Idle(_) => 41,
        Error::OutputClosed => 42,
        Error::Aborted(_) => 43,
        Error::PersonLeft => 44,
        Error::Early(..) => 45,
        Error::Signal(_) => 46,
        Error::NoText => 47,
        Error::Zone { .. } => 48,
        Error::Unheard => 49,
        Error::Version(_) => 50,
        Error::OnePsk(_) => 51,
    }
}

fn stages() -> Vec<Stage> {
    vec![
        Stage::KeyFile("my.key".into()),
        Stage::Resolving("example.org port 9000".into()),
        Stage::Connecting("example.org port 9000".into()),
        Stage::Answer("192.0.2.7 port 9000".into()),
        Stage::Failing(refused().to_string(), refused().hint().unwrap().into_owned()),
        Stage::Caller,
        Stage::Listening { refused: true, hangs: false },
        Stage::Listening { refused: false, hangs: false },
        Stage::Listening { refused: false, hangs: true },
    ]
}

fn refused() -> Error {
    Error::Connect { to: "192.0.2.7 port 9000".into(), err: Io::from_raw_os_error(111) }
}

fn faults() -> Vec<Fault> {
    let kinds = [Kind::Secret, Kind::Psk, Kind::Public];
    let mut faults = vec![
        Fault::System(Io::from_raw_os_error(13)),
        Fault::Exposed,
        Fault::Utf16,
        Fault::AnotherUsers,
        Fault::Writable,
        Fault::Several,
        Fault::Zero,
        Fault::OnCommandLine,
        Fault::Exists,
    ];
    for kind in kinds {
        faults.extend([Fault::Missing(kind), Fault::Empty(kind), Fault::TooLong(kind)]);
        faults.extend([Fault::Malformed(kind), Fault::Bare(kind), Fault::Foreign(kind)]);
        let others = kinds.into_iter().filter(|wanted| *wanted != kind);
        faults.extend(others.map(|wanted| Fault::Kind { is: kind, wanted }));
    }
    faults.extend([Kind::Psk, Kind::Public].map(Fault::NoPublic));
    faults
}

/// All errors, with values as users give them.
fn errors() -> Vec<Error> {
    let err = || Io::from_raw_os_error(104);
    let peer = |long_lived| Peer { key: [7; 32], long_lived };
    let counters = Counters { sent: 3 << 20, received: 5 << 30, written: 4 << 30 };
    let totals = Totals { counters, acknowledged: false };
    let time = Duration::from_secs(300);
    let mut all = vec![
        Error::System("event loop", Io::from_raw_os_error(24)),
        Error::Input(ErrorKind::IsADirectory.into()),
        Error::Output(ErrorKind::StorageFull.into()),
        Error::NoOutput,
        Error::Random,
        Error::Own { name: "ann.example.org port 9000".into(), err: "no address".into() },
        Error::Usage { what: "-j: no such option".into(), hint: "scat --help all".into() },
        Error::Source { to: "192.0.2.7 port 9000".into() },
        Error::Argument(Fault::Malformed(Kind::Public).at("--peer k1")),
        Error::Unverified,
        Error::NoTerminal(None),
        Error::NoTerminal(Some(ErrorKind::PermissionDenied.into())),
        Error::Resolve {
            name: "ann.example.org port 9000".into(),
            err: "name or service not known".into(),
            is_temporary: false,
        },
        refused(),
        Error::Connect { to: "fe80::1 port 9000".into(), err: Io::from_raw_os_error(22) },
        Error::Silent,
        Error::NotScat("does not speak scat, but greets like a mail or file server".into()),
        Error::HandshakeCut(None),
        Error::HandshakeCut(Some(err())),
        Error::HandshakeTimeout,
        Error::HandshakeAltered,
        Error::CallerFailed("connection lost during the handshake".into(), Cause::Cut),
        Error::Busy,
        Error::At { at: "ann.example (192.0.2.7) port 9000".into(), error: Box::new(Error::Busy) },
        Error::PskDiffers,
        Error::CallerRefused("the pre-shared keys differ".into(), Cause::Psk),
        Error::Myself,
        Error::OtherKey(peer(true)),
        Error::OtherKey(peer(false)),
        Error::WordsDiffer,
        Error::NotAccepted,
        Error::Left,
        Error::KeyRefused { long_lived: true },
        Error::KeyRefused { long_lived: false },
        Error::Session(session::Error::Frame(frame::Error::Forged)),
        Error::Session(session::Error::Frame(frame::Error::Short)),
        Error::Session(session::Error::Rule("DONE before the end of input was sent")),
        Error::Session(session::Error::Commitment),
        Error::Session(session::Error::Ratchet(noise::Error::Forged)),
        Error::Cut(None),
        Error::Cut(Some(err())),
        Error::NotBack(time),
        Error::LetGo,
        Error::HungUp,
        Error::RatchetTimeout,
        Error::Idle(time),
        Error::OutputClosed,
        Error::NoText,
        Error::Unheard,
        Error::Zone { name: "fe80::1%eth7".into(), zone: "eth7".into() },
        Error::PersonLeft,
        Error::Early(Box::new(Error::Cut(None)), totals),
        Error::Signal(15),
        Error::Version(Some('2')),
        Error::Version(None),
        Error::SameRole,
        Error::OnePsk(true),
        Error::OnePsk(false),
    ];
    let kinds = [ErrorKind::AddrInUse, ErrorKind::AddrNotAvailable, ErrorKind::PermissionDenied];
    let bind = |kind: ErrorKind| Error::Bind { at: "192.0.2.7 port 900".into(), err: kind.into() };
    all.extend(kinds.map(bind));
    all.extend(stages().into_iter().map(|stage| Error::Waited(time, stage)));
    all.extend(faults().into_iter().map(|fault| Error::Key(fault.at("my.key"))));
    for unopened in [Unopened::Safe, Unopened::Revealed] {
        all.push(Error::NotOpened(unopened, None));
        all.push(Error::NotOpened(unopened, Some(err())));
        all.push(Error::OpenTimeout(unopened));
    }
    for reason in [
        Reason::Refused,
        Reason::OutputClosed,
        Reason::Protocol,
        Reason::Timeout,
        Reason::Interrupted,
        Reason::OutputFailed,
        Reason::InputFailed,
        Reason::Left,
    ] {
        all.push(Error::Aborted(reason));
    }
    all.sort_by_key(|error| (error.status() as u8, number(error)));
    all
}

#[test]
fn every_error_fits_on_a_screen() {
    let mut table = String::new();
    let mut seen = std::collections::BTreeSet::new();
    for error in errors() {
        seen.insert(number(&error));
        writeln!(table, "{}  scat: {error}", error.status() as u8).unwrap();
        error.details().iter().for_each(|line| writeln!(table, "   scat: {line}").unwrap());
        error.hint().iter().for_each(|line| writeln!(table, "   scat: hint: {line}").unwrap());
    }
    println!("{table}");
    assert!((0..=*seen.last().unwrap()).eq(seen), "one is missing");
    let wide: Vec<_> = table.lines().filter(|line| line.chars().count() > WIDTH + 3).collect();
    assert!(wide.is_empty(), "{wide:#?}");
    let bad: Vec<_> = table.lines().filter(|line| line.ends_with('.')).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}
