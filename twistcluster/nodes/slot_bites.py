"""Bites: a slot's items, run one after the other, and what came of each.

Owns: how a bite is run, from its pages to its results, failures and end. Must not know: how messages come, how a slot's
surroundings are made.
"""

import contextlib
import time
from collections.abc import Coroutine, Sequence
from types import CoroutineType
from typing import Any, Final

from twistcluster.errors import NotPicklable, StoreFull
from twistcluster.nodes.slot_batches import CALLERS, Batches, Waiting
from twistcluster.nodes.slot_errors import ArgumentError, ContextError, TakenBackError, Why, describe, result_info
from twistcluster.nodes.slot_jobs import JobPage, SlotJob, Store
from twistcluster.nodes.slot_link import Results
from twistcluster.nodes.slot_loops import DONE, LIMIT, run_args, run_calls, run_ones
from twistcluster.nodes.slot_page import NO_ITEM
from twistcluster.nodes.slot_stop import Stops, end_children, without_handler
from twistcluster.storage.layout import ObjectGone
from twistcluster.storage.values import Row, encode, is_large
from twistcluster.wire.frames import Buffer
from twistcluster.wire.limits import KIB
from twistcluster.wire.messages import Bite, BiteDone, ErrorInfo
from twistcluster.wire.pages import ARGS, CALL, PLAIN_TYPES
from twistcluster.wire.values import dumps

__all__ = ["Biter", "Coroutines"]

AT_ONCE_BYTES: Final = 256 * KIB
"""A result with more in buffers leaves at once, uncopied; smaller ones are copied and wait for company."""

CLEAN_UP_S: Final = 0.5
"""For the tasks that an interrupted coroutine leaves behind."""


