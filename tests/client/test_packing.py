"""Items become pages of bounded size; a lazy source is pulled ahead, handed on at once, and let go promptly."""

import itertools
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tools import until
from twistcluster.client.packing import ITEM_BYTES, STEP, PagePacker, Puller, plain_pages
from twistcluster.errors import NotPicklable
from twistcluster.storage.folder import StoreFolder
from twistcluster.storage.layout import ObjectGone
from twistcluster.storage.values import ValueStore
from twistcluster.wire.definitions import Definitions
from twistcluster.wire.limits import PAGE_BYTES, PAGE_ITEMS, PULL_AHEAD_BYTES
from twistcluster.wire.pages import ARGS, FRAMED, ONE, PLAIN, framed_items, unpack_plain
from twistcluster.wire.values import loads

MIB = 1 << 20
VALUES = st.one_of(st.integers(), st.text(max_size=5), st.lists(st.integers(), max_size=3), st.just(b"x" * 10_000))


def values_of(packed):
    if packed.packing == PLAIN:
        return unpack_plain(packed)
    return [loads(data, buffers) for data, buffers in framed_items(packed)]


def packer(shape=ONE, **kwargs):
    return PagePacker(shape, Definitions(), **kwargs)


@given(st.lists(VALUES, max_size=60))
def test_items_survive_in_order(items):
    pack = packer()
    pages = [*pack.pages(items)]
    assert [value for page in pages for value in values_of(page)] == items
    assert pack.count == len(items) and pack.nbytes == sum(page.nbytes for page in pages)


@given(st.lists(st.tuples(VALUES, VALUES), max_size=30))
def test_tuples_of_arguments_survive(items):
    pages = [*packer(ARGS).pages(items)]
    assert [value for page in pages for value in values_of(page)] == items
    assert all(page.shape == ARGS for page in pages)


def test_pages_are_bounded():
    pages = [*packer().pages(range(20_000))]
    assert max(page.count for page in pages) == PAGE_ITEMS and {page.packing for page in pages} == {PLAIN}
    pages = [*packer().pages("x" * 1000 for _ in range(5000))]
    assert max(page.nbytes for page in pages) <= 2 * PAGE_BYTES and {page.packing for page in pages} == {PLAIN}
    pages = [*packer().pages([n] * 100 for n in range(5000))]
    assert max(page.nbytes for page in pages) <= PAGE_BYTES + 100 and {page.packing for page in pages} == {FRAMED}
    pages = [*packer().pages(np.zeros(100_000) for _ in range(3))]
    assert [page.count for page in pages] == [1, 1, 1]
    assert [page.count for page in plain_pages(["x" * 200_000, "y"])] == [1, 1]


def test_large_items_are_not_hoarded():
    taken = 0

    def source():
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield bytes(1_000_000)

    pages = packer().pages(source())
    for count in range(1, 5):
        next(pages)
        assert taken == count


def test_every_page_names_what_it_shall():
    pages = [*packer(also=(b"d",)).pages([1, [2]])]
    assert [page.definitions for page in pages] == [(b"d",)] * len(pages)


def test_an_item_that_cannot_travel_is_named_and_those_before_it_do():
    pages = []
    source = packer().pages([[0], [1], [2], [3], {"lock": threading.Lock()}, [5]])
    with pytest.raises(NotPicklable, match=r"Item 4 can't be sent: .*item\['lock'\] is a _thread.lock"):
        pages.extend(source)
    assert [value for page in pages for value in values_of(page)] == [[0], [1], [2], [3]]


class Sink:
    """Takes what a puller hands on."""

    def __init__(self):
        self.values = []
        self.end = None

    def page(self, packed):
        self.values += values_of(packed)

    def ended(self, count, error):
        self.end = (count, error)


@pytest.fixture
def pull():
    pullers = []

    def pull(items, **kwargs):
        sink = Sink()
        puller = Puller(items, packer(), sink.page, sink.ended, **kwargs)
        pullers.append(puller)
        puller.start()
        return puller, sink

    yield pull
    for puller in pullers:
        puller.stop()
    until(lambda: not any(thread.name.startswith("twistcluster-pull") for thread in threading.enumerate()))


def test_a_source_is_pulled_to_its_end(pull):
    _, sink = pull(range(100_000))
    until(lambda: sink.end)
    assert sink.end == (100_000, None) and sink.values == list(range(100_000))


def test_a_source_that_raises_says_after_how_many(pull):
    def source():
        yield from range(1000)
        raise KeyError("oops")

    _, sink = pull(source())
    until(lambda: sink.end)
    assert sink.end[0] == 1000 and isinstance(sink.end[1], KeyError) and sink.values == list(range(1000))


def test_what_is_not_iterable_and_what_cannot_travel_end_it(pull):
    _, sink = pull(3)
    until(lambda: sink.end)
    assert sink.end[0] == 0 and isinstance(sink.end[1], TypeError)
    _, sink = pull([0, 1], ahead_bytes=1)
    _, sink = pull(item for item in [1, threading.Lock(), 3])
    until(lambda: sink.end)
    assert sink.end[0] == 1 and isinstance(sink.end[1], NotPicklable)


def test_an_item_never_waits_for_the_next_one(pull):
    more = threading.Event()

    def source():
        yield from range(300)
        more.wait(30)
        yield 300

    _, sink = pull(source())
    until(lambda: len(sink.values) == 300)
    assert sink.end is None
    more.set()
    until(lambda: sink.end)
    assert sink.values == list(range(301))


