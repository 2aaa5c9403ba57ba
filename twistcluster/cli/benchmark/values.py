"""How the measures of large values are taken.

Owns: what is made, read and timed. Must not know: rounds, how it is shown. Values are others in every round, and are
read where they arrive: an engine that shows old ones, or that only promises them, gains nothing.
"""

import itertools
import mmap
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np

from twistcluster.cli.benchmark import work
from twistcluster.cli.benchmark.engines import Engine, Keeper, Twistcluster
from twistcluster.cli.benchmark.peak import Watch
from twistcluster.cli.benchmark.timing import Figures, expect, timed
from twistcluster.net import connections

__all__ = ["arrays_back", "arrays_held", "arrays_out", "chained", "peak_back", "peak_out", "shared_array", "small"]

SHARED_MIB: Final = 100
STAGES: Final = 3
"""Between the one that makes arrays and the one that sums them."""
SLOT_SECONDS: Final = 0.05
MEMORY_FOLDER: Final = Path("/dev/shm")  # noqa: S108 - a file system in memory: what is compared with is a mapping of it

_rounds = itertools.count()


def numbers(count: int) -> list[int]:
    """Others at each call."""
    first = 1 + next(_rounds) * count
    return list(range(first, first + count))


def totals(made_of: Iterable[float], mebibytes: int = work.LARGE) -> list[float]:
    """The sums of such arrays; all of them are whole numbers that a float64 holds."""
    return [float(number * mebibytes * work.MEBIBYTE) for number in made_of]


def small(engine: Engine, count: int, slots: int) -> Figures:
    """Single submits with a value each, and one back."""
    values = work.small_values(count, next(_rounds))
    with timed() as took:
        results = engine.submit(work.turned, values)
    expect(list(results) == list(map(work.turned, values)))
    return {"small": count / took()}


def arrays_out(engine: Engine, count: int, slots: int) -> Figures:
    """Arguments."""
    made_of = numbers(count)
    arrays = list(map(work.make_large, made_of))
    with timed() as took:
        results = engine.send(work.total, arrays)
    expect(list(results) == totals(made_of))
    return {"out": work.LARGE * count / took()}


def arrays_back(engine: Engine, count: int, slots: int) -> Figures:
    """Results, from the first call to the last sum."""
    made_of = numbers(count)
    with timed() as took:
        results = [work.total(array) for array in engine.map(work.make_large, made_of)]
    expect(results == totals(made_of))
    return {"back": work.LARGE * count / took()}


def arrays_held(engine: Engine, count: int, slots: int) -> Figures:
    """Results that are there already; beside them the same loop over as many files that are mapped already."""
    made_of = numbers(count)
    held = keeper(engine).hold(work.make_large, made_of)
    with timed() as took:
        results = [work.total(array) for array in held]
    expect(results == totals(made_of))
    del held
    with tempfile.TemporaryDirectory(dir=MEMORY_FOLDER if MEMORY_FOLDER.exists() else None) as folder:
        mapped = [mapped_file(Path(folder, str(number)), work.make_large(number)) for number in made_of]
        with timed() as mapping_took:
            results = [work.total(array) for array in mapped]
        expect(results == totals(made_of))
    return {
        "held": work.LARGE * count / took(),
        "own mapping": work.LARGE * count / mapping_took(),
        "of own mapping": mapping_took() / took(),
    }


def shared_array(engine: Engine, count: int, slots: int) -> Figures:
    """The whole of it, from an array that nobody has seen; beside it the same submits without it, and a plain copy."""
    (number,), items = numbers(1), list(range(count))
    array = work.array_of(SHARED_MIB, number)
    with timed() as without_took:
        results = engine.submit(work.successor, items)
    expect(list(results) == [item + 1 for item in items])
    with timed() as took:
        results = keeper(engine).share(work.page_and_number, array, items)
    expect(list(results) == [item + number for item in items])
    with timed() as copy_took:
        np.copyto(np.frombuffer(mmap.mmap(-1, array.nbytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)), array)
    return {
        "shared": took() * 1e3,
        "without it": without_took() * 1e3,
        "a copy": copy_took() * 1e3,
        "copies": (took() - without_took()) / copy_took(),
    }


def chained(engine: Engine, count: int, slots: int) -> Figures:
    """Made, worked on thrice and summed: only sums come back."""
    made_of = numbers(count)
    with timed() as took:
        results = keeper(engine).chain([work.make_mebibyte, *[work.add_one] * STAGES, work.total], made_of)
    expect(list(results) == totals((number + STAGES for number in made_of), 1))
    return {"chain": count / took()}


def peak_out(engine: Engine, count: int, slots: int) -> Figures:
    """Arrays out, sums back."""
    return passing(engine, "peak", work.total, float, count, slots)


def peak_back(engine: Engine, count: int, slots: int) -> Figures:
    """Arrays out, and the same back."""
    return passing(engine, "peak_back", work.read, work.total, count, slots)


def passing(
    engine: Engine,
    key: str,
    function: Callable[[work.Array], Any],
    summed: Callable[[Any], float],
    count: int,
    slots: int,
) -> Figures:
    """What client, cluster, slots and the store take at most; results are dropped as they come."""
    if not isinstance(engine, Twistcluster):
        raise TypeError("only of this cluster")
    engine.start(slots)
    cluster = engine.cluster
    engine.submit(work.pid_after, [SLOT_SECONDS] * slots)
    made_of = numbers(count)
    store: str = connections.find(cluster.id).get("store") or ""
    with Watch([os.getpid(), cluster.status().pid], store) as watch, timed() as took:
        # Not by engine.map: that would keep the job, and with it what can be asked for again.
        results = [summed(result) for result in cluster.map(function, map(work.make_large, made_of))]
    expect(results == totals(made_of))
    return {key: watch.grown_mb, "at the start": watch.began_mb, "MiB/s": work.LARGE * count / took()}


def mapped_file(path: Path, array: work.Array) -> work.Array:
    """The array's bytes as a file, and that as an array again; none of it has been read."""
    array.tofile(path)
    with path.open("rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))


def keeper(engine: Engine) -> Keeper:
    """The engine, if it can hold values."""
    if not isinstance(engine, Keeper):
        raise TypeError(f"{engine.title} keeps no values")
    return engine
