"""Whatever is typed is understood or refused in words."""

from hypothesis import given, settings
from hypothesis import strategies as st

from twistcluster.jupyter.cells import parse_everywhere_cell, parse_submit_cell
from twistcluster.jupyter.completion import Names, complete
from twistcluster.jupyter.expressions import parse_map, parse_submit
from twistcluster.jupyter.grammar import CELLS, COMMANDS, GrammarError, parse_cell, parse_line

NAMES = Names(clusters=lambda: ["a"], jobs=lambda: ["b"], variables=lambda: {"c": 1})
OPTIONS = sorted(
    {name for command in [*COMMANDS.values(), *CELLS.values()] for o in command.options for name in o.names}
)
WORDS = st.sampled_from(
    [*COMMANDS, *CELLS, *OPTIONS, "x", "f(x)", "for", "in", "if", "'", '"', "--", "-", "=", "1", "\n", "…"]
)
LINES = st.lists(WORDS | st.text(max_size=8), max_size=8).map(" ".join)
CODE = st.lists(
    st.sampled_from([
        "x", "=", "for", "in", "if", "else", ":", "lambda", "(", ")", "[", "]", "await", "async", "yield", ":=", ",", "*",
        "return", "import", "def", "class", "global", "del", "!ls", "%time", "\n", "    ", "1", "'", "{", "}", "f", ".", "\x00",
    ]),
    max_size=12,
).map(" ".join)  # fmt: skip


def understood_or_refused(parse, *args):
    refusal = None
    try:
        parse(*args)
    except GrammarError as error:
        refusal = str(error)
    assert refusal is None or 1 <= len(refusal.splitlines()) <= 5


@settings(max_examples=300)
@given(LINES)
def test_any_line(line):
    understood_or_refused(parse_line, line)
    understood_or_refused(parse_cell, line)
    complete("%cluster " + line, True, NAMES)
    complete("%%cluster " + line, True, NAMES)


@settings(max_examples=300)
@given(CODE)
def test_any_code(code):
    understood_or_refused(parse_submit, code)
    understood_or_refused(parse_map, code)
    understood_or_refused(parse_submit_cell, "", code)
    understood_or_refused(parse_everywhere_cell, "", code)
