"""Copies of other hosts' values, in a store that a worker on its own has for them.

A worker that has no store in common with its scheduler gets most values inside the pages that name them. What arguments
refer to comes once, for all its slots, and lies here under its own id until nobody can ask for it. Owns: that store. Must
not know: links, slots.
"""

import secrets
from collections.abc import Sequence

from twistcluster.errors import StoreFull
from twistcluster.nodes.logging import log_event
from twistcluster.storage.folder import StoreFolder, clear_dead
from twistcluster.storage.values import ValueStore
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import Freed

__all__ = ["Fetched"]


class Fetched:
    """Has a folder of its own until it is closed.

    Raises:
        OSError: neither shared memory nor TMPDIR can be written.
    """

    def __init__(self) -> None:
        clear_dead()
        self._folder = StoreFolder.create(f"worker-{secrets.token_hex(4)}", writes=False)
        self._store = ValueStore(self._folder.path)
        self._ids: set[bytes] = set()

    @property
    def folder(self) -> str:
        """What slots read it by."""
        return self._folder.path

    def came(self, name: bytes, parts: Sequence[Buffer]) -> None:
        """A value came. Without room for it, what needs it is told as missing it."""
        if name in self._ids:
            return
        try:
            self._store.copy(name, parts)
        except StoreFull as error:
            log_event("warning", "a value of another host has no room here", {"error": error})
        else:
            self._ids.add(name)

    def freed(self, message: Freed) -> Freed | None:
        """Nobody can ask for these any more. Returns what is said of others."""
        gone = self._ids.intersection(message.ids)
        self._store.freed(gone)
        self._ids -= gone
        rest = [name for name in message.ids if name not in gone]
        return Freed(rest) if rest else None

    def clear(self) -> None:
        """Nothing of it is needed: whoever comes next says it all anew."""
        self._store.freed(self._ids)
        self._ids.clear()

    def close(self) -> None:
        """The worker has ended."""
        self._store.close()
        self._folder.remove()
