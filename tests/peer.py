#!/usr/bin/env python3
"""A second scat, written from man/scat-protocol.7 alone.

Comments in capitals name sections of the page. It is for tests: one handshake at a time, no
confirm policy, keys stay in memory. Needs the package cryptography, 48 or later, for ML-KEM.
"""

import argparse
import base64
import hashlib
import hmac
import os
import re
import select
import socket
import sys
from time import monotonic

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

def say(text):
    print("peer:", text, file=sys.stderr, flush=True)

def fail(status, text):
    say(text)
    sys.exit(status)  # one of scat(1)

# NOTATION: Primitives
def HASH(data):
    return hashlib.blake2s(data).digest()

def HKDF(ck, ikm, n):
    key, outputs = hmac.digest(ck, ikm, "blake2s"), [b""]
    for i in range(1, n + 1):
        outputs.append(hmac.digest(key, outputs[-1] + bytes([i]), "blake2s"))
    return outputs[1:]

class CipherState:
    """AEAD; AEAD-F may have another cipher, and the counter in another order."""
    def __init__(self, key, cipher=ChaCha20Poly1305, order="little"):
        self.cipher, self.order, self.aead, self.n = cipher, order, cipher(key), 0

    def crypt(self, verb, data, ad=b""):
        result = getattr(self.aead, verb)(bytes(4) + self.n.to_bytes(8, self.order), data, ad)
        self.n += 1
        if self.n % 1024 == 0:  # TRANSPORT: Symmetric rekey; no handshake gets this far
            k = self.aead.encrypt(bytes(4) + b"\xff" * 8, bytes(32), b"")[:32]
            self.aead = self.cipher(k)
        return result

# NOTATION: Noise
PATTERNS = {
    "P0": ("XXhfs", ["e e1", "e ee ekem1 s es", "s se"]),
    "P1": ("XXhfs+psk0", ["psk e e1", "e ee ekem1 s es", "s se"]),
    "PR": ("NNhfs+psk0", ["psk e e1", "e ee ekem1"]),
}
PUBLIC = {"e": X25519PublicKey, "e1": MLKEM768PublicKey, "s": X25519PublicKey}
SIZE, TAG = {"e": 32, "e1": 1184, "ekem1": 1088, "s": 32}, 16
SEALED, WRONG = ("e1", "ekem1", "s"), (InvalidTag, ValueError)

class Noise:
    """HandshakeState and SymmetricState of one side."""
    def __init__(self, pattern, role, prologue, psk, static=None):
        name, messages = PATTERNS[pattern]
        self.role, self.psk, self.messages, self.cipher = role, psk, iter(messages), None
        e, e1 = X25519PrivateKey.generate(), MLKEM768PrivateKey.generate()
        self.own, self.their = {"e": e, "e1": e1, "s": static}, {}  # keys by token
        self.ck = self.h = HASH(f"Noise_{name}_25519+MLKEM768_ChaChaPoly_BLAKE2s".encode())
        self.mix_hash(prologue)

    def mix_hash(self, data):
        self.h = HASH(self.h + data)

    def mix_key(self, ikm):
        self.ck, key = HKDF(self.ck, ikm, 2)
        self.cipher = CipherState(key)

    def crypt_and_hash(self, verb, data):
        result = self.cipher.crypt(verb, data, self.h) if self.cipher else data
        self.mix_hash(result if verb == "encrypt" else data)
        return result

    def mix_e(self, public):
        self.mix_hash(public)
        if self.psk:
            self.mix_key(public)
        return public

    def mix(self, token):
        """Handles a token that sends nothing. ValueError if DH gives zeros."""
        if token == "psk":  # MixKeyAndHash
            self.ck, data, key = HKDF(self.ck, self.psk, 3)
            self.mix_hash(data)
            self.cipher = CipherState(key)
        else:  # first C's key, then L's
            own, their = token if self.role == "C" else reversed(token)
            self.mix_key(self.own[own].exchange(self.their[their]))

    def write(self, payload=b""):
        message = b""
        for token in next(self.messages).split():
            if token in PUBLIC:
                key = self.own[token].public_key().public_bytes_raw()
                message += self.mix_e(key) if token == "e" else self.crypt_and_hash("encrypt", key)
            elif token == "ekem1":
                secret, ciphertext = self.their["e1"].encapsulate()
                message += self.crypt_and_hash("encrypt", ciphertext)
                self.mix_key(secret)
            else:
                self.mix(token)
        return message + self.crypt_and_hash("encrypt", payload)

    def read(self, message):
        """Returns the payload; raises an exception of WRONG if anything is wrong."""
        for token in next(self.messages).split():
            size = SIZE.get(token, 0) + (TAG if token in SEALED and self.cipher else 0)
            part, message = message[:size], message[size:]
            if token in PUBLIC:
                key = self.mix_e(part) if token == "e" else self.crypt_and_hash("decrypt", part)
                self.their[token] = PUBLIC[token].from_public_bytes(key)
            elif token == "ekem1":
                self.mix_key(self.own["e1"].decapsulate(self.crypt_and_hash("decrypt", part)))
            else:
                self.mix(token)
        return self.crypt_and_hash("decrypt", message)

