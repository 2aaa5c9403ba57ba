"""`twistcluster logs`. Owns: that command. Must not know: where the text comes from."""

import click

from twistcluster.cli.common import cluster_option, example
from twistcluster.cli.reaching import job_of, reached

__all__ = ["command"]


@click.command("logs", epilog=example("twistcluster logs train", "twistcluster logs train 17 --cluster lab"))
@click.argument("job")
@click.argument("item", type=click.IntRange(0), required=False)
@cluster_option
def command(job: str, item: int | None, target: str | None) -> None:
    """Print what the items of JOB (a name or id) wrote, or what one ITEM did."""
    with reached(target) as cluster:
        found = job_of(cluster, job)
        if item is not None:
            text = found.logs(item)
            click.echo(text, nl=False)
            if not text:
                click.echo(f"Item {item} of {job} has printed nothing.", err=True)
            return
        printed = found.logs()
    for index, text in printed.items():
        for line in text.splitlines():
            click.echo(f"[{index}] {line}")
    if not printed:
        click.echo(f"No item of {job} has printed anything.", err=True)
