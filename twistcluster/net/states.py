"""The states of a link, as a table.

Owns: which state follows which on what event; docs/protocol.md is generated from it. Must not know: sockets, messages'
meaning, who decides.
"""

import enum
from typing import Final

from twistcluster.errors import ProtocolError

__all__ = ["TRANSITIONS", "LinkEvent", "LinkState", "next_state"]


class LinkState(enum.Enum):
    """What may pass a link."""

    OPENING = "opening"
    """Connected; the only message that may come up is `Hello`, in a small frame and within `OPENING_SECONDS`."""
    GREETED = "greeted"
    """`Hello` was said; `Welcome` or `Refused` follows; frames are still small."""
    OPEN = "open"
    """`Welcome` was said: every message of the link's role, in frames of any size."""
    CLOSING = "closing"
    """This side has ended the link: what was sent still leaves, what comes is dropped."""
    CLOSED = "closed"
    """Nothing passes any more."""


class LinkEvent(enum.Enum):
    """What happens to a link."""

    HELLO = "Hello passes"
    WELCOME = "Welcome passes"
    CLOSE = "this side closes, refuses, or met malformed input"
    LOST = "the connection is gone"


TRANSITIONS: Final[dict[tuple[LinkState, LinkEvent], LinkState]] = {
    (LinkState.OPENING, LinkEvent.HELLO): LinkState.GREETED,
    (LinkState.OPENING, LinkEvent.CLOSE): LinkState.CLOSING,
    (LinkState.OPENING, LinkEvent.LOST): LinkState.CLOSED,
    (LinkState.GREETED, LinkEvent.WELCOME): LinkState.OPEN,
    (LinkState.GREETED, LinkEvent.CLOSE): LinkState.CLOSING,
    (LinkState.GREETED, LinkEvent.LOST): LinkState.CLOSED,
    (LinkState.OPEN, LinkEvent.CLOSE): LinkState.CLOSING,
    (LinkState.OPEN, LinkEvent.LOST): LinkState.CLOSED,
    (LinkState.CLOSING, LinkEvent.CLOSE): LinkState.CLOSING,
    (LinkState.CLOSING, LinkEvent.LOST): LinkState.CLOSED,
    (LinkState.CLOSED, LinkEvent.CLOSE): LinkState.CLOSED,
}


def next_state(state: LinkState, event: LinkEvent) -> LinkState:
    """The state after an event.

    Raises:
        ProtocolError: the event may not happen in this state; nothing has changed.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise ProtocolError(f"{event.value}, which may not happen on a link that is {state.value}") from None
