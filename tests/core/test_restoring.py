"""A scheduler that died comes back from what was written down, and goes on."""

import pytest

from tests.core.desk import Desk
from twistcluster.testing.paper import Paper
from twistcluster.wire import messages as m


def named():
    return Desk("lab", Paper())


def job_of(desk, number=0):
    return next(job for job in desk.scheduler.jobs.values() if job.number == number)


def adopted(desk, number=0):
    """What a new client is told of a job: fates by item, and the messages."""
    client = desk.client()
    client.say(m.Adopt(1, 7, job_of(desk, number).id))
    return client, fates(client)


def fates(client):
    found = {}
    for message in client.heard:
        match message:
            case m.Results():
                for index in range(message.first, message.first + message.count):
                    assert found.get(index) != "done", "told twice"
                    found[index] = "done"
            case m.Failed():
                found[message.index] = "failed"
            case m.Cancelled():
                for start, stop in message.ranges:
                    found.update(dict.fromkeys(range(start, stop), "cancelled"))
    return found


def some(worker, count):
    """Work on the first so many items that are leased."""
    while count and (leases := worker.take(m.Lease)):
        for lease in leases:
            stop = min(lease.start + count, lease.stop)
            if stop > lease.start:
                worker.report(lease, lease.start, stop)
            count -= stop - lease.start


def fail(worker, lease, index):
    worker.say(m.Failure(lease.lease, index, 0.1, m.ErrorInfo("raised", "ValueError", "no")), b"pickled")


def test_a_job_goes_on_where_it_was():
    desk = named()
    worker, client = desk.worker(1), desk.client()
    client.job(count=100, pages=[40, 60], label="thumbs-1")
    some(worker, 30)
    desk.write()
    done = 100 - len(job_of(desk).spans.pending) - sum(len(x.left) for x in job_of(desk).spans.leases.values())
    assert done == 30
    desk = desk.again()
    job = job_of(desk)
    assert (job.state, job.spans.finished, len(job.spans.pending), job.title) == ("pending", 30, 70, "thumbs-1")
    watcher, known = adopted(desk)
    assert known == dict.fromkeys(range(30), "done")
    worker = desk.worker(2)
    worker.work()
    assert job.state == "done"
    assert fates(watcher) == dict.fromkeys(range(100), "done")
    assert {page.first for page in worker.got(m.Page)} == {0, 40}


def test_what_was_not_written_runs_again():
    desk = named()
    worker, client = desk.worker(1), desk.client()
    client.job(count=10)
    some(worker, 4)
    desk.write()
    worker.work()
    assert job_of(desk).spans.finished > 4
    desk = desk.again()
    assert job_of(desk).spans.finished == 4
    desk.worker(1).work()
    assert job_of(desk).state == "done"


def test_a_job_that_is_over_is_over_with_all_its_results():
    desk = named()
    worker, client = desk.worker(1), desk.client()
    client.job(count=20)
    worker.work()
    desk.write()
    assert client.got(m.Kept)[-1] == m.Kept(0, 20, True)
    desk = desk.again()
    assert job_of(desk).state == "done"
    _, known = adopted(desk)
    assert known == dict.fromkeys(range(20), "done")
    assert not desk.worker(1).got(m.Lease)


def test_failures_outputs_and_cancelled_items_come_back():
    desk = named()
    worker, client = desk.worker(1), desk.client()
    client.job(count=6)
    (lease,) = worker.take(m.Lease)
    worker.say(m.Printed(lease.lease, 0, "hello"))
    fail(worker, lease, 0)
    client.say(m.Cancel(0, 3, 5))
    worker.work()
    assert job_of(desk).state == "failed"
    desk.write()
    desk = desk.again()
    client, known = adopted(desk)
    assert known == {0: "failed", 1: "done", 2: "done", 3: "cancelled", 4: "cancelled", 5: "done"}
    assert client.got(m.Output)[0].text == "hello"
    assert client.got(m.Failed)[0].error.type == "ValueError"
    worker = desk.worker(1)
    client.say(m.Retry(7))
    worker.work()
    assert job_of(desk).state == "cancelled" and fates(client)[0] == "done"
    desk.write()
    desk = desk.again()
    assert job_of(desk).state == "cancelled" and not job_of(desk).failed


