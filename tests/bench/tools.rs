//! The tools under comparison, one row each.
//!
//! A row is two command lines and the few facts in which the tools differ:
//! how one sees that the listener listens, where the far end's bytes come
//! out, and whether the listener ends by itself. Everything else is the same
//! code for all, scat included.
//!
//! In a command line, words are split at spaces first and then filled in:
//! `{port}`, `{host}` (the listener's address, where a tool is used on other
//! ways than loopback), `{dir}` (certificates and keys), `{oneway}` and
//! `{remote}` (see [`Tool::argv`]).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::link::Way;

/// The work of one run of a tool.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// The connector sends its standard input, the listener writes it out.
    Push,
    /// Both send at once.
    Both,
    /// The connector's lines come back from a `cat` at the listener's end.
    Echo,
}

/// How one knows that a listener listens. Never by connecting: a stray
/// connection ends a one-shot `nc -l`.
pub enum Ready {
    /// It says "listening on" and its port, so port 0 is asked for.
    Announces,
    /// Its port, picked by the harness, stands as LISTEN in `/proc/PID/net/tcp`.
    Listens,
}

/// Where the bytes come out at the listening end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Far {
    /// The listener's own standard input and output, which are pipes.
    Stdio,
    /// A remote command (ssh): `cat` into and out of pipes of the harness.
    Remote,
    /// A Unix socket served by the harness (spiped).
    Socket,
}

/// What the listener gets as standard input while it only receives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// `/dev/null`.
    Null,
    /// An open pipe that stays silent: for tools that take the end of their
    /// input as the end of everything and lose the rest (seen with
    /// `ncat --ssl` and `openssl s_server`).
    Held,
}

/// One row of the table.
pub struct Tool {
    /// The name in `--only` and in the tables.
    pub name: &'static str,
    /// One line for the legend: what it is and which cipher it uses.
    pub what: &'static str,
    /// Programs that must be there.
    pub needs: &'static [&'static str],
    /// A command that prints the version; empty for scat itself.
    pub version: &'static str,
    /// The listener's command line.
    pub listen: &'static str,
    /// The connector's command line.
    pub connect: &'static str,
    /// How one knows that it listens.
    pub ready: Ready,
    /// Where the bytes come out.
    pub far: Far,
    /// The listener's standard input while it only receives.
    pub idle: Idle,
    /// False for a server that goes on after its one client: it is ended by
    /// SIGTERM, and its exit status says nothing.
    pub ends: bool,
}

/// An ordinary tool on two pipes; rows below name what differs.
const PLAIN: Tool = Tool {
    name: "",
    what: "",
    needs: &[],
    version: "",
    listen: "",
    connect: "",
    ready: Ready::Listens,
    far: Far::Stdio,
    idle: Idle::Null,
    ends: true,
};

const SCAT: Tool = Tool {
    name: "scat",
    what: "this build; ChaCha20-Poly1305",
    listen: "{scat} -l 0",
    connect: "{scat} {host} {port}",
    ready: Ready::Announces,
    ..PLAIN
};

/// The same command lines on another build, for `--scat PATH`.
const SCAT_B: Tool = Tool {
    name: "scat-b",
    what: "the build given by --scat",
    listen: "{scat-b} -l 0",
    connect: "{scat-b} {host} {port}",
    ..SCAT
};

/// scat's loop without a cipher: this program again, see `limit.rs`.
pub const NULL_PIPE: Tool = Tool {
    name: "null-pipe",
    what: "the loop without a cipher",
    listen: "{self} --null-pipe listen",
    connect: "{self} --null-pipe {port}",
    ready: Ready::Announces,
    ..PLAIN
};

const SOCAT: Tool = Tool {
    name: "socat",
    what: "socat OPENSSL, default buffer of 8 KiB; TLS 1.3",
    needs: &["socat", "openssl"],
    version: "socat -V",
    listen: "socat {oneway} OPENSSL-LISTEN:{port},bind=127.0.0.1,cert={dir}/cert.pem,key={dir}/key.pem,verify=0 STDIO",
    connect: "socat {oneway} STDIO OPENSSL:127.0.0.1:{port},verify=0",
    ..PLAIN
};

