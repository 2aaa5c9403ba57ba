"""Values that were lost are made again."""

import pytest

from tests.core.desk import CONTEXT, FUNCTION, Desk
from tests.core.test_objects import freed, name, open_job, report, stored, work
from twistcluster.core.effects import Rename
from twistcluster.core.remaking import CALM_S, TIMES
from twistcluster.wire import messages as m


class Keeper(Desk):
    """A desk that keeps what is renamed."""

    def __init__(self, *args, **options):
        self.renamed = []
        super().__init__(*args, **options)

    def carry_out(self, effects):
        for effect in effects:
            if isinstance(effect, Rename):
                self.renamed.append((effect.made, effect.name))
                self.there.add(effect.name)
        super().carry_out(effects)


def missing(worker, lease, value, index=None):
    index = lease.start if index is None else index
    error = m.ErrorInfo("gone", "ObjectLost", "gone")
    worker.say(m.Failure(lease.lease, index, 0.0, error, missing=name(value)))


def restore(client, value, request=1):
    return client.say(m.Ask(request, m.Restore(name(value))))


def test_a_client_gets_a_lost_result_again():
    desk = Keeper()
    worker, client = desk.worker(1), desk.client()
    client.job(count=3)
    work(worker, 10)
    assert restore(client, 11) == []
    (lease,) = worker.take(m.Lease)
    assert (lease.start, lease.stop) == (1, 2)
    report(worker, lease, 99)
    assert desk.renamed == [(name(99), name(11))]
    assert client.take(m.Answer) == [m.Answer(1)]
    assert freed(worker) == [name(99)], "its slot lets go of what is called otherwise now"
    client.say(m.Drop([name(10), name(11), name(12)]))
    assert sorted(freed(worker)) == [name(10), name(12)]
    client.say(m.Release(0))
    assert len(desk.scheduler.objects) == 0


def test_two_who_miss_the_same_value_wait_for_one_run():
    desk = Keeper()
    worker, client = desk.worker(1), desk.client()
    client.job(count=1)
    work(worker, 10)
    restore(client, 10, request=1)
    restore(client, 10, request=2)
    (lease,) = worker.take(m.Lease)
    report(worker, lease, 99)
    assert [answer.request for answer in client.take(m.Answer)] == [1, 2]
    assert worker.take(m.Lease) == []


def test_an_item_whose_argument_is_lost_waits_for_it():
    desk = Keeper()
    worker, client = desk.worker(1), desk.client()
    client.job(number=0, count=1)
    work(worker, 10)
    open_job(client, 1, job=1, objects=[10])
    (lease,) = worker.take(m.Lease)
    missing(worker, lease, 10)
    assert client.take(m.Failed) == []
    (again,) = worker.take(m.Lease)
    assert again.job not in (lease.job,)
    report(worker, again, 99)
    (once_more,) = worker.take(m.Lease)
    assert once_more.job == lease.job
    report(worker, once_more)
    assert [r.first for r in client.take(m.Results) if r.job == 1] == [0]
    assert desk.scheduler.remaking.remakes == {}


def chain(desk, worker, client, length):
    """Jobs 1, 2, …, each fed by the one before; their results are 100, 200, …; the inner ones are dropped."""
    client.job(number=1, count=1)
    for job in range(2, length + 1):
        client.say(m.OpenJob(job, [FUNCTION], CONTEXT.digest, count=1, source=job - 1))
    for job in range(1, length + 1):
        (lease,) = worker.take(m.Lease)
        report(worker, lease, 100 * job)
    for job in range(1, length):
        client.say(m.Drop([name(100 * job)]))
        client.say(m.Release(job))


def test_a_chain_is_made_again_from_its_beginning():
    desk = Keeper()
    worker, client = desk.worker(1), desk.client()
    chain(desk, worker, client, 3)
    assert sorted(freed(worker)) == [name(100), name(200)], "of inner values only the recipes are kept"
    restore(client, 300)
    made = []
    while leases := worker.take(m.Lease):
        for lease in leases:
            made.append(1000 + len(made))
            report(worker, lease, made[-1])
    assert desk.renamed == [(name(1000), name(100)), (name(1001), name(200)), (name(1002), name(300))]
    assert client.take(m.Answer) == [m.Answer(1)]
    assert sorted(freed(worker)) == sorted(map(name, made)), "what the chain needed is removed by the node"
    client.say(m.Drop([name(300)]))
    client.say(m.Release(3))
    assert len(desk.scheduler.objects) == 0
    assert desk.scheduler.jobs == {}


def test_what_a_client_sent_cannot_be_made_again():
    desk = Keeper()
    worker, client = desk.worker(1), desk.client(name="scan.ipynb (7)")
    open_job(client, 2, objects=[1, 2])
    (lease,) = worker.take(m.Lease)
    desk.now += 90
    missing(worker, lease, 1)
    (failed,) = client.take(m.Failed)
    assert (failed.index, failed.error.why, failed.error.type) == (0, "gone", "ObjectLost")
    assert failed.error.message == (
        f"value {name(1).hex()} of 1,048,576 bytes, which the client scan.ipynb (7) sent as an argument of job 0 90 s ago, is "
        "in no store any more. It can't be made again, only sent again: cluster.put the value once more (or submit with "
        "it), and submit again what needs it"
    )
    assert restore(client, 77)[0].code == "lost"