def test_a_retry_that_was_written_is_not_forgotten():
    desk = named()
    worker, client = desk.worker(1), desk.client()
    client.job(count=2)
    (lease,) = worker.take(m.Lease)
    fail(worker, lease, 0)
    worker.work()
    assert job_of(desk).state == "failed"
    worker.leave()
    client.say(m.Retry(0))
    desk.write()
    desk = desk.again()
    assert job_of(desk).state == "pending"
    desk.worker(1).work()
    assert job_of(desk).state == "done"


def test_what_was_to_be_cancelled_does_not_run_again():
    desk = named()
    worker, client = desk.worker(1), desk.client()
    client.job(count=10)
    assert worker.take(m.Lease)
    client.say(m.Cancel(0))
    assert job_of(desk).spans.leases, "what runs goes on"
    desk.write()
    desk = desk.again()
    assert job_of(desk).state == "cancelled"
    assert not desk.worker(1).got(m.Lease)


def test_a_lazy_job_whose_client_stays_away_ends():
    desk = named()
    client = desk.client()
    client.job(count=None, pages=[5])
    desk.write()
    desk = desk.again()
    worker = desk.worker(1)
    worker.work()
    job = job_of(desk)
    assert not job.over and job.expects_more
    desk.wait(29)
    assert not job.over
    desk.wait(3)
    assert job.state == "failed" and "client went away" in job.input_error


def test_a_lazy_job_that_was_closed_has_its_count():
    desk = named()
    client = desk.client()
    client.job(count=None, pages=[5])
    client.say(m.CloseJob(0, 5))
    desk.write()
    desk = desk.again()
    desk.worker(1).work()
    assert job_of(desk).state == "done" and job_of(desk).count == 5


def test_items_that_wait_for_others_wait_again():
    desk = named()
    worker, client = desk.worker(1), desk.client()
    client.job(1, count=4)
    client.say(m.OpenJob(2, [b"f" * 16], b"c" * 16, count=3))
    edges = [m.Edge(0, 0, 1, 0), m.Edge(1, 0, 1, 3), m.Edge(2, 0, 1, -1)]
    client.say(m.Page(2, 0, 3, 0, edges=edges), b"items")
    some(worker, 1)
    desk.write()
    desk = desk.again()
    job = job_of(desk, 2)
    assert len(job.spans.pending) == 1 and len(job.spans.waiting) == 2, "the first item's input is in the journal"
    worker = desk.worker(1)
    worker.work()
    assert job.state == "done" and job_of(desk, 1).state == "done"
    values = {(each.first, each.count) for each in worker.got(m.Values)}
    assert (0, 1) in values and sum(count for _, count in values) >= 4


def test_a_job_that_another_feeds_is_fed_again():
    desk = named()
    worker, client = desk.worker(1), desk.client()
    client.job(1, count=6)
    client.say(m.OpenJob(2, [b"f" * 16], b"c" * 16, count=6, source=1))
    some(worker, 2)
    desk.write()
    desk = desk.again()
    worker = desk.worker(1)
    worker.work()
    assert [job_of(desk, number).state for number in (1, 2)] == ["done", "done"]
    assert job_of(desk, 2).spans.finished == 6


