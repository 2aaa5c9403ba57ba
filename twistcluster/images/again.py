"""Results that are there when pictures are saved: what of them is taken, and what is made anew.

Owns: that. Must not know: how files are written, what a target is.

What is on the disk already is neither made nor encoded: it doesn't travel. Of the rest, a picture that a job has made
goes from there to a slot that encodes it, and not through this program.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from twistcluster.client.links import Tie
from twistcluster.client.options import JobOptions
from twistcluster.client.references import JobFutures
from twistcluster.client.results import Segment
from twistcluster.images.encoding import Encoding
from twistcluster.images.job import PictureJob
from twistcluster.images.plan import Plan
from twistcluster.images.run import Start
from twistcluster.images.source import File, Item
from twistcluster.images.work import Pictures

__all__ = ["has_pictures", "opened_to_save"]


def has_pictures(job: PictureJob | None) -> bool:
    """Whether the results of a job are pictures that can be encoded, or will be."""
    if job is None or not job.can_be_waited_for or job.saves is not None:
        return False
    if job.work.encoding is not None or job.work.saving is not None:
        return False
    return not job.mended()  # else its items failed, as far as the cluster knows


def opened_to_save(
    job: PictureJob | None,
    tie: Tie,
    encoding: Encoding,
    options: JobOptions,
    look: Start,
    anew: Callable[[Start], PictureJob],
    *,
    once: bool,
) -> PictureJob:
    """The job of a save.

    The job that is there is saved as it was listed, once. Then, or if not all of it succeeded, the sources are listed
    anew: of what was made already, only what changed is made again.

    Args:
        job: The one that is there.
        tie: To the cluster.
        encoding: As what.
        options: Of the new job.
        look: As in `run.start`.
        anew: Opens a job of the sources as they are now.
        once: They can't be listed again.
    """
    if job is None or not has_pictures(job):
        return anew(look)
    if once or not job.done() or (job.state == "done" and not job.saved):
        return _encoding_of(job, tie, encoding, options, look)
    return anew(_taking_from(job, look))


def _encoding_of(job: PictureJob, tie: Tie, encoding: Encoding, options: JobOptions, look: Start) -> PictureJob:
    """A job that makes files' bytes of another one's results, which may go on, of those that `look` doesn't find."""
    work = Pictures(Plan(), encoding, label="encode")
    record = tie.opener.map(work, (_futures(job, look),), options, quiet=True)
    record.draw_on([job.record], through_here=True)
    made = PictureJob(record, job.listed, replace(job.work, encoding=encoding), "return")
    made.follows = job
    return made


def _futures(job: PictureJob, look: Start) -> Iterator[Any]:
    listed = job.listed
    for index, future in enumerate(JobFutures(job.record)):
        item = Item(index, File(listed.name(index), None, listed.folder(index)))
        looked = look(item, listed.stamp(index))
        yield future if looked is item else looked


def _taking_from(job: PictureJob, look: Start) -> Start:
    """Looks at pictures that are listed anew: one that a job which is over has made, of the same source, is taken."""
    record, listed = job.record, job.listed
    numbers = {listed.stamp(index): index for index in range(len(listed)) if isinstance(record.fate(index), Segment)}
    numbers.pop(b"", None)

    def looking(item: Item, mark: bytes) -> Any:
        looked = look(item, mark)
        index = numbers.get(mark) if looked is item else None
        return looked if index is None else record.future_to_pass(index)

    return looking
