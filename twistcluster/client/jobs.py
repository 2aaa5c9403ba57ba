"""The public Job: what a program holds of a map, or of a job that it found by name.

Owns: its methods and their texts. Must not know: links, how results travel, what a notebook is.
"""

import operator
from collections.abc import Callable, Generator, Iterator
from typing import Any, Generic, NoReturn, TypeVar, overload

from twistcluster.client import views
from twistcluster.client.futures import Future
from twistcluster.client.patience import await_until
from twistcluster.client.quantities import duration_text
from twistcluster.client.reading import Errors, all_results, as_they_come, in_order, one_result
from twistcluster.client.records import JobRecord
from twistcluster.client.views import DrawFunction, JobState, Progress
from twistcluster.wire.references import HeldHereError

__all__ = ["KINDS", "ItemError", "Job", "JobErrors", "JobLogs"]

T = TypeVar("T")

KINDS: "set[type[Job[Any]]]" = set()
"""`Job` and the classes made of it: an argument of one of these stands for its results."""


class ItemError:
    """Why an item failed: `error` to raise, `traceback` as text, `why` in a word ("raised", "crashed", …)."""

    __slots__ = ("error", "traceback", "why")

    def __init__(self, error: BaseException, traceback: str, why: str) -> None:
        self.error = error
        self.traceback = traceback
        self.why = why

    def __repr__(self) -> str:
        return f"<{self.why}: {_one_line(self.error)}>"


class JobErrors(dict[int, ItemError]):
    """A job's failed items: index -> `ItemError`."""

    def __repr__(self) -> str:
        if not self:
            return "no errors"
        lines = [f"{index:>8}  {error.why:<8}  {_one_line(error.error)}" for index, error in sorted(self.items())[:20]]
        more = [f"     ... and {len(self) - 20:,} more"] if len(self) > 20 else []
        first = next((error.traceback for _, error in sorted(self.items()) if error.traceback), "")
        return "\n".join(["    item  why       error", *lines, *more, *(["", first.rstrip()] if first else [])])


class JobLogs(dict[int, str]):
    """What a job's items printed: index -> text."""

    def __repr__(self) -> str:
        if not self:
            return "nothing was printed"
        return "\n".join(f"[{index}] {line}" for index, text in sorted(self.items()) for line in text.splitlines())


