"""Values of other hosts on their way into a store: large ones in a thread, for everybody else waits for the reactor.

Owns: that, and that something makes room where there is none. Must not know: where values come from, what makes room.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from twistcluster.errors import StoreFull
from twistcluster.nodes.values_line import Done, Missed
from twistcluster.storage.values import ValueStore
from twistcluster.wire.frames import Buffer
from twistcluster.wire.limits import MIB

__all__ = ["Storing"]

AT_ONCE_BYTES: Final = 4 * MIB
"""A smaller value takes a millisecond or two."""


class Storing:
    """Into one store.

    Args:
        reactor: Twisted's.
        store: the store.
        make_room: frees something that is there; False: there is nothing that could go.
    """

    def __init__(self, reactor: Any, store: ValueStore, make_room: Callable[[], bool]) -> None:
        self._reactor = reactor
        self._store = store
        self._make_room = make_room

    def keep(self, name: bytes, pieces: Sequence[Buffer], sizes: Sequence[int], done: Done) -> None:
        """Store a value; `done` is told, at once or later.

        Args:
            name: its id.
            pieces: of the bytes of its parts, one after the other.
            sizes: of its parts.
            done: is told whether it is there.
        """
        if sum(sizes) < AT_ONCE_BYTES:
            self._now(name, pieces, sizes, done)
        else:
            self._in_a_thread(name, pieces, sizes, done)

    def _now(self, name: bytes, pieces: Sequence[Buffer], sizes: Sequence[int], done: Done) -> None:
        while True:
            try:
                self._store.copy(name, pieces, sizes)
                missed = None
            except StoreFull as error:
                if self._make_room():
                    continue
                missed = Missed(str(error))
            done(missed)
            return

    def _in_a_thread(self, name: bytes, pieces: Sequence[Buffer], sizes: Sequence[int], done: Done) -> None:
        def failed(failure: Failure) -> None:
            if isinstance(failure.value, StoreFull) and self._make_room():
                self._in_a_thread(name, pieces, sizes, done)
            else:
                done(Missed(failure.getErrorMessage()))

        threads = self._reactor.getThreadPool()
        stored = deferToThreadPool(self._reactor, threads, self._store.copy, name, pieces, sizes)
        stored.addCallbacks(lambda _: done(None), failed)
