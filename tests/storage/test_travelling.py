"""Pages whose values are in a store, and pages that have them inside."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistcluster.errors import ProtocolError
from twistcluster.storage.travelling import packed_up, unpacked
from twistcluster.wire.messages import Edge, Stored
from twistcluster.wire.pages import (
    CALL,
    ONE,
    FramedPacker,
    Packed,
    framed_items,
    pack_plain,
    stored_in,
    stored_row,
)

LARGE = 65_536
BUFFERS = st.lists(st.sampled_from([b"", b"small", b"x" * LARGE, b"y" * (LARGE + 1)]), max_size=3)
VALUES = st.lists(
    st.tuples(st.sampled_from([b"\x80pickle", b"\x80" * LARGE, b"\x80" * (LARGE + 1)]), BUFFERS), max_size=5
)


def page(values, shape=ONE):
    packer = FramedPacker()
    for data, buffers in values:
        packer.add(data, buffers)
    return packer.packed(shape, (b"definition",))


def values_in(packed):
    return [(bytes(data), [bytes(each) for each in buffers]) for data, buffers in framed_items(packed)]


class Store:
    def __init__(self, room=100):
        self.parts, self.room = {}, room

    def put(self, parts):
        if not self.room:
            return None
        self.room -= 1
        name = len(self.parts).to_bytes(16, "big")
        self.parts[name] = parts
        return name, sum(map(len, parts))


@given(VALUES, st.sampled_from([ONE, CALL]), st.integers(0, 5))
def test_large_values_go_into_a_store_and_come_back(values, shape, room):
    store = Store(room)
    before = page(values, shape)
    there = packed_up(before, store.put)
    large = [at for at, (data, buffers) in enumerate(values) if len(data) + sum(map(len, buffers)) > LARGE]
    assert [each.item for each in there.objects] == large[:room]
    assert all(each.nbytes > LARGE for each in there.objects)
    back = unpacked(there, store.parts.get)
    assert values_in(back) == values and not back.objects
    assert (back.kind, back.count, back.definitions) == (before.kind, len(values), (b"definition",))


def test_a_value_that_is_in_no_store_stays_a_name():
    store = Store()
    there = packed_up(page([(b"\x80", [b"x" * (LARGE + n)]) for n in (1, 2)]), store.put)
    gone, _ = there.objects
    del store.parts[gone.id]
    back = unpacked(there, store.parts.get)
    assert back.objects == (gone,) and back.nbytes > LARGE


def test_what_has_nothing_large_is_left_as_it_is():
    plain, small = pack_plain([b"x" * 100_000]), page([(b"\x80", [b"x"])])
    for packed in (plain, small):
        assert packed_up(packed, Store(0).put) is packed and unpacked(packed, {}.get) is packed


def test_what_its_items_wait_for_stays_beside_it():
    packed = Packed(1, 1, page([(b"\x80", [b"x" * 100_000])]).buffers, edges=(Edge(0, 1, 2, 3),))
    assert packed_up(packed, Store().put).edges == (Edge(0, 1, 2, 3),)


@pytest.mark.parametrize("buffers", [(), (b"",), (bytes(31), b"x" * 100_000), (b"\xff" * 32, b"x" * 100_000)])
def test_what_is_no_page_is_refused(buffers):
    with pytest.raises(ProtocolError):
        unpacked(Packed(1, 1, buffers, objects=(Stored(0, bytes(16), 5),)), {}.get)


def test_what_is_named_already_stays_so():
    """A value that lies on the other host, and one that an item refers to."""
    store = Store()
    mixed = FramedPacker()
    mixed.add(stored_row(b"n" * 16, 5), (), (b"n" * 16, 5))
    mixed.add(b"\x80", [b"x" * LARGE])
    packed = mixed.packed()
    referred = Stored(1, b"r" * 16, 7)
    packed = packed_up(replace(packed, objects=(*packed.objects, referred)), store.put)
    (made,) = store.parts
    assert packed.objects == (Stored(0, b"n" * 16, 5), Stored(1, made, LARGE + 1), referred)
    assert [stored_in(data) for data, _ in framed_items(packed)] == [(b"n" * 16, 5), (made, LARGE + 1)]
