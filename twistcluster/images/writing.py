"""Saving on the client's side: results are written while they come, and what is there isn't made again.

Owns: that. Must not know: how files are written (`saving`), how jobs are opened.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Self

from twistcluster.client import views
from twistcluster.client.reading import Errors
from twistcluster.errors import Detached, PictureError
from twistcluster.images.encoding import Encoding
from twistcluster.images.job import PictureJob
from twistcluster.images.names import Pattern
from twistcluster.images.plan import Dropped, Plan
from twistcluster.images.run import Start
from twistcluster.images.saving import Folder
from twistcluster.images.source import Item, Unfit
from twistcluster.images.sources import Sources
from twistcluster.images.stamps import plan_stamp, stamp
from twistcluster.images.table import Table
from twistcluster.images.work import AlreadyThere, Encoded, Saved

__all__ = ["Desk", "save_here", "save_there"]

WRITERS: Final = 4
"""A write waits for the disk, mostly."""
WAITING: Final = 64
"""Pictures that wait to be written."""


def save_here(desk: "Desk", errors: Errors, job: PictureJob | Callable[[Start], PictureJob], sources: Sources) -> Table:
    """As `Pipeline.save`.

    Args:
        desk: Of the folder.
        errors: What becomes of pictures that failed.
        job: One that has the files' bytes, or what opens it.
        sources: Of the pipeline.
    """
    __tracebackhide__ = True
    with desk:
        if isinstance(job, PictureJob):
            desk.look_at(sources, job)
        else:
            job = job(desk.look)
            job.whole = False  # as long as it isn't known
        if views.shell() is not None:
            job.show(wait=False)
        try:
            for index, value in job.as_completed("return"):
                desk.take(index, job.error_of(index, value) if isinstance(value, BaseException) else value)
        except Detached as stopped:
            raise Detached(f"{stopped}\nsave(…) again writes what isn't written yet.") from None
        found = desk.done()
        job.whole = job.whole or not desk.left_out
    return _table(job, found, errors)


def save_there(job: PictureJob, errors: Errors) -> Table:
    """As `Pipeline.save`, of a job whose workers write."""
    __tracebackhide__ = True
    return _table(job, dict(job.as_completed("return")), errors)


def _table(job: PictureJob, found: dict[int, Any], errors: Errors) -> Table:
    __tracebackhide__ = True
    ordered = sorted(found.items())
    failed = [value for _, value in ordered if isinstance(value, BaseException)]
    if failed and errors == "raise":
        first = failed[0]
        first.add_note(
            f"{len(failed):,} of {len(found):,} pictures failed, the others are saved; errors='return' gives a table"
        )
        raise first.with_traceback(None)
    return Table(
        {"index": index, "source": job.name_of(index), **_row(value)}
        for index, value in ordered
        if errors != "skip" or not isinstance(value, BaseException)
    )


class Desk:
    """What is known of the pictures that are on their way to a folder.

    Args:
        path: The folder.
        pattern: Of their names.
        encoding: What the files are.
        plan: What was done with the pictures.
        overwrite: Whether files of these names may be replaced.
    """

    def __init__(self, path: Path, pattern: Pattern, encoding: Encoding, plan: Plan, overwrite: bool) -> None:
        self._folder = Folder(path, overwrite=overwrite)
        self._writers = ThreadPoolExecutor(WRITERS, "twistcluster-save")
        self._pattern = pattern
        self._encoding = encoding
        self._plan = plan_stamp(plan, encoding)
        self._names: dict[int, tuple[str, str | None]] = {}
        self._found: dict[int, Any] = {}
        self._written: dict[int, Future[Path]] = {}
        self.left_out = False
        """Some pictures weren't made: they are there, or can't be saved."""
        self._room = threading.Semaphore(WAITING)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writers.shutdown()
        self._folder.close()

    def look_at(self, sources: Sources, job: PictureJob) -> None:
        """Look at all pictures of a job that made the files' bytes already, or does."""
        if sources.again:
            for item in sources.items():
                looked = self.look(item)
                if isinstance(looked, AlreadyThere):
                    self._found[item.number] = Saved(looked.path, made=False)
                elif looked is not item and isinstance(looked.source, Unfit):
                    self._found[item.number] = looked.source.error
            return
        job.wait()  # all names are known then
        for index in range(len(job)):
            name = self._pattern.path(self._encoding.format, source=job.names[index], index=index)
            self._names[index] = name, None

    def look(self, item: Item) -> Item | AlreadyThere:
        """Whether a picture is to be made. On the thread that lists the sources, before it leaves."""
        source = item.source
        if isinstance(source, Unfit):
            return item
        try:
            made_of = stamp(source.stamp(), self._plan)
            name = self._pattern.path(
                self._encoding.format, source=source.name, index=item.number, folder=source.folder, stamp=made_of or ""
            )
            if self._folder.has(name, made_of):
                self.left_out = True
                return AlreadyThere(item.number, str(self._folder.path / name))
        except PictureError as error:
            self.left_out = True
            return Item(item.number, Unfit(source.name, error, source.folder))
        self._names[item.number] = name, made_of
        return item

    def take(self, index: int, value: Any) -> None:
        """A result came."""
        name = self._names.pop(index, None)
        if index in self._found:  # there already, or it can't be saved
            return
        if isinstance(value, Saved):
            self._found[index] = value
            return
        if not isinstance(value, Encoded) or name is None:
            self._found[index] = value
            return
        self._room.acquire()
        written = self._writers.submit(self._folder.write, name[0], value.data, name[1])
        written.add_done_callback(lambda _: self._room.release())
        self._written[index] = written

    def done(self) -> dict[int, Any]:
        """What became of each picture: `Saved`, or its error."""
        for index, written in self._written.items():
            error = written.exception()
            self._found[index] = error or Saved(str(written.result()), made=True)
        return {index: value for index, value in self._found.items() if value is not Dropped.DROPPED}


def _row(value: Any) -> dict[str, Any]:
    if isinstance(value, Saved):
        return {"path": value.path, "made": value.made}
    return {"path": None, "made": False, "error": f"{type(value).__name__}: {value}"}
