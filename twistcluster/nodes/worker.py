"""The worker as a node: links and slot processes carry events to its machine, and its effects away.

Owns: which process is which slot, the machine's alarm, looking at memory and at slots' pages while they run something; `run_worker`,
the process of a standalone worker. Must not know: what the machine decides.
"""

import os
import pathlib
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred, ensureDeferred

from twistcluster.core.effects import Log, Remove
from twistcluster.core.slots import NO_ITEM
from twistcluster.core.worker import Worker
from twistcluster.core.worker_effects import Ended, KillSlot, LimitSlot, StartSlot, ToSlot, Up, WorkerEffect
from twistcluster.errors import TwistclusterError
from twistcluster.net.channel import Channel
from twistcluster.net.connections import find
from twistcluster.net.states import LinkState
from twistcluster.net.turn import Timer, Turn
from twistcluster.net.version import VERSION
from twistcluster.nodes.hosting import python_version
from twistcluster.nodes.joining import Joining
from twistcluster.nodes.life import EXIT_FAILED, EXIT_OK, exit_on_signals, run_until_ended, stop_reactor
from twistcluster.nodes.logging import log_event, start_logging
from twistcluster.nodes.memory import Memory, MemoryWatch, host_memory
from twistcluster.nodes.packages import packages
from twistcluster.nodes.slots import SlotProcess, default_slots, surroundings
from twistcluster.nodes.ticker import Ticker
from twistcluster.storage.upkeep import Upkeep
from twistcluster.storage.values import usable
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import PROTOCOL, Goodbye, Hello, Message, Welcome

__all__ = ["SAMPLE_S", "WorkerNode", "run_worker"]

SAMPLE_S: Final = 0.02
"""Between two looks at the pages of slots that run something."""


