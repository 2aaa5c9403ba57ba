"""The store of a worker on another host: what its slots make, and copies of other hosts' values.

A worker that has no store in common with its scheduler has one of its own. What its slots make stays here until somebody
asks for it; what others made and its slots need is copied here once, under its own id. Owns: that store, what is in it
and who made that. Must not know: links, where a value comes from.
"""

import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from twistcluster.nodes.keeper import Keeper
from twistcluster.nodes.logging import log_event
from twistcluster.nodes.storing import Storing
from twistcluster.nodes.values_line import Done, Missed
from twistcluster.storage.folder import StoreFolder, clear_dead
from twistcluster.storage.upkeep import Upkeep
from twistcluster.storage.values import Held, ValueStore
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import Freed, Stored

__all__ = ["Fetched"]


class Fetched:
    """Has a folder of its own until it is closed.

    Args:
        reactor: Twisted's.
        clock: seconds that never go back.

    Raises:
        OSError: neither shared memory nor TMPDIR can be written.
    """

    def __init__(self, reactor: Any, clock: Callable[[], float] = time.monotonic) -> None:
        clear_dead()
        self._folder = StoreFolder.create(f"worker-{secrets.token_hex(4)}", writes=False)
        self._store = ValueStore(self._folder.path)
        self._storing = Storing(reactor, self._store, self._make_room)
        self._made: set[bytes] = set()
        self._copies: dict[bytes, None] = {}
        """In the order in which they came."""
        self._arriving: set[bytes] = set()
        """Copies that are being written."""
        self._upkeep = Upkeep(self._folder.path, known=self.has)
        self._keeper = Keeper(reactor, self._upkeep, clock)
        self._keeper.start()

    @property
    def folder(self) -> str:
        """What slots use it by."""
        return self._folder.path

    @property
    def ids(self) -> list[bytes]:
        """All that is here and was told to the scheduler, or came from there."""
        return [*self._made, *self._copies]

    @property
    def made_ids(self) -> list[bytes]:
        """What slots made of it."""
        return [*self._made]

    def take_results(self, *, yes: bool) -> None:
        """Whether what slots make is to stay here: not where the cluster's host has no store to fetch it to."""
        self._folder.take_values(yes=yes)

    def made(self, objects: Iterable[Stored]) -> None:
        """The scheduler is told that slots made these."""
        self._made.update(each.id for each in objects)

    def has(self, name: bytes) -> bool:
        """Whether it is here, as far as is known."""
        return name in self._made or name in self._copies

    def held(self, name: bytes) -> Held | None:
        """A value, if it is here."""
        found = self._store.held(name)
        if found is None:
            self._made.discard(name)
            self._copies.pop(name, None)
        return found

    def keep(self, name: bytes, pieces: Sequence[Buffer], sizes: Sequence[int], done: Done) -> None:
        """A value came. If need be it takes the place of copies, the oldest first, which can be fetched again.

        Args:
            name: its id.
            pieces: of the bytes of its parts, one after the other.
            sizes: of its parts.
            done: is told whether it is here then.
        """

        def stored(missed: Missed | None) -> None:
            if missed is not None:
                log_event("warning", "a value of another host has no room here", {"why": missed.full})
            elif name in self._arriving:
                self._copies[name] = None
            else:  # nobody can ask for it any more, or it was made again
                self._store.freed([name])
            self._arriving.discard(name)
            done(missed)

        if name in self._copies:
            done(None)
        else:
            self._arriving.add(name)
            self._storing.keep(name, pieces, sizes, stored)

    def _make_room(self) -> bool:
        if not self._copies:
            return False
        oldest = next(iter(self._copies))
        del self._copies[oldest]
        self._store.freed([oldest])
        return True

    def renamed(self, made: bytes, name: bytes) -> Freed | None:
        """A value was made again, and takes the name of the one that was lost, if it is here; what is here of that goes.

        Returns:
            What is said of that to the slot that made it.
        """
        self._arriving.discard(name)
        if made not in self._made:
            return self.freed(Freed([name])) if self.has(name) else None
        self._upkeep.rename(made, name)
        self._made.remove(made)
        self._made.add(name)
        self._copies.pop(name, None)
        return None

    def freed(self, message: Freed) -> Freed | None:
        """Nobody can ask for these any more. Returns what is said of those that slots made."""
        self._arriving.difference_update(message.ids)
        gone = {name for name in message.ids if name in self._copies}
        self._store.freed(gone)
        for name in gone:
            del self._copies[name]
        rest = [name for name in message.ids if name not in gone]
        self._made.difference_update(rest)
        return Freed(rest) if rest else None

    def close(self) -> None:
        """The worker has ended."""
        self._keeper.stop()
        self._store.close()
        self._folder.remove()
