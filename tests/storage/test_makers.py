import os
import shutil

from twistcluster.storage.pool import Pool
from twistcluster.storage.upkeep import Upkeep

KILLED = """
import os, sys
from twistcluster.storage.pool import Pool
pool = Pool(sys.argv[1])
print("ready", flush=True)
for line in sys.stdin:
    print(pool.write([b"pickle", bytes(300_000)])[0].hex(), flush=True)
"""
SECOND = 1.0
LATE = 100.0


def objects(store):
    return {name for place in (store, f"{store}/disk") for name in os.listdir(place) if len(name) == 32}


def makers(store):
    return os.listdir(f"{store}/makers")


def made(maker):
    """Have the other process write an object."""
    maker.stdin.write("\n")
    maker.stdin.flush()
    return maker.stdout.readline().strip()


def test_what_a_killed_maker_told_nobody_of_is_removed_after_a_while(store, child):
    maker, told = child(KILLED, store), set()
    upkeep = Upkeep(store, known=lambda name: name.hex() in told)
    told.add(made(maker))
    untold = made(maker)
    spilled = made(maker)
    shutil.move(f"{store}/{spilled}", f"{store}/disk/{spilled}")
    upkeep.look(SECOND)
    upkeep.look(LATE)
    assert objects(store) == {*told, untold, spilled}, "it lives"
    maker.kill()
    maker.wait()
    upkeep.look(LATE + 10)
    upkeep.look(LATE + 69)
    assert objects(store) == {*told, untold, spilled}, "what it said may still be on its way"
    upkeep.look(LATE + 75)
    assert objects(store) == told
    assert makers(store) == []


def test_a_pool_that_is_closed_is_dead_until_it_writes_again(store):
    pool = Pool(store)
    upkeep = Upkeep(store, known=lambda _: False)
    pool.write([b"pickle", bytes(300_000)])
    pool.close()
    upkeep.look(0)
    again = pool.write([b"pickle", bytes(300_000)])[0]
    upkeep.look(LATE)
    assert again.hex() in objects(store)
    pool.close()
    upkeep.look(2 * LATE)
    upkeep.look(3 * LATE)
    assert objects(store) == set()
    assert pool.write([b"pickle", bytes(300_000)])[0].hex() in objects(store)
    assert len(makers(store)) == 1


def test_nothing_is_removed_where_nobody_counts(store):
    pool = Pool(store)
    kept = pool.write([b"pickle", bytes(300_000)])[0]
    pool.close()
    upkeep = Upkeep(store)
    upkeep.look(0)
    upkeep.look(LATE)
    assert objects(store) == {kept.hex()}


def test_a_forked_child_does_not_keep_its_parents_name_alive(store):
    pool = Pool(store)
    pool.write([b"pickle", bytes(300_000)])
    upkeep = Upkeep(store, known=lambda _: False)
    reading, writing = os.pipe()
    told, telling = os.pipe()
    child = os.fork()
    if not child:
        os.close(writing)
        os.write(telling, b".")
        os.read(reading, 1)
        os._exit(0)
    try:
        os.read(told, 1)
        pool.close()
        upkeep.look(0)
        upkeep.look(LATE)
        assert objects(store) == set()
    finally:
        for fd in (reading, writing, told, telling):
            os.close(fd)
        os.waitpid(child, 0)
