"""The scheduler as a node: links carry events to its machine and effects away.

Owns: which link has which number, the machine's alarm, how busy this thread is, and what is said to all when the
cluster ends. Must not know: what the machine decides.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from twistcluster.core.effects import (
    Admit,
    Bring,
    Close,
    CopyOut,
    Effect,
    EndCluster,
    Log,
    Marks,
    ReadLog,
    Record,
    Remove,
    RemoveCopies,
    Rename,
    Send,
)
from twistcluster.core.jobs import Job
from twistcluster.core.rows import Change, EntryRow
from twistcluster.core.scheduler import Scheduler
from twistcluster.core.vigil import LOOK_S
from twistcluster.errors import ProtocolError, TwistclusterError
from twistcluster.net.channel import Channel
from twistcluster.net.states import LinkState
from twistcluster.net.turn import Turn
from twistcluster.net.unix import listen
from twistcluster.nodes.copyist import Copyist
from twistcluster.nodes.keeper import Keeper
from twistcluster.nodes.logging import log_event
from twistcluster.nodes.remote import RemotePeers
from twistcluster.nodes.ticker import Ticker
from twistcluster.nodes.values_line import Missed
from twistcluster.nodes.whereabouts import RETURNING_S
from twistcluster.storage.copies import Copied, Copies
from twistcluster.storage.journal import Journal
from twistcluster.storage.upkeep import Upkeep
from twistcluster.storage.values import ValueStore
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import Declined, Freed, Heartbeat, Hello, Join, Message, Refused, Stop, Stopping

if TYPE_CHECKING:
    from twistcluster.nodes.admission import Admission

__all__ = ["SchedulerNode"]

SHARE_SECONDS: Final = 0.5
"""How long the thread's own time is counted for one measure of how busy it is."""
RETRY_SECONDS: Final = 1.0

_log = Logger()


