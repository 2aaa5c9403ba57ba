"""How a thread or a coroutine waits, so that an interrupt is seen at once.

- In the main thread a wait looks up five times a second: a signal may be delivered to another thread, and then nothing
  wakes the one that waits.
- While something is awaited the loop is woken as often: an idle one doesn't notice an interrupt.

Owns: waiting. Must not know: what is waited for.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future as Reply
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, TypeVar

from twistcluster.client import bridge
from twistcluster.client.quantities import seconds
from twistcluster.errors import Detached, TwistclusterError

__all__ = [
    "LOOK_SECONDS",
    "answer_of",
    "await_until",
    "deadline_of",
    "detached",
    "free",
    "pause",
    "refuse_to_wait",
    "wait_until",
]

LOOK_SECONDS = 0.2

T = TypeVar("T")


def detached(what: str, find: str, *, many: bool = False) -> Detached:
    """The two lines that end an interrupted wait: what goes on, how to find it, how to end it."""
    it, its = ("them", "their") if many else ("it", "its")
    return Detached(f"stopped waiting for {what}; the work goes on.\n{find} finds {it}, {its} .cancel() ends {it}.")


def deadline_of(timeout: float | str | None) -> float | None:
    """When a time-out that begins now is over, on the monotonic clock. As elsewhere, a negative one is over already."""
    if timeout is None:
        return None
    return time.monotonic() + (seconds(timeout, "timeout") if isinstance(timeout, str) else timeout)


def wait_until(
    condition: threading.Condition,
    ready: Callable[[], bool],
    timeout: float | str | None,
    interrupted: Callable[[], Detached],
    *,
    here: bool = False,
) -> bool:
    """Wait until `ready()`, which is asked with the condition held; False if the time was up before.

    A forked child waits for nothing but what comes from its own threads (`here`).

    Raises:
        Detached: in place of a KeyboardInterrupt.
    """
    if bridge.is_forked() and not here:
        if not ready():  # without the condition: whoever held it may be a thread that stayed in the parent
            bridge.refuse_if_forked()
        return True
    main = threading.current_thread() is threading.main_thread()
    deadline = deadline_of(timeout)
    try:
        with condition:
            while not ready():
                _refuse_on_reactor_thread()
                rest = None if deadline is None else deadline - time.monotonic()
                if rest is not None and rest <= 0:
                    return False
                condition.wait(min(LOOK_SECONDS, rest or LOOK_SECONDS) if main else rest)
            return True
    except KeyboardInterrupt:
        raise interrupted() from None


def answer_of(reply: "Reply[T]", deadline: float | None = None) -> T:
    """Wait for what the reactor's thread answers. An interrupt is a KeyboardInterrupt: nothing goes on behind it.

    Raises:
        TimeoutError: there was no answer until `deadline`, on the monotonic clock.
    """
    while True:
        if not reply.done():
            refuse_to_wait()
        rest = LOOK_SECONDS if deadline is None else max(0.0, min(LOOK_SECONDS, deadline - time.monotonic()))
        try:
            return reply.result(rest)
        except FutureTimeout:
            if reply.done():  # the answer itself, or it came just now
                return reply.result()
            if deadline is not None and time.monotonic() >= deadline:
                raise


def pause(duration: float) -> None:
    """Look again after a while."""
    refuse_to_wait()
    time.sleep(duration)


async def await_until(subscribe: Callable[[Callable[[], None]], Callable[[], None]], note: Callable[[], str]) -> None:
    """Wait in a coroutine until the function that `subscribe` is given was called, from any thread.

    `subscribe` answers with what ends the subscription. Cancelling this only ends the wait.
    """
    bridge.refuse_if_forked()
    loop = asyncio.get_running_loop()
    woken = loop.create_future()

    def arrived() -> None:
        if not woken.done():
            woken.set_result(None)

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(arrived)

    ticker: asyncio.TimerHandle | None = None

    def look_up() -> None:
        nonlocal ticker
        ticker = loop.call_later(LOOK_SECONDS, look_up)

    unsubscribe = subscribe(wake)
    look_up()
    try:
        await woken
    except asyncio.CancelledError as error:
        said = note()
        error.add_note(said)
        # What IPython shows instead of a traceback, as it does of `Detached`.
        vars(error)["_render_traceback_"] = f"{type(error).__name__}: {said}".splitlines
        raise
    finally:
        if ticker is not None:
            ticker.cancel()
        unsubscribe()


def refuse_to_wait() -> None:
    """Raise if what the caller would wait for could never come: in a forked child, and on the reactor's thread."""
    bridge.refuse_if_forked()
    _refuse_on_reactor_thread()


def free(lock: Any) -> None:
    """In a forked child: let nobody wait for a thread that stayed in the parent, and held this lock."""
    lock._at_fork_reinit()  # noqa: SLF001 (as logging and concurrent.futures do: it stays the same lock)


def _refuse_on_reactor_thread() -> None:
    """Raise on the reactor's thread."""
    if bridge.in_reactor_thread():
        raise TwistclusterError(
            "waiting on the reactor's thread would stop what is waited for: "
            "use add_done_callback, or wait in another thread (twisted.internet.threads.deferToThread)"
        )