class WorkerNode:
    """A worker on a reactor.

    Args:
        reactor: Twisted's.
        turn: shared with the links of this process.
        name: for people.
        slots: how many.
        folder: a private folder in which slots may have theirs.
        store: the folder of the host's store; empty: there is none.
        resources: what it offers beside slots.
        packages: versions that clients compare with theirs.
        on_end: called when the scheduler says that the worker shall end, or refuses it, with the reason.
        on_lost: called when the link to the scheduler is gone, with the reason.
        on_welcome: called when the scheduler took the worker.
        clock: seconds that never go back.
        memory: reads how much of its memory the host uses.
    """

    def __init__(
        self,
        reactor: Any,
        turn: Turn,
        *,
        name: str,
        slots: int,
        folder: pathlib.Path,
        store: str = "",
        resources: Mapping[str, float] | None = None,
        packages: Mapping[str, str] | None = None,
        on_end: Callable[[str], None] = lambda _reason: None,
        on_lost: Callable[[str], None] = lambda _reason: None,
        on_welcome: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        memory: Callable[[], Memory | None] = host_memory,
    ) -> None:
        self.machine = Worker(slots, dict(resources or {}))
        self.name = name
        self._reactor = reactor
        self._turn = turn
        self.folder = folder
        self.store = store
        self._resources = dict(resources or {})
        self._packages = dict(packages or {})
        self._on_end = on_end
        self._on_lost = on_lost
        self._on_welcome = on_welcome
        self._process = uuid.uuid4().hex
        self._links = 0
        self._link: Channel | None = None
        self._slots: dict[int, SlotProcess] = {}
        self._starting: dict[int, Timer] = {}
        self._reaping: dict[int, SlotProcess] = {}
        self._environment = surroundings(os.environ, slots)
        self._ticker = Ticker(reactor, self._tick, clock)
        self._memory = MemoryWatch(reactor, memory, self._memory_seen)
        self._sampler: Timer | None = None
        self._stopped: Deferred[None] | None = None
        self._started = False
        self._ending_turn = False

    def start(self, link: Channel) -> None:
        """Start the slots, and say Hello on a link whose owner this node is. Again with each new link."""
        self._link = link
        self._links += 1
        link.send(self._hello())
        if not self._started:
            self._started = True
            self._turn.run(lambda: self._apply(self.machine.start(self._ticker.now())))
            self._memory.start()

    def stop(self) -> Deferred[None]:
        """End all slots and the link; the Deferred fires when nothing of them is left."""
        if self._stopped is None:
            self._stopped = Deferred()
            self._ticker.stop()
            self._memory.stop()
            if self._sampler is not None and self._sampler.active():
                self._sampler.cancel()
            for timer in self._starting.values():
                timer.cancel()
            self._starting.clear()
            if self._link is not None and self._link.state is LinkState.OPEN:
                self._link.send(Goodbye())
                self._link.close("the worker ends")
            for number in list(self._slots):
                self._kill(number)
            self._finish_stop()
        return self._stopped

    def _hello(self) -> Hello:
        return Hello(
            protocol=PROTOCOL,
            role="worker",
            python=python_version(),
            version=VERSION,
            process=self._process,
            link=self._links,
            host=socket.gethostname(),
            pid=os.getpid(),
            name=self.name,
            slots=self.machine.crew.target,
            resources=self._resources,
            packages=self._packages,
        )

    # ---- the link's owner ------------------------------------------------------------------------------------------

    def on_message(self, link: Channel, message: Message, buffers: list[Buffer]) -> None:
        """The scheduler said something."""
        if link is self._link and self._stopped is None:
            if isinstance(message, Welcome):
                self._on_welcome()
            self.machine.received(message, tuple(buffers), self._ticker.now(), more=True)
            self._end_turn_soon()

    def on_lost(self, link: Channel, reason: str) -> None:
        """The link is gone."""
        if link is not self._link:
            return
        self._link = None
        if self._stopped is None:
            log_event("warning", "link to the scheduler lost", {"reason": reason})
            self._apply(self.machine.link_lost(self._ticker.now()))
            self._on_lost(reason)

    def on_paused(self, link: Channel) -> None:
        """The scheduler reads slowly. Results are not held back: they are what frees the slots' memory."""

    def on_resumed(self, link: Channel) -> None:
        """It has caught up."""

    # ---- the slots' owner ------------------------------------------------------------------------------------------

    def slot_said(self, number: int, message: Message, buffers: list[Buffer]) -> None:
        """A slot said something."""
        if self._stopped is None:
            self.machine.slot_received(number, message, tuple(buffers), self._ticker.now(), more=True)
            self._end_turn_soon()

    def slot_died(self, number: int, reason: str, ordinal: int) -> None:
        """A slot is dead."""
        if self._stopped is None:
            self._reaping[number] = self._slots.pop(number)
            self._apply(self.machine.slot_died(number, reason, ordinal, self._ticker.now()))

    def slot_limited(self, number: int, reached: int) -> None:
        """A limit holds."""
        if self._stopped is None:
            self._apply(self.machine.limited(number, reached, self._ticker.now()))

    def slot_reaped(self, number: int) -> None:
        """Nothing of a slot is left."""
        self._reaping.pop(number, None)
        self._slots.pop(number, None)
        self._finish_stop()

    # ---- effects ---------------------------------------------------------------------------------------------------

    def _apply(self, effects: list[WorkerEffect]) -> None:
        for effect in effects:
            # Nearly all are of the first two kinds: a pattern would cost three times as much.
            if type(effect) is ToSlot:
                if (slot := self._slots.get(effect.slot)) is not None:
                    slot.say(effect.message, effect.buffers)
                continue
            if type(effect) is Up:
                if self._link is not None and self._link.state is LinkState.OPEN:
                    self._link.send(effect.message, effect.buffers)
                continue
            match effect:
                case LimitSlot(number, ordinal, answer):
                    if (slot := self._slots.get(number)) is not None:
                        slot.limit(ordinal, answer)
                case StartSlot(number, delay_s):
                    if delay_s:
                        self._starting[number] = self._reactor.callLater(delay_s, self._start_slot, number)
                    else:
                        self._start_slot(number)
                case KillSlot(number):
                    self._kill(number)
                case Remove(ids):
                    if self.store:
                        Upkeep(self.store).remove(ids)
                case Log(level, event, fields):
                    log_event(level, event, {"worker": self.name, **fields})
                case Ended(reason):
                    self._turn.soon(lambda reason=reason: self._on_end(reason))  # type: ignore[misc]
        self._end_turn_soon()

    def _end_turn_soon(self) -> None:
        if not self._ending_turn:
            self._ending_turn = True
            self._turn.soon(self._end_turn)

    def _end_turn(self) -> None:
        """Once a turn, after all that came in it."""
        if self._stopped is None:
            self._apply(self.machine.end_turn(self._ticker.now()))
            self._ticker.wake_at(self.machine.next_tick())
            if self._sampler is None and self.machine.sampling:
                self._sampler = self._reactor.callLater(SAMPLE_S, self._sample)
        self._ending_turn = False

    def _start_slot(self, number: int) -> None:
        self._starting.pop(number, None)
        try:
            slot = SlotProcess(self._reactor, self._turn, self, number, self._environment, self.folder, self.store)
        except OSError as error:
            reason = f"it could not be started: {error}"
            self._turn.soon(lambda: self._never_started(number, reason))
            return
        self._slots[number] = slot

    def _never_started(self, number: int, reason: str) -> None:
        if self._stopped is None:
            self._apply(self.machine.slot_died(number, reason, NO_ITEM, self._ticker.now()))

    def _kill(self, number: int) -> None:
        timer = self._starting.pop(number, None)
        if timer is not None:
            timer.cancel()
        slot = self._slots.pop(number, None)
        if slot is not None:
            self._reaping[number] = slot
            slot.kill()

    def _finish_stop(self) -> None:
        if self._stopped is not None and not self._stopped.called and not self._slots and not self._reaping:
            self._stopped.callback(None)

    # ---- time ------------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        if self._stopped is None:
            self._turn.run(lambda: self._apply(self.machine.tick(self._ticker.now())))

    def _memory_seen(self, memory: Memory) -> None:
        self._turn.run(lambda: self._apply(self.machine.memory_seen(*memory, self._ticker.now())))

    def _sample(self) -> None:
        self._sampler = None
        self._turn.run(self._look_at_pages)

    def _look_at_pages(self) -> None:
        now = self._ticker.now()
        for number in self.machine.sampling:
            slot = self._slots.get(number)
            if slot is not None and self._stopped is None:
                self._apply(self.machine.sampled(number, slot.ordinal, now))


