"""A process that is killed at any moment: what it was told to be done is in its journal, in order, and nothing by halves."""

import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.storage.journals import Model, Owner, held
from tests.storage.killed import AHEAD, history

PROGRAM = str(Path(__file__).with_name("killed.py"))


def killed_after(path: Path, seed: int, batches: int) -> int:
    """Run the program until it has said that so many batches are done, kill it; returns how many it said were done."""
    process = subprocess.Popen([sys.executable, PROGRAM, str(path), str(seed)], stdout=subprocess.PIPE)
    with process:
        said = 0
        for line in process.stdout:
            said = int(line)
            if said >= batches:
                break
        process.kill()
        rest = process.stdout.read().split(b"\n")[:-1]
    assert process.returncode == -9
    return int(rest[-1]) if rest else said


@settings(max_examples=12)
@given(seed=st.integers(0, 1 << 30), batches=st.integers(0, 300))
def test_killed_at_any_moment(tmp_path_factory, seed, batches):
    path = tmp_path_factory.mktemp("kill") / "lab" / "journal.db"
    done = killed_after(path, seed, batches)
    found = held(Owner(), path)
    model = Model(change for batch in islice(history(seed), done) for change in batch)
    for batch in islice(history(seed), done, done + AHEAD + 1):
        if model.held() == found:
            return
        for change in batch:
            model.apply(change)
    pytest.fail(f"the journal holds neither {done} batches nor a few more (seed {seed})")


def test_a_journal_outlives_many_kills(tmp_path):
    """Each opens at once what the one before it left, its write-ahead log included."""
    path, done = tmp_path / "lab" / "journal.db", []
    for _ in range(5):
        # The same history each time: what it says again changes nothing that lasts.
        done.append(killed_after(path, 1, 60))
        found = held(Owner(), path)
        assert found["clients"]["kernel"] >= 5
    assert min(done) >= 60
