"""`wait`, `as_completed` and `gather`, over futures and jobs.

As those of `concurrent.futures`, but they take jobs too, and an interrupt is `Detached`. Owns: that. Must not know:
links.
"""

import concurrent.futures
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION
from concurrent.futures import TimeoutError as WaitTimeout
from typing import Any, NamedTuple, Self, TypeVar

from twistcluster.client.futures import Future
from twistcluster.client.jobs import Job
from twistcluster.client.patience import deadline_of, detached, wait_until
from twistcluster.errors import Detached

__all__ = ["DoneAndNotDone", "as_completed", "gather", "wait"]

T = TypeVar("T")
Waitable = Any
"""A future, of this package or of any executor, or a job."""

_WHEN = (ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION)


class DoneAndNotDone(NamedTuple):
    """What `wait` returns."""

    done: set[Waitable]
    not_done: set[Waitable]


def wait(
    fs: Iterable[Waitable], timeout: float | str | None = None, return_when: str = ALL_COMPLETED
) -> DoneAndNotDone:
    """Wait for futures and jobs, as `concurrent.futures.wait`.

    Args:
        fs: Futures or jobs.
        timeout: Seconds; None: as long as it takes.
        return_when: ALL_COMPLETED, FIRST_COMPLETED or FIRST_EXCEPTION.
    """
    if return_when not in _WHEN:
        raise ValueError(f"return_when is one of {', '.join(_WHEN)}, not {return_when!r}")
    asked = _unique(fs)
    with _Ends(asked) as ends:

        def ready() -> bool:
            if return_when == FIRST_COMPLETED and ends.came:
                return True
            if return_when == FIRST_EXCEPTION and any(map(_failed, ends.came)):
                return True
            return len(ends.came) == len(asked)

        wait_until(ends.condition, ready, timeout, lambda: _interrupted(asked), here=ends.here)
        done = set(ends.came)
    return DoneAndNotDone(done, {each for each in asked if each not in done})


def as_completed(fs: Iterable[Waitable], timeout: float | str | None = None) -> Iterator[Waitable]:
    """Yield futures and jobs as they are done, as `concurrent.futures.as_completed`."""
    asked = _unique(fs)
    deadline = deadline_of(timeout)
    with _Ends(asked) as ends:
        for told in range(len(asked)):
            rest = None if deadline is None else deadline - time.monotonic()
            if not wait_until(
                ends.condition,
                lambda: len(ends.came) > told,  # noqa: B023 (asked before `told` changes)
                rest,
                lambda: _interrupted(asked),
                here=ends.here,
            ):
                raise WaitTimeout(f"{len(asked) - told} of {len(asked)} aren't done after {timeout} s; they go on")
            yield ends.came[told]


def gather(fs: Iterable[Waitable]) -> list[Any]:
    """Return the results of futures and jobs (a list each) in the given order; the first error met is raised."""
    return [each.results() if isinstance(each, Job) else each.result() for each in map(_waitable, _listed(fs))]


class _Ends:
    """What of a number of futures and jobs is over, in the order in which it ended."""

    def __init__(self, asked: list[Waitable]) -> None:
        self.condition = threading.Condition()
        self.came: list[Waitable] = []
        self.here = not any(isinstance(each, (Job, Future)) for each in asked)
        """All of them come from other executors of this program."""
        self._asked = asked
        self._revokes: deque[Any] = deque()

    def __enter__(self) -> Self:
        for each in self._asked:
            self._watch(each)
        return self

    def __exit__(self, *_: object) -> None:
        for revoke in self._revokes:
            revoke()

    def _watch(self, each: Waitable) -> None:
        def over(_: object = None) -> None:
            with self.condition:
                self.came.append(each)
                self.condition.notify_all()

        if isinstance(_waitable(each), (Job, Future)):
            self._revokes.append(each.when_done(over))
        else:
            each.add_done_callback(over)


def _waitable(each: Waitable) -> Waitable:
    if not isinstance(each, (Job, concurrent.futures.Future)):
        raise TypeError(f"futures and jobs can be waited for; {type(each).__name__} is neither")
    return each


def _listed(fs: Iterable[Waitable]) -> list[Waitable]:
    return [fs] if isinstance(fs, (Job, concurrent.futures.Future)) else list(fs)


def _unique(fs: Iterable[Waitable]) -> list[Waitable]:
    return list(dict.fromkeys(_listed(fs)))


def _failed(each: Waitable) -> bool:
    if isinstance(each, Job):
        return each.state == "failed"
    return not each.cancelled() and each.exception() is not None


def _interrupted(asked: list[Waitable]) -> Detached:
    names = [each.name for each in asked if isinstance(each, (Job, Future))]
    first = names[0] if names else "a future"
    return detached(
        first if len(asked) == 1 else f"{first} and {len(asked) - 1} more",
        f"cluster.job({first!r})" if len(asked) == 1 else "cluster.job(name)",
        many=len(asked) > 1,
    )
