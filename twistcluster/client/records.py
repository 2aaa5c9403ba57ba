"""What a client knows of one job: its items' fates, and who waits for them.

Written on the reactor's thread, read by any, both under the job's one condition. Costs a message, not an item: a chunk
of a hundred thousand results is one entry. Owns: that. Must not know: how a job travels (session.py), what people call
its methods (jobs.py), how it is shown.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from twistcluster.client.futures import Future
from twistcluster.client.patience import detached, wait_until
from twistcluster.client.results import ItemFailure, Segment, Segments, cancelled_error
from twistcluster.client.views import JobListener, JobState, Progress
from twistcluster.core.ranges import Range, RangeSet
from twistcluster.errors import Detached, InputEnded
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import ErrorInfo
from twistcluster.wire.pages import Packed
from twistcluster.wire.values import Definitions

__all__ = ["Arrival", "JobRecord", "Line"]

RATE_SECONDS = 3.0
"""The rate is that of the last seconds."""
SAMPLE_SECONDS = 0.1

Arrival = Segment | ItemFailure | Range
"""Something that came: results, a failure, cancelled items."""


class Input(Protocol):
    """What pulls a lazy job's items."""

    def finished(self, items: int) -> None:
        """So many more items are finished."""

    def stop(self) -> None:
        """Pull nothing more."""


class Line(Protocol):
    """The way from a job to its cluster."""

    definitions: Definitions

    def cancel(self, number: int, start: int, stop: int | None) -> None:
        """Items shall not start."""

    def retry(self, record: "JobRecord") -> None:
        """The failed items again."""

    def over(self, record: "JobRecord") -> None:
        """The job came to its end. On the reactor's thread."""

    def first_error(self, record: "JobRecord", failure: ItemFailure) -> None:
        """The first item of a job failed. On the reactor's thread."""

    def dropped(self, number: int) -> None:
        """Nobody here asks about the job any more."""

    def keep(self, kept: object) -> None:
        """Somebody stopped waiting for this job or future: keep it findable."""

    def fetched(self, record: "JobRecord") -> None:
        """Somebody took all results of a job."""


