"""The worker as a node: links and slot processes carry events to its machine, and its effects away.

Owns: which process is which slot, the machine's alarm, looking at memory, and at slots' pages and processes while they
run something. Must not know: what the machine decides.
"""

import functools
import os
import pathlib
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred

from twistcluster.core.effects import Log, Remove
from twistcluster.core.slots import NO_ITEM, LastWords
from twistcluster.core.worker import Worker
from twistcluster.core.worker_effects import (
    Ended,
    InterruptSlot,
    KillSlot,
    LimitSlot,
    StartSlot,
    ToSlot,
    Up,
    WorkerEffect,
)
from twistcluster.net.channel import Channel
from twistcluster.net.states import LinkState
from twistcluster.net.turn import Timer, Turn
from twistcluster.net.version import VERSION
from twistcluster.nodes.hosting import python_version
from twistcluster.nodes.in_flight import InFlight
from twistcluster.nodes.logging import log_event
from twistcluster.nodes.memory import Memory, MemoryWatch, host_memory
from twistcluster.nodes.missing import Missing
from twistcluster.nodes.slot_memory import OomKills
from twistcluster.nodes.slots import SlotProcess, surroundings
from twistcluster.nodes.stopped import is_stopped
from twistcluster.nodes.ticker import Ticker
from twistcluster.nodes.values_line import Missed
from twistcluster.storage.upkeep import Upkeep
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import (
    PROTOCOL,
    Bite,
    BiteDone,
    Bring,
    Brought,
    Goodbye,
    Hello,
    Message,
    Report,
    Welcome,
)

__all__ = ["SAMPLE_S", "WorkerNode"]

