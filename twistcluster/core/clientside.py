"""The scheduler's side of its links to clients.

Owns: what each message of a client does. Must not know: how work gets to workers.
"""

import math
from typing import TYPE_CHECKING

from twistcluster.core.clients import Client
from twistcluster.core.effects import Admit
from twistcluster.core.jobs import Job
from twistcluster.core.objects import Sender, argument_of
from twistcluster.core.readers import reads
from twistcluster.core.returning import client_id
from twistcluster.core.servers import is_refused
from twistcluster.core.sources import downstream
from twistcluster.core.supply import Supply
from twistcluster.core.tries import check_limits
from twistcluster.errors import ProtocolError
from twistcluster.wire.frames import Buffer
from twistcluster.wire.limits import SLOTS
from twistcluster.wire.messages import (
    Adopt,
    Answer,
    Ask,
    Blob,
    Cancel,
    CloseJob,
    Context,
    Declined,
    Deny,
    Drop,
    Everywhere,
    Failed,
    Forget,
    ForgetJob,
    Goodbye,
    Heartbeat,
    Hello,
    Invite,
    Keep,
    KeepJob,
    Kept,
    ListJobs,
    ListServers,
    Message,
    Notice,
    Offered,
    OpenJob,
    Page,
    Release,
    Renew,
    RestartSlots,
    Restore,
    Results,
    Resume,
    Retry,
    Scale,
    Serve,
    Status,
    StopCluster,
    StopItems,
    Unserve,
    Values,
)

if TYPE_CHECKING:
    from twistcluster.core.scheduler import Scheduler

__all__ = ["ClientSide"]


