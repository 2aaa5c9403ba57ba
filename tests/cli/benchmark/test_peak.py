"""Counting memory: what is shared counts once, what a child takes counts, what is over still counts."""

import contextlib
import mmap
import os
import pathlib
import subprocess
import sys
import tempfile

import pytest

from twistcluster.cli.benchmark import peak
from twistcluster.cli.benchmark.peak import Watch, memory, processes

MB = 1_000_000
SIZE = 32 << 20
TAKES = f"""
import sys
taken = bytearray({SIZE})
for start in range(0, {SIZE}, 4096):
    taken[start] = 1
print("taken", flush=True)
sys.stdin.read()
"""
pytestmark = pytest.mark.skipif(not pathlib.Path("/dev/shm").exists(), reason="memory is counted on Linux")


@contextlib.contextmanager
def child(code):
    """A process that has said a line and waits for the end of its input."""
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        process.stdout.readline()
        yield process
        process.stdin.close()
        process.wait(60)


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(dir="/dev/shm") as path:
        yield pathlib.Path(path)


def test_what_a_child_took_counts_when_it_has_ended():
    with Watch([os.getpid()], "") as watch, child(TAKES):
        most = watch.look()
    assert SIZE / MB < watch.grown_mb < 3 * SIZE / MB
    assert watch.peak_mb >= most, "it has ended, and counts"
    assert watch.peak_mb == watch.began_mb + watch.grown_mb


def test_a_file_counts_once_whether_mapped_or_not(folder):
    before = memory([os.getpid()], str(folder))
    with (folder / "file").open("w+b") as file:
        file.write(bytes(SIZE))
        file.flush()
        assert memory([os.getpid()], str(folder)) - before == pytest.approx(SIZE, rel=0.2)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            assert mapped[::4096].count(0) == SIZE // 4096
            assert memory([os.getpid()], str(folder)) - before == pytest.approx(SIZE, rel=0.2)
            (folder / "file").unlink()
            assert memory([os.getpid()], str(folder)) - before == pytest.approx(SIZE, rel=0.2)
    assert memory([os.getpid()], str(folder)) - before == pytest.approx(0, abs=0.2 * SIZE)


def test_a_sparse_file_counts_what_it_takes(folder):
    with (folder / "file").open("wb") as file:
        file.truncate(SIZE)
    assert memory([], str(folder)) < SIZE / 100


def test_what_does_not_exist_takes_nothing(folder):
    with child("print()") as process:
        gone = process.pid
    assert memory([gone], str(folder / "gone")) == 0


def test_processes_are_those_started_by_the_ones_named():
    code = "import subprocess, sys; c = subprocess.Popen(['cat'], stdin=subprocess.PIPE); print(c.pid, flush=True); sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        grandchild = int(process.stdout.readline())
        assert processes([process.pid]) == {process.pid, grandchild}
        assert processes([os.getpid()]) >= {process.pid, grandchild}
        assert os.getpid() not in processes([os.getpid()])
        process.stdin.close()


def test_a_counting_process_that_ends_early_is_told(monkeypatch):
    monkeypatch.setattr(peak.sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="ended"), Watch([os.getpid()], ""):
        pass