def test_stored_results_are_held_and_freed():
    desk = named()
    worker, client = desk.worker(1), desk.client()
    client.job(count=3)
    (lease,) = worker.take(m.Lease)
    made = [m.Stored(at, bytes([at]) * 16, 1 << 20) for at in range(3)]
    worker.say(
        m.Report(lease.lease, lease.start, lease.stop - lease.start, 1, 0.1, objects=made[: lease.stop - lease.start]),
        b"rows",
    )
    worker.work()
    desk.write()
    held = len(desk.scheduler.objects)
    assert held
    desk = desk.again()
    assert len(desk.scheduler.objects) == held
    job = job_of(desk)
    job.owner.left_at = -4000.0
    desk.scheduler.forget(job)
    desk.carry_out(desk.scheduler.end_turn(desk.now))
    assert len(desk.scheduler.objects) == 0


def test_a_forgotten_job_is_not_in_the_journal():
    desk = named()
    worker, client = desk.worker(1), desk.client()
    client.job(count=3)
    worker.work()
    client.say(m.Release(0))
    desk.write()
    assert desk.paper.jobs() == [] and desk.paper.entries() == []


def test_pages_that_are_not_needed_leave_the_journal():
    desk = named()
    worker, client = desk.worker(1), desk.client()
    client.job(count=20, pages=[10, 10])
    some(worker, 10)
    desk.write()
    assert [page.first for page in desk.paper.pages()] == [10]


@pytest.mark.parametrize("limit", [1, 1 << 30])
def test_what_the_journal_has_need_not_be_held(limit):
    desk = Desk("lab", Paper(), results_held_bytes=limit)
    worker, client = desk.worker(1), desk.client()
    client.job(count=50)
    for _ in range(100):
        for lease in worker.take(m.Lease):
            worker.report(lease)
        desk.write()
        desk.wait(0.3)
    assert job_of(desk).state == "done", "leasing goes on"
    _, known = adopted(desk)
    assert known == dict.fromkeys(range(50), "done")


# ---- how long ----

DAY = 24 * 3600.0


def later(desk, seconds):
    """Once a minute is enough to see it."""
    desk.now += seconds
    desk.carry_out(desk.scheduler.tick(desk.now))
    desk.write()


def numbers(desk):
    return [job.number for job in desk.scheduler.jobs.values()]


def test_named_jobs_stay_a_week_and_unnamed_ones_an_hour():
    desk = named()
    worker, client, watcher = desk.worker(1), desk.client(), desk.client()
    for number, name in [(0, ""), (1, "one"), (2, "")]:
        client.job(number, named=bool(name), label=name)
    worker.work()
    watcher.say(m.Adopt(1, 1, job_of(desk, 2).id))
    client.leave()
    later(desk, 3500)
    assert numbers(desk) == [0, 1, 2]
    later(desk, 200)
    assert numbers(desk) == [1, 2], "one is named, one is listened to"
    later(desk, 6.9 * DAY)
    assert numbers(desk) == [1, 2]
    later(desk, 0.2 * DAY)
    assert numbers(desk) == [2]
    assert [row.key for row, _ in desk.paper.jobs()] == [job_of(desk, 2).key]


@pytest.mark.parametrize("restarts", [False, True])
def test_of_too_many_bytes_the_oldest_end_goes_first(monkeypatch, restarts):
    monkeypatch.setattr("twistcluster.core.retention.NAMED_BYTES", 2500)
    desk = named()
    worker, client = desk.worker(4), desk.client()
    for number in (0, 1, 2):
        client.job(number, named=True)
    leases = {lease.job: lease for lease in worker.got(m.Lease)}
    for number in (1, 0, 2):
        later(desk, 1)
        job = job_of(desk, number)
        worker.say(m.Report(leases[job.key].lease, 0, 1, 0, 0.1), bytes(1000))
        client.say(m.Release(number))
    desk.write()
    if restarts:
        desk = desk.again()
    assert sorted(numbers(desk)) == [0, 1, 2]
    later(desk, 61)
    assert sorted(numbers(desk)) == [0, 2]


