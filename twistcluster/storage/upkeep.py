"""What the owner of a store's folder does for all: removing objects, giving memory back, moving objects to the disk.

Owns: limits of shared memory, and when they are enforced. Everything here takes a segment only while it is locked for us
alone, so that nobody reads or writes it, and cuts it short after its name is gone: that gives its memory back even where
a pool keeps a mapping of it (and finds out by the missing name before it touches it). Must not know: which objects are
still needed, threads, clocks.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from twistcluster.storage.copying import copy_all, is_full, remove_file, try_exclusive, unlock_and_close
from twistcluster.storage.layout import FREE, ID_AT, NEW, is_object
from twistcluster.storage.makers import Orphans

__all__ = ["Upkeep"]

_IDLE_SECONDS: Final = 60.0
"""Free segments are kept so long: a notebook works in bouts, and new pages cost several times what a copy does."""
_WRITTEN_SECONDS: Final = 10.0
"""After which a file that was being written is looked at: its lock is free if its writer died."""
_CROWDED: Final = 0.8
"""Of the file system: from here on nobody keeps free segments."""
_FULL: Final = 0.7
_ENOUGH: Final = 0.6
"""Of the limit: spilling goes on until this much is used."""
_SPILLED_BYTES: Final = 256 * 1024 * 1024
"""What one call copies to the disk, but for an object's rest."""
_STAMP_SECONDS: Final = 1.0
_TRIES: Final = 4096
"""Objects that one call looks at."""


class _Entry(NamedTuple):
    changed: int
    """When the name was given, in ns."""
    path: str
    name: str
    nbytes: int


class Upkeep:
    """Looks after the store in `folder`; one for each folder, in the process that owns it.

    Args:
        folder: of the store.
        limit_bytes: shared memory that the store may use before objects go to the disk. With it or without, they do so
            when 70 % of the file system are used, by whomever.
        known: whether somebody counts an object, asked in the thread that calls `look`. Others are removed once their
            maker is dead; without it they stay.
    """

    def __init__(
        self, folder: str, limit_bytes: int | None = None, known: Callable[[bytes], bool] | None = None
    ) -> None:
        self._folder = folder
        self._disk = f"{folder}/disk"
        self._limit = limit_bytes
        self._one_disk = os.stat(folder).st_dev == os.stat(self._disk).st_dev
        self._kept: dict[str, float] = {}
        """Files that aren't objects (segments kept free, objects being written), and when they were first seen."""
        self._listed: dict[str, tuple[int, float, float]] = {}
        """When a folder's names changed last (its own stamp, in ns), when that was first seen, when it was read last."""
        self._orphans = Orphans(folder, known, self._remove_name) if known is not None else None

    def remove(self, ids: Iterable[bytes]) -> None:
        """Remove objects whose makers are gone. Those that somebody maps stay readable there until they are let go."""
        for object_id in ids:
            self._remove_name(object_id.hex())

    def _remove_name(self, name: str) -> None:
        remove_file(f"{self._folder}/{name}", even_if_read=True)
        remove_file(f"{self._disk}/{name}", even_if_read=True)

    def rename(self, made: bytes, name: bytes) -> None:
        """An object takes the name of another, which was lost."""
        for place in (self._folder, self._disk):
            path = f"{place}/{made.hex()}"
            with contextlib.suppress(FileNotFoundError):
                fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    os.pwrite(fd, name, ID_AT)  # nobody reads it yet: its name was told to nobody
                    os.rename(path, f"{place}/{name.hex()}")
                finally:
                    os.close(fd)

    def look(self, now: float, *, short: bool = False) -> bool:
        """See what is to be done, and do some of it; to be called every second or so, always from the same thread.

        Args:
            now: seconds of a clock that only goes forward.
            short: whether the host is short of memory: then nobody keeps free segments.

        Returns:
            Whether there is more to move to the disk than one call does: then call again at once.
        """
        used, total = _file_system(self._folder)
        over = 0 if self._one_disk else self._over(used, total)
        self._give_back(now, everything=short or over > 0 or used > _CROWDED * total)
        if self._orphans is not None:
            self._orphans.look(now)
        return over > 0 and self._spill()

    def usage(self) -> tuple[int, int]:
        """Bytes that the store uses in shared memory (free segments too) and on the disk."""
        memory, disk = (sum(entry.nbytes for entry in _entries(place)) for place in (self._folder, self._disk))
        return memory, disk

    # ---- free segments -------------------------------------------------------------------------------------------------

    def _give_back(self, now: float, *, everything: bool) -> None:
        """Remove free segments, and what dead processes left half written, once they are idle."""
        for place in (self._folder, self._disk):
            self._note(place, now)
        wait = 0.0 if everything else _IDLE_SECONDS
        for path, seen in list(self._kept.items()):
            if now - seen >= (_WRITTEN_SECONDS if f"/{NEW}" in path else wait) and remove_file(path):
                del self._kept[path]

    def _note(self, place: str, now: float) -> None:
        """Which of them there are; a folder in which no name has changed isn't read again.

        Stamps are a few ms apart, so one that is new says nothing of what came right after: it is read once more later.
        """
        try:
            changed = os.stat(place).st_mtime_ns
            stamp, first, last = self._listed.get(place, (0, now, now))
            if stamp != changed:
                first = now
            elif last - first >= _STAMP_SECONDS:
                return
            names = {f"{place}/{name}" for name in os.listdir(place) if name.startswith((FREE, NEW))}
        except FileNotFoundError:
            return
        self._listed[place] = (changed, first, now)
        for path in [path for path in self._kept if os.path.dirname(path) == place and path not in names]:
            del self._kept[path]
        for path in names:
            self._kept.setdefault(path, now)

    # ---- spilling ------------------------------------------------------------------------------------------------------

    def _over(self, used: int, total: int) -> int:
        """Bytes that must go for shared memory to be at 60 % again; 0 below 70 %."""
        over = used - int(_ENOUGH * total) if used > _FULL * total else 0
        if self._limit is not None and used > self._limit and (own := self.usage()[0]) > self._limit:
            over = max(over, own - int(self._limit * _ENOUGH / _FULL))
        return over

    def _spill(self) -> bool:
        over = self._over(*_file_system(self._folder))
        enough = max(over - _SPILLED_BYTES, 0)
        oldest = sorted(entry for entry in _entries(self._folder) if is_object(entry.name))
        for entry in oldest[:_TRIES]:
            if over <= enough:
                return over > 0
            try:
                if _move(entry.path, f"{self._disk}/{entry.name}", f"{self._disk}/{NEW}{entry.name}"):
                    over -= entry.nbytes
            except OSError as error:
                if not is_full(error):
                    raise
                return False  # the disk is full too; writers will say so
        return False


