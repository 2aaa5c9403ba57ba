"""Looking after a store, once a second, in a thread.

Owns: when that is done. Must not know: what is done (storage/upkeep.py).
"""

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from twistcluster.net.turn import Timer
from twistcluster.storage.upkeep import Upkeep

__all__ = ["Keeper"]

UPKEEP_SECONDS: Final = 1.0
"""Between two looks at the store."""

_log = Logger()


class Keeper:
    """Of one store.

    Args:
        reactor: Twisted's.
        upkeep: of the store.
        clock: seconds that never go back.
        is_short: whether the host is short of memory.
    """

    def __init__(
        self,
        reactor: Any,
        upkeep: Upkeep,
        clock: Callable[[], float],
        is_short: Callable[[], bool] = lambda: False,
    ) -> None:
        self._reactor = reactor
        self._upkeep = upkeep
        self._clock = clock
        self._is_short = is_short
        self._timer: Timer | None = None
        self._ended = False

    def start(self) -> None:
        """Look for the first time in a second."""
        if not self._ended:
            self._timer = self._reactor.callLater(UPKEEP_SECONDS, self._look)

    def stop(self) -> None:
        """Look no more."""
        self._ended = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _look(self) -> None:
        """In a thread: it may copy files."""
        threads = self._reactor.getThreadPool()
        looked = deferToThreadPool(self._reactor, threads, self._upkeep.look, self._clock(), short=self._is_short())
        looked.addErrback(lambda failure: _log.failure("the store's upkeep failed", failure))
        looked.addCallback(lambda more: self._look() if more and not self._ended else self.start())
