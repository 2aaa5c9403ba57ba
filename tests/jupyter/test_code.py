import asyncio
import linecache
import pickle
import traceback

import cloudpickle
import pytest

from tests.client.line import FakeLine
from tests.client.opened import FakeStore
from twistcluster.client.jobs import Job
from twistcluster.client.records import JobRecord
from twistcluster.client.references import Reference
from twistcluster.jupyter.capture import capture
from twistcluster.jupyter.cells import parse_everywhere_cell, parse_submit_cell
from twistcluster.jupyter.expressions import parse_map, parse_submit
from twistcluster.jupyter.grammar import GrammarError


def run(code, names, elsewhere=()):
    call = capture(code, names, elsewhere)
    return call.function(*call.arguments)


def refused(parse, *args):
    with pytest.raises(GrammarError) as caught:
        parse(*args)
    text = str(caught.value)
    assert len(text.splitlines()) <= 5
    return text


@pytest.mark.parametrize(
    ("text", "free"),
    [
        ("f(x)", {"f", "x"}),
        ("[y for y in ys if y > low]", {"ys", "low"}),
        ("(z := g(1)) + z", {"g"}),
        ("[w := v for v in vs] and w", {"vs"}),
        ("lambda a, b=c, *d, e=f, **g: (a, b, d, e, g, h)", {"c", "f", "h"}),
        ("{k: v for k, v in d.items()}", {"d"}),
        ("(lambda: [x for x in x])()", {"x"}),
        ("a.b.c[d]", {"a", "d"}),
        ("f'{name!r:>{width}}'", {"name", "width"}),
        ("await fetch(url)", {"fetch", "url"}),
        ("max(xs)  # a comment", {"max", "xs"}),
    ],
)
def test_free_names_of_an_expression(text, free):
    assert parse_submit(text).free == free


def test_an_expression_takes_values_along_and_keeps_sets_as_sets():
    call = capture(parse_submit("f({1, 2}, x)"), {"f": lambda a, b: (a, b), "x": 3, "other": object()})
    assert call.arguments == (None,)
    assert call.function(None) == ({1, 2}, 3)
    assert "other" not in call.function.__globals__


def test_a_missing_name_is_an_error_at_once():
    with pytest.raises(NameError, match="Did you mean 'paths'") as caught:
        capture(parse_submit("f(pathss)"), {"f": abs, "paths": 1})
    assert caught.value.name == "pathss"
    with pytest.raises(NameError, match="'nothing_like_it' is not defined in this notebook"):
        capture(parse_submit("nothing_like_it"), {})


def test_builtins_and_what_everywhere_defined_may_be_missing():
    assert run(parse_submit("len('ab')"), {}) == 2
    capture(parse_submit("model(1)"), {}, elsewhere={"model"})


def test_the_notebooks_own_names_hide_builtins():
    assert run(parse_submit("len('ab')"), {"len": lambda text: 7}) == 7


def test_the_function_is_called_what_people_would_call_it():
    assert parse_submit("make_thumb(p)").label == "make_thumb"
    assert parse_submit("lab.make_thumb(p)").label == "make_thumb"
    assert parse_submit("1 + 1").label == "expression"
    assert parse_map("make_thumb(p) for p in ps").body.label == "make_thumb"
    assert capture(parse_submit("abs(-1)"), {}).function.__name__ == "abs"


def test_the_function_travels_by_value():
    call = capture(parse_submit("sum(x for x in xs)"), {"xs": [1, 2]})
    assert pickle.loads(cloudpickle.dumps(call.function))(None) == 3


def test_the_same_line_makes_the_same_pickle():
    first, second = (cloudpickle.dumps(capture(parse_submit("f(x)"), {"f": abs, "x": 1}).function) for _ in range(2))
    assert first == second


def test_the_spare_parameter_hides_nothing():
    assert run(parse_submit("_item + _item_"), {"_item": 1, "_item_": 2}) == 3


def test_a_coroutine_is_awaited_in_its_function():
    async def fetch():
        return 5

    assert asyncio.run(run(parse_submit("await fetch() + 1"), {"fetch": fetch})) == 6


