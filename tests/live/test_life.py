"""How clusters start, are found, and end."""

import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

import twistcluster as tc
from tests.live.conftest import family, left_behind, named, runs
from tests.live.plain import Plain, welcomed
from tests.tools import until
from twistcluster.client import ending, launch, session
from twistcluster.client.launch import Connection, Running, find, running_clusters, start_local
from twistcluster.errors import ClusterUnreachable, OptionsDiffer, VersionMismatch
from twistcluster.wire.messages import Answer, Declined, StopCluster, Stopping, Welcome


def gone(pids):
    until(lambda: not any(map(runs, pids)), what="the end of all processes")
    until(lambda: not left_behind(), what="clean folders")


# ---- named ----


def test_a_named_cluster_is_found_by_those_who_start_it_again(clusters, connect):
    first = clusters.local(slots=2)
    again = start_local("lab")
    assert first.started and not again.started
    assert again.connection == first.connection == find("lab") == running_clusters()[0]
    client = connect(first.connection.socket)
    until(lambda: client.status().workers[0].ready == 2)
    status = client.status()
    assert (status.name, status.owned, status.pid) == ("lab", False, first.connection.pid)
    assert status.workers[0].local


def test_options_that_differ_are_named(clusters):
    clusters.local(slots=1, idle_timeout=60)
    start_local("lab", slots=1, idle_timeout=60.0)
    with pytest.raises(OptionsDiffer, match=r"slots=1 \(you asked for 3\)") as told:
        start_local("lab", slots=3)
    assert "twistcluster stop lab" in str(told.value) and len(str(told.value).splitlines()) <= 5
    with pytest.raises(OptionsDiffer, match="idle_timeout=60"):
        start_local("lab", idle_timeout=5)


def test_of_many_starts_of_one_name_one_wins_and_all_get_it(clusters):
    found = []

    def start():
        found.append(start_local("lab", 1))

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    clusters.pids += {running.connection.pid for running in found}
    assert len({running.connection.id for running in found}) == 1
    assert sum(running.started for running in found) == 1 and len(found) == 4


def test_it_outlives_its_clients_and_is_stopped_by_one(clusters, connect):
    running = clusters.local()
    pids = family(running.connection.pid)
    welcomed(running.connection.socket).close()
    client = connect(running.connection.socket)
    other = connect(running.connection.socket)
    assert isinstance(client.ask(StopCluster()), Declined)
    other.close()
    until(lambda: len(client.status().clients) == 1)
    assert isinstance(client.ask(StopCluster()), Answer)
    assert isinstance(client.hear_all()[-1], Stopping)
    gone(pids)
    assert running.process.wait(60) == 0


def test_it_ends_when_nobody_used_it_for_a_while(clusters):
    running = clusters.local(idle_timeout=0.5)
    client = welcomed(running.connection.socket)
    pids = family(running.connection.pid)
    client.close()
    gone(pids)


# ---- owned ----


def test_an_owned_cluster_ends_with_its_owners_link(clusters, connect):
    running = clusters.local("")
    owner = connect(running.connection.socket, owner=running.owner)
    guest = connect(running.connection.socket, owner="guessed")
    until(lambda: guest.status().workers[0].ready)
    pids = family(running.connection.pid)
    assert guest.status().owned and len(pids) >= 2
    owner.close()
    assert isinstance(guest.hear_all()[-1], Stopping)
    gone(pids)


OWNER = """
import sys, time
sys.path[:0] = [{root!r}]
from tests.live.plain import welcomed
from twistcluster.client.launch import start_local
running = start_local("", 2)
client = welcomed(running.connection.socket, owner=running.owner)
while client.status().workers[0].ready < 2:
    time.sleep(0.01)
print(running.connection.pid, flush=True)
time.sleep(600)
"""


def test_nothing_is_left_after_its_owners_kill():
    root = str(Path(__file__).resolve().parents[2])
    owner = subprocess.Popen([sys.executable, "-c", OWNER.format(root=root)], stdout=subprocess.PIPE, text=True)
    pids = family(int(owner.stdout.readline()))
    assert len(pids) >= 3
    owner.kill()
    owner.wait()
    owner.stdout.close()
    gone(pids)


@pytest.mark.slow
def test_it_ends_if_its_owner_never_comes(clusters):
    running = clusters.local("")
    with welcomed(running.connection.socket) as guest:
        guest.sock.settimeout(20)
        guest.timeout = 20
        (said,) = guest.hear_all()
    assert isinstance(said, Stopping) and "did not connect within 10 s" in said.reason
    gone([running.connection.pid])