class Coroutines:
    """The loop that coroutine functions run on, made when the first one is met."""

    def __init__(self) -> None:
        self._loop: Any = None

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run it to completion."""
        import asyncio  # a slot starts faster without, and most never need it

        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        try:
            return self._loop.run_until_complete(coroutine)
        except KeyboardInterrupt:
            self._leave()
            raise

    def _leave(self) -> None:
        """An interrupt may have met the loop at any point of its own code, so it is of no use any more.

        Its tasks get a moment to clean up (one whose turn was lost never comes to that). The next item gets a new loop.
        """
        import asyncio

        loop, self._loop = self._loop, None
        asyncio._set_running_loop(None)  # noqa: SLF001 (asyncio's word for those who make loops)
        with contextlib.suppress(Exception):
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            if tasks:
                loop.run_until_complete(asyncio.wait(tasks, timeout=CLEAN_UP_S))
            loop.close()


class Biter:
    """Runs bites.

    Args:
        store: what the slot was sent.
        results: takes what comes of the items.
        words: of the shared page (slot_page.py).
    """

    def __init__(self, store: Store, results: Results, words: memoryview) -> None:
        self._store = store
        self._results = results
        self._words = words
        self.coroutines = Coroutines()
        self.stops = Stops(words, results, CALLERS | {Coroutines.run.__code__})
        self._batches = Batches(store, results, words, self, self.stops.was_raised)

    def run_waiting(self, bites: Sequence[Waiting]) -> None:
        """Run bites of a function whose items go together, and say what each reached."""
        self._batches.run(bites)

    def run(self, bite: Bite, job: SlotJob, broken: ContextError | None) -> None:
        """Run a bite, and say what it reached. With `broken` none of its items can run: each fails with that."""
        self._results.begin(bite.bite, bite.ordinal - bite.start)
        at = bite.start
        try:
            if broken is not None:
                at = self._refuse(bite, broken)
            while at < bite.stop:
                page = job.page(at)
                reached = self._run_page(bite, job, page, at, min(bite.stop, page.first + page.count))
                if reached is None:
                    break
                at = reached
            at = self._words[0] - bite.ordinal + bite.start if at < bite.stop else at
        finally:
            # In this order: who reads that nothing runs reads next that nothing of this bite will.
            self._words[2] = bite.ordinal + bite.stop - bite.start
            self._words[0] = NO_ITEM
        self._results.end(BiteDone(bite.bite, at))

    def _run_page(self, bite: Bite, job: SlotJob, page: JobPage, at: int, stop: int) -> int | None:
        """Run items of one page; None if the limit was met (the shared page says where)."""
        if not page.plain:
            return self.run_singly(bite, job, page, at, stop)
        results = self._results
        items = page.plain_values()
        while at < stop:
            values = results.open(at)
            part = items[at - page.first : stop - page.first]
            ordinal = at - bite.start + bite.ordinal
            try:
                if page.shape == CALL:
                    other = run_calls(job.functions, part, ordinal, self._words, values)
                elif page.shape == ARGS:
                    other = run_args(job.functions[0], part, ordinal, self._words, values)
                else:
                    other = run_ones(job.functions[0], part, ordinal, self._words, values)
            except BaseException as error:
                at += len(values)
                results.close()
                self.failed(at, error, "raised", 0.0)
                at += 1
                continue
            at += len(values)
            if other is DONE or other is LIMIT:
                results.close()
                return at if other is DONE else None
            # Of a function that returns other things once, the next result will hardly be plain either.
            at = self.finish(at, other, results.since)
            return self.run_singly(bite, job, page, at, stop, opened=True) if at < stop else self._closed(at)
        return at

    def run_singly(
        self, bite: Bite, job: SlotJob, page: JobPage, at: int, stop: int, opened: bool = False
    ) -> int | None:
        """Run items one by one, each result pickled before the next item can change it."""
        words, offset = self._words, bite.ordinal - bite.start
        if not opened:
            self._results.open(at)
        while at < stop:
            words[0] = at + offset
            if at + offset >= words[1]:
                self._results.close()
                return None
            started = time.perf_counter()
            try:
                result = job.call(page.shape, page.value(at, self._store))
            except BaseException as error:
                self._results.close()
                if isinstance(error.__cause__, TakenBackError):
                    return None
                self.failed(at, error, "raised", time.perf_counter() - started)
                at += 1
                self._results.open(at)
            else:
                at = self.finish(at, result, started)
        return self._closed(at)

    def _closed(self, at: int) -> int:
        self._results.close()
        return at

    def finish(self, index: int, result: Any, started: float) -> int:
        """Take the result of an item that ended; returns the next item."""
        try:
            if type(result) is CoroutineType:
                result = self.coroutines.run(result)
        except BaseException as error:
            self._results.close()
            self.failed(index, error, "raised", time.perf_counter() - started)
            self._results.open(index + 1)
            return index + 1
        results = self._results
        if type(result) in PLAIN_TYPES and not results.framed and not is_large(result):
            results.values.append(result)
            return index + 1
        try:
            row = encode(result, self._store.definitions, self._store.values, name="the result", copy=False)
        except BaseException as error:
            results.close()
            seconds = time.perf_counter() - started
            if isinstance(error, NotPicklable | StoreFull):
                results.fail(index, result_info(error), seconds, (), ())
            else:
                self.failed(index, error, "result", seconds)
            results.open(index + 1)
            return index + 1
        self._add(row)
        return index + 1

    def _add(self, row: Row) -> None:
        if not row.buffers:
            self._results.add(row)
        elif sum(_nbytes(buffer) for buffer in row.buffers) >= AT_ONCE_BYTES:
            self._results.add(row)
            self._results.leave()
        else:
            # A view's memory is the item's, and the next item may change it.
            self._results.add(row._replace(buffers=[bytes(buffer) for buffer in row.buffers]))

    def failed(self, index: int, error: BaseException, why: Why, seconds: float) -> None:
        """An item of the bite at hand raised, or could not be run. The run was closed before."""
        if self.stops.was_raised(self._results.ordinal(index)):
            self._stopped(index, error)
            return
        if isinstance(error, ContextError):
            self._results.fail(index, error.info, seconds, error.buffers, error.definitions)
            return
        if isinstance(error, ArgumentError) and isinstance(error.__cause__, ObjectGone):
            gone = error.__cause__
            self._results.fail(index, ErrorInfo("gone", "ObjectLost", str(gone)), seconds, (), (), gone.id)
            return
        if isinstance(error, ArgumentError) and error.__cause__ is not None:
            error, why = error.__cause__, "argument"
        info = describe(error, why)
        buffers: list[Buffer] = []
        definitions: tuple[bytes, ...] = ()
        with contextlib.suppress(BaseException):  # its text must do
            encoded = dumps(error, self._store.definitions, name="the exception")
            buffers, definitions = [encoded.data, *encoded.buffers], encoded.definitions
        self._results.fail(index, info, seconds, buffers, definitions)

    def _stopped(self, index: int, error: BaseException) -> None:
        """Whatever it raised: it was interrupted. What it started doesn't outlive it."""
        seconds = time.perf_counter() - self._results.since
        end_children(seconds)
        self._results.fail(index, describe(without_handler(error), "stopped"), seconds, (), ())

    def _refuse(self, bite: Bite, broken: ContextError) -> int:
        """No item of this bite can run."""
        for index in range(bite.start, bite.stop):
            self._words[0] = index - bite.start + bite.ordinal
            if self._words[0] >= self._words[1]:
                return index
            self.failed(index, broken, "context", 0.0)
        return bite.stop


def _nbytes(buffer: Buffer) -> int:
    return buffer.nbytes if isinstance(buffer, memoryview) else len(buffer)
