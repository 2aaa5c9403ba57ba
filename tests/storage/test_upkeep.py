import os
import threading
from pathlib import Path

import pytest

from twistcluster.storage import upkeep as upkeep_module
from twistcluster.storage.copying import try_exclusive
from twistcluster.storage.layout import FREE, NEW, ObjectGone
from twistcluster.storage.pool import Pool
from twistcluster.storage.reader import Reader
from twistcluster.storage.upkeep import Upkeep

KIB, MIB = 1024, 1024 * 1024


def files(store: str) -> list[str]:
    return sorted(name for name in os.listdir(store) if name not in {"lock", "disk", "makers"})


def spilled(store: str) -> list[str]:
    return files(f"{store}/disk")


def write(pool: Pool, byte: int, size: int = MIB) -> bytes:
    return pool.write([b"pickle", bytes([byte]) * size])[0]


def good(store: str, object_id: bytes, byte: int, size: int = MIB) -> bool:
    return [bytes(part) for part in Reader(store).read(object_id)] == [b"pickle", bytes([byte]) * size]


def spill_all(store: str) -> None:
    Upkeep(store, limit_bytes=1).look(0.0)


# ---- removing ----------------------------------------------------------------------------------------------------------


def test_removed_objects_are_gone_in_both_places(store):
    pool, upkeep = Pool(store), Upkeep(store)
    on_disk = write(pool, 1)
    spill_all(store)
    in_memory = write(pool, 2)
    upkeep.remove([on_disk, in_memory, bytes(16)])
    assert files(store) == spilled(store) == []
    for object_id in (on_disk, in_memory):
        with pytest.raises(ObjectGone):
            Reader(store).read(object_id)


def test_what_is_mapped_stays_readable_after_removal(store):
    pool = Pool(store)
    object_id = write(pool, 1)
    held = Reader(store).read(object_id)[1]
    Upkeep(store).remove([object_id])
    assert files(store) == []
    assert held == bytes([1]) * MIB


def test_memory_comes_back_although_a_pool_maps_it(store):
    pool = Pool(store)
    for _ in range(2):
        object_id = write(pool, 1, 2 * MIB)
        pool.recycle([object_id])
    object_id = write(pool, 2, 2 * MIB)
    fd = os.open(f"{store}/{object_id.hex()}", os.O_RDONLY)
    Upkeep(store).remove([object_id])
    assert pool._windows == 1
    assert os.fstat(fd).st_blocks == 0
    os.close(fd)
    pool.recycle([object_id])
    assert pool._windows == 0


# ---- free segments -----------------------------------------------------------------------------------------------------


def test_free_segments_go_after_an_idle_minute(store):
    pool, upkeep = Pool(store), Upkeep(store)
    first = write(pool, 1)
    pool.recycle([first])
    upkeep.look(100.0)
    second = write(pool, 2, 70 * KIB)
    pool.recycle([second])
    upkeep.look(105.0)
    upkeep.look(159.9)
    assert files(store) == sorted([FREE + first.hex(), FREE + second.hex()])
    upkeep.look(160.0)
    assert files(store) == [FREE + second.hex()]
    upkeep.look(165.0)
    assert files(store) == []
    assert good(store, write(pool, 3), 3)


def test_a_segment_used_meanwhile_has_its_minute_again(store):
    pool, upkeep = Pool(store), Upkeep(store)
    pool.recycle([write(pool, 1)])
    upkeep.look(100.0)
    object_id = write(pool, 2)
    upkeep.look(105.0)
    pool.recycle([object_id])
    upkeep.look(161.0)
    assert files(store) == [FREE + object_id.hex()]


def test_free_segments_that_are_still_mapped_stay_until_they_are_not(store):
    pool, upkeep = Pool(store), Upkeep(store)
    object_id = write(pool, 1)
    held = Reader(store).read(object_id)
    pool.recycle([object_id])
    upkeep.look(100.0)
    upkeep.look(161.0)
    assert files(store) == [FREE + object_id.hex()]
    assert held[1] == bytes([1]) * MIB
    del held
    upkeep.look(162.0)
    assert files(store) == []


def test_a_change_in_the_same_tick_of_the_clock_is_seen_by_the_next_look(store):
    pool, upkeep = Pool(store), Upkeep(store)
    object_id = write(pool, 1)
    upkeep.look(100.0)
    stamp = os.stat(store).st_mtime_ns
    pool.recycle([object_id])
    os.utime(store, ns=(stamp, stamp))
    upkeep.look(101.0)
    upkeep.look(161.0)
    assert files(store) == []


def test_free_segments_go_at_once_where_memory_is_short(store):
    pool, upkeep = Pool(store), Upkeep(store)
    kept = write(pool, 2)
    pool.recycle([write(pool, 1)])
    upkeep.look(100.0)
    upkeep.look(101.0, short=True)
    assert files(store) == [kept.hex()]
    assert good(store, write(pool, 3), 3)


