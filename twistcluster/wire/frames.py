"""Frames: a head and buffers, length-prefixed, in a stream of bytes.

Layout, little endian: u32 length of the head, u32 number of buffers, a u64 length for each buffer, the head, the
buffers. All lengths are checked against the limits before anything is allocated for them. Owns: how frames are cut
from a stream and put into one. Must not know: what a head means, what carries the bytes.
"""

import mmap
import struct
from collections.abc import Sequence
from operator import le
from typing import Final, TypeAlias

from twistcluster.errors import ProtocolError
from twistcluster.wire import limits
from twistcluster.wire.budget import Budget

__all__ = ["Buffer", "Frame", "FrameDecoder", "encode_frame", "frame_bytes"]

Buffer: TypeAlias = bytes | bytearray | memoryview
Frame: TypeAlias = tuple[bytes, list[Buffer]]
"""Head and buffers."""

PREFIX: Final = struct.Struct("<II")
JOIN_BYTES: Final = 16 * limits.KIB
"""Pieces up to this size are copied together into one write; longer ones are written as they are."""
ALIGN: Final = 64
"""Buffers of a large frame begin at a multiple of this in their block, so that arrays in them are aligned."""


def frame_bytes(head: bytes, buffers: Sequence[Buffer] = ()) -> int:
    """Return the number of bytes that `encode_frame` will make of this."""
    return PREFIX.size + 8 * len(buffers) + len(head) + sum(map(_nbytes, buffers))


def encode_frame(head: bytes, buffers: Sequence[Buffer] = ()) -> list[Buffer]:
    """Return the pieces of one frame, to be written one after the other. Large buffers are not copied."""
    if not buffers:
        return [PREFIX.pack(len(head), 0) + head]
    if len(buffers) > limits.BUFFERS_PER_FRAME or len(head) > limits.HEAD_BYTES:
        raise ProtocolError(
            f"a message of {len(head):,} bytes with {len(buffers):,} buffers is too large for one frame "
            f"(at most {limits.HEAD_BYTES:,} and {limits.BUFFERS_PER_FRAME:,})"
        )
    lengths = [*map(_nbytes, buffers)]
    start = b"".join((PREFIX.pack(len(head), len(lengths)), struct.pack(f"<{len(lengths)}Q", *lengths), head))
    if sum(lengths) <= JOIN_BYTES:
        return [b"".join((start, *buffers))]
    pieces: list[Buffer] = []
    small: list[Buffer] = [start]
    for buffer, length in zip(buffers, lengths, strict=True):
        if length <= JOIN_BYTES:
            small.append(buffer)
            continue
        if small:
            pieces.append(small[0] if len(small) == 1 else b"".join(small))
            small = []
        pieces.append(buffer)
    if small:
        pieces.append(b"".join(small))
    return pieces


