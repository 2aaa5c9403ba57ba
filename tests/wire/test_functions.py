"""A function's blob stands alone, is loaded once, and finds what `everywhere` defined."""

import pickle

import pytest

from twistcluster.errors import NotPicklable, ProtocolError
from twistcluster.wire.definitions import Definitions
from twistcluster.wire.functions import dump_function, load_function


def test_a_blob_stands_alone(notebook, book, other):
    notebook.cell("""
        class Point:
            def __init__(self, x): self.x = x
        def make(x): return Point(x)
    """)
    blob, definitions = dump_function(notebook["make"], book)
    assert definitions == (book.digest_of(notebook["Point"]),)
    point = other.call(blob, 3)
    assert type(point) is notebook["Point"] and other.last_bytes < 100


def test_names_that_everywhere_defines_are_found(notebook, book, other):
    notebook.cell("""
        def setup():
            global model, bump, count
            count = 0
            def model(x): return x * 10
            def bump():
                global count
                count += 1
                return count
        def use(x): return model(x)
        def nested(xs): return [(lambda y: model(y))(x) for x in xs]
        class User:
            def use(self, x): return model(x)
        def use_class(x): return User().use(x)
        def use_bump(): return bump(), count
        def built_in(xs): return sum(xs), len(xs), sorted(xs)
    """)
    blobs = {
        n: dump_function(notebook[n], book)[0] for n in ("setup", "use", "nested", "use_class", "use_bump", "built_in")
    }
    with pytest.raises(RuntimeError, match="NameError: name 'model' is not defined"):
        other.call(blobs["use"], 1)
    other.step(blobs["setup"])
    assert other.call(blobs["use"], 2) == 20
    assert other.call(blobs["nested"], [1, 2]) == [10, 20]
    assert other.call(blobs["use_class"], 3) == 30
    assert [other.call(blobs["use_bump"]), other.call(blobs["use_bump"])] == [(1, 1), (2, 2)]
    assert other.call(blobs["built_in"], [2, 1]) == (3, 2, [1, 2])


def test_what_the_notebook_defines_goes_before_what_everywhere_defines(notebook, book, other):
    notebook.cell("""
        def setup():
            global rate
            rate = 1
        def use(): return rate
    """)
    setup, unknown = dump_function(notebook["setup"], book)[0], dump_function(notebook["use"], book)[0]
    notebook.cell("rate = 2")
    known = dump_function(notebook["use"], book)[0]
    other.step(setup)
    assert (other.call(unknown), other.call(known)) == (1, 2)


def test_versions_of_a_function_keep_their_own_globals(notebook, book, other):
    notebook.cell("""
        factor = 2
        def scale(x): return x * factor
        def both(x): return scale(x), factor
    """)
    old = dump_function(notebook["both"], book)[0]
    notebook.cell("factor = 3")
    new = dump_function(notebook["both"], book)[0]
    assert other.call(old, 1) == (2, 2)
    assert other.call(new, 1) == (3, 3)
    assert other.call(old, 1) == (2, 2)


def test_a_cache_in_a_global_works(notebook, book, other):
    notebook.cell("""
        model = None
        loads = 0
        def use(x):
            global model, loads
            if model is None:
                loads += 1
                model = lambda x: x * 10
            return model(x), loads
    """)
    use = dump_function(notebook["use"], book)[0]
    assert [other.call(use, n) for n in (1, 2)] == [(10, 1), (20, 1)]
    notebook.cell("model = lambda x: x")
    assert other.call(dump_function(notebook["use"], book)[0], 5) == (5, 0)
    assert other.call(use, 3) == (30, 1)


def test_an_everywhere_step_again_takes_the_newer_globals(notebook, book, other):
    notebook.cell("""
        start = 1
        def setup():
            global counter
            counter = start
        def use(): return counter
    """)
    use = dump_function(notebook["use"], book)[0]
    for start in (1, 2):
        notebook.names["start"] = start
        other.step(dump_function(notebook["setup"], book)[0])
        assert other.call(use) == start


def test_functions_of_modules_go_by_reference(book):
    blob, definitions = dump_function(pickle.dumps, book)
    assert load_function(blob, book) is pickle.dumps and definitions == () and len(blob) < 100


def test_arrays_that_a_function_captures_are_writable(notebook, book, other):
    notebook.cell("""
        import numpy as np
        table = np.zeros(5000)
        def count(n):
            table[n] += 1
            return int(table.sum())
    """)
    count = dump_function(notebook["count"], book)[0]
    assert [other.call(count, n) for n in (1, 2)] == [1, 2]


def test_a_function_that_cannot_travel_names_what_it_holds(notebook, book):
    notebook.cell("""
        import threading
        lock = threading.Lock()
        def use(x):
            with lock: return x
    """)
    with pytest.raises(NotPicklable, match="lock, a global that use uses, is a _thread.lock"):
        dump_function(notebook["use"], book, name="use")


def test_what_is_not_a_function_is_a_protocol_error(book):
    with pytest.raises(ProtocolError):
        load_function(pickle.dumps((pickle.dumps(3), [], [])), Definitions())


def test_a_function_with_a_cache(notebook, book, other):
    notebook.cell("""
        import functools
        @functools.lru_cache(maxsize=7)
        def double(x): return 2 * x
        def use(x): return double(x) + double(x), double.cache_info()[:3]
    """)
    assert other.call(dump_function(notebook["use"], book)[0], 3) == (12, (1, 1, 7))
    assert other.call(dump_function(notebook["double"], book)[0], 3) == 6
