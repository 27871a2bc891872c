#!/usr/bin/env python3
"""Compares scat with the tools that people use instead, on this machine.

    cargo build --release --locked && python3 tests/bench/compare.py

--only and --scat choose what is compared, --smoke checks that this script still works,
--plot writes the throughput as a picture. Tools that are not installed are named; on
Debian they are netcat-openbsd, ncat, socat, openssl, openssh-client, openssh-server and
spiped. Everything runs on loopback, with keys made for this run.

In every round each tool does the same work once, in shuffled order. A ratio is taken
within a round; the tables show medians and ranges. Above 1, scat is the better one.
Only ratios carry over to other machines. Exit status 1 if scat failed.
"""
import argparse
import os
import platform
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import namedtuple
from pathlib import Path
from statistics import median

os.environ["PATH"] += ":/usr/sbin:/sbin"
MIB = 1 << 20
LIMIT = 60  # seconds that a run may take

# Command lines are split at spaces; then {port} and {dir} are filled in. The data arrives
# at `far`: the listener's standard output, or {dir}/sink, which is a FIFO that a remote
# command writes, or a Unix socket. If `held`, the listener's input stays open, because it
# would end at the end of its input; if `serves`, the listener must be terminated.
Tool = namedtuple("Tool", "needs listen connect far held serves", defaults=("stdout", False, False))
SOCAT = "OPENSSL-LISTEN:{port},bind=127.0.0.1,cert={dir}/cert.pem,key={dir}/key.pem,verify=0"
SSHD = "sshd -D -e -f {dir}/sshd_config -p {port}"
SSH = "ssh -F {dir}/ssh_config -p {port} -c %s 127.0.0.1 REMOTE"
TOOLS = {
    "nc": Tool(["nc.openbsd"], "nc.openbsd -N -l 127.0.0.1 {port}", "nc.openbsd -N 127.0.0.1 {port}"),
    "ncat": Tool(["ncat"], "ncat -l 127.0.0.1 {port}", "ncat 127.0.0.1 {port}"),
    "ncat --ssl": Tool(
        ["ncat", "openssl"],
        "ncat -l --ssl --ssl-cert {dir}/cert.pem --ssl-key {dir}/key.pem 127.0.0.1 {port}",
        "ncat --ssl 127.0.0.1 {port}", held=True),
    **{socat: Tool(
        ["socat", "openssl"], f"{socat} -t60 {SOCAT} STDIO",
        socat + " -t60 STDIO OPENSSL:127.0.0.1:{port},verify=0")
       for socat in ["socat", "socat -b65536"]},
    # Without -nocommands, a block of data that begins with Q ends s_client.
    "openssl": Tool(
        ["openssl"],
        "openssl s_server -quiet -naccept 1 -accept 127.0.0.1:{port}"
        " -cert {dir}/cert.pem -key {dir}/key.pem",
        "openssl s_client -quiet -no_ign_eof -nocommands -connect 127.0.0.1:{port}", held=True),
    **{f"ssh {cipher.split('@')[0]}": Tool(
        ["ssh", "sshd", "ssh-keygen"], SSHD, SSH % cipher, "remote", serves=True)
       for cipher in ["chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com"]},
    "spiped": Tool(
        ["spipe", "spiped"], "spiped -d -F -s [127.0.0.1]:{port} -t {dir}/sink -k {dir}/spiped.key",
        "spipe -t [127.0.0.1]:{port} -k {dir}/spiped.key", "socket", serves=True),
}

SSHD_CONFIG = """ListenAddress 127.0.0.1;HostKey {dir}/host;AuthorizedKeysFile {dir}/user.pub
PidFile none;StrictModes no;UsePAM no;PasswordAuthentication no;LogLevel ERROR"""
SSH_CONFIG = """IdentityFile {dir}/user;IdentitiesOnly yes;IdentityAgent none;BatchMode yes
GlobalKnownHostsFile /dev/null;UserKnownHostsFile {dir}/known;HostKeyAlias bench;LogLevel ERROR"""


