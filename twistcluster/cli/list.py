"""`twistcluster list`. Owns: that command. Must not know: how clusters are found."""

import datetime as dt

import click

from twistcluster.cli.common import example
from twistcluster.client.launch import running_clusters
from twistcluster.client.tables import table
from twistcluster.net.members import known_members

__all__ = ["command"]


@click.command("list", epilog=example("twistcluster list"))
def command() -> None:
    """List your clusters on this machine, and those on other machines that you joined."""
    rows = [
        [each.name or "(owned)", each.id, each.kind, each.slots, str(each.pid), f"{each.started:.16}".replace("T", " ")]
        for each in running_clusters()
    ]
    if rows:
        click.echo(table(["name", "id", "kind", "slots", "pid", "since (UTC)"], rows))
    else:
        click.echo("You run no cluster on this machine. Start one:  twistcluster start")
    joined = [
        [
            note.cluster,
            f"tls://{note.address}",
            note.role,
            f"{dt.datetime.fromtimestamp(note.ends_at, dt.UTC):%Y-%m-%d}",
        ]
        for note in known_members()
    ]
    if joined:
        click.echo(f"\n{table(['joined elsewhere', 'address', 'as', 'certificate ends'], joined)}")
