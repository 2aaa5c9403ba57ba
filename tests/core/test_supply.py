import pytest

from tests.core.desk import CONTEXT, FUNCTION, Desk
from twistcluster.wire import messages as m


def test_everything_a_lease_needs_goes_ahead_of_it_once():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    client.job(0, count=6, pages=[2, 4])
    worker.work()
    client.job(1, count=1)
    names = [type(message).__name__ for message in worker.heard]
    assert names == ["Welcome", "Context", "Blob", "OpenJob", "Page", "Page", "EndJob", "OpenJob", "Page", "Lease"]


def test_a_page_goes_once_to_each_worker():
    desk = Desk()
    workers = [desk.worker(1), desk.worker(1)]
    desk.client().job(count=40)
    for _ in range(10):
        for worker in workers:
            for lease in worker.take(m.Lease):
                worker.report(lease)
    assert [len(worker.got(m.Page)) for worker in workers] == [1, 1]


def test_pages_name_their_definitions_and_these_go_first():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    client.say(m.Blob(b"d" * 16), b"definition")
    client.say(m.OpenJob(0, [FUNCTION], CONTEXT.digest, count=1))
    client.say(m.Page(0, 0, 1, 0, [b"d" * 16]), b"items")
    digests = [message.digest for message in worker.heard if isinstance(message, m.Blob)]
    assert digests == [FUNCTION, b"d" * 16]
    assert [type(message).__name__ for message in worker.heard[-3:]] == ["Blob", "Page", "Lease"]


def test_pages_that_are_done_are_dropped_by_the_megabyte():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    client.say(m.OpenJob(0, [FUNCTION], CONTEXT.digest, count=8))
    for first in range(8):
        client.say(m.Page(0, first, 1, 0), bytes(400_000))
    for _ in range(7):
        for lease in worker.take(m.Lease):
            worker.report(lease, seconds=1.0)
    assert [message.firsts for message in worker.got(m.DropPages)] == [[0, 1, 2], [3, 4, 5]]


def test_a_blob_is_forgotten_with_its_last_user():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    job = client.job(count=1)
    client.say(m.Forget([FUNCTION]))
    assert not worker.got(m.Forget)
    worker.work()
    assert job.state == "done"
    assert not worker.got(m.Forget)
    client.say(m.Release(0))
    assert [message.digests for message in worker.got(m.Forget)] == [[FUNCTION]]


def test_a_blob_stays_while_another_client_counts_on_it():
    desk = Desk()
    worker, first, second = desk.worker(1), desk.client(), desk.client()
    first.job(count=1)
    worker.work()
    first.leave()
    assert not worker.got(m.Forget)
    second.job(count=1)
    assert len(worker.got(m.Blob)) == 1


def test_forgetting_twice_is_forgetting_once():
    desk = Desk()
    client, other = desk.client(), desk.client()
    client.say(m.Forget([FUNCTION, FUNCTION]))
    client.say(m.Forget([FUNCTION]))
    worker = desk.worker(1)
    other.job(count=1)
    worker.work()
    assert not client.closed


def test_a_worker_that_comes_back_is_sent_all_again():
    desk = Desk()
    worker, client = desk.worker(1, process="same"), desk.client()
    job = client.job(count=1)
    again = desk.worker(1, process="same", link=2)
    assert worker.closed
    assert [type(message).__name__ for message in again.heard] == [
        "Welcome",
        "Context",
        "Blob",
        "OpenJob",
        "Page",
        "Lease",
    ]
    again.work()
    assert job.state == "done"


@pytest.mark.parametrize("what", ["function", "definition", "context", "module"])
def test_what_was_not_sent_cannot_be_named(what):
    desk = Desk()
    client, other = desk.client(), desk.client()
    digest = b"x" * 16
    if what == "function":
        client.say(m.OpenJob(0, [digest], CONTEXT.digest, count=1))
    elif what == "context":
        client.say(m.OpenJob(0, [FUNCTION], digest, count=1))
    elif what == "module":
        client.say(m.Context(b"y" * 16, b"b" * 16, "/", modules=[m.Module("lab", "lab.py", digest)]))
    else:
        client.say(m.OpenJob(0, [FUNCTION], CONTEXT.digest, count=1))
        client.say(m.Page(0, 0, 1, 0, [FUNCTION, digest]), b"items")
    assert client.closed
    assert client.got(m.Refused)[0].code == "malformed"
    assert not other.closed
