"""What test_small_memory.py runs where shared memory and disk are a few MiB each: `python small.py CASE`."""

import os
import sys
import tempfile
from pathlib import Path

import pytest

from twistcluster.errors import StoreFull
from twistcluster.storage.folder import StoreFolder, clear_dead
from twistcluster.storage.pool import Pool
from twistcluster.storage.reader import Reader
from twistcluster.storage.upkeep import Upkeep

MIB = 1024 * 1024


def write(pool: Pool, byte: int, size: int = MIB) -> bytes:
    return pool.write([b"pickle", bytes([byte]) * size])[0]


def check(store: str, ids: list[bytes], size: int = MIB) -> None:
    for byte, object_id in enumerate(ids):
        assert bytes(Reader(store).read(object_id)[1]) == bytes([byte]) * size, byte


def places(store: str, ids: list[bytes]) -> tuple[int, int]:
    """How many of them are in memory and on the disk."""
    in_memory = sum(Path(store, object_id.hex()).exists() for object_id in ids)
    return in_memory, sum(Path(store, "disk", object_id.hex()).exists() for object_id in ids)


def left(folder: str) -> float:
    state = os.statvfs(folder)
    return state.f_bavail / state.f_blocks


def full_memory(store: str) -> None:
    """Memory of 16 MiB takes objects until a tenth is left, the disk takes the others."""
    ids = [write(pool := Pool(store), 0)]
    ids += [write(pool, byte) for byte in range(1, 30)]
    assert places(store, ids) == (14, 16)
    assert left(store) >= 0.1
    check(store, ids)
    pool.recycle(ids)
    assert places(store, ids) == (0, 0)
    check(store, again := [write(pool, byte) for byte in range(14)])
    assert places(store, again) == (14, 0)


def other_sizes(store: str) -> None:
    """A pool's own free segments make room for an object of another size."""
    pool = Pool(store, free_bytes=16 * MIB)
    pool.recycle([write(pool, byte) for byte in range(12)])
    large = write(pool, 0, 10 * MIB)
    assert places(store, [large]) == (1, 0)
    check(store, [large], 10 * MIB)


def too_large(store: str) -> None:
    """What fits into no memory goes to the disk."""
    large = write(Pool(store), 0, 30 * MIB)
    assert places(store, [large]) == (0, 1)
    check(store, [large], 30 * MIB)


def both_full(store: str) -> None:
    pool, ids = Pool(store), []
    with pytest.raises(StoreFull) as caught:
        ids.extend(write(pool, byte) for byte in range(100))
    for told in ("value of 1.0 MiB", store, "of 16.0 MiB", "of which a tenth", tempfile.gettempdir(), "TMPDIR"):
        assert told in str(caught.value)
    assert len(ids) >= 14 + 37
    check(store, ids)
    assert not [name for place in (store, f"{store}/disk") for name in os.listdir(place) if name.startswith("new-")]
    pool.recycle(ids[:20])
    more = [write(pool, byte) for byte in range(5)]
    check(store, more)
    for byte, object_id in enumerate(ids[20:], 20):
        assert bytes(Reader(store).read(object_id)[1]) == bytes([byte]) * MIB


def no_room_but_used(store: str) -> None:
    """A segment has all its pages from the start: its next object may be larger, and memory full by then."""
    pool = Pool(store, free_bytes=16 * MIB)
    pool.recycle([write(pool, 0, 7 * MIB + 9000)])
    room = int(left(store) * os.statvfs(store).f_blocks) * os.statvfs(store).f_frsize
    with open(Path(store).parent / "others", "wb") as others:
        os.posix_fallocate(others.fileno(), 0, room)
    large = write(pool, 0, 8 * MIB)
    assert places(store, [large]) == (1, 0)
    check(store, [large], 8 * MIB)


def spill(store: str) -> None:
    """Without a limit of its own the store goes by the file system, whoever fills it."""
    pool, upkeep = Pool(store), Upkeep(store)
    Path(store).parent.joinpath("others").write_bytes(bytes(6 * MIB))
    ids = [write(pool, byte) for byte in range(8)]
    assert places(store, ids) == (8, 0)
    upkeep.look(0.0)
    assert 0.4 <= left(store) <= 0.5
    memory, disk = places(store, ids)
    assert (memory, disk) == (3, 5)
    check(store, ids)
    ids += [write(pool, byte) for byte in range(8, 18)]
    upkeep.look(1.0)
    check(store, ids)


def free_at_once(store: str) -> None:
    """Above 80 % other pools' free segments are not left to idle; memory comes back although they are mapped."""
    pool = Pool(store, free_bytes=16 * MIB)
    for _ in range(2):
        pool.recycle([write(pool, byte) for byte in range(12)])
    kept = write(pool, 0)
    Path(store).parent.joinpath("others").write_bytes(bytes(2 * MIB))
    Upkeep(store).look(0.0)
    assert left(store) > 0.75
    check(store, [kept])
    check(store, [write(pool, byte) for byte in range(5)])


def main(case: str) -> None:
    clear_dead()
    folder = StoreFolder.create("small")
    assert Path(folder.path).parent == Path(os.environ["TWISTCLUSTER_SHM"])
    globals()[case](folder.path)
    folder.remove()
    assert [name for name in os.listdir(os.environ["TWISTCLUSTER_SHM"]) if name != "others"] == []
    assert os.listdir(tempfile.gettempdir()) == []


if __name__ == "__main__":
    main(sys.argv[1])
