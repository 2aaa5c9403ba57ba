"""What it costs that a named cluster keeps everything: its rates beside the same cluster with `store=None`.

Owns: these measures. Each starts both clusters, takes them by turns, and gives the ratio. Must not know: rounds, how it is
shown.
"""

import contextlib
import os
import shutil
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from twistcluster.cli.benchmark.engines import Engine
from twistcluster.cli.benchmark.timing import Figures, expect, timed
from twistcluster.storage.journal_places import journal_path

__all__ = ["journal_map", "journal_submit", "journal_trip"]

END_SECONDS: Final = 10.0
TURNS: Final = ("on", "off", "off", "on", "on", "off")


def journal_map(engine: Engine, count: int, slots: int) -> Figures:
    """All results of a map."""

    def run(cluster: Any) -> float:
        with timed() as took:
            results = cluster.map(abs, list(range(count))).results()
        expect(len(results) == count and results[-1] == count - 1)
        return count / took()

    return _compared("journal_map", run, slots)


def journal_submit(engine: Engine, count: int, slots: int) -> Figures:
    """Single submits, gathered."""
    import twistcluster as tc

    def run(cluster: Any) -> float:
        with timed() as took:
            results = tc.gather([cluster.submit(abs, item) for item in range(count)])
        expect(list(results) == list(range(count)))
        return count / took()

    return _compared("journal_submit", run, slots)


def journal_trip(engine: Engine, count: int, slots: int) -> Figures:
    """One submit after the other, the median."""

    def run(cluster: Any) -> float:
        times = []
        for _ in range(count):
            with timed() as took:
                cluster.submit(abs, -1).result()
            times.append(took())
        return 1 / statistics.median(times)

    return _compared("journal_trip", run, slots)


def _compared(key: str, run: Callable[[Any], float], slots: int) -> Figures:
    """The rate with a journal, of that without; by turns, after one of each to warm up."""
    rates: dict[str, list[float]] = {"on": [], "off": []}
    with _both(slots) as clusters:
        for turn in ("on", "off"):
            run(clusters[turn])
        for turn in TURNS:
            rates[turn].append(run(clusters[turn]))
    on, off = statistics.median(rates["on"]), statistics.median(rates["off"])
    return {key: on / off, "with_per_s": on, "without_per_s": off}


@contextlib.contextmanager
def _both(slots: int) -> Iterator[dict[str, Any]]:
    """Two named clusters; the one's journal lies where journals do by default, and goes with it."""
    import twistcluster as tc

    name = f"bench-{uuid.uuid4().hex[:8]}"
    with contextlib.ExitStack() as stack:
        clusters = {}
        for turn, store in (("on", ""), ("off", None)):
            stack.callback(_remove_journal, f"{name}-{turn}")
            cluster = tc.Cluster(f"{name}-{turn}", slots=slots, store=store)
            stack.callback(_ended, cluster.status().pid)
            stack.callback(cluster.stop, force=True)
            clusters[turn] = cluster
        yield clusters


def _remove_journal(name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(Path(journal_path(name).path).parent)


def _ended(pid: int) -> None:
    """Wait for the end of a cluster's process, which closes its journal last."""
    deadline = time.monotonic() + END_SECONDS
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.01)
