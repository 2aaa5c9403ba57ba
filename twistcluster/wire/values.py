"""Single values as bytes.

Values are pickled with protocol 5 and out-of-band buffers. What refers to `__main__`, or to a module registered by
value, takes cloudpickle; classes born there are named by the digest of their definition, which travels once, so that
`isinstance` holds on both sides (wire/definitions.py). Owns: which way a value takes, and its buffers. Must not know:
pages, jobs, links.
"""

import pickle
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from twistcluster.errors import NotPicklable
from twistcluster.wire.culprits import explain
from twistcluster.wire.definitions import (
    PROTOCOL,
    ByValuePickler,
    ByValueUnpickler,
    Definitions,
    holds_by_value,
    needs_by_value,
)
from twistcluster.wire.frames import Buffer
from twistcluster.wire.limits import BUFFERS_PER_FRAME, KIB, STORED_BYTES

__all__ = ["Definitions", "Encoded", "dumps", "loads"]

OUT_OF_BAND_BYTES: Final = 4 * KIB
"""Smaller buffers are cheaper inside the pickle."""
RAW: Final = b"\x80\x05cbuiltins\nbytes\n\x97\x85R."
"""The pickle of large bytes: `bytes(the next buffer)`. Made the usual way it would hold them, copied."""
BUFFERS_PER_VALUE: Final = BUFFERS_PER_FRAME // 4


class Encoded(NamedTuple):
    """A value's pickle, its out-of-band buffers, and the digests of all class definitions that it needs."""

    data: bytes
    buffers: Sequence[Buffer] = ()
    definitions: tuple[bytes, ...] = ()


def dumps(value: object, definitions: Definitions | None = None, *, name: str = "value", copy: bool = True) -> Encoded:
    """Pickle a value.

    Args:
        value: Any value.
        definitions: This process's book; without it classes of `__main__` travel inside the pickle.
        name: What the value is called in an error ("item 17").
        copy: Whether writable buffers (arrays) are copied, so that what is sent doesn't change with them afterwards.

    Raises:
        NotPicklable: With the part that can't be pickled, and what to do about it.
    """
    if type(value) is bytes and len(value) > STORED_BYTES:
        return Encoded(RAW, (value,))
    buffers: list[Buffer] = []
    taker = _buffer_taker(buffers, copy)
    try:
        data = pickle.dumps(value, PROTOCOL, buffer_callback=taker)
    except Exception:
        data = b""  # cloudpickle may do better; if not, its error is reported
    if data and not needs_by_value(data):
        return Encoded(data, buffers)
    buffers.clear()
    return _dumps_by_value(value, definitions, buffers, taker, name)


def loads(
    data: Buffer, buffers: Sequence[Buffer] = (), definitions: Definitions | None = None, *, copy: bool = True
) -> Any:
    """Unpickle a value. Its arrays are writable where they were; whatever unpickling raises is raised.

    Args:
        data: The pickle.
        buffers: Its out-of-band buffers.
        definitions: This process's book.
        copy: Whether arrays get memory of their own, so that the same buffers can be loaded again. Without it, writable
            buffers become the arrays' memory.
    """
    if buffers:
        buffers = [bytearray(buffer) if copy or memoryview(buffer).readonly else buffer for buffer in buffers]
    if not isinstance(data, (bytes, bytearray)):
        data = bytes(data)
    if definitions is not None and holds_by_value(data):
        return ByValueUnpickler(data, buffers, definitions).load()
    return pickle.loads(data, buffers=buffers)


def _dumps_by_value(
    value: object, definitions: Definitions | None, buffers: list[Buffer], taker: Callable[[Any], bool], name: str
) -> Encoded:
    pickler = ByValuePickler(definitions, taker)
    try:
        pickler.dump(value)
    except Exception as error:
        raise NotPicklable(explain(value, name, error, _picklable)) from error
    named = pickler.named
    if definitions is None or not named:
        return Encoded(pickler.data(), buffers)
    needs = dict.fromkeys(need for one in named for need in definitions.needs(one))
    return Encoded(pickler.data(), buffers, tuple(needs))


def _picklable(value: object) -> bool:
    try:
        ByValuePickler(None, lambda _: False).dump(value)
    except Exception:
        return False
    return True


def _buffer_taker(buffers: list[Buffer], copy: bool) -> Callable[[Any], bool]:
    def take(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < OUT_OF_BAND_BYTES or len(buffers) >= BUFFERS_PER_VALUE:
            return True
        buffers.append(bytes(raw) if copy and not raw.readonly else raw)
        return False

    return take
