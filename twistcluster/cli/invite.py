"""`twistcluster invite`. Owns: that command. Must not know: what a token is made of."""

import click

from twistcluster.cli.common import DURATION, example
from twistcluster.cli.reaching import reached
from twistcluster.client.invitations import EXPIRES_S, check_expiry
from twistcluster.core.tokens import JOIN_ROLES, MOST_USES, JoinRole

__all__ = ["command"]


@click.command(
    "invite", epilog=example("twistcluster invite lab", "twistcluster invite lab --role client --expires 1h")
)
@click.argument("name", required=False)
@click.option(
    "--role",
    type=click.Choice(JOIN_ROLES),
    default="worker",
    show_default=True,
    help="What the other machine joins as.",
)
@click.option(
    "--uses", type=click.IntRange(1, MOST_USES), default=1, show_default=True, help="How many may join with the line."
)
@click.option(
    "--expires", type=DURATION, default=EXPIRES_S, help="How long the line is good, as 1h; 10 minutes if not given."
)
def command(name: str | None, role: JoinRole, uses: int, expires: float) -> None:
    """Print one line to paste on another machine, which then joins the cluster NAME.

    Whoever has the line can join: the token in it is a secret. The cluster must have been started with --listen.

    NAME can be left out where only one cluster has a name.
    """
    try:
        check_expiry(expires)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    with reached(name) as cluster:
        click.echo(repr(cluster.invite(role, uses, expires)))
