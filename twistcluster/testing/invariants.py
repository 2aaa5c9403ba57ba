"""What holds of a scheduler after every step, whatever happened.

Owns: the checks. They read the machine's own records, cost what they cost, and are for tests.
"""

from collections import Counter

from twistcluster.core.jobs import Job
from twistcluster.core.ranges import RangeSet, total
from twistcluster.core.scheduler import Scheduler
from twistcluster.testing.link_invariants import check_links

__all__ = ["check_restored", "check_scheduler"]


def check_scheduler(scheduler: Scheduler) -> None:
    """Raise AssertionError, with the story, where a record contradicts another."""
    for job in scheduler.jobs.values():
        _check_items(job)
        _check_leases(scheduler, job)
        _check_log(job)
    _check_workers(scheduler)
    _check_objects(scheduler)
    check_links(scheduler)
    held = sum(job.log.nbytes for job in scheduler.jobs.values())
    assert scheduler.telling.held_bytes == held, f"{scheduler.telling.held_bytes} B are said to be held, {held} are"
    for client in scheduler.clients.values():
        still_open = sum(job.owner is client and not job.over for job in scheduler.jobs.values())
        assert client.open_jobs == still_open, f"{client.name}: {client.open_jobs} jobs said open, {still_open} are"


def _check_items(job: Job) -> None:
    """Every item that came is waiting, pending, leased or finished: one of the four."""
    spans = job.spans
    seen = RangeSet()
    for name, ranges in [
        ("waiting", spans.waiting),
        ("pending", spans.pending),
        *((f"lease {number}", lease.left) for number, lease in spans.leases.items()),
    ]:
        for start, stop in ranges:
            assert 0 <= start < stop <= job.arrived, f"{job.id}: {start}-{stop} is {name}, {job.arrived} came"
            assert seen.add(start, stop) == [(start, stop)], f"{job.id}: {start}-{stop} is {name} and something else"
    unseen = (job.count or 0) - job.arrived if job.cancelled and not job.expects_more else 0
    found = len(seen) + spans.finished
    assert found == job.arrived + unseen, f"{job.id}: {job.arrived} items came, {found} are somewhere"
    for name, fate in [("failed", job.failed), ("cancelled", job.cancelled)]:
        for start, stop in fate:
            assert not seen.overlap(start, stop), f"{job.id}: {start}-{stop} is {name} and not finished"
    for start, stop in job.cancelled:
        assert not job.failed.overlap(start, stop), f"{job.id}: {start}-{stop} failed and was cancelled"
    assert len(job.failed) + len(job.cancelled) <= spans.finished
    assert job.over == job.complete, f"{job.id} is {job.state} with {spans.finished} of {job.count} finished"
    for page in job.pages.values():
        open_items = total(seen.overlap(page.first, page.stop))
        assert page.unfinished == open_items, (
            f"{job.id}: page {page.first} says {page.unfinished} open, {open_items} are"
        )
        failed = total(job.failed.overlap(page.first, page.stop))
        assert page.failed == failed, f"{job.id}: page {page.first} says {page.failed} failed, {failed} did"


def _check_leases(scheduler: Scheduler, job: Job) -> None:
    for number, lease in job.spans.leases.items():
        assert lease.left, f"lease {number} of {job.id} is empty"
        assert lease.holder.leases.get(number) == (job, lease), f"{lease.holder.name} doesn't know its lease {number}"
        assert scheduler.leasing.workers.get(lease.holder.peer) is lease.holder, f"lease {number}: its holder is gone"


def _check_log(job: Job) -> None:
    for client, (_, position) in job.watchers.items():
        assert job.log.base <= position <= job.log.end, f"{client.name} stands outside of the log of {job.id}"
    assert job.log.nbytes == sum(entry.nbytes for entry in job.log.entries)


