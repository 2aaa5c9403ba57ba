"""Where the bytes are that items need: an item is leased first to a worker on the host that holds most of them.

Owns: which process made which values (the first half of a value's id names it), on which host that is, and for each job
the hosts of its pending items: hints, not records: an item that is given back is leased like any other. A job whose items
name no stored values has none and pays nothing; nor is anything looked up while all workers are on one host. Must not
know: how a lease is measured, who still needs a value.
"""

from collections.abc import Iterable

from twistcluster.core.jobs import Job
from twistcluster.core.links import WHOLE, Waiter
from twistcluster.core.ranges import Range, RangeSet
from twistcluster.wire.messages import Stored

__all__ = ["Places", "local_range"]

MAKER_BYTES = 8
"""Of a value's id: the same for all that one process made."""


class Places:
    """Hosts of values."""

    __slots__ = ("_makers",)

    def __init__(self) -> None:
        self._makers: dict[bytes, str] = {}

    def made(self, objects: Iterable[Stored], host: str) -> None:
        """A peer on that host speaks of values: those of a maker not known yet were made there."""
        for stored in objects:
            self._makers.setdefault(stored.id[:MAKER_BYTES], host)

    def hint(self, job: Job, first: int, objects: Iterable[Stored]) -> None:
        """Items of a page that begins with `first` name these values."""
        amounts: dict[int, dict[str, int]] = {}
        for stored in objects:
            host = self._makers.get(stored.id[:MAKER_BYTES])
            if host is not None:
                hosts = amounts.setdefault(first + stored.item, {})
                hosts[host] = hosts.get(host, 0) + stored.nbytes
        for index, hosts in amounts.items():
            if job.local is None:
                job.local = {}
            job.local.setdefault(max(hosts, key=hosts.__getitem__), RangeSet()).add(index, index + 1)

    def hint_inputs(self, waiter: Waiter) -> None:
        """An item's inputs are here: the values that these name count for it."""
        if not self._makers:
            return
        named: list[Stored] = []
        for job, index in waiter.inputs:
            page = job.links.shelf.find(index) if job.links is not None and index != WHOLE else None
            if page is not None:
                item = index - page.first
                named += [Stored(0, s.id, s.nbytes) for s in page.message.objects if s.item == item]
        self.hint(waiter.job, waiter.index, named)


def local_range(job: Job, host: str) -> Range | None:
    """The first pending items of a job, in one piece, whose bytes are on a host."""
    hints = job.local.get(host) if job.local is not None else None
    while hints:
        first = hints.first()
        assert first is not None
        parts = job.spans.pending.overlap(*first)
        if parts:
            hints.remove(first[0], parts[0][0])
            return parts[0]
        hints.remove(*first)
    return None
