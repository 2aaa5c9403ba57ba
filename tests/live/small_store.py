"""What test_small_store.py runs where shared memory is 64 MiB: `python small_store.py CASE`."""

import gc
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import twistcluster as tc

MIB = 1024 * 1024
LARGE = MIB
"""Numbers of eight bytes."""
DEADLINE_S = 60.0


def until(condition, what, seconds=DEADLINE_S):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def stored():
    """How many values are in memory and on the disk."""
    store = next(Path(os.environ["TWISTCLUSTER_SHM"]).glob("twistcluster-*"))
    return [sum(len(path.name) == 32 for path in place.iterdir()) for place in (store, store / "disk")]


def make(i):
    return np.full(LARGE, i, dtype=float)


def out(cluster):
    """64 arrays of 8 MiB out."""
    arrays = [make(i) for i in range(64)]
    assert cluster.map(lambda a: float(a.sum()), arrays).results() == [LARGE * i for i in range(64)]


def back(cluster):
    """64 arrays of 8 MiB back, held, and fetched again."""
    job = cluster.map(make, range(64))
    assert job.wait(DEADLINE_S)
    assert sum(stored()) == 64 and stored()[1] >= 56
    for _ in range(2):
        assert [float(a.sum()) for a in job] == [LARGE * i for i in range(64)]
    held = job.results()
    held[3] += 1
    assert job[3].result()[0] == 3 and held[3][0] == 4


def put(cluster):
    """100 MiB, read by many."""
    reference = cluster.put(np.arange(100 * MIB // 8))
    assert stored() == [0, 1]
    futures = [cluster.submit(lambda a, i: int(a[i]), reference, i) for i in range(200)]
    assert tc.gather(futures) == list(range(200))
    assert reference.result()[-1] == 100 * MIB // 8 - 1


def chain(cluster):
    job = cluster.map(make, range(16))
    for _ in range(5):
        job = cluster.map(lambda a: a + 1, job)
    assert [float(a[-1]) for a in job] == [i + 5 for i in range(16)]


def full(cluster):
    """Memory and disk are full: who makes a value hears of it, what was there stays, and room helps."""
    job = cluster.map(make, range(8))
    assert job.wait(DEADLINE_S)
    kept = [job[i] for i in range(8)]
    references, told = [], ""
    while not told:
        try:
            references.append(cluster.put(make(100 + len(references))))
        except tc.StoreFull as error:
            told = str(error)
    assert "value of 8.0 MiB" in told and "Delete variables" in told and "TMPDIR" in told, told
    for call in (
        lambda: cluster.put(make(-1)),
        lambda: cluster.submit(np.sum, make(-1)),
        lambda: cluster.map(np.sum, [make(-1), make(-2)]).results(),
    ):
        try:
            call()
        except tc.StoreFull:
            continue
        raise AssertionError("it was taken, with no room for it")
    failing = cluster.map(make, range(3))
    assert failing.wait(DEADLINE_S) and failing.results("skip") == []
    assert all(isinstance(each.error, tc.StoreFull) for each in failing.errors().values()), failing.errors()
    # Small ones don't need it.
    assert cluster.map(abs, range(-1000, 0)).results() == list(range(1000, 0, -1))
    assert [float(future.result()[0]) for future in kept] == list(range(8))
    for i, reference in enumerate(references):
        assert reference.result()[7] == 100 + i
        assert cluster.submit(lambda a: float(a[-1]), reference).result(DEADLINE_S) == 100 + i
    del references, reference
    gc.collect()
    until(lambda: sum(stored()) <= 8, "room")
    assert failing.retry() == 3
    assert [float(a[0]) for a in failing.results()] == [0, 1, 2]
    assert cluster.map(np.sum, [make(i) for i in range(6)]).results() == [LARGE * i for i in range(6)]
    assert [float(future.result()[0]) for future in kept] == list(range(8))


def loop(cluster):
    """Read bit by bit, slowly or fast: only a handful of results is there at once, however many there are."""
    for count, nbytes, pause in ((100, 2 * MIB, 0.02), (30, 8 * MIB, 0), (30, 20 * MIB, 0.05)):
        seen = []
        for a in cluster.map(lambda i, nbytes=nbytes: np.full(nbytes // 8, i), range(count)):
            seen.append(int(a[-1]))
            time.sleep(pause)  # what the reader does with it
        assert seen == [*range(count)]


def main(case):
    with tc.Cluster(slots=2) as cluster:
        globals()[case](cluster)
        if case != "full":
            gc.collect()
    places = os.environ["TWISTCLUSTER_SHM"], tempfile.gettempdir()
    until(lambda: not any(map(os.listdir, places)), f"clean folders, not {[*map(os.listdir, places)]}")


if __name__ == "__main__":
    main(sys.argv[1])
