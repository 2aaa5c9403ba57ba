"""The public Cluster, Job and Future, on real local clusters."""

import asyncio
import concurrent.futures
import gc
import itertools
import logging
import os
import pathlib
import signal
import threading
import time

import pytest

import twistcluster as tc

DEADLINE_S = 60.0


def until(condition, what="it"):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} didn't happen within {DEADLINE_S} s"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def cluster():
    with tc.Cluster(slots=2) as found:
        yield found


def boom(x):
    if x == 3:
        raise ValueError(f"{x} is three")
    return x * x


def nap(seconds):
    time.sleep(seconds)
    return seconds


class OddError(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


# ---- submit ----------------------------------------------------------------------------------------------------------


def test_a_submit_is_a_future_of_concurrent_futures(cluster):
    future = cluster.submit(pow, 2, 10)
    assert isinstance(future, concurrent.futures.Future)
    assert future.result(DEADLINE_S) == 1024
    assert future.done() and future.exception() is None and not future.cancelled()
    assert future.name.startswith("pow-")
    assert repr(future) == f"<Future {future.name}: done>"


def test_keywords_lambdas_and_order(cluster):
    futures = [cluster.submit(lambda x, y=0: (x, y), i, y=-i) for i in range(500)]
    assert tc.gather(futures) == [(i, -i) for i in range(500)]


def test_values_of_all_kinds_in_one_batch(cluster):
    values = [1, "a", b"b", None, [1, 2], {"k": (1, 2)}, 2.5, bytearray(100_000), {1, 2}]
    futures = [cluster.submit(lambda x: x, value) for value in values]
    assert tc.gather(futures) == values


def test_an_error_is_the_users_own_with_the_remote_traceback(cluster):
    future = cluster.submit(boom, 3)
    with pytest.raises(ValueError, match="3 is three") as caught:
        future.result(DEADLINE_S)
    assert isinstance(caught.value.__cause__, tc.RemoteTraceback)
    assert "in boom" in str(caught.value.__cause__)
    assert future.exception() is caught.value


def test_an_error_that_cannot_be_rebuilt_is_described(cluster):
    def fail():
        raise OddError(1, 2)

    with pytest.raises(tc.RemoteError, match="OddError: 1 and 2"):
        cluster.submit(fail).result(DEADLINE_S)


def test_what_cannot_be_pickled_is_said_at_once(cluster):
    with pytest.raises(tc.NotPicklable, match="lock"):
        cluster.submit(abs, threading.Lock())
    with pytest.raises(tc.NotPicklable):
        cluster.map(abs, [1, 2, threading.Lock()])
    lock = threading.Lock()
    with pytest.raises(tc.NotPicklable):
        cluster.submit(lambda: lock)
    with pytest.raises(tc.NotPicklable):
        cluster.submit(lambda: cluster)
    assert cluster.submit(abs, -1).result(DEADLINE_S) == 1


def test_a_result_that_cannot_be_pickled(cluster):
    with pytest.raises(tc.NotPicklable):
        cluster.submit(threading.Lock).result(DEADLINE_S)


def test_an_option_as_a_keyword_names_options(cluster):
    with pytest.raises(TypeError, match=r"cluster\.options\(priority=3\)\.submit"):
        cluster.submit(abs, 1, priority=3)
    with pytest.raises(TypeError, match=r"cluster\.options\(name='x'\)\.map"):
        cluster.map(abs, [1], name="x")
    assert cluster.submit(lambda priority: priority, priority=3).result(DEADLINE_S) == 3


def test_options(cluster):
    future = cluster.options(priority=5, name="train").submit(nap, 0.001)
    assert future.name == "train" and cluster.job("train")[0].name == "train"
    assert future.result(DEADLINE_S) == 0.001
    job = cluster.options(name="several").map(abs, [-1, -2])
    assert job.name == "several" and job.results() == [1, 2]
    assert cluster.job("several").results() == [1, 2]
    assert cluster.job(job.id).results() == [1, 2]
    with pytest.raises(TypeError):
        cluster.options(priority="high")
    with pytest.raises(TypeError):
        cluster.options(resources={"gpu": -1})


def test_a_resource_that_nobody_offers_says_so(cluster):
    future = cluster.options(resources={"gpu": 1}).submit(abs, -1)
    jobs = cluster.jobs("abs")
    until(lambda: any(job.waiting for job in cluster.jobs()), "the reason")
    assert jobs is not None
    assert future.cancel()
    until(lambda: not any(job.waiting for job in cluster.jobs()), "the end of waiting")
    with pytest.raises(TypeError, match="names and amounts"):
        cluster.options(resources="gpu")


def test_a_named_job_that_still_runs_is_mentioned(cluster, caplog):
    older = cluster.options(name="twice").map(nap, [0.3])
    with caplog.at_level(logging.WARNING, "twistcluster"):
        newer = cluster.options(name="twice").map(abs, [1])
    assert f"cluster.job('{older.id}').cancel()" in caplog.text
    assert cluster.job("twice").id == newer.id
    assert cluster.job(older.id).results() == [0.3]


def test_callbacks_run_on_one_thread_that_is_not_the_reactors(cluster):
    threads = []
    came = threading.Event()
    future = cluster.submit(nap, 0.05)
    future.add_done_callback(lambda f: (threads.append(threading.current_thread().name), came.set()))
    assert came.wait(DEADLINE_S)
    assert threads == ["twistcluster-callbacks"]


def test_concurrent_futures_take_it(cluster):
    futures = [cluster.submit(abs, -i) for i in range(20)]
    done, not_done = concurrent.futures.wait(futures, DEADLINE_S)
    assert len(done) == 20 and not not_done
    futures = [cluster.submit(abs, -i) for i in range(20)]
    assert sorted(f.result() for f in concurrent.futures.as_completed(futures, DEADLINE_S)) == list(range(20))


def test_wait_and_as_completed_take_futures_and_jobs(cluster):
    slow, fast = cluster.submit(nap, 0.4), cluster.submit(abs, -7)
    done, not_done = tc.wait([slow, fast], return_when=concurrent.futures.FIRST_COMPLETED)
    assert done == {fast} and not_done == {slow}
    job = cluster.map(abs, [-1, -2])
    assert {type(each) for each in tc.as_completed([slow, job], DEADLINE_S)} == {tc.Future, tc.Job}
    assert tc.gather([job, fast]) == [[1, 2], 7]
    with pytest.raises(TimeoutError):
        list(tc.as_completed([cluster.submit(nap, 0.3)], 0.01))
    with pytest.raises(TypeError):
        tc.wait([1])


def test_a_timeout_leaves_the_work_alone(cluster):
    future = cluster.submit(nap, 0.3)
    with pytest.raises(TimeoutError, match="goes on"):
        future.result(0.01)
    assert future.result(DEADLINE_S) == 0.3


def test_cancel_is_final_here(cluster):
    blockers = [cluster.submit(nap, 0.3) for _ in range(2)]
    queued = cluster.submit(abs, -1)
    assert queued.cancel() and queued.cancelled() and queued.done()
    with pytest.raises(concurrent.futures.CancelledError):
        queued.result()
    with pytest.raises(tc.Cancelled):
        queued.exception()
    assert tc.gather(blockers) == [0.3, 0.3]
    assert not blockers[0].cancel()


def test_a_changed_global_is_seen(cluster):
    space = {}
    exec("def use():\n    return factor", space)
    space["__name__"] = "__main__"
    space["use"].__module__ = "__main__"
    seen = []
    for factor in (1, 2, 3):
        space["factor"] = factor
        seen.append(cluster.submit(space["use"]))
    assert tc.gather(seen) == [1, 2, 3]
    space["factor"], seen = [0], []
    for factor in range(50):
        space["factor"][0] = factor
        seen.append(cluster.submit(space["use"]))
    assert tc.gather(seen) == [[factor] for factor in range(50)], "also what changes in place, in one fast loop"


def test_an_unasked_failure_is_logged_once(cluster, caplog):
    future = cluster.submit(boom, 3)
    until(future.done)
    with caplog.at_level(logging.ERROR, "twistcluster"):
        del future
        gc.collect()
        until(lambda: "nobody asked" in caplog.text, "the log")
    assert caplog.text.count("nobody asked") == 1 and "3 is three" in caplog.text


# ---- map -------------------------------------------------------------------------------------------------------------


def test_a_map_can_be_read_in_every_way(cluster):
    job = cluster.map(abs, [-3, -2, -1])
    assert job.results() == [3, 2, 1] == list(job) == list(job)
    assert (next(job), next(job), next(job)) == (3, 2, 1)
    with pytest.raises(StopIteration):
        next(job)
    assert len(job) == 3
    assert [job[0].result(), job[-1].result()] == [3, 1]
    assert [f.result() for f in job[1:]] == [2, 1]
    with pytest.raises(IndexError):
        job[3]
    with pytest.raises(TypeError):
        job[1.5]
    assert sorted(job.as_completed()) == [(0, 3), (1, 2), (2, 1)]
    assert job.done() and job.state == "done" and job.wait(0)
    assert repr(job) == f"<Job {job.name}: done, 3/3 done>"
    assert job.progress().done == 3


def test_many_plain_items(cluster):
    values = [str(i) for i in range(300_000)]
    assert cluster.map(len, values).results() == [len(v) for v in values]


def test_many_items_that_are_not_plain(cluster):
    values = [(i, [i]) for i in range(20_000)]
    job = cluster.map(lambda v: v, values)
    assert job.results() == values
    assert job[19_999].result() == (19_999, [19_999])


def test_items_are_taken_as_they_are_now(cluster):
    values = [[i] for i in range(50_000)]
    job = cluster.map(lambda v: v[0], values)
    for value in values:
        value[0] = -1
    assert job.results() == list(range(50_000))


def test_several_iterables(cluster):
    assert cluster.map(pow, [1, 2, 3], (4, 5, 6)).results() == [1, 32, 729]
    assert cluster.map(lambda a, b: a + b, range(5), iter([1, 1, 1])).results() == [1, 2, 3]


def test_wrong_use_is_said_at_once(cluster):
    with pytest.raises(TypeError, match="function is wanted"):
        cluster.map([1, 2], abs.__name__)
    with pytest.raises(TypeError, match="at least one iterable"):
        cluster.map(abs)
    with pytest.raises(TypeError, match="function is wanted"):
        cluster.submit("abs", 1)
    with pytest.raises(TypeError, match="not iterable"):
        cluster.map(abs, 5)
    with pytest.raises(TypeError, match="keyword 'key'"):
        cluster.map(abs, [1], key=1)


def test_an_item_that_kills_its_slot(cluster):
    future, after = cluster.submit(os._exit, 3), cluster.map(abs, [-1, -2])
    with pytest.raises(tc.WorkerCrashed, match="exit code 3"):
        future.result(DEADLINE_S)
    assert after.results() == [1, 2]


def test_zero_items(cluster):
    for nothing in ([], (), iter(()), range(0), {}):
        job = cluster.map(abs, nothing)
        assert job.results() == []
        assert job.wait(DEADLINE_S) and job.state == "done" and len(job) == 0


def test_errors_of_a_map(cluster):
    job = cluster.map(boom, [1, 2, 3, 4])
    with pytest.raises(ValueError, match="3 is three"):
        job.results()
    assert job.results("skip") == [1, 4, 16]
    returned = job.results("return")
    assert [returned[0], returned[3]] == [1, 16] and isinstance(returned[2], ValueError)
    with pytest.raises(ValueError, match="errors is"):
        job.results("ignore")
    errors = job.errors()
    assert list(errors) == [2] and errors[2].why == "raised" and "in boom" in errors[2].traceback
    assert "ValueError: 3 is three" in repr(errors)
    assert job.state == "failed"
    iterator = iter(job)
    assert [next(iterator), next(iterator)] == [1, 4]
    with pytest.raises(ValueError, match="three"):
        next(iterator)


def test_retry(cluster, tmp_path):
    flag = tmp_path / "flag"

    def once(x, flag=str(flag)):
        if x == 1 and not pathlib.Path(flag).exists():
            pathlib.Path(flag).touch()
            raise RuntimeError("not yet")
        return x

    job = cluster.map(once, [0, 1, 2])
    job.wait(DEADLINE_S)
    assert job.state == "failed"
    assert job.retry() == 1
    assert job.results() == [0, 1, 2] and job.state == "done" and not job.errors()
    assert sorted(job.as_completed()) == [(0, 0), (1, 1), (2, 2)]
    assert job.retry() == 0


def test_what_items_print(cluster):
    job = cluster.map(lambda x: print("item", x), [0, 1])
    job.wait(DEADLINE_S)
    until(lambda: len(job.logs()) == 2, "the output")
    assert job.logs(1) == "item 1\n" and job.logs() == {0: "item 0\n", 1: "item 1\n"}
    assert repr(job.logs()) == "[0] item 0\n[1] item 1"


def test_a_lazy_source_is_pulled_as_the_work_goes_on(cluster):
    def source():
        yield from range(1000)

    job = cluster.map(abs, source())
    assert job.results() == list(range(1000))
    assert len(job) == 1000


def test_a_jobs_results_can_be_the_items_of_another_while_they_come(cluster):
    first = cluster.map(abs, itertools.count())
    second = cluster.map(pow, first, [2, 2, 2])
    assert second.results() == [0, 1, 4]
    third = cluster.map(abs, first)
    assert next(third) == 0
    third.cancel()
    first.cancel()
    assert third.wait(DEADLINE_S) and first.wait(DEADLINE_S)


def test_a_lazy_job_has_no_length_until_its_input_ended(cluster):
    go_on = threading.Event()

    def source():
        yield 1
        go_on.wait(DEADLINE_S)
        yield 2

    job = cluster.map(abs, source())
    with pytest.raises(TypeError, match="no length yet"):
        len(job)
    assert next(iter(job)) == 1  # while the source goes on
    assert not job.done()
    go_on.set()
    assert job.wait(DEADLINE_S) and len(job) == 2


def test_a_source_that_raises(cluster):
    def source():
        yield 1
        yield 2
        raise OSError("no more")

    job = cluster.map(abs, source())
    with pytest.raises(tc.InputEnded, match="raised OSError after 2 items: no more"):
        job.results()
    assert job.results("skip") == [1, 2]
    assert job.state == "failed"


def test_an_endless_job_is_cancelled(cluster):
    def source():
        i = 0
        while True:
            yield i
            i += 1

    job = cluster.map(abs, source())
    assert [next(job) for _ in range(3)] == [0, 1, 2]
    job.cancel()
    assert job.wait(DEADLINE_S)
    assert job.state == "cancelled"
    assert job.results("skip")[:3] == [0, 1, 2]
    with pytest.raises(tc.Cancelled):
        job.results()


def test_cancel_stops_what_has_not_started(cluster):
    job = cluster.map(nap, [0.2] * 200)
    assert next(job) == 0.2
    job.cancel()
    assert job.wait(DEADLINE_S) and job.state == "cancelled"
    assert 1 <= len(job.results("skip")) < 20


def test_an_item_is_cancelled_alone(cluster):
    job = cluster.map(nap, [0.2] * 8)
    assert job[7].cancel()
    with pytest.raises(tc.Cancelled):
        job[7].result(DEADLINE_S)
    assert job.results("skip") == [0.2] * 7
    lazy = cluster.map(nap, iter([0.2] * 8))
    assert lazy[7].cancel() and lazy[7].cancelled()
    assert lazy.results("skip") == [0.2] * 7


def test_a_map_with_a_timeout(cluster):
    job = cluster.map(nap, [0.5], timeout=0.05, chunksize=10)
    with pytest.raises(TimeoutError):
        list(job)
    with pytest.raises(TimeoutError):
        next(job)
    with pytest.raises(TimeoutError):
        list(job.as_completed())
    assert job.wait(DEADLINE_S)


def test_a_job_bigger_than_its_messages_still_shows_progress(cluster):
    job = cluster.map(nap, [0.01] * 100)
    until(lambda: 0 < job.progress().done < 100, "progress")
    progress = job.progress()
    assert progress.state == "running" and progress.rate > 0 and progress.seconds_left is not None
    job.wait(DEADLINE_S)
    assert job.progress().seconds_left == 0


def test_finding_jobs(cluster):
    job = cluster.map(boom, [5])
    assert cluster.job(job.name).results() == [25]
    future = cluster.submit(boom, 6)
    assert cluster.job(future.name).results() == [36] == cluster.job(future.name).results()
    assert any(each.id == job.id for each in cluster.jobs())
    assert job.name in repr(cluster.jobs())
    with pytest.raises(tc.JobNotFound):
        cluster.job("nothing-1")


# ---- waiting ---------------------------------------------------------------------------------------------------------


def interrupt_soon(seconds=0.3):
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)).start()