def prepare(top):
    """Certificates, keys and configurations. No tool checks the certificate."""
    def run(*words):
        subprocess.run(words, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    if shutil.which("openssl"):
        run("openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
            "-subj", "/CN=bench", "-days", "2", "-keyout", f"{top}/key.pem", "-out", f"{top}/cert.pem")
    if shutil.which("ssh-keygen"):
        for name in ["host", "user"]:
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{top}/{name}")
        (top / "known").write_text("bench " + (top / "host.pub").read_text())
    for name, text in [("sshd_config", SSHD_CONFIG), ("ssh_config", SSH_CONFIG)]:
        (top / name).write_text(text.format(dir=top).replace(";", "\n") + "\n")
    (top / "spiped.key").write_bytes(os.urandom(32))
    os.mkfifo(top / "fifo")


def listens(port):
    """Whether the port has a listener. (Connecting would end one that serves one caller.)"""
    lines = [line.split() for table in ["tcp", "tcp6"]
             for line in Path("/proc/net", table).read_text().splitlines()]
    return any(line[1].endswith(f":{port:04X}") and line[3] == "0A" for line in lines)


class Run:
    """A running listener and connector."""

    def __init__(self, tool, top, stdin, echo=False):
        self.tool, self.processes, self.began = tool, [], time.monotonic()
        self.held, self.socket, self.sink, self.peaks = None, None, None, [0, 0]
        kill = lambda: [os.kill(it.pid, signal.SIGKILL) for it in self.processes if it.returncode is None]
        self.timer = threading.Timer(LIMIT, kill)
        self.timer.start()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.names = {"dir": top, "port": free.getsockname()[1]}
        listener_in, listener_out = subprocess.DEVNULL, subprocess.DEVNULL
        remote = "cat" if echo else f"cat >{top}/fifo"
        if tool.far == "socket":
            Path(top, "sink").unlink(missing_ok=True)
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.bind(f"{top}/sink")
            self.socket.listen()
        elif tool.far == "remote":
            self.sink = None if echo else os.open(top / "fifo", os.O_RDWR)
        elif echo:
            cat = self.start(["cat"], subprocess.PIPE, subprocess.PIPE)
            listener_in, listener_out = cat.stdout, cat.stdin
        else:
            listener_out = subprocess.PIPE
            if tool.held:
                here, self.held = os.pipe()
                listener_in = here
        self.listener = self.start(self.fill(tool.listen), listener_in, listener_out)
        if echo and tool.far == "stdout":
            cat.stdin.close(), cat.stdout.close()
        while not listens(self.names["port"]):
            if self.listener.poll() is not None or time.monotonic() > self.began + LIMIT:
                raise RuntimeError("it does not listen")
            time.sleep(0.001)
        self.began = time.monotonic()
        words = [remote if word == "REMOTE" else word for word in self.fill(tool.connect)]
        self.connector = self.start(words, stdin, subprocess.PIPE if echo else subprocess.DEVNULL)
        if self.socket:
            self.socket.settimeout(LIMIT)
            self.sink = self.socket.accept()[0].detach()
        elif self.sink is None and not echo:
            self.sink = self.listener.stdout.fileno()

    def fill(self, line):
        words = [word.format(**self.names) for word in line.split()]
        return [shutil.which(words[0]), *words[1:]]  # sshd needs its full path

    def start(self, words, stdin, stdout):
        process = subprocess.Popen(words, stdin=stdin, stdout=stdout, stderr=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def receive(self, size, check=None):
        """Reads everything; returns the times of the first and the last byte."""
        buffer, count, first = bytearray(256 << 10), 0, None
        while count < size:
            n = os.readv(self.sink, [buffer])
            if n == 0:
                raise RuntimeError(f"{count} of {size} bytes came")
            first = first or time.monotonic() - self.began
            if check is not None and buffer[:n] != check[count:count + n]:
                raise RuntimeError("the data differs")
            if count <= size // 2 < count + n:
                self.peaks = [peak(process) for process in (self.connector, self.listener)]
            count += n
        return first, time.monotonic() - self.began

    def end(self):
        """Waits for both ends; returns the CPU time of both and of their children."""
        if self.held:
            os.close(self.held)
        if self.socket:
            os.close(self.sink)
        cpu = []
        for process in [self.connector, self.listener]:
            if process is self.listener and self.tool.serves:
                time.sleep(0.1)  # for its children
                os.kill(process.pid, signal.SIGTERM)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            cpu.append(used.ru_utime + used.ru_stime)
        return sum(cpu)

    def close(self):
        self.timer.cancel()
        for process in self.processes:
            if process.returncode is None:
                process.kill()
                process.wait()
            for pipe in [process.stdin, process.stdout]:
                pipe and pipe.close()
        self.socket and self.socket.close()
        if self.tool.far == "remote" and self.sink is not None:
            os.close(self.sink)


def peak(process):
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def push(tool, top, path, size, check=None):
    """Sends a file; returns seconds to the first and last byte, CPU seconds, peaks in MiB."""
    with open(path, "rb") as file:
        run = Run(tool, top, file)
        try:
            first, last = run.receive(size, check)
            return {"first": first, "last": last, "peaks": run.peaks, "cpu": run.end()}
        finally:
            run.close()


def ping(tool, top, lines):
    """Returns round trips per second of lines of 64 bytes through `cat`, without the first."""
    run = Run(tool, top, subprocess.PIPE, echo=True)
    try:
        for count in range(lines + 1):
            if count == 1:
                began = time.monotonic()
            os.write(run.connector.stdin.fileno(), b"%63d\n" % count)
            if run.connector.stdout.readline() != b"%63d\n" % count:
                raise RuntimeError("a line did not come back")
        return {"rate": lines / (time.monotonic() - began)}
    finally:
        run.close()


def rounds(args, tools, what, work):
    """Returns one result of `work` for each tool and round."""
    results = {name: [] for name in tools}
    for number in range(args.rounds):
        print(f"{what}: round {number + 1} of {args.rounds}", file=sys.stderr)
        for name in random.sample(list(tools), len(tools)):
            results[name].append(work(tools[name]))
    return results


def spread(values, digits):
    low, middle, high = min(values), median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def table(head, rows):
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print()


def plot(path, rates, caption):
    """Draws bars of the medians with their ranges."""
    top, height = max(max(rate) for rate in rates.values()), 28 * len(rates) + 80
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{height}" font-family="sans-serif"'
           ' font-size="13">', '<rect width="100%" height="100%" fill="#fff"/>',
           '<text x="10" y="24" font-size="15" font-weight="bold">Throughput</text>']
    for y, (name, rate) in enumerate(rates.items()):
        y, (low, middle, high) = 40 + 28 * y, [480 * f(rate) / top for f in (min, median, max)]
        color = "#2a6f4e" if name.startswith("scat") else "#9aa5ab"
        out += [f'<text x="122" y="{y + 15}" text-anchor="end">{name}</text>',
                f'<rect x="130" y="{y}" width="{middle:.1f}" height="20" fill="{color}"/>',
                f'<path d="M{130 + low:.1f} {y + 10}H{130 + high:.1f}" stroke="#000" stroke-width="1.5"/>',
                f'<text x="{138 + high:.1f}" y="{y + 15}">{median(rate):.0f}</text>']
    out += [f'<text x="10" y="{height - 15}" font-size="11" fill="#555">{caption}</text>', "</svg>"]
    Path(path).write_text("\n".join(out) + "\n")


def compare(args, top):
    prepare(top)
    builds = [f"{shutil.which('scat', path='target/release') or 'scat'}"] + args.scat
    tools = {"scat" if n == 0 else f"scat {n + 1}": Tool([build.split()[0]], f"{build} -l 127.0.0.1 {{port}}",
                                                         f"{build} 127.0.0.1 {{port}}")
             for n, build in enumerate(builds)}
    tools |= {name: tool for name, tool in TOOLS.items() if args.only is None or name in args.only}
    files = {size: top / str(size) for size in {64, MIB, args.size * MIB}}
    for size, path in files.items():
        # Some versions of randbytes make at most 256 MiB at once.
        with path.open("wb") as file:
            while size:
                size -= file.write(random.randbytes(min(size, 64 * MIB)))
    failed = False
    for name, tool in list(tools.items()):
        try:
            missing = [need for need in tool.needs if not shutil.which(need)]
            if missing:
                raise RuntimeError(f"not installed: {' '.join(missing)}")
            push(tool, top, files[MIB], MIB, files[MIB].read_bytes())
        except (RuntimeError, OSError) as error:
            print(f"* {name} is left out: {error}")
            del tools[name]
            failed |= name.startswith("scat")
    if "scat" not in tools:
        return 1

    model = [line.split(": ")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    print(f"\n{model[0] if model else platform.machine()}, {os.cpu_count()} processors, {args.rounds} rounds\n")
    size = args.size * MIB
    results = rounds(args, tools, "throughput", lambda tool: push(tool, top, files[size], size))
    rates = {name: [size / 1e6 / result["last"] for result in of] for name, of in results.items()}
    ratios = {name: [a / b for a, b in zip(rates["scat"], rate)] for name, rate in rates.items()}
    print(f"Throughput: a random file of {args.size} MiB in, a pipe out\n")
    table(["tool", "MB/s", "scat ÷ tool", "CPU s/GiB, both ends", "peak MiB, each end"], [
        [name, spread(rates[name], 0), spread(ratios[name], 2),
         f"{median(result['cpu'] for result in of) * 1024 / args.size:.2f}",
         ", ".join(f"{median(result['peaks'][end] for result in of):.1f}" for end in (0, 1))]
        for name, of in results.items()])
    if args.plot:
        plot(args.plot, rates, f"MB/s, median and range of {args.rounds} rounds; random file of {args.size} MiB"
             f" in, pipe out, loopback; {model[0] if model else ''}")
    results = rounds(args, tools, "start", lambda tool: push(tool, top, files[64], 64))
    print("Start: from the connector's start to its first byte at the other end\n")
    table(["tool", "ms"], [[name, spread([1e3 * result["first"] for result in of], 1)]
                           for name, of in results.items()])
    lines = 50 if args.smoke else 2000
    there = {name: tool for name, tool in tools.items() if tool.far != "socket"}
    results = rounds(args, there, "lines", lambda tool: ping(tool, top, lines)["rate"])
    print("Lines of 64 bytes, each sent after the echo of the last\n")
    table(["tool", "round trips/s", "scat ÷ tool"], [
        [name, spread(of, 0), spread([a / b for a, b in zip(results["scat"], of)], 2)]
        for name, of in results.items()])
    return int(failed)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--size", type=int, default=512, metavar="MIB")
    parser.add_argument("--only", type=lambda text: text.split(","), metavar="NAME,..", help=", ".join(TOOLS))
    parser.add_argument("--scat", action="append", default=[], metavar="COMMAND", help="another build or option of scat")
    parser.add_argument("--plot", metavar="FILE", help="the throughput as an SVG")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, two rounds")
    args = parser.parse_args()
    if args.smoke:
        args.rounds, args.size = 2, 4
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as top:
        sys.exit(compare(args, Path(top)))


if __name__ == "__main__":
    main()
