"""How a command talks to a cluster.

Owns: that, apart from common.py because it brings the reactor in. Must not know: any one command.
"""

import contextlib
from collections.abc import Iterator

from twistcluster.cli.common import meant
from twistcluster.cluster import Cluster, connect

__all__ = ["reached"]


@contextlib.contextmanager
def reached(target: str | None) -> Iterator[Cluster]:
    """A link to the cluster that is meant."""
    cluster = connect(meant(target))
    try:
        yield cluster
    finally:
        cluster.close(wait=False)
