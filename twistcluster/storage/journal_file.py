"""A journal's file: opened for us alone, checked, closed; what SQLite's errors mean.

Owns: the connection and its settings. Must not know: rows, threads.

What is checked when: at every open the file's mark, version and tables, and all of the file if it is no longer than
64 MiB (1 ms a MiB); of a longer one the small tables, which a scheduler can't do without. The rest is checked when it is
read. (A killed process can't damage it: pages in the write-ahead log have checksums. Disks and people can.)
"""

import os
import sqlite3
from typing import Final

from twistcluster.errors import JournalDamaged, JournalFull, JournalLost, JournalUnusable, TwistclusterError
from twistcluster.storage.journal_places import in_use, make_file
from twistcluster.storage.journal_schema import prepare

__all__ = ["JournalFile", "passes"]

CHECKED_BYTES: Final = 64 * 1024 * 1024
_SMALL: Final = ("clients", "jobs", "states", "contexts")
_WAL_PAGES: Final = 4096
"""16 MiB: what the write-ahead log holds before it is written back."""
_WAL_BYTES: Final = 64 * 1024 * 1024
"""A longer log, left by one large commit, is cut to this."""
_SETTINGS: Final = (
    "PRAGMA locking_mode = EXCLUSIVE",  # before the first access: then there is no shared memory file
    "PRAGMA auto_vacuum = INCREMENTAL",  # before the first table
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}",
    f"PRAGMA journal_size_limit = {_WAL_BYTES}",
    "PRAGMA cache_size = -16384",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA secure_delete = OFF",
    "PRAGMA recursive_triggers = ON",  # a row that is replaced is deleted with its rest
)
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_LOCKED: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_PASSING: Final = _LOCKED | {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_NOMEM,
}


class JournalFile:
    """An open journal. Whoever has it has the lock."""

    def __init__(self, path: str, writer: str) -> None:
        make_file(path)
        self.path = path
        try:
            self.connection = sqlite3.connect(
                path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=256
            )
        except sqlite3.Error as error:
            raise self._unopened(error) from None
        try:
            self._begin(writer)
        except BaseException as error:
            self.connection.close()
            if isinstance(error, sqlite3.Error):
                raise self._unopened(error) from None
            raise
        self._identities = self._look()

    def _begin(self, writer: str) -> None:
        for setting in _SETTINGS:
            self.connection.execute(setting).fetchall()
        prepare(self.connection, self.path, writer)
        if os.path.getsize(self.path) <= CHECKED_BYTES:
            self._quick_check("")
        else:
            for table in _SMALL:
                self._quick_check(f"({table})")

    def _quick_check(self, what: str) -> None:
        found = self.connection.execute(f"PRAGMA quick_check{what}").fetchone()[0]
        if found != "ok":
            raise self._damaged(found)

    def close(self) -> None:
        """Write the log back into the file, and let go of it."""
        self.connection.close()

    def lost(self) -> JournalLost | None:
        """Whether the file that we write is still the one that will be found."""
        try:
            if self._look() == self._identities:
                return None
        except FileNotFoundError:
            pass
        except OSError as error:
            return JournalLost(f"the journal {self.path} can't be reached any more: {error.strerror}. {_NOTHING_KEPT}")
        return JournalLost(f"the journal {self.path} was removed or replaced while its cluster runs. {_NOTHING_KEPT}")

    def _look(self) -> list[tuple[int, int]]:
        states = [os.stat(self.path), os.stat(f"{self.path}-wal")]
        return [(state.st_dev, state.st_ino) for state in states]

    def explain(self, error: Exception) -> TwistclusterError:
        """Our error for one of SQLite's, or for one of ours, once the journal is open."""
        code = _code(error)
        if code in _DAMAGED:
            return self._damaged(str(error))
        if code == sqlite3.SQLITE_FULL:
            return JournalFull(f"the disk of the journal {self.path} is full: make room there. {_WAITS}")
        if code in _PASSING:
            return JournalFull(f"the journal {self.path} can't be written ({error}): look at its disk. {_WAITS}")
        return JournalLost(f"the journal {self.path} failed ({error!r}). {_NOTHING_KEPT}")

    def _damaged(self, how: str) -> JournalDamaged:
        return JournalDamaged(
            f"the journal {self.path} is damaged ({how}): move it and {self.path}-wal away to begin a new one; jobs that "
            "were kept in it are lost"
        )

    def _unopened(self, error: sqlite3.Error) -> TwistclusterError:
        code = _code(error)
        if code in _LOCKED:
            return in_use(self.path)
        if code in _DAMAGED:
            return self._damaged(str(error))
        return JournalUnusable(
            f"the journal {self.path} can't be opened ({error}): make room there, or name another folder with store="
        )


_WAITS: Final = "What was not kept yet waits, and is tried again every second"
_NOTHING_KEPT: Final = "Nothing is kept any more: fetch your results, then start the cluster again"


def passes(error: TwistclusterError) -> bool:
    """Whether trying again may help."""
    return isinstance(error, JournalFull)


def _code(error: Exception) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
