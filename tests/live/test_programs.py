"""Whole programs: how clusters begin, are shared, lost, and end with what made them."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

import twistcluster as tc
from tests.live.conftest import runs
from tests.tools import until

DEADLINE_S = 60.0


def run(code, *arguments, check=True, **options):
    """Run a program; its output."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


# ---- the ways to end -------------------------------------------------------------------------------------------------


def test_with_waits_for_the_work():
    done = run("""
        import time, twistcluster as tc
        with tc.Cluster(slots=1) as cluster:
            futures = [cluster.submit(time.sleep, 0.1) for _ in range(3)]
            job = cluster.map(abs, (-i for i in range(5)))
        print([f.done() for f in futures], job.results(), cluster)
    """)
    assert done.stdout.startswith("[True, True, True] [0, 1, 2, 3, 4] <Cluster ")
    assert "closed" in done.stdout and not done.stderr


def test_an_exception_cancels_the_work():
    began = time.monotonic()
    done = run(
        """
        import time, twistcluster as tc
        with tc.Cluster(slots=1) as cluster:
            job = cluster.map(time.sleep, [1] * 100)
            import atexit
            atexit.register(lambda: print(job.state, job[99].cancelled()))
            raise RuntimeError("stop")
        """,
        check=False,
    )
    assert done.stdout == "cancelled True\n"
    assert "RuntimeError: stop" in done.stderr and time.monotonic() - began < 60


def test_async_with():
    done = run("""
        import asyncio, twistcluster as tc
        async def main():
            async with tc.Cluster(slots=1) as cluster:
                return await cluster.submit(abs, -1)
        print(asyncio.run(main()))
    """)
    assert done.stdout == "1\n"


def test_a_program_that_just_ends_takes_its_cluster_along():
    done = run("""
        import twistcluster as tc
        cluster = tc.Cluster(slots=1)
        cluster.submit(abs, -1).result()
        print(cluster.status().pid, cluster.everywhere(__import__("os").getpid)[0])
    """)
    pids = [int(pid) for pid in done.stdout.split()]
    until(lambda: not any(map(runs, pids)), what="the cluster's end")
    assert not done.stderr


def test_close_waits_and_nothing_can_be_sent_afterwards():
    cluster = tc.Cluster(slots=1)
    pid = cluster.status().pid
    future = cluster.submit(time.sleep, 0.2)
    cluster.close()
    assert future.done() and not runs(pid)
    with pytest.raises(tc.ClusterUnreachable, match="closed"):
        cluster.submit(abs, 1)
    with pytest.raises(tc.ClusterUnreachable):
        cluster.status()
    cluster.close()
    assert "closed" in repr(cluster)


def test_close_without_waiting_lets_the_work_finish():
    cluster = tc.Cluster(slots=1)
    pid = cluster.status().pid
    future = cluster.submit(time.sleep, 0.3)
    cluster.close(wait=False)
    assert not future.done()
    assert future.result(DEADLINE_S) is None
    until(lambda: not runs(pid), what="the cluster's end")


def test_a_forgotten_cluster_ends_when_its_work_is_done():
    cluster = tc.Cluster(slots=1)
    pid = cluster.status().pid
    future = cluster.submit(time.sleep, 0.3)
    del cluster
    assert future.result(DEADLINE_S) is None
    until(lambda: not runs(pid), what="the cluster's end")


def test_shutdown_cancels_on_request():
    cluster = tc.Cluster(slots=1)
    futures = [cluster.submit(time.sleep, 0.2) for _ in range(50)]
    cluster.shutdown(cancel_futures=True)
    assert all(future.done() for future in futures) and futures[-1].cancelled()


def test_a_program_that_ends_without_close_is_silent():
    cluster = tc.Cluster(name="lab", slots=1)
    try:
        done = run("""
            import twistcluster as tc
            cluster = tc.connect("lab")
            print(cluster.submit(abs, -1).result())
            job = cluster.map(abs, [-2])
        """)
        assert done.stdout == "1\n" and not done.stderr
    finally:
        cluster.stop(force=True)


# ---- named clusters --------------------------------------------------------------------------------------------------


