//! scat beside the tools that people use instead, on this machine:
//!
//! ```text
//! cargo bench --bench compare                          everything, some minutes
//! cargo bench --bench compare -- --smoke               tiny sizes: does it still work?
//! cargo bench --bench compare -- --section throughput --only nc,ncat-ssl --rounds 11
//! cargo bench --bench compare -- --scat /old/scat --only none    two builds of scat
//! ```
//!
//! The peers are used where they are installed and named where they are not:
//! on Debian, netcat-openbsd, ncat, socat, openssl, openssh-client,
//! openssh-server and spiped. Everything runs on loopback with keys of its own
//! in a temporary directory (in /dev/shm, removed at the end); no user's
//! configuration of ssh is read, but the login shell may read its own. Only
//! the slow link of the section `link` is made of two network namespaces,
//! removed at the end as well; it needs root, ip and tc (iproute2).
//!
//! The tables go to standard output as Markdown, progress to standard error.
//! Only the ratios mean something elsewhere: the absolute numbers belong to
//! this machine, where two tools, the sink and the rest of the system share
//! the processors.
//!
//! Exit status: 0, or 1 if scat failed somewhere, or 2 for usage.
//!
//! `tools.rs` is the table of tools, `trial.rs` one run of one of them,
//! `process.rs` its processes, `sections.rs` the measurements, `limit.rs` the
//! limit, `link.rs` the ways between the ends, `relay.rs` the long one,
//! `report.rs` the tables and the plot.

mod limit;
mod link;
mod process;
mod relay;
mod report;
mod sections;
mod tools;
mod trial;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe::register;

use crate::sections::Bench;
use crate::tools::{Site, TOOLS, Tool};
use crate::trial::Source;

const MIB: u64 = 1 << 20;

const USAGE: &str = "\
usage: cargo bench --bench compare -- [options]
  --rounds N        interleaved rounds (7)
  --size MIB        of a throughput round (512)
  --only NAME,..    these tools beside scat; `none` for scat alone
  --section NAME,.. throughput duplex startup pingpong growth link limit size
  --scat PATH       another build of scat, as scat-b
  --plot FILE       throughput as an SVG
  --smoke           tiny sizes, two rounds: checks the benchmark itself
tools:";

const SECTIONS: [&str; 8] =
    ["throughput", "duplex", "startup", "pingpong", "growth", "link", "limit", "size"];

/// The command line, parsed.
struct Options {
    rounds: usize,
    size: u64,
    only: Option<Vec<String>>,
    sections: Vec<String>,
    scat_b: Option<String>,
    plot: Option<String>,
    smoke: bool,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, role] = &args[..]
        && flag == "--null-pipe"
    {
        return match limit::null_pipe(role) {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => {
                eprintln!("null-pipe: {e}");
                ExitCode::FAILURE
            }
        };
    }
    let options = match parse(&args) {
        Ok(options) => options,
        Err(e) => {
            eprintln!("{e}{USAGE}");
            TOOLS.iter().for_each(|tool| eprintln!("  {:<16}{}", tool.name, tool.what));
            return ExitCode::from(2);
        }
    };
    match compare(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("compare: {e}");
            ExitCode::FAILURE
        }
    }
}

/// The error is a line to print above the usage, or empty for `--help`.
fn parse(args: &[String]) -> Result<Options, String> {
    let smoke = args.iter().any(|arg| arg == "--smoke");
    let mut options = Options {
        rounds: if smoke { 2 } else { 7 },
        size: if smoke { 4 * MIB } else { 512 * MIB },
        only: None,
        sections: SECTIONS.map(String::from).into(),
        scat_b: None,
        plot: None,
        smoke,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().cloned().ok_or(format!("{arg} needs a value\n"));
        let number = |text: String| match text.parse::<u64>() {
            Ok(n) if n > 0 => Ok(n),
            _ => Err(format!("not a number above 0: {text}\n")),
        };
        let known = |list: String, known: &[&str]| {
            let list: Vec<String> = list.split(',').map(Into::into).collect();
            match list.iter().find(|name| !known.contains(&name.as_str())) {
                Some(name) => Err(format!("{arg} does not know {name}\n")),
                None => Ok(list),
            }
        };
        match arg.as_str() {
            // cargo bench adds the first one.
            "--bench" | "--smoke" => {}
            "--rounds" => options.rounds = number(value()?)? as usize,
            "--size" => options.size = number(value()?)? * MIB,
            "--only" => {
                let names: Vec<&str> = TOOLS.iter().map(|tool| tool.name).chain(["none"]).collect();
                options.only = Some(known(value()?, &names)?);
            }
            "--section" => options.sections = known(value()?, &SECTIONS)?,
            "--scat" => options.scat_b = Some(value()?),
            "--plot" => options.plot = Some(value()?),
            "--help" | "-h" => return Err(String::new()),
            _ => return Err(format!("unknown option {arg}\n")),
        }
    }
    Ok(options)
}

