"""The store of a worker on another host: what its slots make, and copies of other hosts' values."""

import pytest
from twisted.internet.task import Clock

from twistcluster.errors import StoreFull
from twistcluster.nodes.fetched import Fetched
from twistcluster.nodes.values_line import Missed
from twistcluster.storage.layout import ObjectGone
from twistcluster.storage.values import ValueStore, encode
from twistcluster.wire.messages import Freed, Stored
from twistcluster.wire.values import Definitions

NAME, OTHER = b"n" * 16, b"o" * 16
PARTS = [b"\x80pickle", b"x" * 100_000]


@pytest.fixture
def fetched():
    made = Fetched(Clock())
    yield made
    made.close()


def there(fetched, name=NAME):
    try:
        return [bytes(part) for part in ValueStore(fetched.folder).parts(name)]
    except ObjectGone:
        return None


def kept(fetched, name=NAME, parts=PARTS):
    told = []
    fetched.keep(name, parts, [len(part) for part in PARTS], told.append)
    return told


def made_by_a_slot(fetched):
    slot = ValueStore(fetched.folder)
    name, nbytes = slot.put(PARTS)
    fetched.made([Stored(0, name, nbytes)])
    return slot, name


def test_what_came_is_read_under_its_own_id_until_it_is_freed(fetched):
    assert kept(fetched) == kept(fetched) == [None]
    assert there(fetched) == PARTS and fetched.has(NAME) and fetched.ids == [NAME]
    assert fetched.freed(Freed([OTHER, NAME])) == Freed([OTHER])
    assert there(fetched) is None and not fetched.has(NAME) and not fetched.ids
    assert fetched.freed(Freed([NAME])) == Freed([NAME]), "it is none of these"
    stream = b"".join(PARTS)
    assert kept(fetched, parts=[stream[:50_000], stream[50_000:]]) == [None]
    assert there(fetched) == PARTS
    assert fetched.freed(Freed([NAME])) is None


def test_what_slots_made_is_known_until_it_is_freed_which_is_theirs_to_do(fetched):
    slot, name = made_by_a_slot(fetched)
    assert fetched.has(name) and fetched.ids == [name]
    assert [bytes(part) for part in fetched.held(name).parts] == PARTS
    assert fetched.freed(Freed([name])) == Freed([name])
    assert not fetched.has(name) and there(fetched, name) == PARTS
    slot.freed([name])
    assert fetched.held(name) is None
    slot.close()


def test_what_was_made_again_takes_the_name_of_what_was_lost(fetched):
    slot, name = made_by_a_slot(fetched)
    assert fetched.renamed(OTHER, NAME) is None and not fetched.has(NAME)
    assert fetched.renamed(name, NAME) is None
    assert [bytes(part) for part in fetched.held(NAME).parts] == PARTS and not fetched.has(name)
    slot.close()


def test_what_is_here_of_a_value_that_was_made_again_elsewhere_goes(fetched):
    slot, name = made_by_a_slot(fetched)
    assert kept(fetched) == [None]
    assert fetched.renamed(OTHER, NAME) is None and there(fetched) is None
    assert fetched.renamed(OTHER, name) == Freed([name]), "its slot has it"
    assert not fetched.has(name)
    slot.close()


def test_without_room_it_is_missing_and_nothing_else_happens(fetched, monkeypatch):
    def full(*_):
        raise StoreFull("no room")

    monkeypatch.setattr(ValueStore, "copy", full)
    assert kept(fetched) == [Missed("no room")]
    assert there(fetched) is None and not fetched.has(NAME)


def test_a_file_that_somebody_removed_is_not_here(fetched):
    slot, name = made_by_a_slot(fetched)
    slot.freed([name])
    assert fetched.has(name) and fetched.held(name) is None and not fetched.has(name)
    slot.close()


def test_slots_put_values_there_where_the_cluster_can_have_them(fetched):
    """Where its host has no store, results travel inside their pages."""
    store = ValueStore(fetched.folder)
    for yes in (False, True, True, False):
        if yes or store.writes:
            fetched.take_results(yes=yes)
        row = encode(b"x" * 100_000, Definitions(), store)
        assert (row.stored is not None) == store.writes == yes
    store.close()
