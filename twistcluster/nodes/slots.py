"""Slot processes, from their worker's side: starting them, their shared pages, their end.

Owns: the process, its descriptors and surroundings; telling the worker what it says and how it died. Must not know: what
runs in it.
"""

import contextlib
import mmap
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any, Final, Protocol

from twistcluster.core.slots import LastWords
from twistcluster.net.channel import Channel
from twistcluster.net.link import Link
from twistcluster.net.states import LinkState
from twistcluster.net.token import VARIABLE
from twistcluster.net.turn import Timer, Turn
from twistcluster.net.unix import adopt
from twistcluster.nodes.cores import usable_cores
from twistcluster.nodes.slot_end import last_words, size_text, told
from twistcluster.nodes.slot_memory import OomKills, memory_of
from twistcluster.nodes.slot_page import (
    FILE_BYTES,
    GROUP,
    LIMIT,
    NO_ITEM,
    REACHED,
    RUNNING,
    STOPPED,
    new_words,
)
from twistcluster.wire.codec import Codec
from twistcluster.wire.frames import Buffer
from twistcluster.wire.limits import KIB, MIB
from twistcluster.wire.messages import DropPages, DropValues, EndJob, Forget, Message, SlotToWorker

__all__ = ["SlotOwner", "SlotProcess", "default_slots", "surroundings"]

LIMITED_S: Final = 0.0015
"""After which a limit that was written is seen by a slot that starts an item: a millisecond is enough on any machine."""
LINK_S: Final = 0.25
"""How long a dead slot's link may go on (a child that it left behind holds it); what it said before is read by then."""
EXIT_S: Final = 1.0
"""How long a slot that closed its link may take to end."""
POLL_S: Final = 0.05
"""Between two looks at a process where the system has no descriptor for it."""

ONE_SHARE: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "ORT_NUM_THREADS",
    "POLARS_MAX_THREADS",
)
"""Libraries that would start a thread a core in every slot."""
NOT_THEIRS: Final = ("JPY_", "PYDEVD_", "TWISTCLUSTER_OWNER", VARIABLE)
"""What a notebook's kernel has in its environment and its slots must not."""

_CODEC: Final = Codec(SlotToWorker)

_CAN_WAIT: Final = frozenset({EndJob, DropPages, DropValues, Forget})


def default_slots() -> int:
    """A slot for each core that this process may use."""
    return usable_cores()


MEMORY: Final = {"MALLOC_MMAP_THRESHOLD_": str(32 * MIB), "MALLOC_TRIM_THRESHOLD_": str(64 * MIB)}
"""glibc's malloc keeps up to 64 MiB that an item freed instead of giving it back after each: a picture of 5 MB would be
mapped anew, page by page, for every item. 200 photographs at 1280x960: 78 a second instead of 64."""


