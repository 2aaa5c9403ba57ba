"""A local cluster: scheduler and worker in one process, joined by a link in memory.

Owns: the process's wiring, its life (until its owner is gone, it was idle too long, or it is stopped) and what it says
when it is ready. Must not know: what scheduler and worker decide.

Started by client/launch.py as `python -m twistcluster.nodes.local OPTIONS`; OPTIONS is JSON: id, name, slots,
idle_timeout, memory_limit, ready_fd, journal, log, listen. The owner's secret comes in the environment (TWISTCLUSTER_OWNER).
One JSON line on `ready_fd` says how to reach it, or {"error": text, "kind": the class of a journal's error}, or
{"error": text, "taken": true} where the name is.
"""

import contextlib
import json
import os
import sys
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import CannotListenError

from twistcluster.errors import TwistclusterError
from twistcluster.net.memory import memory_pair
from twistcluster.net.turn import Turn
from twistcluster.nodes.cores import usable_cores
from twistcluster.nodes.hosting import NameTaken, Premises, lost_after_s, new_identity
from twistcluster.nodes.in_flight import InFlight, suspects_in
from twistcluster.nodes.life import EXIT_FAILED, EXIT_OK, exit_on_signals, make_reactor, run_until_ended, stop_reactor
from twistcluster.nodes.listening import open_admission
from twistcluster.nodes.logging import LOG_BYTES, log_event, start_logging
from twistcluster.nodes.packages import packages
from twistcluster.nodes.restoring import Troubles, open_journal, scheduler_of
from twistcluster.nodes.scheduler import SchedulerNode
from twistcluster.nodes.worker import WorkerNode

__all__ = ["LocalCluster", "Options", "main"]

IDLE_SECONDS: Final = 600.0
"""After which a named cluster ends that has no client and no open job."""
OWNER_SECONDS: Final = 10.0
"""Within which the owner of an unnamed one must have connected."""
WORKER_NAME: Final = "local"


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """How a local cluster is to be."""

    id: str
    ready_fd: int
    name: str = ""
    slots: int | None = None
    """None: one a core."""
    idle_timeout: float | None = None
    """Seconds; None: the usual ones. Of no account for an unnamed cluster."""
    memory_limit: int | None = None
    """Bytes that each slot may use."""
    journal: str = ""
    """Path; empty: nothing is kept."""
    listen: str = ""
    """Where for other machines, as "tls:0.0.0.0:8930"; empty: nowhere."""
    log: str = ""
    """Where standard error goes, for who looks for it."""


class LocalCluster:
    """Scheduler and worker on one reactor.

    Args:
        reactor: the process's.
        options: how it is to be.
        owner: the secret of whoever owns it; empty for a named one.
        premises: where it lives.
    """

    def __init__(self, reactor: Any, options: Options, owner: str, premises: Premises) -> None:
        self._reactor = reactor
        self._owner = owner
        self._premises = premises
        self.slots = usable_cores() if options.slots is None else options.slots
        self.idle_timeout_s: float | None = None
        if not owner:
            self.idle_timeout_s = IDLE_SECONDS if options.idle_timeout is None else options.idle_timeout
        turn = Turn(reactor)
        troubles = Troubles()
        self.journal = open_journal(reactor, premises.journal, troubles)
        identity = new_identity(options.id, options.name, owner)
        keeps = self.journal is not None and bool(premises.store)
        died = suspects_in(premises.store) if keeps else []
        machine = scheduler_of(identity, self.journal, self.idle_timeout_s, lost_after_s(), died)
        self._scheduler = troubles.node = SchedulerNode(
            reactor,
            machine,
            turn,
            lambda _: stop_reactor(reactor),
            store=premises.store,
            journal=self.journal,
            admission=open_admission(reactor, options.listen, options.name, premises.journal, self.journal),
        )
        self._worker = WorkerNode(
            reactor,
            turn,
            name=WORKER_NAME,
            slots=self.slots,
            folder=premises.place.folder,
            store=premises.store,
            packages=packages(),
            memory_limit=options.memory_limit or 0,
            in_flight=InFlight.begin(premises.store, machine) if keeps else None,
        )
        _, lower = memory_pair(self._scheduler, self._worker, turn)
        self._worker.start(lower)

    def open(self) -> None:
        """Take connections."""
        self._scheduler.listen(self._premises.socket)
        if self._owner:
            self._reactor.callLater(OWNER_SECONDS, self._expect_owner)

    @property
    def listens(self) -> str:
        """Where for other machines; empty: nowhere."""
        return self._scheduler.listens

    def end(self) -> Deferred[None]:
        """Tell everybody, and end the slots."""
        self._scheduler.end("the cluster was stopped")
        ended: Deferred[Any] = gatherResults([self._scheduler.all_gone(), self._worker.stop()], consumeErrors=True)
        return ended.addCallback(lambda _: None)

    def _expect_owner(self) -> None:
        if not self._scheduler.owner_came:
            self._scheduler.end(f"its owner did not connect within {OWNER_SECONDS:g} s")


def main(arguments: list[str]) -> int:
    """Run a local cluster until it is ended; return the exit code."""
    exit_on_signals()
    options = msgspec.json.decode(arguments[0], type=Options)
    owner = os.environ.pop("TWISTCLUSTER_OWNER", "")
    start_logging(limit_bytes=LOG_BYTES if options.log else None)
    try:
        premises = Premises(options.id, options.name, options.journal)
    except NameTaken as error:
        _say(options.ready_fd, {"error": str(error), "taken": True})
        return EXIT_FAILED
    except (TwistclusterError, OSError, ValueError) as error:
        return _failed(options.ready_fd, error, "")
    failed: Exception | None = None
    try:
        _run(options, owner, premises)
    except (TwistclusterError, CannotListenError, OSError, ValueError) as error:
        failed = error
    finally:
        premises.release()
    if failed is not None:  # only now: who hears of it ends this process
        return _failed(options.ready_fd, failed, type(failed).__name__)
    log_event("info", "cluster has ended", {"name": options.name, "id": options.id})
    return EXIT_OK


def _run(options: Options, owner: str, premises: Premises) -> None:
    reactor = make_reactor()

    cluster = LocalCluster(reactor, options, owner, premises)

    def begin() -> None:
        cluster.open()
        fields = premises.publish(
            kind="local",
            slots=cluster.slots,
            idle_timeout=cluster.idle_timeout_s,
            memory_limit=options.memory_limit,
            log=options.log,
            listen=cluster.listens,
        )
        log_event("info", "cluster is ready", {"name": options.name, "id": options.id, "socket": premises.socket})
        _say(options.ready_fd, fields)

    try:
        run_until_ended(reactor, begin, cluster.end)
    finally:
        if cluster.journal is not None:
            cluster.journal.close()


def _failed(ready_fd: int, error: Exception, kind: str) -> int:
    log_event("error", f"the cluster could not start: {error}", {})
    _say(ready_fd, {"error": str(error), "kind": kind})
    return EXIT_FAILED


def _say(fd: int, fields: dict[str, Any]) -> None:
    """The one line that the starter reads. It may have gone: then there is nobody to tell."""
    with contextlib.suppress(OSError):
        os.write(fd, json.dumps(fields).encode() + b"\n")
        os.close(fd)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
