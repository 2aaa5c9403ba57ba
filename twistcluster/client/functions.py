"""Functions on their way out: pickled in the caller's thread, so that a changed global is seen.

A pickle is used again only while everything that the function captures is identical and can't change in place: of a
class of the notebook, its attributes; and where there is one, only within one batch. Owns: when a function is pickled, and what it may
capture. Must not know: how (wire/functions.py), what becomes of the blob.
"""

import sys
import warnings
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from twistcluster.client.captures import Captures, captures_of, forbidden, imports_of
from twistcluster.errors import NotPicklable
from twistcluster.wire.definitions import Definitions
from twistcluster.wire.digests import digest
from twistcluster.wire.functions import dump_function
from twistcluster.wire.limits import MIB
from twistcluster.wire.values import dumps

__all__ = ["FunctionBook"]

LARGE_BYTES: Final = 10 * MIB
"""A captured variable above this is sent with every changed version of its function: that is worth a warning."""
KEPT_BYTES: Final = MIB
KEPT: Final = 256
OWN_PACKAGE: Final = __name__.partition(".")[0]


class Pickled(NamedTuple):
    """A function as it was pickled."""

    function: Callable[..., Any]
    """Held, so that its id stays its own."""
    captures: Captures
    batch: int
    digest: bytes
    blob: bytes


class FunctionBook:
    """The functions that a client sends."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._batch = 0
        self._kept: dict[int, Pickled] = {}
        self._needs: dict[bytes, tuple[bytes, ...]] = {}
        self._warned: set[bytes] = set()

    def begin(self) -> None:
        """Begin a map or a batch of submits: changed classes of the notebook are seen again."""
        self._batch += 1
        self._definitions.refresh()

    def blob(self, function: Callable[..., Any]) -> tuple[bytes, bytes]:
        """Return a function's digest and blob, as it is now. A microsecond if it is provably what it was.

        Raises:
            NotPicklable: It can't travel, or captures what must not.
        """
        kept = self._kept.get(id(function))
        if kept is not None and self._usable(kept):
            return kept.digest, kept.blob
        captures = captures_of(function)
        name = getattr(function, "__name__", None) or type(function).__name__
        _check(captures, name)
        if captures.with_classes:  # one of them may be what changed
            self._definitions.refresh()
        blob, needs = dump_function(function, self._definitions, name=f"the function {name}")
        its_digest = digest(blob)
        self._needs[its_digest] = needs
        ours = type(function).__module__.partition(".")[0] == OWN_PACKAGE  # with a model, as its user meant it
        if len(blob) > LARGE_BYTES and its_digest not in self._warned and not ours:
            self._warned.add(its_digest)
            self._warn(captures, name)
        self._keep(Pickled(function, captures, self._batch, its_digest, blob))
        return its_digest, blob

    def same(self, function: Callable[..., Any]) -> bool:
        """Whether `blob` would return what it did the last time."""
        kept = self._kept.get(id(function))
        return kept is not None and self._usable(kept)

    def definitions_of(self, name: bytes) -> tuple[bytes, ...]:
        """Return the digests of the class definitions that a function, and so its results, may name."""
        return self._needs.get(name, ())

    @staticmethod
    def imports_of(function: Callable[..., Any]) -> frozenset[str]:
        """Return the modules that a function imports when it runs: they may lie beside the notebook."""
        return imports_of(function)

    def _usable(self, kept: Pickled) -> bool:
        return (kept.batch == self._batch or not kept.captures.with_classes) and kept.captures.same()

    def _keep(self, pickled: Pickled) -> None:
        self._kept.pop(id(pickled.function), None)
        if pickled.captures.fixed and len(pickled.blob) <= KEPT_BYTES:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            self._kept[id(pickled.function)] = pickled

    def _warn(self, captures: Captures, name: str) -> None:
        for label, value in captures.variables:
            try:
                encoded = dumps(value, self._definitions, copy=False)
            except NotPicklable:
                continue
            size = len(encoded.data) + sum(memoryview(buffer).nbytes for buffer in encoded.buffers)
            if size > LARGE_BYTES:
                warnings.warn(
                    f"{label} is {size / MIB:,.0f} MiB, and is sent again with every change of {name}. Pass it as an "
                    "argument, or load it in every slot: cluster.everywhere(load)",
                    stacklevel=_users_frame(),
                )


def _check(captures: Captures, name: str) -> None:
    for label, value in captures.variables:
        reason = forbidden(value)
        if reason:
            raise NotPicklable(f"The function {name} can't be sent: {label} is {reason}.")


def _users_frame() -> int:
    """How many frames up the caller's is whose module isn't ours, as `warnings.warn` counts them from `_warn`."""
    level = 1
    frame = sys._getframe(1)  # noqa: SLF001 (documented; `inspect.stack` reads source files)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == OWN_PACKAGE:
        frame = frame.f_back
        level += 1
    return level
