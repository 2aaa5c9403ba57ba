"""Why nothing of a job runs, in words, or so little.

Owns: the words. Must not know: who is told.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twistcluster.core.jobs import Job
    from twistcluster.core.leasing import Leasing
    from twistcluster.core.workers import Worker

__all__ = ["why_waiting"]


def why_waiting(job: "Job", leasing: "Leasing") -> str:
    """For people; empty where nothing needs saying."""
    if job.over or job.spans.finished == job.count:
        return ""
    for worker in leasing.troubled:
        if any(held is job for held, _ in worker.leases.values()):
            return _trouble(worker)
    if job.spans.leases:
        if any(lease.holder.ready for lease in job.spans.leases.values()):
            return _short(job, leasing) if job.spans.pending else ""
        return "no slot is up yet; if that lasts, the worker's log says why"
    if not job.spans.pending:
        return "its inputs aren't done yet" if job.spans.waiting else ""
    if job.withheld:
        return "the cluster came back: it waits a moment for the clients that it had"
    if job.owner.blocked:
        return "its client has not fetched earlier results: cluster.job(NAME).results() does"
    if not leasing.workers:
        return "no worker is here: start one with twistcluster-worker --join NAME"
    if not leasing.slots:
        for worker in leasing.troubled:
            return _trouble(worker)
        if any(worker.leaving for worker in leasing.workers.values()):
            return "every worker is leaving: start another with twistcluster-worker --join NAME"
        return "no worker has a slot: cluster.scale(N) gives a cluster's own worker some"
    if not leasing.runnable(job):
        needs = ", ".join(f"{name}={amount:g}" for name, amount in job.needs)
        return f"no worker offers {needs}"
    return _short(job, leasing)


def _trouble(worker: "Worker") -> str:
    """What is the matter with a worker. The words don't change from second to second: each change is told."""
    if worker.suspect:
        return f"worker {worker.name} doesn't answer: it gets nothing new until it does"
    pids = " ".join(map(str, worker.stopped))
    which = "a slot is stopped" if len(worker.stopped) == 1 else f"{len(worker.stopped)} slots are stopped"
    return f"worker {worker.name}: {which}; kill -CONT {pids} lets what runs there go on"


def _short(job: "Job", leasing: "Leasing") -> str:
    """All workers that could run it are short of memory."""
    short = []
    for worker in leasing.workers.values():
        if worker.width(job.needs):
            if not worker.short:
                return ""
            short.append(worker)
    if not short:
        return ""
    others = "" if len(short) == 1 else f" ({len(short) - 1} more as well)"
    return f"worker {short[0].name}{others} is {short[0].short}"