@pytest.mark.parametrize("way", ["future", "results", "iteration", "wait", "tc.wait", "show"])
def test_an_interrupt_detaches(cluster, tmp_path, way):
    gate = tmp_path / "gate"  # nothing is done before the interrupt came

    def pass_through(gate):
        while not gate.exists():
            time.sleep(0.005)
        return 1.0

    job = cluster.map(pass_through, [gate, gate])
    future = job[0] if way != "future" else cluster.submit(pass_through, gate)
    waits = {
        "future": future.result,
        "results": job.results,
        "iteration": lambda: list(job),
        "wait": job.wait,
        "tc.wait": lambda: tc.wait([job]),
        "show": lambda: job.show(wait=True),
    }
    interrupt_soon()
    with pytest.raises(tc.Detached) as caught:
        waits[way]()
    gate.touch()
    lines = str(caught.value).splitlines()
    name = future.name if way == "future" else job.name
    assert len(lines) == 2 and f"cluster.job('{name}')" in lines[1] and "cancel()" in lines[1]
    assert future.result(DEADLINE_S) == 1.0


def test_await(cluster):
    async def main():
        first = await cluster.submit(abs, -1)
        rest = await asyncio.gather(*[cluster.submit(abs, -i) for i in range(10)])
        job = await cluster.map(abs, [-1, -2])
        wrapped = await asyncio.wrap_future(cluster.submit(abs, -5))
        ran = await asyncio.get_running_loop().run_in_executor(cluster, abs, -6)
        with pytest.raises(ValueError, match="three"):
            await cluster.submit(boom, 3)
        return first, rest, job, wrapped, ran

    assert asyncio.run(main()) == (1, list(range(10)), [1, 2], 5, 6)