def surroundings(environment: Mapping[str, str], slots: int) -> dict[str, str]:
    """The environment of a slot, made from its worker's.

    No display, no debugger, its share of the cores' threads, and memory that is kept for the next item. What the user
    set stays.
    """
    kept = {name: value for name, value in environment.items() if not name.startswith(NOT_THEIRS)}
    share = str(max(1, usable_cores() // max(1, slots)))
    return {**MEMORY, **dict.fromkeys(ONE_SHARE, share), **kept, "MPLBACKEND": "Agg", "TWISTCLUSTER_SLOT": "1"}


class SlotOwner(Protocol):
    """Who hears of a slot."""

    def slot_said(self, number: int, message: Message, buffers: list[Buffer]) -> None:
        """It said something."""

    def slot_died(self, number: int, reason: str, ordinal: int, last: LastWords) -> None:
        """It is dead, and everything that it said has been told."""

    def slot_limited(self, number: int, reached: int) -> None:
        """The limit that was written holds; a moment after it did nothing from `reached` on had been started."""

    def slot_reaped(self, number: int) -> None:
        """Nothing of the process is left."""


class SlotProcess:
    """A slot process.

    Args:
        reactor: Twisted's.
        turn: shared by the node's links.
        owner: hears of it.
        number: the machine's name for it.
        environment: as `surroundings` made it.
        folder: in which the slot may have one of its own.
        store: the folder of the host's store; empty: there is none.
        ooms: counts what the kernel killed for want of memory.

    Raises:
        OSError: it can't be started.
    """

    def __init__(
        self,
        reactor: Any,
        turn: Turn,
        owner: SlotOwner,
        number: int,
        environment: Mapping[str, str],
        folder: pathlib.Path,
        store: str = "",
        ooms: OomKills | None = None,
    ) -> None:
        self._reactor = reactor
        self._turn = turn
        self._owner = owner
        self._ooms = ooms or OomKills()
        self._over_limit = ""
        self._peak_bytes = 0
        # The kernel counts what a process had before it became another program: that was ours.
        self._ours_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB
        self._number = number
        self._folder = folder / f"slot-{number}"
        self._silent = False
        self._linked = True
        self._timer: Timer | None = None
        self._limit_timer: Timer | None = None
        self._reason = ""
        self._last = LastWords()
        with contextlib.ExitStack() as stack:
            page_fd = _page_file()
            stack.callback(os.close, page_fd)
            self._map = mmap.mmap(page_fd, FILE_BYTES)
            self._words = new_words(self._map)
            self._words[RUNNING] = self._words[LIMIT] = self._words[STOPPED] = self._words[GROUP] = NO_ITEM
            ours, theirs = socket.socketpair()
            stack.callback(theirs.close)
            life_fd = -1
            try:
                life_fd, self._life = os.pipe()
                self._process = _start((theirs.fileno(), page_fd, life_fd), environment, self._folder, store)
            except BaseException:
                ours.close()
                if life_fd >= 0:
                    os.close(self._life)
                raise
            finally:
                if life_fd >= 0:
                    os.close(life_fd)
        self._link = Link(self, turn, reactor, incoming=_CODEC, state=LinkState.OPEN)
        adopt(reactor, ours, self._link)
        self._watch = _watch(reactor, self._process, self._exited)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def ordinal(self) -> int:
        """Of the item that runs, as its page says."""
        return int(self._words[RUNNING])

    def say(self, message: Message, buffers: tuple[Buffer, ...]) -> None:
        """Tell it something; what it may forget can wait until there is something to do."""
        if type(message) in _CAN_WAIT:
            self._link.send_later(message)
        else:
            self._link.send(message, buffers)

    def limit(self, ordinal: int, answer: bool) -> None:
        """Write the limit into its page; the owner hears when it holds."""
        self._words[LIMIT] = ordinal
        self._limit_timer = _cancel(self._limit_timer)
        if answer:
            self._limit_timer = self._reactor.callLater(LIMITED_S, self._limited)

    def interrupt(self, ordinal: int) -> None:
        """Interrupt this item, if it still runs: the slot raises only if it does (slot_stop.py). A stopped process goes on."""
        self._words[STOPPED] = ordinal
        if self.ordinal == ordinal:
            self._signal(signal.SIGINT)
            self._signal(signal.SIGCONT)

    def look_at_memory(self, limit_bytes: int) -> None:
        """Note what it uses, and kill it if that is more than the limit (0: there is none); its owner hears of its death."""
        used, peak = memory_of(self._process.pid)
        self._peak_bytes = max(self._peak_bytes, peak)
        if 0 < limit_bytes < used and not self._over_limit and not self._silent:
            self._over_limit = (
                f"killed for memory: it used {size_text(used)} of its slot's limit of {size_text(limit_bytes)}"
            )
            self._kill_group()

    def kill(self) -> None:
        """End it with all that belongs to it. Only `slot_reaped` is heard of it any more."""
        self._silent = True
        self._limit_timer = _cancel(self._limit_timer)
        self._kill_group()
        self._link.abort("the slot was ended")

    # ---- its link --------------------------------------------------------------------------------------------------

    def on_message(self, link: Channel, message: Message, buffers: list[Buffer]) -> None:
        """It said something."""
        if not self._silent:
            self._owner.slot_said(self._number, message, buffers)

    def on_lost(self, link: Channel, reason: str) -> None:
        """Its end of the link is closed: it has ended, or is about to."""
        self._linked = False
        if self._reason:
            self._dead()
        elif not self._silent:
            self._timer = self._reactor.callLater(EXIT_S, self._kill_group)

    def on_paused(self, link: Channel) -> None:
        """It reads slowly, as it is at work."""

    def on_resumed(self, link: Channel) -> None:
        """It has caught up."""

    # ---- its end ---------------------------------------------------------------------------------------------------

    def _limited(self) -> None:
        self._limit_timer = None
        # Between bites the third word says what the first can't: it is written before the first one is.
        ordinal = self.ordinal
        reached = int(self._words[REACHED]) if ordinal == NO_ITEM else ordinal + 1
        self._turn.run(self._owner.slot_limited, self._number, reached)

    def _signal(self, number: int) -> None:
        """To the process alone. Until it is reaped its number is its own."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def _kill_group(self) -> None:
        """Until the process is reaped its number is its own, so this meets nobody else."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _exited(self) -> None:
        """The process has ended; its group, if it left one, ends with it."""
        self._kill_group()
        _, status, usage = os.wait4(self._process.pid, 0)
        code = self._process.returncode = os.waitstatus_to_exitcode(status)
        if usage.ru_maxrss * KIB > self._ours_bytes:
            self._peak_bytes = max(self._peak_bytes, usage.ru_maxrss * KIB)
        by_kernel = code == -signal.SIGKILL and not self._silent and not self._over_limit and self._ooms.more()
        self._reason = self._over_limit or told(code, by_kernel)
        words = last_words(self._map, self.ordinal, code)
        self._last = LastWords(self._peak_bytes, words, bool(self._over_limit), int(self._words[GROUP]))
        self._timer = _cancel(self._timer)
        if self._silent or not self._linked:
            self._dead()
        else:
            self._timer = self._reactor.callLater(LINK_S, self._cut)

    def _cut(self) -> None:
        self._timer = None
        self._link.abort("the slot's process has ended")

    def _dead(self) -> None:
        self._timer = _cancel(self._timer)
        self._limit_timer = _cancel(self._limit_timer)
        if self._life < 0:
            return
        os.close(self._life)
        self._life = -1
        shutil.rmtree(self._folder, ignore_errors=True)
        self._turn.run(self._tell_end)

    def _tell_end(self) -> None:
        if not self._silent:
            self._silent = True
            self._owner.slot_died(self._number, self._reason, self.ordinal, self._last)
        self._owner.slot_reaped(self._number)


def _start(
    fds: tuple[int, ...], environment: Mapping[str, str], folder: pathlib.Path, store: str
) -> "subprocess.Popen[bytes]":
    # -P: a module of the user's in the working folder must not stand in for one that the slot itself imports.
    command = [sys.executable, "-P", "-m", "twistcluster.nodes.slot", *map(str, fds), str(folder), store]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, pass_fds=fds, start_new_session=True, env=dict(environment)
    )


def _page_file() -> int:
    """A page of memory that another process can map."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("twistcluster-slot", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, FILE_BYTES)
    return fd


def _cancel(timer: Timer | None) -> Timer | None:
    """Nothing is due any more."""
    if timer is not None and timer.active():
        timer.cancel()
    return None


# ---- the end of a process ------------------------------------------------------------------------------------------


class _PidWatch:
    """A process's descriptor, for the reactor (an IReadDescriptor): readable when it has ended. No signal handler, no clash with other children's."""

    def __init__(self, reactor: Any, fd: int, exited: Any) -> None:
        self._reactor = reactor
        self._fd = fd
        self._exited = exited
        reactor.addReader(self)

    def fileno(self) -> int:
        """Of the process."""
        return self._fd

    def doRead(self) -> None:  # noqa: N802 (Twisted's name)
        """It has ended."""
        self._reactor.removeReader(self)
        os.close(self._fd)
        self._fd = -1
        self._exited()

    def connectionLost(self, reason: object) -> None:  # noqa: N802 (Twisted's name)
        """The reactor ends."""

    def logPrefix(self) -> str:  # noqa: N802 (Twisted's name)
        """For Twisted's log."""
        return "slot process"


def _watch(reactor: Any, process: "subprocess.Popen[bytes]", exited: Any) -> object:
    """Call `exited` once the process has ended, before it is reaped."""
    if hasattr(os, "pidfd_open"):
        try:
            return _PidWatch(reactor, os.pidfd_open(process.pid), exited)
        except OSError:
            pass  # an old kernel, or a sandbox without it: look from time to time

    def look() -> None:
        if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            reactor.callLater(POLL_S, look)
        else:
            exited()

    reactor.callLater(POLL_S, look)
    return look
