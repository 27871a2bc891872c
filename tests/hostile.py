#!/usr/bin/env python3
"""An active attacker: two real scats; a relay between them that cuts, resets, flips, drops,
doubles, swaps, stalls and dribbles; and a system that kills, stops, fills disks and closes
readers. If both ends have --reconnect, the relay also cuts the new connections and alters
their flights. After each run, this script checks the promises of scat(1):

* both ends end;
* what an end has written is a prefix of the other end's input;
* status 0 at an end means that every byte of both directions was written;
* status 3 means that nothing was written at either end;
* an end that received altered bytes does not end with 0; if the connector's offer was
  altered, neither end does;
* if nothing was done to them, or, with --reconnect, only cuts after the handshake, both end
  with 0;
* the last line on standard error fits the status.

    hostile.py [--runs N] [--seed S] [--jobs J] SCAT [OTHER]     N runs from seed S on;
                                                         OTHER is another build
    hostile.py --liars SCAT                              checks that broken ends are detected

A run depends on its seed alone: `--runs 1 --seed S` repeats it.
"""

import argparse, os, pty, queue, random, re, resource, shutil, signal, socket
import fcntl, struct, subprocess, sys, tempfile, termios, threading, time
from concurrent.futures import ThreadPoolExecutor

LIMIT = 40  # seconds after which a running end counts as hanging
POLICIES = ["none", "none", "psk", "peer", "both", "confirm", "fd"]
SIZES = [0, 0, 1, 255, 4096, 65536, 300_000, 1_500_000, 5_000_000]
INPUTS = ["file", "pipe", "fifo", "socket"]
OUTPUTS = ["file", "pipe", "fifo", "socket"]
# What the relay does to the bytes or to the connection.
TAMPER = ["flip", "drop", "double", "swap", "offer"]
CUTS = ["reset", "fin", "halfclose"]
GENTLE = ["none", "none", "stall", "dribble", "stop", "strangers"]
AWAY = 10  # seconds for --reconnect
R1_R3, R2 = 96 + 32, 80  # bytes of a reconnection, from and to the connector
SYSTEM = ["kill", "term", "int", "reader", "full", "limit", "badread"]

# What the last line of an end may contain, by its status.
LINES = {
    1: r"standard input|standard output",
    3: r"handshake|does not answer|without sending|hung up|does not speak scat|connect|"
       r"no session|closed|reset|before the session",
    4: r"version|role|connecting|pre-shared|key|words|rejected|accept|itself",
    5: r"corrupted|forged|malformed|protocol error",
    6: r"cut off|interrupted|not restored",
    7: r"output",
}


class Violation(Exception):
    """A promise that was broken."""


def content(rng, size):
    return rng.randbytes(size)


class Fault:
    """One attack, at an offset of the bytes from side 'C' or 'L'."""

    def __init__(self, rng, kind, totals):
        self.kind = kind
        self.side = rng.choice("CL")
        # Offsets of every kind: the flights, around frames of 274 bytes, anywhere, the end.
        total = 1500 + totals[self.side] + totals[self.side] // 500
        self.at = rng.choice([
            rng.randrange(0, 1400), 1224 + 97 + rng.randrange(0, 900),
            rng.randrange(0, total), max(0, total - rng.randrange(0, 1200)),
        ])
        self.amount = rng.choice([1, 2, 16, 274, 5000])
        if kind == "offer":
            # The flags of the connector's preface, but not that of a pre-shared key.
            self.side, self.at, self.amount = "C", 6, rng.choice([2, 4, 6])
        self.fired = False
        self.altered = False  # if so, the receiver must notice
        self.patience = 3  # seconds that the receiver has to notice

    @staticmethod
    def again(rng, totals):
        """Returns a fault for a connection that replaces a lost one."""
        # Altered frames would end the session, so this alters only flights.
        fault = Fault(rng, rng.choice([*CUTS, "flip", "drop", "swap"]), totals)
        most = R1_R3 if fault.side == "C" else R2
        if fault.kind not in CUTS or rng.random() < 0.5:
            fault.at = rng.randrange(most)
            fault.amount = min(fault.amount, most - fault.at)
        fault.patience = 0.5
        return fault


