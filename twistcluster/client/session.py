"""A client's link to one cluster: opened, asked, listened to, lost, and perhaps there again.

Jobs are known by their numbers on the link; what comes for a number goes to its record. When the link to a cluster with a
journal is lost, it is looked for (returning.py), and meanwhile all that is asked waits; else every job that isn't over
fails with `ClusterUnreachable`. All of it happens on the reactor's thread, but for what other threads ask: those methods
say so by what they return at once, or a `Reply`. Owns: that. Must not know: how jobs are made (opening.py), how a
cluster is started (launch.py), what a job's user sees.
"""

import contextlib
import itertools
import logging
import os
import pathlib
import platform
import socket
import sys
import time
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future as Reply
from typing import Any, cast

from twisted.internet.defer import Deferred, ensureDeferred

from twistcluster.client import bridge, upkeep, views
from twistcluster.client.brought import BroughtValues
from twistcluster.client.handles import ClientStore, StoreElsewhere
from twistcluster.client.holdings import Holdings
from twistcluster.client.inbox import Inbox
from twistcluster.client.launch import Connection
from twistcluster.client.outbox import Outbox, Parts
from twistcluster.client.patience import answer_of
from twistcluster.client.records import JobRecord
from twistcluster.client.remade import Remade
from twistcluster.client.requests import Answered, Request, Requests, answer_to
from twistcluster.client.results import ItemFailure
from twistcluster.client.returning import Deaths, Search, held, offer
from twistcluster.client.shelf import Shelf
from twistcluster.client.unkept import NO_JOURNAL
from twistcluster.client.ways import way_to
from twistcluster.errors import (
    AccessDenied,
    ClusterUnreachable,
    ProtocolError,
    TwistclusterError,
    VersionMismatch,
)
from twistcluster.net.channel import Channel
from twistcluster.net.turn import Turn
from twistcluster.net.version import VERSION
from twistcluster.nodes.packages import packages
from twistcluster.storage.values import Readable, ValueStore, usable
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import (
    PROTOCOL,
    Adopt,
    Answer,
    Ask,
    Declined,
    Drop,
    ForgetJob,
    Goodbye,
    Hello,
    Keep,
    KeepJob,
    Message,
    Question,
    Refused,
    Resumed,
    StepDone,
    Stopping,
    Stored,
    Welcome,
)
from twistcluster.wire.values import Definitions

__all__ = ["Session", "python_version"]

WELCOME_SECONDS = 15.0

_log = logging.getLogger("twistcluster")
_sessions: "weakref.WeakSet[Session]" = weakref.WeakSet()
_REFUSED: dict[str, type[TwistclusterError]] = {
    "protocol": VersionMismatch,
    "python": VersionMismatch,
    "access": AccessDenied,
}


