"""Copies of values are made and removed on a thread, one after the other, in the order in which that was asked for.

Owns: that queue. Must not know: files, who wants copies.
"""

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any, Final

from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from twistcluster.storage.copies import Copied, Copies

__all__ = ["Copyist"]

_AT_ONCE: Final = 64
"""Values that are copied until that is told."""

_log = Logger()


class Copyist:
    """Makes copies.

    Args:
        reactor: its thread pool does the work.
        copies: where they are.
        done: called on the reactor's thread with what became of some of them.
    """

    def __init__(self, reactor: Any, copies: Copies, done: Callable[[Copied], None]) -> None:
        self._reactor = reactor
        self._copies = copies
        self._done = done
        self._tasks: deque[tuple[bool, list[bytes]]] = deque()
        """Whether to make or to remove, and which."""
        self._busy = False

    def copy(self, ids: list[bytes]) -> None:
        """Make copies of these."""
        rest = iter(ids)
        while some := list(islice(rest, _AT_ONCE)):
            self._add(True, some)

    def remove(self, ids: list[bytes]) -> None:
        """Remove the copies of these."""
        self._add(False, ids)

    def _add(self, make: bool, ids: list[bytes]) -> None:
        last = self._tasks[-1] if self._tasks else None
        if last is not None and last[0] is make and len(last[1]) + len(ids) <= _AT_ONCE:
            last[1].extend(ids)
        else:
            self._tasks.append((make, list(ids)))
        self._next()

    def _next(self) -> None:
        if self._busy or not self._tasks:
            return
        self._busy = True
        make, ids = self._tasks.popleft()
        work = self._copies.make if make else self._copies.remove
        worked = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work, ids)
        worked.addCallbacks(self._worked, self._failed, errbackArgs=(make, ids))

    def _worked(self, done: Copied | None) -> None:
        self._busy = False
        self._next()
        if done is not None:
            self._done(done)

    def _failed(self, failure: Any, make: bool, ids: list[bytes]) -> None:
        _log.failure("copies of values failed", failure)
        self._worked(Copied([], [], ids, f"Large results can't be kept ({failure.value}).") if make else None)
