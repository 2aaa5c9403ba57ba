import contextlib
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from twistcluster.errors import AccessDenied, ClusterUnreachable
from twistcluster.net import connections, places
from twistcluster.net.version import VERSION


def mode(path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


@pytest.fixture
def open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def test_folders_and_files_are_private_whatever_the_umask(open_umask):
    place = places.Place("0a1b2c3d")
    lock = places.lock_name("lab")
    fd, log = places.open_log("0a1b2c3d")
    os.close(fd)
    connection = connections.publish({"id": "0a1b2c3d", "name": "lab", "socket": place.socket})
    assert mode(place.folder) == mode(places.runtime_folder()) == 0o700
    assert mode(lock.path) == mode(log) == mode(connection.path) == 0o600
    connection.release()
    lock.release()
    place.remove()


def test_they_are_usable_under_the_tightest_umask():
    before = os.umask(0o777)
    try:
        place = places.Place("0a1b2c3d")
    finally:
        os.umask(before)
    assert mode(place.folder) == mode(place.folder.parent) == 0o700
    place.remove()


def test_a_path_too_long_for_a_socket_falls_back_to_tmp(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 90)
    long.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    place = places.Place("0a1b2c3d")
    assert place.socket == f"/tmp/twistcluster-{os.geteuid()}/0a1b2c3d/socket"
    place.remove()
    assert not place.folder.exists()


def test_without_a_runtime_folder_it_is_tmp(monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere/at/all")
    folder = places.runtime_folder()
    assert folder == Path(f"/tmp/twistcluster-{os.geteuid()}")
    with contextlib.suppress(OSError):  # somebody's cluster may live there
        folder.rmdir()


def test_others_may_end_just_now(monkeypatch):
    made = []
    private = places.private_folder

    def vanishing(path):
        made.append(private(path))
        if len(made) == 1:  # the runtime folder is there, then its last user removes it
            path.rmdir()
        return path

    monkeypatch.setattr(places, "private_folder", vanishing)
    place = places.Place("0a1b2c3d")
    assert place.folder.is_dir() and len(made) == 3
    made.clear()
    place.remove()
    lock = places.lock_name("lab")
    assert lock.path.exists() and len(made) == 2
    lock.release()


def test_a_link_a_file_and_an_open_folder_are_not_used(monkeypatch, tmp_path):
    wanted = Path(os.environ["XDG_RUNTIME_DIR"], "twistcluster")
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    wanted.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AccessDenied, match="not a folder"):
        places.runtime_folder()
    wanted.unlink()
    wanted.write_text("")
    with pytest.raises(AccessDenied, match="remove it"):
        places.runtime_folder()
    wanted.unlink()
    wanted.mkdir()
    wanted.chmod(0o755)
    with pytest.raises(AccessDenied, match="chmod 700"):
        places.runtime_folder()


def test_a_folder_of_somebody_else_is_not_used(monkeypatch):
    monkeypatch.setattr(places.os, "geteuid", lambda: 12345)
    with pytest.raises(AccessDenied, match="belongs to the user with id"):
        places.private_folder(Path(os.environ["XDG_RUNTIME_DIR"]))


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"JUPYTER_RUNTIME_DIR": "/somewhere/runtime"},
        {"JUPYTER_DATA_DIR": "/somewhere/data"},
        {"XDG_DATA_HOME": "/somewhere/share"},
    ],
)
def test_connection_files_lie_where_jupyters_do(variables, monkeypatch):
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    code = "from jupyter_core.paths import jupyter_runtime_dir as d; print(d())"
    theirs = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert str(places.connection_folder()) == theirs


def test_a_name_is_had_by_one_at_a_time():
    first = places.lock_name("lab")
    assert first is not None
    assert places.lock_name("lab") is None
    other = places.lock_name("other")
    assert other is not None
    first.release()
    first.release()
    again = places.lock_name("lab")
    assert again is not None
    assert again.path.exists()
    again.release()
    other.release()
    assert not [*places.runtime_folder().iterdir()]


@pytest.mark.parametrize("name", ["", "a b", "../lab", ".lab", "-lab", "x" * 64, "läb", "lab\n"])
def test_what_a_name_is(name):
    with pytest.raises(ValueError, match="letters, digits"):
        places.check_name(name)


