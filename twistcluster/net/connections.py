"""Connection files: how a cluster is found by its name, and who is alive.

Owns: the files in Jupyter's runtime folder. A cluster holds a lock on its own for life: that is what "alive" means
(never a pid, which the system gives away again). Must not know: sockets, Twisted.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import re
import socket
import tempfile
from collections.abc import Iterator
from typing import Any, Final

from twistcluster.errors import AccessDenied, ClusterUnreachable
from twistcluster.net.places import Lock, Place, connection_folder, is_locked
from twistcluster.storage.journal_places import make_folder

__all__ = ["find", "living", "publish", "read_connection"]

FILE_BYTES: Final = 64 * 1024
_PREFIX: Final = "twistcluster-"


def publish(fields: dict[str, Any]) -> Lock:
    """Write the connection file of the cluster `fields["id"]`; it says "alive" until the lock is released.

    Raises:
        OSError: the folder can't be made or written.
    """
    folder = connection_folder()
    make_folder(str(folder))
    path = folder / f"{_PREFIX}{fields['id']}.json"
    fd, draft = tempfile.mkstemp(prefix=f".{_PREFIX}", dir=folder)  # 0600
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        os.fchmod(fd, 0o600)
        data = json.dumps({**fields, "host": socket.gethostname()}, indent=1).encode() + b"\n"
        if os.write(fd, data) < len(data):
            raise OSError(f"no room for {path}")  # noqa: TRY301
        os.rename(draft, path)  # noqa: PTH104 (both by name in one folder)
    except BaseException:
        os.close(fd)
        with contextlib.suppress(OSError):
            os.unlink(draft)  # noqa: PTH108
        raise
    return Lock(path, fd)


def read_connection(path: pathlib.Path) -> dict[str, Any] | None:
    """The fields of a living cluster's connection file, and "connection_file"; None: that cluster has ended.

    Raises:
        AccessDenied: the file is somebody else's.
        ClusterUnreachable: it isn't a connection file, or the cluster is on another host.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AccessDenied(f"the connection file {path} can't be read: {error.strerror}") from error
    with open(fd, "rb") as file:  # noqa: PTH123 (an open descriptor)
        if os.fstat(fd).st_uid != os.geteuid():
            raise AccessDenied(f"the connection file {path} belongs to somebody else")
        try:
            fields = json.loads(file.read(FILE_BYTES))
            known = {"id": fields["id"], "name": fields["name"], "socket": fields["socket"]}
        except (ValueError, KeyError, TypeError) as error:
            raise ClusterUnreachable(f"{path} is not the connection file of a cluster") from error
        if not all(isinstance(value, str) for value in known.values()):
            raise ClusterUnreachable(f"{path} is not the connection file of a cluster")
        if fields.get("host") != socket.gethostname():
            raise ClusterUnreachable(f"the cluster of {path} runs on another host, {fields.get('host')}")
        if not is_locked(fd):
            return None
    return {**fields, "connection_file": str(path)}


def living() -> list[dict[str, Any]]:
    """The connection files of this user's living clusters on this host, the oldest first; what dead ones left goes."""
    found = []
    for path in _connection_files():
        try:
            fields = read_connection(path)
        except (AccessDenied, ClusterUnreachable):
            continue
        if fields is None:
            _clear_away(path)
        else:
            found.append(fields)
    return sorted(found, key=lambda fields: str(fields.get("started", "")))


def _connection_files() -> Iterator[pathlib.Path]:
    with contextlib.suppress(OSError):
        yield from sorted(connection_folder().glob(f"{_PREFIX}*.json"))


def _clear_away(path: pathlib.Path) -> None:
    """What a cluster left that was killed: its connection file and its folder."""
    cluster = path.stem.removeprefix(_PREFIX)
    if re.fullmatch(r"[0-9a-f]{8,32}", cluster):
        with contextlib.suppress(OSError, AccessDenied):
            Place(cluster).remove()
    with contextlib.suppress(OSError):
        path.unlink()


def find(target: str) -> dict[str, Any]:
    """The connection file of the living cluster with this name or id, or in the file at this path.

    Raises:
        ClusterUnreachable: there is none.
        AccessDenied: the file is somebody else's.
    """
    if "/" in target or target.endswith(".json"):
        fields = read_connection(pathlib.Path(target).expanduser())
        if fields is None:
            raise ClusterUnreachable(f"the cluster of {target} has ended; `twistcluster list` shows those that run")
        return fields
    running = living()
    for fields in running:
        if target in {fields["name"], fields["id"]}:
            return fields
    names = ", ".join(sorted(fields["name"] for fields in running if fields["name"]))
    raise ClusterUnreachable(
        f"no cluster named {target!r} runs here ({f'there are: {names}' if names else 'none does'}); "
        f"`twistcluster start {target}` starts it"
    )
