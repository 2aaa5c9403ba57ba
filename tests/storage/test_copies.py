import os
import resource
import shutil
import stat

import pytest

from twistcluster.storage import copies as module
from twistcluster.storage.copies import Copied, Copies, copies_beside, copies_of
from twistcluster.storage.folder import StoreFolder
from twistcluster.storage.layout import NEW, ObjectGone
from twistcluster.storage.pool import Pool
from twistcluster.storage.reader import Reader

SIZE = 300_000


@pytest.fixture
def journal(tmp_path):
    return str(tmp_path / "journal.db")


@pytest.fixture
def store(journal):
    folder = StoreFolder.create("test", journal)
    yield folder.path
    folder.remove()


def write(store, count):
    pool = Pool(store)
    return pool, [pool.write([b"pickle", bytes([i]) * SIZE])[0] for i in range(count)]


def test_copies_are_read_in_the_next_store(store, journal):
    pool, ids = write(store, 3)
    assert Copies(journal, store).make(ids) == Copied(ids, [], [])
    pool.recycle(ids)
    again = StoreFolder.create("again", journal)
    try:
        for i, each in enumerate(ids):
            assert [bytes(part) for part in Reader(again.path).read(each)] == [b"pickle", bytes([i]) * SIZE]
    finally:
        again.remove()
    assert sorted(copies_of(journal)) == sorted(ids), "a store that goes leaves them"
    modes = [os.stat(copies_beside(journal)), os.stat(f"{copies_beside(journal)}/{ids[0].hex()}")]
    assert [stat.S_IMODE(each.st_mode) for each in modes] == [0o700, 0o600]


def test_what_is_on_the_stores_disk_is_copied_and_what_is_nowhere_is_told(store, journal):
    _, ids = write(store, 2)
    shutil.move(f"{store}/{ids[0].hex()}", f"{store}/disk/{ids[0].hex()}")
    os.unlink(f"{store}/{ids[1].hex()}")
    assert Copies(journal, store).make(ids) == Copied(ids[:1], ids[1:], [])


def test_copies_are_removed_and_then_gone(store, journal):
    _, ids = write(store, 2)
    copies = Copies(journal, store)
    copies.make(ids)
    os.unlink(f"{store}/{ids[0].hex()}")
    parts = Reader(store).read(ids[0])
    copies.remove([ids[0], b"n" * 16])
    assert bytes(parts[1]) == bytes(SIZE), "who reads it goes on"
    del parts
    with pytest.raises(ObjectGone):
        Reader(store).read(ids[0])
    assert copies_of(journal) == ids[1:]


def test_a_full_disk_leaves_nothing_half_written(store, journal):
    _, ids = write(store, 3)
    copies = Copies(journal, store)
    copies.make(ids[:1])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE // 2, before[1]))
    try:
        done = copies.make(ids[1:])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert done == Copied([], [], ids[1:], done.trouble)
    assert "is full" in done.trouble and copies_beside(journal) in done.trouble
    assert os.listdir(copies_beside(journal)) == [ids[0].hex()]
    assert copies.make(ids).written == ids


def test_another_trouble_is_told_as_what_it_is(store, journal):
    _, ids = write(store, 1)
    with open(copies_beside(journal), "w"):
        pass
    done = Copies(journal, store).make(ids)
    assert done.unwritten == ids and "look at its disk" in done.trouble


def test_copies_that_may_not_be_on_the_disk_yet_do_not_count(store, journal, monkeypatch):
    _, ids = write(store, 1)
    copies = Copies(journal, store)
    copies.make([])

    def fails(folder):
        raise OSError(5, "Input/output error")

    os.mkdir(copies_beside(journal), 0o700)
    monkeypatch.setattr(module, "_sync", fails)
    done = copies.make(ids)
    assert done.unwritten == ids and not done.written and "Input/output error" in done.trouble


def test_what_is_half_written_is_removed_at_the_next_start(store, journal):
    assert copies_of(journal) == []
    _, ids = write(store, 1)
    Copies(journal, store).make(ids)
    with open(f"{copies_beside(journal)}/{NEW}{'0' * 32}", "w"):
        pass
    assert copies_of(journal) == ids
    assert os.listdir(copies_beside(journal)) == [ids[0].hex()]
