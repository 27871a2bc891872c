//! The way between the two ends: plain loopback, a slow link, a long path.
//!
//! The slow link is a veth pair between two network namespaces, shaped by the
//! kernel in both directions. It needs root, ip and tc. The namespaces bear
//! this process's id in their names, so they can be removed without having
//! been remembered, also after a signal; the interfaces live only in them.
//!
//! The long path is the relay of `relay.rs` and needs nothing.

use std::path::Path;

use rustix::process::geteuid;

use crate::process::STARTING;
use crate::relay;
use crate::tools::{find, run};

/// Of the slow link, in each direction.
const RATE: &str = "200mbit";

/// Where the listener listens, from the addresses for documentation.
const FAR_HOST: &str = "192.0.2.1";
const NEAR_HOST: &str = "192.0.2.2";

/// What the two ends have between them.
pub enum Way {
    /// 127.0.0.1, as it is.
    Loopback,
    /// The connector in one namespace, the listener in another.
    Slow(Namespaces),
    /// A relay of this process before the listener.
    Long,
}

impl Way {
    /// The listener's address.
    pub fn host(&self) -> &'static str {
        if matches!(self, Way::Slow(_)) { FAR_HOST } else { "127.0.0.1" }
    }

    /// The port to connect to for a listener on `port`.
    pub fn port(&self, port: u16) -> Result<u16, String> {
        match self {
            Way::Long => relay::start(port).map_err(|e| format!("relay: {e}")),
            _ => Ok(port),
        }
    }

    /// The connector's command line, put where it belongs.
    pub fn near(&self, argv: Vec<String>) -> Vec<String> {
        self.at("near", argv)
    }

    /// The listener's.
    pub fn far(&self, argv: Vec<String>) -> Vec<String> {
        self.at("far", argv)
    }

    fn at(&self, end: &str, argv: Vec<String>) -> Vec<String> {
        if let Way::Slow(namespaces) = self { namespaces.exec(end, argv) } else { argv }
    }
}

/// Two namespaces with a link between them. Removed when dropped.
pub struct Namespaces {
    /// How the link is shaped, for the reader of the table.
    pub shape: String,
    /// The path of `ip`.
    ip: String,
}

impl Namespaces {
    /// Makes the link, or says what is missing.
    pub fn new() -> Result<Namespaces, String> {
        let ip = find("ip").unwrap_or_default().to_string_lossy().into_owned();
        let mut missing: Vec<&str> =
            ["ip", "tc"].into_iter().filter(|name| find(name).is_none()).collect();
        if !geteuid().is_root() {
            missing.push("root");
        }
        if !missing.is_empty() {
            return Err(format!("needs {}", missing.join(", ")));
        }
        let (near, far) = (name("near"), name("far"));
        // From here on a failure removes what was made.
        let mut made = Namespaces { shape: String::new(), ip };
        shell(&format!("ip netns add {near}"))?;
        shell(&format!("ip netns add {far}"))?;
        shell(&format!("ip -n {near} link add veth0 type veth peer name veth0 netns {far}"))?;
        for (end, host) in [(&near, NEAR_HOST), (&far, FAR_HOST)] {
            shell(&format!("ip -n {end} address add {host}/24 dev veth0"))?;
            shell(&format!("ip -n {end} link set veth0 up"))?;
            made.shape = shape(end)?;
        }
        Ok(made)
    }

    /// `ip netns exec` becomes the program, so the process id stays.
    fn exec(&self, end: &str, argv: Vec<String>) -> Vec<String> {
        let words = [&self.ip, "netns", "exec", &name(end)];
        words.into_iter().map(Into::into).chain(argv).collect()
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        let _starting = STARTING.lock();
        remove();
    }
}

/// Shapes what leaves a namespace, and says how.
fn shape(end: &str) -> Result<String, String> {
    let netem = format!("netem rate {RATE} delay 10ms");
    let tbf = format!("tbf rate {RATE} burst 256k latency 50ms");
    let shape = |how: &str| shell(&format!("tc -n {end} qdisc add dev veth0 root {how}"));
    if shape(&netem).is_ok() {
        return Ok(netem);
    }
    shape(&tbf).map(|()| format!("{tbf} (no delay: this kernel has no netem)"))
}

/// Removes the namespaces of this process, if there are any. The caller holds
/// [`STARTING`], so that none is being made.
pub fn remove() {
    for name in ["near", "far"].map(name) {
        if Path::new("/var/run/netns").join(&name).exists()
            && let Err(e) = run(&format!("ip netns delete {name}"))
        {
            eprintln!("{e}");
        }
    }
}

fn name(end: &str) -> String {
    format!("scat-bench-{}-{end}", std::process::id())
}

/// Runs a command that a signal waits for.
fn shell(line: &str) -> Result<(), String> {
    let _starting = STARTING.lock().expect("no panic");
    run(line)
}
