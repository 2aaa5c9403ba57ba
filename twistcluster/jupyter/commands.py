"""What the commands of `%cluster` do about clusters and jobs, on the public API.

Owns: that, and the sentences that say what was done. Must not know: how a line is parsed, or how errors are shown;
`work.py` has the commands that send something.
"""

import difflib
import socket
from collections.abc import Callable, Mapping
from typing import Any

from twistcluster.client.invitations import EXPIRES_S
from twistcluster.client.tables import remarks, serials, table
from twistcluster.cluster import Cluster, Job, clusters, connect
from twistcluster.core.tokens import JOIN_ROLES
from twistcluster.errors import ClusterUnreachable, JobNotFound, OptionsDiffer, TwistclusterError
from twistcluster.jupyter.grammar import GrammarError, Request, count_argument, help_text
from twistcluster.jupyter.progress import duration
from twistcluster.jupyter.session import DEFAULT_NAME, Session
from twistcluster.jupyter.texts import count_of, open_jobs, shortened
from twistcluster.wire.messages import JobStatus, WorkerStatus

__all__ = ["ACTIONS", "Action"]

Action = Callable[[Session, Request], object]
"""Carries out a command; what it returns is the value of the line."""

SHOWN = 20
"""Rows of a list of errors, and items of a job's logs."""


def _start(session: Session, request: Request) -> None:
    name, slots = request.text("name") or DEFAULT_NAME, request.number("slots")
    cluster = _same(session, name) if slots is None else None
    try:
        _take(session, cluster or Cluster(name=name, slots=slots), request)
    except OptionsDiffer as error:
        difference = str(error).partition("\n")[0]
        use = f"Use it as it is: %cluster connect {name}     Then, if you like: %cluster scale {slots}"
        raise OptionsDiffer(f"{difference}\n{use}") from None


def _connect(session: Session, request: Request) -> None:
    target = request.arguments[0]
    try:
        _take(session, _same(session, target) or connect(target), request)
    except ClusterUnreachable as error:
        # What the error itself advises is for a shell.
        if "/" in target or any(target in {each.name, each.id} for each in clusters()):
            raise
        reason = str(error).partition(";")[0]
        start = f"Start it: %cluster start --name {target}     Those that run: %cluster list"
        raise ClusterUnreachable(f"{reason}.\n{start}") from None


def _same(session: Session, name: str) -> Cluster | None:
    """The current cluster, if it has this name and is still there: a cell that is run again starts nothing new."""
    current = session.current
    if current is None or current.name != name:
        return None
    try:
        current.status()
    except TwistclusterError:
        return None
    return current


def _take(session: Session, cluster: Cluster, request: Request) -> None:
    session.use(cluster)
    workers = cluster.workers()
    size = f"{count_of(_slots(workers), 'slot')} on {count_of(len(workers), 'worker')}"
    print(f"Cluster {cluster.name!r}: {size}. {session.bind(cluster, request.text('as'))}")
    print("Look at it: %cluster status     End it: %cluster stop     More: %cluster help")


def _slots(workers: list[WorkerStatus]) -> int:
    return sum(worker.slots for worker in workers)


def _list(session: Session, request: Request) -> None:
    current = session.current
    rows = [
        [
            "*" if current is not None and found.id == current.id else "",
            found.name or found.id,
            found.kind,
            found.slots,
            str(found.pid),
            f"{found.started:.16}".replace("T", " "),
        ]
        for found in clusters()
    ]
    if not rows:
        print("You run no cluster on this machine. Start one: %cluster start")
        return
    print(table(["", "name", "kind", "slots", "pid", "since (UTC)"], rows))
    print("\n* is this notebook's. Use another: %cluster connect NAME")


def _status(session: Session, request: Request) -> None:
    status = session.cluster().status()
    workers = status.workers
    named = f"Cluster {status.name or status.id!r}"
    print(f"{named}: up {duration(status.uptime)}, {count_of(len(status.clients), 'client')}, ", end="")
    print(f"{open_jobs(status.jobs_open, status.items_pending)}.")
    here = socket.gethostname()
    rows = [
        [
            worker.name,
            "this machine" if worker.host == here else worker.host,
            worker.slots,
            worker.busy,
            worker.crashes,
        ]
        for worker in workers
    ]
    join = f"No worker. Join one, in a terminal: twistcluster-worker --join {status.name or status.id}"
    print()
    print(table(["worker", "where", "slots", "busy", "crashes"], rows) if rows else join)
    for line in [*remarks(workers), *serials(status)]:
        print(line)
    print("\nJobs: %cluster jobs     More slots: %cluster scale N     End it: %cluster stop")


