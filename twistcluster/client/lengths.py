"""How many items iterables have, and whether they can be taken at once.

Owns: that. Must not know: what becomes of the items.
"""

from collections.abc import Iterable, Iterator, Sized
from typing import Any

from twistcluster.client.references import JobFutures

__all__ = ["as_it_is", "known_count", "sized"]


def sized(iterables: tuple[Iterable[Any], ...]) -> list[Any] | None:
    """The items as they are now, where each iterable has a length; None: they are pulled as the work goes on.

    A `range` has a length too, but may be too long to hold; a job has one, but its results may be still to come.
    """
    if not all(_has_length(each) and not isinstance(each, range) for each in iterables):
        return None
    if len(iterables) > 1:
        return [*zip(*iterables)]  # noqa: B905
    return [*iterables[0]]


def as_it_is(iterable: Any) -> Any:
    """A sequence that is read bit by bit, beside a lazy one: as it is now, so that there are as many as it says."""
    if isinstance(iterable, range | JobFutures) or not _has_length(iterable):
        return iterable
    return [*iterable]


def _has_length(iterable: Any) -> bool:
    return isinstance(iterable, Sized) and not isinstance(iterable, Iterator)


def known_count(iterables: tuple[Any, ...]) -> int | None:
    """How many items lazy iterables will give, where all say it."""
    sizes = [_length(each) for each in iterables]
    known = [size for size in sizes if size is not None]
    return min(known) if len(known) == len(sizes) else None


def _length(iterable: Any) -> int | None:
    if isinstance(iterable, JobFutures):
        return iterable.record.count
    return len(iterable) if _has_length(iterable) else None
