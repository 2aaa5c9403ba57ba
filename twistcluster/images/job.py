"""A pipeline's job: a `Job` whose items are pictures with names, some of which a filter may have left out.

Owns: what it has beyond a `Job`. Must not know: how it was opened, how results are shown.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from twistcluster.client.jobs import Job
from twistcluster.client.reading import Errors, check_errors, in_order, one_result
from twistcluster.client.records import JobRecord
from twistcluster.errors import DependencyFailed, PictureError
from twistcluster.images.listed import Listed
from twistcluster.images.plan import Dropped
from twistcluster.images.table import Table
from twistcluster.images.work import Encoded, Pictures, Saved

__all__ = ["PictureJob"]

OURS: Final = frozenset({"index", "source", "error"})
"""Columns of all tables."""


class PictureJob(Job[Any]):
    """The job of a pipeline: results in the order of the pictures.

    Iterating, `results` and `as_completed` leave out what a `filter` left out; `job[i]` is the future of picture `i`,
    whose result then is `Dropped.DROPPED`.
    """

    def __init__(self, record: JobRecord, listed: Listed, work: Pictures, errors: Errors) -> None:
        super().__init__(record)
        self.listed = listed
        """Its pictures, as they were when it was opened."""
        self._errors = errors
        self.follows: PictureJob | None = None
        """The job whose results its items take."""
        self.mended: Callable[[], bool] = lambda: False
        """Whether results came by another job: then its items failed, as far as the cluster knows."""
        self.saves: object = None
        """What it was opened to save, and where to: pictures that are there already aren't among its results."""
        self.made_by: bytes | None = None
        """What stood for the steps when it was opened; None: that couldn't be told."""
        self.run = ""
        """Of the save it was opened for: when that is called again, it goes on as the same run."""
        self.saved = False
        """A save of its results went to the end: the next one lists the sources anew."""
        self.work = work
        """What is done with each picture."""

    @property
    def can_be_waited_for(self) -> bool:
        """Whether its results are there, or come: it wasn't cancelled, nor lost with its cluster."""
        return self.state != "cancelled" and self._record.lost is None

    @property
    def record(self) -> JobRecord:
        """What views look at."""
        return self._record

    def name_of(self, index: int) -> str:
        """What a picture is called: its path or address, or its number."""
        return self.listed.name(index) or f"picture {index}"

    def __iter__(self) -> Iterator[Any]:
        return self.iterate(self._errors)

    def iterate(self, errors: Errors) -> Iterator[Any]:
        """Results in order, each as soon as it is there."""
        check_errors(errors)
        found = in_order(self._record, self._deadline, errors)
        return (value for value in found if value is not Dropped.DROPPED)

    def __next__(self) -> Any:
        __tracebackhide__ = True
        while (value := super().__next__()) is Dropped.DROPPED:
            pass
        return value

    def results(self, errors: Errors | None = None) -> list[Any]:
        """As `Job.results`; `errors` as the pipeline's options say, unless it is given."""
        __tracebackhide__ = True
        return [value for value in super().results(errors or self._errors) if value is not Dropped.DROPPED]

    def as_completed(self, errors: Errors | None = None) -> Iterator[tuple[int, Any]]:
        """As `Job.as_completed`: pairs of a picture's number and its result."""
        __tracebackhide__ = True
        found = super().as_completed(errors or self._errors)
        return ((index, value) for index, value in found if value is not Dropped.DROPPED)

    def table(self, errors: Errors | None = None) -> Table:
        """What is known of each picture, a row each, in their order; waits for the job's end.

        Rows have `index` and `source`; `error`, if a picture failed (with errors="return"); and what the last step
        gives: of `recognize` label, score and more, of `metadata` its facts, of a picture its width, height and mode,
        of `map` its `value`, or of a dict its keys, as text: one that is taken (index, source, error) as `map.index`.
        """
        __tracebackhide__ = True
        found = sorted(self.as_completed(errors), key=lambda pair: pair[0])
        return Table({"index": index, "source": self.name_of(index), **_row(value)} for index, value in found)

    def instead_of(self, index: int, error: BaseException) -> Any:
        """What is true of a picture of which this job tells only that the job failed whose result it takes: its error.

        Or its result, made here: where no worker saw the file, its bytes went by a second job, and for the cluster the
        first one's item failed all the same.
        """
        if self.follows is None or not isinstance(error, DependencyFailed):
            return error
        future = self.follows[index]
        try:
            why = future.exception()
            return self.work(future.result()) if why is None else why
        except Exception as wrong:  # it was cancelled, or can't be encoded
            return wrong

    def stack(self, errors: Errors | None = None) -> Any:
        """All pictures in one array of shape (number, height, width[, channels]); waits for the job's end.

        Args:
            errors: "raise", or anything else: then pictures that failed are left out.

        Raises:
            PictureError: They aren't of one size and mode: resize(…) or fit(…) them to one size, and convert("RGB").
        """
        import numpy as np

        from twistcluster.images.arrays import to_array

        __tracebackhide__ = True
        self.wait()
        cut = self._record.cut
        if cut is not None and (errors or self._errors) == "raise":
            raise cut.with_traceback(None)
        block: Any = None
        row = 0
        for index in range(len(self)):
            try:
                value = one_result(self._record, index, None)
            except Exception:
                if (errors or self._errors) == "raise":
                    raise
                continue
            if value is Dropped.DROPPED:
                continue
            array = value if isinstance(value, np.ndarray) else to_array(_picture(value))
            if block is None:
                block = np.empty((len(self), *array.shape), array.dtype)
            if array.shape != block.shape[1:] or array.dtype != block.dtype:
                raise PictureError(
                    f"{self.name_of(index)} is {_shape(array)}, but those before it are {_shape(block[0])}: "
                    'make all of one size and mode, by fit((256, 256)) and convert("RGB")'
                )
            block[row] = array
            row += 1
        return np.empty((0,)) if block is None else block[:row]


def _picture(value: Any) -> Any:
    if isinstance(value, Encoded):
        return value.image()
    if isinstance(value, tuple | list) and value and hasattr(value[0], "getbands"):
        raise PictureError(
            "stack wants one picture of each file, and these are frames, or several that a function gave: leave out "
            "frames='all', or take results()"
        )
    if not hasattr(value, "getbands"):
        raise PictureError(f"stack wants pictures or arrays, and this pipeline gives a {type(value).__name__}")
    return value


def _shape(array: Any) -> str:
    return f"{' x '.join(map(str, array.shape))} of {array.dtype}"


def _named(found: dict[Any, Any]) -> dict[str, Any]:
    """A user's dict with keys that are text and none of ours."""
    named: dict[str, Any] = {}
    for key, value in found.items():
        name = key if isinstance(key, str) else str(key)
        while name in OURS or (name is not key and name in found) or name in named:
            name = f"map.{name}"
        named[name] = value
    return named


def _row(value: Any) -> dict[str, Any]:
    """What a result says in a table."""
    if isinstance(value, BaseException):
        return {"error": f"{type(value).__name__}: {value}"}
    if isinstance(value, dict):
        return _named(value)
    if isinstance(value, Saved):
        return {"path": value.path, "made": value.made}
    if isinstance(value, Encoded):
        return {"width": value.size[0], "height": value.size[1], "format": value.format, "bytes": len(value.data)}
    row = getattr(value, "row", None)
    if callable(row):
        found: dict[str, Any] = row()
        return {name: one for name, one in found.items() if name != "source" and (name != "boxes" or one is not None)}
    if hasattr(value, "getbands"):
        return {"width": value.width, "height": value.height, "mode": value.mode}
    return {"value": value}
