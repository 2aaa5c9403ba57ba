"""What a scheduler tells of jobs: each message goes to the record of its job.

On the reactor's thread. Owns: that. Must not know: links, what a record does with it.
"""

import logging
from collections.abc import Callable
from typing import Any

from twistcluster.client.handles import singly
from twistcluster.client.holdings import Holdings
from twistcluster.client.outbox import Outbox
from twistcluster.client.shelf import Shelf
from twistcluster.client.unkept import Unkept
from twistcluster.core.ranges import RangeSet
from twistcluster.storage.values import ValueStore
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import (
    Blob,
    Cancelled,
    CloseJob,
    Failed,
    Freed,
    JobProgress,
    Kept,
    Message,
    Notice,
    Output,
    Results,
    Wanted,
)
from twistcluster.wire.pages import Packed
from twistcluster.wire.values import Definitions

__all__ = ["Handler", "Inbox"]

Handler = Callable[[Any, list[Buffer]], None]

_log = logging.getLogger("twistcluster")


class Inbox:
    """The listening half of a session.

    Args:
        shelf: Where the records are; what comes for a job that nobody holds is dropped.
        definitions: This process's book of class definitions.
        do: Sends an answer.
        values: The host's store.
        drop: Called with the id of a value in it that nobody here asks for any more.
        holdings: Counts what the scheduler told of values.
        unkept: Hears of what is kept.
    """

    def __init__(
        self,
        shelf: Shelf,
        definitions: Definitions,
        do: Callable[[Callable[[Outbox], object]], None],
        values: ValueStore | None,
        drop: Callable[[bytes], None],
        holdings: Holdings,
        unkept: Unkept,
    ) -> None:
        self._shelf = shelf
        self._holdings = holdings
        self._unkept = unkept
        self._do = do
        self._definitions = definitions
        self._values = values
        self._drop = drop
        self.handlers: dict[type[Message], Handler] = {
            Blob: self._definition,
            Results: self._results,
            Freed: self._freed,
            Failed: self._failed,
            Cancelled: self._cancelled,
            Output: self._output,
            JobProgress: self._progress,
            CloseJob: self._input_ended,
            Notice: self._notice,
            Wanted: self._wanted,
            Kept: self._kept,
        }
        """By the type of message."""

    def _definition(self, message: Blob, buffers: list[Buffer]) -> None:
        """A class of the client that sent the job: results of it are next."""
        self._definitions.learn(message.digest, bytes(buffers[0]))

    def _results(self, message: Results, buffers: list[Buffer]) -> None:
        record = self._shelf.get(message.job)
        if message.objects:
            self._holdings.told(message.objects)
        if record is not None:
            objects = tuple(message.objects)
            packed = Packed(message.kind, message.count, tuple(buffers), tuple(message.definitions), objects)
            if not objects:
                record.succeeded(message.first, packed)
                return
            for index, one in enumerate(singly(packed, self._drop), message.first):
                record.succeeded(index, one)
        else:
            for each in message.objects:
                self._drop(each.id)

    def _freed(self, message: Freed, _: list[Buffer]) -> None:
        if self._values is not None:
            self._values.freed(message.ids)

    def _failed(self, message: Failed, buffers: list[Buffer]) -> None:
        record = self._shelf.get(message.job)
        if record is not None:
            record.failed(message.index, message.error, buffers)

    def _cancelled(self, message: Cancelled, _: list[Buffer]) -> None:
        record = self._shelf.get(message.job)
        if record is not None:
            record.were_cancelled(message.ranges)

    def _output(self, message: Output, _: list[Buffer]) -> None:
        record = self._shelf.get(message.job)
        if record is not None:
            record.printed(message.index, message.text, message.dropped_bytes)

    def _progress(self, message: JobProgress, _: list[Buffer]) -> None:
        record = self._shelf.get(message.job)
        if record is not None:
            record.goes_on(message.running, message.waiting)

    def _input_ended(self, message: CloseJob, _: list[Buffer]) -> None:
        record = self._shelf.get(message.job)
        if record is not None:
            record.input_ended(message.count, message.error)

    def _kept(self, message: Kept, _: list[Buffer]) -> None:
        self._unkept.kept(message.job, message.items, whole=message.over)
        record = self._shelf.get(message.job)
        if record is not None:
            record.kept = message

    def _wanted(self, message: Wanted, _: list[Buffer]) -> None:
        """Items wait for results that came here: they go back, whole pages of them; those not held are named, too."""
        number = message.job
        record = self._shelf.get(number)
        answers: dict[int, Callable[[Outbox], None]] = {}
        left = RangeSet()
        for start, stop in message.ranges:
            left.add(start, stop)
            for first, packed in () if record is None else record.results_in(start, stop):
                answers[first] = lambda outbox, first=first, packed=packed: outbox.values(number, first, packed)  # type: ignore[misc]
                left.remove(first, first + packed.count)
        cancelled = [] if record is None else record.cancelled_in(left)
        for part in cancelled:
            left.remove(*part)
        for parts, final in ((cancelled, True), (list(left), False)):
            for start, stop in parts:
                answers[start] = lambda outbox, a=start, b=stop, c=final: outbox.no_values(number, a, b, cancelled=c)  # type: ignore[misc]
        for first in sorted(answers):
            self._do(answers[first])

    def _notice(self, message: Notice, _: list[Buffer]) -> None:
        _log.log(logging.WARNING if message.level == "warning" else logging.INFO, "%s", message.text)
