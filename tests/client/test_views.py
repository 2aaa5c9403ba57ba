"""Which backend shows things, and the terminal's."""

import io
import sys
import threading
import types

import pytest

from tests.client.line import FakeLine, plain
from twistcluster.client import views
from twistcluster.client.records import JobRecord
from twistcluster.client.tables import ClusterReport, Clusters, Jobs, Versions, Workers
from twistcluster.client.terminal import TerminalBackend, progress_line
from twistcluster.client.views import Progress
from twistcluster.errors import Detached
from twistcluster.wire.messages import ClusterStatus, ErrorInfo, JobStatus, WorkerStatus

INFO = ErrorInfo("raised", "ValueError", "of\nno value")


def record(count=2):
    line = FakeLine()
    made = JobRecord(line, 1, "id-1", "f-1", count=count)
    line.shelf.add(made)
    return made


def test_outside_of_a_kernel_the_terminal_shows(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert isinstance(views.backend(), TerminalBackend) and views.origin() is None


@pytest.mark.parametrize(
    ("shell", "kernel"), [(None, False), (types.SimpleNamespace(), False), (types.SimpleNamespace(kernel=1), True)]
)
def test_a_kernel_is_seen_without_importing_anything(monkeypatch, shell, kernel):
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    assert (views.shell() is not None) == kernel


def test_the_origin_is_the_cells_message(monkeypatch):
    shell = types.SimpleNamespace(kernel=1, get_parent=lambda: {"header": {"msg_id": "1"}})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    assert views.origin() == {"header": {"msg_id": "1"}}


def test_the_progress_bar_waits_and_tells_of_errors():
    job, out = record(3), io.StringIO()
    backend = TerminalBackend(out)
    timers = [
        threading.Timer(0.05, job.succeeded, (0, plain(0))),
        threading.Timer(0.1, job.failed, (1, INFO, [])),
        threading.Timer(0.15, job.succeeded, (2, plain(2))),
    ]
    for timer in timers:
        timer.start()
    backend.show_job(job, None)
    assert job.is_over
    text = out.getvalue()
    assert "item 1 failed: ValueError: of no value" in text and "3/3" in text and "1 failed" in text
    for timer in timers:
        timer.join()


def test_a_terminal_is_redrawn_in_place():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    job, out = record(1), Terminal()
    job.succeeded(0, plain(0))
    TerminalBackend(out).show_job(job, wait=True)
    assert out.getvalue().startswith("\rf-1  [####") and out.getvalue().endswith("\n")


def test_it_does_not_wait_if_told_so():
    out = io.StringIO()
    TerminalBackend(out).show_job(record(), wait=False)
    TerminalBackend(out).display_job(record())
    assert out.getvalue().count("f-1  ") == 2


def test_an_interrupt_detaches_from_the_bar(monkeypatch):
    job, out = record(), io.StringIO()

    def interrupted(self, timeout):
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Event, "wait", interrupted)
    with pytest.raises(Detached, match=r"cluster.job\('f-1'\)"):
        TerminalBackend(out).show_job(job, None)


def test_the_first_error_is_one_line():
    out = io.StringIO()
    TerminalBackend(out).error_job(record(), 17, INFO)
    assert out.getvalue() == "f-1: item 17 failed: ValueError: of no value (job.errors() has all, with tracebacks)\n"
    TerminalBackend(out).plot_job(record(0), lambda *_: None, wait=False)
    assert "notebook" in out.getvalue()


def test_no_standard_error_at_all(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    TerminalBackend().error_job(record(), 1, INFO)


def test_a_progress_line_says_what_is_known():
    line = progress_line("f-1", Progress("pending", None, 0, 0, 0, 0, 0.0, None, 0.0, "no slot offers gpu"), 40)
    assert line == "f-1  0  no slot offers gpu"
    line = progress_line("f-1", Progress("cancelled", 9, 5, 1, 3, 0, 1234.0, 0.0, 75.0, ""), 200)
    assert line.endswith("9/9  1 failed  3 cancelled  1,234/s  1:15  cancelled")
    assert len(progress_line("f" * 500, Progress("done", 1, 1, 0, 0, 0, 1.0, 0.0, 1.0, ""), 80)) == 79


def test_tables():
    worker = WorkerStatus("local", "here", 1234, 2, 2, 1, {"gpu": 1.0}, True, 0, 12.0)
    status = ClusterStatus("ab", "lab", "e", 99, 75.0, False, ["nb (1)"], [worker], 1, 12345, 0, 0.0)
    text = repr(ClusterReport.of(status))
    assert "lab" in text and "2 on 1 worker, 1 busy" in text and "12,345 items" in text and "gpu=1" in text
    assert "memory" not in text
    full = WorkerStatus("full", "here", 1, 2, 2, 1, {}, True, 0, 12.0, short="short of memory: 93%")
    assert repr(Workers([worker, full])).splitlines()[-1] == "full is short of memory: 93%"
    job = JobStatus("id", "f-1", "nb", True, "running", None, 1, 2, 3, 4, 5.0)
    assert repr(Jobs([job])).splitlines()[1].split()[:3] == ["f-1", "running", "?"]
    assert (repr(Jobs()), repr(Workers())) == ("no jobs", "no workers")
    assert "tc.Cluster()" in repr(Clusters())
    assert repr(Versions({"client": {"a": "1"}, "local": {"a": "2", "b": "3"}})).splitlines()[2].split() == [
        "b",
        "-",
        "3",
    ]


def test_a_gallery_in_a_terminal_is_progress_and_a_line_for_each_error():
    job, out = record(12), io.StringIO()
    for index in range(12):
        job.failed(index, INFO, [])
    job.names = lambda index: f"IMG_{index}\x1b[2J.jpg"
    TerminalBackend(out).gallery(job, None)
    lines = out.getvalue().splitlines()
    assert len(lines) == 13 and "12/12" in lines[-1]
    assert lines[3] == "IMG_3?[2J.jpg failed: ValueError: of no value"


def test_a_gallery_that_does_not_wait_is_one_line():
    job, out = record(), io.StringIO()
    job.names = str
    TerminalBackend(out).gallery(job, wait=False)
    assert len(out.getvalue().splitlines()) == 1
