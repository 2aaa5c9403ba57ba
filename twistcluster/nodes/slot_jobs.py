"""What a slot was sent: blobs, contexts, jobs with their functions and pages.

Owns: what is unpickled when: a function once, a plain page once, the items of other pages just before each run. Must not
know: bites, links.
"""

from bisect import bisect_right
from collections.abc import Callable
from typing import Any

from twistcluster.errors import ProtocolError
from twistcluster.nodes.slot_errors import ArgumentError, ContextError, describe
from twistcluster.storage.values import ValueStore, decode
from twistcluster.wire.frames import Buffer
from twistcluster.wire.functions import load_function
from twistcluster.wire.messages import Context, ErrorInfo, OpenJob, Page
from twistcluster.wire.pages import CALL, PLAIN, Packed, framed_item, unpack_plain
from twistcluster.wire.values import Definitions

__all__ = ["Functions", "JobPage", "SlotJob", "Store", "unloadable"]


class Store:
    """Blobs by digest, and what was made of them."""

    def __init__(self, values: ValueStore | None = None) -> None:
        self.values = values
        """This host's; without one values travel in pages."""
        self.blobs: dict[bytes, Buffer] = {}
        self.contexts: dict[bytes, Context] = {}
        self.jobs: dict[int, SlotJob] = {}
        self.definitions = Definitions(in_slot=True)
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

    __slots__ = ("count", "first", "packed", "plain", "shape", "values")

    def __init__(self, message: Page, buffers: list[Buffer]) -> None:
        self.first = message.first
        self.count = message.count
        self.packed: Packed | None = Packed(message.kind, message.count, tuple(buffers))
        self.shape = self.packed.shape
        self.plain = self.packed.packing == PLAIN
        self.values: list[Any] | None = None

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
            return decode(data, buffers, store.definitions, store.values)
        except BaseException as error:
            raise ArgumentError from error


class SlotJob:
    """A job in a slot."""

    def __init__(self, store: Store, message: OpenJob) -> None:
        self.message = message
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


def unloadable(error: BaseException) -> ErrorInfo:
    """What is told of a function that can't be unpickled in a slot."""
    info = describe(error, "context")
    what = "the function could not be rebuilt in the slot"
    advice = ""
    if isinstance(error, ImportError):
        advice = ". Install the module where the workers run, or put its file beside the notebook"
    return ErrorInfo("context", info.type, f"{what}: {info.message}{advice}", info.traceback)
