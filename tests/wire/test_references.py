"""Placeholders stand for values that aren't part of a pickle, at any depth, and nothing else changes."""

import copyreg
import dataclasses
import pickle
import threading

import numpy as np
import pytest

from twistcluster.errors import NotPicklable, ProtocolError
from twistcluster.wire.definitions import Definitions
from twistcluster.wire.references import (
    HeldHereError,
    RefusedError,
    UnresolvedError,
    input_value,
    loaded_value,
    plain_call,
    stored_value,
    whole_value,
)
from twistcluster.wire.values import dumps, loads


class Held:
    """What a future is: no plain pickle takes it."""

    def __init__(self, number):
        self.number = number

    def __reduce__(self):
        raise HeldHereError("held here")


class Table:
    def __init__(self, call=lambda held: (input_value, (held.number,))):
        self.table = {Held: self._met}
        self.expected = False
        self.definitions = ()
        self.met = []
        self._call = call

    def begin(self):
        self.met = []

    def _met(self, held):
        self.met.append(held.number)
        return self._call(held)


class Values:
    def __init__(self):
        self.asked = []

    def stored(self, name, nbytes):
        self.asked.append((name, nbytes))
        return f"stored {name!r}"

    def input(self, number):
        return f"input {number}"


@dataclasses.dataclass
class Pair:
    left: object
    right: object


class Box:
    def __init__(self, content):
        self.content = content


class Special:
    """Pickled by a function of copyreg's."""


def special():
    return Special()


copyreg.pickle(Special, lambda _: (special, ()))


def through(value, references, definitions=None):
    encoded = dumps(value, definitions, references=references)
    return loads(encoded.data, [bytes(b) for b in encoded.buffers], definitions, resolve=Values())


@pytest.mark.parametrize("expected", [False, True])
def test_objects_at_any_depth_are_replaced(expected):
    references = Table()
    references.expected = expected
    value = [Held(1), (Held(2), {"a": {Held(3): {4: Held(4)}}}), Pair(Held(5), 1), Box([Held(6)]), {Held(7)}, 8]
    found = through(value, references)
    assert found[:2] == ["input 1", ("input 2", {"a": {"input 3": {4: "input 4"}}})]
    assert found[2] == Pair("input 5", 1) and found[3].content == ["input 6"] and found[4:] == [{"input 7"}, 8]
    assert references.met == [1, 2, 3, 4, 5, 6, 7]


def test_the_same_object_is_asked_for_once():
    references, held = Table(), Held(1)
    assert through([held, (held,)], references) == ["input 1", ("input 1",)] and references.met == [1]


@pytest.mark.parametrize("definitions", [None, Definitions()])
def test_functions_and_classes_of_the_notebook_may_hold_them(notebook, definitions):
    notebook.cell("class Mine:\n    pass")
    mine = notebook["Mine"]()
    mine.part, held = [Held(3)], Held(4)
    references = Table()
    found = through((mine, lambda: held), references, definitions)
    assert type(found[0]).__name__ == "Mine" and found[0].part == ["input 3"] and found[1]() == "input 4"
    assert references.met == [3, 4], "what a pass gathered that failed doesn't count"


def test_buffers_stay_those_of_the_value():
    array = np.arange(100_000)
    encoded = dumps({"a": array, "b": Held(1)}, references=Table())
    assert [memoryview(b).nbytes for b in encoded.buffers] == [array.nbytes]
    found = loads(encoded.data, encoded.buffers, resolve=Values())
    assert (found["a"] == array).all() and found["b"] == "input 1"


def test_what_copyreg_knows_is_still_pickled_by_it():
    found = through([Special(), 1j, Held(1)], Table())
    assert type(found[0]) is Special and found[1:] == [1j, "input 1"]


def test_without_references_the_pickle_is_the_same():
    for value in ([1, "a"], {"k": np.zeros(3)}, Pair(1, 2)):
        assert dumps(value, references=Table()).data == dumps(value).data == pickle.dumps(value, 5)


def test_without_a_table_they_can_t_travel():
    with pytest.raises(HeldHereError):
        pickle.dumps([Held(1)])
    with pytest.raises(NotPicklable, match=r"item\[1\] is .*Held"):
        dumps([1, Held(1)], name="item")


def test_what_can_t_travel_beside_them_is_named():
    with pytest.raises(NotPicklable, match=r"item\['lock'\] is a _thread.lock"):
        dumps({"held": Held(1), "lock": threading.Lock()}, name="item", references=Table())


@pytest.mark.parametrize("beside", [1, lambda: 1])
def test_a_refusal_is_raised_as_it_is(beside):
    def refuse(held):
        raise RefusedError(ValueError("of another cluster"))

    with pytest.raises(ValueError, match="of another cluster") as caught:
        dumps([beside, Held(1)], references=Table(refuse))
    assert type(caught.value) is ValueError


def test_results_stand_for_themselves():
    array = np.arange(10_000)
    inner = dumps({"x": array})
    buffers = [pickle.PickleBuffer(b) for b in inner.buffers]
    calls = {
        0: (loaded_value, (inner.data, buffers)),
        1: (whole_value, ([1, 2],)),
        2: plain_call(None),
        3: plain_call("text"),
        4: plain_call(True),
        5: plain_call(b"b"),
        6: plain_call(-1.5),
        7: plain_call(1 << 100),
    }
    for copy in (True, False):
        encoded = dumps([Held(n) for n in calls], references=Table(lambda held: calls[held.number]))
        first, *others = loads(encoded.data, encoded.buffers, Definitions(), copy=copy)
        assert (first["x"] == array).all() and first["x"].flags.writeable
        assert others == [[1, 2], None, "text", True, b"b", -1.5, 1 << 100] and others[3] is True
    plain = pickle.loads(encoded.data, buffers=encoded.buffers)
    assert (plain[0]["x"] == array).all() and plain[0]["x"].flags.writeable


def test_a_result_of_a_notebook_s_class_is_loaded_with_its_definition(notebook):
    notebook.cell("class Mine:\n    pass")
    book = Definitions()
    inner = dumps(notebook["Mine"](), book)
    references = Table(lambda held: (loaded_value, (inner.data, [])))
    references.definitions = inner.definitions
    encoded = dumps([Held(1)], book, references=references)
    assert encoded.definitions == inner.definitions != ()
    slot = Definitions(in_slot=True)
    for name in encoded.definitions:
        slot.learn(name, book.blob(name))
    assert type(loads(encoded.data, (), slot, resolve=Values())[0]).__name__ == "Mine"


def test_a_stored_value_is_asked_for_by_id_and_size():
    values = Values()
    encoded = dumps((Held(1),), references=Table(lambda held: (stored_value, (b"i" * 16, 99))))
    assert loads(encoded.data, resolve=values) == (f"stored {b'i' * 16!r}",) and values.asked == [(b"i" * 16, 99)]


@pytest.mark.parametrize("definitions", [None, Definitions()])
@pytest.mark.parametrize("call", [(stored_value, (b"i" * 16, 99)), (input_value, (3,))])
def test_loaded_where_nobody_can_say_it_is_an_error(call, definitions):
    encoded = dumps([Held(1)], references=Table(lambda held: call))
    with pytest.raises(UnresolvedError, match="loaded without"):
        loads(encoded.data, (), definitions)
    assert issubclass(UnresolvedError, ProtocolError)


def test_what_a_resolver_raises_is_raised():
    class Lost(Values):
        def input(self, number):
            raise LookupError("lost")

    with pytest.raises(LookupError, match="lost"):
        loads(dumps(Held(1), references=Table()).data, resolve=Lost())
