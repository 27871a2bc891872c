#!/usr/bin/env python3
"""Plays tests/peer.py, which was written from man/scat-protocol.7, against the binary.

    tests/peer_test.py target/release/scat

It takes two minutes, because a connector starts its first exchange after 120 seconds; the other
tests run meanwhile.
"""

import filecmp
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

try:
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey

    MLKEM768PrivateKey.generate()
except Exception as reason:
    print(f"SKIPPED: peer_test.py needs the Python package cryptography, 48 or later: {reason}")
    sys.exit(0)

import peer

SCAT = [os.path.abspath(sys.argv[1])] if len(sys.argv) == 2 else sys.exit(__doc__)
PYTHON = [sys.executable, os.path.abspath(peer.__file__)]
CHACHA = [*PYTHON, "--chacha"]
PAIRS = [pair for python in (PYTHON, CHACHA) for pair in ((SCAT, python), (python, SCAT))]
LOOPBACK, EMPTY = "127.0.0.1", "empty"
MANY = 1100 * 65277  # bytes that need more than 1024 frames, however long these are


class End:
    """One process: the binary or the peer."""

    started = []

    def __init__(self, command, *arguments, source=os.devnull):
        """`source` is the path of its standard input, or subprocess.PIPE."""
        if command == SCAT:
            command = [*SCAT, "-v"]  # with keys it would print nothing
        self.log, self.out = "", tempfile.NamedTemporaryFile(dir=".", delete=False)
        self.process = subprocess.Popen(
            [*command, *arguments],
            stdin=source if source == subprocess.PIPE else open(source),
            stdout=self.out,
            stderr=subprocess.PIPE,
            text=True,
        )
        End.started.append(self.process)

    def wait_for(self, pattern):
        """Returns the match in the next line that has one."""
        for line in self.process.stderr:
            self.log += line
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"no {pattern} in: {self.log}")

    def ends_with(self, status):
        if self.process.stdin:
            self.process.stdin.close()
        self.log += self.process.stderr.read()
        code = self.process.wait()
        assert code == status, f"status {code} and not {status}: {self.log}"

    def wrote(self, path):
        return filecmp.cmp(self.out.name, path, shallow=False)


def listening(command, *arguments, source=os.devnull):
    end = End(command, "-l", *arguments, LOOPBACK, "0", source=source)
    return end, (LOOPBACK, end.wait_for(r"listening on .* port (\d+)")[1])


def meet(listener, connector, to_listener, to_connector):
    """Checks that both succeed and received the other's input, and that the binary shows the
    peer's words: both halves, or only its own if it verifies by key or PSK."""
    connector.ends_with(0)  # first, because a listener may go on listening
    listener.ends_with(0)
    assert listener.wrote(to_listener) and connector.wrote(to_connector), "data"
    binary, other = sorted((listener, connector), key=lambda end: "peer: " in end.log)
    own, second = re.findall(r"half: (.*?) \(", other.log)[:: 1 if binary is listener else -1]
    verifies = {"--peer", "--psk"} & set(binary.process.args)
    assert own in binary.log and (verifies or second in binary.log), binary.log + other.log


def random_file(name, size):
    with open(name, "wb") as file:
        file.write(os.urandom(size))
    return name


def genkey(name):
    """Makes a key file; returns it and the public key that the binary prints."""
    printed = subprocess.check_output([*SCAT, "--genkey", name], text=True)
    return name, printed.strip().splitlines()[-1]


def genpsk(name):
    subprocess.check_call([*SCAT, "--genpsk", name], stdout=subprocess.DEVNULL)
    return name


# Process against process


def both_roles_with_and_without_psk_and_identities():
    forth, back = random_file("forth", 3_000_000), random_file("back", 2_000_000)
    psk, (ann, ann_key), (bob, bob_key) = genpsk("psk"), genkey("ann"), genkey("bob")
    named = ["-i", ann, "--peer", bob_key], ["-i", bob, "--peer", ann_key]
    for first, second in PAIRS:
        for secret in [], ["--psk", psk]:
            for ann_says, bob_says in ([], []), named:
                listener, address = listening(first, *secret, *ann_says, source=back)
                connector = End(second, *secret, *bob_says, *address, source=forth)
                meet(listener, connector, forth, back)


def more_than_1024_frames_each_way():
    many, short = random_file("many", MANY), random_file("short", 3_000_000)
    for python in PYTHON, CHACHA:
        listener, address = listening(SCAT, source=many)
        connector = End(python, "--frame", "1000", *address, source=short)
        meet(listener, connector, short, many)
        listener, address = listening(python, "--frame", "1000", source=short)
        meet(listener, End(SCAT, *address, source=many), many, short)


