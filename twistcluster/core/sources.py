"""Jobs that are fed by another: `cluster.map(f, job)`, where item i's argument is the result of the other's item i.

Owns: how such a job follows its source: each report of the source becomes a page of it, at the price of a report and not
of its items. Its items wait from when the source's items come. Must not know: where results are had from that were told
before (wanted.py), how failures travel (edges.py).
"""

from bisect import bisect_left
from collections import deque
from typing import TYPE_CHECKING

from twistcluster.core.clients import Client
from twistcluster.core.edges import failed_before, links_of
from twistcluster.core.jobs import Job
from twistcluster.core.links import Links
from twistcluster.core.ranges import Range, RangeSet, total
from twistcluster.core.readers import reads_no_more
from twistcluster.errors import ProtocolError
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import CloseJob, Page, Values

if TYPE_CHECKING:
    from twistcluster.core.scheduler import Scheduler

__all__ = ["Sources", "downstream"]


class Sources:
    """Jobs and their sources."""

    __slots__ = ("_scheduler",)

    def __init__(self, scheduler: "Scheduler") -> None:
        self._scheduler = scheduler

    def open(self, job: Job, source: Job) -> None:
        """A job was opened that another feeds, which may be over."""
        links = self._tie(job, source)
        job.input_error = source.input_error
        job.arrived = source.arrived
        job.spans.wait(0, job.arrived)
        if job.count is not None and job.count != job.info.count:
            self._scheduler.telling.tell(job, CloseJob(job.number, job.count, job.input_error))
        if job.count is not None and not links.growing and job.arrived < job.count:
            self._scheduler.fates.cancel_unseen(job)
        self._settle(job, [(0, job.arrived)], job.owner)

    def reopen(self, job: Job, source: Job) -> None:
        """A job came back that another feeds: what of it isn't finished waits for its arguments once more."""
        self._tie(job, source)
        for start, stop in list(job.spans.pending):
            job.spans.hold(start, stop)
        job.spans.wait(job.arrived, source.arrived)
        job.arrived = max(job.arrived, source.arrived)
        self._settle(job, list(job.spans.waiting), job.owner)

    @staticmethod
    def remember(job: Job, source: Job) -> None:
        """A job came back that is over: should its failed items be tried again, this is what feeds it."""
        links_of(job).source = source
        job.depth, job.root = source.depth + 1, source.root

    @staticmethod
    def _tie(job: Job, source: Job) -> Links:
        """One feeds the other from now on."""
        links = links_of(job)
        links.source = source
        job.depth, job.root = source.depth + 1, source.root
        links.growing = source.expects_more
        links_of(source).sourced[job] = None
        job.count = source.count
        return links

    def grew(self, job: Job, first: int) -> list[Job]:
        """A page of a job came, from `first` on: items of all that it feeds are known; returns these jobs."""
        if job.links is None:
            return []
        fed = downstream(job)
        for other in fed:
            links = other.links
            assert links is not None
            other.arrived = job.arrived
            other.spans.wait(first, job.arrived)
            links.growing = job.arrived != job.count
        return fed

    def feed(self, source: Job, values: Values, buffers: tuple[Buffer, ...]) -> None:
        """Results of a source are here: they are pages of those that wait for them."""
        links = source.links
        assert links is not None
        start, stop = values.first, values.first + values.count
        for job in list(links.sourced):
            ready = job.spans.ready(start, stop)
            failed = job.failed.overlap(start, stop)
            if not ready and not (failed and in_gap(job, start, stop)):
                continue
            supply = self._scheduler.supply
            known = supply.known(values.definitions)
            supply.use(known)
            job.blob_digests.extend(known)
            page = Page(job.key, start, values.count, values.kind, known, values.objects)
            before = job.pages.get(start)
            if before is not None:
                self._scheduler.objects.done_with(before, kept=False)
            self._scheduler.objects.hold(values.objects)
            job.feed_page(page, buffers, unfinished=total(ready), failed=total(failed))
            if values.objects:
                self._scheduler.places.hint(job, start, values.objects)
            self._scheduler.leasing.pending(job)
            self._scheduler.touched[job] = None

    def rearm(self, job: Job, ranges: list[Range], asker: Client) -> None:
        """Failed items are pending again; those that never got their argument wait for it once more."""
        links = job.links
        if links is None or links.source is None:
            return
        missing = [part for start, stop in ranges for part in without_page(job, start, stop)]
        for start, stop in missing:
            job.spans.hold(start, stop)
        if missing:
            links_of(links.source).sourced[job] = None
            self._settle(job, missing, asker)

    def _settle(self, job: Job, ranges: list[Range], asker: Client) -> None:
        """Waiting items of a job meet what became of the source's."""
        scheduler, links = self._scheduler, job.links
        assert links is not None and links.source is not None
        source = links.source
        theirs = links_of(source)
        for start, stop in ranges:
            gone = [part for a, b in source.cancelled.overlap(start, stop) for part in job.spans.finish(a, b)]
            scheduler.fates.cancel(job, gone)
            for a, b in source.failed.overlap(start, stop):
                for index in range(a, b):
                    if job.spans.finish(index, index + 1):
                        cause = failed_before(source, index)
                        scheduler.fates.fail(job, index, cause)
                        scheduler.edges.failed(job, index, cause)
            done = theirs.done.overlap(start, stop)
            scheduler.wanted.fetch(source, done, asker)

    @staticmethod
    def check_gap(source: Job, start: int, stop: int) -> None:
        """Results that a client sends must not cut across the pages that a job got from its source.

        Raises:
            ProtocolError: They do.
        """
        assert source.links is not None
        for job in source.links.sourced:
            if job.spans.waiting.overlap(start, stop) and not in_gap(job, start, stop):
                raise ProtocolError(f"items {start} to {stop} were sent, and some of them are here")

    def detach(self, job: Job) -> None:
        """A job needs nothing of its source any more, nor of others."""
        links = job.links
        if links is not None and links.source is not None and links.source.links is not None:
            links.growing = False
            links.source.links.sourced.pop(job, None)
        for other in reads_no_more(job):
            self._scheduler.release_if_unwanted(other)


def downstream(job: Job) -> list[Job]:
    """The jobs that still grow with a job, through others too, each behind its source."""
    found: list[Job] = []
    work = deque([job])
    while work:
        links = work.popleft().links
        if links is not None:
            grow = [fed for fed in links.sourced if fed.links is not None and fed.links.growing]
            found += grow
            work += grow
    return found


def in_gap(job: Job, start: int, stop: int) -> bool:
    """Whether a job got no page yet that holds any of these items."""
    at = bisect_left(job.firsts, start)
    before = job.pages.get(job.firsts[at - 1]) if at else None
    return not (at < len(job.firsts) and job.firsts[at] < stop) and (before is None or before.stop <= start)


def without_page(job: Job, start: int, stop: int) -> list[Range]:
    """The items of a range whose page never came."""
    missing = RangeSet(start, stop)
    for page in job.pages_of(start, stop):
        missing.remove(page.first, page.stop)
    return list(missing)
