import subprocess
import sys

import pytest

from tests.storage.journals import Owner
from twistcluster.storage.folder import StoreFolder


@pytest.fixture
def store():
    """The path of a store of the test's own."""
    folder = StoreFolder.create("test")
    yield folder.path
    folder.remove()


@pytest.fixture
def child():
    """Start a program that says "ready" and then waits for a line; what of it still runs at the end is killed."""
    started = []

    def start(code: str, *args: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline().strip() == "ready"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def path(tmp_path):
    """Of a journal that isn't there yet."""
    return tmp_path / "lab" / "journal.db"


@pytest.fixture
def owner():
    """Of journals; its thread is the test's."""
    return Owner()