const SSH: Tool = Tool {
    name: "ssh-chacha20",
    what: "ssh and an sshd of its own, chacha20-poly1305@openssh.com; a `cat` at the far end",
    needs: &["ssh", "sshd", "ssh-keygen"],
    version: "ssh -V",
    listen: "sshd -D -e -f {dir}/sshd_config -p {port}",
    connect: "ssh -F {dir}/ssh_config -c chacha20-poly1305@openssh.com -p {port} 127.0.0.1 {remote}",
    far: Far::Remote,
    ends: false,
    ..PLAIN
};

/// Every tool, in the order of the tables.
pub const TOOLS: &[Tool] = &[
    SCAT,
    SCAT_B,
    Tool {
        name: "nc",
        what: "OpenBSD netcat, plain text",
        needs: &["nc.openbsd"],
        version: "nc.openbsd -h",
        listen: "nc.openbsd -N -l {host} {port}",
        connect: "nc.openbsd -N {host} {port}",
        ..PLAIN
    },
    Tool {
        name: "ncat",
        what: "ncat, plain text",
        needs: &["ncat"],
        version: "ncat --version",
        listen: "ncat -l 127.0.0.1 {port}",
        connect: "ncat 127.0.0.1 {port}",
        ..PLAIN
    },
    Tool {
        name: "ncat-ssl",
        what: "ncat --ssl; TLS 1.3",
        needs: &["ncat", "openssl"],
        version: "ncat --version",
        listen: "ncat -l --ssl --ssl-cert {dir}/cert.pem --ssl-key {dir}/key.pem 127.0.0.1 {port}",
        connect: "ncat --ssl 127.0.0.1 {port}",
        idle: Idle::Held,
        ..PLAIN
    },
    SOCAT,
    Tool {
        name: "socat-b65536",
        what: "socat -b65536 OPENSSL; TLS 1.3",
        listen: "socat -b65536 {oneway} OPENSSL-LISTEN:{port},bind=127.0.0.1,cert={dir}/cert.pem,key={dir}/key.pem,verify=0 STDIO",
        connect: "socat -b65536 {oneway} STDIO OPENSSL:127.0.0.1:{port},verify=0",
        ..SOCAT
    },
    // -nocommands: otherwise a block of data that begins with Q ends s_client.
    Tool {
        name: "openssl",
        what: "openssl s_client and s_server; TLS 1.3",
        needs: &["openssl"],
        version: "openssl version",
        listen: "openssl s_server -quiet -naccept 1 -accept 127.0.0.1:{port} -cert {dir}/cert.pem -key {dir}/key.pem",
        connect: "openssl s_client -quiet -no_ign_eof -nocommands -connect 127.0.0.1:{port}",
        idle: Idle::Held,
        ..PLAIN
    },
    SSH,
    Tool {
        name: "ssh-aes128",
        what: "the same with aes128-gcm@openssh.com",
        connect: "ssh -F {dir}/ssh_config -c aes128-gcm@openssh.com -p {port} 127.0.0.1 {remote}",
        ..SSH
    },
    Tool {
        name: "spiped",
        what: "spipe to spiped, AES-256-CTR and HMAC-SHA256; a socket of the harness at the far end",
        needs: &["spipe", "spiped"],
        version: "spiped -v",
        listen: "spiped -d -F -s [127.0.0.1]:{port} -t {dir}/sink -k {dir}/spiped.key",
        connect: "spipe -t [127.0.0.1]:{port} -k {dir}/spiped.key",
        far: Far::Socket,
        ends: false,
        ..PLAIN
    },
];

impl Tool {
    /// Turns a command line of the table into words. `remote` is the command
    /// that ssh runs at the far end; `{scat}`, `{scat-b}` and `{self}` are the
    /// paths of the two builds of scat and of this program.
    pub fn argv(&self, line: &str, job: Job, site: &Site, port: u16, remote: &str) -> Vec<String> {
        // socat copies both ways unless told otherwise, and half a second
        // after the first end of input it closes.
        let oneway = if job == Job::Push { "-u" } else { "" };
        let mut words: Vec<String> = line
            .split(' ')
            .map(|word| {
                word.replace("{port}", &port.to_string())
                    .replace("{host}", site.way.host())
                    .replace("{dir}", &site.dir.to_string_lossy())
                    .replace("{oneway}", oneway)
                    .replace("{remote}", remote)
                    .replace("{scat}", &site.scat)
                    .replace("{scat-b}", &site.scat_b)
                    .replace("{self}", &site.this)
            })
            .filter(|word| !word.is_empty())
            .collect();
        if let Some(path) = find(&words[0]) {
            words[0] = path.to_string_lossy().into_owned();
        }
        words
    }

