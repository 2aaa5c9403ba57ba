"""What came back of a job, encoded until somebody asks.

Owns: runs of results (`Segment`), failures (`ItemFailure`), and how either becomes values and exceptions of this
process. Decoding happens in the thread that asks. Must not know: links, waiting, who asks.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from twistcluster.client.tracebacks import with_source_lines
from twistcluster.errors import (
    Cancelled,
    ClusterUnreachable,
    DependencyFailed,
    NotPicklable,
    ObjectLost,
    RemoteError,
    RemoteTraceback,
    ResultsGone,
    ServerNotFound,
    StoreFull,
    TaskTimeout,
    TwistclusterError,
    WorkerCrashed,
    WorkerLost,
)
from twistcluster.storage.layout import ObjectGone
from twistcluster.storage.values import NotRestoredError, Readable, decode
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import ErrorInfo
from twistcluster.wire.pages import FRAMED, FramedPacker, Packed, framed_item, pack_plain, stored_in, unpack_plain
from twistcluster.wire.values import Definitions, dumps, loads

__all__ = ["ItemFailure", "Segment", "Segments", "cancelled_error", "pack_one", "size_of"]

WHY: dict[str, type[TwistclusterError]] = {
    "crashed": WorkerCrashed,
    "timeout": TaskTimeout,
    "lost": WorkerLost,
    "gone": ObjectLost,
    "input": DependencyFailed,
    "argument": NotPicklable,
    "result": NotPicklable,
    "server": ServerNotFound,
}
"""What an item's failure is, where it isn't an exception of the item's own."""


LET_GO = Packed(FRAMED, 0, ())
"""In the place of results that nobody could ask for."""


class Segment:
    """Results of items `start` to `stop`, as they came: `offset` is where they begin in `packed`."""

    __slots__ = ("_store", "_values", "definitions", "offset", "packed", "start", "stop")

    def __init__(
        self,
        start: int,
        stop: int,
        packed: Packed,
        offset: int,
        definitions: Definitions,
        store: Readable | None = None,
    ) -> None:
        self.start = start
        self.stop = stop
        self.packed = packed
        self.offset = offset
        self.definitions = definitions
        self._store = store
        self._values: list[Any] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether its results are decoded all at once."""
        return not self.packed.kind & FRAMED

    def values(self, first: int, deadline: float | None = None) -> Iterable[Any]:
        """The results of items `first` to `stop`: a list where they are plain, else decoded one by one."""
        at = self.offset + first - self.start
        if self.packed.kind & FRAMED:
            return self._framed(first, deadline)
        values = self._values or unpack_plain(self.packed)
        end = at + self.stop - first
        return values if at == 0 and end == len(values) else values[at:end]

    def item(self, index: int, deadline: float | None = None) -> Any:
        """One result. Plain ones are decoded all together, and stay decoded until `forget`.

        Raises:
            NotRestoredError: It was lost, and isn't there again at `deadline`.
        """
        at = self.offset + index - self.start
        if self.packed.kind & FRAMED:
            return self._load(at, index, deadline)
        values = self._values  # another thread may `forget` meanwhile
        if values is None:
            values = self._values = unpack_plain(self.packed)
        return values[at]

    def one(self, index: int) -> Packed:
        """One result, packed alone."""
        if not self.packed.kind & FRAMED:
            return pack_plain([self.item(index)])
        if self.packed.objects:  # packed alone already
            return self.packed
        data, buffers = framed_item(self.packed, self.offset + index - self.start)
        packer = FramedPacker()
        packer.add(bytes(data), buffers)
        return packer.packed(definitions=self.packed.definitions)

    def row(self, index: int) -> tuple[Buffer, list[Buffer]]:
        """One result of those that aren't plain, as it came."""
        return framed_item(self.packed, self.offset + index - self.start)

    def stored(self, index: int) -> tuple[bytes, int] | None:
        """Id and size of one result, if it is in a store."""
        return stored_in(self.row(index)[0]) if self.packed.objects else None

    def nbytes(self, index: int) -> int:
        """Of one result, pickled."""
        if self.is_plain:
            return size_of(self.item(index))
        data, buffers = self.row(index)
        stored = stored_in(data)
        return stored[1] if stored else len(data) + sum(memoryview(buffer).nbytes for buffer in buffers)

    @property
    def first(self) -> int:
        """The first item of the page that it is a part of."""
        return self.start - self.offset

    @property
    def stored_nbytes(self) -> int:
        """Bytes of them that lie in a store."""
        return sum(each.nbytes for each in self.packed.objects)

    def without_values(self) -> "Segment":
        """What stays of results that were let go."""
        return Segment(self.start, self.stop, LET_GO, self.offset, self.definitions)

    def forget(self) -> None:
        """Keep the encoded form only."""
        self._values = None

    def _framed(self, first: int, deadline: float | None) -> Iterator[Any]:
        for index in range(first, self.stop):
            yield self._load(self.offset + index - self.start, index, deadline)

    def _load(self, at: int, index: int, deadline: float | None) -> Any:
        if self.packed is LET_GO:
            raise ResultsGone(
                f"the result of item {index} was let go, as no variable held the job: keep it, as in job = cluster.map(…)"
            )
        data, buffers = framed_item(self.packed, at)
        try:
            return decode(data, buffers, self.definitions, self._store, deadline=deadline)
        except ObjectGone as error:
            raise ObjectLost(f"the result of item {index} is in no store any more: {error}") from error
        except ClusterUnreachable as error:  # asked to make it again
            raise ObjectLost(
                f"the result of item {index} is gone with its cluster: {error}\nSubmit it again there"
            ) from error
        except (ObjectLost, NotRestoredError):
            raise
        except Exception as error:
            raise NotPicklable(
                f"the result of item {index} can't be unpickled here ({type(error).__name__}: {error}): "
                "import what it is made of, or have the function return something simpler"
            ) from error


