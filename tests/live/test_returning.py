"""A program whose named cluster dies goes on with it when it is back."""

import contextlib
import gc
import os
import pathlib
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import twistcluster as tc
from tests.live import dying
from tests.live.conftest import family, measured, runs
from tests.live.dying import (
    DEADLINE_S,
    LARGE,
    PROMPT_S,
    Standalone,
    away,
    begun,
    interrupt_soon,
    later,
    seen,
)
from tests.live.work import double, nonce, slow
from tests.tools import until
from twistcluster.client.launch import find, running_clusters

pytestmark = pytest.mark.usefixtures("stores_apart")
cluster, gate, lab = dying.cluster, dying.gate, dying.lab

# ---- it goes on ------------------------------------------------------------------------------------------------------


def test_a_job_goes_on_and_what_was_seen_of_it_stays(lab, cluster):
    job = cluster.options(name="once").map(nonce, list(range(120)))
    until(lambda: job.progress().done >= 30, DEADLINE_S)
    first = seen(job)
    lab.kill()
    away(cluster)
    first |= seen(job)
    assert not job.done()
    lab.back()
    assert job.wait(DEADLINE_S) and job.state == "done"
    results = job.results()
    assert [i for i, _ in results] == list(range(120)) and len({mark for _, mark in results}) == 120
    assert {i: results[i] for i in first} == first
    again = later(cluster, lab)
    assert again.job("once").results() == results
    again.close(wait=False)


def test_it_goes_on_after_one_kill_after_another(lab, cluster):
    job = cluster.options(name="once").map(nonce, list(range(200)))
    first = {}
    for at in (20, 60, 100):
        until(lambda at=at: job.progress().done >= at, DEADLINE_S)
        first |= seen(job)
        lab.kill()
        away(cluster)
        first |= seen(job)
        lab.back()
    assert job.wait(DEADLINE_S)
    results = job.results()
    assert {i: results[i] for i in first} == first
    again = later(cluster, lab)
    assert again.job("once").results() == results
    again.close(wait=False)


def test_a_generator_is_drawn_on_and_who_iterates_and_who_is_called_hears_all(lab, cluster):
    job = cluster.options(name="lazy").map(slow, (i for i in range(150)))
    futures, called = [cluster.submit(slow, i) for i in range(40)], []
    for future in futures:
        future.add_done_callback(lambda future: called.append(future.result()))
    drawn = iter(job)
    found = [next(drawn) for _ in range(20)]
    lab.kill()
    away(cluster)
    lab.back()
    found += drawn
    assert found == list(range(1, 151))
    assert sorted(future.result() for future in tc.as_completed(futures)) == list(range(1, 41))
    until(lambda: sorted(called) == list(range(1, 41)), what="all calls")


def test_what_is_sent_and_asked_while_it_is_away_is_done_when_it_is_back(lab, cluster):
    cluster.options(name="old").map(abs, [-1, -2]).results()
    gc.collect()
    lab.kill()
    away(cluster)
    late = cluster.options(name="late").submit(abs, -5)
    lazy = cluster.options(name="lazy").map(double, (i for i in range(3000)))
    reference = cluster.put(np.arange(LARGE))
    total = cluster.submit(np.sum, reference)
    with ThreadPoolExecutor(3) as pool:
        asked = [
            pool.submit(lambda: cluster.status().pid),
            pool.submit(lambda: cluster.job("old").results()),
            pool.submit(lambda: sorted(row.label for row in cluster.jobs() if row.label in {"old", "late"})),
        ]
        assert not any(each.done() for each in [*asked, late, total])
        lab.back()
        pid, old, names = [each.result(DEADLINE_S) for each in asked]
    assert (pid, old) == (find(lab.name).pid, [1, 2]) and "old" in names
    assert late.result(DEADLINE_S) == 5 and total.result(DEADLINE_S) == sum(range(LARGE))
    assert lazy.results() == [2 * i for i in range(3000)]


def in_journal(job):
    return until(lambda: job.done() and job.kept, DEADLINE_S, "the end of a job in the journal")


def stored(store):
    places = (pathlib.Path(store), pathlib.Path(store, "disk"))
    return [path.name for place in places for path in place.iterdir() if len(path.name) == 32]


