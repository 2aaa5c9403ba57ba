"""`twistcluster scheduler`. Owns: that command. Must not know: what a scheduler does."""

import sys

import click

from twistcluster.cli.common import (
    DEFAULT_NAME,
    DURATION,
    LISTEN,
    LOG_FORMAT,
    LOG_LEVEL,
    STORE,
    announce,
    example,
    store_of,
)
from twistcluster.net.listening import parse_listen
from twistcluster.net.places import check_name
from twistcluster.nodes.logging import log_event
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
@LOG_LEVEL
@LOG_FORMAT
def command(name: str, idle_timeout: float | None, listen: str, store: str, log_level: str, log_format: str) -> None:
    """Run a scheduler in the foreground, until Ctrl-C or SIGTERM. Workers join it.

    Started again under the same name, it still has its jobs and goes on with them. If it died, it also listens again where
    it did, as its members on other machines look for it there; ended in good order, it listens only where --listen says.
    """

    def say(text: str) -> None:
        if log_format == "text":
            announce(text)

    def ready(_connection_file: str, listens: str) -> None:
        if note and log_format != "text":
            log_event("warning", note, {})
        say(f"Scheduler {name!r} is ready. Join it:  twistcluster-worker --join {name}    End it: Ctrl-C")
        if listens:
            say(f"It listens at {listens}. Invite another machine:  twistcluster invite {name}")

    try:
        check_name(name)
        if listen:
            parse_listen(listen)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    where = store_of(store)
    place = None if where is None else journal_path(name, where or None)
    note = "" if place is None else place.note
    if note:
        say(note)
    path = "" if place is None else place.path
    sys.exit(run_scheduler(name, idle_timeout, ready, path, listen, log_level, log_format))
