"""Items that wait for results: when they may run, and what becomes of them where they may not.

Owns: edges from their page to the fate of the item, and how failures and cancellations travel along them. An edge costs
when it comes and when it is met, and at no other time; chains are walked in loops, never by recursion. Must not know:
where results are had from that aren't here (wanted.py), jobs that are fed by another (sources.py), how values get to
workers (deliveries.py).
"""

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from twistcluster.core.circles import in_circle
from twistcluster.core.clients import Client
from twistcluster.core.jobs import Job, nbytes
from twistcluster.core.links import (
    ARMED,
    OVER,
    READY,
    WHOLE,
    Cause,
    Input,
    KeptInput,
    Links,
    ValuePage,
    Waiter,
    as_ranges,
    within,
)
from twistcluster.core.ranges import Range, RangeSet
from twistcluster.errors import ProtocolError
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import Edge, ErrorInfo, Page, Values

if TYPE_CHECKING:
    from twistcluster.core.scheduler import Scheduler

__all__ = ["Edges", "Inputs", "input_error", "links_of"]

Inputs = dict[int, list[Input]]
"""By item: what it waits for."""
Needed = dict[Job, RangeSet]
"""Results that are done and not here."""
Doomed = list[tuple[Waiter, Cause | None]]
"""Waiters that fail for a cause, or are cancelled."""


