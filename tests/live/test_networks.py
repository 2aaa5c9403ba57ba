"""A cluster whose hosts have addresses of their own, in network namespaces: cables that are pulled, addresses that change."""

import json
import os
import time

import pytest

from tests.live.networks import Cluster, Network, first_line, said
from tests.tools import require, until

SOAK = "TWISTCLUSTER_SOAK_SECONDS" in os.environ
LOST_AFTER_S = 30.0
"""What it is for users."""

JOB = """
def item(i):
    time.sleep(0.05)
    return i, uuid.uuid4().hex
def slowly():
    for i in range(COUNT // 10):
        time.sleep(0.1)
        yield i
cluster.wait_for_workers(2, timeout=30)
job, fed = cluster.map(item, range(COUNT)), cluster.map(abs, slowly())
while job.progress().done < 20:
    time.sleep(0.02)
print("begun")
results = job.results()
print("all" if [i for i, _ in results] == list(range(COUNT)) and results == job.results() else results)
print(fed.results() == list(range(COUNT // 10)))
cluster.wait_for_workers(2, timeout=30)
print(sorted(worker.name for worker in cluster.workers()))
"""

SENDING = """
def slowly():
    for i in range(50):
        time.sleep(0.1)
        yield i
cluster.wait_for_workers(2, timeout=30)
job = cluster.map(abs, slowly())
while job.progress().done < 10:
    time.sleep(0.02)
print("begun")
while "looking for it" not in repr(cluster):
    time.sleep(0.02)
values = [cluster.put(bytes(200_000 + i)) for i in range(3)]
lengths = cluster.map(len, values)
futures = [cluster.submit(abs, -i) for i in range(3)]
print("away")
print([future.result(60) for future in futures], lengths.results(), sum(job.results()))
"""


@pytest.fixture
def network(tmp_path):
    made = Network(tmp_path)
    yield made
    made.end()


def begun(cluster, count=200):
    child = cluster.client(f"COUNT = {count}\n{JOB}")
    assert said(child) == "begun"
    return child


def finished(child):
    assert said(child) == "all"
    assert said(child) == "True"
    assert json.loads(said(child).replace("'", '"')) == ["w0", "w1"]
    assert child.wait(30) == 0


@pytest.mark.timeout(180)
@pytest.mark.parametrize("who", ["worker", "client"])
def test_a_cable_that_is_out_for_a_while(network, who):
    cluster = Cluster(network)
    host = cluster.workers[0] if who == "worker" else cluster.laptop
    child = begun(cluster)
    host.cut()
    time.sleep(5.0)  # longer than it takes to count as lost
    host.heal()
    finished(child)


@pytest.mark.timeout(180)
def test_what_a_client_sends_while_its_cable_is_out(network):
    cluster = Cluster(network)
    child = cluster.client(SENDING)
    assert said(child) == "begun"
    cluster.laptop.cut()
    assert said(child) == "away"
    cluster.laptop.heal()
    assert said(child) == f"[0, 1, 2] [200000, 200001, 200002] {sum(range(50))}"
    assert child.wait(30) == 0


@pytest.mark.timeout(180)
def test_a_worker_that_changes_its_address(network):
    cluster = Cluster(network)
    child = begun(cluster)
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
    assert "its values come through the scheduler" in cluster.workers[1].log(10_000)


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
    until(lambda: "worker lost" in cluster.scheduler.log(10_000), 30, "its loss")
    cluster.workers[0].heal()
    until(lambda: cluster.scheduler.log(10_000).count("worker joined worker=w0") == 2, 60, "its return")
    child.stdin.write("go\n")
    child.stdin.flush()
    assert said(child) == "True"
    assert child.wait(30) == 0
    assert "made again" not in cluster.scheduler.log(10_000)


LISTENING = """
import socket
with socket.create_server(("", 7000)) as server:
    print("listens", flush=True)
    while True:
        server.accept()[0].close()
"""
CONNECTING = """
import socket, sys, time
began = time.monotonic()
try:
    socket.create_connection((sys.argv[1], 7000), 1.5).close()
except OSError:
    print("nobody")
else:
    print(time.monotonic() - began)
"""


def test_what_these_tests_do_to_a_network_happens(network):
    require("iptables")
    near, far = network.host("near"), network.host("far", delay_ms=100.0)
    assert first_line(near.start("-c", LISTENING)) == "listens"

    def connects():
        return first_line(far.start("-c", CONNECTING, near.address))

    assert 0.2 <= float(connects()) < 1.4, "there and back"
    for host in (near, far):
        host.cut()
        assert connects() == "nobody"
        host.heal()
        until(lambda: connects() != "nobody", 30)
        host.lose(1.0)
        assert connects() == "nobody"
        host.lose_none()
        until(lambda: connects() != "nobody", 30)
    near.move(99)
    assert near.address == "10.77.0.99" and float(connects()) < 1.4


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not SOAK, reason="it takes two minutes: `make soak` runs it")
def test_cables_that_are_out_for_a_minute(tmp_path):
    network = Network(tmp_path, lost_after=f"{LOST_AFTER_S:g}")
    try:
        cluster = Cluster(network)
        child = begun(cluster, 2000)
        out = [cluster.workers[0], cluster.laptop]
        for host in out:
            host.cut()
        time.sleep(2 * LOST_AFTER_S)
        for host in out:
            host.heal()
        finished(child)
    finally:
        network.end()