@pytest.mark.parametrize("text", ["f(x", "x = 3", "yield 1", "a b", "return 1", "x; y", "f(x) for x in xs"])
def test_what_submit_refuses(text):
    assert "submit" in refused(parse_submit, text)


def test_a_refused_expression_shows_where():
    lines = refused(parse_submit, "f(x) +* y").splitlines()
    assert lines[1].index("f(x) +* y") >= 4
    assert lines[2].index("^") == lines[1].index("*")


def run_map(text, names):
    line = parse_map(text)
    body = capture(line.body, names).function
    items = eval(line.items, dict(names))
    if line.condition:
        items = filter(capture(line.condition, names).function, items)
    return [body(item) for item in items]


@pytest.mark.parametrize(
    "text",
    [
        "x * k for x in xs",
        "a + b + k for a, b in zip(xs, ys)",
        "(a, b, c) for a, (b, *c) in [(1, (2, 3, 4)), (5, (6,))]",
        "x for x in xs if x % 2 if x > k",
        "a for a, b in zip(xs, ys) if a < b - k",
        "(lambda y: y + x)(1) for x in (x for x in xs)",
        "[x + y for y in ys] for x in xs  # comment",
        "_item + a for a, b in zip(xs, ys)",
        "len(str(x)) for x in xs",
    ],
)
def test_a_map_gives_what_the_comprehension_would(text):
    names = {"xs": [1, 2, 3, 4, 5], "ys": [5, 4, 3, 2, 1], "k": 2, "_item": 9}
    assert run_map(text, names) == eval(f"[\n{text}\n]", dict(names))


def test_what_is_free_in_a_body():
    line = parse_map("f(x, y) for x in things(z) if x in wanted")
    assert line.body.free == {"f", "y"}
    assert line.condition.free == {"wanted"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("f(x)", "one `for`"),
        ("[f(x) for x in xs]", "without brackets"),
        ("f(x, y) for x in xs for y in ys", "itertools.product"),
        ("f(x) async for x in xs", "without await"),
        ("f(x) for x in await xs()", "without await"),
        ("f(x) for box.x in xs", "a name"),
        ("f(x) for x inn xs", "%cluster help map"),
    ],
)
def test_what_map_refuses(text, says):
    assert says in refused(parse_map, text)


def test_a_cell_returns_its_last_expression_and_takes_free_names_along():
    code = parse_submit_cell("", "import math\ny = math.sqrt(x)\ndef double(v):\n    return v * factor\ndouble(y)")
    assert code.free == {"x", "factor"}
    assert run(code, {"x": 9, "factor": 2}) == 6


def test_a_cell_without_an_expression_returns_none():
    assert run(parse_submit_cell("", "x = 1"), {}) is None


def test_a_cell_may_change_what_it_reads():
    code = parse_submit_cell("", "rows = rows + [1]\ntotal += 1\nrows, total")
    assert code.early == ("rows", "total")
    call = capture(code, {"rows": [0], "total": 5})
    assert call.arguments == ([0], 5)
    assert call.function(*call.arguments) == ([0, 1], 6)


@pytest.mark.parametrize(
    ("cell", "early"),
    [
        ("fig, ax = plots()\nfig.x", ()),
        ("for x in range(3):\n    y = x\ny", ()),
        ("if go:\n    y = 1\ny", ("y",)),
        ("if go:\n    y = 1\nelse:\n    y = 2\ny", ()),
        ("try:\n    y = 1\nexcept E as e:\n    y = e\ny", ()),
        ("with open(p) as f:\n    t = f.read()\nt, f", ()),
        ("[x for x in x]\nx = 1", ("x",)),
        ("class A:\n    y = y\ny = 1", ("y",)),
        ("def f():\n    return g()\ndef g():\n    return 1\nf()", ()),
        ("del x\nx = 1", ("x",)),
        ("match v:\n    case [a, *b]:\n        pass\n    case {'k': a, **b}:\n        pass\na, b", ()),
        ("n += 1", ("n",)),
        ("n: int\nn = 2", ()),
        ("x = (y := 3) + y", ()),
        ("import a.b as c, d.e\nc, d", ()),
        ("f = lambda q=x: q\nx = 1", ("x",)),
    ],
)
def test_names_that_are_read_before_they_are_assigned(cell, early):
    assert parse_submit_cell("", cell).early == early


