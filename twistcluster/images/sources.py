"""What `cluster.images(…)` was given, as items one by one.

Owns: the listing of paths, patterns, folders, archives and lists, and whether sources can be listed again. Must not know:
steps, jobs, what was listed before (`listed`).

Sources are listed when a pipeline runs, and again by each further run.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from twistcluster.errors import PictureDamaged, PictureError, PictureUnknown, PictureUnreadable
from twistcluster.images.archives import members
from twistcluster.images.endings import is_archive
from twistcluster.images.fetching import MAX_BYTES, TIMEOUT_S, require_urllib3
from twistcluster.images.listing import beginning, has_pattern, in_folder, listed_there, matching
from twistcluster.images.source import File, Given, Item, Source, Unfit, Url, proof_of, unreadable
from twistcluster.wire.values import dumps

__all__ = ["Options", "Sources"]

LONGEST_S: Final = 86_400.0
"""A server that takes longer to answer doesn't."""

_PLAIN: Final = frozenset({bytes, str, int, float, bool, type(None)})


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
        given: Paths, patterns, folders, archives, addresses, bytes, open files, PIL images, arrays, or iterables of
            these, nested.
        options: How they are meant.
        there: Lists a pattern, folder or archive of the workers': what `listed_there` takes of each.

    Raises:
        TypeError: Nothing was given, or something that is no source.
        PictureUnreadable: A pattern or folder has no picture, or can't be read.
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
        self._files: dict[int, tuple[Any, Given | Unfit]] = {}
        """Open files and what they had in them, by their ids: they are read once, as they may be closed later."""
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
    def once(self) -> bool:
        """Whether there are iterators among them: then they can be listed once."""
        return bool(self._once)

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
        return (Item(index, source) for index, source in enumerate(self._listed()))

    def named(self, name: str, place: int) -> Source:
        """One of them, listed again up to there.

        Args:
            name: Its own; empty: it has none.
            place: How many of the same name come before it.

        Raises:
            ValueError: They came from an iterator.
            PictureUnreadable: It isn't there any more.
        """
        if self._once:
            raise ValueError(
                "the picture can't be opened again: it came from an iterator, which can be gone through once"
            )
        found = next(islice((one for one in self._listed() if one.name == name), place, None), None)
        if found is None:
            raise PictureUnreadable(f"{name or 'this picture'} isn't there any more: run the pipeline again")
        return found

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _check(self, one: Any) -> None:
        """What can be said before anything runs."""
        if _is_once(one):
            return
        if not _is_path(one):
            if _is_file(one):
                self._files[id(one)] = one, _read(one)
            elif not _is_given(one):
                raise TypeError(_no_source(one))
        elif _is_address(one):
            require_urllib3()
        elif self.options.where == "client":
            path = os.fsdecode(one)
            found = _listed_here(path)
            if found is None:
                return
            top = path if os.path.isdir(path) else beginning(path)  # noqa: PTH112
            try:
                os.scandir(top or ".").close()
            except (FileNotFoundError, NotADirectoryError, ValueError):
                pass  # told below
            except OSError as error:
                raise unreadable(top or ".", error) from error
            if next(found, None) is None:
                raise _nothing(path)

    def _listed(self) -> Iterator[Source]:
        return (source for one in self.given for source in self._sources(one))

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
            yield from map(_given, one)
        elif _is_file(one):
            yield self._files[id(one)][1] if id(one) in self._files else _read(one)
        else:
            yield _given(one)

    def _of_path(self, path: str) -> Iterator[Source]:
        if _is_address(path):
            yield Url(path, self.options.timeout_s, self.options.max_bytes)
        elif self.options.where == "workers":
            yield from self._of_workers(path)
        elif (found := _listed_here(path)) is not None:
            nothing = True
            for each, folder in found:
                nothing = False
                yield _file(each, folder)
            if nothing:  # it was emptied, or came out of an iterator
                yield Unfit(path, _nothing(path))
        else:
            file = _file(path, "")
            if is_archive(path) and isinstance(file, File):
                yield from members(file)
            else:
                yield file

    def _of_workers(self, path: str) -> Iterator[Source]:
        if not (has_pattern(path) or path.endswith("/") or is_archive(path)):
            yield File(path)
            return
        try:
            for facts, text in self._there(path):
                yield listed_there(path, facts, text)
        except PictureError as error:
            yield Unfit(path, error)


def _listed_here(path: str) -> Iterator[tuple[str, str]] | None:
    """What a folder or a pattern gives; None: it is neither."""
    if os.path.isdir(path):  # noqa: PTH112
        return in_folder(path)
    return matching(path) if has_pattern(path) and not os.path.exists(path) else None  # noqa: PTH110


