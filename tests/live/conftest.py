"""Clusters of real processes, in both forms: local (one process), and a scheduler with a worker that joined it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

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
        for child in self.children:
            if child.poll() is None:
                child.terminate()
        for child in self.children:
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            child.stdout.close()
        for pid in self.pids:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue
        for pid in self.pids:
            until(lambda pid=pid: not runs(pid), 15, f"the end of {pid}")


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


def left_behind() -> list[str]:
    """What lies in the runtime folder and in Jupyter's, but for empty folders."""
    places = [Path(os.environ["XDG_RUNTIME_DIR"], "twistcluster"), Path(os.environ["JUPYTER_RUNTIME_DIR"])]
    return [str(path) for place in places for path in place.rglob("*")]


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
