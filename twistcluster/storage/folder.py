"""A store's folder: in shared memory, with a second one on the disk behind the link `disk` in it.

Owns: its name and modes, whether its owner lives, removing it. An owner lives as long as it holds the lock on the file
`lock` in a folder; a folder gets its name only when that lock is held. So a folder whose lock is free has lost its owner,
however that died, and pids mean nothing here. Must not know: what lies in the folder.
"""

import contextlib
import os
import pathlib
import re
import secrets
import shutil
import stat
import tempfile
import time
import weakref
from typing import Final

from twistcluster.errors import AccessDenied
from twistcluster.storage.copies import copies_beside
from twistcluster.storage.copying import remove_file, try_exclusive

__all__ = ["READ_ONLY", "StoreFolder", "check", "clear_dead"]

SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108  (the folders made there are private)
_LOCK: Final = "lock"
READ_ONLY: Final = "read-only"
"""A file that says: nobody puts values of their own here."""
_DISK: Final = "disk"
_JOURNAL: Final = "journal"
"""The link to the journal of a cluster that comes back."""
_KEPT: Final = "kept"
"""The link to the copies of values beside the journal (copies.py); where there are none yet, it leads nowhere."""
_UNNAMED: Final = ".new"
"""Ends the name of a folder that is being made. One that stays so for a minute was left by a process that died."""
_UNNAMED_SECONDS: Final = 60.0


class StoreFolder:
    """The folder of one cluster's store on this host. Its owner makes it; clients and workers are told its path.

    Attributes:
        path: of the folder in shared memory (in TMPDIR where there is none, or it can't be written).
    """

    def __init__(self, path: str, locks: list[int]) -> None:
        self.path = path
        self._locks = locks
        _folders.add(self)

    @classmethod
    def adopt(cls, path: str, journal: str) -> "StoreFolder | None":
        """Take over the folder of a cluster that died, if it is there and is of that journal."""
        folder = pathlib.Path(path)
        locks = []
        with contextlib.suppress(OSError, AccessDenied):
            check(path)
            disk = pathlib.Path(os.readlink(folder / _DISK))
            if os.readlink(folder / _JOURNAL) == journal:
                locks = [lock for each in (disk, folder) if (lock := _lock_of_dead(each)) is not None]
        if len(locks) == 2:
            return cls(path, locks)
        for lock in locks:
            os.close(lock)
        return None

    @classmethod
    def create(cls, cluster_id: str, journal: str = "", *, writes: bool = True) -> "StoreFolder":
        """Make the folder, both parts of it, locked by this process.

        With a `journal`, nobody but who has that removes it as long as that is there. If nobody `writes` values there,
        it is for copies of other hosts' only.

        Raises:
            ValueError: `cluster_id` can't stand in a file's name.
            AccessDenied: somebody took the name.
            OSError: neither shared memory nor TMPDIR can be written.
        """
        if not re.fullmatch(r"[\w.-]{1,100}", cluster_id):
            raise ValueError(
                f"{cluster_id!r} can't be part of a folder's name: it takes letters, digits, '_', '.', '-'"
            )
        name = f"{_prefix()}{cluster_id}-{secrets.token_hex(8)}"
        disk, disk_lock = _make(tempfile.gettempdir(), f"{name}-{_DISK}", {_JOURNAL: journal})
        try:
            copies = copies_beside(journal) if journal else ""
            path, lock = _make(_base(), name, {_DISK: disk, _JOURNAL: journal, _KEPT: copies})
        except BaseException:
            shutil.rmtree(disk, ignore_errors=True)
            os.close(disk_lock)
            raise
        made = cls(path, [disk_lock, lock])
        made.take_values(yes=writes)
        return made

    def take_values(self, *, yes: bool) -> None:
        """Whether others than its owner may put values here, from now on."""
        mark = pathlib.Path(self.path, READ_ONLY)
        if yes:
            mark.unlink(missing_ok=True)
        else:
            mark.touch(0o600)

    def remove(self) -> None:
        """Remove both folders with all that is in them. What somebody maps stays readable there until it is let go."""
        _remove(pathlib.Path(self.path))
        self._forget()

    def leave(self) -> None:
        """Let go of it: whoever has its journal may adopt it."""
        self._forget()

    def _forget(self) -> None:
        while self._locks:
            os.close(self._locks.pop())