class JobRecord:
    """One job.

    Args:
        line: To its cluster.
        number: On that line.
        id: In the cluster.
        label: What people call it.
        count: Its number of items, where known.
        origin: The cell that opened it, for views.
        shows_errors: Its first error is shown at once (a job's; a future's is raised by `result()`).
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
    ) -> None:
        lock = threading.RLock()
        self.condition = threading.Condition(lock)
        """Notified of whatever comes."""
        self._over = threading.Condition(lock)
        """Notified of the end only: who waits for that isn't woken by every message."""
        self.number = number
        self.id = id
        self.label = label
        self.origin = origin
        self.count = count
        self.done = RangeSet()
        self.failures: dict[int, ItemFailure] = {}
        self.cancelled = RangeSet()
        self.segments = Segments()
        self.arrivals: list[Arrival] = []
        self.outputs: dict[int, str] = {}
        self.input_error: BaseException | None = None
        self.lost: BaseException | None = None
        self.fetched = False
        """Somebody took all its results."""
        self.nbytes = 0
        """Of the results that are held."""
        self.input: Input | None = None
        """What pulls its items, while it goes on."""
        self._line = line
        self._watched: dict[int, Future[Any]] = {}
        self._listeners: list[JobListener] = []
        self._wakes: list[Callable[[], None]] = []
        self._decoded: Segment | None = None
        self._running = 0
        self._waiting = ""
        self._opened = time.monotonic()
        self._ended: float | None = None
        self._samples: deque[tuple[float, int]] = deque([(self._opened, 0)])
        self._shows_errors = shows_errors
        self._shown = False
        self._told_input = 0

    def __del__(self) -> None:
        self._line.dropped(self.number)

    # ---- asked, from any thread ------------------------------------------------------------------------------------

    @property
    def finished(self) -> int:
        """Items that met their fate."""
        return len(self.done) + len(self.failures) + len(self.cancelled)

    @property
    def is_over(self) -> bool:
        """Every item met its fate and no more will come, or nothing more will be known."""
        return self._ended is not None

    @property
    def state(self) -> JobState:
        """As `job.state`."""
        if not self.is_over:
            return "running" if self._running or self.finished else "pending"
        if self.failures or self.input_error or self.lost:
            return "failed"
        return "cancelled" if self.cancelled else "done"

    def progress(self) -> Progress:
        """Counts, rate, time left."""
        with self.condition:
            now = self._ended or time.monotonic()
            finished = self.finished
            rate = self._rate(now, finished)
            left = None if self.count is None else self.count - finished
            return Progress(
                state=self.state,
                count=self.count,
                done=len(self.done),
                failed=len(self.failures),
                cancelled=len(self.cancelled),
                running=0 if self.is_over else self._running,
                rate=rate,
                seconds_left=0.0 if self.is_over else left / rate if left is not None and rate > 0 else None,
                elapsed=now - self._opened,
                waiting="" if self.is_over else self._waiting,
            )

    def name_of(self, index: int) -> str:
        """What people call an item."""
        return f"{self.label}[{index}]"

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end; False if the time was up before."""
        return wait_until(self._over, lambda: self._ended is not None, timeout, self.interrupted)

    def wait_for(self, ready: Callable[[], bool], deadline: float | None) -> bool:
        """Wait until `ready()` or the job's end."""
        timeout = None if deadline is None else deadline - time.monotonic()
        return wait_until(self.condition, lambda: ready() or self._ended is not None, timeout, self.interrupted)

    def fate(self, index: int) -> Arrival | None:
        """What came of an item: None if it isn't known yet, or will never be."""
        segment = self.segments.find(index)
        if segment is not None:
            return segment
        failure = self.failures.get(index)
        if failure is not None:
            return failure
        overlap = self.cancelled.overlap(index, self.count or index + 1) if index in self.cancelled else ()
        return overlap[0] if overlap else None

    def missing(self, index: int) -> BaseException | None:
        """Why the item of an ended job has no fate: None if there is no such item."""
        if self.count is not None and index >= self.count:
            return self.input_error
        return self.lost or self.input_error

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

    def future(self, index: int) -> Future[Any]:
        """The future of an item: the same one until it is done."""
        with self.condition:
            future = self._watched.get(index)
            if future is None:
                future = Future(self, index)
                fate = self.fate(index)
                if fate is None and self.lost is not None:
                    future.give_up(self.lost)
                elif fate is None:
                    self._watched[index] = future
                else:
                    self._tell(future, fate)
            return future

    def watched(self, index: int) -> Future[Any] | None:
        """The future of an item that isn't done, if there is one."""
        return self._watched.get(index)

    def watch(self, index: int, future: Future[Any]) -> None:
        """Tell this future what becomes of the item."""
        self._watched[index] = future

    def item(self, segment: Segment, index: int) -> Any:
        """One result; only one segment at a time stays decoded."""
        if self._decoded is not segment:
            if self._decoded is not None:
                self._decoded.forget()
            self._decoded = segment
        return segment.item(index)

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
        return self.failures[index].exception()

    def printed_by(self, index: int) -> str:
        """What an item printed."""
        return self.outputs.get(index, "")

    # ---- told to do ------------------------------------------------------------------------------------------------

    def cancel_item(self, index: int) -> None:
        """An item shall not start."""
        with self.condition:
            self._watched.pop(index, None)
        self._line.cancel(self.number, index, index + 1)

    def cancel(self) -> None:
        """No item shall start any more, nor any that would still come."""
        if self.is_over:
            return
        source = self.input
        if source is not None:
            source.stop()
        self._line.cancel(self.number, 0, None)

    def retry(self) -> int:
        """The failed items again; returns how many."""
        with self.condition:
            count = len(self.failures)
            if not count or self.lost is not None:
                return 0
            self.failures.clear()
            self._ended = None
            self._shown = False
        self._line.retry(self)
        return count

    def subscribe(self, listener: JobListener) -> Callable[[], None]:
        """Tell a listener what is there, then what comes."""
        with self.condition:
            arrivals = [
                fate for fate in self.arrivals if not isinstance(fate, ItemFailure) or fate.index in self.failures
            ]
            outputs = list(self.outputs.items())
            self._listeners = [*self._listeners, listener]
        for arrival in arrivals:
            _show(listener, arrival)
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
        with self.condition:
            news = self.done.add(first, first + packed.count)
            for start, stop in news:
                segment = Segment(start, stop, packed, start - first, self._line.definitions)
                if self.failures:  # an item that was run again before its failure was known here
                    for index in [i for i in self.failures if start <= i < stop]:
                        del self.failures[index]
                self._store(segment)
                self._tell_watched(start, stop, segment)
            self._sample()
            over = self._notify()
        for listener in self._listeners if news else ():
            listener.results(first, packed)
        self._changed(over)

    def failed(self, index: int, info: ErrorInfo, buffers: list[Buffer]) -> None:
        """An item failed for good."""
        failure = ItemFailure(index, info, buffers, self._line.definitions, self.label)
        with self.condition:
            self.failures[index] = failure
            self._store(failure)
            self._tell_watched(index, index + 1, failure)
            self._sample()
            first = self._shows_errors and not self._shown
            self._shown = True
            over = self._notify()
        for listener in self._listeners:
            listener.failed(index, info)
        self._changed(over)
        if first:
            self._line.first_error(self, failure)

    def were_cancelled(self, ranges: Iterable[Range]) -> None:
        """Items won't start."""
        with self.condition:
            for given in ranges:
                for start, stop in self.cancelled.add(*given):
                    self._store((start, stop))
                    self._tell_watched(start, stop, (start, stop))
            over = self._notify()
        self._changed(over)

    def printed(self, index: int, text: str, dropped_bytes: int) -> None:
        """An item printed something."""
        if dropped_bytes:
            text += f"\n... {dropped_bytes:,} more bytes were not kept\n"
        with self.condition:
            self.outputs[index] = self.outputs.get(index, "") + text
        for listener in self._listeners:
            listener.printed(index, text)

    def goes_on(self, running: int, waiting: str) -> None:
        """News of its progress."""
        with self.condition:
            self._running = running
            self._waiting = waiting
        self._changed(over=False)

    def adopted(self, id: str, label: str, count: int | None, age: float) -> None:  # noqa: A002
        """The scheduler told what it knows of a job of another client."""
        with self.condition:
            self.id = id
            self.label = label
            self._opened -= age
            if count is not None:
                self.count = count
            over = self._notify()
        self._changed(over)

    def input_ended(self, count: int, error: BaseException | str = "") -> None:
        """No items come after the first `count`."""
        with self.condition:
            self.count = count
            if error and self.input_error is None:
                self.input_error = InputEnded(error) if isinstance(error, str) else error
            over = self._notify()
        self._changed(over)

    def was_lost(self, error: BaseException) -> None:
        """The link is gone: what isn't known yet won't be."""
        with self.condition:
            if self.is_over:
                return
            self.lost = error
            source = self.input
            self._end()
            watched, self._watched = self._watched, {}
            for future in watched.values():
                future.give_up(error)
            self.condition.notify_all()
        if source is not None:
            source.stop()
        self._changed(over=True)

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _store(self, arrival: Arrival) -> None:
        if isinstance(arrival, Segment):
            self.segments.add(arrival)
            self.nbytes += arrival.packed.nbytes
        self.arrivals.append(arrival)

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

    def _notify(self) -> bool:
        """Wake who waits; returns whether this was the end."""
        finished = self.finished
        if self.input is not None:
            self.input.finished(finished - self._told_input)
            self._told_input = finished
        over = self.count is not None and self._ended is None and finished >= self.count
        if over:
            self._end()
        self.condition.notify_all()
        return over

    def _end(self) -> None:
        self._ended = time.monotonic()
        self._running = 0
        self.input = None
        self._over.notify_all()
        wakes, self._wakes = self._wakes, []
        for wake in wakes:
            wake()

    def _changed(self, over: bool) -> None:
        for listener in self._listeners:
            listener.changed()
        if over:
            self._line.over(self)

    def _sample(self) -> None:
        now = time.monotonic()
        samples = self._samples
        if now - samples[-1][0] >= SAMPLE_SECONDS:
            samples.append((now, self.finished))
            while len(samples) > 2 and now - samples[1][0] > RATE_SECONDS:
                samples.popleft()

    def _rate(self, now: float, finished: int) -> float:
        then, before = self._samples[0]
        if self.is_over:
            then, before = self._opened, 0
        return (finished - before) / (now - then) if now > then else 0.0


def _show(listener: JobListener, arrival: Arrival) -> None:
    if isinstance(arrival, Segment):
        packed = arrival.packed
        if arrival.stop - arrival.start == packed.count:
            listener.results(arrival.start, packed)
    elif isinstance(arrival, ItemFailure):
        listener.failed(arrival.index, arrival.info)


def cancelled_item(record: JobRecord, index: int) -> BaseException:
    """What asking for a cancelled item of a job raises."""
    return cancelled_error(record.name_of(index))
