"""`twistcluster scheduler`. Owns: that command. Must not know: what a scheduler does."""

import sys

import click

from twistcluster.cli.common import DEFAULT_NAME, DURATION, LISTEN, STORE, announce, example, store_of
from twistcluster.net.listening import parse_listen
from twistcluster.net.places import check_name
from twistcluster.nodes.standalone_scheduler import run_scheduler
from twistcluster.storage.journal_places import journal_path

__all__ = ["command"]


@click.command(
    "scheduler",
    epilog=example(
        "twistcluster scheduler --name lab",
        "twistcluster-worker --join lab --slots 2      (in another terminal)",
        "twistcluster scheduler --name lab --listen tls:0.0.0.0:8930",
    ),
)
@click.option("--name", default=DEFAULT_NAME, show_default=True, help="Of the cluster.")
@click.option("--idle-timeout", type=DURATION, help="End it when unused for so long; it stays if not given.")
@LISTEN
@STORE
def command(name: str, idle_timeout: float | None, listen: str, store: str) -> None:
    """Run a scheduler in the foreground, until Ctrl-C or SIGTERM. Workers join it.

    Started again under the same name, it still has its jobs and goes on with them.
    """

    def ready(_connection_file: str, listens: str) -> None:
        announce(f"Scheduler {name!r} is ready. Join it:  twistcluster-worker --join {name}    End it: Ctrl-C")
        if listens:
            announce(f"It listens at {listens}. Invite another machine:  twistcluster invite {name}")

    try:
        check_name(name)
        if listen:
            parse_listen(listen)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    where = store_of(store)
    place = None if where is None else journal_path(name, where or None)
    if place is not None and place.note:
        announce(place.note)
    sys.exit(run_scheduler(name, idle_timeout, ready, "" if place is None else place.path, listen))
