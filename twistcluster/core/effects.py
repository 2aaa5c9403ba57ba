"""What a machine wants done: it decides, its node carries out.

Owns: the effects of the scheduler's machine. Must not know: links, processes, or how an effect is carried out.
"""

from typing import NamedTuple

from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import Message

__all__ = ["Close", "Effect", "EndCluster", "Log", "Remove", "Rename", "Send"]


class Send(NamedTuple):
    """Say `message` to a peer; what is sent in one turn leaves in one write, in order."""

    peer: int
    message: Message
    buffers: tuple[Buffer, ...] = ()


class Close(NamedTuple):
    """Close the link to a peer once what was sent to it has left."""

    peer: int
    reason: str


class Log(NamedTuple):
    """A structured line for the log."""

    level: str
    event: str
    fields: dict[str, object]


class Remove(NamedTuple):
    """Remove these values from the host's store: who made them is gone."""

    ids: list[bytes]


class Rename(NamedTuple):
    """A value in the host's store takes another's name, whose file was lost."""

    made: bytes
    name: bytes


class EndCluster(NamedTuple):
    """The whole cluster shall end."""

    reason: str


Effect = Send | Close | Log | Remove | Rename | EndCluster
