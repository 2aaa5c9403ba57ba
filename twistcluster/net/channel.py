"""What a link is to a node, whatever carries it, and what a node is to its links.

Owns: the two interfaces. Must not know: sockets, frames, nodes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from twistcluster.net.states import LinkState
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import Message

if TYPE_CHECKING:
    from twistcluster.net.tls.certificates import Peer

__all__ = ["Channel", "LinkOwner"]


class Channel(Protocol):
    """What a node holds of a peer: a link over a socket, or one in memory."""

    @property
    def state(self) -> LinkState:
        """What may pass."""

    local: bool
    """Both ends are in this process."""

    @property
    def peer(self) -> "Peer | None":
        """Whose certificate the other end showed; None: none, or it is on this host."""

    @property
    def where(self) -> str:
        """The other end's address; empty where it is on this host."""

    def send(self, message: Message, buffers: Sequence[Buffer] = ()) -> None:
        """Say something: it leaves at the end of this turn. After a close it is dropped."""

    def flush(self) -> None:
        """Let what was sent leave now."""

    def close(self, reason: str = "closed") -> None:
        """End the link once what was sent has left. `on_lost` follows, once, in any case."""

    def anything_came(self) -> bool:
        """Whether bytes came since this was asked last, be they a whole message or not."""

    @property
    def receiving(self) -> bool:
        """A message has begun to come, and isn't here yet."""

    def turn_out(self, last: Message, reason: str) -> None:
        """End the link with a last word, or without one where it would stand behind what waits to leave: that doesn't."""


class LinkOwner(Protocol):
    """Who hears of a link."""

    def on_message(self, link: Channel, message: Message, buffers: list[Buffer]) -> None:
        """The peer said something."""

    def on_lost(self, link: Channel, reason: str) -> None:
        """The link is gone: said once, for whatever reason, and nothing after it."""

    def on_paused(self, link: Channel) -> None:
        """The peer reads slowly: send what must be sent, hold back the rest."""

    def on_resumed(self, link: Channel) -> None:
        """The peer has caught up."""