def test_large_values_can_still_be_read_and_are_freed_when_nobody_asks(lab, cluster):
    reference = cluster.put(np.arange(LARGE))
    job = cluster.options(name="large").map(lambda i: np.full(LARGE, i), list(range(12)))
    # Of what is made and not told when slots end, something may lie there for a minute: so this is over before.
    assert in_journal(job)
    lab.kill()
    away(cluster)
    assert reference.result()[-1] == LARGE - 1
    lab.back()
    assert [int(array[-1]) for array in job.results()] == list(range(12))
    more = cluster.map(lambda a, i: a + i, [reference] * 5, list(range(5)))
    assert [int(array[7]) for array in more.results()] == list(range(7, 12))
    assert reference.result()[-1] == LARGE - 1
    store = find(lab.name).store
    assert len(stored(store)) >= 13
    assert in_journal(job)
    job.forget()
    del job, more, reference
    gc.collect()
    until(lambda: not stored(store), what="an empty store")


def once_marked(path):
    print("try")
    if not os.path.exists(path):  # noqa: PTH110 (runs in a slot)
        raise ValueError("no mark yet")
    return path


def test_what_is_cancelled_and_retried_while_it_is_away_stays_so(lab, cluster, tmp_path):
    marks = [str(tmp_path / f"mark{i}") for i in range(3)]
    failing = cluster.options(name="failing").map(once_marked, marks)
    assert failing.wait(DEADLINE_S) and len(failing.errors()) == 3
    cut = cluster.options(name="cut").map(slow, list(range(2000)))
    one = cluster.options(name="one", priority=-5).map(slow, list(range(20)))
    until(lambda: cut.progress().done >= 5, DEADLINE_S)
    lab.kill()
    away(cluster)
    for mark in marks:
        pathlib.Path(mark).touch()
    cut.cancel()
    one[3].cancel()
    failing.retry()
    lab.back()
    assert cut.wait(DEADLINE_S) and cut.state == "cancelled" and cut.progress().cancelled > 1500
    assert failing.wait(DEADLINE_S) and failing.results() == marks and failing.state == "done"
    assert failing.logs() == dict.fromkeys(range(3), "try\ntry\n")
    assert one.wait(DEADLINE_S) and one.results("skip") == [i + 1 for i in range(20) if i != 3]
    again = later(cluster, lab)
    found = {name: again.job(name) for name in ("cut", "failing", "one")}
    assert all(job.wait(DEADLINE_S) for job in found.values())
    assert found["cut"].state == "cancelled" and found["failing"].results() == marks
    assert found["failing"].logs() == dict.fromkeys(range(3), "try\ntry\n")
    assert [i for i in range(20) if found["one"][i].cancelled()] == [3]
    again.close(wait=False)


def test_chains_go_on_and_can_be_made_longer(lab, cluster):
    inner = cluster.options(name="inner").map(slow, list(range(80)))
    outer = cluster.options(name="outer").map(double, inner)
    until(lambda: inner.progress().done >= 20, DEADLINE_S)
    lab.kill()
    away(cluster)
    last = cluster.options(name="last").map(double, outer)
    one = cluster.submit(lambda a, b: (a, b), inner[79], outer[0])
    lab.back()
    assert last.results() == [4 * i for i in range(1, 81)] and outer.results() == [2 * i for i in range(1, 81)]
    assert one.result(DEADLINE_S) == (80, 2)


def prints(i, path):
    while i >= 20 and not os.path.exists(path):  # noqa: PTH110 (runs in a slot)
        time.sleep(0.005)
    print("item", i)
    return i


def test_what_items_print_is_there_once(lab, cluster, tmp_path):
    path = str(tmp_path / "gate")
    job = cluster.options(name="talk").map(prints, list(range(40)), [path] * 40)
    until(lambda: job.progress().done >= 20, DEADLINE_S)
    # The journal is written in order: once this is in it, so is what was printed before.
    marker = cluster.map(abs, [1])
    until(lambda: marker.kept, what="the journal")
    lab.kill()
    away(cluster)
    assert job.logs() == {i: f"item {i}\n" for i in range(20)}
    lab.back()
    until(lambda: "connected" in repr(cluster), 30, "its return")
    assert job.logs() == {i: f"item {i}\n" for i in range(20)}
    pathlib.Path(path).touch()
    assert job.wait(DEADLINE_S) and job.logs() == {i: f"item {i}\n" for i in range(40)}
    again = later(cluster, lab)
    found = again.job("talk")
    assert found.results() == list(range(40))
    assert found.logs() == {i: f"item {i}\n" for i in range(40)}
    again.close(wait=False)


PROGRAM = """
import sys
sys.path[:0] = [{root!r}]
import twistcluster as tc
from tests.live.work import slow
cluster = tc.connect("lab")
job = cluster.options(name=sys.argv[1]).map(slow, list(range(150)))
while job.progress().done < 10:
    job[0].result()
print("now", flush=True)
input()
print(job.results() == list(range(1, 151)), cluster.status().pid, flush=True)
"""


