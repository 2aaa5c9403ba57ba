"""Items that go together: those of a batch function (wire/functions.py), in groups.

Owns: which items make a group, how it is run, and what came of each of its items. They are items of one bite, or of bites
that wait with the same function and context, of whatever job. Must not know: how messages come, what stands
in results.

- `prepare` runs item by item, each with its number in the page, as any item does: what is met there is that item's.
- `together` runs with the number of the last one, so that what was begun is never taken for not begun. The first one's
  stands in the page, too: if the process dies, none of the group is known to be the cause, and the worker has each of
  them run alone. What is printed meanwhile is the last one's, as nobody can say whose it is.
- If it raises, or is interrupted as the last one shall stop, the others run one by one: an error is an item's.

That `RUNNING` goes back then is no harm: each reads the limit before it runs, as if it had never been begun.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from twistcluster.nodes.slot_errors import TakenBackError, Why
from twistcluster.nodes.slot_jobs import JobPage, SlotJob, Store
from twistcluster.nodes.slot_link import Results
from twistcluster.nodes.slot_page import GROUP, LIMIT, NO_ITEM, REACHED, RUNNING
from twistcluster.wire.functions import BatchFunction, Raised, most_at_once
from twistcluster.wire.messages import Bite, BiteDone
from twistcluster.wire.pages import ARGS, CALL

__all__ = ["CALLERS", "Batches", "Waiting"]


class Waiting(NamedTuple):
    """A bite that is to be run."""

    bite: Bite
    job: SlotJob

    @property
    def items(self) -> int:
        """How many it has."""
        return self.bite.stop - self.bite.start

    def goes_with(self, first: "Waiting") -> bool:
        """Whether its items may go together with those of another, whose function is known without a look at them."""
        mine, theirs = self.job.message, first.job.message
        same = mine.functions == theirs.functions and mine.context == theirs.context and len(mine.functions) == 1
        return same and self.job.together and not self.bite.alone


class Single(Protocol):
    """Runs items one by one (slot_bites.py)."""

    def run_singly(self, bite: Bite, job: SlotJob, page: JobPage, at: int, stop: int) -> int | None:
        """None if the limit was met."""

    def finish(self, index: int, result: Any, started: float) -> int:
        """Take the result of an item that ended."""

    def failed(self, index: int, error: BaseException, why: Why, seconds: float) -> None:
        """An item raised."""


class Place(NamedTuple):
    """An item, and where it stands."""

    number: int
    """Of its bite, among those at hand."""
    item: int
    """In its job."""
    ordinal: int


class Member(NamedTuple):
    """An item that was begun: prepared, or failed."""

    place: Place
    prepared: Any
    error: BaseException | None
    seconds: float
    told: bool = False
    """What became of it is said already."""


class Group(NamedTuple):
    """Items that were begun, one behind the other."""

    function: BatchFunction | None
    members: list[Member]
    limited: bool
    """The limit was met behind them."""


class Batches:
    """Runs bites of batch functions.

    Args:
        store: what the slot was sent.
        results: takes what comes of the items.
        words: of the shared page.
        single: for items that don't go together.
        was_raised: whether the item of an ordinal was interrupted.
    """

    def __init__(
        self, store: Store, results: Results, words: memoryview, single: Single, was_raised: Callable[[int], bool]
    ) -> None:
        self._store = store
        self._results = results
        self._words = words
        self._single = single
        self._was_raised = was_raised
        self._bites: Sequence[Waiting] = ()
        self._number = 0
        """Of the bite whose results follow: those before it are through."""

    def run(self, bites: Sequence[Waiting]) -> None:
        """Run these, one behind the other, and say of each what it reached."""
        self._bites = bites
        places = [
            Place(number, index, waiting.bite.ordinal + index - waiting.bite.start)
            for number, waiting in enumerate(bites)
            for index in range(waiting.bite.start, waiting.bite.stop)
        ]
        self._results.group({p.ordinal: (bites[p.number].bite.bite, p.item) for p in places if p.number})
        self._begin(0)
        at, limited = 0, False
        try:
            while at < len(places) and not limited:
                at, limited = self._run_group(places, at)
        finally:
            # In this order: who reads that nothing runs reads next that nothing of these bites will.
            self._words[REACHED] = places[-1].ordinal + 1
            self._words[RUNNING] = NO_ITEM
        self._end(places, at)
        self._results.group({})

    # ---- a group ---------------------------------------------------------------------------------------------------

    def _run_group(self, places: list[Place], at: int) -> tuple[int, bool]:
        """Run what goes together from an item on: up to which, and whether the limit was met there."""
        group = self._prepared(places, at)
        members = group.members
        if not members and not group.limited:
            run = self._alone(places[at])
            return at + run, not run
        done = self._together(group) if members else 0
        return at + done, group.limited or done < len(members)

    def _prepared(self, places: list[Place], at: int) -> Group:
        """Begin items as long as they go together. None of them: the first doesn't go with others at all."""
        words = self._words
        function: BatchFunction | None = None
        members: list[Member] = []
        most = len(places)
        self._results.open(places[at].item)  # from here on their time counts
        while at < len(places) and len(members) < most:
            place = places[at]
            words[RUNNING] = place.ordinal
            if place.ordinal >= words[LIMIT]:
                return self._limited(function, members)
            started = time.perf_counter()
            prepared: Any = None
            failure: BaseException | None = None
            try:
                mine, item = self._call_of(place)
                if function is None and (fits := most_at_once(mine)):
                    function, most = mine, fits
                if function is None or mine is not function:
                    self._last_begun(members)
                    break
                prepared = call_prepare(function, item)
            except BaseException as error:
                if isinstance(error.__cause__, TakenBackError):
                    return self._limited(function, members)
                failure = error
            seconds = time.perf_counter() - started
            told = failure is not None and self._was_raised(place.ordinal)
            if told and failure is not None:
                self._stopped(place, failure, seconds)
            members.append(Member(place, prepared, failure, seconds, told))
            at += 1
        return Group(function, members, limited=False)

    def _limited(self, function: BatchFunction | None, members: list[Member]) -> Group:
        self._last_begun(members)
        return Group(function, members, limited=True)

    def _last_begun(self, members: list[Member]) -> None:
        """The item that was looked at isn't begun; the page never names one before the last that was."""
        if members:
            self._words[RUNNING] = members[-1].place.ordinal

    def _call_of(self, place: Place) -> tuple[Any, Any]:
        """The function that an item calls, and its one argument; None where it isn't a call with one.

        Raises:
            ArgumentError: it can't be unpickled here.
            ContextError: nor its function.
        """
        job = self._bites[place.number].job
        page = job.page(place.item)
        value = page.value(place.item, self._store)
        if page.shape == CALL:
            number, args, kwargs = value
            return (job.functions[number], args[0]) if len(args) == 1 and not kwargs else (None, None)
        return (None, None) if page.shape == ARGS else (job.functions[0], value)

    def _alone(self, place: Place) -> bool:
        """Run an item that doesn't go with others; whether it was, or the limit was met."""
        self._begin(place.number)
        waiting = self._bites[place.number]
        page = waiting.job.page(place.item)
        return self._single.run_singly(waiting.bite, waiting.job, page, place.item, place.item + 1) is not None

    # ---- what becomes of it ----------------------------------------------------------------------------------------

    def _together(self, group: Group) -> int:
        """Run a group; returns how many of its items are through. Where these aren't all, the limit was met."""
        members = group.members
        ready = [member for member in members if member.error is None]
        answers: list[Any] = []
        started = time.perf_counter()
        if group.function is not None and ready:
            # In a child that `prepare` forked and that came out of it this raises: the page is let go of there.
            self._words[GROUP] = members[0].place.ordinal if len(members) > 1 else NO_ITEM
            try:
                answers = call_together(group.function, [member.prepared for member in ready])
                _check(answers, len(ready))
            except BaseException as error:
                if len(members) > 1:
                    self._words[GROUP] = NO_ITEM
                    return self._apart(members, error, time.perf_counter() - started)
                answers = [Raised(error)]
        seconds = time.perf_counter() - started + sum(member.seconds for member in ready)
        self._tell(members, answers, seconds / max(1, len(ready)))
        self._words[GROUP] = NO_ITEM
        return len(members)

    def _tell(self, members: list[Member], answers: list[Any], share: float) -> None:
        """Give the answers out, each in its turn. `share`: the seconds of each."""
        given = iter(answers)
        run: list[tuple[Place, Any]] = []
        for place, _, error, seconds, told in members:
            answer = Raised(error) if error is not None else next(given)
            failed = type(answer) is Raised
            if run and (failed or place.number != run[0][0].number):
                self._succeeded(run, share)
                run = []
            if not failed:
                run.append((place, answer))
            elif not told:
                self._begin(place.number)
                self._single.failed(place.item, answer.error, "raised", share if error is None else seconds)
        if run:
            self._succeeded(run, share)

    def _succeeded(self, run: list[tuple[Place, Any]], share: float) -> None:
        """Items of one bite, side by side."""
        self._begin(run[0][0].number)
        self._results.open(run[0][0].item, share * len(run))
        for place, answer in run:
            self._single.finish(place.item, answer, time.perf_counter() - share)
        self._results.close()

    def _apart(self, members: list[Member], error: BaseException, seconds: float) -> int:
        """They could not go together: each that was prepared runs alone. Returns how many did before the limit was met."""
        last = members[-1].place
        stopped = self._was_raised(last.ordinal) and not members[-1].told
        if stopped:
            self._stopped(last, error, seconds)
        for done, (place, _, failure, spent, told) in enumerate(members):
            if told or (stopped and place is last):
                continue
            if failure is not None:
                self._begin(place.number)
                self._single.failed(place.item, failure, "raised", spent)
            elif not self._alone(place):
                return done
        return len(members)

    def _stopped(self, place: Place, error: BaseException, seconds: float) -> None:
        """An item was interrupted, whatever it raised: its worker, which waits for it to end, hears of it at once."""
        self._results.begin(*self._numbers(place.number))
        self._single.failed(place.item, error, "raised", seconds)
        self._results.leave()
        self._results.begin(*self._numbers(self._number))

    # ---- one bite after the other ----------------------------------------------------------------------------------

    def _begin(self, number: int) -> None:
        """What follows is of this bite."""
        while self._number < number:
            bite = self._bites[self._number].bite
            self._results.end(BiteDone(bite.bite, bite.stop), more=True)
            self._number += 1
        self._results.begin(*self._numbers(number))

    def _numbers(self, number: int) -> tuple[int, int]:
        bite = self._bites[number].bite
        return bite.bite, bite.ordinal - bite.start

    def _end(self, places: list[Place], at: int) -> None:
        """All bites are through; nothing was begun from this item on."""
        last = len(self._bites) - 1
        self._begin(places[at].number if at < len(places) else last)
        for number in range(self._number, last + 1):
            bite = self._bites[number].bite
            reached = bite.start if number > self._number else bite.stop
            if at < len(places) and number == self._number:
                reached = places[at].item
            self._results.end(BiteDone(bite.bite, reached), more=number < last)
        self._number = 0
        self._bites = ()


def call_prepare(function: BatchFunction, item: Any) -> Any:
    """What an item may be interrupted in (slot_stop.py)."""
    return function.prepare(item)


def call_together(function: BatchFunction, prepared: list[Any]) -> list[Any]:
    """The same, for all of a group."""
    return function.together(prepared)


CALLERS: Final = frozenset({call_prepare.__code__, call_together.__code__})


def _check(answers: object, count: int) -> None:
    if type(answers) is not list or len(answers) != count:
        gave = f"a list of {len(answers)}" if isinstance(answers, list) else f"a {type(answers).__name__}"
        raise TypeError(f"together gave {gave} for {count} items: it has to give a list with an answer for each")