class SchedulerNode:
    """A scheduler on a reactor.

    Args:
        reactor: Twisted's.
        machine: the scheduler.
        turn: shared with the links of this process.
        on_end: called once when the cluster shall end, with the reason; everybody has been told then.
        clock: seconds that never go back.
        cpu_time: seconds that this thread has worked.
        store: the folder of this host's store; empty: there is none.
        journal: of the cluster; None: nothing is kept.
        admission: who may come from other machines; None: nobody.
    """

    def __init__(
        self,
        reactor: Any,
        machine: Scheduler,
        turn: Turn,
        on_end: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        cpu_time: Callable[[], float] = time.thread_time,
        store: str = "",
        journal: Journal | None = None,
        admission: "Admission | None" = None,
    ) -> None:
        self.machine = machine
        self._journal = journal
        self.owner_came = False
        """The client that says the owner's secret has connected."""
        self._reactor = reactor
        self._turn = turn
        self._on_end = on_end
        self._cpu_time = cpu_time
        self._clock = clock
        self._measured = clock(), cpu_time()
        self._life_at = 0.0
        self._ticker = Ticker(reactor, self._tick, clock)
        self._peers: dict[Channel, int] = {}
        self._links: dict[int, Channel] = {}
        self._hellos: dict[int, Hello] = {}
        self._last_peer = 0
        self._ended = False
        self._ending_turn = False
        self._waiting_for_all: list[Deferred[None]] = []
        self._port: Any = None
        self._admission = admission
        if admission is not None:
            admission.turn_out = self._turn_out
        self._values = ValueStore(store) if store else None
        self._remote: RemotePeers | None = None
        self._upkeep = Upkeep(store, known=machine.objects.counted) if store else None
        self._copyist = Copyist(reactor, Copies(journal.path, store), self._copied) if journal and store else None
        self._keeper = Keeper(reactor, self._upkeep, clock, self._is_short) if self._upkeep is not None else None
        self._arm()
        if self._keeper is not None:
            self._keeper.start()

    def listen(self, path: str) -> None:
        """Take connections on a Unix socket, and from other machines if they may come.

        Raises:
            CannotListenError: a port is taken, or an address isn't of this host.
        """
        self._port = listen(self._reactor, path, self, self._turn)
        if self._admission is not None:
            self._remote = RemotePeers(
                self._reactor,
                self,
                self._turn,
                self._values,
                is_counted=self.machine.objects.counted,
                denied=self._admission.denied,
                lost_after_s=self.machine.vigil.lost_after_s,
                family=self._admission.family,
                returning_s=RETURNING_S if len(self.machine.objects) else 0.0,
            )
            self._admission.open(self._remote, self._turn)

    @property
    def listens(self) -> str:
        """Where for other machines, as "tls:0.0.0.0:8930"; empty: it doesn't."""
        return "" if self._admission is None else self._admission.listen.text

    def all_gone(self) -> Deferred[None]:
        """Fires when no peer is linked any more."""
        gone: Deferred[None] = Deferred()
        if self._links:
            self._waiting_for_all.append(gone)
        else:
            gone.callback(None)
        return gone

    def end(self, reason: str) -> None:
        """Tell everybody that the cluster ends, close all links and listen no more."""
        if self._ended:
            return
        self._ended = True
        log_event("info", "cluster ends", {"reason": reason})
        self._ticker.stop()
        if self._keeper is not None:
            self._keeper.stop()
        if self._port is not None:
            self._port.stopListening()
        if self._admission is not None:
            self._admission.close()
        if self._remote is not None:
            self._remote.close()
        for peer, link in list(self._links.items()):
            link.send(Stopping(reason) if self._hellos[peer].role == "client" else Stop())
            link.close(reason)
        self._on_end(reason)

    # ---- the links' owner ----

    def on_message(self, link: Channel, message: Message, buffers: list[Buffer]) -> None:
        """A peer said something: the first message of each is `Hello`."""
        peer = self._peers.get(link)
        if peer is not None:
            self.machine.received(peer, message, tuple(buffers), self._ticker.now(), more=True)
            self._end_turn_soon()
        elif isinstance(message, Hello):
            self._meet(link, message)
        elif isinstance(message, Join) and self._admission is not None:
            self._admission.join(link, message)

    def on_lost(self, link: Channel, reason: str) -> None:
        """A link is gone."""
        peer = self._peers.pop(link, None)
        if peer is None:
            return
        del self._links[peer], self._hellos[peer]
        if not self._ended:
            self._apply(self.machine.disconnected(peer, self._ticker.now()))
        if not self._links:
            waiting, self._waiting_for_all = self._waiting_for_all, []
            for gone in waiting:
                gone.callback(None)

    def on_paused(self, link: Channel) -> None:
        """A peer reads slowly."""
        if (peer := self._peers.get(link)) is not None:
            self._apply(self.machine.paused(peer, self._ticker.now()))

    def on_resumed(self, link: Channel) -> None:
        """It has caught up."""
        if (peer := self._peers.get(link)) is not None:
            self._apply(self.machine.resumed(peer, self._ticker.now()))

    # ---- its own ----

    def _meet(self, link: Channel, hello: Hello) -> None:
        if hello.role == "values":  # over TLS: its owner there is another one
            link.send(Refused("malformed", "on one host values are read from the store"))
            link.close("it came for values")
            return
        if self._admission is not None and self._admission.is_denied(link):  # since its handshake
            self._turn_away(link)
            return
        self._last_peer += 1
        peer = self._last_peer
        self._peers[link] = peer
        self._links[peer] = link
        self._hellos[peer] = hello
        owner = self.machine.identity.owner
        if owner and hello.owner == owner:
            self.owner_came = True
        serial = "" if link.peer is None else link.peer.serial
        self._apply(self.machine.connected(peer, hello, self._ticker.now(), local=link.local, serial=serial))

    def _apply(self, effects: list[Effect]) -> None:
        for effect in effects:
            if type(effect) is Send:  # nearly all are: a pattern would cost three times as much
                self._send(*effect)
                continue
            match effect:
                case Close(peer, reason):
                    if (link := self._links.get(peer)) is not None:
                        link.close(reason)
                case Rename(made, name):
                    if self._upkeep is not None and not (self._remote is not None and self._remote.renamed(made, name)):
                        self._upkeep.rename(made, name)
                case Bring(name):
                    self._bring(name)
                case Remove(ids):
                    if self._remote is not None:
                        self._remote.freed(ids)
                    if self._upkeep is not None:
                        self._upkeep.remove(ids)
                case CopyOut(ids):
                    self._copy_out(ids)
                case RemoveCopies(ids):
                    if self._copyist is not None:
                        self._copyist.remove(ids)
                case Record(changes, marks):
                    self._record(changes, marks)
                case ReadLog(job, place, limit_bytes):
                    self._read_log(job, place, limit_bytes)
                case Admit():
                    self._admit(effect)
                case Log(level, event, fields):
                    log_event(level, event, fields)
                case EndCluster(reason):
                    # After this turn, so that what the machine says beside it leaves first.
                    self._turn.soon(lambda reason=reason: self.end(reason))  # type: ignore[misc]
        self._end_turn_soon()

    def _admit(self, asked: Admit) -> None:
        link = self._links.get(asked.peer)
        if self._admission is not None and link is not None:
            self._admission.asked(link, self._hellos[asked.peer], asked.request, asked.question)
        elif link is not None:
            text = (
                "This cluster takes nobody from other machines. One that does is started with listen='tls:0.0.0.0:8930', "
                "or `twistcluster start NAME --listen tls:0.0.0.0:8930`."
            )
            link.send(Declined(asked.request, "invalid", text))

    def _turn_out(self) -> int:
        """Close the links of members that are denied."""
        assert self._admission is not None
        denied = [link for link in self._peers if self._admission.is_denied(link)]
        for link in denied:
            self._turn_away(link)
        if self._remote is not None:
            for line in self._remote.value_links():
                if self._admission.is_denied(line):
                    line.close("its certificate was denied")
            self._remote.shut_out()
        return len(denied)

    def _turn_away(self, link: Channel) -> None:
        text = (
            "this program's certificate was denied (`twistcluster deny`): if that was a mistake, join with a new token"
        )
        link.turn_out(Refused("access", text), "its certificate was denied")

    def _record(self, changes: list[Change], marks: Marks) -> None:
        if self._journal is not None:
            self._journal.record(changes, lambda error: self._recorded(marks, error))

    def _recorded(self, marks: Marks, error: TwistclusterError | None) -> None:
        if error is not None:
            log_event("error", "what was decided could not be recorded", {"error": error})
        elif not self._ended:
            self._apply(self.machine.recorded(marks, self._ticker.now()))

    def _bring(self, name: bytes) -> None:
        def done(missed: Missed | None) -> None:
            if not self._ended:
                full = "" if missed is None else missed.full
                self._apply(self.machine.brought(name, self._ticker.now(), there=missed is None, full=full))

        if self._remote is not None:
            self._remote.bring(name, done)
        else:
            there = self._values is not None and self._values.has(name)
            self._turn.soon(lambda: done(None if there else Missed()))

    def _copy_out(self, ids: list[bytes]) -> None:
        if self._copyist is not None:
            if self._remote is None:
                self._copyist.copy(ids)
            else:
                self._remote.bring_all(ids, lambda: self._copyist.copy(ids))  # type: ignore[union-attr]
        else:  # without a store there is nothing to copy
            self._turn.soon(lambda: self._copied(Copied([], ids, [])))

    def _copied(self, done: Copied) -> None:
        if not self._ended:
            self._apply(self.machine.copied(*done, self._ticker.now()))

    def _read_log(self, job: Job, place: int, limit_bytes: int) -> None:
        assert self._journal is not None

        def read(rows: list[EntryRow] | TwistclusterError) -> None:
            if isinstance(rows, TwistclusterError):
                log_event("error", "the journal can't be read", {"job": job.title, "error": rows})
                rows = []
            if not self._ended:
                self._apply(self.machine.read(job, rows, self._ticker.now()))

        self._journal.read_log(job.key, place, limit_bytes, read)

    def trouble(self, error: TwistclusterError) -> None:
        """The journal can't be written now, or not any more."""
        log_event("error", "the journal can't be written", {"error": error})
        self._apply(self.machine.journal_trouble(str(error), self._ticker.now()))

    def recovered(self) -> None:
        """It can be written again, and nothing was lost."""
        log_event("info", "the journal can be written again", {})
        self._apply(self.machine.journal_trouble("", self._ticker.now()))

    def _send(self, peer: int, message: Message, buffers: tuple[Buffer, ...]) -> None:
        if self._remote is not None and isinstance(message, Freed):
            self._remote.freed(message.ids)
        link = self._links.get(peer)
        if link is None:
            return
        try:
            link.send(message, buffers)
        except ProtocolError as error:
            log_event("error", "a message could not be sent", {"peer": peer, "error": error})
            link.close(str(error))

    def _end_turn_soon(self) -> None:
        if not self._ending_turn:
            self._ending_turn = True
            self._turn.soon(self._end_turn)

    def _end_turn(self) -> None:
        """Once a turn, after all that came in it."""
        if not self._ended:
            self._apply(self.machine.end_turn(self._ticker.now()))
        self._ending_turn = False
        self._arm()

    def _arm(self) -> None:
        if not self._ended:
            self._ticker.wake_at(self.machine.next_tick())

    def _is_short(self) -> bool:
        """Whether a worker's host is short of memory."""
        return any(worker.short for worker in self.machine.leasing.workers.values())

    def _look_for_life(self) -> None:
        """Once a second: which links bytes came on. Members elsewhere whose words stand behind a long one are answered now:
        their heartbeats do, too.
        """
        if (now := self._clock()) < self._life_at:
            return
        self._life_at = now + LOOK_S
        came = {peer: link for peer, link in self._links.items() if link.anything_came()}
        for link in came.values():
            if link.peer is not None and link.receiving and link.state is LinkState.OPEN:
                link.send(Heartbeat())
        self.machine.vigil.bytes_came(came)

    def _tick(self) -> None:
        self._measure()
        try:
            self._turn.run(self._look_for_life)
            self._turn.run(lambda: self._apply(self.machine.tick(self._ticker.now())))
        except Exception:
            # A fault of ours; without an alarm the cluster would never do anything by itself again.
            _log.failure("a tick failed; the next is in a second")
            self._ticker.wake_at(self._ticker.now() + RETRY_SECONDS)

    def _measure(self) -> None:
        """Half of the last measure, half of what was since."""
        now, worked = self._clock(), self._cpu_time()
        since, worked_before = self._measured
        if now - since >= SHARE_SECONDS:
            share = (worked - worked_before) / (now - since)
            self.machine.busy_share = min(1.0, (self.machine.busy_share + share) / 2)
            self._measured = now, worked