def the_cipher_is_what_both_have():
    for first, second in PAIRS:
        listener, address = listening(first, *["-v"] * (first is SCAT))
        connector = End(second, *["-v"] * (second is SCAT), *address)
        meet(listener, connector, EMPTY, EMPTY)
        binary, other = sorted((listener, connector), key=lambda end: "peer: " in end.log)
        # Without instructions for AES, or without ring, both use the other cipher.
        is_aes = "frames under AESGCM" in other.log
        assert is_aes == ("cipher: AES-256-GCM" in binary.log), binary.log + other.log
        assert not (is_aes and CHACHA in (first, second)), other.log


def a_listener_answers_the_peers_exchanges():
    back = random_file("back2", 5_000_000)
    # A listener accepts 16 exchanges at once, then one per second; these are fewer.
    for python, frames, exchanges in (PYTHON, 300, 3), (CHACHA, 500, 3), (PYTHON, 1500, 2):
        part = frames * 1000
        forth = random_file("forth2", exchanges * part)
        listener, address = listening(SCAT, source=back)
        options = ["--frame", "1000", "--ratchet", str(frames)]
        connector = End(python, *options, *address, source=subprocess.PIPE)
        with open(forth, "rb") as file:
            for _ in range(exchanges):
                connector.process.stdin.buffer.write(file.read(part))
                connector.process.stdin.flush()
                connector.wait_for("received REKEY2")
        meet(listener, connector, forth, back)


def a_connector_starts_an_exchange_after_120_seconds():
    """Yields once, for the time that it waits."""
    listener, address = listening(PYTHON, source=subprocess.PIPE)
    connector = End(SCAT, *address, source=subprocess.PIPE)
    lines = ["under the old keys\n", "under the new keys\n"]
    for line in lines:
        for end in listener, connector:
            end.process.stdin.write(line)
            end.process.stdin.flush()
        if line is lines[0]:
            yield
            listener.wait_for("received REKEY3")
    for end in listener, connector:
        end.process.stdin.close()
    with open("lines", "w") as file:
        file.writelines(lines)
    meet(listener, connector, "lines", "lines")


def different_psks_end_with_4_and_the_listener_goes_on():
    ours, theirs = ["--psk", genpsk("ours")], ["--psk", genpsk("theirs")]
    for first, second in (SCAT, PYTHON), (PYTHON, SCAT):
        for wrong in theirs, []:
            listener, address = listening(first, *ours)
            End(second, *wrong, *address).ends_with(4)
            meet(listener, End(second, *ours, *address), EMPTY, EMPTY)
        listener, address = listening(first)
        End(second, *ours, *address).ends_with(4)
        meet(listener, End(second, *address), EMPTY, EMPTY)


def a_refused_key_ends_with_4_and_the_listener_goes_on():
    (cleo, cleo_key), (dora, dora_key) = genkey("cleo"), genkey("dora")
    for first, second in PAIRS:
        listener, address = listening(first, "-i", cleo, "--peer", dora_key)
        End(second, *address).ends_with(4)  # the listener refuses
        End(second, "-i", cleo, *address).ends_with(4)  # the listener's own key
        End(second, "-i", dora, "--peer", dora_key, *address).ends_with(4)  # its own key
        known = End(second, "-i", dora, "--peer", cleo_key, *address)
        meet(listener, known, EMPTY, EMPTY)


def an_interrupted_binary_ends_the_peer_with_6():
    for first, second in (SCAT, PYTHON), (PYTHON, SCAT):
        listener, address = listening(first, source=subprocess.PIPE)
        connector = End(second, *address, source=subprocess.PIPE)
        binary, other = (listener, connector) if first is SCAT else (connector, listener)
        other.wait_for("half")
        binary.process.send_signal(signal.SIGTERM)
        other.ends_with(6)
        assert "ABORT 5" in other.log, other.log


# The binary against a peer that breaks the rules


def receive(sock, session):
    """Reads up to ABORT, and closes; returns the status with which the peer would end."""
    try:
        while data := sock.recv(1 << 16):
            list(session.receive(data))
    except SystemExit as end:
        return end.code
    finally:
        sock.close()


def hostile_connector(source=subprocess.PIPE):
    binary, address = listening(SCAT, source=source)
    sock, session = peer.connect(address, peer.Side())
    while not session.opened:
        list(session.receive(sock.recv(1 << 16)))
    return binary, sock, session


