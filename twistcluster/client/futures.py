"""The future of one item.

A `concurrent.futures.Future`, so that `concurrent.futures.wait`, `asyncio.wrap_future`, Dask and the like take it, and
awaitable. It differs inside:

- all futures of a job share one condition: a condition of their own would cost as much as all the rest of a submit, and
  a message with a hundred results wakes those who wait once;
- a result stays encoded until `result()` decodes it, in the thread that asks;
- callbacks run on one thread for all, never on the reactor's;
- `cancel()` is final here at once, whatever comes later.

Owns: that. Must not know: links, messages.
"""

import logging
import socket
import sys
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future as StandardFuture
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures._base import CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED, PENDING, RUNNING
from queue import SimpleQueue
from typing import Any, NoReturn, Protocol, TypeVar

from twistcluster.client.patience import await_until, deadline_of, detached, wait_until
from twistcluster.client.results import ItemFailure, Segment, cancelled_error, size_of
from twistcluster.errors import Detached
from twistcluster.storage.values import NotRestoredError
from twistcluster.wire.references import HeldHereError

__all__ = ["Future", "FutureOwner"]

T = TypeVar("T")

_log = logging.getLogger("twistcluster")
_OVER = frozenset({CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED})


class FutureOwner(Protocol):
    """The job that an item belongs to, as its future sees it."""

    condition: threading.Condition

    def name_of(self, index: int) -> str:
        """What people call the item."""

    def job_of(self, index: int) -> str:
        """What `cluster.job(name)` finds it by."""

    def item(self, segment: Segment, index: int, deadline: float | None) -> Any:
        """The item's result, decoded; NotRestoredError if it was lost and isn't there again at `deadline`."""

    def cancel_item(self, index: int) -> None:
        """It shall not start, or stop."""

    def printed_by(self, index: int) -> str:
        """What the item printed."""

    def keep(self, future: "Future[Any]") -> None:
        """Somebody stopped waiting: it must be found again by its name."""


