"""Which slots may run the items of which context.

Owns: what a slot is bound to, and when a slot is taken from one base for another: two notebooks on one cluster never
meet in a slot, so a slot that changes hands is replaced. It is sticky (a slot that has a model loaded keeps it) but
fair: a base that has work and less than its share of the slots waits a quarter of a second. Must not know: messages,
processes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from twistcluster.wire.messages import Context

__all__ = ["SWITCH_S", "Binding", "fits", "shares"]

SWITCH_S: Final = 0.25
"""How long a base waits for a slot that another uses, and how long a slot that changed hands is kept at least."""


@dataclass(slots=True, frozen=True)
class Binding:
    """What a slot is: of one base for life, and the steps that it has run or will have run with what it was sent."""

    base: bytes
    steps: tuple[bytes, ...]

    def after(self, context: Context) -> "Binding":
        """What it is once it has run an item of a context that fits."""
        return self if len(context.steps) <= len(self.steps) else Binding(self.base, tuple(context.steps))


def fits(binding: Binding | None, context: Context) -> bool:
    """Whether a slot can run items of a context: it is free, or of its base and both ran the same steps so far.

    A slot that has run more steps than an older job asks for still fits: what a person does everywhere holds
    everywhere, and a job that runs on isn't worth a second set of processes.
    """
    if binding is None:
        return True
    common = min(len(binding.steps), len(context.steps))
    return binding.base == context.base and [*binding.steps[:common]] == context.steps[:common]


def shares(slots: int, bases: Iterable[bytes]) -> int:
    """How many slots each base that has work may count on."""
    return max(1, slots // max(1, len(set(bases))))


def donor(bases: Sequence[bytes], wanting: bytes, share: int, has: int) -> bytes | None:
    """Which base gives a slot up, of those that the slots are bound to: the one with most.

    Args:
        bases: of each slot that could be given up.
        wanting: the base that wants one.
        share: what each may count on.
        has: how many slots the wanting one has.
    """
    counts: dict[bytes, int] = {}
    for base in bases:
        if base != wanting:
            counts[base] = counts.get(base, 0) + 1
    if not counts:
        return None
    richest = max(counts, key=lambda base: counts[base])
    return richest if counts[richest] > share or has == 0 else None
