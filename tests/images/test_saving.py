import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from twistcluster.errors import PictureExists, PictureNameRefused, PictureUnwritable
from twistcluster.images import saving
from twistcluster.images.names import RECORDS
from twistcluster.images.saving import Folder


@pytest.fixture
def folder(tmp_path):
    with Folder(tmp_path / "out") as folder:
        yield folder


def again(folder, **options):
    """The same folder, as another run finds it."""
    return Folder(folder.path, **options)


def parts(folder):
    return list((folder.path / RECORDS).glob("*.part"))


def test_a_picture_is_written_with_the_umasks_mode(folder):
    old = os.umask(0o027)
    try:
        path = folder.write("a/b/cat.png", b"data", "s")
    finally:
        os.umask(old)
    assert path == folder.path / "a/b/cat.png" and path.read_bytes() == b"data"
    assert path.stat().st_mode & 0o777 == 0o640 and path.stat().st_nlink == 1
    assert not parts(folder)


def test_what_is_there_from_the_same_source_and_steps_is_not_made_again(folder):
    assert not folder.has("cat.png", "s")
    folder.write("cat.png", b"data", "s")
    assert folder.has("cat.png", "s")
    with again(folder) as later:
        assert later.has("cat.png", "s")
        (folder.path / "cat.png").unlink()
        assert not later.has("cat.png", "s")


def test_nothing_is_overwritten_unless_asked(folder):
    (folder.path / "mine.png").write_bytes(b"mine")
    folder.write("cat.png", b"data", "s")
    with again(folder) as later:
        for name, stamp, why in (
            ("mine.png", "s", "no run of save.. made it: pass overwrite=True"),
            ("cat.png", "t", "made from another picture, by other steps or options, or by another version"),
            ("cat.png", None, "can't be told: its source, or a function"),
        ):
            with pytest.raises(PictureExists, match=why):
                later.has(name, stamp)
            with pytest.raises(PictureExists, match=why):
                later.write(name, b"new", stamp)
        (folder.path / "cat.png").write_bytes(b"edit")
        with pytest.raises(PictureExists, match="changed since it was made"):
            later.has("cat.png", "s")
        (folder.path / "x").mkdir()
        with pytest.raises(PictureExists, match="is a folder: take another pattern"):
            later.has("x", "s")
    assert (folder.path / "mine.png").read_bytes() == b"mine"
    assert not parts(folder)


def test_overwriting_when_asked(folder):
    folder.write("cat.png", b"data", "s")
    with again(folder, overwrite=True) as later:
        assert not later.has("cat.png", "t")
        later.write("cat.png", b"other", "t")
        assert later.has("cat.png", "t") and (folder.path / "cat.png").read_bytes() == b"other"
        with pytest.raises(PictureExists, match="two pictures of this run are named cat.png: add {index}"):
            later.write("cat.png", b"third", "u")


def test_one_that_is_there_has_its_name_in_this_run(folder):
    folder.write("cat.png", b"data", "s")
    with again(folder, overwrite=True) as later:
        assert later.has("cat.png", "s") and later.has("cat.png", "s")
        with pytest.raises(PictureExists, match="two pictures of this run are named cat.png"):
            later.has("cat.png", "t")
        with pytest.raises(PictureExists, match="two pictures of this run are named cat.png"):
            later.write("cat.png", b"other", "t")
    assert (folder.path / "cat.png").read_bytes() == b"data"


def test_names_of_any_bytes(folder):
    name = os.fsdecode(b"caf\xe9.png")
    assert not folder.has(name, "s")
    folder.write(name, b"data", "s")
    with again(folder) as later:
        assert later.has(name, "s")


def test_a_picture_that_could_not_be_replaced_is_known_as_it_was(folder, monkeypatch):
    def fails(part, target):
        raise OSError(5, "Input/output error")

    folder.write("cat.png", b"data", "s")
    with again(folder, overwrite=True) as later:
        monkeypatch.setattr(saving.Path, "replace", fails)
        with pytest.raises(PictureUnwritable, match="Input/output error"):
            later.write("cat.png", b"other", "t")
        assert later.has("cat.png", "s") and not parts(folder)


def test_two_pictures_of_one_name(folder):
    folder.write("cat.png", b"data", "s")
    with pytest.raises(PictureExists, match="two pictures of this run are named cat.png"):
        folder.has("cat.png", "t")
    assert folder.write("cat.png", b"data", "s").read_bytes() == b"data"  # an item that runs twice


def test_no_stamp_is_made_each_time(folder):
    folder.write("cat.png", b"data", None)
    with again(folder, overwrite=True) as later:
        assert not later.has("cat.png", None)
        later.write("cat.png", b"other", None)
    assert (folder.path / "cat.png").read_bytes() == b"other"


def test_names_do_not_leave_the_folder(folder, tmp_path):
    (folder.path / "way").symlink_to(tmp_path)
    (folder.path / "inside").mkdir()
    (folder.path / "short").symlink_to("inside")
    for name in ("../x.png", "/x.png", "a//x.png", "./x.png", "", "a/../../x", "way/x.png", "way/new/x.png", "a\0b"):
        for call in (lambda name: folder.has(name, "s"), lambda name: folder.write(name, b"", "s")):
            with pytest.raises(PictureNameRefused):
                call(name)
    with pytest.raises(PictureNameRefused):
        folder.write(f"{RECORDS}/made.sqlite", b"", "s")
    assert sorted(os.listdir(tmp_path)) == ["out"]
    folder.write("short/x.png", b"data", "s")


