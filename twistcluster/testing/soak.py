"""Faults by the thousand: `python -m twistcluster.testing.soak`.

Owns: runs of stories (stories.py) by seed, and what is said of them. The first that fails is told with all that happened
in it, and how to see it again. Must not know: what happens in a story.
"""

import argparse
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from twistcluster.testing.stories import Story

__all__ = ["Told", "main", "tell"]

SEEDS = 10**9


@dataclass
class Told:
    """What was seen up to now."""

    seeds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    failed: int | None = None
    """The seed of the first story that failed; none was told after it."""


def tell(seeds: Iterable[int]) -> Told:
    """Run the stories of these seeds up to the first that fails, whose error is printed."""
    told = Told()
    for seed in seeds:
        told.seeds += 1
        try:
            story = Story(seed)
            story.run()
        except Exception:
            traceback.print_exc()
            told.failed = seed
            break
        told.faults += story.faults
    return told


def for_seconds(seconds: float) -> Iterator[int]:
    """New seeds, until the time is over."""
    end = time.monotonic() + seconds
    chance = random.SystemRandom()
    while time.monotonic() < end:
        yield chance.randrange(SEEDS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run stories and print what was seen; the exit code is 1 where one failed."""
    parser = argparse.ArgumentParser(
        prog="python -m twistcluster.testing.soak",
        description="Whole simulated clusters in which things go wrong.",
        epilog="example: python -m twistcluster.testing.soak --seconds 600",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--seconds", type=float, default=60.0, help="of new seeds (default %(default)g)")
    what.add_argument("--seed", type=int, help="this one only, with all that happens in it")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    told = tell([options.seed] if options.seed is not None else for_seconds(options.seconds))
    if told.failed is not None:
        print(f"seed {told.failed} failed; once more: python -m twistcluster.testing.soak --seed {told.failed}")
        return 1
    print(f"{told.seeds:,} seeds ran in {time.monotonic() - began:.0f} s, and all that must hold did:")
    for what_happened, times in sorted(told.faults.items(), key=lambda each: -each[1]):
        print(f"  {times:8,}  {what_happened}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
