"""What a machine wants done: it decides, its node carries out.

Owns: the effects of the scheduler's machine. Must not know: links, processes, or how an effect is carried out.
"""

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from twistcluster.core.rows import Change
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import Deny, Invite, Message, Renew

if TYPE_CHECKING:
    from twistcluster.core.jobs import Job

__all__ = [
    "Admit",
    "Bring",
    "Close",
    "CopyOut",
    "Effect",
    "EndCluster",
    "Log",
    "Marks",
    "ReadLog",
    "Record",
    "Remove",
    "RemoveCopies",
    "Rename",
    "Send",
]


Marks: TypeAlias = "dict[Job, tuple[int, int]]"
"""Of each job: how many of its items, and up to which place its log, are recorded."""


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


class Bring(NamedTuple):
    """Bring this value to the host's store, from wherever it is, and say how that went (`Scheduler.brought`)."""

    name: bytes


class CopyOut(NamedTuple):
    """Copy these values from the host's store to the disk beside the journal, and say how that went
    (`Safekeeping.copied`).
    """

    ids: list[bytes]


class RemoveCopies(NamedTuple):
    """Nobody needs these copies beside the journal any more."""

    ids: list[bytes]


class Record(NamedTuple):
    """Write these into the journal, in order, and say so (`Scheduler.recorded`) when they are on the disk."""

    changes: list[Change]
    marks: Marks


class ReadLog(NamedTuple):
    """Read entries of a job's log back from the journal (`Scheduler.read`): from a place on, so many bytes."""

    job: "Job"
    place: int
    limit_bytes: int


class Admit(NamedTuple):
    """A peer asks about who may come, or for a new certificate: to be answered by the node, which alone knows of these."""

    peer: int
    question: Invite | Deny | Renew
    request: int = 0
    """Of its `Ask`."""


class EndCluster(NamedTuple):
    """The whole cluster shall end."""

    reason: str


Effect = Send | Close | Log | Remove | Rename | Bring | CopyOut | RemoveCopies | Record | ReadLog | Admit | EndCluster
