"""Values survive the way to a second process and back, as the classes that they were; what can't travel says why."""

import gc
import os
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistcluster.errors import NotPicklable, ProtocolError
from twistcluster.wire import values
from twistcluster.wire.definitions import Definitions, UnknownDefinitionError
from twistcluster.wire.functions import dump_function
from twistcluster.wire.values import dumps, loads

ANY = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(), st.binary(), st.floats(allow_nan=False)),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner), st.tuples(inner, inner)),
    max_leaves=10,
)


@given(ANY)
def test_values_survive(value):
    encoded = dumps(value)
    assert loads(encoded.data, encoded.buffers) == value


def test_arrays_travel_beside_the_pickle_and_are_writable():
    array = np.arange(10_000.0)
    encoded = dumps({"a": array, "small": np.arange(4)})
    assert len(encoded.data) < 1000 and len(encoded.buffers) == 1
    for _ in range(2):  # the same buffers again: nobody saw the other's change
        back = loads(encoded.data, encoded.buffers)
        assert (back["a"] == array).all()
        back["a"][:] = -1
        back["small"][:] = -1


def test_arrays_are_what_they_were_when_they_were_sent():
    array = np.zeros(10_000)
    encoded = dumps(array)
    array[:] = 1
    assert loads(encoded.data, encoded.buffers).sum() == 0
    (shared,) = dumps(array, copy=False).buffers
    array[:] = 2
    assert np.frombuffer(shared)[0] == 2


def test_writable_memory_can_become_the_arrays_own():
    encoded = dumps(np.zeros(10_000))
    block = bytearray(encoded.buffers[0])
    array = loads(encoded.data, [memoryview(block)], copy=False)
    array[0] = 1
    assert np.frombuffer(block)[0] == 1
    array = loads(encoded.data, [memoryview(block).toreadonly()], copy=False)
    array[0] = 2
    assert np.frombuffer(block)[0] == 1


def test_a_value_has_a_bounded_number_of_buffers(monkeypatch):
    monkeypatch.setattr(values, "BUFFERS_PER_VALUE", 3)
    arrays = [np.full(1000, n) for n in range(5)]
    encoded = dumps(arrays)
    assert len(encoded.buffers) == 3
    assert all((a == b).all() for a, b in zip(arrays, loads(encoded.data, encoded.buffers), strict=True))


def test_pickles_may_be_views():
    encoded = dumps([1, "x"])
    assert loads(memoryview(bytearray(encoded.data))) == [1, "x"]


class Nothing:
    """Stands for no value."""

    def stored(self, name, nbytes):
        raise AssertionError

    input = stored


@pytest.mark.parametrize("resolve", [None, Nothing()])
def test_what_was_loaded_is_gone_with_its_last_name(notebook, book, resolve):
    notebook.cell("class Mine:\n    pass\nmine = Mine()")
    encoded = dumps([notebook["mine"]], book)
    slot = Definitions(in_slot=True)
    for name in encoded.definitions:
        slot.learn(name, book.blob(name))
    gc.collect()
    gc.disable()
    try:
        for definitions in (book, slot):
            loaded = loads(encoded.data, (), definitions, resolve=resolve)
            seen = weakref.ref(loaded[0])
            del loaded
            assert seen() is None, "a cycle holds it"
    finally:
        gc.enable()


def test_instances_of_notebook_classes_go_there_and_back(notebook, book, other):
    notebook.cell("""
        import enum, dataclasses, typing
        class Shape:
            made = 0
            def __init__(self, size): self.size = size
        class Circle(Shape):
            def base(self): return Shape(self.size)
        class Color(enum.Enum):
            RED = 1
        @dataclasses.dataclass
        class Point:
            x: int
        class Pair(typing.NamedTuple):
            a: int
        class Oops(Exception): pass
        def same(value): return value
        def make(n): return [Shape(n), Circle(n), Circle(n).base(), Color.RED, Point(n), Pair(n), Oops("x")]
        def check(value):
            return [isinstance(value[0], Shape), type(value[1]) is Circle, isinstance(value[1], Shape)]
    """)
    same, _ = dump_function(notebook["same"], book)
    make, made = dump_function(notebook["make"], book)
    check, _ = dump_function(notebook["check"], book)
    value = notebook["make"](3)
    for result in (other.call(same, value), other.call(make, 3), other.call(same, other.call(make, 3))):
        assert [*map(type, result)] == [*map(type, value)]
        assert result[3] is notebook["Color"].RED and result[4] == value[4] and result[5] == value[5]
        assert other.call(check, result) == [True, True, True]
    assert len(made) == 6
    one = dumps(notebook["Point"](1), book)
    assert len(one.data) < 100 and len(one.definitions) == 1