# HANDSHAKE
AES, RECONNECTION = 2, 4  # bits that C's preface offers and the id of flight 2 chooses

class Side:
    """The settings of one side: its identity, the PSK, keys to accept, and what it offers or
    would choose."""
    def __init__(self, identity=None, psk=None, peers=None, features=AES):
        self.static = X25519PrivateKey.from_private_bytes(identity or os.urandom(32))
        self.id, self.psk, self.peers = int(bool(identity)), psk, peers
        self.features = features

    def preface(self, role, offered=0):
        return b"SCAT1" + role + bytes([bool(self.psk) | offered]) + b"\n"

    def noise(self, role, offered):
        prologue = self.preface(b"C", offered) + self.preface(b"L")
        return Noise("P1" if self.psk else "P0", role, prologue, self.psk, self.static)

    def read(self, noise, flight, offered=0):
        """Returns the 32 bytes after id, what was chosen, and whether to refuse the key."""
        try:
            payload = noise.read(flight)
        except WRONG:
            fail(3, "the handshake was altered")
        public = noise.their["s"].public_bytes_raw()
        if payload[0] & ~offered > 1 or public == self.static.public_key().public_bytes_raw():
            fail(4, "unknown id, or connected to itself")
        say(f"their key {base64.b64encode(public).decode()}, id {payload[0]}")
        return payload[1:], payload[0] & offered, self.peers and public not in self.peers

def take(sock, size, deadline, status=3):
    """Returns exactly `size` bytes; fails with `status` if the stream ends earlier."""
    data = b""
    while len(data) < size:
        sock.settimeout(max(deadline - monotonic(), 0.001))
        data += sock.recv(size - len(data)) or fail(status, "the other end hung up")
    return data

def connect(address, side):
    sock, deadline = socket.create_connection(address), monotonic() + 10
    noise = side.noise("C", side.features)
    sock.sendall(side.preface(b"C", side.features) + noise.write())
    h1, preface = noise.h, take(sock, 8, deadline)
    preface == side.preface(b"L") or fail(4 if preface[:4] == b"SCAT" else 3, f"preface {preface}")
    flight2 = take(sock, 1, deadline, 4 if side.psk else 3) + take(sock, 1241 - 9, deadline)
    commit, chosen, refused = side.read(noise, flight2, side.features)
    refused and fail(4, "the listener's key is not the one expected")
    sock.sendall(noise.write(bytes([side.id]) + os.urandom(32)))
    return sock, Session("C", noise, chosen, h1, commit)

def answer(sock, side):
    """Performs L's part of the handshake, before OPEN."""
    deadline, n_l = monotonic() + 10, os.urandom(32)
    preface = take(sock, 4, deadline)
    preface += take(sock, 4, deadline) if preface == b"SCAT" else fail(3, "does not speak scat")
    offered = preface[6] & (AES | RECONNECTION)  # as received; the rest is known
    if preface != side.preface(b"C", offered):
        sock.sendall(side.preface(b"L"))
        fail(4, f"preface {preface}")
    flight1, noise = take(sock, (1256 if side.psk else 1224) - 8, deadline), side.noise("L", offered)
    try:
        noise.read(flight1)
    except WRONG:
        sock.sendall(side.preface(b"L") if side.psk else b"")
        fail(4, "flight 1 is wrong")
    commit = HASH(b"scat/1 commit\0" + noise.h + n_l)
    chosen = offered & side.features
    sock.sendall(side.preface(b"L") + noise.write(bytes([side.id | chosen]) + commit))
    _n_c, _, refused = side.read(noise, take(sock, 97, deadline))
    session = Session("L", noise, chosen)
    if refused:
        session.send(ABORT, b"\1")
        sock.sendall(session.outbox)
        fail(4, "its key is not one of --peer")
    return session, n_l

def listen(address, side):
    with socket.create_server(address) as server:
        say("listening on {} port {}".format(*server.getsockname()))
        while True:
            sock, _ = server.accept()
            try:
                session, n_l = answer(sock, side)
                break
            except (SystemExit, OSError):
                close(sock)
    session.open(n_l)  # the one-reveal rule: nobody can connect any more
    session.send(OPEN, n_l)
    return sock, session

