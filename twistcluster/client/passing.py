"""Large results that nobody here will ask for: they are let go while their job goes on.

Two kinds of jobs are held by no `Job` of the program's: the inner ones of `cluster.map(f, cluster.map(g, …))`, alone or
beside other iterables, whose results go to the jobs that follow them, and those that are just iterated over (`for result
in cluster.map(f, items())`). Of the former no large result is kept, of the latter the last 64 MiB that everybody who
iterates has passed: an interrupted cell finds these by the job's name. Small results are kept either way. A lazy source
isn't pulled while 128 MiB wait for who iterates, over its job or over one that it feeds; where several do, for the one
who is ahead: he mustn't wait for the others, which may be loops that come after his. Both are less where the store is
small (shares.py). Owns: these rules. Must not know: links.
"""

import weakref
from collections.abc import Iterable
from typing import Any, Final, Protocol

from twistcluster.client.fates import Fates
from twistcluster.client.results import Segment
from twistcluster.client.shares import FEWEST_ITEMS, FIRST_ITEMS, Shares
from twistcluster.core.ranges import RangeSet

__all__ = ["UNLIMITED", "Passing", "Place"]

UNLIMITED: Final = 1 << 62
ALWAYS_ITEMS: Final = 8
"""So many items are on their way in any case, if a quarter of the store takes their results, and as many as were seen to run
at once: slots must have something to do."""


class Follower(Protocol):
    """A job that is fed by another."""

    heard: bool
    passing: "Passing"

    @property
    def is_over(self) -> bool:
        """Nothing more will become of its items."""


class Place:
    """How far somebody who iterates over a job is.

    Args:
        by_arrival: He takes results as they come, else in order.
        taken: Bytes in a store that are no concern of his any more.
    """

    __slots__ = ("at", "by_arrival", "taken")

    def __init__(self, taken: int, *, by_arrival: bool) -> None:
        self.by_arrival = by_arrival
        self.at = 0
        self.taken = taken


class _Fed:
    """A follower, and what it has of the results.

    Args:
        had: Of which items it needs the results no more. None: the scheduler takes them from one job to the other, so it
            needs none from here as soon as the scheduler knows of it.
    """

    __slots__ = ("follower", "had")

    def __init__(self, follower: Follower, had: RangeSet | None) -> None:
        self.follower: weakref.ref[Any] = weakref.ref(follower)
        self.had = had

    def has(self, segment: Segment) -> bool:
        """Whether these results may go, for its part."""
        follower: Follower | None = self.follower()
        if follower is None:
            return True
        if self.had is None:
            return follower.heard
        return self.had.covers(segment.start, segment.stop)


