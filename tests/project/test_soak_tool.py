"""`make soak` ends with its first failure, and adds up what was killed."""

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

PATH = Path(__file__).resolve().parents[2] / "tools" / "soak.py"
spec = importlib.util.spec_from_file_location("soak", PATH)
soak = importlib.util.module_from_spec(spec)
spec.loader.exec_module(soak)


def python(code):
    return subprocess.Popen([sys.executable, "-c", code])


def test_the_first_failure_ends_the_other():
    failing, other = python("raise SystemExit(1)"), python("import time; time.sleep(100)")
    began = time.monotonic()
    assert soak.wait([failing, other], began + 60)
    assert time.monotonic() - began < 30 and other.poll() is not None


def test_what_goes_well_goes_on_to_its_end():
    assert not soak.wait([python(""), python("import time; time.sleep(0.3)")], time.monotonic() + 60)


def test_what_hangs_is_ended():
    hanging = python("import time; time.sleep(100)")
    assert soak.wait([hanging], time.monotonic())
    assert hanging.poll() is not None


def test_kills_are_added_up(tmp_path, capsys):
    rounds = [{"kills": {"slot": 3, "worker": 1}, "stops": {"slot": 1}}, {"kills": {"slot": 2}, "stops": {}}]
    tally = tmp_path / "tally"
    tally.write_text("".join(json.dumps(each) + "\n" for each in rounds))
    soak.told(tally)
    out = capsys.readouterr().out
    assert out == "6 kills and 1 stops of live processes in 2 rounds: 5 of a slot, 1 of a worker\n"


def test_what_happened_to_networks_is_added_up(tmp_path, capsys):
    rounds = [{"jobs": 50, "troubles": {"loss": 4, "cut worker": 5}}, {"jobs": 52, "troubles": {"cut worker": 5}}]
    tally = tmp_path / "tally"
    tally.write_text("".join(json.dumps(each) + "\n" for each in rounds))
    soak.told(tally)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "102 jobs on hosts in network namespaces in 2 rounds: 10 x cut worker, 4 x loss"


def test_without_root_networks_are_left_out_and_that_is_said(monkeypatch, capsys):
    monkeypatch.setattr(soak.os, "geteuid", lambda: 1000)
    assert not soak.networks()
    assert capsys.readouterr().out.startswith("Left out: hosts in network namespaces, which take root")
