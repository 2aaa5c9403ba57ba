"""How servers that recognise are measured: one who asks, and eight at once.

Owns: these measures, and the process of one who asks: `python -m twistcluster.cli.benchmark.asking CLUSTER`. It reads a
server's name and a number of questions, a line each time, asks, and answers with a line. Must not know: rounds, how it is
shown, the network.
"""

import contextlib
import statistics
import subprocess
import sys
from collections.abc import Iterator
from typing import IO, Any, Final

from twistcluster.cli.benchmark import network
from twistcluster.cli.benchmark.engines import Engine, Twistcluster
from twistcluster.cli.benchmark.timing import Figures, expect, timed
from twistcluster.images.plan import Plan
from twistcluster.images.recognition.recognizer import Recognizer
from twistcluster.images.recognizing import Asked, AskedTogether, Recognizing

__all__ = ["ask", "ask_together", "ask_wide"]

PICTURES: Final = 64
PART: Final = 50
"""Questions in a row, before as many are put to the session itself."""
ASKERS: Final = 8
TURNS: Final = ("batched", "unbatched", "unbatched", "batched")
TIMES: Final = 1.5
MORE_MS: Final = 1.0
"""What a question may cost: so many times what the session takes, and this."""


def ask(engine: Engine, count: int, slots: int) -> Figures:
    """One question after the other, by turns with the session in this process: decode and run."""
    cluster = _cluster(engine)
    pictures = network.pictures(PICTURES)
    cluster.serve("batched", AskedTogether(_work(network.PLAIN)))
    asked: list[float] = []
    bare: list[float] = []
    part_length = min(PART, count)
    for number in range(-2 * part_length, 2 * count):  # the first ones warm up
        part, picture = number // part_length, pictures[number % PICTURES]
        times = bare if part % 2 else asked
        with timed() as took:
            found = network.alone(picture) if times is bare else _class_of(cluster.ask("batched", picture))
        expect(found == network.alone(picture))
        if number >= 0:
            times.append(took() * 1e3)
    p50, bare_p50 = statistics.median(asked), statistics.median(bare)
    allowed = TIMES * bare_p50 + MORE_MS
    return {"ask": p50 / allowed, "p50_ms": p50, "bare_p50_ms": bare_p50, "allowed_ms": allowed}


def ask_together(engine: Engine, count: int, slots: int) -> Figures:
    """Of the network that recognition is measured with."""
    return _compared("ask_together", network.PLAIN, engine, count)


def ask_wide(engine: Engine, count: int, slots: int) -> Figures:
    """Of one with wide layers, that takes little longer for several pictures than for one."""
    return _compared("ask_wide", network.WIDE, engine, count)


def _compared(key: str, neurons: int, engine: Engine, count: int) -> Figures:
    """Questions a second of eight processes, of those where each is answered by itself."""
    cluster = _cluster(engine)
    work = _work(neurons)
    cluster.serve("batched", AskedTogether(work))
    cluster.serve("unbatched", Asked(work))
    rates: dict[str, list[float]] = {name: [] for name in TURNS}
    with contextlib.ExitStack() as stack:
        askers = [stack.enter_context(_asker(cluster.id, neurons)) for _ in range(ASKERS)]
        _wait(askers, "ready\n")
        for name in rates:
            _asked(askers, name, ASKERS)
        for name in TURNS:
            with timed() as took:
                _asked(askers, name, count)
            rates[name].append(count / took())
    batched, unbatched = (statistics.median(rates[name]) for name in ("batched", "unbatched"))
    return {
        key: batched / unbatched,
        "batched_per_s": batched,
        "unbatched_per_s": unbatched,
        "of_the_network": _network_gain(neurons),
    }


def _asked(askers: list[subprocess.Popen[str]], name: str, count: int) -> None:
    """All of them ask, and have their answers."""
    for asker in askers:
        assert asker.stdin
        asker.stdin.write(f"{name} {max(1, count // len(askers))}\n")
        asker.stdin.flush()
    _wait(askers, "answered\n")


def _wait(askers: list[subprocess.Popen[str]], word: str) -> None:
    """Until all have said this."""
    for asker in askers:
        assert asker.stdout
        if asker.stdout.readline() != word:
            raise RuntimeError("a process that asks failed")


def _network_gain(neurons: int) -> float:
    """How many times more pictures a second the network by itself takes in fours than one by one."""
    import numpy as np

    session = network.session(neurons)
    batch = np.stack([network.array_of(one) for one in network.pictures(ASKERS // 2)])
    rates = []
    for some in ([batch[:1]] * len(batch), [batch]):
        times = []
        for _ in range(PART):
            with timed() as took:
                for one in some:
                    session.run(None, {"images": one})
            times.append(took())
        rates.append(1 / statistics.median(times))
    return rates[1] / rates[0]


def _cluster(engine: Engine) -> Any:
    if not isinstance(engine, Twistcluster):
        raise TypeError("only of this cluster")
    return engine.cluster


def _work(neurons: int) -> Recognizing:
    return Recognizing(Plan(), recognizer=Recognizer(network.model(neurons), top=1))


def _class_of(found: Any) -> int:
    return int(found.label.removeprefix("class "))


@contextlib.contextmanager
def _asker(cluster: str, neurons: int) -> Iterator[subprocess.Popen[str]]:
    """A process that asks: it says that it is ready once it is connected."""
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, cluster, str(neurons)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin and process.stdout
    try:
        yield process
    finally:
        process.stdin.close()
        process.kill()
        process.wait()
        process.stdout.close()


def _main(cluster_id: str, neurons: int, orders: IO[str], answers: IO[str]) -> None:
    import twistcluster as tc

    cluster = tc.connect(cluster_id)
    pictures = network.pictures(PICTURES)
    print("ready", file=answers, flush=True)
    for line in orders:
        name, count = line.split()
        for number in range(int(count)):
            expect(cluster.ask(name, pictures[number % PICTURES]).label.startswith("class "))
        print("answered", file=answers, flush=True)


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), sys.stdin, sys.stdout)
