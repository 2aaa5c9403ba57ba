import itertools

from hypothesis import given
from hypothesis import strategies as st

from twistcluster.core.ranges import RangeSet, total

OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["add", "remove", "withdraw", "take", "overlap", "clear"]),
        st.integers(-3, 40),
        st.integers(-3, 40),
    ),
    max_size=40,
)


def numbers(ranges):
    return [number for start, stop in ranges for number in range(start, stop)]


@given(OPERATIONS)
def test_it_is_a_set(operations):
    ranges, model = RangeSet(), set()
    for what, start, stop in operations:
        span = set(range(start, stop))
        if what == "add":
            assert numbers(ranges.add(start, stop)) == sorted(span - model)
            model |= span
        elif what == "remove":
            assert numbers(ranges.remove(start, stop)) == sorted(span & model)
            model -= span
        elif what == "withdraw":
            whole = bool(span) and span <= model
            assert ranges.withdraw(start, stop) is whole
            model -= span if whole else set()
        elif what == "take":
            got = ranges.take(start)
            taken = set(range(*got)) if got else set()
            assert len(taken) <= max(start, 0)
            assert taken <= model
            assert not taken or min(taken) == min(model)
            assert bool(taken) == (start > 0 and bool(model))
            model -= taken
        elif what == "overlap":
            assert numbers(ranges.overlap(start, stop)) == sorted(span & model)
            assert not span or ranges.covers(start, stop) is (span <= model)
        elif stop == start:
            assert numbers(ranges.clear()) == sorted(model)
            model = set()
        parts = list(ranges)
        assert numbers(parts) == sorted(model)
        assert len(ranges) == total(parts) == len(model)
        assert ranges.fragments == len(parts)
        assert ranges.first() == (parts[0] if parts else None)
        # Disjoint, in order, never side by side.
        assert all(a[1] < b[0] for a, b in itertools.pairwise(parts))
        assert all((number in ranges) == (number in model) for number in range(-4, 42))


def test_it_can_begin_filled():
    assert list(RangeSet(3, 7)) == [(3, 7)]
    assert list(RangeSet(7, 3)) == []
    assert repr(RangeSet(3, 7)) == "RangeSet([(3, 7)])"


@given(st.lists(st.tuples(st.integers(-3, 40), st.integers(-3, 40))))
def test_it_can_be_made_of_any_ranges(parts):
    assert numbers(RangeSet.of(parts)) == sorted(set(numbers(parts)))
