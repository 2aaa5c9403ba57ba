"""Futures, jobs and references as arguments: what stands for them in a pickle.

A result that is here already, and small, travels with the argument; one that lies in a store is named; what is still to
come is an *edge*, from the item to the one that it waits for. Owns: that choice, `Reference`, and what a page says of it.
Must not know: links, when a page is full.
"""

import itertools
import pickle
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Generic, NamedTuple, NoReturn, Protocol, TypeVar, cast

from twistcluster.client.futures import Future
from twistcluster.client.inputs import ALL, Node
from twistcluster.client.items import ItemRecord
from twistcluster.client.jobs import KINDS, Job
from twistcluster.client.lines import Line
from twistcluster.client.records import JobRecord
from twistcluster.client.results import Segment
from twistcluster.errors import ClusterUnreachable
from twistcluster.wire.limits import PAGE_STORED_BYTES
from twistcluster.wire.messages import Edge, Stored
from twistcluster.wire.pages import PLAIN_TYPES, Packed, stored_in
from twistcluster.wire.references import (
    HeldHereError,
    RefusedError,
    input_value,
    loaded_value,
    plain_call,
    stored_value,
    whole_value,
)

__all__ = ["Collector", "JobFutures", "Met", "Reference", "Store", "job_of", "stands_for_value"]

T = TypeVar("T")
Call = tuple[Any, ...]


class Store(Protocol):
    """The host's store, as a client uses it."""

    def get(self, id: bytes, nbytes: int) -> Any:  # noqa: A002 (the message's word)
        """Read it again."""

    def drop(self, id: bytes) -> None:  # noqa: A002
        """It won't be named any more. Called by the garbage collector, in any thread."""


class Reference(Generic[T]):
    """A value that was put into the cluster's store: as an argument it travels as its name, however large it is.

    Example:
        >>> table = cluster.put(numpy.zeros(10_000_000))                     # doctest: +SKIP
        >>> cluster.map(lambda table, i: table[i], [table] * 10, range(10))  # doctest: +SKIP
    """

    __slots__ = ("__weakref__", "_definitions", "_id", "_line", "_nbytes", "_store")

    def __init__(
        self,
        line: Line,
        store: Store,
        id: bytes,  # noqa: A002
        nbytes: int,
        definitions: tuple[bytes, ...] = (),
    ) -> None:
        self._definitions = definitions
        self._line = line
        self._store = store
        self._id = id
        self._nbytes = nbytes

    def __del__(self) -> None:
        self._store.drop(self._id)

    @property
    def id(self) -> str:
        """Its name in the store, hex."""
        return self._id.hex()

    @property
    def nbytes(self) -> int:
        """Bytes of the value, as it is stored."""
        return self._nbytes

    def __repr__(self) -> str:
        return f"<Reference {self.id}: {self._nbytes:,} bytes>"

    def __reduce__(self) -> NoReturn:
        raise HeldHereError("a reference can't be part of a result, or be pickled but as an argument: use its value")

    def result(self) -> T:
        """Return the value: a copy of its own for each call.

        Raises:
            ObjectLost: it is in no store any more, or gone with its cluster.
        """
        value: T = self._store.get(self._id, self._nbytes)
        return value


class Met(NamedTuple):
    """What one item names: see `Collector.take`."""

    void: bool
    numbers: dict[tuple[int, int], int]
    nodes: list[Node]
    stored: dict[bytes, int]
    held: list[object]
    definitions: dict[bytes, None]


