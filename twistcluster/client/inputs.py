"""What the items of a job wait for, or name, beside their arguments: futures, jobs, references.

They are held until the item has its result, so that the cluster can still ask for what it doesn't hold, and a failure's
cause is found. Owns: that. Must not know: how arguments are pickled, links.
"""

import re
from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from twistcluster.client.results import ItemFailure
from twistcluster.wire.messages import ErrorInfo

__all__ = ["ALL", "Inputs", "Node"]

ALL: Final = -1
"""Of a job, as what is waited for: all its results."""

_FAILED: Final = re.compile(r"it waits for (?P<label>.+?): item (?P<item>\d+) (?P<rest>.*)", re.DOTALL)
"""So the scheduler says it."""

Node = tuple[Any, int]
"""A job (a `JobRecord`) and one of its items, or `ALL`."""


class Inputs:
    """Of one job, by item."""

    __slots__ = ("_held", "_nodes", "source", "sources")

    def __init__(self) -> None:
        self._held: dict[int, tuple[object, ...]] = {}
        self._nodes: dict[int, tuple[Node, ...]] = {}
        self.source: Any = None
        """Another job (a `JobRecord`): each item's only argument is that one's result."""
        self.sources: tuple[Any, ...] = ()
        """The same one, or those jobs whose results are among each item's arguments."""

    def __bool__(self) -> bool:
        return bool(self._held) or bool(self.sources)

    def hold(self, index: int, held: tuple[object, ...], nodes: tuple[Node, ...]) -> None:
        """An item was packed: it names these objects, and of them waits for these items."""
        self._held[index] = held
        if nodes:
            self._nodes[index] = nodes

    def settled(self, start: int, stop: int) -> None:
        """These items won't run again."""
        held = self._held
        for index in range(start, stop) if stop - start < len(held) else [i for i in held if start <= i < stop]:
            if held.pop(index, None) is not None:
                self._nodes.pop(index, None)

    def ended(self, *, again: bool) -> None:
        """The job is over; its failed items may be run `again`."""
        if not again:
            self._held.clear()
            self._nodes.clear()
            self.source = None
            self.sources = ()

    def named(self, index: int, info: ErrorInfo) -> ErrorInfo:
        """A failure's words, with the item that was waited for by its own name.

        To the scheduler all submits of a turn are one job, which it calls by the first of them.
        """
        found = _FAILED.fullmatch(info.message) if info.why == "input" else None
        if found is None:
            return info
        label, item, rest = found["label"], int(found["item"]), found["rest"]
        for record, _ in self._nodes.get(index, ()):  # perhaps the failed one is further up, but in the same job
            if record.label == label and item < (record.count or 0) and record.job_of(item) != label:
                return replace(info, message=f"it waits for {record.job_of(item)}: it {rest}")
        return info

    def finder(self, index: int) -> Callable[[], ItemFailure | None]:
        """Finds the failure of what an item waited for, if it is known here when somebody asks."""
        nodes = [*self._nodes.get(index, ())]
        if self.source is not None:
            nodes.append((self.source, index))
        return lambda: _failure_among(nodes)


def _failure_among(nodes: list[Node]) -> ItemFailure | None:
    for record, index in nodes:
        failures: dict[int, ItemFailure] = record.fates.failures
        if index in failures:
            return failures[index]
        if index == ALL and failures:
            return failures[min(failures)]
    return None
