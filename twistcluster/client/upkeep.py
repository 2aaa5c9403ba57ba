"""What a program's process does for its memory while the program does nothing.

Owns: the timer for that. Must not know: what is kept, and for how long (storage/mappings.py).
"""

from twistcluster.net.turn import Timers
from twistcluster.storage import mappings

__all__ = ["begin"]

_reactors: list[Timers] = []
"""On which it goes on."""


def begin(reactor: Timers) -> None:
    """From now on look every so often what can be given up; does nothing the second time.

    On the reactor's thread. It goes on for as long as the process does: a program may hold values of a cluster that it
    has left.
    """
    if reactor not in _reactors:
        _reactors.append(reactor)
        _look(reactor)


def _look(reactor: Timers) -> None:
    mappings.expire()
    reactor.callLater(mappings.LOOK_SECONDS, _look, reactor)
