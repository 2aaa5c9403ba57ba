"""`twistcluster stop`. Owns: that command. Must not know: how a cluster ends."""

import os
import signal
import time
from typing import Final

import click

from twistcluster.cli.common import example, meant, title
from twistcluster.client.launch import Connection, find, running_clusters
from twistcluster.cluster import connect
from twistcluster.errors import ClusterBusy, ClusterUnreachable, VersionMismatch
from twistcluster.net.addresses import SCHEME

__all__ = ["command"]

END_SECONDS: Final = 15.0


@click.command("stop", epilog=example("twistcluster stop lab", "twistcluster stop tls://box:8930"))
@click.argument("name", required=False)
@click.option("--force", is_flag=True, help="Also while others use it or jobs are open; what is open is lost.")
def command(name: str | None, *, force: bool) -> None:
    """End the cluster NAME for everyone who uses it.

    NAME can be left out where only one cluster has a name; a client of one on another machine gives its address, as
    tls://box:8930.
    """
    target = meant(name)
    if target.startswith(SCHEME):
        _ask_to_end(target, f"End it anyway:  twistcluster stop {target} --force", force=force)
        click.echo(f"The cluster at {target.removeprefix(SCHEME)} was told to end.")
        return
    found = find(target)
    again = f"End it anyway:  twistcluster stop {found.name or found.id} --force"
    try:
        _ask_to_end(found.connection_file, again, force=force)
    except VersionMismatch as error:
        if not force:
            raise VersionMismatch(f"{error}\n{again}") from None
        _terminate(found)
    except ClusterUnreachable:
        if not force:
            raise
        _terminate(found)
    deadline = time.monotonic() + END_SECONDS
    while any(each.id == found.id for each in running_clusters()):
        if time.monotonic() > deadline:
            raise ClusterUnreachable(f"{title(found)} was told to end, but its process {found.pid} still runs")
        time.sleep(0.02)
    click.echo(f"{title(found)} has ended.")


def _ask_to_end(target: str, again: str, *, force: bool) -> None:
    cluster = connect(target)
    try:
        cluster.stop(force=force)
    except ClusterBusy as error:
        raise ClusterBusy(f"{str(error).partition(' stop(force=True)')[0]}\n{again}") from None
    finally:
        cluster.close(wait=False)


def _terminate(found: Connection) -> None:
    # It can't be talked to, but while it lives its connection file is locked, so the pid is its own.
    if any(each.id == found.id for each in running_clusters()):
        os.kill(found.pid, signal.SIGTERM)