def test_cancelling_an_await_detaches(cluster):
    async def main():
        future = cluster.submit(nap, 0.3)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(future, 0.05)
        return future

    assert asyncio.run(main()).result(DEADLINE_S) == 0.3


def test_waiting_on_the_reactors_thread_is_refused(cluster):
    from twistcluster.client import bridge

    future = cluster.submit(nap, 0.2)
    said = []
    came = threading.Event()

    def wrong():
        try:
            future.result()
        except tc.TwistclusterError as error:
            said.append(str(error))
        came.set()

    bridge.call(wrong)
    assert came.wait(DEADLINE_S) and "add_done_callback" in said[0]


# ---- the cluster -----------------------------------------------------------------------------------------------------


def test_once_is_true_or_false(cluster):
    with pytest.raises(TypeError, match="not 'yes'"):
        cluster.everywhere(abs, once="yes")
    assert cluster.submit(abs, -1).result() == 1


def test_everywhere_runs_in_every_slot(cluster):
    assert len(set(cluster.everywhere(os.getpid, once=True))) == 2
    with pytest.raises(ZeroDivisionError):
        cluster.everywhere(lambda: 1 / 0)
    assert cluster.submit(abs, -1).result(DEADLINE_S) == 1, "a step that failed isn't tried again"


def test_upload(cluster, tmp_path):
    (tmp_path / "words.txt").write_text("hello")
    assert cluster.upload(tmp_path / "words.txt") == ["words.txt"]
    assert cluster.submit(lambda: pathlib.Path("words.txt").read_text()).result(DEADLINE_S) == "hello"


