import math

import pytest

from tests.core.desk import CONTEXT, FUNCTION, Desk
from twistcluster.wire import messages as m
from twistcluster.wire.limits import SLOTS


@pytest.mark.parametrize(
    ("fields", "code", "word"),
    [
        ({"protocol": m.PROTOCOL + 1}, "protocol", "Install the same version"),
        ({"python": "3.12"}, "python", "you run 3.12"),
        ({"slots": -1}, "malformed", "slots"),
        ({"resources": {"gpu": math.nan}}, "malformed", "nan"),
        ({"resources": {"gpu": -1.0}}, "malformed", "gpu"),
    ],
)
@pytest.mark.parametrize("role", ["client", "worker"])
def test_who_cannot_join_is_told_why(role, fields, code, word):
    desk = Desk()
    peer = desk.connect(role, **fields)
    [refused] = peer.heard
    assert refused.code == code
    assert word in refused.message
    assert peer.closed
    assert not desk.scheduler.clients
    assert not desk.scheduler.leasing.workers


def test_who_joins_is_welcomed():
    desk = Desk("lab")
    assert [(w.epoch, w.name) for w in desk.connect("client").got(m.Welcome)] == [("e", "lab")]


def test_differing_packages_are_told():
    desk = Desk()
    early = desk.client(packages={"numpy": "1.26", "pillow": "10"})
    desk.worker(1, name="far", packages={"numpy": "2.0", "pillow": "10", "scipy": "1"})
    late = desk.client(packages={"numpy": "1.26"})
    for client in (early, late):
        [text] = [notice.text for notice in client.got(m.Notice) if notice.level == "warning"]
        assert "numpy 2.0 (here 1.26)" in text
        assert "pillow" not in text


def test_a_worker_has_so_many_slots_and_no_more():
    desk = Desk()
    boaster, worker = desk.worker(SLOTS + 1), desk.worker(SLOTS)
    assert f"can't have {SLOTS + 1} slots" in boaster.got(m.Refused)[0].message and boaster.closed
    worker.say(m.SlotsChanged(SLOTS, SLOTS, 0, 0))
    assert not worker.closed
    worker.say(m.SlotsChanged(SLOTS + 1, 0, 0, 0))
    assert f"0 to {SLOTS:,} slots" in worker.got(m.Refused)[0].message and worker.closed


@pytest.mark.parametrize(
    "messages",
    [
        [m.Page(0, 0, 1, 0)],
        [m.CloseJob(0, 0)],
        [m.OpenJob(0, [FUNCTION], CONTEXT.digest, count=-1)],
        [m.OpenJob(0, [FUNCTION], CONTEXT.digest, resources={"gpu": 0.0})],
        [m.OpenJob(0, [FUNCTION], CONTEXT.digest, resources={"gpu": math.inf})],
        [m.OpenJob(3, [FUNCTION], CONTEXT.digest, count=1), m.OpenJob(3, [FUNCTION], CONTEXT.digest, count=1)],
        [m.OpenJob(3, [FUNCTION], CONTEXT.digest, count=1), m.OpenJob(2, [FUNCTION], CONTEXT.digest, count=1)],
        [m.OpenJob(0, [FUNCTION], CONTEXT.digest), m.Page(0, 1, 1, 0)],
        [m.OpenJob(0, [FUNCTION], CONTEXT.digest), m.Page(0, 0, 2, 0), m.CloseJob(0, 3)],
        [m.OpenJob(0, [FUNCTION], CONTEXT.digest, count=1), m.Page(0, 0, 2, 0)],
        [m.Ask(1, m.Everywhere(b"x" * 16, FUNCTION))],
        [m.Ask(1, m.Everywhere(CONTEXT.digest, b"x" * 16))],
        [m.Report(1, 0, 1, 0, 0.1)],
        [m.Blob(b"x" * 16)],
    ],
)
def test_a_client_that_breaks_the_protocol_loses_its_link_and_nobody_else_anything(messages):
    desk = Desk()
    worker, other, client = desk.worker(1), desk.client(), desk.client()
    for message in messages:
        client.say(message)
    assert client.got(m.Refused)[0].code == "malformed"
    assert client.closed
    assert client.say(m.Ask(1, m.Status())) == []
    job = other.job(count=3)
    worker.work()
    assert job.state == "done"


