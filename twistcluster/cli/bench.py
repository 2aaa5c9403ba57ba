"""`twistcluster bench`: this cluster beside its peers, as a table or JSON.

Owns: the command's options and how the outcome is shown. Must not know: how anything is measured (benchmark/).
"""

import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import click

from twistcluster.cli.benchmark.engines import ENGINES, installed
from twistcluster.cli.benchmark.measures import MEASURES
from twistcluster.cli.benchmark.rounds import Outcome, Row, run
from twistcluster.cli.common import example

__all__ = ["bench"]

PACKAGES: Final = ("twistcluster", "joblib", "distributed", "ray", "numpy", "pillow")
NAMES: Final = (
    f"Some measures ({', '.join(MEASURES)}) or engines ({', '.join(ENGINES)}), with commas between; all if not given, "
    f"but for {', '.join(key for key, measure in MEASURES.items() if measure.by_name)}, which take minutes."
)


def chosen(context: click.Context, parameter: click.Parameter, value: str) -> tuple[list[str], list[str]]:
    """`--only` taken apart into measures and engines; what names none of them leaves all."""
    names = [name.strip() for name in value.split(",") if name.strip()]
    unknown = [name for name in names if name not in MEASURES and name not in ENGINES]
    if unknown:
        known = f"measures: {', '.join(MEASURES)}; engines: {', '.join(ENGINES)}"
        raise click.BadParameter(f"{', '.join(unknown)}: unknown. {known}")
    usual = [key for key, measure in MEASURES.items() if not measure.by_name]
    measures = [key for key in MEASURES if key in names] or usual
    engines = [key for key in ENGINES if key in names] or list(ENGINES)
    return measures, engines


@click.command(epilog=example("twistcluster bench", "twistcluster bench --only submit,pool --rounds 3 --json"))
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1), help="Medians are of so many rounds.")
@click.option("--slots", default=2, show_default=True, type=click.IntRange(1), help="Processes that each engine gets.")
@click.option("--only", default="", callback=chosen, metavar="NAMES", help=NAMES)
@click.option(
    "--scale", default=1.0, show_default=True, type=click.FloatRange(0, min_open=True), help="Times the items."
)
@click.option("--json", "as_json", is_flag=True, help="Every figure of every round, as JSON.")
def bench(rounds: int, slots: int, only: tuple[list[str], list[str]], scale: float, *, as_json: bool) -> None:
    """Do the same work here and on ProcessPoolExecutor, joblib, Dask and Ray.

    The engines take turns within each round, each in a process of its own, and only one works at a time. Compare
    figures of one run only.
    """
    measures, engines = only
    present = [key for key in engines if installed(key)]
    for key in engines:
        if key not in present:
            click.echo(
                f"{ENGINES[key]().title} isn't installed, so it is left out: pip install 'twistcluster[bench]'",
                err=True,
            )
    progress = ProgressLine()
    outcomes = run(measures, present, rounds, slots, scale, progress.tell)
    progress.clear()
    if as_json:
        click.echo(json.dumps(record(outcomes, rounds, slots), indent=2))
    else:
        click.echo(f"{slots} slots each, medians of {rounds} interleaved rounds, {machine()}")
        for outcome in outcomes:
            click.echo("\n" + text(outcome))
    if any(outcome.rows and outcome.rows[0].error for outcome in outcomes):
        sys.exit(1)


class ProgressLine:
    """One line on a terminal's standard error, written over; nothing where there is no terminal."""

    def tell(self, line: str) -> None:
        """Say what goes on."""
        if sys.stderr.isatty():
            click.echo(f"\r\x1b[2K{line}", nl=False, err=True)

    def clear(self) -> None:
        """Leave no trace."""
        self.tell("")


def text(outcome: Outcome) -> str:
    """One measure as a block of lines."""
    measure = outcome.measure
    lines = [f"{measure.title}: {measure.unit}, {measure.better} is better"]
    for row in outcome.rows:
        ratio = outcome.ratio(row)
        beside = f"{figure(ratio)} x" if ratio else ""
        notes = [f"{name} {figure(value)}" for name, value in row.more.items()]
        if outcome.rows[0].items != row.items:
            notes.append(f"{row.items:,} items")
        lines.append(f"  {ENGINES[row.engine]().title:36}{shown(row):>14}{beside:>12}   {', '.join(notes)}".rstrip())
    return "\n".join(lines)


def shown(row: Row) -> str:
    """A median, or why there is none."""
    return f"failed: {row.error}" if row.median is None else figure(row.median)


def figure(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def record(outcomes: list[Outcome], rounds: int, slots: int) -> dict[str, object]:
    """All of it, for programs and for docs/comparison.md."""
    return {
        "machine": machine(),
        "versions": {name: found for name in PACKAGES if (found := package_version(name))},
        "rounds": rounds,
        "slots": slots,
        "measures": [
            {
                "key": outcome.measure.key,
                "title": outcome.measure.title,
                "unit": outcome.measure.unit,
                "better": outcome.measure.better,
                "engines": [
                    {
                        "key": row.engine,
                        "title": ENGINES[row.engine]().title,
                        "items": row.items,
                        "median": row.median,
                        "ratio": outcome.ratio(row),
                        "values": row.values,
                        "more": row.more,
                        "error": row.error,
                    }
                    for row in outcome.rows
                ],
            }
            for outcome in outcomes
        ],
    }


def machine() -> str:
    """What the figures depend on most."""
    return f"{len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}, {platform.system()}"


def package_version(name: str) -> str:
    """Of an installed package, else nothing."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


if __name__ == "__main__":
    bench()