def test_status_workers_versions(cluster):
    status = cluster.status()
    assert status.workers[0].slots == 2 and "slots" in repr(status) and "2 on 1 worker" in repr(status)
    assert cluster.workers()[0].local and "worker" in repr(cluster.workers())
    versions = cluster.versions()
    assert versions["client"]["twistcluster"] == versions["scheduler"]["twistcluster"]
    assert cluster._max_workers == 2
    assert bool(cluster) and not callable(cluster)


def test_scale_and_restart(cluster):
    before = set(cluster.everywhere(os.getpid, once=True))
    cluster.scale(3)
    cluster.wait_for_workers(1, slots=3, timeout=DEADLINE_S)
    cluster.scale(2)
    until(lambda: cluster.status().workers[0].ready == 2, "two slots")
    cluster.restart()
    until(lambda: not before & set(cluster.everywhere(os.getpid, once=True)), "new processes")
    with pytest.raises(ValueError, match="at least"):
        cluster.scale(-1)
    with pytest.raises(TimeoutError):
        cluster.wait_for_workers(5, timeout=0.05)


def test_dask_takes_it(cluster):
    dask = pytest.importorskip("dask")
    total = dask.delayed(sum)([dask.delayed(abs)(-i) for i in range(10)])
    assert total.compute(scheduler=cluster) == 45


def test_joblib_takes_it(cluster):
    joblib = pytest.importorskip("joblib")
    with joblib.parallel_config(backend=cluster.joblib()):
        parallel = joblib.Parallel()
        assert parallel(joblib.delayed(abs)(-i) for i in range(50)) == list(range(50))
        assert parallel.n_jobs == -1
        with pytest.raises(ValueError, match="three"):
            joblib.Parallel()(joblib.delayed(boom)(i) for i in range(10))


def test_a_cluster_cannot_be_had_inside_an_item(cluster):
    def inside():
        import twistcluster

        return twistcluster.Cluster()

    with pytest.raises(tc.InsideItem, match="inside an item"):
        cluster.submit(inside).result(DEADLINE_S)
