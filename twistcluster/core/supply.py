"""What each worker has been sent, and what of it must go ahead of a lease.

Owns: the blobs that clients sent, counted by who needs them, and their way to workers: each once. Must not know: when a
lease is due.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twistcluster.core.deliveries import Deliveries
from twistcluster.core.effects import Effect, Send
from twistcluster.core.jobs import Job, PageRecord
from twistcluster.core.objects import Objects
from twistcluster.core.workers import Worker
from twistcluster.errors import ProtocolError
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import Blob, Context, DropPages, EndJob, Forget, OpenJob

if TYPE_CHECKING:
    from twistcluster.core.keeping import Keeping

__all__ = ["Supply"]

UNNEEDED_BYTES = 1 << 20
"""Pages that a worker may drop are told to it once they are more than this together."""


@dataclass(slots=True, eq=False)
class BlobRecord:
    data: Buffer
    users: int = 0
    """Clients that count on it being here, and jobs."""
    workers: dict[Worker, None] = field(default_factory=dict)


class Supply:
    """Blobs and pages on their way to workers."""

    __slots__ = ("_blobs", "_effects", "_objects", "deliveries", "keeping")

    def __init__(self, effects: list[Effect], objects: Objects) -> None:
        self._objects = objects
        self._blobs: dict[bytes, BlobRecord] = {}
        self._effects = effects
        self.keeping: Keeping | None = None
        """Where there is a journal."""
        self.deliveries = Deliveries(effects, self)

    def keep(self, digest: bytes, data: Buffer) -> None:
        """A client sent a blob, and counts on it."""
        record = self._blobs.get(digest)
        if record is None:
            record = self._blobs[digest] = BlobRecord(data)
        record.users += 1

    def load(self, digest: bytes, data: Buffer) -> None:
        """A blob is in the journal; who needs it says so with `use`."""
        self._blobs.setdefault(digest, BlobRecord(data))

    def use(self, digests: Iterable[bytes]) -> None:
        """A job needs these."""
        records = []
        for digest in digests:
            record = self._blobs.get(digest)
            if record is None:
                raise ProtocolError(f"blob {digest.hex()} was named before it was sent")
            records.append(record)
        for record in records:
            record.users += 1

    def leave(self, digests: Iterable[bytes]) -> None:
        """A client or a job needs these no more."""
        forgotten: dict[Worker, list[bytes]] = {}
        for digest in digests:
            record = self._blobs[digest]
            record.users -= 1
            if not record.users:
                del self._blobs[digest]
                for worker in record.workers:
                    worker.blobs.discard(digest)
                    forgotten.setdefault(worker, []).append(digest)
        for worker, gone in forgotten.items():
            self._effects.append(Send(worker.peer, Forget(gone)))

    def known(self, digests: Iterable[bytes]) -> list[bytes]:
        """Those of these that are here."""
        return [digest for digest in digests if digest in self._blobs]

    def data(self, digest: bytes) -> Buffer | None:
        """The bytes that a digest names, if they are here."""
        record = self._blobs.get(digest)
        return None if record is None else record.data

    @staticmethod
    def parts(context: Context) -> list[bytes]:
        """The blobs that a context consists of."""
        return [*(m.digest for m in context.modules), *(f.digest for f in context.files), *context.steps]

    def blobs(self, worker: Worker, digests: Iterable[bytes]) -> None:
        """See to it that a worker has these."""
        for digest in digests:
            if digest not in worker.blobs:
                record = self._blobs[digest]
                record.workers[worker] = None
                worker.blobs.add(digest)
                self._effects.append(Send(worker.peer, Blob(digest), (record.data,)))

    def context(self, worker: Worker, context: Context) -> None:
        """See to it that a worker has a context."""
        self.blobs(worker, self.parts(context))
        if context.digest not in worker.contexts:
            worker.contexts.add(context.digest)
            self._effects.append(Send(worker.peer, context))

    def lease(self, worker: Worker, job: Job, start: int, stop: int) -> None:
        """See to it that a worker has all that items `start` to `stop` need."""
        drops = worker.jobs.get(job)
        if drops is None:
            self._open(worker, job)
        elif drops and worker.unneeded_bytes > UNNEEDED_BYTES:
            self._effects.append(Send(worker.peer, DropPages(job.key, drops)))
            worker.jobs[job] = []
            worker.unneeded_bytes = 0
        for page in job.pages_of(start, stop):
            if worker not in page.workers:
                page.workers.add(worker)
                self.blobs(worker, page.message.definitions)
                self._effects.append(Send(worker.peer, page.message, page.buffers))
        if job.links is not None:
            self.deliveries.bring(worker, job, start, stop)

    def _open(self, worker: Worker, job: Job) -> None:
        worker.jobs[job] = []
        job.workers[worker] = None
        self.context(worker, job.context)
        self.blobs(worker, job.info.functions)
        info = job.info
        told = OpenJob(
            job=job.key,
            functions=info.functions,
            context=info.context,
            label=info.label,
            named=info.named,
            priority=info.priority,
            resources=info.resources,
            time_limit=info.time_limit,
            # A time limit is for an item, and so is the death of what exceeds it.
            together=0 if info.time_limit else info.together,
        )
        self._effects.append(Send(worker.peer, told))

    def unneeded(self, job: Job, pages: Iterable[PageRecord]) -> None:
        """No item of these pages is left to run: the workers are told with a later lease."""
        for page in pages:
            if page.message.objects and not page.failed:
                self._objects.done_with(page, kept=page.first in job.pages)
            if self.keeping is not None and page.first not in job.pages:
                self.keeping.dropped(job, (page.first,))
            for worker in page.workers:
                worker.jobs[job].append(page.first)
                worker.unneeded_bytes += page.nbytes
            page.workers.clear()

    def end_job(self, job: Job) -> None:
        """No item of this job is left to run."""
        for worker in job.workers:
            del worker.jobs[job]
            self._effects.append(Send(worker.peer, EndJob(job.key)))
            if worker.stale:
                self.deliveries.flush(worker)
        job.workers.clear()
        for page in job.pages.values():
            page.workers.clear()

    def drop_pages(self, job: Job) -> None:
        """No item of this job will be run again, but to make a value again that lives."""
        for page in [page for page in job.pages.values() if not page.recipes]:
            self._objects.done_with(page, kept=False)
            del job.pages[page.first]
            if self.keeping is not None:
                self.keeping.dropped(job, (page.first,))

    def lost(self, worker: Worker) -> None:
        """A worker is gone with all that it had."""
        for digest in worker.blobs:
            self._blobs[digest].workers.pop(worker, None)
        worker.blobs.clear()
        for job in worker.jobs:
            job.workers.pop(worker, None)
            for page in job.pages.values():
                page.workers.discard(worker)
        worker.jobs.clear()
        self.deliveries.lost(worker)
