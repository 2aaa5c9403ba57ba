"""What one slot's process uses of memory, and whether the kernel killed something for want of it.

Owns: how that is measured. A slot's own memory is what the kernel calls anonymous, in memory or swapped out: what its
code allocated, and the parts of mapped files that it changed. Pages that it shares with files don't count. They can be
dropped or written out at need, and values of the host's store, which every slot maps without copying, are such pages:
counted as a slot's own, ten slots that read one table of 1 GiB would seem to use ten. (So what an item puts into shared
memory of its own doesn't count either, nor what child processes use.) Must not know: limits, who asks.
"""

import pathlib
from typing import NamedTuple

from twistcluster.nodes.cgroups import OWN, V2, cgroups

__all__ = ["OomKills", "Used", "memory_of"]

_PROC = pathlib.Path("/proc")


class Used(NamedTuple):
    """In bytes."""

    own: int
    peak: int
    """The most that it ever had in memory, shared pages and all."""


def memory_of(pid: int, proc: pathlib.Path = _PROC) -> Used:
    """How much memory a process uses; zeros where that isn't known.

    Lines like `RssAnon:    1234 kB`: https://man7.org/linux/man-pages/man5/proc_pid_status.5.html.
    """
    try:
        with open(proc / str(pid) / "status", "rb") as file:  # noqa: PTH123 (half the time of Path.read_text)
            fields = dict(line.split(b":", 1) for line in file.read().splitlines())
        return Used(_bytes(fields, b"RssAnon") + _bytes(fields, b"VmSwap"), _bytes(fields, b"VmHWM"))
    except (OSError, ValueError):
        return Used(0, 0)


def _bytes(fields: dict[bytes, bytes], name: bytes) -> int:
    """A process that is ending has none of them."""
    return int(fields[name].split()[0]) << 10 if name in fields else 0


class OomKills:
    """Counts the kernel's kills for want of memory: in this process's cgroups, or where these don't say, anywhere.

    Args:
        own: which cgroups this process is in.
        v2: where cgroups of the second version are mounted.
        proc: where the kernel tells of itself.
    """

    def __init__(self, own: pathlib.Path = OWN, v2: pathlib.Path = V2, proc: pathlib.Path = _PROC) -> None:
        folders = [folder for version, folder in cgroups("memory", own, v2, v2) if version == 2]
        self._files = [*(folder / "memory.events" for folder in folders), proc / "vmstat"]
        self._seen = self._count()

    def more(self) -> bool:
        """Whether there was one that nobody was told of."""
        if self._count() <= self._seen:
            return False
        self._seen += 1  # one death each: it may have killed several of our slots
        return True

    def _count(self) -> int:
        for file in self._files:
            try:
                for line in file.read_text("ascii").splitlines():
                    name, _, value = line.partition(" ")
                    if name == "oom_kill":
                        return int(value)
            except (OSError, ValueError):
                continue
        return 0
