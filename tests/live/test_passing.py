"""Results that pass through this program: who iterates slowly, or among others, gets all of them, and fills no store."""

import gc
import itertools
import threading
from pathlib import Path

import numpy as np
import pytest

import twistcluster as tc
from tests.tools import until
from twistcluster.net import connections

MIB = 1024 * 1024


@pytest.fixture
def cluster():
    """Unnamed: a named one keeps results for those who come later. Its slots are there."""
    with tc.Cluster(slots=2) as cluster:
        cluster.map(abs, range(100)).results()
        yield cluster


def made(i):
    """1 MiB."""
    return np.full(MIB // 8, i)


def stored(cluster):
    """How many results are in the store."""
    store = Path(connections.find(cluster.id)["store"])
    return sum(len(path.name) == 32 for place in (store, store / "disk") for path in place.glob("*"))


def counted(count, pulled):
    for number in range(count):
        pulled.append(number)
        yield number


def pause(cluster):
    """Let the cluster do all that it may do now."""
    assert cluster.options(priority=-1).map(abs, [-1]).results() == [1]


@pytest.mark.parametrize("source", [lambda: iter(range(800)), lambda: range(800)], ids=["iterator", "range"])
def test_a_slow_reader_of_a_mixed_map_holds_the_inner_source_back(cluster, source):
    results = iter(cluster.map(lambda a, b: a + b, cluster.map(made, source()), range(800)))
    inner = next(row for row in cluster.jobs() if row.label.startswith("made"))
    most = 0
    for number in range(120):
        assert int(next(results)[0]) == 2 * number
        if number % 40 == 0:
            pause(cluster)
            most = max(most, stored(cluster))
    assert most <= 500
    assert cluster.job(inner.id).progress().done <= 500
    results.close()
    until(lambda: stored(cluster) == 0, what="an empty store: both are cancelled")


def test_a_mixed_map_of_jobs_ends_right_however_it_is_read(cluster):
    sums = cluster.map(
        lambda a, b, c: int(a[0] + b[0]) + c,
        cluster.map(made, range(200)),
        cluster.map(lambda a: a * 2, cluster.map(made, iter(range(210)))),
        iter(range(220)),
    )
    assert [*sums] == [4 * i for i in range(200)]
    results = iter(cluster.map(lambda a, b: a + b, cluster.map(made, iter(range(300))), range(300)))
    assert int(next(results)[0]) == 0
    pause(cluster)
    assert [int(a[0]) for a in results] == [2 * i for i in range(1, 300)]


def test_an_iterator_is_a_reader_before_its_first_result_is_asked_for(cluster):
    pulled = []
    job = cluster.map(made, counted(600, pulled))
    results = iter(job)
    del job
    until(lambda: stored(cluster) >= 120, what="what may wait for who iterates: 128")
    pause(cluster)
    assert len(pulled) < 400
    assert [int(a[0]) for a in results] == [*range(600)]


def test_two_iterators_over_a_dropped_lazy_job_get_everything_each(cluster):
    job = cluster.map(made, iter(range(150)))
    fast, slow = iter(job), iter(job)
    del job
    assert int(next(slow)[0]) == 0
    assert [int(a[0]) for a in fast] == [*range(150)]
    assert [int(a[0]) for a in slow] == [*range(1, 150)]
    del fast, slow
    gc.collect()
    until(lambda: stored(cluster) == 0, what="an empty store")


@pytest.mark.parametrize("chained", [False, True], ids=["alone", "chained"])
def test_an_endless_source_that_nobody_reads_any_more_is_pulled_no_more(chained):
    """And the end of the block, which waits for all jobs, comes."""
    with tc.Cluster(slots=2) as cluster:
        jobs = [cluster.map(made, itertools.count())]
        if chained:
            jobs = [cluster.map(lambda a: a + 1, jobs.pop())]
        for a in jobs.pop():
            assert int(a[0]) == int(chained)
            break
        until(lambda: not any(thread.name == "twistcluster-pull" for thread in threading.enumerate()))


def made_but_one(i):
    return made(i) if i != 90 else 1 / 0


def test_what_is_not_read_is_given_back(cluster):
    """By who breaks off, gets an error, only waits, or forgets."""
    with pytest.raises(ZeroDivisionError):
        cluster.map(made_but_one, [*range(100)]).results()
    # The error and the job that it was raised from hold each other, by the traceback.
    until(lambda: gc.collect() >= 0 and stored(cluster) == 0, what="an empty store after an error")
    job = cluster.map(made, [*range(1000)])
    job[80].result()
    job.cancel()
    job.wait()
    del job
    until(lambda: stored(cluster) == 0, what="an empty store after a cancelled job")
    for a in cluster.map(made, [*range(100)]):
        assert int(a[0]) == 0
        break
    cluster.map(made, [*range(100, 200)]).wait()
    job = cluster.map(made, [*range(50)])
    job.wait()
    job.forget()
    assert int(job.results()[7][0]) == 7
    del job, a
    until(lambda: stored(cluster) == 0, what="an empty store")
    job = cluster.map(made, [*range(50)])
    job.wait()
    job.forget()
    del job
    until(lambda: stored(cluster) == 0, what="an empty store")
