"""What holds of jobs that are tied to others, after every step.

Owns: the checks of waiting items, of the results that are kept for them, and of what workers were sent of these. They
count everything anew from who waits now, so that nothing that is kept for nobody goes unseen.
"""

from collections import Counter
from itertools import pairwise

from twistcluster.core.jobs import Job
from twistcluster.core.links import ARMED, OVER, READY, WHOLE, Links, ValuePage, Waiter
from twistcluster.core.ranges import RangeSet
from twistcluster.core.scheduler import Scheduler

__all__ = ["check_links"]


def check_links(scheduler: Scheduler) -> None:
    """Raise AssertionError, with the story, where a record contradicts another."""
    tied = [job for job in everybody(scheduler) if job.links is not None]
    users: Counter[ValuePage] = Counter()
    wholes: Counter[Links] = Counter()
    for job in tied:
        assert job.links is not None
        _check_waiting(job, job.links)
        for index, waiter in job.links.waiters.items():
            assert (waiter.job, waiter.index) == (job, index)
            _check_waiter(waiter, users, wholes)
    for job in tied:
        assert job.links is not None
        _check_kept(job, job.links, users, wholes)
    kept = {page for job in tied if job.links is not None for page in job.links.shelf}
    for remake in scheduler.remaking.remakes.values():
        for waiter in remake.job.links.waiters.values() if remake.job.links is not None else ():
            kept.update(page for job, _ in waiter.inputs if job.links is not None for page in job.links.shelf)
    for worker in scheduler.leasing.workers.values():
        for page in worker.values:
            assert worker in page.workers, f"{worker.name} has results that don't know it"
            assert page in kept, f"{worker.name} has results that nobody needs and isn't told so"
        for key, stale in worker.stale.items():
            for page in worker.values:
                assert page.message.job != key or not stale.items.overlap(page.first, page.stop), "dropped and needed"


def everybody(scheduler: Scheduler) -> list[Job]:
    """The jobs that are known, and those that are known to these only."""
    found = dict.fromkeys(scheduler.jobs.values())
    work = list(found)
    while work:
        links = work.pop().links
        if links is not None:
            near = [job for waiter in links.waiters.values() for job, _ in waiter.inputs]
            near += [*links.sourced, *([links.source] if links.source is not None else [])]
            for job in near:
                if job not in found:
                    found[job] = None
                    work.append(job)
    return list(found)


def on_their_way(links: Links) -> RangeSet:
    """Results that a client was asked for, or the journal."""
    from_journal = ((told.first, told.first + told.count) for told in links.journaled.values())
    return RangeSet.of([*links.asked, *from_journal])


def _check_waiting(job: Job, links: Links) -> None:
    """What waits, waits for something; what is pending or leased doesn't."""
    if links.source is not None and job.spans.waiting:
        assert job in (links.source.links or Links()).sourced, f"{job.id} waits for a source that doesn't know it"
        if links.growing:
            assert (job.arrived, job.count) == (links.source.arrived, links.source.count), f"{job.id} lags behind"
    for start, stop in job.spans.waiting if links.source is None else ():
        for index in range(start, stop):
            waiter = links.waiters.get(index)
            assert waiter is not None and waiter.state == ARMED, f"{job.id}: item {index} waits for nothing"
    for start, stop in job.spans.waiting if links.source is not None else ():
        theirs = links.source.links if links.source is not None else None
        assert theirs is not None
        for a, b in theirs.done.overlap(start, stop):
            assert on_their_way(theirs).covers(a, b), f"{job.id}: {a}-{b} of its source are done, and not asked for"
    for what in (job.spans.pending, job.spans.waiting, job.failed, job.cancelled):
        for start, stop in what:
            assert not links.done.overlap(start, stop), f"{job.id}: {start}-{stop} are done and {what}"
    done = job.spans.finished - len(job.failed) - len(job.cancelled)
    assert len(links.done) == done, f"{job.id}: {links.done} are said to be done, {done} are"


def _check_waiter(waiter: Waiter, users: Counter[ValuePage], wholes: Counter[Links]) -> None:
    job, index = waiter.job, waiter.index
    waits = index in job.spans.waiting
    assert (waiter.state == ARMED) == waits, f"{job.id}: item {index} is {waiter.state}, and {waits=}"
    if waiter.state == OVER:
        assert index in job.failed, f"{job.id}: item {index} waits no more, and didn't fail"
        return
    unmet = 0
    for other, item in waiter.inputs:
        links = other.links
        assert links is not None
        if item == WHOLE:
            wholes[links] += 1
            unmet += waiter in links.whole
            if waiter.state == READY:
                assert links.shelf.items == other.count, f"{job.id}: item {index} lacks results of {other.id}"
            continue
        page = links.shelf.find(item)
        if page is not None:
            users[page] += 1
            continue
        unmet += 1
        assert waiter in links.dependents.get(item, ()), f"{job.id}: item {index} waits, and {other.id} doesn't know"
        assert item not in other.failed and item not in other.cancelled
        if item in links.done:
            assert item in on_their_way(links), f"{other.id}: item {item} is done, and nobody was asked for it"
    assert waiter.unmet == unmet, f"{job.id}: item {index} says that it waits for {waiter.unmet}, not {unmet}"
    assert (waiter.state == READY) == (unmet == 0)


def _check_kept(job: Job, links: Links, users: Counter[ValuePage], wholes: Counter[Links]) -> None:
    assert links.whole_users == wholes[links], f"{job.id}: {wholes[links]} wait for all of it, not {links.whole_users}"
    pages = sorted(links.shelf, key=lambda page: page.first)
    for one, next_one in pairwise(pages):
        assert one.stop <= next_one.first, f"{job.id}: results are kept twice"
    kept = RangeSet()
    for page in pages:
        kept.add(page.first, page.stop)
        assert links.done.covers(page.first, page.stop)
        assert page.users == users[page], f"{job.id}: {page.users} said to need {page.first}, {users[page]} do"
        assert page.users or links.whole_users, f"{job.id}: results from {page.first} on are kept for nobody"
    assert len(kept) == links.shelf.items