@pytest.mark.parametrize(
    "message",
    [
        m.Report(1, 0, 3, 0, 0.1),
        m.Report(1, 0, 0, 0, 0.1),
        m.Report(1, -1, 2, 0, 0.1),
        m.Report(1, 0, 2, 0, -1.0),
        m.Report(1, 0, 2, 0, math.nan),
        m.Failure(1, 0, math.inf, m.ErrorInfo("raised", "E", "")),
        m.Printed(1, 2, "text"),
        m.Running([(1, 0, math.nan)]),
        m.SlotsChanged(-1, 0, 0, 0),
        m.Retry(0),
    ],
)
def test_a_worker_that_breaks_the_protocol_loses_its_link_and_its_leases(message):
    desk = Desk()
    worker = desk.worker(2)
    job = desk.client().job(count=2)
    worker.say(message)
    assert worker.got(m.Refused)
    assert worker.closed
    assert list(job.spans.pending) == [(0, 2)]
    desk.worker(1).work()
    assert job.state == "done"


def test_a_worker_that_speaks_of_leases_long_gone_is_not_listened_to():
    desk = Desk()
    worker = desk.worker(1)
    desk.client().job(count=1)
    worker.work()
    for message in (
        m.Report(1, 0, 1, 0, 0.1),
        m.Failure(1, 0, 0.1, m.ErrorInfo("raised", "E", "")),
        m.Crashed(1, 0, "x"),
        m.Released(1, 0, 1),
        m.Printed(1, 0, "x"),
        m.Running([(1, 0, 0.1)]),
        m.StepDone(9, "1"),
    ):
        worker.say(message)
    assert not worker.closed


def test_zero_items_are_done_at_once():
    desk = Desk()
    client = desk.client()
    assert client.job(count=0).state == "done"
    client.say(m.OpenJob(1, [FUNCTION], CONTEXT.digest))
    client.say(m.CloseJob(1, 0))
    assert [job.state for job in desk.scheduler.jobs.values()] == ["done", "done"]


def test_a_lazy_job_runs_while_it_comes():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    client.say(m.OpenJob(0, [FUNCTION], CONTEXT.digest))
    client.say(m.Page(0, 0, 3, 0), b"items")
    worker.work()
    [job] = desk.scheduler.jobs.values()
    assert (job.spans.finished, job.state) == (3, "running")
    client.say(m.Page(0, 3, 1, 0), b"items")
    client.say(m.CloseJob(0, 4))
    worker.work()
    assert job.state == "done"


@pytest.mark.parametrize("count", [None, 9])
def test_input_ends_when_its_client_dies(count):
    desk = Desk("lab")
    worker, client = desk.worker(1), desk.client()
    client.say(m.OpenJob(0, [FUNCTION], CONTEXT.digest, count=count))
    client.say(m.Page(0, 0, 3, 0), b"items")
    client.leave()
    [job] = desk.scheduler.jobs.values()
    assert (job.count, job.input_error) == (3, "input ended after 3 items: its client went away")
    worker.work()
    assert job.state == "failed"


def test_a_source_that_raised_is_told():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    client.say(m.OpenJob(0, [FUNCTION], CONTEXT.digest))
    client.say(m.Page(0, 0, 1, 0), b"items")
    client.say(m.CloseJob(0, 1, "ValueError: no"))
    worker.work()
    assert client.got(m.CloseJob)[0].error == "input ended after 1 items: ValueError: no"


def test_cancelling_what_has_not_started():
    desk = Desk()
    worker, client = desk.worker(2), desk.client()
    job = client.job(count=10)
    [lease] = worker.take(m.Lease)
    client.say(m.Cancel(0))
    assert [message.ranges for message in client.got(m.Cancelled)] == [[(2, 10)]]
    assert [revoke.lease for revoke in worker.got(m.Revoke)] == [lease.lease]
    worker.say(m.Released(lease.lease, 1, 2))
    worker.report(lease, 0, 1)
    assert [message.ranges for message in client.got(m.Cancelled)] == [[(2, 10)], [(1, 2)]]
    assert job.state == "cancelled"
    assert not worker.take(m.Lease)


