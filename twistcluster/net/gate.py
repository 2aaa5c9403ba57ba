"""Who may be connected: how many at all, and how many that haven't said `Hello`.

Owns: the counts, and who has to go. Must not know: sockets, links, what those who go are told.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

from twistcluster.wire import limits

__all__ = ["Gate"]

Who = TypeVar("Who", bound=Hashable)


class Gate(Generic[Who]):
    """Counts those who are connected. Whoever hasn't said `Hello` for longest makes room for a newcomer.

    So no number of silent connections keeps out one that says `Hello`; only those who have said it can fill the house.

    Args:
        connections: at most so many.
        unwelcomed: at most so many of them that haven't said `Hello`.

    Example:
        >>> gate = Gate(connections=3, unwelcomed=2)
        >>> gate.enter("a"), gate.enter("b"), gate.enter("c")
        (None, None, 'a')
        >>> gate.greeted("b")
        >>> gate.left("a")
        >>> gate.enter("d"), gate.enter("e")
        (None, 'c')
    """

    def __init__(self, connections: int = limits.CONNECTIONS, unwelcomed: int = limits.UNWELCOMED_CONNECTIONS) -> None:
        self._connections = connections
        self._unwelcomed = unwelcomed
        self._waiting: dict[Who, None] = {}
        self._inside: set[Who] = set()

    def __len__(self) -> int:
        return len(self._inside)

    @property
    def waiting(self) -> int:
        """How many haven't said `Hello`."""
        return len(self._waiting)

    def enter(self, who: Who) -> Who | None:
        """Somebody connects. Returns who has to go for it: nobody, the longest silent, or the newcomer itself.

        One that has to go isn't waiting any more, and counts until it has `left`; a newcomer that has to go never counts.
        """
        full = len(self._inside) >= self._connections
        gone = self.oldest() if full or len(self._waiting) >= self._unwelcomed else None
        if full and gone is None:
            return who
        self._inside.add(who)
        self._waiting[who] = None
        return gone

    def oldest(self) -> Who | None:
        """Who hasn't said `Hello` for longest has to go, if there is one."""
        who = next(iter(self._waiting), None)
        if who is not None:
            del self._waiting[who]
        return who

    def greeted(self, who: Who) -> None:
        """It has said `Hello`, or is being closed: it can't be made to go any more."""
        self._waiting.pop(who, None)

    def left(self, who: Who) -> None:
        """Its connection is gone."""
        self._waiting.pop(who, None)
        self._inside.discard(who)
