import pytest

from twistcluster.jupyter.completion import Names, complete
from twistcluster.jupyter.grammar import CELLS, COMMANDS

NAMES = Names(
    clusters=lambda: ["default", "lab"],
    jobs=lambda: ["thumb-1", "train"],
    variables=lambda: {"paths": 1, "thumb": 2, "_hidden": 3, "things": 4},
)


def texts(line, first_line=True):
    found = complete(line, first_line, NAMES)
    return None if found is None else (found.fragment, [candidate.text for candidate in found.candidates])


def test_commands():
    assert texts("%cluster ") == ("", list(COMMANDS))
    assert texts("%cluster st") == ("st", ["start", "status", "stop"])
    assert texts("fut = %cluster sub") == ("sub", ["submit"])
    assert texts("   %cluster ma") == ("ma", ["map"])
    assert texts("%cluster zz") == ("zz", [])


def test_commands_of_cells_in_the_first_line_only():
    assert texts("%%cluster ") == ("", list(CELLS))
    assert texts("%%cluster ", first_line=False) is None


@pytest.mark.parametrize(
    "line", ["cluster st", "%time clu", "x = 1", "%cluster", "%clusters st", "", "%cluster nonsense "]
)
def test_lines_that_are_not_ours(line):
    assert texts(line) is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("%cluster start -", ("-", ["-n", "--slots", "--name", "--as"])),
        ("%cluster start --n", ("--n", ["--name"])),
        ("%cluster start ", ("", ["-n", "--slots", "--name", "--as"])),
        ("%cluster start --name lab -", ("-", ["-n", "--slots", "--as"])),
        ("%cluster stop --", ("--", ["--force"])),
        ("%cluster submit --w", ("--w", ["--wait"])),
        ("%%cluster submit -o fut --p", ("--p", ["--priority"])),
        ("%%cluster submit ", ("", ["--name", "-o", "--out", "--wait", "--priority", "--retries", "--time-limit"])),
        ("%cluster status ", ("", [])),
    ],
)
def test_options(line, expected):
    assert texts(line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("%cluster connect ", ("", ["default", "lab"])),
        ("%cluster start --name l", ("l", ["lab"])),
        ("%cluster cancel t", ("t", ["thumb-1", "train"])),
        ("%cluster logs tr", ("tr", ["train"])),
        ("%cluster logs train ", ("", [])),
        ("%cluster help ma", ("ma", ["map"])),
        ("%cluster start --as th", ("th", ["things", "thumb"])),
        ("%cluster start -n ", ("", [])),
    ],
)
def test_names_of_clusters_and_jobs(line, expected):
    assert texts(line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("%cluster submit th", ("th", ["things", "thumb"])),
        ("%cluster submit thumb(pa", ("pa", ["paths"])),
        ("%cluster map thumb(p) for p in pa", ("pa", ["paths"])),
        ("%cluster submit --wait -o fut thum", ("thum", ["thumb"])),
        ("%cluster submit f(enumer", ("enumer", ["enumerate"])),
        ("%cluster map thumb(p) fo", ("fo", ["for", "format"])),
        ("%cluster submit ", ("", ["paths", "things", "thumb"])),
        ("%cluster submit f(", ("", ["paths", "things", "thumb"])),
        ("%cluster submit x -t", ("t", ["things", "thumb", "True", "True", "try", "tuple", "type"])),
    ],
)
def test_the_notebooks_variables_in_an_expression(line, expected):
    fragment, candidates = texts(line)
    assert fragment == expected[0]
    assert set(expected[1]) - {"True"} <= set(candidates)
    assert "_hidden" not in candidates


@pytest.mark.parametrize("line", ["%cluster submit thumb.", "%cluster submit thumb.a", "%cluster submit f('pa"])
def test_python_knows_more_after_a_dot_and_inside_a_string(line):
    assert texts(line) is None
