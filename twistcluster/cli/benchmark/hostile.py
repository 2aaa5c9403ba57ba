"""How a cluster's own round trips fare beside strangers on its socket.

Owns: the measure, and the strangers' process: `python -m twistcluster.cli.benchmark.hostile SOCKET`. Must not know:
rounds, how it is shown.

The strangers' process reads how many connections to make, a line each time, makes them at 200 a second, and answers
with a line. Each connection says one thing that is malformed, cut short or too long. The last 50 are kept open,
as those who mean harm would.
"""

import collections
import contextlib
import itertools
import selectors
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import IO, Final, Self

from twistcluster.cli.benchmark.engines import Engine, Twistcluster
from twistcluster.cli.benchmark.timing import Figures, expect, timed
from twistcluster.net import connections
from twistcluster.wire import limits
from twistcluster.wire.codec import Codec
from twistcluster.wire.messages import Ask, Hello, Status

__all__ = ["SAYINGS", "Strangers", "hostile"]

RATE: Final = 200.0
"""Connections a second."""
PART: Final = 500
"""Connections of one part; quiet parts, as long as the others, lie between them."""
KEPT: Final = 50
WAIT_SECONDS: Final = 60.0
"""For an answer beyond the time that the connections take."""


def _encoded(message: Hello | Ask) -> bytes:
    return b"".join(map(bytes, Codec.encode(message)))


_HELLO: Final = _encoded(Hello(1, "client", "0", "0", "process", 1, "host", 1))
SAYINGS: Final[tuple[bytes, ...]] = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    bytes(range(256)) * 8,
    struct.pack("<II", 60_000, 0) + b"\x91" * 60_000,
    _encoded(Ask(1, Status())),
    b"",
    _HELLO[:5],
    _HELLO[:-1],
    struct.pack("<IIQ", 10, 1, 60_000) + b"ten bytes.",
    struct.pack("<II", 2**32 - 1, 0),
    struct.pack("<IIQ", 10, 1, 2**63),
    _encoded(Hello(1, "client", "0", "0", "process", 1, "host", 1, name="x" * 2 * limits.OPENING_FRAME_BYTES)),
)
"""Malformed, then cut short, then too long."""


def hostile(engine: Engine, count: int, slots: int) -> Figures:
    """How many times longer the slowest hundredth of round trips takes beside strangers than without, by turns."""
    if not isinstance(engine, Twistcluster):
        raise TypeError("only of this cluster")
    with_them: list[float] = []
    without: list[float] = []
    parts = max(1, round(count / PART))
    with Strangers(connections.find(engine.cluster.id)["socket"]) as strangers:
        for number in range(parts):
            part = (number + 1) * count // parts - number * count // parts
            strangers.come(part)
            trips(engine, with_them, lambda: not strangers.over())
            until = time.perf_counter() + part / RATE
            trips(engine, without, lambda until=until: time.perf_counter() < until)  # type: ignore[misc]
    beside, alone = p99(with_them), p99(without)
    return {
        "hostile": beside / alone,
        "p99_ms": beside,
        "p99_without_ms": alone,
        "p50_ms": statistics.median(with_them),
        "p50_without_ms": statistics.median(without),
        "connections": count,
    }


def trips(engine: Engine, times: list[float], more: Callable[[], bool]) -> None:
    """Round trips, at least one, in milliseconds."""
    for number in itertools.count(1):
        with timed() as took:
            result = engine.call(abs, -number)
        expect(result == number)
        times.append(took() * 1e3)
        if not more():
            return


def p99(times: list[float]) -> float:
    """The time that a hundredth of them exceeds."""
    return sorted(times)[min(len(times) - 1, len(times) * 99 // 100)]


class Strangers:
    """The strangers' process.

    Args:
        path: of the cluster's socket.
    """

    def __init__(self, path: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._due = 0.0
        self._answers = selectors.DefaultSelector()

    def __enter__(self) -> Self:
        assert self._process.stdout
        self._answers.register(self._process.stdout, selectors.EVENT_READ)
        self._due = time.monotonic()
        self._answered(WAIT_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin and self._process.stdout
        self._answers.close()
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def come(self, count: int) -> None:
        """Let so many connections be made, from now on."""
        assert self._process.stdin
        self._process.stdin.write(b"%d\n" % count)
        self._process.stdin.flush()
        self._due = time.monotonic() + count / RATE

    def over(self) -> bool:
        """Whether all of them were made."""
        return self._answered(0.0)

    def _answered(self, timeout_s: float) -> bool:
        assert self._process.stdout
        if self._answers.select(timeout_s):
            if not self._process.stdout.readline():
                raise RuntimeError("the strangers' process ended")
            return True
        if time.monotonic() > self._due + WAIT_SECONDS:
            raise TimeoutError("the strangers' process doesn't answer")
        return False


def _main(path: str, orders: IO[str], answers: IO[str]) -> None:
    print("ready", file=answers, flush=True)
    said = itertools.cycle(SAYINGS)
    kept: collections.deque[socket.socket] = collections.deque()
    for line in orders:
        for due in _instants(int(line)):
            time.sleep(max(0.0, due - time.monotonic()))
            kept.append(_connected(path, next(said)))
            if len(kept) > KEPT:
                kept.popleft().close()
        print("made", file=answers, flush=True)


def _instants(count: int) -> Iterator[float]:
    began = time.monotonic()
    return (began + number / RATE for number in range(count))


def _connected(path: str, said: bytes) -> socket.socket:
    """Say it, as much of it as is taken at once."""
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)  # waits if the listener's queue is full
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError, ConnectionError):
        sock.send(said)
    return sock


if __name__ == "__main__":
    _main(sys.argv[1], sys.stdin, sys.stdout)
