from tests.core.desk import Desk
from twistcluster.wire import messages as m


def told(client):
    return [message.first for message in client.take(m.Results)]


def test_what_happens_is_told_at_once():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    client.job(count=3)
    worker.work(seconds=1.0)
    assert told(client) == [0, 1, 2]
    assert desk.scheduler.telling.held_bytes == 0


def test_a_paused_client_is_told_later_in_order():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    client.job(count=3)
    client.pause()
    worker.work(seconds=1.0)
    assert told(client) == []
    assert desk.scheduler.telling.held_bytes > 0
    client.resume()
    assert told(client) == [0, 1, 2]
    assert desk.scheduler.telling.held_bytes == 0


def test_at_the_limit_leasing_pauses_and_goes_on_when_results_are_fetched():
    desk = Desk(results_held_bytes=1000)
    worker, client = desk.worker(1), desk.client()
    job = client.job(count=100)
    client.pause()
    worker.work(seconds=1.0)
    assert 0 < job.spans.finished < 100
    assert "wait to be fetched" in client.got(m.Notice)[0].text
    client.resume()
    worker.work(seconds=1.0)
    assert job.state == "done"
    assert told(client) == list(range(100))


def test_large_results_of_a_paused_client_count_what_their_host_holds_for_it():
    desk = Desk(results_held_bytes=64 << 20)
    worker, client = desk.worker(1), desk.client()
    job = client.job(count=100)
    client.pause()
    work_on_pictures(worker)
    assert 64 << 20 <= desk.scheduler.telling.held_bytes < 100 * (8 << 20)
    assert job.state == "running", "a client that doesn't read must not fill the host's store"
    assert not worker.got(m.Freed), "it may still ask for them"
    names = []
    while job.state != "done":
        client.resume()
        names += [each.id for message in client.take(m.Results) for each in message.objects]
        work_on_pictures(worker)
    names += [each.id for message in client.take(m.Results) for each in message.objects]
    assert len(names) == 100
    assert desk.scheduler.telling.held_bytes == 0
    assert not worker.got(m.Freed)
    client.say(m.Release(0))
    client.say(m.Drop(names))
    assert sorted(each for message in worker.got(m.Freed) for each in message.ids) == sorted(names)
    assert len(desk.scheduler.objects) == 0


def work_on_pictures(worker):
    """Report every lease that came, each item with a result of 8 MiB in the host's store."""
    while leases := worker.take(m.Lease):
        for lease in leases:
            made = [
                m.Stored(at, (lease.start + at).to_bytes(16, "big"), 8 << 20) for at in range(lease.stop - lease.start)
            ]
            worker.say(m.Report(lease.lease, lease.start, len(made), 1, len(made), objects=made), b"results")


def test_a_client_at_its_limit_hinders_nobody_else():
    desk = Desk(results_held_bytes=1000)
    worker, slow, other = desk.worker(1), desk.client(), desk.client()
    slow.job(count=100)
    slow.pause()
    worker.work(seconds=1.0)
    job = other.job(count=50)
    worker.work(seconds=1.0)
    assert job.state == "done"
    assert told(other) == list(range(50))


def test_a_named_cluster_keeps_what_was_told_for_who_comes_later():
    desk = Desk("lab")
    worker, first = desk.worker(1), desk.client()
    job = first.job(count=3, label="thumbs-1", named=True)
    worker.work(seconds=1.0)
    first.leave()
    second = desk.client()
    second.say(m.Adopt(7, 4, "thumbs-1"))
    answer = second.got(m.Answer)[0]
    assert (answer.request, answer.jobs[0].id, answer.jobs[0].yours) == (7, job.id, False)
    assert [(message.job, message.first) for message in second.got(m.Results)] == [(4, 0), (4, 1), (4, 2)]


def test_a_job_can_be_adopted_while_it_runs_and_both_are_told():
    desk = Desk("lab")
    worker, first, second = desk.worker(1), desk.client(), desk.client()
    job = first.job(count=3)
    [lease] = worker.take(m.Lease)
    worker.report(lease)
    second.say(m.Adopt(1, 9, job.id))
    worker.work(seconds=1.0)
    assert told(first) == told(second) == [0, 1, 2]


def test_adopting_a_job_that_nobody_knows():
    desk = Desk("lab")
    client = desk.client()
    client.say(m.Adopt(1, 0, "nothing"))
    assert client.got(m.Declined)[0].code == "unknown"
    assert not client.closed


def test_results_that_were_told_are_gone_where_nothing_is_kept():
    desk = Desk()
    worker, first, second = desk.worker(1), desk.client(), desk.client()
    job = first.job(count=3)
    worker.work(seconds=1.0)
    second.say(m.Adopt(1, 9, job.id))
    assert second.got(m.Declined)[0].code == "gone"


def test_one_that_adopts_its_own_job_again_is_told_all_by_the_new_number():
    desk = Desk("lab")
    worker, client = desk.worker(1), desk.client()
    job = client.job(count=2)
    worker.work(seconds=1.0)
    client.take(m.Results)
    client.say(m.Adopt(1, 5, job.id))
    assert [(message.job, message.first) for message in client.got(m.Results)] == [(5, 0), (5, 1)]
    client.say(m.Release(5))
    assert not desk.scheduler.jobs


def test_kept_results_are_let_go_at_the_limit_the_oldest_first():
    desk = Desk("lab", results_held_bytes=1000)
    worker, client = desk.worker(1), desk.client()
    old = client.job(0, count=5)
    worker.work(seconds=1.0)
    new = client.job(1, count=8)
    for _ in range(10):
        worker.work(seconds=1.0)
        desk.wait(0.5)
    assert new.state == "done"
    assert old.log.base == 5
    assert desk.scheduler.telling.held_bytes <= 1000


def test_what_items_print_is_bounded_for_a_job(monkeypatch):
    monkeypatch.setattr("twistcluster.core.telling.OUTPUT_JOB_BYTES", 10)
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    client.job(count=1)
    [lease] = worker.got(m.Lease)
    for _ in range(5):
        worker.say(m.Printed(lease.lease, 0, "1234"))
    assert len(client.got(m.Output)) == 2


def test_a_released_job_is_forgotten_when_it_is_over():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    job = client.job(count=2)
    client.say(m.Release(0))
    assert desk.scheduler.jobs
    worker.work(seconds=1.0)
    assert job.state == "done"
    assert not desk.scheduler.jobs
    assert not told(client)


def test_who_adopts_a_job_is_sent_the_classes_that_its_results_name_once():
    desk = Desk("lab")
    worker, first, second = desk.worker(1), desk.client(), desk.client()
    kind = b"k" * 16
    first.say(m.Blob(kind), b"class Kind")
    job = first.job(count=2, label="kinds-1", named=True)
    for lease in worker.take(m.Lease):
        worker.say(m.Report(lease.lease, lease.start, lease.stop - lease.start, 1, 0.01, [kind]), b"of Kind")
    worker.work()
    second.say(m.Adopt(1, 0, job.id))
    heard = [type(message) for message in second.heard]
    assert heard.count(m.Blob) == 1 and heard.index(m.Blob) < heard.index(m.Results)
    assert not first.got(m.Blob)


def test_it_is_told_that_no_slot_is_up():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    client.job(count=3)
    desk.wait(1.0)
    assert "the worker's log says why" in client.got(m.JobProgress)[-1].waiting
    worker.say(m.SlotsChanged(1, 1, 1, 0))
    desk.wait(1.0)
    assert client.got(m.JobProgress)[-1].waiting == ""
