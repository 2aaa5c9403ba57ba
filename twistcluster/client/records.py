"""What a client knows of one job, and who waits for it.

Written on the reactor's thread, read by any, both under the job's one lock. Owns: that meeting of threads. Must not
know: how a job travels (session.py), what its user types (jobs.py), how it is shown.
"""

import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from twistcluster.client.fates import Arrival, Fates
from twistcluster.client.flowing import Flowing
from twistcluster.client.futures import Future
from twistcluster.client.inputs import Node
from twistcluster.client.lines import Line
from twistcluster.client.patience import detached, wait_until
from twistcluster.client.rates import Rate
from twistcluster.client.results import ItemFailure, Segment, cancelled_error
from twistcluster.client.views import JobListener, JobState, Progress
from twistcluster.core.ranges import Range, total
from twistcluster.errors import Cancelled, Detached, InputEnded
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import ErrorInfo, Kept
from twistcluster.wire.pages import Packed

__all__ = ["JobRecord", "Mends"]


_log = logging.getLogger("twistcluster")


class Mends(Protocol):
    """Makes the results of items that failed where they ran, in another way: then they haven't failed."""

    def attach(self, record: "JobRecord") -> None:
        """It is of this job."""

    def takes(self, index: int, info: ErrorInfo) -> bool:
        """Whether it will tell the record what becomes of this item (`succeeded`, `not_mended`, `were_cancelled`).

        Asked on the reactor's thread, of each item that failed.
        """

    def cancel(self) -> None:
        """The job was cancelled: so is what was taken."""


