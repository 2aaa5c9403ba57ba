"""The scheduler's vigil over its workers: who answers, who is a suspect, who is lost.

Owns: these judgements and their times. Must not know: links, messages of jobs.

Rules:
- A link that ends is a death at once; this is about workers whose links stay and say nothing (SIGSTOP, a host that swaps).
- Bytes count as much as words: a large result may be on its way for longer than any silence may last, and heartbeats and
  answers stand behind it.
- A suspect gets nothing new, and isn't counted as help for others. It keeps what it has, and with its next word (or the
  answer that it owes) it is trusted again.
- Who is lost has its link closed in the same turn, so that nothing that it says later is heard; what it had is run
  elsewhere. It may join anew.
- Silence is counted from look to look, one a second, and never more than `AT_MOST_S` of it: time in which this process
  slept, or was busy itself, is nobody's silence.
- Clients are never judged: a call into C may hold their thread for a minute. Nor is the worker in the scheduler's own
  process: what stops it stops the judge.
"""

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Final

from twistcluster.core.effects import Close
from twistcluster.core.workers import Worker
from twistcluster.wire.messages import SlotsChanged

if TYPE_CHECKING:
    from twistcluster.core.scheduler import Scheduler
    from twistcluster.core.workerside import WorkerSide

__all__ = ["AT_MOST_S", "LOOK_S", "LOST_AFTER_S", "REVOKE_S", "SUSPECT_AFTER_S", "Vigil"]

LOOK_S: Final = 1.0
"""Between two looks."""
AT_MOST_S: Final = 1.5
"""What the time between two looks counts for at most."""
SUSPECT_AFTER_S: Final = 5.0
"""Of silence; half of `lost_after_s` where that is less."""
LOST_AFTER_S: Final = 30.0
"""Of silence."""
REVOKE_S: Final = 2.0
"""Without an answer to a `Revoke`, until a worker is a suspect."""


class Vigil:
    """Looks at all workers once a second.

    Args:
        scheduler: whose workers.
        worker_side: sees to what a lost worker had.
        lost_after_s: how much silence is a loss.
    """

    __slots__ = ("_looked", "_scheduler", "_suspect_after_s", "_worker_side", "lost_after_s")

    def __init__(self, scheduler: "Scheduler", worker_side: "WorkerSide", lost_after_s: float) -> None:
        self._scheduler = scheduler
        self._looked = scheduler.now
        self._worker_side = worker_side
        self.lost_after_s = lost_after_s
        self._suspect_after_s = min(SUSPECT_AFTER_S, lost_after_s / 2)

    def look(self) -> None:
        """A second has passed."""
        now = self._scheduler.now
        passed_s, self._looked = min(now - self._looked, AT_MOST_S), now
        quiet, sending = [], set()
        for worker in self._scheduler.leasing.workers.values():
            if worker.heard or worker.came:
                if not worker.heard:
                    sending.add(worker)
                worker.heard = worker.came = False
                worker.silent_s = 0.0
            elif not worker.local:
                quiet.append(worker)
        for worker in quiet:
            worker.silent_s += passed_s
            if worker.silent_s >= self.lost_after_s:
                self._lose(worker)
            elif worker.silent_s >= self._suspect_after_s:
                self._suspect(worker, f"silent for {worker.silent_s:.0f} s")
        self._look_at_answers(passed_s, sending)

    def bytes_came(self, peers: Iterable[int]) -> None:
        """From these links bytes came since this was said last, of whole messages or of a part of one."""
        for peer in peers:
            if (worker := self._scheduler.leasing.workers.get(peer)) is not None:
                worker.came = True
                if worker.suspect:
                    self.heard(worker)

    def heard(self, worker: Worker) -> None:
        """A suspect said something, or a part of it."""
        owed = worker.overdue
        if owed is None or not (owed.revoked and owed.left):
            worker.overdue = None
            worker.silent_s = 0.0
            self._scheduler.leasing.trust(worker)
            self._scheduler.log("info", "worker answers again", worker=worker.name)

    def told(self, worker: Worker, message: SlotsChanged) -> None:
        """A worker told of its slots: which are stopped, and whether it leaves."""
        leasing = self._scheduler.leasing
        if message.stopped != worker.stopped:
            worker.stopped = message.stopped
            if message.stopped:
                leasing.troubled[worker] = None
            elif not worker.suspect:
                leasing.troubled.pop(worker, None)
        if message.leaving and not worker.leaving:
            worker.leaving = True
            self._scheduler.log("info", "worker is leaving", worker=worker.name, leases=len(worker.leases))

    def _suspect(self, worker: Worker, why: str) -> None:
        if not worker.suspect:
            self._scheduler.log("warning", "worker is a suspect", worker=worker.name, why=why)
        self._scheduler.leasing.doubt(worker, why)

    def _lose(self, worker: Worker) -> None:
        why = f"said nothing for {worker.silent_s:.0f} s"
        self._scheduler.effects.append(Close(worker.peer, f"it {why}"))
        self._worker_side.lost(worker, why)

    def _look_at_answers(self, passed_s: float, sending: Collection[Worker]) -> None:
        asked = self._scheduler.leasing.asked
        for lease, waited_s in list(asked.items()):
            worker = lease.holder
            if worker.local or not (lease.revoked and lease.left):
                del asked[lease]
                continue
            if worker in sending:
                continue
            # The first look may come right after the question: it counts for nothing.
            asked[lease] = waited_s + passed_s if waited_s >= 0.0 else 0.0
            if asked[lease] >= REVOKE_S and not worker.suspect:
                worker.overdue = lease
                self._suspect(worker, "it doesn't answer")
