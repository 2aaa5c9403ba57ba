"""What test_journal_kill.py starts and kills: records a history as fast as it can, and says what was done.

`python killed.py PATH SEED` prints the number of each batch whose `done` was called, and ends only when killed.
"""

import os
import random
import sys
from collections.abc import Iterator

from tests.storage.journals import Owner, entry, job
from twistcluster.core.rows import (
    BlobRow,
    Change,
    ClientRow,
    ContextRow,
    JobsGone,
    PageRow,
    PagesGone,
    StateRow,
    TallyRow,
)

AHEAD = 40
"""Batches that are recorded and not yet done, at most."""


def history(seed: int) -> Iterator[list[Change]]:
    """Batches without end, the same for a seed: jobs that come, run, end, and are forgotten."""
    chosen = random.Random(seed)
    key = 0
    while True:
        key += 1
        function = b"%16d" % (key % 3)
        yield [
            *(ClientRow("kernel", key), BlobRow(function, b"function" * 100), BlobRow(b"m" * 16, b"module")),
            *(ContextRow(b"c" * 16, b"context", (b"m" * 16,)), job(key, function, context=b"c" * 16)),
        ]
        pages = chosen.randrange(1, 6)
        for page in range(pages):
            yield [PageRow(key, page * 10, 10, b"page", (chosen.randbytes(chosen.choice([10, 1000, 60_000])),))]
        for page in range(pages):
            yield [
                entry(key, page, chosen.randbytes(chosen.choice([10, 1000, 60_000]))),
                TallyRow(key, page * 10, "crash", chosen.randrange(3)),
                PagesGone(key, (page * 10,)),
            ]
        yield [StateRow(key, pages * 10, "", "done", float(key))]
        if chosen.random() < 0.7:
            yield [JobsGone((key - 2,))]


def main(path: str, seed: int) -> None:
    owner, done = Owner(), [0]
    journal = owner.open(path)
    os.write(1, b"0\n")

    def tell(error: object, number: int) -> None:
        assert error is None
        done[0] = number
        os.write(1, b"%d\n" % number)

    for number, batch in enumerate(history(seed), 1):
        journal.record(batch, lambda error, number=number: tell(error, number))
        owner.pump(lambda number=number: done[0] > number - AHEAD)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