class FrameDecoder:
    """Cuts frames out of the chunks of a stream.

    Frames of less than `PREALLOCATE_BYTES` have buffers of their own (so that a small one that is kept never pins a
    large chunk); the buffers of longer ones are writable views into one block that was allocated for that frame.

    `limit_bytes` may be set at any time. A frame that is too long for it, but comes right behind others that may raise
    it (a `Welcome`), is looked at again with the next chunk. After a `ProtocolError` the decoder stays broken: its
    stream can't be cut any more.

    Args:
        limit_bytes: of one frame.
        budget: for the blocks of long frames, shared with other decoders; one of its own if not given.
    """

    def __init__(self, limit_bytes: int = limits.OPENING_FRAME_BYTES, budget: Budget | None = None) -> None:
        self.limit_bytes = limit_bytes
        self._budget = budget or Budget()
        self._tail = bytearray()
        self._need = PREFIX.size
        self._large: _LargeFrame | None = None
        self._broken = ""

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next chunk and return the frames that it completes."""
        if self._broken:
            raise ProtocolError(self._broken)
        frames: list[Frame] = []
        at = 0
        if self._large is not None:
            at = self._large.fill(data, 0)
            if self._large.missing:
                return frames
            frames.append(self._large.frame())
            self._large = None
            if at == len(data):
                return frames
        elif self._tail:
            self._tail += data
            if len(self._tail) < self._need:
                return frames
            data = bytes(self._tail)
            self._tail.clear()
        try:
            self._cut(data, at, frames)
        except ProtocolError as error:
            self._broken = str(error)
            raise
        return frames

    @property
    def receiving(self) -> bool:
        """A frame has begun to come, and isn't here yet."""
        return self._large is not None or bool(self._tail)

    def close(self) -> None:
        """No more will come: a frame that is half received is let go."""
        if self._large is not None:
            self._large.let_go()
            self._large = None
        self._tail.clear()

    def _cut(self, data: bytes, at: int, frames: list[Frame]) -> None:
        """Append the frames of `data` from `at` on; keep what is left, and how much is needed to go on."""
        size = len(data)
        prefix = self._need = PREFIX.size
        while size - at >= prefix:
            head_bytes, buffer_count = PREFIX.unpack_from(data, at)
            total = prefix + 8 * buffer_count + head_bytes
            if frames and self._may_be_taken_later(head_bytes, buffer_count, total):
                break
            self._check(head_bytes, buffer_count, total)
            table_end = at + prefix + 8 * buffer_count
            if table_end > size:
                self._need = table_end - at
                break
            lengths: tuple[int, ...] = ()
            if buffer_count:
                lengths = struct.unpack_from(f"<{buffer_count}Q", data, at + prefix)
                total += sum(lengths)
                if frames and self._may_be_taken_later(head_bytes, buffer_count, total):
                    break
                self._check(head_bytes, buffer_count, total)
            if total >= limits.PREALLOCATE_BYTES:
                self._large = _LargeFrame(head_bytes, lengths, self._budget)
                at = self._large.fill(data, table_end)
                if self._large.missing:
                    return
                frames.append(self._large.frame())
                self._large = None
                continue
            if size - at < total:
                self._need = total
                break
            at = table_end + head_bytes
            head = data[table_end:at]
            buffers: list[Buffer] = []
            for length in lengths:
                buffers.append(data[at : at + length])
                at += length
            frames.append((head, buffers))
        if at < size:
            self._tail += memoryview(data)[at:]

    def _may_be_taken_later(self, head_bytes: int, buffer_count: int, total: int) -> bool:
        """Whether the frames before this one may raise the limit enough: a `Welcome` does, and brings more with it."""
        absolute = limits.HEAD_BYTES, limits.BUFFERS_PER_FRAME, limits.FRAME_BYTES
        return total > self.limit_bytes and all(map(le, (head_bytes, buffer_count, total), absolute))

    def _check(self, head_bytes: int, buffer_count: int, total: int) -> None:
        if total <= self.limit_bytes and head_bytes <= limits.HEAD_BYTES and buffer_count <= limits.BUFFERS_PER_FRAME:
            return
        raise ProtocolError(
            f"a frame of at least {total:,} bytes ({head_bytes:,} of them its head, {buffer_count:,} buffers): the "
            f"limits here are {self.limit_bytes:,} ({limits.HEAD_BYTES:,}, {limits.BUFFERS_PER_FRAME:,})"
        )


class _LargeFrame:
    """A frame that is being received: its head, and one block for its buffers.

    Both are mapped where the budget doesn't allow to allocate them: then memory is used as they fill, not as a length
    claims (a bytearray is zeroed first).
    """

    def __init__(self, head_bytes: int, lengths: tuple[int, ...], budget: Budget) -> None:
        self._budget = budget
        starts = []
        end = 0
        for length in lengths:
            starts.append(end)
            end += -(-length // ALIGN) * ALIGN
        self._taken = head_bytes + end if budget.take(head_bytes + end) else 0
        allocate = bytearray if self._taken else _map
        self._head: bytearray | mmap.mmap = allocate(head_bytes)
        block = memoryview(allocate(end))
        self._buffers = [block[start : start + length] for start, length in zip(starts, lengths, strict=True)]
        # What is still to be filled, the next one last.
        self._targets = [*reversed([memoryview(self._head), *self._buffers])]
        self._filled = 0  # of the last target
        self.missing = head_bytes + sum(lengths)

    def fill(self, data: bytes, at: int) -> int:
        """Take bytes of `data` from `at` on, as many as are missing; return where they end."""
        view = memoryview(data)
        end = min(len(data), at + self.missing)
        self.missing -= end - at
        while at < end:
            target = self._targets[-1]
            count = min(len(target) - self._filled, end - at)
            target[self._filled : self._filled + count] = view[at : at + count]
            at += count
            self._filled += count
            if self._filled == len(target):
                self._targets.pop()
                self._filled = 0
        return end

    def let_go(self) -> None:
        """What the budget counts is filled, or dropped."""
        self._budget.give_back(self._taken)
        self._taken = 0

    def frame(self) -> Frame:
        self.let_go()
        self._targets.clear()
        return bytes(self._head), [*self._buffers]


def _map(size: int) -> bytearray | mmap.mmap:
    if not size:
        return bytearray()  # nothing can't be mapped
    try:
        return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, ValueError, OverflowError) as error:
        if size <= limits.ALLOCATED_LINK_BYTES:
            return bytearray(size)  # there are only so many maps: 65,530 if nobody has changed it
        raise ProtocolError(f"no memory for a frame of {size:,} bytes: {error}") from error


def _nbytes(buffer: Buffer) -> int:
    return buffer.nbytes if isinstance(buffer, memoryview) else len(buffer)
