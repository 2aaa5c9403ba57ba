"""A function's blob: its pickle, and the definitions of the notebook's classes that it names.

A blob stands alone: whoever has it can load it, whatever else was sent. Owns: that layout, how a slot loads one, and
what makes a function one whose items go together. Must not know: which functions are pickled when (client/functions.py).
"""

import pickle
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from twistcluster.errors import ProtocolError
from twistcluster.wire.definitions import ByValueUnpickler, Definitions
from twistcluster.wire.limits import TOGETHER_ITEMS
from twistcluster.wire.values import dumps

__all__ = ["BatchFunction", "Raised", "dump_function", "load_function", "load_step", "most_at_once"]


class BatchFunction(Protocol):
    """A function of one argument whose items may go together, as a model takes many pictures in one call.

    `function(item)` gives what `together([prepare(item)])[0]` gives, and raises where that is `Raised`.
    """

    most_at_once: int
    """How many items go together at most."""

    def prepare(self, item: Any) -> Any:
        """What an item needs for itself alone, as to be opened. If it raises, this item has failed."""

    def together(self, prepared: list[Any]) -> list[Any]:
        """One answer an item, in their order; `Raised` where one has failed. If it raises, they are run one by one."""

    def __call__(self, item: Any) -> Any:
        """One item alone."""


class Raised(NamedTuple):
    """The answer of `together` for an item that failed."""

    error: BaseException


def most_at_once(function: object) -> int:
    """How many items of a function go together; 0: each is a call of its own.

    Example:
        >>> most_at_once(abs)
        0
    """
    try:
        most = getattr(function, "most_at_once", 0)
    except Exception:  # it makes its attributes itself, and can't make this one
        return 0
    if type(most) is not int or most < 2 or isinstance(function, type):
        return 0
    complete = callable(getattr(function, "prepare", None)) and callable(getattr(function, "together", None))
    return min(most, TOGETHER_ITEMS) if complete else 0


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

    most = most_at_once(function)
    return _BatchWithClasses(function, with_classes, most, definitions, names) if most else with_classes


class _BatchWithClasses:
    """A batch function whose blob names classes."""

    def __init__(
        self, function: Any, call: Callable[..., Any], most: int, definitions: Definitions, names: tuple[bytes, ...]
    ) -> None:
        self.most_at_once = most
        self._function = function
        self._call = call
        self._definitions = definitions
        self._names = names

    def prepare(self, item: Any) -> Any:
        self._definitions.use(self._names)
        return self._function.prepare(item)

    def together(self, prepared: list[Any]) -> Any:
        self._definitions.use(self._names)
        return self._function.together(prepared)

    def __call__(self, item: Any) -> Any:
        return self._call(item)
