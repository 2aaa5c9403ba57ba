"""What a job sees of its cluster, and of what gives it its items.

Owns: these two seams. The line is `session.Session`; the input a `packing.Puller` or `feeding.Feed`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from twistcluster.client.results import ItemFailure
from twistcluster.errors import TwistclusterError
from twistcluster.storage.values import Readable, ValueStore
from twistcluster.wire.values import Definitions

if TYPE_CHECKING:
    from twistcluster.client.records import JobRecord

__all__ = ["Input", "Line"]


class Input(Protocol):
    """What gives a job its items, while they come."""

    @property
    def lazy(self) -> bool:
        """It is pulled as the work goes on, and may have no end."""

    def finished(self, items: int) -> None:
        """So many more items are finished."""

    def stop(self) -> None:
        """Give no more."""


class Line(Protocol):
    """The way from a job to its cluster."""

    definitions: Definitions
    values: ValueStore | None
    """The host's store."""
    reads: Readable | None
    """Where large results are read: that, or what comes from another host."""
    lost: TwistclusterError | None
    """Why it is gone."""

    def cancel(self, number: int, start: int, stop: int | None) -> None:
        """Items shall not start."""

    def retry(self, record: "JobRecord") -> None:
        """The failed items again."""

    def forget(self, record: "JobRecord") -> None:
        """The cluster shall let go of the job. Waits for its answer."""

    def keep_results(self, record: "JobRecord") -> None:
        """The cluster shall keep the job's large results on its disk, too. Waits for its answer."""

    def over(self, record: "JobRecord") -> None:
        """The job came to its end. On the reactor's thread."""

    def first_error(self, record: "JobRecord", failure: ItemFailure) -> None:
        """The first item of a job failed. On the reactor's thread."""

    def dropped(self, number: int) -> None:
        """Nobody here asks about the job any more."""

    def keep(self, kept: object) -> None:
        """Somebody stopped waiting for this job or future: keep it findable."""

    def soon(self, call: Callable[[], object]) -> None:
        """Do something on the reactor's thread."""

    def fetched(self, record: "JobRecord") -> None:
        """Somebody took all results of a job."""
