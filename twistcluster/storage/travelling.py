"""Pages whose large values lie in a store, and pages that have them inside: one is made of the other.

Who has no store in common with the maker of a page can't read what it only names. A stored value is its pickle and its
buffers, as they stand in a framed page: so nothing is unpickled here. Owns: that. Must not know: messages, links, who
counts.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from twistcluster.wire.frames import Buffer
from twistcluster.wire.limits import STORED_BYTES
from twistcluster.wire.pages import FRAMED, FramedPacker, Packed, framed_items, stored_in, stored_row

__all__ = ["packed_up", "unpacked"]


def unpacked(packed: Packed, read: Callable[[bytes], Sequence[Buffer] | None]) -> Packed:
    """The page with its values inside that it names.

    Args:
        packed: a page; one that names nothing is returned as it is. What its values refer to stays outside, and named.
        read: gives a value's parts, by its id; None: it is in no store, and stays a name.

    Raises:
        ProtocolError: the page isn't one.
    """
    if not packed.objects:
        return packed

    put_inside: set[bytes] = set()

    def inside(data: Buffer, buffers: list[Buffer]) -> tuple[Buffer, Sequence[Buffer], tuple[bytes, int] | None]:
        named = stored_in(data)
        if named is None:
            return data, buffers, None
        parts = read(named[0])
        if parts is None:
            return data, (), named
        put_inside.add(named[0])
        return parts[0], parts[1:], None

    made = _again(packed, inside)
    return replace(made, objects=tuple(each for each in packed.objects if each.id not in put_inside))


def packed_up(packed: Packed, put: Callable[[Sequence[Buffer]], tuple[bytes, int] | None]) -> Packed:
    """The page with its large values put into a store, and named.

    Args:
        packed: a page; one without large values is returned as it is, and so is a plain one. What it names already
            stays named.
        put: stores a value's parts and gives its id and size; None: there is no room, so it stays inside.

    Raises:
        ProtocolError: the page isn't one.
    """
    if packed.packing != FRAMED or packed.nbytes <= STORED_BYTES:
        return packed

    def outside(data: Buffer, buffers: list[Buffer]) -> tuple[Buffer, Sequence[Buffer], tuple[bytes, int] | None]:
        if (there := stored_in(data)) is not None:
            return data, (), there
        if len(data) + sum(map(len, buffers)) <= STORED_BYTES or (named := put([data, *buffers])) is None:
            return data, buffers, None
        return stored_row(*named), (), named

    made = _again(packed, outside)
    rows = {each.id for each in made.objects}
    return replace(made, objects=(*made.objects, *(each for each in packed.objects if each.id not in rows)))


_Row = tuple[Buffer, Sequence[Buffer], tuple[bytes, int] | None]


def _again(packed: Packed, change: Callable[[Buffer, list[Buffer]], _Row]) -> Packed:
    packer = FramedPacker()
    for data, buffers in framed_items(packed):
        row, parts, named = change(data, buffers)
        packer.add(bytes(row), parts, named)
    made = packer.packed(packed.shape, packed.definitions)
    return Packed(made.kind, made.count, made.buffers, made.definitions, made.objects, packed.edges, packed.held)
