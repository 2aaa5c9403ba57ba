"""Hypothesis for all suites: one printed seed, so that a run can be had again."""

import os

import pytest
from hypothesis import HealthCheck, settings

SEED = int(os.environ.get("TWISTCLUSTER_TEST_SEED", "20260704"))

# No deadlines: what an example takes depends on who else uses the machine.
settings.register_profile("default", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("hypothesis_seed", None) is None:
        config.option.hypothesis_seed = SEED


def pytest_report_header(config: pytest.Config) -> str:
    seed = config.getoption("hypothesis_seed")
    return f"hypothesis seed: {seed} (another: --hypothesis-seed=N, or TWISTCLUSTER_TEST_SEED=N in the environment)"
