"""A real slot whose item needs a value that isn't in its store: it has its worker bring it, and waits."""

import pickle

import pytest

from tests.nodes.slots import NONE, real_slot
from twistcluster.nodes.slot_page import LIMIT, REACHED, RUNNING
from twistcluster.storage.folder import StoreFolder
from twistcluster.storage.values import ValueStore
from twistcluster.wire.messages import Bring, Brought
from twistcluster.wire.pages import stored_row

NAME, OTHER = b"n" * 16, b"o" * 16
VALUE = b"v" * 100_000


@pytest.fixture
def store():
    folder = StoreFolder.create("slot")
    made = ValueStore(folder.path)
    yield made
    made.close()
    folder.remove()


@pytest.fixture
def slot(tmp_path, store):
    with real_slot(tmp_path, store.folder) as made:
        yield made


def begin(slot, *names):
    """An item a value; returns what the slot asks for first."""
    job = slot.job(len)
    slot.page(job, [b"raw:" + stored_row(name, len(VALUE)) for name in names], framed=True)
    slot.bite(job, 0, len(names))
    return slot.next()[0]


def arrives(slot, store, name=NAME):
    store.copy(name, [pickle.dumps(VALUE)])
    slot.say(Brought(name, there=True))


def test_the_item_runs_when_the_value_is_there_and_hasnt_begun_before(slot, store):
    assert begin(slot, NAME) == Bring(NAME)
    assert (slot.words[RUNNING], slot.words[REACHED]) == (NONE, 0)
    other = slot.job(abs)  # what is said meanwhile waits
    slot.page(other, [-1])
    arrives(slot, store)
    assert slot.results() == {0: len(VALUE)}
    slot.bite(other, 0, 1)
    assert slot.results() == {0: 1}


def test_what_is_nowhere_is_missed_and_the_next_item_runs(slot, store):
    assert begin(slot, NAME, OTHER) == Bring(NAME)
    slot.say(Brought(NAME, there=False))
    failure, _ = slot.next()
    assert (failure.index, failure.missing, failure.error.why) == (0, NAME, "gone")
    assert slot.next()[0] == Bring(OTHER)
    arrives(slot, store, OTHER)
    assert slot.results() == {1: len(VALUE)}


def test_without_room_the_item_fails_with_that(slot):
    assert begin(slot, NAME) == Bring(NAME)
    slot.say(Brought(NAME, there=False, full="no room: delete something"))
    failure = slot.results()[0]
    assert (failure.error.type, failure.error.message) == ("twistcluster.errors.StoreFull", "no room: delete something")
    assert not failure.missing


def test_an_item_that_waits_can_be_taken_back(slot, store):
    store.copy(OTHER, [pickle.dumps(VALUE)])
    job = slot.job(len)
    slot.page(job, [b"raw:" + stored_row(name, len(VALUE)) for name in (OTHER, NAME, OTHER)], framed=True)
    slot.bite(job, 0, 3)
    said = []
    while not isinstance(message := slot.next(), tuple) or not isinstance(message[0], Bring):
        said.append(message)
    assert (slot.words[RUNNING], slot.words[REACHED]) == (NONE, 1)
    slot.words[LIMIT] = 1
    arrives(slot, store)
    more, done = slot.until_done()
    assert slot.sorted_out(said + more) == {0: len(VALUE)} and done.reached == 1
