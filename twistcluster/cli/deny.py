"""`twistcluster deny`. Owns: that command. Must not know: what is denied by it."""

import click

from twistcluster.cli.common import example
from twistcluster.cli.reaching import reached
from twistcluster.client.invitations import denied_text, what_to_deny

__all__ = ["command"]


@click.command("deny", epilog=example("twistcluster deny lab 3f0c4be1a8", "twistcluster deny lab worker-3fa2b1"))
@click.argument("name")
@click.argument("what", metavar="SERIAL|TOKEN_ID")
def command(name: str, what: str) -> None:
    """Shut the member out of the cluster NAME whose certificate has this SERIAL; `twistcluster status` shows it.

    Its connections are closed, and it can't come again, also with a certificate that took that one's place.

    Or take a token back, by the id that `twistcluster invite` shows below the line: nobody can join with it any more.
    """
    try:
        what = what_to_deny(what)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    with reached(name) as cluster:
        click.echo(denied_text(what, cluster.deny(what)))
