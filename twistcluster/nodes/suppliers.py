"""Where a worker on another host gets values from that it doesn't have, and who gets them from it.

A value lies in the store of the host where it was made. The scheduler knows where that is: it is asked first, and hands
out what its own host has. What another worker has is fetched from that one, over TLS, with the certificates that both
have of the cluster. Where they can't meet (a firewall, two networks), the scheduler is asked to fetch it first. A
connection that is lost is made again, and the value goes on where it was.

Owns: these connections, the port at which others come, which value is wanted and from whom. Must not know: where values
lie here (nodes/fetched.py), what they are for.
"""

import functools
import os
import socket
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from twisted.internet.defer import ensureDeferred
from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure

from twistcluster.errors import TwistclusterError
from twistcluster.net.addresses import Address, parse_address
from twistcluster.net.channel import Channel
from twistcluster.net.link import Link
from twistcluster.net.tls.ends import ClientEnd, ServerEnd
from twistcluster.net.tls.identity import Identity
from twistcluster.net.tls.links import connect_tls, listen_tls
from twistcluster.net.turn import Timer, Turn
from twistcluster.net.version import VERSION
from twistcluster.nodes.hosting import python_version
from twistcluster.nodes.logging import log_event
from twistcluster.nodes.values_line import Coming, Done, Missed, ValuesLine
from twistcluster.storage.values import Held
from twistcluster.wire.codec import Codec
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import PROTOCOL, Absent, At, Hello, Message, ValuesMessage, Welcome

__all__ = ["Suppliers"]

TRIES: Final = 3
"""Connections to another worker for one value; then it comes through the scheduler."""
PAUSES_S: Final = (0.1, 5.0)
"""Before the scheduler is called again for values: at first, and at most."""
IDLE_S: Final = 60.0
"""After which a connection to another worker is closed over which nothing goes."""
CONNECT_S: Final = 5.0

_incoming: Codec = Codec(ValuesMessage)


@dataclass(slots=True, eq=False)
class _Wanted:
    coming: Coming
    done: list[Done] = field(default_factory=list)
    line: ValuesLine | None = None
    """Where it was asked for; None: nowhere yet."""
    tries: int = 0
    """At other workers."""

    def ask(self, line: ValuesLine) -> None:
        self.line = line
        line.ask(self.coming)


