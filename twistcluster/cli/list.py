"""`twistcluster list`. Owns: that command. Must not know: how clusters are found."""

import click

from twistcluster.cli.common import example
from twistcluster.client.launch import running_clusters
from twistcluster.client.tables import table

__all__ = ["command"]


@click.command("list", epilog=example("twistcluster list"))
def command() -> None:
    """List your clusters on this machine."""
    rows = [
        [each.name or "(owned)", each.id, each.kind, each.slots, str(each.pid), f"{each.started:.16}".replace("T", " ")]
        for each in running_clusters()
    ]
    if rows:
        click.echo(table(["name", "id", "kind", "slots", "pid", "since (UTC)"], rows))
    else:
        click.echo("You run no cluster on this machine. Start one:  twistcluster start")
