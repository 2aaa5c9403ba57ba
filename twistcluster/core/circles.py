"""Circles of items that wait for each other.

Owns: the search. Only an item that somebody waits for already can close a circle, and the search goes both ways from it,
step by step in turns, until one way ends: it costs twice the shorter way. Must not know: what is done about a circle.
"""

from collections.abc import Callable, Iterator
from itertools import chain, zip_longest
from typing import Final

from twistcluster.core.jobs import Job
from twistcluster.core.links import ARMED, WHOLE, Input, Waiter

__all__ = ["in_circle"]

Step = Callable[[Job, int], Iterator[Input]]
END: Final = object()


def in_circle(waiter: Waiter) -> bool:
    """Whether an item waits for itself, through others."""
    start = (waiter.job, waiter.index)
    links = waiter.job.links
    if links is None or not (waiter.index in links.dependents or links.whole or links.sourced):
        return False
    for found in zip_longest(walk(start, inputs_of), walk(start, dependents_of), fillvalue=END):
        for one in found:
            if one in (start, (waiter.job, WHOLE)):
                return True
            if one is END:
                return False
    return False


def walk(start: Input, step: Step) -> Iterator[Input]:
    """All that can be reached from an item, each once, the item itself too if it can be."""
    seen: set[Input] = set()
    stack = [start]
    while stack:
        for one in step(*stack.pop()):
            if one not in seen:
                seen.add(one)
                yield one
                stack.append(one)


def inputs_of(job: Job, index: int) -> Iterator[Input]:
    """What an item, or a whole job, waits for."""
    links = job.links
    if links is None:
        return
    if index == WHOLE:
        for waiter in links.waiters.values():
            if waiter.state == ARMED:
                yield job, waiter.index
        if links.source is not None and not job.over:
            yield links.source, WHOLE
        return
    known = links.waiters.get(index)
    if known is not None and known.state == ARMED:
        yield from known.inputs
    if links.source is not None and (index in job.spans.waiting or index >= job.arrived):
        yield links.source, index


def dependents_of(job: Job, index: int) -> Iterator[Input]:
    """Who waits for an item."""
    links = job.links
    if links is None:
        return
    for waiter in chain(links.dependents.get(index, ()), links.whole):
        if waiter.state == ARMED:
            yield waiter.job, waiter.index
    for fed in links.sourced:
        if index in fed.spans.waiting or index >= fed.arrived:
            yield fed, index
