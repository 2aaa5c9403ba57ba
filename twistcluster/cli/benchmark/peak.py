"""The most memory that some processes and a folder of files took: `python -m twistcluster.cli.benchmark.peak …`.

Owns: how memory is counted, and the process that counts it while the one that is measured works. Must not know:
clusters, measures. Linux only: it reads /proc.

A page that several processes map counts once: each process gets its share (PSS). Pages of shared memory lie in the
folder's files, mapped or not, so they are counted there and taken off the processes' shares; if more of them is mapped
than the folder holds (files without a name), that counts.
"""

import contextlib
import os
import select
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Self

__all__ = ["Watch", "memory", "processes"]

POLL_SECONDS: Final = 0.02
START_SECONDS: Final = 30.0
PROC: Final = Path("/proc")
BLOCK: Final = 512
"""What `st_blocks` counts, whatever the file system's blocks are."""


class Watch:
    """Watches processes, all that they started, and a folder, from a process of its own; that isn't counted.

    Args:
        pids: The processes.
        folder: Where files in memory lie; empty if there is none.

    Example:
        >>> with Watch([os.getpid()], "") as watch:    # doctest: +SKIP
        ...     work()
        >>> watch.grown_mb                             # doctest: +SKIP
        12.3
    """

    began_mb: float
    """At the start, in 10^6 bytes."""
    peak_mb: float
    """At most, from the start to the end; known at the end."""

    def __init__(self, pids: Iterable[int], folder: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, folder, *map(str, pids)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    @property
    def grown_mb(self) -> float:
        """The peak above the start."""
        return self.peak_mb - self.began_mb

    def look(self) -> float:
        """Count now; returns the peak so far, in 10^6 bytes."""
        assert self._process.stdin
        self._process.stdin.write(b".")
        self._process.stdin.flush()
        return self._told()

    def __enter__(self) -> Self:
        try:
            self.began_mb = self._told()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self.peak_mb = self._told()
        finally:
            self._end()

    def _told(self) -> float:
        assert self._process.stdout
        if not select.select([self._process.stdout], [], [], START_SECONDS)[0]:
            raise TimeoutError(f"the process that counts memory said nothing for {START_SECONDS:g} s")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process that counts memory ended")
        return int(line) / 1e6

    def _end(self) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


def memory(pids: Iterable[int], folder: str) -> int:
    """Bytes of these processes and this folder's files. Processes that ended have none."""
    shares = [share for pid in pids if (share := _shares(pid))]
    shared = sum(share["Pss_Shmem"] for share in shares)
    return sum(share["Pss"] for share in shares) - shared + max(shared, _file_bytes(folder) if folder else 0)


def processes(roots: Iterable[int]) -> set[int]:
    """These processes and all that they started, but for the one that asks."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children.get(pid, [])
    return found - {os.getpid()}


def _parents() -> Iterator[tuple[int, int]]:
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                # After the name, which may hold spaces and brackets: state, parent, …
                yield int(entry.name), int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])


def _shares(pid: int) -> dict[str, int]:
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}


def _file_bytes(folder: str) -> int:
    taken = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                taken += os.lstat(os.path.join(path, name)).st_blocks * BLOCK  # noqa: PTH118 (thousands, 50 times a second)
    return taken


def _main(folder: str, roots: list[int]) -> None:
    """Say the memory now, and the most of it so far for each byte of standard input, and at its end."""
    peak = memory(processes(roots), folder)
    print(peak, flush=True)
    ended = False
    while not ended:
        asked = bool(select.select([sys.stdin], [], [], POLL_SECONDS)[0])
        ended = asked and not os.read(sys.stdin.fileno(), 1)
        peak = max(peak, memory(processes(roots), folder))
        if asked:
            print(peak, flush=True)


if __name__ == "__main__":
    _main(sys.argv[1], [int(pid) for pid in sys.argv[2:]])
