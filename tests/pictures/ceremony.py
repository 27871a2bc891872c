#!/usr/bin/env python3
"""Draws tests/pictures/ceremony.svg: the real screens of two people who compare words.

    sudo tests/pictures/ceremony.py [SCAT]     (default: target/release/scat)

Plays both people in tmux, in a network namespace where ann.example.com is
203.0.113.7 and callers have the address 198.51.100.4. Changes nothing outside. Needs root, tmux, iproute2 and util-linux.
"""

import html, os, re, shlex, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
COLUMNS, ROWS, LIMIT = 76, 16, 20
INSIDE = """
ip link set lo up
ip address add 203.0.113.7 dev lo
ip address add 198.51.100.4 dev lo
ip route replace local 203.0.113.7 dev lo table local src 198.51.100.4
ip route add default dev lo src 203.0.113.7
mount --bind "$1/hosts" /etc/hosts
exec "$2" --inside "$1" "$3"
"""


class Person:
    """A person at a terminal."""

    def __init__(self, name, room):
        self.name = name
        self.tmux = ["tmux", "-L", f"scat-{os.getpid()}-{name}", "-f", "/dev/null"]
        shell = ["env", f"PS1={name}$ ", f"PATH={room}:{os.environ['PATH']}", "sh"]
        self.call("new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), shlex.join(shell))
        self.sees(f"^{name}\\$")

    def call(self, *words):
        return subprocess.run([*self.tmux, *words], check=True, capture_output=True, text=True).stdout

    def screen(self):
        return self.call("capture-pane", "-p").rstrip()

    def sees(self, pattern):
        """Waits until the screen shows it, and returns the match."""
        deadline = time.monotonic() + LIMIT
        while not (found := re.search(pattern, self.screen(), re.M)):
            if time.monotonic() > deadline:
                raise SystemExit(f"{self.name} does not see {pattern}:\n{self.screen()}")
            time.sleep(0.02)
        return found

    def types(self, text):
        self.call("send-keys", "-l", text)
        self.call("send-keys", "Enter")

    def leaves(self):
        self.call("kill-server")


def play(room):
    """The ceremony; returns both screens."""
    ann, bob = Person("ann", room), Person("bob", room)
    try:
        ann.types("scat -l 9000")
        ann.sees("listening on")
        bob.types("scat ann.example.com 9000")
        said = ann.sees(r"you say +(\w+ \w+ \w+)")[1]
        bob.sees("they say:$")
        bob.types(" ".join(word[:6] for word in said.split()))  # as much as is needed
        answer = bob.sees(r"you answer +(\w+ \w+ \w+)")[1]
        ann.sees("they answer:$")
        ann.types(answer)
        ann.sees("verified")
        ann.types("hello Bob")
        bob.sees("^hello Bob$")
        bob.types("hello Ann")
        ann.sees("^hello Ann$")
        return ann.screen(), bob.screen()
    finally:
        ann.leaves()
        bob.leaves()


def draw(screens):
    """SVG: one window for each screen, what people type in bold."""
    size, line, gap, left = 13, 18, 14, 12
    width = int(COLUMNS * size * 0.602) + 2 * left
    parts, top = [], 0
    for screen, typed in screens:
        rows = screen.split("\n")
        height = len(rows) * line + 2 * 10
        parts.append(f'<rect y="{top}" width="{width}" height="{height}" rx="7" fill="#1d2327"/>')
        for i, row in enumerate(rows):
            y = top + 10 + line * i + size
            found = re.match(r"((?:\w+\$|scat: they (?:say|answer):) )(.*)", row)
            shown, keyed = found.groups() if found else ("", row) if row == typed else (row, "")
            colour = "#9fb4bf" if row.startswith("scat: ") or found else "#ffffff"
            parts.append(
                f'<text x="{left}" y="{y}" fill="{colour}">{html.escape(shown)}'
                f'<tspan fill="#ffd479" font-weight="bold">{html.escape(keyed)}</tspan></text>')
        top += height + gap
    style = 'font-family="ui-monospace, Menlo, Consolas, \'DejaVu Sans Mono\', monospace"'
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top - gap}" '
            f'{style} font-size="{size}" xml:space="preserve">\n' + "\n".join(parts) + "\n</svg>\n")


def main():
    if sys.argv[1:2] == ["--inside"]:
        ann, bob = play(sys.argv[2])
        with open(sys.argv[3], "w") as file:
            file.write(draw([(ann, "hello Bob"), (bob, "hello Ann")]))
        return
    scat = os.path.abspath(sys.argv[1] if sys.argv[1:] else f"{HERE}/../../target/release/scat")
    with tempfile.TemporaryDirectory() as room:
        os.symlink(scat, f"{room}/scat")
        with open(f"{room}/hosts", "w") as hosts:
            hosts.write("127.0.0.1 localhost\n203.0.113.7 ann.example.com\n")
        subprocess.run(["unshare", "--net", "--mount", "sh", "-ec", INSIDE, "sh", room, __file__,
                        f"{HERE}/ceremony.svg"], check=True)


main()
