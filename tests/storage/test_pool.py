import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from twistcluster.errors import ClusterUnreachable
from twistcluster.storage import pool as pool_module
from twistcluster.storage.folder import StoreFolder
from twistcluster.storage.layout import FREE, ObjectGone
from twistcluster.storage.pool import Pool
from twistcluster.storage.reader import Reader

KIB, MIB = 1024, 1024 * 1024
SIZES = [100, 70 * KIB, 300 * KIB, MIB, 9 * MIB]


def inode(store: str, object_id: bytes) -> int:
    return os.stat(f"{store}/{object_id.hex()}").st_ino


def files(store: str) -> list[str]:
    return sorted(name for name in os.listdir(store) if name not in {"lock", "disk", "makers"})


def filled(byte: int, size: int) -> list[bytes]:
    return [b"pickle", bytes([byte]) * size]


def read(store: str, object_id: bytes) -> list[bytes]:
    return [bytes(part) for part in Reader(store).read(object_id)]


@pytest.mark.parametrize("size", SIZES)
def test_round_trips_through_new_segments_and_used_ones(store, size):
    pool = Pool(store)
    first, nbytes = pool.write(filled(1, size))
    assert nbytes == size + 6
    assert read(store, first) == filled(1, size)
    for byte in range(2, 6):
        before = inode(store, first)
        pool.recycle([first])
        second, _ = pool.write(filled(byte, size))
        assert second != first
        assert inode(store, second) == before
        assert read(store, second) == filled(byte, size)
        assert len(files(store)) == 1
        with pytest.raises(ObjectGone, match="was freed"):
            Reader(store).read(first)
        first = second


@pytest.mark.parametrize("parts", [[], [b""], [b"", b"x", b"", b"y" * 5 * MIB, b""]])
def test_empty_parts_and_none(store, parts):
    pool = Pool(store)
    for _ in range(3):
        object_id, nbytes = pool.write(parts)
        assert read(store, object_id) == parts
        assert nbytes == sum(map(len, parts))
        pool.recycle([object_id])


def test_thousands_of_parts(store):
    pool = Pool(store)
    parts = [bytes([number % 251]) * (number % 150) for number in range(5000)]
    for _ in range(2):
        object_id, _ = pool.write(parts)
        assert read(store, object_id) == parts
        pool.recycle([object_id])


def test_a_call_may_write_less_than_it_was_given(store, monkeypatch):
    whole = os.pwritev
    monkeypatch.setattr(
        os, "pwritev", lambda fd, buffers, at: whole(fd, [bytes(buffers[0])[:777]] if len(buffers[0]) else buffers, at)
    )
    object_id, _ = Pool(store).write(filled(1, 70 * KIB))
    assert read(store, object_id) == filled(1, 70 * KIB)


def test_a_part_that_isn_t_contiguous_is_refused(store):
    with pytest.raises(TypeError):
        Pool(store).write([memoryview(bytes(100))[::2]])
    assert files(store) == []


def test_files_are_private_whatever_the_umask(store):
    before = os.umask(0o777)
    try:
        object_id, _ = Pool(store).write([b"x"])
    finally:
        os.umask(before)
    assert os.stat(f"{store}/{object_id.hex()}").st_mode & 0o777 == 0o600


# ---- segments that come back -------------------------------------------------------------------------------------------


def test_what_isn_t_ours_or_was_recycled_before_is_passed_over(store):
    pool, other = Pool(store), Pool(store)
    kept, _ = other.write([b"other's"])
    ours, _ = pool.write([b"ours"])
    pool.recycle([kept, ours, ours, bytes(16)])
    assert read(store, kept) == [b"other's"]
    assert files(store) == sorted([kept.hex(), FREE + ours.hex()])


def test_free_segments_are_bounded_and_the_oldest_go_first(store):
    pool = Pool(store, free_bytes=3 * MIB)
    ids = [pool.write(filled(1, MIB - 100))[0] for _ in range(5)]
    for object_id in ids:
        pool.recycle([object_id])
    assert files(store) == sorted(FREE + object_id.hex() for object_id in ids[-2:])


