import fcntl
import gc
import mmap
import os
from pathlib import Path

import pytest

from twistcluster.storage import mappings, page_map
from twistcluster.storage.copying import try_exclusive
from twistcluster.storage.pool import Pool
from twistcluster.storage.reader import Reader
from twistcluster.storage.upkeep import Upkeep

MIB = 1024 * 1024
SIZE = 2 * MIB


@pytest.fixture(autouse=True)
def nothing_idle():
    mappings.settle()
    yield
    mappings.settle()


def write(pool, byte):
    return pool.write([b"pickle", bytes([byte]) * SIZE])[0]


def used_again(pool, object_id, byte):
    """The next object, in the same file."""
    inode = os.stat(f"{pool._folder}/{object_id.hex()}").st_ino
    pool.recycle([object_id])
    again = write(pool, byte)
    assert os.stat(f"{pool._folder}/{again.hex()}").st_ino == inode
    return again


def count(monkeypatch):
    """How many new mappings are made from here on."""
    made = []
    real = mmap.mmap
    monkeypatch.setattr(mappings.mmap, "mmap", lambda *a, **k: (made.append(1), real(*a, **k))[1])
    return made


def test_a_mapping_shows_the_next_object_in_the_same_file(store, monkeypatch):
    pool, reader = Pool(store), Reader(store)
    object_id = write(pool, 1)
    assert reader.read(object_id)[1] == bytes([1]) * SIZE
    made = count(monkeypatch)
    for byte in range(2, 10):
        object_id = used_again(pool, object_id, byte)
        parts = reader.read(object_id)
        assert parts[1] == bytes([byte]) * SIZE
        del parts
    assert len(made) <= 1, "the writer's own"


