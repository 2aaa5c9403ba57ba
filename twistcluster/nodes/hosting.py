"""What a cluster occupies on its host, and who it is.

Owns: the order in which name, folder, socket path, store and connection file are taken and given back. Must not know: what runs
there.
"""

import contextlib
import datetime as dt
import os
import platform
import uuid
from typing import Any, Final

import msgspec

from twistcluster.core.scheduler import Identity
from twistcluster.core.vigil import LOST_AFTER_S
from twistcluster.errors import TwistclusterError
from twistcluster.net.connections import publish
from twistcluster.net.places import Lock, Place, lock_name
from twistcluster.net.version import VERSION
from twistcluster.nodes.durability import Last, last_at, write_last
from twistcluster.nodes.packages import packages
from twistcluster.storage.folder import StoreFolder, clear_dead

__all__ = ["NameTaken", "Premises", "lost_after_s", "new_cluster_id", "new_identity", "python_version"]


SHORTEST_LOST_AFTER_S: Final = 3.0
"""Workers say something once a second."""


def lost_after_s() -> float:
    """For how long a worker may say nothing until it counts as lost, in seconds.

    Thirty, unless TWISTCLUSTER_LOST_AFTER in the scheduler's environment names another number; it is meant for tests.

    Raises:
        ValueError: it isn't a number of seconds, or too few.
    """
    text = os.environ.get("TWISTCLUSTER_LOST_AFTER", "")
    if not text:
        return LOST_AFTER_S
    try:
        chosen = float(text)
    except ValueError:
        chosen = 0.0
    if not SHORTEST_LOST_AFTER_S <= chosen < float("inf"):
        raise ValueError(
            f"TWISTCLUSTER_LOST_AFTER={text} must be a number of seconds, {SHORTEST_LOST_AFTER_S:g} or more"
        )
    return chosen


class NameTaken(TwistclusterError):  # noqa: N818 (an outcome that callers ask about)
    """A cluster of this name runs, or is just starting."""


class Premises:
    """Name, folder, socket path and connection file of one cluster.

    Args:
        cluster: its id.
        name: empty for one that has none.
        journal: path of its journal; empty: it has none.

    Raises:
        NameTaken: another process has the name.
    """

    def __init__(self, cluster: str, name: str, journal: str = "") -> None:
        self.cluster = cluster
        self.name = name
        self.journal = journal
        self._lock = lock_name(name) if name else None
        if name and self._lock is None:
            raise NameTaken(f"a cluster named {name!r} runs already: `twistcluster list` shows it")
        try:
            self.place = Place(cluster)
        except BaseException:
            self._release_name()
            raise
        self._connection: Lock | None = None
        self._last: Last | None = None
        self._store: StoreFolder | None = None
        self._taken_over = False
        """The store is that of a cluster that died: values of its jobs are in it."""
        if os.environ.get("TWISTCLUSTER_STORE") != "off":
            try:
                clear_dead()
                self._store = self._adopted()
                self._taken_over = self._store is not None
                if self._store is None:
                    self._store = StoreFolder.create(cluster, journal)
            except BaseException:
                self.release()
                raise

    @property
    def socket(self) -> str:
        """Where to listen."""
        return self.place.socket

    @property
    def store(self) -> str:
        """The folder of the store of large values; empty where it was switched off (TWISTCLUSTER_STORE=off)."""
        return "" if self._store is None else self._store.path

    def publish(self, **more: Any) -> dict[str, Any]:
        """Write the connection file; from now on the cluster can be found. Its fields and its path are returned."""
        fields = {
            "id": self.cluster,
            "name": self.name,
            "socket": self.socket,
            "store": self.store,
            "journal": self.journal,
            "pid": os.getpid(),
            "python": python_version(),
            "version": VERSION,
            "owned": not self.name,
            "started": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            **more,
        }
        self._connection = publish(fields)
        last = Last(
            kind=fields.get("kind", ""),
            slots=fields.get("slots"),
            idle_timeout=fields.get("idle_timeout"),
            folder=self.store,
            memory_limit=fields.get("memory_limit"),
            listen=fields.get("listen", ""),
        )
        if self.journal:
            write_last(self.journal, last)
        self._last = last
        return {**fields, "connection_file": str(self._connection.path)}

    def release(self) -> None:
        """Give all of it back: first what others find it by, last its name.

        If the start failed, what was there before stays as it was.
        """
        if self._connection is not None:
            self._connection.release()
        self.place.remove()
        if self.journal and self._last is not None:
            with contextlib.suppress(OSError):
                write_last(self.journal, msgspec.structs.replace(self._last, ended=True, folder=""))
        if self._store is not None and self._taken_over and self._last is None:
            self._store.leave()
        elif self._store is not None:
            self._store.remove()
        self._release_name()

    def _adopted(self) -> StoreFolder | None:
        last = last_at(self.journal) if self.journal else None
        return StoreFolder.adopt(last.folder, self.journal) if last is not None and last.folder else None

    def _release_name(self) -> None:
        if self._lock is not None:
            self._lock.release()
            with contextlib.suppress(OSError):
                self._lock.path.parent.rmdir()


def new_cluster_id() -> str:
    """Eight hex digits."""
    return uuid.uuid4().hex[:8]


def new_identity(cluster: str, name: str, owner: str = "") -> Identity:
    """Of a scheduler in this process, for one run."""
    return Identity(
        epoch=uuid.uuid4().hex,
        cluster=cluster,
        name=name,
        owner=owner,
        python=python_version(),
        version=VERSION,
        pid=os.getpid(),
        packages=packages(),
    )


def python_version() -> str:
    """The minor version, as `Hello` says it."""
    return ".".join(platform.python_version_tuple()[:2])
