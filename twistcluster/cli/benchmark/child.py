"""One engine in a process of its own: `python -m twistcluster.cli.benchmark.child ENGINE SLOTS`.

Owns: the conversation with rounds.py: a line of JSON in ({"measure": key, "items": n}), a line of JSON out (figures, or
{"error": text}). Its standard output is kept for that; what engines print goes to standard error.
"""

import contextlib
import json
import os
import sys
from typing import IO

from twistcluster.cli.benchmark.engines import ENGINES
from twistcluster.cli.benchmark.measures import MEASURES, take

__all__ = ["main"]


def main(key: str, slots: int, orders: IO[str], answers: IO[str]) -> None:
    """Serve until the orders end; the engine starts with the first measure that doesn't start it itself."""
    engine = ENGINES[key]()
    chunksizes: dict[str, int] = {}
    started = False
    try:
        for line in orders:
            order = json.loads(line)
            measure = MEASURES[order["measure"]]
            try:
                if not (started or measure.fresh):
                    engine.start(slots)
                    started = True
                answer: dict[str, object] = dict(take(measure, engine, order["items"], slots, chunksizes))
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), file=answers, flush=True)
    finally:
        with contextlib.suppress(AttributeError):  # one that never started has nothing to stop
            engine.stop()


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    main(sys.argv[1], int(sys.argv[2]), sys.stdin, answers)
