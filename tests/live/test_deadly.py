"""An item that ends the process of its own cluster, again and again."""

import pytest

import twistcluster as tc
from tests.live.conftest import named
from tests.live.work import deadly
from twistcluster.client import returning
from twistcluster.client.launch import running_clusters

pytestmark = pytest.mark.usefixtures("stores_gone")
DEADLINE_S = 60.0


@pytest.fixture
def cluster(clusters, monkeypatch):
    """A local cluster, whose client starts it again before long."""
    monkeypatch.setattr(returning, "LONGEST_DEATH", 0.2)
    clusters.local("lab", 2)
    with tc.connect("lab") as cluster:
        yield cluster
        clusters.pids += [each.pid for each in running_clusters()]
        cluster.stop()
    assert not named("lab")


def test_an_item_that_kills_its_cluster_fails_and_all_others_are_done(cluster):
    job = cluster.map(deadly, range(50))
    assert job.wait(DEADLINE_S)
    assert list(job.errors()) == [7]
    with pytest.raises(tc.WorkerLost, match="running 5 times when the cluster's own process"):
        job[7].result()
    assert [job[i].result() for i in range(50) if i != 7] == [i for i in range(50) if i != 7]


def test_so_does_a_submit(cluster):
    others = [cluster.submit(abs, -i) for i in range(8)]
    future = cluster.submit(deadly, 7)
    with pytest.raises(tc.WorkerLost, match="Run it alone"):
        future.result(DEADLINE_S)
    assert [other.result(DEADLINE_S) for other in others] == list(range(8))
    assert cluster.submit(deadly, 8).result(DEADLINE_S) == 8
