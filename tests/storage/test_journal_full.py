"""A disk that fills in the middle and has room again: nothing is lost, the order is kept."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools import missing, require

MOUNT = 'mount -t tmpfs -o size=100m small "$1" && shift && exec "$@"'
FULL = str(Path(__file__).with_name("full.py"))


@pytest.fixture
def mounted(tmp_path):
    """How to run a program with a disk of 100 MiB of its own."""
    how = ["--mount"] if os.geteuid() == 0 else ["--mount", "--user", "--map-root-user"]
    start = [require("unshare"), *how, "sh", "-c", MOUNT, "sh", str(tmp_path)]
    tried = subprocess.run([*start, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        missing(f"needs to mount a tmpfs of its own: {tried.stderr.strip()}")
    return start


def run(command, case, folder):
    ended = subprocess.run(
        [*command, sys.executable, FULL, case, str(folder)], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 0, ended.stderr


def test_a_limit_of_file_sizes(tmp_path):
    run([], "limit", tmp_path)


def test_a_disk_that_fills(mounted, tmp_path):
    run(mounted, "disk", tmp_path)
