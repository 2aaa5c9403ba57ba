"""What is sent must hold still until `submit`, `put` or `map` has returned, and a lazy source's item until the next.

Afterwards it may change, and what doesn't hold still harms nobody else.
"""

import itertools
import pickle
import threading

import numpy as np
import pytest

import twistcluster as tc

DEADLINE_S = 60.0
SIZES = [10, 1000, 20_000]
"""Of floats: within the pickle, beside it, in the store."""


@pytest.fixture(scope="module")
def cluster():
    with tc.Cluster(slots=1) as cluster:
        yield cluster
        assert cluster.submit(abs, -1).result(DEADLINE_S) == 1, "whatever was sent, the link is there"


def read_only(array):
    view = array.view()
    view.flags.writeable = False
    return view


KINDS = {
    "array": lambda size: np.zeros(size),
    "list": lambda size: [0.0] * size,
    "bytearray": lambda size: bytearray(size),
    "dict": lambda size: dict.fromkeys(range(size), 0),
}


def fill(value, number):
    for at in range(3) if not isinstance(value, np.ndarray) else [slice(None)]:
        value[at] = number


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_what_was_sent_may_change_at_once(cluster, kind, size):
    value = KINDS[kind](size)
    futures, references, jobs = [], [], []
    for number in range(20):
        fill(value, number)
        futures.append(cluster.submit(lambda x: x[0], value))
        references.append(cluster.put(value))
        jobs.append(cluster.map(lambda x: x[0], [value, value]))
        fill(value, 99)
    assert tc.gather(futures) == [*range(20)]
    assert [reference.result()[0] for reference in references] == [*range(20)]
    assert [job.results() for job in jobs] == [[n, n] for n in range(20)]


@pytest.mark.parametrize("size", SIZES)
def test_so_may_what_a_read_only_view_shows(cluster, size):
    array = np.zeros(size)
    view, futures = read_only(array), []
    for number in range(50):
        array[:] = number
        futures.append(cluster.submit(lambda x: x[0], view))
    assert tc.gather(futures) == [*range(50)]


def refilled(array, count, wrap):
    for number in range(count):
        array[:] = number
        yield wrap(array)
    array[:] = 99


@pytest.mark.parametrize("size", SIZES)
def test_a_lazy_source_may_fill_the_same_array_again(cluster, size):
    for wrap in (lambda x: x, read_only):
        assert cluster.map(lambda x: x[0], refilled(np.zeros(size), 100, wrap)).results() == [*range(100)]
    source = refilled(np.zeros(size), 100, lambda x: x)
    assert cluster.map(lambda x, i: x[0] - i, source, itertools.count()).results() == [0] * 100


def test_a_lazy_source_s_items_may_name_references_and_futures_and_none(cluster):
    reference, future = cluster.put(np.full(20_000, 5.0)), cluster.submit(np.full, 20_000, 7.0)
    kinds = [lambda x: (x, reference), lambda x: (x, future), lambda x: (x, [3.0]), lambda x: (x, [future, reference])]
    turns = itertools.cycle(kinds)
    source = refilled(np.zeros(1000), 40, lambda x: next(turns)(x))
    found = cluster.map(lambda item: (item[0][0], np.ravel(item[1])[0]), source).results()
    assert found == [(n, [5, 7, 3, 7][n % 4]) for n in range(40)]


def test_an_item_of_a_lazy_source_that_cannot_be_sent_ends_it_after_those_before(cluster):
    job = cluster.map(lambda x: len(x), ([0] if i < 30 else [threading.Lock()] for i in range(50)))
    with pytest.raises(tc.InputEnded, match="after 30 items: Item 30 can't be sent"):
        job.results()
    assert job.results(errors="skip") == [1] * 30


# ---- what does not hold still ----------------------------------------------------------------------------------------


class Changes:
    """Its pickling changes the list that it stands in."""

    def __init__(self, change):
        self.change = change

    def __reduce__(self):
        self.change()
        return int, ()


@pytest.mark.parametrize("how", ["grows", "shrinks"])
def test_a_list_that_changes_while_it_is_sent_goes_as_it_was(cluster, how):
    items = []
    change = {"grows": lambda: len(items) < 500 and items.append(5), "shrinks": lambda: items and items.pop()}[how]
    items += [Changes(change) for _ in range(100)]
    assert cluster.map(lambda x: x, items).results() == [0] * 100


@pytest.mark.parametrize("how", ["grows", "shrinks"])
def test_a_list_that_is_read_beside_a_range_goes_as_it_was(cluster, how):
    items = list(range(20_000))
    job = cluster.map(lambda i, x: x - i, range(30_000), items)
    if how == "grows":
        items += range(20_000)
    else:
        items.clear()
    assert job.wait(DEADLINE_S)
    assert job.results() == [0] * 20_000


class Inconsistent:
    """It is another thing each time that it is pickled, and sometimes none."""

    def __init__(self, fails):
        self.fails = fails
        self.times = 0

    def __reduce_ex__(self, protocol):
        self.times += 1
        if self.times % 3 == self.fails:
            raise RuntimeError("not now")
        buffers = [pickle.PickleBuffer(bytearray([self.times] * 5000 * self.times)) for _ in range(self.times)]
        return checked, (self.times, buffers)


def checked(times, buffers):
    assert [bytes(each) for each in buffers] == [bytes([times] * 5000 * times)] * times
    return times


@pytest.mark.parametrize("fails", [0, 1, 2, 4])
def test_what_is_pickled_otherwise_each_time_comes_as_one_of_these_or_is_an_error(cluster, fails):
    value = Inconsistent(fails)
    told = []
    for _ in range(4):
        for send in (lambda: cluster.submit(abs, value), lambda: cluster.map(abs, [value, 1])[0]):
            try:
                assert send().result(DEADLINE_S) > 0
            except tc.NotPicklable as error:
                told.append(str(error))
    assert all("RuntimeError: not now" in each for each in told)
    assert len(told) <= 8


class Viewed:
    """A buffer that others change the size of."""

    def __init__(self, buffer):
        self.buffer = buffer

    def __reduce_ex__(self, protocol):
        return bytearray, (pickle.PickleBuffer(self.buffer),)


@pytest.mark.parametrize("size", [5000, 500_000])
@pytest.mark.parametrize("wrap", [Viewed, lambda buffer: buffer], ids=["buffer", "bytearray"])
def test_a_buffer_whose_size_another_thread_changes_comes_whole(cluster, size, wrap):
    buffer, stop = bytearray(size), threading.Event()

    def change():
        while not stop.is_set():
            try:
                if len(buffer) > size:
                    del buffer[size:]
                else:
                    buffer.extend(bytes(size))
            except BufferError:  # it is being sent
                continue

    thread = threading.Thread(target=change)
    thread.start()
    try:
        futures = [cluster.submit(len, wrap(buffer)) for _ in range(50)]
        found = {*tc.gather(futures), *(len(cluster.put(wrap(buffer)).result()) for _ in range(20))}
    finally:
        stop.set()
        thread.join()
    assert found <= {size, 2 * size}