def test_pages_on_their_way_to_a_cancelled_job_are_not_looked_at():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    for number, count in enumerate([None, 5]):
        client.say(m.OpenJob(number, [FUNCTION], CONTEXT.digest, count=count))
        client.say(m.Page(number, 0, 2, 0), b"items")
        client.say(m.Cancel(number))
        client.say(m.Page(number, 2, 3, 0), b"items")
        client.say(m.CloseJob(number, 5))
    assert not client.closed
    worker.work()
    assert [job.over for job in desk.scheduler.jobs.values()] == [True, True]
    cancelled = sum(stop - start for told in client.got(m.Cancelled) for start, stop in told.ranges)
    assert cancelled + len(client.got(m.Results)) == 2 + 5


def test_cancelling_from_an_item_on_holds_for_those_that_are_still_to_come():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    client.say(m.OpenJob(0, [FUNCTION], CONTEXT.digest))
    client.say(m.Page(0, 0, 2, 0), b"items")
    client.say(m.Cancel(0, 3))
    client.say(m.Page(0, 2, 2, 0), b"items")
    client.say(m.CloseJob(0, 4))
    worker.work()
    [job] = desk.scheduler.jobs.values()
    assert list(job.cancelled) == [(3, 4)]
    assert job.state == "cancelled"


def test_failed_items_can_be_tried_again():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    job = client.job(count=3, pages=[1, 2])
    while leases := worker.take(m.Lease):
        for lease in leases:
            for index in range(lease.start, lease.stop):
                if index == 1:
                    worker.say(m.Failure(lease.lease, 1, 0.1, m.ErrorInfo("raised", "ValueError", "no")), b"error")
                else:
                    worker.report(lease, index, index + 1)
    assert job.state == "failed"
    assert [message.index for message in client.got(m.Failed)] == [1]
    client.say(m.Retry(0))
    assert job.state in {"pending", "running"}
    [lease] = worker.take(m.Lease)
    assert (lease.start, lease.stop) == (1, 2)
    assert [page.first for page in worker.got(m.Page)][-1] == 1
    worker.report(lease)
    assert job.state == "done"
    client.say(m.Retry(0))
    assert job.state == "done"


def test_the_third_crash_fails_an_item():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    job = client.job(count=1, label="work-1")
    for _ in range(3):
        [lease] = worker.take(m.Lease)
        worker.say(m.Crashed(lease.lease, 0, "signal 9 (SIGKILL)"))
    [failed] = client.got(m.Failed)
    assert failed.error.why == "crashed"
    assert failed.error.message.startswith("it ended its slot 3 times, the last time by signal 9 (SIGKILL).")
    assert job.state == "failed"


def test_the_third_loss_of_its_worker_fails_an_item_and_no_other():
    desk = Desk()
    client = desk.client()
    job = client.job(count=40)
    for _ in range(30):
        worker = desk.worker(2)
        for _ in range(100):
            # Item 7 kills its worker; what is leased with it is lost as well.
            for lease in worker.take(m.Lease):
                if lease.start <= 7 < lease.stop:
                    break
                worker.report(lease)
            else:
                continue
            break
        if job.over:
            break
        worker.leave()
    assert [message.index for message in client.got(m.Failed)] == [7]
    assert client.got(m.Failed)[0].error.why == "lost"


def test_losing_a_worker_loses_nothing():
    desk = Desk()
    client, first = desk.client(), desk.worker(2)
    job = client.job(count=20)
    [lease] = first.take(m.Lease)
    first.report(lease, 0, 1)
    first.leave()
    assert list(job.spans.pending) == [(1, 20)]
    second = desk.worker(2)
    second.work()
    assert job.state == "done"


@pytest.mark.parametrize("said", ["goodbye", "lost"])
def test_an_owned_cluster_ends_with_its_owner(said):
    desk = Desk()
    other, owner = desk.client(owner="wrong"), desk.client(owner="secret")
    other.leave()
    assert not desk.ended
    if said == "goodbye":
        owner.say(m.Goodbye())
    else:
        owner.leave()
    assert "owner" in desk.ended


def test_stopping_is_declined_while_others_use_it():
    desk = Desk("lab")
    client, other = desk.client(), desk.client(name="anna")
    other.job(count=1)
    client.say(m.Ask(1, m.StopCluster()))
    declined = client.got(m.Declined)[0]
    assert declined.code == "busy"
    assert "anna uses it and 1 job is open" in declined.message
    assert not desk.ended
    client.say(m.Ask(2, m.StopCluster(force=True)))
    assert desk.ended


