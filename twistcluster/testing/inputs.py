"""What a simulated worker or slot was sent for the items that it runs.

Owns: `Inputs`, which checks that an item's page and the results that it waited for are there when it starts. Must not
know: who sends them.
"""

from twistcluster.wire.messages import DropPages, DropValues, EndJob, Message, OpenJob, Page, Values

__all__ = ["Inputs"]

WHOLE = -1


class Inputs:
    """Pages and results, as they came and went."""

    def __init__(self) -> None:
        self._pages: dict[int, dict[int, Page]] = {}
        self._values: dict[int, dict[int, Values]] = {}
        self._inputs: dict[int, dict[int, list[tuple[int, int]]]] = {}
        self.values_sent = 0
        """Value pages that came."""

    def said(self, message: Message) -> None:
        """A message came."""
        match message:
            case OpenJob(job=job):
                self._pages[job] = {}
                self._inputs[job] = {}
            case EndJob(job=job):
                self._pages.pop(job, None)
                self._inputs.pop(job, None)
            case Page(job=job, first=first):
                self._pages[job][first] = message
                for edge in message.edges:
                    self._inputs[job].setdefault(first + edge.item, []).append((edge.job, edge.index))
            case DropPages(job=job, firsts=firsts):
                for first in firsts:
                    del self._pages[job][first]
            case Values(job=job, first=first, count=count):
                held = self._values.setdefault(job, {})
                for other in held.values():
                    apart = other.first + other.count <= first or first + count <= other.first
                    assert apart, f"results {first} to {first + count} of job {job} came twice"
                held[first] = message
                self.values_sent += 1
            case DropValues(job=job, firsts=firsts):
                for first in firsts:
                    del self._values[job][first]
            case _:
                pass

    def check(self, job: int, index: int) -> None:
        """An item starts: all that it needs is here."""
        pages = self._pages.get(job)
        if pages is None:
            return  # the job ended meanwhile: what of it runs is for nobody
        assert any(p.first <= index < p.first + p.count for p in pages.values()), f"item {index} of {job} has no page"
        for other, item in self._inputs[job].get(index, ()):
            values = sorted(self._values.get(other, {}).values(), key=lambda v: v.first)
            if item == WHOLE:
                at = 0
                for page in values:
                    assert page.first == at, f"item {index} of {job} lacks result {at} of {other}"
                    at += page.count
            else:
                here = any(v.first <= item < v.first + v.count for v in values)
                assert here, f"item {index} of {job} lacks result {item} of {other}"
