"""A local cluster that dies again and again is started after longer and longer pauses."""

import time
from types import SimpleNamespace

import pytest

from twistcluster.client import returning
from twistcluster.client.returning import LIVED_SECONDS, LONGEST_DEATH, Deaths, Search
from twistcluster.errors import ClusterUnreachable


def test_pauses_grow_up_to_a_limit_and_begin_anew_once_it_lived_for_a_while():
    deaths, now, pauses = Deaths(), 100.0, []
    for _ in range(9):
        pauses.append(deaths.pause(now))
        now += pauses[-1]
        deaths.back(now)
        now += 0.3
    assert pauses == pytest.approx([0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, LONGEST_DEATH, LONGEST_DEATH])
    assert deaths.pause(now + LIVED_SECONDS) == 0.0
    deaths.back(now + 10)
    assert deaths.pause(now + 11) == 0.1


def searched(monkeypatch, kind, pause, *, found_after=99):
    """When a search with a pause first tried to start the cluster, and whether it found one that somebody else started."""
    begun, looks, started, found = time.monotonic(), [], [], []

    def named(_):
        looks.append(1)
        if len(looks) > found_after:
            return "connection"
        raise ClusterUnreachable("no")

    def come_back(_):
        started.append(time.monotonic() - begun)

    monkeypatch.setattr(returning, "named", named)
    monkeypatch.setattr(returning, "look_for", come_back)
    monkeypatch.setattr(returning, "answer_of", found.append)
    session = SimpleNamespace(
        connection=SimpleNamespace(kind=kind, address=""),
        give_up=lambda _: None,
        connect_again=lambda connection: connection,
    )
    Search(session, "it is gone", pause)._run()
    return started, found


def test_a_local_one_is_started_after_the_pause(monkeypatch):
    [started], _ = searched(monkeypatch, "local", 0.3)
    assert 0.3 <= started < 5.0


def test_one_that_somebody_else_started_is_not_waited_for(monkeypatch):
    assert searched(monkeypatch, "local", 60.0, found_after=1) == ([], ["connection"])


def test_a_standalone_one_is_looked_for_at_once(monkeypatch):
    [started], _ = searched(monkeypatch, "scheduler", 60.0)
    assert started < 5.0
