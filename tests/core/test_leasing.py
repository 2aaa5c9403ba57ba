import pytest

from tests.core.desk import Desk
from twistcluster.core.leasing import TARGET_LONGEST, TARGET_S
from twistcluster.wire import messages as m


def sizes(leases):
    return [lease.stop - lease.start for lease in leases]


def test_first_leases_are_one_item_a_slot():
    desk = Desk()
    workers = [desk.worker(slots) for slots in (1, 2, 4)]
    desk.client().job(count=1000)
    assert [sizes(worker.got(m.Lease)) for worker in workers] == [[1], [2], [4]]


def test_a_job_smaller_than_a_worker_is_one_lease():
    desk = Desk()
    worker = desk.worker(8)
    desk.client().job(count=3)
    assert sizes(worker.got(m.Lease)) == [3]


def test_leases_grow_to_the_target_and_cross_pages():
    desk = Desk()
    worker = desk.worker(2)
    desk.client().job(count=20_000, pages=[100] * 200)
    largest = 0
    for _ in range(20):
        for lease in worker.take(m.Lease):
            largest = max(largest, lease.stop - lease.start)
            worker.report(lease, seconds=0.0001)
    assert largest == pytest.approx(2 * TARGET_S / 0.0001, rel=0.1)


def test_a_lease_is_renewed_when_half_is_done():
    desk = Desk()
    worker = desk.worker(1)
    desk.client().job(count=100_000, pages=[4000] * 25)
    for _ in range(6):
        for lease in worker.take(m.Lease):
            worker.report(lease, seconds=0.001)
    [lease] = worker.take(m.Lease)
    items = lease.stop - lease.start
    assert items == pytest.approx(TARGET_S / 0.001, rel=0.1)
    worker.report(lease, lease.start, lease.start + items // 2 - 2, seconds=0.001)
    assert not worker.take(m.Lease)
    worker.report(lease, lease.start + items // 2 - 2, lease.start + items // 2 + 1, seconds=0.001)
    assert sizes(worker.take(m.Lease)) == [pytest.approx(items / 2, abs=3)]


def test_leases_shrink_near_the_end():
    desk = Desk()
    workers = [desk.worker(1), desk.worker(1)]
    desk.client().job(count=400)
    for worker in workers:
        for _ in range(2):
            for lease in worker.take(m.Lease):
                worker.report(lease, seconds=0.0001)
    left = []
    while leases := [(worker, lease) for worker in workers for lease in worker.take(m.Lease)]:
        for worker, lease in leases:
            left.append(lease.stop - lease.start)
            worker.report(lease, seconds=0.0001)
    assert left[-1] <= 2
    assert max(left) <= 400 / 4 + 1


def test_a_busy_scheduler_makes_its_leases_longer_and_shorter_again():
    desk = Desk()
    leasing = desk.scheduler.leasing
    for _ in range(20):
        leasing.pace(0.9)
    assert leasing.target_s == TARGET_S * TARGET_LONGEST
    leasing.pace(0.3)
    assert leasing.target_s == TARGET_S * TARGET_LONGEST
    for _ in range(20):
        leasing.pace(0.1)
    assert leasing.target_s == TARGET_S


def test_resources_limit_how_many_run_at_once():
    desk = Desk()
    plain, big = desk.worker(4), desk.worker(4, resources={"gpu": 2.0})
    desk.client().job(count=10, resources={"gpu": 1.0})
    assert not plain.got(m.Lease)
    assert sizes(big.take(m.Lease)) == [2]


def test_what_needs_no_resources_uses_the_other_slots():
    desk = Desk()
    big = desk.worker(4, resources={"gpu": 1.0})
    client = desk.client()
    client.job(0, count=10, resources={"gpu": 1.0})
    client.job(1, count=10)
    assert sorted(sizes(big.take(m.Lease))) == [1, 3]


def test_a_job_waits_for_slots_and_says_so():
    desk = Desk()
    worker = desk.worker(0)
    client = desk.client()
    client.job(count=1)
    desk.wait(1.0)
    assert "no worker has a slot: cluster.scale(N)" in client.got(m.JobProgress)[-1].waiting
    worker.say(m.SlotsChanged(1, 1, 0, 0))
    assert sizes(worker.got(m.Lease)) == [1]


def test_a_job_that_no_worker_can_run_waits_and_says_why():
    desk = Desk()
    desk.worker(4)
    client = desk.client()
    client.job(count=1, resources={"gpu": 1.5})
    desk.wait(1.0)
    assert client.got(m.JobProgress)[-1].waiting == "no worker offers gpu=1.5"
    worker = desk.worker(1, resources={"gpu": 2.0})
    assert sizes(worker.got(m.Lease)) == [1]


def test_a_job_that_no_worker_can_run_hinders_nobody():
    desk = Desk()
    worker = desk.worker(4)
    client = desk.client()
    client.job(0, count=10, resources={"gpu": 1.0})
    job = client.job(1, count=10)
    worker.work()
    assert job.state == "done"


def test_a_worker_without_slots_gets_nothing_until_it_has_some():
    desk = Desk()
    worker = desk.worker(0)
    job = desk.client().job(count=5)
    assert not worker.got(m.Lease)
    worker.say(m.SlotsChanged(2, 2, 0, 0))
    worker.work()
    assert job.state == "done"


def test_a_worker_that_loses_all_slots_is_asked_for_its_leases():
    desk = Desk()
    worker = desk.worker(2)
    job = desk.client().job(count=2)
    [lease] = worker.got(m.Lease)
    worker.say(m.SlotsChanged(0, 0, 0, 0))
    assert [revoke.lease for revoke in worker.got(m.Revoke)] == [lease.lease]
    other = desk.worker(1)
    worker.say(m.Released(lease.lease, 0, 2))
    other.work()
    assert job.state == "done"


def test_a_higher_priority_goes_first():
    desk = Desk()
    client = desk.client()
    client.job(0, count=2)
    client.job(1, count=2, priority=1)
    worker = desk.worker(2)
    first = worker.got(m.Lease)[0]
    assert desk.scheduler.jobs[first.job].info.priority == 1


def test_a_higher_priority_takes_back_what_has_not_started():
    desk = Desk()
    worker = desk.worker(1)
    client = desk.client()
    client.job(0, count=1000)
    for _ in range(3):
        for lease in worker.take(m.Lease):
            worker.report(lease, seconds=0.001)
    [low] = worker.take(m.Lease)
    client.job(1, count=3, priority=5)
    high = worker.take(m.Lease)
    assert high
    assert {lease.job for lease in high} != {low.job}
    assert [(revoke.lease, revoke.keep) for revoke in worker.take(m.Revoke)] == [(low.lease, 0)]
    worker.say(m.Released(low.lease, low.start + 1, low.stop))
    assert low.start + 1 in desk.scheduler.jobs[low.job].spans.pending


def test_an_idle_worker_is_given_half_of_the_longest_lease():
    desk = Desk()
    victim = desk.worker(1)
    job = desk.client().job(count=None, pages=[37])
    while job.spans.pending:
        for lease in victim.take(m.Lease):
            victim.report(lease, seconds=0.005)
    longest = max(job.spans.leases.values(), key=lambda lease: len(lease.left))
    before = len(longest.left)
    thief = desk.worker(1)
    desk.wait(0.1)
    [revoke] = victim.take(m.Revoke)
    assert revoke.lease == longest.number
    assert 0 < revoke.keep <= before / 2
    # Nothing is given to the thief before the victim has named the split point.
    assert not thief.got(m.Lease)
    victim.say(m.Released(longest.number, longest.stop - 2, longest.stop))
    [lease] = thief.take(m.Lease)
    assert longest.stop - 2 <= lease.start < lease.stop <= longest.stop


def test_a_lease_that_gave_nothing_back_is_not_asked_again_until_it_moves():
    desk = Desk()
    victim = desk.worker(2)
    desk.client().job(count=9)
    [lease] = victim.take(m.Lease)
    desk.worker(4)
    thief = desk.worker(4)
    desk.wait(0.1)
    asked = len(victim.got(m.Revoke))
    for revoke in victim.take(m.Revoke):
        victim.say(m.Released(revoke.lease, 0, 0))
    desk.wait(0.5)
    assert not victim.got(m.Revoke)
    assert thief.got(m.Lease)
    assert asked <= 1
    assert lease.stop - lease.start == 2
