"""The bench: its options, its arithmetic, and a very small run of it for real."""

import json

import pytest
from click.testing import CliRunner

from twistcluster.cli import bench as command
from twistcluster.cli.bench import bench, figure, text
from twistcluster.cli.benchmark import work
from twistcluster.cli.benchmark.engines import ENGINES
from twistcluster.cli.benchmark.measures import MEASURES, prepared, take
from twistcluster.cli.benchmark.rounds import Child, Outcome, Row


def run(*arguments):
    return CliRunner().invoke(bench, arguments)


def outcome(better, ours, theirs):
    measure = next(measure for measure in MEASURES.values() if measure.better == better)
    return Outcome(measure, [Row("twistcluster", 10, ours), Row("pool", 5, theirs)])


def test_help_shows_an_example():
    answer = run("--help")
    assert answer.exit_code == 0
    assert "Example:\n    twistcluster bench" in answer.output


def test_an_unknown_name_is_told_with_those_that_are_known():
    answer = run("--only", "mop")
    assert answer.exit_code == 2
    assert "mop: unknown" in answer.output
    assert all(name in answer.output for name in (*MEASURES, *ENGINES))


def test_a_ratio_above_one_is_for_us_whichever_way_is_better():
    more, less = outcome("more", [30.0], [10.0]), outcome("less", [10.0], [30.0])
    assert more.ratio(more.rows[1]) == less.ratio(less.rows[1]) == 3
    assert more.ratio(more.rows[0]) is None


def test_medians_are_what_is_compared():
    one = outcome("more", [1.0, 50.0, 2.0], [4.0, 4.0, 900.0])
    assert one.rows[0].median == 2
    assert one.ratio(one.rows[1]) == 0.5


def test_a_failed_engine_is_shown_as_failed_and_has_no_ratio():
    one = outcome("more", [1.0], [])
    one.rows[1].error = "its process ended"
    assert one.ratio(one.rows[1]) is None
    assert "failed: its process ended" in text(one)


def test_further_figures_are_medians_too():
    row = Row("pool", 5, [1.0], [{"copies": 9.0}, {"copies": 1.0}, {"copies": 2.0}])
    assert row.more == {"copies": 2.0}
    assert Row("pool", 5).more == {}


@pytest.mark.parametrize(("value", "shown"), [(1234567.8, "1,234,568"), (0.17345, "0.173"), (12.345, "12.3")])
def test_figures_have_three_digits_that_count(value, shown):
    assert figure(value) == shown


def test_the_inputs_are_always_the_same():
    assert work.naps(500) == work.naps(500)
    assert set(work.naps(500)) == {0.1, 0.001}
    first, second = work.photographs(2)
    assert first == work.photographs(1)[0] != second
    assert work.sharpened(first).startswith(b"\xff\xd8")


class FakePool(ENGINES["tuned"]):
    """In this process; a chunksize of 5,000 is the best."""

    def map(self, function, items):
        return map(function, items)


def test_the_tuned_pool_keeps_the_best_chunksize(monkeypatch):
    rates = {1_000: 1.0, 5_000: 9.0, 20_000: 3.0, 100_000: 2.0}
    tried = []

    def measured(engine, count, slots):
        tried.append(engine.chunksize)
        return {"map": rates[engine.chunksize]}

    measure = MEASURES["map"]
    monkeypatch.setitem(measure.__dict__, "run", measured)
    assert prepared(measure, FakePool(), 100, 2) == 5_000
    assert take(measure, FakePool(), 100, 2, {"map": 5_000}) == {"map": 9.0, "chunksize": 5_000}
    assert tried == [*rates, 5_000]


def test_large_values_are_warmed_up_by_a_whole_round_and_small_items_by_a_part(monkeypatch):
    taken = []
    for key in ("out", "submit"):
        monkeypatch.setitem(MEASURES[key].__dict__, "run", lambda engine, count, slots: taken.append(count))
        prepared(MEASURES[key], ENGINES["pool"](), 100, 2)
    assert taken == [100, 2]


@pytest.mark.parametrize("key", [key for key, measure in MEASURES.items() if not measure.fresh])
def test_each_measure_is_selected_by_its_name(monkeypatch, key):
    selected = []
    monkeypatch.setattr(command, "run", lambda measures, engines, *_: selected.extend(measures) or [])
    assert run("--only", key).exit_code == 0
    assert selected == [key]


def test_what_takes_minutes_is_taken_only_where_it_is_named(monkeypatch):
    selected = []
    monkeypatch.setattr(command, "run", lambda measures, engines, *_: selected.extend(measures) or [])
    assert run("--only", "twistcluster").exit_code == 0
    assert "map" in selected and "hostile" not in selected
    assert "ask_wide, which take minutes" in " ".join(run("--help").output.split())


def test_a_childs_error_names_what_happened():
    with Child("pool", 1) as child:
        with pytest.raises(RuntimeError, match="only of this cluster"):
            child.take("memory", 10)
        assert child.take("submit", 10)["submit"] > 0


def test_an_engine_that_is_not_installed_is_left_out_with_a_line_that_says_so(monkeypatch):
    monkeypatch.setattr(command, "installed", lambda key: key != "dask")
    monkeypatch.setattr(command, "run", lambda measures, engines, *_: [])
    answer = run("--only", "map")
    assert answer.exit_code == 0
    assert "dask.distributed isn't installed" in answer.output
    assert "twistcluster[bench]" in answer.output


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_all_measures_for_real_in_small():
    # The same as another one, with a model of 100 MB: the longest of all.
    measured = [name for name in MEASURES if name != "ask_wide"]
    names = ",".join([*measured, "twistcluster", "unstored", "pool", "tuned", "hand"])
    answer = run("--json", "--rounds", "1", "--scale", "0.002", "--only", names)
    assert answer.exit_code == 0, answer.output
    measures = {measure["key"]: measure for measure in json.loads(answer.stdout)["measures"]}
    assert set(measures) == set(measured)
    for measure in measures.values():
        for engine in measure["engines"]:
            assert engine["error"] == ""
            assert len(engine["values"]) == 1
        assert measure["engines"][0]["key"] == "twistcluster"
