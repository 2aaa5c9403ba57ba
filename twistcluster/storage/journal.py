"""The journal: what a cluster's scheduler must know again after it died.

Owns: the thread that writes, when a commit is made, what happens while the disk is full. All that was recorded since the
last commit goes into the next one (*group commit*); `done` is called once that is on the disk. The file is an SQLite
database in WAL mode (journal_schema.py), locked for this process alone, and readable with any tool for SQLite once the
cluster has ended. Must not know: messages, what a scheduler makes of what it reads.

The owner's thread is a reactor's and must not be slowed down: `record` only appends to a list; the writer does its work
in few, long calls of SQLite, which run without the interpreter, and begins a commit at most every few milliseconds.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, TypeVar

from twistcluster.core.rows import Change, EntryRow, JobsGone, JobSize, PageRow, ServersGone
from twistcluster.errors import JournalLost, TwistclusterError
from twistcluster.storage import journal_reading
from twistcluster.storage.journal_brief import nbytes, settled
from twistcluster.storage.journal_file import JournalFile, passes
from twistcluster.storage.journal_reading import Reading
from twistcluster.storage.journal_writing import commit

__all__ = ["Call", "Done", "Journal"]

T = TypeVar("T")
Call = Callable[[Callable[[], object]], object]
"""Runs a function on the owner's thread, soon: a reactor's `callFromThread`."""
Done = Callable[[TwistclusterError | None], object]

PACE_S: Final = 0.005
"""From the begin of one commit to the next, at least. (The first after a pause is made at once.)"""
BRIEF_PACE_S: Final = 0.02
"""The same after one that had nothing to write: this thread wakes up at the cost of the reactor's."""
HOLD_S: Final = 0.2
"""For so long a job without a name that was just opened isn't written, nor what comes after it: most that a program sends
and waits for are gone by then."""
HOLD_BYTES: Final = 8 * 2**20
"""So much of it at most."""
RETRY_S: Final = 1.0
VACUUM_PAGES: Final = 256
"""Given back to the file system at a time: 1 MiB."""


class _Recorded(NamedTuple):
    changes: Sequence[Change]
    done: Done | None
    time: float