def test_idle_segments_go_when_others_come_back(store, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(pool_module.time, "monotonic", lambda: now[0])
    pool = Pool(store)
    first, _ = pool.write(filled(1, MIB))
    second, _ = pool.write(filled(1, 70 * KIB))
    pool.recycle([first])
    now[0] += 60.5
    pool.recycle([second])
    assert files(store) == [FREE + second.hex()]


@pytest.mark.parametrize("size", [70 * KIB, 2 * MIB])
def test_a_free_segment_that_upkeep_removed_is_dropped(store, size):
    pool = Pool(store)
    for _ in range(2):  # the second time a large one keeps a mapping
        object_id, _ = pool.write(filled(1, size))
        pool.recycle([object_id])
    path = f"{store}/{FREE}{object_id.hex()}"
    os.truncate(path, 0)
    os.unlink(path)
    again, _ = pool.write(filled(2, size))
    assert read(store, again) == filled(2, size)
    assert pool._windows == 0


def test_a_segment_removed_between_open_and_lock_is_not_touched(store, monkeypatch):
    """Writing through the mapping of a file cut short would kill the process."""
    pool = Pool(store)
    for _ in range(2):
        object_id, _ = pool.write(filled(1, 2 * MIB))
        pool.recycle([object_id])

    def removed_meanwhile(fd):
        os.unlink(f"{store}/{FREE}{object_id.hex()}")
        os.ftruncate(fd, 0)
        return True

    monkeypatch.setattr(pool_module, "try_exclusive", removed_meanwhile)
    again, _ = pool.write(filled(2, 2 * MIB))
    assert read(store, again) == filled(2, 2 * MIB)


def test_mappings_kept_are_bounded_and_given_back(store, monkeypatch):
    pool = Pool(store)
    pool._most_windows = 3
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        ids = [pool.write(filled(1, MIB))[0] for _ in range(8)]
        pool.recycle(ids)
    assert pool._windows == 3
    assert len(os.listdir("/proc/self/fd")) == before + 3 + 1, "and one that says who writes"
    pool.close()
    assert len(os.listdir("/proc/self/fd")) == before
    assert files(store) == []
    assert read(store, pool.write([b"still usable"])[0]) == [b"still usable"]


def test_small_objects_hold_no_descriptors(store):
    pool = Pool(store)
    pool.write(filled(1, 100 * KIB))
    before = len(os.listdir("/proc/self/fd"))
    ids = [pool.write(filled(1, 100 * KIB))[0] for _ in range(50)]
    pool.recycle(ids[:25])
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_error_while_writing_leaves_nothing(store, monkeypatch):
    pool = Pool(store)
    ids = [pool.write(filled(1, 70 * KIB))[0]]
    pool.recycle(ids)

    def broken(fd, layout):
        raise OSError(5, "broken")

    with monkeypatch.context() as patch:
        patch.setattr(pool_module, "write_out", broken)
        for _ in range(2):  # into a used segment, then into a new one
            with pytest.raises(OSError, match="broken"):
                pool.write(filled(1, 70 * KIB))
    assert files(store) == []
    pool.write(filled(1, 70 * KIB))


def test_a_store_that_is_gone_is_unreachable():
    folder = StoreFolder.create("test")
    pool = Pool(folder.path)
    pool.recycle([pool.write([b"x"])[0]])
    folder.remove()
    with pytest.raises(ClusterUnreachable, match="its cluster has ended"):
        pool.write([b"x"])


# ---- readers, forks, threads -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [300 * KIB, 2 * MIB])
def test_reuse_never_changes_what_is_mapped(store, size):
    pool = Pool(store)
    first, _ = pool.write(filled(1, size))
    held = Reader(store).read(first)[1][size // 2 :]  # a part of a part
    segment = inode(store, first)
    pool.recycle([first])
    for byte in (2, 3):
        other, _ = pool.write(filled(byte, size))
        assert inode(store, other) != segment
    assert bytes(held) == bytes([1]) * (size - size // 2)
    held.release()
    del held
    last, _ = pool.write(filled(4, size))
    assert inode(store, last) == segment
    assert read(store, last) == filled(4, size)


def test_a_killed_reader_holds_nothing(store, child):
    pool = Pool(store)
    first, _ = pool.write(filled(1, 2 * MIB))
    segment = inode(store, first)
    reader = child(
        """
import sys
from twistcluster.storage.reader import Reader
parts = Reader(sys.argv[1]).read(bytes.fromhex(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
print(bytes(parts[1]) == bytes([1]) * len(parts[1]), flush=True)
sys.stdin.readline()
""",
        store,
        first.hex(),
    )
    pool.recycle([first])
    other, _ = pool.write(filled(2, 2 * MIB))
    assert inode(store, other) != segment
    print(file=reader.stdin, flush=True)
    assert reader.stdout.readline() == "True\n"
    reader.kill()
    reader.wait()
    last, _ = pool.write(filled(3, 2 * MIB))
    assert inode(store, last) == segment


def test_a_forked_child_begins_anew(store):
    code = """
import os, sys
from twistcluster.storage.pool import Pool
from twistcluster.storage.reader import Reader
store = sys.argv[1]
pool, reader = Pool(store), Reader(store)
for _ in range(2):
    free = pool.write([b"x" * 2**21])[0]
    pool.recycle([free])
kept = pool.write([b"kept" * 2**18])[0]
pool.recycle([pool.write([b"y" * 2**21])[0], pool.write([b"y" * 2**20])[0]])
before = set(os.listdir(store))
if (pid := os.fork()) == 0:
    made = pool.write([b"z" * 2**21])[0]
    pool.recycle([kept])
    same = bytes(reader.read(made)[0]) == b"z" * 2**21
    os._exit(0 if same and made[:8] != kept[:8] and set(os.listdir(store)) == before | {made.hex()} else 1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert bytes(reader.read(kept)[0]) == b"kept" * 2**18
again = pool.write([b"w" * 2**21])[0]
assert again[:8] == kept[:8]
assert bytes(reader.read(again)[0]) == b"w" * 2**21
"""
    subprocess.run([sys.executable, "-c", code, store], check=True, timeout=60)


def test_threads_share_a_pool(store):
    pool, failures = Pool(store), []

    def work(byte: int) -> None:
        try:
            for turn in range(60):
                size = (70 * KIB, 300 * KIB, MIB)[turn % 3]
                object_id, _ = pool.write(filled(byte, size))
                if read(store, object_id) != filled(byte, size):
                    failures.append(turn)
                pool.recycle([object_id])
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(byte,)) for byte in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert pool._free_bytes == sum(Path(store, name).stat().st_size for name in files(store))
