"""Single values as bytes.

Values are pickled with protocol 5 and out-of-band buffers. What refers to `__main__`, or to a module registered by
value, takes cloudpickle; classes born there are named by the digest of their definition, which travels once, so that
`isinstance` holds on both sides (wire/definitions.py). Owns: which way a value takes, and its buffers. Must not know:
pages, jobs, links.
"""

import copyreg
import io
import pickle
from collections.abc import Callable, Mapping, Sequence
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
from twistcluster.wire.references import HeldHereError, References, RefusedError, Resolver, input_value

__all__ = ["Definitions", "Encoded", "cannot_change", "dumps", "loads"]

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


def dumps(
    value: object,
    definitions: Definitions | None = None,
    *,
    name: str = "value",
    copy: bool = True,
    references: References | None = None,
) -> Encoded:
    """Pickle a value.

    Args:
        value: Any value.
        definitions: This process's book; without it classes of `__main__` travel inside the pickle.
        name: What the value is called in an error ("item 17").
        copy: Whether buffers (arrays) are copied, so that what is sent doesn't change with them afterwards.
        references: What stands for objects that don't travel themselves.

    Raises:
        NotPicklable: With the part that can't be pickled, and what to do about it.
    """
    if type(value) is bytes and len(value) > STORED_BYTES:
        return Encoded(RAW, (value,))
    buffers: list[Buffer] = []
    taker = _buffer_taker(buffers, copy)
    if references is not None and references.expected:
        return _dumps_with_references(value, definitions, buffers, taker, name, references)
    try:
        data = pickle.dumps(value, PROTOCOL, buffer_callback=taker)
    except Exception as error:
        if references is not None and isinstance(error, HeldHereError):
            return _dumps_with_references(value, definitions, buffers, taker, name, references)
        data = b""  # cloudpickle may do better; if not, its error is reported
    if data and not needs_by_value(data):
        return Encoded(data, buffers)
    return _dumps_by_value(value, definitions, buffers, taker, name, references)


def loads(
    data: Buffer,
    buffers: Sequence[Buffer] = (),
    definitions: Definitions | None = None,
    *,
    copy: bool = True,
    resolve: Resolver | None = None,
) -> Any:
    """Unpickle a value. Its arrays are writable where they were; whatever unpickling raises is raised.

    Args:
        data: The pickle.
        buffers: Its out-of-band buffers.
        definitions: This process's book.
        copy: Whether arrays get memory of their own, so that the same buffers can be loaded again. Without it, writable
            buffers become the arrays' memory.
        resolve: Has the values that placeholders stand for.
    """
    if buffers:
        buffers = [bytearray(buffer) if copy or memoryview(buffer).readonly else buffer for buffer in buffers]
    if not isinstance(data, (bytes, bytearray)):
        data = bytes(data)
    if (definitions is not None or resolve is not None) and holds_by_value(data):
        book = Definitions() if definitions is None else definitions
        return ByValueUnpickler(data, buffers, book, calls=_calls(book, resolve)).load()
    return pickle.loads(data, buffers=buffers)


def _calls(definitions: Definitions, resolve: Resolver | None) -> dict[str, Callable[..., Any]]:
    """What is called instead of the placeholders."""
    calls: dict[str, Callable[..., Any]] = {
        "loaded_value": lambda data, buffers: loads(data, buffers, definitions),
    }
    if resolve is not None:
        calls["stored_value"] = resolve.stored
        calls["input_value"] = resolve.input
    return calls


def _dumps_with_references(
    value: object,
    definitions: Definitions | None,
    buffers: list[Buffer],
    taker: Callable[[Any], bool],
    name: str,
    references: References,
) -> Encoded:
    buffers.clear()
    references.begin()
    file = io.BytesIO()
    pickler = pickle.Pickler(file, PROTOCOL, buffer_callback=taker)
    pickler.dispatch_table = {**copyreg.dispatch_table, **references.table}
    try:
        pickler.dump(value)
    except RefusedError as refused:
        raise refused.error from None
    except Exception:
        return _dumps_by_value(value, definitions, buffers, taker, name, references)
    data = file.getvalue()
    if needs_by_value(data):
        return _dumps_by_value(value, definitions, buffers, taker, name, references)
    return Encoded(data, buffers, references.definitions)


def _dumps_by_value(
    value: object,
    definitions: Definitions | None,
    buffers: list[Buffer],
    taker: Callable[[Any], bool],
    name: str,
    references: References | None,
) -> Encoded:
    buffers.clear()
    also: tuple[bytes, ...] = ()
    table = None
    if references is not None:
        references.begin()
        table = references.table
    pickler = ByValuePickler(definitions, taker, table=table)
    try:
        pickler.dump(value)
    except RefusedError as refused:
        raise refused.error from None
    except Exception as error:
        raise NotPicklable(explain(value, name, error, _picklable(table))) from error
    if references is not None:
        also = references.definitions
    named = pickler.named
    if definitions is None or not named:
        return Encoded(pickler.data(), buffers, also)
    needs = dict.fromkeys(need for one in named for need in definitions.needs(one))
    needs.update(dict.fromkeys(also))
    return Encoded(pickler.data(), buffers, tuple(needs))


def _picklable(table: Mapping[type, Any] | None) -> Callable[[object], bool]:
    """Whether something can be pickled by value; what the table names can."""
    stands = dict.fromkeys(table or (), lambda _: (input_value, (0,)))

    def picklable(value: object) -> bool:
        try:
            ByValuePickler(None, lambda _: False, table=stands).dump(value)
        except Exception:
            return False
        return True

    return picklable


def cannot_change(buffer: Buffer) -> bool:
    """Whether these bytes stay as they are. A read-only array doesn't say so: it may be a view of one that isn't."""
    return type(buffer.obj if isinstance(buffer, memoryview) else buffer) is bytes


def _buffer_taker(buffers: list[Buffer], copy: bool) -> Callable[[Any], bool]:
    def take(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < OUT_OF_BAND_BYTES or len(buffers) >= BUFFERS_PER_VALUE:
            return True
        buffers.append(bytes(raw) if copy and not cannot_change(raw) else raw)
        return False

    return take
