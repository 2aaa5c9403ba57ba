"""Placeholders: what stands in an argument's pickle for a value that isn't part of it.

A client that pickles an argument puts a call of one of these functions where it meets a future, a job or a reference; the
unpickler of `wire.values.loads(…, resolve=…)` puts the value in its place. Owns: the calls, and what both sides need for
them. Must not know: futures, jobs, stores, links.
"""

import pickle
from collections.abc import Callable, Mapping, Sequence
from types import NoneType
from typing import Any, NoReturn, Protocol

from twistcluster.errors import NotPicklable, ProtocolError
from twistcluster.wire.frames import Buffer

__all__ = [
    "HeldHereError",
    "References",
    "RefusedError",
    "Resolver",
    "UnresolvedError",
    "input_value",
    "loaded_value",
    "plain_call",
    "stored_value",
    "whole_value",
]

Call = tuple[Any, ...]
"""What `__reduce__` returns: a function and its arguments."""


class HeldHereError(NotPicklable):
    """What `__reduce__` of a future, a job or a reference raises: as part of an argument it needs a table of calls."""


class RefusedError(Exception):
    """A call of the table can't be made; `error` is what the person who passed the argument shall see."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class UnresolvedError(ProtocolError):
    """A value that holds a placeholder was loaded where nobody can say what it stands for."""


class References(Protocol):
    """What a client passes to `dumps`."""

    expected: bool
    """The value before this one held some: it isn't worth trying without."""

    @property
    def table(self) -> Mapping[type, Callable[[Any], Call]]:
        """By exact type: what stands for such an object. May raise `RefusedError`."""

    @property
    def definitions(self) -> tuple[bytes, ...]:
        """Of the classes that the calls since `begin` need."""

    def begin(self) -> None:
        """A value is pickled, from its start: what was gathered of it before doesn't count."""


class Resolver(Protocol):
    """What a slot passes to `loads`."""

    def stored(self, id: bytes, nbytes: int) -> Any:  # noqa: A002 (the message's word)
        """The value of this id, from a store."""

    def input(self, number: int) -> Any:
        """What the item waited for under this number."""


def stored_value(id: bytes, nbytes: int) -> NoReturn:  # noqa: A002
    """Stand for a value in a store."""
    raise UnresolvedError(f"a value names another in a store ({id.hex()}, {nbytes:,} bytes), and is loaded without one")


def input_value(number: int) -> NoReturn:
    """Stand for the result of another item."""
    raise UnresolvedError(f"a value names another item's result (number {number}), and is loaded without it")


def loaded_value(data: bytes, buffers: Sequence[Buffer]) -> Any:
    """Stand for a result that came already: its pickle and its buffers, as they came."""
    return pickle.loads(data, buffers=[bytearray(buffer) for buffer in buffers])


def whole_value(value: Any) -> Any:
    """Stand for itself: a result that was decoded already."""
    return value


def plain_call(value: object) -> Call:
    """What stands for a plain value: a call that any unpickler can make."""
    return (NoneType, ()) if value is None else (type(value), (value,))
