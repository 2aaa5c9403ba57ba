"""The measures: what is timed, on how many items, and which way is better.

Owns: the list, and how those of small items are taken (those of large values: values.py). Must not know: which engine
it runs on, rounds, how it is shown. Every measure checks that the results are right before its figure counts.
"""

import contextlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final, Literal

from twistcluster.cli.benchmark import asking, hostile, journal, pictures, recognized, values, work
from twistcluster.cli.benchmark.engines import OURS, Engine, TunedPool, Twistcluster, Unstored
from twistcluster.cli.benchmark.timing import Figures, expect, timed

__all__ = ["MEASURES", "Measure", "take"]

ALL: Final = frozenset({OURS, "pool", "tuned", "joblib", "dask"})
UNTUNED: Final = ALL - {TunedPool.key}
"""Single submits have no chunksize."""
KEEPERS: Final = frozenset({OURS, "dask", "ray"})
"""Those that keep values where they are made."""
SLOT_SECONDS: Final = 0.05
WARM_UP: Final = 50
MEMORY_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Measure:
    """One row group of the table."""

    key: str
    title: str
    unit: str
    better: Literal["more", "less"]
    items: int
    run: Callable[[Engine, int, int], Figures]
    """`run(engine, items, slots)`: the figure is under this measure's key; more figures go with it for the record."""
    fewer: dict[str, int] = field(default_factory=dict)
    """Engines that get fewer items, or would take minutes."""
    engines: frozenset[str] = ALL
    chunksizes: tuple[int, ...] = ()
    """What the tuned pool tries."""
    whole_warm_up: bool = False
    """Warmed up by all of it rather than a part: what large values lie in is used again."""
    fresh: bool = False
    """Taken in a process of its own, which starts the engine within the measure."""
    by_name: bool = False
    """Taken only where it is named: it takes minutes."""

    def count(self, engine: str, scale: float) -> int:
        """How many items this engine gets."""
        return max(1, round(self.fewer.get(engine, self.items) * scale))


# ---- how they are taken ----------------------------------------------------------------------------------------------


def map_abs(engine: Engine, count: int, slots: int) -> Figures:
    """All results of a map, in a list."""
    with timed() as took:
        results = list(engine.map(abs, range(count)))
    expect(results == list(range(count)))
    return {"map": count / took()}


def map_by_value(engine: Engine, count: int, slots: int) -> Figures:
    """The same with a function that has no name to be imported by."""
    with timed() as took:
        results = list(engine.map(work.by_value, range(count)))
    expect(results == list(range(count)))
    return {"lambda": count / took()}


def first_result(engine: Engine, count: int, slots: int) -> Figures:
    """From the call of map to its first result; the rest is dropped, and waited for outside of the measure."""
    with timed() as took:
        results = engine.map(abs, range(count))
        first = next(results)
    expect(first == 0)
    with contextlib.closing(results):  # type: ignore[type-var]
        pass
    engine.call(abs, -1)
    return {"first": took() * 1e3}


def submits(engine: Engine, count: int, slots: int) -> Figures:
    """Single submits, gathered."""
    with timed() as took:
        results = engine.submit(abs, range(count))
    expect(list(results) == list(range(count)))
    return {"submit": count / took()}


def round_trips(engine: Engine, count: int, slots: int) -> Figures:
    """One submit after the other."""
    times = []
    for _ in range(count):
        with timed() as took:
            engine.call(abs, -1)
        times.append(took() * 1e3)
    ordered = sorted(times)
    return {"trip": statistics.median(times), "trip_p99": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]}


def photographs(engine: Engine, count: int, slots: int) -> Figures:
    """Files in, files out."""
    files = the_photographs(count)
    with timed() as took:
        results = list(engine.map(work.sharpened, files))
    expect(len(results) == count and all(result.startswith(b"\xff\xd8") for result in results))
    return {"photos": count / took()}


def naps(engine: Engine, count: int, slots: int) -> Figures:
    """How much of the time all slots were at work: 1 is what can't be beaten."""
    items = work.naps(count)
    with timed() as took:
        results = list(engine.map(work.slept, items))
    expect(len(results) == count and sum(results) >= sum(items))
    return {"naps": sum(results) / slots / took()}


