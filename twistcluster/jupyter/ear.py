"""What listens to a job for a view.

Owns: waking a view that waits for news, once. Must not know: what becomes of the news.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from twistcluster.wire.messages import ErrorInfo
from twistcluster.wire.pages import Packed

__all__ = ["Ear"]


class Ear:
    """What listens to a job: hands everything on to its view's thread.

    It wakes a view that waits for news, once: while a cell runs pure Python every wake of a thread costs up to 5 ms of
    waiting for the interpreter, and results may come by the thousand.
    """

    def __init__(self, news: deque[tuple["Ear", str, int, Any]], wake: Callable[[], None]) -> None:
        self.hungry = False
        """The view has nothing to do until something comes."""
        self._news = news
        self._wake = wake

    def results(self, first: int, packed: Packed) -> None:
        """Items succeeded."""
        self._tell("results", first, packed)

    def failed(self, index: int, error: ErrorInfo) -> None:
        """An item failed for good."""
        self._tell("failed", index, error)

    def printed(self, index: int, text: str) -> None:
        """What an item printed."""
        self._tell("printed", index, text)

    def changed(self) -> None:
        """Counts or state changed: seen at the next tick."""

    def _tell(self, kind: str, index: int, what: Any) -> None:
        self._news.append((self, kind, index, what))
        if self.hungry:
            self.hungry = False
            self._wake()
