"""The Makefile's words where something is missing, and that its targets are those that it lists."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.tools import require

ROOT = Path(__file__).resolve().parents[2]


def make(folder, *arguments, **variables):
    return subprocess.run(
        [require("make"), *arguments],
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def copy(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_it_lists_its_targets(copy):
    listed = make(copy).stdout
    for target in ("demo", "test", "lab", "bench", "clean"):
        assert f"make {target} " in listed


def test_without_a_python_that_fits_it_says_what_to_do(copy):
    programs = copy / "programs"
    programs.mkdir()
    for name in ("mkdir", "sed"):
        (programs / name).symlink_to(require(name))
    old = programs / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    ran = make(copy, "demo", PATH=str(programs))
    assert ran.returncode != 0
    assert "No Python 3.11, 3.12 or 3.13" in ran.stdout
    assert "make demo PYTHON=" in ran.stdout
    assert len(ran.stdout.splitlines()) <= 5


@pytest.mark.parametrize(("user", "expected"), [("0", True), ("1000", False)])
def test_jupyterlab_is_told_that_root_may_start_it(copy, user, expected):
    programs = copy / "programs"
    programs.mkdir()
    id_of = programs / "id"
    id_of.write_text(f"#!/bin/sh\necho {user}\n")
    id_of.chmod(0o755)
    planned = make(copy, "--dry-run", "lab", PATH=f"{programs}:{os.environ['PATH']}").stdout
    assert ("jupyterlab --allow-root notebooks/" in planned) == expected


def test_ci_runs_the_same_tests():
    text = (ROOT / ".ci" / "run").read_text()
    assert text.rstrip().endswith("exec make test")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