def hostile_listener():
    """Returns a hostile listener before OPEN, and its opening."""
    with socket.create_server((LOOPBACK, 0)) as server:
        binary = End(SCAT, LOOPBACK, str(server.getsockname()[1]), source=subprocess.PIPE)
        sock, _ = server.accept()
    session, n_l = peer.answer(sock, peer.Side())
    session.opened = True
    return binary, sock, session, n_l


def a_stream_cut_short_ends_with_6():
    frames = [(peer.DATA, b"all there is"), (peer.EOF, b""), (peer.DONE, b"")]
    for count in 0, 1, 2, 3:
        binary, sock, session = hostile_connector()
        for frame in frames[:count]:
            session.send(*frame)
        if count == 3:  # DONE must follow the binary's EOF; its last byte is missing
            binary.process.stdin.close()
            while peer.EOF not in session.received:
                list(session.receive(sock.recv(1 << 16)))
            session.outbox.pop()
        sock.sendall(session.outbox)
        sock.shutdown(socket.SHUT_WR)
        binary.ends_with(6)
        with open(binary.out.name, "rb") as out:
            assert out.read() == (b"all there is" if count else b"")


def a_changed_frame_ends_with_5_and_abort_3():
    for position in 0, 1, 2, 100, -1:
        binary, sock, session = hostile_connector()
        session.send(peer.DATA, b"authentic")
        authentic = len(session.outbox)
        session.send(peer.DATA, bytes(66000 - 1000))
        session.outbox[position if position < 0 else authentic + position] ^= 1
        session.outbox += bytes(65536)  # enough bytes for a longer len
        sock.sendall(session.outbox)
        assert receive(sock, session) == 5
        binary.ends_with(5)
        with open(binary.out.name, "rb") as out:
            assert out.read() == b"authentic"


def frames_out_of_place_end_with_5_and_abort_3():
    exchange = "a good REKEY1"
    from_connector = [
        [(peer.OPEN, bytes(32))],
        [(peer.EOF, b""), (peer.DATA, b"")],
        [(peer.EOF, b""), (peer.EOF, b"")],
        [(peer.DONE, b"")],
        [(peer.REKEY1, bytes(1248))],
        [(peer.REKEY2, bytes(1152))],
        [(peer.REKEY3, b"")],
        [exchange, (peer.REKEY1, bytes(1248))],
        [(peer.EOF, b"x")],
        [(peer.ABORT, b"")],
        [(8, b"")],
    ]
    for frames in from_connector:
        binary, sock, session = hostile_connector()
        for frame in frames:
            if frame is exchange:
                session.start_exchange_if_due(0)
            else:
                session.send(*frame)
        sock.sendall(session.outbox)
        assert receive(sock, session) == 5, frames
        binary.ends_with(5)
    from_listener = [
        [(peer.DATA, b"")],
        [(peer.OPEN, bytes(32))],
        [(peer.OPEN, None), (peer.OPEN, None)],
        [(peer.OPEN, None), (peer.REKEY1, bytes(1248))],
        [(peer.OPEN, None), (peer.REKEY2, bytes(1152))],
        [(peer.OPEN, None), (peer.DONE, b"")],
    ]
    for frames in from_listener:
        binary, sock, session, n_l = hostile_listener()
        for kind, content in frames:
            session.send(kind, n_l if content is None else content)
        sock.sendall(session.outbox)
        assert receive(sock, session) == 5, frames
        binary.ends_with(5)


def len_and_clen_out_of_range_end_with_5_and_abort_3():
    def raw(session, plaintext):
        ciphertext = session.sender.crypt("encrypt", plaintext)
        return len(ciphertext).to_bytes(2, "big") + ciphertext

    for plaintext in b"\0\0", b"\0\0\1", b"\0\xff\xff" + bytes(253):
        binary, sock, session = hostile_connector()
        sock.sendall(raw(session, plaintext))
        assert receive(sock, session) == 5, plaintext
        binary.ends_with(5)


def padding_and_empty_data_mean_nothing():
    binary, sock, session = hostile_connector(os.devnull)
    for plaintext in b"\0\0\0", b"\0\0\4bare", b"\0\0\5 full" + b"\xff" * 65511, b"\1\0\0":
        ciphertext = session.sender.crypt("encrypt", plaintext)
        sock.sendall(len(ciphertext).to_bytes(2, "big") + ciphertext)
    while session.received != {peer.EOF, peer.DONE}:
        session.sent.add(peer.EOF)
        list(session.receive(sock.recv(1 << 16)))
    session.outbox.clear()
    session.send(peer.DONE)
    sock.sendall(session.outbox)
    peer.close(sock)
    binary.ends_with(0)
    with open(binary.out.name, "rb") as out:
        assert out.read() == b"bare full"


