"""Where a journal lies.

Owns: its path, what file system that is, who may read and write there. Must not know: what is in the file.
"""

import contextlib
import os
import re
import stat
import tempfile
from typing import Final, NamedTuple

from twistcluster.errors import AccessDenied, JournalInUse, JournalUnusable

__all__ = ["JournalPlace", "in_use", "is_network_file_system", "journal_path", "make_file", "make_folder"]

_NETWORK: Final = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "fuse.ceph",
        "fuse.davfs2",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.juicefs",
        "fuse.lustre",
        "fuse.moosefs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "fuse.vmhgfs-fuse",
        "fuse.weka",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "prl_fs",
        "pvfs2",
        "smb3",
        "smbfs",
        "vboxsf",
        "virtiofs",
        "vmhgfs",
    }
)
"""Where a lock may not keep another host out, or a write may be told as done too early."""
_FILE: Final = "journal.db"


class JournalPlace(NamedTuple):
    """Where a journal lies."""

    path: str
    note: str = ""
    """What to tell people about it."""


def journal_path(name: str, store: str | None = None) -> JournalPlace:
    """Say where the journal of the cluster `name` lies: in the folder `store`, or else where a state is kept.

    That is XDG_STATE_HOME (else ~/.local/state), or TMPDIR if the former is on a network file system.

    Raises:
        JournalUnusable: `store` is on a network file system.
    """
    if store is not None:
        path = os.path.join(os.path.abspath(os.path.expanduser(store)), _FILE)
        if is_network_file_system(path):
            raise JournalUnusable(
                f"the journal can't be in {store}, which is on a network file system (locks and writes can't be relied "
                "on there): name a folder on a disk of this host with store="
            )
        return JournalPlace(path)
    state = os.environ.get("XDG_STATE_HOME", "")
    base = state if state.startswith("/") else os.path.expanduser("~/.local/state")
    path = os.path.join(base, "twistcluster", name, _FILE)
    if not is_network_file_system(path):
        return JournalPlace(path)
    there = os.path.join(tempfile.gettempdir(), _temporary(), name, _FILE)
    return JournalPlace(
        there,
        f"{base} is on a network file system, so the cluster's journal is {there}: it may not outlive a reboot. Name a "
        "folder on a disk of this host with store=",
    )


def is_network_file_system(path: str) -> bool:
    """Whether the path, or the nearest folder above it that exists, is on a network file system."""
    path = os.path.realpath(path)
    found, kind = "", ""
    with (
        contextlib.suppress(OSError),
        open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines,
    ):
        for line in lines:
            before, _, after = line.partition(" - ")
            point = re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), before.split()[4])
            # Of several mounts on one another the last one counts.
            if (path == point or path.startswith(point.rstrip("/") + "/")) and len(point) >= len(found):
                found, kind = point, after.split()[0]
    return kind in _NETWORK


# ---- files -----------------------------------------------------------------------------------------------------------


def make_file(path: str) -> None:
    """Make folder and file where they aren't, and make sure that they are ours alone.

    The file is never opened if it exists: closing it would drop the locks that this process holds on it.

    Raises:
        AccessDenied: one of them is somebody else's, a link, or open to others.
        JournalUnusable: it can't be made.
    """
    folder = os.path.dirname(path)
    try:
        make_folder(folder)
        above = os.path.dirname(folder)
        for each in (above, folder) if os.path.basename(above) == _temporary() else (folder,):
            _check(each, stat.S_ISDIR, "a folder", "chmod 700")
        with contextlib.suppress(FileExistsError):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            os.fchmod(fd, 0o600)  # a umask may have taken our own rights away
            os.close(fd)
        for each in (path, f"{path}-wal"):
            with contextlib.suppress(FileNotFoundError):
                _check(each, stat.S_ISREG, "a file", "chmod 600")
    except AccessDenied:
        raise
    except OSError as error:
        raise JournalUnusable(
            f"the journal {path} can't be made: {error.strerror}. Make room for it or name another folder with store="
        ) from error


def make_folder(folder: str) -> None:
    """Make a folder, and those above it, where they aren't: for us alone."""
    missing = []
    while not os.path.lexists(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for each in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(each, 0o700)
            os.chmod(each, 0o700)  # as above


def _check(path: str, is_kind: object, kind: str, remedy: str) -> None:
    state = os.lstat(path)
    assert callable(is_kind)
    if not is_kind(state.st_mode):
        raise AccessDenied(f"{path} is not {kind} (or a link to one): remove it, or name another folder with store=")
    if state.st_uid != _user():
        raise AccessDenied(
            f"{path} belongs to the user with id {state.st_uid}, not to you: name a folder of your own with store="
        )
    if state.st_mode & 0o077:
        raise AccessDenied(f"{path} is open to other users (mode {state.st_mode & 0o777:o}): run `{remedy} {path}`")


def _temporary() -> str:
    """Where everybody may make folders, ours may have been made by somebody else."""
    return f"twistcluster-state-{os.geteuid()}"


def _user() -> int:
    return os.geteuid()


def in_use(path: str) -> JournalInUse:
    """The error that says who has the journal, as far as that is known."""
    pid = _holder(path)
    who = f"the process {pid}" if pid else "another process"
    if pid == os.getpid():
        who = "this process"
    return JournalInUse(
        f"the journal {path} is used by {who}: a cluster that keeps its jobs there is running. Connect to it, or stop "
        "it first, or name another folder with store="
    )


def _holder(path: str) -> int | None:
    """The process that holds a lock on the file. To ask by opening the file could drop locks of ours."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        state = os.stat(path)
        which = f"{os.major(state.st_dev):02x}:{os.minor(state.st_dev):02x}:{state.st_ino}"
        with open("/proc/locks", encoding="ascii") as lines:
            for line in lines:
                fields = line.split()
                if "->" not in fields and fields[5] == which and int(fields[4]) > 0:
                    return int(fields[4])
    return None
