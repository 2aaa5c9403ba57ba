"""Where a cluster's files lie: its folder with the socket, its connection file, its name's lock, its log.

Owns: paths, modes (private from the first instant, whatever the umask), who owns what lies there, and who is alive:
a cluster holds a lock on its connection file for life (never a pid, which the system gives away again). Must not know:
sockets, Twisted, what the fields of a connection file mean to others.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import re
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, Final

from twistcluster.errors import AccessDenied, ClusterUnreachable

__all__ = [
    "Lock",
    "Place",
    "check_name",
    "connection_folder",
    "living",
    "lock_name",
    "log_folder",
    "open_log",
    "publish",
    "read_connection",
    "runtime_folder",
]

SOCKET_PATH_BYTES: Final = 107
"""A longer path doesn't fit a Unix socket's address."""
LOGS_KEPT: Final = 20
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_PREFIX: Final = "twistcluster-"


def check_name(name: str) -> str:
    """Return `name` if a cluster may have it.

    Raises:
        ValueError: it says what a name is.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"a cluster can't be named {name!r}: a name is 1 to 63 letters, digits, '_', '.' and '-', and begins with "
            "a letter or digit"
        )
    return name


# ---- folders ---------------------------------------------------------------------------------------------------------


def private_folder(path: pathlib.Path) -> pathlib.Path:
    """Make the folder if it isn't there, and make sure that nobody else can use it.

    Raises:
        AccessDenied: it is somebody else's, a link, or open to others.
    """
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
        path.chmod(0o700)  # a umask may have taken our own rights away; it can't have given any to others
    state = path.lstat()
    if not stat.S_ISDIR(state.st_mode):
        raise AccessDenied(f"{path} is not a folder (or a link to one): remove it, then try again")
    if state.st_uid != os.geteuid():
        raise AccessDenied(
            f"{path} belongs to the user with id {state.st_uid}: set XDG_RUNTIME_DIR to a folder of yours"
        )
    if state.st_mode & 0o077:
        raise AccessDenied(f"{path} is open to other users (mode {state.st_mode & 0o777:o}): run `chmod 700 {path}`")
    return path


def runtime_folder() -> pathlib.Path:
    """The folder of this user's running clusters: in XDG_RUNTIME_DIR, else in /tmp."""
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if base and base.startswith("/") and os.access(base, os.W_OK | os.X_OK):
        return private_folder(pathlib.Path(base, "twistcluster"))
    return _fallback_folder()


def _fallback_folder() -> pathlib.Path:
    return private_folder(pathlib.Path(f"/tmp/twistcluster-{os.geteuid()}"))  # noqa: S108 (0700, and lstat says whose)


class Place:
    """The folder of one cluster, `id` in the runtime folder: its socket, and what its slots need.

    Where the path would be too long for a socket, it lies in /tmp instead.
    """

    def __init__(self, cluster: str) -> None:
        self.folder = runtime_folder() / cluster
        if len(os.fsencode(self.folder / "socket")) > SOCKET_PATH_BYTES:
            self.folder = _fallback_folder() / cluster
        private_folder(self.folder)
        self.socket = str(self.folder / "socket")

    def remove(self) -> None:
        """Remove the folder with all that is in it, and the runtime folder if it was the last one."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.parent.rmdir()


def connection_folder() -> pathlib.Path:
    """Jupyter's runtime folder, by Jupyter's own rule (jupyter_core takes 30 ms to import)."""
    if runtime := os.environ.get("JUPYTER_RUNTIME_DIR"):
        return pathlib.Path(runtime)
    if data := os.environ.get("JUPYTER_DATA_DIR"):
        return pathlib.Path(data, "runtime")
    home = pathlib.Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Jupyter" / "runtime"
    return pathlib.Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share", "jupyter", "runtime")


def log_folder() -> pathlib.Path:
    """Where the logs of this user's clusters lie: in XDG_STATE_HOME."""
    state = os.environ.get("XDG_STATE_HOME", "")
    base = pathlib.Path(state) if state.startswith("/") else pathlib.Path.home() / ".local" / "state"
    return base / "twistcluster" / "logs"


# ---- locks -----------------------------------------------------------------------------------------------------------


class Lock:
    """A file that is locked as long as this object, or a child that inherited it, lives."""

    def __init__(self, path: pathlib.Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    def release(self) -> None:
        """Remove the file, and let go of it."""
        if self._fd < 0:
            return
        with contextlib.suppress(OSError):
            self.path.unlink()
        os.close(self._fd)
        self._fd = -1


def lock_name(name: str) -> Lock | None:
    """Take the name for this process's life; None: a living cluster has it (or is just starting with it)."""
    path = runtime_folder() / f"{check_name(name)}.lock"
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return None
        # Whoever had it before may have removed the file between our open and our lock.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(path.lstat(), os.fstat(fd)):
                return Lock(path, fd)
        os.close(fd)


def _is_locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


# ---- connection files ------------------------------------------------------------------------------------------------


def publish(fields: dict[str, Any]) -> Lock:
    """Write the connection file of the cluster `fields["id"]`; it says "alive" until the lock is released.

    Raises:
        OSError: the folder can't be made or written.
    """
    folder = connection_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
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
            fields = json.loads(file.read(64 * 1024))
            known = {"id": fields["id"], "name": fields["name"], "socket": fields["socket"]}
        except (ValueError, KeyError, TypeError) as error:
            raise ClusterUnreachable(f"{path} is not the connection file of a cluster") from error
        if not all(isinstance(value, str) for value in known.values()):
            raise ClusterUnreachable(f"{path} is not the connection file of a cluster")
        if fields.get("host") != socket.gethostname():
            raise ClusterUnreachable(f"the cluster of {path} runs on another host, {fields.get('host')}")
        if not _is_locked(fd):
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


# ---- logs ------------------------------------------------------------------------------------------------------------


def open_log(cluster: str, name: str = "") -> tuple[int, str]:
    """Open the log of a cluster that starts: (file descriptor, path). The oldest logs go.

    Where none can be made (a full or read-only disk) it is (that of /dev/null, "").
    """
    folder = log_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{name or 'unnamed'}-{cluster}.log"
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), ""
    with contextlib.suppress(OSError):
        logs = sorted(folder.glob("*.log"), key=lambda log: log.stat().st_mtime)
        for old in logs[:-LOGS_KEPT]:
            old.unlink()
    return fd, str(path)