def each_abort_code_has_its_status():
    for code, status in [*peer.STATUS.items(), (0, 5), (9, 5)]:
        binary, sock, session = hostile_connector()
        session.send(peer.ABORT, bytes([code]))
        sock.sendall(session.outbox)
        peer.close(sock)
        binary.ends_with(status)


def prefaces_are_answered_as_the_page_says():
    without, with_psk = peer.Side(), peer.Side(psk=bytes(32))
    answers = [
        (without, b"GET / HTTP/1.1\r\n", b""),
        (without, b"SCAT2C\0\n", without.preface(b"L")),
        (without, b"SCAT1L\0\n", without.preface(b"L")),
        (without, b"SCAT1C\1\n", without.preface(b"L")),
        (without, b"SCAT1C\x08\n", without.preface(b"L")),
        (without, b"SCAT1C\0\r", without.preface(b"L")),
        (without, without.preface(b"C") + bytes(1216), b""),
        (with_psk, without.preface(b"C"), with_psk.preface(b"L")),
        (with_psk, with_psk.preface(b"C") + bytes(1248), with_psk.preface(b"L")),
    ]
    psk = genpsk("unused")
    for side, sent, expected in answers:
        binary, address = listening(SCAT, *(["--psk", psk] if side.psk else []))
        with socket.create_connection(address) as sock:
            sock.sendall(sent)
            assert sock.makefile("rb").read() == expected, sent
        binary.process.send_signal(signal.SIGTERM)
        binary.ends_with(-signal.SIGTERM)


def a_foreign_preface_ends_the_connector_with_3_or_4():
    for preface, status in [
        (b"SCAT2L\0\n", 4),
        (b"SCAT1C\0\n", 4),
        (b"SCAT1L\1\n", 4),
        (b"SCAT1L\2\n", 4),
        (b"SSH-2.0-", 3),
        (b"", 3),
    ]:
        with socket.create_server((LOOPBACK, 0)) as server:
            binary = End(SCAT, LOOPBACK, str(server.getsockname()[1]))
            sock, _ = server.accept()
            sock.sendall(preface)
            peer.close(sock)
        binary.ends_with(status)


def an_id_with_a_bit_that_was_not_offered_ends_the_connector_with_3():
    for bit in peer.RECONNECTION, 8, 0x80:
        side = peer.Side()
        side.id |= bit
        with socket.create_server((LOOPBACK, 0)) as server:
            binary = End(SCAT, LOOPBACK, str(server.getsockname()[1]))
            sock, _ = server.accept()
        try:
            peer.answer(sock, side)
            raise AssertionError(f"flight 3 after id {side.id}")
        except SystemExit:
            sock.close()
        binary.ends_with(3)


TESTS = [
    both_roles_with_and_without_psk_and_identities,
    the_cipher_is_what_both_have,
    more_than_1024_frames_each_way,
    a_listener_answers_the_peers_exchanges,
    different_psks_end_with_4_and_the_listener_goes_on,
    a_refused_key_ends_with_4_and_the_listener_goes_on,
    an_interrupted_binary_ends_the_peer_with_6,
    a_stream_cut_short_ends_with_6,
    a_changed_frame_ends_with_5_and_abort_3,
    frames_out_of_place_end_with_5_and_abort_3,
    len_and_clen_out_of_range_end_with_5_and_abort_3,
    padding_and_empty_data_mean_nothing,
    each_abort_code_has_its_status,
    prefaces_are_answered_as_the_page_says,
    a_foreign_preface_ends_the_connector_with_3_or_4,
    an_id_with_a_bit_that_was_not_offered_ends_the_connector_with_3,
]

if __name__ == "__main__":
    peer.say = lambda text: None  # silences the hostile peers, which run in this process
    for stop in signal.SIGALRM, signal.SIGTERM:
        signal.signal(stop, signal.default_int_handler)
    signal.alarm(600)  # nothing here may hang
    os.chdir(directory := tempfile.mkdtemp())
    try:
        random_file(EMPTY, 0)
        waiting = a_connector_starts_an_exchange_after_120_seconds()
        next(waiting)
        for test in TESTS:
            test()
            print("ok", test.__name__.replace("_", " "), flush=True)
        for _ in waiting:
            pass
        print("ok a connector starts an exchange after 120 seconds")
    finally:
        for process in End.started:
            process.kill()
        shutil.rmtree(directory)
