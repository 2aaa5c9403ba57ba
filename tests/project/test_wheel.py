"""The wheel: what it holds, and the quickstart run from it where there is nothing else of ours."""

import configparser
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.tools import missing

ROOT = Path(__file__).resolve().parents[2]
INSTALL_SECONDS = 600


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("twistcluster-*.whl")
    return path


def test_it_holds_every_file_of_the_package_and_no_other(wheel):
    with zipfile.ZipFile(wheel) as opened:
        packed = {name for name in opened.namelist() if ".dist-info/" not in name}
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "twistcluster").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == package
    assert "twistcluster/py.typed" in packed


def test_it_names_its_commands_its_views_its_licence_and_its_pythons(wheel):
    with zipfile.ZipFile(wheel) as opened:
        texts = {name.partition(".dist-info/")[2]: name for name in opened.namelist() if ".dist-info/" in name}
        entries = configparser.ConfigParser()
        entries.read_string(opened.read(texts["entry_points.txt"]).decode())
        metadata = opened.read(texts["METADATA"]).decode()
    assert set(entries["console_scripts"]) == {"twistcluster", "twistcluster-worker"}
    assert entries["twistcluster.views"]["jupyter"] == "twistcluster.jupyter.backend:JupyterBackend"
    assert "licenses/LICENSE" in texts
    assert "Requires-Python: <3.14,>=3.11" in metadata


def test_each_dependency_has_a_lower_bound(wheel):
    with zipfile.ZipFile(wheel) as opened:
        (name,) = [name for name in opened.namelist() if name.endswith("METADATA")]
        lines = opened.read(name).decode().splitlines()
    needed = [line for line in lines if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert needed
    assert all(">=" in line for line in needed)


@pytest.mark.slow
@pytest.mark.timeout(INSTALL_SECONDS + 300)
def test_the_quickstart_runs_from_it_in_a_clean_environment(wheel, tmp_path):
    python = clean_environment(tmp_path, f"{wheel}[quickstart,fast]")
    notebook = shutil.copy(ROOT / "notebooks" / "01-quickstart.ipynb", tmp_path)
    ran = subprocess.run(
        [python, "-m", "nbconvert", "--to", "html", "--execute", "--ExecutePreprocessor.timeout=300", notebook],
        cwd=tmp_path,
        env=clean_variables(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert (tmp_path / "01-quickstart.html").read_text().count("data:image/png") >= 2


def clean_environment(folder: Path, requirement: str) -> str:
    subprocess.run([sys.executable, "-m", "venv", folder / "clean"], check=True, timeout=120)
    python = str(folder / "clean" / "bin" / "python")
    installed = subprocess.run(
        # Without compiling: most of these thousands of files are never imported here.
        [python, "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check", requirement],
        cwd=folder,
        env=clean_variables(),
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    if installed.returncode:
        missing(f"needs a package index: {installed.stderr[-500:]}")
    where = [python, "-c", "import twistcluster; print(twistcluster.__file__)"]
    found = subprocess.run(
        where, cwd=folder, env=clean_variables(), capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.startswith(str(folder))
    return python


def clean_variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
