"""Frames survive any chunking; any other bytes wait or raise ProtocolError, without allocating what they claim."""

import contextlib
import errno
import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twistcluster.errors import ProtocolError
from twistcluster.wire import frames, limits
from twistcluster.wire.budget import Budget
from twistcluster.wire.frames import FrameDecoder, encode_frame, frame_bytes

SMALL = st.binary(max_size=300)
LARGE = st.integers(limits.PREALLOCATE_BYTES - 100, limits.PREALLOCATE_BYTES * 2).map(lambda n: bytes([n % 251]) * n)
FRAMES = st.lists(st.tuples(SMALL, st.lists(st.one_of(SMALL, SMALL, LARGE), max_size=4)), max_size=6)


def joined(head, buffers=()):
    return b"".join(encode_frame(head, buffers))


def as_bytes(decoded):
    return [(head, [bytes(buffer) for buffer in buffers]) for head, buffers in decoded]


@settings(max_examples=60, deadline=None)
@given(FRAMES, st.data())
def test_frames_survive_any_chunking(sent, data):
    stream = b"".join(joined(head, buffers) for head, buffers in sent)
    decoder = FrameDecoder(limits.FRAME_BYTES)
    received = []
    at = 0
    while at < len(stream):
        size = data.draw(st.one_of(st.integers(1, 20), st.integers(1, 70_000), st.just(len(stream))))
        received += decoder.feed(stream[at : at + size])
        at += size
    assert as_bytes(received) == sent


@given(SMALL, st.lists(SMALL, max_size=4))
def test_frame_bytes_is_what_encoding_makes(head, buffers):
    assert frame_bytes(head, buffers) == len(joined(head, buffers))


def test_one_byte_at_a_time():
    stream = joined(b"head", [b"a", b"", b"bcd"]) * 2
    decoder = FrameDecoder()
    received = [frame for byte in stream for frame in decoder.feed(bytes([byte]))]
    assert received == [(b"head", [b"a", b"", b"bcd"])] * 2


def test_views_of_other_shapes_are_counted_in_bytes():
    view = memoryview(bytes(range(16))).cast("I")
    (frame,) = FrameDecoder().feed(joined(b"", [view]))
    assert frame == (b"", [bytes(range(16))])


def test_small_buffers_are_their_own_and_large_ones_writable_and_aligned():
    decoder = FrameDecoder(limits.FRAME_BYTES)
    ((_, small),) = decoder.feed(joined(b"h", [b"x" * 10]))
    assert type(small[0]) is bytes
    ((_, large),) = decoder.feed(joined(b"h", [b"x" * 3, b"y" * limits.PREALLOCATE_BYTES]))
    assert not large[0].readonly and not large[1].readonly
    assert large[0].obj is large[1].obj


def test_large_buffers_are_not_copied_on_their_way_out():
    block = bytearray(frames.JOIN_BYTES + 1)
    pieces = encode_frame(b"h", [b"a", block, b"b"])
    assert pieces[1] is block and len(pieces) == 3


@pytest.mark.parametrize(
    "prefix",
    [
        struct.pack("<II", 0xFFFFFFFF, 0),
        struct.pack("<II", limits.HEAD_BYTES + 1, 0),
        struct.pack("<II", 0, 0xFFFFFFFF),
        struct.pack("<II", 0, limits.BUFFERS_PER_FRAME + 1),
        struct.pack("<IIQ", 0, 1, 2**64 - 1),
        struct.pack("<IIQQ", 0, 2, 2**63, 2**63),
        struct.pack("<IIQ", 0, 1, limits.FRAME_BYTES),
    ],
)
def test_huge_lengths_are_refused_before_anything_is_allocated(prefix):
    decoder = FrameDecoder(limits.FRAME_BYTES)
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match="limits"):
            decoder.feed(prefix)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    with pytest.raises(ProtocolError):
        decoder.feed(b"more")


def test_before_the_welcome_a_frame_is_small():
    decoder = FrameDecoder()
    with pytest.raises(ProtocolError):
        decoder.feed(joined(b"", [bytes(limits.OPENING_FRAME_BYTES)]))
    decoder = FrameDecoder()
    decoder.limit_bytes = limits.FRAME_BYTES
    assert decoder.feed(joined(b"", [bytes(limits.OPENING_FRAME_BYTES)]))