# SHORT AUTHENTICATION STRING
def halves(h3, n_l):
    """Returns both halves. A row of the page has 8 words of the even list, or 4 of the odd."""
    sas, lists = HASH(b"scat/1 sas\0" + h3 + n_l)[:6], {8: [], 4: []}
    page = open(os.path.join(os.path.dirname(__file__), "../man/scat-protocol.7")).read()
    for row in re.findall(r"^[0-9a-f]{2}((?: [a-z]+)+)$", page, re.MULTILINE):
        lists[row.count(" ")] += row.split()
    words = [lists[4 if offset % 2 else 8][byte] for offset, byte in enumerate(sas)]
    digits = [f"{int.from_bytes(half, 'big'):08}" for half in (sas[:3], sas[3:])]
    return [f"{' '.join(words[3 * i :][:3])} ({digits[i][:4]} {digits[i][4:]})" for i in (0, 1)]

# TRANSPORT
DATA, EOF, DONE, OPEN, REKEY1, REKEY2, REKEY3, ABORT = range(8)
CLEN = {EOF: 0, DONE: 0, OPEN: 32, REKEY1: 1248, REKEY2: 1152, REKEY3: 0, ABORT: 1}
SENDER = {OPEN: "L", REKEY1: "C", REKEY2: "L", REKEY3: "C"}
STATUS = {1: 4, 2: 7, 3: 5, 4: 6, 5: 6, 6: 7, 7: 6, 8: 4}  # of scat(1), by abort code
ROOM = 1 << 18  # no input is read while this many bytes of output wait

class Session:
    """The frames of one side. It has no socket: bytes to send wait in `outbox`."""
    def __init__(self, role, noise, chosen, h1=None, commit=None):
        self.role, self.h1, self.h3, self.commit = role, h1, noise.h, commit
        self.aead_f = (AESGCM, "big") if chosen & AES else ()
        self.sender, self.receiver = self.split4(noise)
        say("frames under " + (AESGCM if chosen & AES else ChaCha20Poly1305).__name__)
        self.inbox, self.outbox = bytearray(), bytearray()
        self.sent, self.received = set(), set()  # of EOF and DONE
        self.opened, self.since = False, monotonic()
        self.exchange = None  # C: the PR under way; L: the CipherState after REKEY3

    def split4(self, noise):
        k_c2l, k_l2c, self.rk, _kr = HKDF(noise.ck, b"", 4)
        self.hp, keys = noise.h, (k_c2l, k_l2c) if self.role == "C" else (k_l2c, k_c2l)
        return [CipherState(key, *self.aead_f) for key in keys]

    def finished(self):
        return self.sent == self.received == {EOF, DONE}

    def send(self, kind, content=b""):
        plaintext = bytes([kind]) + len(content).to_bytes(2, "big") + content
        ciphertext = self.sender.crypt("encrypt", plaintext + bytes(-len(plaintext) % 256))
        self.outbox += len(ciphertext).to_bytes(2, "big") + ciphertext
        self.sent |= {kind} & {EOF, DONE}

    def abort(self, code, status, text):
        self.send(ABORT, bytes([code]))
        fail(status, text)

    def insist(self, condition, what):
        condition or self.abort(3, 5, f"protocol error: {what}")

    def receive(self, data):
        """Takes bytes of the connection, and yields the content of each DATA frame."""
        self.inbox += data
        while len(self.inbox) >= 2 and not self.finished():
            end = 2 + int.from_bytes(self.inbox[:2], "big")
            self.insist(end >= 2 + 3 + TAG, "len")
            if len(self.inbox) < end:
                break
            try:
                plaintext = self.receiver.crypt("decrypt", bytes(self.inbox[2:end]))
                kind, clen = plaintext[0], int.from_bytes(plaintext[1:3], "big")
                self.insist(3 + clen <= len(plaintext), "clen")
                self.handle(kind, content := plaintext[3 : 3 + clen])
            except WRONG:
                self.insist(False, "forged frame or exchange")
            del self.inbox[:end]
            if kind == DATA:
                yield content

    def handle(self, kind, content):
        self.insist(kind <= ABORT and len(content) == CLEN.get(kind, len(content)), "type or clen")
        self.insist(SENDER.get(kind) != self.role, "sent by the wrong side")
        if kind == ABORT:
            fail(STATUS.get(content[0], 5), f"the other end sent ABORT {content[0]}")
        self.insist((kind == OPEN) != self.opened, "OPEN")
        if kind == OPEN:
            self.insist(HASH(b"scat/1 commit\0" + self.h1 + content) == self.commit, "opening")
            self.open(content)
        elif kind in (DATA, EOF):
            self.insist(EOF not in self.received, "after EOF")
        elif kind == DONE:
            self.insist(DONE not in self.received and EOF in self.sent, "DONE")
        else:
            self.ratchet(kind, content)
        self.received |= {kind} & {EOF, DONE}

    def open(self, n_l):
        self.opened, self.since = True, monotonic()
        say("listener half: {}, connector half: {}".format(*halves(self.h3, n_l)))

    # RATCHET
    def start_exchange_if_due(self, frames):
        """C starts one after 120 seconds or `frames` frames; 2^20 frames have < 2^36 bytes."""
        due = monotonic() >= self.since + 120 or max(self.sender.n, self.receiver.n) >= frames
        may = self.role == "C" and self.opened and not self.exchange and len(self.outbox) < ROOM
        if due and may and len(self.sent) < 2 and len(self.received) < 2:
            self.exchange = Noise("PR", "C", b"scat/1 rekey\0" + self.hp, self.rk)
            self.send(REKEY1, self.exchange.write())

    def ratchet(self, kind, content):
        self.insist((kind == REKEY1) == (self.exchange is None), "exchange out of order")
        self.insist(kind == REKEY3 or len(self.received) < 2, "exchange after EOF and DONE")
        if kind == REKEY1 and len(self.sent) < 2:
            pr = Noise("PR", "L", b"scat/1 rekey\0" + self.hp, self.rk)
            pr.read(content)
            self.send(REKEY2, pr.write())
            self.sender, self.exchange = self.split4(pr)
        elif kind == REKEY2:
            self.exchange.read(content)
            self.send(REKEY3)
            self.sender, self.receiver = self.split4(self.exchange)
            self.exchange, self.since = None, monotonic()
        elif kind == REKEY3:
            self.receiver, self.exchange = self.exchange, None
        say(f"received REKEY{kind - REKEY1 + 1}")

