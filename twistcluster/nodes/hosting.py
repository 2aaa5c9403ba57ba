"""What a cluster occupies on its host, and the way its process runs and ends.

Owns: the order in which name, folder, socket and connection file are taken and given back; the signals that end a
node's process; the exit codes. Must not know: what runs in it.
"""

import contextlib
import datetime as dt
import os
import platform
import signal
import uuid
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.error import ReactorNotRunning

from twistcluster.core.scheduler import Identity
from twistcluster.errors import TwistclusterError
from twistcluster.net.connections import publish
from twistcluster.net.places import Lock, Place, lock_name
from twistcluster.net.version import VERSION
from twistcluster.nodes.logging import log_event

__all__ = [
    "EXIT_FAILED",
    "EXIT_OK",
    "NameTaken",
    "Premises",
    "new_cluster_id",
    "new_identity",
    "python_version",
    "run_until_ended",
    "stop_reactor",
]

EXIT_OK: Final = 0
"""It ended as asked: by SIGTERM, SIGINT, its owner, a client's stop, or for idleness."""
EXIT_FAILED: Final = 1
"""It could not start."""

GOODBYE_SECONDS: Final = 3.0
"""How long links and slots may take to end."""


class NameTaken(TwistclusterError):  # noqa: N818 (an outcome that callers ask about)
    """A cluster of this name runs, or is just starting."""


class Premises:
    """Name, folder, socket path and connection file of one cluster.

    Args:
        cluster: its id.
        name: empty for one that has none.

    Raises:
        NameTaken: another process has the name.
    """

    def __init__(self, cluster: str, name: str) -> None:
        self.cluster = cluster
        self.name = name
        self._lock = lock_name(name) if name else None
        if name and self._lock is None:
            raise NameTaken(f"a cluster named {name!r} runs already: `twistcluster list` shows it")
        try:
            self.place = Place(cluster)
        except BaseException:
            self._release_name()
            raise
        self._connection: Lock | None = None

    @property
    def socket(self) -> str:
        """Where to listen."""
        return self.place.socket

    def publish(self, **more: Any) -> dict[str, Any]:
        """Write the connection file; from now on the cluster can be found. Its fields and its path are returned."""
        fields = {
            "id": self.cluster,
            "name": self.name,
            "socket": self.socket,
            "pid": os.getpid(),
            "python": python_version(),
            "version": VERSION,
            "owned": not self.name,
            "started": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            **more,
        }
        self._connection = publish(fields)
        return {**fields, "connection_file": str(self._connection.path)}

    def release(self) -> None:
        """Give all of it back: first what others find it by, last its name."""
        if self._connection is not None:
            self._connection.release()
        self.place.remove()
        self._release_name()

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
    )


def stop_reactor(reactor: Any) -> None:
    """End the process in good order; does nothing if it is ending."""
    with contextlib.suppress(ReactorNotRunning):
        reactor.stop()


def python_version() -> str:
    """The minor version, as `Hello` says it."""
    return ".".join(platform.python_version_tuple()[:2])


def run_until_ended(reactor: Any, end: Callable[[], Deferred[None]]) -> None:
    """Run the reactor until it is stopped, by SIGTERM, SIGINT, SIGHUP or `reactor.stop()`.

    Args:
        reactor: the process's.
        end: ends the node; it has `GOODBYE_SECONDS` until its Deferred fires.
    """

    async def ending() -> None:
        ended = end()
        ended.addTimeout(GOODBYE_SECONDS, reactor)
        try:
            await ended
        except Exception as error:
            log_event("warning", "did not end in time", {"error": repr(error)})

    def hang_up(_signal: int, _frame: object) -> None:
        reactor.callFromThread(stop_reactor, reactor)

    reactor.addSystemEventTrigger("before", "shutdown", lambda: ensureDeferred(ending()))
    reactor.callWhenRunning(signal.signal, signal.SIGHUP, hang_up)
    reactor.run()
