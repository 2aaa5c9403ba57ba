"""What `cluster.images(…)` was given, as items one by one.

Owns: the listing of paths, patterns, folders, archives and lists, the names that were met, and whether sources can be
listed again. Must not know: steps, jobs.

Sources are listed when a pipeline runs, and again by each further run. Names that were met are kept in one block of
bytes (a name and 8 bytes each): a table, a gallery and `save` ask for them by number.
"""

import os
import tarfile
import zipfile
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from twistcluster.errors import PictureTooLarge, PictureUnknown, PictureUnreadable
from twistcluster.images.fetching import MAX_BYTES, TIMEOUT_S, require_urllib3
from twistcluster.images.listing import has_pattern, in_folder, is_picture, matching
from twistcluster.images.source import MEMBER_BYTES, File, Given, Item, Member, Source, Unfit, Url, proof_of

__all__ = ["Names", "Options", "Sources"]

LONGEST_S: Final = 86_400.0
"""A server that takes longer to answer doesn't."""

_ZIPS: Final = (".zip", ".cbz")
_TARS: Final = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


class Names:
    """Names by number, in one block of memory.

    >>> names = Names()
    >>> names.add("a.jpg"); names.add("b.jpg")
    >>> names[1], len(names)
    ('b.jpg', 2)
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends = array("Q")

    def add(self, name: str) -> None:
        """The next one."""
        self._bytes += name.encode("utf-8", "surrogateescape")
        self._ends.append(len(self._bytes))

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> str:
        start = self._ends[index - 1] if index else 0
        return bytes(self._bytes[start : self._ends[index]]).decode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Options:
    """How sources are meant.

    Attributes:
        where: "client": paths are this program's; "workers": theirs.
        timeout_s: For addresses, as `fetching.fetched` has it.
        max_bytes: For addresses.

    Raises:
        ValueError: Nothing could be fetched in that time, or of that length.
    """

    where: str = "client"
    timeout_s: float = TIMEOUT_S
    max_bytes: int = MAX_BYTES

    def __post_init__(self) -> None:
        if not 0 < self.timeout_s <= LONGEST_S:
            raise ValueError(f"timeout is more than nothing and at most a day, not {self.timeout_s:g} s")
        if self.max_bytes < 1:
            raise ValueError(f"max_bytes is at least one byte, not {self.max_bytes}")


class Sources:
    """All pictures of a pipeline.

    Args:
        given: Paths, patterns, folders, archives, addresses, bytes, PIL images, arrays, or iterables of these, nested.
        options: How they are meant.
        there: Lists a pattern or folder of the workers': paths, and their folders relative to it.

    Raises:
        TypeError: Nothing was given, or something that is no source.
        PictureUnreadable: A pattern, folder or archive has no picture.
    """

    def __init__(
        self, given: tuple[Any, ...], options: Options, there: Callable[[str], Iterable[tuple[str, str]]]
    ) -> None:
        self._there = there
        if not given:
            raise TypeError(
                "images of what? Give paths, patterns, folders, archives, addresses, bytes, images or arrays"
            )
        self.given = given
        self.options = options
        self._once = [one for one in _flat_lists(given) if _is_once(one)]
        self._used = False
        for one in _flat_lists(given):
            self._check(one)

    @property
    def held(self) -> int | None:
        """How many pictures there are, where all are given as they are: then there is nothing to list."""
        count = 0
        for one in _flat_lists(self.given):
            if _is_once(one) or _is_path(one):
                return None
            count += len(one) if _is_stack(one) else 1
        return count

    @property
    def has_paths(self) -> bool:
        """Whether some may be paths of this program's."""
        return self.options.where == "client" and any(
            _is_once(one) or (_is_path(one) and not _is_address(one)) for one in _flat_lists(self.given)
        )

    def items(self) -> Iterator[Item]:
        """Each source with its number.

        Raises:
            ValueError: An iterator among them was used up by an earlier run.
        """
        if self._once and self._used:
            raise ValueError(
                "the pictures came from an iterator, which can be gone through once: give a list to run this again"
            )
        self._used = True
        listed = (source for one in self.given for source in self._sources(one))
        return (Item(index, source) for index, source in enumerate(listed))

    def at(self, index: int) -> Item:
        """One of them, listed again up to there.

        Raises:
            ValueError: They came from an iterator.
        """
        if self._once:
            raise ValueError(
                "the picture can't be opened again: it came from an iterator, which can be gone through once"
            )
        listed = (source for one in self.given for source in self._sources(one))
        return Item(index, next(islice(listed, index, None)))

    @property
    def again(self) -> bool:
        """Whether they can be listed again."""
        return not self._once

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _check(self, one: Any) -> None:
        """What can be said before anything runs."""
        if _is_once(one):
            return
        if not _is_path(one):
            _given(one)
            return
        path = os.fsdecode(one)
        if _is_address(one):
            require_urllib3()
        elif self.options.where == "client" and (has_pattern(path) or os.path.isdir(path)):  # noqa: PTH112
            if not os.path.exists(path) and next(matching(path), None) is None:  # noqa: PTH110
                raise PictureUnreadable(f"no file matches {path!r} (in {Path.cwd()})")
            if os.path.isdir(path) and next(in_folder(path), None) is None:  # noqa: PTH112
                raise PictureUnreadable(
                    f"the folder {path} has no pictures: a pattern such as '{path}/*' takes all files"
                )

    def _sources(self, one: Any) -> Iterator[Source]:
        """The sources in one thing that was given."""
        if _is_path(one):
            yield from self._of_path(os.fsdecode(one))
        elif _is_many(one):
            for each in one:
                if type(each) is bytes:
                    yield Given(each)
                else:
                    yield from self._sources(each)
        elif _is_stack(one):
            yield from (Given(each) for each in one)
        else:
            try:
                yield _given(one)
            except TypeError as error:  # of an iterator's: the pictures before and after it are done
                yield Unfit("", PictureUnknown(str(error)))

    def _of_path(self, path: str) -> Iterator[Source]:
        if _is_address(path):
            yield Url(path, self.options.timeout_s, self.options.max_bytes)
        elif self.options.where == "workers":
            listed = has_pattern(path) or path.endswith("/")
            yield from (File(each, None, folder) for each, folder in self._there(path)) if listed else [File(path)]
        elif os.path.isdir(path):  # noqa: PTH112
            yield from (_file(each, folder) for each, folder in in_folder(path))
        elif has_pattern(path) and not os.path.exists(path):  # noqa: PTH110
            yield from (_file(each, folder) for each, folder in matching(path))
        elif path.lower().endswith(_ZIPS):
            yield from _members(path, _in_zip)
        elif path.lower().endswith(_TARS):
            yield from _members(path, _in_tar)
        else:
            yield _file(path, "")


