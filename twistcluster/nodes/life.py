"""The life of a node's process: from its first signal handler to its exit code.

Owns: signals, how many files may be open, and how the reactor is made, run and ended. Must not know: what runs.
"""

import contextlib
import gc
import resource
import signal
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final, cast

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.error import ReactorNotRunning

from twistcluster.nodes.logging import log_event

__all__ = [
    "EXIT_FAILED",
    "EXIT_GONE",
    "EXIT_MISUSED",
    "EXIT_OK",
    "exit_on_signals",
    "make_reactor",
    "run_until_ended",
    "stop_reactor",
]

EXIT_OK: Final = 0
"""It ended as asked: by a signal, its owner, a client's stop, or for idleness."""
EXIT_FAILED: Final = 1
"""It could not start."""
EXIT_MISUSED: Final = 2
"""A variable or an option that makes no sense: starting it again won't help."""
EXIT_GONE: Final = 3
"""A worker's scheduler went away and did not come back, or doesn't want it any more."""

GOODBYE_SECONDS: Final = 3.0
"""How long links and slots may take to end."""
FILES: Final = 65_536
"""Open at a time, where the system allows so many: a slot needs four, a link one, and a usual soft limit is 1,024."""
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def make_reactor() -> Any:
    """The reactor of a process that is a node: call it first, and from nowhere else.

    Twisted's reactor loads pyOpenSSL where it finds it, for `startTLS` and `listenSSL`. Nobody here uses these: links
    over TLS bring their own (net/tls), and load it when there is one. Without it a node starts 70 ms sooner.
    """
    hidden = "OpenSSL" not in sys.modules
    if hidden:
        sys.modules["OpenSSL"] = cast("ModuleType", None)  # what Python takes for "there is none"
    try:
        from twisted.internet import reactor  # noqa: TID251 (who calls this is a process)
    finally:
        if hidden:
            del sys.modules["OpenSSL"]
    return reactor


def exit_on_signals() -> None:
    """Until the reactor runs a signal unwinds the stack, so that `finally` gives back what was taken."""

    def leave(_signal: int, _frame: object) -> None:
        sys.exit(EXIT_OK)

    for number in _SIGNALS:
        signal.signal(number, leave)


def allow_many_files() -> None:
    """Raise the soft limit of open files as far as the hard one goes, up to `FILES`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(hard, FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def run_until_ended(
    reactor: Any,
    begin: Callable[[], None],
    end: Callable[[], Deferred[None]],
    leave: Callable[[], None] | None = None,
) -> None:
    """Run the reactor until it is stopped, by SIGTERM, SIGINT, SIGHUP or `stop_reactor`.

    Args:
        reactor: the process's.
        begin: called once the reactor runs; what it raises ends the reactor and is raised here.
        end: ends the node, in whatever state it is; `GOODBYE_SECONDS` later the process ends anyway.
        leave: called instead with the first SIGTERM or SIGINT; it sees to it that the reactor is stopped in the end.
    """
    failed: list[Exception] = []
    leaving = leave is None
    allow_many_files()

    def asked(number: int, _frame: object) -> None:
        nonlocal leaving
        if leave is None or leaving or number == signal.SIGHUP:
            reactor.callFromThread(stop_reactor, reactor)
        else:
            leaving = True
            reactor.callFromThread(leave)

    def started() -> None:
        for number in _SIGNALS:
            signal.signal(number, asked)
        try:
            begin()
            # What a node is made of stays, and what a turn makes goes by itself: with the default thresholds the bursts
            # of effects of a scheduler with 4,000 workers cost it 8 us a lease in collections that free nothing.
            gc.freeze()
            gc.set_threshold(50_000, 20, 50)
        except Exception as error:
            failed.append(error)
            stop_reactor(reactor)

    async def ending() -> None:
        ended = end()
        ended.addTimeout(GOODBYE_SECONDS, reactor)
        try:
            await ended
        except Exception as error:
            log_event("warning", "did not end in time", {"error": repr(error)})

    reactor.addSystemEventTrigger("before", "shutdown", lambda: ensureDeferred(ending()))
    reactor.callWhenRunning(started)
    reactor.run()
    if failed:
        raise failed[0]


def stop_reactor(reactor: Any) -> None:
    """End the process in good order; does nothing if it is ending."""
    with contextlib.suppress(ReactorNotRunning):
        reactor.stop()