# ---- signals and kills ----


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_end_a_local_cluster_in_good_order(clusters, connect, number):
    running = clusters.local()
    client = connect(running.connection.socket)
    until(lambda: client.status().workers[0].ready)
    pids = family(running.connection.pid)
    os.kill(running.connection.pid, number)
    assert isinstance(client.hear_all()[-1], Stopping)
    gone(pids)
    assert running.process.wait(60) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_end_a_scheduler_and_its_workers_in_good_order(clusters, connect, number):
    scheduler, connection = clusters.scheduler()
    worker = clusters.worker()
    client = connect(connection.socket)
    until(lambda: client.status().workers)
    pids = [*family(scheduler.pid), *family(worker.pid)]
    os.kill(scheduler.pid, number)
    assert isinstance(client.hear_all()[-1], Stopping)
    gone(pids)
    assert scheduler.wait(60) == 0
    assert "Scheduler 'lab' is ready" in scheduler.stdout.read()


def test_what_a_killed_cluster_leaves_is_cleared_by_the_next_look(clusters, connect):
    running = clusters.local()
    client = connect(running.connection.socket)
    until(lambda: client.status().workers[0].ready)
    pids = family(running.connection.pid)
    os.kill(running.connection.pid, signal.SIGKILL)
    until(lambda: not any(map(runs, pids)), what="the slots' end")
    assert client.hear_all() == []
    assert running_clusters() == []
    again = clusters.local()
    assert again.started and again.connection.id != running.connection.id


def test_a_scheduler_does_not_start_under_a_name_that_is_taken(clusters):
    clusters.local()
    second = clusters.command("main", "scheduler", "--name", "lab")
    assert second.wait(60) == 1
    assert "a cluster named 'lab' runs already" in second.stdout.read()
    assert named("lab")


# ---- surroundings ----


def test_modes_are_right_whatever_the_umask(clusters):
    before = os.umask(0)
    try:
        connection = clusters.local().connection
    finally:
        os.umask(before)

    def mode(path):
        return stat.S_IMODE(os.lstat(path).st_mode)

    folder = Path(connection.socket).parent
    assert mode(connection.socket) == mode(connection.connection_file) == mode(connection.log) == 0o600
    assert mode(folder) == mode(folder.parent) == mode(Path(connection.log).parent) == 0o700
    for path in folder.parent.rglob("*"):
        assert mode(path) & 0o077 == 0, path


def test_a_runtime_folder_with_too_long_a_path_is_fallen_back_from(clusters, monkeypatch, tmp_path):
    long = tmp_path / ("long" * 30)
    long.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    connection = clusters.local().connection
    assert connection.socket.startswith("/tmp/twistcluster-")
    assert find("lab") == connection
    welcomed(connection.socket).close()


def test_a_full_disk_for_logs_stops_nothing(clusters, monkeypatch):
    monkeypatch.setattr(launch, "open_log", lambda *_: (os.open("/dev/full", os.O_WRONLY), ""))
    connection = clusters.local().connection
    for _ in range(3):
        with Plain(connection.socket) as stranger:
            stranger.raw(b"\xff" * 100)
            stranger.hear_all()
    client = welcomed(connection.socket)
    until(lambda: client.status().workers[0].ready)
    client.close()


def test_a_full_disk_for_logs_stops_no_standalone_node(clusters, connect):
    def started(command, *arguments):
        code = f"from twistcluster.cli.{command} import main; main()"
        with Path("/dev/full").open("w") as full:
            return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=full, stderr=full)

    scheduler = started("main", "scheduler", "--name", "lab")
    worker = None
    try:
        until(lambda: named("lab"), 20, "the scheduler")
        worker = started("worker", "--join", "lab", "--slots", "1")
        client = connect(find("lab").socket)
        until(lambda: [w for w in client.status().workers if w.ready], 20, "the worker's slot")
        scheduler.terminate()
        assert (scheduler.wait(60), worker.wait(60)) == (0, 0)
    finally:
        for process in filter(None, (scheduler, worker)):
            process.kill()
            process.wait()


def test_the_kernels_surroundings_stay_with_the_kernel(clusters, monkeypatch):
    for name in ("JPY_PARENT_PID", "PYDEVD_USE_FRAME_EVAL", "MPLBACKEND", "TWISTCLUSTER_OWNER"):
        monkeypatch.setenv(name, "1")
    pid = clusters.local().connection.pid
    names = set(psutil.Process(pid).environ())
    assert not names & {"JPY_PARENT_PID", "PYDEVD_USE_FRAME_EVAL", "MPLBACKEND", "TWISTCLUSTER_OWNER"}
    assert os.getsid(pid) == pid


