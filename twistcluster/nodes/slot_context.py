"""A slot becomes one of a context: modules beside the notebook, uploaded files, the working folder.

Owns: where those lie and how they are found. Must not know: `everywhere` steps, how blobs came.

Modules are written into the slot's own folder, at the front of `sys.path`, so that tracebacks show their lines and an
edit of the file on disk changes nothing here. Uploaded files have a folder there too, next on `sys.path`. The working
folder is the client's where it is on this host and holds the uploaded files as they are; else it is the folder of the
uploaded files, with links to what is in the client's. (So what an item writes beside the notebook is there afterwards,
unless the notebook uploaded what isn't beside it.)
"""

import contextlib
import importlib
import os
import pathlib
import sys
from collections.abc import Callable

from twistcluster.storage.journal_places import make_folder
from twistcluster.wire.messages import Context

__all__ = ["set_up"]


def set_up(context: Context, blob: Callable[[bytes], bytes], own: pathlib.Path) -> None:
    """Make this process one of a context.

    Args:
        context: whose.
        blob: gives the bytes of a digest.
        own: a folder that only this slot uses; made when it is needed, removed by the worker.

    Raises:
        OSError: something can't be written.
        ValueError: a name leads out of its folder.
    """
    paths = []
    if context.modules or context.files:
        # What is above may be gone: a cluster that died took it along, and this slot lives on.
        make_folder(str(own))  # what is in it has the modes that this user's files have
    if context.modules:
        modules = own / "modules"
        for module in context.modules:
            _write(modules, module.path, blob(module.digest))
        paths.append(str(modules))
    there = _usable(context.folder)
    if context.files:
        work = own / "work"
        for file in context.files:
            _write(work, file.name, blob(file.digest))
        paths.append(str(work))
        if there is None or not all(_holds(there / file.name, blob(file.digest)) for file in context.files):
            if there is not None:
                _link_entries(there, work)
            os.chdir(work)
        else:
            os.chdir(there)
    elif there is not None:
        os.chdir(there)
    sys.path[:0] = paths
    if there is not None:
        sys.path.append(str(there))  # what doesn't travel: extension modules, packages' data
    importlib.invalidate_caches()


def _usable(folder: str) -> pathlib.Path | None:
    there = pathlib.Path(folder)
    return there if folder and there.is_dir() and os.access(there, os.R_OK | os.X_OK) else None


def _holds(path: pathlib.Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


def _write(folder: pathlib.Path, name: str, data: bytes) -> None:
    path = folder.joinpath(*name.split("/"))
    if not path.is_relative_to(folder) or ".." in path.parts:
        raise ValueError(f"{name!r} is not a path inside the slot's folder")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_bytes(data)


def _link_entries(there: pathlib.Path, work: pathlib.Path) -> None:
    """What the client's folder holds is found under its name, but for what was uploaded under that name."""
    for entry in there.iterdir():
        with contextlib.suppress(OSError):
            (work / entry.name).symlink_to(entry)
