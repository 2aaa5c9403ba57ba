"""Where a cluster's files lie: its folder with the socket, its name's lock, its log.

Owns: paths, modes (private from the first instant, whatever the umask), who owns what lies there, locks. Must not know:
sockets, Twisted, what is in a connection file (net/connections.py).
"""

import contextlib
import fcntl
import os
import pathlib
import re
import shutil
import stat
import sys
from collections.abc import Callable
from typing import Final, TypeVar

from twistcluster.errors import AccessDenied
from twistcluster.storage.journal_places import make_folder

__all__ = [
    "Lock",
    "Place",
    "check_name",
    "clear_place",
    "connection_folder",
    "is_locked",
    "lock_name",
    "log_folder",
    "open_log",
    "private_folder",
    "runtime_folder",
    "state_folder",
]

SOCKET_PATH_BYTES: Final = 107
"""A longer path doesn't fit a Unix socket's address."""
LOGS_KEPT: Final = 20
TRIES: Final = 10
T = TypeVar("T")

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


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


def private_folder(path: pathlib.Path, elsewhere: str = "set XDG_RUNTIME_DIR to a folder of yours") -> pathlib.Path:
    """Make the folder if it isn't there, and make sure that nobody else can use it.

    Args:
        path: of the folder.
        elsewhere: what to do if it is somebody else's.

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
        raise AccessDenied(f"{path} belongs to the user with id {state.st_uid}: {elsewhere}")
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
        self.folder = _while_others_end(lambda: private_folder(_place_for(cluster)))
        self.socket = str(self.folder / "socket")

    def remove(self) -> None:
        """Remove the folder with all that is in it, and the runtime folder if it was the last one."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.parent.rmdir()


def clear_place(cluster: str) -> None:
    """Remove the folder of a cluster that was killed, if it has one."""
    with contextlib.suppress(OSError, AccessDenied):
        folder = _place_for(cluster)
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.rmdir()


def _place_for(cluster: str) -> pathlib.Path:
    folder = runtime_folder() / cluster
    if len(os.fsencode(folder / "socket")) > SOCKET_PATH_BYTES:
        return _fallback_folder() / cluster
    return folder


def _while_others_end(make: Callable[[], T]) -> T:
    """Make something in the runtime folder, which the last cluster to end removes: perhaps just now."""
    for _ in range(TRIES):
        with contextlib.suppress(FileNotFoundError):
            return make()
    return make()


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


def state_folder() -> pathlib.Path:
    """What is to outlive a cluster lies there: in XDG_STATE_HOME."""
    state = os.environ.get("XDG_STATE_HOME", "")
    base = pathlib.Path(state) if state.startswith("/") else pathlib.Path.home() / ".local" / "state"
    return base / "twistcluster"


def log_folder() -> pathlib.Path:
    """Where the logs of this user's clusters lie."""
    return state_folder() / "logs"


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
    check_name(name)
    while True:
        path, fd = _while_others_end(lambda: _open_lock(name))
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


def _open_lock(name: str) -> tuple[pathlib.Path, int]:
    path = runtime_folder() / f"{name}.lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    os.fchmod(fd, 0o600)  # a umask may have taken our own rights away
    return path, fd


def is_locked(fd: int) -> bool:
    """Whether somebody else holds the lock of this open file."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


# ---- logs ------------------------------------------------------------------------------------------------------------


def open_log(cluster: str, name: str = "") -> tuple[int, str]:
    """Open the log of a cluster that starts: (file descriptor, path). The oldest logs go, but for those still written.

    Where none can be made (a full or read-only disk) it is (that of /dev/null, "").
    """
    folder = log_folder()
    try:
        make_folder(str(folder))
        path = folder / f"{name or 'unnamed'}-{cluster}.log"
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), ""
    with contextlib.suppress(OSError):
        fcntl.flock(
            fd, fcntl.LOCK_EX | fcntl.LOCK_NB
        )  # held by all who have this descriptor, so for the cluster's life
    with contextlib.suppress(OSError):
        logs = sorted(folder.glob("*.log"), key=lambda log: log.stat().st_mtime)
        for old in logs[:-LOGS_KEPT]:
            if not _written(old):
                old.unlink()
    return fd, str(path)


def _written(log: pathlib.Path) -> bool:
    fd = os.open(log, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return is_locked(fd)
    finally:
        os.close(fd)
