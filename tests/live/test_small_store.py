"""Jobs with large values where shared memory is 64 MiB, as in a container: they pass, by files on the disk."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools import missing, require

MOUNT = 'mount -t tmpfs -o size=64m small "$1" && mount -t tmpfs -o size="$3" small "$2" && shift 3 && exec "$@"'
DISKS = {"out": "700m", "back": "700m", "put": "200m", "chain": "900m", "full": "100m", "loop": "180m"}
"""A case's disk; memory of its own, so that nothing is written to a real one."""


@pytest.mark.parametrize("case", DISKS)
def test_small_store(case, tmp_path):
    folders = [tmp_path / "memory", tmp_path / "disk"]
    for folder in folders:
        folder.mkdir()
    # Without root: as root of a user namespace of its own, where the system allows that.
    how = ["--mount"] if os.geteuid() == 0 else ["--mount", "--user", "--map-root-user"]
    start = [require("unshare"), *how, "sh", "-c", MOUNT, "sh", *map(str, folders), DISKS[case]]
    tried = subprocess.run([*start, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        missing(f"needs to mount a tmpfs of its own: {tried.stderr.strip()}")
    environment = {**os.environ, "TWISTCLUSTER_SHM": str(folders[0]), "TMPDIR": str(folders[1])}
    program = [sys.executable, str(Path(__file__).with_name("small_store.py")), case]
    ended = subprocess.run(
        [*start, *program], env=environment, capture_output=True, text=True, check=False, timeout=100
    )
    assert ended.returncode == 0, ended.stderr
