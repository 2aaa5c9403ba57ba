"""Values in stores: who holds them, and when they are freed."""

from tests.core.desk import CONTEXT, FUNCTION, Desk
from twistcluster.core.effects import Remove
from twistcluster.wire import messages as m

MIB = 1 << 20


def name(number):
    return number.to_bytes(16, "big")


def stored(item, number):
    return m.Stored(item, name(number), MIB)


def open_job(client, count, job=0, objects=(), **options):
    """A job whose arguments are these values."""
    client.say(m.OpenJob(job, [FUNCTION], CONTEXT.digest, count=count, **options))
    client.say(m.Page(job, 0, count, 1, objects=[stored(i, each) for i, each in enumerate(objects)]), b"items")


def report(worker, lease, *objects, start=None, stop=None):
    start = lease.start if start is None else start
    stop = lease.stop if stop is None else stop
    told = [stored(i, each) for i, each in enumerate(objects)]
    worker.say(m.Report(lease.lease, start, stop - start, 1, 0.1, objects=told), b"results")


def work(worker, results):
    """Finish all leases; item i's result is the value `results + i`."""
    while leases := worker.take(m.Lease):
        for lease in leases:
            report(worker, lease, *(results + i for i in range(lease.start, lease.stop)))


def freed(peer):
    return [each for message in peer.take(m.Freed) for each in message.ids]


def test_arguments_are_freed_when_their_items_are_done():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    open_job(client, 2, objects=[1, 2])
    assert freed(client) == []
    worker.work(seconds=1.0)
    assert sorted(freed(client)) == [name(1), name(2)]
    assert len(desk.scheduler.objects) == 0


def test_arguments_of_a_failed_item_stay_for_a_retry():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    open_job(client, 1, objects=[1])
    (lease,) = worker.take(m.Lease)
    worker.say(m.Failure(lease.lease, 0, 0.1, m.ErrorInfo("raised", "ValueError", "no")))
    assert freed(client) == []
    client.say(m.Retry(0))
    worker.work()
    assert freed(client) == [name(1)]


def test_arguments_of_cancelled_items_are_freed():
    desk = Desk()
    client = desk.client()
    open_job(client, 2, objects=[1, 2])
    client.say(m.Cancel(0))
    assert sorted(freed(client)) == [name(1), name(2)]


def test_results_live_until_the_client_drops_them():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    client.job(count=2)
    work(worker, 10)
    assert sorted(o.id for r in client.take(m.Results) for o in r.objects) == [name(10), name(11)]
    client.say(m.Release(0))
    assert freed(worker) == []
    client.say(m.Drop([name(10)]))
    assert freed(worker) == [name(10)]
    client.say(m.Drop([name(10), name(99), name(11)]))  # what it never had, or has no more, is nothing to it
    assert freed(worker) == [name(11)]


def test_arguments_are_kept_as_the_recipe_of_large_results():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    open_job(client, 1, objects=[1])
    work(worker, 10)
    client.say(m.Release(0))
    assert freed(client) == freed(worker) == []
    client.say(m.Drop([name(10)]))
    assert freed(worker) == [name(10)]
    assert freed(client) == [name(1)]


def test_a_job_that_nobody_asks_for_is_kept_for_what_was_made_of_it():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    client.job(count=1)
    work(worker, 10)
    client.say(m.Release(0))
    client.say(m.Forget([FUNCTION]))
    assert desk.scheduler.jobs == {}
    assert desk.scheduler.supply.data(FUNCTION) is not None
    client.say(m.Drop([name(10)]))
    assert desk.scheduler.supply.data(FUNCTION) is None


def test_what_a_client_put_is_its_own_until_it_drops_it():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    client.say(m.Keep([stored(0, 1)]))
    open_job(client, 1, objects=[1])
    worker.work()
    assert freed(client) == []
    client.say(m.Drop([name(1)]))
    assert freed(client) == [name(1)]


def test_a_value_that_is_dropped_while_items_need_it_stays_until_they_are_done():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    client.say(m.Keep([stored(0, 1)]))
    open_job(client, 1, objects=[1])
    client.say(m.Drop([name(1)]))
    assert freed(client) == []
    worker.work()
    assert freed(client) == [name(1)]


def test_what_a_client_that_left_made_is_removed_by_the_node():
    desk = Desk()
    client, other = desk.client(), desk.client()
    client.say(m.Keep([stored(0, 1)]))
    effects = desk.scheduler.disconnected(client.number, 0.0)
    assert Remove([name(1)]) in effects
    assert other.take(m.Freed) == []


def test_what_a_lost_worker_made_stays_and_is_removed_by_the_node():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    client.job(count=1)
    work(worker, 10)
    worker.leave()
    assert client.take(m.Results)
    effects = desk.scheduler.received(client.number, m.Drop([name(10)]), (), 0.0)
    assert Remove([name(10)]) in effects


def test_a_result_that_came_too_late_is_freed_at_once():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    client.job(count=1)
    (lease,) = worker.take(m.Lease)
    client.say(m.Cancel(0))
    worker.say(m.Released(lease.lease, 0, 1))
    report(worker, lease, 10)
    assert freed(worker) == [name(10)]


def test_a_job_that_nobody_listens_to_frees_its_results():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    client.job(count=1)
    client.say(m.Release(0))
    work(worker, 10)
    assert freed(worker) == [name(10)]


def test_a_slow_client_finds_large_results_later():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    client.job(count=1)
    client.pause()
    work(worker, 10)
    assert freed(worker) == []
    client.resume()
    assert [o.id for r in client.take(m.Results) for o in r.objects] == [name(10)]
    client.say(m.Drop([name(10)]))
    assert freed(worker) == [name(10)]


def test_a_named_cluster_keeps_results_for_who_comes_later():
    desk = Desk("lab")
    worker, client = desk.worker(1), desk.client()
    client.job(count=1, label="thumbs-1", named=True)
    work(worker, 10)
    client.say(m.Drop([name(10)]))
    client.leave()
    assert freed(worker) == []
    later = desk.client()
    later.say(m.Adopt(1, 0, "thumbs-1"))
    assert [o.id for r in later.take(m.Results) for o in r.objects] == [name(10)]


def test_forgetting_many_jobs_leaves_nothing():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    for job in range(50):
        open_job(client, 1, job=job, objects=[1000 + job])
        work(worker, 2000 + job)
        client.say(m.Drop([name(2000 + job)]))
        client.say(m.Release(job))
    assert len(desk.scheduler.objects) == 0
    assert len(freed(client)) == 50
