import pytest

from twistcluster.jupyter.grammar import (
    CELLS,
    COMMANDS,
    GrammarError,
    count_argument,
    help_text,
    parse_cell,
    parse_line,
)

ISSUE_COMMANDS = (
    """start connect list status submit map jobs job cancel logs errors retry scale invite restart stop help"""
)


def error(line, parse=parse_line):
    with pytest.raises(GrammarError) as caught:
        parse(line)
    text = str(caught.value)
    assert len(text.splitlines()) <= 5
    assert "%cluster" in text
    return text


def test_the_commands_are_those_of_the_issue():
    assert set(COMMANDS) == set(ISSUE_COMMANDS.split())
    assert set(CELLS) == {"submit", "everywhere"}


@pytest.mark.parametrize("command", [*COMMANDS.values(), *CELLS.values()], ids=lambda command: command.example)
def test_every_example_parses_to_its_command(command):
    example = command.example.partition("%")[1] + command.example.partition("%")[2]
    line = example.removeprefix("%%cluster").removeprefix("%cluster")
    request = parse_cell(line) if command.cell else parse_line(line)
    assert request.command is command


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("start", {}),
        ("start -n 4", {"slots": 4}),
        ("start -n4", {"slots": 4}),
        ("start --slots=4 --name lab --as c", {"slots": 4, "name": "lab", "as": "c"}),
        ('  start   --name "my lab" ', {"name": "my lab"}),
        ("stop --force", {"force": True}),
    ],
)
def test_options_in_their_spellings(line, options):
    assert parse_line(line).options == options


def test_reading_of_options():
    request = parse_line("start -n 4")
    assert request.number("slots") == 4
    assert request.text("name") is None
    assert not request.has("force")


def test_arguments_may_be_quoted():
    assert parse_line("cancel 'my job'").arguments == ("my job",)


@pytest.mark.parametrize(
    ("line", "options", "rest"),
    [
        ("submit f(x)", {}, "f(x)"),
        ("submit f({1, 2}, '{x}', $y)", {}, "f({1, 2}, '{x}', $y)"),
        ("submit -o fut --wait f(x)", {"out": "fut", "wait": True}, "f(x)"),
        ("submit --name 'two words' f( x )", {"name": "two words"}, "f( x )"),
        ("submit --priority -3 x - -y", {"priority": -3}, "x - -y"),
        ("submit -- -x", {}, "-x"),
        ("submit --priority=2 -- -x", {"priority": 2}, "-x"),
        ("map -o job f(x) for x in xs if x - 1", {"out": "job"}, "f(x) for x in xs if x - 1"),
        ("submit 'a' -o b", {}, "'a' -o b"),
    ],
)
def test_expressions_begin_after_the_options_and_stay_as_typed(line, options, rest):
    request = parse_line(line)
    assert (request.options, request.rest) == (options, rest)


def test_a_cell_has_options_and_nothing_else():
    assert parse_cell("submit --name x -o y").options == {"name": "x", "out": "y"}
    assert "doesn't take 'f(x)'" in error("submit f(x)", parse_cell)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "%cluster start"),
        ("strat", "Did you mean: %cluster start"),
        ("results train", "Did you mean: %cluster job train"),
        ("strat -n 4", "Did you mean: %cluster start -n 4"),
        ("sumbit f(x)", "Did you mean: %cluster submit f(x)"),
        ("statsu", "Did you mean: %cluster status"),
        ("zzzzzz", "%cluster help"),
        ("everywhere", "%%cluster everywhere"),
        ("start --nmae x", "Did you mean: --name"),
        ("start --slot 3", "Did you mean: --slots"),
        ("start -n", "-n needs a value"),
        ("start -n many", "'many' isn't one"),
        ("start -n 0", "1 or more"),
        ("start --as 1x", "variable"),
        ("start lab", "doesn't take 'lab'"),
        ("connect", "connect needs NAME"),
        ("stop --force=yes", "takes no value"),
        ("start -n 1 -n 2", "given twice"),
        ("submit", "needs an expression"),
        ("submit --wait", "needs an expression"),
        ("submit -x", "-- -x"),
        ("submit --time-limit soon f(x)", "is a time, as in --time-limit 30"),
        ("submit --time-limit 0 f(x)", "is a time, as in --time-limit 30"),
        ("map --retries often f(x) for x in y", "--retries TIMES is a whole number"),
        ("submit --time-limt 3 f(x)", "Did you mean: --time-limit"),
    ],
)
def test_misspelt_lines_are_told_what_to_type(line, says):
    assert says in error(line)


@pytest.mark.parametrize(
    ("line", "says"),
    [("start", "Try: %cluster start"), ("everywere", "%%cluster everywhere"), ("", "%%cluster submit")],
)
def test_misspelt_first_lines_of_cells(line, says):
    assert says in error(line, parse_cell)


def test_numbers_among_the_arguments():
    assert count_argument(parse_line("scale 8"), 0, 1) == 8
    assert count_argument(parse_line("logs job-1"), 1, 0) is None
    assert count_argument(parse_line("logs job-1 0"), 1, 0) == 0
    with pytest.raises(GrammarError, match="I is a whole number, 0 or more; 'x'"):
        count_argument(parse_line("logs job-1 x"), 1, 0)


def test_help_names_everything():
    text = help_text()
    for name in [*COMMANDS, *CELLS]:
        assert f"cluster {name}" in text
    assert all(len(line) <= 110 for line in text.splitlines())


def test_help_of_one_command_shows_its_options_and_an_example():
    text = help_text("start")
    assert "-n/--slots SLOTS" in text and "For example: %cluster start -n 4" in text
    assert help_text("submit").count("For example:") == 2
    with pytest.raises(GrammarError, match="Did you mean: %cluster map"):
        help_text("mpa")
