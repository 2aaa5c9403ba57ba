"""Values in stores that the scheduler believes this program can ask for, and how often it was told.

On the reactor's thread. Owns: that count, so that it can be said again to a scheduler that came back; and what was sent to
another host, until it isn't asked for here any more, as it may have been lost with the link. Must not know: who holds them
here (handles.py, references.py).
"""

from collections.abc import Iterable, Sequence

from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import Stored

__all__ = ["Holdings"]


class _Held:
    """One value."""

    __slots__ = ("nbytes", "parts", "times")

    def __init__(self, nbytes: int) -> None:
        self.times = 0
        self.nbytes = nbytes
        self.parts: Sequence[Buffer] = ()
        """What was sent."""


class Holdings:
    """Of one session."""

    def __init__(self) -> None:
        self._held: dict[bytes, _Held] = {}
        self._named: set[bytes] = set()
        """What was sent and named to the scheduler that came back."""

    def told(self, stored: Iterable[Stored], parts: Sequence[Buffer] = ()) -> None:
        """The scheduler told of these, or was told. `parts`: of one that was sent with that."""
        for each in stored:
            held = self._held.setdefault(each.id, _Held(each.nbytes))
            held.times += 1
            held.parts = parts or held.parts

    def dropped(self, ids: Iterable[bytes]) -> None:
        """One less of each."""
        for name in ids:
            held = self._held.get(name)
            if held is not None:
                held.times -= 1
                if not held.times:
                    del self._held[name]

    def sent(self) -> list[bytes]:
        """What was sent: the scheduler is about to say what of it it misses."""
        names = [name for name, held in self._held.items() if held.parts]
        self._named = set(names)
        return names

    def lost(self, missing: Iterable[bytes]) -> list[tuple[Stored, Sequence[Buffer]]]:
        """What is to be sent again: what the scheduler said that it misses, and what it wasn't asked for."""
        gone = set(missing)
        return [
            (Stored(0, name, held.nbytes), held.parts)
            for name, held in self._held.items()
            if held.parts and (name in gone or name not in self._named)
        ]

    def all(self, but_once: Iterable[bytes] = ()) -> list[Stored]:
        """Each as often as it counts; those that were told anew once less."""
        told = set(but_once)
        return [
            Stored(0, name, held.nbytes)
            for name, held in self._held.items()
            for _ in range(held.times - (name in told))
        ]
