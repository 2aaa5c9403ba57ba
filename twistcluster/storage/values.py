"""Values of one process on their way to and from its host's store.

Owns: which values go there, and how one of them becomes a value again. Must not know: jobs, links, who counts.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from twistcluster.errors import AccessDenied
from twistcluster.storage.folder import READ_ONLY, check
from twistcluster.storage.layout import ObjectGone
from twistcluster.storage.mappings import settle
from twistcluster.storage.pool import Pool
from twistcluster.storage.reader import Reader
from twistcluster.wire.frames import Buffer
from twistcluster.wire.limits import STORED_BYTES
from twistcluster.wire.pages import stored_in, stored_row
from twistcluster.wire.references import References, Resolver
from twistcluster.wire.values import Definitions, cannot_change, dumps, loads

__all__ = ["Held", "NotRestoredError", "Readable", "Row", "ValueStore", "decode", "encode", "is_large", "usable"]


class Row(NamedTuple):
    """A value as it stands in a page: a pickle with its buffers, or the name of what is in the store."""

    data: bytes
    buffers: Sequence[Buffer] = ()
    definitions: tuple[bytes, ...] = ()
    stored: tuple[bytes, int] | None = None
    """Its id and size in the store."""


class Held(NamedTuple):
    """A value as it lies in a store."""

    parts: Sequence[Buffer]
    version: bytes
    """Of no other bytes, in no other process."""


class NotRestoredError(TimeoutError):
    """A lost value isn't made again by the time until which somebody wanted to wait. It goes on."""


class Readable(Protocol):
    """Where values are read that a page only names."""

    def parts(self, name: bytes, deadline: float | None = None) -> list[memoryview]:
        """A value's pickle and its buffers: private memory, writable.

        Raises:
            ObjectGone: It isn't there.
            NotRestoredError: It isn't there again at this time.
        """


class ValueStore:
    """The store of this host, as one process uses it.

    Args:
        folder: Of the store; checked by whoever got the path.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.restore: Callable[[bytes, float | None], None] | None = None
        """Has a lost value made again and returns when it is there; a client has one. It is given the deadline of who
        asks, and raises `NotRestoredError` then; `ObjectLost` if it can't be made again."""
        self._pool = Pool(folder)
        self._reader = Reader(folder)

    @property
    def capacity(self) -> int:
        """Bytes of the file system in which values lie first, used or not; 0 where that has no limit."""
        return self._pool.capacity

    @property
    def writes(self) -> bool:
        """Whether values are put here; else they travel in their pages, and only copies of others' are here."""
        return not os.path.exists(f"{self.folder}/{READ_ONLY}")

    @property
    def maker(self) -> bytes:
        """What the ids of all values that are put here by this process begin with."""
        return self._pool.maker

    def put(self, parts: Sequence[Buffer]) -> tuple[bytes, int]:
        """Store a pickle and its buffers; returns id and size.

        Raises:
            StoreFull: There is no room, in memory or on disk.
        """
        return self._pool.write(parts)

    def parts(self, name: bytes, deadline: float | None = None) -> list[memoryview]:
        """What was put: private memory, writable.

        Raises:
            ObjectGone: It isn't there.
            NotRestoredError: It was lost, and isn't there again at this time (of the clock of `restore`).
        """
        try:
            return self._reader.read(name)
        except ObjectGone:
            if self.restore is None:
                raise
        self.restore(name, deadline)
        return self._reader.read(name)

    def held(self, name: bytes) -> Held | None:
        """A value and which version of it that is; None: it isn't here."""
        try:
            while True:
                version = self._reader.version(name)
                parts = self._reader.read(name)
                if self._reader.version(name) == version:
                    return Held(parts, self._pool.maker + version)
        except ObjectGone:
            return None

    def copy(self, name: bytes, parts: Sequence[Buffer], sizes: Sequence[int] | None = None) -> None:
        """Store a value that another host's store has, under its id.

        Args:
            name: its id.
            parts: its pickle and the buffers.
            sizes: of the parts, where `parts` are pieces of them, cut anywhere.

        Raises:
            StoreFull: There is no room.
        """
        self._pool.write(parts, name, sizes)

    def has(self, name: bytes) -> bool:
        """Whether this value can be read here, now."""
        try:
            self._reader.read(name)
        except ObjectGone:
            return False
        return True

    def freed(self, ids: Iterable[bytes]) -> None:
        """Nobody can ask for these any more: their memory may be used again."""
        self._pool.recycle(ids)

    def close(self) -> None:
        """This process is about to put nothing more: its free memory is given back. What it read stays readable."""
        self._pool.close()
        settle()


def encode(
    value: object,
    definitions: Definitions,
    store: ValueStore | None,
    *,
    name: str = "value",
    copy: bool = True,
    references: References | None = None,
) -> Row:
    """Pickle a value, into the store if it is large.

    Args:
        value: Any value.
        definitions: This process's book.
        store: Without one every value travels in its page.
        name: What the value is called in an error ("item 17").
        references: What stands for objects that don't travel themselves.
        copy: Whether what doesn't go into the store is a copy, too, so that it can't change with the value.

    Raises:
        NotPicklable: With the part that can't be pickled.
        StoreFull: There is no room for it.
    """
    encoded = dumps(value, definitions, name=name, copy=False, references=references)
    data, buffers = encoded.data, encoded.buffers
    if store is not None and len(data) + sum(map(_nbytes, buffers)) > STORED_BYTES and store.writes:
        named = store.put([data, *buffers])
        return Row(stored_row(*named), (), encoded.definitions, named)
    if copy and buffers:
        buffers = [each if cannot_change(each) else bytes(each) for each in buffers]
    return Row(data, buffers, encoded.definitions)


def decode(
    data: Buffer,
    buffers: Sequence[Buffer],
    definitions: Definitions,
    store: Readable | None,
    *,
    copy: bool = True,
    resolve: Resolver | None = None,
    deadline: float | None = None,
) -> Any:
    """Make a value of its row. Its arrays are writable where they were, and nobody else's.

    Raises:
        ObjectGone: It was in the store, and is no more.
        NotRestoredError: It was lost, and isn't there again at `deadline`.
        BaseException: Whatever unpickling raises.
    """
    named = stored_in(data)
    if named is None:
        return loads(data, buffers, definitions, copy=copy, resolve=resolve)
    if store is None:
        raise ObjectGone(f"value {named[0].hex()} is in the store of another host", named[0])
    first, *others = store.parts(named[0], deadline)
    return loads(first, others, definitions, copy=False, resolve=resolve)


def _nbytes(buffer: Buffer) -> int:
    return buffer.nbytes if isinstance(buffer, memoryview) else len(buffer)


def usable(path: str) -> str:
    """The folder of a store, if this process may use it; else empty: it is on another host, or not ours."""
    if not path:
        return ""
    try:
        check(path)
    except AccessDenied:
        return ""
    return path


def is_large(value: object) -> bool:
    """Whether a plain value is to be stored."""
    return type(value) in {str, bytes} and len(value) > STORED_BYTES  # type: ignore[arg-type]