def test_a_source_may_wait_for_results_of_what_it_gave(pull):
    sink = None

    def source():
        for number in range(20):
            if number:
                until(lambda: sink is not None and number - 1 in sink.values)
            yield number

    _, sink = pull(source())
    until(lambda: sink.end)
    assert sink.values == list(range(20))


def test_it_pulls_only_so_far_ahead(pull):
    ahead = 1000 * (ITEM_BYTES + 10)
    puller, sink = pull(itertools.count(), ahead_bytes=ahead)
    until(lambda: len(sink.values) > 500)
    stable = until(lambda: puller._pulling is False and len(sink.values))
    assert stable < 1000 + PAGE_ITEMS
    puller.finished(stable)
    until(lambda: len(sink.values) > stable)


@pytest.fixture
def stored():
    """Packs large items into a store of the test's own."""
    folder = StoreFolder.create("test")

    yield packer(store=ValueStore(folder.path))
    folder.remove()


class Slow:
    """A job that finishes an item when it is told to; it looks at no value."""

    def __init__(self, items, pack, ahead_bytes):
        self.taken = self.sent = 0
        self.puller = Puller(self._counted(items), pack, self._page, lambda *_: None, ahead_bytes)
        self.puller.start()

    def _counted(self, items):
        for item in items:
            self.taken += 1
            yield item

    def _page(self, page):
        self.sent += page.count

    def rests(self):
        """It pulls nothing more for now; returns how many items it has taken."""
        until(lambda: not self.puller._pulling or self.puller._over)
        return self.taken

    def stop(self):
        self.puller.stop()
        until(lambda: not any(thread.name.startswith("twistcluster-pull") for thread in threading.enumerate()))


def test_large_items_are_pulled_so_many_bytes_ahead_of_a_slow_job(stored):
    slow = Slow((np.ones(MIB, np.uint8) for _ in range(200)), stored, 8 * MIB)
    try:
        assert 8 <= slow.rests() <= 9
        for done in range(1, 6):
            slow.puller.finished(1)
            until(lambda done=done: slow.taken >= 8 + done)
            assert slow.rests() <= 9 + done
    finally:
        slow.stop()
    assert stored.nbytes >= slow.sent * MIB, "what is in the store counts"


def test_the_default_is_64_mib(stored):
    slow = Slow((np.ones(MIB, np.uint8) for _ in range(200)), stored, PULL_AHEAD_BYTES)
    try:
        assert 60 <= slow.rests() <= 66
    finally:
        slow.stop()


def test_large_items_behind_many_small_ones_count_as_what_they_are(stored):
    small = 50_000

    def source():
        yield from range(small)
        for _ in range(1000):
            time.sleep(0.001)  # a slow source, not a wait
            yield np.ones(MIB, np.uint8)

    slow = Slow(source(), stored, 8 * MIB)
    try:
        until(lambda: slow.sent >= small)
        assert slow.rests() - small < 3 * STEP, "of a block that began with small ones"
        slow.puller.finished(small)
        slow.rests()
        before = slow.taken
        slow.puller.finished(slow.sent - small)
        until(lambda: slow.taken > before)
        assert slow.rests() - before <= 10
    finally:
        slow.stop()


def test_stop_takes_hold_at_once_even_where_the_source_is_fast_or_stuck(pull):
    puller, sink = pull(itertools.count(), ahead_bytes=1 << 40)
    until(lambda: sink.values)
    began = time.monotonic()
    puller.stop()
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("twistcluster-pull")])
    assert time.monotonic() - began < 30
    assert sink.end is None

    stuck = threading.Event()
    puller, sink = pull(iter(stuck.wait, None))
    began = time.monotonic()
    puller.stop()
    assert time.monotonic() - began < 30
    stuck.set()


def test_slow_sources_are_pulled_in_small_blocks(pull):
    pulled = 0

    def source():
        nonlocal pulled
        while True:
            pulled += 1
            time.sleep(0.001)  # a slow source, not a wait
            yield pulled

    puller, _ = pull(source())
    until(lambda: pulled > 200)
    puller.stop()
    at = pulled
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("twistcluster-pull")])
    assert pulled - at < 200


def test_what_a_source_gave_may_change_before_it_is_packed():
    pack, array = packer(), np.zeros(1000)
    fixed = pack.fixer(threading.Lock())
    items = []
    for number in range(3):
        array[:] = number
        items += [fixed(array), fixed(number)]
    (page,) = pack.pack(items)
    assert [float(np.max(value)) for value in values_of(page)] == [0, 0, 1, 1, 2, 2]


def test_what_was_stored_and_will_not_be_packed_is_let_go(stored):
    pack, store = stored, stored._store
    fixed = pack.fixer(threading.Lock())
    items = [fixed(np.zeros(100_000)), fixed([1]), fixed(3), fixed(threading.Lock())]
    name = items[0].row.stored[0]
    assert len(store.parts(name)) == 2
    pack.let_go(items)
    with pytest.raises(ObjectGone):
        store.parts(name)


def test_where_room_is_scarce_few_items_are_pulled_before_the_first_result(pull):
    puller, sink = pull(range(100), first_items=4, room=lambda unfinished: 6 - unfinished)
    until(lambda: len(sink.values) == 6, what="4, then up to 8, but no more than there is room for")
    puller.finished(2)
    until(lambda: len(sink.values) == 8)


def test_a_zip_is_not_asked_again_after_its_end(pull):
    asked = []

    def source():
        for number in range(10):
            asked.append(number)
            yield number

    _, sink = pull(zip(source(), [1, 2], strict=False))
    until(lambda: sink.end)
    assert asked == [0, 1, 2]
