"""What a slot was sent: blobs, contexts, jobs with their functions and pages, and results that items waited for.

Owns: what is unpickled when: a function once, a plain page once, the items of other pages just before each run. Must not
know: bites, links.
"""

from bisect import bisect_right, insort
from collections.abc import Callable
from typing import Any, Final

from twistcluster.errors import ProtocolError
from twistcluster.nodes.slot_errors import ArgumentError, ContextError, describe
from twistcluster.storage.values import ValueStore, decode
from twistcluster.wire.frames import Buffer
from twistcluster.wire.functions import load_function
from twistcluster.wire.messages import Context, DropValues, ErrorInfo, OpenJob, Page, Values
from twistcluster.wire.pages import CALL, PLAIN, Packed, framed_item, stored_row, unpack_plain
from twistcluster.wire.values import Definitions

__all__ = ["Functions", "ItemInputs", "JobPage", "SlotJob", "Store", "ValuePage", "decode_row", "unloadable"]

WHOLE: Final = -1
"""The index of an input that is a whole job: the list of all its results."""


class Store:
    """Blobs by digest, and what was made of them."""

    def __init__(self, values: ValueStore | None = None) -> None:
        self.values = values
        """This host's; without one values travel in pages."""
        self.blobs: dict[bytes, Buffer] = {}
        self.contexts: dict[bytes, Context] = {}
        self.jobs: dict[int, SlotJob] = {}
        self.definitions = Definitions(in_slot=True)
        self.results: dict[int, list[ValuePage]] = {}
        """By job: pages of its results that items of others waited for, in order."""
        self._functions: dict[bytes, Callable[..., Any] | ContextError] = {}

    def blob(self, digest: bytes) -> bytes:
        """The bytes that a digest names."""
        try:
            return bytes(self.blobs[digest])
        except KeyError:
            raise ProtocolError(f"a blob was named that was never sent ({digest.hex()})") from None

    def forget(self, digests: list[bytes]) -> None:
        """They will be sent again before they are named again."""
        for digest in digests:
            self.blobs.pop(digest, None)
            self._functions.pop(digest, None)

    def keep_values(self, message: Values, buffers: list[Buffer]) -> None:
        """Results came that items wait for."""
        insort(self.results.setdefault(message.job, []), ValuePage(message, buffers), key=first_of)

    def drop_values(self, message: DropValues) -> None:
        """These won't be needed again."""
        gone = set(message.firsts)
        left = [page for page in self.results.get(message.job, ()) if page.first not in gone]
        if left:
            self.results[message.job] = left
        else:
            self.results.pop(message.job, None)

    def result(self, job: int, index: int) -> Any:
        """The result of an item of another job; of a whole job, all of them in a new list.

        Raises:
            ProtocolError: it was never sent.
        """
        pages = self.results.get(job, [])
        if index == WHOLE:
            return [decode_row(page, row, self) for page in pages for row in range(page.packed.count)]
        at = bisect_right(pages, index, key=first_of) - 1
        if at < 0 or index >= pages[at].first + pages[at].packed.count:
            raise ProtocolError(f"item {index} of job {job} is another's input, but it was never sent")
        return decode_row(pages[at], index - pages[at].first, self)

    def function(self, digest: bytes) -> Callable[..., Any]:
        """The function of a blob, unpickled once, so that a cache in a global works.

        Raises:
            ContextError: it can't be unpickled here.
        """
        known = self._functions.get(digest)
        if known is None:
            try:
                known = load_function(self.blob(digest), self.definitions)
            except BaseException as error:
                known = ContextError(unloadable(error))
            self._functions[digest] = known
        if isinstance(known, ContextError):
            raise known
        return known


class ValuePage:
    """A page of results as it came."""

    __slots__ = ("first", "packed", "values")

    def __init__(self, message: Values, buffers: list[Buffer]) -> None:
        self.first = message.first
        self.packed = Packed(message.kind, message.count, tuple(buffers))
        self.values: list[Any] | None = None


class Functions(dict[int, Callable[..., Any]]):
    """A job's functions by number, each unpickled when it is first called."""

    def __init__(self, store: Store, digests: list[bytes]) -> None:
        super().__init__()
        self._store = store
        self._digests = digests

    def __missing__(self, number: int) -> Callable[..., Any]:
        function = self[number] = self._store.function(self._digests[number])
        return function


