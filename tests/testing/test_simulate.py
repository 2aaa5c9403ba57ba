import json
import subprocess
import sys

import pytest

from twistcluster.testing.simulate import Comparison, Figures, compare, main, simulate

PENDING = """
from twistcluster.testing.simulate import LeaseSimulation, resident_bytes
simulation = LeaseSimulation(items=1_000_000, slots=0, slots_per_worker=1, seconds=0.1)
simulation.join()
before = resident_bytes()
simulation.open()
print(resident_bytes() - before)
"""


def test_figures_of_a_run():
    figures = simulate(items=20_000, slots=160, slots_per_worker=4, seconds=0.1)
    assert isinstance(figures, Figures)
    assert figures.workers == 40
    assert figures.leases >= 20_000 / 64
    assert figures.ideal_s <= figures.virtual_s < 1.5 * figures.ideal_s
    assert figures.lease_us > 0
    assert 0 < figures.heartbeat_us < 1000


@pytest.mark.slow
def test_an_item_costs_no_more_on_many_workers():
    comparison = compare(items=400_000, slots=16_000, slots_per_worker=4, seconds=0.1)
    assert isinstance(comparison, Comparison)
    # The target is 1.1; the bound is generous because other programs share the caches.
    assert comparison.ratio < 1.6


def test_the_command_prints_json(capsys):
    main(["--items", "4000", "--slots", "40", "--json"])
    assert json.loads(capsys.readouterr().out)["items"] == 4000


def test_the_command_prints_for_people(capsys):
    main(["--items", "4000", "--slots", "40", "--compare"])
    out = capsys.readouterr().out
    assert "4,000 items on 40 slots of 10 workers" in out
    assert "large to small" in out


def test_a_pending_job_of_a_million_small_items_is_small_in_memory():
    # Its pages are as full as they get: 64 KiB each, of 4,096 items.
    run = subprocess.run([sys.executable, "-c", PENDING], capture_output=True, text=True, timeout=60, check=True)
    assert int(run.stdout) < 100e6
