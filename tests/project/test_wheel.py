"""The wheel: what it holds, and the quickstart run from it where there is nothing else of ours."""

import configparser
import csv
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.tools import missing

ROOT = Path(__file__).resolve().parents[2]


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
@pytest.mark.timeout(600)
def test_the_quickstart_runs_from_it_in_a_clean_environment(wheel, tmp_path):
    python = clean_environment(tmp_path, wheel, {"quickstart", "fast"})
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


def clean_environment(folder: Path, wheel: Path, extras: set[str]) -> str:
    """The wheel as pip installs it, and what its metadata asks for, but nothing else that is installed here.

    What it asks for is linked: it is here, as this suite needs it, too, and pip would take a minute.
    """
    venv.create(folder / "clean")  # without pip
    python = str(folder / "clean" / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-index", "--no-deps", str(wheel)], check=True, timeout=120)
    where = [
        python,
        "-c",
        "import sysconfig, twistcluster; print(sysconfig.get_path('purelib'), twistcluster.__file__)",
    ]
    found = subprocess.run(
        where, cwd=folder, env=clean_variables(), capture_output=True, text=True, check=True, timeout=60
    )
    packages, ours = found.stdout.split()
    assert ours == f"{packages}/twistcluster/__init__.py" and ours.startswith(str(folder))
    (own,) = metadata.distributions(name="twistcluster", path=[packages])
    link(needed_by(own, extras), Path(packages))
    assert not list(Path(packages).glob("pytest*")), "what only these tests need"
    return python


def needed_by(distribution: metadata.Distribution, extras: set[str]) -> list[metadata.Distribution]:
    """What a distribution with these extras asks for, and what that asks for, and so on, of what is installed here."""
    found: dict[str, metadata.Distribution] = {}
    told: set[tuple[str, str]] = set()
    pending = [(distribution, extra) for extra in {"", *extras}]
    while pending:
        who, extra = pending.pop()
        for requirement in map(Requirement, who.requires or ()):
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
                continue
            name = canonicalize_name(requirement.name)
            try:
                its = found.setdefault(name, metadata.distribution(name))
            except metadata.PackageNotFoundError:
                missing(f"needs {name}, which isn't installed here")
            assert requirement.specifier.contains(its.version, prereleases=True), (who.name, requirement, its.version)
            new = {(name, one) for one in {"", *requirement.extras}} - told
            told |= new
            pending += [(its, one) for _, one in new]
    return [*found.values()]


def link(needed: list[metadata.Distribution], packages: Path) -> None:
    """Their modules, and their files outside of these (Jupyter's kernels and templates); not their commands.

    A folder in which nobody else has files is linked as a whole.
    """
    names = {each.name for each in needed}
    others = [each for each in metadata.distributions() if each.name not in names]
    shared = {folder for each in others for file in files_of(each) for folder in folders_above(file)}
    links = {}
    for each in needed:
        files = files_of(each)
        assert files, f"{each.name} doesn't say which files it has"
        for file in files:
            folders = folders_above(file)
            if not file.startswith("../../../bin/"):
                whole = next((folder for folder in folders if folder not in shared), file)
                links[whole] = each.locate_file(whole)
    for name, target in links.items():
        place = Path(os.path.normpath(packages / name))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(os.path.normpath(target))


def files_of(distribution: metadata.Distribution) -> list[str]:
    return [name for name, *_ in csv.reader((distribution.read_text("RECORD") or "").splitlines())]


def folders_above(file: str) -> list[str]:
    """The highest first; not those that are every distribution's."""
    parts = file.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts)) if parts[count] != ".."]


def clean_variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
