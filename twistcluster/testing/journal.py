"""A simulated journal: it writes in commits, which take their time.

Owns: `SimulatedJournal`: what was recorded and isn't written yet, and which part of it a crash leaves. Must not know: how
a scheduler is made of it.
"""

import random
from collections.abc import Callable

from twistcluster.core.effects import Marks, ReadLog, Record
from twistcluster.core.rows import EntryRow
from twistcluster.testing.clock import StepClock
from twistcluster.testing.paper import Book

__all__ = ["SimulatedJournal"]

ROWS_AT_ONCE = 3
"""Of a log that is read back."""


class SimulatedJournal:
    """A book, and one who writes into it.

    Args:
        clock: simulated time.
        chance: all that is random.
        commit_s: the longest time from a record to the commit that has it.
    """

    def __init__(self, clock: StepClock, chance: random.Random, commit_s: float) -> None:
        self.book = Book()
        self._clock = clock
        self._chance = chance
        self._commit_s = commit_s
        self._unwritten: list[tuple[Record, Callable[[Marks], None]]] = []
        self._due = False
        self._lives = 0
        """Crashes so far: what was under way before one is of no account."""

    def record(self, effect: Record, done: Callable[[Marks], None]) -> None:
        """Write this down, and say so."""
        self._unwritten.append((effect, done))
        if not self._due:
            self._due = True
            self._later(self._commit)

    def read(self, effect: ReadLog, done: Callable[[list[EntryRow]], None]) -> None:
        """Read entries back; what was recorded before is written first."""
        self._later(self._read, effect, done)

    def crash(self) -> bool:
        """The process is killed: a commit may just have been made. Returns whether all was written."""
        before = len(self._unwritten)
        written = self._chance.choice([0, before, self._chance.randint(0, before)])
        for effect, _ in self._unwritten[:written]:
            self.book.record(effect.changes)
        self._unwritten.clear()
        self._due = False
        self._lives += 1
        return written == before

    def _later(self, call: Callable[..., None], *args: object) -> None:
        due = self._clock.now + self._commit_s * self._chance.random()
        self._clock.at(due, self._if_alive, self._lives, call, *args)

    def _if_alive(self, lives: int, call: Callable[..., None], *args: object) -> None:
        if lives == self._lives:
            call(*args)

    def _commit(self) -> None:
        self._due = False
        unwritten, self._unwritten = self._unwritten, []
        for effect, _ in unwritten:
            self.book.record(effect.changes)
        for effect, done in unwritten:
            done(effect.marks)

    def _read(self, effect: ReadLog, done: Callable[[list[EntryRow]], None]) -> None:
        self._commit()
        done(self.book.read_log(effect.job.key, effect.place)[:ROWS_AT_ONCE])