def _jobs(session: Session, request: Request) -> None:
    jobs = session.cluster().jobs()
    if not jobs:
        print("No jobs yet. Start one: %cluster map f(x) for x in items")
        return
    rows = [_job_row(job) for job in jobs]
    print(table(["job", "state", "items", "done", "failed", "cancelled", "age", "from"], rows))
    print(f"\nOne of them: %cluster job {jobs[0].label}     Its errors: %cluster errors {jobs[0].label}")


def _job_row(job: JobStatus) -> list[object]:
    sender = "this notebook" if job.yours else job.client
    count = "?" if job.count is None else job.count
    return [job.label, job.state, count, job.done, job.failed, job.cancelled, duration(job.age), sender]


def _job_of(session: Session, request: Request) -> Job[Any]:
    name, cluster = request.arguments[0], session.cluster()
    try:
        return cluster.job(name)
    except JobNotFound:
        near = difflib.get_close_matches(name, {job.label for job in cluster.jobs()}, n=1)
        meant = f"\nDid you mean: %cluster {request.command.name} {near[0]}" if near else ""
        raise JobNotFound(f"this cluster knows no job {name!r}.{meant}\nAll jobs: %cluster jobs") from None


def _cancel(session: Session, request: Request) -> None:
    job = _job_of(session, request)
    if job.done():
        print(f"{job.name} is over already ({job.state}). What came of it: %cluster job {job.name}")
        return
    job.cancel()
    print(f"{job.name} is cancelled: what runs of it is stopped. What is done: %cluster job {job.name}")


def _logs(session: Session, request: Request) -> None:
    index = count_argument(request, 1, 0)
    job = _job_of(session, request)
    if index is not None:
        print(job.logs(index) or f"Item {index} of {job.name} printed nothing.")
        return
    printed = job.logs()
    if not printed:
        print(f"{job.name} printed nothing.")
    for item, text in list(printed.items())[:SHOWN]:
        body = text.rstrip("\n").replace("\n", "\n    ")
        print(f"[{item}] {body}")
    if len(printed) > SHOWN:
        print(f"… and {count_of(len(printed) - SHOWN, 'more item')}. One of them: %cluster logs {job.name} I")


def _errors(session: Session, request: Request) -> None:
    job = _job_of(session, request)
    errors = job.errors()
    if not errors:
        print(f"{job.name} has no errors.")
        return
    rows = [
        [index, type(found.error).__name__, shortened(str(found.error))]
        for index, found in list(errors.items())[:SHOWN]
    ]
    print(table(["item", "error", "message"], rows))
    if len(errors) > SHOWN:
        print(f"… and {len(errors) - SHOWN:,} more: cluster.job({job.name!r}).errors()")
    print(f"\nWith tracebacks: cluster.job({job.name!r}).errors()     Again: %cluster retry {job.name}")


def _retry(session: Session, request: Request) -> None:
    job = _job_of(session, request)
    count = job.retry()
    if count:
        print(f"{count_of(count, 'item')} of {job.name} will run again. Look at it: %cluster job {job.name}")
    else:
        print(f"{job.name} has no failed items.")


def _scale(session: Session, request: Request) -> None:
    slots = count_argument(request, 0, 1)
    assert slots is not None
    session.cluster().scale(slots)
    print(f"{count_of(slots, 'slot')} from here on. Look: %cluster status")


def _invite(session: Session, request: Request) -> None:
    role = request.text("role") or "worker"
    if role not in JOIN_ROLES:
        raise GrammarError(f"--role {role}: another machine joins as {' or '.join(JOIN_ROLES)}")
    uses, expires = request.number("uses"), request.options.get("expires")
    cluster = session.cluster()
    try:
        invitation = cluster.invite(role, 1 if uses is None else uses, EXPIRES_S if expires is None else expires)
    except ValueError as error:
        raise GrammarError(str(error)) from None
    invitation.show()


def _restart(session: Session, request: Request) -> None:
    session.cluster().restart()
    print("All slots are new processes; jobs go on. Look: %cluster status")


def _stop(session: Session, request: Request) -> None:
    cluster = session.cluster()
    cluster.stop(force=request.has("force"))
    session.leave()
    print(f"Cluster {cluster.name!r} is stopped. Another: %cluster start")


def _help(session: Session, request: Request) -> None:
    print(help_text(*request.arguments))


ACTIONS: Mapping[str, Action] = {
    "start": _start,
    "connect": _connect,
    "list": _list,
    "status": _status,
    "jobs": _jobs,
    "job": _job_of,
    "cancel": _cancel,
    "logs": _logs,
    "errors": _errors,
    "retry": _retry,
    "scale": _scale,
    "invite": _invite,
    "restart": _restart,
    "stop": _stop,
    "help": _help,
}
"""By the command's name."""
