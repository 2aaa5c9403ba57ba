"""What a network between hosts costs: `python tools/between_hosts.py --rounds 5`.

Hosts are network namespaces of this machine, so it takes root and iproute2. Two measures, as ratios interleaved in one run:
64 arrays of 8 MiB that lie with a worker on another host, fetched and read, beside 512 MiB over one plain Twisted TLS
connection between the same two hosts; and the round trip of one idle submit over TLS on loopback, scheduler and worker
being programs of their own, beside that of a local cluster.
"""

# ruff: noqa: N802, TID251  (Twisted's names; each side is a process)

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

ARRAYS = 64
ARRAY_BYTES = 8 * 1024 * 1024
MIB = 1024 * 1024
TRIPS = 300


# ---- programs of each side: one line in is one round, one line out its figure --------------------------------------------


def rounds(measure: Callable[[], float]) -> None:
    """Measure once for each line of standard input."""
    for _ in sys.stdin:
        print(measure(), flush=True)


def fetch() -> None:
    """On the scheduler's host: bytes a second of arrays that lie with the worker."""
    import numpy as np

    import twistcluster as tc

    cluster = tc.connect("lab")
    cluster.wait_for_workers(1, timeout=60)
    made = 0

    def measure() -> float:
        nonlocal made
        made += 1
        first = made * ARRAYS
        job = cluster.map(lambda i: np.full(ARRAY_BYTES // 8, i), range(first, first + ARRAYS))
        job.wait()
        began = time.perf_counter()
        total = sum(int(array[0]) + int(array[-1]) for array in job)
        seconds = time.perf_counter() - began
        assert total == 2 * sum(range(first, first + ARRAYS))
        return ARRAYS * ARRAY_BYTES / seconds

    rounds(measure)


def trip(target: str) -> None:
    """Seconds of a round trip, p50."""
    import twistcluster as tc

    cluster = tc.connect(target) if target.startswith("tls://") else tc.Cluster(slots=2)

    def measure() -> float:
        times = []
        for _ in range(TRIPS):
            began = time.perf_counter()
            cluster.submit(abs, -1).result()
            times.append(time.perf_counter() - began)
        return statistics.median(times)

    measure()
    rounds(measure)


def plain_server(host: str) -> None:
    """A plain Twisted TLS connection: for each byte that comes, as many bytes as the arrays have."""
    from twisted.internet import protocol, reactor, ssl
    from twisted.internet.interfaces import IPushProducer
    from zope.interface import implementer

    from twistcluster.net.tls.authority import Authority
    from twistcluster.net.tls.certificates import make_key, private_pem, public_bytes, read_certificate

    with tempfile.TemporaryDirectory() as folder:
        authority = Authority.open(Path(folder, "authority"), "plain", time.time())
        key = make_key()
        issued = read_certificate(authority.issue(public_bytes(key), "scheduler", "plain", time.time()))
    from cryptography.hazmat.primitives.serialization import Encoding

    options = ssl.PrivateCertificate.loadPEM(private_pem(key) + issued.public_bytes(Encoding.PEM)).options()
    piece = bytes(MIB)

    @implementer(IPushProducer)
    class Sender(protocol.Protocol):
        left = 0
        full = False

        def connectionMade(self) -> None:
            self.transport.registerProducer(self, True)

        def dataReceived(self, data: bytes) -> None:
            self.left += ARRAYS * ARRAY_BYTES * len(data)
            self.push()

        def push(self) -> None:
            if self.left and not self.full:
                self.transport.write(piece)
                self.left -= len(piece)
                reactor.callLater(0, self.push)

        def pauseProducing(self) -> None:
            self.full = True

        def resumeProducing(self) -> None:
            self.full = False
            self.push()

        def stopProducing(self) -> None:
            self.left = 0

    factory = protocol.Factory.forProtocol(Sender)
    port = reactor.listenSSL(0, factory, options, interface=host)
    print(port.getHost().port, flush=True)
    reactor.run()


def plain_client(host: str, port: int) -> None:
    """Bytes a second that come over it."""
    from threading import Event, Thread

    from OpenSSL import SSL
    from twisted.internet import protocol, reactor, ssl

    whole, ready = Event(), Event()

    class Reader(protocol.Protocol):
        got = 0

        def connectionMade(self) -> None:
            ready.set()

        def dataReceived(self, data: bytes) -> None:
            self.got += len(data)
            if self.got >= ARRAYS * ARRAY_BYTES:
                self.got = 0
                whole.set()

    class Anybody(ssl.ClientContextFactory):
        method = SSL.TLS_METHOD

    reader = Reader()
    factory = protocol.ClientFactory()
    factory.buildProtocol = lambda _: reader  # type: ignore[method-assign]
    reactor.connectSSL(host, port, factory, Anybody())

    def measure() -> float:
        whole.clear()
        began = time.perf_counter()
        reactor.callFromThread(reader.transport.write, b"!")
        whole.wait()
        return ARRAYS * ARRAY_BYTES / (time.perf_counter() - began)

    def talk() -> None:
        ready.wait()
        rounds(measure)
        reactor.callFromThread(reactor.stop)

    Thread(target=talk, daemon=True).start()
    reactor.run()


# ---- the run -----------------------------------------------------------------------------------------------------------


class Side:
    """One of these programs."""

    def __init__(self, child: subprocess.Popen) -> None:
        self.child = child

    def measure(self) -> float:
        """One round."""
        self.child.stdin.write("\n")
        self.child.stdin.flush()
        return float(self.child.stdout.readline())


def compared(ours: Side, other: Side, count: int, shown: Callable[[float], str]) -> float:
    """The median of the ratios of ours to the other's; the first round of each is not counted."""
    ratios = []
    for number in range(count + 1):
        one, two = ours.measure(), other.measure()
        if number:
            ratios.append(one / two)
            print(f"  {shown(one)} against {shown(two)}: {one / two:.2f}", flush=True)
    return statistics.median(ratios)


def values(folder: Path, count: int) -> float:
    """Of the rate of arrays from another host to that of a plain connection."""
    from tests.live.networks import Cluster, Network

    network = Network(folder, lost_after="30")
    try:
        cluster = Cluster(network, workers=1)
        (worker,) = cluster.workers
        server = worker.start(__file__, "--plain-server", worker.address)
        port = server.stdout.readline().strip()
        plain = cluster.scheduler.start(__file__, "--plain-client", worker.address, port)
        ours = cluster.scheduler.start(__file__, "--fetch")
        return compared(Side(ours), Side(plain), count, lambda rate: f"{rate / MIB:.0f} MiB/s")
    finally:
        network.end()


@contextlib.contextmanager
def on_loopback(folder: Path) -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts programs with folders of their own."""
    children: list[subprocess.Popen] = []

    def start(place: str, *words: str, **variables: str) -> subprocess.Popen:
        mine = folder / place
        mine.mkdir(mode=0o700, exist_ok=True)
        places = {name: str(mine) for name in ("XDG_STATE_HOME", "XDG_RUNTIME_DIR", "JUPYTER_RUNTIME_DIR")}
        children.append(
            subprocess.Popen(
                [sys.executable, *words],
                env={**os.environ, "PYTHONPATH": str(ROOT), **places, **variables},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        )
        return children[-1]

    try:
        yield start
    finally:
        for child in reversed(children):
            child.terminate()
            child.wait(30)
            child.stdin.close()
            child.stdout.close()


def trips(folder: Path, count: int) -> float:
    """Of the round trip over TLS to that of a local cluster."""
    with on_loopback(folder) as start:
        scheduler = start(
            "scheduler", "-m", "twistcluster", "scheduler", "--name", "lab", "--listen", "tls:127.0.0.1:0"
        )
        scheduler.stdout.readline()

        def invited(role: str) -> tuple[str, str]:
            asked = start("scheduler", "-m", "twistcluster", "invite", "lab", "--role", role)
            text = asked.communicate(timeout=60)[0]
            words: list[Any] = text.split()
            token = next(word.partition("=")[2] for word in words if word.startswith("TWISTCLUSTER_TOKEN="))
            return token, next(word for word in words if word.startswith("127.0.0.1:"))

        token, address = invited("worker")
        start("worker", "-m", "twistcluster", "worker", "--join", address, "--slots", "2", TWISTCLUSTER_TOKEN=token)
        token, _ = invited("client")
        far = start("client", __file__, "--trip", f"tls://{address}", TWISTCLUSTER_TOKEN=token)
        near = start("client", __file__, "--trip", "local")
        return compared(Side(far), Side(near), count, lambda seconds: f"{seconds * 1e3:.3f} ms")


def main() -> int:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(description="What a network between hosts costs.")
    parser.add_argument("--rounds", type=int, default=5, help="of each measure, after one that isn't counted")
    for hidden, count in (("--fetch", 0), ("--trip", 1), ("--plain-server", 1), ("--plain-client", 2)):
        how: dict[str, Any] = {"nargs": count} if count > 1 else {} if count else {"action": "store_true"}
        parser.add_argument(hidden, help=argparse.SUPPRESS, **how)
    options = parser.parse_args()
    if options.fetch:
        fetch()
    elif options.trip:
        trip(options.trip)
    elif options.plain_server:
        plain_server(options.plain_server)
    elif options.plain_client:
        plain_client(options.plain_client[0], int(options.plain_client[1]))
    else:
        found = {}
        with tempfile.TemporaryDirectory() as folder:
            print("64 arrays of 8 MiB from a worker on another host, against one plain TLS connection:")
            Path(folder, "values").mkdir()
            found["values"] = values(Path(folder, "values"), options.rounds)
            print("a round trip over TLS, against a local cluster's:")
            found["trip"] = trips(Path(folder), options.rounds)
        print(json.dumps({name: round(ratio, 2) for name, ratio in found.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
