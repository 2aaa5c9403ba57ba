"""A cluster whose hosts have addresses of their own, in network namespaces: cables that are pulled, addresses that change."""

import json
import time

import pytest

from tests.live.networks import Cluster, Network, said
from tests.tools import until

JOB = """
def item(i):
    time.sleep(0.05)
    return i, uuid.uuid4().hex
cluster.wait_for_workers(2, timeout=30)
job = cluster.map(item, range(200))
while job.progress().done < 20:
    time.sleep(0.02)
print("begun")
results = job.results()
print("all" if [i for i, _ in results] == list(range(200)) and results == job.results() else results)
cluster.wait_for_workers(2, timeout=30)
print(sorted(worker.name for worker in cluster.workers()))
"""


@pytest.fixture
def network(tmp_path):
    made = Network(tmp_path)
    yield made
    made.end()


def finished(child):
    assert said(child) == "all"
    assert json.loads(said(child).replace("'", '"')) == ["w0", "w1"]
    assert child.wait(30) == 0


@pytest.mark.timeout(180)
@pytest.mark.parametrize("who", ["worker", "client"])
def test_a_cable_that_is_out_for_a_while(network, who):
    cluster = Cluster(network)
    host = cluster.workers[0] if who == "worker" else cluster.laptop
    child = cluster.client(JOB)
    assert said(child) == "begun"
    host.cut()
    time.sleep(5.0)  # longer than it takes to count as lost
    host.heal()
    finished(child)


@pytest.mark.timeout(180)
def test_a_worker_that_changes_its_address(network):
    cluster = Cluster(network)
    child = cluster.client(JOB)
    assert said(child) == "begun"
    cluster.workers[0].move(77)
    finished(child)


VALUES = """
import numpy as np
cluster.wait_for_workers(2, timeout=30)
made = cluster.options(resources={"w0": 1}).map(lambda i: (uuid.uuid4().hex, np.full(1 << 20, i)), range(8))
made.wait()
print("made")
"""


@pytest.mark.timeout(180)
def test_workers_that_cannot_meet_get_each_other_s_values_through_the_scheduler(network):
    cluster = Cluster(network)
    cluster.part("w0", "w1")
    child = cluster.client(
        VALUES
        + """
total = cluster.options(resources={"w1": 1}).submit(lambda made: float(sum(a.sum() for _, a in made)), made)
print(total.result() == sum(range(8)) * (1 << 20))
"""
    )
    assert said(child) == "made"
    assert said(child) == "True"
    assert child.wait(30) == 0
    assert "its values come through the scheduler" in cluster.log("w1")


@pytest.mark.timeout(180)
def test_values_of_a_worker_that_was_cut_off_are_there_again_with_it(network):
    cluster = Cluster(network)
    child = cluster.client(
        VALUES
        + """
import sys
sys.stdin.readline()
cluster.wait_for_workers(2, timeout=30)
print([int(a[0]) for _, a in made.results()] == list(range(8)))
"""
    )
    assert said(child) == "made"
    cluster.workers[0].cut()
    until(lambda: "worker lost" in cluster.log("scheduler"), 30, "its loss")
    cluster.workers[0].heal()
    until(lambda: cluster.log("scheduler").count("worker joined worker=w0") == 2, 60, "its return")
    child.stdin.write("go\n")
    child.stdin.flush()
    assert said(child) == "True"
    assert child.wait(30) == 0
    assert "made again" not in cluster.log("scheduler")
