"""A submitted call as a job of one item: what `cluster.job("make_thumb-3")` gives for a future's name.

Owns: that face. Must not know: links.
"""

from twistcluster.client.futures import Future
from twistcluster.client.lines import Line
from twistcluster.client.records import JobRecord
from twistcluster.client.results import ItemFailure, Segment, pack_one

__all__ = ["ItemRecord"]


class ItemRecord(JobRecord):
    """A future, seen as a job. It follows the future, and cancels it."""

    def __init__(self, line: Line, id: str, future: "Future[object]") -> None:  # noqa: A002
        super().__init__(line, 0, id, future.name, count=1, shows_errors=False)
        self._future = future
        future.when_done(self._follow)

    @property
    def future_of_it(self) -> "Future[object]":
        """The future that it shows."""
        return self._future

    def name_of(self, index: int) -> str:
        """It is its only item."""
        return self.label

    def cancel(self) -> None:
        """Cancel the future."""
        self._future.cancel()

    def cancel_item(self, index: int) -> None:
        """Cancel the future."""
        self._future.cancel()

    def retry(self) -> int:
        """The future has its end: submit again for another."""
        return 0

    def printed_by(self, index: int) -> str:
        """What the call printed."""
        return self._future.logs()

    def _follow(self) -> None:
        fate = self._future.fate()
        if isinstance(fate, Segment):
            self.succeeded(0, fate.one(self._future.index))
        elif isinstance(fate, ItemFailure):
            self.failed(0, fate.info, fate.buffers)
        elif fate is not None:
            self.was_lost(fate)
        elif self._future.cancelled():
            self.were_cancelled([(0, 1)])
        else:  # decoded already, by somebody who asked
            self.succeeded(0, pack_one(self._future.result(), self._line.definitions))
