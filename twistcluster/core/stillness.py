"""Slots whose processes are stopped (SIGSTOP, a debugger): noticed, worked around, welcomed back.

Owns: which slots are worth a look at their process, and what is done about one that is stopped. Must not know: how the
state of a process is read.

What such a slot runs stays its own: it isn't killed for it, and what it finishes late counts. Only what it hasn't started
is taken back, and it gets nothing more until it moves.
"""

from typing import TYPE_CHECKING, Final

from twistcluster.core.effects import Log
from twistcluster.core.slots import Slot

if TYPE_CHECKING:
    from twistcluster.core.worker import Worker

__all__ = ["STILL_S", "Stillness"]

STILL_S: Final = 1.0
"""A slot that has bites and whose page hasn't changed for so long is worth a look at its process."""


class Stillness:
    """Looks after slots that don't move."""

    __slots__ = ("_worker",)

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker

    def worth_a_look(self, now: float) -> list[int]:
        """The numbers of slots whose processes may be stopped, or were."""
        slots = self._worker.crew.slots.values()
        return [slot.number for slot in slots if slot.stopped or (slot.bites and now - slot.since >= STILL_S)]

    def seen(self, slot: Slot, stopped: bool) -> None:
        """How a slot's process is."""
        if stopped != slot.stopped:
            slot.stopped = stopped
            self._worker.crew.changed = True
            fields: dict[str, object] = {"slot": slot.place, "pid": slot.pid}
            if stopped:
                self._worker.effects.append(Log("warning", "slot is stopped", fields))
                if slot.bites:
                    self._worker.taking.all_unstarted(slot)
            else:
                self._worker.effects.append(Log("info", "slot goes on", fields))
