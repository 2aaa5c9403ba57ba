"""One process of test_many_at_once.py: two threads write and recycle, one reads what all processes wrote.

`python busy.py STORE BOARD SEED TURNS`. A file in the folder BOARD names an object that nobody has recycled yet. What an
object holds follows from its id, so every reader can tell.
"""

import contextlib
import os
import random
import sys
import threading

from twistcluster.storage.layout import ObjectDamaged, ObjectGone
from twistcluster.storage.pool import Pool
from twistcluster.storage.reader import Reader

KIB = 1024
SIZES = [1, 64 * KIB, 70 * KIB, 256 * KIB, 300 * KIB, 1024 * KIB, 1500 * KIB, 3000 * KIB]


class Marked(Pool):
    """Puts the object's own number into its parts."""

    def write_marked(self, number: int, size: int) -> bytes:
        mark = number.to_bytes(8, "big")
        return self.write([mark, (mark * (size // 8 + 1))[:size], mark])[0]


def whole(parts: list[memoryview]) -> bool:
    mark, body, end = map(bytes, parts)
    return mark == end and body == (mark * (len(body) // 8 + 1))[: len(body)]


def write_on(pool: Marked, board: str, chance: random.Random, turns: int) -> None:
    mine: list[bytes] = []
    for _ in range(turns):
        object_id = pool.write_marked(chance.getrandbits(64), chance.choice(SIZES))
        open(f"{board}/{object_id.hex()}", "w").close()
        mine.append(object_id)
        while len(mine) > 12 or (mine and chance.random() < 0.4):
            gone = mine.pop(chance.randrange(len(mine)))
            os.unlink(f"{board}/{gone.hex()}")
            pool.recycle([gone])


def read_on(store: str, board: str, chance: random.Random, done: threading.Event) -> int:
    """Holds some parts for a while, and looks at them again before it lets them go."""
    reader, held, seen = Reader(store), [], 0
    while not done.is_set():
        if not (names := os.listdir(board)):
            continue
        name = chance.choice(names)
        try:
            parts = reader.read(bytes.fromhex(name))
        except ObjectDamaged:
            raise
        except ObjectGone:
            assert not os.path.exists(f"{board}/{name}"), f"{name} was lost"
            continue
        assert whole(parts), f"{name} has other bytes"
        seen += 1
        held.append((name, parts))
        if len(held) > 6:
            name, parts = held.pop(chance.randrange(len(held)))
            assert whole(parts), f"{name} was changed while it was held"
    assert all(whole(parts) for _, parts in held)
    return seen


def main(store: str, board: str, seed: int, turns: int) -> None:
    pool, done, failures = Marked(store, free_bytes=24 * KIB * KIB), threading.Event(), []

    def guarded(what, *args) -> None:
        try:
            what(*args)
        except BaseException as error:
            failures.append(error)

    threads = [
        threading.Thread(target=guarded, args=(write_on, pool, board, random.Random(seed + number), turns))
        for number in range(2)
    ]
    reading = threading.Thread(target=guarded, args=(read_on, store, board, random.Random(seed + 2), done))
    for thread in [reading, *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    reading.join()
    for failure in failures:
        raise failure


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
