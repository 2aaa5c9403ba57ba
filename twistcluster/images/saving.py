"""Pictures into a folder: whole or not at all, nothing overwritten unasked, nothing made twice.

Owns: the files and the records of one target folder. Must not know: clusters, steps, what bytes are.

**Never half a file.** Bytes are written to a file in the records' folder, brought to the disk (fsync), and get their
name by one link, which fails where the name is taken; with `overwrite`, by one rename. Modes are as umask says. A
process that is killed leaves at most a nameless part in the records' folder; whoever opens the folder next removes it
(a living writer holds a lock on its part).

**What is known of a picture that is there** stands in `.twistcluster/made.sqlite` beside the pictures: its name, its
stamp (`stamps`: source, steps, options), its size and time of modification. A picture is taken for made if its stamp
is the wanted one and size and time are those that were recorded: one stat and one look-up, no read. Why there:

- Inside the pictures there is no place that all formats have, and it would change what the user asked for.
- One small file beside each picture doubles the number of files, and is published with them.
- Extended attributes are lost by most copies, and many file systems have none.
- A record lives as long as its folder, also when that is moved. Whoever deletes it loses no picture: the next run says
  that files of these names are there, and asks for `overwrite=True`.

The record is written before the picture gets its name. Killed between the two, there is a record without its picture
(made again) but never a picture without its record (which would look like somebody else's).
"""

import contextlib
import errno
import fcntl
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

from twistcluster.errors import PictureExists, PictureNameRefused, PictureUnwritable
from twistcluster.images.names import RECORDS

