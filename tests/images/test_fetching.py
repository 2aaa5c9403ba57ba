"""Pictures from the web: limits hold whatever a server does, and errors say what to do, and no secret."""

import contextlib
import socket
import threading
import time

import pytest

from twistcluster import errors
from twistcluster.images.fetching import fetched, shown
from twistcluster.images.source import Url
from twistcluster.images.sources import Options

DRIP_S = 0.05


class Server:
    """Answers each connection with what a function sends."""

    def __init__(self, answer):
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/a.jpg"
        self._over = threading.Event()
        self._open = []
        self._threads = [threading.Thread(target=self._serve)]
        self.asked = 0

    def __enter__(self):
        self._threads[0].start()
        return self

    def __exit__(self, *_):
        self._over.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for each in self._threads:
            each.join()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                one, _ = self._listening.accept()
                self._open.append(one)
                self._threads.append(threading.Thread(target=self._one, args=(one,)))
                self._threads[-1].start()

    def _one(self, one):
        with contextlib.suppress(OSError):
            while one.recv(10_000):
                self.asked += 1
                self._answer(self, one)

    def drip(self, one, part):
        """The same again and again."""
        while not self._over.wait(DRIP_S):
            one.sendall(part)


HEAD = b"HTTP/1.1 200 OK\r\n"
DRIPS = {
    "head": lambda server, one: (one.sendall(HEAD + b"x: "), server.drip(one, b"a")),
    "heads": lambda server, one: (one.sendall(HEAD), server.drip(one, b"x: y\r\n")),
    "again": lambda server, one: server.drip(one, b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": lambda server, one: (one.sendall(HEAD + b"content-length: 60000\r\n\r\n"), server.drip(one, b"a")),
    "chunks": lambda server, one: (
        one.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n"),
        server.drip(one, b"1\r\na\r\n"),
    ),
    "endless": lambda server, one: (one.sendall(HEAD + b"connection: close\r\n\r\n"), server.drip(one, b"a")),
    "moved": lambda server, one: (
        one.sendall(b"HTTP/1.1 302 Found\r\nlocation: /b.jpg\r\ncontent-length: 60000\r\n\r\n"),
        server.drip(one, b"a"),
    ),
}


@pytest.mark.parametrize("how", DRIPS)
@pytest.mark.timeout(20)
def test_a_server_that_sends_a_byte_now_and_then_holds_nobody_up(how):
    with Server(DRIPS[how]) as server:
        began = time.monotonic()
        with pytest.raises(errors.PictureUnreadable, match=r"timed out.*allow more time by images\(…, timeout=…\)"):
            fetched(server.url, "a", 0.3, 1 << 20)
        took = time.monotonic() - began
    if how in {"body", "chunks", "endless"}:
        assert 1.2 <= took < 2.5
    else:
        assert 0.3 <= took < 1.1


def test_a_connection_is_kept_and_a_later_one_has_its_own_time():
    def answer(server, one):
        server._over.wait(0.4)  # longer than half of the time of each
        one.sendall(HEAD + b"content-length: 3\r\n\r\nabc")

    with Server(answer) as server:
        assert [fetched(server.url, "a", 0.7, 100) for _ in range(3)] == [b"abc"] * 3
        assert len(server._open) == 1 and server.asked == 3


STATUS = [
    (b"404 Not Found", "404 Not Found; check the address"),
    (b"403 Forbidden", "403 Forbidden; it isn't open to everybody"),
    (b"503 Busy\r\nretry-after: 100", "503 Busy; try again later"),
    (b"300 Many", "300 Many; check the address"),
]


@pytest.mark.parametrize(("status", "text"), STATUS)
def test_an_answer_that_is_an_error_says_what_to_do(status, text):
    def answer(_, one):
        one.sendall(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\n\r\n")

    with Server(answer) as server, pytest.raises(errors.PictureUnreadable, match=text):
        fetched(server.url, "a", 2, 100)


def test_what_breaks_off_or_isn_t_there():
    def answer(_, one):
        one.sendall(HEAD + b"content-length: 9\r\n\r\nabc")
        one.shutdown(socket.SHUT_RDWR)

    with Server(answer) as server, pytest.raises(errors.PictureUnreadable, match=r"the answer breaks off.*try again"):
        fetched(server.url, "a", 2, 100)
    with pytest.raises(errors.PictureUnreadable, match="refused; check the address, and whether"):
        fetched(server.url, "a", 2, 100)


@pytest.mark.parametrize(
    "url",
    ["http://[::1/x.jpg?secret", "http://me:secret@127.0.0.1:99999/a", "http://127.0.0.1:1/a.jpg?secret", "http://",
     "http://me:secret@\udce9/x.jpg", "http://me:secret@" + "a" * 80 + ".invalid/x.jpg"],
)  # fmt: skip
def test_an_address_s_secrets_are_in_no_error(url):
    with pytest.raises(errors.PictureUnreadable, match="check") as caught:
        fetched(url, shown(url), 1, 100)
    assert "secret" not in str(caught.value)


def test_a_name_without_secrets():
    assert Url("https://me:secret@host:81/a@b.jpg?x=1#y", 1, 1).name == "https://host:81/a@b.jpg"
    assert shown("https://host/a.jpg") == "https://host/a.jpg"


@pytest.mark.parametrize(
    "wrong", [{"timeout_s": 0}, {"timeout_s": -1}, {"timeout_s": 86_401}, {"timeout_s": float("nan")}, {"max_bytes": 0}]
)
def test_limits_that_let_nothing_through(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"^{name.removesuffix('_s')} is"):
        Options(**wrong)
