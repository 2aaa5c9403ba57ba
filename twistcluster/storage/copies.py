"""Copies of values on the disk, in a folder beside the journal: there after a reboot, when their store is gone.

Owns: that folder and its files. A copy is a file as in a store, under the same name: whoever reads the store finds it
through the link `kept` there, after all other places. It gets its name once it is on the disk as a whole. Must not know:
which values shall have one, threads.
"""

import contextlib
import os
from collections.abc import Iterable
from typing import Final, NamedTuple

from twistcluster.storage.copying import copy_all, is_full, open_shared, remove_file, unlock_and_close
from twistcluster.storage.layout import NEW, is_object

__all__ = ["Copied", "Copies", "copies_beside", "copies_of"]

_FOLDER: Final = "kept"


class Copied(NamedTuple):
    """What became of copies that were to be made."""

    written: list[bytes]
    missing: list[bytes]
    """Of values that are in the store no more."""
    unwritten: list[bytes]
    trouble: str = ""
    """Why the last can't be written, and what to do."""


def copies_beside(journal: str) -> str:
    """The folder of copies that belongs to a journal."""
    return os.path.join(os.path.dirname(journal), _FOLDER)


def copies_of(journal: str) -> list[bytes]:
    """The ids of all copies beside a journal. What a process that died left half written is removed."""
    folder, found = copies_beside(journal), []
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if name.startswith(NEW):
                os.unlink(f"{folder}/{name}")
            elif is_object(name):
                found.append(bytes.fromhex(name))
    return found


class Copies:
    """Makes and removes copies beside a journal.

    Args:
        journal: its path.
        store: the folder of the store that the values are in.

    Example:
        >>> import tempfile
        >>> from twistcluster.storage.pool import Pool
        >>> with tempfile.TemporaryDirectory() as store, tempfile.TemporaryDirectory() as state:
        ...     object_id, _ = Pool(store).write([b"pickle", bytes(100_000)])
        ...     done = Copies(f"{state}/journal.db", store).make([object_id])
        ...     copies_of(f"{state}/journal.db") == done.written == [object_id]
        True
    """

    def __init__(self, journal: str, store: str) -> None:
        self._folder = copies_beside(journal)
        self._store = store

    def make(self, ids: Iterable[bytes]) -> Copied:
        """Copy these values; what is written is on the disk. After the first that can't be written no other is tried."""
        done = Copied([], [], [])
        for each in ids:
            if not done.trouble:
                try:
                    self._make_folder()
                    (done.written if self._copy(each.hex()) else done.missing).append(each)
                    continue
                except OSError as error:
                    done = done._replace(trouble=self._trouble(error))
            done.unwritten.append(each)
        if done.written:
            try:
                _sync(self._folder)
            except OSError as error:
                return Copied([], done.missing, done.written + done.unwritten, self._trouble(error))
        return done

    def remove(self, ids: Iterable[bytes]) -> None:
        """Remove copies. Those that somebody maps stay readable there until they are let go."""
        for each in ids:
            remove_file(f"{self._folder}/{each.hex()}", even_if_read=True)

    def _make_folder(self) -> None:
        if not os.path.isdir(self._folder):
            os.mkdir(self._folder, 0o700)
            os.chmod(self._folder, 0o700)  # a umask may have taken our own rights away
            _sync(os.path.dirname(self._folder))

    def _copy(self, name: str) -> bool:
        """Whether it is in the store, and now on the disk."""
        if (fd := self._opened(name)) is None:
            return False
        making = f"{self._folder}/{NEW}{name}"
        try:
            _write(fd, making)
            os.rename(making, f"{self._folder}/{name}")
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(making)
            raise
        finally:
            unlock_and_close(fd)
        return True

    def _opened(self, name: str) -> int | None:
        """The value's file, locked so that its maker doesn't use the segment again; None: it is not in the store."""
        # On its way to the disk a value is there before it leaves memory, unless it is left in memory after all.
        for place in (self._store, f"{self._store}/disk", self._store):
            if (shared := open_shared(f"{place}/{name}")) is not None:
                return shared[0]
        return None

    def _trouble(self, error: OSError) -> str:
        if is_full(error):
            return f"The disk of {self._folder} is full, so large results can't be kept there: make room there."
        return f"Large results can't be kept in {self._folder} ({error.strerror or error}): look at its disk."


def _write(fd: int, path: str) -> None:
    copy = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        copy_all(fd, copy)
        os.fsync(copy)
    finally:
        os.close(copy)


def _sync(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
