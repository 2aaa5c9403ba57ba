"""Of any flood a bounded number of lines is written, and every line is written or counted."""

import os
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import Logger

from twistcluster.nodes import sparing
from twistcluster.nodes.logging import LineLog
from twistcluster.nodes.sparing import Sparing


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 5)), max_size=200))
def test_each_line_is_written_or_counted_once(lines):
    spare = Sparing(lines=3, seconds=10.0)
    now = 0.0
    came, written, counted = Counter(), Counter(), Counter()
    last_ten = []
    for kind, pause in lines:
        now += pause
        counted.update(dict(spare.over(now)))
        came[kind] += 1
        if spare.admits(kind, now):
            written[kind] += 1
            last_ten = [(k, t) for k, t in last_ten if now - t < 10.0] + [(kind, now)]
            assert Counter(k for k, _ in last_ten)[kind] <= 2 * 3, "at most what two spans allow"
    counted.update(dict(spare.over(now + 10.0)))
    assert came == written + counted


def test_kinds_are_bounded(monkeypatch):
    monkeypatch.setattr(sparing, "KINDS", 5)
    spare = Sparing(lines=1, seconds=10.0)
    for number in range(100):
        assert spare.admits(number, 0.0)
    assert not spare.admits(99, 0.0)
    assert len(spare._spans) == 5


def test_a_log_under_a_flood_stays_small_and_says_how_many_lines_it_left_out(tmp_path):
    now = [0.0]
    fd = os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY)
    to = Logger(namespace="twistcluster.test", observer=LineLog(fd, clock=lambda: now[0]))
    for number in range(10_000):
        to.warn("malformed input: {error}", error=f"number {number}")
    to.warn("something else")
    now[0] = 11.0
    to.info("quiet again")
    os.close(fd)
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == 20 + 1 + 1 + 1
    assert "malformed input: number 19" in lines[19] and "something else" in lines[20]
    assert "warning 9,980 more lines like this were not written: malformed input: {error}" in lines[21]
    assert "quiet again" in lines[22]