class Suppliers:
    """Of one worker.

    Args:
        reactor: Twisted's.
        turn: shared with the other links of this process.
        scheduler: its address.
        identity: gives what this worker shows, as it is now.
        read: gives a value that is here, by its id.
        keep: stores a value that came: id, pieces, sizes of its parts; tells whether it is there then.
        lost_after_s: how much silence is a loss.
        meets: whether other workers are called; else all comes through the scheduler.
    """

    def __init__(
        self,
        reactor: Any,
        turn: Turn,
        scheduler: Address,
        identity: Callable[[], Identity],
        *,
        read: Callable[[bytes], Held | None],
        keep: Callable[[bytes, Sequence[Buffer], Sequence[int], Done], None],
        lost_after_s: float,
        meets: bool = True,
    ) -> None:
        self._reactor = reactor
        self._turn = turn
        self._address = scheduler
        self._identity = identity
        self._read = read
        self._keep = keep
        self._lost_after_s = lost_after_s
        self._meets = meets
        self._wanted: dict[bytes, _Wanted] = {}
        self._process = uuid.uuid4().hex
        self._scheduler: ValuesLine | None = None
        """Open, or about to be."""
        self._again: Timer | None = None
        self._pause_s = PAUSES_S[0]
        self._active = False
        self._others: dict[str, ValuesLine] = {}
        """By address: connections that this worker made."""
        self._open: set[ValuesLine] = set()
        self._guests: dict[Channel, ValuesLine] = {}
        """Of others who fetch here."""
        self._denied: frozenset[str] = frozenset()
        self._port: Any = None
        self._end: ServerEnd | None = None
        self._sweeping: Timer | None = None
        self._unused: set[ValuesLine] = set()

    # ---- with the link to the scheduler ----

    def listen(self, host: str, port: int = 0) -> int:
        """Let others fetch here, at this address of this host and this port, or any.

        Returns:
            The port; 0 where that can't be.
        """
        if self._port is not None and self._port.getHost().host == host:
            return int(self._port.getHost().port)
        self._stop_listening()
        self._end = ServerEnd(self._identity(), lambda serial: serial in self._denied)
        try:
            self._port = listen_tls(self._reactor, host, port, self, self._turn, self._end)
        except (CannotListenError, OSError) as error:
            log_event("warning", "others can't fetch values here: they go through the scheduler", {"error": error})
            return 0
        return int(self._port.getHost().port)

    def joined(self, process: str) -> None:
        """The scheduler has taken the worker, whose process has this name."""
        self._process = process
        self._active = True
        self._pause_s = PAUSES_S[0]
        if self._end is not None:
            self._end.renew(self._identity())
        self._call_scheduler()
        if self._sweeping is None:
            self._sweeping = self._reactor.callLater(IDLE_S, self._sweep)

    def left(self) -> None:
        """The link to the scheduler is lost: nothing is wanted until there is a new one."""
        self._active = False
        wanted, self._wanted = self._wanted, {}
        for each in wanted.values():
            _tell(each, Missed())
        if self._scheduler is not None:
            self._scheduler.close("the link to the scheduler is lost")
        if self._again is not None and self._again.active():
            self._again.cancel()
        self._again = None

    def close(self) -> None:
        """The worker ends."""
        self.left()
        self._stop_listening()
        if self._sweeping is not None and self._sweeping.active():
            self._sweeping.cancel()
        for line in [*self._open, *self._guests.values()]:
            line.close("the worker ends")

    @property
    def busy(self) -> bool:
        """A connection for values is open."""
        return bool(self._open or self._guests)

    def shut_out(self, serials: Sequence[str]) -> None:
        """These certificates are denied."""
        self._denied = frozenset(serials)
        for line in [*self._guests.values(), *self._others.values()]:
            if line.peer is not None and line.peer.serial in self._denied:
                line.close("its certificate was denied")

    # ---- fetching ----

    def fetch(self, name: bytes, done: Done) -> None:
        """Get a value; `done` is told whether it is here."""
        wanted = self._wanted.get(name)
        if wanted is not None:
            wanted.done.append(done)
        elif not self._active:
            done(Missed())
        else:
            wanted = self._wanted[name] = _Wanted(Coming(name, through=not self._meets), [done])
            self._ask_scheduler(wanted)

    def forget(self, name: bytes) -> None:
        """Nobody needs this value any more."""
        if (wanted := self._wanted.pop(name, None)) is not None:
            _tell(wanted, Missed())

    def begin_anew(self, name: bytes) -> None:
        """What came of this value so far counts no more: it was made again."""
        if (wanted := self._wanted.get(name)) is not None:
            wanted.coming = Coming(name, through=not self._meets)
            wanted.tries = 0
            self._ask_scheduler(wanted)

    def _ask_scheduler(self, wanted: _Wanted) -> None:
        wanted.line = None
        if self._scheduler is not None:
            wanted.ask(self._scheduler)
        # else it is asked once there is a connection again

    def _settled(self, line: ValuesLine, coming: Coming, outcome: At | Absent | None) -> None:
        wanted = self._wanted.get(coming.name)
        if wanted is None or wanted.coming is not coming:  # nobody needs it any more
            return
        match outcome:
            case None:
                self._keep(coming.name, coming.pieces, coming.sizes, lambda missed: self._kept(wanted, missed))
            case At(where=where):
                self._ask_at(where, wanted)
            case Absent(full=full) if line is self._scheduler:
                self._kept(wanted, Missed(full))
            case Absent():
                self._through(wanted)

    def _kept(self, wanted: _Wanted, missed: Missed | None) -> None:
        if self._wanted.get(wanted.coming.name) is wanted:  # else nobody needs it any more
            del self._wanted[wanted.coming.name]
            _tell(wanted, missed)

    def _through(self, wanted: _Wanted) -> None:
        """Have the scheduler fetch it."""
        wanted.coming.through = True
        self._ask_scheduler(wanted)

    # ---- other workers ----

    def _ask_at(self, where: str, wanted: _Wanted) -> None:
        wanted.tries += 1
        if wanted.tries > TRIES:
            self._through(wanted)
        else:
            if (line := self._others.get(where)) is None:
                line = self._connect(where)
            wanted.ask(line)

    def _connect(self, where: str) -> ValuesLine:
        line = self._others[where] = self._line(functools.partial(self._other_lost, where), read=lambda _name: None)
        try:
            address = parse_address(where)
            end = ClientEnd(self._identity(), "worker")
        except (ValueError, TwistclusterError) as error:
            why = str(error)
            self._turn.soon(lambda: line.on_lost(None, why))
        else:
            self._begin(line, address, end)
        return line

    def _other_lost(self, where: str, line: ValuesLine, reason: str, coming: list[Coming]) -> None:
        if self._others.get(where) is line:
            del self._others[where]
        met = line in self._open
        self._open.discard(line)
        for each in coming:
            wanted = self._wanted.get(each.name)
            if wanted is None or wanted.line is not line:
                continue
            if met:
                self._ask_at(where, wanted)
            else:
                log_event("info", "a worker can't be reached: its values come through the scheduler", {"why": reason})
                self._through(wanted)

    def _sweep(self) -> None:
        """Close connections over which nothing went since the last time."""
        self._sweeping = self._reactor.callLater(IDLE_S, self._sweep)
        idle = {line for line in self._others.values() if line.idle}
        for line in idle & self._unused:
            line.close("nothing went over it for a while")
        self._unused = idle

    # ---- the scheduler ----

    def _call_scheduler(self) -> None:
        self._again = None
        if self._scheduler is None and self._active:
            line = self._scheduler = self._line(self._scheduler_lost, self._read)
            for wanted in self._wanted.values():
                if wanted.line is None:
                    wanted.ask(line)
            self._begin(line, self._address, ClientEnd(self._identity()))

    def _scheduler_lost(self, line: ValuesLine, reason: str, _coming: list[Coming]) -> None:
        self._scheduler = None
        if line in self._open:
            self._open.remove(line)
            self._pause_s = PAUSES_S[0]
        for wanted in self._wanted.values():
            if wanted.line is line:
                wanted.line = None
        if self._active:
            log_event("info", "the connection for values was lost", {"reason": reason, "again_in_s": self._pause_s})
            self._again = self._reactor.callLater(self._pause_s, self._call_scheduler)
            self._pause_s = min(self._pause_s * 2, PAUSES_S[1])

    # ---- connections ----

    def _line(
        self, lost: Callable[[ValuesLine, str, list[Coming]], None], read: Callable[[bytes], Held | None]
    ) -> ValuesLine:
        return ValuesLine(
            self._reactor,
            read=read,
            elsewhere=lambda line, give: line.say(Absent(give.id)),
            settled=self._settled,
            lost=lost,
            lost_after_s=self._lost_after_s,
        )

    def _begin(self, line: ValuesLine, address: Address, end: ClientEnd) -> None:
        """Connect; `line` hears how it went."""
        link = Link(line, self._turn, self._reactor, _incoming)

        def failed(failure: Failure) -> None:
            line.on_lost(link, failure.getErrorMessage())

        def connected(_link: Link) -> None:
            link.send(self._hello())
            self._open.add(line)
            line.begin(link, taken=False)
            if link.peer is not None and link.peer.serial in self._denied:
                line.close("its certificate was denied")

        connecting = ensureDeferred(
            connect_tls(self._reactor, address.host, address.port, link, end, timeout_s=CONNECT_S)
        )
        connecting.addCallbacks(connected, failed)

    def _hello(self) -> Hello:
        return Hello(
            protocol=PROTOCOL,
            role="values",
            python=python_version(),
            version=VERSION,
            process=self._process,
            link=0,
            host=socket.gethostname(),
            pid=os.getpid(),
        )

    # ---- the owner of links that others make ----

    def on_message(self, link: Any, message: Message, buffers: list[Buffer]) -> None:
        """Somebody who fetches said something."""
        line = self._guests.get(link)
        if line is not None:
            line.on_message(link, message, buffers)
        elif isinstance(message, Hello) and message.role == "values":
            line = self._guests[link] = self._line(lambda *_: None, self._read)
            link.send(Welcome("", "", "", python_version(), VERSION))
            line.begin(link, taken=True)
        else:
            link.close("only values can be had here")

    def on_lost(self, link: Channel, reason: str) -> None:
        """They are gone."""
        if (line := self._guests.pop(link, None)) is not None:
            line.on_lost(link, reason)

    def on_paused(self, link: Channel) -> None:
        """They read slowly."""
        if (line := self._guests.get(link)) is not None:
            line.on_paused(link)

    def on_resumed(self, link: Channel) -> None:
        """They have caught up."""
        if (line := self._guests.get(link)) is not None:
            line.on_resumed(link)

    def _stop_listening(self) -> None:
        if self._port is not None:
            self._port.stopListening()
            self._port = None


def _tell(wanted: _Wanted, missed: Missed | None) -> None:
    for done in wanted.done:
        done(missed)
