"""`twistcluster join`. Owns: that command. Must not know: how a cluster is joined."""

import click

from twistcluster.cli.common import example, token_option, token_read
from twistcluster.client.elsewhere import join
from twistcluster.errors import AccessDenied
from twistcluster.net.addresses import parse_address
from twistcluster.net.token import VARIABLE

__all__ = ["command"]


@click.command(
    "join",
    epilog=example(
        f"{VARIABLE}=tc1_... twistcluster join box:8930", "twistcluster join box:8930 --token-stdin < token.txt"
    ),
)
@click.argument("address", metavar="HOST:PORT")
@token_option
def command(address: str, *, token_stdin: bool) -> None:
    """Join a cluster on another machine, with a token that `twistcluster invite` printed there.

    The certificate that comes for the token is kept: from then on this user's programs find the cluster by its address.
    """
    try:
        where = parse_address(address)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    token = token_read(from_stdin=token_stdin)
    if token is None:
        raise AccessDenied(
            f"there is no token: on the cluster's machine, `twistcluster invite NAME --role client` prints the line to "
            f"paste here (it sets {VARIABLE})"
        )
    note = join(where, token)
    click.echo(f"Joined the cluster {note.cluster!r} at {where} as a {note.role}; it needs no token any more.")
    if note.role == "worker":
        click.echo(f"Use it:  twistcluster-worker --join {where}")
    else:
        click.echo(f'Use it:  import twistcluster as tc; cluster = tc.connect("{where.url}")')