def test_logs_that_cannot_be_opened_are_done_without(monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere")
    fd, path = places.open_log("0a1b2c3d")
    os.write(fd, b"to nobody")
    os.close(fd)
    assert path == ""


def test_old_logs_go(monkeypatch):
    monkeypatch.setattr(places, "LOGS_KEPT", 3)
    for number in range(6):
        fd, path = places.open_log(f"0000000{number}", "lab")
        os.close(fd)
        os.utime(path, (number, number))
    assert sorted(log.name for log in places.log_folder().iterdir()) == [
        f"lab-0000000{number}.log" for number in (3, 4, 5)
    ]


def test_the_log_of_a_cluster_that_still_runs_stays_however_old(monkeypatch):
    monkeypatch.setattr(places, "LOGS_KEPT", 1)
    running, path = places.open_log("0a1b2c3d", "lab")
    os.utime(path, (0, 0))
    for number in range(3):
        os.close(places.open_log(f"0000000{number}", "lab")[0])
    assert Path(path).exists()
    os.close(running)
    os.close(places.open_log("00000009", "lab")[0])
    assert not Path(path).exists()


# ---- connection files ----


def published(cluster="0a1b2c3d", name="lab", **fields):
    return connections.publish({"id": cluster, "name": name, "socket": "/nowhere", "started": cluster, **fields})


def test_a_living_cluster_is_found_by_name_id_and_file():
    lock = published(pid=7)
    for target in ("lab", "0a1b2c3d", str(lock.path)):
        found = connections.find(target)
        assert found["pid"] == 7 and found["connection_file"] == str(lock.path)
    lock.release()
    with pytest.raises(ClusterUnreachable, match="twistcluster start lab"):
        connections.find("lab")


def test_those_that_run_are_named_to_who_asks_for_another():
    locks = [published("00000001", "a"), published("00000002", ""), published("00000003", "b")]
    assert [each["id"] for each in connections.living()] == ["00000001", "00000002", "00000003"]
    with pytest.raises(ClusterUnreachable, match="there are: a, b"):
        connections.find("lab")
    for lock in locks:
        lock.release()


def test_what_a_killed_cluster_left_is_cleared_away():
    place = places.Place("0a1b2c3d")
    Path(place.socket).touch()
    lock = published()
    os.close(lock._fd)  # as the system does when the process dies
    assert connections.living() == []
    assert not lock.path.exists() and not place.folder.exists()
    with pytest.raises(ClusterUnreachable, match="has ended"):
        connections.find(str(lock.path))


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", '{"id": 1, "name": "", "socket": ""}', "\0" * 100])
def test_a_file_that_is_none_is_told(content, tmp_path):
    path = tmp_path / "twistcluster-00000000.json"
    path.write_text(content)
    with pytest.raises(ClusterUnreachable, match="not the connection file"):
        connections.find(str(path))
    folder = places.connection_folder()
    (folder / path.name).write_text(content)
    assert connections.living() == []


def test_files_of_others_and_links_are_not_followed(monkeypatch):
    lock = published()
    link = lock.path.with_name("twistcluster-link.json")
    link.symlink_to(lock.path)
    with pytest.raises(AccessDenied):
        connections.find(str(link))
    monkeypatch.setattr(connections.os, "geteuid", lambda: 12345)
    with pytest.raises(AccessDenied, match="somebody else"):
        connections.find(str(lock.path))
    lock.release()


def test_a_cluster_on_another_host_is_not_ours(monkeypatch):
    lock = published()
    monkeypatch.setattr(connections.socket, "gethostname", lambda: "elsewhere")
    assert connections.living() == []
    with pytest.raises(ClusterUnreachable, match="another host"):
        connections.find(str(lock.path))
    assert lock.path.exists()
    lock.release()


def test_no_room_for_a_connection_file_leaves_nothing(monkeypatch):
    monkeypatch.setattr(connections.os, "write", lambda fd, data: 3)
    with pytest.raises(OSError, match="no room"):
        published()
    assert [*places.connection_folder().iterdir()] == []


def test_the_version_is_the_projects():
    text = Path(places.__file__).parents[2].joinpath("pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r'^version = "(.+)"$', text, re.MULTILINE).group(1) == VERSION