def test_a_folder_without_changes_isn_t_read_again(store, monkeypatch):
    upkeep = Upkeep(store)
    upkeep.look(100.0)
    upkeep.look(101.0)
    monkeypatch.setattr(upkeep_module.os, "listdir", lambda place: pytest.fail(f"{place} was read"))
    upkeep.look(102.0)


def test_all_free_segments_go_at_once_when_memory_is_short(store, monkeypatch):
    pool, upkeep = Pool(store), Upkeep(store)
    pool.recycle([write(pool, 1)])
    monkeypatch.setattr(upkeep_module, "_file_system", lambda place: (81, 100))
    upkeep.look(100.0)
    assert files(store) == []


def test_what_a_killed_writer_left_is_removed(store, child):
    writer = child(
        """
import sys
from twistcluster.storage import pool as pool_module
from twistcluster.storage.pool import Pool
pool = Pool(sys.argv[1])
pool.recycle([pool.write([b"x" * 2**20])[0]])
write_out = pool_module.write_out
def stuck(fd, layout):
    print("ready", flush=True)
    sys.stdin.readline()
pool_module.write_out = stuck
pool.write([b"x" * 100])
""",
        store,
    )
    upkeep = Upkeep(store)
    upkeep.look(100.0)
    upkeep.look(160.0)
    [writing] = files(store)
    assert writing.startswith(NEW)  # it lives, so it is left alone; its free segment is not
    writer.kill()
    writer.wait()
    upkeep.look(161.0)
    assert files(store) == []


# ---- spilling ----------------------------------------------------------------------------------------------------------


def test_the_oldest_objects_go_to_the_disk_until_there_is_room(store):
    pool = Pool(store)
    ids = [write(pool, byte) for byte in range(10)]
    upkeep = Upkeep(store, limit_bytes=7 * MIB)
    upkeep.look(0.0)
    assert spilled(store) == sorted(object_id.hex() for object_id in ids[:5])
    assert files(store) == sorted(object_id.hex() for object_id in ids[5:])
    memory, disk = upkeep.usage()
    assert memory + disk == 10 * (MIB + 4 * KIB)
    assert memory <= 6 * MIB
    assert all(good(store, object_id, byte) for byte, object_id in enumerate(ids))
    upkeep.look(1.0)
    assert len(spilled(store)) == 5


def test_below_the_limit_nothing_moves(store):
    pool = Pool(store)
    ids = [write(pool, byte) for byte in range(3)]
    Upkeep(store, limit_bytes=7 * MIB).look(0.0)
    Upkeep(store).look(0.0)
    assert files(store) == sorted(object_id.hex() for object_id in ids)


def test_one_call_moves_a_bounded_amount(store, monkeypatch):
    monkeypatch.setattr(upkeep_module, "_SPILLED_BYTES", 2 * MIB)
    pool, upkeep = Pool(store), Upkeep(store, limit_bytes=1)
    for byte in range(5):
        write(pool, byte)
    for moved in (2, 4, 5):
        assert upkeep.look(0.0) is (moved < 5)
        assert len(spilled(store)) == moved
    assert upkeep.look(0.0) is False


def test_free_segments_go_first(store):
    pool = Pool(store)
    ids = [write(pool, byte) for byte in range(10)]
    pool.recycle(ids[5:])
    Upkeep(store, limit_bytes=7 * MIB).look(0.0)
    assert files(store) == sorted(object_id.hex() for object_id in ids[:5])
    assert spilled(store) == []


def test_what_somebody_maps_stays_and_isn_t_even_copied(store, monkeypatch):
    pool = Pool(store)
    ids = [write(pool, byte) for byte in range(3)]
    held = Reader(store).read(ids[0])
    whole, copied = upkeep_module._copy, []
    monkeypatch.setattr(upkeep_module, "_copy", lambda fd, target: (copied.append(target), whole(fd, target)))
    spill_all(store)
    assert len(copied) == 2
    assert files(store) == [ids[0].hex()]
    assert held[1] == bytes(MIB)


def test_spilled_objects_are_recycled_too(store):
    pool = Pool(store)
    for _ in range(3):
        object_id = write(pool, 1, 2 * MIB)
        pool.recycle([object_id])
    object_id = write(pool, 2, 2 * MIB)
    assert pool._windows == 1
    spill_all(store)
    assert good(store, object_id, 2, 2 * MIB)
    pool.recycle([object_id])
    assert pool._windows == 0
    assert files(store) == spilled(store) == []
    with pytest.raises(ObjectGone):
        Reader(store).read(object_id)