def test_a_name_that_was_read_early_but_has_no_value_here_stays_the_cells_own():
    assert run(parse_submit_cell("", "if True:\n    y = 1\ny"), {}) == 1


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("!ls", "Line 2 is for the notebook"),
        ("x = 1\n%time x", "Line 3 is for the notebook"),
        ("files = !ls", "Line 2 is for the notebook"),
        ("", "no code"),
        ("# only a comment", "no code"),
        ("return 3", "'return' outside function"),
        ("x = (", "never closed"),
        ("from os import *", "names what it imports"),
    ],
)
def test_what_a_cell_refuses(cell, says):
    assert says in refused(parse_submit_cell, "", cell)
    assert says in refused(parse_everywhere_cell, "", cell)


def test_everywhere_assigns_globals():
    code = parse_everywhere_cell(
        "", "import math\nmodel = load(path)\ndef use(x):\n    return model(x), math.pi\nn = n + 1"
    )
    assert code.assigns == {"math", "model", "use", "n"}
    assert code.free == {"load", "path"}
    function = capture(code, {"load": lambda path: abs, "path": "p", "n": 1}).function
    function()
    assert function.__globals__["n"] == 2
    assert function.__globals__["use"](-3)[0] == 3


def test_everywhere_may_have_a_global_statement_of_its_own():
    function = capture(parse_everywhere_cell("", "global x\nx = 1\ny = 2"), {}).function
    function()
    assert (function.__globals__["x"], function.__globals__["y"]) == (1, 2)


def test_a_traceback_shows_the_cells_own_lines():
    code = parse_submit_cell("--name x", "a = 1\nb = a / 0\nb")
    function = capture(code, {}).function
    linecache.checkcache()
    with pytest.raises(ZeroDivisionError) as caught:
        function(None)
    text = "".join(traceback.format_exception(caught.value))
    assert "line 3" in text and "b = a / 0" in text and "cluster submit cell" in text


# ---- what stands for a value -----------------------------------------------------------------------------------------


@pytest.fixture
def stand_ins():
    line = FakeLine()
    record = JobRecord(line, 1, "id-1", "f-1", count=2)
    line.shelf.add(record)
    return {"f": record.future(0), "j": Job(record), "r": Reference(line, FakeStore(), b"0" * 16, 10)}


def passed(code, names):
    call = capture(code, names)
    return call.function, call.arguments


def test_a_name_that_stands_for_a_value_is_an_argument(stand_ins):
    names = {**stand_ins, "k": 3}
    function, arguments = passed(parse_submit("[x + k + sum(f for f in r) for x in (lambda: j)()]"), names)
    assert arguments == (stand_ins["j"], stand_ins["r"])
    assert function([1, 2], (10, 20)) == [34, 35] and not set(stand_ins) & set(function.__globals__)
    cell = "def total():\n    return sum(j) + f\nr = r * 2\ntotal() + r"
    function, arguments = passed(parse_submit_cell("", cell), names)
    assert arguments == (stand_ins["r"], stand_ins["f"], stand_ins["j"])
    assert function(100, 10, [1, 2]) == 213


def test_beside_a_maps_item_it_is_an_argument_and_for_its_condition_it_is_itself(stand_ins):
    line = parse_map("(x, f) for x in range(3) if f is None or x")
    function, arguments = passed(line.body, stand_ins)
    assert arguments == (stand_ins["f"],) and function(1, 2) == (1, 2)
    wanted = capture(line.condition, stand_ins, passes=False)
    assert wanted.arguments == () and [wanted.function(x) for x in range(3)] == [0, 1, 2]


def test_where_it_cannot_be_an_argument_the_error_says_what_to_do(stand_ins):
    text = refused(capture, parse_everywhere_cell("", "model = j[0]"), stand_ins)
    assert "everywhere can't wait for j, a Job" in text and "j_value = j.results()" in text
    text = refused(capture, parse_submit_cell("", "def g():\n    global f\n    return f\ng()"), stand_ins)
    assert "f is a Future" in text and "f_value = f.result()" in text and "take out: global f" in text