def test_classes_with_slots(notebook, book, other):
    notebook.cell("""
        import dataclasses
        class Base:
            __slots__ = ("a", "__private")
            def __init__(self, a): self.a, self.__private = a, a
            def private(self): return self.__private
        class Child(Base):
            __slots__ = "b"
        @dataclasses.dataclass(slots=True, frozen=True)
        class Point:
            x: int
        class Pair(tuple): __slots__ = ()
        def make(a): return [Base(a), Child(a), Point(a), Pair((a, a))]
        def closed(value): return [hasattr(each, "__dict__") for each in value]
    """)
    value = notebook["make"](1)
    same = other.call(dump_function(lambda value: value, book)[0], value)
    for found in (same, other.call(dump_function(notebook["make"], book)[0], 1)):
        assert [*map(type, found)] == [*map(type, value)]
        assert found[0].private() == found[1].a == 1 and found[2:] == value[2:]
    assert other.call(dump_function(notebook["closed"], book)[0], value) == [False] * 4


def test_a_class_that_comes_back_by_value_stays_as_it_is_here(notebook, book, other):
    notebook.cell("""
        scale = 1
        class Thing:
            count = 0
            def scaled(self): return scale
        class Holder:
            def thing(self): return Thing()
            def hold(self): return Holder()
        # Each refers to the other, so one definition holds the other class by value.
        Thing.holder = Holder
        def use(n):
            Thing.count = n
            return Holder().thing()
    """)
    use, _ = dump_function(notebook["use"], book)
    Thing, method = notebook["Thing"], notebook["Thing"].scaled
    thing = other.call(use, 5)
    assert type(thing) is Thing and Thing.count == 0 and Thing.scaled is method
    notebook.names["scale"] = 7
    assert thing.scaled() == 7


def test_classes_born_there_arrive_by_value(notebook, book, other):
    notebook.cell("""
        def make(n):
            class Local:
                def __init__(self, n): self.n = n
            return [Local(n), Local(n + 1)]
    """)
    make, _ = dump_function(notebook["make"], book)
    first, second = other.call(make, 1)
    assert (first.n, second.n) == (1, 2) and type(first) is type(second) and type(first).__name__ == "Local"


def test_a_changed_class_is_pickled_again_at_the_next_batch(notebook, book, other):
    notebook.cell("""
        class Dog:
            def sound(self): return "woof"
        def listen(dog): return dog.sound()
    """)
    listen, _ = dump_function(notebook["listen"], book)
    dog = notebook["Dog"]()
    assert other.call(listen, dog) == "woof"
    first = book.digest_of(notebook["Dog"])
    book.refresh()
    assert book.digest_of(notebook["Dog"]) == first
    notebook.cell("Dog.sound = lambda self: 'wuff'")
    assert book.digest_of(notebook["Dog"]) == first
    book.refresh()
    assert book.digest_of(notebook["Dog"]) != first
    assert other.call(listen, dog) == "wuff"


def test_each_function_finds_the_class_that_it_was_sent_with(notebook, book, other):
    notebook.cell("""
        class Config:
            level = 0
            def get(self): return self.level
        def f(): return Config.level, hasattr(Config, "extra"), Config
        def g(config): return config.get(), isinstance(config, Config)
    """)
    sent = []
    for level in range(3):
        notebook.cell(f"Config.level = {level}")
        if level == 1:
            notebook.cell("Config.extra = 1")
        book.refresh()
        sent.append((dump_function(notebook["f"], book)[0], dump_function(notebook["g"], book)[0]))
        notebook.cell("if hasattr(Config, 'extra'): del Config.extra")
    for level in (0, 1, 2, 1, 0):
        f, g = sent[level]
        assert other.call(f) == (level, level == 1, notebook["Config"])
        assert other.call(g, notebook["Config"]()) == (level, True)
    got = dump_function(lambda config: config.get(), book)[0]
    assert other.call(got, notebook["Config"]()) == 2


def test_a_class_defined_again_is_another_class(notebook, book, other):
    source = """
        class Dog:
            def sound(self): return {!r}
        def listen(dog): return isinstance(dog, Dog), dog.sound()
        """
    notebook.cell(source.format("woof"))
    old = notebook["Dog"]()
    notebook.cell(source.format("wuff"))
    listen, _ = dump_function(notebook["listen"], book)
    assert other.call(listen, old) == (False, "woof")
    assert other.call(listen, notebook["Dog"]()) == (True, "wuff")