class Relay:
    """A port for the connector, which may connect again. Each fault happens to one
    connection, in order; later connections are not disturbed."""

    def __init__(self, family, target, faults, run):
        self.faults, self.run, self.target = faults, run, target
        self.server = socket.create_server(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0),
                                           family=family)
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        for fault in [*self.faults, *[None] * 100]:
            try:
                c, _ = self.server.accept()
                l = socket.create_connection(self.target)
            except OSError:
                return
            Path(fault, self.run, c, l)


class Path:
    """Carries one connection from C to L and applies its fault."""

    def __init__(self, fault, run, c, l):
        self.fault, self.run = fault, run
        self.is_reset = False
        self.left = {side: threading.Event() for side in "CL"}
        for side, (a, b) in {"C": (c, l), "L": (l, c)}.items():
            threading.Thread(target=self.pump, args=(side, a, b), daemon=True).start()

    def pump(self, side, a, b):
        try:
            self.shuttle(side, a, b)
        finally:
            self.left[side].set()

    def shuttle(self, side, a, b):
        fault, seen = self.fault, 0
        mine = fault and fault.side == side
        try:
            while data := a.recv(65536):
                start, seen = seen, seen + len(data)
                if mine and not fault.fired and start <= fault.at < seen:
                    cut = fault.at - start
                    b.sendall(data[:cut])
                    rest = self.do(side, data[cut:], a, b)
                    if rest is None:
                        return
                    data = rest
                elif mine and fault.fired and fault.kind == "dribble" and seen < fault.at + 3000:
                    for i in range(0, len(data), 7):
                        b.sendall(data[i:i + 7])
                    continue
                b.sendall(data)
            if not self.is_reset:
                b.shutdown(socket.SHUT_WR)
        except OSError:
            if self.is_reset:
                return
            self.end(a, b)

    def end(self, *sockets):
        for s in sockets:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def do(self, side, data, a, b):
        """Applies the fault; returns the bytes to forward, or None to forward no more."""
        fault, n = self.fault, self.fault.amount
        fault.fired = True
        kind = fault.kind
        if kind in TAMPER:
            fault.altered = True
            # After an altered length both ends rightly wait for bytes that never arrive, so
            # end the connection.
            timer = threading.Timer(fault.patience, self.end, (a, b))
            timer.daemon = True
            timer.start()
        if kind == "flip":
            return bytes([data[0] ^ (1 << n % 8)]) + data[1:]
        if kind == "offer":
            return bytes([data[0] ^ n]) + data[1:]
        if kind == "drop":
            return data[n:]
        if kind == "double":
            # A duplicate behind the last frame alters nothing, because nobody reads it.
            fault.altered = n < len(data)
            return data[:n] + data
        if kind == "swap":
            if len(data) < 2 or data[:1] == data[1:2]:
                fault.fired = fault.altered = False
                return data
            return data[1:2] + data[:1] + data[2:]
        if kind == "reset":
            self.is_reset = True
            for s in (a, b):
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # The other thread's recv keeps the socket open: this wakes it, and sends nothing.
                s.shutdown(socket.SHUT_RD)
            self.left["L" if side == "C" else "C"].wait(10)
            a.close()
            b.close()
            return None
        if kind == "fin":
            self.end(a, b)
            return None
        if kind == "halfclose":
            b.shutdown(socket.SHUT_WR)
            while a.recv(65536):
                pass
            return None
        if kind == "stall":
            self.run.wait(1.0)
        if kind == "stop":
            self.run.signal_end(fault, signal.SIGSTOP)
            self.run.wait(0.5)
            self.run.signal_end(fault, signal.SIGCONT)
        if kind in ("kill", "term", "int"):
            sig = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "int": signal.SIGINT}[kind]
            self.run.signal_end(fault, sig)
        return data


