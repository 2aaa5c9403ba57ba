"""The cgroups that this process is in.

Owns: where their folders are, of both versions. Must not know: what is read there.
"""

import pathlib
from collections.abc import Iterator

__all__ = ["OWN", "V2", "cgroups"]

OWN = pathlib.Path("/proc/self/cgroup")
V2 = pathlib.Path("/sys/fs/cgroup")


def cgroups(
    controller: str, own: pathlib.Path, v2: pathlib.Path, v1: pathlib.Path
) -> Iterator[tuple[int, pathlib.Path]]:
    """The folders of this process's cgroup and of those above it, each with its version; they need not be there.

    Args:
        controller: of the first version: "cpu", "memory".
        own: what `/proc/self/cgroup` says.
        v2: where the second version is mounted.
        v1: where that controller of the first version is mounted.
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            yield from ((2, folder) for folder in _upwards(v2, path))
        elif controller in controllers.split(","):
            yield from ((1, folder) for folder in _upwards(v1, path))


def _upwards(root: pathlib.Path, path: str) -> list[pathlib.Path]:
    """The folder of a cgroup and those above it; in a container only the root may be there."""
    parts = [part for part in path.split("/") if part not in {"", ".."}]
    return [root.joinpath(*parts[:count]) for count in range(len(parts), -1, -1)]
