"""The process of a standalone scheduler.

Owns: `run_scheduler`: the order in which it takes and gives back what it needs, its exit code. Must not know: what a
scheduler does.
"""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError

from twistcluster.errors import TwistclusterError
from twistcluster.net.turn import Turn
from twistcluster.nodes.hosting import Premises, lost_after_s, new_cluster_id, new_identity
from twistcluster.nodes.life import EXIT_FAILED, EXIT_OK, exit_on_signals, make_reactor, run_until_ended, stop_reactor
from twistcluster.nodes.listening import open_admission
from twistcluster.nodes.logging import log_event, start_logging
from twistcluster.nodes.restoring import Troubles, open_journal, scheduler_of
from twistcluster.nodes.scheduler import SchedulerNode

__all__ = ["run_scheduler"]


def run_scheduler(
    name: str,
    idle_timeout_s: float | None,
    ready: Callable[[str, str], None],
    journal_place: str = "",
    listen_at: str = "",
    log_level: str = "info",
    log_format: str = "text",
) -> int:
    """Run a standalone scheduler until it is ended; return the exit code.

    Args:
        name: of the cluster.
        idle_timeout_s: without client and open job, after which it ends; None: it stays.
        ready: called with the path of the connection file, and where it listens for other machines, once peers can
            connect.
        journal_place: path of the journal; empty: nothing is kept.
        listen_at: where to listen for other machines, as "tls:0.0.0.0:8930"; empty: where it did when it died,
            else nowhere.
        log_level: of the lines on standard error.
        log_format: "text" or "json".
    """
    reactor = make_reactor()

    exit_on_signals()
    start_logging(level=log_level, form=log_format)
    cluster = new_cluster_id()
    try:
        lost_after = lost_after_s()
        premises = Premises(cluster, name, journal_place)
    except (TwistclusterError, OSError, ValueError) as error:
        log_event("error", f"the scheduler could not start: {error}", {})
        return EXIT_FAILED
    troubles = Troubles()
    try:
        journal = open_journal(reactor, premises.journal, troubles)
        machine = scheduler_of(new_identity(cluster, name), journal, idle_timeout_s, lost_after)
        admission = open_admission(reactor, listen_at, name, premises.journal, journal)
    except (TwistclusterError, OSError, ValueError) as error:
        premises.release()
        log_event("error", f"the scheduler could not start: {error}", {})
        return EXIT_FAILED
    node = troubles.node = SchedulerNode(
        reactor,
        machine,
        Turn(reactor),
        lambda _: stop_reactor(reactor),
        store=premises.store,
        journal=journal,
        admission=admission,
    )

    def begin() -> None:
        node.listen(premises.socket)
        fields = premises.publish(kind="scheduler", slots=0, idle_timeout=idle_timeout_s, log="", listen=node.listens)
        log_event("info", "scheduler is ready", {"name": name, "socket": premises.socket})
        ready(fields["connection_file"], node.listens)

    def end() -> Deferred[None]:
        node.end("the scheduler was stopped")
        return node.all_gone()

    try:
        run_until_ended(reactor, begin, end)
    except (CannotListenError, OSError) as error:
        log_event("error", f"the scheduler could not start: {error}", {})
        return EXIT_FAILED
    finally:
        if journal is not None:
            journal.close()
        premises.release()
    log_event("info", "scheduler has ended", {"name": name})
    return EXIT_OK
