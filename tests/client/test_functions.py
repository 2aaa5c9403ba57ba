"""Functions are pickled as they are now; what they must not capture is named."""

import io
import sys
import threading
import time
import warnings

import numpy as np
import pytest

from tests.wire.other import Notebook, Other
from twistcluster.client.captures import captures_of, global_names
from twistcluster.client.functions import FunctionBook
from twistcluster.errors import NotPicklable
from twistcluster.wire.definitions import Definitions


@pytest.fixture
def notebook():
    notebook = Notebook()
    yield notebook
    notebook.close()


@pytest.fixture
def definitions():
    return Definitions()


@pytest.fixture
def book(definitions):
    return FunctionBook(definitions)


@pytest.fixture
def other(definitions):
    other = Other(definitions)
    yield other
    other.close()


def test_a_changed_global_is_seen(notebook, book, other):
    notebook.cell("""
        rate = 2
        def scale(x): return x * rate
        def use(x): return scale(x)
    """)
    digest, blob = book.blob(notebook["use"])
    assert other.call(blob, 3) == 6
    assert book.blob(notebook["use"])[0] == digest and book.same(notebook["use"])
    notebook.cell("rate = 10")
    assert not book.same(notebook["use"])
    assert other.call(book.blob(notebook["use"])[1], 3) == 30
    notebook.cell("def scale(x): return -x")
    assert other.call(book.blob(notebook["use"])[1], 3) == -3
    notebook.cell("rate = 2")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("table = [1]\ndef f(): return table[0]", "table[0] = 2"),
        ("def f(): return missing", "missing = 1"),
        ("extra = 1\ndef f(): return extra", "del extra"),
        ("def outer():\n x = 1\n def f(): return x\n def change():\n  nonlocal x\n  x = 2\n return f, change\nf, change = outer()",
         "change()"),
        ("def f(x=1): return x", "f.__defaults__ = (2,)"),
        ("def f(x=[1]): return x", "f.__defaults__[0].append(2)"),
        ("def f(*, x=1): return x", "f.__kwdefaults__['x'] = 2"),
        ("def f(): return 1", "f.__code__ = (lambda: 2).__code__"),
        ("def f(): return f.attribute", "f.attribute = 2"),
        ("pair = (1, [2])\ndef f(): return pair", "pair[1].append(3)"),
        ("class Config: rate = 1\ndef f(): return Config.rate", "Config.rate = 2"),
        ("class Config: rates = [1]\ndef f(): return Config.rates[0]", "Config.rates[0] = 2"),
        ("class Base:\n def g(self): return deep\nclass Config(Base): pass\ndeep = 1\ndef f(): return Config().g()", "deep = 2"),
        ("class Config:\n g = staticmethod(lambda: deep)\ndeep = 1\ndef f(): return Config.g()", "deep = 2"),
        ("class Config:\n @property\n def g(self): return 1\ndef f(): return Config().g", "Config.g = property(abs)"),
        ("class Config: pass\ndef f(): return Config.rate", "Config.rate = 2"),
        ("def f(): return [g() for _ in range(2)]\ndef g(): return deep\ndeep = 1", "deep = 2"),
    ],
)  # fmt: skip
def test_whatever_changes_makes_another_pickle(notebook, book, before, after):
    notebook.cell(before)
    first = book.blob(notebook["f"])[0]
    notebook.cell(after)
    assert book.blob(notebook["f"])[0] != first


def test_what_cannot_change_is_pickled_once(notebook, book, monkeypatch):
    notebook.cell("""
        import math, re
        rate, name, pattern, pair = 2, "x", re.compile("a"), (1, ("b", None))
        class Point: pass
        def helper(x): return math.sqrt(x) * rate
        def f(x, y=1): return helper(x), name, pattern, pair, len([x]), Point
    """)
    first = book.blob(notebook["f"])
    assert book.blob(notebook["f"])[1] is first[1]
    book.begin()  # the class may have changed
    assert not book.same(notebook["f"]) and book.blob(notebook["f"])[0] == first[0]


def test_a_class_that_did_not_change_is_pickled_once(notebook, book):
    notebook.cell("""
        import abc, dataclasses, enum, typing
        @dataclasses.dataclass
        class Point:
            x: int = 0
        class Color(enum.Enum):
            RED = 1
        class Pair(typing.NamedTuple):
            a: int
        class Shape(abc.ABC):
            sides = 3
            @abc.abstractmethod
            def area(self): ...
        def f(): return Point, Color.RED, Pair(1), Shape
    """)
    first = book.blob(notebook["f"])
    assert notebook["f"]() and book.blob(notebook["f"])[1] is first[1]


