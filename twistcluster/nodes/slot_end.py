"""What is told of a slot's process that has ended.

Owns: the words for exit codes and signals, and for what its page still says. Must not know: who asks, what follows.
"""

import mmap
import signal
from typing import Final

from twistcluster.nodes.slot_page import PrintedTail, read_trace
from twistcluster.wire.limits import GIB, MIB

__all__ = ["last_words", "size_text", "told"]

OUT_OF_MEMORY: Final = ", killed for memory by the kernel: the machine, or the container, had no more"
TRACED: Final = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT})
"""Signals at which a slot says where it was."""


def last_words(page: mmap.mmap, ordinal: int, status: int) -> str:
    """The last lines that its item printed, and where its code was; empty: nothing is known."""
    printed = PrintedTail(page).lines(ordinal)
    where = read_trace(page) if -status in TRACED else ""
    if not where:
        return printed
    called = f"In C code that was called at (the innermost call first):\n{where}"
    return f"{printed}\n{called}" if printed else called


def size_text(nbytes: int) -> str:
    """For people."""
    return f"{nbytes / GIB:,.1f} GiB" if nbytes >= GIB else f"{nbytes / MIB:,.0f} MiB"


def told(status: int, out_of_memory: bool = False) -> str:
    """How a process ended, for people; `out_of_memory`: the kernel killed something for want of it."""
    if status >= 0:
        return f"exit code {status}"
    try:
        text = f"signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        text = f"signal {-status}"
    return text + OUT_OF_MEMORY if out_of_memory else text
