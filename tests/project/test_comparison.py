"""docs/comparison.md is made from a bench."""

import importlib.util
import pathlib

PATH = pathlib.Path(__file__).parents[2] / "tools" / "comparison.py"


def comparison():
    spec = importlib.util.spec_from_file_location("comparison", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def engine(title, median, ratio, **more):
    return {"title": title, "items": 64, "median": median, "ratio": ratio, "more": more}


def measured(*engines):
    return {"title": "arrays held", "unit": "MiB/s", "better": "more", "engines": list(engines)}


def test_figures_from_beside_stand_below_the_table():
    made = comparison().table(
        measured(engine("twistcluster", 500.0, None, **{"own mapping": 1000.0}), engine("Ray", 250.0, 2.0))
    )
    assert made.splitlines()[2:] == [
        "| twistcluster | 500 |  |",
        "| Ray | 250 | 2 x |",
        "",
        "- twistcluster: own mapping 1,000",
    ]


def test_a_chunksize_stands_in_its_row_only():
    made = comparison().table(measured(engine("twistcluster", 5.0, None), engine("pool", 1.0, 5.0, chunksize=20.0)))
    assert made.splitlines()[2:] == ["| twistcluster | 5 |  |", "| pool (20) | 1 | 5 x |"]


def test_the_page_has_every_measure_and_the_versions():
    bench = {
        "versions": {"ray": "2.1"},
        "rounds": 5,
        "slots": 2,
        "machine": "2 cores",
        "measures": [measured(engine("twistcluster", None, None))],
    }
    page = comparison().page(bench)
    assert "## Arrays held\n" in page
    assert "on 2 cores (ray 2.1)" in page
    assert "| twistcluster | failed |  |" in page