def run_worker(
    join: str,
    slots: int | None = None,
    name: str = "",
    resources: Mapping[str, float] | None = None,
    log_level: str = "info",
    ready: Callable[[], None] = lambda: None,
) -> int:
    """Run a standalone worker until its cluster ends or it gets SIGTERM or SIGINT; return the exit code.

    Args:
        join: the cluster's name or id, or the path of its connection file.
        slots: how many; None: one a core.
        name: for people; without it, the host's and the process's.
        resources: what it offers beside slots.
        log_level: of the lines on standard error.
        ready: called when the scheduler has taken it.
    """
    from twisted.internet import reactor  # noqa: TID251 (this function is a process)

    exit_on_signals()
    start_logging(level=log_level)
    return _Standalone(reactor, join, slots, name, dict(resources or {}), ready).run()


def _forget(_running: Deferred[None]) -> None:
    """It sees to its errors itself."""


class _Standalone:
    """A worker's process."""

    def __init__(
        self,
        reactor: Any,
        join: str,
        slots: int | None,
        name: str,
        resources: dict[str, float],
        ready: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._join = join
        self._code: int = EXIT_OK
        self._ready = ready
        self._known = False
        self._socket = ""
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
            on_lost=lambda _reason: self._joining.again(),
            on_welcome=self._welcomed,
        )
        self._joining = Joining(reactor, turn, self._node, self._find, self._joined)

    def run(self) -> int:
        """Until it ends."""
        try:
            run_until_ended(self._reactor, lambda: _forget(ensureDeferred(self._begin())), self._end)
        finally:
            if self._socket:
                shutil.rmtree(self._node.folder, ignore_errors=True)
        log_event("info", "worker has ended", {"worker": self._node.name})
        return self._code

    def _find(self) -> str:
        found = find(self._join)
        self._socket = str(found["socket"])
        self._node.store = usable(str(found.get("store", "")))
        return self._socket

    def _joined(self, link: Channel) -> None:
        # In the cluster's folder, so that it goes with that at the latest, even if this process is killed.
        self._node.folder = pathlib.Path(self._socket).parent / f"worker-{os.getpid()}"
        self._node.start(link)

    async def _begin(self) -> None:
        try:
            await self._joining.join()
        except (TwistclusterError, OSError) as error:
            self._fail(str(error))

    def _welcomed(self) -> None:
        self._joining.welcome()
        if not self._known:
            self._known = True
            log_event("info", "worker joined", {"worker": self._node.name, "cluster": self._join})
            self._ready()

    def _ended(self, reason: str) -> None:
        """The scheduler stopped it, or would not have it."""
        self._joining.stop()
        if self._known:
            log_event("info", "the cluster ends", {"reason": reason})
            stop_reactor(self._reactor)
        else:
            self._fail(reason)

    def _fail(self, text: str) -> None:
        log_event("error", f"the worker could not join {self._join!r}: {text}", {})
        self._code = EXIT_FAILED
        stop_reactor(self._reactor)

    def _end(self) -> Deferred[None]:
        self._joining.stop()
        return self._node.stop()