def test_one_that_was_written_to_is_not_used_again(store):
    pool, reader = Pool(store), Reader(store)
    object_id = write(pool, 1)
    parts = reader.read(object_id)
    parts[1][SIZE // 2] = 99
    del parts
    assert not mappings._idle
    object_id = used_again(pool, object_id, 2)
    assert reader.read(object_id)[1] == bytes([2]) * SIZE


def test_two_that_look_at_one_object_share_no_mapping(store):
    pool, reader = Pool(store), Reader(store)
    object_id = write(pool, 1)
    del_me = reader.read(object_id)
    del del_me
    one, two = reader.read(object_id), reader.read(object_id)
    one[1][0] = 5
    assert two[1][0] == 1
    del two
    assert reader.read(object_id)[1][0] == 1
    assert one[1][0] == 5


def test_a_view_of_a_part_holds_the_file(store):
    pool = Pool(store)
    object_id = write(pool, 1)
    view = Reader(store).read(object_id)[1][100:200]
    gc.collect()
    fd = os.open(f"{store}/{object_id.hex()}", os.O_RDWR)
    assert not try_exclusive(fd)
    del view
    assert try_exclusive(fd)
    os.close(fd)


def test_idle_mappings_keep_no_memory_of_files_that_are_removed(store):
    pool = Pool(store)
    ids = [write(pool, byte) for byte in range(4)]
    for object_id in ids:
        assert Reader(store).read(object_id)
    assert len(mappings._idle) == 4
    fds = [os.open(f"{store}/{object_id.hex()}", os.O_RDONLY) for object_id in ids]
    pool.recycle(ids[:2])
    pool.close()
    Upkeep(store).remove(ids[2:])
    assert [os.fstat(fd).st_blocks for fd in fds] == [0] * 4
    for fd in fds:
        os.close(fd)


def test_one_of_a_file_that_was_removed_while_it_was_read_is_given_up_in_time(store, monkeypatch):
    """Such a file is not cut short: its memory goes with the last mapping."""
    now = [100.0]
    monkeypatch.setattr(mappings.time, "monotonic", lambda: now[0])
    pool = Pool(store)
    object_id = write(pool, 1)
    assert Reader(store).read(object_id)
    other = os.open(f"{store}/{object_id.hex()}", os.O_RDONLY)  # another process that reads it
    fcntl.flock(other, fcntl.LOCK_SH)
    Upkeep(store).remove([object_id])
    os.close(other)
    assert maps(store) == ["(deleted)"]
    now[0] += 59
    mappings.expire()
    assert maps(store) == ["(deleted)"]
    now[0] += 2
    mappings.expire()
    assert not maps(store)


def test_two_idle_mappings_of_one_file_keep_no_other_from_being_given_up(store, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(mappings.time, "monotonic", lambda: now[0])
    pool, reader = Pool(store), Reader(store)
    shared, other = write(pool, 1), write(pool, 2)
    one, two = reader.read(shared), reader.read(shared)
    del one
    assert reader.read(other)
    now[0] += 50
    del two
    now[0] += 11
    mappings.expire()
    assert len(mappings._idle) == 1, "the one that was used 11 s ago"


def maps(store):
    """What this process maps of a store's files: the last word of each line."""
    lines = Path("/proc/self/maps").read_text("utf-8").splitlines()
    return [line.split()[-1] for line in lines if f" {store}/" in line and " r" in line and line.split()[1][3] == "p"]


def test_a_file_without_a_name_is_not_kept(store):
    pool = Pool(store)
    object_id = write(pool, 1)
    parts = Reader(store).read(object_id)
    Upkeep(store).remove([object_id])
    assert parts[1] == bytes([1]) * SIZE
    del parts
    assert not mappings._idle


def test_where_the_kernel_says_nothing_of_pages_nothing_is_kept(store, monkeypatch):
    monkeypatch.setattr(page_map, "_open", [])
    real = os.open
    monkeypatch.setattr(
        page_map.os, "open", lambda path, *a: real("/nowhere/at/all" if path == "/proc/self/pagemap" else path, *a)
    )
    assert Reader(store).read(write(Pool(store), 1))
    assert not mappings._idle


def test_idle_mappings_are_bounded_and_expire(store, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(mappings.time, "monotonic", lambda: now[0])
    pool, reader = Pool(store), Reader(store)
    ids = [pool.write([bytes(300_000)])[0] for _ in range(mappings._IDLE + 20)]
    for object_id in ids:
        reader.read(object_id)
    assert mappings._IDLE - 1 <= len(mappings._idle) <= mappings._IDLE + 1
    now[0] += 61
    reader.read(ids[0])
    assert len(mappings._idle) == 1


def test_a_forked_child_does_not_unlock_what_its_parent_reads(store):
    pool = Pool(store)
    object_id = write(pool, 1)
    parts = Reader(store).read(object_id)
    child = os.fork()
    if not child:
        del parts  # its copy of the mapping
        gc.collect()
        other = Reader(store).read(object_id)
        os._exit(0 if other[1][0] == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    fd = os.open(f"{store}/{object_id.hex()}", os.O_RDWR)
    assert not try_exclusive(fd)
    os.close(fd)
    assert parts[1] == bytes([1]) * SIZE


def test_what_a_forked_child_looks_at_stays_when_its_parent_lets_go(store):
    pool = Pool(store)
    object_id = write(pool, 1)
    parts = Reader(store).read(object_id)
    hear, go = os.pipe()
    child = os.fork()
    if not child:
        os.close(go)
        os.read(hear, 1)
        os._exit(0 if parts[1] == bytes([1]) * SIZE else 1)
    os.close(hear)
    first = os.stat(f"{store}/{object_id.hex()}").st_ino
    del parts
    gc.collect()
    pool.recycle([object_id])
    other = write(pool, 2)
    os.write(go, b"x")
    os.close(go)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert os.stat(f"{store}/{other.hex()}").st_ino != first
    assert os.stat(f"{store}/{write(pool, 3).hex()}").st_ino == first, "it is free once the child is gone"