def test_the_current_folders_modules_do_not_break_it(clusters, monkeypatch, tmp_path):
    for name in ("random.py", "logging.py", "twisted.py"):
        (tmp_path / name).write_text("raise ImportError('mine')")
    monkeypatch.chdir(tmp_path)
    clusters.local()


# ---- starts that fail ----


def test_a_start_that_fails_shows_the_last_lines_of_its_log(monkeypatch, tmp_path):
    (tmp_path / "twisted").mkdir()
    (tmp_path / "twisted" / "__init__.py").write_text("raise RuntimeError('no twisted today')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ClusterUnreachable, match="no twisted today") as told:
        start_local()
    assert "last lines of its log" in str(told.value)


def test_a_start_that_cannot_have_its_folder_says_why():
    Path(os.environ["XDG_RUNTIME_DIR"], "twistcluster").mkdir(mode=0o755)
    with pytest.raises(ClusterUnreachable, match="open to other users .* `chmod 700"):
        start_local("lab")


def test_a_start_that_takes_too_long_is_given_up_and_ended(monkeypatch):
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(launch.subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])
    with pytest.raises(ClusterUnreachable, match="not ready in time"):
        start_local(timeout=0.001)
    started[0].wait(60)
    until(lambda: not running_clusters() and not left_behind())


def test_a_start_that_is_given_up_late_leaves_nothing(monkeypatch):
    monkeypatch.setattr(launch, "_first_line", lambda *_: until(left_behind) and None)
    with pytest.raises(ClusterUnreachable, match="not ready in time"):
        start_local(timeout=30)
    until(lambda: not running_clusters() and not left_behind())


OTHER_VERSION = """
import sys
if "twistcluster.nodes.local" in sys.orig_argv:
    from twistcluster.wire import messages
    messages.PROTOCOL = 999
"""


@pytest.fixture
def started(monkeypatch):
    """The processes that clusters of this process are started as."""
    found = []
    popen = subprocess.Popen
    monkeypatch.setattr(launch.subprocess, "Popen", lambda *a, **k: found.append(popen(*a, **k)) or found[-1])
    return found


@pytest.mark.parametrize("name", [None, "lab"])
def test_a_cluster_that_turns_out_to_be_of_another_version_is_ended(started, monkeypatch, tmp_path, name):
    (tmp_path / "sitecustomize.py").write_text(OTHER_VERSION)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    with pytest.raises(VersionMismatch, match="protocol 999"):
        tc.Cluster(name, slots=1)
    (process,) = started
    assert process.returncode is not None and not runs(process.pid)
    until(lambda: not running_clusters() and not left_behind())


def test_one_that_does_not_end_is_killed(monkeypatch):
    code = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.read(1)
    monkeypatch.setattr(ending, "PATIENCE_SECONDS", 0.05)
    with pytest.raises(KeyError), ending.ended_if_in_vain(Running(Connection.from_fields({"id": "abcd"}), "", process)):
        raise KeyError
    assert process.returncode == -signal.SIGKILL
    process.stdin.close()
    process.stdout.close()


def test_one_that_was_there_is_left_alone(clusters, monkeypatch):
    pid = clusters.local().connection.pid
    monkeypatch.setattr(session, "PROTOCOL", 999)
    with pytest.raises(VersionMismatch, match="protocol 999"):
        tc.Cluster("lab")
    assert runs(pid)


def test_more_slots_than_a_worker_can_have_are_refused_at_once():
    with pytest.raises(ValueError, match="0 to 1,024 slots, not 1,000,000: twistcluster-worker joins more"):
        start_local("lab", 1_000_000)
    assert not running_clusters()


def test_a_stopped_cluster_is_told_from_an_unknown_one(clusters):
    running = clusters.local()
    os.kill(running.connection.pid, signal.SIGTERM)
    assert running.process.wait(60) == 0
    with pytest.raises(ClusterUnreachable, match="has ended"):
        find(running.connection.connection_file)
    with pytest.raises(ClusterUnreachable, match="twistcluster start lab"):
        find("lab")


def test_it_is_ready_soon(clusters, connect):
    running = clusters.local("")
    with Plain(running.connection.socket) as owner:
        assert isinstance(owner.greet(owner=running.owner), Welcome)