/// Runs what is asked for; false if scat failed somewhere.
fn compare(options: &Options) -> Result<bool, String> {
    let site = Site::new(env!("CARGO_BIN_EXE_scat"), options.scat_b.as_deref())?;
    clean_up_when_interrupted(site.dir.clone()).map_err(|e| format!("signals: {e}"))?;
    let mut dice = [0; 8];
    getrandom::fill(&mut dice).map_err(|e| format!("random: {e}"))?;
    let mut bench = Bench {
        tools: Vec::new(),
        site,
        file: random_file(options.size)?,
        chunk: Arc::new(random(MIB as usize)?),
        size: options.size,
        rounds: options.rounds,
        smoke: options.smoke,
        failures: Vec::new(),
        dice: u64::from_le_bytes(dice) | 1,
    };
    heading(options);
    choose(options, &mut bench)?;
    let mut bars = Vec::new();
    for section in SECTIONS.iter().filter(|name| options.sections.iter().any(|s| s == *name)) {
        match *section {
            "throughput" => bars = sections::throughput(&mut bench),
            "duplex" => sections::duplex(&mut bench),
            "startup" => sections::startup(&mut bench, &random_file(64)?),
            "pingpong" => sections::pingpong(&mut bench),
            "growth" => sections::growth(&mut bench),
            "link" => sections::link(&mut bench, &random_file(64)?),
            "limit" => sections::limit(&mut bench),
            _ => sections::size(&bench),
        }
    }
    if let Some(path) = &options.plot {
        let caption = format!(
            "MB/s, median and range of {} rounds; random file of {} MiB in, pipe out, loopback; {}",
            bench.rounds,
            bench.size / MIB,
            processor()
        );
        let svg = report::plot("Throughput", &caption, &bars);
        fs::write(path, svg).map_err(|e| format!("{path}: {e}"))?;
    }
    if !bench.failures.is_empty() {
        println!("## Runs that failed\n");
        bench.failures.iter().for_each(|line| println!("* {line}"));
    }
    Ok(!bench.failures.iter().any(|line| line.contains(": scat")))
}

/// After SIGINT or SIGTERM no process, no key and no namespace stays behind.
fn clean_up_when_interrupted(dir: PathBuf) -> std::io::Result<()> {
    let (mut told, tell) = UnixStream::pair()?;
    for signal in [SIGINT, SIGTERM] {
        register(signal, tell.try_clone()?)?;
    }
    thread::spawn(move || {
        let _ = told.read_exact(&mut [0]);
        let _nobody_starts = process::STARTING.lock();
        for pid in process::tree(std::process::id()).into_iter().skip(1) {
            if let Some(pid) = Pid::from_raw(pid as i32) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        link::remove();
        let _ = fs::remove_dir_all(dir);
        std::process::exit(1);
    });
    Ok(())
}

/// Where and how these numbers came about.
fn heading(options: &Options) {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    println!("# scat compared\n");
    println!(
        "{}, {cores} processors, Linux {}. {} interleaved rounds in shuffled order, loopback; values \
         are medians (range), ratios are taken within each round. The sink is a thread of the \
         benchmark that reads a pipe 256 KiB at a time and counts; every byte has to arrive. \
         Absolute numbers are those of this machine only. CPU time is counted in ticks of 10 ms. CPU and memory of ssh are those of \
         all its processes, the `cat` at the far end included.\n",
        processor(),
        kernel.trim(),
        options.rounds
    );
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name"));
    model.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown processor").into()
}

/// Picks the tools that are wanted, installed and able to send a MiB
/// unharmed, and says which are not.
fn choose(options: &Options, bench: &mut Bench) -> Result<(), String> {
    let wanted = |tool: &Tool| match tool.name {
        "scat" => true,
        "scat-b" => options.scat_b.is_some(),
        name => options.only.as_ref().is_none_or(|only| only.iter().any(|o| o == name)),
    };
    let first = random_file(MIB)?;
    for tool in TOOLS.iter().filter(|tool| wanted(tool)) {
        let missing = tool.missing();
        if !missing.is_empty() {
            println!("* {}: left out, not installed: {}", tool.name, missing.join(", "));
            continue;
        }
        let checked = trial::push(tool, &bench.site, Source::File(&first, MIB), Some(&first));
        match checked {
            Ok(_) => {
                let version = tool.version();
                let version = if version.is_empty() { version } else { format!(" ({version})") };
                println!("* {}: {}{version}", tool.name, tool.what);
                bench.tools.push(tool);
            }
            Err(e) => {
                println!("* {}: left out, does not work here: {e}", tool.name);
                bench.failures.push(format!("first try: {}: {e}", tool.name));
            }
        }
    }
    println!();
    if bench.tools.is_empty() { Err("no tool to compare".into()) } else { Ok(()) }
}

fn random(size: usize) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; size];
    getrandom::fill(&mut bytes).map_err(|e| format!("random: {e}"))?;
    Ok(bytes)
}

/// A file of random bytes that has no name and so goes away with this program.
fn random_file(size: u64) -> Result<File, String> {
    let error = |e: std::io::Error| format!("the random file: {e}");
    let fd = memfd_create("scat-bench", MemfdFlags::CLOEXEC).map_err(|e| error(e.into()))?;
    let mut file = File::from(fd);
    let mut left = size;
    while left > 0 {
        let n = left.min(MIB);
        file.write_all(&random(n as usize)?).map_err(error)?;
        left -= n;
    }
    Ok(file)
}
