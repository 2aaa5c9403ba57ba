"""How much memory a worker's host has, and how much of it is used.

Owns: reading that, of the machine or of the cgroup that allows less, and looking again each second. Must not know: what
follows from it.

Pages of tmpfs count as used everywhere here: values in the store are memory. What the kernel can let go of at once, files
that were read and aren't used now, does not count.
"""

import pathlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from twistcluster.net.turn import Timer
from twistcluster.nodes.cgroups import OWN, V2, cgroups

__all__ = ["LOOK_S", "Memory", "MemoryWatch", "host_memory"]

LOOK_S: Final = 1.0
"""Between two looks."""

_MEMINFO = pathlib.Path("/proc/meminfo")
_V1 = pathlib.Path("/sys/fs/cgroup/memory")


class Memory(NamedTuple):
    """In bytes."""

    used: int
    limit: int


def host_memory(
    meminfo: pathlib.Path = _MEMINFO, own: pathlib.Path = OWN, v2: pathlib.Path = V2, v1: pathlib.Path = _V1
) -> Memory | None:
    """What this process's cgroup allows and uses, or what the machine has if that is less; None: nobody says.

    Of several cgroups above each other that have a limit, it is the fullest.

    Args:
        meminfo: the machine's figures.
        own: which cgroups this process is in.
        v2: where cgroups of the second version are mounted.
        v1: where the memory controller of the first version is mounted.
    """
    machine = _machine(meminfo)
    found = [_cgroup(version, folder) for version, folder in cgroups("memory", own, v2, v1)]
    tight = [each for each in found if each is not None and (machine is None or each.limit < machine.limit)]
    return max(tight, key=lambda each: each.used / each.limit) if tight else machine


def _machine(meminfo: pathlib.Path) -> Memory | None:
    """Lines like `MemTotal:  24684092 kB`."""
    try:
        lines = meminfo.read_text("ascii").splitlines()
        fields = {name: text.split() for name, _, text in (line.partition(":") for line in lines)}
        total = int(fields["MemTotal"][0])
        return Memory((total - int(fields["MemAvailable"][0])) << 10, total << 10) if total > 0 else None
    except (OSError, ValueError, LookupError):
        return None


def _cgroup(version: int, folder: pathlib.Path) -> Memory | None:
    """https://docs.kernel.org/admin-guide/cgroup-v2.html, "Memory Interface Files"; cgroup-v1/memory.html."""
    limit_file, used_file, unused = (
        ("memory.max", "memory.current", "inactive_file")
        if version == 2
        else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    )
    try:
        limit = int((folder / limit_file).read_text("ascii"))  # "max": no limit
        used = int((folder / used_file).read_text("ascii"))
        stat = dict(line.split() for line in (folder / "memory.stat").read_text("ascii").splitlines())
        return Memory(max(0, used - int(stat[unused])), limit) if limit > 0 else None
    except (OSError, ValueError, LookupError):
        return None


class MemoryWatch:
    """Looks at the host's memory each second.

    Args:
        reactor: Twisted's.
        read: how; None: not known now.
        on_seen: called with what was read.
    """

    def __init__(self, reactor: Any, read: Callable[[], Memory | None], on_seen: Callable[[Memory], None]) -> None:
        self._reactor = reactor
        self._read = read
        self._on_seen = on_seen
        self._timer: Timer | None = None

    def start(self) -> None:
        """Look now, and from here on."""
        self._timer = self._reactor.callLater(LOOK_S, self.start)
        memory = self._read()
        if memory is not None:
            self._on_seen(memory)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
