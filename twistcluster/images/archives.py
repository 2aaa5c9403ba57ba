"""The pictures in a zip or tar archive, one by one.

Owns: which members are pictures, and what is wrong with an archive. Must not know: what pictures are, clusters.
"""

import posixpath
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

from twistcluster.errors import PictureError, PictureTooLarge, PictureUnreadable
from twistcluster.images.endings import ZIPS, is_inner_picture
from twistcluster.images.source import File, Given, Member, Source, Unfit, broken, check_size

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
        count = Counter(info.filename for info in opened.infolist())
        for info in opened.infolist():
            if not info.is_dir() and is_inner_picture(info.filename):
                yield Member(archive, info.filename, header=info.header_offset if count[info.filename] > 1 else -1)


class _Names:
    """The names in a tar, told from each other in 8 MB however many there are: very few are taken for others."""

    def __init__(self) -> None:
        self._seen = bytearray(1 << 23)

    def member(self, archive: File, name: str, info: tarfile.TarInfo) -> Member:
        """A member, which says where it lies if there was one of its name."""
        place, bit = divmod(zlib.crc32(name.encode("utf-8", "surrogateescape")) % (8 * len(self._seen)), 8)
        again = self._seen[place] & 1 << bit
        self._seen[place] |= 1 << bit
        return Member(archive, name, (info.offset_data, info.size), info.offset_data if again else -1)


class _Info(tarfile.TarInfo):
    """A member, of which the block that tells of it was the last that was read."""

    last = b""

    @classmethod
    def frombuf(cls, buf: Any, encoding: Any, errors: Any) -> Any:
        """As it is."""
        cls.last = bytes(buf)
        return super().frombuf(buf, encoding, errors)


def _in_tar(archive: File) -> Iterator[Source]:
    """Pictures first, then links to what is in the archive, which are only known when all of it was seen."""
    info_class = type("Info", (_Info,), {})  # its `last` is this archive's
    links: dict[str, str] = {}
    """What leads to what, by names without "." and "..", in their order; "": out of the archive."""
    names = _Names()
    opened, packed = _opened(archive, info_class)
    with opened:
        if packed and archive.proof is None:
            raise PictureUnreadable(
                f"{archive.path} is compressed, and on a worker's disk: unpack it there, or give the .tar or a .zip"
            )
        for info in _infos(opened):
            if info.islnk() or info.issym():
                links[info.name] = _target(info)
            elif info.isfile() and is_inner_picture(info.name):
                member = names.member(archive, info.name, info)
                yield _unpacked(opened, info, member) if packed or info.issparse() else member
    yield from _linked(archive, links, names)
    if info_class.last != bytes(tarfile.BLOCKSIZE):  # type: ignore[attr-defined] # `next` is silent about that
        raise tarfile.ReadError("it has no end, and may have had more pictures")


def _opened(archive: File, info_class: type[tarfile.TarInfo] = tarfile.TarInfo) -> tuple[tarfile.TarFile, bool]:
    """An archive, and whether it is compressed: where it isn't, a worker can read a member by itself, else its bytes
    travel.
    """
    try:
        return tarfile.open(archive.path, "r:", tarinfo=info_class), False
    except tarfile.ReadError:
        return tarfile.open(archive.path, "r|*", tarinfo=info_class), True


def _infos(opened: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (info := opened.next()) is not None:
        opened.members = []  # type: ignore[attr-defined] # it remembers them all
        yield info


def _linked(archive: File, links: dict[str, str], known: _Names) -> Iterator[Source]:
    """The pictures to which links lead, under the links' names."""
    wanted: dict[str, list[str]] = {}
    by_path = {posixpath.normpath(name): target for name, target in links.items()}
    for name, first in links.items():
        if is_inner_picture(name):
            target, seen = first, set()
            while target in by_path and target not in seen:  # some lead in circles
                seen.add(target)
                target = by_path[target]
            wanted.setdefault(target, []).append(name)
    if not wanted:
        return
    opened, packed = _opened(archive)
    with opened:
        for info in _infos(opened):
            names = wanted.pop(posixpath.normpath(info.name), ()) if info.isfile() else ()
            data = _data(opened, info) if names and (packed or info.issparse()) else None
            for name in names:
                member = known.member(archive, name, info)
                yield member if data is None else _given(data, member)
    for name in (name for names in wanted.values() for name in names):
        member = Member(archive, name)
        error = PictureUnreadable(
            f"{member.name} is a link to {links[name] or 'what lies elsewhere'}, which is no file of the archive: pack what "
            "it leads to (tar --dereference)"
        )
        yield Unfit(member.name, error, member.folder)


def _target(info: tarfile.TarInfo) -> str:
    """The path in the archive to which a link leads: hard ones begin where the archive does, others where they lie."""
    beginning = posixpath.dirname(info.name) if info.issym() else ""
    return posixpath.normpath(posixpath.join(beginning, info.linkname))


def _unpacked(opened: tarfile.TarFile, info: tarfile.TarInfo, member: Member) -> Source:
    return _given(_data(opened, info), member)


def _data(opened: tarfile.TarFile, info: tarfile.TarInfo) -> bytes | PictureTooLarge:
    try:
        check_size(info.name, info.size)
    except PictureTooLarge as error:
        return error
    file = opened.extractfile(info)
    return b"" if file is None else file.read()


def _given(data: bytes | PictureTooLarge, member: Member) -> Source:
    if isinstance(data, PictureTooLarge):
        return Unfit(member.name, data, member.folder)
    return Given(data, member.name, member.folder, member.stamp())
