"""What `cluster.options(…)` takes, and what it says of the rest."""

import pytest

import twistcluster as tc
from twistcluster.client.calls import reject_options
from twistcluster.client.options import JobOptions


def test_times_and_counts():
    options = JobOptions.of(retries=2, time_limit="1.5m", max_crashes=1)
    assert (options.retries, options.time_limit, options.max_crashes) == (2, 90.0, 1)
    assert JobOptions.of() == JobOptions()
    assert JobOptions.of(time_limit=None).time_limit == 0.0


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"retries": -1}, ValueError, "retries is at least 0"),
        ({"retries": 1.5}, TypeError, "retries is a whole number"),
        ({"retries": True}, TypeError, "retries is a whole number"),
        ({"retries": 10**9}, ValueError, "retries is at most 1,000,000"),
        ({"priority": 10**30}, ValueError, "priority is at most 2,147,483,648"),
        ({"name": 3}, TypeError, "name is a text"),
        ({"name": "a\ud800"}, ValueError, "character 2 is none of Unicode"),
        ({"max_crashes": 0}, ValueError, "max_crashes is at least 1"),
        ({"max_crashes": "3"}, TypeError, "max_crashes is a whole number"),
        ({"time_limit": 0}, ValueError, "leaves it no time"),
        ({"time_limit": -3}, ValueError, "time_limit can't be -3"),
        ({"time_limit": 10**400}, ValueError, "time_limit can't be 1000"),
        ({"time_limit": "soon"}, ValueError, 'time_limit is a number, or like "5s"'),
        ({"time_limit": "5 parsecs"}, ValueError, "time_limit is a number of seconds"),
        ({"time_limit": float("nan")}, ValueError, "time_limit"),
    ],
)
def test_what_makes_no_sense_is_said(options, error, says):
    with pytest.raises(error, match=says):
        JobOptions.of(**options)


def test_changed_ones_are_shown():
    assert JobOptions.of(time_limit=30, name="x").changed() == {"name": "x", "time_limit": 30.0}


@pytest.mark.parametrize("option", ["retries", "time_limit", "max_crashes"])
def test_as_a_keyword_they_name_options(option):
    with pytest.raises(TypeError, match=rf"cluster\.options\({option}=3\)\.submit"):
        reject_options(abs, {option: 3}, "submit")


@pytest.mark.parametrize(
    ("limit", "says"), [("1k", "at least 64.0 MiB"), ("much", "memory_limit is a number"), (-1, "-1")]
)
def test_a_memory_limit_that_leaves_no_room_starts_nothing(limit, says):
    with pytest.raises(ValueError, match=says):
        tc.Cluster(memory_limit=limit)
    assert not tc.clusters()
