"""A client for tests that speaks the protocol over a blocking socket, knows nothing else, and may misbehave."""

import os
import platform
import socket
import time
import uuid

from tests.tools import until
from twistcluster.wire import limits
from twistcluster.wire.codec import Codec
from twistcluster.wire.frames import FrameDecoder
from twistcluster.wire.messages import PROTOCOL, Answer, Ask, Declined, Hello, SchedulerToClient, Status, Welcome

CODEC = Codec(SchedulerToClient)
PYTHON = ".".join(platform.python_version_tuple()[:2])


def hello(**said):
    usual = {
        "protocol": PROTOCOL,
        "role": "client",
        "python": PYTHON,
        "version": "0",
        "process": uuid.uuid4().hex,
        "link": 1,
        "host": "here",
        "pid": os.getpid(),
        "name": "plain",
    }
    return Hello(**(usual | said))


class Plain:
    """A link to a cluster's socket."""

    def __init__(self, path: str, timeout: float = 60.0) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(timeout)
        try:
            until(lambda: self.connects(str(path)), timeout, "a connection")
        except BaseException:
            self.sock.close()
            raise
        self.decoder = FrameDecoder(limits.FRAME_BYTES)
        self.waiting = []
        self.timeout = timeout
        self.requests = 0

    def connects(self, path):
        """Whether it is connected now; False: the listener's queue is full."""
        try:
            self.sock.connect(path)
        except BlockingIOError:
            return False
        return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def say(self, message, buffers=()):
        self.raw(b"".join(CODEC.encode(message, buffers)))

    def raw(self, data):
        self.sock.sendall(data)

    def hear(self):
        """The next message; None: the other end has closed."""
        deadline = time.monotonic() + self.timeout
        while not self.waiting:
            assert time.monotonic() < deadline, "nothing was said"
            try:
                data = self.sock.recv(1 << 20)
            except ConnectionError:
                return None
            if not data:
                return None
            self.waiting += [CODEC.decode(frame) for frame in self.decoder.feed(data)]
        message, self.buffers = self.waiting.pop(0)
        return message

    def hear_all(self):
        """Everything until the other end closes."""
        heard = []
        while (message := self.hear()) is not None:
            heard.append(message)
        return heard

    def greet(self, **said) -> Welcome:
        self.say(hello(**said))
        return self.hear()

    def ask(self, question):
        self.requests += 1
        self.say(Ask(self.requests, question))
        while True:
            answer = self.hear()
            assert answer is not None, "the link was closed"
            if isinstance(answer, Answer | Declined) and answer.request == self.requests:
                return answer

    def status(self):
        return self.ask(Status()).status


def welcomed(path, **said) -> Plain:
    plain = Plain(path)
    assert isinstance(plain.greet(**said), Welcome)
    return plain
