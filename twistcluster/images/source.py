"""One picture's source as it travels to a slot, and what the slot opens.

Owns: the kinds of sources, the proof that a worker sees the client's own file, and how each becomes what `opening.opened`
takes. Must not know: how sources are listed, steps, clusters.

A path is the client's. With it travels what the client's disk says of the file: device, inode, size, time of modification.
A worker that finds the same opens it; any other raises `PictureElsewhere`, and the client sends the bytes
(`mending`). A path of `where="workers"` has no proof, and is opened wherever the item runs.
"""

import errno
import os
import stat
import tarfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from twistcluster.errors import PictureElsewhere, PictureError, PictureTooLarge, PictureUnknown, PictureUnreadable
from twistcluster.images.fetching import fetched, shown
from twistcluster.images.stamps import facts_stamp, source_stamp

__all__ = [
    "File",
    "Given",
    "Item",
    "Member",
    "Proof",
    "Source",
    "Unfit",
    "Url",
    "broken",
    "check_size",
    "is_theirs",
    "proof_of",
    "unreadable",
]

MEMBER_BYTES: Final = 1 << 30
"""A member of an archive that unpacks to more is refused: it is no picture that anybody wants."""

LONG_NAME: Final = 99


class Proof(NamedTuple):
    """What a disk says of a file, by which another process knows it for the same."""

    device: int
    inode: int
    size: int
    mtime_ns: int


