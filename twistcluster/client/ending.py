"""How a cluster is ended that was started here in vain.

Owns: that. Must not know: why nobody could use it.
"""

import contextlib
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from twistcluster.net.places import clear_place

if TYPE_CHECKING:
    from twistcluster.client.launch import Running

__all__ = ["ended_if_in_vain", "kill"]

PATIENCE_SECONDS: Final = 5.0
"""To end in good order: nothing runs in it yet."""


@contextlib.contextmanager
def ended_if_in_vain(running: "Running") -> Iterator[None]:
    """If this raises, the cluster is ended, provided that it was started and not found."""
    try:
        yield
    except BaseException:
        if running.process is not None:
            _end(running.process, running.connection.id)
        raise


def kill(process: "subprocess.Popen[bytes]", cluster: str) -> None:
    """End it at once, and clear away what nobody could find any more."""
    process.kill()
    process.wait()
    clear_place(cluster)


def _end(process: "subprocess.Popen[bytes]", cluster: str) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        kill(process, cluster)
