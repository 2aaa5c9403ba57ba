"""Values that somebody misses, which may lie on another host.

A value stays where it was made until somebody can't read it: a client that wants a result, a slot whose item needs it.
The node has it brought to this host; what is nowhere any more is made again for a client (remaking.py), and a slot is
told, whose item then waits for that. Owns: who waits for which value to come. Must not know: where it lies.
"""

from typing import TYPE_CHECKING

from twistcluster.core.clients import Client
from twistcluster.core.effects import Bring
from twistcluster.core.workers import Worker
from twistcluster.wire.messages import Answer, Brought, Declined

if TYPE_CHECKING:
    from twistcluster.core.scheduler import Scheduler

__all__ = ["Bringing"]


class Bringing:
    """All that is on its way to this host."""

    __slots__ = ("_scheduler", "_waiting")

    def __init__(self, scheduler: "Scheduler") -> None:
        self._scheduler = scheduler
        self._waiting: dict[bytes, list[tuple[Client, int] | Worker]] = {}
        """Clients with the numbers of their questions, and workers of this host."""

    def asked(self, name: bytes, who: tuple[Client, int] | Worker) -> None:
        """A value is missed."""
        waiting = self._waiting.get(name)
        if waiting is not None:
            waiting.append(who)
            return
        self._waiting[name] = [who]
        self._scheduler.effects.append(Bring(name))

    def brought(self, name: bytes, *, there: bool, full: str) -> None:
        """It is in this host's store now, or nowhere to be had, or has no room there (`full` says why, in words)."""
        scheduler = self._scheduler
        for who in self._waiting.pop(name, ()):
            if isinstance(who, Worker):
                if scheduler.leasing.workers.get(who.peer) is who:
                    scheduler.send(who.peer, Brought(name, there, full))
                continue
            client, request = who
            if not (there or full):
                scheduler.remaking.asked(client, request, name)
            elif client.peer is not None:
                scheduler.send(client.peer, Answer(request) if there else Declined(request, "room", full))