class Collector:
    """What stands for futures, jobs and references in the arguments of one job's items (`wire.references.References`).

    After each item that was pickled with it and met something (`expected`), `item` says which one that was; `page`
    completes a page with what its items name.

    Args:
        line: Of the job: what belongs to another is refused.
        record: The job's, if there is one already; else `bind` it.
    """

    def __init__(self, line: Line, record: JobRecord | None = None) -> None:
        self.expected = False
        self.cancelled: list[int] = []
        """Items of which an input was cancelled here, as its cluster may not know: cancel them once they are sent."""
        self._line = line
        self._record = None if record is None else weakref.ref(record)
        self._unbound: list[tuple[int, tuple[object, ...], tuple[Node, ...]]] = []
        self._edges: list[Edge] = []
        self._objects: list[Stored] = []
        self._named: dict[bytes, int] = {}
        """What the page names in a store, with sizes: each counts once."""
        self._begin()

    # ---- of one item -----------------------------------------------------------------------------------------------

    @property
    def table(self) -> dict[type, Callable[[Any], Call]]:
        """What stands for what."""
        return {Future: self._future, Reference: self._reference, **dict.fromkeys(KINDS, self._job)}

    @property
    def definitions(self) -> tuple[bytes, ...]:
        """Of the classes that results need which travel with the argument."""
        return tuple(self._definitions)

    def begin(self) -> None:
        """An item is pickled from its start."""
        if self._numbers or self._stored or self._held or self._definitions:
            self._begin()
        self._met = False

    def _begin(self) -> None:
        self._met = self._void = False
        self._numbers: dict[tuple[int, int], int] = {}
        self._nodes: list[Node] = []
        self._stored: dict[bytes, int] = {}
        self._held: list[object] = []
        self._definitions: dict[bytes, None] = {}

    def crowds(self) -> bool:
        """Whether what the item names in a store is too much for the page that others are in."""
        named = self._named
        new = sum(nbytes for name, nbytes in self._stored.items() if name not in named)
        return bool(new and named) and new + sum(named.values()) > PAGE_STORED_BYTES

    def item(self, index: int, place: int) -> None:
        """What was pickled last is item `index` of the job, at this place of its page."""
        if not self._met:
            self.expected = False
            return
        if self._void:
            self.cancelled.append(index)
        if self._held:
            self._hold(index, tuple(self._held), tuple(self._nodes))
            for (job, other), number in self._numbers.items():
                self._edges.append(Edge(place, number, job, other))
            for name, nbytes in self._stored.items():
                self._objects.append(Stored(place, name, nbytes))
                self._named[name] = nbytes
        self._begin()

    def take(self) -> "Met | None":
        """What the item that was pickled last met, to be put back before `crowds` and `item`; None: nothing."""
        if not self._met:
            self.expected = False
            return None
        met = Met(self._void, self._numbers, self._nodes, self._stored, self._held, self._definitions)
        self._begin()
        return met

    def put_back(self, met: "Met") -> None:
        """It is as if that item had been pickled last."""
        self._met = self.expected = True
        self._void, self._numbers, self._nodes, self._stored, self._held, self._definitions = met

    # ---- of a page -------------------------------------------------------------------------------------------------

    def page(self, packed: Packed) -> Packed:
        """The page of the items since the last one, with what they name."""
        if not self._edges and not self._objects:
            return packed
        packed = replace(packed, objects=(*packed.objects, *self._objects), edges=tuple(self._edges))
        self._edges, self._objects, self._named = [], [], {}
        return packed

    def bind(self, record: JobRecord) -> None:
        """The job was opened."""
        self._record = weakref.ref(record)
        unbound, self._unbound = self._unbound, []
        for each in unbound:
            self._hold(*each)

    def _hold(self, index: int, held: tuple[object, ...], nodes: tuple[Node, ...]) -> None:
        if self._record is None:
            self._unbound.append((index, held, nodes))
            return
        record = self._record()
        if record is None:
            return  # nobody asks for it any more
        if any(other is record and number in {index, ALL} for other, number in nodes):
            raise ValueError(f"{record.name_of(index)} would wait for itself: it could never run. Pass something else")
        record.hold(index, held, nodes)

    # ---- what stands for what --------------------------------------------------------------------------------------

    def _future(self, future: Future[Any]) -> Call:
        self._met = self.expected = True
        future = _original(future)
        record, index = cast("JobRecord", future._owner), future.index  # noqa: SLF001 (the other half of it)
        _usable(record.line, self._line, f"the future {future.name}", "result()")
        fate = future.fate()
        if future.cancelled():
            self._void = True
            return input_value, (-1,)
        if future.done():
            if fate is None:  # decoded: the job may still have what came
                known = record.fate(index)
                if not isinstance(known, Segment):
                    return _whole(future.result())
                fate = known
            if isinstance(fate, Segment):
                return self._result(future, record, fate, index)
        future.pass_on()
        record.lend(future)
        return self._edge(record, index, future)

    def _result(self, future: Future[Any], record: JobRecord, segment: Segment, index: int) -> Call:
        if segment.is_plain:
            return plain_call(record.item(segment, index))
        self._definitions.update(dict.fromkeys(segment.packed.definitions))
        data, buffers = segment.row(index)
        stored = stored_in(data)
        if stored is not None:
            return self._name(*stored, future)
        return loaded_value, (bytes(data), [*map(pickle.PickleBuffer, buffers)])

    def _job(self, job: Job[Any]) -> Call:
        self._met = self.expected = True
        record = job._record  # noqa: SLF001 (the other half of it)
        if isinstance(record, ItemRecord):
            return list, ([record.future_of_it],)
        _usable(record.line, self._line, f"the job {job.name}", "results()")
        record.hurry()
        return self._edge(record, ALL, record)

    def _reference(self, reference: Reference[Any]) -> Call:
        self._met = self.expected = True
        _usable(reference._line, self._line, f"the reference {reference.id}", "result()", put=True)  # noqa: SLF001 (as above)
        self._definitions.update(dict.fromkeys(reference._definitions))  # noqa: SLF001
        return self._name(reference._id, reference.nbytes, reference)  # noqa: SLF001

    def _edge(self, record: JobRecord, index: int, held: object) -> Call:
        key = record.number, index
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._numbers)
            self._held.append(held)
            self._nodes.append((record, index))
        return input_value, (number,)

    def _name(self, name: bytes, nbytes: int, held: object) -> Call:
        self._stored[name] = nbytes
        self._held.append(held)
        return stored_value, (name, nbytes)