class Journal:
    """A journal that is open, for its one owner.

    Example:
        >>> import queue, tempfile
        >>> from twistcluster.core.rows import ClientRow
        >>> calls = queue.SimpleQueue()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     journal = Journal(f"{folder}/lab/journal.db", calls.put)
        ...     journal.record([ClientRow("kernel", 1)], done=lambda error: print("kept", error))
        ...     calls.get()()
        ...     journal.close()
        kept None

    Args:
        path: of the file (journal_places.py); it and its folder are made where they aren't.
        call: runs a function on the owner's thread.
        writer: the version of twistcluster, for a later one's errors.
        on_trouble: is called on the owner's thread when a commit fails that will be tried again, each second, and with
            an error that is no `JournalFull` when nothing can be kept any more.
        on_recovered: is called when such a commit succeeded after all.

    Raises:
        AccessDenied: folder or file are somebody else's, links, or open to others.
        JournalInUse: a scheduler that lives has it.
        JournalDamaged: it is broken, or no journal.
        JournalUnusable: it can't be made or opened there.
        VersionMismatch: a newer twistcluster wrote it.
    """

    def __init__(
        self,
        path: str,
        call: Call,
        *,
        writer: str = "",
        on_trouble: Callable[[TwistclusterError], object] | None = None,
        on_recovered: Callable[[], object] | None = None,
    ) -> None:
        self._file = JournalFile(path, writer)
        self._call = call
        self._on_trouble = on_trouble
        self._on_recovered = on_recovered
        self._lock = threading.Lock()
        self._bell = threading.Lock()
        """Held while the writer has nothing to do; whoever has something for it releases it."""
        self._bell.acquire()
        self._rung = False
        self._closing = False
        self._calls: list[_Recorded] = []
        self._reads: list[Callable[[], None]] = []
        self._thread: threading.Thread | None = None
        # The writer's own:
        self._held: list[_Recorded] = []
        """The last ones: the job that they open may be gone soon."""
        self._late: tuple[list[Change], list[Done]] = ([], [])
        """What could not be written yet."""
        self._broken: TwistclusterError | None = None
        self._trouble: TwistclusterError | None = None
        self._slack = False
        """Jobs were forgotten, or servers: the file may be longer than it need be."""
        self._next = 0.0

    @property
    def path(self) -> str:
        """Of the file."""
        return self._file.path

    def load(self) -> Reading:
        """What the journal holds, to be read before anything is recorded."""
        assert self._thread is None, "reading goes through the writer once it runs"
        return Reading(self._file)

    # ---- on the owner's thread -------------------------------------------------------------------------------------

    def record(self, changes: Sequence[Change], done: Done | None = None) -> None:
        """Have these written, in this order, after all that was recorded before. Nothing is copied: buffers must stay.

        `done(None)` is called once they are on the disk, `done(error)` when they will never be.
        """
        with self._lock:
            if not self._closing:
                self._calls.append(_Recorded(changes, done, time.monotonic()))
                self._ring()
                return
        if done is not None:
            self._answer_all([done], self._closed())

    def read_log(
        self, job: int, position: int, limit_bytes: int, done: Callable[[list[EntryRow] | TwistclusterError], object]
    ) -> None:
        """Entries of a job's log from `position` on: one at least, where there is one, and up to `limit_bytes`."""
        self._ask(partial(journal_reading.read_log, self._file.connection, job, position, limit_bytes), done)

    def read_page(self, job: int, first: int, done: Callable[[PageRow | TwistclusterError | None], object]) -> None:
        """One page with its buffers; None: there is none."""
        self._ask(partial(journal_reading.read_page, self._file.connection, job, first), done)

    def read_blob(self, digest: bytes, done: Callable[[bytes | TwistclusterError | None], object]) -> None:
        """A blob's bytes; None: there is none."""
        self._ask(partial(journal_reading.read_blob, self._file.connection, digest), done)

    def sizes(self, done: Callable[[list[JobSize] | TwistclusterError], object]) -> None:
        """The jobs that ended, the oldest end first, and how many bytes each takes."""
        self._ask(partial(journal_reading.read_sizes, self._file.connection), done)

    def close(self) -> None:
        """Write what is left, and let go of the file. What can't be written is told as an error."""
        with self._lock:
            self._closing = True
            self._ring()
        if self._thread is None:
            self._file.close()
        else:
            self._thread.join()

    def _ask(self, read: Callable[[], T], done: Callable[[T | TwistclusterError], object]) -> None:
        with self._lock:
            if not self._closing:
                self._reads.append(partial(self._answer, read, done))
                self._ring()
                return
        self._call(partial(done, self._closed()))

    def _closed(self) -> TwistclusterError:
        return self._broken or JournalLost(f"the journal {self.path} is closed: start the cluster again")

    def _ring(self) -> None:
        if self._thread is None and not self._closing:
            self._thread = threading.Thread(target=self._run, name="twistcluster-journal", daemon=True)
            self._thread.start()
        if not self._rung:
            self._rung = True
            self._bell.release()

    # ---- on the writer's -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._turn():
            pass
        if self._late[1]:
            error = self._trouble or self._closed()
            self._answer_all(self._late[1], error)
        self._file.close()

    def _turn(self) -> bool:
        """Wait for something to do, and do it. True: that was the last."""
        rung = self._bell.acquire(timeout=self._patience())
        if (early := self._next - time.monotonic()) > 0 and not self._trouble:
            time.sleep(early)
        with self._lock:
            if self._rung:
                self._rung = False
                if not rung:
                    self._bell.acquire()
            calls, self._calls = self._calls, []
            reads, self._reads = self._reads, []
            closing = self._closing
        self._take([*self._held, *calls], everything=closing or bool(reads))
        if any(self._late):
            if closing or not self._trouble or time.monotonic() >= self._next:
                self._commit()
        elif self._slack:
            self._slack = self._vacuum()
        for read in reads:
            read()
        return closing

    def _patience(self) -> float:
        """Seconds until there is something to do without being told."""
        if self._trouble:
            return max(0.0, self._next - time.monotonic())
        if self._held:
            return max(0.0, self._held[0].time + HOLD_S - time.monotonic())
        return 0.0 if self._slack else -1.0

    def _take(self, calls: list["_Recorded"], *, everything: bool) -> None:
        """Take what is to be written now: as far as no job is open that was opened in it, for it may be gone soon."""
        count = len(calls) if everything else settled([call.changes for call in calls])
        if count < len(calls) and self._waited(calls[count:]):
            count = len(calls)
        for changes, done, _ in calls[:count]:
            self._late[0].extend(changes)
            if done is not None:
                self._late[1].append(done)
        self._held = calls[count:]
        if self._held and not (count or self._trouble):
            self._next = time.monotonic() + BRIEF_PACE_S

    @staticmethod
    def _waited(calls: list["_Recorded"]) -> bool:
        """Whether these have waited for long enough, or are too much."""
        if time.monotonic() >= calls[0].time + HOLD_S:
            return True
        return sum(nbytes(call.changes) for call in calls) > HOLD_BYTES

    def _commit(self) -> None:
        changes, dones = self._late
        self._next = time.monotonic() + PACE_S
        error = self._broken or self._try(changes)
        if error is not None and passes(error):
            self._next = time.monotonic() + RETRY_S
            if self._trouble is None:
                self._tell(error)
            self._trouble = error
            return
        self._late = ([], [])
        if error is not None and self._broken is None:
            self._broken = error
            self._tell(error)
        elif error is None and self._trouble is not None and self._on_recovered is not None:
            self._call(self._on_recovered)
        self._trouble = None
        if dones:
            self._answer_all(dones, error)

    def _try(self, changes: list[Change]) -> TwistclusterError | None:
        try:
            if not commit(self._file.connection, changes):
                self._next += BRIEF_PACE_S - PACE_S
                return None
        except sqlite3.Error as error:
            return self._file.explain(error)
        except Exception as error:  # a row that is none: our bug, which must not end this thread in silence
            return self._file.explain(error)
        self._slack = self._slack or any(isinstance(change, JobsGone | ServersGone) for change in changes)
        return self._file.lost()

    def _vacuum(self) -> bool:
        """Give some room back to the file system; whether there is more."""
        try:
            # A script runs in one call; a statement would give up the interpreter for each page.
            self._file.connection.executescript(f"PRAGMA incremental_vacuum({VACUUM_PAGES})")
            left = self._file.connection.execute("PRAGMA freelist_count").fetchone()[0]
        except sqlite3.Error:
            return False  # the room is used again in any case
        return bool(left)

    def _tell(self, error: TwistclusterError) -> None:
        if self._on_trouble is not None:
            self._call(partial(self._on_trouble, error))

    def _answer_all(self, dones: list[Done], error: TwistclusterError | None) -> None:
        self._call(partial(_call_all, dones, error))

    def _answer(self, read: Callable[[], T], done: Callable[[T | TwistclusterError], object]) -> None:
        answer: T | TwistclusterError
        try:
            answer = read()
        except sqlite3.Error as error:
            answer = self._file.explain(error)
        self._call(partial(done, answer))


def _call_all(dones: list[Done], error: TwistclusterError | None) -> None:
    for done in dones:
        done(error)
