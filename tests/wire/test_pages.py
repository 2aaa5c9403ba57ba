"""Pages give back what was packed; a bad table is a ProtocolError."""

import contextlib
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistcluster.errors import ProtocolError
from twistcluster.wire.pages import (
    ARGS,
    CALL,
    FRAMED,
    ONE,
    PLAIN,
    FramedPacker,
    Packed,
    all_plain,
    framed_item,
    framed_items,
    is_plain,
    kind_of,
    pack_plain,
    unpack_plain,
)

PLAIN_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=9), st.binary(max_size=9)
)
ITEMS = st.lists(st.tuples(st.binary(max_size=30), st.lists(st.binary(max_size=5), max_size=3)), max_size=20)


class Sub(int):
    pass


@given(st.lists(PLAIN_VALUES))
def test_plain_values_survive(values):
    packed = pack_plain(values)
    assert (packed.packing, packed.shape, packed.count) == (PLAIN, ONE, len(values))
    assert unpack_plain(packed) == values
    assert all_plain(values) and all(map(is_plain, values))


def test_only_exact_types_are_plain():
    assert not is_plain(Sub(1)) and not is_plain([]) and not is_plain((1,)) and not all_plain([1, Sub(1)])
    assert math.isnan(unpack_plain(pack_plain([math.nan]))[0])


@pytest.mark.parametrize("shape", [ONE, ARGS, CALL])
@pytest.mark.parametrize("packing", [PLAIN, FRAMED])
def test_kinds_come_apart_again(packing, shape):
    packed = Packed(kind_of(packing, shape), 0, ())
    assert (packed.packing, packed.shape) == (packing, shape)
    assert pack_plain([], shape).kind == kind_of(PLAIN, shape)
    assert FramedPacker().packed(shape).kind == kind_of(FRAMED, shape)


@given(ITEMS)
def test_framed_values_survive(items):
    packer = FramedPacker()
    for data, buffers in items:
        packer.add(data, buffers)
    packed = packer.packed(ONE, (b"d",))
    assert packed.count == packer.count == len(items) and packed.definitions == (b"d",)
    assert packer.nbytes + 16 == packed.nbytes
    assert [framed_item(packed, index) for index in range(len(items))] == items
    assert [*framed_items(packed)] == items
    with pytest.raises(ProtocolError):
        framed_item(packed, len(items))


@given(st.lists(st.binary(max_size=80), max_size=4), st.integers(0, 5), st.integers(-1, 6))
def test_any_bytes_are_a_page_or_a_protocol_error(buffers, count, index):
    packed = Packed(FRAMED, count, tuple(buffers))
    for read in (lambda: framed_item(packed, index), lambda: list(framed_items(packed))):
        with contextlib.suppress(ProtocolError):
            read()


@given(st.lists(st.integers(0, 8), min_size=6, max_size=6))
def test_a_wrong_table_is_a_protocol_error(ends):
    packed = Packed(FRAMED, 2, (struct.pack("<6Q", *ends), b"abcd", b"x", b"y"))
    for index in range(2):
        try:
            data, buffers = framed_item(packed, index)
        except ProtocolError:
            continue
        assert len(data) <= 4 and len(buffers) <= 2


def test_a_table_that_runs_backwards_is_a_protocol_error():
    packed = Packed(FRAMED, 2, (struct.pack("<6Q", 0, 0, 3, 0, 2, 0), b"abcd"))
    with pytest.raises(ProtocolError):
        list(framed_items(packed))
    with pytest.raises(ProtocolError):
        framed_item(packed, 1)


def test_a_plain_page_holds_what_it_says():
    (buffer,) = pack_plain([1, 2]).buffers
    for packed in (Packed(PLAIN, 3, (buffer,)), Packed(PLAIN, 2, ()), Packed(PLAIN, 1, (b"K\x01.",))):
        with pytest.raises(ProtocolError):
            unpack_plain(packed)


def test_a_packer_knows_when_a_frame_is_full_of_buffers():
    packer = FramedPacker()
    packer.add(b"x", [b""] * 60_000)
    assert not packer.full(5_000) and packer.full(6_000)
