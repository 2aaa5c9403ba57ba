"""How results are taken out of a job: in order, or as they come.

In the thread that asks, chunk by chunk. Owns: what a failed or cancelled item does to that. Must not know: links, how
results look on the wire.

`__tracebackhide__` has IPython and pytest leave a frame out of a traceback: the item's error is shown between the line
that asked and the line that failed, without ours.
"""

import contextlib
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import TimeoutError as ResultTimeout
from typing import Any, Final, Literal, NoReturn, get_args

from twistcluster.client.flowing import Reader
from twistcluster.client.patience import LOOK_SECONDS
from twistcluster.client.records import JobRecord
from twistcluster.client.results import ItemFailure, Segment, cancelled_error
from twistcluster.errors import Cancelled
from twistcluster.storage.values import NotRestoredError

__all__ = ["Errors", "all_results", "as_they_come", "in_order", "one_result"]

MEANWHILE_SECONDS: Final = 0.02

Errors = Literal["raise", "return", "skip"]


def in_order(record: JobRecord, deadline: float | None, errors: Errors = "raise") -> Iterator[Any]:
    """Results in order, each as soon as it is there. Who has this iterates, even before he asks for the first."""
    return _in_order(record, record.reader(), deadline, errors)


def _in_order(record: JobRecord, reader: Reader, deadline: float | None, errors: Errors) -> Iterator[Any]:
    __tracebackhide__ = True
    with reader, _in_time(record):
        for chunk in _chunks(record, deadline, errors, reader):
            yield from chunk


def all_results(record: JobRecord, deadline: float | None, errors: Errors = "raise") -> list[Any]:
    """All results."""
    __tracebackhide__ = True
    check_errors(errors)
    with _in_time(record):
        return _all(record, deadline, errors)


def _all(record: JobRecord, deadline: float | None, errors: Errors) -> list[Any]:
    __tracebackhide__ = True
    found: list[Any] = []
    chunks = _chunks(record, deadline, errors)
    # What is there is decoded while the rest is made, a good deal at a time: every wake-up costs as much as 1,000 items.
    pause = MEANWHILE_SECONDS
    while not record.wait(pause if deadline is None else max(0.0, min(pause, deadline - time.monotonic()))):
        before = len(found)
        while record.fate(len(found)) is not None and errors != "skip":
            found += next(chunks)
        if deadline is not None and time.monotonic() > deadline:
            break
        pause = MEANWHILE_SECONDS if len(found) > before else LOOK_SECONDS
    for chunk in chunks:
        found += chunk
    return found


def one_result(record: JobRecord, index: int, deadline: float | None) -> Any:
    """The result of one item; IndexError if there is none."""
    __tracebackhide__ = True
    if not _known(record, index, deadline):
        raise IndexError(f"{record.label} has no item {index}")
    fate = record.fate(index)
    if isinstance(fate, Segment):
        try:
            return record.item(fate, index, deadline)
        except NotRestoredError:
            raise _too_late(record, record.name_of(index)) from None
    return _raise(fate.exception() if isinstance(fate, ItemFailure) else cancelled_error(record.name_of(index)))


def as_they_come(
    record: JobRecord, deadline: float | None = None, errors: Errors = "raise"
) -> Iterator[tuple[int, Any]]:
    """Pairs of index and result, in the order in which they arrive. Of an item that was run again, only the last."""
    __tracebackhide__ = True
    check_errors(errors)
    return _as_they_come(record, record.reader(by_arrival=True), deadline, errors)


def _as_they_come(
    record: JobRecord, reader: Reader, deadline: float | None, errors: Errors
) -> Iterator[tuple[int, Any]]:
    __tracebackhide__ = True
    with reader, _in_time(record):
        yield from _arrivals(record, reader, deadline, errors)


