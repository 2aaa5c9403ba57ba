"""A cluster with a worker and a client on other machines, as far as they can see: values of every size, both ways.

They have state folders of their own, and no store in common with the cluster's host.
"""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import twistcluster as tc
from tests.tools import until
from twistcluster.net import connections

pytestmark = pytest.mark.usefixtures("stores_gone")

LARGE = 200_000
"""Numbers of an array: 1.6 MB."""


class Machines:
    """The cluster's own, without slots, and two others."""

    def __init__(self, clusters, tmp_path):
        self.clusters = clusters
        self.tmp_path = tmp_path
        clusters.local("lab", 0, listen="tls:127.0.0.1:0")
        self.cluster = tc.connect("lab")

    def invited(self, role, machine):
        """The environment of somebody on another machine who was given a token."""
        invitation = self.cluster.invite(role=role)
        folder = self.tmp_path / machine
        folder.mkdir(exist_ok=True)
        places = {name: str(folder) for name in ("XDG_STATE_HOME", "JUPYTER_RUNTIME_DIR")}
        return {**os.environ, **places, "TWISTCLUSTER_TOKEN": invitation.token}, invitation.addresses[0]

    def worker(self, machine="box", slots=2, resources="any=1"):
        environment, address = self.invited("worker", machine)
        before = len(self.cluster.workers())
        worker = self.clusters.command(
            "worker", "--join", address, "--slots", str(slots), "--resources", resources, env=environment
        )
        until(lambda: len(self.cluster.workers()) > before, 30, "the worker")
        return worker

    def client(self, program, machine="laptop"):
        """What a program prints there; `cluster` is the cluster."""
        environment, address = self.invited("client", machine)
        begin = f"import numpy as np, twistcluster as tc\ncluster = tc.connect('tls://{address}')\n"
        ran = subprocess.run(
            [sys.executable, "-c", begin + program], env=environment, capture_output=True, text=True, timeout=60
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.splitlines()


@pytest.fixture
def machines(clusters, tmp_path):
    made = Machines(clusters, tmp_path)
    yield made
    made.cluster.stop(force=True)


def made(n):
    return np.full(LARGE, n, float)


def test_large_values_travel_to_a_worker_elsewhere_and_back(machines):
    machines.worker()
    cluster = machines.cluster
    assert cluster.map(np.sum, [made(n) for n in range(6)]).results() == [n * LARGE for n in range(6)]
    back = cluster.map(made, range(6)).results()
    assert [array.shape for array in back] == [(LARGE,)] * 6 and [array[-1] for array in back] == [*range(6)]
    back[0][0] = 7  # it is the caller's own
    chain = cluster.map(np.sum, cluster.map(made, range(6)))
    assert chain.results() == [n * LARGE for n in range(6)]
    future = cluster.submit(made, 3)
    assert cluster.submit(np.sum, future).result() == 3 * LARGE


def objects(pattern):
    folder = pathlib.Path(os.environ["TWISTCLUSTER_SHM"])
    return sorted(path.name for path in folder.glob(f"{pattern}/*") if len(path.name) == 32)


def test_values_go_from_worker_to_worker_and_nowhere_else(machines):
    machines.worker("one", 1, "a=1")
    machines.worker("two", 1, "b=1")
    cluster = machines.cluster
    here = pathlib.Path(connections.find(cluster.id)["store"]).name
    first = cluster.options(resources={"a": 1}).map(made, range(3))
    sums = cluster.options(resources={"b": 1}).submit(lambda arrays: float(sum(a.sum() for a in arrays)), first)
    assert sums.result() == 3 * LARGE
    assert objects(here) == [] and len(objects("*worker-*")) == 6, "three, and copies of them"
    assert [array[0] for array in first.results()] == [0.0, 1.0, 2.0]
    assert len(objects(here)) == 3
    del first, sums
    until(lambda: not objects("*"), 20, "their end")


def test_a_worker_that_is_told_to_end_hands_over_its_results(machines):
    worker = machines.worker("one", 1)
    runs = machines.tmp_path / "runs"
    job = machines.cluster.map(lambda n: (runs.open("a").write("run\n"), np.full(LARGE, n, float))[1], range(4))
    job.wait()
    worker.terminate()
    assert worker.wait(30) == 0
    assert "handing over values" in worker.stdout.read()
    assert [array[0] for array in job.results()] == [0.0, 1.0, 2.0, 3.0]
    assert runs.read_text().count("run") == 4, "none was made again"


def test_kept_results_outlive_the_worker_that_made_them(machines):
    worker = machines.worker("one", 1)
    job = machines.cluster.options(name="kept").map(made, range(3))
    job.wait()
    job.keep()
    worker.kill()
    worker.wait()
    assert [array[0] for array in job.results()] == [0.0, 1.0, 2.0]
    machines.worker("two", 0)  # clears away what the killed one left


def test_what_was_put_goes_once_to_each_worker_and_is_freed_there(machines, monkeypatch):
    machines.worker()
    cluster = machines.cluster

    def stores():
        import pathlib

        folder = os.environ["TWISTCLUSTER_SHM"]
        return sorted(path.name for path in pathlib.Path(folder).glob("*worker-*/*") if len(path.name) == 32)

    table = cluster.put(made(1))
    sums = cluster.map(lambda table, n: float(table[n]), [table] * 50, range(50)).results()
    assert sums == [1.0] * 50
    assert cluster.submit(stores).result() == [table.id]
    del table
    until(lambda: cluster.submit(stores).result() == [], 20, "its end")


def test_a_worker_elsewhere_that_is_killed_takes_nothing_along(machines):
    first = machines.worker("one", slots=1)
    job = machines.cluster.map(made, range(20))
    until(lambda: job.progress().done >= 3)
    machines.worker("two", slots=1)
    first.kill()
    assert [array[0] for array in job.results()] == [*range(20)]
    assert machines.cluster.map(np.sum, job).results() == [n * LARGE for n in range(20)]
    machines.worker("three", slots=1)  # the next one clears away what the killed one left


def test_a_client_elsewhere_has_all_that_one_here_has(machines):
    machines.worker()
    said = machines.client(
        f"""
made = lambda n: np.full({LARGE}, n, float)
print(cluster.submit(abs, -3).result(), cluster.map(np.sum, [made(n) for n in range(3)]).results())
print([array[-1] for array in cluster.map(made, range(3)).results()])
future = cluster.submit(made, 2)
table = cluster.put(made(5))
print(cluster.submit(lambda a, b: float(a[0] + b[0]), future, table).result(), table.nbytes > {8 * LARGE}, table.result()[0])
del table
job = cluster.options(name="far").map(abs, range(-5, 0))
print(job.results(), cluster.name)
with np.errstate(all="ignore"):
    try:
        cluster.submit(lambda: 1 / 0).result()
    except ZeroDivisionError as error:
        print("raised", error)
"""
    )
    assert said == [
        f"3 [np.float64(0.0), np.float64({LARGE}.0), np.float64({2 * LARGE}.0)]",
        "[np.float64(0.0), np.float64(1.0), np.float64(2.0)]",
        "7.0 True 5.0",
        "[5, 4, 3, 2, 1] lab",
        "raised division by zero",
    ]
    assert machines.cluster.job("far").results() == [5, 4, 3, 2, 1]
    again = machines.client("print(cluster.job('far').results())")
    assert again == ["[5, 4, 3, 2, 1]"]


def test_a_cluster_without_a_store_gets_values_inside_their_pages(clusters, tmp_path, monkeypatch):
    monkeypatch.setenv("TWISTCLUSTER_STORE", "off")
    machines = Machines(clusters, tmp_path)
    try:
        worker = machines.worker()
        cluster = machines.cluster
        assert cluster.map(np.sum, [made(n) for n in range(3)]).results() == [n * LARGE for n in range(3)]
        chain = cluster.map(np.sum, cluster.map(made, range(3)))
        assert chain.results() == [n * LARGE for n in range(3)]
        said = machines.client(
            f"""
made = lambda n: np.full({LARGE}, n, float)
print([array[-1] for array in cluster.map(made, range(3)).results()])
try:
    cluster.put(made(5))
except tc.TwistclusterError as error:
    print(type(error).__name__, "has no store" in str(error))
print(cluster.submit(np.sum, made(1)).result())
"""
        )
        assert said == ["[np.float64(0.0), np.float64(1.0), np.float64(2.0)]", "StoreFull True", f"{LARGE}.0"]
        worker.terminate()
        assert worker.wait(60) == 0
    finally:
        machines.cluster.stop(force=True)


def test_reading_in_many_threads_a_client_elsewhere_stays_connected(machines):
    """Results of 400 MB are read at once, over a connection of their own."""
    machines.worker()
    said = machines.client(
        """
from concurrent.futures import ThreadPoolExecutor
futures = [cluster.submit(lambda n: np.full(6_250_000, n, float), n) for n in range(8)]
with ThreadPoolExecutor(8) as pool:
    arrays = [*pool.map(lambda future: future.result(60), futures)]
print([int(array[-1]) for array in arrays], cluster.submit(abs, -1).result(10))
print(all(again is array or int(again[0]) == n for n, (again, array) in enumerate(zip((f.result() for f in futures), arrays))))
"""
    )
    assert said == ["[0, 1, 2, 3, 4, 5, 6, 7] 1", "True"]


def test_a_time_limit_counts_from_when_the_arguments_are_there(machines):
    machines.worker("one", 1, "a=1")
    machines.worker("two", 1, "b=1")
    on = lambda name, **more: machines.cluster.options(resources={name: 1}, **more)
    large = on("a").submit(lambda: np.ones(50_000_000))
    assert on("b", time_limit=0.5).submit(len, large).result() == 50_000_000
