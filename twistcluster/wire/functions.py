"""A function's blob: its pickle, and the definitions of the notebook's classes that it names.

A blob stands alone: whoever has it can load it, whatever else was sent. Owns: that layout, and how a slot loads one.
Must not know: which functions are pickled when (client/functions.py).
"""

import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

from twistcluster.errors import ProtocolError
from twistcluster.wire.definitions import ByValueUnpickler, Definitions
from twistcluster.wire.values import dumps

__all__ = ["Raised", "dump_function", "load_function", "load_step"]


class Raised(NamedTuple):
    """In the place of an answer of `together`: this item alone failed."""

    error: BaseException


def dump_function(
    function: Callable[..., Any], definitions: Definitions, *, name: str = "the function"
) -> tuple[bytes, tuple[bytes, ...]]:
    """Return a function's blob, and the digests of the definitions that it (and so its results) may name."""
    encoded = dumps(function, definitions, name=name)
    parts = (
        encoded.data,
        [bytes(buffer) for buffer in encoded.buffers],
        [(one, definitions.blob(one)) for one in encoded.definitions],
    )
    return pickle.dumps(parts, 5), encoded.definitions


def load_function(blob: bytes, definitions: Definitions) -> Callable[..., Any]:
    """Return the function of a blob.

    In a slot, what it and the functions it carries don't find among the globals they carry, they find among the names
    that `everywhere` defined. Load a blob once: what the function keeps in a global stays with what was loaded.
    """
    return _load(blob, definitions, step=False)


def load_step(blob: bytes, definitions: Definitions) -> Callable[..., Any]:
    """Return the function of an `everywhere` step: the globals that it sets are the names that others find."""
    return _load(blob, definitions, step=True)


def _load(blob: bytes, definitions: Definitions, *, step: bool) -> Callable[..., Any]:
    data, buffers, classes = pickle.loads(blob)
    for name, definition in classes:
        definitions.learn(name, definition)
    function = ByValueUnpickler(data, [bytearray(buffer) for buffer in buffers], definitions, step=step).load()
    if not callable(function):
        raise ProtocolError(f"a function's blob holds a {type(function).__name__}")
    if not classes:
        return function  # type: ignore[no-any-return]
    names = tuple(name for name, _ in classes)

    def with_classes(*args: Any, **kwargs: Any) -> Any:
        definitions.use(names)
        return function(*args, **kwargs)

    return with_classes
