"""Clients and workers of a cluster on another machine: over TLS on loopback, joining, coming back, being shut out."""

import os

import pytest

import twistcluster as tc
from tests.elsewhere import Elsewhere
from tests.live.conftest import left_behind
from twistcluster.net import token as token_module
from twistcluster.net.token import VARIABLE

DEADLINE_S = 60.0


@pytest.fixture(autouse=True)
def no_token(monkeypatch):
    """A process remembers the token that it took."""
    monkeypatch.setattr(token_module, "_taken", None)
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def lab(tmp_path):
    made = Elsewhere(tmp_path / "lab")
    yield made
    made.end()


def connect(lab, monkeypatch):
    monkeypatch.setenv(VARIABLE, lab.token().text)
    return tc.connect(lab.address.url)


def joined(lab, clusters, *more):
    token = lab.token("worker").text
    return clusters.worker(str(lab.address), 1, "--name", "far", *more, env={**os.environ, VARIABLE: token})


def test_a_client_joins_and_works_with_a_worker_that_joined(lab, clusters, monkeypatch):
    worker = joined(lab, clusters)
    cluster = connect(lab, monkeypatch)
    assert VARIABLE not in os.environ
    assert cluster.name == "lab" and cluster.id == lab.address.url
    assert cluster.map(abs, range(-50, 0)).results() == [*range(50, 0, -1)]
    assert cluster.submit(os.environ.get, VARIABLE).result(DEADLINE_S) is None
    assert tc.connect(lab.address.url).submit(abs, -1).result(DEADLINE_S) == 1  # the same link
    cluster.close()
    again = tc.connect(lab.address.url)  # without a token
    assert [each.name for each in again.workers()] == ["far"]
    assert len(lab.asked("Join")) == 2
    again.stop(force=True)
    assert worker.wait(15) == 0
    assert not left_behind()