class Session:
    """A link to a cluster.

    Args:
        connection: Where it is.
        definitions: This process's book of class definitions.
        owner: The secret of an owned cluster, if this process started it.
    """

    store: ClientStore

    def __init__(self, connection: Connection, definitions: Definitions, owner: str = "") -> None:
        self.connection = connection
        self.definitions = definitions
        self.owned = bool(owner)
        self.id = uuid.uuid4().hex
        self.values = open_store(connection.store)
        if self.values is not None:
            self.values.restore = Remade(self.ask).wait
            bridge.call(lambda: upkeep.begin(bridge.reactor()))
        self.store = (
            StoreElsewhere(definitions, self.dropped_value)
            if connection.address
            else ClientStore(self.values, definitions, self.dropped_value)
        )
        self.shelf = Shelf(self)
        self.lost: TwistclusterError | None = None
        self._numbers = itertools.count(1)
        self._released: deque[int] = deque()
        self._dropped_values: deque[bytes] = deque()
        self._telling = False
        """What was let go of is about to be told."""
        self._turn = Turn(bridge.reactor())
        self._brought = (
            BroughtValues(connection.address, self._turn, Remade(self.ask).wait, self.dropped_value)
            if connection.address
            else None
        )
        self.reads: Readable | None = self._brought or self.values
        self._way = way_to(connection, self, self._turn, bridge.reactor())
        self._link = self._way.link
        self._links = 0
        self._outbox = Outbox(definitions)
        self._holdings = Holdings()
        self._requests = Requests(self._outbox)
        self._welcome: Deferred[None] = Deferred()
        self._deaths = Deaths()
        self._search: Search | None = None
        """The link is lost, and the cluster is looked for."""
        self._returning: list[JobRecord] = []
        """What was said to be held, until the answer comes."""
        self._closing = ""
        self._close_when_idle = False
        self._owner = owner
        self._handlers: dict[type[Message], Callable[[Any, list[Buffer]], None]] = {
            **Inbox(
                self.shelf,
                definitions,
                self.do,
                self.values,
                self.dropped_value if self._brought is None else self._brought.dropped,
                self._holdings,
                self._outbox.unkept,
            ).handlers,
            Answer: self._requests.answered,
            Declined: self._requests.declined,
            StepDone: self._requests.step_done,
            Resumed: self._resumed,
            Stopping: self._stopping,
            Welcome: self._welcomed,
            Refused: self._refused,
        }

    # ---- from any thread -------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Connect and wait for `Welcome`."""
        reply = bridge.reply_of(lambda: ensureDeferred(self._connect()))
        answer_of(reply)
        _sessions.add(self)

    @property
    def away(self) -> bool:
        """The link is lost, and the cluster is looked for."""
        return self._search is not None

    @property
    def state(self) -> str:
        """For people."""
        return "lost" if self.lost else "looking for it" if self.away else "connected"

    def next_number(self) -> int:
        """A number for a job. The jobs must be opened in the order of their numbers."""
        return next(self._numbers)

    def id_of(self, number: int) -> str:
        """What the cluster calls the job of this number."""
        return f"{self.id[:12]}.1-{number}"

    def check(self) -> None:
        """Raise if the link is gone."""
        if self.lost is not None:
            raise type(self.lost)(str(self.lost))

    def do(self, action: Callable[[Outbox], object]) -> None:
        """Send something, after what was sent before."""

        def run() -> None:
            if self.lost is None:
                self._turn.run(self._act, action)
            else:  # what was opened just when the link was lost
                self._lose_open(self.lost)

        bridge.call(run)

    def soon(self, call: Callable[[], object]) -> None:
        """Do something on the reactor's thread, when what was sent before has left."""
        bridge.call(call)

    def told(self, outbox: Outbox, stored: list[Stored], parts: Sequence[Buffer] = ()) -> None:
        """This program made these values, and may ask for them. `parts` of one that is to be sent."""
        self._holdings.told(stored, parts)
        outbox.send(Keep(stored), parts)

    def ask(self, question: Question, parts: Parts | None = None) -> Reply[Answered]:
        """Ask the scheduler."""
        return self._request(lambda number: Ask(number, question), parts)

    def adopt(self, record: JobRecord, name: str) -> Reply[Answered]:
        """Be told of a job that another client sent."""
        self.shelf.add(record)
        return self._request(lambda number: Adopt(number, record.number, name), None)

    def wait_for_all(self) -> None:
        """Wait for the end of all jobs."""
        while records := self.shelf.open():
            for record in records:
                record.wait(ending=True)

    def cancel_all(self) -> None:
        """Cancel all jobs."""
        for record in self.shelf.open():
            record.cancel()

    def close(self, reason: str, *, when_idle: bool = False) -> None:
        """End the link, once what was sent has left, and (`when_idle`) once all jobs are over."""

        def run() -> None:
            self._closing = reason
            self._close_when_idle = True
            for record in self.shelf.open():
                record.hurry(ending=True)
            if not when_idle or not self.shelf.open():
                self._close()

        bridge.call(run)

    def _close(self) -> None:
        if self.lost is None:
            if self._search is None:
                self._link.send(Goodbye())
            self._link.close(self._closing)
            self._gone(self._lost_error())

    def forked(self) -> None:
        """In a forked child: let go of the socket (its number stays taken, as others will close it once more)."""
        self.shelf.forked()
        wire: Any = self._link.transport
        if self.lost is None and wire is not None:
            nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            os.dup2(nothing, wire.fileno(), inheritable=False)
            os.close(nothing)

    # ---- for records (Line) ----------------------------------------------------------------------------------------

    def cancel(self, number: int, start: int, stop: int | None) -> None:
        """Items of a job shall not start, and those that run shall stop."""
        self.do(lambda outbox: outbox.cancel(number, start, stop))

    def retry(self, record: JobRecord) -> None:
        """The failed items of a job again."""
        self.shelf.add(record)
        self.do(lambda outbox: outbox.retry(record.number))

    def forget(self, record: JobRecord) -> None:
        """The cluster lets go of a job."""
        answer_to(self.ask(ForgetJob(record.id)))
        self.shelf.forget(record)

    def keep_results(self, record: JobRecord) -> None:
        """The cluster keeps a job's large results on its disk, too."""
        if not self._outbox.unkept.on:
            raise ValueError(NO_JOURNAL)
        answer_to(self.ask(KeepJob(record.id)))

    def over(self, record: JobRecord) -> None:
        """A job came to its end."""
        self._outbox.over(record.number)
        self.shelf.over(record)
        if self._close_when_idle and not self.shelf.open():
            self._close()

    def first_error(self, record: JobRecord, failure: ItemFailure) -> None:
        """A job's first error shows at once."""
        views.backend().error_job(record, failure.index, failure.info)

    def dropped(self, number: int) -> None:
        """Nobody asks about a job any more: the scheduler, which may hold its results, hears of it.

        Called by the garbage collector, in any thread, with any lock held.
        """
        self._released.append(number)
        self._tell_soon()

    def dropped_value(self, name: bytes) -> None:
        """Nobody here asks for a value in the store any more. Called by the garbage collector, as `dropped` is."""
        self._dropped_values.append(name)
        self._tell_soon()

    def _tell_soon(self) -> None:
        # Seen as set, what was appended before is told too: it is unset before the queues are read.
        if not self._telling and self.lost is None:
            self._telling = True
            with contextlib.suppress(Exception):  # the program ends, or was forked
                bridge.call(self._tell_dropped)

    def _tell_dropped(self) -> None:
        self._telling = False
        self._turn.run(self._say_dropped)

    def _say_dropped(self) -> None:
        if self.lost is not None:
            return
        self._say_released()
        dropped = [self._dropped_values.popleft() for _ in range(len(self._dropped_values))]
        if dropped:
            self._holdings.dropped(dropped)
            self._outbox.send(Drop(dropped))

    def _say_released(self) -> None:
        if self._outbox.attached:
            while self._released:
                self._outbox.release(self._released.popleft())

    def keep(self, kept: object) -> None:
        """Keep something findable."""
        self.shelf.keep(kept)

    def fetched(self, record: JobRecord) -> None:
        """Somebody took all results of a job."""
        self.shelf.fetched(record)

    # ---- the link --------------------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        reactor = bridge.reactor()
        self._links += 1
        await self._way.connect()
        self._link.send(self._hello())
        late = reactor.callLater(WELCOME_SECONDS, self._no_welcome)
        try:
            await self._welcome
        finally:
            if late.active():
                late.cancel()

    def _hello(self) -> Hello:
        return Hello(
            protocol=PROTOCOL,
            role="client",
            python=python_version(),
            version=VERSION,
            process=self.id,
            link=self._links,
            host=socket.gethostname(),
            pid=os.getpid(),
            name=client_name(),
            packages=packages(),
            owner=self._owner,
        )

    def _no_welcome(self) -> None:
        self._link.close("no answer")
        self._not_welcome(ClusterUnreachable(f"the cluster didn't answer within {WELCOME_SECONDS:g} s{self._where()}"))

    def _welcomed(self, message: Welcome, _: list[Buffer]) -> None:
        self._outbox.unkept.on = message.journal
        if self._search is None:
            self._outbox.attach(self._link)
        else:
            self._returning = [record for record in self.shelf.held() if record.number and record.id]
            self._link.send(held(self._returning, self._holdings.sent()))
        if self._brought is not None:
            cast("StoreElsewhere", self.store).is_there = message.store
            if message.store:
                self._brought.joined(self.id)
        self._welcome.callback(None)

    def _refused(self, message: Refused, _: list[Buffer]) -> None:
        self._not_welcome(_REFUSED.get(message.code, ClusterUnreachable)(message.message))

    def _not_welcome(self, error: TwistclusterError) -> None:
        if self._search is not None and not self._welcome.called:
            self._welcome.errback(error)
        else:
            self._gone(error)

    # ---- lost and found --------------------------------------------------------------------------------------------

    def connect_again(self, connection: Connection) -> Reply[None]:
        """Connect to the cluster that came back."""

        async def run() -> None:
            if self.lost is not None:
                return
            if connection.store != self.connection.store:
                raise TwistclusterError("its store of large values is another one now")
            self.connection = connection
            self._way = way_to(connection, self, self._turn, bridge.reactor())
            self._link = self._way.link
            self._welcome = Deferred()
            await self._connect()

        return bridge.reply_of(lambda: ensureDeferred(run()))

    def give_up(self, reason: str) -> None:
        """It won't come back."""

        def run() -> None:
            self._closing = reason
            self._gone(self._lost_error())

        bridge.call(run)

    def _away(self, reason: str) -> None:
        """The link is lost: look for the cluster, and tell who waits."""
        self._outbox.detach()
        self._requests.lost()
        for record in self.shelf.open():
            record.goes_on(0, "its cluster can't be reached: it goes on when that is back")
        _log.warning("the link to the cluster %r is lost (%s): looking for it", self.connection.name, reason)
        self._search = Search(self, reason, self._deaths.pause(time.monotonic()))
        self._search.start()

    def _resumed(self, message: Resumed, _: list[Buffer]) -> None:
        """The scheduler said what it knows: it is told the rest, and all goes on."""
        if self._search is None:
            raise ProtocolError("Resumed was not asked for")
        self._search = None
        self._deaths.back(time.monotonic())
        records, self._returning = self._returning, []
        outbox = self._outbox
        outbox.attach(self._link)
        offer(records, message, outbox, self._holdings)
        self._say_released()
        self._requests.resume()
        count = len(self.shelf.open())
        jobs = f": {count} job{'s go' if count != 1 else ' goes'} on" if count else ""
        _log.warning("the cluster %r is back%s", self.connection.name, jobs)

    def on_message(self, link: Channel, message: Message, buffers: list[Buffer]) -> None:
        """The scheduler said something."""
        self._handlers[type(message)](message, buffers)

    def on_lost(self, link: Channel, reason: str) -> None:
        """The link is gone."""
        if link is not self._link or self.lost is not None:
            return
        if self._brought is not None:
            self._brought.left()
        if bridge.ends() or (self._search is None and (self._closing or not self._outbox.unkept.on)):
            self._closing = self._closing or reason
            self._gone(self._denied() or self._lost_error())
        elif self._search is not None and not self._welcome.called:
            gone = ClusterUnreachable(f"the link to {self.connection.name!r} is gone: {reason}")
            self._welcome.errback(self._denied() or gone)
        else:
            self._away(reason)

    def on_paused(self, link: Channel) -> None:
        """Nothing is held back: what was packed is in memory anyway."""

    def on_resumed(self, link: Channel) -> None:
        """See `on_paused`."""

    def _stopping(self, message: Stopping, _: list[Buffer]) -> None:
        self._closing = f"it ended ({message.reason})"

    def _gone(self, error: TwistclusterError) -> None:
        if self.lost is not None:
            return
        self.lost = error
        if self._search is not None:
            self._search.stop()
            self._search = None
        self._outbox.detach()
        self._lose_open(error)
        self._requests.fail(error)
        if not self._welcome.called:
            self._welcome.errback(error)
        if self.values is not None:
            self.values.close()
        if self._brought is not None:
            self._brought.close()

    def _lose_open(self, error: TwistclusterError) -> None:
        for record in self.shelf.open():
            record.was_lost(error)

    def _denied(self) -> AccessDenied | None:
        """Not lost, but refused: in TLS that comes after the handshake."""
        fault = self._link.fault
        return AccessDenied(f"{self.connection.address}: {fault}") if isinstance(fault, AccessDenied) else None

    def _lost_error(self) -> ClusterUnreachable:
        name = self.connection.target
        what = f"the link to the cluster {name!r} is gone" if name else "the link to the cluster is gone"
        again = (
            f"tc.connect({name!r}) attaches again if it still runs"
            if name
            else f"tc.Cluster() starts another{self._where()}"
        )
        return ClusterUnreachable(f"{what}: {self._closing}.\n{again}")

    def _where(self) -> str:
        return f" (its log: {self.connection.log})" if self.connection.log else ""

    # ---- sending ---------------------------------------------------------------------------------------------------

    def _act(self, action: Callable[[Outbox], object]) -> None:
        action(self._outbox)
        if self._released:
            self._say_released()

    def _request(self, message: Callable[[int], Message], parts: Parts | None) -> Reply[Answered]:
        self.check()
        request = Request(message, parts)

        def run() -> None:
            if self.lost is None:
                self._requests.ask(request)
            elif request.wanted():
                request.reply.set_exception(self.lost)

        bridge.call(lambda: self._turn.run(run))
        return request.reply


def open_store(path: str) -> ValueStore | None:
    """The host's store, if the cluster has one that this process may use."""
    return ValueStore(folder) if (folder := usable(path)) else None


def python_version() -> str:
    """The minor version, as peers compare it."""
    return ".".join(platform.python_version_tuple()[:2])


def client_name() -> str:
    """What other people see of this client: its notebook's or script's name."""
    name = os.environ.get("JPY_SESSION_NAME") or (sys.argv[0] if sys.argv else "")
    return f"{pathlib.PurePath(name).name} ({os.getpid()})" if name and name != "-c" else ""


def _after_fork() -> None:
    """A forked child lets go of its parent's links: they would stay open as long as it lives."""
    for session in list(_sessions):
        session.forked()


os.register_at_fork(after_in_child=_after_fork)
