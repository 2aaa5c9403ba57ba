"""The systemd unit, and the page beside it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from twistcluster.cli.worker import command
from twistcluster.nodes import life

DEPLOY = Path(__file__).resolve().parents[2] / "docs" / "deploy"
UNIT = DEPLOY / "twistcluster-worker.service"
PAGE = (DEPLOY / "worker-service.md").read_text()


def verified(path: Path) -> subprocess.CompletedProcess:
    program = shutil.which("systemd-analyze")
    if program is None:
        # Also in CI: its image needs no systemd for anything else.
        pytest.skip("needs the program 'systemd-analyze', which isn't installed here")
    return subprocess.run([program, "verify", str(path)], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def unit(tmp_path):
    """The unit, with a program that is there."""
    text = re.sub(r"^(ExecStart=)\S+", rf"\g<1>{shutil.which('true')}", UNIT.read_text(), flags=re.MULTILINE)
    path = tmp_path / UNIT.name
    path.write_text(text)
    return path


def test_systemd_takes_the_unit(unit):
    done = verified(unit)
    assert done.returncode == 0 and unit.name not in done.stderr, done.stderr


def test_what_systemd_wouldnt_take_is_seen(unit):
    unit.write_text(unit.read_text().replace("KillMode=mixed", "KilMode=mixed"))
    assert "KilMode" in verified(unit).stderr


def test_what_the_unit_runs_is_a_worker():
    (line,) = re.findall(r"^ExecStart=(.*)$", UNIT.read_text(), re.MULTILINE)
    program, *arguments = line.split()
    assert Path(program).name == "twistcluster-worker"
    command.make_context("twistcluster-worker", [*arguments, "--join", "box:8930"])


def test_the_page_names_every_variable_and_no_other():
    variables = {each.envvar: max(each.opts, key=len) for each in command.params if each.envvar}
    listed = dict(re.findall(r"^\| `(TWISTCLUSTER_\w+)` \| `(--[\w-]+)` \|", PAGE, re.MULTILINE))
    assert listed.pop("TWISTCLUSTER_TOKEN") == "--token-stdin"
    assert listed == variables
    # Every option but the one that reads the token has one.
    assert {each.name for each in command.params if not each.envvar} == {"token_stdin"}


def test_the_page_names_every_exit_code():
    listed = {int(code) for code in re.findall(r"^\| (\d) \|", PAGE, re.MULTILINE)}
    assert listed == {2, *(getattr(life, name) for name in life.__all__ if name.startswith("EXIT_"))}