class Edges:
    """Who waits for whom."""

    __slots__ = ("_scheduler",)

    def __init__(self, scheduler: "Scheduler") -> None:
        self._scheduler = scheduler

    # ---- edges come ----

    @staticmethod
    def resolve(client: Client, job: Job, page: Page) -> tuple[list[Edge], Inputs]:
        """What a page's edges stand for: as workers are told, and as they are waited for.

        Raises:
            ProtocolError: An edge names no item of the page, a job that the client doesn't know, or its own item.
        """
        told: list[Edge] = []
        inputs: Inputs = {}
        for edge in page.edges:
            other = client.jobs.get(edge.job) or client.sending.get(edge.job)
            if other is None:
                raise ProtocolError(f"job {page.job}: an edge names job {edge.job}, which this client doesn't know")
            if not 0 <= edge.item < page.count or edge.index < WHOLE:
                raise ProtocolError(f"job {page.job}: an edge from item {edge.item} to item {edge.index}: no such item")
            index = page.first + edge.item
            if other is job and edge.index in (index, WHOLE):
                raise ProtocolError(f"job {page.job}: item {index} waits for itself")
            told.append(Edge(edge.item, edge.input, other.key, edge.index))
            inputs.setdefault(index, []).append((other, edge.index))
        return told, inputs

    def arm(self, job: Job, inputs: Inputs, asker: Client) -> None:
        """Pending items of a job wait for these; `asker` is asked for what isn't here."""
        links = links_of(job)
        needed: Needed = {}
        doomed: Doomed = []
        held = []
        for index, wanted in inputs.items():
            waiter = links.waiters[index] = Waiter(job, index, tuple(dict.fromkeys(wanted)))
            self._register(waiter, needed, doomed)
            if not waiter.unmet:
                waiter.state = READY
                continue
            held.append(waiter)
            # One by one: within a page too, a circle is closed by the last of its edges, and what is searched is short.
            if links.is_waited_for and in_circle(waiter):
                doomed.append((waiter, circle(waiter)))
        for start, stop in as_ranges(waiter.index for waiter in held):
            job.spans.hold(start, stop)
        for other, ranges in needed.items():
            self._scheduler.wanted.fetch(other, list(ranges), asker)
        for waiter, cause in doomed:
            if waiter.state == ARMED:
                self._doom(waiter, cause)

    def rearm(self, job: Job, ranges: list[Range], asker: Client) -> None:
        """Failed items of a job are pending again: those that failed for an input wait for it once more."""
        links = job.links
        if links is None or not links.waiters:
            return
        waiters = links.waiters
        again = [waiters[index] for start, stop in ranges for index in within(waiters, start, stop)]
        self.arm(job, {w.index: [*w.inputs] for w in again if w.state == OVER}, asker)

    def _register(self, waiter: Waiter, needed: Needed, doomed: Doomed) -> None:
        for job, index in waiter.inputs:
            links = links_of(job)
            if index == WHOLE:
                waiter.unmet += 1
                self._register_whole(waiter, job, links, needed, doomed)
                continue
            if index in links.done:
                page = links.shelf.find(index)
                if page is not None:
                    page.users += 1
                    continue
                needed.setdefault(job, RangeSet()).add(index, index + 1)
            elif index in job.failed:
                doomed.append((waiter, failed_before(job, index)))
            elif index in job.cancelled:
                doomed.append((waiter, None))
            elif job.count is not None and index >= job.count:
                doomed.append((waiter, never_came(job, index)))
            waiter.unmet += 1
            links.dependents.setdefault(index, []).append(waiter)

    def _register_whole(self, waiter: Waiter, job: Job, links: Links, needed: Needed, doomed: Doomed) -> None:
        links.whole_users += 1
        links.whole.append(waiter)
        if job.failed:
            doomed.append((waiter, failed_before(job, next(iter(job.failed))[0])))
        elif job.input_error:
            doomed.append((waiter, input_error(job, job.input_error)))
        elif job.cancelled:
            doomed.append((waiter, None))
        elif job not in needed or len(needed[job]) < len(links.done):
            ranges = needed.setdefault(job, RangeSet())
            for start, stop in links.done:
                ranges.add(start, stop)

    # ---- results come ----

    def succeeded(self, job: Job, values: Values, buffers: tuple[Buffer, ...]) -> None:
        """Items of a job that has links were reported."""
        links = job.links
        assert links is not None
        start, stop = values.first, values.first + values.count
        if links.waiters:
            stored = {values.first + each.item for each in values.objects}
            for index in within(links.waiters, start, stop):
                if index in stored and job.remakes is None and links.waiters[index].state == READY:
                    self._keep_inputs(links.waiters[index])
                self._let_go(links.waiters.pop(index))
        links.done.add(start, stop)
        self.came(job, values, buffers)

    def _keep_inputs(self, waiter: Waiter) -> None:
        """An item's result is in a store: what it was made of is a part of its recipe."""
        supply, kept = self._scheduler.supply, []
        for other, index in waiter.inputs:
            assert other.links is not None
            shelf = other.links.shelf
            pages = list(shelf) if index == WHOLE else [shelf.find(index)]
            kept += [KeptInput(other, index, page) for page in pages if page is not None]
        for each in kept:
            known = supply.known(each.page.message.definitions)
            supply.use(known)
            waiter.job.blob_digests.extend(known)
            self._scheduler.objects.pin(each.objects)
        if waiter.job.kept_inputs is None:
            waiter.job.kept_inputs = {}
        waiter.job.kept_inputs[waiter.index] = kept

    def bring_back(self, kept: list[KeptInput]) -> list[Input]:
        """What an item was made of is on its jobs' shelves again, for as long as somebody is armed with it."""
        found: list[Input] = []
        for job, index, page in kept:
            links = links_of(job)
            if not links.shelf.overlaps(page.first, page.stop):
                known = [each for each in page.message.objects if self._scheduler.objects.get(each.id) is not None]
                self._shelve(links, replace(page.message, objects=known), page.buffers)
            found.append((job, index))
        return list(dict.fromkeys(found))

    def came(self, job: Job, values: Values, buffers: tuple[Buffer, ...]) -> None:
        """Results that are done are here: who waits for them may be ready."""
        links = job.links
        assert links is not None
        waiters = links.take(values.first, values.first + values.count)
        if waiters or links.whole_users:
            page = self._shelve(links, values, buffers)
            page.users += len(waiters)
            self._met(waiters)
            self.whole_met(job)
        if links.sourced:
            self._scheduler.sources.feed(job, values, buffers)

    def whole_met(self, job: Job) -> None:
        """See whether all results of a job are here, for those who wait for the whole."""
        links = job.links
        if links is None or not links.whole or not job.complete or links.shelf.items != job.count:
            return
        if not (job.failed or job.cancelled or job.input_error):
            self._met(links.take_whole())

    def _met(self, waiters: Iterable[Waiter]) -> None:
        """Each of these has one input more."""
        ready: dict[Job, list[int]] = {}
        for waiter in waiters:
            waiter.unmet -= 1
            if not waiter.unmet:
                waiter.state = READY
                self._scheduler.places.hint_inputs(waiter)
                ready.setdefault(waiter.job, []).append(waiter.index)
        for job, indices in ready.items():
            for start, stop in as_ranges(indices):
                job.spans.ready(start, stop)
            self._scheduler.leasing.pending(job)
            self._scheduler.touched[job] = None

    # ---- values that are kept ----

    def _shelve(self, links: Links, values: Values, buffers: tuple[Buffer, ...]) -> ValuePage:
        supply = self._scheduler.supply
        known = supply.known(values.definitions)
        supply.use(known)
        told = Values(values.job, values.first, values.count, values.kind, known, values.objects)
        page = ValuePage(told, buffers, sum(map(nbytes, buffers)))
        links.shelf.add(page)
        self._scheduler.objects.hold(told.objects)
        return page

    def _let_go(self, waiter: Waiter) -> None:
        """A waiter waits no more, and its inputs aren't kept for it."""
        if waiter.state == OVER:
            return
        waiter.state = OVER
        for job, index in waiter.inputs:
            links = job.links
            assert links is not None
            if index == WHOLE:
                links.whole_users -= 1
                if not links.whole_users:
                    for page in [page for page in links.shelf if not page.users]:
                        self._unshelve(links, page)
            else:
                page_of = links.shelf.find(index)
                if page_of is not None:
                    page_of.users -= 1
                    if not page_of.users and not links.whole_users:
                        self._unshelve(links, page_of)

    def _unshelve(self, links: Links, page: ValuePage) -> None:
        links.shelf.remove(page)
        links.whole_sent.clear()
        self._scheduler.supply.deliveries.unneeded(page)
        self._scheduler.supply.leave(page.message.definitions)
        self._scheduler.objects.release(page.message.objects)

    def forget(self, job: Job) -> None:
        """A job is forgotten: nobody can try its failed items again."""
        links = job.links
        if links is not None:
            for waiter in links.waiters.values():
                self._let_go(waiter)
            links.waiters.clear()

    # ---- results won't come ----

    def failed(self, job: Job, index: int, cause: Cause) -> None:
        """An item of a job that has links failed, and that was told: so does all that waits for it."""
        work = deque([(job, index)])
        while work:
            job, index = work.popleft()
            links = job.links
            if links is None or not links.is_waited_for:
                continue
            for waiter in [*links.take(index, index + 1), *links.take_whole()]:
                if self._fail(waiter, cause):
                    work.append((waiter.job, waiter.index))
            for fed in list(links.sourced):
                if fed.spans.finish(index, index + 1):
                    self._scheduler.fates.fail(fed, index, cause)
                    work.append((fed, index))

    def deny(self, job: Job, start: int, stop: int, cause: Cause, *, whole: bool = True) -> None:
        """These results of a job can't be had: what waits for them fails."""
        links = job.links
        if links is None:
            return
        for waiter in [*links.take(start, stop), *(links.take_whole() if whole else ())]:
            if self._fail(waiter, cause):
                self.failed(waiter.job, waiter.index, cause)
        for fed in list(links.sourced):
            for a, b in fed.spans.waiting.overlap(start, stop):
                for index in range(a, b):
                    if fed.spans.finish(index, index + 1):
                        self._scheduler.fates.fail(fed, index, cause)
                        self.failed(fed, index, cause)

    def _fail(self, waiter: Waiter, cause: Cause) -> bool:
        if waiter.state != ARMED:
            return False
        self._let_go(waiter)
        waiter.job.spans.finish(waiter.index, waiter.index + 1)
        self._scheduler.fates.fail(waiter.job, waiter.index, cause)
        return True

    def _doom(self, waiter: Waiter, cause: Cause | None) -> None:
        if cause is None:
            self._scheduler.fates.cancel(waiter.job, waiter.job.spans.finish(waiter.index, waiter.index + 1))
            self._scheduler.settle(waiter.job)
        elif self._fail(waiter, cause):
            self.failed(waiter.job, waiter.index, cause)

    def cancelled(self, job: Job, ranges: list[Range]) -> dict[Job, RangeSet]:
        """Items of a job were cancelled: so is all that waits for them, which is returned, and is still to be told."""
        total: dict[Job, RangeSet] = {}
        work = deque([(job, ranges)])
        while work:
            job, ranges = work.popleft()
            links = job.links
            if links is None:
                continue
            for start, stop in ranges if links.waiters else ():
                for index in within(links.waiters, start, stop):
                    self._let_go(links.waiters.pop(index))
            for other, gone in self._cancel_dependents(links, ranges).items():
                known = total.setdefault(other, RangeSet())
                for start, stop in gone:
                    known.add(start, stop)
                work.append((other, gone))
        return total

    @staticmethod
    def _cancel_dependents(links: Links, ranges: list[Range]) -> dict[Job, list[Range]]:
        found: dict[Job, list[Range]] = {}
        waiters = [waiter for start, stop in ranges for waiter in links.take(start, stop)]
        for waiter in [*waiters, *links.take_whole()]:
            gone = waiter.job.spans.finish(waiter.index, waiter.index + 1)
            if gone:
                found.setdefault(waiter.job, []).extend(gone)
        for fed in links.sourced:
            for start, stop in ranges:
                gone = fed.spans.finish(start, stop)
                if gone:
                    found.setdefault(fed, []).extend(gone)
        return found

    def input_ended(self, job: Job) -> None:
        """A job's count is known: who waits for an item behind it waits in vain."""
        links = job.links
        if links is None or job.count is None:
            return
        if job.input_error:
            self.deny(job, job.count, 1 << 63, input_error(job, job.input_error))
            return
        for waiter in links.take(job.count, 1 << 63):
            missing = (index for source, index in waiter.inputs if source is job and index >= job.count)
            self._doom(waiter, never_came(job, min(missing, default=job.count)))