def test_definitions_can_be_loaded_by_a_third_process_alike(notebook, book):
    notebook.cell("""
        class A: pass
        class B(A): pass
    """)
    encoded = dumps(notebook["B"](), book)
    assert len(encoded.definitions) == 2 and book.needs(encoded.definitions[0])
    reader = Definitions()
    for name in encoded.definitions:
        reader.learn(name, book.blob(name))
    assert isinstance(loads(encoded.data, (), reader), reader.resolve(book.digest_of(notebook["A"])))


def test_an_unknown_definition_is_an_error_of_its_own(notebook, book):
    notebook.cell("class A: pass")
    encoded = dumps(notebook["A"](), book)
    with pytest.raises(UnknownDefinitionError, match="never came"):
        loads(encoded.data, (), Definitions())
    with pytest.raises(UnknownDefinitionError, match="without its definition"):
        loads(encoded.data)
    reader = Definitions()
    reader.learn(encoded.definitions[0], dumps(3).data)
    with pytest.raises(ProtocolError):
        loads(encoded.data, (), reader)


def test_without_a_book_classes_travel_inside(notebook):
    notebook.cell("class A: pass")
    encoded = dumps(notebook["A"]())
    assert encoded.definitions == () and type(loads(encoded.data)) is notebook["A"]


def test_modules_registered_by_value(monkeypatch, tmp_path, book):
    import cloudpickle

    (tmp_path / "by_value_helper.py").write_text("class Thing:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    import by_value_helper

    assert dumps(by_value_helper.Thing(), book).definitions == ()
    cloudpickle.register_pickle_by_value(by_value_helper)
    try:
        encoded = dumps(by_value_helper.Thing(), book)
        assert len(encoded.definitions) == 1
        assert type(loads(encoded.data, (), book)) is by_value_helper.Thing
    finally:
        cloudpickle.unregister_pickle_by_value(by_value_helper)


class Stubborn:
    def __reduce__(self):
        raise RuntimeError("never")


class Holder:
    def __init__(self, part):
        self.part = part


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


LOCK = threading.Lock()
TEXT_FILE = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115


@pytest.mark.parametrize(
    ("value", "culprit", "advice"),
    [
        ({"lock": LOCK}, "item['lock'] is a _thread.lock", "make it inside"),
        ([1, (2, LOCK)], "item[1][1] is a _thread.lock", "make it inside"),
        (Holder({1: LOCK}), "item.part[1] is a _thread.lock", "make it inside"),
        (Holder(LOCK).__init__, "item.__self__.part is a _thread.lock", "make it inside"),
        ((n for n in range(3)), "item is a generator", "pass a list"),
        (lambda: LOCK, "LOCK, a global that <lambda> uses, is a _thread.lock", "make it inside"),
        ((lambda lock: lambda: lock)(LOCK), "lock, a variable that <lambda> captures, is a _thread.lock", "make it"),
        ((lambda x=LOCK: x), "a default argument of <lambda> is a _thread.lock", "make it inside"),
        (Stubborn(), "is a tests.wire.test_values.Stubborn", "__reduce__"),
        ({LOCK}, "an element of item is a _thread.lock", "make it inside"),
        (ValueError(LOCK), "item.args[0] is a _thread.lock", "make it inside"),
        (
            {"own": type("Job", (), {"__module__": "twistcluster.cluster", "__reduce__": Stubborn.__reduce__})()},
            "item['own'] is a twistcluster.cluster.Job",
            "pass its jobs, futures and references as arguments",
        ),
        (nested(100_000), "nested too deeply", "flatten"),
        ({"file": TEXT_FILE}, "item['file'] is a _io.TextIOWrapper", "pass the path"),
    ],
)
def test_what_cannot_be_pickled_is_named_with_what_to_do(value, culprit, advice):
    with pytest.raises(NotPicklable) as caught:
        dumps(value, name="item")
    assert culprit in str(caught.value) and advice in str(caught.value)
    assert len(str(caught.value)) < 500


def test_the_search_for_the_culprit_is_bounded():
    wide = [[[Stubborn()] * 3, "x" * 100, *range(1000)] for _ in range(1000)]
    with pytest.raises(NotPicklable, match=r"item\[0\]\[0\]\[0\]"):
        dumps(wide, name="item")


class Fussy(Exception):
    def __init__(self, a, b):
        super().__init__(a)

    def __reduce__(self):
        # As for any exception, but said here: libraries such as tblib, once imported, change how all of them pickle.
        return type(self), self.args


def test_an_exception_that_cannot_be_unpickled_raises_when_loaded():
    encoded = dumps(Fussy(1, 2))
    with pytest.raises(TypeError):
        loads(encoded.data)


def test_exceptions_survive(book):
    error = KeyError("x")
    back = loads(dumps(error, book).data, (), book)
    assert type(back) is KeyError and back.args == ("x",)
