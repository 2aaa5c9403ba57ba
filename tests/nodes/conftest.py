"""A scheduler that listens, and what it and its links say to the log."""

import pytest

from tests.net.conftest import steps
from tests.nodes.house import House

__all__ = ["steps"]


@pytest.fixture
def make_house(steps, tmp_path):
    made = []

    def make(**options):
        made.append(House(steps, tmp_path / "lab", **options))
        return made[-1]

    yield make
    for house in made:
        house.stop()


@pytest.fixture
def house(make_house):
    return make_house(journal=False)


@pytest.fixture
def log(monkeypatch):
    """What the node and the links say to the log, as text."""
    from twisted.logger import formatEvent, globalLogPublisher

    import twistcluster.nodes.admission as module
    import twistcluster.nodes.scheduler as node

    lines = []
    for each in (module, node):
        monkeypatch.setattr(each, "log_event", lambda level, event, fields: lines.append(f"{level} {event} {fields}"))
    observer = lambda event: lines.append(str(formatEvent(event)))
    globalLogPublisher.addObserver(observer)
    yield lines
    globalLogPublisher.removeObserver(observer)
