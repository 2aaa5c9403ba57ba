"""The process of a standalone worker.

Owns: `run_worker`: joining and joining again, leaving when it is told to, its exit code. Must not know: what a worker does.
"""

import functools
import os
import pathlib
import socket
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred

from twistcluster.errors import AccessDenied
from twistcluster.net.link import Link
from twistcluster.net.token import Token
from twistcluster.net.turn import Turn
from twistcluster.nodes.joining import Joining
from twistcluster.nodes.life import (
    EXIT_FAILED,
    EXIT_GONE,
    EXIT_MISUSED,
    EXIT_OK,
    exit_on_signals,
    make_reactor,
    run_until_ended,
    stop_reactor,
)
from twistcluster.nodes.logging import log_event, start_logging
from twistcluster.nodes.packages import packages
from twistcluster.nodes.schedulers import SchedulerThere, scheduler_at
from twistcluster.nodes.slots import default_slots
from twistcluster.nodes.worker import WorkerNode

__all__ = ["PATIENCE_S", "run_worker"]

PATIENCE_S: Final = 120.0
"""How long a worker looks for a cluster that isn't there yet, or any more."""


def run_worker(
    join: str,
    slots: int | None = None,
    name: str = "",
    resources: Mapping[str, float] | None = None,
    log_level: str = "info",
    ready: Callable[[], None] = lambda: None,
    patience_s: float = PATIENCE_S,
    memory_limit: int = 0,
    log_format: str = "text",
    token: Token | None = None,
    port: int = 0,
) -> int:
    """Run a standalone worker until its cluster ends or it is told to leave; return the exit code.

    SIGTERM or SIGINT: it takes nothing new, gives back what it hasn't started, finishes what it runs (10 s at most) and
    ends; a second one ends it at once.

    Args:
        join: the cluster's name or id, or the path of its connection file; or the address of one on another host.
        slots: how many; None: one a core.
        name: for people; without it, the host's and the process's.
        resources: what it offers beside slots.
        log_level: of the lines on standard error.
        ready: called when the scheduler has taken it.
        patience_s: how long to look for a cluster that isn't there yet, or any more.
        memory_limit: bytes that each slot may use; 0: any.
        log_format: "text" or "json".
        token: to join a cluster on another host with, if it isn't joined yet.
        port: where others fetch values then; 0: any that is free.
    """
    reactor = make_reactor()

    exit_on_signals()
    start_logging(level=log_level, form=log_format)
    try:
        scheduler = scheduler_at(reactor, join, token, port)
        made = _Standalone(
            reactor, join, scheduler, slots, name, dict(resources or {}), ready, patience_s, memory_limit
        )
    except (AccessDenied, ImportError, OSError, ValueError) as error:
        log_event("error", f"the worker could not start: {error}", {})
        return EXIT_MISUSED if isinstance(error, ValueError) else EXIT_FAILED
    return made.run()


class _Standalone:
    """A worker's process."""

    def __init__(
        self,
        reactor: Any,
        join: str,
        scheduler: SchedulerThere,
        slots: int | None,
        name: str,
        resources: dict[str, float],
        ready: Callable[[], None],
        patience_s: float,
        memory_limit: int,
    ) -> None:
        self._reactor = reactor
        self._join = join
        self._code: int = EXIT_OK
        self._ready = ready
        self._known = False
        self._linked = False
        self._leaves = False
        self._scheduler = scheduler
        self._link: Link | None = None
        turn = Turn(reactor)
        self._node = WorkerNode(
            reactor,
            turn,
            name=name or f"{socket.gethostname()}-{os.getpid()}",
            slots=default_slots() if slots is None else slots,
            folder=pathlib.Path(),
            resources=resources,
            packages=packages(),
            on_end=self._ended,
            on_refused=self._refused,
            on_lost=self._lost,
            on_welcome=self._welcomed,
            memory_limit=memory_limit,
        )
        self._node.missing = self._scheduler.missing(turn, self._node.ask_for)
        link_to = functools.partial(self._scheduler.link_to, self._node, turn)
        self._joining = Joining(reactor, link_to, self._joined, self._gave_up, patience_s)

    def run(self) -> int:
        """Until it ends."""
        try:
            run_until_ended(self._reactor, self._joining.now, self._end, self._leave)
        finally:
            self._scheduler.let_go()
        log_event("info", "worker has ended", {"worker": self._node.name})
        return self._code

    def _joined(self, link: Link) -> None:
        self._link = link
        self._node.folder = self._scheduler.folder
        self._node.store = self._scheduler.store
        self._node.start(link, self._scheduler.port)

    def _welcomed(self) -> None:
        self._linked = True
        self._joining.welcome()
        if not self._known:
            self._known = True
            log_event("info", "worker joined", {"worker": self._node.name, "cluster": self._join})
            self._ready()

    def _lost(self, reason: str) -> None:
        self._linked = False
        if self._leaves:
            stop_reactor(self._reactor)
        elif self._link is not None and isinstance(self._link.fault, AccessDenied):
            self._refused(reason)
        else:
            self._joining.again(reason)

    def _leave(self) -> None:
        """It was asked to end, for the first time."""
        self._leaves = True
        self._joining.stop()
        if self._linked:
            log_event("info", "leaving: it finishes what it runs; a second signal ends it at once", {})
            self._node.leave()
        else:
            stop_reactor(self._reactor)

    def _ended(self, reason: str) -> None:
        """It shall end: the scheduler stopped it, or it has left."""
        self._joining.stop()
        log_event("info", "the worker ends", {"reason": reason})
        if self._leaves and self._linked and self._link is not None:
            self._node.missing.hand_over(self._link, lambda: stop_reactor(self._reactor))
        else:
            stop_reactor(self._reactor)

    def _refused(self, reason: str) -> None:
        """The scheduler doesn't want it: from the start, or any more."""
        self._joining.stop()
        self._gave_up(reason, shut_out=True)

    def _gave_up(self, text: str, *, shut_out: bool = False) -> None:
        if self._known:
            what = "doesn't take this worker any more" if shut_out else "went away and did not come back"
            log_event("error", f"the cluster {self._join!r} {what}: {text}", {})
            self._code = EXIT_GONE
        else:
            log_event("error", f"the worker could not join {self._join!r}: {text}", {})
            self._code = EXIT_FAILED
        stop_reactor(self._reactor)

    def _end(self) -> Deferred[None]:
        self._joining.stop()
        return self._node.stop()
