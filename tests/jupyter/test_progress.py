import pytest

from twistcluster.client.views import JobState, Progress
from twistcluster.jupyter import progress as words


def at(
    done: int = 87,
    count: int | None = 240,
    *,
    failed: int = 0,
    cancelled: int = 0,
    state: JobState = "running",
    rate: float = 19.42,
    left: float | None = 8.0,
    elapsed: float = 12.34,
    waiting: str = "",
) -> Progress:
    return Progress(state, count, done, failed, cancelled, 2, rate, left, elapsed, waiting)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0.0 s"),
        (0.84, "0.8 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (125, "2 min 5 s"),
        (3600, "1 h"),
        (3780, "1 h 3 min"),
        (-1, "0.0 s"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    assert words.duration(seconds) == said


@pytest.mark.parametrize(
    ("rate", "said"),
    [(0, ""), (0.05, "3.0 items/min"), (3.14, "3.1 items/s"), (523.4, "523 items/s"), (3_912_345, "3,910,000 items/s")],
)
def test_rates(rate: float, said: str) -> None:
    assert words.rate(rate) == said


def test_one_line_while_it_runs() -> None:
    assert words.summary("make_thumb-3", at()) == "make_thumb-3: 87 of 240 done, 19.4 items/s · 8.0 s left"


def test_one_line_at_the_end() -> None:
    ended = at(239, failed=1, state="failed")
    assert words.summary("make_thumb-3", ended) == "make_thumb-3: 239 of 240 done, 1 failed, 12.3 s"


def test_a_lazy_job_has_no_end_yet() -> None:
    lazy = at(1200, None, left=None)
    assert words.counts(lazy) == "1,200 done so far"
    assert words.parts(lazy) is None
    assert words.detail(lazy) == "19.4 items/s · 12 s so far"


def test_a_job_without_items_is_whole() -> None:
    assert words.parts(at(0, 0)) == [1.0, 0.0, 0.0]
    assert words.counts(at(0, 0)) == "no items"


def test_why_nothing_runs_is_said() -> None:
    assert words.summary("f-1", at(0, 5, rate=0, left=None, elapsed=0, waiting="no slot offers gpu")).endswith(
        "no slot offers gpu"
    )
