"""Which clusters are one and the same to a program, by whose link it goes."""

from types import SimpleNamespace

import pytest

from twistcluster.client import links
from twistcluster.client.launch import Connection


def connection(cluster, name, address=""):
    return Connection.from_fields({"id": f"tls://{address}" if address else cluster, "name": name, "address": address})


HERE, THERE = connection("c0ffee00", "lab"), connection("", "lab", "box:8930")
OTHER = connection("", "lab", "pc:8930")


@pytest.fixture
def tied(monkeypatch):
    def tied(*connections, away=False):
        ties = [SimpleNamespace(session=SimpleNamespace(connection=c, away=away, lost=None)) for c in connections]
        monkeypatch.setattr(links, "_ties", ties)
        return ties

    return tied


@pytest.mark.parametrize("away", [False, True])
def test_clusters_of_one_name_here_and_elsewhere_have_links_of_their_own(tied, away):
    """Also while one of them is away, when it is known by its name: after a restart a local one has another id."""
    for one in (HERE, THERE, OTHER):
        (tie,) = tied(one, away=away)
        for asked in (HERE, THERE, OTHER):
            assert links._there(asked) is (tie if asked is one else None)
    ties = tied(HERE, THERE, OTHER, away=away)
    assert [links._there(each) for each in (HERE, THERE, OTHER)] == ties


def test_one_that_is_away_is_known_by_its_name(tied):
    again = connection("beef0000", "lab")
    tied(HERE)
    assert links._there(again) is None
    (tie,) = tied(HERE, away=True)
    assert links._there(again) is tie


def test_a_link_that_is_lost_is_nobodys(tied):
    (tie,) = tied(THERE)
    tie.session.lost = "it ended"
    assert links._there(THERE) is None