__all__ = ["Folder"]

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS made (
    name TEXT PRIMARY KEY, stamp TEXT, size INTEGER, mtime_ns INTEGER, run TEXT
) WITHOUT ROWID
"""
"""`run`: which run made it, and of which of its pictures: "3f2a/12" (`_whose`)."""
_BUSY_S: Final = 30.0
_PART: Final = ".part"
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
"""What file systems without links (FAT, some network shares) answer."""


class Folder:
    """A folder that pictures are saved to; several processes and threads may have it open.

    Args:
        path: The folder; it is made if it isn't there.
        overwrite: Whether files of the same name may be replaced: those of other runs; two pictures of one run that
            have the same name are an error always.
        run: Names the run, where several processes save for one; by default this is a run of its own.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place, Folder(place) as folder:
    ...     folder.has("cat.webp", "stamp of the cat")
    ...     path = folder.write("cat.webp", b"RIFF and so on", "stamp of the cat")
    ...     folder.has("cat.webp", "stamp of the cat")
    False
    True

    Raises:
        PictureUnwritable: The folder can't be made or written to.
    """

    def __init__(self, path: str | os.PathLike[str], *, overwrite: bool = False, run: str = "") -> None:
        self._overwrite = overwrite
        self._run = run or secrets.token_hex(8)
        self._lock = threading.Lock()
        self._naming = threading.Lock()
        try:
            Path(path).mkdir(parents=True, exist_ok=True)
            self.path = Path(path).resolve()
            self._records = self.path / RECORDS
            self._records.mkdir(exist_ok=True)
            self._sweep()
            self._turn = os.open(self._records / "turn", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            self._database = sqlite3.connect(
                self._records / "made.sqlite", timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            # A record that a power cut takes away costs a picture made again. No WAL: the folder may be on a network.
            self._database.execute("PRAGMA synchronous = OFF")
            self._database.execute(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise PictureUnwritable(f"pictures can't be saved to {path}: {_why(error)}") from error

    def has(self, name: str, stamp: str | None, number: int | None = None, *, anew: bool = False) -> bool:
        """Whether the picture of this name and stamp is there, as it was made: it need not be made again.

        Args:
            name: Relative to the folder, as `Pattern.path` gives it.
            stamp: As `stamps.stamp` gives it; None is never there.
            number: Of the picture in this run, by which one that comes twice (an item may run again) is told from
                another of the same name. None: it comes once.
            anew: What another run made doesn't count.

        Raises:
            PictureExists: Something else of this name is there, and may not be replaced.
            PictureNameRefused: The name leads out of the folder.
        """
        target, whose = self._target(name), self._whose(number)
        try:
            record = self._record(name)
            if self._is_made(target, record, stamp, anew=anew):
                if not self._is_of_this_run(record):  # it is now: no other picture of this run may take the name
                    self._keep(name, (*record[:3], whose))
                return True
            self._may_take(name, target, record, stamp, whose)
        except PictureExists:
            raise
        except (OSError, sqlite3.Error) as error:
            raise PictureUnwritable(f"{target} can't be looked at: {_why(error)}") from error
        return False

    def write(
        self, name: str, data: bytes, stamp: str | None, number: int | None = None, *, anew: bool = False
    ) -> Path:
        """Save a picture's bytes, and return its path.

        Args:
            name: Relative to the folder; folders in it are made.
            data: All of the file.
            stamp: What it was made of; None if that can't be told.
            number: As in `has`.
            anew: As in `has`.

        Raises:
            PictureExists: A file of this name is there, and may not be replaced.
            PictureNameRefused: The name leads out of the folder.
            PictureUnwritable: The disk is full, or its folder can't be written to. Nothing is left behind.
        """
        target, whose = self._target(name, make=True), self._whose(number)
        try:
            with self._part(data) as (part, facts), self._alone():
                old = self._record(name)
                if self._is_made(target, old, stamp, anew=anew):  # an item may run twice
                    return target
                own = self._may_take(name, target, old, stamp, whose)
                self._keep(name, (stamp, facts.st_size, facts.st_mtime_ns, whose))
                try:
                    self._name(part, target, stamp, replace=own or self._overwrite)
                except BaseException:
                    self._keep(name, old)
                    raise
        except PictureExists:
            raise
        except (OSError, sqlite3.Error) as error:
            raise PictureUnwritable(
                f"{target} can't be written: {_why(error)}; what is complete stays, run again to make the rest"
            ) from error
        return target

    def close(self) -> None:
        """Let go of the records. Pictures that are being written by other threads fail."""
        self._database.close()
        os.close(self._turn)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _target(self, name: str, *, make: bool = False) -> Path:
        """Where a name leads; a link in between that leads out of the folder is refused."""
        parts = name.split("/")
        if not all(parts) or {".", ".."} & set(parts) or "\0" in name or parts[0] == RECORDS:
            raise PictureNameRefused(f"{name!r} is no name for a picture in {self.path}")
        parent = self.path.joinpath(*parts[:-1])
        if not parent.resolve().is_relative_to(self.path):
            raise PictureNameRefused(f"{name!r} leads out of {self.path} by a link: save to where it leads instead")
        if make and len(parts) > 1:
            try:
                parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise PictureUnwritable(f"the folder {parent} can't be made: {_why(error)}") from error
        return parent / parts[-1]

    @contextlib.contextmanager
    def _part(self, data: bytes) -> Iterator[tuple[Path, os.stat_result]]:
        """The bytes in a file that has no name for users yet, on the disk."""
        part, descriptor = self._new_part()
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
            yield part, os.fstat(descriptor)
        finally:
            with contextlib.suppress(FileNotFoundError):
                part.unlink()
            os.close(descriptor)

    def _new_part(self) -> tuple[Path, int]:
        """An empty part and its locked descriptor."""
        while True:
            part = self._records / (secrets.token_hex(8) + _PART)
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:
                return part, descriptor
            os.close(descriptor)  # somebody who opened the folder removed it before it was locked

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One thread of one process at a time gives names in this folder."""
        with self._naming:
            fcntl.flock(self._turn, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._turn, fcntl.LOCK_UN)

    def _name(self, part: Path, target: Path, stamp: str | None, *, replace: bool) -> None:
        """Give a part its name; where nothing may be overwritten, a file that came just now is not either."""
        if replace:
            part.replace(target)
            return
        try:
            os.link(part, target)
        except FileExistsError:
            raise self._exists(target, None, stamp) from None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            part.rename(target)  # nothing was there a moment ago; only a program of somebody else can come between

    def _whose(self, number: int | None) -> str:
        """A picture of this run, as records name it."""
        return f"{self._run}/{secrets.token_hex(8) if number is None else number}"

    def _is_of_this_run(self, record: Any) -> bool:
        return record is not None and bool(record[3].rpartition("/")[0] == self._run)

    @staticmethod
    def _is_recorded(target: Path, record: Any) -> bool:
        """Whether a file is there as it was recorded."""
        if record is None:
            return False
        try:
            found = target.lstat()
        except FileNotFoundError:
            return False
        return bool(record[1:3] == (found.st_size, found.st_mtime_ns))

    def _is_made(self, target: Path, record: Any, stamp: str | None, *, anew: bool) -> bool:
        """Whether a file is there as it was recorded, with this stamp."""
        if stamp is None or record is None or record[0] != stamp or (anew and not self._is_of_this_run(record)):
            return False
        return self._is_recorded(target, record)

    def _may_take(self, name: str, target: Path, record: Any, stamp: str | None, whose: str) -> bool:
        """Raise if a file is there that may not be replaced; True: one is there that this very picture was before."""
        if not os.path.lexists(target):
            return False
        if target.is_dir() and not target.is_symlink():
            raise PictureExists(f"{target} is a folder: take another pattern")
        if self._is_of_this_run(record):
            if record[3] != whose and (stamp is None or record[0] != stamp):
                more = "{index}" if stamp is None else "{index} or {hash}"
                raise PictureExists(f"two pictures of this run are named {name}: add {more} to the pattern")
            if record[3] == whose and self._is_recorded(target, record):
                return True
        if not self._overwrite:
            raise self._exists(target, record, stamp)
        return False

    @staticmethod
    def _exists(target: Path, record: Any, stamp: str | None) -> PictureExists:
        if record is None:
            why = "and no run of save() made it"
        elif stamp is None:
            why = (
                "and whether it would be the same can't be told: its source, or a function of yours, can't be compared"
            )
        elif record[0] is None:
            why = "and whether it is the same can't be told: what it was made by, or from, couldn't be compared"
        elif record[0] != stamp:
            why = "made from another picture, by other steps or options, or by another version of twistcluster"
        else:
            why = "changed since it was made"
        return PictureExists(f"{target} is there, {why}: pass overwrite=True, or another folder or pattern")

    def _record(self, name: str) -> Any:
        with self._lock:
            found = self._database.execute("SELECT stamp, size, mtime_ns, run FROM made WHERE name = ?", (_key(name),))
            return found.fetchone()

    def _keep(self, name: str, record: Any) -> None:
        with self._lock:
            if record is None:
                self._database.execute("DELETE FROM made WHERE name = ?", (_key(name),))
            else:
                self._database.execute("REPLACE INTO made VALUES (?, ?, ?, ?, ?)", (_key(name), *record))

    def _sweep(self) -> None:
        """Remove parts whose writers are gone."""
        for part in self._records.glob("*" + _PART):
            with contextlib.suppress(OSError):
                descriptor = os.open(part, os.O_RDWR | os.O_CLOEXEC)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    part.unlink()
                finally:
                    os.close(descriptor)


def _key(name: str) -> str | bytes:
    """A name as the database takes it: text, or its bytes where it is none."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name)
    return name


def _why(error: BaseException) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