@pytest.mark.parametrize(("seconds", "ago"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h")])
def test_of_what_a_client_put_it_is_told_who_and_when(seconds, ago):
    desk = Keeper()
    client = desk.client(name="scan.ipynb (7)")
    client.say(m.Keep([stored(0, 5)]))
    desk.now += seconds
    (declined,) = restore(client, 5)
    assert f", which the client scan.ipynb (7) put {ago} ago, is in no store any more" in declined.message


def test_an_item_that_fails_when_it_is_run_again_is_said_to_all():
    desk = Keeper()
    worker, client = desk.worker(1), desk.client()
    chain(desk, worker, client, 2)
    open_job(client, 1, job=9, objects=[200])
    (lease,) = worker.take(m.Lease)
    restore(client, 200)
    missing(worker, lease, 200)
    (again,) = worker.take(m.Lease)
    worker.say(m.Failure(again.lease, 0, 0.1, m.ErrorInfo("raised", "ValueError", "no luck")))
    (failed,) = client.take(m.Failed)
    assert failed.job == 9
    assert "no luck" in failed.error.message
    assert [d.code for d in client.take(m.Declined)] == ["lost"]
    assert desk.scheduler.remaking.remakes == {}


def test_a_value_that_is_lost_again_and_again_is_given_up():
    desk = Keeper()
    worker, client = desk.worker(1), desk.client()
    client.job(number=0, count=1)
    work(worker, 10)
    for turn in range(3):
        restore(client, 10, request=turn)
        (lease,) = worker.take(m.Lease)
        report(worker, lease, 50 + turn)
    assert "3 times" in restore(client, 10)[0].message


def test_a_worker_that_is_lost_while_it_makes_a_value_again():
    desk = Keeper()
    worker, client = desk.worker(1), desk.client()
    client.job(count=1)
    work(worker, 10)
    restore(client, 10)
    worker.leave()
    other = desk.worker(1)
    (lease,) = other.take(m.Lease)
    report(other, lease, 99)
    assert client.take(m.Answer) == [m.Answer(1)]


def test_a_consumer_that_is_cancelled_while_its_argument_is_made_again():
    desk = Keeper()
    worker, client = desk.worker(1), desk.client()
    client.job(number=0, count=1)
    work(worker, 10)
    open_job(client, 1, job=1, objects=[10])
    (lease,) = worker.take(m.Lease)
    missing(worker, lease, 10)
    client.say(m.Cancel(1))
    assert client.take(m.Cancelled)
    work(worker, 60)
    client.say(m.Drop([name(10)]))
    client.say(m.Release(0))
    client.say(m.Release(1))
    assert len(desk.scheduler.objects) == 0
    assert stored(0, 1).id == name(1)


def test_the_client_that_asked_leaves():
    desk = Keeper("lab")
    worker, client = desk.worker(1), desk.client()
    client.job(count=1)
    work(worker, 10)
    restore(client, 10)
    client.leave()
    work(worker, 60)
    assert desk.scheduler.remaking.remakes == {}


def test_a_value_made_of_one_that_was_still_to_come_is_made_again_with_it():
    """The client names an input that was still to come, drops it, and misses what was made of it."""
    desk = Keeper()
    worker, client = desk.worker(1), desk.client()
    client.job(number=1, count=1)
    client.say(m.OpenJob(2, [FUNCTION], CONTEXT.digest, count=1))
    client.say(m.Page(2, 0, 1, 1, edges=[m.Edge(0, 0, 1, 0)]), b"items")
    (first,) = worker.take(m.Lease)
    report(worker, first, 100)
    (second,) = worker.take(m.Lease)
    report(worker, second, 200)
    client.say(m.Drop([name(100)]))
    client.say(m.Release(1))
    assert desk.scheduler.objects.get(name(100)).freed, "only its recipe is kept"
    restore(client, 200)
    work(worker, 300)
    assert client.take(m.Answer) and not client.take(m.Declined)
    assert desk.scheduler.remaking.remakes == {}
    client.say(m.Drop([name(200)]))
    client.say(m.Release(2))
    assert len(desk.scheduler.objects) == 0


def test_a_value_that_lived_for_a_while_each_time_is_made_again_as_often_as_it_takes():
    """Workers that come and go take it along."""
    desk = Keeper()
    worker, client = desk.worker(1), desk.client()
    client.job(count=1)
    work(worker, 10)
    for _ in range(3 * TIMES):
        restore(client, 10)
        report(worker, *worker.take(m.Lease), 99)
        assert client.take(m.Answer) and not client.take(m.Declined)
        desk.wait(CALM_S)