def proof_of(path: str) -> Proof:
    """Look at a file.

    Raises:
        OSError: It isn't there, or is no file: to open a pipe may take for ever.
        ValueError: No file can have such a name.
    """
    found = os.stat(path)  # noqa: PTH116 (once for each of very many)
    if not stat.S_ISREG(found.st_mode):
        if stat.S_ISDIR(found.st_mode):
            os.scandir(path).close()  # tells why, of a folder that can't be read
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        raise OSError(errno.EINVAL, "it is no file but a pipe, a socket or a device")
    return Proof(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def unreadable(path: str, error: Exception) -> PictureUnreadable:
    """What is told of a path that can't be read, with what to do."""
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if isinstance(error, PermissionError):
        advice = f"give this user (number {os.geteuid()}) the right to read it"
    elif isinstance(error, FileNotFoundError | NotADirectoryError | ValueError):
        advice = "check the path"
    elif isinstance(error, IsADirectoryError):
        advice = 'if its pictures are meant, give it with a "/" at its end'
    else:
        advice = "check it, and run this again"
    return PictureUnreadable(f"{path} can't be read: {why}; {advice}")


def broken(name: str, error: Exception) -> PictureUnreadable:
    """What is told of an archive, or what is in it, with what to do."""
    why = (str(error) or type(error).__name__).rstrip(".")
    return PictureUnreadable(f"{name} can't be unpacked: {why}; fetch or copy the archive again")


class File(NamedTuple):
    """A file by its path.

    Attributes:
        path: Absolute where it is the client's.
        proof: What the client's disk said of it; None: it is the workers'.
        folder: Relative to where the listing began, for names of what is saved.
    """

    path: str
    proof: Proof | None = None
    folder: str = ""

    @property
    def name(self) -> str:
        """What errors and tables call it."""
        return self.path

    def opened_here(self) -> str:
        """What `opened` takes.

        Raises:
            PictureElsewhere: This process doesn't see the file that the client meant.
            PictureUnreadable: It is the workers', and isn't here, or no file.
        """
        try:
            seen = proof_of(self.path)
        except (OSError, ValueError) as error:
            if self.proof is None:
                raise unreadable(self.path, error) from error
            seen = None
        if self.proof is None:
            return self.path
        if seen != self.proof:
            raise PictureElsewhere(
                f"{self.path} isn't here as the client sees it: run the pipeline in a program that stays until it ends, "
                "which then sends the bytes, or say where='workers' if the path is theirs"
            )
        return self.path

    def sent(self) -> "Given":
        """The same with its bytes, read here, as they are now."""
        try:
            proof_of(self.path)
            return Given(Path(self.path).read_bytes(), self.path, self.folder, self.stamp())
        except (OSError, ValueError) as error:
            raise unreadable(self.path, error) from error

    def stamp(self) -> bytes:
        """What stands for it in the stamp of what is made of it: of a file of the workers' by what the disk of the process
        that asks says of it now.

        Raises:
            PictureUnreadable: It is the workers', and isn't here.
        """
        try:
            proof = self.proof or proof_of(self.path)
        except (OSError, ValueError) as error:
            raise unreadable(self.path, error) from error
        return facts_stamp(os.path.realpath(self.path), proof.size, proof.mtime_ns)


class Member(NamedTuple):
    """A file in a zip or tar archive.

    Attributes:
        archive: The archive.
        inner: The member's name in it.
        at: Of a tar: where its bytes begin, and how many they are; None: the archive is a zip.
        header: Where it lies, if it is one of several of that name: its header in a zip, its bytes in a tar; -1: it is the
            only one, or a tar's first.
    """

    archive: File
    inner: str
    at: tuple[int, int] | None = None
    header: int = -1

    @property
    def name(self) -> str:
        """What errors and tables call it."""
        return f"{self.archive.path}/{self.inner}"

    @property
    def folder(self) -> str:
        """Its folder in the archive."""
        return self.inner.rpartition("/")[0]

    def opened_here(self) -> bytes:
        """Its bytes.

        Raises:
            PictureElsewhere: This process doesn't see the archive that the client meant.
            PictureUnreadable: The archive is damaged there.
            PictureTooLarge: It unpacks to more than `MEMBER_BYTES`.
        """
        path = self.archive.opened_here()
        try:
            return _unpacked(path, self.inner, self.header) if self.at is None else _cut_out(path, *self.at)
        except PictureError:
            raise
        except Exception as error:  # also zlib.error, lzma.LZMAError and others of archives
            raise broken(self.name, error) from error

    def sent(self) -> "Source":
        """The same with its bytes, read here, as they are now; one of the workers' as it is."""
        if self.archive.proof is None:
            return self
        try:
            proof = proof_of(self.archive.path)
        except (OSError, ValueError) as error:
            raise unreadable(self.archive.path, error) from error
        now = self.of(proof)
        if self.at is not None and proof != self.archive.proof and not _begins(self.archive.path, self.inner, *self.at):
            raise PictureUnreadable(f"{self.name} isn't where it was, the archive was written anew: run this again")
        return Given(now.opened_here(), self.name, self.folder, self.stamp())

    def of(self, proof: Proof) -> "Member":
        """The same of the archive as it is now."""
        return self._replace(archive=self.archive._replace(proof=proof))

    def stamp(self) -> bytes:
        """As a file's. Of the only one of its name it never changed: pictures that older versions saved stay known."""
        proof = self.archive.proof
        where = self.inner if self.header == -1 else f"{self.inner}/{self.header}"
        if proof is None:
            return self.archive.stamp() + where.encode("utf-8", "surrogateescape")
        return facts_stamp(f"{self.archive.path}/{where}", proof.size, proof.mtime_ns)


class Url(NamedTuple):
    """A picture on the web, fetched by the worker.

    Attributes:
        url: Its address.
        timeout_s: Seconds until the answer must have begun; after four times that all of it must be there.
        max_bytes: A longer answer is refused.
    """

    url: str
    timeout_s: float
    max_bytes: int

    @property
    def name(self) -> str:
        """Its address without what may be secret in it."""
        return shown(self.url)

    @property
    def folder(self) -> str:
        """It has none."""
        return ""

    def opened_here(self) -> bytes:
        """Its bytes.

        Raises:
            PictureUnreadable: Nobody answers in time, or not with a file.
            PictureTooLarge: There are more than `max_bytes`.
        """
        return fetched(self.url, self.name, self.timeout_s, self.max_bytes)

    def stamp(self) -> bytes:
        """Its address stands for it: whether what lies there changed can't be told without fetching it."""
        return facts_stamp(self.url, 0, 0)


class Given(NamedTuple):
    """Bytes, a PIL image or an array.

    Attributes:
        value: It.
        given_name: Where it came from, if anybody knows.
        folder: As a file's.
        given_stamp: Of the file that the bytes were read from.
    """

    value: Any
    given_name: str = ""
    folder: str = ""
    given_stamp: bytes = b""

    @property
    def name(self) -> str:
        """What errors and tables call it; empty: by its number."""
        return self.given_name or _own_name(self.value)

    def opened_here(self) -> Any:
        """It."""
        return self.value

    def stamp(self) -> bytes:
        """Its content.

        Raises:
            PictureUnknown: It has none that could be told.
        """
        try:
            return self.given_stamp or source_stamp(self.value)
        except PictureError:
            raise
        except Exception as error:
            why = str(error) or "it holds what can't be told from other things"
            raise PictureUnknown(
                f"{self.name or 'this'} is no picture: {why}; give numbers or a file's bytes"
            ) from error


class Unfit(NamedTuple):
    """In the place of what is no source, or couldn't be read: its item fails with that."""

    name: str
    error: PictureError
    folder: str = ""

    def opened_here(self) -> Any:
        """Raise it."""
        raise self.error

    def stamp(self) -> bytes:
        """Nothing was ever made of it."""
        return b""


Source = File | Member | Url | Given | Unfit


def is_theirs(source: Source) -> bool:
    """Whether it lies on the workers' disks: what is there, and whether it changed, only they can tell."""
    file = source.archive if isinstance(source, Member) else source
    return isinstance(file, File) and file.proof is None


class Item(NamedTuple):
    """What a slot is handed: a source and its number in the pipeline."""

    number: int
    source: Source

    @property
    def name(self) -> str:
        """What errors call it."""
        return self.source.name or f"picture {self.number}"


def _own_name(value: Any) -> str:
    """A PIL image may know its file."""
    filename = getattr(value, "filename", "")
    return filename if isinstance(filename, str) else ""


_zips: Final[dict[tuple[str, Proof], zipfile.ZipFile]] = {}
"""The archive that this process read last: its directory is read once, not once for each member."""
_zips_lock: Final = threading.Lock()


def _unpacked(path: str, inner: str, header: int) -> bytes:
    key = path, proof_of(path)
    with _zips_lock:
        archive = _zips.get(key)
        if archive is None:
            _zips.clear()  # it is closed when no other thread reads it
            archive = _zips[key] = zipfile.ZipFile(path)
    info = archive.getinfo(inner)
    if header not in {-1, info.header_offset}:  # one of several of that name, or the archive was written anew
        info = next((one for one in archive.infolist() if one.header_offset == header and one.filename == inner), info)
    check_size(f"{path}/{inner}", info.file_size)
    with archive.open(info) as member:
        return _all_of(member.read, info.file_size, f"{path}/{inner}")


def _begins(path: str, inner: str, at: int, size: int) -> bool:
    """Whether a tar's member of this name and size is still there."""
    try:
        with Path(path).open("rb") as file:
            file.seek(at - tarfile.BLOCKSIZE)
            head = tarfile.TarInfo.frombuf(file.read(tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
    except (OSError, ValueError, tarfile.TarError):
        return False
    # Longer names, and others than ASCII, may stand before that block.
    return head.size == size and (head.name == inner or len(inner) > LONG_NAME or not inner.isascii())


def _cut_out(path: str, at: int, size: int) -> bytes:
    check_size(path, size)
    with Path(path).open("rb") as file:
        file.seek(at)
        data = file.read(size)
    if len(data) < size:
        raise tarfile.ReadError(f"it breaks off after {len(data):,} of {size:,} bytes")
    return data


def _all_of(read: Callable[[int], bytes], size: int, name: str) -> bytes:
    """What a member holds, no more than it said: a bomb says less."""
    data = read(size + 1)
    if len(data) > size:
        raise PictureUnreadable(f"{name} holds more than its archive says ({size:,} bytes): the archive is damaged")
    return data


def check_size(name: str, size: int) -> None:
    """Raise the PictureTooLarge of a member that unpacks to more than `MEMBER_BYTES`."""
    if size > MEMBER_BYTES:
        raise PictureTooLarge(f"{name} unpacks to {size:,} bytes: more than {MEMBER_BYTES:,} are no picture")
