"""The file in which a local cluster leaves word of what its slots have."""

import errno
import os
import pathlib
import random
from types import SimpleNamespace

import pytest

from twistcluster.core.suspects import Suspect
from twistcluster.nodes.in_flight import FILE_BYTES, MAKING, MARK, NAME, ROW, ROW_BYTES, ROWS, InFlight, suspects_in
from twistcluster.wire.messages import Bite

CLIENT = "0123456789ab.1"


def machine(*known, **jobs):
    """A scheduler, as far as the file has to do with it; jobs by key: their number at their client."""
    made = {
        int(key[1:]): SimpleNamespace(owner=SimpleNamespace(id=CLIENT), number=number, rounds=2)
        for key, number in jobs.items()
    }
    return SimpleNamespace(jobs=made, returning=SimpleNamespace(suspects=SimpleNamespace(known=list(known))))


@pytest.fixture
def store(tmp_path):
    return str(tmp_path)


def names(store):
    return [path.name for path in pathlib.Path(store).iterdir()]


def ran(number, start, stop):
    return Suspect(CLIENT, number, 2, start, stop, 0)


def test_it_tells_what_is_in_slots_and_no_more(store):
    file = InFlight.begin(store, machine(j7=1, j8=3))
    assert suspects_in(store) == []
    file.given(1, Bite(10, 7, 0, 4, 0))
    file.given(1, Bite(11, 7, 4, 5, 4))
    file.given(2, Bite(12, 8, 0, 9, 0))
    file.given(2, Bite(13, 99, 0, 1, 9))  # a job that nobody names: it makes a lost value again
    assert suspects_in(store) == [ran(1, 0, 4), ran(1, 4, 5), ran(3, 0, 9)]
    file.done(1, 10)
    file.done(2, 10)
    file.done(2, 13)
    assert suspects_in(store) == [ran(1, 4, 5), ran(3, 0, 9)]
    file.gone(2)
    file.gone(2)
    assert suspects_in(store) == [ran(1, 4, 5)]
    file.close()


def test_the_next_process_has_what_was_known_and_a_file_of_its_own(store):
    old = InFlight.begin(store, machine(j7=1))
    old.given(1, Bite(1, 7, 0, 4, 0))
    known = [ran(1, 0, 4)._replace(times=1), Suspect("other.1", 9, 0, 5, 6, 5)]
    new = InFlight.begin(store, machine(*known, j7=1))
    old.given(1, Bite(2, 7, 4, 5, 4))
    new.given(1, Bite(1, 7, 1, 2, 0))
    assert suspects_in(store) == [*known, ran(1, 1, 2)]
    assert names(store) == [NAME] and pathlib.Path(store, NAME).stat().st_mode & 0o777 == 0o600
    old.close()
    new.close()


def test_bites_beyond_its_rows_are_not_written_and_rows_are_used_again(store):
    file = InFlight.begin(store, machine(j7=1))
    for bite in range(ROWS + 5):
        file.given(bite % 3, Bite(bite, 7, bite, bite + 1, 0))
    assert len(suspects_in(store)) == ROWS
    file.gone(0)
    file.gone(1)
    file.gone(2)
    assert suspects_in(store) == []
    file.given(1, Bite(1, 7, 1, 2, 0))
    assert suspects_in(store) == [ran(1, 1, 2)]
    file.close()


def test_a_clients_name_that_is_too_long_is_not_written(store):
    jobs = machine(j7=1)
    jobs.jobs[7].owner.id = "é" * 12 + ".1"
    file = InFlight.begin(store, jobs)
    file.given(1, Bite(1, 7, 1, 2, 0))
    assert suspects_in(store) == []
    file.close()


def test_a_row_counts_once_its_last_word_is_there(store):
    """The process is killed just before that."""
    file = InFlight.begin(store, machine(j7=1, j8=2))
    file.given(1, Bite(1, 7, 0, 4, 0))
    file.done(1, 1)
    words, file._words = file._words, None
    with pytest.raises(TypeError):
        file.given(1, Bite(2, 8, 5, 9, 4))
    data = pathlib.Path(store, NAME).read_bytes()
    assert ROW.unpack_from(data, len(MARK))[1:4] == (2, 2, 5), "the row is written, but for this word"
    assert suspects_in(store) == []
    file._words = words
    file.close()


def test_nonsense_is_not_believed(store, tmp_path):
    path = tmp_path / NAME
    assert suspects_in(store) == []
    good = bytearray(MARK.ljust(FILE_BYTES, b"\0"))
    good[len(MARK) : len(MARK) + ROW_BYTES] = ROW.pack(CLIENT.encode(), 1, 2, 3, 0) + (4).to_bytes(8, "little")
    path.write_bytes(good)
    assert suspects_in(store) == [ran(1, 3, 4)]
    for bad in (b"", good[:-1], good + b"\0", b"x" + good[1:]):
        path.write_bytes(bad)
        assert suspects_in(store) == []
    for fields in (
        ("", 1, 2, 3, 0, 4),
        (CLIENT, 1, 2, 4, 0, 4),
        (CLIENT, 1, 2, 3, 6, 4),
        (CLIENT, 1 << 60, 2, 3, 0, 4),
    ):
        row = ROW.pack(fields[0].encode(), *fields[1:5]) + fields[5].to_bytes(8, "little")
        path.write_bytes(good[: len(MARK)] + row + good[len(MARK) + ROW_BYTES :])
        assert suspects_in(store) == [], fields
    chance = random.Random(1)
    path.write_bytes(MARK + chance.randbytes(FILE_BYTES - len(MARK)))
    assert suspects_in(store) == []
    path.unlink()
    path.symlink_to("/etc/passwd")
    assert suspects_in(store) == []


def test_without_room_nothing_is_written_and_what_was_is_gone(store, monkeypatch):
    InFlight.begin(store, machine(j7=1)).close()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert InFlight.begin(store, machine(j7=1)) is None
    assert names(store) == []
    monkeypatch.undo()
    assert InFlight.begin(f"{store}/gone", machine()) is None


def test_what_is_being_made_is_not_read(store, tmp_path):
    InFlight.begin(store, machine(Suspect(CLIENT, 1, 0, 0, 1, 1))).close()
    (tmp_path / MAKING).write_bytes(b"half")
    assert len(suspects_in(store)) == 1
    InFlight.begin(store, machine()).close()
    assert names(store) == [NAME] and suspects_in(store) == []
