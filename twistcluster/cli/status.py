"""`twistcluster status`. Owns: that command. Must not know: where the figures come from."""

import click

from twistcluster.cli.common import example
from twistcluster.cli.reaching import reached
from twistcluster.client.tables import remarks, serials, table
from twistcluster.jupyter.progress import duration
from twistcluster.jupyter.texts import count_of, open_jobs

__all__ = ["command"]


@click.command("status", epilog=example("twistcluster status lab", "twistcluster status tls://box:8930"))
@click.argument("name", required=False)
def command(name: str | None) -> None:
    """Show the workers and slots of the cluster NAME, and how much is to do.

    A worker whose host uses more than 90 % of its memory gets one item at a time until less than 85 % are used; a line
    below the table says so. Other lines name workers that don't answer, that are leaving, or whose slots are stopped.

    NAME can be left out where only one cluster has a name.
    """
    with reached(name) as cluster:
        status = cluster.status()
    # This command is a client itself.
    others = count_of(max(0, len(status.clients) - 1), "client")
    click.echo(
        f"Cluster {status.name or status.id!r}: up {duration(status.uptime)}, pid {status.pid}, {others}, "
        f"{open_jobs(status.jobs_open, status.items_pending)}, scheduler busy {status.busy_share:.0%}"
    )
    rows = [
        [worker.name, worker.host, str(worker.pid), worker.slots, worker.ready, worker.busy, worker.crashes]
        for worker in status.workers
    ]
    if rows:
        click.echo(table(["worker", "host", "pid", "slots", "ready", "busy", "crashes"], rows))
        for line in remarks(status.workers):
            click.echo(line)
    for line in serials(status):
        click.echo(line)
    if not rows:
        click.echo(f"No worker. Join one:  twistcluster-worker --join {status.name or status.id}")
