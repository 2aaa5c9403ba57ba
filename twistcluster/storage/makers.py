"""Who writes into a store, and what those who died left in it that nobody was told of.

A process that writes objects holds the lock on a file of its own in the store's folder `makers`, named by what its ids
begin with. A process that is killed may have written objects that no scheduler has heard of: nobody frees those. So when
a maker's lock is free, its unknown objects are removed after a while; what it told of is on its way no longer than that.
Owns: these files, and that removal. Must not know: how an object is written or read, who counts.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable
from typing import Final

from twistcluster.storage.copying import is_full, try_exclusive, unlock_and_close
from twistcluster.storage.layout import is_object

__all__ = ["Orphans", "begin_making"]

_FOLDER: Final = "makers"
_EVERY_SECONDS: Final = 5.0
_WAIT_SECONDS: Final = 60.0
"""For which a dead maker's last word may still be on its way."""


def begin_making(store: str, maker: bytes) -> int | None:
    """Say that this process writes objects whose ids begin so; the descriptor is held for as long as it does.

    Returns:
        None where there is no room for one more file: what this process leaves behind stays until the cluster ends.

    Raises:
        FileNotFoundError: the store's folder is gone.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(f"{store}/{_FOLDER}", 0o700)
    try:
        fd = os.open(f"{store}/{_FOLDER}/{maker.hex()}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if not is_full(error):
            raise
        return None
    fcntl.flock(fd, fcntl.LOCK_EX)  # waits only while the store's owner looks whether we live
    return fd


class Orphans:
    """Removes what dead makers left; for the store's owner.

    Args:
        store: its folder.
        known: whether somebody counts an object; asked in the caller's thread.
        remove: an object, by its name.
    """

    def __init__(self, store: str, known: Callable[[bytes], bool], remove: Callable[[str], object]) -> None:
        self._store = store
        self._known = known
        self._remove = remove
        self._looked = float("-inf")
        self._dead: dict[str, float] = {}
        """Names of makers' files whose locks are free, and when that was first seen."""

    def look(self, now: float) -> None:
        """See who has died, and remove what those who died a while ago left."""
        if now - self._looked < _EVERY_SECONDS:
            return
        self._looked = now
        self._dead = {name: self._dead.get(name, now) for name in self._names() if not self._lives(name)}
        over = [name for name, seen in self._dead.items() if now - seen >= _WAIT_SECONDS]
        if over:
            self._sweep(frozenset(over))
        for name in over:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self._store}/{_FOLDER}/{name}")

    def _names(self) -> list[str]:
        try:
            return os.listdir(f"{self._store}/{_FOLDER}")
        except FileNotFoundError:
            return []

    def _lives(self, name: str) -> bool:
        try:
            fd = os.open(f"{self._store}/{_FOLDER}/{name}", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        if not try_exclusive(fd):
            os.close(fd)
            return True
        unlock_and_close(fd)
        return False

    def _sweep(self, makers: frozenset[str]) -> None:
        for place in (self._store, f"{self._store}/disk"):
            with contextlib.suppress(FileNotFoundError):
                for name in os.listdir(place):
                    if is_object(name) and name[:16] in makers and not self._known(bytes.fromhex(name)):
                        self._remove(name)
