"""Ends that listen, on Unix sockets and on TLS, for tests of what holds on both."""

import contextlib
import socket
import ssl
import struct
import tempfile
import time
from pathlib import Path

from cryptography.hazmat.primitives import serialization as s
from twisted.internet.defer import ensureDeferred

from twistcluster.net.link import Link
from twistcluster.net.tls.authority import Authority
from twistcluster.net.tls.certificates import make_key, public_bytes
from twistcluster.net.tls.ends import ClientEnd, ServerEnd
from twistcluster.net.tls.identity import Identity
from twistcluster.net.tls.links import connect_tls, listen_tls
from twistcluster.net.unix import connect, listen
from twistcluster.wire.codec import Codec
from twistcluster.wire.messages import Answer, Ask, Blob, Hello, Results, SchedulerToClient, Welcome

HELLO = Hello(1, "client", "3.11", "0", "p", 1, "h", 1)
DOWN = Codec(SchedulerToClient)


def serve(link, message, buffers):
    match message:
        case Hello():
            link.send(Welcome("e", "c", "n", "3.11", "0"))
        case Blob():
            link.send(Results(1, 0, 1, 0), buffers)
        case Ask(request):
            link.send(Answer(request))


class Server:
    """One that listens on a Unix socket, and those who connect to it."""

    def __init__(self, steps, make_owner, folder, **options):
        self.steps = steps
        self.make_owner = make_owner
        self.owner = make_owner(serve)
        self.port = self.listen(folder, **options)

    def listen(self, folder, **options):
        self.path = f"{folder}/s"
        return listen(self.steps.reactor, self.path, self.owner, self.steps.turn, **options)

    def connect(self, link):
        return connect(self.steps.reactor, self.path, link)

    def client(self, hello=HELLO):
        owner = self.make_owner()
        link = Link(owner, self.steps.turn, self.steps.reactor, DOWN)
        if hello is not None:
            link.send(hello)
        self.steps.result(self.connect(link))
        if hello is not None:
            self.steps.until(lambda: owner.messages or owner.lost)
        return link, owner

    def raw(self):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(self.path)
        sock.setblocking(False)
        return Raw(sock, self.steps)


class TlsServer(Server):
    """The same on TLS."""

    def listen(self, folder):
        self.authority = Authority.open(Path(folder) / "authority", "lab", time.time())
        self.end = ServerEnd(self.member("scheduler"), lambda serial: False)
        return listen_tls(self.steps.reactor, "127.0.0.1", 0, self.owner, self.steps.turn, self.end)

    def member(self, role, authority=None):
        authority = authority or self.authority
        key = make_key()
        return Identity.made(key, authority.issue(public_bytes(key), role, "box", time.time()), authority.certificate)

    def connect(self, link, role="client"):
        port = self.port.getHost().port
        end = ClientEnd(self.member(role))
        return ensureDeferred(connect_tls(self.steps.reactor, "127.0.0.1", port, link, end))

    def raw(self, role="client"):
        sock = socket.create_connection(("127.0.0.1", self.port.getHost().port))
        sock.setblocking(False)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if role:
            load(context, self.member(role))
        sock = context.wrap_socket(sock, do_handshake_on_connect=False)
        self.steps.until(lambda: goes(sock.do_handshake))
        return Raw(sock, self.steps)


def goes(call):
    """Whether something of TLS could be done, without waiting."""
    try:
        call()
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return False
    return True


def load(context, identity):
    """A context of the standard library takes keys from files only."""
    pem = s.Encoding.PEM
    with tempfile.NamedTemporaryFile() as file:
        file.write(identity.key.private_bytes(pem, s.PrivateFormat.PKCS8, s.NoEncryption()))
        file.write(identity.certificate.public_bytes(pem))
        file.flush()
        context.load_cert_chain(file.name)


class Raw:
    """A peer that says what it likes, and hears frames of one message each."""

    def __init__(self, sock, steps):
        self.sock, self.steps, self.data = sock, steps, b""

    def say(self, data):
        with contextlib.suppress(ConnectionError):
            self.sock.sendall(data)
        return self

    def heard(self):
        """Everything until the other end closes."""

        def ended():
            try:
                while chunk := self.sock.recv(65536):
                    self.data += chunk
            except (BlockingIOError, ssl.SSLWantReadError):
                return False
            except (ConnectionError, ssl.SSLError):
                pass
            self.sock.close()
            return True

        self.steps.until(ended)
        found = []
        data = self.data
        while data:
            head, buffers = struct.unpack_from("<II", data)
            assert buffers == 0
            found.append(DOWN.decode((data[8 : 8 + head], []))[0])
            data = data[8 + head :]
        return found
