import os
import stat
import tempfile
import time
from pathlib import Path

import pytest

from tests.tools import until
from twistcluster.errors import AccessDenied
from twistcluster.storage import folder
from twistcluster.storage.folder import StoreFolder, check, clear_dead

OWNER = """
import sys
from twistcluster.storage.folder import StoreFolder
made = StoreFolder.create("0a1b")
open(made.path + "/object", "w").close()
print("ready", flush=True)
sys.stdin.readline()
made.remove()
"""


@pytest.fixture(autouse=True)
def memory(tmp_path, monkeypatch) -> Path:
    """Shared memory and disk of the test's own."""
    for name in ("memory", "disk"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("TWISTCLUSTER_SHM", str(tmp_path / "memory"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "disk"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path / "memory"


def names(tmp_path: Path) -> list[str]:
    return sorted(path.name for base in ("memory", "disk") for path in (tmp_path / base).iterdir())


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
def test_both_folders_are_private_whatever_the_umask(umask, tmp_path):
    before = os.umask(umask)
    try:
        made = StoreFolder.create("0a1b")
    finally:
        os.umask(before)
    assert Path(made.path).parent == tmp_path / "memory"
    assert Path(made.path).name.startswith(f"twistcluster-{os.geteuid()}-0a1b-")
    disk = Path(made.path, "disk").readlink()
    assert disk.parent == tmp_path / "disk"
    for path in (Path(made.path), disk):
        assert stat.S_IMODE(path.lstat().st_mode) == 0o700
    assert stat.S_IMODE(Path(made.path, "lock").lstat().st_mode) == 0o600
    check(made.path)
    made.remove()
    assert names(tmp_path) == []


@pytest.mark.parametrize("base", ["missing", "a-file"])
def test_without_shared_memory_it_is_on_the_disk(base, tmp_path, monkeypatch):
    (tmp_path / "a-file").touch()
    monkeypatch.setenv("TWISTCLUSTER_SHM", str(tmp_path / base))
    made = StoreFolder.create("0a1b")
    assert Path(made.path).parent == tmp_path / "disk"
    made.remove()
    assert names(tmp_path) == []


def test_an_id_that_is_no_name_is_refused(tmp_path):
    with pytest.raises(ValueError, match="can't be part of a folder's name"):
        StoreFolder.create("../elsewhere")
    assert names(tmp_path) == []


def test_what_was_made_is_removed_when_the_rest_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "_base", lambda: str(tmp_path / "missing"))
    with pytest.raises(FileNotFoundError):
        StoreFolder.create("0a1b")
    assert names(tmp_path) == []


def test_the_folders_of_a_killed_owner_are_cleared_and_those_of_a_living_one_are_not(child, tmp_path):
    killed, living = child(OWNER), child(OWNER)
    assert len(names(tmp_path)) == 4
    clear_dead()
    assert len(names(tmp_path)) == 4
    killed.kill()
    killed.wait()
    clear_dead()
    assert len(left := names(tmp_path)) == 2
    clear_dead()
    assert names(tmp_path) == left
    living.communicate("\n")
    assert names(tmp_path) == []


def test_a_dead_owner_s_disk_folder_is_found_where_tmpdir_was_then(child, tmp_path, monkeypatch):
    killed = child(OWNER)
    killed.kill()
    killed.wait()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    clear_dead()
    assert names(tmp_path) == []


def test_a_disk_folder_is_cleared_when_shared_memory_was_lost(child, tmp_path):
    killed = child(OWNER)
    killed.kill()
    killed.wait()
    [path] = (tmp_path / "memory").iterdir()
    path.rename(tmp_path / "away")  # as after a restart of the machine
    clear_dead()
    assert names(tmp_path) == []


def test_a_dead_owner_s_link_leads_to_no_other_folder(child, tmp_path):
    killed = child(OWNER)
    killed.kill()
    killed.wait()
    [path] = (tmp_path / "memory").iterdir()
    (tmp_path / "precious").mkdir(mode=0o700)
    (tmp_path / "precious" / "file").touch()
    (path / "disk").unlink()
    (path / "disk").symlink_to(tmp_path / "precious")
    clear_dead()
    assert (tmp_path / "precious" / "file").exists()
    assert names(tmp_path) == []


def test_a_folder_that_is_being_made_is_cleared_only_when_its_maker_is_long_dead(tmp_path, memory, monkeypatch):
    (memory / f"twistcluster-{os.geteuid()}-0a1b-00.new").mkdir()
    clear_dead()
    assert len(names(tmp_path)) == 1
    now = time.time()
    monkeypatch.setattr(folder.time, "time", lambda: now + 61)
    clear_dead()
    assert names(tmp_path) == []


def test_links_and_files_with_such_a_name_are_left_alone(tmp_path, memory):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (memory / f"twistcluster-{os.geteuid()}-link").symlink_to(tmp_path / "precious")
    (memory / f"twistcluster-{os.geteuid()}-file").touch()
    clear_dead()
    assert (tmp_path / "precious" / "file").exists()
    assert len(names(tmp_path)) == 2


def test_a_forked_child_doesn_t_keep_the_folder_alive(child, tmp_path):
    process = child("""
import os, sys
from twistcluster.storage.folder import StoreFolder
made = StoreFolder.create("0a1b")
gate, held = os.pipe()
if os.fork() == 0:
    os.close(held)
    os.read(gate, 1)
    sys.stdin.readline()
    os._exit(0)
print("ready", flush=True)
os.kill(os.getpid(), 9)
""")
    process.wait()

    def cleared():
        clear_dead()
        return names(tmp_path) == []

    until(cleared, what="the folder of a dead owner with a living child to go")


# ---- check -------------------------------------------------------------------------------------------------------------


def test_a_link_to_a_folder_is_refused(tmp_path, memory):
    made = StoreFolder.create("0a1b")
    (memory / "link").symlink_to(made.path)
    with pytest.raises(AccessDenied, match="not a folder"):
        check(str(memory / "link"))
    made.remove()


@pytest.mark.parametrize("part", [".", "disk"])
def test_a_folder_open_to_others_is_refused(part):
    made = StoreFolder.create("0a1b")
    Path(made.path, part).chmod(0o750)
    with pytest.raises(AccessDenied, match="run `chmod 700"):
        check(made.path)
    made.remove()


def test_somebody_else_s_folder_is_refused(monkeypatch):
    made = StoreFolder.create("0a1b")
    with monkeypatch.context() as patch:
        patch.setattr(folder.os, "geteuid", lambda: 12345)
        with pytest.raises(AccessDenied, match="belongs to the user with id"):
            check(made.path)
    made.remove()


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(AccessDenied, match="its cluster has ended"):
        check(str(tmp_path / "missing"))


def test_somebody_else_s_folder_isn_t_cleared(child, tmp_path, monkeypatch):
    killed = child(OWNER)
    killed.kill()
    killed.wait()
    with monkeypatch.context() as patch:
        patch.setattr(folder, "_prefix", lambda uid=os.geteuid(): f"twistcluster-{uid}-")
        patch.setattr(folder.os, "geteuid", lambda: 12345)
        clear_dead()
    assert len(names(tmp_path)) == 2
