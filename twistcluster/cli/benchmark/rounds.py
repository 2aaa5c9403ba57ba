"""Rounds: every engine takes every measure, one after the other, so that a slow minute hits all of them.

Owns: the engines' processes, the order, medians and ratios. Must not know: how a measure is taken, how it is shown.
"""

import contextlib
import json
import os
import selectors
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Self

from twistcluster.cli.benchmark.engines import ENGINES, OURS
from twistcluster.cli.benchmark.measures import MEASURES, Measure
from twistcluster.cli.benchmark.place import shared_place

__all__ = ["Child", "Outcome", "Row", "run"]

MEASURE_SECONDS: Final = 600.0
STOP_SECONDS: Final = 20.0


class Child:
    """An engine's process, in a session of its own so that all it started can be ended with it."""

    def __init__(self, engine: str, slots: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.child", engine, str(slots)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin and self.process.stdout
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def take(self, measure: str, items: int) -> dict[str, float]:
        """One measure; a RuntimeError says why there is no figure."""
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(json.dumps({"measure": measure, "items": items}).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise RuntimeError("its process ended") from None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(MEASURE_SECONDS):
                self.process.kill()
                raise RuntimeError(f"no answer in {MEASURE_SECONDS:g} s")
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("its process ended")
        answer: dict[str, float] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer


@dataclass
class Row:
    """What one engine reached in one measure."""

    engine: str
    items: int
    values: list[float] = field(default_factory=list)
    others: list[dict[str, float]] = field(default_factory=list)
    """Further figures of each round."""
    error: str = ""

    @property
    def median(self) -> float | None:
        """Of the rounds that gave a figure."""
        return statistics.median(self.values) if self.values else None

    @property
    def more(self) -> dict[str, float]:
        """Medians of the further figures."""
        names = self.others[-1] if self.others else {}
        return {name: statistics.median(figures[name] for figures in self.others) for name in names}


@dataclass
class Outcome:
    """One measure: a row for each engine, ours first."""

    measure: Measure
    rows: list[Row]

    def ratio(self, row: Row) -> float | None:
        """How many times better we are than this engine: above 1 is for us."""
        ours, theirs = self.rows[0].median, row.median
        if row is self.rows[0] or not ours or not theirs:
            return None
        return ours / theirs if self.measure.better == "more" else theirs / ours


def run(
    measures: Iterable[str], engines: Iterable[str], rounds: int, slots: int, scale: float, tell: Callable[[str], None]
) -> list[Outcome]:
    """Take all measures in all rounds; `tell` gets a line about what goes on."""
    keys = [key for key in ENGINES if key in set(engines) | {OURS}]
    outcomes = [outcome(MEASURES[key], keys, scale) for key in measures]
    with shared_place(), contextlib.ExitStack() as stack:
        children: dict[str, Child] = {}
        for number in range(rounds):
            for one in outcomes:
                # The order turns from round to round, so that nobody always comes after the same neighbour.
                turn = number % len(one.rows)
                for row in one.rows[turn:] + one.rows[:turn]:
                    tell(f"round {number + 1} of {rounds}: {one.measure.title}, {ENGINES[row.engine]().title}")
                    fill(row, one.measure, children, stack, slots)
    return outcomes


def outcome(measure: Measure, engines: list[str], scale: float) -> Outcome:
    """A measure before its first round."""
    return Outcome(measure, [Row(key, measure.count(key, scale)) for key in engines if key in measure.engines])


def fill(row: Row, measure: Measure, children: dict[str, Child], stack: contextlib.ExitStack, slots: int) -> None:
    """One figure more, unless the engine has failed in this measure before."""
    if row.error:
        return
    try:
        if measure.fresh:
            with Child(row.engine, slots) as child:
                figures = child.take(measure.key, row.items)
        else:
            if row.engine not in children:
                children[row.engine] = stack.enter_context(Child(row.engine, slots))
            figures = children[row.engine].take(measure.key, row.items)
    except RuntimeError as error:
        row.error = str(error)
        return
    row.values.append(figures.pop(measure.key))
    row.others.append(figures)