class End:
    """One scat with its input, output and, if it asks, its terminal."""

    def __init__(self, run, side, args, pass_fds=()):
        self.run, self.side = run, side
        self.data = run.data[side]
        self.got = bytearray()
        self.threads = []
        self.at_terminal = []
        self.reader_left = False
        self.killed = None
        stdin = self.make_input(run.inputs[side])
        stdout = self.make_output(run.outputs[side])
        self.master = None
        preexec = None
        if run.policy == "confirm":
            self.master, slave = pty.openpty()
            self.tty = slave

            def preexec():
                os.setsid()
                fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        elif run.outputs[side] == "limit":
            def preexec():
                os.setsid()
                resource.setrlimit(resource.RLIMIT_FSIZE, (run.room, run.room))
        else:
            preexec = os.setsid  # without a terminal, scat does not ask
        self.process = subprocess.Popen(run.scats[side] + args, stdin=stdin, stdout=stdout,
                                        stderr=subprocess.PIPE, preexec_fn=preexec,
                                        pass_fds=pass_fds)
        for fd in {stdin, stdout}:
            os.close(fd)
        if self.master is not None:
            # Keep the slave open: without one, reading the master fails.
            self.at_terminal.append(self.start(self.converse))
        self.lines = []
        self.port = queue.Queue()
        self.start(self.read_lines)
        for job in self.jobs:
            self.start(job)

    jobs = ()

    def start(self, job):
        thread = threading.Thread(target=job, daemon=True)
        thread.start()
        self.threads.append(thread)
        return thread

    def make_input(self, kind):
        path = os.path.join(self.run.dir, "in" + self.side)
        jobs = []
        if kind == "badread":
            fd = os.open("/proc/self/mem", os.O_RDONLY)  # reading at 0 fails: EIO
        elif kind == "file":
            with open(path, "wb") as file:
                file.write(self.data)
            fd = os.open(path, os.O_RDONLY)
        else:
            if kind == "pipe":
                fd, source = os.pipe()
            elif kind == "fifo":
                os.mkfifo(path)
                both = os.open(path, os.O_RDWR)
                fd, source = os.open(path, os.O_RDONLY), os.open(path, os.O_WRONLY)
                os.close(both)
            else:
                one, two = socket.socketpair()
                fd, source = one.detach(), two.detach()
            jobs.append(lambda: self.feed(source))
        self.jobs = jobs
        return fd

    def feed(self, fd):
        try:
            at = 0
            while at < len(self.data):
                at += os.write(fd, self.data[at:at + 65536])
        except OSError:
            pass
        os.close(fd)

    def make_output(self, kind):
        self.path = os.path.join(self.run.dir, "out" + self.side)
        if kind == "full":
            self.path = None
            return os.open("/dev/full", os.O_WRONLY)
        if kind in ("file", "limit"):
            return os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600)
        if kind == "fifo":
            os.mkfifo(self.path)
            sink = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
            fd = os.open(self.path, os.O_WRONLY)
            os.set_blocking(sink, True)
        elif kind == "socket":
            one, two = socket.socketpair()
            fd, sink = one.detach(), two.detach()
        else:
            sink, fd = os.pipe()
        most = self.run.room if kind == "reader" else None
        self.jobs = [*self.jobs, lambda: self.drain(sink, most)]
        self.path = None
        return fd

    def drain(self, fd, most):
        try:
            while most is None or len(self.got) < most:
                data = os.read(fd, 65536 if most is None else max(1, most - len(self.got)))
                if not data:
                    break
                self.got += data
            else:
                self.reader_left = True
        except OSError:
            pass
        os.close(fd)

    def read_lines(self):
        for line in self.process.stderr:
            line = line.decode(errors="replace").rstrip()
            self.lines.append(line)
            if found := re.search(r"listening on .*port (\d+)", line):
                self.port.put(int(found[1]))
        self.port.put(None)

    def converse(self):
        """Types the digits that the other end's screen shows."""
        screen = ""
        while True:
            try:
                data = os.read(self.master, 4096)
            except OSError:
                return
            screen += data.decode(errors="replace")
            if found := re.search(r"you (?:say|answer)[^\n]*\((\d{4}) (\d{4})\)", screen):
                self.run.words[self.side].put(found[1] + found[2])
                screen = screen[found.end():]
            # If scat asks again, after it was stopped, it has discarded what was typed.
            if re.search(r"they (?:say|answer): *$", screen):
                screen, words = "", self.run.words["L" if self.side == "C" else "C"]

                def answer(words=words):
                    digits = words.get()
                    words.put(digits)
                    if digits is not None:
                        try:
                            os.write(self.master, digits.encode() + b"\n")
                        except OSError:  # the end is gone, and its terminal with it
                            pass
                self.at_terminal.append(self.start(answer))

    def finish(self, seconds):
        try:
            self.status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.status = None
            return
        for thread in self.threads:
            # A terminal's thread ends later, with the terminal.
            if thread not in self.at_terminal:
                thread.join(LIMIT)
                if thread.is_alive():
                    raise TimeoutError("a reader or a writer beside an end goes on without it")
        if self.path:
            with open(self.path, "rb") as file:
                self.got = bytearray(file.read())

    def signal(self, number):
        """Signals all processes of this end: a broken end is a shell around scat."""
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def close(self):
        self.signal(signal.SIGKILL)
        self.process.wait()
        if self.master is not None:
            # The next run may get this descriptor's number, so its threads must end first.
            os.close(self.tty)
            for side in "CL":
                self.run.words[side].put(None)
            for thread in self.at_terminal:
                thread.join()
            os.close(self.master)


