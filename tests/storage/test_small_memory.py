"""Shared memory of 16 MiB and a disk of 40, mounted for one process: nobody else sees them, they end with it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools import missing, require

MOUNT = 'mount -t tmpfs -o size=16m small "$1" && mount -t tmpfs -o size=40m small "$2" && shift 2 && exec "$@"'


@pytest.fixture
def run(tmp_path):
    """Run a program with such mounts."""
    folders = [tmp_path / "memory", tmp_path / "disk"]
    for folder in folders:
        folder.mkdir()
    # Without root: as root of a user namespace of its own, where the system allows that.
    how = ["--mount"] if os.geteuid() == 0 else ["--mount", "--user", "--map-root-user"]
    start = [require("unshare"), *how, "sh", "-c", MOUNT, "sh", *map(str, folders)]
    tried = subprocess.run([*start, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        missing(f"needs to mount a tmpfs of its own: {tried.stderr.strip()}")

    def run(*command: str) -> subprocess.CompletedProcess:
        environment = {**os.environ, "TWISTCLUSTER_SHM": str(folders[0]), "TMPDIR": str(folders[1])}
        return subprocess.run(
            [*start, *command], env=environment, capture_output=True, text=True, check=False, timeout=60
        )

    return run


CASES = ["full_memory", "other_sizes", "too_large", "both_full", "no_room_but_used", "spill", "free_at_once"]


@pytest.mark.parametrize("case", CASES)
def test_small_memory(run, case):
    ended = run(sys.executable, str(Path(__file__).with_name("small.py")), case)
    assert ended.returncode == 0, ended.stderr