# ---- files -------------------------------------------------------------------------------------------------------------


def _entries(place: str) -> Iterator[_Entry]:
    with contextlib.suppress(FileNotFoundError), os.scandir(place) as found:
        for entry in found:
            if entry.name == "lock" or entry.is_symlink():
                continue
            with contextlib.suppress(FileNotFoundError):
                state = entry.stat(follow_symlinks=False)
                yield _Entry(state.st_ctime_ns, entry.path, entry.name, state.st_blocks * 512)


def _file_system(place: str) -> tuple[int, int]:
    """Bytes used, and all bytes."""
    try:
        state = os.statvfs(place)
    except FileNotFoundError:
        return 0, 0
    return (state.f_blocks - state.f_bavail) * state.f_frsize, state.f_blocks * state.f_frsize


def _move(source: str, target: str, making: str) -> bool:
    """Move an object that nobody maps to the disk. Readers may read it all the while."""
    try:
        fd = os.open(source, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        if not try_exclusive(fd):
            return False
        fcntl.flock(fd, fcntl.LOCK_SH)  # keeps its maker from using the segment again while we copy
        _copy(fd, making)
        os.rename(making, target)
        return _leave(fd, source, target)
    finally:
        unlock_and_close(fd)


def _leave(fd: int, source: str, target: str) -> bool:
    """Remove what was moved from shared memory, unless somebody has mapped it meanwhile; then it stays there only."""
    alone = try_exclusive(fd)
    if alone:
        try:
            os.unlink(source)
        except FileNotFoundError:  # it was freed meanwhile, and its maker has the segment
            alone = False
        else:
            os.ftruncate(fd, 0)
    if not alone:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(target)
    return alone


def _copy(fd: int, target: str) -> None:
    copy = os.open(target, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        copy_all(fd, copy)
    except BaseException:
        os.unlink(target)
        raise
    finally:
        os.close(copy)
