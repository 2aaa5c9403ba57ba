"""Names of files from patterns and folders, one by one: ten million names are never in memory together.

Owns: what a pattern matches, in which order, and how a worker tells what its disk has. Must not know: pictures' content,
clusters.

A folder in which nobody may look doesn't vanish: it stands for what is in it, and is no file when it is opened.
"""

import errno
import fnmatch
import os
import re
import socket
from collections.abc import Callable, Iterator
from itertools import chain, groupby, islice
from pathlib import Path, PurePath
from typing import Final, NamedTuple

from twistcluster.errors import PictureUnreadable
from twistcluster.images.archives import members
from twistcluster.images.endings import is_archive, is_picture
from twistcluster.images.source import File, Member, Source, Unfit

__all__ = ["SORTED_UP_TO", "beginning", "has_pattern", "in_folder", "listed_there", "matching", "packed_listing"]

SORTED_UP_TO: Final = 100_000
"""The entries of a larger folder come as its disk gives them: to sort them all must be in memory."""

_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR})
_MAGIC: Final = re.compile(r"[*?\[]")
_Identity = tuple[int, int] | None


class _Way(NamedTuple):
    """How a folder was come to.

    Attributes:
        linked: Of all ways of a listing, the folders that were come to by a link, with how many parts of its pattern
            were left.
        above: The folders in which it lies, from where this began, and itself, by their identities.
        links: How many of them are links.
        root: The real path of the folder of which each picture is wanted once; "": each way to it counts, as in glob.
    """

    linked: set[tuple[_Identity, int]]
    above: tuple[_Identity, ...] = ()
    links: int = 0
    root: str = ""


def has_pattern(path: str) -> bool:
    """Whether this is a pattern: it has a `*`, `?` or `[`."""
    return _MAGIC.search(path) is not None


def in_folder(folder: str) -> Iterator[tuple[str, str]]:
    """The pictures of a folder and of those in it, linked ones too: paths, and their folders relative to it. What several
    ways lead to is there once, of its own folder before a link to it.
    """
    yield from _walk(folder, "", is_picture, _Way(set(), (_identity(folder),), root=os.path.realpath(folder)))


def beginning(pattern: str) -> str:
    """The folder in which a pattern begins to match; "": where the process is."""
    parts = PurePath(pattern).parts
    return os.path.join(*parts[: _fixed(parts)]) if _fixed(parts) else ""  # noqa: PTH118 (as it was typed)


def matching(pattern: str) -> Iterator[tuple[str, str]]:
    """The files that a pattern matches, as `glob.glob(…, recursive=True)`: paths, and their folders relative to its
    first part without a wildcard. `**` follows links to folders, but never into a folder that it is in already, which
    glob does up to forty times, nor from a linked folder by a link to one that some link led to before: of folders that
    all lead to each other glob gives more paths than anybody could read.
    """
    parts = tuple(
        chain.from_iterable(["**"] if part == "**" else same for part, same in groupby(PurePath(pattern).parts))
    )  # `**/**` is `**`, and gives each name once
    yield from _matching(beginning(pattern), "", parts[_fixed(parts) :], _Way(set()))


def packed_listing(path: str) -> bytes:
    """What a pattern, folder or archive of the process that runs this gives, in one block.

    Of each: some facts, 1, text, 0. No path has a 0 in it. `listed_there` makes a source of facts and text.

    Raises:
        PictureUnreadable: There is nothing.
    """
    packed = b"".join(f"{facts}\1{text}\0".encode("utf-8", "surrogateescape") for facts, text in _told(path))
    if not packed:
        raise PictureUnreadable(f"no picture matches {path!r} on this worker ({socket.gethostname()}, in {Path.cwd()})")
    return packed


def listed_there(path: str, facts: str, text: str) -> Source:
    """One of the sources that a worker told of, for a path that it was asked about."""
    kind, numbers = facts[0], [int(number) for number in facts[1:].split(",") if number]
    if kind == "z":
        return Member(File(path), text, header=numbers[0])
    if kind == "t":
        return Member(File(path), text, (numbers[0], numbers[1]), numbers[2])
    first, second = text[: numbers[0]], text[numbers[0] + 1 :]
    return Unfit(second, PictureUnreadable(first)) if kind == "x" else File(second, None, first)


def _told(path: str) -> Iterator[tuple[str, str]]:
    """Facts and text of each: "f", a file's folder and path; "z" and "t", a member's name; "x", an error and whose."""
    if has_pattern(path) and not os.path.exists(path):  # noqa: PTH110
        found = matching(path)
    elif is_archive(path) and not os.path.isdir(path):  # noqa: PTH112
        yield from map(_told_member, members(File(path)))
        return
    else:
        found = in_folder(path) if os.path.isdir(path) else iter([(path, "")])  # noqa: PTH112
    for file, folder in found:  # the "/": two parts of a character's bytes never meet
        yield f"f{len(folder)}", f"{folder}/{file}"


