"""What a program made, and with which modes, as strace saw it: read from its output (`-f -y`, calls as in `CALLS`)."""

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

__all__ = ["CALLS", "Made", "made", "wide"]

CALLS = (
    "open,openat,creat,mkdir,mkdirat,mknod,mknodat,bind,umask,chmod,fchmod,fchmodat,"
    "rename,renameat,renameat2,link,linkat,unlink,unlinkat,rmdir"
)
OTHERS = 0o077
_LINE = re.compile(r"^(\d+) +(\w+)\((.*)\) += (-?\d+|\?)")
_CUT = re.compile(r"^(\d+) +(.*?) *<unfinished \.\.\.>$")
_REST = re.compile(r"^(\d+) +<\.\.\. \w+ resumed>(.*)$")
_PATH = re.compile(r'(?:AT_FDCWD|\d+)<((?:[^<>\\]|\\.)*)>, "((?:[^"\\]|\\.)*)"|"((?:[^"\\]|\\.)*)"')


class Made(NamedTuple):
    """Something was made, or its mode was changed."""

    call: str
    path: str
    mode: int


def calls(lines: Iterable[str]) -> Iterator[tuple[str, str, str, str]]:
    """(thread, call, arguments, result) of each whole call."""
    begun: dict[str, str] = {}
    for text in lines:
        line = text.rstrip("\n")
        if (cut := _CUT.match(line)) is not None:
            begun[cut[1]] = cut[2]
            continue
        if (rest := _REST.match(line)) is not None:
            line = f"{rest[1]} {begun.pop(rest[1], '')}{rest[2]}"
        if (whole := _LINE.match(line)) is not None:
            yield whole[1], whole[2], whole[3], whole[4]


def made(lines: Iterable[str]) -> Iterator[Made]:
    """What was made from nothing, by the name that it was made under, and each change of a mode."""
    masks: dict[str, int] = {}
    there: set[str] = set()
    for thread, call, arguments, result in calls(lines):
        if result.startswith("-") or result == "?":
            continue
        if call == "umask":
            masks[thread] = int(arguments, 8)
            continue
        paths = [
            str(PurePosixPath(each[1] or "", each[2] if each[2] is not None else each[3]))
            for each in _PATH.finditer(arguments)
        ]
        mask = masks.get(thread, 0)
        if call.startswith(("rename", "link")) and len(paths) == 2:
            if call.startswith("rename"):
                there = {paths[1] + each.removeprefix(paths[0]) if within(each, paths[0]) else each for each in there}
            there.add(paths[1])
        elif call.startswith(("unlink", "rmdir")) and paths:
            there.discard(paths[0])
        elif call == "fchmod":
            path = re.match(r"\d+<(.*?)>", arguments)
            yield Made(call, path[1] if path else arguments, mode_in(arguments))
        elif call.startswith("chmod") or call == "fchmodat":
            yield Made(call, paths[0], mode_in(arguments))
        elif call == "bind":
            if (bound := re.search(r'AF_UNIX, sun_path="([^"]*)"', arguments)) is not None:
                there.add(bound[1])
                yield Made(call, bound[1], 0o777 & ~mask)
        elif paths and (not call.startswith("open") or "O_CREAT" in arguments) and paths[0] not in there:
            there.add(paths[0])
            yield Made(call, paths[0], mode_in(arguments) & ~mask)


def within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def mode_in(arguments: str) -> int:
    return int(re.findall(r"\b0[0-7]*\b", re.sub(r'"(?:[^"\\]|\\.)*"|<[^>]*>', "", arguments))[-1], 8)


def wide(found: Iterable[Made]) -> list[Made]:
    """What others had a right to, for however short a time."""
    return [each for each in found if each.mode & OTHERS]
