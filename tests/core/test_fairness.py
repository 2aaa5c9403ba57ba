from tests.core.desk import Desk
from twistcluster.wire import messages as m


def shares(desk, workers, rounds, seconds=0.05):
    """Slot-seconds by (client, job number), over so many leases."""
    given = {}
    for _ in range(rounds):
        for worker in workers:
            for lease in worker.take(m.Lease):
                job = desk.scheduler.jobs[lease.job]
                items = lease.stop - lease.start
                key = job.owner.peer, job.number
                given[key] = given.get(key, 0.0) + items * seconds
                worker.report(lease, seconds=seconds)
    return given


def test_clients_share_alike_however_many_jobs_they_have():
    desk = Desk()
    many, one = desk.client(), desk.client()
    for number in range(5):
        many.job(number, count=4000)
    one.job(0, count=4000)
    given = shares(desk, [desk.worker(2)], 300)
    of_many = sum(seconds for (peer, _), seconds in given.items() if peer == many.number)
    assert 0.8 < of_many / given[one.number, 0] < 1.25


def test_a_clients_jobs_share_alike():
    desk = Desk()
    client = desk.client()
    for number in range(4):
        client.job(number, count=4000)
    given = shares(desk, [desk.worker(2)], 300)
    assert max(given.values()) < 1.3 * min(given.values())


def test_a_submit_is_not_stuck_behind_a_map_of_its_own_client():
    desk = Desk()
    client, worker = desk.client(), desk.worker(1)
    client.job(0, count=4000)
    shares(desk, [worker], 50)
    single = client.job(1, count=1)
    shares(desk, [worker], 3)
    assert single.state == "done"


def test_time_away_earns_nothing():
    desk = Desk()
    worker = desk.worker(1)
    busy, late = desk.client(), desk.client()
    busy.job(0, count=4000)
    shares(desk, [worker], 200)
    late.job(0, count=4000)
    given = shares(desk, [worker], 200)
    assert 0.8 < given[busy.number, 0] / given[late.number, 0] < 1.25


def test_needs_that_fit_nowhere_are_passed_over():
    desk = Desk()
    client, worker = desk.client(), desk.worker(1)
    client.job(0, count=5, resources={"gpu": 1})
    client.job(1, count=5)
    client.job(2, count=5, resources={"tpu": 1})
    worker.work()
    assert [job.state for job in desk.scheduler.jobs.values()] == ["pending", "done", "pending"]
