"""Stopping the item that runs: what SIGINT does in a slot.

Owns: the decision to raise, and the end of what a stopped item started. Must not know: who wants an item stopped.

The worker writes an item's number into the page, then sends SIGINT. The handler runs in the main thread, between two
bytecodes, as the items do: nothing moves between its look and its raise. It raises only where all of this holds:

- The number is that of the item that runs. So a signal that comes late meets nobody.
- The item is at work: the innermost frame of ours is the one that called it. If there is none of the user's above, the
  item is C code that we called ourselves (`time.sleep`): then what we raise surfaces at that call. In all other code of
  ours (an item prints, its result is packed, its arguments are unpickled) nothing happens; the worker asks again 20 ms
  later, and in the end kills the process.
- In the loops over plain items (slot_loops.py), where a line of ours follows each call: its result wasn't taken yet.
- It wasn't raised a moment ago: an item has a second to clean up undisturbed.

What is raised is a KeyboardInterrupt. It is what libraries expect of a wish to stop: `except Exception` lets it pass,
asyncio carries it out of its loop (any other BaseException stays in the task, or in whatever callback it met),
`subprocess.run` ends its child, extensions that look for signals pass it on. An item that catches it to save something
and returns has succeeded.
"""

import contextlib
import os
import signal
import time
from types import FrameType
from typing import Final, Protocol

from twistcluster.nodes.slot_errors import own_frame
from twistcluster.nodes.slot_jobs import SlotJob
from twistcluster.nodes.slot_loops import run_args, run_calls, run_ones
from twistcluster.nodes.slot_page import NO_ITEM, RUNNING, STOPPED

__all__ = ["ItemStopped", "Stops", "end_children", "without_handler"]

AGAIN_S: Final = 1.0
"""An item that goes on (its clean-up, or something swallowed the exception) is interrupted again after this."""
REAP_S: Final = 0.2
MARGIN_S: Final = 0.03
LOOPS: Final = frozenset({run_ones.__code__, run_args.__code__, run_calls.__code__})
PASSED_OVER: Final = ("twistcluster.wire.functions", "twistcluster.images.")
"""Modules of ours whose code runs as items do: wrappers that stand between us and some functions, and steps of pictures."""


class ItemStopped(KeyboardInterrupt):
    """The item was cancelled, or ran longer than its time limit."""


class Taken(Protocol):
    """How far the loop at hand has come."""

    def next_ordinal(self) -> int:
        """Of the item whose result would be taken next."""


class Stops:
    """What SIGINT does.

    Args:
        words: of the shared page.
        taken: says how far the loop over plain items is.
        callers: code that calls items, beside the loops.
    """

    def __init__(self, words: memoryview, taken: Taken, callers: "frozenset[object]") -> None:
        self._words = words
        self._taken = taken
        self._callers = callers | {SlotJob.call.__code__}
        self._raised = -1
        self._raised_at = 0.0

    def interrupted(self, signum: int, frame: FrameType | None) -> None:
        """The handler."""
        ordinal = self._words[RUNNING]
        if ordinal == NO_ITEM or ordinal != self._words[STOPPED] or not self._at_work(ordinal, frame):
            return
        now = time.monotonic()
        if ordinal == self._raised and now - self._raised_at < AGAIN_S:
            return
        self._raised, self._raised_at = ordinal, now
        raise ItemStopped("the item was stopped")

    def was_raised(self, ordinal: int) -> bool:
        """Whether this item was interrupted."""
        return self._raised == ordinal

    def _at_work(self, ordinal: int, frame: FrameType | None) -> bool:
        while frame is not None:
            name = frame.f_globals.get("__name__")
            if own_frame(name) and not name.startswith(PASSED_OVER):
                code = frame.f_code
                return code in self._callers or (code in LOOPS and self._taken.next_ordinal() == ordinal)
            frame = frame.f_back
        return False


def without_handler(error: BaseException) -> BaseException:
    """The same, its traceback ending where the item was."""
    tb = error.__traceback__ if isinstance(error, ItemStopped) else None
    while tb is not None and tb.tb_next is not None:
        if tb.tb_next.tb_frame.f_code is Stops.interrupted.__code__:
            tb.tb_next = None
            break
        tb = tb.tb_next
    return error


def end_children(seconds: float) -> None:
    """Kill what was started in this process's group within the last seconds, but for this process itself.

    The item's own time is known to 20 ms or so. What an item before it left running for those after it, stays. Only Linux says who is in a group; elsewhere they stay.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        uptime = float(_read("/proc/uptime").split()[0])
        since = (uptime - seconds - MARGIN_S) * os.sysconf("SC_CLK_TCK") - 1
        ended = [pid for pid in _group() if _started(pid) >= since]
        for pid in ended:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        _reap(ended)


def _group() -> list[int]:
    me, group = os.getpid(), os.getpgrp()
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 (names are wanted, of some hundred entries)
        if name.isdigit() and int(name) != me:
            with contextlib.suppress(OSError):
                if os.getpgid(int(name)) == group:
                    found.append(int(name))
    return found


def _started(pid: int) -> int:
    """When a process started, in ticks since the machine did; -1: it is gone."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        # https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html: field 22; the second may hold anything.
        return int(_read(f"/proc/{pid}/stat").rpartition(")")[2].split()[19])
    return -1


def _reap(pids: list[int]) -> None:
    """Those that are our own children leave nothing behind."""
    deadline = time.monotonic() + REAP_S
    for pid in pids:
        with contextlib.suppress(OSError):
            while os.waitpid(pid, os.WNOHANG)[0] == 0 and time.monotonic() < deadline:
                time.sleep(0.001)


def _read(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as file:  # noqa: PTH123 (half the time of Path.read_text)
        return file.read()