def ready(engine: Engine, count: int, slots: int) -> Figures:
    """From nothing to a result from every slot."""
    with timed() as took:
        engine.start(slots)
        seen: set[object] = set()
        while len(seen) < slots:
            seen |= set(engine.submit(work.pid_after, [SLOT_SECONDS] * slots))
    return {"ready": took()}


def pending_memory(engine: Engine, count: int, slots: int) -> Figures:
    """What the process of the scheduler grows by, with a job that no slot can take."""
    if not isinstance(engine, Twistcluster):
        raise TypeError("only of this cluster")
    engine.start(slots)  # a new one: memory that earlier jobs gave back would be used again
    engine.call(abs, -1)
    status = engine.cluster.status()
    before = resident_mib(status.pid)
    job = engine.cluster.options(resources={"what no slot here has": 1}).map(abs, range(count))
    deadline = time.monotonic() + MEMORY_SECONDS
    while engine.cluster.status().items_pending < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the scheduler didn't get {count} items in {MEMORY_SECONDS:g} s")
        time.sleep(0.01)
    grown = resident_mib(status.pid) - before
    job.cancel()
    engine.call(abs, -1)
    return {"memory": grown}


# ---- the list --------------------------------------------------------------------------------------------------------

MEASURES: Final[dict[str, Measure]] = {
    measure.key: measure
    for measure in (
        Measure(
            "map", "map of tiny items (abs)", "items/s", "more", 2_000_000, map_abs,
            fewer={"pool": 50_000, "joblib": 200_000, "dask": 5_000}, chunksizes=(1_000, 5_000, 20_000, 100_000),
        ),
        Measure(
            "lambda", "map of tiny items (a lambda)", "items/s", "more", 2_000_000, map_by_value,
            fewer={"joblib": 200_000, "dask": 5_000}, engines=ALL - {"pool", "tuned"},
        ),
        Measure(
            "first", "first result of that map", "ms", "less", 2_000_000, first_result,
            fewer={"pool": 50_000, "joblib": 200_000, "dask": 5_000}, chunksizes=(1_000, 5_000, 20_000),
        ),
        Measure(
            "submit", "single submits, gathered", "items/s", "more", 20_000, submits,
            fewer={"dask": 2_000}, engines=UNTUNED,
        ),
        Measure(
            "trip", "round trip of one submit, idle, p50", "ms", "less", 500, round_trips,
            fewer={"dask": 100}, engines=UNTUNED,
        ),
        Measure(
            "small", "values of 1 to 64 KiB, there and back", "items/s", "more", 20_000, values.small,
            engines=frozenset({OURS, Unstored.key, "pool"}), whole_warm_up=True,
        ),
        Measure(
            "out", "arrays of 8 MiB out, a sum back", "MiB/s", "more", 64, values.arrays_out,
            engines=UNTUNED | {"ray"}, whole_warm_up=True,
        ),
        Measure(
            "back", "arrays of 8 MiB made, fetched and summed", "MiB/s", "more", 64, values.arrays_back,
            engines=UNTUNED | {"ray"}, whole_warm_up=True,
        ),
        Measure(
            "held", "arrays of 8 MiB made before, fetched and summed", "MiB/s", "more", 64, values.arrays_held,
            engines=KEEPERS, whole_warm_up=True,
        ),
        Measure(
            "shared", "submits that each read a page of one array of 100 MiB", "ms", "less", 1_000, values.shared_array,
            engines=KEEPERS, whole_warm_up=True,
        ),
        Measure(
            "chain", "five maps over one another, arrays of 1 MiB", "arrays/s", "more", 1_000, values.chained,
            engines=KEEPERS, whole_warm_up=True,
        ),
        Measure(
            "photos", "photographs: resize, sharpen, encode", "pictures/s", "more", 200, photographs,
            chunksizes=(1, 2, 4, 10, 25),
        ),
        Measure(
            "naps", "sleeping items: share of the slots' time", "of 1", "more", 10_000, naps,
            fewer={"dask": 1_000}, chunksizes=(2, 10, 50),
        ),
        Measure(
            "ready", "start to the first result from every slot", "s", "less", 1, ready, engines=UNTUNED, fresh=True,
        ),
        Measure(
            "memory", "scheduler's memory, pending job of small items", "MiB", "less", 1_000_000, pending_memory,
            engines=frozenset({OURS}), fresh=True,
        ),
        Measure(
            "peak", "memory while arrays of 8 MiB pass a lazy map, a sum back", "MB above the start", "less", 512,
            values.peak_out, engines=frozenset({OURS}), fresh=True,
        ),
        Measure(
            "peak_back", "memory while arrays of 8 MiB pass a lazy map and come back", "MB above the start", "less",
            512, values.peak_back, engines=frozenset({OURS}), fresh=True,
        ),
        Measure(
            "journal_map", "map of tiny items with a journal", "of the rate without", "more", 2_000_000,
            journal.journal_map, engines=frozenset({OURS}), fresh=True,
        ),
        Measure(
            "journal_submit", "single submits with a journal", "of the rate without", "more", 20_000,
            journal.journal_submit, engines=frozenset({OURS}), fresh=True,
        ),
        Measure(
            "journal_trip", "round trips with a journal", "of the rate without", "more", 500, journal.journal_trip,
            engines=frozenset({OURS}), fresh=True,
        ),
        Measure(
            "hostile", "round trips beside malformed connections, p99", "of the p99 without", "less", 10_000,
            hostile.hostile, engines=frozenset({OURS}), by_name=True,
        ),
        Measure(
            "thumbnails", "photographs of 12 megapixels to thumbnails, files to files", "pictures/s", "more", 300,
            pictures.thumbnails, engines=frozenset({OURS, "pool"}), by_name=True,
        ),
        Measure(
            "steps", "the same without shrinking on load", "pictures/s", "more", 100, pictures.steps,
            engines=frozenset({OURS, "pool"}), by_name=True,
        ),
        Measure(
            "recognition", "small pictures through a small network", "pictures/s", "more", 5_000, recognized.recognition,
            engines=frozenset({OURS, "pool", "hand"}), by_name=True,
        ),
        Measure(
            "ask", "a question to a server that recognises, p50", "of 1.5 times the bare session's + 1 ms", "less", 500,
            asking.ask, engines=frozenset({OURS}), by_name=True,
        ),
        Measure(
            "ask_together", "eight clients ask a server that recognises", "of the rate without batches", "more", 8_000,
            asking.ask_together, engines=frozenset({OURS}), by_name=True,
        ),
        Measure(
            "ask_wide", "the same where its network has wide layers", "of the rate without batches", "more", 1_600,
            asking.ask_wide, engines=frozenset({OURS}), by_name=True,
        ),
    )
}  # fmt: skip


