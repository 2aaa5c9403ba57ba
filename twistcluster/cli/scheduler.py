"""`twistcluster scheduler`. Owns: that command. Must not know: what a scheduler does."""

import sys

import click

from twistcluster.cli.common import DEFAULT_NAME, DURATION, announce, example
from twistcluster.net.places import check_name
from twistcluster.nodes.scheduler import main

__all__ = ["command"]


@click.command(
    "scheduler",
    epilog=example(
        "twistcluster scheduler --name lab", "twistcluster-worker --join lab --slots 2      (in another terminal)"
    ),
)
@click.option("--name", default=DEFAULT_NAME, show_default=True, help="Of the cluster.")
@click.option("--idle-timeout", type=DURATION, help="End it when unused for so long; it stays if not given.")
def command(name: str, idle_timeout: float | None) -> None:
    """Run a scheduler in the foreground, until Ctrl-C or SIGTERM. Workers join it."""

    def ready(_connection_file: str) -> None:
        announce(f"Scheduler {name!r} is ready. Join it:  twistcluster-worker --join {name}    End it: Ctrl-C")

    try:
        check_name(name)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    sys.exit(main(name, idle_timeout, ready))
