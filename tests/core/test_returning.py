"""What a client that comes back is told again: nothing that it said it knows."""

from tests.core.desk import Desk
from tests.core.test_restoring import fail
from twistcluster.testing.paper import Paper
from twistcluster.wire import messages as m


def back(desk, held):
    """The first client is there again, after another scheduler came."""
    client = desk.client(process=f"{2:012x}".ljust(32, "0"), link=2)
    return [each for each in client.say(m.Resume([held])) if isinstance(each, m.Results | m.Failed | m.Output)]


def retried():
    """Of two items one failed; both printed, and the failed one is to run again."""
    desk = Desk("lab", Paper())
    worker, client = desk.worker(1), desk.client()
    job = client.job(count=2)
    (first,) = worker.take(m.Lease)
    worker.say(m.Printed(first.lease, 0, "first"))
    fail(worker, first, 0)
    second = first if first.stop == 2 else worker.take(m.Lease)[0]
    worker.say(m.Printed(second.lease, 1, "second"))
    worker.report(second, 1, 2)
    assert job.state == "failed"
    worker.leave()
    client.say(m.Retry(0))
    desk.write()
    return desk.again(), job.id


def test_who_retried_is_not_told_again_of_the_failure_nor_of_what_was_printed():
    desk, name = retried()
    assert back(desk, m.HeldJob(0, name, [(1, 2)], [(0, 2)], True, [(0, 1)])) == []


def test_who_knows_nothing_of_a_job_is_told_all():
    desk, name = retried()
    told = back(desk, m.HeldJob(0, name))
    assert [type(each) for each in told] == [m.Output, m.Failed, m.Output, m.Results]


def test_the_result_of_a_retried_item_is_told_to_who_knows_its_failure():
    desk, name = retried()
    desk.worker(1).work()
    (told,) = back(desk, m.HeldJob(0, name, [(1, 2)], [(0, 2)], True, [(0, 1)]))
    assert isinstance(told, m.Results) and told.first == 0
