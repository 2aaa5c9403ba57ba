"""Large results that shall be on the disk beside the journal, too: those of jobs that somebody asked to keep.

Small results are in the journal anyway; large ones lie in shared memory, which a reboot takes, and the end of the cluster.
A copy is made of each as it comes, and removed once nobody holds the value. Owns: who shall have copies, what of them is
still to be made, who waits for that. Must not know: files.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twistcluster.core.clients import Client
from twistcluster.core.effects import CopyOut, RemoveCopies
from twistcluster.core.jobs import Job
from twistcluster.core.objects import ObjectRecord
from twistcluster.wire.messages import Answer, Declined, Kept, Stored

if TYPE_CHECKING:
    from twistcluster.core.scheduler import Scheduler

__all__ = ["Safekeeping"]


@dataclass(slots=True, eq=False)
class Asker:
    """A client that waits until what is there of a job is written."""

    client: Client
    request: int
    job: Job
    left: set[bytes]
    """Copies that are still to be made."""
    place: int
    """Of the job's log: the journal must have come to it."""


class Safekeeping:
    """Copies on the disk."""

    __slots__ = ("_askers", "_copying", "_journal_trouble", "_scheduler")

    def __init__(self, scheduler: "Scheduler") -> None:
        self._scheduler = scheduler
        self._askers: list[Asker] = []
        self._copying: dict[bytes, None] = {}
        """Copies that are on their way to the disk."""
        self._journal_trouble = ""
        """Why the journal can't be written, in words."""

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for what is on the disk."""
        return bool(self._askers)

    # ---- what shall be copied ----

    def asked(self, client: Client, request: int, name: str) -> None:
        """The large results of a job shall be on the disk: those that are there, and those that come."""
        scheduler = self._scheduler
        if not scheduler.keeping.on:
            self._decline(client, request, "invalid", "This cluster has no journal, so it keeps nothing.")
            return
        job = next((each for each in scheduler.jobs.values() if each.id == name), None)
        if job is None:
            self._decline(client, request, "unknown", f"No job {name!r} is known here: it was forgotten.")
            return
        if job.safe is None:
            job.safe = set()
            scheduler.keeping.safe(job)
        self.came(job, [each for entry in job.log.entries for each in entry.objects])
        if job.safe:
            self._tell(job)  # what was kept as a whole isn't any more
        left = {each for each in job.safe if each in self._copying}
        self._askers.append(Asker(client, request, job, left, job.places))
        self.settle()
        if self._journal_trouble:
            self.troubled(self._journal_trouble)

    def came(self, job: Job, stored: Iterable[Stored]) -> None:
        """These belong to the results of a job that is kept so."""
        assert job.safe is not None
        records = (self._scheduler.objects.get(each.id) for each in stored)
        wanted = [record.id for record in records if record is not None and not record.copied]
        job.safe.update(wanted)
        self._copy(wanted)

    def restored(self, record: ObjectRecord) -> None:
        """A value that was lost was made again: so its copy was lost, too."""
        record.copied = False
        self._copying.pop(record.id, None)  # what is on its way found it missing, or will
        jobs = [job for job in self._scheduler.jobs.values() if job.safe is not None]
        wanted = [job for job in jobs if job is record.job or record.id in (job.safe or ())]
        for job in wanted:
            self.came(job, [Stored(0, record.id, record.nbytes)])

    def found(self, copies: Iterable[bytes]) -> None:
        """The cluster was started, and these copies are on the disk: those that nobody needs go, others are made."""
        spare = []
        for name in copies:
            record = self._scheduler.objects.get(name)
            if record is not None:
                record.copied = True
            else:
                spare.append(name)
        if spare:
            self._scheduler.effects.append(RemoveCopies(spare))
        for job in self._scheduler.jobs.values():
            if job.safe is not None:
                self.came(job, [each for entry in job.log.entries for each in entry.objects])

    def _copy(self, names: list[bytes]) -> None:
        new = [name for name in names if name not in self._copying]
        if new:
            self._copying.update(dict.fromkeys(new))
            self._scheduler.effects.append(CopyOut(new))

    # ---- what became of it ----

    def copied(self, written: list[bytes], missing: list[bytes], unwritten: list[bytes], trouble: str) -> None:
        """Copies are on the disk; or their values are in no store; or they can't be written, in words."""
        done = {*written, *missing, *unwritten}
        for name in done:
            self._copying.pop(name, None)
        needed, spare = set(), []
        for name in done:
            record = self._scheduler.objects.get(name)
            if record is not None and not record.freed:
                needed.add(name)
        for name in written:
            record = self._scheduler.objects.get(name)
            if record is not None and name in needed:
                record.copied = True
            else:  # it was let go of meanwhile
                spare.append(name)
        if spare:
            self._scheduler.effects.append(RemoveCopies(spare))
        over = done.difference(needed).union(written)
        for job in self._scheduler.jobs.values():
            if job.safe and not job.safe.isdisjoint(over):
                job.safe -= over
                if not job.safe:
                    self._tell(job)
        if trouble:
            self._trouble(trouble, unwritten)
        for asker in self._askers:
            asker.left -= done
        self.settle()

    def _tell(self, job: Job) -> None:
        for client, watching in job.watchers.items():
            if client.peer is not None and job.kept is not None:
                self._scheduler.send(client.peer, Kept(watching[0], job.kept, job.kept_whole))

    def _trouble(self, text: str, unwritten: list[bytes]) -> None:
        waiting = [asker for asker in self._askers if not asker.left.isdisjoint(unwritten)]
        for asker in waiting:
            self._askers.remove(asker)
            self._decline(asker.client, asker.request, "full", text)
        if not waiting:
            self._scheduler.notify("warning", f"{text} job.keep() tries it again.")

    # ---- who waits ----

    def settle(self) -> None:
        """Answer those who have waited for what is on the disk now."""
        if not self._askers:
            return
        waiting, self._askers = self._askers, []
        for asker in waiting:
            if asker.client.peer is None:
                continue
            if asker.job.forgotten:
                self._decline(asker.client, asker.request, "unknown", f"{asker.job.title} was forgotten meanwhile.")
            elif asker.left or asker.job.recorded < asker.place:
                self._askers.append(asker)
            else:
                self._scheduler.send(asker.client.peer, Answer(asker.request))

    def troubled(self, trouble: str) -> None:
        """The journal can't be written, and who waits for it is told; empty: it can again."""
        self._journal_trouble = trouble
        if not trouble:
            return
        waiting, self._askers = self._askers, []
        for asker in waiting:
            self._decline(asker.client, asker.request, "full", f"{trouble}. Then call job.keep() again.")

    def _decline(self, client: Client, request: int, code: str, text: str) -> None:
        if client.peer is not None:
            self._scheduler.send(client.peer, Declined(request, code, text))  # type: ignore[arg-type]
