"""A worker's slots as processes: how many, which are started, replaced and ended.

Owns: the slots' records, the spare process that is started ahead once slots change hands, and the pause before another
start where fresh processes die. Must not know: jobs, leases.
"""

from typing import Final

from twistcluster.core.effects import Log
from twistcluster.core.slots import Slot
from twistcluster.core.worker_effects import KillSlot, StartSlot, WorkerEffect

__all__ = ["Crew"]

DEATHS_IN_A_ROW: Final = 3
"""Fresh processes that may die before the next start waits."""
LONGEST_PAUSE_S: Final = 30.0


class Crew:
    """The slots of one worker.

    Args:
        effects: what is to be done is appended here.
        target: how many slots there should be.
    """

    __slots__ = (
        "_deaths_in_a_row",
        "_effects",
        "_next",
        "changed",
        "crashes",
        "slots",
        "spare",
        "target",
        "wants_spare",
    )

    def __init__(self, effects: list[WorkerEffect], target: int) -> None:
        self._effects = effects
        self._next = 1
        self._deaths_in_a_row = 0
        self.target = target
        self.slots: dict[int, Slot] = {}
        self.spare: Slot | None = None
        self.wants_spare = False
        self.crashes = 0
        self.changed = False
        """Something of what people are told of slots; whoever tells it resets this."""

    def get(self, number: int) -> Slot | None:
        """A slot, or the spare."""
        if self.spare is not None and self.spare.number == number:
            return self.spare
        return self.slots.get(number)

    def fill(self, now: float) -> None:
        """Start what is missing."""
        self.changed = True
        places = {slot.place for slot in self.slots.values()}
        missing = self.target - sum(slot.draining != "retire" for slot in self.slots.values())
        place = 0
        while missing > 0:
            place += 1
            if place not in places:
                self._take(place, now)
                missing -= 1

    def keep_spare(self, now: float) -> None:
        """Start the spare process, once all slots are up: it must not make their start slower."""
        if self.spare is None and self.target and all(s.ready for s in self.slots.values()):
            self.spare = self._start(0, now)

    def _take(self, place: int, now: float) -> Slot:
        slot, self.spare = self.spare, None
        if slot is None:
            slot = self._start(place, now)
        slot.place = place
        self.slots[slot.number] = slot
        return slot

    def _start(self, place: int, now: float) -> Slot:
        slot = Slot(self._next, place, now)
        self._next += 1
        over = self._deaths_in_a_row - DEATHS_IN_A_ROW
        pause = min(2.0 ** min(over, 16), LONGEST_PAUSE_S) if over >= 0 else 0.0
        if pause:
            self._effects.append(
                Log("error", "new slots die before they are ready; waiting before the next", {"seconds": pause})
            )
        self._effects.append(StartSlot(slot.number, pause))
        return slot

    def ready(self, slot: Slot, pid: int) -> None:
        """A process is up."""
        self.changed = True
        slot.ready = True
        slot.pid = pid
        self._deaths_in_a_row = 0

    def died(self, slot: Slot, reason: str, now: float) -> None:
        """A process died; a slot gets another."""
        self.changed = True
        if slot.ready:
            self.crashes += 1
        else:
            self._deaths_in_a_row += 1
        self._effects.append(Log("warning", "slot died", {"slot": slot.place, "pid": slot.pid, "reason": reason}))
        if slot is self.spare:
            self.spare = None
            self.wants_spare = slot.ready  # one that can't start isn't tried again until it is needed
        else:
            del self.slots[slot.number]
            self._succeed(slot, now)

    def end(self, slot: Slot, now: float) -> None:
        """A slot is through: end its process, and put another in its place unless it shall go."""
        self.changed = True
        del self.slots[slot.number]
        self._effects.append(KillSlot(slot.number))
        self._succeed(slot, now)

    def _succeed(self, slot: Slot, now: float) -> None:
        if slot.draining != "retire":
            self._take(slot.place, now).reserved = slot.heir

    def drop_spare(self) -> None:
        """End the spare process."""
        if self.spare is not None:
            self._effects.append(KillSlot(self.spare.number))
            self.spare = None
