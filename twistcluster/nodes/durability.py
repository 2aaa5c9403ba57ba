"""What a named cluster leaves on the disk of its host, so that it can come back: its journal, and how it was started.

Owns: the file `cluster.json` beside the journal, which says how the cluster was started last, where its store of large
values is, and whether it ended in good order. Must not know: what is in the journal.
"""

import contextlib
import os
import pathlib
from typing import Final

import msgspec

from twistcluster.storage.journal_places import journal_path

__all__ = ["Last", "last_at", "last_of", "write_last"]

_FILE: Final = "cluster.json"


class Last(msgspec.Struct):
    """How a named cluster was started last."""

    kind: str
    """"local" or "scheduler"."""
    slots: int | None
    idle_timeout: float | None
    folder: str
    """Of its store of large values."""
    memory_limit: int | None = None
    listen: str = ""
    """Where for other machines, as "tls:0.0.0.0:8930"; empty: it didn't."""
    ended: bool = False
    """In good order: its store is gone, nothing waits to be gone on with."""


def last_of(name: str, store: str | None = None) -> Last | None:
    """What is known of the last start of a cluster, if it had a journal."""
    return last_at(journal_path(name, store).path)


def last_at(journal: str) -> Last | None:
    """The same, for the journal at this path."""
    path = _path(journal)
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(path.read_bytes(), type=Last)
    return None


def write_last(journal: str, last: Last) -> None:
    """Write it down, all of it or nothing."""
    path = _path(journal)
    making = path.with_suffix(".new")
    fd = os.open(making, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    os.fchmod(fd, 0o600)  # a umask may have taken our own rights away
    with open(fd, "wb") as file:  # noqa: PTH123 (an open descriptor)
        file.write(msgspec.json.encode(last))
    making.rename(path)


def _path(journal: str) -> pathlib.Path:
    return pathlib.Path(journal).with_name(_FILE)
