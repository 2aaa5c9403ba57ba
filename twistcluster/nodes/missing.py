"""Values that a worker's slots can't read in their store: who waits for which.

On the scheduler's host such a value lies with a worker elsewhere, and the scheduler is asked to bring it. Owns: who waits.
A worker elsewhere has another way (`nodes/fetching.py`). Must not know: where values lie, slots.
"""

from collections.abc import Callable, Sequence

from twistcluster.net.channel import Channel
from twistcluster.nodes.values_line import Done, Missed
from twistcluster.wire.messages import Brought, Message, Stored, Welcome

__all__ = ["Missing"]


class Missing:
    """Of a worker that shares its store with the scheduler.

    Args:
        ask: asks the scheduler for a value.
    """

    def __init__(self, ask: Callable[[bytes], None]) -> None:
        self._ask = ask
        self._waiting: dict[bytes, list[Done]] = {}

    def joined(self, link: Channel, welcome: Welcome, process: str) -> None:
        """The scheduler has taken the worker."""

    def hand_over(self, link: Channel, done: Callable[[], None]) -> None:
        """The worker leaves; `done` is called once others have what they need of its values. Here these outlive it."""
        done()

    def left(self) -> None:
        """The link to the scheduler is lost: nothing that was asked for comes."""
        for name in [*self._waiting]:
            self._answer(name, Missed())

    def wanted(self, name: bytes, done: Done) -> None:
        """A slot can't read a value; `done` is told whether it can now."""
        waiting = self._waiting.setdefault(name, [])
        waiting.append(done)
        if len(waiting) == 1:
            self._ask(name)

    def made(self, objects: Sequence[Stored]) -> None:
        """The scheduler is told that slots made these."""

    def heard(self, message: Message) -> Message | None:
        """The scheduler said something; returns what is left of it for others."""
        if type(message) is not Brought:
            return message
        self._answer(message.id, None if message.there else Missed(message.full))
        return None

    def _answer(self, name: bytes, missed: Missed | None) -> None:
        for done in self._waiting.pop(name, ()):
            done(missed)