class Run:
    """One scenario, determined by its seed."""

    def __init__(self, scats, seed, has_fd):
        rng = random.Random(seed)
        self.seed = seed
        self.dir = tempfile.mkdtemp(prefix="scat-hostile-")
        self.policy = rng.choice(POLICIES if has_fd else POLICIES[:-1])
        self.family = rng.choice([socket.AF_INET, socket.AF_INET6])
        sizes = [rng.choice(SIZES) for _ in "CL"]
        if rng.random() < 0.01:
            sizes[rng.randrange(2)] = 75_000_000  # past the rekey of the 1024th frame
        self.data = {side: content(rng, n) for side, n in zip("CL", sizes)}
        self.kind = rng.choice(rng.choice([GENTLE, TAMPER, CUTS, SYSTEM]))
        totals = {s: len(d) for s, d in self.data.items()}
        self.fault = Fault(rng, self.kind, totals)
        self.reconnects = self.policy != "fd" and rng.random() < 0.4
        self.again = [Fault.again(rng, totals)
                      for _ in range(rng.randrange(4) if self.reconnects else 0)]
        self.inputs = {side: rng.choice(INPUTS) for side in "CL"}
        self.outputs = {side: rng.choice(OUTPUTS) for side in "CL"}
        if self.kind in ("reader", "full", "limit"):
            self.outputs[self.fault.side] = self.kind
        if self.kind == "badread":
            self.inputs[self.fault.side] = "badread"
        self.room = rng.choice([0, 1, 1000, 200_000])
        self.scats = {side: rng.choice(scats) for side in "CL"}
        self.words = {side: queue.Queue() for side in "CL"}
        self.over = threading.Event()
        self.ends = {}

    def __str__(self):
        again = "".join(f", then {it.kind} by {it.side} at {it.at} ({it.amount})" for it in self.again)
        return (f"seed {self.seed}: {self.policy} {self.kind} by {self.fault.side} "
                f"at {self.fault.at} ({self.fault.amount}){again}"
                f"{' (comes back)' if self.reconnects else ''}, "
                f"C {len(self.data['C'])} {self.inputs['C']} -> {self.outputs['L']}, "
                f"L {len(self.data['L'])} {self.inputs['L']} -> {self.outputs['C']}, room {self.room}")

    def wait(self, seconds):
        self.over.wait(seconds)

    def signal_end(self, fault, number):
        end = self.ends.get(fault.side)
        if end and end.process.poll() is None:
            if number not in (signal.SIGSTOP, signal.SIGCONT):
                end.killed = number
            end.signal(number)

    def key(self, name, option):
        path = os.path.join(self.dir, name)
        out = subprocess.run([PLAIN, option, path], capture_output=True, check=True, text=True)
        return path, out.stdout.split()[-1] if out.stdout else ""

    def options(self):
        common = {"none": [], "fd": [], "confirm": ["-c"], "psk": [], "peer": [], "both": []}
        back = ["--reconnect", str(AWAY)] if self.reconnects else []
        c, l = [*common[self.policy], *back], [*common[self.policy], *back]
        if self.policy in ("psk", "both", "fd"):
            path, _ = self.key("psk", "--genpsk")
            c += ["--psk", path]
            l += ["--psk", path]
        if self.policy in ("peer", "both"):
            (ck, cp), (lk, lp) = self.key("c.key", "--genkey"), self.key("l.key", "--genkey")
            c += ["-i", ck, "--peer", lp]
            l += ["-i", lk, "--peer", cp]
        return c, l

    def play(self):
        host = "127.0.0.1" if self.family == socket.AF_INET else "::1"
        c, l = self.options()
        if self.policy == "fd":
            relay = None
            (c1, c2), (l1, l2) = socket.socketpair(), socket.socketpair()
            Path(self.fault, self, c2, l1)
            self.ends["L"] = End(self, "L", ["-l", "--fd", str(l2.fileno()), *l], (l2.fileno(),))
            self.ends["C"] = End(self, "C", ["--fd", str(c1.fileno()), *c], (c1.fileno(),))
            c1.close()
            l2.close()
        else:
            self.ends["L"] = End(self, "L", ["-lv", *l, host, "0"])
            port = self.ends["L"].port.get(timeout=LIMIT)
            if port is None:
                # The listener has refused its own descriptors before it listened.
                self.ends["L"].finish(LIMIT)
                if self.ends["L"].status not in (1, 2):
                    raise Violation(f"listener: {self.ends['L'].status} {self.ends['L'].lines}")
                return
            if self.kind == "strangers":
                for garbage in (b"", b"GET / HTTP/1.0\r\n\r\n", b"SCAT2C\0\n", b"SCAT1C\0\n" + bytes(900)):
                    with socket.create_connection((host, port)) as s:
                        s.sendall(garbage)
            relay = Relay(self.family, (host, port), [self.fault, *self.again], self)
            self.ends["C"] = End(self, "C", [*c, host, str(relay.port)])
        end_c, end_l = self.ends["C"], self.ends["L"]
        end_c.finish(LIMIT)
        # A listener without a peer goes on listening, as it should.
        try:
            end_l.process.wait(5 if end_c.status in (1, 2, 3, 4, 5, None) or end_c.killed else LIMIT)
        except subprocess.TimeoutExpired:
            if not any("connected" in line or "verified" in line for line in end_l.lines):
                end_l.killed = signal.SIGTERM
                end_l.signal(signal.SIGTERM)
        end_l.finish(LIMIT)
        self.over.set()
        if relay:
            relay.server.close()
        self.judge(end_c, end_l)

    def judge(self, c, l):
        for end, other in ((c, l), (l, c)):
            who = f"{'listener' if end is l else 'connector'} ({end.status})"
            if end.status is None:
                raise Violation(f"{who} hangs")
            if end.status < 0 and end.killed is None:
                raise Violation(f"{who} died of signal {-end.status}")
            if end.status not in range(-15, 8):
                raise Violation(f"{who} has an unknown status")
            if self.outputs[end.side] != "full" and end.got != other.data[:len(end.got)]:
                same = next((i for i, (a, b) in enumerate(zip(end.got, other.data)) if a != b), None)
                raise Violation(f"{who} wrote what was not sent: {len(end.got)} bytes, "
                                f"of which {same} are right")
            if end.status == 0:
                if self.outputs[end.side] in ("full",) and other.data:
                    raise Violation(f"{who} wrote to a full disk")
                # Bytes in a pipe count as written, even if its reader leaves.
                if self.outputs[end.side] not in ("full", "reader") and \
                        len(end.got) != len(other.data):
                    raise Violation(f"{who} has {len(end.got)} of {len(other.data)} bytes")
                if self.inputs[end.side] == "badread":
                    raise Violation(f"{who} could not read its input")
                if self.outputs[other.side] == "full" and end.data:
                    raise Violation(f"{who} does not know of the other's full disk")
                if self.outputs[other.side] not in ("full", "reader") and len(other.got) != len(end.data):
                    raise Violation(f"{who}: the other has {len(other.got)} of {len(end.data)} bytes")
            if end.status == 3 and (end.got or other.got):
                raise Violation(f"{who}, and bytes were written")
            if end.status in LINES:
                said = [x for x in end.lines if x.startswith("scat: ") and "hint:" not in x]
                if not said or not re.search(LINES[end.status], " ".join(said[-2:])):
                    raise Violation(f"{who} says {said[-2:]}")
        receiver = l if self.fault.side == "C" else c
        # With --reconnect, a cut may discard an altered part of a frame, which is then sent again.
        if self.kind in TAMPER and self.fault.altered and receiver.status == 0 and not self.reconnects:
            raise Violation("altered bytes were not noticed")
        if self.kind == "offer" and self.fault.altered and 0 in (c.status, l.status):
            raise Violation("an altered offer was not noticed")
        # With --reconnect a session survives a cut after the handshake.
        is_late = self.fault.at >= (1256 + 97 if self.fault.side == "C" else 1241)
        is_back = self.reconnects and self.kind in CUTS and is_late
        if (self.kind in GENTLE or is_back) and (c.status, l.status) != (0, 0):
            raise Violation(f"nothing was done to them: {c.status}, {l.status}")

    def clean(self):
        for end in self.ends.values():
            end.close()
        shutil.rmtree(self.dir, ignore_errors=True)


