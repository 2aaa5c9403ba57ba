"""Names of files from patterns and folders, one by one: ten million names are never in memory together.

Owns: what a pattern matches, and in which order. Must not know: pictures' content, clusters.
"""

import fnmatch
import os
import re
import socket
from collections.abc import Callable, Iterator
from itertools import chain, groupby, islice
from pathlib import Path, PurePath
from typing import Final

from twistcluster.errors import PictureUnreadable

__all__ = ["ENDINGS", "SORTED_UP_TO", "has_pattern", "in_folder", "is_picture", "matching", "packed_listing"]

ENDINGS: Final = frozenset(
    [
        "jpg",
        "jpeg",
        "jpe",
        "jfif",
        "png",
        "apng",
        "gif",
        "webp",
        "avif",
        "avifs",
        "tif",
        "tiff",
        "bmp",
        "dib",
        "ico",
        "icns",
        "ppm",
        "pgm",
        "pbm",
        "pnm",
        "pfm",
        "jp2",
        "j2k",
        "jpx",
        "tga",
        "dds",
        "psd",
        "pcx",
        "sgi",
        "rgb",
        "qoi",
        "mpo",
        "heic",
        "heif",
        "jxl",
    ]  # those that this Pillow can't read fail, with what to do
)
"""Files of a folder or an archive that are taken for pictures."""
SORTED_UP_TO: Final = 100_000
"""The entries of a larger folder come as its disk gives them: to sort them all must be in memory."""

_MAGIC: Final = re.compile(r"[*?\[]")


def has_pattern(path: str) -> bool:
    """Whether this is a pattern: it has a `*`, `?` or `[`."""
    return _MAGIC.search(path) is not None


def is_picture(name: str) -> bool:
    """Whether a file of a folder is taken for a picture, by its ending; hidden ones never are."""
    return name.rpartition(".")[2].lower() in ENDINGS and not name.startswith(".")


def in_folder(folder: str) -> Iterator[tuple[str, str]]:
    """The pictures of a folder and of those in it: paths, and their folders relative to it."""
    yield from _walk(folder, "", is_picture)


def matching(pattern: str) -> Iterator[tuple[str, str]]:
    """The files that a pattern matches, as `glob.glob(…, recursive=True)`: paths, and their folders relative to its
    first part without a wildcard. Links to folders aren't followed by `**`.
    """
    parts = tuple(
        chain.from_iterable(["**"] if part == "**" else same for part, same in groupby(PurePath(pattern).parts))
    )  # `**/**` is `**`, and gives each name once
    fixed = next(i for i, part in enumerate(parts) if has_pattern(part))
    root = os.path.join(*parts[:fixed]) if fixed else ""  # noqa: PTH118 (as it was typed)
    yield from _matching(root, "", parts[fixed:])


def packed_listing(path: str) -> bytes:
    """The files of a pattern or folder of the process that runs this, in one block: path, 1, folder, 0 of each.

    Raises:
        PictureUnreadable: There are none.
    """
    found = matching(path) if has_pattern(path) else in_folder(path)
    packed = b"".join(f"{file}\1{folder}\0".encode("utf-8", "surrogateescape") for file, folder in found)
    if not packed:
        raise PictureUnreadable(f"no picture matches {path!r} on this worker ({socket.gethostname()}, in {Path.cwd()})")
    return packed


def _matching(base: str, folder: str, parts: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    first, rest = parts[0], parts[1:]
    if first == "**":
        if not rest:
            yield from _walk(base, folder, lambda name: not name.startswith("."))
            return
        yield from _matching(base, folder, rest)
        for entry in _entries(base):
            if not entry.name.startswith(".") and _is_folder(entry, follow=False):
                yield from _matching(_joined(base, entry.name), _inside(folder, entry.name), parts)
        return
    if not has_pattern(first):
        path = _joined(base, first)
        if rest:
            yield from _matching(path, _inside(folder, first), rest)
        elif os.path.isfile(path):  # noqa: PTH113
            yield path, folder
        return
    fits = re.compile(fnmatch.translate(first)).match
    for entry in _entries(base):
        if not fits(entry.name) or (entry.name.startswith(".") and not first.startswith(".")):
            continue
        path = _joined(base, entry.name)
        if not rest:
            if not _is_folder(entry):
                yield path, folder
        elif _is_folder(entry):
            yield from _matching(path, _inside(folder, entry.name), rest)


def _walk(base: str, folder: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    for entry in _entries(base):
        path = _joined(base, entry.name)
        if _is_folder(entry, follow=False):
            if not entry.name.startswith("."):
                yield from _walk(path, _inside(folder, entry.name), wanted)
        elif wanted(entry.name):
            yield path, folder


def _entries(folder: str) -> Iterator["os.DirEntry[str]"]:
    """What is in a folder, by name; nothing, if it can't be read."""
    try:
        with os.scandir(folder or ".") as found:
            first = [*islice(found, SORTED_UP_TO)]
            if len(first) < SORTED_UP_TO:
                yield from sorted(first, key=lambda entry: entry.name)
                return
            yield from first
            first = []
            yield from found
    except OSError:
        return


def _is_folder(entry: "os.DirEntry[str]", *, follow: bool = True) -> bool:
    try:
        return entry.is_dir(follow_symlinks=follow)
    except OSError:
        return False


def _joined(base: str, name: str) -> str:
    return os.path.join(base, name) if base else name  # noqa: PTH118 (a third of a Path's time, for very many)


def _inside(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
