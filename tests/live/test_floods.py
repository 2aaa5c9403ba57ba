"""Peers that come by the thousand, flood, are slow or never read, in both forms, while somebody's work goes on and finishes."""

import contextlib
import resource
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import twistcluster as tc
from tests.live.conftest import named
from tests.live.plain import Plain, hello, welcomed
from tests.tools import until
from twistcluster.client.launch import find
from twistcluster.net.link import PAUSE_BYTES
from twistcluster.wire import limits
from twistcluster.wire.codec import Codec
from twistcluster.wire.messages import Ask, Cancel, Refused, Status, Welcome

SLOW_SECONDS = 10.0
"""Longer than any round trip may take beside an attack, on a machine that others use too."""


def encoded(message, buffers=()):
    return b"".join(Codec.encode(message, buffers))


class Work:
    """Somebody's submits, one after the other, and what became of them."""

    def __init__(self) -> None:
        self.trips: list[float] = []
        self.error: BaseException | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on)

    def _go_on(self) -> None:
        try:
            with tc.connect("lab") as cluster:
                while not self._over.is_set():
                    began = time.monotonic()
                    assert cluster.submit(abs, -len(self.trips)).result(timeout=30) == len(self.trips)
                    self.trips.append(time.monotonic() - began)
                assert list(cluster.map(abs, range(1000))) == [*range(1000)]
        except BaseException as error:
            self.error = error

    def __enter__(self):
        self._thread.start()
        until(lambda: len(self.trips) > 20 or self.error, what="the first results")
        return self

    def __exit__(self, *_):
        before = len(self.trips)
        until(lambda: len(self.trips) > before + 20 or self.error, 30, "work to go on")
        self._over.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error
        assert max(self.trips) < SLOW_SECONDS


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """This process may open as many files as it is allowed to."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextlib.contextmanager
def connected(path: str, count: int, kind=Plain) -> Iterator[list[Plain]]:
    made: list[Plain] = []
    try:
        while len(made) < count:
            made.append(kind(path))
        yield made
    finally:
        for peer in made:
            peer.close()


def resident(connection) -> int:
    return psutil.Process(connection.pid).memory_info().rss


def test_thousands_that_never_say_hello(cluster):
    before = psutil.Process(cluster.pid).num_fds()
    with Work(), connected(cluster.socket, 2000) as silent:
        until(lambda: psutil.Process(cluster.pid).num_fds() < before + limits.UNWELCOMED_CONNECTIONS + 10)
        with welcomed(cluster.socket) as newcomer:
            assert newcomer.status().name == "lab"
        for peer in silent[:-100]:
            (refused,) = peer.hear_all()
            assert isinstance(refused, Refused) and refused.code == "limit"


def test_thousands_that_come_talk_nonsense_and_go(cluster):
    said = [b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 5000, encoded(hello())[:30], encoded(hello()), b""]
    with Work():
        for number in range(3000):
            with Plain(cluster.socket) as stranger, contextlib.suppress(ConnectionError):
                stranger.raw(said[number % len(said)])
    with welcomed(cluster.socket) as friend:
        until(lambda: len(friend.status().clients) == 1)
    if cluster.log:
        text = Path(cluster.log).read_text()
        assert text.count("malformed input: a frame of") <= 3 * limits.LOG_LINES_ALIKE


def test_a_full_house_says_so_and_lets_in_who_comes_later(clusters):
    files = 400
    clusters.command(
        "main", "scheduler", "--name", "lab",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)),
    )  # fmt: skip
    until(lambda: named("lab"), what="the scheduler")
    path = find("lab").socket
    clusters.worker()
    with Work():
        # The worker and the one who works have two of half the files.
        with connected(path, files // 2 - 2, welcomed):
            for _ in range(3):
                with Plain(path) as late:
                    (refused,) = late.hear_all()
                    assert refused.code == "limit" and f"{files // 2} connections are open" in refused.message
            code = "import twistcluster; twistcluster.connect('lab')"  # this process is connected already
            ended = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
            )
            assert "ClusterUnreachable" in ended.stderr and "connections are open" in ended.stderr
            second = clusters.worker("lab", 1, "--name", "second")
            line = second.stdout.readline()
            assert "the scheduler took no connection" in line and "connections are open" in line
        until(lambda: isinstance(greeting(path), Welcome), what="room")
        with welcomed(path) as friend:
            until(lambda: "second" in {worker.name for worker in friend.status().workers}, 20, "the second worker")


def greeting(path):
    with Plain(path) as comer:
        return comer.greet()


def test_no_more_files(cluster):
    process = psutil.Process(cluster.pid)
    before = resource.prlimit(cluster.pid, resource.RLIMIT_NOFILE)
    with Work():
        resource.prlimit(cluster.pid, resource.RLIMIT_NOFILE, (process.num_fds() + 8, before[1]))
        with connected(cluster.socket, 60):
            with welcomed(cluster.socket) as newcomer:
                assert newcomer.status().name == "lab"
            assert process.num_fds() <= resource.prlimit(cluster.pid, resource.RLIMIT_NOFILE)[0]
        resource.prlimit(cluster.pid, resource.RLIMIT_NOFILE, before)
        with welcomed(cluster.socket) as newcomer:
            assert newcomer.status().name == "lab"
    if cluster.log:
        assert 1 <= Path(cluster.log).read_text().count("no connection can be taken for now") <= limits.LOG_LINES_ALIKE


def test_floods_of_messages(cluster, connect):
    many = encoded(Cancel(99)) * 60_000
    peers = [connect(cluster.socket) for _ in range(3)]
    senders = [threading.Thread(target=peer.raw, args=(many,)) for peer in peers]
    with Work() as work:
        before = len(work.trips)
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join(60)
            assert not sender.is_alive()
        assert all(peer.status().name == "lab" for peer in peers), "after all that was said before"
        beside = len(work.trips) - before
    assert beside > 30, "a megabyte of messages at once would leave time for a few"


def test_one_that_asks_and_never_reads_is_cut(cluster):
    asks = encoded(Ask(1, Status())) * 1000
    before = resident(cluster)
    with Work(), welcomed(cluster.socket) as deaf:
        with pytest.raises(ConnectionError):
            deaf.raw(asks * 200)
        assert resident(cluster) - before < 4 * PAUSE_BYTES + limits.QUEUED_BYTES
    with welcomed(cluster.socket) as friend:
        until(lambda: len(friend.status().clients) == 1)


@pytest.mark.parametrize("claim", [20 * limits.MIB, 2 * limits.GIB])
def test_frames_that_come_a_byte_at_a_time_take_no_memory(cluster, connect, claim):
    before = resident(cluster)
    peers = [connect(cluster.socket) for _ in range(40)]
    with Work():
        for peer in peers:
            peer.raw(struct.pack("<IIQ", 1, 1, claim) + b"h")
        for _ in range(20):
            for peer in peers:
                peer.raw(b".")
        with welcomed(cluster.socket) as newcomer:
            assert newcomer.status().name == "lab"
        assert resident(cluster) - before < limits.ALLOCATED_BYTES + 60 * limits.MIB
        large = encoded(Cancel(99), [bytes(3 * limits.MIB)])  # a frame that comes whole passes beside them
        peers.append(connect(cluster.socket))
        peers[-1].raw(large)
        assert peers[-1].status().name == "lab"
    for peer in peers:
        peer.close()
    until(lambda: resident(cluster) - before < 80 * limits.MIB, what="memory to be given back")