def _nothing(path: str) -> PictureUnreadable:
    if os.path.isdir(path):  # noqa: PTH112
        return PictureUnreadable(f"the folder {path} has no pictures: a pattern such as '{path}/*' takes all files")
    return PictureUnreadable(f"no file matches {path!r} (in {Path.cwd()})")


def _file(path: str, folder: str) -> Source:
    """A file of this program's."""
    path = os.path.abspath(path)  # noqa: PTH100 (a tenth of Path.absolute's time)
    try:
        return File(path, proof_of(path), folder)
    except (OSError, ValueError) as error:
        return Unfit(path, unreadable(path, error), folder)


def _given(one: Any) -> Given | Unfit:
    """Bytes, an image or an array; what can't be read, or is none of these, fails alone."""
    if type(one) is bytes:
        return Given(one)
    if not _is_given(one):
        return Unfit("", PictureUnknown(_no_source(one)))
    name = getattr(one, "filename", "")
    name = name if isinstance(name, str) else ""
    try:
        return Given(_ready(one))
    except PictureError as error:
        return Unfit(name, error)
    except Exception as error:  # OSError, SyntaxError, ValueError: Pillow's decoders raise many
        return Unfit(
            name, PictureDamaged(f"{name or 'this image'} can't be read: {error}; open it again, or leave it out")
        )


def _ready(one: Any) -> Any:
    """What can be sent: all is read that was to be read later."""
    from PIL import Image

    if isinstance(one, bytes | bytearray | memoryview):
        return bytes(one)
    if isinstance(one, Image.Image):
        one.load()
        _check_info(one.info)
        return one
    import numpy as np

    array = np.asarray(one)
    if array.dtype.hasobject:
        raise PictureUnknown("an array of Python objects is no picture: give one of numbers")
    return array


def _check_info(info: dict[Any, Any]) -> None:
    """What somebody put beside the pixels travels with them, if it can."""
    for name, value in info.items():
        if type(value) not in _PLAIN:
            try:
                dumps(value, name=f"info[{name!r}]")
            except Exception as error:
                why = str(error).partition(" What to do:")[0].rstrip(".")
                raise PictureUnknown(
                    f"the image holds more than a picture, {why}: delete that from its info"
                ) from error


def _read(file: Any) -> Given | Unfit:
    """What an open file has in it, from its beginning, as Pillow does."""
    name = getattr(file, "name", "")
    name = name if isinstance(name, str) else ""
    try:
        if file.seekable():
            file.seek(0)
        data = file.read()
    except (OSError, ValueError, AttributeError) as error:
        return Unfit(name, PictureUnreadable(f"{name or 'the open file'} can't be read: {error}; open it again"))
    if not isinstance(data, bytes):
        return Unfit(
            name, PictureUnknown(f"{name or 'an open file'} gives text, which is no picture: open it with 'rb'")
        )
    return Given(data, name)


def _no_source(one: Any) -> str:
    return (
        f"a {type(one).__name__} is no picture: give paths, patterns, folders, archives, addresses, bytes, "
        "PIL images or arrays"
    )


def _is_given(one: Any) -> bool:
    """Whether this is a picture itself."""
    from PIL import Image

    return isinstance(one, bytes | bytearray | memoryview | Image.Image) or hasattr(one, "__array_interface__")


def _is_file(one: Any) -> bool:
    """Whether this is an open file."""
    return callable(getattr(one, "read", None)) and not isinstance(one, os.PathLike)


def _is_path(one: Any) -> bool:
    return type(one) is not bytes and isinstance(one, str | os.PathLike)


def _is_address(one: Any) -> bool:
    return isinstance(one, str) and one.lower().startswith(("http://", "https://"))


def _is_stack(one: Any) -> bool:
    """Whether this is an array of pictures, (number, height, width, channels)."""
    return type(one) is not bytes and getattr(one, "ndim", 0) == 4 and hasattr(one, "__array_interface__")


def _is_once(one: Any) -> bool:
    """Whether this can be gone through once."""
    return type(one) is not bytes and type(one) is not str and isinstance(one, Iterator) and not _is_file(one)


def _is_many(one: Any) -> bool:
    """Whether this holds sources, and is none itself."""
    if type(one) is bytes or type(one) is str:  # as most are; asking an abstract class takes a microsecond
        return False
    if not isinstance(one, Iterable) or isinstance(one, str | os.PathLike | bytes | bytearray | memoryview):
        return False
    return not (hasattr(one, "__array_interface__") or _is_file(one))


def _flat_lists(given: Iterable[Any]) -> Iterator[Any]:
    """What lists and the like hold, at any depth; iterators as they are."""
    for one in given:
        if _is_many(one) and not _is_once(one):
            yield from _flat_lists(one)
        else:
            yield one