def test_a_named_cluster_is_shared_and_kept():
    cluster = tc.Cluster(name="lab", slots=1)
    try:
        again = tc.Cluster(name="lab")
        assert again.id == cluster.id and [each.name for each in tc.clusters()] == ["lab"]
        assert "lab" in repr(tc.clusters())
        with pytest.raises(tc.OptionsDiffer, match="slots=1"):
            tc.Cluster(name="lab", slots=2)
        job = cluster.options(name="train").map(abs, [-1, -2])
        assert again.job("train").results() == [1, 2]
        cluster.close()
        assert again.submit(abs, -3).result(DEADLINE_S) == 3  # they share one link, which is still in use
        again.close()
        assert [each.name for each in tc.clusters()] == ["lab"]
        assert job.results() == [1, 2]
    finally:
        tc.connect("lab").stop(force=True)
    assert not tc.clusters()
    with pytest.raises(tc.ClusterUnreachable, match="lab"):
        tc.connect("lab")


def test_another_program_finds_the_job():
    with tc.Cluster(name="lab", slots=1) as cluster:
        done = run("""
            import twistcluster as tc
            cluster = tc.connect("lab")
            job = cluster.options(name="train").map(lambda x: print("hi", x) or 1 // x, [0, 1, 2])
            job.wait()
            print(job.id)
        """)
        job = cluster.job("train")
        assert job.id == done.stdout.strip()
        assert job.wait(DEADLINE_S) and job.results("skip") == [1, 0]
        assert list(job.errors()) == [0] and job.logs(1) == "hi 1\n"
        with pytest.raises(ZeroDivisionError):
            job[0].result()
        (status,) = cluster.jobs("train")
        assert not status.yours and status.state == "failed"
        late = cluster.submit(time.sleep, 0.5)
        with pytest.raises(tc.ClusterBusy, match="force"):
            cluster.stop()
        assert late.result(DEADLINE_S) is None
        cluster.stop()


def test_idle_timeout_wants_a_name():
    with pytest.raises(ValueError, match="name"):
        tc.Cluster(idle_timeout="10m")
    with pytest.raises(ValueError, match="5s"):
        tc.Cluster(name="lab", idle_timeout="soon")
    with pytest.raises(TypeError):
        tc.Cluster(slots="two")


# ---- losing it -------------------------------------------------------------------------------------------------------


def test_a_lost_cluster_fails_what_is_open_and_keeps_what_is_there():
    cluster = tc.Cluster(slots=1)
    first = cluster.map(abs, [-1])
    assert first.results() == [1]
    job = cluster.map(time.sleep, [0, 60])
    assert next(job) is None
    future = cluster.submit(time.sleep, 60)
    os.kill(cluster.status().pid, signal.SIGKILL)
    with pytest.raises(tc.ClusterUnreachable, match=r"tc.Cluster\(\) starts another"):
        future.result(DEADLINE_S)
    with pytest.raises(tc.ClusterUnreachable):
        job.results()
    assert job.done() and job.state == "failed" and job[0].result() is None
    assert first.results() == [1]
    with pytest.raises(ConnectionError):
        cluster.submit(abs, 1)
    with pytest.raises(tc.ClusterUnreachable):
        cluster.status()
    assert "lost" in repr(cluster)
    cluster.close()


# ---- surroundings ----------------------------------------------------------------------------------------------------


def test_classes_of_the_program_keep_their_identity():
    done = run("""
        import twistcluster as tc
        class Point:
            def __init__(self, x): self.x = x
        class Trouble(Exception):
            pass
        def move(p):
            if p.x == 3: raise Trouble("three")
            assert isinstance(p, Point)
            return Point(p.x + 1)
        with tc.Cluster(slots=1) as cluster:
            job = cluster.map(move, [Point(i) for i in range(3)])
            print([type(p) is Point and p.x for p in job])
            try:
                cluster.submit(move, Point(3)).result()
            except Trouble as error:
                print("caught", error)
    """)
    assert done.stdout == "[1, 2, 3]\ncaught three\n"


def test_a_job_keeps_the_class_that_it_was_sent_with():
    done = run("""
        import time, twistcluster as tc
        class Config:
            level = 1
        def level(_=0):
            time.sleep(0.05)
            return Config.level
        with tc.Cluster(slots=1) as cluster:
            job = cluster.map(level, range(6))
            next(job)
            Config.level = 2
            print(cluster.options(priority=1).submit(level).result(), job.results())
            Config.level = 1
            print(cluster.submit(level).result())
    """)
    assert done.stdout == "2 [1, 1, 1, 1, 1, 1]\n1\n"


