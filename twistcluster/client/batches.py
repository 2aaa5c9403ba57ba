"""Submits of one reactor turn: they travel as one anonymous job with a table of functions. So do questions to one server.

Arguments are pickled at once, in the thread that submits; plain ones can't change, so they are pickled together when the
batch leaves. Owns: the open batch. Must not know: links, who closes it.
"""

import contextlib
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from twistcluster.client.futures import Future
from twistcluster.client.lines import Line
from twistcluster.client.outbox import Parts
from twistcluster.client.packing import plain_pages
from twistcluster.client.records import JobRecord
from twistcluster.client.references import Collector
from twistcluster.client.results import Segment, pack_one
from twistcluster.errors import NotPicklable, ResultsGone
from twistcluster.storage.values import ValueStore, encode, is_large
from twistcluster.wire.functions import most_at_once
from twistcluster.wire.limits import PAGE_BYTES, PAGE_ITEMS, PAGE_STORED_BYTES
from twistcluster.wire.pages import CALL, PLAIN_TYPES, FramedPacker, Packed
from twistcluster.wire.values import Definitions

__all__ = ["Batch", "BatchRecord"]

Call = tuple[int, tuple[Any, ...], dict[str, Any]]

FINDABLE: Final = 64
"""How many futures of a batch are found by name after their end."""

_plain = PLAIN_TYPES.issuperset
_NO_KEYWORDS: Final[dict[str, Any]] = {}


class BatchRecord(JobRecord):
    """The job that a batch is. Its futures hold the results, nothing else does."""

    def __init__(self, line: Line) -> None:
        super().__init__(line, 0, "", "", shows_errors=False, keep=False)  # number and id come with its first call
        # Two numbers an item, and no object: a loop of submits shall not busy the garbage collector.
        self.bases: list[str] = []
        self.numbers: list[int] = []
        self.members: list[weakref.ref[Future[Any]]] = []
        """Of its first items: what somebody may ask for by name was not submitted by the thousand."""

    can_retry = False
    _lent: weakref.WeakValueDictionary[int, Future[Any]] | None = None

    def lend(self, future: Future[Any]) -> None:
        """Who waits for it holds it: it has the result, when that comes."""
        if self._lent is None:
            self._lent = weakref.WeakValueDictionary()
        self._lent[future.index] = future

    def results_in(self, start: int, stop: int) -> Iterator[tuple[int, Packed]]:
        """The results that futures hold which were lent, each alone: of a page some may be decoded, and some not."""
        yield from self._results_of(self._lent or {}, start, stop)

    def held_in(self, start: int, stop: int) -> Iterator[tuple[int, Packed]]:
        """Those of its first futures, too."""
        first = {index: future for index, each in enumerate(self.members) if (future := each()) is not None}
        yield from self._results_of({**first, **dict(self._lent or {})}, start, stop)

    def _results_of(self, futures: Mapping[int, Future[Any]], start: int, stop: int) -> Iterator[tuple[int, Packed]]:
        for index, future in sorted(futures.items()):
            if not start <= index < stop or not future.done() or future.cancelled():
                continue
            fate = future.fate()
            if fate is None:  # decoded
                with contextlib.suppress(NotPicklable):  # it was changed since
                    yield index, pack_one(future.result(), self.line.definitions)
            elif isinstance(fate, Segment):
                yield index, fate.one(index)

    def close(self, count: int) -> None:
        """No more calls join it."""
        self.input_ended(count)

    def describe(self, count: int) -> str:
        """Its label: what people call it in a list of jobs."""
        self.label = self.name_of(0) + (f" and {count - 1:,} more" if count > 1 else "")
        return self.label

    def name_of(self, index: int) -> str:
        """Each item is called by its own function's name."""
        return f"{self.bases[index]}-{self.numbers[index]}"

    def job_of(self, index: int) -> str:
        """It is found by that name, too."""
        return self.name_of(index)

    @property
    def cut(self) -> BaseException | None:
        """It holds no results."""
        return self.lost or self.input_error or (self.missing(0) if self.count else None)

    def missing(self, index: int) -> BaseException | None:
        """The futures have the results."""
        if self.lost is None and self.count is not None and index < self.count:
            return ResultsGone(
                f"the results of {self.label} are held by the futures that submit returned, not by a job"
            )
        return super().missing(index)

    def find(self, name: str) -> Future[Any] | None:
        """The future of this name, if it is still somewhere."""
        base, _, digits = name.rpartition("-")
        number = int(digits) if digits.isdecimal() else 0
        for index in range(len(self.numbers)):
            if self.numbers[index] == number and self.bases[index] == base:
                return self.watched(index) or (self.members[index]() if index < len(self.members) else None)
        return None


