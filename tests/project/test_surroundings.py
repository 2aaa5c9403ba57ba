"""What the tests themselves promise: folders of their own, nothing left behind, skips that say why and fail in CI."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests import tools
from tests.tools import require_module, until

ROOT = Path(__file__).resolve().parents[2]

# It looks into folders of its own: other tests may come and go beside this one.
QUICK = """
import pathlib
import tests.surroundings
tests.surroundings.GRACE_SECONDS = 0.2
tests.surroundings.TEMPORARY = {pathlib.Path(__file__).parent / "temporary"}
tests.surroundings.SHARED_MEMORY = pathlib.Path(__file__).parent / "memory"
"""


def run_pytest(folder: Path, test: str, *more: str) -> subprocess.CompletedProcess[str]:
    """A test file of its own, in a pytest of its own."""
    (folder / "temporary").mkdir()
    (folder / "memory").mkdir()
    (folder / "conftest.py").write_text(QUICK)
    (folder / "test_it.py").write_text(test)
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--rootdir",
            str(folder),
            "-p",
            "no:cacheprovider",
            "-p",
            "tests.surroundings",
            *more,
            "test_it.py",
        ],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(params=["alone", "with workers"])
def more(request):
    if request.param == "alone":
        return ()
    require_module("xdist")
    return "-n", "1"


def test_a_process_that_is_left_is_told_and_ended(tmp_path, more):
    ran = run_pytest(
        tmp_path,
        """
import subprocess, sys

def test_leaves():
    code = "import time; time.sleep(600)"
    left = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], start_new_session=True)
    open("pid", "w").write(str(left.pid))
    left.returncode = 0  # so that Popen doesn't warn
""",
        *more,
    )
    assert ran.returncode == 1, ran.stdout
    assert "tests left behind" in ran.stdout and "time.sleep(600)" in ran.stdout
    pid = int((tmp_path / "pid").read_text())
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, 5, "its end")


@pytest.mark.parametrize("left", ["temporary/twistcluster-1000-lab", "memory/anything"])
def test_a_folder_that_is_left_is_told(tmp_path, more, left):
    ran = run_pytest(tmp_path, f"def test_leaves(): __import__('os').mkdir({left!r})", *more)
    assert ran.returncode == 1, ran.stdout
    assert "tests left behind" in ran.stdout and str(tmp_path / left) in ran.stdout


def test_who_leaves_nothing_passes(tmp_path, more):
    ran = run_pytest(tmp_path, "def test_fine(tmp_path): pass", *more)
    assert ran.returncode == 0, ran.stdout


def test_each_test_has_folders_of_its_own():
    for variable in ("XDG_RUNTIME_DIR", "JUPYTER_RUNTIME_DIR", "XDG_STATE_HOME"):
        path = Path(os.environ[variable])
        assert path.stat().st_mode & 0o777 == 0o700
        assert list(path.iterdir()) == []
        assert len(str(path)) < 40, "a socket's path has 107 bytes"


def test_a_missing_program_skips_with_its_reason(monkeypatch):
    monkeypatch.setattr(tools, "IN_CI", False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program"):
        tools.require("no-such-program")


def test_in_ci_a_missing_program_fails(monkeypatch):
    monkeypatch.setattr(tools, "IN_CI", True)
    with pytest.raises(pytest.fail.Exception, match="no-such-program"):
        tools.require("no-such-program")
