"""Whether a page of a private mapping was written to: by a scan, and by the entries of all pages."""

import mmap
import os
import tempfile

import pytest

from twistcluster.storage import page_map

PAGES = 2000
SIZE = PAGES * mmap.PAGESIZE


@pytest.fixture
def mapping():
    with tempfile.TemporaryFile(dir="/dev/shm") as file:
        file.write(os.urandom(mmap.PAGESIZE) * PAGES)
        file.flush()
        with mmap.mmap(file.fileno(), SIZE, flags=mmap.MAP_PRIVATE) as mapped:
            yield mapped


def address_of(mapping):
    ctypes = pytest.importorskip("ctypes")
    return ctypes.addressof(ctypes.c_ubyte.from_buffer(mapping))


def way(name, monkeypatch):
    if name == "entries":
        monkeypatch.setattr(page_map, "_scanned", lambda *_: None)


@pytest.mark.parametrize("name", ["scan", "entries"])
@pytest.mark.parametrize("read", [0, 1, 127, 128, 129, PAGES])
@pytest.mark.parametrize("written", [None, 0, PAGES // 2, PAGES - 1])
def test_what_was_written_to_is_seen_however_much_was_read(mapping, monkeypatch, name, read, written):
    way(name, monkeypatch)
    for page in range(PAGES - read, PAGES):
        assert mapping[page * mmap.PAGESIZE] is not None
    if written is not None:
        mapping[written * mmap.PAGESIZE] = 7
    assert page_map.unchanged(address_of(mapping), SIZE) is (written is None)


def test_where_there_is_no_scan_the_entries_tell(mapping, monkeypatch):
    def none(*_):
        raise OSError(25, "Inappropriate ioctl for device")

    monkeypatch.setattr(page_map, "ioctl", none)
    address = address_of(mapping)
    assert page_map.unchanged(address, SIZE)
    mapping[5] = 1
    assert not page_map.unchanged(address, SIZE)
