"""A scheduler's machine, with what its journal and the copies beside it hold.

Owns: the order in which these are opened and read, and who hears of a journal's troubles. Must not know: links.
"""

import pathlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from twistcluster.core.restoring import restore
from twistcluster.core.scheduler import Identity, Scheduler
from twistcluster.core.suspects import Suspect
from twistcluster.errors import JournalDamaged, ProtocolError, TwistclusterError
from twistcluster.net.version import VERSION
from twistcluster.nodes.durability import last_at
from twistcluster.storage.copies import copies_of
from twistcluster.storage.journal import Journal

if TYPE_CHECKING:
    from twistcluster.nodes.scheduler import SchedulerNode

__all__ = ["Troubles", "open_journal", "scheduler_of"]


class Troubles:
    """Hears of a journal's troubles before and after there is a node."""

    node: "SchedulerNode | None" = None

    def trouble(self, error: TwistclusterError) -> None:
        """It can't be written."""
        if self.node is not None:
            self.node.trouble(error)

    def recovered(self) -> None:
        """It can again."""
        if self.node is not None:
            self.node.recovered()


def open_journal(reactor: Any, path: str, troubles: Troubles) -> Journal | None:
    """The journal at this path, whose calls come on the reactor's thread; None without a path.

    Raises:
        JournalDamaged: it is broken, or was emptied: `cluster.json` beside it says that there was one.
    """
    if not path:
        return None
    file = pathlib.Path(path)
    if last_at(path) is not None and file.exists() and not file.stat().st_size:
        raise JournalDamaged(
            f"the journal {path} is empty, and it was not: bring back its contents, or remove it to begin a new one; "
            "jobs that were kept in it are lost"
        )
    return Journal(
        path,
        reactor.callFromThread,
        writer=VERSION,
        on_trouble=troubles.trouble,
        on_recovered=troubles.recovered,
    )


def scheduler_of(
    identity: Identity,
    journal: Journal | None,
    idle_timeout_s: float | None,
    lost_after: float,
    suspects: Sequence[Suspect] = (),
) -> Scheduler:
    """A scheduler that knows what its journal holds, and what ran when its process died the last time.

    Raises:
        JournalDamaged: That can't be read, or makes no sense.
    """
    now = time.monotonic()
    machine = Scheduler(
        identity,
        now=now,
        idle_timeout_s=idle_timeout_s,
        lost_after_s=lost_after,
        journal=journal is not None,
        wall=time.time() - now,
    )
    if journal is not None:
        try:
            restore(machine, journal.load(), suspects)
            machine.safekeeping.found(copies_of(journal.path))
        except ProtocolError as error:
            raise JournalDamaged(
                f"what the journal {journal.path} holds makes no sense: {error}. Move it away, or name another folder "
                "with store="
            ) from error
    return machine