class _MadeWhenAsked:
    """A list of a future's, made when the base class (with the condition held) asks for it: few futures need one."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, future: "Future[Any]", owner: type | None = None) -> list[Any]:
        made: list[Any] = []
        future._heard = True  # noqa: SLF001 (one class in two)
        setattr(future, self._name, made)  # from now on the attribute hides this
        return made


class Future(StandardFuture[T]):
    """The result of one item, when it comes.

    Beside what `concurrent.futures.Future` has, it can be awaited, has a `name` and shows what the item printed.

    Example:
        >>> future = cluster.submit(pow, 2, 10)    # doctest: +SKIP
        >>> future.name, future.result()           # doctest: +SKIP
        ('pow-1', 1024)
    """

    # Defaults stand in the class: they cost a submit nothing, nor the garbage collector.
    _waiters: Any = _MadeWhenAsked()
    _done_callbacks: Any = _MadeWhenAsked()
    _heard = False
    """Whether there are waiters or callbacks."""
    _result: Any = None
    _exception: BaseException | None = None
    _segment: Segment | None = None
    _failure: ItemFailure | None = None
    _guard: "_Unasked | None" = None
    _kept: Segment | None = None
    """What was decoded, where its bytes are still of use: they are in a store, or mean nothing here."""
    _passed_on = False
    """An argument of another item: its failure is that one's, too."""

    def __init__(self, owner: FutureOwner, index: int) -> None:
        # Not StandardFuture.__init__: see the module's docstring.
        self._condition = owner.condition
        self._state = PENDING
        self._owner = owner
        self._index = index

    @property
    def index(self) -> int:
        """Its item's number in the job that it travelled in."""
        return self._index

    def is_of(self, owner: object) -> bool:
        """Whether it is an item of this job."""
        return self._owner is owner

    @property
    def name(self) -> str:
        """What people call it: "make_thumb-3", and an item of a map "make_thumb-4[17]"."""
        return self._owner.name_of(self._index)

    def __repr__(self) -> str:
        state = self._state
        if state == FINISHED:
            state = "failed" if self._failure is not None or self._exception is not None else "done"
        return f"<Future {self.name}: {'cancelled' if state == CANCELLED_AND_NOTIFIED else state.lower()}>"

    @property
    def nbytes(self) -> int | None:
        """Bytes of its result, as it travels; None while there is none."""
        segment = self._segment or self._kept
        if segment is not None:
            return segment.nbytes(self._index)
        return size_of(self._result) if self._has_result() else None

    @property
    def where(self) -> str | None:
        """Who holds the bytes of its result: "client", or "store of HOST" for a large one; None while there is none."""
        segment = self._segment or self._kept
        if segment is not None and segment.stored(self._index):
            return f"store of {socket.gethostname()}"
        return "client" if self._has_result() else None

    def __reduce__(self) -> NoReturn:
        raise HeldHereError(
            f"the future {self.name} can't travel to another process, but as an argument: "
            f"pass it to submit or map, or use {self.name}'s result()"
        )

    def result(self, timeout: float | str | None = None) -> T:
        """Return the item's result, waiting for it if needed.

        Raises:
            BaseException: the item's own, with the remote traceback as its cause.
            TimeoutError: it didn't come within `timeout` seconds.
            Cancelled: the item was cancelled.
            Detached: the wait was interrupted; the work goes on.
        """
        deadline = None if timeout is None else deadline_of(timeout)
        if self._state not in _OVER:
            self._await_end(timeout)
        error = self._error(timeout, deadline)
        if error is None:
            result: T = self._result
            return result
        __tracebackhide__ = True
        try:
            raise error.with_traceback(None)  # what is from the last time that somebody asked
        finally:
            del self, error  # a traceback that is kept must not keep them

    def exception(self, timeout: float | str | None = None) -> BaseException | None:
        """Return what `result()` would raise, or None.

        Raises:
            Cancelled: the item was cancelled.
        """
        deadline = None if timeout is None else deadline_of(timeout)
        if self._state not in _OVER:
            self._await_end(timeout)
        error = self._error(timeout, deadline)
        if self._state != FINISHED and error is not None:
            raise error
        return error

    def cancel(self) -> bool:
        """Cancel the item: final for this future at once; if it runs, it is stopped. False if it is over."""
        with self._condition:
            if self._state in _OVER:
                return self._state != FINISHED
            self._end(CANCELLED_AND_NOTIFIED)
            self._condition.notify_all()
        self._owner.cancel_item(self._index)
        return True

    def logs(self) -> str:
        """What the item printed."""
        return self._owner.printed_by(self._index)

    def when_done(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` when this is done, on the reactor's thread: it must only hand on. The answer revokes that."""
        waiter = _Wake(wake)
        with self._condition:
            if self._state in _OVER:
                wake()
            else:
                self._waiters.append(waiter)

        def revoke() -> None:
            with self._condition:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)

        return revoke

    def __await__(self) -> Generator[Any, None, T]:
        if self._state not in _OVER:
            yield from await_until(self.when_done, lambda: str(self._interrupted())).__await__()
        return self.result()

    # ---- told by the job, with the condition held: it notifies -----------------------------------------------------

    def settle(self, segment: Segment) -> None:
        """The item succeeded."""
        if self._state in _OVER:
            return
        self._segment = segment
        self._end(FINISHED)

    def fail(self, failure: ItemFailure, *, guarded: bool) -> None:
        """The item failed; if `guarded`, somebody shall hear of it even if nobody asks."""
        if self._state in _OVER:
            return
        self._failure = failure
        if guarded and not self._passed_on:
            self._guard = _Unasked(self.name, failure)
        self._end(FINISHED)

    def give_up(self, error: BaseException) -> None:
        """The item's end will never be known."""
        if self._state in _OVER:
            return
        self._exception = error
        self._end(FINISHED)

    def drop(self) -> None:
        """The item was cancelled by other means than this future."""
        if self._state not in _OVER:
            self._end(CANCELLED_AND_NOTIFIED)

    def fate(self) -> Segment | ItemFailure | BaseException | None:
        """What is known of its end without decoding anything; None: it is decoded, cancelled, or not done."""
        return self._segment or self._kept or self._failure or self._exception

    def pass_on(self) -> None:
        """It is another item's argument: if it fails, who asks for that one hears of it."""
        self._passed_on = True
        if self._guard is not None:
            self._guard.asked = True

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _end(self, state: str) -> None:
        self._state = state
        if self._heard:
            self._tell(state)

    def _tell(self, state: str) -> None:
        for waiter in self._waiters:
            if state != FINISHED:
                waiter.add_cancelled(self)
            elif self._segment is None:
                waiter.add_exception(self)
            else:
                waiter.add_result(self)
        if self._done_callbacks:
            _callbacks.put(self)

    def _await_end(self, timeout: float | str | None) -> None:
        if not wait_until(self._condition, lambda: self._state in _OVER, timeout, self._interrupted):
            raise self._timeout(timeout)

    def _timeout(self, timeout: float | str | None) -> FutureTimeout:
        return FutureTimeout(f"{self.name} isn't done after {timeout} s; it goes on")

    def _error(self, timeout: float | str | None, deadline: float | None) -> BaseException | None:
        """What to raise, or None once `_result` holds the result."""
        segment = self._segment
        if segment is not None:
            try:
                self._result = self._owner.item(segment, self._index, deadline)
            except NotRestoredError:
                raise self._timeout(timeout) from None
            except Exception as error:  # it can't be rebuilt here, but perhaps where it is an argument
                self._exception = error
                self._kept = segment
            if segment.packed.objects and segment.stored(self._index):
                self._kept = segment
            self._segment = None
        if self._state != FINISHED:
            return cancelled_error(self.name)
        if self._failure is not None:
            if self._guard is not None:
                self._guard.asked = True
            return self._failure.exception()
        return self._exception

    def _has_result(self) -> bool:
        return self._state == FINISHED and self._failure is None and self._exception is None

    def _interrupted(self) -> Detached:
        self._owner.keep(self)
        return detached(self.name, f"cluster.job({self._owner.job_of(self._index)!r})")


class _Wake:
    """What concurrent.futures calls a waiter: told of the end of a future under its condition."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def add_result(self, future: StandardFuture[Any]) -> None:
        self._wake()

    add_exception = add_cancelled = add_result


class _Unasked:
    """Logs a failure that nobody asked for, once its future is collected."""

    __slots__ = ("asked", "failure", "name")

    def __init__(self, name: str, failure: ItemFailure) -> None:
        self.name = name
        self.failure = failure
        self.asked = False

    def __del__(self) -> None:
        if self.asked or sys.is_finalizing():
            return
        info = self.failure.info
        _log.error("%s failed, and nobody asked for its result:\n%s", self.name, self.failure.traceback or info.message)


class _Callbacks:
    """The thread that runs callbacks, started by the first."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Future[Any]] = SimpleQueue()
        self._lock = threading.Lock()
        self._started = False

    def put(self, future: Future[Any]) -> None:
        self._queue.put(future)
        if not self._started:
            with self._lock:
                if not self._started:
                    self._started = True
                    threading.Thread(target=self._run, name="twistcluster-callbacks", daemon=True).start()

    def _run(self) -> None:
        while True:
            future = self._queue.get()
            future._invoke_callbacks()  # type: ignore[attr-defined] # noqa: SLF001 (the base class's own)
            del future


_callbacks = _Callbacks()
assert RUNNING not in _OVER
