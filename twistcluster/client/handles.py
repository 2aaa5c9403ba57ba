"""What this program can still ask for of what lies in a store.

Owns: a handle for each time that the scheduler was told, or told us, of such a value. Must not know: links, what the value
is.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from twistcluster.wire.messages import Stored
from twistcluster.wire.pages import FramedPacker, Packed, framed_item

__all__ = ["Handle", "singly"]


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
