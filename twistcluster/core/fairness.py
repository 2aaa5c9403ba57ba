"""Whose turn it is: jobs with pending items, by priority, then fairly.

Owns: the order. Fairness is counted in slot-seconds: between clients, then between one client's jobs, so that a single
submit isn't stuck behind its own client's map of ten million. Jobs that feed each other count as one. Must not know: leases, workers beyond what fits them.
"""

from heapq import heappop, heappush, heapreplace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from twistcluster.core.clients import Client
    from twistcluster.core.jobs import Job
    from twistcluster.core.workers import Needs

__all__ = ["ReadyJobs"]

Lane = list[tuple[float, int, "Job"]]


class ReadyJobs:
    """Jobs that have pending items: priority -> client -> needs -> heap by slot-seconds.

    The job that is picked stays where it is; `charge` moves it behind those that have had less. A job without pending
    items is dropped when its turn comes, not searched for.
    """

    __slots__ = ("_clock", "_lanes", "_picked", "_priorities")

    def __init__(self) -> None:
        self._lanes: dict[int, dict[Client, dict[Needs, Lane]]] = {}
        self._priorities: list[int] = []
        self._picked: Lane = []
        self._clock = 0.0

    def __bool__(self) -> bool:
        return bool(self._priorities)

    def priorities(self) -> list[int]:
        """Of the jobs here, the highest first."""
        return self._priorities

    def add(self, job: "Job") -> bool:
        """A job has pending items; returns whether it is new here."""
        if job.queued:
            return False
        job.queued = True
        owner, priority = job.owner, job.info.priority
        clients = self._lanes.get(priority)
        if clients is None:
            clients = self._lanes[priority] = {}
            self._priorities = sorted(self._lanes, reverse=True)
        if owner not in clients:
            # Who comes, or comes back, starts at the present: time away earns nothing.
            owner.usage = max(owner.usage, self._clock)
        job.usage = max(job.usage, owner.clock)
        lane = clients.setdefault(owner, {}).setdefault(job.needs, [])
        heappush(lane, (place(job), job.key, job))
        return True

    def pick(self, priority: int, fits: "Callable[[Needs], bool]") -> "Job | None":
        """The job of this priority whose turn it is, among those whose needs fit."""
        clients = self._lanes.get(priority)
        if clients is None:
            return None
        for client in list(clients) if len(clients) == 1 else sorted(clients, key=lambda c: c.usage):
            if client.blocked:
                continue
            lanes = clients[client]
            lane = self._next_lane(lanes, fits)
            if lane is not None:
                self._picked = lane
                job = lane[0][2]
                self._clock = max(self._clock, client.usage)
                client.clock = max(client.clock, lane[0][0])
                return job
            if not lanes:
                del clients[client]
        if not clients:
            del self._lanes[priority]
            self._priorities = sorted(self._lanes, reverse=True)
        return None

    @staticmethod
    def _next_lane(lanes: "dict[Needs, Lane]", fits: "Callable[[Needs], bool]") -> "Lane | None":
        best: Lane | None = None
        for needs in list(lanes):
            lane = lanes[needs]
            while lane:
                known, key, job = lane[0]
                if not job.spans.pending:
                    heappop(lane)[2].queued = False
                elif known < place(job):  # jobs that it feeds were charged meanwhile
                    heapreplace(lane, (place(job), key, job))
                else:
                    break
            if not lane:
                del lanes[needs]
            elif fits(needs) and (best is None or lane[0] < best[0]):
                best = lane
        return best

    def charge(self, job: "Job", seconds: float) -> None:
        """The job that was picked last was given slot-seconds."""
        job.root.usage += seconds
        job.owner.usage += seconds
        lane = self._picked
        if lane and lane[0][2] is job:
            heapreplace(lane, (place(job), job.key, job))


def place(job: "Job") -> float:
    """Where it stands in its lane: by slot-seconds, but what another job feeds goes first, the last of a chain before all.

    So what a job made is used up before more of it is made; a chain's slot-seconds are all its first job's.
    """
    return -float(job.depth) if job.depth else job.usage
