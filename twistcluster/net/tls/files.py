"""Private files: whole or not there at all, and nobody else's to read from the first instant.

Owns: modes, owners, and how a file takes its place. Must not know: what is in them.
"""

import contextlib
import os
import pathlib
import secrets
import stat
from typing import Final

from twistcluster.errors import AccessDenied

__all__ = ["create_private", "read_private", "replace_private"]

FILE_BYTES: Final = 64 * 1024
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


def create_private(path: pathlib.Path, data: bytes) -> bool:
    """Write a file of mode 0600 that isn't there yet; False: there is one (of two who try at once, one is first).

    Raises:
        AccessDenied: it can't be written.
    """
    with _draft(path, data) as draft:
        try:
            os.link(draft, path, follow_symlinks=False)
        except FileExistsError:
            return False
        finally:
            draft.unlink()
    return True


def replace_private(path: pathlib.Path, data: bytes) -> None:
    """Write a file of mode 0600, in the place of one that may be there: a reader sees the old one or the new one.

    Raises:
        AccessDenied: it can't be written.
    """
    with _draft(path, data) as draft:
        draft.replace(path)


class _draft(contextlib.AbstractContextManager[pathlib.Path]):  # noqa: N801 (used like a function)
    """The data in a file beside `path`, on the disk; it must be moved or removed inside the `with`."""

    def __init__(self, path: pathlib.Path, data: bytes) -> None:
        self._path = path
        self._data = data
        self._draft = path.with_name(f".{path.name}-{secrets.token_hex(8)}")

    def __enter__(self) -> pathlib.Path:
        try:
            fd = os.open(self._draft, _NEW, 0o600)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            os.fchmod(fd, 0o600)  # a umask may have taken our own rights away; it can't have given any to others
            with open(fd, "wb", closefd=False) as file:
                file.write(self._data)
            os.fsync(fd)
        except BaseException as error:
            self._draft.unlink()
            if isinstance(error, OSError):
                raise self._unwritable(error) from error
            raise
        finally:
            os.close(fd)
        return self._draft

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None:
            self._sync_folder()
            return
        with contextlib.suppress(OSError):
            self._draft.unlink()
        if isinstance(error, OSError):
            raise self._unwritable(error) from error

    def _sync_folder(self) -> None:
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with contextlib.suppress(OSError):  # not every file system can
                os.fsync(folder)
        finally:
            os.close(folder)

    def _unwritable(self, error: OSError) -> AccessDenied:
        return AccessDenied(f"{self._path} can't be written: {error.strerror}")


def read_private(path: pathlib.Path, advice: str) -> bytes | None:
    """What is in a private file of this user; None: there is none.

    Args:
        path: of the file.
        advice: what to do if others may have read it.

    Raises:
        AccessDenied: it is somebody else's, open to others, not a plain file, or can't be read.
    """
    try:
        # O_NONBLOCK: a pipe in its place mustn't hold us.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AccessDenied(f"{path} can't be read: {error.strerror} (it must be a file of yours, no link)") from error
    try:
        _check(path, os.fstat(fd), advice)
        with open(fd, "rb", closefd=False) as file:
            return file.read(FILE_BYTES)
    finally:
        os.close(fd)


def _check(path: pathlib.Path, state: os.stat_result, advice: str) -> None:
    if not stat.S_ISREG(state.st_mode):
        raise AccessDenied(f"{path} is not a plain file: {advice}")
    if state.st_uid != os.geteuid():
        raise AccessDenied(f"{path} belongs to the user with id {state.st_uid}, not to you: {advice}")
    if state.st_mode & 0o077:
        raise AccessDenied(
            f"{path} is open to other users (mode {state.st_mode & 0o777:o}), who may have read the key in it. "
            f"If nobody could, run `chmod 600 {path}`; else {advice}"
        )