def _told_member(source: Source) -> tuple[str, str]:
    if isinstance(source, Member):
        return (
            f"z{source.header}" if source.at is None else f"t{source.at[0]},{source.at[1]},{source.header}"
        ), source.inner
    text = str(source.error if isinstance(source, Unfit) else "it can't be read where it is").replace("\0", "?")
    return f"x{len(text)}", f"{text}/{source.name}"


def _fixed(parts: tuple[str, ...]) -> int:
    return next(i for i, part in enumerate(parts) if has_pattern(part))


def _matching(base: str, folder: str, parts: tuple[str, ...], way: _Way) -> Iterator[tuple[str, str]]:
    first, rest = parts[0], parts[1:]
    begun = _Way(way.linked)
    if first == "**":
        way = way if way.above else begun._replace(above=(_identity(base),))
        if not rest:
            yield from _walk(base, folder, lambda name: not name.startswith("."), way)
            return
        yield from _matching(base, folder, rest, begun)
        for entry in _entries(base):
            if entry is None:
                if not (has_pattern(rest[0]) or _is_denied(_joined(base, rest[0]))):  # else it was told of
                    yield base or ".", folder
            elif not entry.name.startswith(".") and _is_folder(entry):
                down = _down(entry, way, len(parts))
                if down is not None:
                    yield from _matching(_joined(base, entry.name), _inside(folder, entry.name), parts, down)
        return
    if not has_pattern(first):
        path = _joined(base, first)
        if rest:
            yield from _matching(path, _inside(folder, first), rest, begun)
        elif os.path.isfile(path) or _is_denied(path):  # noqa: PTH113
            yield path, folder
        return
    fits = re.compile(fnmatch.translate(first)).match
    for entry in _entries(base):
        if entry is None:
            yield base or ".", folder
            continue
        if not fits(entry.name) or (entry.name.startswith(".") and not first.startswith(".")):
            continue
        path = _joined(base, entry.name)
        if not rest:
            if not _is_folder(entry):
                yield path, folder
        elif _is_folder(entry):
            yield from _matching(path, _inside(folder, entry.name), rest, begun)


def _walk(base: str, folder: str, wanted: Callable[[str], bool], way: _Way) -> Iterator[tuple[str, str]]:
    for entry in _entries(base):
        if entry is None:
            yield base or ".", folder
            continue
        path = _joined(base, entry.name)
        if _is_folder(entry):
            if not entry.name.startswith(".") and (down := _down(entry, way, 0)) is not None:
                yield from _walk(path, _inside(folder, entry.name), wanted, down)
        elif wanted(entry.name):
            yield path, folder


def _entries(folder: str) -> Iterator["os.DirEntry[str] | None"]:
    """What is in a folder, by name; nothing, if there is none; None, where it can't be read."""
    try:
        with os.scandir(folder or ".") as found:
            first = [*islice(found, SORTED_UP_TO)]
            if len(first) < SORTED_UP_TO:
                yield from sorted(first, key=lambda entry: entry.name)
                return
            yield from first
            first = []
            yield from found
    except (OSError, ValueError) as error:  # a ValueError: nothing can have such a name
        if isinstance(error, OSError) and error.errno not in _GONE:
            yield None


def _is_denied(path: str) -> bool:
    """Whether nobody may say if this is there."""
    try:
        os.stat(path)  # noqa: PTH116
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False
    return False


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _down(entry: "os.DirEntry[str]", way: _Way, left: int) -> _Way | None:
    """The way into what is in a folder; None: it is one of those in which it lies, or was walked already."""
    here, is_link = _identity(entry.path), entry.is_symlink()
    links = way.links + is_link
    if here is not None:
        known = links > (0 if way.root else 1) and (here, left) in way.linked
        if known or here in way.above or (is_link and way.root and _is_in(os.path.realpath(entry.path), way.root)):
            return None
        if links:
            way.linked.add((here, left))
    return way._replace(above=(*way.above, here), links=links)


def _is_in(path: str, root: str) -> bool:
    """Whether a folder is walked as one of those in another, by itself; by their real paths."""
    return f"{path}/".startswith(f"{root.rstrip('/')}/") and "/." not in path[len(root.rstrip("/")) :]


def _identity(folder: str) -> _Identity:
    """What no other folder has; None, if its disk doesn't say."""
    try:
        found = os.stat(folder or ".")  # noqa: PTH116
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _joined(base: str, name: str) -> str:
    return os.path.join(base, name) if base else name  # noqa: PTH118 (a third of a Path's time, for very many)


def _inside(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