def _arrivals(record: JobRecord, reader: Reader, deadline: float | None, errors: Errors) -> Iterator[tuple[int, Any]]:
    __tracebackhide__ = True
    at = 0
    while True:
        if not record.wait_for(lambda: len(record.fates.arrivals) > at, deadline):  # noqa: B023 (asked before `at` changes)
            raise _too_late(record, record.label)
        if len(record.fates.arrivals) <= at:
            yield from ((record.fates.known, error) for error in _end(record, errors))
            return
        arrival = record.fates.arrivals[at]
        at += 1
        if isinstance(arrival, Segment):
            for index in range(arrival.start, arrival.stop):
                yield from ((index, value) for value in _value(record, arrival, index, errors, deadline))
            if arrival.packed.objects:
                reader.passed(arrival)
        elif isinstance(arrival, ItemFailure):
            if record.fates.failures.get(arrival.index) is arrival:
                yield from ((arrival.index, value) for value in _failure(arrival.exception(), errors))
        else:
            for index in range(*arrival):
                yield from ((index, value) for value in _failure(cancelled_error(record.name_of(index)), errors))


def check_errors(errors: str) -> None:
    """Raise if this isn't a way to treat errors."""
    if errors not in get_args(Errors):
        raise ValueError(f'errors is "raise", "return" or "skip", not {errors!r}')


def _chunks(
    record: JobRecord, deadline: float | None, errors: Errors, reader: Reader | None = None
) -> Iterator[Iterable[Any]]:
    __tracebackhide__ = True
    at = 0
    while _known(record, at, deadline):
        fate = record.fate(at)
        if isinstance(fate, Segment):
            yield fate.values(at, deadline) if errors == "raise" else _values(record, fate, at, errors, deadline)
            at = fate.stop
            if reader is not None and fate.packed.objects:
                reader.passed(fate)
        elif isinstance(fate, ItemFailure):
            yield _failure(fate.exception(), errors)
            at += 1
        elif fate is not None and errors == "skip":
            at = fate[1]
        else:
            yield _failure(cancelled_error(record.name_of(at)), errors)
            at += 1
    yield _end(record, errors)


def _known(record: JobRecord, index: int, deadline: float | None) -> bool:
    """Wait until it is known what came of an item, or that there is no such item."""
    if not record.wait_for(lambda: record.fate(index) is not None, deadline):
        raise _too_late(record, record.name_of(index))
    return record.fate(index) is not None


@contextlib.contextmanager
def _in_time(record: JobRecord) -> Iterator[None]:
    """The deadline holds, too, where a lost value is made again."""
    __tracebackhide__ = True
    try:
        yield
    except NotRestoredError:
        raise _too_late(record, record.label) from None


def _too_late(record: JobRecord, what: str) -> ResultTimeout:
    # A lazy one that nobody holds is cancelled when this has been raised (flowing.py).
    goes_on = "it goes on as long as a variable holds the job" if record.is_lazy and not record.stays else "it goes on"
    return ResultTimeout(f"{what} isn't done in time; {goes_on}")


def _values(record: JobRecord, segment: Segment, first: int, errors: Errors, deadline: float | None) -> Iterable[Any]:
    """As `Segment.values`, but one that can't be decoded is that item's error."""
    if segment.is_plain:
        return segment.values(first)
    return (value for index in range(first, segment.stop) for value in _value(record, segment, index, errors, deadline))


def _value(record: JobRecord, segment: Segment, index: int, errors: Errors, deadline: float | None) -> Iterable[Any]:
    __tracebackhide__ = True
    try:
        return (record.item(segment, index, deadline),)
    except NotRestoredError:  # no error of the item's
        raise
    except Exception as error:
        return _failure(error, errors)


def _failure(error: BaseException, errors: Errors) -> Iterable[Any]:
    __tracebackhide__ = True
    if errors == "raise":
        _raise(error)
    return () if errors == "skip" else (error,)


def _end(record: JobRecord, errors: Errors) -> Iterable[Any]:
    """If the job ended before all of it was known, nobody shall take what there is for all: why its items broke off stands
    behind their results, where errors are returned.
    """
    __tracebackhide__ = True
    error = record.cut
    if error is not None and (errors == "raise" or error is not record.input_error):
        _raise(error)
    record.all_fetched()
    return (error,) if error is not None and errors == "return" and not isinstance(error, Cancelled) else ()


def _raise(error: BaseException) -> NoReturn:
    __tracebackhide__ = True
    # Without the traceback of the time before: an error is raised as often as somebody asks.
    raise error.with_traceback(None)
