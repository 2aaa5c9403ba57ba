"""For all suites: hypothesis with one printed seed, so that a run can be had again; and what of the tests travels."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from twistcluster.client import context

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


@pytest.fixture(scope="module", autouse=True)
def modules_of_its_own(request: pytest.FixtureRequest) -> Iterator[None]:
    """Clusters get this module and what it imports, as from a program; not 200 others that pytest has loaded, too."""
    own, is_beside = request.module.__name__, context.is_beside

    def travels(name: str, path: str, folders: list[str]) -> bool:
        other = name.startswith("tests.") and name.rpartition(".")[2].startswith("test_") and name != own
        return not other and is_beside(name, path, folders)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(context, "is_beside", travels)
        yield