@pytest.mark.parametrize("meanwhile", ["freed", "freed and used again", "mapped", "removed"])
def test_what_happens_while_an_object_is_copied_wins(store, monkeypatch, meanwhile):
    pool, held = Pool(store), []
    object_id = write(pool, 1)
    whole, others = upkeep_module._copy, []

    def copy(fd, target):
        whole(fd, target)
        if meanwhile.startswith("freed"):
            pool.recycle([object_id])
            if "again" in meanwhile:
                others.append(write(pool, 2))
                assert os.stat(f"{store}/{others[0].hex()}").st_ino != os.fstat(fd).st_ino  # that one is being copied
        elif meanwhile == "mapped":
            held.extend(Reader(store).read(object_id))
        else:
            Upkeep(store).remove([object_id])

    monkeypatch.setattr(upkeep_module, "_copy", copy)
    upkeep = Upkeep(store, limit_bytes=1)
    upkeep.look(0.0)
    assert object_id.hex() not in spilled(store)
    if meanwhile == "mapped":
        assert held[1] == bytes([1]) * MIB
        assert good(store, object_id, 1)
    else:
        assert object_id.hex() not in files(store)
        assert all(good(store, other, 2) for other in others)
        assert others or meanwhile != "freed and used again"


def test_a_reader_in_a_loop_never_misses_an_object_that_is_spilled(store):
    pool, upkeep = Pool(store), Upkeep(store, limit_bytes=1)
    failures, done, seen = [], threading.Event(), 0
    current = [write(pool, 0)]

    def read_on() -> None:
        nonlocal seen
        while not done.is_set():
            object_id = current[0]
            try:
                parts = Reader(store).read(object_id)
                if parts[1] != bytes([0]) * MIB:
                    failures.append("wrong bytes")
                seen += 1
            except Exception as error:
                failures.append(error)
            del parts

    reader = threading.Thread(target=read_on)
    reader.start()
    try:
        for _ in range(40):
            current[0] = write(pool, 0)
            for _ in range(5):
                upkeep.look(0.0)
    finally:
        done.set()
        reader.join()
    assert failures == []
    assert seen > 40
    assert len(spilled(store)) > 10


def test_a_full_disk_stops_spilling_and_loses_nothing(store, monkeypatch):
    pool = Pool(store)
    ids = [write(pool, byte) for byte in range(3)]

    def full(fd, start, size):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(upkeep_module.os, "posix_fallocate", full)
        spill_all(store)
    assert spilled(store) == []
    assert all(good(store, object_id, byte) for byte, object_id in enumerate(ids))


def test_where_the_store_is_on_the_disk_anyway_nothing_moves(store, tmp_path):
    folder = tmp_path / "store"
    (folder / "disk").mkdir(parents=True)
    object_id = write(Pool(str(folder)), 1)
    spill_all(str(folder))
    assert (folder / object_id.hex()).exists()


def test_a_store_that_is_gone_needs_no_upkeep(tmp_path):
    folder = tmp_path / "store"
    (folder / "disk").mkdir(parents=True)
    upkeep = Upkeep(str(folder), limit_bytes=1)
    (folder / "disk").rmdir()
    folder.rmdir()
    upkeep.look(0.0)
    upkeep.remove([bytes(16)])
    assert upkeep.usage() == (0, 0)


def test_upkeep_holds_no_locks_and_no_descriptors(store):
    pool, upkeep = Pool(store), Upkeep(store, limit_bytes=1)
    write(pool, 0, 70 * KIB)
    before = len(os.listdir("/proc/self/fd"))
    ids = [write(pool, byte, 70 * KIB) for byte in range(20)]
    pool.recycle(ids[:10])
    upkeep.look(0.0)
    upkeep.remove(ids[10:15])
    assert len(os.listdir("/proc/self/fd")) == before
    for path in Path(store, "disk").iterdir():
        fd = os.open(path, os.O_RDWR)
        assert path.name == "lock" or try_exclusive(fd)
        os.close(fd)


def test_an_object_takes_the_name_of_one_that_was_lost(store):
    pool, reader = Pool(store), Reader(store)
    lost, _ = pool.write([b"first"])
    made, _ = pool.write([b"second", bytes(300_000)])
    os.unlink(f"{store}/{lost.hex()}")
    Upkeep(store).rename(made, lost)
    assert good_parts(reader, lost)
    with pytest.raises(ObjectGone):
        reader.read(made)
    pool.recycle([made])  # its maker lets go of a name that is another's now
    assert good_parts(reader, lost)
    Upkeep(store).remove([lost])
    with pytest.raises(ObjectGone):
        reader.read(lost)


def good_parts(reader: Reader, object_id: bytes) -> bool:
    return [bytes(part) for part in reader.read(object_id)] == [b"second", bytes(300_000)]
