"""Whose turn it is: jobs with pending items, by priority, then fairly.

Owns: the order. Fairness is counted in slot-seconds: between clients, then between one client's jobs, so that a single
submit isn't stuck behind its own client's map of ten million. Must not know: leases, workers beyond what fits them.
"""

from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from twistcluster.core.clients import Client
    from twistcluster.core.jobs import Job
    from twistcluster.core.workers import Needs

__all__ = ["ReadyJobs"]

Lane = list[tuple[float, int, "Job"]]


class ReadyJobs:
    """Jobs that have pending items: priority -> client -> needs -> heap by slot-seconds."""

    __slots__ = ("_clock", "_lanes")

    def __init__(self) -> None:
        self._lanes: dict[int, dict[Client, dict[Needs, Lane]]] = {}
        self._clock = 0.0

    def __bool__(self) -> bool:
        return bool(self._lanes)

    def priorities(self) -> list[int]:
        """Of the jobs here, the highest first."""
        return sorted(self._lanes, reverse=True)

    def add(self, job: "Job") -> None:
        """A job has pending items. One that is here already stays where it is."""
        if job.queued:
            return
        job.queued = True
        owner = job.owner
        clients = self._lanes.setdefault(job.info.priority, {})
        if owner not in clients:
            # Who comes, or comes back, starts at the present: time away earns nothing.
            owner.usage = max(owner.usage, self._clock)
        job.usage = max(job.usage, owner.clock)
        lane = clients.setdefault(owner, {}).setdefault(job.resources, [])
        heappush(lane, (job.usage, job.key, job))

    def pick(self, priority: int, fits: "Callable[[Needs], bool]") -> "Job | None":
        """Take out the job of this priority whose turn it is, among those whose needs fit."""
        clients = self._lanes.get(priority)
        if clients is None:
            return None
        for client in list(clients) if len(clients) == 1 else sorted(clients, key=lambda c: c.usage):
            if client.blocked:
                continue
            job = self._pick_of(clients[client], fits)
            if not clients[client]:
                del clients[client]
            if job is not None:
                self._clock = max(self._clock, client.usage)
                client.clock = max(client.clock, job.usage)
                if not clients:
                    self._lanes.pop(priority, None)
                return job
        if not clients:
            self._lanes.pop(priority, None)
        return None

    @staticmethod
    def _pick_of(lanes: "dict[Needs, Lane]", fits: "Callable[[Needs], bool]") -> "Job | None":
        best: Lane | None = None
        for needs in list(lanes):
            lane = lanes[needs]
            # Jobs whose items were cancelled or taken since are dropped here, not searched for there.
            while lane and not lane[0][2].spans.pending:
                heappop(lane)[2].queued = False
            if not lane:
                del lanes[needs]
            elif fits(needs) and (best is None or lane[0][0] < best[0][0]):
                best = lane
        if best is None:
            return None
        job = heappop(best)[2]
        job.queued = False
        if not best:
            del lanes[job.resources]
        return job

    @staticmethod
    def charge(job: "Job", seconds: float) -> None:
        """A job was given slot-seconds. Call it while the job is out of the queue."""
        job.usage += seconds
        job.owner.usage += seconds