def test_another_program_reads_results_whose_classes_only_the_function_names(clusters, tmp_path):
    clusters.local("lab")
    program = """
        import sys, twistcluster as tc
        class Inner:
            def __init__(self, x): self.x = x
        class Outer:
            def __init__(self, x): self.inner = Inner(x)
        class Refused(Exception): pass
        def make(x):
            if x == 2: raise Refused("two")
            return Outer(x)
        cluster = tc.connect("lab")
        job = cluster.options(name="mapped").map(make, range(3))
        one = cluster.options(name="single").submit(make, 4)
        two = cluster.submit(make, 5)
        job.wait(), one.result(), two.result()
        print(two.name)
        sys.stdout.flush()
        sys.stdin.read()
    """
    first = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        single = first.stdout.readline().strip()
        with tc.connect("lab") as cluster:
            found = cluster.job("mapped").results("return")
            assert [type(each).__name__ for each in found] == ["Outer", "Outer", "Refused"] and found[1].inner.x == 1
            assert [cluster.job(name)[0].result().inner.x for name in ("single", single)] == [4, 5]
    finally:
        first.communicate()


def test_names_that_everywhere_defines_are_there_for_all_functions():
    done = run("""
        import twistcluster as tc
        def setup():
            global model
            model = lambda x: x * 100
        def use(x):
            return model(x)
        with tc.Cluster(slots=2) as cluster:
            cluster.everywhere(setup)
            print(cluster.map(use, [1, 2, 3]).results())
            cluster.restart()
            print(cluster.map(use, [4, 5]).results())
    """)
    assert done.stdout == "[100, 200, 300]\n[400, 500]\n"


def test_what_everywhere_imports_travels(tmp_path):
    (tmp_path / "late.py").write_text("def answer():\n    return 1\n")
    done = run(
        """
        import sys
        sys.path.insert(0, "")
        import twistcluster as tc
        def setup():
            import late
            return late.answer()
        with tc.Cluster(slots=1) as cluster:
            print(cluster.everywhere(setup))
        """,
        cwd=tmp_path,
    )
    assert done.stdout == "[1]\n"


def test_an_edited_module_beside_the_program_is_seen(tmp_path):
    (tmp_path / "helpers.py").write_text("def answer():\n    return 1\n")
    done = run(
        """
        import pathlib, sys
        sys.path.insert(0, "")
        import twistcluster as tc, helpers
        with tc.Cluster(slots=1) as cluster:
            print(cluster.submit(helpers.answer).result())
            pathlib.Path("helpers.py").write_text("def answer():\\n    return 22\\n")
            print(cluster.submit(helpers.answer).result())
        """,
        cwd=tmp_path,
    )
    assert done.stdout == "1\n22\n"


def test_a_reactor_that_is_there_is_kept():
    done = run("""
        from twisted.internet import reactor
        import twistcluster as tc
        from twistcluster.client import bridge
        with tc.Cluster(slots=1) as cluster:
            print(cluster.submit(abs, -1).result(), bridge.reactor() is reactor, "stays" in bridge.note())
    """)
    assert done.stdout == "1 True True\n"


def test_the_reactor_has_a_loop_of_its_own():
    done = run("""
        import asyncio, twistcluster as tc
        async def main():
            cluster = tc.Cluster(slots=1)
            try:
                return await cluster.submit(abs, -1)
            finally:
                cluster.close()
        print(asyncio.run(main()))
    """)
    assert done.stdout == "1\n"


def test_importing_starts_nothing():
    done = run("""
        import sys, threading, twistcluster
        heavy = {"twisted", "crochet", "asyncio", "msgspec", "cloudpickle", "IPython", "matplotlib"} & set(sys.modules)
        print(heavy, threading.active_count(), "Cluster" in dir(twistcluster))
    """)
    assert done.stdout == "set() 1 True\n"


def test_show_waits_in_a_script():
    done = run("""
        import time, twistcluster as tc
        with tc.Cluster(slots=1) as cluster:
            job = cluster.map(time.sleep, [0.05] * 4)
            print(job.show())
            print(job.done())
            cluster.map(lambda x: 1 / x, [1, 0]).show()
    """)
    assert done.stdout == "None\nTrue\n"
    assert "sleep-1" in done.stderr and "4/4" in done.stderr and "item 1 failed: ZeroDivisionError" in done.stderr