def test_a_changed_class_is_seen(notebook, book, other):
    notebook.cell("""
        class Dog:
            sound = "woof"
        def f(): return Dog.sound
    """)
    assert other.call(book.blob(notebook["f"])[1]) == "woof"
    notebook.cell("Dog.sound = 'wuff'")
    digest, blob = book.blob(notebook["f"])
    assert other.call(blob) == "wuff"
    assert book.definitions_of(digest) == (book._definitions.digest_of(notebook["Dog"]),)


def test_the_check_is_cheap(notebook, book):
    notebook.cell("""
        rate = 2
        def f(x): return x * rate + len(str(x))
    """)
    book.blob(notebook["f"])
    best = min(timed(lambda: [book.blob(notebook["f"]) for _ in range(1000)]) for _ in range(5)) / 1000
    assert best < 20e-6  # about one microsecond where nothing else runs


def timed(call):
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def test_partials_methods_and_callables_are_pickled_each_time(notebook, book, other):
    notebook.cell("""
        import functools
        class Model:
            def __init__(self, rate): self.rate = rate
            def __call__(self, x): return x * self.rate
        model = Model(2)
        half = functools.partial(pow, 2)
    """)
    assert other.call(book.blob(notebook["half"])[1], 3) == 8
    for use in (notebook["model"], notebook["model"].__call__):
        notebook["model"].rate = 2
        assert other.call(book.blob(use)[1], 3) == 6
        notebook["model"].rate = 5
        assert other.call(book.blob(use)[1], 3) == 15


def test_functions_of_modules_go_by_name(book):
    digest, blob = book.blob(np.linalg.norm)
    assert len(blob) < 150 and book.blob(np.linalg.norm) == (digest, blob)
    assert len(book.blob(abs)[1]) < 150


class Figure:
    pass


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda path: (path / "x").open("w"), "thing, a global that use uses, is an open file"),
        (lambda path: io.FileIO(path / "x", "w"), "thing, a global that use uses, is an open file"),
        (lambda path: make_figure(), "is a matplotlib Figure"),
        (lambda path: make_figure().add_subplot(), "is a matplotlib Axes"),
        (lambda path: make_own(), "is a twistcluster Cluster"),
        (lambda path: threading.Lock(), "thing, a global that use uses, is a _thread.lock"),
    ],
)
def test_what_must_not_be_captured_is_named(notebook, book, tmp_path, make, what):
    notebook.names["thing"] = thing = make(tmp_path)
    notebook.cell("""
        def use(x): return thing, x
        def outer(x): return use(x)
    """)
    for name in ("use", "outer"):
        with pytest.raises(NotPicklable, match="What to do") as caught:
            book.blob(notebook[name])
        assert what in str(caught.value) and len(str(caught.value)) < 500
    if hasattr(thing, "close"):
        thing.close()


def make_figure():
    from matplotlib.figure import Figure

    return Figure()


def make_own():
    return type("Cluster", (), {"__module__": "twistcluster.cluster"})()


def test_the_standard_streams_may_be_captured(book):
    stream = sys.stdout
    assert captures_of(lambda: stream) and io.StringIO


def test_a_large_global_warns_with_its_name_once(notebook, book):
    notebook.names["big"] = np.zeros(2_000_000)
    notebook.names["small"] = [1]
    notebook.cell("def use(x): return big, small")
    with pytest.warns(UserWarning, match=r"big, a global that use uses, is 15 MiB.*everywhere") as caught:
        book.blob(notebook["use"])
    assert caught[0].filename == __file__ and len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        book.blob(notebook["use"])


def test_imports_inside_functions_are_known(notebook, book):
    notebook.cell("""
        def inner():
            from lab import tools
        def f():
            import helpers
            return inner()
    """)
    assert book.imports_of(notebook["f"]) == {"helpers", "lab"}


def test_global_names_are_those_of_inner_codes_too():
    code = compile("def f():\n def g(): return a.b\n return [c for _ in range(3)]", "", "exec").co_consts[0]
    assert {"a", "c", "range"} == set(global_names(code))


def test_the_book_is_bounded(notebook, book, monkeypatch):
    monkeypatch.setattr("twistcluster.client.functions.KEPT", 3)
    functions = [eval(f"lambda: {n}", notebook.names) for n in range(10)]
    digests = [book.blob(function)[0] for function in functions]
    assert [book.blob(function)[0] for function in functions] == digests and len(book._kept) <= 3
