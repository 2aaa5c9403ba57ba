"""What becomes of a standalone worker when its cluster doesn't want it, stops it, or is gone: its exit code, and its last line."""

import pytest

from tests.nodes.nodes import Script
from twistcluster.errors import AccessDenied
from twistcluster.nodes import standalone
from twistcluster.nodes.life import EXIT_FAILED, EXIT_GONE, EXIT_OK
from twistcluster.nodes.schedulers import scheduler_at
from twistcluster.wire.messages import Refused, Stop, Welcome

DENIED = Refused("access", "this program's certificate was denied")
WELCOME = Welcome("epoch", "cluster", "lab", "3", "0")


@pytest.fixture
def worker(steps, monkeypatch):
    """One without slots, on a reactor that is stepped by hand; `ended` has how often it was told to end, and `log` its lines."""
    ended, log = [], []
    monkeypatch.setattr(standalone, "stop_reactor", ended.append)
    monkeypatch.setattr(standalone, "log_event", lambda level, event, fields: log.append(f"{level} {event}"))
    scheduler = scheduler_at(steps.reactor, "lab")
    made = standalone._Standalone(steps.reactor, "lab", scheduler, 0, "w", {}, lambda: None, 60.0, 0)
    made.ended, made.log, made.steps = ended, log, steps
    made.link = Script(None)
    made._joined(made.link)
    yield made
    made._end()


def hear(worker, message):
    worker.steps.turn.run(worker._node.on_message, worker.link, message, [])
    worker.steps.until(lambda: worker.ended)


def test_it_was_denied_while_it_was_connected(worker):
    worker._node.on_message(worker.link, WELCOME, [])
    hear(worker, DENIED)
    assert worker._code == EXIT_GONE
    assert worker.log[-1] == f"error the cluster 'lab' doesn't take this worker any more: {DENIED.message}"


def test_it_was_denied_while_it_left(worker):
    worker._node.on_message(worker.link, WELCOME, [])
    worker._leaves = True
    hear(worker, DENIED)
    assert worker._code == EXIT_GONE


def test_it_was_denied_when_it_came(worker):
    hear(worker, DENIED)
    assert worker._code == EXIT_FAILED
    assert worker.log[-1] == f"error the worker could not join 'lab': {DENIED.message}"


def test_it_was_denied_when_it_came_back(worker):
    """Then the handshake fails, and the link knows why."""
    worker._node.on_message(worker.link, WELCOME, [])
    worker.link.fault = AccessDenied("it was denied")
    worker._node.on_lost(worker.link, "it was denied")
    worker.steps.until(lambda: worker.ended)
    assert worker._code == EXIT_GONE and "doesn't take this worker any more: it was denied" in worker.log[-1]


def test_its_cluster_was_stopped(worker):
    worker._node.on_message(worker.link, WELCOME, [])
    hear(worker, Stop())
    assert worker._code == EXIT_OK
