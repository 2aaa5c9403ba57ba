"""`twistcluster cancel`. Owns: that command. Must not know: what cancelling does."""

import click

from twistcluster.cli.common import cluster_option, example
from twistcluster.cli.reaching import job_of, reached

__all__ = ["command"]


@click.command("cancel", epilog=example("twistcluster cancel train"))
@click.argument("job")
@cluster_option
def command(job: str, target: str | None) -> None:
    """Cancel JOB (a name or id): what runs of it is stopped, and nothing more of it starts."""
    with reached(target) as cluster:
        found = job_of(cluster, job)
        if found.done():
            click.echo(f"{job} is over already ({found.state}).")
            return
        found.cancel()
        cluster.status()  # its answer comes after the cancel was heard
    click.echo(f"{job} is cancelled.")
