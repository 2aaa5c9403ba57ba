"""Saving what was saved, or made, before: what of it is taken, and what is made anew.

Owns: that. Must not know: how files are written.

What is on the disk already is neither made nor encoded: it doesn't travel. Of the rest, a picture that a job has made
goes from there to a slot that encodes it, and not through this program.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from twistcluster.client.links import Tie
from twistcluster.client.options import JobOptions
from twistcluster.client.reading import Errors
from twistcluster.client.references import JobFutures
from twistcluster.client.results import Segment
from twistcluster.images.encoding import Encoding
from twistcluster.images.job import PictureJob
from twistcluster.images.plan import Plan
from twistcluster.images.run import Start
from twistcluster.images.source import Given, Item, Url
from twistcluster.images.table import Table
from twistcluster.images.work import Pictures
from twistcluster.images.writing import Target, save_here

__all__ = ["has_pictures", "interrupted", "made_before", "opened_to_save", "saved"]


def interrupted(job: PictureJob | None, target: Target, by: bytes | None, *, once: bool) -> PictureJob | None:
    """The job of the last save, if that was the same save and didn't come to its end, or can't be done anew.

    Args:
        job: Of the last save.
        target: Of this one.
        by: What stands for its steps.
        once: The sources can't be listed again.
    """
    if job is None or job.saves != target or job.made_by != by or not job.can_be_waited_for:
        return None
    if by is None and target.overwrite and not once:  # it may be another function by now
        return None
    return job if once or not job.saved else None


def saved(
    target: Target,
    made_by: bytes | None,
    errors: Errors,
    going: PictureJob | None,
    opening: Callable[[Start], PictureJob],
    *,
    same: bool,
) -> Table:
    """As `Pipeline.save`.

    Args:
        target: Where to.
        made_by: What stands for what is done with the pictures; None: it can't be told.
        errors: What becomes of pictures that failed.
        going: The job of the same save, which was interrupted, and goes on.
        opening: Opens a new one.
        same: No other pictures can be listed now than before.
    """
    __tracebackhide__ = True
    if going is None:
        return save_here(target, made_by, errors, opening)
    if same or going.made_by is None:  # without a stamp nothing is found on the disk
        return save_here(target, made_by, errors, going)
    # What was added to the folders meanwhile comes after it.
    written = save_here(target, made_by, "return", going)
    return save_here(target, made_by, errors, opening, {row["path"]: row["made"] for row in written if row["path"]})


def has_pictures(job: PictureJob | None) -> bool:
    """Whether the results of a job are pictures that can be encoded, or will be."""
    if job is None or not job.can_be_waited_for or job.saves is not None:
        return False
    if job.work.encoding is not None or job.work.saving is not None:
        return False
    return not job.mended()  # else its items failed, as far as the cluster knows


def made_before(job: PictureJob | None, now: Callable[[], bytes | None], *, once: bool) -> PictureJob | None:
    """The job that is there, if its pictures can be saved as what the steps make now.

    Args:
        job: It, if there is one.
        now: What stands for the steps now.
        once: The sources can't be listed again.
    """
    if job is None or not has_pictures(job):
        return None
    by = now()
    if by != job.made_by:
        return None
    # What can't be told is taken once: the next time it may be made otherwise.
    return job if by is not None or once or not job.saved else None


def opened_to_save(
    job: PictureJob | None,
    tie: Tie,
    encoding: Encoding,
    options: JobOptions,
    look: Start,
    anew: Callable[[Start], PictureJob],
    *,
    once: bool,
    fetched: bool,
) -> PictureJob:
    """The job of a save.

    The job that is there is saved as it was listed, once. Then, or if not all of it succeeded, the sources are listed
    anew: of what was made already, only what changed is made again.

    Args:
        job: The one that is there, if it `has_pictures` by these steps.
        tie: To the cluster.
        encoding: As what.
        options: Of the new job.
        look: As in `run.start`.
        anew: Opens a job of the sources as they are now.
        once: They can't be listed again.
        fetched: Pictures from addresses that are listed anew are fetched anew.
    """
    if job is None:
        return anew(look)
    if once or not job.done() or (job.state == "done" and not job.saved):
        return _encoding_of(job, tie, encoding, options, look)
    return anew(_taking_from(job, look, fetched=fetched))


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
        name = listed.name(index)  # by which it is looked for: nobody opens it
        source = Url(name, 0, 0) if listed.is_address(index) else Given(b"", name, listed.folder(index))
        item = Item(index, source)
        looked = look(item, listed.stamp(index))
        yield future if looked is item else looked


def _taking_from(job: PictureJob, look: Start, *, fetched: bool) -> Start:
    """Looks at pictures that are listed anew: one that a job which is over has made, of the same source, is taken."""
    record, listed = job.record, job.listed
    numbers = {
        listed.stamp(index): index
        for index in range(len(listed))
        if isinstance(record.fate(index), Segment) and not (fetched and listed.is_address(index))
    }
    numbers.pop(b"", None)

    def looking(item: Item, mark: bytes) -> Any:
        looked = look(item, mark)
        index = numbers.get(mark) if looked is item else None
        return looked if index is None else record.future_to_pass(index)

    return looking