def _check_objects(scheduler: Scheduler) -> None:
    """Every stored value is held by as many as its record says, and is the recipe's of its page."""
    records = list(scheduler.objects)
    jobs = {*scheduler.jobs.values(), *(record.job for record in records if record.job is not None)}
    holds: Counter[bytes] = Counter()
    pins: Counter[bytes] = Counter()
    recipes: Counter[tuple[Job, int]] = Counter()
    for job in jobs:
        for page in job.pages.values():
            for each in page.message.objects:
                record = scheduler.objects.get(each.id)
                assert record is not None, f"value {each.id.hex()} is named by a page, and not known"
                can_be_made_again = page.pinned and record.job is not None
                (pins if can_be_made_again else holds)[each.id] += 1
        for kept in [each for inputs in (job.kept_inputs or {}).values() for each in inputs]:
            for each in kept.objects:
                record = scheduler.objects.get(each.id)
                assert record is not None, f"value {each.id.hex()} is named by a recipe, and not known"
                (holds if record.job is None else pins)[each.id] += 1
        holds.update(each.id for entry in job.log.entries for each in entry.objects)
        if job.links is not None:
            holds.update(each.id for page in job.links.shelf for each in page.message.objects)
    for client in scheduler.clients.values():
        holds.update(client.objects)
    for remake in scheduler.remaking.remakes.values():
        holds.update(each.id for each in remake.needs)
        if remake.job.links is not None:
            assert not remake.job.links.shelf, "nobody waits for what makes a value again"
    for record in records:
        held = holds.pop(record.id, 0)
        assert record.users == held, f"value {record.id.hex()}: {record.users} said to hold it, {held} do"
        pinned = pins.pop(record.id, 0)
        assert record.pins == pinned, f"value {record.id.hex()}: {record.pins} recipes said to name it, {pinned} do"
        on_its_way = record.id in scheduler.remaking.remakes
        assert not record.freed or not record.users or on_its_way, f"value {record.id.hex()} is freed, and held"
        if record.job is not None:
            recipes.update((record.job, page.first) for page in record.job.pages_of(record.index, record.index + 1))
    assert not holds, f"{len(holds)} values are named and not known"
    for job in jobs:
        for page in job.pages.values():
            made = recipes[job, page.first]
            assert page.recipes == made, f"{job.id}: page {page.first} says {page.recipes} values, {made} live"


def _check_workers(scheduler: Scheduler) -> None:
    slots = 0
    for worker in scheduler.leasing.workers.values():
        slots += 0 if worker.suspect else worker.slots
        items = sum(len(lease.left) for _, lease in worker.leases.values())
        said = sum(load.items for load in worker.loads.values())
        assert items == said, f"{worker.name}: {said} items said to be leased, {items} are"
        for number, (job, _) in worker.leases.items():
            assert number in job.spans.leases, f"{worker.name} holds lease {number}, which {job.id} doesn't know"
    assert slots == scheduler.leasing.slots
    troubled = {worker for worker in scheduler.leasing.workers.values() if worker.suspect or worker.stopped}
    assert troubled == set(scheduler.leasing.troubled)


def check_restored(before: Scheduler, after: Scheduler) -> None:
    """Where all was written down before a scheduler died, the next one knows all of it.

    Only what was to be cancelled while it ran is cancelled now.
    """
    assert set(before.jobs) == set(after.jobs), f"jobs {set(before.jobs) ^ set(after.jobs)} aren't those of before"
    for key, job in before.jobs.items():
        _check_restored(job, after.jobs[key])


def _check_restored(before: Job, after: Job) -> None:
    assert (before.count, list(before.failed)) == (after.count, list(after.failed))
    # Items that were cancelled unseen have come, for who only reads of them.
    assert before.arrived == after.arrived or (before.cancelled and before.arrived < after.arrived)
    done = [job.spans.finished - len(job.failed) - len(job.cancelled) for job in (before, after)]
    assert done[0] == done[1], f"{done[0]} items of {before.id} were done, {done[1]} are"
    for start, stop in before.cancelled:
        assert after.cancelled.covers(start, stop)
    for start, stop in before.cancelling:
        assert not after.spans.pending.overlap(start, stop), "what was to be cancelled runs again"
    for start, stop in before.spans.waiting:
        assert not after.spans.pending.overlap(start, stop), "what waited for others runs without them"
    if before.over:
        assert after.state == before.state
