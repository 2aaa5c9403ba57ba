import fcntl
import os
import resource

import pytest

from twistcluster.storage import mappings
from twistcluster.storage.layout import ObjectDamaged, ObjectGone
from twistcluster.storage.pool import Pool
from twistcluster.storage.reader import Reader

KIB, MIB = 1024, 1024 * 1024


@pytest.fixture(autouse=True)
def nothing_idle():
    mappings.settle()
    yield
    mappings.settle()


@pytest.mark.parametrize("size", [70 * KIB, 2 * MIB])
def test_what_is_written_to_the_parts_stays_with_the_reader(store, size):
    object_id, _ = Pool(store).write([b"pickle", b"x" * size])
    first, second = Reader(store).read(object_id), Reader(store).read(object_id)
    first[1][:3] = b"abc"
    assert bytes(first[1][:4]) == b"abcx"
    assert bytes(second[1]) == bytes(Reader(store).read(object_id)[1]) == b"x" * size


@pytest.mark.parametrize("size", [70 * KIB, 2 * MIB])
def test_a_reader_gives_back_its_descriptors(store, size):
    object_id, _ = Pool(store).write([b"x" * size])
    before = len(os.listdir("/proc/self/fd"))
    parts = [Reader(store).read(object_id) for _ in range(10)]
    assert len(os.listdir("/proc/self/fd")) == before + (20 if size >= 256 * KIB else 0)
    del parts
    assert len(os.listdir("/proc/self/fd")) <= before + 2, "an idle mapping, and the page map"
    mappings.settle()
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_beyond_half_of_the_descriptors_parts_are_copies(store):
    object_id, _ = Pool(store).write([b"x" * MIB])
    most = len(os.listdir("/proc/self/fd")) + 10
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (4 * most, hard))
    try:
        parts = [Reader(store).read(object_id)[0] for _ in range(2 * most)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(mappings._used) == most
    assert all(part == b"x" * MIB for part in parts)
    parts[-1][:1] = b"y"  # copies may be written to as well
    assert bytes(parts[0][:1]) == b"x"


def test_when_others_took_the_descriptors_parts_are_copies(store):
    object_id, _ = Pool(store).write([b"x" * MIB])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open("/dev/null", os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 60, hard))
    try:
        while len(taken) < 200 and max(taken) < taken[0] + 58:
            taken.append(os.open("/dev/null", os.O_RDONLY))
        parts = Reader(store).read(object_id)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in taken:
            os.close(fd)
    assert parts[0] == b"x" * MIB
    assert len(mappings._used) == 0


def test_an_unknown_object_is_gone(store):
    with pytest.raises(ObjectGone, match="is not in the store") as caught:
        Reader(store).read(bytes(16))
    assert isinstance(caught.value, KeyError)
    assert not isinstance(caught.value, ObjectDamaged)


def test_a_store_that_is_gone_has_no_objects(tmp_path):
    with pytest.raises(ObjectGone):
        Reader(str(tmp_path / "missing")).read(bytes(16))


@pytest.mark.parametrize("size", [70 * KIB, 2 * MIB])
@pytest.mark.parametrize("left", [0, 1, 31, 40, 5000, 60 * KIB])
def test_a_file_cut_short_is_an_error(store, size, left):
    object_id, _ = Pool(store).write([b"pickle", b"x" * size])
    os.truncate(f"{store}/{object_id.hex()}", left)
    with pytest.raises(ObjectDamaged, match="is damaged"):
        Reader(store).read(object_id)


@pytest.mark.parametrize("size", [0, 100, 70 * KIB, 2 * MIB])
def test_a_foreign_file_is_an_error(store, size):
    with open(f"{store}/{bytes(16).hex()}", "wb") as file:
        file.write(b"\xff" * size)
    with pytest.raises(ObjectDamaged, match="is damaged"):
        Reader(store).read(bytes(16))


def test_another_object_under_this_name_is_an_error(store):
    object_id, _ = Pool(store).write([b"x"])
    os.link(f"{store}/{object_id.hex()}", f"{store}/{bytes(16).hex()}")
    with pytest.raises(ObjectDamaged, match="this object's header"):
        Reader(store).read(bytes(16))


def test_an_object_freed_between_open_and_lock_is_gone(store, monkeypatch):
    pool = Pool(store)
    object_id, _ = pool.write([b"x" * MIB])
    whole, freed = fcntl.flock, []

    def freed_meanwhile(fd, how):
        if how == fcntl.LOCK_SH and not freed:
            freed.append(object_id)
            pool.recycle([object_id])
            pool.write([b"y" * MIB])
        whole(fd, how)

    monkeypatch.setattr(fcntl, "flock", freed_meanwhile)
    with pytest.raises(ObjectGone, match="was freed"):
        Reader(store).read(object_id)
    assert freed