class JobRecord(Flowing):
    """One job.

    Args:
        line: To its cluster.
        number: On that line.
        id: In the cluster.
        label: What people call it.
        count: Its number of items, where known.
        origin: The cell that opened it, for views.
        shows_errors: Its first error is shown at once (a job's; a future's is raised by `result()`).
        keep: Whether results are held for whoever asks.
    """

    def __init__(
        self,
        line: Line,
        number: int,
        id: str,  # noqa: A002 (what views call it)
        label: str,
        *,
        count: int | None = None,
        origin: object | None = None,
        shows_errors: bool = True,
        keep: bool = True,
    ) -> None:
        super().__init__(line, Fates(line.definitions, line.reads, keep=keep))
        self._over = threading.Condition(self._lock)
        """Notified of the end only: who waits for that isn't woken by every message."""
        self.number = number
        self.id = id
        self.label = label
        self.origin = origin
        self.count = count
        self.input_error: BaseException | None = None
        self.lost: BaseException | None = None
        self.fetched = False
        """Somebody took all its results."""
        self._watched: dict[int, Future[Any]] = {}
        self._listeners: list[JobListener] = []
        self._wakes: list[Callable[[], None]] = []
        self._decoded: Segment | None = None
        self._running = 0
        self._waiting = ""
        self._opened = time.monotonic()
        self._rate = Rate(self._opened)
        self._shows_errors = shows_errors
        self._cancelled = False
        self._shown = False
        self._told_input = 0
        self._followers: list[weakref.ref[JobRecord]] = []

    quiet = False
    """Its first error isn't shown: its user said what becomes of errors."""
    mends: Mends | None = None
    """Whether another job makes the results of items that failed."""

    def __del__(self) -> None:
        if self.number:  # else the scheduler knows nothing of it
            self._line.dropped(self.number)

    # ---- asked, from any thread ------------------------------------------------------------------------------------

    @property
    def line(self) -> Line:
        """The way to its cluster."""
        return self._line

    @property
    def store(self) -> str:
        """Folder of the host's store; empty where there is none."""
        return "" if self._line.values is None else self._line.values.folder

    @property
    def state(self) -> JobState:
        """As `job.state`."""
        if not self.is_over:
            return "running" if self._running or self.fates.known else "pending"
        cut = isinstance(self.input_error, Cancelled)
        if self.fates.failures or self.lost or (self.input_error and not cut):
            return "failed"
        return "cancelled" if self.fates.cancelled or cut else "done"

    def progress(self) -> Progress:
        """Counts, rate, time left."""
        with self.condition:
            now = self._ended or time.monotonic()
            fates, known = self.fates, self.fates.known
            rate = self._rate.overall(now, known) if self.is_over else self._rate.now(now, known)
            left = None if self.count is None else self.count - known
            return Progress(
                state=self.state,
                count=self.count,
                done=len(fates.done),
                failed=len(fates.failures),
                cancelled=len(fates.cancelled),
                running=self._running,
                rate=rate,
                seconds_left=0.0 if self.is_over else left / rate if left is not None and rate > 0 else None,
                elapsed=now - self._opened,
                waiting=self._waiting,
            )

    def name_of(self, index: int) -> str:
        """What people call an item; the only one of a submit is called as the job."""
        return f"{self.label}[{index}]" if self._shows_errors else self.label

    def job_of(self, index: int) -> str:
        """What `cluster.job(name)` finds an item by."""
        return self.label

    def wait(self, timeout: float | str | None = None, *, ending: bool = False) -> bool:
        """Wait for the end; False if the time was up before. `ending`: as of `hurry`."""
        self.hurry(ending=ending)
        return wait_until(self._over, lambda: self._ended is not None, timeout, self.interrupted)

    def wait_for(self, ready: Callable[[], bool], deadline: float | None) -> bool:
        """Wait until `ready()` or the job's end."""
        timeout = None if deadline is None else deadline - time.monotonic()
        return wait_until(self.condition, lambda: ready() or self._ended is not None, timeout, self.interrupted)

    def when_over(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` at the end; the answer revokes that."""
        with self.condition:
            if self.is_over:
                wake()
            else:
                self._wakes.append(wake)

        def revoke() -> None:
            with self.condition:
                if wake in self._wakes:
                    self._wakes.remove(wake)

        return revoke

    def fate(self, index: int) -> Arrival | None:
        """What became of an item: None if it isn't known yet, or never will be."""
        with self.condition:
            return self.fates.of(index)

    kept: Kept | None = None
    """What the cluster's journal has of it."""

    @property
    def is_kept(self) -> bool:
        """As `job.kept`."""
        kept = self.kept
        if kept is None or self.is_over:
            return kept is not None and kept.over
        return self.count is not None and kept.items >= self.count

    can_retry = True
    """Whether its failed items may be run again."""

    @property
    def cut(self) -> BaseException | None:
        """Of a job that is over: why not all of its results are here; None: they are."""
        return self.lost or self.input_error

    def missing(self, index: int) -> BaseException | None:
        """Why nothing is known of an item of a job that is over; None: there is no such item."""
        if self.count is None or index < self.count:
            return self.lost
        return self.input_error

    def future(self, index: int) -> Future[Any]:
        """The future of an item, for somebody who may wait for it: the same one until it is done."""
        future = self.future_to_pass(index)
        if not self.passing.awaited and not future.done():
            self.hurry()
        return future

    def future_to_pass(self, index: int) -> Future[Any]:
        """The same for an argument: that may wait for who iterates over what comes of it."""
        with self.condition:
            future = self._watched.get(index)
            if future is None:
                future = Future(self, index)
                fate = self.fates.of(index)
                if fate is not None:
                    self._tell(future, fate)
                elif self.is_over:
                    self._give_up(future, index)
                else:
                    self._watched[index] = future
            return future

    def watched(self, index: int) -> Future[Any] | None:
        """The future of an item that isn't done, if there is one."""
        return self._watched.get(index)

    def watch(self, index: int, future: Future[Any]) -> None:
        """Tell this future what becomes of the item."""
        with self.condition:
            if self._ended is None:
                self._watched[index] = future
            else:  # the link was lost meanwhile
                self._give_up(future, index)

    def item(self, segment: Segment, index: int, deadline: float | None = None) -> Any:
        """One result; only one segment at a time stays decoded."""
        if self._decoded is not segment:
            if self._decoded is not None:
                self._decoded.forget()
            self._decoded = segment
        return segment.item(index, deadline)

    def interrupted(self) -> Detached:
        """What ends an interrupted wait."""
        self._line.keep(self)
        return detached(self.label, f"cluster.job({self.label!r})")

    def keep(self, future: Future[Any]) -> None:
        """Somebody stopped waiting for one of its futures."""
        self._line.keep(future)

    def all_fetched(self) -> None:
        """Somebody took all results."""
        if not self.fetched:
            self._line.fetched(self)

    def definition(self, digest: bytes) -> bytes:
        """The blob of a class definition that results name."""
        return self._line.definitions.blob(digest)

    def error(self, index: int) -> BaseException:
        """The exception of a failed item."""
        return self.fates.failures[index].exception()

    def printed_by(self, index: int) -> str:
        """What an item printed."""
        return self.fates.outputs.get(index, "")

    def results_in(self, start: int, stop: int) -> Iterator[tuple[int, Packed]]:
        """The pages that hold results of these items, as they came, each with the number of its first item."""
        told: set[int] = set()
        index = start
        while index < stop:
            fate = self.fate(index)
            if isinstance(fate, Segment) and id(fate.packed) not in told:
                told.add(id(fate.packed))
                yield fate.first, fate.packed
            index = fate.stop if isinstance(fate, Segment) else index + 1

    def held_in(self, start: int, stop: int) -> Iterator[tuple[int, Packed]]:
        """The same, for a scheduler that came back without them."""
        return self.results_in(start, stop)

    def cancelled_in(self, ranges: Iterable[Range]) -> list[Range]:
        """Which of these items were cancelled here, whatever came of them elsewhere."""
        return [part for start, stop in ranges for part in self.fates.cancelled_in(start, stop)]

    # ---- as an input of other jobs' items, or with inputs of its own ------------------------------------------------

    def lend(self, future: Future[Any]) -> None:
        """An item waits for this future's: its result may be asked for."""

    def hold(self, index: int, held: tuple[object, ...], nodes: tuple[Node, ...]) -> None:
        """One of its items was packed, and names these."""
        with self.condition:
            if self._ended is None:
                self.inputs.hold(index, held, nodes)

    def follow(self, source: "JobRecord") -> None:
        """Its items are as many as those of this other job, whose results are their arguments."""
        self.inputs.source = source
        self.draw_on([source], through_here=False)
        source.lead(self)

    def lead(self, follower: "JobRecord") -> None:
        """Tell another job how many items there are, when that is known."""
        with self.condition:
            self._followers.append(weakref.ref(follower))
        if self.count is not None:
            self._tell_followers()

    def _tell_followers(self) -> None:
        followers, self._followers = self._followers, []
        for each in followers:
            record = each()
            if record is not None and self.count is not None and not record.is_over:
                # One that was cancelled may have fewer: it was told so.
                count = self.count if record.count is None else min(record.count, self.count)
                record.input_ended(count, self.input_error or "")

    # ---- told to do ------------------------------------------------------------------------------------------------

    def cancel_item(self, index: int) -> None:
        """An item shall not start, or stop."""
        with self.condition:
            self._watched.pop(index, None)
            self.fates.refuse(index)
        self._line.cancel(self.number, index, index + 1)

    def cancel(self) -> None:
        """No item shall start any more, nor any that would still come; those that run shall stop."""
        with self.condition:
            if self.is_over:
                return
            source = self.input
            self._cancelled = True
            if self.count is None and self.input_error is None:
                self.input_error = cancelled_error(f"{self.label}, whose input went on,")
        if source is not None:
            source.stop()
        self._line.cancel(self.number, 0, None)
        if self.mends is not None:
            self.mends.cancel()

    def retry(self) -> int:
        """The failed items again; returns how many."""
        with self.condition:
            count = len(self.fates.failures)
            if not count or self.lost is not None:
                return 0
            self.fates.failures.clear()
            self._ended = None
            self._shown = self._cancelled = False
        self._line.retry(self)
        return count

    def subscribe(self, listener: JobListener) -> Callable[[], None]:
        """Tell a listener what is there, then what comes."""
        with self.condition:
            arrivals = self.fates.standing()
            outputs = list(self.fates.outputs.items())
            self._listeners = [*self._listeners, listener]
        for arrival in arrivals:
            if isinstance(arrival, Segment) and arrival.stop - arrival.start == arrival.packed.count:
                listener.results(arrival.start, arrival.packed)
            elif isinstance(arrival, ItemFailure):
                listener.failed(arrival.index, arrival.info)
        for index, text in outputs:
            listener.printed(index, text)
        listener.changed()

        def unsubscribe() -> None:
            with self.condition:
                self._listeners = [other for other in self._listeners if other is not listener]

        return unsubscribe

    # ---- told what happened, on the reactor's thread ---------------------------------------------------------------

    def succeeded(self, first: int, packed: Packed) -> None:
        """Results came."""
        self._was_heard()
        with self.condition:
            news = self.fates.succeeded(first, packed)
            if self.inputs:
                self.inputs.settled(first, first + packed.count)
            for segment in news:
                self._tell_watched(segment.start, segment.stop, segment)
            listeners, over = self._listeners if news else (), self._notify()
            self.passing.came(news)
        self._have(first, first + packed.count)
        for listener in listeners:
            _tell(listener.results, first, packed)
        self._changed(over)

    def failed(self, index: int, info: ErrorInfo, buffers: list[Buffer]) -> None:
        """An item failed for good, unless somebody mends that."""
        if self.mends is None or not self.mends.takes(index, info):
            self.not_mended(index, info, buffers)

    def not_mended(self, index: int, info: ErrorInfo, buffers: list[Buffer]) -> None:
        """An item failed, and nobody will make its result in another way."""
        info = self.inputs.named(index, info)
        failure = ItemFailure(index, info, buffers, self._line.definitions, self.name_of(index))
        with self.condition:
            if info.why == "input" and not buffers:
                failure.find_cause = self.inputs.finder(index)
            news = self.fates.failed(failure)
            if news:
                self._tell_watched(index, index + 1, failure)
            first = news and self._shows_errors and not self._shown and not self.quiet
            self._shown = self._shown or news
            listeners, over = self._listeners if news else (), self._notify()
        for listener in listeners:
            _tell(listener.failed, index, info)
        self._changed(over)
        if first:
            _tell(self._line.first_error, self, failure)

    def were_cancelled(self, ranges: Iterable[Range]) -> None:
        """Items won't start."""
        with self.condition:
            news = self.fates.were_cancelled(ranges)
            for start, stop in news:
                self.inputs.settled(start, stop)
                self._tell_watched(start, stop, (start, stop))
            over = self._notify()
        for start, stop in news:
            self._have(start, stop)
        self._changed(over)

    def printed(self, index: int, text: str, dropped_bytes: int) -> None:
        """An item printed something."""
        if dropped_bytes:
            text += f"\n... {dropped_bytes:,} more bytes were not kept\n"
        with self.condition:
            self.fates.printed(index, text)
            listeners = self._listeners
        for listener in listeners:
            _tell(listener.printed, index, text)

    def goes_on(self, running: int, waiting: str) -> None:
        """News of its progress."""
        self._was_heard()
        with self.condition:
            if self.is_over:
                return
            self._running, self._waiting = running, waiting
            self.passing.busy = max(self.passing.busy, running)
        self._changed(over=False)

    def input_failed(self, error: BaseException) -> None:
        """Its source raised, here: what anybody tells of that later says less."""
        with self.condition:
            if not self.is_over and self.input_error is None:
                self.input_error = error

    def input_ended(self, count: int, error: BaseException | str = "") -> None:
        """No items come after the first `count`."""
        with self.condition:
            self.count = count
            if error and self.input_error is None:
                self.input_error = InputEnded(error) if isinstance(error, str) else error
            over = self._notify(news=False)
        self._tell_followers()
        self._changed(over)

    def was_lost(self, error: BaseException) -> None:
        """The link is gone: what isn't known yet won't be; of a job that was cancelled, it was cancelled."""
        with self.condition:
            if self.is_over:
                return
            left = self.fates.unknown(self.count) if self._cancelled else None
            if left is not None:
                self.count = self.fates.known + total(left)
            else:
                self.lost = error
                source = self.input
                self._end()
                self.condition.notify_all()
        if left is not None:
            self.were_cancelled(left)
            return
        if source is not None:
            source.stop()
        self._changed(over=True)

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _tell_watched(self, start: int, stop: int, fate: Arrival) -> None:
        watched = self._watched
        if not watched:
            return
        for index in range(start, stop) if stop - start <= len(watched) else [i for i in watched if start <= i < stop]:
            future = watched.pop(index, None)
            if future is not None:
                self._tell(future, fate)

    def _tell(self, future: Future[Any], fate: Arrival) -> None:
        if isinstance(fate, Segment):
            future.settle(fate)
        elif isinstance(fate, ItemFailure):
            future.fail(fate, guarded=not self._shows_errors)
        else:
            future.drop()

    def _give_up(self, future: Future[Any], index: int) -> None:
        future.give_up(self.missing(index) or IndexError(f"{self.label} has no item {index}"))

    def _notify(self, *, news: bool = True) -> bool:
        """Something came: wake who waits; returns whether this was the end.

        Without `news` of items only the end wakes anybody: to wake a thread for nothing costs a round trip 40 us.
        """
        known = self.fates.known
        self._rate.sample(time.monotonic(), known)
        if self.input is not None:
            self.input.finished(known - self._told_input)
            self._told_input = known
        for each in self.inputs.sources:
            each.look_for_room()
        over = self.count is not None and self._ended is None and known >= self.count
        if over:
            self._end()
        if news or over:
            self.condition.notify_all()
        return over

    def _end(self) -> None:
        self._ended = time.monotonic()
        self._running = 0
        self._waiting = ""
        self.input = None
        self._end_inputs(again=bool(self.fates.failures) and self.lost is None and self.can_retry)
        watched, self._watched = self._watched, {}
        for index, future in watched.items():
            self._give_up(future, index)
        self._over.notify_all()
        wakes, self._wakes = self._wakes, []
        for wake in wakes:
            wake()

    def _changed(self, over: bool) -> None:
        for listener in self._listeners:
            _tell(listener.changed)
        if over:
            self._line.over(self)


def _tell(method: Callable[..., None], *news: object) -> None:
    """Tell a listener: what it raises is its own affair, not the link's."""
    try:
        method(*news)
    except Exception:
        _log.exception("a view failed")