def links_of(job: Job) -> Links:
    """A job's links, made when they are first asked for."""
    links = job.links
    if links is None:
        links = job.links = Links()
        spans, done = job.spans, links.done
        # What is done is in none of the others.
        done.add(0, job.arrived)
        leased = [lease.left for lease in spans.leases.values()]
        for ranges in (spans.pending, spans.waiting, job.failed, job.cancelled, *leased):
            for start, stop in ranges:
                done.remove(start, stop)
    return links


def input_error(job: Job, text: str, traceback: str = "") -> Cause:
    """The cause that dependents of a job are told."""
    return Cause(ErrorInfo("input", "DependencyFailed", f"it waits for {job.title}: {text}", traceback))


def failed_before(job: Job, index: int) -> Cause:
    """The cause, where the failure was told before the edge came."""
    return input_error(job, f"item {index} had failed already. Its own error says why")


def never_came(job: Job, index: int) -> Cause | None:
    """The cause, where a job has fewer items; None (cancelled) where it was cancelled before they came."""
    if job.cancel_from is not None:
        return None
    return input_error(job, f"it has no item {index}, it ended after {job.count}")


def circle(waiter: Waiter) -> Cause:
    """The cause, where an item waits for itself."""
    text = (
        f"item {waiter.index} waits, through others, for itself: such a circle can never run. "
        "Submit the items again without the argument that closes it."
    )
    return input_error(waiter.job, text)
