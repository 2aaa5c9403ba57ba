"""A link: messages over a stream, with the rules of opening, limits and backpressure.

Owns: frames and codec on a Twisted transport, the states of a link (net/states.py), what is held back when a peer reads
slowly, and what a peer gets that breaks the rules. Must not know: what messages mean, beyond `Hello`, `Welcome` and
`Refused`.

The transport is Twisted's, but reading and writing its socket is done here, in place of its `doRead` and `doWrite`:
- All that was sent in a turn goes to the socket at the end of that turn, as one `sendmsg` without copying. Twisted's
  buffer copies what it is given, and writes it in the reactor's next turn.
- What the socket doesn't take waits here, so that it is known how much that is.
- Twisted looks for file descriptors in every read from a Unix socket; here a peer can't pass any.
"""

import collections
import itertools
import math
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistcluster.errors import ProtocolError, TwistclusterError
from twistcluster.net.channel import LinkOwner
from twistcluster.net.pieces import PIECES, drop_sent, send_pieces
from twistcluster.net.states import LinkEvent, LinkState, next_state
from twistcluster.net.turn import Timer, Timers, Turn
from twistcluster.wire import limits
from twistcluster.wire.budget import Budget
from twistcluster.wire.codec import Codec
from twistcluster.wire.frames import Buffer, Frame, FrameDecoder
from twistcluster.wire.messages import (
    ClientToScheduler,
    Hello,
    Join,
    Joined,
    Message,
    Refused,
    ValuesMessage,
    Welcome,
    WorkerToScheduler,
)

if TYPE_CHECKING:
    from twistcluster.net.tls.certificates import Peer

__all__ = ["CLOSING_SECONDS", "Link"]

CLOSING_SECONDS: Final = 5.0
"""How long what was sent may take to leave a link that is being closed."""
LATER_SECONDS: Final = 0.1
PAUSE_BYTES: Final = 4 * limits.MIB
"""Unsent bytes at which the owner hears that the peer reads slowly; at a quarter of it, that it has caught up."""
READ_BYTES: Final = (64 * limits.KIB, limits.MIB)
"""One read: at first, and at most, once reads come back full."""
READ_LEAST_BYTES: Final = 4 * limits.KIB
"""One read of a link that says more messages in each than are handled at once."""

_log = Logger()
_OPEN: Final = LinkState.OPEN
_UP: Final[dict[str, Codec]] = {
    "client": Codec(ClientToScheduler),
    "worker": Codec(WorkerToScheduler),
    "values": Codec(ValuesMessage),
}
_HELLO: Final[Codec] = Codec(Hello | Join)
_EVENTS: Final[dict[type[Message], LinkEvent]] = {Hello: LinkEvent.HELLO, Welcome: LinkEvent.WELCOME}


