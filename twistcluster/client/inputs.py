"""What the items of a job wait for, or name, beside their arguments: futures, jobs, references.

They are held until the item has its result, so that the cluster can still ask for what it doesn't hold, and a failure's
cause is found. Items can't wait for themselves: only a lazy map's can be waited for before they are packed, so only
those are looked at (`awaited`). Owns: that. Must not know: how arguments are pickled, links.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from twistcluster.client.results import ItemFailure

__all__ = ["ALL", "Holder", "Inputs", "Node", "way_back"]

ALL: Final = -1
"""Of a job, as what is waited for: all its results."""


class Holder(Protocol):
    """A job, as far as its inputs matter."""

    label: str
    inputs: "Inputs"

    def name_of(self, index: int) -> str:
        """What people call an item."""


Node = tuple[Any, int]
"""A job (a `Holder`) and one of its items, or `ALL`."""


class Inputs:
    """Of one job, by item."""

    __slots__ = ("_held", "_nodes", "awaited", "source")

    def __init__(self) -> None:
        self._held: dict[int, tuple[object, ...]] = {}
        self._nodes: dict[int, tuple[Node, ...]] = {}
        self.source: Any = None
        """Another job (a `JobRecord`): each item's only argument is that one's result."""
        self.awaited: set[int] = set()
        """Items that others wait for, perhaps since before they were packed; `ALL`: any of them."""

    def __bool__(self) -> bool:
        return bool(self._held) or self.source is not None

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
        self.awaited.clear()
        if not again:
            self._held.clear()
            self._nodes.clear()
            self.source = None

    def before(self, index: int) -> Iterator[Node]:
        """What an item, or all of them, wait for."""
        if index == ALL:
            for nodes in [*self._nodes.values()]:
                yield from nodes
        else:
            yield from self._nodes.get(index, ())
        if self.source is not None:
            yield self.source, index

    def finder(self, index: int) -> Callable[[], ItemFailure | None]:
        """Finds the failure of what an item waited for, if it is known here when somebody asks."""
        nodes = [*self.before(index)]
        return lambda: _failure_among(nodes)


def way_back(start: Node, target: Node) -> list[Node] | None:
    """Return how `start` waits, by way of others, for `target`: from the one to the other; None if it doesn't."""
    came_from: dict[tuple[int, int], Node | None] = {(id(start[0]), start[1]): None}
    pending = [start]
    while pending:
        node = pending.pop()
        if node[0] is target[0] and node[1] in {target[1], ALL}:
            return _steps(node, came_from)
        for other in node[0].inputs.before(node[1]):
            key = (id(other[0]), other[1])
            if key not in came_from:
                came_from[key] = node
                pending.append(other)
    return None


def _failure_among(nodes: list[Node]) -> ItemFailure | None:
    for record, index in nodes:
        failures: dict[int, ItemFailure] = record.fates.failures
        if index in failures:
            return failures[index]
        if index == ALL and failures:
            return failures[min(failures)]
    return None


def _steps(node: Node, came_from: dict[tuple[int, int], Node | None]) -> list[Node]:
    steps = [node]
    while (before := came_from[id(steps[-1][0]), steps[-1][1]]) is not None:
        steps.append(before)
    return steps[::-1]
