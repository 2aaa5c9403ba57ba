"""What flows out of a job, and into it from others: who holds a lazy source back, and for whom results are kept.

A lazy job whose last reader breaks off, and of which nobody else can ask for anything, is cancelled: its source may have
no end. So are lazy ones that only feed it. A base of `JobRecord`: the rules are passing.py's, here they meet the job's lock and its neighbours. No job's lock is
taken while another's is held. Owns: that. Must not know: how a job travels, what came of its items.
"""

import contextlib
import functools
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from twistcluster.client.fates import Fates
from twistcluster.client.inputs import Inputs
from twistcluster.client.lines import Input, Line
from twistcluster.client.passing import UNLIMITED, Passing, Place
from twistcluster.client.patience import free
from twistcluster.client.results import Segment
from twistcluster.client.shares import shares_of

__all__ = ["Flowing", "Reader"]


class Flowing:
    """A job among those that it feeds, and that feed it.

    Args:
        line: To its cluster.
        fates: Of its items.
    """

    def __init__(self, line: Line, fates: Fates) -> None:
        self._lock = threading.RLock()
        self.condition = threading.Condition(self._lock)
        """Notified of whatever comes."""
        self.fates = fates
        self.input: Input | None = None
        self.passing = Passing(fates, shares_of(line.values))
        self.stays = False
        """It goes on though nobody holds it: its user named it, or a wait for it was interrupted."""
        self.heard = False
        """The scheduler knows of it."""
        self.inputs = Inputs()
        """What its items wait for."""
        self._line = line
        self._ended: float | None = None

    @property
    def is_over(self) -> bool:
        """Every item met its fate and no more will come, or nothing more will be known."""
        return self._ended is not None

    def forked(self) -> None:
        """In a forked child: see `Shelf.forked`."""
        free(self._lock)

    @property
    def is_lazy(self) -> bool:
        """Whether more of a source is pulled as it goes on: of its own, or of a job's that it draws on."""
        jobs: list[Flowing] = [self]
        for each in jobs:  # grows meanwhile
            source = each.input
            if source is not None and source.lazy:
                return True
            jobs += [other for other in each.inputs.sources if other not in jobs]
        return False

    def cancel(self) -> None:
        """No item shall start any more."""
        raise NotImplementedError

    # ---- who asks for its results ----------------------------------------------------------------------------------

    def claim(self) -> None:
        """A `Job` of the program's shows it."""
        self.passing.claims += 1
        self.look_for_room()

    def unclaim(self) -> None:
        """That is gone. Called by the garbage collector, in any thread, with any lock held."""
        self.passing.claims -= 1
        if not self.passing.claims and (self.fates.stored or self.passing.broken_off):
            self._let_go_soon()

    def reader(self, *, by_arrival: bool = False) -> "Reader":
        """Somebody iterates, from now on."""
        with self.condition:
            return Reader(self, self.passing.enter(by_arrival=by_arrival))

    def passed(self, place: Place, segment: Segment) -> None:
        """Somebody who iterates has taken these results."""
        with self.condition:
            self.passing.passed(place, segment)
        self.look_for_room()

    def left(self, place: Place) -> None:
        """Somebody iterates no more. Perhaps called by the garbage collector, as `unclaim` is."""
        self.passing.leave(place)
        if not self.is_over:
            self.passing.broken_off = True
        if not self.is_over or self.fates.stored:
            self._let_go_soon()

    def _let_go_soon(self) -> None:
        with contextlib.suppress(Exception):  # the program ends, or was forked
            self._line.soon(self.let_go)

    def let_go(self) -> None:
        """See what of it nobody will ask for."""
        with self.condition:
            self.passing.look()
        for each in self._abandoned() if self.passing.broken_off else ():
            each.cancel()
        self.look_for_room()

    def _abandoned(self) -> "list[Flowing]":
        """This job, and those that feed it, as far as they are lazy and nobody holds them: followers first."""
        gone: list[Flowing] = []
        looked: list[Flowing] = [self]
        for each in looked:  # grows meanwhile; a source comes again after each of its followers
            passing = each.passing
            if not (passing.abandoned or each.is_over or each.stays or passing.is_wanted) and each.is_lazy:
                passing.abandoned = True
                gone.append(each)
                looked += each.inputs.sources
        return gone

    def hurry(self, *, ending: bool = False) -> None:
        """Somebody waits for the end, or for one item: that mustn't wait for who iterates.

        Args:
            ending: He wants nothing of it: the program is done with its cluster.
        """
        if ending:
            self.passing.ending = True
        else:
            self.passing.awaited = True
        self.look_for_room()

    def look_for_room(self) -> None:
        """More of its source may be pulled now, perhaps, or of those of the jobs that feed it."""
        jobs: list[Flowing] = [self]
        for each in jobs:  # grows meanwhile
            source = each.input
            if source is not None:
                source.finished(0)
            jobs += [other for other in each.inputs.sources if other not in jobs]

    # ---- what feeds it ---------------------------------------------------------------------------------------------

    def draw_on(self, sources: "Iterable[Flowing]", *, through_here: bool) -> None:
        """Each of its items has the result of the same item of these other jobs among its arguments."""
        drawn_on = (*dict.fromkeys(sources),)
        with self.condition:
            if self.is_over:  # it has no items, or was lost meanwhile
                return
            self.inputs.sources = drawn_on
        for each in drawn_on:
            with each.condition:
                each.passing.feeds(self, through_here=through_here)

    def had_by(self, follower: "Flowing", start: int, stop: int) -> None:
        """A job that draws on this one needs nothing more for these of its items."""
        with self.condition:
            self.passing.had(follower, start, stop)

    def follower_ended(self, follower: "Flowing") -> None:
        """A job that draws on this one is over, perhaps before this one is: then as if somebody left who iterated."""
        self.had_by(follower, 0, UNLIMITED)
        if not self.is_over:
            self.passing.broken_off = True
            self.let_go()

    def _have(self, start: int, stop: int) -> None:
        """These of its items won't run again."""
        if self.inputs.source is None:  # else the scheduler has what they need
            for each in self.inputs.sources:
                each.had_by(self, start, stop)

    def _was_heard(self) -> None:
        if not self.heard:
            self.heard = True
            if self.inputs.source is not None:
                self.inputs.source.let_go()

    def _end_inputs(self, *, again: bool) -> None:
        """It is over; its failed items may be run `again`. With its lock held: the others hear of it soon."""
        sources = self.inputs.sources
        self.inputs.ended(again=again)
        for each in sources:
            if not again:
                self._line.soon(functools.partial(each.follower_ended, self))
            self._line.soon(each.look_for_room)


class Reader:
    """Somebody who iterates over a job: until it leaves, or nobody holds it any more.

    An iterator that was never asked for anything is a reader, too.
    """

    __slots__ = ("_job", "_place")

    def __init__(self, job: Flowing, place: Place) -> None:
        self._job: Flowing | None = job
        self._place = place

    def passed(self, segment: Segment) -> None:
        """These results were taken."""
        if self._job is not None:
            self._job.passed(self._place, segment)

    def leave(self) -> None:
        """Iterate no more."""
        job, self._job = self._job, None
        if job is not None:
            job.left(self._place)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def __del__(self) -> None:
        self.leave()