class Link(TwistedProtocol):
    """One end of a link over a stream.

    Three ways to make one: the end that listens gives nothing (`Hello` is expected, which tells the role), the end
    that calls gives the codec of what will come down, and ends that trust each other (worker and slot) give the
    codec and `state=LinkState.OPEN`.

    Args:
        owner: hears of messages and of the end.
        turn: shared by all links of the node.
        reactor: for time-outs.
        incoming: the codec of what comes; without it this end listens.
        state: the state to begin in.
        budget: for half-received frames, shared with other links; one of its own if not given.
    """

    local = False
    peer: "Peer | None" = None
    where = ""
    here = ""
    """The address that this end has; empty on one host."""

    def __init__(
        self,
        owner: LinkOwner,
        turn: Turn,
        reactor: Timers,
        incoming: Codec | None = None,
        state: LinkState = LinkState.OPENING,
        budget: Budget | None = None,
    ) -> None:
        self.state = state
        self._owner = owner
        self._turn = turn
        self._reactor = reactor
        self._listens = incoming is None
        self._codec = incoming or _HELLO
        self._decoder = FrameDecoder(
            limits.FRAME_BYTES if state is LinkState.OPEN else limits.OPENING_FRAME_BYTES, budget
        )
        self._rest: collections.deque[Frame] = collections.deque()  # read, and to be handled in its turns
        self._many = False  # the last read held more messages than are handled at once
        self._wire: Any = None
        self._socket: socket.socket | None = None
        self._shut = False  # closing or closed: asked for every message, where the state itself would be slow to hash
        self._pieces: list[Buffer] = []
        self._flushing = False  # this turn's end flushes it
        self._later: Timer | None = None
        self._bulky = False  # among the pieces is one that is better not copied
        self._backlog: collections.deque[memoryview] = collections.deque()
        self._backlog_bytes = 0
        self._draining = False
        self._paused = False
        self._queued = 0  # messages since it was paused
        self._most_bytes = math.inf  # of the backlog: more, and the link is cut
        self._deadline: Timer | None = None
        self._reason = ""
        self._came = False  # anything, since `anything_came` was asked last
        self.fault: TwistclusterError | None = None
        """Why it was lost, from a transport that knows that."""

    def __repr__(self) -> str:
        return f"<Link {self.state.value}>"

    # ---- what the owner calls ------------------------------------------------------------------------------------

    def send(self, message: Message, buffers: Sequence[Buffer] = ()) -> None:
        """Say something: it leaves at the end of this turn. After a close it is dropped."""
        if self._shut:
            return
        pieces = self._codec.encode(message, buffers)
        if type(message) in _EVENTS:
            self._pass(_EVENTS[type(message)])
        if not self._flushing:
            self._flushing = True
            self._turn.unflushed(self)
        self._pieces += pieces
        if len(pieces) > 1:
            self._bulky = True
        if self._paused and self._listens:
            self._queued += 1
            if self._queued > limits.QUEUED_MESSAGES:
                self._cut_off()

    def send_later(self, message: Message) -> None:
        """Say something that can wait: it leaves with what is sent next, or after `LATER_SECONDS`.

        A peer that sleeps isn't woken for it: on few cores that would hold up whoever has work to do.
        """
        if self._shut:
            return
        self._pieces += self._codec.encode(message)
        if not self._flushing and self._later is None:
            self._later = self._reactor.callLater(LATER_SECONDS, self._leave)

    def flush(self) -> None:
        """Let what was sent leave now."""
        pieces, bulky = self._pieces, self._bulky
        self._flushing = False
        if not pieces or self._wire is None:
            return
        self._pieces, self._bulky = [], False
        if not bulky and len(pieces) > 1:
            pieces = [b"".join(pieces)]
        rest = pieces if self._draining or self._socket is None else send_pieces(self._socket, pieces)
        if rest:
            self._hold(rest)

    def close(self, reason: str = "closed") -> None:
        """End the link once what was sent has left. `on_lost` follows, once, in any case."""
        if self._shut:
            return
        self.flush()
        self._reason = self._reason or reason
        self._pass(LinkEvent.CLOSE)
        if self._wire is None:
            return
        self._set_deadline(CLOSING_SECONDS, self._wire.abortConnection)
        self._wire.stopReading()
        self._wire.startWriting()

    def refuse(self, code: str, text: str) -> None:
        """Tell the peer why, then close. Only the end that listens says anything: the other just goes."""
        if self._listens and not self._shut:
            self.send(Refused(cast("Any", code), text))
        self.close(text)

    def turn_out(self, last: Message, reason: str) -> None:
        """End the link with a last word, or without one where it would stand behind what waits to leave: that doesn't."""
        self.send(last)
        if self._backlog:
            self.abort(reason)
        else:
            self.close(reason)

    def abort(self, reason: str) -> None:
        """End the link at once; what was sent may be lost."""
        self._reason = self._reason or reason
        self._pass(LinkEvent.CLOSE)
        if self._wire is not None:
            self._wire.abortConnection()

    def anything_came(self) -> bool:
        """Whether bytes came since this was asked last, be they a whole message or not."""
        came, self._came = self._came, False
        return came

    @property
    def receiving(self) -> bool:
        """A message has begun to come, and isn't here yet: what the peer says meanwhile stands behind it."""
        return self._decoder.receiving

    # ---- what Twisted calls --------------------------------------------------------------------------------------

    def connectionMade(self) -> None:  # noqa: N802 (Twisted's name)
        """The transport is there."""
        self._wire = self.transport
        self._wire.bufferSize = READ_BYTES[0]
        self._socket = self._wire.getHandle()
        self._wire.doRead = self._read
        self._wire.doWrite = self._write
        if self._listens:
            self._set_deadline(limits.OPENING_SECONDS, self._opened_too_slowly)
        if self._pieces:
            self._flushing = True
            self._turn.unflushed(self)
        if self.state is LinkState.CLOSING:
            self._wire.abortConnection()

    def _read(self) -> Failure | Exception | None:
        """In place of the transport's `doRead`."""
        if self._rest:
            return None
        try:
            data = self._socket.recv(self._wire.bufferSize)  # type: ignore[union-attr]
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return CONNECTION_LOST
        if not data:
            return CONNECTION_DONE
        self.dataReceived(data)
        return None

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Bytes came."""
        self._came = True
        if len(data) == self._wire.bufferSize < READ_BYTES[1]:
            self._wire.bufferSize *= 2
        self._turn.run(self._received, data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """The transport is gone."""
        self._set_deadline(0, None)
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._pass(LinkEvent.LOST)
        self._pieces = []
        self._backlog.clear()
        self._rest.clear()
        self._decoder.close()
        if isinstance(reason.value, TwistclusterError):  # Twisted's own words are not for people
            self.fault = reason.value
        self._turn.run(self._owner.on_lost, self, self._reason or str(self.fault or "the other side is gone"))

    # ---- receiving -----------------------------------------------------------------------------------------------

    def _received(self, data: bytes) -> None:
        try:
            frames = self._decoder.feed(data)
        except ProtocolError as error:
            self._malformed(error)
            return
        if len(frames) == 1:  # as of nearly every read
            self._handle(frames[0])
        elif frames:
            self._rest.extend(frames)
            self._take_turns(len(frames) > limits.MESSAGES_PER_READ)

    def _take_turns(self, many: bool) -> None:
        """Handle what was read: of many messages a part at once, and none if the read before held many too.

        The next read is a short one then: cutting a megabyte into messages of twenty bytes takes a tenth of a second.
        """
        if many:
            self._wire.bufferSize = max(READ_LEAST_BYTES, self._wire.bufferSize // 4)
        if (many and self._many) or self.handle_some(limits.MESSAGES_PER_READ):
            self._turn.behind(self)
        self._many = many

    def handle_some(self, count: int) -> bool:
        """Handle so many of the messages that wait, or as many as there is time for; whether more of them do.

        Until none does, nothing is read.
        """
        seconds = self._reactor.seconds
        end = seconds() + limits.HANDLING_SECONDS
        for _ in range(min(count, len(self._rest))):
            self._handle(self._rest.popleft())
            if seconds() > end:
                break
        if self._shut:
            self._rest.clear()
        return bool(self._rest)

    def _handle(self, frame: Frame) -> None:
        if self._shut:
            return
        try:
            message, buffers = self._codec.decode(frame)
            if (self.state is not _OPEN or type(message) in _EVENTS) and not self._check(message):
                return
            self._owner.on_message(self, message, buffers)
        except ProtocolError as error:
            self._malformed(error)
        except Exception:
            _log.failure("a message could not be handled: its link is closed", link=self)
            self.refuse("malformed", "the link is closed: the cluster failed to handle a message (its log says more)")

    def _malformed(self, error: ProtocolError) -> None:
        _log.warn("malformed input: {error}", error=str(error), link=self)
        self.refuse("malformed", f"the link is closed: {error}")

    def _check(self, message: Message) -> bool:
        """What a message does to the link's state; whether it is for the owner."""
        event = _EVENTS.get(type(message))
        if event is not None:
            self._pass(event)
            if isinstance(message, Hello):
                self._set_deadline(0, None)
                self._codec = _UP[message.role]
        elif self.state is not LinkState.OPEN and not isinstance(message, Refused | Joined):
            raise ProtocolError(f"{type(message).__name__} before Welcome")
        return True

    def _pass(self, event: LinkEvent) -> None:
        self.state = next_state(self.state, event)
        self._shut = self.state in {LinkState.CLOSING, LinkState.CLOSED}
        if event is LinkEvent.WELCOME:
            self._decoder.limit_bytes = limits.FRAME_BYTES

    def _opened_too_slowly(self) -> None:
        self.refuse("limit", self._too_slow())

    def _too_slow(self) -> str:
        """What a peer is told that took too long to open."""
        return f"no Hello within {limits.OPENING_SECONDS:g} s"

    def _set_deadline(self, seconds: float, call: Any) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = self._reactor.callLater(seconds, call) if call is not None else None

    # ---- sending -------------------------------------------------------------------------------------------------

    def _leave(self) -> None:
        self._later = None
        self.flush()

    def _hold(self, pieces: Sequence[Buffer]) -> None:
        for piece in pieces:
            view = memoryview(piece).cast("B")
            self._backlog.append(view)
            self._backlog_bytes += len(view)
        if self._backlog_bytes > PAUSE_BYTES and not self._paused:
            self._paused = True
            self._queued = 0
            self._turn.soon(self._tell_paused)
        if not self._draining:
            self._draining = True
            self._wire.startWriting()
        if self._backlog_bytes > self._most_bytes:
            self._cut_off()

    def _write(self) -> Exception | None:
        """In place of the transport's `doWrite`: the socket takes more."""
        while self._backlog:
            batch = [*itertools.islice(self._backlog, PIECES)]
            try:
                sent = self._socket.sendmsg(batch)  # type: ignore[union-attr]
            except (BlockingIOError, InterruptedError):
                return None
            except OSError:
                self._backlog.clear()  # as in _send_now
                self._backlog_bytes = 0
                break
            self._backlog_bytes -= sent
            if not drop_sent(self._backlog, sent):
                break
        if self._paused and self._backlog_bytes < PAUSE_BYTES // 4:
            self._paused = False
            self._turn.soon(self._tell_paused)
        if self._backlog:
            return None
        self._draining = False
        if self.state is LinkState.CLOSING:
            return CONNECTION_DONE
        self._wire.stopWriting()
        return None

    def _tell_paused(self) -> None:
        if self.state is not _OPEN:
            return
        if not self._paused:
            self._most_bytes = math.inf
            self._owner.on_resumed(self)
            return
        if self._codec is _UP["client"]:
            # From now on it is sent no results, whatever waits for it already; workers are sent what they lease.
            self._most_bytes = self._backlog_bytes + limits.QUEUED_BYTES
        self._owner.on_paused(self)

    def _cut_off(self) -> None:
        _log.warn(
            "a peer that doesn't read is cut off: {count:,} messages and {size:,} bytes wait for it",
            count=self._queued,
            size=self._backlog_bytes,
        )
        self.abort("it reads too slowly")
