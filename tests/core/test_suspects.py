"""What ran when the cluster's own process died counts against it, whatever of that was written down."""

import pytest

from tests.core.desk import Desk
from tests.core.test_restoring import job_of, named
from twistcluster.core.losses import CAUTIOUS_ITEMS, LOSSES_AT_MOST
from twistcluster.core.suspects import KNOWN_AT_MOST, Suspect
from twistcluster.testing.paper import Paper
from twistcluster.wire import messages as m


def died(desk, *leases):
    """What the process leaves: what it was told at its start, and what ran."""
    ran = []
    for lease in leases:
        job = desk.scheduler.jobs[lease.job]
        ran.append(Suspect(job.owner.id, job.number, job.rounds, lease.start, lease.stop, 0))
    return [*desk.scheduler.returning.suspects.known, *ran]


def until_met(desk, culprit, number=0):
    """A worker works until it has the culprit; returns what it has then, and how many items ran one by one before."""
    worker, single = desk.worker(2, name="local"), 0
    while leases := worker.take(m.Lease):
        met = [lease for lease in leases if lease.start <= culprit < lease.stop]
        for lease in leases:
            if lease not in met:
                single += lease.stop - lease.start == 1
                worker.report(lease, seconds=0.0001)
        if met:
            return met, single
    return [], single


@pytest.mark.parametrize("written", [True, False], ids=["written", "nothing-since-the-job"])
@pytest.mark.parametrize("culprit", [0, 7, 399])
def test_the_fifth_death_fails_an_item_and_no_other(culprit, written):
    desk = named()
    desk.client().job(count=400)
    desk.write()
    deaths = alone = 0
    while True:
        leases, single = until_met(desk, culprit)
        if not leases:
            break
        assert deaths < LOSSES_AT_MOST
        deaths, alone = deaths + 1, leases[0].stop - leases[0].start == 1
        if written:
            desk.write()
        desk = desk.again(suspects=died(desk, *leases))
    job = job_of(desk)
    assert deaths == LOSSES_AT_MOST and alone
    assert job.state == "failed" and list(job.failed) == [(culprit, culprit + 1)]
    assert len(job.losses.suspected(0, 400)) <= CAUTIOUS_ITEMS and single <= 2 * CAUTIOUS_ITEMS
    [text] = [e.message.error.message for e in job.log.entries if isinstance(e.message, m.Failed)]
    assert text.startswith(
        "it was running 5 times when the cluster's own process, or a worker, was killed. Run it alone"
    )


def test_its_failure_is_written_down_and_a_retry_begins_anew():
    desk = named()
    desk.client().job(count=1)
    desk.write()
    for _ in range(2):
        for _ in range(LOSSES_AT_MOST):
            assert not job_of(desk).over
            leases, _ = until_met(desk, 0)
            desk = desk.again(suspects=died(desk, *leases))
        assert job_of(desk).state == "failed"
        desk.write()
        desk = desk.again(suspects=died(desk))
        assert job_of(desk).state == "failed", "it is in the journal"
        client = desk.client()
        client.say(m.Adopt(1, 7, job_of(desk).id))
        client.say(m.Retry(7))
        desk.write()
        client.leave()
    assert job_of(desk).rounds == 2


def test_what_is_known_of_a_round_before_a_retry_is_forgotten():
    desk = named()
    job = desk.client().job(count=2)
    desk.write()
    row = Suspect(job.owner.id, 0, 0, 0, 2, 0)
    known = [row._replace(rounds=1, times=4), row._replace(start=1, times=2), row._replace(start=1)]
    assert job_of(desk.again(suspects=known)).losses.counts() == [(1, 2, 3)]


def opening(desk, link):
    """The client whose job isn't in the journal is there again; it has said what it holds, but not that this was all."""
    client = desk.client(process="0" * 32, link=link)
    client.say(m.Resume([]))
    return client, client.job(count=1)


def test_a_job_that_is_never_written_down_fails_too():
    desk, link = Desk("lab", Paper()), 1
    client, job = opening(desk, link)
    client.say(m.Offered([]))
    while not job.over:
        leases, _ = until_met(desk, 0)
        assert leases and link <= LOSSES_AT_MOST
        desk, link = Desk("lab", Paper(), died(desk, *leases)), link + 1
        assert desk.scheduler.returning.suspects.known[0].times == link - 1
        client, job = opening(desk, link)
        assert not job.over, "its client may know better"
        client.say(m.Offered([]))
    assert link == LOSSES_AT_MOST + 1 and client.got(m.Failed)[0].error.type == "WorkerLost"


def test_what_its_client_knows_of_an_item_counts_more():
    first = Desk("lab", Paper())
    client, job = opening(first, 1)
    desk = Desk("lab", Paper(), [Suspect(job.owner.id, 0, 0, 0, 1, 4), Suspect(job.owner.id, 0, 0, 0, 1, 0)])
    client, job = opening(desk, 2)
    client.say(m.Results(0, 0, 1, 0), b"results")
    client.say(m.Offered([]))
    assert job.state == "done" and not client.got(m.Failed)


def test_an_item_that_is_not_here_yet_waits_for_one_more_death():
    desk = named()
    client = desk.client()
    client.job(count=10, pages=[5])
    desk.write()
    row = Suspect(client_of(desk), 0, 0, 7, 8, 5)
    desk = desk.again(suspects=[row])
    assert job_of(desk).losses.counts() == [(7, 8, 4)] and not job_of(desk).failed
    assert desk.scheduler.returning.suspects.known == [row]


def client_of(desk):
    return job_of(desk).owner.id


def test_what_is_done_or_of_a_job_that_is_over_is_not_counted():
    desk = named()
    worker, client = desk.worker(1), desk.client()
    client.job(0, count=1)
    worker.work()
    client.job(1, count=20)
    [lease] = worker.take(m.Lease)
    worker.report(lease)
    desk.write()
    name = client_of(desk)
    desk = desk.again(suspects=[Suspect(name, 0, 0, 0, 1, 0), Suspect(name, 1, 0, 0, 4, 0)])
    assert job_of(desk, 1).losses.counts() == [(lease.stop, 4, 1)] and lease.stop < 4
    assert [(each.number, each.start, each.stop) for each in desk.scheduler.returning.suspects.known] == [
        (1, lease.stop, 4)
    ]


def test_no_more_is_handed_on_than_there_is_room_for():
    old = [Suspect("gone.1", number, 0, 0, 1, 3) for number in range(1, 2 * KNOWN_AT_MOST)]
    new = Suspect("here.1", 1, 0, 0, 1, 0)
    known = Desk("lab", Paper(), [new, *old]).scheduler.returning.suspects.known
    assert len(known) == KNOWN_AT_MOST and known[-1] == new._replace(times=1)
