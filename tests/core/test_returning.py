"""What a client that comes back is told again: nothing that it said it knows. Until then what it was sending stays open."""

import pytest

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


# ---- while it is away ------------------------------------------------------------------------------------------------


ME = {"process": "a" * 32}


def half_sent(**fields):
    """A client lost its link when one of two items was here."""
    desk = Desk("lab", Paper())
    worker, client = desk.worker(1), desk.client(**ME, **fields)
    job = client.job(count=2, pages=[1])
    worker.work()
    client.leave()
    return desk, worker, job


def test_what_it_was_sending_goes_on():
    desk, worker, job = half_sent()
    desk.wait(20)
    assert not job.over and job.expects_more
    client = desk.client(**ME, link=2)
    (resumed,) = [
        each for each in client.say(m.Resume([m.HeldJob(0, job.id, [(0, 1)], [], True)])) if type(each) is m.Resumed
    ]
    assert resumed.jobs == [m.KnownJob(0, 1)]
    client.say(m.Page(0, 1, 1, 0), b"items")
    client.say(m.Offered())
    worker.work()
    assert job.state == "done"
    (told,) = client.got(m.Results)
    assert told.first == 1


def test_so_it_does_when_its_old_link_looks_alive():
    desk, worker, job = half_sent()
    client = desk.client(**ME, link=2)
    client.say(m.Resume([m.HeldJob(0, job.id, [(0, 1)], [], True)]))
    client.say(m.Offered())
    again = desk.client(**ME, link=3)
    assert client.closed == "the same client connected again"
    again.say(m.Resume([m.HeldJob(0, job.id, [(0, 1)], [], True)]))
    again.say(m.Page(0, 1, 1, 0), b"items")
    again.say(m.Offered())
    worker.work()
    assert job.state == "done"


@pytest.mark.parametrize(("serial", "seconds"), [("", 30), ("5e", 180)])
def test_who_stays_away_too_long_hears_that_its_input_ended_however_much_it_was_to_send(serial, seconds):
    desk, _, job = half_sent(serial=serial)
    desk.wait(seconds - 1)
    assert not job.over
    desk.wait(3)
    assert job.state == "failed"
    client = desk.client(**ME, link=2)
    client.say(m.Resume([m.HeldJob(0, job.id, [(0, 1)], [], True)]))
    (told,) = client.got(m.CloseJob)
    assert (told.count, told.error) == (1, "input ended after 1 items: its client went away")


def test_who_said_goodbye_sends_no_more():
    desk = Desk("lab", Paper())
    client = desk.client()
    job = client.job(count=2, pages=[1])
    client.say(m.Goodbye())
    client.leave()
    assert job.count == 1 and "client went away" in job.input_error