def take(measure: Measure, engine: Engine, count: int, slots: int, chunksizes: dict[str, int]) -> Figures:
    """Take a measure; the first time, warm up, and let the tuned pool find its chunksize (kept in `chunksizes`)."""
    if measure.key not in chunksizes and not measure.fresh:
        chunksizes[measure.key] = prepared(measure, engine, count, slots)
    if isinstance(engine, TunedPool):
        engine.chunksize = chunksizes[measure.key]
    if not measure.fresh:
        list(engine.map(abs, range(slots)))  # processes that ended out of idleness come back outside of the measure
    figures = measure.run(engine, count, slots)
    if isinstance(engine, TunedPool):
        figures["chunksize"] = chunksizes[measure.key]
    return figures


def prepared(measure: Measure, engine: Engine, count: int, slots: int) -> int:
    """The best chunksize; or 1, after a short run."""
    if not isinstance(engine, TunedPool) or len(measure.chunksizes) < 2:
        measure.run(engine, count if measure.whole_warm_up else max(1, count // WARM_UP), slots)
        return 1
    sign = 1 if measure.better == "more" else -1
    tried = {}
    for chunksize in measure.chunksizes:
        engine.chunksize = chunksize
        tried[chunksize] = sign * measure.run(engine, count, slots)[measure.key]
    return max(tried, key=tried.__getitem__)


# ---- tools -----------------------------------------------------------------------------------------------------------


@cache
def the_photographs(count: int) -> list[bytes]:
    """Made once a process."""
    return work.photographs(count)


def resident_mib(pid: int) -> float:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"/proc/{pid}/status names no VmRSS")