def check(path: str) -> None:
    """Make sure that a store's folder is ours alone, before anything in it is trusted.

    Raises:
        AccessDenied: it is somebody else's, open to others, a link, or not there.
    """
    _check(pathlib.Path(path))
    with contextlib.suppress(FileNotFoundError):
        _check(pathlib.Path(os.readlink(pathlib.Path(path, _DISK))))


def clear_dead() -> None:
    """Remove the store folders of this user whose owners are gone."""
    for base in {_base(), tempfile.gettempdir()}:
        for path in pathlib.Path(base).glob(f"{_prefix()}*"):
            with contextlib.suppress(OSError):  # another process clears it too, or it isn't ours
                _clear(path)


# ---- making ------------------------------------------------------------------------------------------------------------


def _prefix() -> str:
    return f"twistcluster-{os.geteuid()}-"


def _base() -> str:
    base = os.environ.get("TWISTCLUSTER_SHM", SHARED_MEMORY)
    usable = os.path.isdir(base) and os.access(base, os.W_OK | os.X_OK)
    return os.path.abspath(base) if usable else tempfile.gettempdir()


def _make(base: str, name: str, links: dict[str, str]) -> tuple[str, int]:
    """A folder that nobody sees unlocked: it is made under another name first."""
    making, made = pathlib.Path(base, name + _UNNAMED), pathlib.Path(base, name)
    making.mkdir(mode=0o700)
    making.chmod(0o700)  # a umask may have taken our own rights away; it can't have given any to others
    _check(making)
    lock = os.open(making / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.fchmod(lock, 0o600)
    if not try_exclusive(lock):
        raise AccessDenied(f"{making} is used by somebody else: remove it, then try again")
    for link, target in links.items():
        if target:
            (making / link).symlink_to(target)
    making.rename(made)
    return str(made), lock


def _check(path: pathlib.Path) -> None:
    try:
        state = path.lstat()
    except FileNotFoundError:
        raise AccessDenied(
            f"the store's folder {path} is not there: its cluster has ended, or runs elsewhere"
        ) from None
    if not stat.S_ISDIR(state.st_mode):
        raise AccessDenied(f"{path} is not a folder (or a link to one), so it is no store of ours: remove it")
    if state.st_uid != os.geteuid():
        raise AccessDenied(f"the store's folder {path} belongs to the user with id {state.st_uid}, not to you")
    if stat.S_IMODE(state.st_mode) != 0o700:
        raise AccessDenied(
            f"the store's folder {path} must be open to you alone (its mode is {stat.S_IMODE(state.st_mode):o}): "
            f"run `chmod 700 {path}`"
        )


# ---- removing ----------------------------------------------------------------------------------------------------------


def _clear(path: pathlib.Path) -> None:
    state = path.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid():
        return
    if path.name.endswith(_UNNAMED) and time.time() - state.st_ctime < _UNNAMED_SECONDS:
        return
    if (lock := _lock_of_dead(path)) is None:
        return
    if not (path / _JOURNAL).exists():
        _remove(path)
    os.close(lock)


def _lock_of_dead(path: pathlib.Path) -> int | None:
    """Its lock, now held by us so that nobody else clears it; None if its owner lives."""
    lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    if try_exclusive(lock):
        return lock
    os.close(lock)
    return None


def _remove(path: pathlib.Path) -> None:
    """The folder, and its folder on the disk: wherever TMPDIR was then."""
    with contextlib.suppress(OSError):
        disk = pathlib.Path(os.readlink(path / _DISK))
        _check(disk)
        if disk.name == f"{path.name.removesuffix(_UNNAMED)}-{_DISK}":
            _empty(disk)
    _empty(path)


def _empty(path: pathlib.Path) -> None:
    """Remove the folder; the memory of its files goes with it, but where somebody still reads one."""
    with contextlib.suppress(OSError):
        for entry in path.iterdir():
            if entry.name != _LOCK and entry.is_file() and not entry.is_symlink():
                remove_file(str(entry), even_if_read=True)
    shutil.rmtree(path, ignore_errors=True)


# ---- forks -------------------------------------------------------------------------------------------------------------

_folders: "weakref.WeakSet[StoreFolder]" = weakref.WeakSet()


def _close_locks() -> None:
    """A forked child must not keep its parent's folder alive."""
    for folder in _folders:
        folder._forget()  # noqa: SLF001  (our own class)


os.register_at_fork(after_in_child=_close_locks)
