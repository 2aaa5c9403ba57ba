"""A slot becomes one of a context: modules beside the notebook, uploaded files, the working folder.

Owns: where those lie and how they are found. Must not know: `everywhere` steps, how blobs came.

Modules are written into the slot's own folder, at the front of `sys.path`, so that tracebacks show their lines. The
working folder is the client's where it is on this host, unless files were uploaded: then it is one that holds them,
with links to what is in the client's.
"""

import contextlib
import os
import pathlib
import sys
from collections.abc import Callable

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
    if context.modules:
        modules = own / "modules"
        for module in context.modules:
            _write(modules, module.path, blob(module.digest))
        sys.path.insert(0, str(modules))
    there = pathlib.Path(context.folder) if context.folder else None
    usable = there is not None and there.is_dir() and os.access(there, os.R_OK | os.X_OK)
    if context.files:
        work = own / "work"
        for file in context.files:
            _write(work, file.name, blob(file.digest))
        if usable and there is not None:
            _link_entries(there, work)
        os.chdir(work)
    elif usable and there is not None:
        os.chdir(there)


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