def test_two_programs_come_back_to_one_cluster(clusters):
    pid = clusters.local(slots=2).connection.pid
    root = str(pathlib.Path(__file__).resolve().parents[2])
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", PROGRAM.format(root=root)]
    with contextlib.ExitStack() as stack:
        programs = [stack.enter_context(subprocess.Popen([*command, name], **pipes)) for name in "ab"]
        assert [program.stdout.readline() for program in programs] == ["now\n"] * 2
        pids = family(pid)
        os.kill(pid, signal.SIGKILL)
        said = [program.communicate("\n", timeout=DEADLINE_S)[0] for program in programs]
    clusters.pids += [each.pid for each in running_clusters()]
    assert not any(map(runs, pids))
    (now,) = running_clusters()
    assert now.pid != pid and said == [f"True {now.pid}\n"] * 2


# ---- while it is away ------------------------------------------------------------------------------------------------


def test_it_says_what_goes_on(lab, cluster, caplog):
    job = cluster.options(name="slow").map(slow, list(range(200)))
    until(lambda: job.progress().done >= 5, DEADLINE_S)
    assert repr(cluster) == "<Cluster lab: connected>"
    lab.kill()
    away(cluster)
    assert repr(cluster) == "<Cluster lab: looking for it>"
    progress = job.progress()
    assert progress.state == "running" and progress.running == 0
    assert progress.waiting == "its cluster can't be reached: it goes on when that is back"
    lab.back()
    assert job.wait(DEADLINE_S) and job.progress().waiting == ""
    assert repr(cluster) == "<Cluster lab: connected>"
    said = [record.message for record in caplog.records if record.name == "twistcluster"]
    assert "the link to the cluster 'lab' is lost (the other side is gone): looking for it" in said
    assert "the cluster 'lab' is back: 1 job goes on" in said


def test_an_interrupt_detaches_at_once_while_it_is_away(lab, cluster):
    job = cluster.options(name="slow").map(slow, list(range(200)))
    until(lambda: job.progress().done >= 5, DEADLINE_S)
    lab.kill()
    away(cluster)
    for wait in (job.results, job.wait, job[199].result):
        interrupt_soon()
        began = time.monotonic()
        with pytest.raises(tc.Detached, match="the work goes on"):
            wait()
        assert time.monotonic() - began < PROMPT_S
    interrupt_soon()
    with pytest.raises(KeyboardInterrupt):
        cluster.status()
    lab.back()
    assert cluster.job("slow").results() == list(range(1, 201))


def test_close_while_it_is_away_returns_at_once_and_says_what_is_open(lab, cluster):
    job = cluster.options(name="slow").map(slow, list(range(200)))
    until(lambda: job.progress().done >= 5 and job.kept, DEADLINE_S)
    lab.kill()
    away(cluster)
    assert measured(cluster.close) < PROMPT_S
    assert "closed" in repr(cluster)
    until(job.done, what="the loss")
    with pytest.raises(tc.ClusterUnreachable, match=r"closed here.*\n.*tc.connect\('lab'\)"):
        job.results()
    with pytest.raises(tc.ClusterUnreachable, match="was closed"):
        cluster.submit(abs, 1)
    if isinstance(lab, Standalone):
        lab.back()
    again = tc.connect(lab.name)
    if not isinstance(lab, Standalone):
        lab.back()
    assert again.job("slow").results() == list(range(1, 201))
    again.close(wait=False)


def test_a_cluster_that_is_away_is_stopped_once_it_is_back(lab, cluster):
    job = begun(cluster)
    lab.kill()
    away(cluster)
    with ThreadPoolExecutor(1) as pool:
        stopped = pool.submit(cluster.stop, force=True)
        lab.let_come()
        stopped.result(DEADLINE_S)
    assert not running_clusters() and "closed" in repr(cluster)
    until(job.done, what="the loss")
    with pytest.raises(tc.ClusterUnreachable):
        job.results()


def test_a_stop_that_nobody_waits_for_any_more_is_not_said_later(lab, cluster, monkeypatch):
    job = begun(cluster)
    lab.kill()
    away(cluster)
    with monkeypatch.context() as patch:
        patch.setattr("twistcluster.cluster.END_SECONDS", 0.3)
        with pytest.raises(tc.ClusterUnreachable, match=r"nothing to stop.*close\(\) stops looking"):
            cluster.stop(force=True)
    interrupt_soon()
    with pytest.raises(KeyboardInterrupt):
        cluster.stop(force=True)
    job.cancel()
    lab.back()
    assert job.wait(DEADLINE_S) and cluster.submit(abs, -1).result(DEADLINE_S) == 1