def test_an_idle_cluster_ends():
    desk = Desk("lab", idle_timeout_s=10.0)
    client = desk.client()
    desk.wait(30)
    assert not desk.ended
    client.leave()
    desk.wait(8)
    assert not desk.ended
    desk.wait(5)
    assert desk.ended == "idle for 10 s"


def test_an_idle_cluster_works_off_what_it_can_first():
    desk = Desk("lab", idle_timeout_s=10.0)
    worker, client = desk.worker(1), desk.client()
    client.job(0, count=1)
    client.job(1, count=1, resources={"gpu": 1})
    client.leave()
    desk.wait(30)
    assert not desk.ended
    worker.work()
    desk.wait(15)
    assert desk.ended


def test_everywhere_is_answered_when_all_slots_have_run_it():
    desk = Desk()
    first, second, client = desk.worker(2), desk.worker(1), desk.client()
    client.say(m.Ask(5, m.Everywhere(CONTEXT.digest, FUNCTION)))
    [step] = first.got(m.Step)
    assert [message.digest for message in first.got(m.Blob)] == [FUNCTION]
    first.say(m.StepDone(step.request, "1", remaining=1))
    first.say(m.StepDone(step.request, "2"))
    assert not client.got(m.Answer)
    second.leave()
    assert [answer.request for answer in client.got(m.Answer)] == [5]
    assert len(client.got(m.StepDone)) == 2


def test_everywhere_without_workers_is_answered_at_once():
    desk = Desk()
    client = desk.client()
    client.say(m.Ask(5, m.Everywhere(CONTEXT.digest, FUNCTION)))
    assert client.got(m.Answer)


def test_scaling_is_for_a_cluster_with_a_worker_of_its_own():
    desk = Desk()
    client = desk.client()
    client.say(m.Ask(1, m.Scale(3)))
    assert client.got(m.Declined)[0].code == "invalid"
    local = desk.connect("worker", local=True, slots=1)
    client.say(m.Ask(2, m.Scale(3)))
    assert local.got(m.Scale) == [m.Scale(3)]
    client.say(m.Ask(3, m.Scale(-1)))
    assert [declined.request for declined in client.got(m.Declined)] == [1, 3]


def test_progress_is_told_five_times_a_second_at_most_and_only_when_it_changes():
    desk = Desk()
    worker, client = desk.worker(2), desk.client()
    client.job(count=1000)
    for _ in range(100):
        for lease in worker.take(m.Lease):
            worker.report(lease, seconds=0.1)
        desk.wait(0.02)
    told = client.got(m.JobProgress)
    assert 1 <= len(told) <= 11
    assert told[0].running == 2


def test_status_and_jobs():
    desk = Desk("lab")
    desk.worker(2, name="far")
    client = desk.client(name="anna")
    client.job(0, count=3, label="a-1")
    client.job(1, count=3, label="b-1")
    client.say(m.Ask(1, m.Status()))
    client.say(m.Ask(2, m.ListJobs()))
    client.say(m.Ask(3, m.ListJobs("a-1")))
    status, everything, one = client.got(m.Answer)
    assert (status.status.jobs_open, status.status.items_pending) == (2, 4)
    assert [worker.name for worker in status.status.workers] == ["far"]
    assert [job.label for job in everything.jobs] == ["b-1", "a-1"]
    assert [(job.label, job.client, job.yours) for job in one.jobs] == [("a-1", "anna", True)]


def test_an_item_may_be_cancelled_before_it_comes():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    client.say(m.OpenJob(0, [FUNCTION], CONTEXT.digest))
    client.say(m.Page(0, 0, 2, 0), b"items")
    client.say(m.Cancel(0, 3, 4))
    client.say(m.Page(0, 2, 3, 0), b"items")
    client.say(m.CloseJob(0, 5))
    worker.work()
    [job] = desk.scheduler.jobs.values()
    assert list(job.cancelled) == [(3, 4)] and job.over


def test_a_worker_that_leaves_in_good_order_is_held_against_no_item():
    desk = Desk()
    client = desk.client()
    job = client.job(count=1)
    for _ in range(4):
        worker = desk.worker(1)
        assert worker.take(m.Lease)
        worker.say(m.Goodbye())
        worker.leave()
    assert "left" in client.got(m.Notice)[-1].text
    desk.worker(1).work()
    assert job.state == "done"