class ClientSide:
    """Clients' messages."""

    __slots__ = ("_handlers", "_scheduler")

    def __init__(self, scheduler: "Scheduler") -> None:
        self._scheduler = scheduler
        self._handlers = {
            Blob: self._blob,
            Forget: self._forget,
            Context: self._context,
            OpenJob: self._open_job,
            Page: self._page,
            Values: self._values,
            CloseJob: self._close_job,
            Cancel: self._cancel,
            Retry: self._retry,
            Release: self._release,
            Adopt: self._adopt,
            Keep: self._keep,
            Drop: self._drop,
            Ask: self._ask,
            Resume: self._resume,
            Results: scheduler.returning.succeeded,
            Failed: scheduler.returning.failed,
            Offered: self._offered,
            Heartbeat: self._heartbeat,
            Renew: self._renew,
            Goodbye: self._goodbye,
        }

    def joined(self, peer: int, hello: Hello, serial: str = "") -> None:
        """A client was welcomed."""
        scheduler = self._scheduler
        client = scheduler.returning.joined(peer, hello)
        if client is None:
            client = Client(id=client_id(hello), peer=peer, hello=hello)
        client.serial = serial
        scheduler.clients[peer] = client
        scheduler.log("info", "client joined", client=client.name, peer=peer, **certified(serial))
        for worker in scheduler.leasing.workers.values():
            text = differing(worker.name, worker.hello.packages, hello.packages)
            if text:
                scheduler.send(peer, Notice("warning", text))

    def left(self, client: Client) -> None:
        """A client's link is gone."""
        scheduler = self._scheduler
        scheduler.objects.gone(_peer(client))
        client.peer = None
        client.returning = False
        client.left_at = scheduler.idle_since = scheduler.now
        scheduler.log("info", "client left", client=client.name)
        scheduler.supply.leave(client.blobs)
        client.blobs.clear()
        client.contexts.clear()
        for name, times in client.objects.items():
            scheduler.objects.release_ids([name] * times)
        client.objects.clear()
        watched = list(client.jobs.values())
        for job in watched:
            scheduler.telling.unwatch(client, job)
        if client.said_goodbye or not scheduler.keeping.on:
            self.stays_away(client)
        scheduler.wanted.left(client)
        for job in watched:
            scheduler.release_if_unwanted(job)
        if scheduler.keeping.on and any(job.owner is client for job in scheduler.jobs.values()):
            scheduler.returning.left(client)
        if client.hello.owner and client.hello.owner == scheduler.identity.owner:
            scheduler.end("its owner is gone")

    def stays_away(self, client: Client) -> None:
        """A client doesn't come back: what it was sending ends here."""
        for job in list(client.sending.values()):
            self._input_ended(job, job.arrived, "its client went away")

    def received(self, client: Client, message: Message, buffers: tuple[Buffer, ...]) -> None:
        """A client said something."""
        handler = self._handlers.get(type(message))
        if handler is None:
            raise ProtocolError(f"a client doesn't say {type(message).__name__}")
        handler(client, message, buffers)  # type: ignore[operator]

    # ---- what jobs are made of ----

    def _blob(self, client: Client, message: Blob, buffers: tuple[Buffer, ...]) -> None:
        if len(buffers) != 1:
            raise ProtocolError("a blob is one buffer")
        if message.digest not in client.blobs:
            client.blobs.add(message.digest)
            self._scheduler.supply.keep(message.digest, buffers[0])

    def _forget(self, client: Client, message: Forget, _: tuple[Buffer, ...]) -> None:
        gone = [digest for digest in dict.fromkeys(message.digests) if digest in client.blobs]
        client.blobs.difference_update(gone)
        self._scheduler.supply.leave(gone)
        for digest in message.digests:
            client.contexts.pop(digest, None)

    def _context(self, client: Client, message: Context, _: tuple[Buffer, ...]) -> None:
        missing = [d for d in Supply.parts(message) if d not in client.blobs]
        if missing:
            raise ProtocolError(f"context {message.digest.hex()} names blobs that were not sent")
        client.contexts[message.digest] = message

    def _open_job(self, client: Client, message: OpenJob, _: tuple[Buffer, ...]) -> None:
        scheduler = self._scheduler
        if message.job <= client.highest:
            raise ProtocolError(f"job number {message.job} was given before")
        if message.server:
            message, context = self._for_server(message)
        else:
            context = self._context_of(client, message)
        if message.count is not None and message.count < 0:
            raise ProtocolError(f"job {message.job} has {message.count} items")
        if not all(0 < amount < math.inf for amount in message.resources.values()):
            raise ProtocolError(f"job {message.job} needs {message.resources}: an amount is a number above 0")
        check_limits(message)
        source = client.jobs.get(message.source) if message.source else None
        if message.source and source is None:
            raise ProtocolError(f"job {message.job}: its source, job {message.source}, is none that this client knows")
        client.highest = message.job
        job = Job(scheduler.next_key(), client, message.job, message, context, scheduler.now, count=message.count)
        parts = [*message.functions, *message.definitions, *Supply.parts(context)]
        scheduler.supply.use(parts)
        job.blob_digests.extend(parts)
        scheduler.jobs[job.key] = job
        scheduler.leasing.opened(job)
        client.open_jobs += 1
        if message.count != 0 and source is None:
            client.sending[message.job] = job
        scheduler.telling.watch(client, message.job, job)
        if client.returning:
            scheduler.returning.withhold(job)
            scheduler.returning.suspects.opened(job)
        if scheduler.keeping.on:
            scheduler.keeping.opened(job, scheduler.supply, source)
            reads(job, [source] if source is not None else [])
        if source is not None:
            scheduler.sources.open(job, source)
        scheduler.settle(job)

    def _for_server(self, message: OpenJob) -> tuple[OpenJob, Context]:
        if message.source or message.resources:
            raise ProtocolError(f"job {message.job} is for a server, which says what its items need")
        return self._scheduler.servers.resolved(message)

    @staticmethod
    def _context_of(client: Client, message: OpenJob) -> Context:
        context = client.contexts.get(message.context)
        if context is None:
            raise ProtocolError(f"context {message.context.hex()} was named before it was sent")
        return context

    def _page(self, client: Client, message: Page, buffers: tuple[Buffer, ...]) -> None:
        scheduler = self._scheduler
        job = self._sending(client, message.job)
        if job is None:
            return
        scheduler.objects.check(message.objects, message.count)
        ties = message.edges and not is_refused(job)
        edges, inputs = scheduler.edges.resolve(client, job, message) if ties else (None, None)
        scheduler.supply.use(message.definitions)
        job.blob_digests.extend(message.definitions)
        page = job.add_page(message, buffers, edges)
        if scheduler.keeping.on:
            scheduler.keeping.page(job, page, scheduler.supply)
            reads(job, {other for wanted in (inputs or {}).values() for other, _ in wanted})
        sender = Sender(client.name, argument_of(job.title), scheduler.now) if message.objects else None
        scheduler.objects.made(client.peer, message.objects, sender=sender)
        scheduler.objects.hold(message.objects)
        if job.arrived == job.count:
            del client.sending[job.number]
        if message.objects:
            scheduler.places.made(message.objects, client.hello.host)
            scheduler.places.hint(job, message.first, message.objects)
        fed = scheduler.sources.grew(job, message.first)
        if inputs:
            scheduler.edges.arm(job, inputs, client)
        if is_refused(job):
            scheduler.servers.refuse(job)
        for each in [job, *fed]:
            if each.cancel_from is not None:
                self._cancel_range(each, each.cancel_from, each.arrived)
            for start, stop in each.cancelling.overlap(message.first, each.arrived):
                self._cancel_range(each, start, stop)
            scheduler.leasing.pending(each)
            scheduler.settle(each)

    def _values(self, client: Client, message: Values, buffers: tuple[Buffer, ...]) -> None:
        self._scheduler.wanted.received(client, message, buffers)

    def _close_job(self, client: Client, message: CloseJob, _: tuple[Buffer, ...]) -> None:
        job = self._sending(client, message.job)
        if job is not None and job.count is None:
            if message.count != job.arrived:
                raise ProtocolError(f"job {message.job} closed at {message.count}, but {job.arrived} items came")
            self._input_ended(job, message.count, message.error)

    def _input_ended(self, job: Job, count: int, error: str) -> None:
        """No more items will come than these, fewer perhaps than were promised."""
        scheduler = self._scheduler
        fed = downstream(job)
        for each in [job, *fed]:
            each.count = count
            each.input_error = f"input ended after {count} items: {error}" if error else ""
            each.owner.sending.pop(each.number, None)
            if each.links is not None:
                each.links.growing = False
            scheduler.telling.tell(each, CloseJob(each.number, count, each.input_error))
        for each in [job, *fed]:
            scheduler.edges.input_ended(each)
            scheduler.settle(each)

    # ---- what becomes of them ----

    def _cancel(self, client: Client, message: Cancel, _: tuple[Buffer, ...]) -> None:
        scheduler = self._scheduler
        job = client.jobs.get(message.job)
        if job is None or job.over:
            return
        if scheduler.keeping.on:
            scheduler.keeping.cancelling(job, message)
        if message.stop is not None:
            self._cancel_range(job, message.start, min(message.stop, job.arrived))
            job.cancelling.add(max(message.start, job.arrived), message.stop)  # those that are on their way
        else:
            before = job.cancel_from
            job.cancel_from = message.start if before is None else min(before, message.start)
            self._cancel_range(job, message.start, job.arrived)
            if job.arrived >= job.cancel_from and job.expects_more:
                self._cancel_input(job)
        scheduler.settle(job)

    def _cancel_range(self, job: Job, start: int, stop: int) -> None:
        scheduler = self._scheduler
        job.cancelling.add(start, stop)
        self._scheduler.fates.cancel(job, job.spans.finish(start, stop))
        for lease in list(job.spans.leases.values()):
            if lease.left.overlap(start, stop):
                scheduler.leasing.revoke(lease, 0)
                scheduler.send(lease.holder.peer, StopItems(lease.number, start, stop))

    def _cancel_input(self, job: Job) -> None:
        """What of a job's items hasn't come yet is cancelled unseen: pages on their way won't be looked at."""
        if job.count is None:
            self._input_ended(job, job.arrived, "")
            return
        missing = (job.arrived, job.count)
        fed = downstream(job)
        for each in [job, *fed]:
            each.owner.sending.pop(each.number, None)
            if each.links is not None:
                each.links.growing = False
            self._scheduler.fates.cancel_unseen(each)
        for each in [job, *fed]:
            self._scheduler.fates.cancel_dependents(each, [missing])
            self._scheduler.settle(each)

    def _retry(self, client: Client, message: Retry, _: tuple[Buffer, ...]) -> None:
        scheduler = self._scheduler
        job = client.jobs.get(message.job)
        if job is None or not job.failed:
            return
        if job.over:
            job.advance("retried")
            job.owner.open_jobs += 1
        if scheduler.keeping.on:
            scheduler.keeping.retried(job)
            job.rounds += 1
        ranges = job.reopen_failed()
        if job.links is not None:
            scheduler.edges.rearm(job, ranges, client)
            scheduler.sources.rearm(job, ranges, client)
        if is_refused(job):
            scheduler.servers.refuse(job)
        scheduler.leasing.pending(job)
        scheduler.settle(job)

    def _release(self, client: Client, message: Release, _: tuple[Buffer, ...]) -> None:
        job = client.jobs.get(message.job)
        if job is not None:
            self._scheduler.telling.unwatch(client, job)
            self._scheduler.release_if_unwanted(job)

    def _adopt(self, client: Client, message: Adopt, _: tuple[Buffer, ...]) -> None:
        scheduler = self._scheduler
        found = [job for job in scheduler.jobs.values() if message.id in (job.id, job.info.label)]
        if message.job <= client.highest:
            raise ProtocolError(f"job number {message.job} was given before")
        if not found:
            text = f"No job {message.id!r} is known here. cluster.jobs() lists those that are."
            scheduler.send(_peer(client), Declined(message.request, "unknown", text))
            return
        job = max(found, key=lambda j: (j.owner is client, j.key))
        if job.log.base > 0:
            text = f"The results of {job.info.label} were handed to {job.owner.name} and are held no more."
            scheduler.send(_peer(client), Declined(message.request, "gone", text))
            return
        client.highest = message.job
        scheduler.send(_peer(client), Answer(message.request, jobs=[job.status(client, scheduler.now)]))
        if job.kept is not None:
            scheduler.send(_peer(client), Kept(message.job, job.kept, job.kept_whole))
        scheduler.telling.watch(client, message.job, job)

    # ---- what it says after it came back ----

    def _resume(self, client: Client, message: Resume, _: tuple[Buffer, ...]) -> None:
        self._scheduler.returning.resume(client, message)

    def _offered(self, client: Client, message: Offered, _: tuple[Buffer, ...]) -> None:
        self._scheduler.returning.offered(client, message)

    # ---- values in stores ----

    def _keep(self, client: Client, message: Keep, _: tuple[Buffer, ...]) -> None:
        objects = self._scheduler.objects
        objects.check(message.objects, 1)
        objects.made(client.peer, message.objects, sender=Sender(client.name, "put", self._scheduler.now))
        self._scheduler.places.made(message.objects, client.hello.host)
        objects.hold(message.objects)
        for each in message.objects:
            client.objects[each.id] = client.objects.get(each.id, 0) + 1

    def _drop(self, client: Client, message: Drop, _: tuple[Buffer, ...]) -> None:
        for name in message.ids:
            times = client.objects.pop(name, 0)
            if times > 1:
                client.objects[name] = times - 1
            if times:
                self._scheduler.objects.release_ids([name])

    # ---- questions ----

    def _ask(self, client: Client, message: Ask, _: tuple[Buffer, ...]) -> None:
        scheduler, peer, question = self._scheduler, _peer(client), message.question
        match question:
            case Status():
                scheduler.send(peer, Answer(message.request, status=scheduler.status()))
            case ListJobs():
                jobs = [
                    job.status(client, scheduler.now)
                    for job in reversed(scheduler.jobs.values())
                    if not question.name or question.name in (job.id, job.info.label)
                ]
                scheduler.send(peer, Answer(message.request, jobs=jobs))
            case Serve() | Unserve() | ListServers():
                scheduler.servers.asked(client, message.request, question)
            case Scale():
                self._scale(peer, message.request, question)
            case RestartSlots():
                for worker in scheduler.leasing.workers.values():
                    scheduler.send(worker.peer, question)
                scheduler.send(peer, Answer(message.request))
            case Everywhere():
                self._everywhere(client, message.request, question)
            case Restore():
                scheduler.bringing.asked(question.id, (client, message.request))
            case ForgetJob():
                self._forget_job(peer, message.request, question)
            case KeepJob():
                scheduler.safekeeping.asked(client, message.request, question.id)
            case Invite() | Deny():
                scheduler.effects.append(Admit(peer, question, message.request))
            case StopCluster():
                self._stop(client, message.request, question)

    def _forget_job(self, peer: int, request: int, question: ForgetJob) -> None:
        scheduler = self._scheduler
        for job in [each for each in scheduler.jobs.values() if each.id == question.id]:
            if not job.over or job.needed:
                why = "others wait for its results" if job.over else "it isn't over: cancel it, or wait for it"
                scheduler.send(peer, Declined(request, "invalid", f"{job.title} can't be forgotten now: {why}."))
                return
            scheduler.forget(job)
        scheduler.send(peer, Answer(request))

    def _scale(self, peer: int, request: int, question: Scale) -> None:
        scheduler = self._scheduler
        local = next((w for w in scheduler.leasing.workers.values() if w.local), None)
        if local is None:
            text = "This cluster has no worker of its own: start one with `twistcluster-worker --join NAME --slots N`."
            scheduler.send(peer, Declined(request, "invalid", text))
        elif not 0 <= question.slots <= SLOTS:
            text = f"A worker has 0 to {SLOTS:,} slots, not {question.slots:,}: twistcluster-worker joins more workers."
            scheduler.send(peer, Declined(request, "invalid", text))
        else:
            scheduler.send(local.peer, question)
            scheduler.send(peer, Answer(request))

    def _everywhere(self, client: Client, request: int, question: Everywhere) -> None:
        scheduler = self._scheduler
        context = client.contexts.get(question.context)
        known = context is not None and all(part in client.blobs for part in Supply.parts(context))
        if context is None or not known or question.function not in client.blobs:
            raise ProtocolError("everywhere names a context or a function that was not sent")
        scheduler.steps.begin(client, request, question, context)

    def _stop(self, client: Client, request: int, question: StopCluster) -> None:
        scheduler = self._scheduler
        others = [c.name for c in scheduler.clients.values() if c is not client]
        open_jobs = scheduler.open_jobs()
        if not question.force and (others or open_jobs):
            why = " and ".join(
                [f"{', '.join(others)} use{'s' if len(others) == 1 else ''} it"] * bool(others)
                + [f"{len(open_jobs)} job{'s are' if len(open_jobs) > 1 else ' is'} open"] * bool(open_jobs)
            )
            text = f"The cluster wasn't stopped: {why}. stop(force=True), or `%cluster stop --force`, stops it anyway."
            scheduler.send(_peer(client), Declined(request, "busy", text))
            return
        scheduler.send(_peer(client), Answer(request))
        scheduler.end(f"stopped by {client.name}")

    def _heartbeat(self, client: Client, message: Heartbeat, _: tuple[Buffer, ...]) -> None:
        self._scheduler.send(_peer(client), message)

    def _renew(self, client: Client, message: Renew, _: tuple[Buffer, ...]) -> None:
        if not client.serial:
            raise ProtocolError("Renew from a peer that has no certificate")
        self._scheduler.effects.append(Admit(_peer(client), message))

    def _goodbye(self, client: Client, _message: Goodbye, _: tuple[Buffer, ...]) -> None:
        client.said_goodbye = True
        if client.hello.owner and client.hello.owner == self._scheduler.identity.owner:
            self._scheduler.end("closed by its owner")

    def _sending(self, client: Client, number: int) -> Job | None:
        """A job that a client may send items of; None for one that was cancelled while they were on their way."""
        job = client.sending.get(number)
        if job is None:
            if number > client.highest:
                raise ProtocolError(f"job {number} was named before it was opened")
            known = client.jobs.get(number)
            if known is not None and known.owner is client and known.info.source:
                raise ProtocolError(f"job {number} has a source: its items come from there")
        return job


def _peer(client: Client) -> int:
    assert client.peer is not None
    return client.peer


def certified(serial: str) -> dict[str, object]:
    """What a line of the log says beside a member's name."""
    return {"serial": serial} if serial else {}


def differing(worker: str, theirs: dict[str, str], ours: dict[str, str]) -> str:
    """A line about packages whose versions differ between a worker and a client; empty where none does."""
    pairs = [
        f"{name} {theirs[name]} (here {ours[name]})"
        for name in sorted(theirs)
        if ours.get(name, theirs[name]) != theirs[name]
    ]
    return f"{worker} has other versions: {', '.join(pairs)}. Results may differ or fail to load." if pairs else ""
