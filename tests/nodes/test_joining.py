"""A standalone worker: joining, coming back, ending."""

import itertools
import pathlib
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from twisted.internet.task import Clock

from tests.tools import until
from twistcluster.errors import AccessDenied, ClusterUnreachable
from twistcluster.nodes.joining import Joining, pause_s

SCHEDULER = "import sys; from twistcluster.nodes.standalone_scheduler import run_scheduler; sys.exit(run_scheduler('lab', None, print))"
WORKER = (
    "import sys; from twistcluster.nodes.standalone import run_worker;"
    "sys.exit(run_worker('lab', 1, 'w', {'gpu': 1}, patience_s=%g))"
)


class Process:
    def __init__(self, code: str, log: pathlib.Path) -> None:
        self.log = log
        with log.open("ab") as out:
            self.popen = subprocess.Popen([sys.executable, "-c", code], stdout=out, stderr=out, start_new_session=True)

    def says(self, text: str, times: int = 1) -> None:
        until(lambda: len(re.findall(text, self.log.read_text())) >= times, 20, f"{text!r} in {self.log.name}")

    def end(self, number: int = signal.SIGTERM) -> int:
        self.popen.send_signal(number)
        return self.popen.wait(60)


@pytest.fixture
def start(tmp_path: pathlib.Path) -> Iterator[object]:
    started: list[Process] = []

    def start(code: str, name: str) -> Process:
        started.append(Process(code, tmp_path / name))
        return started[-1]

    yield start
    for process in started:
        if process.popen.poll() is None:
            process.popen.kill()
            process.popen.wait(60)


def slots_of(pid: int) -> list[int]:
    """Slots that have this worker as parent."""
    found = []
    for folder in pathlib.Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                status = (folder / "status").read_text()
            except OSError:
                continue
            if re.search(rf"^PPid:\t{pid}$", status, re.MULTILINE):
                found.append(int(folder.name))
    return found


def test_pauses_grow_and_scatter() -> None:
    assert [pause_s(tries, 1.0) for tries in range(4)] == [0.2, 0.4, 0.8, 1.6]
    assert pause_s(2000, 1.0) == 10.0
    assert pause_s(1, 0.0) == 0.2


def test_nobody_to_join(start) -> None:
    worker = start(WORKER % 0.5, "worker")
    assert worker.popen.wait(20) == 1
    assert "no cluster named 'lab' runs here" in worker.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_its_slots(start, number: int) -> None:
    start(SCHEDULER, "scheduler").says("scheduler is ready")
    worker = start(WORKER % 20, "worker")
    worker.says("worker joined")
    slots = until(lambda: slots_of(worker.popen.pid))
    assert worker.end(number) == 0
    assert not any(pathlib.Path(f"/proc/{pid}").exists() for pid in slots)


def test_it_ends_with_its_cluster(start) -> None:
    scheduler = start(SCHEDULER, "scheduler")
    scheduler.says("scheduler is ready")
    worker = start(WORKER % 20, "worker")
    worker.says("worker joined")
    assert scheduler.end() == 0
    assert worker.popen.wait(60) == 0


def test_it_comes_back_after_its_scheduler_was_killed(start) -> None:
    scheduler = start(SCHEDULER, "scheduler")
    scheduler.says("scheduler is ready")
    worker = start(WORKER % 20, "worker")
    worker.says("worker joined")
    scheduler.end(signal.SIGKILL)
    worker.says("trying again")
    again = start(SCHEDULER, "again")
    again.says("worker joined")
    assert again.end() == 0
    assert worker.popen.wait(60) == 0


def test_its_slots_die_with_it(start) -> None:
    start(SCHEDULER, "scheduler").says("scheduler is ready")
    worker = start(WORKER % 20, "worker")
    worker.says("worker joined")
    slots = until(lambda: slots_of(worker.popen.pid))
    worker.end(signal.SIGKILL)
    until(lambda: not any("nodes.slot" in command(pid) for pid in slots))


def command(pid: int) -> str:
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


class Search:
    """A worker that looks for a scheduler, on a fake clock."""

    def __init__(self, patience_s: float) -> None:
        self.clock = Clock()
        self.tries: list[float] = []
        self.gave_up: list[str] = []
        self.error: Exception = ClusterUnreachable("nobody is here")
        self.joining = Joining(self.clock, self.link_to, lambda _link: None, self.gave_up.append, patience_s)

    async def link_to(self):
        self.tries.append(self.clock.seconds())
        raise self.error

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds * 100)):
            self.clock.advance(0.01)


def test_it_looks_less_and_less_often_and_then_no_more() -> None:
    search = Search(60.0)
    search.joining.now()
    search.wait(100)
    gaps = [b - a for a, b in itertools.pairwise(search.tries)]
    assert 0.1 <= gaps[0] <= 0.41 and max(gaps) <= 10.02 and 8 < len(gaps) < 30
    assert search.tries[-1] == pytest.approx(60.0, abs=0.1)
    assert search.gave_up == ["nobody is here"] and not search.clock.getDelayedCalls()


def test_who_has_no_patience_tries_once() -> None:
    search = Search(0.0)
    search.joining.now()
    assert len(search.tries) == 1 and search.gave_up == ["nobody is here"]


def test_a_welcome_ends_a_search_and_a_lost_link_begins_another() -> None:
    search = Search(5.0)
    search.joining.now()
    search.wait(4)
    search.joining.welcome()
    began = search.clock.seconds()
    search.wait(20)
    assert search.gave_up and search.tries[-1] - began > 4.9
    assert any(b - a < 0.5 for a, b in itertools.pairwise(search.tries) if a > began)


def test_somebody_elses_cluster_is_not_tried_again() -> None:
    search = Search(60.0)
    search.error = AccessDenied("it is anna's")
    search.joining.now()
    assert search.gave_up == ["it is anna's"] and not search.clock.getDelayedCalls()


def test_stopped_it_looks_no_more() -> None:
    search = Search(60.0)
    search.joining.now()
    search.joining.stop()
    search.wait(60)
    assert len(search.tries) == 1 and not search.gave_up
