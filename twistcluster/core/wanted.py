"""Results that somebody waits for and that aren't here: they were told to a client before the edge came.

Owns: where they are had from (the job's log, else a client), and what was asked of whom. Must not know: what is done with
them (edges.py, sources.py).
"""

from bisect import bisect_right, insort
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twistcluster.core.clients import Client
from twistcluster.core.edges import input_error, links_of
from twistcluster.core.jobs import Entry, Job
from twistcluster.core.links import ARMED, Links
from twistcluster.core.objects import Sender
from twistcluster.core.ranges import Range, RangeSet
from twistcluster.errors import ProtocolError
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import Results, Values, Wanted
from twistcluster.wire.pages import FRAMED

if TYPE_CHECKING:
    from twistcluster.core.scheduler import Scheduler

__all__ = ["Asked", "Fetching"]


@dataclass(slots=True, eq=False)
class Asked:
    """What a client was asked for, of one job."""

    job: Job | None = None
    """None while all was answered: who was asked twice for parts of one range answers twice, even long after."""
    ranges: RangeSet = field(default_factory=RangeSet)
    ever: RangeSet = field(default_factory=RangeSet)


class Fetching:
    """Has results that were told before."""

    __slots__ = ("_asked", "_scheduler")

    def __init__(self, scheduler: "Scheduler") -> None:
        self._scheduler = scheduler
        self._asked: dict[Client, dict[int, Asked]] = {}
        """By client, and its number for the job."""

    def fetch(self, job: Job, ranges: list[Range], asker: Client) -> None:
        """See to it that these results of a job come to those who wait for them."""
        links = job.links
        assert links is not None
        missing: list[Range] = []
        for start, stop in ranges:
            at = start
            while at < stop:
                page = links.shelf.find(at)
                if page is not None:
                    if links.sourced:
                        self._scheduler.sources.feed(job, page.message, page.buffers)
                    at = page.stop
                    continue
                entry = logged(job, links, at)
                if entry is not None:
                    told = entry.message
                    assert isinstance(told, Results)
                    if entry.buffers is None:
                        links.journaled[entry.place] = told
                        self._scheduler.telling.read(job, entry.place)
                    else:
                        self._told_before(job, told, entry.buffers)
                    at = told.first + told.count
                    continue
                end = min(next_known(job, links, at), stop)
                missing.append((at, end))
                at = end
        if missing:
            self._ask(job, links, missing, asker)
        self._scheduler.edges.whole_met(job)

    def _told_before(self, job: Job, told: Results, buffers: tuple[Buffer, ...]) -> None:
        values = Values(job.key, told.first, told.count, told.kind, told.definitions, told.objects)
        self._scheduler.edges.came(job, values, buffers)

    def read(self, job: Job, bodies: dict[int, tuple[Buffer, ...]]) -> None:
        """Entries of a job's log came back from the journal."""
        links = job.links
        if links is None:
            return
        journaled = links.journaled
        for place in sorted(journaled.keys() & bodies.keys()):
            told = journaled.pop(place)
            if not links.shelf.overlaps(told.first, told.first + told.count):
                self._told_before(job, told, bodies[place])
        if journaled and bodies:
            self._scheduler.telling.read(job, min(journaled))
        elif journaled:
            lost, links.journaled = list(journaled.values()), {}
            for told in lost:
                cause = input_error(job, "its results can't be read from the journal any more")
                self._scheduler.edges.deny(job, told.first, told.first + told.count, cause)
        self._scheduler.edges.whole_met(job)
        self._scheduler.release_if_unwanted(job)

    def _ask(self, job: Job, links: Links, ranges: list[Range], asker: Client) -> None:
        news = [part for start, stop in ranges for part in links.asked.add(start, stop)]
        if not news:
            return
        # Who asks is the one who knows best; any other who was told will do.
        here = [client for client in (asker, *job.watchers) if client.peer is not None and client in job.watchers]
        if not here:
            for start, stop in news:
                links.asked.remove(start, stop)
                self._scheduler.edges.deny(
                    job, start, stop, input_error(job, "its results were handed to a client that went away")
                )
            return
        client = here[0]
        number = job.watchers[client][0]
        asked = self._asked.setdefault(client, {}).setdefault(number, Asked())
        asked.job = job
        for start, stop in news:
            asked.ranges.add(start, stop)
            asked.ever.add(start, stop)
        assert client.peer is not None
        self._scheduler.send(client.peer, Wanted(number, news))

    def received(self, client: Client, message: Values, buffers: tuple[Buffer, ...]) -> None:
        """A client sent results that it was asked for.

        Raises:
            ProtocolError: They weren't asked for, or are no results of that job.
        """
        start, stop = message.first, message.first + message.count
        asked = self._asked.get(client, {}).get(message.job)
        if asked is None or not asked.ever.overlap(start, stop):
            raise ProtocolError(f"job {message.job}: items {start} to {stop} were sent that weren't asked for")
        job = asked.job
        if job is None or not asked.ranges.overlap(start, stop):
            return
        links = job.links
        assert links is not None
        if not links.done.covers(start, stop):
            raise ProtocolError(f"job {message.job}: items {start} to {stop} were sent, and not all of them are done")
        if not buffers:
            self._not_held(asked, job, message)
            return
        check_packing(message, buffers)
        if links.shelf.overlaps(start, stop):
            raise ProtocolError(f"job {message.job}: items {start} to {stop} were sent, and some of them are here")
        self._scheduler.sources.check_gap(job, start, stop)
        self._scheduler.objects.check(message.objects, message.count)
        sender = Sender(client.name, f"sent as a result of {job.title}", self._scheduler.now)
        self._scheduler.objects.made(client.peer, message.objects, sender=sender)
        for part in asked.ranges.remove(start, stop):
            links.asked.remove(*part)
        if not asked.ranges:
            asked.job = None
        values = Values(job.key, start, message.count, message.kind, message.definitions, message.objects)
        self._scheduler.edges.came(job, values, buffers)

    def _not_held(self, asked: Asked, job: Job, message: Values) -> None:
        """Who was asked holds them no more."""
        parts = asked.ranges.remove(message.first, message.first + message.count)
        if not asked.ranges:
            asked.job = None
        for part in parts:
            links_of(job).asked.remove(*part)
        if message.cancelled:
            self._scheduler.fates.cancel_dependents(job, parts)
            return
        for part in parts:
            self._scheduler.edges.deny(job, *part, input_error(job, "its results are held by nobody any more"))

    def left(self, client: Client) -> None:
        """A client is gone: what it was asked for is had from another, or can't be had."""
        for asked in self._asked.pop(client, {}).values():
            if asked.job is None:
                continue
            links = links_of(asked.job)
            ranges = asked.ranges.clear()
            for start, stop in ranges:
                links.asked.remove(start, stop)
            needed = [part for start, stop in ranges for part in still_needed(links, start, stop)]
            if needed:
                self.fetch(asked.job, needed, client)


