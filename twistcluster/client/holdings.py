"""Values in stores that the scheduler believes this program can ask for, and how often it was told.

On the reactor's thread. Owns: that count, so that it can be said again to a scheduler that came back. Must not know: who
holds them here (handles.py, references.py).
"""

from collections.abc import Iterable

from twistcluster.wire.messages import Stored

__all__ = ["Holdings"]


class Holdings:
    """Of one session."""

    def __init__(self) -> None:
        self._times: dict[bytes, list[int]] = {}
        """By id: how often, and bytes."""

    def told(self, stored: Iterable[Stored]) -> None:
        """The scheduler told of these, or was told."""
        for each in stored:
            self._times.setdefault(each.id, [0, each.nbytes])[0] += 1

    def dropped(self, ids: Iterable[bytes]) -> None:
        """One less of each."""
        for name in ids:
            entry = self._times.get(name)
            if entry is not None:
                entry[0] -= 1
                if not entry[0]:
                    del self._times[name]

    def all(self) -> list[Stored]:
        """Each as often as it counts."""
        return [Stored(0, name, nbytes) for name, (times, nbytes) in self._times.items() for _ in range(times)]
