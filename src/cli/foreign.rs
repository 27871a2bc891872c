//! Options of other netcats that scat lacks, and what to do instead.
//!
//! The netcats are OpenBSD's, the traditional one and ncat; a few options are socat's.
//! Where a letter means different things in two of them, the message serves both.

/// Names, and what to do instead. Each name is in only one row.
#[rustfmt::skip]
const FOREIGN: &[(&[&str], &str)] = &[
    (&["-k", "--keep-open", "-K", "-m", "--max-conns", "-M", "-L"], "one run serves one peer: use a loop with --peer or --psk"),
    (&["--broker", "--chat"], "one run serves one peer; for a hub, run scat -l once per caller"),
    (&["-e", "--exec", "--sh-exec", "--lua-exec"], "scat starts no programs: use a pipeline, or socat EXEC:'scat ...'"),
    (&["-u", "--udp", "--sctp", "--dccp", "--udplite"], "scat speaks TCP only"),
    (&["-z"], "to scan ports: nc -z"),
    (&["-r"], "the system chooses the port; to choose it yourself: -p PORT"),
    (&["-x", "-X", "-P", "--proxy", "--proxy-type", "--proxy-auth", "--proxy-dns"], "socat PROXY:P:HOST:PORT EXEC:'scat --fd 3',nofork,fdin=3,fdout=3"),
    (&["-U", "--unixsock", "--vsock", "-F"], "connect with socat or ncat, and pass on the socket: scat --fd N"),
    (&["--source-port"], "write -p PORT"),
    (&["--nodns"], "write -n"),
    (&["--wait"], "write -w SECS"),
    (&["--idle-timeout"], "write --idle SECS"),
    (&["--ssl", "--tls", "--ssl-verify", "--ssl-cert", "--ssl-key", "--ssl-trustfile", "--ssl-ciphers", "--ssl-servername", "--ssl-alpn", "-R", "-Z", "-H"], "scat always encrypts; to verify: the words, --peer or --psk"),
    (&["--allow", "--allowfile", "--deny", "--denyfile"], "scat checks keys, not addresses: --peer"),
    (&["--send-only"], "not needed; to discard what arrives: > /dev/null"),
    (&["--recv-only"], "not needed; to send nothing: < /dev/null, or -d"),
    (&["--no-shutdown", "--delay", "-W"], "not needed: scat ends when both ends have ended"),
    (&["-C", "--crlf"], "to end lines in CR LF: sed 's/$/\\r/' | scat HOST PORT"),
    (&["-t", "--telnet"], "scat does not speak telnet"),
    (&["-o", "--output", "--append-output"], "to keep what arrives: scat HOST PORT | tee FILE"),
    (&["-f", "--file", "--send", "--receive"], "to send: scat HOST PORT < FILE; to receive: scat HOST PORT > FILE"),
    (&["--hex-dump"], "to see what arrives in hexadecimal: scat HOST PORT | xxd"),
    (&["-b", "-g", "-G", "-I", "-O", "-S", "-D", "-T", "--rcvbuf", "--sndbuf"], "scat leaves buffers, routing and socket options to the system"),
    (&["-V"], "to see the version: --version"),
];

/// Returns what to do instead of `option` (`-x`, `--long`), if it is one of those.
pub fn instead(option: &str) -> Option<&'static str> {
    let row = FOREIGN.iter().find(|(names, _)| names.contains(&option));
    row.map(|(_, instead)| *instead)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_stands_twice() {
        let mut names: Vec<_> = FOREIGN.iter().flat_map(|(names, _)| *names).collect();
        let len = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), len);
    }

    /// The options of the netcats, from their manuals, without those of scat.
    #[test]
    fn every_option_of_the_netcat_family_has_a_line() {
        let openbsd = "bCDFIkMmOPRSTtUuVWXxZzeHKor";
        let traditional = "bCegGkortTuz";
        let ncat = "CUegGkmotuxz";
        for letter in [openbsd, traditional, ncat].concat().chars() {
            assert!(instead(&format!("-{letter}")).is_some(), "-{letter}");
        }
    }
}