def test_a_link_is_replaced_and_not_followed(folder, tmp_path):
    (tmp_path / "victim").write_bytes(b"mine")
    (folder.path / "cat.png").symlink_to(tmp_path / "victim")
    with pytest.raises(PictureExists):
        folder.write("cat.png", b"data", "s")
    with again(folder, overwrite=True) as later:
        later.write("cat.png", b"data", "s")
    assert (tmp_path / "victim").read_bytes() == b"mine" and not (folder.path / "cat.png").is_symlink()


def test_a_file_that_comes_just_now_stays(folder, monkeypatch):
    link = os.link

    def late(part, target):
        target.write_bytes(b"mine")
        link(part, target)

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(PictureExists, match="cat.png is there, and no run"):
        folder.write("cat.png", b"data", "s")
    assert (folder.path / "cat.png").read_bytes() == b"mine" and not parts(folder)
    with pytest.raises(PictureExists):
        folder.has("cat.png", "s")


def test_a_file_system_without_links(folder, monkeypatch):
    def none(part, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", none)
    folder.write("cat.png", b"data", "s")
    assert folder.has("cat.png", "s") and not parts(folder)


def test_a_full_disk_leaves_nothing(folder, monkeypatch):
    def full(descriptor, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(PictureUnwritable, match="cat.png can't be written: No space left on device; .*run again"):
        folder.write("cat.png", b"data", "s")
    assert not (folder.path / "cat.png").exists() and not parts(folder)
    monkeypatch.undo()
    folder.write("cat.png", b"data", "s")


def test_folders_that_can_not_be(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(PictureUnwritable, match="can't be saved to .*file: "):
        Folder(tmp_path / "file")
    with Folder(tmp_path / "out") as folder:
        (folder.path / "a").write_bytes(b"")
        with pytest.raises(PictureUnwritable, match="can't be made"):
            folder.write("a/b.png", b"", "s")


def test_many_threads_and_folders_write_at_once(folder):
    wrong = []

    def work(number):
        with again(folder) as mine:
            for count in range(15):
                try:
                    mine.write(f"{count}.png", f"{count}".encode() * 1000, f"s{count}")
                except PictureExists as error:
                    wrong.append((number, error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert all(folder.has(f"{count}.png", f"s{count}") for count in range(15))
    assert not parts(folder)


KILLED = """
import sys
from twistcluster.images.saving import Folder
with Folder(sys.argv[1]) as folder:
    print("ready", flush=True)
    for count in range(10**9):
        folder.write(f"{count}.bin", bytes([count % 256]) * 300_000, f"s{count}")
"""


def test_a_killed_writer_leaves_whole_pictures_and_its_parts_are_swept(folder):
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(folder.path)], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"ready\n"
        deadline = time.monotonic() + 30
        while not (folder.path / "5.bin").exists():
            assert time.monotonic() < deadline
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    names = [one for one in os.listdir(folder.path) if one != RECORDS]
    assert len(names) >= 6
    with again(folder) as later:
        assert not parts(folder)
        for name in names:
            assert (folder.path / name).stat().st_size == 300_000
            assert later.has(name, f"s{name[:-4]}")
        later.write(f"{len(names)}.bin", b"", f"s{len(names)}")


def test_a_part_that_is_being_written_is_not_swept(folder, monkeypatch):
    fsync = os.fsync
    seen = []

    def slow(descriptor):
        with again(folder):
            seen.extend(parts(folder))
        fsync(descriptor)

    monkeypatch.setattr(saving.os, "fsync", slow)
    folder.write("cat.png", b"data", "s")
    assert len(seen) == 1 and folder.has("cat.png", "s")


def test_two_pictures_of_one_name_that_nothing_tells_apart(folder):
    with again(folder, overwrite=True) as run:
        assert not run.has("cat.png", None, 0) and not run.has("cat.png", None, 1)
        run.write("cat.png", b"first", None, 0)
        for number in (1, None):
            with pytest.raises(PictureExists, match="two pictures of this run are named cat.png"):
                run.has("cat.png", None, number)
            with pytest.raises(PictureExists, match="two pictures of this run are named cat.png"):
                run.write("cat.png", b"second", None, number)
    assert (folder.path / "cat.png").read_bytes() == b"first"


def test_a_picture_that_nothing_tells_from_others_may_come_twice(folder):
    folder.write("cat.png", b"first", None, 7)
    assert not folder.has("cat.png", None, 7)
    assert folder.write("cat.png", b"again", None, 7).read_bytes() == b"again"  # an item that runs twice
    (folder.path / "cat.png").write_bytes(b"somebody's edit")
    with pytest.raises(PictureExists):
        folder.write("cat.png", b"third", None, 7)
    assert (folder.path / "cat.png").read_bytes() == b"somebody's edit"


def test_what_was_saved_without_a_stamp_is_not_said_to_be_another_picture(folder):
    folder.write("cat.png", b"data", None)
    with again(folder) as later, pytest.raises(PictureExists, match="whether it is the same can't be told"):
        later.has("cat.png", "s")
