"""How a command talks to a cluster.

Owns: that, apart from common.py because it brings the reactor in. Must not know: any one command.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from twistcluster.cli.common import meant
from twistcluster.cluster import Cluster, Job, connect
from twistcluster.errors import JobNotFound

__all__ = ["job_of", "reached"]


@contextlib.contextmanager
def reached(target: str | None) -> Iterator[Cluster]:
    """A link to the cluster that is meant."""
    cluster = connect(meant(target))
    try:
        yield cluster
    finally:
        cluster.close(wait=False)


def job_of(cluster: Cluster, name: str) -> Job[Any]:
    """Its job of this name or id."""
    try:
        return cluster.job(name)
    except JobNotFound:
        raise JobNotFound(
            f"cluster {cluster.name!r} knows no job {name!r}; `twistcluster jobs {cluster.name}` lists those it has"
        ) from None