# ENDING
def converse(sock, session, frames=2**20, size=65277):
    """Carries standard input and output until both ends are finished."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setblocking(False)
    while not session.finished():  # close() writes the rest, less than 1 KiB
        wait = session.since + (120 if session.opened else 10) - monotonic()
        if not session.opened and wait <= 0:
            session.abort(4, 6, "no OPEN")
        session.start_exchange_if_due(frames)
        reads = session.opened and EOF not in session.sent and len(session.outbox) < ROOM
        ins, outs = [sock, 0] if reads else [sock], [sock] if session.outbox else []
        ins, outs, _ = select.select(ins, outs, [], max(wait, 1))
        try:
            del session.outbox[: sock.send(session.outbox) if outs else 0]
        except OSError:
            pass  # the peer's reason may still arrive
        if 0 in ins:
            session.send(DATA if (data := os.read(0, size)) else EOF, data)
        if sock in ins:
            data = sock.recv(1 << 18) or fail(6, "cut off")
            for content in session.receive(data):
                try:
                    sys.stdout.buffer.write(content)
                    sys.stdout.flush()
                except OSError as error:
                    end = (2, 7) if isinstance(error, BrokenPipeError) else (6, 1)
                    session.abort(*end, f"standard output: {error}")
            if EOF in session.received and DONE not in session.sent:
                os.close(1)
                session.send(DONE)

def close(sock, outbox=b""):
    deadline = monotonic() + 2
    try:
        sock.settimeout(2)
        sock.sendall(outbox)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1 << 16):
            sock.settimeout(max(deadline - monotonic(), 0.001))
    except OSError:
        pass  # the peer is gone, or does not end
    sock.close()

# KEY FILES
def key(text, kind):  # 32 bytes in base64, perhaps after comment lines and `scat-KIND:`
    text = "".join(line for line in text.splitlines() if not line.startswith("#"))
    data = base64.b64decode(text := text.removeprefix(f"scat-{kind}:").strip())
    canonical = len(data) == 32 and base64.b64encode(data).decode() == text
    return data if canonical else fail(1, f"not a {kind} key")

def key_file(path, kind):
    os.stat(path).st_mode & 0o077 and fail(1, f"{path}: other users can read or write this file")
    return key(open(path).read(), kind)

if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("-l", dest="open", action="store_const", const=listen, default=connect)
    options.add_argument("-i", metavar="FILE", type=lambda path: key_file(path, "secret"))
    options.add_argument("--psk", metavar="FILE", type=lambda path: key_file(path, "psk"))
    options.add_argument("--peer", metavar="KEY", type=lambda text: [key(text, "public")])
    options.add_argument("--chacha", action="store_true", help="frames under ChaCha20-Poly1305")
    options.add_argument("--ratchet", metavar="FRAMES", type=int, default=2**20)
    options.add_argument("--frame", metavar="BYTES", type=int, default=65277)
    options.add_argument("host")
    options.add_argument("port", type=int)
    args = options.parse_args()
    session = None
    side = Side(args.i, args.psk, args.peer, 0 if args.chacha else AES)
    try:
        connection, session = args.open((args.host, args.port), side)
        converse(connection, session, args.ratchet, args.frame)
    except OSError as error:
        fail(6 if session else 3, error)
    finally:
        session and close(connection, session.outbox)
