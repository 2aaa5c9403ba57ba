"""What this program can still ask for of what lies in a store.

Owns: a handle for each time that the scheduler was told, or told us, of such a value. Must not know: links, what the value
is.
"""

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from twistcluster.errors import ClusterUnreachable, ObjectLost, StoreFull
from twistcluster.storage.layout import ObjectGone
from twistcluster.storage.values import ValueStore, decode
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import Stored
from twistcluster.wire.pages import FramedPacker, Packed, framed_item, stored_row
from twistcluster.wire.values import Definitions, dumps

__all__ = ["ClientStore", "Handle", "Put", "StoreElsewhere", "singly"]


class Handle:
    """A value in a store. When the last who has this lets go of it the scheduler hears that the value isn't needed here.

    Args:
        stored: Its id and size.
        drop: Called with the id, by the garbage collector: in any thread, with any lock held.
    """

    __slots__ = ("_drop", "id", "nbytes")

    def __init__(self, stored: Stored, drop: Callable[[bytes], None]) -> None:
        self.id = stored.id
        self.nbytes = stored.nbytes
        self._drop = drop

    def __del__(self) -> None:
        self._drop(self.id)


class Put(NamedTuple):
    """A value that was put into a cluster's store."""

    stored: Stored
    definitions: tuple[bytes, ...]
    """The digests of those that it needs."""
    parts: Sequence[Buffer] = ()
    """Its pickle and the buffers, where they are to be sent to the store."""


class ClientStore:
    """The host's store, as one who passes references uses it.

    Args:
        values: The store; None: the cluster has none here.
        definitions: This process's book.
        drop: As a `Handle`'s.
    """

    def __init__(self, values: ValueStore | None, definitions: Definitions, drop: Callable[[bytes], None]) -> None:
        self._values = values
        self._definitions = definitions
        self.drop = drop

    def put(self, value: object) -> Put:
        """Write a value."""
        encoded = dumps(value, self._definitions, name="the value", copy=False)
        name, nbytes = self._there().put([encoded.data, *encoded.buffers])
        return Put(Stored(0, name, nbytes), encoded.definitions)

    def get(self, id: bytes, nbytes: int) -> Any:  # noqa: A002 (the message's word)
        """Read it again.

        Raises:
            ObjectLost: It is there no more.
        """
        try:
            return decode(stored_row(id, nbytes), (), self._definitions, self._there())
        except ObjectGone as error:
            raise ObjectLost(f"the value of the reference {id.hex()} is in no store any more: put it again") from error
        except ClusterUnreachable as error:  # asked for it
            raise ObjectLost(
                f"the value of the reference {id.hex()} is gone with its cluster: {error}\n"
                "put it again there: a reference belongs to the cluster that it was put into"
            ) from error

    def _there(self) -> ValueStore:
        if self._values is None:
            raise StoreFull("this cluster has no store on this host (TWISTCLUSTER_STORE=off): pass the value itself")
        return self._values


class StoreElsewhere(ClientStore):
    """The store of a cluster on another host: what is put there travels, and a copy of it stays here as long as its
    reference does.

    Args:
        definitions: This process's book.
        drop: As a `Handle`'s.
    """

    def __init__(self, definitions: Definitions, drop: Callable[[bytes], None]) -> None:
        super().__init__(None, definitions, self._dropped)
        self._drop = drop
        self._maker = os.urandom(8)
        self._numbers = itertools.count()
        self._copies: dict[bytes, tuple[bytes, list[Buffer]]] = {}
        self.is_there = True
        """The cluster's host has a store."""

    def put(self, value: object) -> Put:
        """Make it ready to be sent."""
        if not self.is_there:
            raise StoreFull("this cluster has no store on its host (TWISTCLUSTER_STORE=off): pass the value itself")
        encoded = dumps(value, self._definitions, name="the value", copy=True)
        name = self._maker + next(self._numbers).to_bytes(8, "big")
        parts = [encoded.data, *encoded.buffers]
        self._copies[name] = encoded.data, [*encoded.buffers]
        nbytes = sum(memoryview(part).nbytes for part in parts)
        return Put(Stored(0, name, nbytes), encoded.definitions, parts)

    def get(self, id: bytes, nbytes: int) -> Any:  # noqa: A002 (the message's word)
        """The value again, from the copy."""
        data, buffers = self._copies[id]
        return decode(data, buffers, self._definitions, None)

    def _dropped(self, name: bytes) -> None:
        self._copies.pop(name, None)
        self._drop(name)


def singly(packed: Packed, drop: Callable[[bytes], None]) -> Iterator[Packed]:
    """The values of a page of which some are in a store, each packed alone: so that each is let go of alone."""
    stored = {each.item: each for each in packed.objects}
    for index in range(packed.count):
        data, buffers = framed_item(packed, index)
        packer = FramedPacker()
        packer.add(bytes(data), buffers)
        one = packer.packed(packed.shape, packed.definitions)
        here = stored.get(index)
        if here is not None:
            one = replace(one, objects=(Stored(0, here.id, here.nbytes),), held=Handle(here, drop))
        yield one
