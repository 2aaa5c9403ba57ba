"""Private files: their modes from the first instant, whole or not there, nobody else's."""

import os
import stat
import threading

import pytest

from twistcluster.errors import AccessDenied
from twistcluster.net.tls import files
from twistcluster.net.tls.authority import Authority
from twistcluster.net.tls.files import create_private, read_private, replace_private


@pytest.fixture(params=[0, 0o777, 0o022], ids=["umask 0", "umask 777", "umask 022"])
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """After each system call that makes or changes a file: what lies in the folder is nobody else's. Returns the calls."""
    calls = []

    def watch(module, name):
        function = getattr(module, name)

        def call(*args, **kwargs):
            result = function(*args, **kwargs)
            calls.append(name)
            look(tmp_path)
            return result

        monkeypatch.setattr(module, name, call)

    for name in ("open", "fchmod", "fsync", "link", "mkdir", "rename", "replace", "unlink", "chmod"):
        watch(os, name)
    return calls


def look(folder) -> None:
    for path, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            state = os.lstat(os.path.join(path, name))
            assert not state.st_mode & 0o077, f"{name} was open to others: {state.st_mode:o}"


def mode(path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


def test_modes_are_right_after_every_call(tmp_path, watched, umask):
    os.chmod(tmp_path, 0o755)
    for write in (create_private, replace_private, replace_private):
        write(tmp_path / "file", b"secret")
    Authority.open(tmp_path / "ca", "lab", 1e9)
    assert mode(tmp_path / "file") == mode(tmp_path / "ca" / "authority.pem") == 0o600
    assert mode(tmp_path / "ca") == 0o700
    assert watched.count("open") >= 4
    assert sorted(os.listdir(tmp_path)) == ["ca", "file"]


def test_a_racing_reader_sees_whole_private_files_only(tmp_path):
    path, going, seen, faults = tmp_path / "file", True, set(), []
    whole = [bytes([letter]) * 20_000 for letter in b"ab"]

    def read():
        while going:
            try:
                for name in os.listdir(tmp_path):
                    try:
                        if os.lstat(tmp_path / name).st_mode & 0o077:
                            faults.append(name)
                    except FileNotFoundError:
                        pass
                seen.add(path.read_bytes())
            except FileNotFoundError:
                pass

    before = os.umask(0)
    thread = threading.Thread(target=read)
    thread.start()
    try:
        for number in range(100):
            replace_private(path, whole[number % 2])
    finally:
        going = False
        thread.join()
        os.umask(before)
    assert not faults and seen and seen <= set(whole)


def test_of_two_who_create_one_is_first(tmp_path):
    path = tmp_path / "file"
    assert create_private(path, b"one") and not create_private(path, b"two")
    assert path.read_bytes() == b"one" and os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("call", ["fchmod", "fsync"])
@pytest.mark.parametrize("write", [create_private, replace_private])
def test_a_disk_that_fails_leaves_what_was_there(tmp_path, monkeypatch, write, call):
    (tmp_path / "old").write_bytes(b"old")

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, call, fail)
    with pytest.raises(AccessDenied, match="can't be written: No space left on device"):
        write(tmp_path / "old", b"new")
    assert os.listdir(tmp_path) == ["old"] and (tmp_path / "old").read_bytes() == b"old"


def test_a_place_that_cant_be_written(tmp_path):
    for write in (create_private, replace_private):
        with pytest.raises(AccessDenied, match="can't be written: No such file or directory"):
            write(tmp_path / "no" / "file", b"x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(AccessDenied, match="can't be written: Is a directory"):
        replace_private(tmp_path / "folder", b"x")
    assert os.listdir(tmp_path) == ["folder"]


# ---- read -------------------------------------------------------------------------------------------------------------


def test_what_is_read(tmp_path):
    assert read_private(tmp_path / "file", "do this") is None
    create_private(tmp_path / "file", b"secret")
    assert read_private(tmp_path / "file", "do this") == b"secret"


def test_a_file_open_to_others_isnt_trusted(tmp_path):
    create_private(tmp_path / "file", b"secret")
    for bits in (0o640, 0o604, 0o620, 0o601):
        (tmp_path / "file").chmod(bits)
        with pytest.raises(AccessDenied, match=f"mode {bits:o}.*run `chmod 600 .*/file`; else do this"):
            read_private(tmp_path / "file", "do this")


def test_somebody_elses_file_isnt_trusted(tmp_path, monkeypatch):
    create_private(tmp_path / "file", b"secret")
    monkeypatch.setattr(files.os, "geteuid", lambda: 12345)
    with pytest.raises(AccessDenied, match="belongs to the user with id .*, not to you: do this"):
        read_private(tmp_path / "file", "do this")


def test_only_plain_files_are_read(tmp_path):
    create_private(tmp_path / "file", b"secret")
    os.symlink(tmp_path / "file", tmp_path / "link")
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir(mode=0o700)
    with pytest.raises(AccessDenied, match="it must be a file of yours, no link"):
        read_private(tmp_path / "link", "do this")
    for name in ("pipe", "folder"):
        with pytest.raises(AccessDenied, match="is not a plain file: do this"):
            read_private(tmp_path / name, "do this")
