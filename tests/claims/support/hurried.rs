//! scat with shorter time limits, for claims about what happens when they pass. No option of
//! scat sets them, so the tests start this test program again, as scat.

use super::scat::Scat;
use scat::net::Limits;
use scat::net::reconnect::Times;
use scat::ui::waiting::Patience;
use std::fs::File;
use std::process::{Command, Stdio};
use std::time::Duration;

#[allow(dead_code)] // its `main`
#[path = "../../../src/main.rs"]
mod main;

/// Instead of 10 s: long enough for a step of a handshake on a busy machine.
pub const STEP: Duration = Duration::from_secs(2);

/// Instead of 5 minutes; only time in which TCP acknowledges nothing counts.
pub const VANISHED: Duration = Duration::from_secs(2);

/// Instead of the 2 s for closing.
pub const CLOSE: Duration = Duration::from_millis(300);

/// Longer than any test waits, for a scat that should end for another reason.
pub const NEVER: Duration = Duration::from_secs(3600);

/// Limits for the replacement of a lost connection.
pub const RECONNECT: Times = Times {
    attempt: STEP,
    silence: Duration::from_secs(1),
    quiet: Duration::from_secs(3),
    steady: Duration::from_secs(60),
    linger: STEP,
};

/// Times until scat tells the user what it waits for. Progress is shown at once.
const TELL: Patience = Patience {
    alone: Duration::from_millis(300),
    ends: Duration::from_millis(200),
    stuck: Duration::from_secs(10),
    progress: Duration::ZERO,
    lasting: Duration::ZERO,
    refresh: Duration::from_millis(20),
};

/// The limits that a claim can set.
#[derive(Clone, Copy)]
pub struct Hurry {
    /// For the peer to close.
    pub close: Duration,
    /// For the reader of the last messages.
    pub last: Duration,
}

/// Their values where a claim sets none.
pub const HURRY: Hurry = Hurry { close: CLOSE, last: CLOSE };

/// If this variable is set, this test program acts as scat. Its value is a [`Hurry`], in
/// milliseconds.
const MARK: &str = "SCAT_IN_A_HURRY";

/// A command that runs a hurried scat with the arguments that follow.
pub fn words() -> Vec<String> {
    words_with(HURRY)
}

/// The same with these limits.
pub fn words_with(hurry: Hurry) -> Vec<String> {
    let this = std::env::current_exe().unwrap().into_os_string().into_string().unwrap();
    // The harness writes to standard output as well, so scat gets a copy of it. The harness takes
    // what follows `--` as names of tests, and runs the one that exists.
    let [close, last] = [hurry.close, hurry.last].map(|limit| limit.as_millis());
    let shell = format!("export {MARK}={close},{last} && exec \"$@\" 9>&1 >/dev/null");
    let test = "support::hurried::this_program_is_scat_where_it_was_started_as_scat";
    ["sh", "-c", &shell, "sh", &this, "--exact", test, "--nocapture", "--"].map(Into::into).into()
}

/// Starts a hurried `scat args...` between three pipes.
pub fn start(args: &[&str]) -> Scat {
    start_with(HURRY, args)
}

/// The same with these limits.
pub fn start_with(hurry: Hurry, args: &[&str]) -> Scat {
    let words = words_with(hurry);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
    Scat::spawn(command)
}

#[test]
fn this_program_is_scat_where_it_was_started_as_scat() {
    let Ok(limits) = std::env::var(MARK) else { return };
    let limits: Vec<_> =
        limits.split(',').map(|it| Duration::from_millis(it.parse().unwrap())).collect();
    let [close, last] = limits[..] else { panic!("{MARK}={limits:?}") };
    let stdout = File::options().write(true).open("/dev/fd/9").unwrap();
    rustix::stdio::dup2_stdout(stdout).unwrap();
    let args = std::env::args_os().skip_while(|arg| arg != "--").skip(1).collect();
    let code = main::program(
        args,
        Limits {
            step: STEP,
            vanished: VANISHED,
            reconnect: RECONNECT,
            tell: TELL,
            close,
            last,
            ..Limits::default()
        },
    );
    // ExitCode does not reveal its number.
    let number = (0..=u8::MAX).find(|number| code == (*number).into());
    std::process::exit(number.unwrap().into());
}
