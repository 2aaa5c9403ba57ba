"""The folder that the engines' processes of one run share, for files that all of them read. It goes with the run.

Owns: how they hear of it. Must not know: what lies in it.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["place", "shared_place"]

VARIABLE: Final = "TWISTCLUSTER_BENCH_FOLDER"


@contextlib.contextmanager
def shared_place() -> Iterator[Path]:
    """Make it; processes that are started meanwhile know it."""
    with tempfile.TemporaryDirectory(prefix="twistcluster-bench-") as folder:
        os.environ[VARIABLE] = folder
        try:
            yield Path(folder)
        finally:
            del os.environ[VARIABLE]


def place() -> Path:
    """Where it is."""
    return Path(os.environ[VARIABLE])
