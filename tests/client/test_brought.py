"""Large results of a cluster elsewhere, and a connection that is lost while they come."""

import pytest

from twistcluster.client import brought
from twistcluster.client.brought import TRIES, BroughtValues
from twistcluster.errors import StoreFull
from twistcluster.net.turn import Turn
from twistcluster.nodes.values_line import Missed
from twistcluster.storage.layout import ObjectGone

NAME = b"n" * 16
PIECES, SIZES = [b"\x80pick", b"leand", b"buffer"], [7, 0, 9]
PARTS = [b"\x80pickle", b"", b"andbuffer"]


class Suppliers:
    """Misses the value so often, then it comes."""

    def __init__(self, values, misses):
        self.values, self.misses = values, misses

    def fetch(self, name, done):
        if self.misses:
            done(self.misses.pop(0))
        else:
            self.values._keep(name, PIECES, SIZES, done)


@pytest.fixture
def make(monkeypatch):
    monkeypatch.setattr(brought.bridge, "call", lambda call: call())
    restored, dropped = [], []

    def made(misses):
        values = BroughtValues("box:8930", Turn(None), lambda name, deadline: restored.append(name), dropped.append)
        values._suppliers = Suppliers(values, misses)
        values.restored, values.let_go = restored, dropped
        return values

    return made


def read(values):
    return [bytes(part) for part in values.parts(NAME)]


@pytest.mark.parametrize("misses", [0, 1, TRIES - 1])
def test_it_is_asked_for_until_it_comes_and_read_as_often_as_wanted(make, misses):
    values = make([Missed()] * misses)
    parts = values.parts(NAME)
    parts[2][:3] = b"own"
    assert read(values) == PARTS and values.restored == [NAME] * misses
    values.dropped(NAME)
    assert values.let_go == [NAME] and not values._came


def test_what_never_comes_is_gone_and_what_has_no_room_says_so(make):
    with pytest.raises(ObjectGone, match="didn't come"):
        read(make([Missed()] * TRIES))
    with pytest.raises(StoreFull, match="no room"):
        read(make([Missed("no room")]))
