"""The pictures in a zip or tar archive, one by one.

Owns: which members are pictures, and what is wrong with an archive. Must not know: what pictures are, clusters.
"""

import tarfile
import zipfile
from collections.abc import Iterator
from typing import Any

from twistcluster.errors import PictureError, PictureTooLarge, PictureUnreadable
from twistcluster.images.endings import ZIPS, is_inner_picture
from twistcluster.images.source import MEMBER_BYTES, File, Given, Member, Source, Unfit, broken

__all__ = ["members"]


def members(archive: File) -> Iterator[Source]:
    """Its pictures; and an `Unfit` where it breaks off, isn't there, or has none."""
    path, count = archive.path, 0
    try:
        if archive.proof is None:
            archive.opened_here()  # a pipe of this name would be waited for
        for source in (_in_zip if path.lower().endswith(ZIPS) else _in_tar)(archive):
            count += 1
            yield source
    except PictureError as error:
        yield Unfit(path, error)
    except Exception as error:  # OSError, BadZipFile, TarError, zlib.error, LZMAError and others
        yield Unfit(path, broken(path, error))
    else:
        if not count:
            yield Unfit(path, PictureUnreadable(f"{path} has no pictures in it"))


def _in_zip(archive: File) -> Iterator[Source]:
    with zipfile.ZipFile(archive.path) as opened:
        for info in opened.infolist():
            if not info.is_dir() and is_inner_picture(info.filename):
                yield Member(archive, info.filename)


class _Info(tarfile.TarInfo):
    """A member, of which the block that tells of it was the last that was read."""

    last = b""

    @classmethod
    def frombuf(cls, buf: Any, encoding: Any, errors: Any) -> Any:
        """As it is."""
        cls.last = bytes(buf)
        return super().frombuf(buf, encoding, errors)


def _in_tar(archive: File) -> Iterator[Source]:
    """Where a tar isn't compressed, a worker can read a member by itself; else its bytes travel."""
    packed = False
    info_class = type("Info", (_Info,), {})  # its `last` is this archive's
    try:
        opened = tarfile.open(archive.path, "r:", tarinfo=info_class)  # noqa: SIM115
    except tarfile.ReadError:
        packed = True
        opened = tarfile.open(archive.path, "r|*", tarinfo=info_class)  # noqa: SIM115
    with opened:
        if packed and archive.proof is None:
            raise PictureUnreadable(
                f"{archive.path} is compressed, and on a worker's disk: unpack it there, or give the .tar or a .zip"
            )
        while (info := opened.next()) is not None:
            opened.members = []  # type: ignore[attr-defined] # it remembers them all
            if not info.isfile() or not is_inner_picture(info.name):
                continue
            member = Member(archive, info.name, (info.offset_data, info.size))
            if not packed and not info.issparse():
                yield member
            else:
                yield _unpacked(opened, info, member)
    if info_class.last != bytes(tarfile.BLOCKSIZE):  # type: ignore[attr-defined] # `next` is silent about that
        raise tarfile.ReadError("it has no end, and may have had more pictures")


def _unpacked(opened: tarfile.TarFile, info: tarfile.TarInfo, member: Member) -> Source:
    if info.size > MEMBER_BYTES:
        return Unfit(member.name, PictureTooLarge(f"{member.name} unpacks to {info.size:,} bytes"), member.folder)
    file = opened.extractfile(info)
    data = b"" if file is None else file.read()
    return Given(data, member.name, member.folder, member.stamp())