class JobFutures:
    """The futures of a job's items, one by one, as far as it is known that there are such items."""

    def __init__(self, record: JobRecord) -> None:
        self.record = record

    def __iter__(self) -> Iterator[Future[Any]]:
        record = self.record
        for index in itertools.count():
            if record.count is None:
                record.wait_for(lambda: record.count is not None or record.fate(index) is not None, None)  # noqa: B023 (asked before `index` changes)
            if record.fate(index) is None and (record.count is None or index >= record.count):
                break
            yield record.future_to_pass(index)
        if record.cut is not None:
            raise record.cut


def job_of(iterable: object, line: Line) -> JobRecord | None:
    """The record of a job of this line, but not of one that shows a future; None: it is something else."""
    if not isinstance(iterable, Job):
        return None
    record = iterable._record  # noqa: SLF001
    return record if record.line is line and not isinstance(record, ItemRecord) else None


def stands_for_value(value: object) -> bool:
    """Whether an item that this is an argument of sees something else: a result, results, or what was put."""
    return type(value) in {Future, Reference} or type(value) in KINDS


def _original(future: Future[Any]) -> Future[Any]:
    """The future of a job that the cluster knows."""
    owner = future._owner  # noqa: SLF001
    return _original(owner.future_of_it) if isinstance(owner, ItemRecord) else future


def _usable(its: Line, line: Line, what: str, instead: str, *, put: bool = False) -> None:
    """Raise `RefusedError` if something of one line can't be named on another."""
    if its is line:
        return
    if its.lost is not None:
        after = (
            "cluster.put its value again, in this cluster"
            if put
            else f"if it was done, pass its {instead}; else submit it again, to this cluster"
        )
        raise RefusedError(ClusterUnreachable(f"{what} belongs to a cluster whose link is gone: {after}"))
    raise RefusedError(ValueError(f"{what} belongs to another cluster: pass its {instead}"))


def _whole(value: Any) -> Call:
    return plain_call(value) if type(value) in PLAIN_TYPES else (whole_value, (value,))
