"""What the items of a client may see beside their arguments: its folder, modules, files and `everywhere` steps.

Owns: the context as it is now. A module counts as its file is at the moment of the call, whatever the notebook has
imported. Must not know: links, slots (nodes/slot_context.py puts a context in place).
"""

import os
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from twistcluster.client.modules import find_beside, imported_names, is_beside, roots, source_file
from twistcluster.wire.digests import digest
from twistcluster.wire.messages import Context, File, Module

__all__ = ["ContextBook"]


class Source(NamedTuple):
    """A module's file as it was read."""

    stamp: tuple[int, int]
    """Time of the last change in nanoseconds, and size."""
    digest: bytes
    data: bytes
    imports: frozenset[str]


_read: dict[tuple[str, str], Source] = {}
"""By path and package: what one client has read, the next one in this program need not read (5 ms a file, most of it to
find the imports)."""


class ContextBook:
    """The context of one client."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sources: dict[str, Source] = {}
        self._beside: dict[str, str] = {}  # name -> path
        self._expected: set[str] = set()
        self._seen: tuple[object, ...] = ()
        self._files: dict[str, tuple[bytes, bytes]] = {}
        self._steps: dict[bytes, bytes] = {}
        self._edition = 0
        self._current: tuple[tuple[object, ...], Context, dict[bytes, bytes]] | None = None

    def current(self) -> tuple[Context, dict[bytes, bytes]]:
        """Return the context as it is now, and all blobs that it names. Costs one `stat` a module if nothing changed."""
        with self._lock:
            folder = _working_folder()
            self._look_at_imports(folder)
            stamp = (folder, self._edition, *map(self._stamp, self._beside.values()))
            if self._current is None or self._current[0] != stamp:
                self._current = (stamp, *self._build(folder))
            return self._current[1:]

    def expect(self, names: Iterable[str]) -> None:
        """Items will import these, though the notebook may not have: take them along if they lie beside it."""
        new = {name for name in names if name not in self._expected}
        if new:
            with self._lock:
                self._expected |= new
                self._seen = ()

    def upload(self, path: str | os.PathLike[str]) -> list[str]:
        """Take a file, or all files of a folder, as they are now; return the names that items will know them by.

        A path inside the working folder keeps its name relative to it, any other only its last part.

        Raises:
            FileNotFoundError: There is no such file.
        """
        full = Path(path).expanduser().resolve()
        base = Path(_working_folder()).resolve()
        start = base if full.is_relative_to(base) and full != base else full.parent
        found = sorted(part for part in full.rglob("*") if part.is_file()) if full.is_dir() else [full]
        files = {part.relative_to(start).as_posix(): part.read_bytes() for part in found}
        with self._lock:
            self._files.update({name: (digest(data), data) for name, data in files.items()})
            self._edition += 1
        return [*files]

    def add_step(self, name: bytes, blob: bytes) -> None:
        """Add a function that every slot of the context runs before its first item, after those that were added before."""
        with self._lock:
            if name not in self._steps:
                self._steps[name] = blob
                self._edition += 1

    def remove_step(self, name: bytes) -> None:
        """Forget a step: it failed."""
        with self._lock:
            if self._steps.pop(name, None) is not None:
                self._edition += 1

    def _look_at_imports(self, folder: str) -> None:
        """Find the modules beside the notebook, if anything was imported since the last time."""
        last = next(reversed(sys.modules))
        seen = (folder, len(sys.modules), last, id(sys.modules[last]), sys.path[:1])
        if seen == self._seen:
            return
        folders = roots(folder)
        found: dict[str, str] = {}
        for name, module in [*sys.modules.items()]:
            path = source_file(module)
            if path is not None and is_beside(name, path, folders):
                found[name] = path
        # Modules that were taken stay: their functions may still be around.
        self._beside = {**{n: p for n, p in self._beside.items() if is_beside(n, p, folders)}, **found}
        self._follow(folders)
        self._seen = seen

    def _follow(self, folders: list[str]) -> None:
        """Add what the modules beside the notebook import, and it didn't (imports inside functions), and so on."""
        pending = set(self._expected)
        for name, path in self._beside.items():
            self._stamp(path, name)
            pending |= self._imports(path)
        tried: set[str] = set()
        while pending:
            name = pending.pop()
            if name in tried or name in self._beside:
                continue
            tried.add(name)
            found = find_beside(name, folders)
            if found is not None:
                self._beside[name] = found
                self._stamp(found, name)
                pending |= self._imports(found)

    def _imports(self, path: str) -> frozenset[str]:
        source = self._sources.get(path)
        return frozenset() if source is None else source.imports

    def _stamp(self, path: str, name: str = "") -> tuple[int, int] | None:
        """Read a module's file again if it changed; one that is gone stays as it was."""
        known = self._sources.get(path)
        try:
            now = os.stat(path)  # noqa: PTH116 (a third of the time of Path.stat)
            stamp = (now.st_mtime_ns, now.st_size)
            if known is None or known.stamp != stamp:
                name = name or next(one for one, its in self._beside.items() if its == path)
                known = self._sources[path] = _source(path, name, stamp)
                self._seen = ()  # it may import something new
        except OSError:
            pass
        return None if known is None else known.stamp

    def _build(self, folder: str) -> tuple[Context, dict[bytes, bytes]]:
        if not self._seen:  # a source changed
            self._look_at_imports(folder)
        blobs: dict[bytes, bytes] = dict(self._steps)
        modules = []
        for name, path in sorted(self._beside.items()):
            source = self._sources.get(path)
            if source is not None:
                last = "/__init__.py" if path.endswith("/__init__.py") else ".py"
                modules.append(Module(name, name.replace(".", "/") + last, source.digest))
                blobs[source.digest] = source.data
        files = []
        for name, (its_digest, data) in sorted(self._files.items()):
            files.append(File(name, its_digest))
            blobs[its_digest] = data
        base = digest(msgspec.msgpack.encode([folder, modules, files]))
        steps = [*self._steps]
        whole = digest(base + b"".join(steps))
        return Context(whole, base, folder, modules, files, steps), blobs


def _source(path: str, name: str, stamp: tuple[int, int]) -> Source:
    package = name if path.endswith("/__init__.py") else name.rpartition(".")[0]
    known = _read.get((path, package))
    if known is None or known.stamp != stamp:
        data = Path(path).read_bytes()
        known = _read[path, package] = Source(stamp, digest(data), data, imported_names(data, package))
    return known


def _working_folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 (a string is wanted, and this is called for every job)
    except FileNotFoundError:  # it was removed under our feet
        return ""
