"""How often an item may be tried: after exceptions and time-outs (`retries`), and after deaths of its slot (`max_crashes`).

Owns: both counts, and what is said of an item that ended its slot too often. Must not know: leases, who tries.

An item that its worker killed because its slot used too much memory is tried at most once more, and not at all if it was
the first of its slot: its memory is its own then, and would be the same again. If others ran there before, what they left
may have been the cause.
"""

import math
from typing import Final

from twistcluster.core.jobs import Job
from twistcluster.errors import ProtocolError
from twistcluster.wire.limits import TOGETHER_ITEMS
from twistcluster.wire.messages import Crashed, ErrorInfo, OpenJob

__all__ = ["again", "check_limits", "crashed"]

TRIED_AGAIN: Final = frozenset({"raised", "argument", "result", "timeout"})
"""Failures of the item's own. What it waits for, or what its slot must be prepared with, is tried elsewhere."""
OVER_LIMIT_AT_MOST: Final = 2
MIB: Final = 1 << 20
COUNT_AT_MOST: Final = 1 << 53


def check_limits(job: OpenJob) -> None:
    """These come from a client.

    Raises:
        ProtocolError: they make no sense.
    """
    if not 0 <= job.retries < COUNT_AT_MOST or not 1 <= job.max_crashes < COUNT_AT_MOST:
        raise ProtocolError(f"job {job.job}: {job.retries} retries and {job.max_crashes} crashes aren't possible")
    if not 0.0 <= job.time_limit < math.inf:
        raise ProtocolError(f"job {job.job}: a time limit of {job.time_limit} s")
    if not 0 <= job.together <= TOGETHER_ITEMS:
        raise ProtocolError(f"job {job.job}: {job.together} items together")


def again(job: Job, index: int, error: ErrorInfo) -> bool:
    """Whether an item that failed shall run again; counts it."""
    if not job.info.retries or error.why not in TRIED_AGAIN:
        return False
    failed = job.tries.get(index, 0)
    if failed >= job.info.retries:
        return False
    job.tries[index] = failed + 1
    return True


def crashed(job: Job, message: Crashed) -> ErrorInfo | None:
    """An item's slot died on it: its failure, or None if it shall run again; counts it."""
    index = message.index
    crashes = job.crashes[index] = job.crashes.get(index, 0) + 1
    at_most = job.info.max_crashes
    if message.over_limit:
        at_most = 1 if message.first else min(at_most, OVER_LIMIT_AT_MOST)
    if crashes < at_most:
        return None
    return ErrorInfo("crashed", "WorkerCrashed", _story(message, crashes))


def _story(message: Crashed, crashes: int) -> str:
    times = "" if crashes == 1 else f" {crashes} times, the last time"
    lines = [f"it ended its slot{times} by {message.reason}."]
    if message.over_limit:
        lines = [f"it was {message.reason}{'' if crashes == 1 else f' ({crashes} crashes in all)'}."]
    if message.peak_bytes > 0:
        lines[0] += f" The slot's process had {message.peak_bytes / MIB:,.0f} MiB at most."
    if message.printed:
        lines += ["Its last lines:", *(f"  {line}" for line in message.printed.splitlines())]
    advice = "Run it alone to see why, or leave it out."
    if message.over_limit:
        advice = "Start the cluster with a higher memory_limit, or split the item into smaller ones."
    if len(lines) == 1:
        return f"{lines[0]} {advice}"
    return "\n".join([*lines, advice])