def test_a_job_is_forgotten_when_it_is_asked_for_and_over():
    desk = named()
    worker, client = desk.worker(1), desk.client()
    job = client.job(3, count=2, named=True)
    (said,) = [x for x in client.say(m.Ask(1, m.ForgetJob(job.id))) if isinstance(x, m.Declined)]
    assert said.code == "invalid" and "cancel it" in said.message
    worker.work()
    desk.write()
    assert isinstance(client.say(m.Ask(2, m.ForgetJob(job.id)))[-1], m.Answer)
    desk.write()
    assert not desk.scheduler.jobs and not desk.paper.jobs() and not desk.paper.entries()
    assert isinstance(client.say(m.Ask(3, m.ForgetJob(job.id)))[-1], m.Answer), "there is nothing to forget"


def test_what_others_read_of_a_job_keeps_it_until_they_have_it():
    desk = named()
    worker, client = desk.worker(1), desk.client()
    job = client.job(1, count=6)
    worker.work()
    desk.write()
    desk.scheduler.telling.put_away(job)
    before, desk.carry_out = desk.carry_out, lambda effects: held.extend(effects)
    held = []
    client.say(m.OpenJob(2, [b"f" * 16], b"c" * 16, count=6, source=1))
    assert job.needed
    client.say(m.Release(1))
    client.say(m.Ask(9, m.ForgetJob(job.id)))
    assert desk.scheduler.jobs[job.key] is job
    desk.carry_out = before
    desk.carry_out(held)
    assert any(isinstance(x, m.Declined) and "others wait" in x.message for x in client.heard)
    assert desk.scheduler.jobs[job.key] is job, "should the scheduler die, what it told is needed once more"
    worker.work()
    assert job_of(desk, 2).state == "done"
    assert job.key not in desk.scheduler.jobs, "nobody needs it any more"


def test_what_the_journal_cannot_read_any_more_fails_what_waits_for_it():
    desk = named()
    worker, client = desk.worker(1), desk.client()
    job = client.job(1, count=2)
    worker.work()
    desk.write()
    desk.scheduler.telling.put_away(job)
    desk.paper.read_log = lambda job, place: []
    client.say(m.OpenJob(2, [b"f" * 16], b"c" * 16, count=2, source=1))
    assert job_of(desk, 2).state == "failed"
    assert "journal" in client.got(m.Failed)[0].error.message


def test_losses_of_workers_count_on():
    desk = named()
    client = desk.client()
    client.job(count=1)
    for lost in range(1, 5):
        worker = desk.worker(1)
        assert worker.take(m.Lease)
        worker.leave()
        assert job_of(desk).losses.suspected(0, 1) == ([(0, lost)] if lost > 1 else [])
    desk.write()
    desk = desk.again()
    assert job_of(desk).losses.suspected(0, 1) == [(0, 4)]
    client, _ = adopted(desk)
    desk.worker(1).leave()
    assert "5 times" in client.got(m.Failed)[0].error.message
    desk.write()
    client.say(m.Retry(7))
    desk.write()
    assert not job_of(desk.again()).losses


def test_crashes_and_tries_count_on():
    desk = named()
    worker, client = desk.worker(1), desk.client()
    client.job(count=1, retries=1, max_crashes=3)
    for _ in range(2):
        (lease,) = worker.take(m.Lease)
        worker.say(m.Crashed(lease.lease, 0, "signal 11 (SIGSEGV)"))
    (lease,) = worker.take(m.Lease)
    fail(worker, lease, 0)
    desk.write()
    desk = desk.again()
    job = job_of(desk)
    assert job.crashes == {0: 2} and job.tries == {0: 1}
    client, _ = adopted(desk)
    worker = desk.worker(1)
    (lease,) = worker.take(m.Lease)
    worker.say(m.Crashed(lease.lease, 0, "signal 11 (SIGSEGV)"))
    assert job.state == "failed" and "3 times" in client.got(m.Failed)[0].error.message
    client.say(m.Retry(7))
    desk.write()
    assert job_of(desk.again()).crashes == {} == job_of(desk.again()).tries
