"""A job that another client sent, or this one in an earlier life.

Owns: what the scheduler tells of it at first. Must not know: links, how it is found.
"""

import time

from twistcluster.client.lines import Line
from twistcluster.client.records import JobRecord
from twistcluster.wire.messages import JobStatus

__all__ = ["AdoptedRecord"]


class AdoptedRecord(JobRecord):
    """One that was looked up. Its name may be another job's tomorrow, its id is its own.

    Args:
        line: To its cluster.
        number: On that line.
        name: What was asked for.
    """

    def __init__(self, line: Line, number: int, name: str) -> None:
        super().__init__(line, number, "", name, shows_errors=False)

    @property
    def opened(self) -> float:
        """When it was sent, on the monotonic clock."""
        return self._opened

    def found(self, status: JobStatus) -> None:
        """The scheduler told what it knows of it."""
        with self.condition:
            self.id = status.id
            self.label = status.label
            self._opened = time.monotonic() - status.age
            if status.count is not None:
                self.count = status.count
            over = self._notify()
        self._changed(over)
