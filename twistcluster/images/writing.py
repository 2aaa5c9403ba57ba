"""Saving on the client's side: results are written while they come, and what is there isn't made again.

Owns: that. Must not know: how files are written (`saving`), how jobs are opened.
"""

import contextlib
import copy
import secrets
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from twistcluster.client import views
from twistcluster.client.reading import Errors
from twistcluster.errors import Detached, PictureError
from twistcluster.images.encoding import Encoding
from twistcluster.images.job import PictureJob
from twistcluster.images.names import Pattern
from twistcluster.images.plan import Dropped
from twistcluster.images.run import Start
from twistcluster.images.saving import Folder
from twistcluster.images.source import Item, Unfit, Url, is_theirs
from twistcluster.images.stamps import stamp
from twistcluster.images.table import Table
from twistcluster.images.work import AlreadyThere, Encoded, Saved

__all__ = ["Target", "save_here", "save_there"]

WRITERS: Final = 4
"""A write waits for the disk, mostly."""
WAITING: Final = 64
"""Pictures that wait to be written."""


class Target(NamedTuple):
    """Where pictures are saved to, and as what."""

    path: Path
    pattern: Pattern
    encoding: Encoding
    overwrite: bool


def save_here(
    target: Target,
    made_by: bytes | None,
    errors: Errors,
    job: PictureJob | Callable[[Start], PictureJob],
    before: Mapping[str, bool] = MappingProxyType({}),
) -> Table:
    """As `Pipeline.save`.

    Args:
        target: Where to.
        made_by: What stands for what is done with the pictures; None: it can't be told.
        errors: What becomes of pictures that failed.
        job: One that was opened for this target and was interrupted, or what opens it.
        before: Paths of what the same call of `save` has gone through already, and whether it wrote them.
    """
    __tracebackhide__ = True
    run = job.run if isinstance(job, PictureJob) else secrets.token_hex(8)
    desk = _Desk(target, made_by, run, before)
    try:
        if not isinstance(job, PictureJob):
            job = job(desk.look)
            job.run = run
        if views.shell() is not None:
            job.show(wait=False)
        try:
            for index, value in job.as_completed("return"):
                desk.take(index, job.instead_of(index, value) if isinstance(value, BaseException) else value, job)
        except Detached as stopped:
            raise Detached(f"{stopped}\nsave(…) again writes what isn't written yet.") from None
        found = desk.done()
        for each in (job, job.follows):
            if each is not None:
                each.saved = True
        return _table(job, found, errors, before)
    finally:
        desk.leave(job if isinstance(job, PictureJob) else None)


def save_there(job: PictureJob, errors: Errors) -> Table:
    """As `Pipeline.save`, of a job whose workers write."""
    __tracebackhide__ = True
    return _table(job, dict(job.as_completed("return")), errors)


def _table(
    job: PictureJob, found: dict[int, Any], errors: Errors, before: Mapping[str, bool] = MappingProxyType({})
) -> Table:
    """What was saved; raises if the sources couldn't be listed to their end, unless errors are returned."""
    __tracebackhide__ = True
    cut = job.record.cut
    if cut is not None and (errors == "raise" or cut is not job.record.input_error):
        raise cut.with_traceback(None)
    ordered = sorted(found.items())
    failed = [(index, value) for index, value in ordered if isinstance(value, BaseException)]
    if failed and errors == "raise":
        index, first = failed[0]
        others = "the others are saved; " if len(failed) < len(found) else ""
        raise _noted(
            first,
            f"{len(failed):,} of {len(found):,} pictures failed, the first is {job.name_of(index)}; {others}"
            "errors='return' gives a table",
        )
    return Table(
        {"index": index, "source": job.name_of(index), **_row(value, before)}
        for index, value in ordered
        if errors != "skip" or not isinstance(value, BaseException)
    )


