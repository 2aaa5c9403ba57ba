"""Several processes, each with two writing threads and a reading one, share a store that is being spilled all the while."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from twistcluster.storage.layout import FREE
from twistcluster.storage.upkeep import Upkeep

SEED = int(os.environ.get("TWISTCLUSTER_TEST_SEED", "20260704"))
TURNS = 300
MIB = 1024 * 1024


@pytest.fixture
def start(store, tmp_path):
    """Start such a process; those that still run at the end are killed."""
    started = []
    (tmp_path / "board").mkdir()

    def start(seed: int) -> subprocess.Popen:
        command = [
            sys.executable,
            Path(__file__).with_name("busy.py"),
            store,
            tmp_path / "board",
            str(seed),
            str(TURNS),
        ]
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.mark.parametrize("seed", [SEED, SEED + 1000])
def test_no_reader_ever_sees_other_bytes(store, start, seed):
    print(f"seed {seed}")
    processes = [start(seed + 10 * number) for number in range(3)]
    upkeep = Upkeep(store, limit_bytes=20 * MIB)
    deadline, looks = time.monotonic() + 60, 0
    while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
        upkeep.look(time.monotonic())
        looks += 1
    for process in processes:
        assert process.poll() == 0, process.stderr.read()
    assert looks > 10
    now = time.monotonic()
    upkeep.look(now)  # it sees what was freed last
    upkeep.look(now + 61)
    assert not [name for name in os.listdir(store) if name.startswith(FREE)]


def test_a_killed_process_disturbs_no_other(store, start, tmp_path):
    print(f"seed {SEED}")
    killed, others = start(SEED), [start(SEED + 10)]
    upkeep = Upkeep(store, limit_bytes=20 * MIB)
    deadline = time.monotonic() + 60
    while len(os.listdir(tmp_path / "board")) < 5:
        assert time.monotonic() < deadline
    killed.kill()
    killed.wait()
    while any(process.poll() is None for process in others) and time.monotonic() < deadline:
        upkeep.look(time.monotonic())
    for process in others:
        assert process.poll() == 0, process.stderr.read()
    # What the dead one was writing or kept free goes; its objects stay until they are removed by their ids.
    upkeep.look(time.monotonic())
    upkeep.look(time.monotonic() + 61)
    left = {name for name in os.listdir(store) if name not in {"lock", "disk", "makers"}}
    assert not [name for name in left if "-" in name]
    on_board = {path.name for path in (tmp_path / "board").iterdir()}
    in_store = left | set(os.listdir(f"{store}/disk")) - {"lock"}
    assert on_board <= in_store
    upkeep.remove(bytes.fromhex(name) for name in in_store)
    assert upkeep.usage() == (0, 0)
