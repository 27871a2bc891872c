//! scat: options -> session -> exit status.

use scat::auth::keys;
use scat::cli::{self, Command};
use scat::error::Error;
use scat::net::Limits;
use scat::run::descriptors::Claimed;
use scat::run::{self, key_file};
use scat::sys::poller::{self, Poller};
use scat::sys::{memory, random, stream};
use scat::ui::report::Report;
use scat::ui::status::Line;
use scat::ui::waiting::Deadline;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    program(std::env::args_os().skip(1).collect(), Limits::default())
}

/// Runs scat with these arguments.
pub fn program(words: Vec<OsString>, limits: Limits) -> ExitCode {
    memory::protect();
    poller::ignore_file_size_limit();
    let (named, command) = cli::parse(words);
    // Claim inherited descriptors before anything we open can reuse their numbers.
    let claimed = Claimed::new(&named);
    let mut report = Report::new(claimed.status.as_ref().ok().copied().flatten());
    let result = command.and_then(|command| execute(command, claimed, limits, &mut report));
    report.event(&Line::Exit(result.as_ref().err()));
    let code =
        result.map_or_else(|error| conclude(&error, &report, limits), |()| ExitCode::SUCCESS);
    report.finish(limits.last);
    code
}

/// Reports how the run ended, and returns the exit status.
fn conclude(error: &Error, report: &Report, limits: Limits) -> ExitCode {
    if let Some(signal) = error.signal() {
        report.totals(error);
        report.finish(limits.last);
        poller::end_by(signal);
        return ((128 + signal) as u8).into();
    }
    report.error(error);
    (error.status() as u8).into()
}

fn execute(
    command: Command,
    claimed: Claimed,
    limits: Limits,
    report: &mut Report,
) -> Result<(), Error> {
    if !stream::stdout_was_open() {
        return Err(Error::NoOutput);
    }
    match command {
        Command::Print(text) => print(&text),
        Command::GenerateKey(path) => {
            let secret = random::key()?;
            key_file::create_secret(&path, &secret)?;
            print(&format!("{}\n", keys::public(&secret)))
        }
        Command::PublicKey(path) => {
            let key =
                key_file::read_public(&path, &mut Poller::new()?, &Deadline::new(None), report)?;
            print(&format!("{key}\n"))
        }
        Command::GeneratePsk(path) => key_file::create_psk(&path, &random::key()?),
        Command::Run(options) => run::session(options, claimed, limits, report),
    }
}

fn print(text: &str) -> Result<(), Error> {
    io::stdout().write_all(text.as_bytes()).map_err(|err| match err.kind() {
        io::ErrorKind::BrokenPipe => Error::OutputClosed,
        _ => Error::Output(err),
    })
}

/// Ends every backtrace before its first frame.
///
/// std prints the backtrace of a panic with code that takes up almost a quarter of the
/// program, and prints only addresses, because the program has no symbols. This
/// definition takes precedence over the one in libgcc_s, and the optimiser then removes
/// that code. Nothing else walks the stack of a program that aborts.
///
/// A static unwinder is a second definition, which linkers reject: that of `crt-static` is
/// excluded here, and for that of zig there is `--features backtrace`.
// SAFETY: this is `_Unwind_Backtrace` of the Linux Standard Base. It may return
// _URC_END_OF_STACK (5) at any time, and uses neither argument.
#[cfg(all(panic = "abort", target_env = "gnu"))]
#[cfg(not(any(feature = "backtrace", target_feature = "crt-static")))]
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_each: *const (), _argument: *const ()) -> i32 {
    5
}
