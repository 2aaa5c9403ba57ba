"""A link in memory: what joins the scheduler and the worker of a local cluster.

Owns: the pair. The same messages in the same states as over a socket, but neither encoded nor copied; delivered through
the turn's eventual queue, so never inside the sender's call. Must not know: nodes.
"""

import collections
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from twisted.logger import Logger

from twistcluster.errors import ProtocolError
from twistcluster.net.channel import Channel, LinkOwner
from twistcluster.net.states import LinkEvent, LinkState, next_state
from twistcluster.net.turn import Turn
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import Hello, Message, Refused, Welcome

if TYPE_CHECKING:
    from twistcluster.net.tls.certificates import Peer

__all__ = ["MemoryLink", "memory_pair"]

_log = Logger()
_OPEN: Final = LinkState.OPEN


class MemoryLink:
    """One end. It begins in `opening`, as over a socket: `Hello` and `Welcome` pass before all else."""

    local = True
    peer: "Peer | None" = None
    where = ""
    receiving = False

    def __init__(self, owner: LinkOwner, turn: Turn) -> None:
        self.state = LinkState.OPENING
        self._owner = owner
        self._turn = turn
        self._inbox: collections.deque[tuple[Message, Sequence[Buffer]]] = collections.deque()
        self._other: MemoryLink = self
        self._called = False

    def __repr__(self) -> str:
        return f"<MemoryLink {self.state.value}>"

    def send(self, message: Message, buffers: Sequence[Buffer] = ()) -> None:
        """Say something: it is there at the end of this turn. After a close it is dropped."""
        if self.state is not _OPEN:
            if self._shut():
                return
            self._pass(message)
        other = self._other
        other._inbox.append((message, buffers))  # noqa: SLF001 (the other end of the same pair)
        if not other._called:  # noqa: SLF001
            other._called = True  # noqa: SLF001
            self._turn.soon(other._deliver)  # noqa: SLF001

    def flush(self) -> None:
        """Nothing is held back here."""

    def anything_came(self) -> bool:
        """Nobody needs to ask: messages come whole, and who stops one end stops the other."""
        return False

    def close(self, reason: str = "closed") -> None:
        """End the link: the other end hears it after what was sent. `on_lost` follows, once, at both."""
        if self._shut():
            return
        self.state = next_state(self.state, LinkEvent.CLOSE)
        self._turn.soon(lambda: self._other._lost(reason))  # noqa: SLF001
        self._turn.soon(lambda: self._lost(reason))

    def turn_out(self, last: Message, reason: str) -> None:
        """End the link with a last word."""
        self.send(last)
        self.close(reason)

    def _shut(self) -> bool:
        return self.state is LinkState.CLOSING or self.state is LinkState.CLOSED

    def _deliver(self) -> None:
        self._called = False
        while self._inbox:
            message, buffers = self._inbox.popleft()
            if self.state is not _OPEN:
                if self._shut():
                    return
                self._pass(message)
            try:
                self._owner.on_message(self, message, [*buffers])
            except Exception:
                # In one process nobody else can end this link: what one message does mustn't cost the others.
                _log.failure("a message could not be handled: {message}", message=type(message).__name__)

    def _lost(self, reason: str) -> None:
        if self.state is LinkState.CLOSED:
            return
        self._deliver()
        self.state = next_state(self.state, LinkEvent.LOST)
        self._owner.on_lost(self, reason)

    def _pass(self, message: Message) -> None:
        """Keep the rules of opening: a breach is a fault of ours, so it is raised to whoever made it."""
        if isinstance(message, Hello):
            self.state = next_state(self.state, LinkEvent.HELLO)
        elif isinstance(message, Welcome):
            self.state = next_state(self.state, LinkEvent.WELCOME)
        elif self.state in {LinkState.OPENING, LinkState.GREETED} and not isinstance(message, Refused):
            raise ProtocolError(f"{type(message).__name__} before Welcome")


def memory_pair(first: LinkOwner, second: LinkOwner, turn: Turn) -> tuple[Channel, Channel]:
    """Two ends of one link. Both owners run on the reactor of `turn`."""
    one, other = MemoryLink(first, turn), MemoryLink(second, turn)
    one._other, other._other = other, one  # noqa: SLF001
    return one, other