class Batch:
    """A batch that is still open. Not thread-safe: the session's lock is held."""

    def __init__(
        self,
        record: BatchRecord,
        definitions: Definitions,
        counters: dict[str, int],
        store: ValueStore | None = None,
    ) -> None:
        self.record = record
        self.server = ""
        """The name of the server that all of its calls are for."""
        self.functions: list[bytes] = []
        self.parts: list[Parts] = []
        """What the functions are made of; the last one's context is the batch's."""
        self.together = 0
        """The most that a function of it says of how many items go together."""
        self.pages: list[Packed] = []
        self._definitions = definitions
        self._store = store
        self._counters = counters
        self._known: dict[int, tuple[int, str, Callable[..., Any]]] = {}
        self._numbers: dict[bytes, int] = {}
        self._calls: list[Call] = []
        self._framed: FramedPacker | None = None
        self._framed_definitions: dict[bytes, None] = {}
        self._also: dict[bytes, None] = {}
        self._references = Collector(record.line, record)

    def knows(self, function: Callable[..., Any], same: Callable[[Callable[..., Any]], bool]) -> bool:
        """Whether the function is in the table as it is now; `same` can tell."""
        return id(function) in self._known and same(function)

    def learn(
        self, function: Callable[..., Any], parts: Parts, digest: bytes, name: str, also: tuple[bytes, ...] = ()
    ) -> None:
        """Put a function into the table, as it is now; it is held, so that its id stays its own.

        `also` are the definitions that its results may name: pages name them too, for other clients that ask for those.
        """
        self._also.update(dict.fromkeys(also))
        if not self.parts or self.parts[-1] is not parts:
            self.parts.append(parts)
        number = self._numbers.setdefault(digest, len(self.functions))
        if number == len(self.functions):
            self.functions.append(digest)
            self.together = max(self.together, most_at_once(function))
        self._known[id(function)] = (number, name, function)

    def for_server(self, name: str) -> None:
        """All its calls are for this server, whose function the scheduler puts in."""
        self.server = name
        self._known[id(_no_function)] = (0, name, _no_function)

    def ask(self, value: Any) -> Future[Any]:
        """Add a call of the server's function."""
        return self.add(_no_function, (value,), {})

    def add(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future[Any]:
        """Add a call of a function that the table has."""
        number, name, _ = self._known[id(function)]
        record = self.record
        index = len(record.numbers)
        if _plain(map(type, args)) and (not kwargs or _plain(map(type, kwargs.values()))) and not _large(args, kwargs):
            if self._framed is not None:
                self._close_framed()
            self._calls.append((number, args, kwargs or _NO_KEYWORDS))
        else:
            self._add_framed(number, args, kwargs, name)
        counters = self._counters
        count = counters[name] = counters.get(name, 0) + 1
        record.bases.append(name)
        record.numbers.append(count)
        future: Future[Any] = Future(record, index)
        record.watch(index, future)
        if index < FINDABLE:
            record.members.append(weakref.ref(future))
        if self._references.cancelled:
            self._references.cancelled.clear()
            future.cancel()
        return future

    def close(self) -> list[Packed]:
        """The pages of all calls."""
        self._close_plain()
        self._close_framed()
        if self._also:
            return [
                replace(page, definitions=(*{**self._also, **dict.fromkeys(page.definitions)},)) for page in self.pages
            ]
        return self.pages

    def _add_framed(self, number: int, args: tuple[Any, ...], kwargs: dict[str, Any], name: str) -> None:
        references = self._references
        call = (number, args, kwargs)
        row = encode(call, self._definitions, self._store, name=f"an argument of {name}", references=references)
        self._close_plain()
        framed = self._framed
        if framed is not None and (
            (references.expected and references.crowds())
            or framed.nbytes >= PAGE_BYTES
            or framed.stored_nbytes > PAGE_STORED_BYTES
            or framed.count >= PAGE_ITEMS
            or framed.full(len(row.buffers))
        ):
            self._close_framed()
            framed = None
        if framed is None:
            framed = self._framed = FramedPacker()
        if references.expected:
            references.item(len(self.record.numbers), framed.count)
        framed.add(row.data, row.buffers, row.stored)
        self._framed_definitions.update(dict.fromkeys(row.definitions))

    def _close_plain(self) -> None:
        if self._calls:
            self.pages += plain_pages(self._calls, CALL)
            self._calls = []

    def _close_framed(self) -> None:
        if self._framed is not None:
            packed = self._framed.packed(CALL, tuple(self._framed_definitions))
            self.pages.append(self._references.page(packed))
            self._framed = None
            self._framed_definitions = {}


def _no_function() -> None:
    """Stands for one that only the cluster has."""


def _large(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether one of these plain arguments is to be stored."""
    return any(map(is_large, args)) or (bool(kwargs) and any(map(is_large, kwargs.values())))
