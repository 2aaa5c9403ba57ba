"""Copies of other hosts' values, in a store of a worker's own."""

import pytest

from twistcluster.errors import StoreFull
from twistcluster.nodes.fetched import Fetched
from twistcluster.storage.layout import ObjectGone
from twistcluster.storage.values import ValueStore, encode
from twistcluster.wire.messages import Freed
from twistcluster.wire.values import Definitions

NAME, OTHER = b"n" * 16, b"o" * 16
PARTS = [b"\x80pickle", b"x" * 100_000]


@pytest.fixture
def fetched():
    made = Fetched()
    yield made
    made.close()


def there(fetched, name=NAME):
    try:
        return [bytes(part) for part in ValueStore(fetched.folder).parts(name)]
    except ObjectGone:
        return None


def test_what_came_is_read_under_its_own_id_until_it_is_freed(fetched):
    fetched.came(NAME, PARTS)
    fetched.came(NAME, PARTS)  # after a link was lost, perhaps
    assert there(fetched) == PARTS
    assert fetched.freed(Freed([OTHER, NAME])) == Freed([OTHER])
    assert there(fetched) is None
    assert fetched.freed(Freed([NAME])) == Freed([NAME]), "it is none of these"
    fetched.came(NAME, PARTS)
    assert fetched.freed(Freed([NAME])) is None


def test_whoever_comes_next_says_it_anew(fetched):
    fetched.came(NAME, PARTS)
    fetched.clear()
    assert there(fetched) is None
    fetched.came(NAME, PARTS)
    assert there(fetched) == PARTS


def test_without_room_it_is_missing_and_nothing_else_happens(fetched, monkeypatch):
    def full(self, name, parts):
        raise StoreFull("no room")

    monkeypatch.setattr(ValueStore, "copy", full)
    fetched.came(NAME, PARTS)
    assert there(fetched) is None


def test_nobody_puts_values_of_their_own_there(fetched):
    store = ValueStore(fetched.folder)
    row = encode(b"x" * 100_000, Definitions(), store)
    assert row.stored is None and not store.writes
