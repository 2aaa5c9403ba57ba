"""`twistcluster worker`, and the script `twistcluster-worker`.

Owns: that command. Must not know: what a worker does.
"""

import sys
from typing import Any

import click

from twistcluster.cli.common import (
    DURATION,
    LOG_FORMAT,
    LOG_LEVEL,
    MEMORY,
    announce,
    example,
    option_or_variable,
    token_option,
    token_read,
)
from twistcluster.errors import AccessDenied
from twistcluster.nodes.life import EXIT_MISUSED
from twistcluster.nodes.standalone import PATIENCE_S, run_worker
from twistcluster.wire.limits import SLOTS

__all__ = ["command", "main"]


class _Resource(click.ParamType):  # type: ignore[type-arg] # generic since click 8.4, and not before
    name = "resource"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[tuple[str, float]]:
        return [self._one(part, param, ctx) for part in str(value).split(",")]

    def _one(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        name, _, amount = text.partition("=")
        try:
            number = float(amount)
        except ValueError:
            number = -1.0
        if not name.strip() or not 0 <= number < float("inf"):
            self.fail(f"{text!r} is not NAME=AMOUNT, such as gpu=1", param, ctx)
        return name.strip(), number


@click.command(
    "worker",
    epilog=example(
        "twistcluster-worker --join lab --slots 2",
        "twistcluster-worker --join lab --slots 1 --resources gpu=1,disk=100",
        "TWISTCLUSTER_TOKEN=tc1_... twistcluster-worker --join box:8930      (a cluster on another machine)",
    ),
)
@option_or_variable(
    "--join",
    required=True,
    metavar="CLUSTER",
    help="Its name or id, or the path of its connection file; HOST:PORT of one on another machine.",
)
@option_or_variable(
    "-n", "--slots", type=click.IntRange(0, SLOTS), help="Items that run at a time; one a core if not given."
)
@option_or_variable("--name", default="", help="For people; the host's name and the process's number if not given.")
@option_or_variable(
    "--resources",
    type=_Resource(),
    multiple=True,
    metavar="NAME=AMOUNT",
    help="What items may ask for beside a slot; with commas between, or given several times.",
)
@option_or_variable(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Where other workers fetch values from this one, if its cluster is on another machine; any free one if not given.",
)
@option_or_variable("--memory-limit", type=MEMORY, help="What each slot may use, as 2GiB; anything if not given.")
@option_or_variable(
    "--wait",
    type=DURATION,
    default=PATIENCE_S,
    help="How long to look for a cluster that isn't there yet, or any more; 2 minutes if not given.",
)
@LOG_LEVEL
@LOG_FORMAT
@token_option
def command(
    join: str,
    slots: int | None,
    name: str,
    resources: tuple[list[tuple[str, float]], ...],
    port: int,
    memory_limit: int | None,
    wait: float,
    log_level: str,
    log_format: str,
    *,
    token_stdin: bool,
) -> None:
    """Run a worker of a cluster in the foreground, until Ctrl-C, SIGTERM or the cluster's end.

    Ctrl-C or SIGTERM: it takes nothing new, finishes what it runs (10 seconds at most; what isn't done by then runs
    elsewhere) and ends. A second one ends it at once. Where its cluster is on another machine, results that lie here are
    brought there first (15 seconds at most; what isn't is made again if it is needed).

    A cluster on another machine is joined with a token, which `twistcluster invite` prints there. It is needed once: the
    certificate that comes for it is kept.

    Exit codes: 0, it ended as asked; 1, it could not start or join; 2, wrong use; 3, its cluster went away and did not
    come back in time, or took it no more (`twistcluster deny`).
    """

    def ready() -> None:
        if log_format == "text":
            announce(f"The worker has joined {join}. End it: Ctrl-C")

    try:
        token = token_read(from_stdin=token_stdin)
    except AccessDenied as error:
        click.echo(f"twistcluster-worker: {error}", err=True)
        sys.exit(EXIT_MISUSED)
    offered = dict(pair for pairs in resources for pair in pairs)
    limit = memory_limit or 0
    sys.exit(run_worker(join, slots, name, offered, log_level, ready, wait, limit, log_format, token, port))


def main() -> None:
    """Entry point of the script."""
    command(prog_name="twistcluster-worker")