def still_needed(links: Links, start: int, stop: int) -> list[Range]:
    """What of these results anybody still waits for."""
    if any(waiter.state == ARMED for waiter in links.whole):
        return [(start, stop)]
    found = RangeSet()
    for index, waiters in links.dependents.items():
        if start <= index < stop and any(waiter.state == ARMED for waiter in waiters):
            found.add(index, index + 1)
    for fed in links.sourced:
        for part in fed.spans.waiting.overlap(start, stop):
            found.add(*part)
    return list(found)


def logged(job: Job, links: Links, index: int) -> Entry | None:
    """What the job's log says of an item's success, if it still does."""
    log = job.log
    for position in range(max(links.logged_until, log.base), log.end):
        message = log.entries[position - log.base].message
        if isinstance(message, Results):
            insort(links.logged, (message.first, position))
    links.logged_until = log.end
    at = bisect_right(links.logged, (index, log.end)) - 1
    if at < 0 or links.logged[at][1] < log.base:
        return None
    entry = log.entries[links.logged[at][1] - log.base]
    assert isinstance(entry.message, Results)
    return entry if index < entry.message.first + entry.message.count else None


def next_known(job: Job, links: Links, index: int) -> int:
    """The next item behind one whose result isn't here, whose result may be."""
    known = [1 << 63]
    after = links.shelf.after(index)
    if after is not None:
        known.append(after)
    at = bisect_right(links.logged, (index, job.log.end))
    while at < len(links.logged) and links.logged[at][1] < job.log.base:
        at += 1
    if at < len(links.logged):
        known.append(links.logged[at][0])
    return min(known)


def check_packing(message: Values, buffers: tuple[Buffer, ...]) -> None:
    """What a client sends as results must be packed like results."""
    if message.kind == FRAMED:
        right = len(buffers) >= 2 and len(buffers[0]) == 16 * (message.count + 1)
    else:
        right = message.kind == 0 and len(buffers) == 1
    if not right:
        raise ProtocolError(f"job {message.job}: values of kind {message.kind} in {len(buffers)} buffers")
