"""Write docs/comparison.md from a bench: `twistcluster bench --json >bench.json; python tools/comparison.py bench.json`."""

import json
import sys
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parent.parent / "docs" / "comparison.md"

HEAD = """\
<!-- Made by tools/comparison.py from `twistcluster bench --json`; run them again rather than edit this page. -->
# Beside its peers

`twistcluster bench` does the same work on this cluster, ProcessPoolExecutor, joblib, Dask and Ray. The engines take
turns within each round, each in processes of its own, and only one works at a time. What stands here: medians of
{rounds} rounds, {slots} slots for each engine, on {machine} ({versions}).
Figures compare within one run only, so the ratio is what counts: how many times better twistcluster is (below 1: the
other one is). To see yours:

```
pip install 'twistcluster[bench]'
twistcluster bench
```
"""

FOOT = """\
"Best chunksize" is what a patient person would find: each run tries several and keeps the best one. Engines that would
take minutes got fewer items, and rates are compared; the number of items is in parentheses. joblib has no single calls:
there the figures are those of loky's executor, which it stands on. The share of the slots' time is (time measured
inside the items / slots) / time of the whole map; 1 can't be beaten.

Arrays are others in each round, and are read where they arrive; every engine gets a whole round to warm up. They go the
way that is fastest for the engine: joblib's files that are mapped, Dask's single submits, Ray's `put`. "Own mapping" is
the same loop over files in memory that the client wrote and mapped itself. "Copies" is what sharing the array costs
beside the same submits without it, as a multiple of one copy of the array into fresh memory. Memory while arrays pass
is that of client, cluster, slots and the files of the store, at most, above what it was before: a page that several
processes map counts once.

Thumbnails, recognition and questions to servers are measured where they are named:
`twistcluster bench --only thumbnails,steps,recognition,ask,ask_together,ask_wide,hand,pool`.

Where twistcluster is behind: the round trip of one idle submit. A result passes three processes and two threads here,
with contexts, fairness, stealing and crash accounting on the way, where the pool has one pipe each way; nearly all of
the difference is Python that runs in the cluster's process (about 150 us), and it is paid once a turn, not once an item.
Slots are processes of their own with a context, so they start later than a pool's forked ones.
"""


def page(bench: dict[str, Any]) -> str:
    """The page, whole."""
    versions = ", ".join(f"{name} {version}" for name, version in bench["versions"].items())
    parts = [HEAD.format(rounds=bench["rounds"], slots=bench["slots"], machine=bench["machine"], versions=versions)]
    for measure in bench["measures"]:
        parts += [f"## {measure['title'][0].upper()}{measure['title'][1:]}\n", table(measure)]
    return "\n".join([*parts, FOOT])


def table(measure: dict[str, Any]) -> str:
    """One measure."""
    lines = [f"| | {measure['unit']} ({measure['better']} is better) | twistcluster is |", "| --- | ---: | ---: |"]
    most = measure["engines"][0]["items"]
    for engine in measure["engines"]:
        fewer = f" ({engine['items']:,} items)" if engine["items"] != most else ""
        chunk = f" ({engine['more']['chunksize']:,.0f})" if "chunksize" in engine["more"] else ""
        ratio = f"{figure(engine['ratio'])} x" if engine["ratio"] else ""
        lines.append(f"| {engine['title']}{chunk}{fewer} | {figure(engine['median'])} | {ratio} |")
    return "\n".join([*lines, *further(measure)]) + "\n"


def further(measure: dict[str, Any]) -> list[str]:
    """What was measured beside, a line for each engine."""
    lines = []
    for engine in measure["engines"]:
        figures = [f"{name} {figure(value)}" for name, value in engine["more"].items() if name != "chunksize"]
        if figures:
            lines.append(f"- {engine['title']}: {', '.join(figures)}")
    return ["", *lines] if lines else []


def figure(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return "failed"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    PAGE.write_text(page(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), encoding="utf-8")
