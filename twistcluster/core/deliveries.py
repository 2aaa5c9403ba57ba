"""The results that waiting items need, on their way to workers: each once.

Owns: which worker was sent which value page, and when it is told to let go of it. Must not know: when a page is needed.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from twistcluster.core.effects import Effect, Send
from twistcluster.core.jobs import Job
from twistcluster.core.links import WHOLE, ValuePage, within
from twistcluster.core.ranges import RangeSet
from twistcluster.core.workers import Stale, Worker
from twistcluster.wire.messages import DropValues

if TYPE_CHECKING:
    from twistcluster.core.supply import Supply

__all__ = ["Deliveries"]

UNNEEDED_BYTES = 1 << 20
"""Values that a worker may drop are told to it once they are more than this together."""
PAGE_BYTES = 100
"""What a page counts for beside its buffers."""


class Deliveries:
    """Value pages at workers."""

    __slots__ = ("_effects", "_supply")

    def __init__(self, effects: list[Effect], supply: "Supply") -> None:
        self._effects = effects
        self._supply = supply

    def bring(self, worker: Worker, job: Job, start: int, stop: int) -> None:
        """See to it that a worker has all that items `start` to `stop` waited for."""
        if worker.stale_bytes > UNNEEDED_BYTES:
            self.flush(worker)
        links = job.links
        assert links is not None
        for index in within(links.waiters, start, stop):
            for other, item in links.waiters[index].inputs:
                theirs = other.links
                assert theirs is not None
                if item != WHOLE:
                    page = theirs.shelf.find(item)
                    assert page is not None, "an item is pending once its inputs are here"
                    if worker not in page.workers:
                        self._send(worker, page)
                elif worker not in theirs.whole_sent:
                    theirs.whole_sent.add(worker)
                    for page in theirs.shelf:
                        if worker not in page.workers:
                            self._send(worker, page)

    def _send(self, worker: Worker, page: ValuePage) -> None:
        stale = worker.stale.get(page.message.job)
        if stale is not None and stale.items.overlap(page.first, page.stop):
            # What it is told to drop later must not be what it is sent now.
            self._drop(worker, [page.message.job])
        page.workers.add(worker)
        worker.values[page] = None
        self._supply.blobs(worker, page.message.definitions)
        self._effects.append(Send(worker.peer, page.message, page.buffers))

    def unneeded(self, page: ValuePage) -> None:
        """Nobody needs a page any more: the workers are told with a later lease, or when a job ends."""
        for worker in page.workers:
            del worker.values[page]
            stale = worker.stale.get(page.message.job)
            if stale is None:
                stale = worker.stale[page.message.job] = Stale(RangeSet(), [])
            stale.items.add(page.first, page.stop)
            stale.firsts.append(page.first)
            worker.stale_bytes += page.nbytes + PAGE_BYTES
        page.workers.clear()

    def flush(self, worker: Worker) -> None:
        """Tell a worker all that it may drop."""
        self._drop(worker, list(worker.stale))
        worker.stale_bytes = 0

    def lost(self, worker: Worker) -> None:
        """A worker is gone with all that it had."""
        for page in worker.values:
            page.workers.discard(worker)
        worker.values.clear()
        worker.stale.clear()

    def _drop(self, worker: Worker, jobs: Iterable[int]) -> None:
        for job in jobs:
            self._effects.append(Send(worker.peer, DropValues(job, worker.stale.pop(job).firsts)))