def test_a_welcome_may_raise_the_limit_for_what_comes_right_behind_it():
    large = joined(b"large", [b"x" * limits.OPENING_FRAME_BYTES])
    for cut in (9, 17, 40_000):
        decoder = FrameDecoder()
        assert decoder.feed(joined(b"welcome") + large[:cut]) == [(b"welcome", [])]
        decoder.limit_bytes = limits.FRAME_BYTES
        ((head, _),) = decoder.feed(large[cut:])
        assert head == b"large"
        decoder = FrameDecoder()
        decoder.feed(joined(b"no welcome") + large[:cut])
        with pytest.raises(ProtocolError):
            decoder.feed(large[cut:])
    with pytest.raises(ProtocolError):
        FrameDecoder().feed(joined(b"welcome") + b"\xff" * 8)


def test_a_claim_within_the_limit_uses_memory_only_as_it_fills():
    # 8 GiB that never come: mapped, not zeroed.
    decoder = FrameDecoder(limits.FRAME_BYTES)
    tracemalloc.start()
    try:
        assert decoder.feed(struct.pack("<IIQ", 1, 1, 8 * limits.GIB) + b"hx") == []
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_a_block_beyond_the_budget_arrives_whole():
    body = bytes(range(256)) * 800
    for buffers in ([body], [b"", body], [body, b"end"], []):
        head = b"h" * (0 if buffers else 100_000)
        ((back, received),) = FrameDecoder(limits.FRAME_BYTES, Budget(100, 100)).feed(joined(head, buffers))
        assert as_bytes([(back, received)]) == [(head, buffers)]
        assert not any(buffer.readonly for buffer in received)


def test_where_nothing_more_can_be_mapped_frames_that_are_not_huge_still_come(monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(frames.mmap, "mmap", full)
    body = b"x" * limits.MIB
    decoder = FrameDecoder(limits.FRAME_BYTES, Budget(100, 100))
    assert as_bytes(decoder.feed(joined(b"h", [body]))) == [(b"h", [body])]
    with pytest.raises(ProtocolError, match="no memory for a frame of 1,073,741,824 bytes"):
        decoder.feed(struct.pack("<IIQ", 1, 1, limits.GIB))


def test_many_claims_take_what_the_budget_allows_and_the_rest_only_as_they_fill():
    budget = Budget(link_bytes=limits.MIB, total_bytes=3 * limits.MIB)
    claim = struct.pack("<IIQ", 1, 1, limits.MIB - 100) + b"hx"
    decoders = [FrameDecoder(limits.FRAME_BYTES, budget) for _ in range(200)]
    tracemalloc.start()
    try:
        for decoder in decoders:
            assert decoder.feed(claim) == []
        assert tracemalloc.get_traced_memory()[0] < 3.5 * limits.MIB
    finally:
        tracemalloc.stop()
    assert 2 * limits.MIB < budget.taken <= 3 * limits.MIB
    for decoder in decoders[:100]:
        decoder.close()
    assert budget.taken == 0
    for decoder in decoders[100:]:
        ((head, (buffer,)),) = decoder.feed(b"y" * (limits.MIB - 101))
        assert head == b"h" and len(buffer) == limits.MIB - 100 and buffer[0] == ord("x") and buffer[-1] == ord("y")


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 150_000), st.integers(1, 200_000)), max_size=30),
    st.integers(0, 300_000),
)
def test_the_budget_counts_exactly_what_is_half_received(steps, total):
    budget = Budget(link_bytes=140_000, total_bytes=total)
    decoders = [FrameDecoder(limits.FRAME_BYTES, budget) for _ in range(5)]
    streams = [b""] * 5
    for number, size, count in steps:
        if not streams[number]:
            streams[number] = joined(b"head", [bytes(size)])
        fed, streams[number] = streams[number][:count], streams[number][count:]
        assert len(decoders[number].feed(fed)) == (not streams[number])
        assert 0 <= budget.taken <= total
    for decoder, stream in zip(decoders, streams, strict=True):
        if stream:
            assert len(decoder.feed(stream)) == 1
    assert budget.taken == 0


@given(st.lists(st.binary(max_size=200), max_size=10))
def test_any_bytes_decode_wait_or_raise_a_protocol_error(chunks):
    decoder = FrameDecoder()
    try:
        for chunk in chunks:
            decoder.feed(chunk)
    except ProtocolError:
        with pytest.raises(ProtocolError):
            decoder.feed(b"")


@given(SMALL, st.lists(SMALL, max_size=3), st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=5))
def test_mutated_frames_decode_wait_or_raise_a_protocol_error(head, buffers, changes):
    stream = bytearray(joined(head, buffers))
    for at, byte in changes:
        stream[at % len(stream)] = byte
    decoder = FrameDecoder()
    with contextlib.suppress(ProtocolError):
        decoder.feed(bytes(stream))


def test_too_many_buffers_are_refused_on_the_way_out():
    with pytest.raises(ProtocolError, match="too large"):
        encode_frame(b"", [b""] * (limits.BUFFERS_PER_FRAME + 1))