class Job(Generic[T]):
    """A sequence of items, each a call, on the cluster.

    Iterating gives results in order, each as soon as it is there, and starts anew each time; `next(job)` moves one
    shared cursor. As the last value of a notebook's cell it shows itself live.

    Example:
        >>> job = cluster.map(abs, [-1, -2, -3])    # doctest: +SKIP
        >>> job.results(), job[1].result()          # doctest: +SKIP
        ([1, 2, 3], 2)
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        KINDS.add(cls)

    def __init__(self, record: JobRecord, deadline: float | None = None) -> None:
        self._record = record
        self._deadline = deadline
        self._cursor = 0
        record.claim()

    def __del__(self) -> None:
        record = getattr(self, "_record", None)  # its making may have failed
        if record is not None:
            record.unclaim()

    @property
    def name(self) -> str:
        """What `cluster.job(name)` finds it by: the name given, or the function's with a number."""
        return self._record.label

    @property
    def id(self) -> str:
        """What always finds it, in any client."""
        return self._record.id

    @property
    def state(self) -> JobState:
        """ "pending", "running", "done", "failed" or "cancelled"."""
        return self._record.state

    @property
    def kept(self) -> bool:
        """Whether the cluster has it in its journal: all its items, and once it is over, all their results too.

        From then on it survives the death of any process. An unnamed cluster, and one with `store=None`, keeps nothing.
        """
        return self._record.is_kept

    def __repr__(self) -> str:
        progress = self._record.progress()
        count = f"/{progress.count:,}" if progress.count is not None else ""
        parts = [f"{progress.done:,}{count} done"]
        parts += [f"{progress.failed:,} failed"] * bool(progress.failed)
        parts += [f"{progress.cancelled:,} cancelled"] * bool(progress.cancelled)
        if progress.seconds_left and progress.state == "running":
            parts.append(f"{duration_text(progress.seconds_left)} left")
        return f"<Job {self.name}: {progress.state}, {', '.join(parts)}>"

    def __reduce__(self) -> NoReturn:
        raise HeldHereError(
            f"the job {self.name} can't travel to another process, but as an argument: "
            "pass it to submit or map, or use its results()"
        )

    # ---- results ---------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[T]:
        return in_order(self._record, self._deadline)

    def __next__(self) -> T:
        __tracebackhide__ = True
        index, self._cursor = self._cursor, self._cursor + 1
        try:
            result: T = one_result(self._record, index, self._deadline)
        except IndexError:
            self._cursor = index
            self._record.all_fetched()
            missing = self._record.missing(index)
            if missing is not None:
                raise missing from None
            raise StopIteration from None
        except TimeoutError:
            self._cursor = index
            raise
        return result

    def __len__(self) -> int:
        count = self._record.count
        if count is None:
            raise TypeError(f"{self.name} has no length yet: its input goes on (job.wait() waits for its end)")
        return count

    def __bool__(self) -> bool:
        return True

    @overload
    def __getitem__(self, index: int) -> Future[T]: ...
    @overload
    def __getitem__(self, index: slice) -> list[Future[T]]: ...

    def __getitem__(self, index: int | slice) -> Future[T] | list[Future[T]]:
        record = self._record
        if isinstance(index, slice):
            known = record.count is not None or (index.stop is not None and min(index.stop, index.start or 0) >= 0)
            count = len(self) if not known or record.count is not None else max(index.stop, index.start or 0)
            return [record.future(i) for i in range(count)[index]]
        index = operator.index(index)
        if index < 0:
            index += len(self)
        if index < 0 or (record.count is not None and index >= record.count):
            raise IndexError(f"{self.name} has {record.count:,} items, numbered from 0")
        return record.future(index)

    def results(self, errors: Errors = "raise") -> list[T]:
        """Return all results in order, waiting for them.

        Args:
            errors: What becomes of failed and cancelled items: "raise" raises the first one's exception, "return" puts
                the exception in the result's place, "skip" leaves them out. Where the items came from an iterable that
                raised, that is the last of the results, or raised, or left out.

        Raises:
            Detached: the wait was interrupted; the job goes on.
        """
        __tracebackhide__ = True
        return all_results(self._record, self._deadline, errors)

    def as_completed(self, errors: Errors = "raise") -> Iterator[tuple[int, T]]:
        """Yield (index, result) as they come."""
        __tracebackhide__ = True
        return as_they_come(self._record, self._deadline, errors)

    def __await__(self) -> Generator[Any, None, list[T]]:
        record = self._record
        if not record.is_over:
            yield from await_until(self.when_done, lambda: str(record.interrupted())).__await__()
        return self.results()

    def wait(self, timeout: float | str | None = None) -> bool:
        """Wait until no item will run any more; False if `timeout` seconds passed before."""
        return self._record.wait(timeout)

    def when_done(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` when this is done, on the reactor's thread: it must only hand on. The answer revokes that."""
        return self._record.when_over(wake)

    # ---- how it goes -----------------------------------------------------------------------------------------------

    def done(self) -> bool:
        """Whether no item will run any more: done, failed or cancelled."""
        return self._record.is_over

    def progress(self) -> Progress:
        """Counts, rate, time left."""
        return self._record.progress()

    def errors(self) -> JobErrors:
        """The failed items: index -> error, traceback, why."""
        record = self._record
        with record.condition:
            failures = sorted(record.fates.failures.items())
        return JobErrors(
            {i: ItemError(failure.exception(), failure.traceback, failure.info.why) for i, failure in failures}
        )

    @overload
    def logs(self, i: None = None) -> JobLogs: ...
    @overload
    def logs(self, i: int) -> str: ...

    def logs(self, i: int | None = None) -> JobLogs | str:
        """What the items printed: of all of them (index -> text), or of one."""
        record = self._record
        if i is not None:
            return record.printed_by(i + len(self) if i < 0 else i)
        with record.condition:
            return JobLogs(sorted(record.fates.outputs.items()))

    def show(self, wait: bool | None = None) -> None:
        """Show how it goes, live.

        Args:
            wait: Whether to return only at the job's end. By default a script or terminal waits, a notebook doesn't.
        """
        views.backend().show_job(self._record, wait)

    def plot(self, draw_fn: DrawFunction, wait: bool | None = None) -> None:
        """Draw what comes, live: `draw_fn(ax, new_results, state)` runs in the render process."""
        views.backend().plot_job(self._record, draw_fn, wait)

    def _ipython_display_(self) -> None:
        views.backend().display_job(self._record)

    # ---- what shall become of it -----------------------------------------------------------------------------------

    def keep(self) -> None:
        """Have the cluster keep its large results on the disk, too: those that are there, and those still to come.

        Results over 64 KiB otherwise lie in shared memory, which the end of the cluster and a reboot take; then they are
        made again where that is possible. Copies are made beside the cluster's journal, of the results' whole size. It
        returns when those are written that are there now; `kept` says when all are. A job without a name is then kept
        as one with a name is: until `forget()`, or for 7 days after its end.

        Raises:
            ValueError: The cluster has no journal: it has no name, or `store=None`.
            JournalFull: The disk is full. What was written stays; call it again once there is room.
            JobNotFound: The cluster forgot the job.

        Example:
            >>> job = tc.connect("lab").options(name="train").map(train, seeds)    # doctest: +SKIP
            >>> job.keep()                                                         # doctest: +SKIP
        """
        self._record.line.keep_results(self._record)

    def forget(self) -> None:
        """Have the cluster let go of it, with its results, errors and logs, in its journal too.

        What came here already stays here. Otherwise a named job of a named cluster is kept for 7 days after its end, or
        until such jobs take more than 10 GiB; an unnamed one for an hour after its client left.

        Raises:
            TwistclusterError: It isn't over.
        """
        self._record.line.forget(self._record)

    def cancel(self) -> None:
        """Let no item start any more, and stop those that run.

        An item that runs is interrupted like a program by Ctrl-C; if it hasn't ended two seconds later its slot is killed
        and replaced. `job[17].cancel()` cancels one item.
        """
        self._record.cancel()

    def retry(self) -> int:
        """Run the failed items again; returns how many."""
        return self._record.retry()


KINDS.add(Job)


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:100]}{'…' if len(text) > 100 else ''}" if text else type(error).__name__
