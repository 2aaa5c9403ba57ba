"""`twistcluster jobs`. Owns: that command. Must not know: where the figures come from."""

import click

from twistcluster.cli.common import example
from twistcluster.cli.reaching import reached
from twistcluster.client.tables import table
from twistcluster.jupyter.progress import duration

__all__ = ["command"]


@click.command("jobs", epilog=example("twistcluster jobs lab"))
@click.argument("name", required=False)
def command(name: str | None) -> None:
    """List the jobs of the cluster NAME, the newest first.

    NAME can be left out where only one cluster has a name.
    """
    with reached(name) as cluster:
        jobs = cluster.jobs()
    rows = [
        [
            job.label,
            job.id,
            job.state,
            "?" if job.count is None else job.count,
            job.done,
            job.failed,
            job.cancelled,
            job.running,
            duration(job.age),
            job.client,
            job.waiting,
        ]
        for job in jobs
    ]
    headers = ["job", "id", "state", "items", "done", "failed", "cancelled", "running", "age", "from", "waits: why"]
    if not any(row[-1] for row in rows):
        headers, rows = headers[:-1], [row[:-1] for row in rows]
    click.echo(table(headers, rows) if rows else "No jobs.")
