//! Options of the netcat family that scat lacks, and what to do instead.
//!
//! The netcats are OpenBSD's, the traditional one, ncat and socat. Where two of them
//! mean different things by one letter, the line serves both.

/// Names and what to do instead. A name stands in one row only.
#[rustfmt::skip]
const FOREIGN: &[(&[&str], &str)] = &[
    // one peer, no programs, TCP only
    (&["-k", "--keep-open", "-K"], "one run serves one peer; for more, a loop with --peer or --psk: scat(1), SCRIPTS"),
    (&["-m", "--max-conns", "-M", "-L"], "one run serves one peer"),
    (&["--broker", "--chat"], "one run serves one peer; a hub is one scat -l for each of them"),
    (&["-e", "--exec", "--sh-exec", "--lua-exec"], "scat starts no programs; use a pipeline, or socat EXEC:'scat ...': see scat(1)"),
    (&["-u", "--udp", "--sctp", "--dccp", "--udplite"], "scat speaks TCP only"),
    (&["-b"], "scat neither broadcasts nor sets the size of a block"),
    (&["-z"], "scat does not scan ports; nc -z does"),
    (&["-r"], "the system chooses the port; -p takes one"),
    // another way to the peer
    (&["-x", "-X", "-P", "--proxy", "--proxy-type", "--proxy-auth", "--proxy-dns"], "scat knows no proxies; --fd takes a connection that socat or ncat has made through one"),
    (&["-U", "--unixsock", "--vsock"], "scat makes TCP connections only; --fd takes any connected stream socket"),
    (&["-F"], "scat passes no descriptor on; --fd takes one"),
    (&["-g", "-G"], "scat does not choose the route: the system does"),
    (&["--source-port"], "write -p PORT"),
    (&["--nodns"], "write -n"),
    (&["--wait"], "write -w SECS"),
    // encryption
    (&["--ssl", "--tls", "--ssl-verify", "--ssl-cert", "--ssl-key", "--ssl-trustfile", "--ssl-ciphers", "--ssl-servername", "--ssl-alpn", "-R", "-Z", "-H"], "scat always encrypts, without certificates: compare the words, or use --peer or --psk"),
    (&["--allow", "--allowfile", "--deny", "--denyfile"], "scat knows people by key, not by address: --peer"),
    // what is sent
    (&["--send-only"], "not needed; to throw away what comes: > /dev/null"),
    (&["--recv-only"], "not needed; to send nothing: < /dev/null, or -d"),
    (&["--no-shutdown"], "not needed: the end of input ends one direction only"),
    (&["-C", "--crlf"], "scat sends bytes as they are; to end lines in CR LF: sed 's/$/\\r/' | scat HOST PORT"),
    (&["-t", "--telnet"], "scat does not speak telnet"),
    (&["--delay", "--idle-timeout"], "scat never waits between lines, and ends when both ends have ended"),
    // what is written down
    (&["-o", "--output", "--append-output"], "to keep what comes: scat HOST PORT | tee FILE"),
    (&["--hex-dump"], "to see what comes in hexadecimal: scat HOST PORT | xxd"),
    // the socket
    (&["-I", "-O", "-S", "-D", "-T", "--rcvbuf", "--sndbuf"], "scat leaves buffers, routing and socket options to the system"),
    (&["-V"], "scat leaves routing to the system; to see its version: --version"),
    (&["-W"], "scat counts no packets: it ends when both ends have ended"),
    (&["--experimental", "--statistics"], "an option of socat's; kill -USR1 makes scat print its counters"),
];

/// What to do instead of `option` (`-x`, `--long`), if it is one of those.
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

    /// What the netcats take, from their manuals, less what scat has.
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
