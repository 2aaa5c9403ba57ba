"""Clusters of real processes, in both forms: local (one process), and a scheduler with a worker that joined it."""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import twistcluster as tc
from tests.live.plain import Plain, welcomed
from tests.tools import until
from twistcluster.client.launch import Connection, Running, find, running_clusters, start_local


class Clusters:
    """Starts clusters, and ends them with the test."""

    def __init__(self) -> None:
        self.pids: list[int] = []
        self.children: list[subprocess.Popen] = []

    def local(self, name: str = "lab", slots: int | None = 1, **options) -> Running:
        running = start_local(name, slots, **options)
        self.pids.append(running.connection.pid)
        return running

    def command(self, *arguments: str, **options) -> subprocess.Popen:
        """A command that stays in the foreground."""
        code = f"from twistcluster.cli.{arguments[0]} import main; main()"
        child = subprocess.Popen(
            [sys.executable, "-c", code, *arguments[1:]],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            **options,
        )
        self.children.append(child)
        return child

    def scheduler(self, name: str = "lab", *more: str, **options) -> tuple[subprocess.Popen, Connection]:
        child = self.command("main", "scheduler", "--name", name, *more, **options)
        until(lambda: named(name) or child.poll() is not None, what="the scheduler")
        assert child.poll() is None, child.stdout.read()
        return child, find(name)

    def worker(self, name: str = "lab", slots: int = 1, *more: str, **options) -> subprocess.Popen:
        return self.command("worker", "--join", name, "--slots", str(slots), *more, **options)

    def end(self) -> None:
        end_children(self.children)
        for pid in self.pids:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue
        for pid in self.pids:
            until(lambda pid=pid: not runs(pid), what=f"the end of {pid}")


def end_children(children: list[subprocess.Popen]) -> None:
    """Ask all to end, then see to it."""
    for child in children:
        if child.poll() is None:
            child.terminate()
    for child in children:
        try:
            child.wait(60)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                stream.close()


def named(name: str) -> bool:
    return any(each.name == name for each in running_clusters())


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def family(pid: int) -> list[int]:
    """A process and all below it, by pid."""
    process = psutil.Process(pid)
    return [pid, *(child.pid for child in process.children(recursive=True))]


def kill(pid: int) -> None:
    """Kill a cluster's process, and wait for its slots, which end themselves."""
    pids = family(pid)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not any(map(runs, pids)), what="the end of the slots")


def left_behind() -> list[str]:
    """What lies in the runtime folder and in Jupyter's, but for empty folders."""
    places = [Path(os.environ["XDG_RUNTIME_DIR"], "twistcluster"), Path(os.environ["JUPYTER_RUNTIME_DIR"])]
    return [str(path) for place in places for path in place.rglob("*")]


class Local:
    """A local cluster, whose next `connect` brings it back."""

    name = "lab"

    def __init__(self, clusters):
        self._clusters = clusters
        clusters.local(slots=2)

    def connect(self):
        cluster = tc.connect(self.name)
        self._clusters.pids.append(cluster.status().pid)
        return cluster

    def kill(self, cluster):
        """With its client gone before: one that lives would go on (test_returning.py)."""
        cluster.close(wait=False)
        kill(find(self.name).pid)


class Standalone(Local):
    """A scheduler that is started again, with a new worker."""

    def __init__(self, clusters):
        self._clusters = clusters
        self._start()

    def _start(self):
        self._scheduler, _ = self._clusters.scheduler(self.name)
        self._worker = self._clusters.worker(self.name, 2)

    def connect(self):
        if self._scheduler.poll() is not None:
            self._start()
        return tc.connect(self.name)

    def kill(self, cluster):
        cluster.close(wait=False)
        pids = family(self._worker.pid)
        self._scheduler.kill()
        self._scheduler.wait()
        # Its worker gives up, with its slots; what it hadn't told runs again.
        self._worker.terminate()
        until(lambda: not any(map(runs, pids)), what="the end of the worker")


@pytest.fixture
def clusters() -> Iterator[Clusters]:
    made = Clusters()
    yield made
    made.end()


@pytest.fixture(params=["local", "standalone"])
def cluster(request, clusters) -> Connection:
    """A cluster named "lab" with one slot that is ready, in each form."""
    if request.param == "local":
        connection = clusters.local().connection
    else:
        _, connection = clusters.scheduler()
        clusters.worker()
    with welcomed(connection.socket) as client:
        until(lambda: [w for w in client.status().workers if w.ready], what="a slot")
    return connection


@pytest.fixture(params=[Local, Standalone])
def lab(request, clusters) -> Local:
    return request.param(clusters)


@contextlib.contextmanager
def stores_folder() -> Iterator[Path]:
    """A folder for stores of the test's own; other runs of tests see by its lock that somebody has it."""
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    with (folder / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder)


IN_ONE_FORM = pytest.mark.parametrize("shared", ["local"], indirect=True)
"""For what is between a client and the code in a slot: who carries it doesn't matter, and other tests see to that."""


def in_forms(name: str, both: list, local: list):
    """Some cases in both forms, and others of the same kind in one only."""
    pairs = [*((form, case) for form in ("local", "standalone") for case in both), *(("local", case) for case in local)]
    return pytest.mark.parametrize(("shared", name), pairs, indirect=["shared"])


@pytest.fixture
def stores_apart(monkeypatch, tmp_path) -> Iterator[Path]:
    """Stores in folders of the test's own: another program's start, of an older version perhaps, may clear away dead ones."""
    with stores_folder() as shared:
        monkeypatch.setenv("TWISTCLUSTER_SHM", str(shared))
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield shared


@pytest.fixture
def stores_gone(stores_apart) -> Iterator[None]:
    """For clusters that come back: in the end they leave no store, in folders of the test's own."""
    yield
    until(lambda: not [path for path in stores_apart.iterdir() if path.is_dir()], what="the end of the stores")


@pytest.fixture
def connect() -> Iterator[Callable[..., Plain]]:
    made: list[Plain] = []

    def connecting(path, **said):
        made.append(welcomed(path, **said))
        return made[-1]

    yield connecting
    for plain in made:
        plain.close()


def measured(call) -> float:
    start = time.monotonic()
    call()
    return time.monotonic() - start