def one(scats, seed, has_fd):
    run = Run(scats, seed, has_fd)
    try:
        run.play()
        return seed, None, run
    except Exception as why:
        what = why if isinstance(why, Violation) else f"harness: {why!r}"
        lines = "".join(f"\n    {s} ({e.process.poll()}): {line}"
                        for s, e in run.ends.items() for line in e.lines[-4:] or ["nothing"])
        return seed, f"{run}\n  {what}{lines}", run
    finally:
        run.clean()


def campaign(scats, runs, seed, jobs, has_fd):
    bad, statuses = [], {}
    with ThreadPoolExecutor(jobs) as pool:
        for _, why, run in pool.map(lambda s: one(scats, s, has_fd), range(seed, seed + runs)):
            if why:
                bad.append(why)
                print(why, flush=True)
            pair = tuple(run.ends[s].status if s in run.ends and hasattr(run.ends[s], "status")
                         else None for s in "CL")
            statuses[pair] = statuses.get(pair, 0) + 1
    return bad, statuses


LIARS = {
    "6 becomes 0": '"$0" "$@"; s=$?; [ $s -eq 6 ] && exit 0; exit $s',
    "a byte is dropped": 'set -o pipefail; "$0" "$@" | (head -c 1000; head -c 1 >/dev/null; cat)',
    "the output is cut": 'set -o pipefail; "$0" "$@" | (head -c 1000; cat >/dev/null)',
    "7 becomes 0": '"$0" "$@"; s=$?; [ $s -eq 7 ] && exit 0; exit $s',
}


def main():
    global PLAIN
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--liars", action="store_true")
    parser.add_argument("scat")
    parser.add_argument("other", nargs="?")
    args = parser.parse_args()
    PLAIN = os.path.abspath(args.scat)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    has_fd = "--fd" in subprocess.run([PLAIN, "--help", "all"], capture_output=True, text=True).stdout
    if args.liars:
        ok = True
        for name, script in LIARS.items():
            bad, _ = campaign([["bash", "-c", script, PLAIN]], args.runs, args.seed, args.jobs, False)
            print(f"liar ({name}): caught in {len(bad)} of {args.runs} runs")
            ok &= bool(bad)
        sys.exit(0 if ok else 1)
    scats = [[os.path.abspath(scat)] for scat in (args.scat, args.other) if scat]
    start = time.monotonic()
    bad, statuses = campaign(scats, args.runs, args.seed, args.jobs, has_fd)
    print(f"{args.runs} runs from seed {args.seed}, {len(bad)} violations, "
          f"{time.monotonic() - start:.0f} s; --fd {'too' if has_fd else 'not there'}")
    for (c, l), n in sorted(statuses.items(), key=lambda item: -item[1]):
        print(f"  connector {c}, listener {l}: {n}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