SAMPLE_S: Final = 0.02
"""Between two looks at the pages of slots that run something."""
STATE_S: Final = 1.0
"""Between two looks at the processes of slots whose pages don't change."""
MEMORY_SAMPLES: Final = (25, 5)
"""At so many of these their memory is looked at, too: twice a second, and ten times where it is limited."""


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
        on_end: called when the worker shall end, with the reason: the scheduler said so, or it was told to leave and is
            through.
        on_refused: called when the worker shall end because the scheduler doesn't want it (any more), with the reason.
        on_lost: called when the link to the scheduler is gone, with the reason.
        on_welcome: called when the scheduler took the worker.
        clock: seconds that never go back.
        memory: reads how much of its memory the host uses.
        memory_limit: bytes that a slot may use; 0: any.
        in_flight: is told which bites are in slots; None: nobody wants to know.
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
        on_refused: Callable[[str], None] = lambda _reason: None,
        on_lost: Callable[[str], None] = lambda _reason: None,
        on_welcome: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        memory: Callable[[], Memory | None] = host_memory,
        memory_limit: int = 0,
        in_flight: InFlight | None = None,
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
        self._on_refused = on_refused
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
        self._memory_limit = memory_limit
        self._ooms = OomKills()
        self._in_flight = in_flight
        self.missing: Missing = Missing(self.ask_for)
        """Where values come from that aren't in the store."""
        self._sampler: Timer | None = None
        self._states_at = 0.0
        self._samples = 0
        self._stopped: Deferred[None] | None = None
        self._started = False
        self._ending_turn = False

    def start(self, link: Channel, port: int = 0) -> None:
        """Start the slots, and say Hello on a link whose owner this node is. Again with each new link.

        Args:
            link: to the scheduler.
            port: where others fetch values that lie here; 0: nowhere.
        """
        self._link = link
        self._links += 1
        self.machine.pulse.beats = not link.local
        link.send(self._hello(port))
        if not self._started:
            self._started = True
            self._turn.run(lambda: self._apply(self.machine.start(self._ticker.now())))
            self._memory.start()

    def stop(self) -> Deferred[None]:
        """End all slots and the link; the Deferred fires when nothing of them is left, and what was said has left."""
        if self._stopped is None:
            self._stopped = Deferred()
            self._ticker.stop()
            self._memory.stop()
            if self._sampler is not None and self._sampler.active():
                self._sampler.cancel()
            for timer in self._starting.values():
                timer.cancel()
            self._starting.clear()
            if self._link is not None:
                if self._link.state is LinkState.OPEN:
                    self._link.send(Goodbye())
                self._link.close("the worker ends")
            for number in list(self._slots):
                self._kill(number)
            self._finish_stop()
        return self._stopped

    def leave(self) -> None:
        """Take nothing new, give back what hasn't started, finish what runs; `on_end` follows."""
        if self._stopped is None:
            self._turn.run(lambda: self._apply(self.machine.leave_soon(self._ticker.now())))

    def _hello(self, port: int) -> Hello:
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
            port=port,
        )

    # ---- the link's owner ------------------------------------------------------------------------------------------

    def on_message(self, link: Channel, message: Message, buffers: list[Buffer]) -> None:
        """The scheduler said something."""
        if link is self._link and self._stopped is None:
            if isinstance(message, Welcome):
                self.missing.joined(link, message, self._process)
                self._on_welcome()
            elif (rest := self.missing.heard(message)) is None:
                return
            else:
                message = rest
            self.machine.received(message, tuple(buffers), self._ticker.now(), more=True)
            self._end_turn_soon()

    def on_lost(self, link: Channel, reason: str) -> None:
        """The link is gone."""
        if link is not self._link:
            return
        self._link = None
        self.missing.left()
        if self._stopped is not None:
            self._finish_stop()
        else:
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
        if type(message) is Bring:
            self.missing.wanted(message.id, lambda missed: self._brought(number, message.id, missed))
        elif self._stopped is None:
            if self._in_flight is not None and type(message) is BiteDone:
                self._in_flight.done(number, message.bite)
            self.machine.slot_received(number, message, tuple(buffers), self._ticker.now(), more=True)
            self._end_turn_soon()

    def slot_died(self, number: int, reason: str, ordinal: int, last: LastWords) -> None:
        """A slot is dead."""
        if self._stopped is None:
            self._reaping[number] = self._slots.pop(number)
            if self._in_flight is not None:
                self._in_flight.gone(number)
            self._apply(self.machine.slot_died(number, reason, ordinal, self._ticker.now(), last))

    def slot_limited(self, number: int, reached: int) -> None:
        """A limit holds."""
        if self._stopped is None:
            self._apply(self.machine.limited(number, reached, self._ticker.now()))

    def slot_reaped(self, number: int) -> None:
        """Nothing of a slot is left."""
        self._reaping.pop(number, None)
        self._slots.pop(number, None)
        self._finish_stop()

    def ask_for(self, name: bytes) -> None:
        """The scheduler shall have a value brought."""
        if self._link is not None and self._link.state is LinkState.OPEN:
            self._link.send(Bring(name))
        else:
            self.missing.heard(Brought(name, there=False))

    def _brought(self, number: int, name: bytes, missed: Missed | None) -> None:
        """What a slot waited for is in the store, or nowhere to be had."""
        if (slot := self._slots.get(number)) is not None:
            slot.say(Brought(name, missed is None, "" if missed is None else missed.full), ())

    # ---- effects ---------------------------------------------------------------------------------------------------

    def _apply(self, effects: list[WorkerEffect]) -> None:
        for effect in effects:
            # Nearly all are of the first two kinds: a pattern would cost three times as much.
            if type(effect) is ToSlot:
                if (slot := self._slots.get(effect.slot)) is not None:
                    if self._in_flight is not None and type(effect.message) is Bite:
                        self._in_flight.given(effect.slot, effect.message)
                    slot.say(effect.message, effect.buffers)
                continue
            if type(effect) is Up:
                if self._link is not None and self._link.state is LinkState.OPEN:
                    if type(effect.message) is Report and effect.message.objects:
                        self.missing.made(effect.message.objects)
                    self._link.send(effect.message, effect.buffers)
                continue
            match effect:
                case LimitSlot(number, ordinal, answer):
                    if (slot := self._slots.get(number)) is not None:
                        slot.limit(ordinal, answer)
                case InterruptSlot(number, ordinal):
                    if (slot := self._slots.get(number)) is not None:
                        slot.interrupt(ordinal)
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
                case Ended(reason, refused):
                    self._turn.soon(functools.partial(self._on_refused if refused else self._on_end, reason))
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
            slot = SlotProcess(
                self._reactor, self._turn, self, number, self._environment, self.folder, self.store, self._ooms
            )
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
            if self._in_flight is not None:
                self._in_flight.gone(number)
            self._reaping[number] = slot
            slot.kill()

    def _finish_stop(self) -> None:
        linked = self._link is not None and not self._link.local
        if self._stopped is not None and not (self._stopped.called or self._slots or self._reaping or linked):
            self._stopped.callback(None)

    # ---- time ------------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        if self._stopped is None:
            if self._link is not None and self._link.anything_came():
                self.machine.pulse.bytes_came(self._ticker.now())
            self._turn.run(lambda: self._apply(self.machine.tick(self._ticker.now())))

    def _memory_seen(self, memory: Memory) -> None:
        self._turn.run(lambda: self._apply(self.machine.memory_seen(*memory, self._ticker.now())))

    def _sample(self) -> None:
        self._sampler = None
        self._turn.run(self._look_at_pages)

    def _look_at_pages(self) -> None:
        now = self._ticker.now()
        self._samples += 1
        look_at_memory = self._samples % MEMORY_SAMPLES[self._memory_limit > 0] == 0
        for number in self.machine.sampling:
            slot = self._slots.get(number)
            if slot is not None and self._stopped is None:
                if look_at_memory:
                    slot.look_at_memory(self._memory_limit)
                self._apply(self.machine.sampled(number, slot.ordinal, now))
        if now >= self._states_at + STATE_S:
            self._states_at = now
            for number in self.machine.stillness.worth_a_look(now):
                slot = self._slots.get(number)
                if slot is not None and self._stopped is None:
                    self._apply(self.machine.state_seen(number, is_stopped(slot.pid), now))