def _noted(error: BaseException, note: str) -> BaseException:
    """An error with a note that is this call's: the error itself is the job's, and is raised again by others."""
    try:
        made = copy.copy(error)
    except Exception:  # its class takes other arguments than it keeps
        return error.with_traceback(None)
    if type(made) is not type(error) or str(made) != str(error):
        return error.with_traceback(None)
    made.__cause__, made.__suppress_context__ = error.__cause__, error.__suppress_context__
    made.__notes__ = [*getattr(error, "__notes__", ())]
    made.add_note(note)
    return made.with_traceback(None)


class _Desk:
    """What is known of the pictures that are on their way to a folder."""

    def __init__(self, target: Target, made_by: bytes | None, run: str, before: Mapping[str, bool]) -> None:
        self._folder = Folder(target.path, overwrite=target.overwrite, run=run)
        self._writers = ThreadPoolExecutor(WRITERS, "twistcluster-save")
        self._target = target
        self._made_by = made_by
        self._before = before
        self._found: dict[int, Any] = {}
        self._written: dict[int, Future[Path]] = {}
        self._room = threading.Semaphore(WAITING)

    def look(self, item: Item, mark: bytes) -> Item | AlreadyThere:
        """Whether a picture is to be made. On the thread that lists the sources, before it leaves."""
        source = item.source
        if isinstance(source, Unfit) or is_theirs(source):
            return item
        try:
            made_of = self._stamp(mark)
            name = self._name(item.number, source.name, source.folder, made_of)
            if self._folder.has(name, made_of, item.number, anew=self._anew(name, isinstance(source, Url))):
                return AlreadyThere(item.number, str(self._folder.path / name))
        except PictureError as error:
            return Item(item.number, Unfit(source.name, error, source.folder))
        return item

    def take(self, index: int, value: Any, job: PictureJob) -> None:
        """A result came."""
        if not isinstance(value, Encoded):
            self._found[index] = value
            return
        listed = job.listed
        made_of = self._stamp(value.mark or listed.stamp(index))
        try:
            name = self._name(index, listed.name(index), listed.folder(index), made_of)
            anew = self._anew(name, listed.is_address(index))
            if self._folder.has(name, made_of, index, anew=anew):
                self._found[index] = Saved(str(self._folder.path / name), made=False)
                return
        except PictureError as error:
            self._found[index] = error
            return
        self._room.acquire()
        written = self._writers.submit(self._folder.write, name, value.data, made_of, index, anew=anew)
        written.add_done_callback(lambda _: self._room.release())
        self._written[index] = written

    def done(self) -> dict[int, Any]:
        """What became of each picture: `Saved`, or its error."""
        for index, written in self._written.items():
            error = written.exception()
            self._found[index] = error or Saved(str(written.result()), made=True)
        return {index: value for index, value in self._found.items() if value is not Dropped.DROPPED}

    def leave(self, job: PictureJob | None) -> None:
        """Write what came, and let go of the folder as soon as nobody looks at pictures for it."""
        self._writers.shutdown()
        if job is None:
            self._folder.close()
        else:
            job.record.when_over(self._close)  # one that was interrupted goes on

    def _close(self) -> None:
        with contextlib.suppress(Exception):
            self._folder.close()

    def _anew(self, name: str, is_address: bool) -> bool:
        """Whether it is made though a picture of its stamp is there: whether an address has another one nobody can tell."""
        return is_address and self._target.overwrite and str(self._folder.path / name) not in self._before

    def _stamp(self, mark: bytes) -> str | None:
        """Of a picture from the stamp of its source; None: nothing is known that could stand for it."""
        return stamp(mark, self._made_by) if mark else None

    def _name(self, index: int, source: str, folder: str, made_of: str | None) -> str:
        target = self._target
        return target.pattern.path(target.encoding.format, source=source, index=index, folder=folder, stamp=made_of)


def _row(value: Any, before: Mapping[str, bool]) -> dict[str, Any]:
    if isinstance(value, Saved):
        return {"path": value.path, "made": value.made or before.get(value.path, False)}
    return {"path": None, "made": False, "error": f"{type(value).__name__}: {value}"}
