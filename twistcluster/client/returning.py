"""A session comes back after its link was lost.

Only where the cluster has a journal: what it accepted is there again when its scheduler is. A thread looks for it, and
starts a local cluster again that died; of several who try one succeeds (the journal's lock). One that dies again and again
is started after a pause, so that this isn't all that the machine does. A cluster on another host is looked for at its
address, in pauses that grow; it is others who start it. Then both sides state what they hold (core/returning.py). Owns:
that search, its pauses, and what this side states. Must not know: how a link is made.
"""

import logging
import random
import threading
import time
from typing import TYPE_CHECKING, Final

from twistcluster.client.holdings import Holdings
from twistcluster.client.launch import named
from twistcluster.client.outbox import Outbox
from twistcluster.client.patience import answer_of
from twistcluster.client.records import JobRecord
from twistcluster.client.results import ItemFailure
from twistcluster.client.ways import longest_pause, look_for
from twistcluster.core.ranges import RangeSet
from twistcluster.errors import ClusterUnreachable, ResultsGone, TwistclusterError
from twistcluster.wire.messages import HeldJob, Keep, Offered, Resume, Resumed

if TYPE_CHECKING:
    from twistcluster.client.session import Session

__all__ = ["Deaths", "Search", "held", "offer"]

SEARCH_SECONDS: Final = 120.0
FIRST_PAUSE: Final = 0.05
LIVED_SECONDS: Final = 5.0
"""A cluster that was back for so long is started again at once."""
FIRST_DEATH: Final = 0.1
LONGEST_DEATH: Final = 5.0
"""Seconds that one waits which died sooner: twice as long each time."""

_log = logging.getLogger("twistcluster")


class Deaths:
    """How long a local cluster that died waits until it is started again.

    Example:
        >>> deaths = Deaths()
        >>> deaths.back(10.0)
        >>> deaths.pause(11.0), deaths.pause(12.0), deaths.pause(60.0)
        (0.1, 0.2, 0.0)
    """

    def __init__(self) -> None:
        self._back_at = -LIVED_SECONDS
        self._pause = 0.0

    def back(self, now: float) -> None:
        """It is there again."""
        self._back_at = now

    def pause(self, now: float) -> float:
        """It died: seconds to wait."""
        lived = now - self._back_at >= LIVED_SECONDS
        self._pause = 0.0 if lived else min(max(self._pause * 2, FIRST_DEATH), LONGEST_DEATH)
        return self._pause


class Search:
    """Looks for a cluster whose link was lost.

    Args:
        session: Of the link.
        reason: Why it is gone.
        pause: Seconds until a local one is started again; somebody else may do so before.
    """

    def __init__(self, session: "Session", reason: str, pause: float) -> None:
        self._session = session
        self._reason = reason
        self._pause = pause if session.connection.kind == "local" else 0.0
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name="twistcluster-return", daemon=True).start()

    def stop(self) -> None:
        """It is wanted no more."""
        self._ended.set()

    def _run(self) -> None:
        session = self._session
        start = time.monotonic() + self._pause
        end, pause = start + SEARCH_SECONDS, FIRST_PAUSE
        while not self._ended.is_set():
            try:
                waits = time.monotonic() < start
                connection = (named if waits else look_for)(session.connection)
                if connection is None:
                    session.give_up("it ended")
                    return
                answer_of(session.connect_again(connection))
            except ClusterUnreachable as error:
                if time.monotonic() > end:
                    session.give_up(f"{self._reason}; for {SEARCH_SECONDS:g} s it didn't come back ({error})")
                    return
            except (TwistclusterError, OSError) as error:  # another version, a journal that can't be used
                session.give_up(f"{self._reason}; it can't come back: {error}")
                return
            else:
                return
            self._ended.wait(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, longest_pause(session.connection))


def held(records: list[JobRecord], put: list[bytes]) -> Resume:
    """What this program holds of its jobs, and the values that it can send again."""
    return Resume([*map(_held, records)], put)


def _held(record: JobRecord) -> HeldJob:
    with record.condition:
        fates = record.fates
        printed = RangeSet.of((index, index + 1) for index in fates.outputs)
        known, failed = list(fates.known_ranges()), list(fates.overcome())
        return HeldJob(record.number, record.id, known, list(printed), record.count is not None, failed)


def offer(records: list[JobRecord], message: Resumed, outbox: Outbox, holdings: Holdings) -> None:
    """Say what the scheduler doesn't know: values, jobs, items, and what became of items. Who can't go on is told why."""
    lost = holdings.lost(message.missing)
    for stored, parts in lost:
        outbox.send(Keep([stored]), parts)
    known = {each.job: each for each in message.jobs}
    gone = outbox.offer({number: each.items for number, each in known.items()}, message.highest)
    for record in records:
        here = known.get(record.number)
        if here is not None:
            _offer_fates(record, RangeSet.of(here.untold), outbox, here.items)
        elif record.number in gone or record.number not in outbox.unkept.books:
            record.was_lost(ResultsGone(f"{record.label} isn't known to the cluster any more: it was forgotten there"))
        else:
            _offer_fates(record, RangeSet(), outbox, 0)
    outbox.send(Offered(holdings.all(but_once=[stored.id for stored, _ in lost])))


def _offer_fates(record: JobRecord, untold: RangeSet, outbox: Outbox, items: int) -> None:
    """What became of items, of which nothing is known there: those named, and all from `items` on."""
    with record.condition:
        for start, stop in record.fates.known_ranges():
            if stop > items:
                untold.add(max(start, items), stop)
        failures = dict(record.fates.failures)
    for start, stop in list(untold):
        for first, packed in record.held_in(start, stop):
            outbox.results(record.number, first, packed)
        for part in record.cancelled_in([(start, stop)]):
            outbox.cancel(record.number, *part)
        for index in range(start, stop) if stop - start < len(failures) else sorted(failures):
            failure: ItemFailure | None = failures.get(index)
            if failure is not None and start <= index < stop:
                outbox.failed(record.number, index, failure.info, failure.buffers)
