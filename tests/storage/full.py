"""What test_journal_full.py runs: a journal whose disk fills, and has room again. `python full.py CASE FOLDER`.

`disk`: the folder is on a disk of 100 MiB, mounted for this process alone. `limit`: a limit for the sizes of files, which
needs no mount.
"""

import os
import resource
import sys
from pathlib import Path

from tests.storage.journals import Model, Owner, entry, held, job
from twistcluster.errors import JournalFull

MIB = 1024 * 1024
ROWS = [job(1), *(entry(1, position, bytes([position]) * 500_000) for position in range(100))]


class Room:
    """There is some, or there is none."""

    def __init__(self, case: str, folder: Path) -> None:
        self.others = folder / "others" if case == "disk" else None

    def little(self) -> None:
        if self.others is None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (5 * MIB, resource.RLIM_INFINITY))
        else:
            with self.others.open("wb") as others:
                os.posix_fallocate(others.fileno(), 0, 80 * MIB)

    def much(self) -> None:
        if self.others is None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        else:
            self.others.unlink()


def main(case: str, folder: Path) -> None:
    owner, room, path, done = Owner(), Room(case, folder), folder / "lab" / "journal.db", []
    journal = owner.open(path)
    room.little()
    for at, row in enumerate(ROWS):
        journal.record([row], lambda error, at=at: done.append((at, error)))
        if at % 5 == 0:
            owner.ask(journal.sizes)  # several commits
    owner.pump(lambda: owner.troubles)
    (trouble,) = owner.troubles
    assert isinstance(trouble, JournalFull), trouble
    assert str(path) in str(trouble) and "every second" in str(trouble), trouble
    assert ("is full: make room" in str(trouble)) == (case == "disk"), trouble
    kept = len(done)
    assert 0 < kept < len(ROWS)
    # What was kept can be read meanwhile; what was not is no error yet, and another try tells nobody again.
    read = owner.ask(lambda tell: journal.read_log(1, 0, 1 << 30, tell))
    assert [row.position for row in read] == list(range(kept - 1))
    late = journal._next
    owner.pump_until(lambda: journal._next > late)
    assert owner.troubles == [trouble] and len(done) == kept
    room.much()
    owner.pump(lambda: len(done) == len(ROWS))
    assert owner.troubles == [trouble, "recovered"]
    assert done == [(at, None) for at in range(len(ROWS))]
    journal.close()
    assert held(owner, path) == Model(ROWS).held()
    path.unlink()
    close_while_full(room, owner, folder / "other" / "journal.db")


def close_while_full(room: Room, owner: Owner, path: Path) -> None:
    """Whoever waits for what can't be written any more is told."""
    journal, done = owner.open(path), []
    owner.troubles.clear()
    room.little()
    journal.record([entry(1, position, bytes(MIB)) for position in range(60)], done.append)
    owner.pump(lambda: owner.troubles)
    journal.close()
    owner.pump(lambda: done)
    assert isinstance(done[0], JournalFull) and len(owner.troubles) == 1
    room.much()
    assert held(owner, path) == Model().held()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
