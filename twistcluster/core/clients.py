"""What the scheduler knows of one client: the program at the other end of one link.

Owns: a client's record. Must not know: scheduling.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twistcluster.wire.messages import Context, Hello

if TYPE_CHECKING:
    from twistcluster.core.jobs import Job

__all__ = ["Client"]


@dataclass(slots=True, eq=False)
class Client:
    """A client, connected or gone with jobs still here."""

    id: str
    peer: int | None
    """The number of its link; None once it is gone."""
    hello: Hello
    serial: str = ""
    """Of its certificate, in hex; empty: it is on this host and needs none."""
    paused: bool = False
    """Its link takes no more for now: it reads slowly."""
    blobs: set[bytes] = field(default_factory=set)
    """What it sent."""
    defined: set[bytes] = field(default_factory=set)
    """Class definitions of other clients that it was sent."""
    contexts: dict[bytes, Context] = field(default_factory=dict)
    jobs: "dict[int, Job]" = field(default_factory=dict)
    """By its own numbers; those that it adopted too."""
    sending: "dict[int, Job]" = field(default_factory=dict)
    """Its own jobs whose input isn't all here yet, by its own numbers."""
    objects: dict[bytes, int] = field(default_factory=dict)
    """Values in stores that it can ask for: how often it was told of each."""
    open_jobs: int = 0
    highest: int = -1
    """The highest number it gave a job."""
    usage: float = 0.0
    """Slot-seconds that it was given, on a clock that all clients share."""
    clock: float = 0.0
    """Slot-seconds at which its jobs stand: a new job starts here."""
    held_bytes: int = 0
    """Results of its jobs that wait here."""
    blocked: bool = False
    """Too many: no new leases for its jobs."""
    left_at: float | None = None
    said_goodbye: bool = False
    """It won't come back."""
    returning: bool = False
    """It came back, and hasn't said yet all that it holds."""

    @property
    def name(self) -> str:
        """For people."""
        return self.hello.name or f"{self.hello.host}:{self.hello.pid}"
