"""Large results that nobody here will ask for: they are let go while their job goes on.

Two kinds of jobs are held by no `Job` of the program's: the inner ones of `cluster.map(f, cluster.map(g, …))`, whose
results go to the jobs that follow them, and those that are just iterated over (`for result in cluster.map(f, items())`).
Of the former no large result is kept, of the latter the last 64 MiB that were passed: an interrupted cell finds these by
the job's name. Small results are kept either way. A lazy source isn't pulled while 128 MiB wait for who iterates, over its
job or over one that it feeds. Owns: these rules. Must not know: links.
"""

import weakref
from typing import Any, Final, Protocol

from twistcluster.client.fates import Fates
from twistcluster.client.results import Segment
from twistcluster.wire.limits import MIB

__all__ = ["UNLIMITED", "Passing"]

PASSED_BYTES: Final = 64 * MIB
WAITING_BYTES: Final = 128 * MIB
FIRST_ITEMS: Final = 32
UNLIMITED: Final = 1 << 62
ALWAYS_ITEMS: Final = 8
"""So many items are on their way in any case, however large their results: slots must have something to do."""


class Follower(Protocol):
    """A job that is fed by another."""

    heard: bool
    passing: "Passing"


class Passing:
    """Of one job. All of it happens under the job's lock, but for `claim` and `unclaim`.

    Args:
        fates: Of the job.
    """

    __slots__ = ("_behind", "_behind_bytes", "_fates", "_followers", "awaited", "claims", "readers")

    def __init__(self, fates: Fates) -> None:
        self.claims = 0
        """How many of the program's objects can be asked for any of its results."""
        self.readers: dict[object, None] = {}
        """Who iterates over it now."""
        self.awaited = False
        """Somebody waits for its end, whatever becomes of its results."""
        self._fates = fates
        self._followers: list[weakref.ref[Any]] = []
        self._behind: dict[Segment, None] = {}
        """What who iterates has taken, the first first."""
        self._behind_bytes = 0

    def feeds(self, follower: Follower) -> None:
        """Its results go to another job, too."""
        self._followers.append(weakref.ref(follower))

    def look(self) -> None:
        """Let go of what only other jobs need, once they have it: until the scheduler knows of them it may ask us."""
        if self.claims:
            return
        if self.readers:
            self._trim()
            return
        if self._followers and all(each.heard for each in self._live()):
            for segment in [*self._fates.stored]:
                self._let_go(segment)

    def room(self, unfinished: int) -> int:
        """How many more items may be pulled where so many aren't finished. Asked in any thread."""
        if self.claims or self.awaited:
            return UNLIMITED
        followers = self._live()
        if followers:  # what it feeds may be held back by who iterates over that
            pulled = self._fates.known + unfinished
            return max(each.passing.room(pulled - each.passing.known) for each in followers)
        fates = self._fates
        if not self.readers:
            return UNLIMITED
        if not fates.known:  # of a job that is fed by another: how large its results are will be seen
            return FIRST_ITEMS - unfinished
        if not fates.stored_ever:
            return UNLIMITED
        waiting = fates.stored_nbytes - self._behind_bytes
        if waiting >= WAITING_BYTES:
            return 0
        mean = fates.stored_ever / fates.known
        return max(int((WAITING_BYTES - waiting) / mean), ALWAYS_ITEMS) - unfinished

    @property
    def known(self) -> int:
        """How many of its items are finished."""
        return self._fates.known

    def passed(self, segment: Segment) -> None:
        """Somebody who iterates has taken these results."""
        if segment in self._fates.stored and segment not in self._behind:
            self._behind[segment] = None
            self._behind_bytes += segment.stored_nbytes
            if not self.claims:
                self._trim()

    def _trim(self) -> None:
        while self._behind_bytes > PASSED_BYTES:
            self._let_go(next(iter(self._behind)))

    def _let_go(self, segment: Segment) -> None:
        if segment in self._behind:
            del self._behind[segment]
            self._behind_bytes -= segment.stored_nbytes
        self._fates.let_go(segment)

    def _live(self) -> list[Follower]:
        return [follower for each in self._followers if (follower := each()) is not None]