class JobPage:
    """A page of items as it came."""

    __slots__ = ("count", "edges", "first", "packed", "plain", "shape", "values")

    def __init__(self, message: Page, buffers: list[Buffer]) -> None:
        self.first = message.first
        self.count = message.count
        self.packed: Packed | None = Packed(message.kind, message.count, tuple(buffers))
        self.shape = self.packed.shape
        self.plain = self.packed.packing == PLAIN
        self.values: list[Any] | None = None
        self.edges: dict[int, dict[int, tuple[int, int]]] = {}
        """By item and number of its input: the job and the index of what it waited for."""
        for edge in message.edges:
            self.edges.setdefault(message.first + edge.item, {})[edge.input] = edge.job, edge.index

    def plain_values(self) -> list[Any]:
        """All items of a plain page, decoded once."""
        if self.values is None:
            assert self.packed is not None
            self.values = unpack_plain(self.packed)
            self.packed = None
        return self.values

    def value(self, index: int, store: Store) -> Any:
        """One item; that of a framed page is unpickled anew at each call.

        Raises:
            ArgumentError: it can't be unpickled here.
        """
        if self.plain:
            return self.plain_values()[index - self.first]
        assert self.packed is not None
        data, buffers = framed_item(self.packed, index - self.first)
        try:
            inputs = ItemInputs(store, self, index)
            return decode(data, buffers, store.definitions, store.values, resolve=inputs)
        except BaseException as error:
            raise ArgumentError from error


class SlotJob:
    """A job in a slot."""

    def __init__(self, store: Store, message: OpenJob) -> None:
        self.message = message
        self.together = message.together > 1
        """Whether its items may go together (slot_batches.py)."""
        self._store = store
        self.functions = Functions(store, message.functions)
        self._firsts: list[int] = []
        self._pages: list[JobPage] = []

    def add(self, page: JobPage) -> None:
        """A page came."""
        at = bisect_right(self._firsts, page.first)
        if at and self._firsts[at - 1] == page.first:
            self._pages[at - 1] = page
        else:
            self._firsts.insert(at, page.first)
            self._pages.insert(at, page)

    def drop(self, firsts: list[int]) -> None:
        """These pages won't be needed again."""
        for first in firsts:
            at = bisect_right(self._firsts, first) - 1
            if at >= 0 and self._firsts[at] == first:
                del self._firsts[at], self._pages[at]

    def page(self, index: int) -> JobPage:
        """The page that an item stands in."""
        at = bisect_right(self._firsts, index) - 1
        if at < 0 or index >= self._pages[at].first + self._pages[at].count:
            raise ProtocolError(f"item {index} of job {self.message.job} is to be run, but its page was never sent")
        return self._pages[at]

    def call(self, shape: int, value: Any) -> Any:
        """Run one item, whatever its shape."""
        if shape == CALL:
            number, args, kwargs = value
            return self.functions[number](*args, **kwargs)
        return self.functions[0](*value) if shape else self.functions[0](value)


def first_of(page: ValuePage) -> int:
    """The first item of a page, to sort by."""
    return page.first


def decode_row(page: ValuePage, row: int, store: Store) -> Any:
    """One result of a page. That of a plain page can't be changed by an item, so the page is unpickled once."""
    packed = page.packed
    if packed.packing == PLAIN:
        if page.values is None:
            page.values = unpack_plain(packed)
        return page.values[row]
    data, buffers = framed_item(packed, row)
    return decode(data, buffers, store.definitions, store.values)


class ItemInputs:
    """What stands for the placeholders in one item's arguments (`wire.references.Resolver`)."""

    __slots__ = ("_index", "_page", "_store")

    def __init__(self, store: Store, page: JobPage, index: int) -> None:
        self._store = store
        self._page = page
        self._index = index

    def stored(self, id: bytes, nbytes: int) -> Any:  # noqa: A002 (the message's word)
        """A value in the host's store."""
        return decode(stored_row(id, nbytes), (), self._store.definitions, self._store.values)

    def input(self, number: int) -> Any:
        """The result that the item waited for, unpickled anew."""
        edge = self._page.edges.get(self._index, {}).get(number)
        if edge is None:
            raise ProtocolError(f"item {self._index} has no input {number}")
        return self._store.result(*edge)


def unloadable(error: BaseException) -> ErrorInfo:
    """What is told of a function that can't be unpickled in a slot."""
    info = describe(error, "context")
    what = "the function could not be rebuilt in the slot"
    advice = ""
    if isinstance(error, ImportError):
        advice = ". Install the module where the workers run, or put its file beside the notebook"
    return ErrorInfo("context", info.type, f"{what}: {info.message}{advice}", info.traceback)