class Passing:
    """Of one job. All of it happens under the job's lock, but for `claims`, `leave` and `room`.

    Args:
        fates: Of the job.
        shares: Of the host's store.
    """

    __slots__ = (
        "_behind",
        "_behind_bytes",
        "_fates",
        "_fed",
        "_readers",
        "_shares",
        "abandoned",
        "awaited",
        "broken_off",
        "busy",
        "claims",
        "ending",
    )

    def __init__(self, fates: Fates, shares: Shares) -> None:
        self.claims = 0
        """How many of the program's objects can be asked for any of its results."""
        self.awaited = False
        """Somebody waits for its end, whatever becomes of its results."""
        self.ending = False
        """The same, but only because the program is done with its cluster: he wants nothing of this job."""
        self.broken_off = False
        """Somebody who iterated, or a job that it fed, left before its end."""
        self.abandoned = False
        """It was cancelled for that: nobody can ask for anything of it."""
        self.busy = 0
        """How many of its items were seen to run at once."""
        self._fates = fates
        self._shares = shares
        self._readers: dict[Place, None] = {}
        """Who iterates over it now."""
        self._fed: list[_Fed] = []
        self._behind: dict[Segment, None] = {}
        """What all who iterate have passed, the first first."""
        self._behind_bytes = 0

    @property
    def known(self) -> int:
        """How many of its items are finished."""
        return self._fates.known

    @property
    def is_wanted(self) -> bool:
        """Whether anybody may ask for anything of it."""
        wanted = self.claims or self.awaited or self._readers
        return bool(wanted) or any(not each.abandoned for each in self.followers())

    # ---- who needs its results -------------------------------------------------------------------------------------

    def feeds(self, follower: Follower, *, through_here: bool) -> None:
        """Its results go to another job, too: item by item, as arguments that are packed here, or by the scheduler."""
        self._fed.append(_Fed(follower, RangeSet() if through_here else None))

    def enter(self, *, by_arrival: bool) -> Place:
        """Somebody iterates over it from now on, from its first item."""
        place = Place(self._fates.stored_ever - self._fates.stored_nbytes, by_arrival=by_arrival)
        self._readers[place] = None
        self._behind.clear()
        self._behind_bytes = 0
        return place

    def leave(self, place: Place) -> None:
        """He doesn't any more. Perhaps in the garbage collector, with any lock held."""
        self._readers.pop(place, None)

    # ---- what that means for its results ---------------------------------------------------------------------------

    def look(self) -> None:
        """Somebody needs less than before: see what of it may go."""
        self._consider([*self._fates.stored])

    def came(self, news: Iterable[Segment]) -> None:
        """Results came: who they are for may have them already, or not want them any more."""
        if self._fed:
            self._consider(news)

    def had(self, follower: Follower, start: int, stop: int) -> None:
        """A job that is fed through here needs nothing more for these of its items."""
        for each in self._fed:
            if each.had is not None and each.follower() is follower:
                each.had.add(start, stop)
        stored = self._fates.stored
        if stop - start > len(stored):
            self.look()
        elif not self.claims:
            found = (self._fates.of(index) for index in range(start, stop))
            self._consider(each for each in found if isinstance(each, Segment))

    def passed(self, place: Place, segment: Segment) -> None:
        """Somebody who iterates has taken these results."""
        place.taken += segment.stored_nbytes
        place.at = 1 + self._fates.stored.get(segment, place.at) if place.by_arrival else segment.stop
        self._consider([segment])

    def _consider(self, segments: Iterable[Segment]) -> None:
        if self.claims or not (self._readers or self._fed):
            return
        readers = [*self._readers]
        for segment in segments:
            arrival = self._fates.stored.get(segment)
            if arrival is None or not all(each.has(segment) for each in self._fed):
                continue
            if not all(each.at > arrival if each.by_arrival else each.at >= segment.stop for each in readers):
                continue
            if not readers:
                self._let_go(segment)
            elif segment not in self._behind:
                self._behind[segment] = None
                self._behind_bytes += segment.stored_nbytes
        while self._behind_bytes > self._shares.passed:
            self._let_go(next(iter(self._behind)))

    def _let_go(self, segment: Segment) -> None:
        if segment in self._behind:
            del self._behind[segment]
            self._behind_bytes -= segment.stored_nbytes
        self._fates.let_go(segment)

    # ---- what that means for its source ----------------------------------------------------------------------------

    def room(self, unfinished: int) -> int:
        """How many more items may be pulled where so many aren't finished. Asked in any thread.

        As many as the fastest of those wants who iterate over it, or over what it feeds; all, if somebody doesn't iterate.
        """
        pulled = self.known + unfinished
        rooms: list[int] = []
        jobs = [self]
        for each in jobs:  # grows meanwhile
            followers = each.followers()
            room = each.own_room(pulled, first=FIRST_ITEMS if each is not self else UNLIMITED)
            if room is not None:
                rooms.append(room)
            elif not followers:
                return UNLIMITED
            jobs += [other for other in followers if other not in jobs]
        return max(rooms)

    def followers(self) -> "list[Passing]":
        """Of the jobs that it feeds."""
        live = [follower for each in self._fed if (follower := each.follower()) is not None]
        return [each.passing for each in live if not each.is_over]

    def own_room(self, pulled: int, *, first: int = FIRST_ITEMS) -> int | None:
        """How many more items may be pulled where so many were, for its own results' sake; None: nobody asks for them.

        Args:
            pulled: Items.
            first: How many, before it is known how large its results are.
        """
        if self.claims or self.awaited or self.ending:
            return UNLIMITED
        readers = [*self._readers]
        if not readers:
            return None
        fates = self._fates
        unfinished = pulled - fates.known
        shares = self._shares
        if not fates.known:  # how large its results are will be seen
            if shares.is_small:  # as long as all of them run at once there may be more slots
                first = min(first, max(shares.first, 2 * self.busy))
            return first - unfinished
        if not fates.stored_ever:
            return UNLIMITED
        waiting = fates.stored_ever - max(each.taken for each in readers)
        if waiting >= shares.waiting:
            return 0
        mean = fates.stored_ever / fates.known
        always = max(min(ALWAYS_ITEMS, int(shares.quarter / mean)), self.busy, FEWEST_ITEMS)
        return max(int((shares.waiting - waiting) / mean), always) - unfinished