def _file(path: str, folder: str) -> Source:
    """A file of this program's."""
    path = os.path.abspath(path)  # noqa: PTH100 (a tenth of Path.absolute's time)
    try:
        return File(path, proof_of(path), folder)
    except OSError as error:
        return Unfit(path, PictureUnreadable(f"{path} can't be read: {error.strerror}"), folder)


def _members(path: str, listed: Any) -> Iterator[Source]:
    archive = _file(path, "")
    if isinstance(archive, Unfit):
        yield archive
        return
    count = 0
    try:
        for source in listed(archive):
            count += 1
            yield source
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, tarfile.TarError) as error:
        yield Unfit(path, PictureUnreadable(f"{path} can't be unpacked: {error}"))
    except Exception as error:  # zlib.error, lzma.LZMAError
        yield Unfit(path, PictureUnreadable(f"{path} can't be unpacked: {str(error) or type(error).__name__}"))
    else:
        if not count:
            yield Unfit(path, PictureUnreadable(f"{path} has no pictures in it"))


def _in_zip(archive: File) -> Iterator[Source]:
    with zipfile.ZipFile(archive.path) as opened:
        for info in opened.infolist():
            if not info.is_dir() and _is_inner_picture(info.filename):
                yield Member(archive, info.filename)


def _in_tar(archive: File) -> Iterator[Source]:
    """Where a tar isn't compressed, a worker can read a member by itself; else its bytes travel."""
    packed = False
    try:
        opened = tarfile.open(archive.path, "r:")  # noqa: SIM115
    except tarfile.ReadError:
        packed = True
        opened = tarfile.open(archive.path, "r|*")  # noqa: SIM115
    with opened:
        while (info := opened.next()) is not None:
            opened.members = []  # type: ignore[attr-defined] # it remembers them all
            if not info.isfile() or not _is_inner_picture(info.name):
                continue
            member = Member(archive, info.name, (info.offset_data, info.size))
            if not packed and not info.issparse():
                yield member
            else:
                yield _unpacked(opened, info, member)


def _unpacked(opened: tarfile.TarFile, info: tarfile.TarInfo, member: Member) -> Source:
    if info.size > MEMBER_BYTES:
        return Unfit(member.name, PictureTooLarge(f"{member.name} unpacks to {info.size:,} bytes"), member.folder)
    file = opened.extractfile(info)
    data = b"" if file is None else file.read()
    return Given(data, member.name, member.folder, member.stamp())


def _is_inner_picture(name: str) -> bool:
    return is_picture(name.rpartition("/")[2]) and not name.startswith("__MACOSX/")


def _given(one: Any) -> Given:
    """Bytes, an image or an array.

    Raises:
        TypeError: It is none.
    """
    if isinstance(one, bytes):
        return Given(one)
    from PIL import Image

    if isinstance(one, bytearray | memoryview):
        return Given(bytes(one))
    if isinstance(one, Image.Image) or hasattr(one, "__array_interface__"):
        return Given(one)
    raise TypeError(
        f"a {type(one).__name__} is no picture: give paths, patterns, folders, archives, addresses, bytes, "
        "PIL images or arrays"
    )


def _is_path(one: Any) -> bool:
    return type(one) is not bytes and isinstance(one, str | os.PathLike)


def _is_address(one: Any) -> bool:
    return isinstance(one, str) and one.lower().startswith(("http://", "https://"))


def _is_stack(one: Any) -> bool:
    """Whether this is an array of pictures, (number, height, width, channels)."""
    return type(one) is not bytes and getattr(one, "ndim", 0) == 4 and hasattr(one, "__array_interface__")


def _is_once(one: Any) -> bool:
    """Whether this can be gone through once."""
    return type(one) is not bytes and type(one) is not str and isinstance(one, Iterator)


def _is_many(one: Any) -> bool:
    """Whether this holds sources, and is none itself."""
    if type(one) is bytes or type(one) is str:  # as most are; asking an abstract class takes a microsecond
        return False
    single = isinstance(one, str | os.PathLike | bytes | bytearray | memoryview) or hasattr(one, "__array_interface__")
    return isinstance(one, Iterable) and not single


def _flat_lists(given: Iterable[Any]) -> Iterator[Any]:
    """What lists and the like hold, at any depth; iterators as they are."""
    for one in given:
        if _is_many(one) and not _is_once(one):
            yield from _flat_lists(one)
        else:
            yield one
