#!/usr/bin/env python3
"""The completions, asked for with the Tab key in the real shells.

    python3 tests/completions.py [SHARE]

SHARE is the directory of an installed package (PREFIX/usr/share); without it, the script
lays out the files of this source tree in the same way. Each shell finds its own file
there. It runs on a terminal, in a folder with known files, and knows a host. `scat` is a
function that prints its arguments, so the script need not parse the screen to see what
Tab did. Exit status 0 if nothing failed; missing shells are SKIPPED.
"""

import os
import pty
import re
import select
import shutil
import sys
import tempfile
import time

SOURCE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "completions")
PLACES = {
    "scat.bash": "bash-completion/completions/scat",
    "_scat": "zsh/vendor-completions/_scat",
    "scat.fish": "fish/vendor_completions.d/scat.fish",
}
BASH_COMPLETION = "/usr/share/bash-completion/bash_completion"
LIMIT = 20  # seconds for one answer; a longer wait counts as hanging
HOST = "completed.example.org"
FILES = ["both.key", "my key", "peers", "+odd"]

ALL = "\x0f"  # Ctrl-O: puts every completion on the line
# Typed text, and the arguments that it becomes.
TYPED = [
    ("--pee\t", ["--peer"]),
    ("--genk\tbot\t", ["--genkey", "both.key"]),
    ("--pubkey bot\t", ["--pubkey", "both.key"]),
    ("--genpsk bot\t", ["--genpsk", "both.key"]),
    ("--psk bot\t", ["--psk", "both.key"]),
    ("--psk=bot\t", ["--psk", "both.key"]),
    ("-i bot\t", ["-i", "both.key"]),
    ("-lvi my\t9000", ["-lvi", "my key", "9000"]),
    ("--identity m\t", ["--identity", "my key"]),
    ("--peer @pe\t", ["--peer", "@peers"]),
    ("--peer \tpe\t", ["--peer", "@peers"]),
    ("-l --peer @peers --peer @bo\t9000", ["-l", "--peer", "@peers", "--peer", "@both.key", "9000"]),
    ("compl\t", [HOST]),
    ("-i both.key compl\t9000", ["-i", "both.key", HOST, "9000"]),
    ("-w 5 compl\t9000", ["-w", "5", HOST, "9000"]),
    # A listener has no host.
    ("-l compl\t", ["-l", "compl"]),
    ("-vl compl\t", ["-vl", "compl"]),
    ("-w bot\t", ["-w", "bot"]),
    ("--p" + ALL, ["--peer", "--port", "--psk", "--pubkey"]),
    ("--gen" + ALL, ["--genkey", "--genpsk"]),
    ("-i " + ALL, ["-i", "+odd", "both.key", "my key", "peers"]),
    ("--peer @" + ALL, ["--peer", "@+odd", "@both.key", "@my key", "@peers"]),
]
# fish also offers hosts instead of the port.
COUNTED = [
    ("scat.example.org compl\t", ["scat.example.org", "compl"]),
]
SAY = "scat() { printf '<%s>' \"$@\"; echo; }\n"
SHELLS = {
    "bash": (
        ["bash", "--rcfile", "../setup", "-i"],
        "BASH_COMPLETION_USER_DIR=$SHARE/bash-completion\n"
        f". {BASH_COMPLETION}\n"
        "bind '\"\\C-o\": insert-completions'\n" + SAY,
    ),
    "zsh": (
        ["zsh", "-d", "-i"],
        "fpath=($SHARE/zsh/vendor-completions $fpath)\n"
        "autoload -U compinit; compinit -u -D\n"
        "all() { _main_complete; compstate[insert]=all }\n"
        "zle -C all complete-word all; bindkey '^O' all\n" + SAY,
    ),
    "fish": (
        ["fish", "-C", "source ../setup"],
        "set -g fish_greeting\n"
        "function scat; printf '<%s>' $argv; echo; end\n"
        "function all\n"
        # complete -C also lists words with the typed part in the middle.
        "set -l found (complete -C (commandline) | string split -f1 \\t | string match -- (commandline -ct)'*')\n"
        "commandline -rt -- (string escape -- $found | string join ' ')\n"
        "end\n"
        "bind \\co all\n",
    ),
}


def folder(top, setup):
    """Makes a home directory that knows the host, with a folder of the files."""
    os.makedirs(f"{top}/.ssh")
    os.mkdir(f"{top}/files")
    with open(f"{top}/.ssh/known_hosts", "w") as known:
        known.write(f"{HOST} ssh-ed25519 AAAA\n")
    for name in FILES:
        open(f"{top}/files/{name}", "w").close()
    for name in ["setup", ".zshrc"]:
        with open(f"{top}/{name}", "w") as file:
            file.write(setup)


class Shell:
    """A shell on a terminal of its own."""

    def __init__(self, command, top, share):
        self.seen = b""
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(f"{top}/files")
            homes = {"HOME": top, "ZDOTDIR": top, "SHARE": share, "XDG_DATA_DIRS": share}
            kept = {"PATH": os.environ["PATH"], "TERM": "dumb", "LC_ALL": "C.UTF-8"}
            os.execvpe(command[0], command, homes | kept)

    def arguments(self, typed):
        """Returns the arguments that scat has printed."""
        start = len(self.seen)
        os.write(self.terminal, f"scat {typed}\n".encode())
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            if line := re.search(rb"<([^\r\n]*)>\r?\n", self.seen[start:]):
                words = line[1].decode().split("><")
                # zsh completes an option as `--psk=`, which means the same.
                return [part for word in words for part in re.split("(?<=[a-z])=", word)]
            if select.select([self.terminal], [], [], 1)[0]:
                self.seen += os.read(self.terminal, 65536)
        raise TimeoutError(f"no answer to {typed!r}; the screen: {self.seen[start:]!r}")

    def close(self):
        os.close(self.terminal)
        os.waitpid(self.pid, 0)


def check(name, share):
    """Returns the number of lines that became something else."""
    command, setup = SHELLS[name]
    with tempfile.TemporaryDirectory() as top:
        folder(top, setup)
        shell = Shell(command, top, share)
        failed = 0
        lines = TYPED if name == "fish" else TYPED + COUNTED
        for typed, wanted in lines:
            got = shell.arguments(typed)
            if ALL in typed:
                got.sort()
                wanted.sort()
            if got != wanted:
                failed += 1
                print(f"{name}: {typed!r} became {got}, not {wanted}")
        shell.close()
    print(f"{name}: {len(lines)} lines, {failed} failed")
    return failed


def main():
    with tempfile.TemporaryDirectory() as share:
        for source, place in PLACES.items():
            os.makedirs(os.path.dirname(f"{share}/{place}"))
            shutil.copy(f"{SOURCE}/{source}", f"{share}/{place}")
        failed = 0
        for name in SHELLS:
            if shutil.which(name) is None:
                print(f"SKIPPED: no {name}")
            elif name == "bash" and not os.path.exists(BASH_COMPLETION):
                print("SKIPPED: no bash-completion")
            else:
                failed += check(name, os.path.abspath(sys.argv[1]) if sys.argv[1:] else share)
    sys.exit(failed > 0)


main()
