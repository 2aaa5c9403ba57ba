"""The bridge between the program's threads and the reactor's.

The only module that imports crochet and the global reactor: all else is handed the reactor, or hands functions to
`call`.

- The reactor is asyncio's, on a loop of its own (uvloop's where installed): without one it would take the kernel's
  running loop, and its thread would die. Whoever imported `twisted.internet.reactor` before has chosen: that reactor
  stays, and `note()` says so.
- crochet's set-up returns before the thread runs, and even if it died: so there is a handshake.
- `call` is a mailbox: however many functions are put there in a moment, the reactor is woken once.
- A forked child has the parent's memory but not its reactor thread: it gets a clear error.

Owns: that thread. Must not know: links, jobs.
"""

import asyncio
import contextlib
import logging
import os
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future as Reply
from typing import Any, TypeVar

import crochet
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorCore
from twisted.python.failure import Failure

from twistcluster.errors import ClusterUnreachable, TwistclusterError

__all__ = ["call", "ends", "in_reactor_thread", "is_forked", "note", "reactor", "refuse_if_forked", "reply_of", "start"]

HANDSHAKE_SECONDS = 10.0
CALLS_A_TURN = 1000

T = TypeVar("T")

_log = logging.getLogger(__name__)
_lock = threading.Lock()
_box: deque[Callable[[], object]] = deque()
_started = False
_forked = False
_awake = False
_thread = 0
_reactor: Any = None
_wake: Callable[[], object]
_note = ""


def start() -> None:
    """Have the reactor run in its thread; does nothing if it runs."""
    global _started
    refuse_if_forked()
    if _started:
        return
    with _lock:
        if not _started:
            _set_up()
            _started = True


def reactor() -> Any:
    """The reactor, running."""
    start()
    return _reactor


def note() -> str:
    """What there is to say about the reactor, or nothing."""
    return _note


def is_forked() -> bool:
    """Whether this is a forked child of the process that the reactor runs in."""
    return _forked


def refuse_if_forked() -> None:
    """Raise if this is a forked child: nothing comes here any more."""
    if _forked:
        raise _forked_error()


def ends() -> bool:
    """Whether the program ends, or its reactor: that closes all links."""
    return not (threading.main_thread().is_alive() and _reactor.running)


def in_reactor_thread() -> bool:
    """Whether the caller is on the reactor's thread, where nothing may wait."""
    return threading.get_ident() == _thread


def call(function: Callable[[], object]) -> None:
    """Run `function` on the reactor's thread, soon and in order. From any thread."""
    global _awake
    if _forked:  # asked here: a submit comes this way
        raise _forked_error()
    _box.append(function)
    if not _awake:
        _awake = True  # two threads may both see False: then the mailbox is looked at twice
        _wake()


def reply_of(function: Callable[[], "Deferred[T]"]) -> "Reply[T]":
    """Run `function` on the reactor's thread; the answer is what its Deferred gives. From any thread."""
    start()
    reply: Reply[T] = Reply()

    def failed(failure: Failure) -> None:
        reply.set_exception(failure.value)

    def run() -> None:
        try:
            deferred = function()
        except BaseException as error:  # whatever it is, the one who waits gets it
            reply.set_exception(error)
        else:
            deferred.addCallbacks(reply.set_result, failed)

    call(run)
    return reply


def _drain() -> None:
    """Empty the mailbox, also of what comes meanwhile: but the reactor has other things to do."""
    global _awake
    for _ in range(CALLS_A_TURN):
        if not _box:
            _awake = False
            if not _box:  # nobody put something there just before, and left the waking to us
                return
            _awake = True
        function = _box.popleft()
        try:
            function()
        except Exception:
            _log.exception("an error on the reactor's thread")
    _wake()


def _set_up() -> None:
    global _reactor, _wake
    loop = None if "twisted.internet.reactor" in sys.modules else _install()
    from twisted.internet import reactor as running  # here: importing it installs it

    _reactor = running
    assert IReactorCore.providedBy(running)
    if loop is not None:
        # What reactor.callFromThread does comes down to this, with a timer in between (10 us).
        _wake = lambda: loop.call_soon_threadsafe(_drain)  # noqa: E731
    else:
        _choose_kept_reactor(_reactor)
    shows = warnings.showwarning
    _run(_reactor)
    hello = threading.Event()

    def handshake() -> None:
        global _thread
        _thread = threading.get_ident()
        hello.set()

    _reactor.callFromThread(handshake)
    if not hello.wait(HANDSHAKE_SECONDS):
        raise ClusterUnreachable(
            f"the reactor's thread didn't answer within {HANDSHAKE_SECONDS:.0f} s: restart this process (or kernel), "
            "and import twistcluster before anything that uses Twisted"
        )
    warnings.showwarning = shows  # Twisted's log has taken it, but the program's warnings are the program's


def _install() -> asyncio.AbstractEventLoop:
    from twisted.internet import asyncioreactor  # here: it must not be imported if another reactor is in use

    loop = _new_loop()
    asyncioreactor.install(loop)  # type: ignore[no-untyped-call]
    return loop


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # an option: it is a third faster
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def _choose_kept_reactor(kept: Any) -> None:
    global _wake, _note
    _wake = lambda: kept.callFromThread(_drain)  # noqa: E731
    if not hasattr(kept, "_asyncioEventloop"):
        _note = (
            f"Twisted's {type(kept).__name__} was installed before twistcluster was imported: it stays, "
            "and asyncio libraries can't run on its thread"
        )
        _log.info(_note)


def _run(chosen: Any) -> None:
    if not chosen.running:
        crochet.setup()
        return
    with contextlib.suppress(RuntimeError):  # somebody else set crochet up before
        crochet.no_setup()  # the program runs it itself


def _forked_error() -> TwistclusterError:
    return TwistclusterError(
        "this process was forked from one that uses twistcluster, and the reactor's thread stayed there; "
        "use the cluster in the parent, or start this process with subprocess or the 'spawn' method"
    )


def _after_fork() -> None:
    global _forked
    _forked = _started


os.register_at_fork(after_in_child=_after_fork)
