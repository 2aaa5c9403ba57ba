import pytest

from tests.core.desk import CONTEXT, FUNCTION, Desk
from tests.core.test_edges import edge, submit
from twistcluster.testing.cluster import SimulatedCluster
from twistcluster.wire import messages as m

HOSTS = ["east", "west"]


def stored(item, maker, nbytes=1 << 20):
    return m.Stored(item, maker * 8 + b"%08d" % item, nbytes)


def made_where_they_run(cluster, workers, made, job):
    """How many items of a job ran on the host on which the item of the same number was made."""
    where = {index: host for host, worker in workers for key, index in worker.runs if key == made}
    return sum(where[index] == host for host, worker in workers for key, index in worker.runs if key == job)


@pytest.mark.parametrize("tie", ["source", "edges", "source that runs"])
def test_items_run_where_their_bytes_are(tie):
    cluster = SimulatedCluster(1, check=False, item_seconds=lambda _job, _index: 0.01)
    workers = [(host, cluster.add_worker(2, host=host)) for host in HOSTS * 2]
    for _, worker in workers:
        worker.stores = lambda _job, _index: 1 << 20
    client = cluster.add_client()
    first = client.open_job(400)
    if tie != "source that runs":
        cluster.run(lambda: first.complete)
    began = cluster.clock.now
    if tie == "edges":
        client.open_job(400, inputs={item: [(first, item)] for item in range(400)})
    else:
        client.feed_job(first)
    cluster.run()
    made, job = sorted({key for _, worker in workers for key, _ in worker.runs})
    # While items are still being made, a worker that is idle for a moment takes what there is.
    share = 0.8 if tie == "source that runs" else 0.9
    assert made_where_they_run(cluster, workers, made, job) >= share * 400
    items = 800 if tie == "source that runs" else 400
    assert cluster.clock.now - began <= 1.15 * items * 0.01 / 8


def test_an_item_goes_where_most_of_its_bytes_are():
    desk = Desk()
    client = desk.client(host="north")
    maker, other = desk.worker(2, host="east"), desk.worker(2, host="west")
    submit(client, 1, (2, []))
    [lease] = maker.take(m.Lease)
    maker.say(m.Report(lease.lease, 0, 2, 1, 0.1, [], [stored(0, b"e"), stored(1, b"e", 99)]), b"table", b"rows")
    maker.say(m.SlotsChanged(0, 0, 0, 0))
    other.say(m.SlotsChanged(0, 0, 0, 0))
    client.say(m.OpenJob(2, [FUNCTION], CONTEXT.digest, count=3))
    objects = [
        stored(0, b"n", 100),
        m.Stored(1, stored(1, b"e").id, 99),
        stored(2, b"n"),
        m.Stored(2, stored(0, b"e").id, 9),
    ]
    client.say(m.Page(2, 0, 3, 1, objects=objects), b"table", b"rows")
    job = submit(client, 3, (1, []))
    assert {host: list(ranges) for host, ranges in desk.scheduler.jobs[2].local.items()} == {
        "north": [(0, 1), (2, 3)],
        "east": [(1, 2)],
    }
    assert job.local is None
    maker.say(m.SlotsChanged(1, 1, 0, 0))
    assert [lease.start for lease in maker.take(m.Lease) if lease.job == 2] == [1]


def test_a_worker_without_bytes_of_its_own_takes_what_there_is():
    desk = Desk()
    client = desk.client(host="east")
    client.say(m.OpenJob(1, [FUNCTION], CONTEXT.digest, count=4))
    client.say(m.Page(1, 0, 4, 1, objects=[stored(item, b"e") for item in range(4)]), b"table", b"rows")
    west, east = desk.worker(1, host="west"), desk.worker(1, host="east")
    while west.got(m.Lease) or east.got(m.Lease):
        for worker in (west, east):
            for lease in worker.take(m.Lease):
                worker.report(lease)
    assert desk.scheduler.jobs[1].state == "done"


def test_the_values_of_an_input_count():
    desk = Desk()
    client = desk.client()
    east = desk.worker(1, host="east")
    submit(client, 1, (1, []))
    [lease] = east.take(m.Lease)
    job = submit(client, 2, (2, [edge(1, 1, 0)]))
    east.say(m.Report(lease.lease, 0, 1, 1, 0.1, [], [stored(0, b"e")]), b"table", b"row")
    assert list(job.local["east"]) == [(1, 2)]
