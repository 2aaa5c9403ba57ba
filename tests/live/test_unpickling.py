"""Who unpickles: slots and clients, which may run each other's code. Never the scheduler, which may have no slots at all."""

import os
import pathlib

import pytest

import twistcluster as tc
from tests.tools import until

pytestmark = pytest.mark.usefixtures("stores_gone")


class Traced:
    """A value that notes which processes unpickle it."""

    def __init__(self, path, size):
        self.path = path
        self.data = bytes(size)

    def __reduce__(self):
        return traced, (self.path, self.data)


def traced(path, data):
    with pathlib.Path(path).open("a") as notes:
        notes.write(f"{os.getpid()}\n")
    return Traced(path, len(data))


def worked(value):
    return os.getpid(), value


@pytest.mark.parametrize("size", [10, 200_000])
def test_the_scheduler_unpickles_nothing(clusters, tmp_path, size):
    child, _ = clusters.scheduler()
    worker = clusters.worker()
    notes = tmp_path / "pids"
    cluster = tc.connect("lab")
    job = cluster.options(name="traced").map(worked, [Traced(str(notes), size)])
    ((slot, _),) = job.results()
    until(lambda: job.kept, what="the journal")
    pids = {int(line) for line in notes.read_text().split()}
    cluster.close(wait=False)
    assert pids == {slot, os.getpid()}
    assert not pids & {child.pid, worker.pid}
