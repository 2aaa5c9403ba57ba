"""`twistcluster start`. Owns: that command. Must not know: how a cluster is started."""

import click

from twistcluster.cli.common import DEFAULT_NAME, DURATION, LISTEN, MEMORY, STORE, example, store_of
from twistcluster.client.launch import start_local
from twistcluster.net.listening import parse_listen
from twistcluster.net.places import check_name
from twistcluster.wire.limits import SLOTS

__all__ = ["command"]


@click.command(
    "start",
    epilog=example(
        "twistcluster start lab --slots 4 --memory-limit 2GiB", "twistcluster start lab --listen tls:0.0.0.0:8930"
    ),
)
@click.argument("name", default=DEFAULT_NAME)
@click.option("-n", "--slots", type=click.IntRange(0, SLOTS), help="Items that run at a time; one a core if not given.")
@click.option("--idle-timeout", type=DURATION, help="End it when unused for so long; 10m if not given.")
@click.option("--memory-limit", type=MEMORY, help="What each slot may use, as 2GiB; anything if not given.")
@LISTEN
@STORE
def command(
    name: str,
    slots: int | None,
    idle_timeout: float | None,
    memory_limit: int | None,
    listen: str,
    store: str,
) -> None:
    """Start a cluster named NAME on this machine, or find it if it runs.

    It ends when it was unused for ten minutes, or by `twistcluster stop NAME`. Started again, it still has its jobs.
    """
    try:
        check_name(name)
        if listen:
            parse_listen(listen)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    running = start_local(name, slots, idle_timeout, memory_limit=memory_limit, store=store_of(store), listen=listen)
    found = running.connection
    done = "is ready" if running.started else "runs already"
    slots_text = f"{found.slots} slot{'' if found.slots == 1 else 's'}, " if found.kind == "local" else ""
    click.echo(f"Cluster {found.name!r} {done} ({slots_text}pid {found.pid}).")
    if found.listen:
        click.echo(f"It listens at {found.listen}. Invite another machine:  twistcluster invite {found.name}")
    click.echo(f'Use it:  import twistcluster as tc; cluster = tc.connect("{found.name}")')
    click.echo(f"End it:  twistcluster stop {found.name}")