class Segments:
    """A job's results by item, sorted."""

    __slots__ = ("_segments", "_starts")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._segments: list[Segment] = []

    def __iter__(self) -> Iterator[Segment]:
        return iter(self._segments)

    def add(self, segment: Segment) -> None:
        """Add one; it must not overlap what is there."""
        starts = self._starts
        if not starts or segment.start > starts[-1]:
            starts.append(segment.start)
            self._segments.append(segment)
            return
        at = bisect_right(starts, segment.start)
        starts.insert(at, segment.start)
        self._segments.insert(at, segment)

    def replace(self, segment: Segment, other: Segment) -> None:
        """Another takes the place of one that is there."""
        at = bisect_right(self._starts, segment.start) - 1
        if at >= 0 and self._segments[at] is segment:
            self._segments[at] = other

    def find(self, index: int) -> Segment | None:
        """The one that holds this item."""
        at = bisect_right(self._starts, index) - 1
        if at < 0 or index >= self._segments[at].stop:
            return None
        return self._segments[at]


class ItemFailure:
    """An item that failed: what is known without unpickling, and the pickled exception where there is one."""

    __slots__ = ("_definitions", "_error", "_name", "buffers", "find_cause", "index", "info")

    def __init__(self, index: int, info: ErrorInfo, buffers: list[Buffer], definitions: Definitions, name: str) -> None:
        self.index = index
        self.info = info
        self.buffers = buffers
        self.find_cause: Callable[[], ItemFailure | None] | None = None
        """Gives the failure of what the item waited for, if that is known here."""
        self._definitions = definitions
        self._name = name
        self._error: BaseException | None = None

    @property
    def traceback(self) -> str:
        """The remote traceback, with the lines of this process's own cells; empty where there is none."""
        return with_source_lines(self.info.traceback)

    def exception(self) -> BaseException:
        """The exception to raise: the item's own with the remote traceback as its cause. The same one each time."""
        if self._error is None and self.info.why == "input":
            self._error = self._of_input()
        if self._error is None:
            error = self._rebuilt() or self._described()
            if self.info.traceback:
                error.__cause__ = RemoteTraceback(self.traceback)
            self._error = error
        return self._error

    def _of_input(self) -> BaseException:
        """Its cause is the exception of what the item waited for."""
        error = self._described()
        cause = self._rebuilt()
        if cause is not None and self.info.traceback:
            cause.__cause__ = RemoteTraceback(self.traceback)
        if cause is None:
            cause = self._cause_here()
        if cause is None and self.info.traceback:
            cause = RemoteTraceback(self.traceback)
        error.__cause__ = cause
        return error

    def _cause_here(self) -> BaseException | None:
        """The exception of the first that failed, as far as that is known here. Chains may be long, or circles."""
        seen = {id(self)}
        failure = self.find_cause() if self.find_cause is not None else None
        while failure is not None and id(failure) not in seen:
            seen.add(id(failure))
            if failure.info.why != "input":
                return failure.exception()
            if failure.buffers or failure.find_cause is None:
                return failure.exception().__cause__
            failure = failure.find_cause()
        return None

    def _rebuilt(self) -> BaseException | None:
        if not self.buffers:
            return None
        try:
            error = loads(self.buffers[0], self.buffers[1:], self._definitions)
        except Exception:  # a class that isn't here, a constructor that wants more: described instead
            return None
        return error if isinstance(error, BaseException) else None

    def _described(self) -> BaseException:
        info = self.info
        kind = StoreFull if (info.why, info.type) == ("result", "StoreFull") else WHY.get(info.why)
        if kind is None:
            return RemoteError(f"{info.type}: {info.message}" if info.message else info.type)
        return kind(f"{self._name}: {info.message}")


def pack_one(value: Any, definitions: Definitions) -> Packed:
    """A result that was decoded, packed again."""
    encoded = dumps(value, definitions)
    packer = FramedPacker()
    packer.add(encoded.data, encoded.buffers)
    return packer.packed(definitions=encoded.definitions)


def size_of(value: Any) -> int:
    """Bytes of a value's pickle and its buffers."""
    encoded = dumps(value, copy=False)
    return len(encoded.data) + sum(memoryview(buffer).nbytes for buffer in encoded.buffers)


def cancelled_error(name: str) -> Cancelled:
    """What asking for a cancelled item raises."""
    return Cancelled(f"{name} was cancelled; submit it again to run it")