    /// The programs of this tool that are not installed.
    pub fn missing(&self) -> Vec<&'static str> {
        self.needs.iter().copied().filter(|name| find(name).is_none()).collect()
    }

    /// The version as the tool words it: its first line with a digit.
    pub fn version(&self) -> String {
        let mut words = self.version.split(' ');
        let Some(program) = words.next().and_then(find) else {
            return String::new();
        };
        let Ok(out) = Command::new(program).args(words).stdin(Stdio::null()).output() else {
            return String::new();
        };
        let text = [out.stdout, out.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().find(|line| line.contains(|c: char| c.is_ascii_digit()));
        line.unwrap_or("").split(" (Library").next().unwrap_or("").trim().into()
    }
}

/// Looks a program up in PATH, and where servers such as sshd live.
pub fn find(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(name.into()).filter(|path: &PathBuf| path.is_file());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(sbin).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// The temporary directory with certificates, keys and configurations, and
/// the programs that are not found in PATH. Removed at the end.
pub struct Site {
    /// Mode 0700.
    pub dir: PathBuf,
    /// Between connector and listener.
    pub way: Way,
    scat: String,
    scat_b: String,
    this: String,
}

impl Site {
    /// Makes the directory and, with the tools that are there, the keys.
    pub fn new(scat: &str, scat_b: Option<&str>) -> Result<Site, String> {
        let root =
            if Path::new("/dev/shm").is_dir() { "/dev/shm".into() } else { std::env::temp_dir() };
        let dir = root.join(format!("scat-bench-{}", std::process::id()));
        let this = std::env::current_exe().map_err(|e| format!("own path: {e}"))?;
        let site = Site {
            dir,
            way: Way::Loopback,
            scat: scat.into(),
            scat_b: scat_b.unwrap_or_default().into(),
            this: this.to_string_lossy().into_owned(),
        };
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&site.dir)
            .map_err(|e| format!("{}: {e}", site.dir.display()))?;
        site.fill()?;
        Ok(site)
    }

    fn fill(&self) -> Result<(), String> {
        let dir = self.dir.to_string_lossy();
        let write = |name: &str, text: &[u8]| {
            fs::write(self.dir.join(name), text).map_err(|e| format!("{dir}/{name}: {e}"))
        };
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|e| format!("random: {e}"))?;
        write("spiped.key", &key)?;
        // A short self-signed certificate; no tool checks it, just as scat
        // without --peer checks nobody but prints words.
        run(&format!(
            "openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 \
             -subj /CN=bench -days 2 -keyout {dir}/key.pem -out {dir}/cert.pem"
        ))?;
        run(&format!("ssh-keygen -q -t ed25519 -N  -f {dir}/host"))?;
        run(&format!("ssh-keygen -q -t ed25519 -N  -f {dir}/user"))?;
        if let Ok(host) = fs::read_to_string(self.dir.join("host.pub")) {
            write("known", format!("bench {host}").as_bytes())?;
        }
        write(
            "sshd_config",
            format!(
                "ListenAddress 127.0.0.1\nHostKey {dir}/host\nAuthorizedKeysFile {dir}/user.pub\n\
                 PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nLogLevel ERROR\n"
            )
            .as_bytes(),
        )?;
        write(
            "ssh_config",
            format!(
                "IdentityFile {dir}/user\nIdentitiesOnly yes\nIdentityAgent none\nBatchMode yes\n\
                 GlobalKnownHostsFile /dev/null\nUserKnownHostsFile {dir}/known\n\
                 HostKeyAlias bench\nLogLevel ERROR\n"
            )
            .as_bytes(),
        )
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Runs a preparation; a program that is not there is no error, for then the
/// tools that need it are left out by name.
pub fn run(line: &str) -> Result<(), String> {
    let mut words = line.split(' ');
    let Some(program) = words.next().and_then(find) else {
        return Ok(());
    };
    let out = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("{line}: {e}"))?;
    if out.status.success() {
        return Ok(());
    }
    Err(format!("{line}: {}", String::from_utf8_lossy(&out.stderr).trim()))
}
