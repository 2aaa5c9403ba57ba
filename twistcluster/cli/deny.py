"""`twistcluster deny`. Owns: that command. Must not know: what is denied by it."""

import click

from twistcluster.cli.common import example
from twistcluster.cli.reaching import reached
from twistcluster.client.invitations import denied_text
from twistcluster.core.denials import serial_of_text

__all__ = ["command"]


@click.command("deny", epilog=example("twistcluster deny lab 3f0c4be1a8"))
@click.argument("name")
@click.argument("serial")
def command(name: str, serial: str) -> None:
    """Shut the member out of the cluster NAME whose certificate has this SERIAL; `twistcluster status` shows it.

    Its connections are closed, and it can't come again, also with a certificate that took that one's place.
    """
    try:
        serial = serial_of_text(serial)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    with reached(name) as cluster:
        click.echo(denied_text(serial, cluster.deny(serial)))
