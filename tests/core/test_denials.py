"""Who is shut out, and what a certificate that was renewed has to do with it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistcluster.core import denials as module
from twistcluster.core.denials import HELD_S, Denials, serial_of_text
from twistcluster.core.rows import DenialRow, DenialsGone, RenewalRow, RenewalsGone


@pytest.mark.parametrize(
    ("text", "serial"), [("af3c", "af3c"), (" 0xAF3C\n", "af3c"), ("00:AF:3C", "af3c"), ("f" * 40, "f" * 40)]
)
def test_a_serial_as_people_write_it(text, serial):
    assert serial_of_text(text) == serial


@pytest.mark.parametrize("text", ["", "0", "Bob", "af 3c", "f" * 41, "٣", "-1"])
def test_what_is_no_serial(text):
    with pytest.raises(ValueError, match="is no serial of a certificate: `twistcluster status` shows"):
        serial_of_text(text)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), max_size=40))
def test_a_family_is_denied_as_one(steps):
    """Whichever of its certificates is named; and the rows that were kept say the same."""
    denials, rows, family, denied = Denials(), {}, {0: 0}, set()
    for number, (renews, which) in enumerate(steps, 1):
        which %= number
        if renews:
            row = denials.renewed(f"s{which}", f"s{number}", 100.0)
            family[number] = family[which]
        else:
            row = denials.deny(f"s{which}", 5.0)
            family[number] = number
            denied.add(family[which])
        rows[type(row), row.serial] = row
    kept = Denials(
        [row for row in rows.values() if isinstance(row, DenialRow)],
        [row for row in rows.values() if isinstance(row, RenewalRow)],
    )
    for number, first in family.items():
        assert denials.is_denied(f"s{number}") == kept.is_denied(f"s{number}") == (first in denied)


def test_what_has_ended_is_forgotten():
    denials = Denials([DenialRow("a", 0.0), DenialRow("b", 10.0)], [RenewalRow("c", "a", 50.0)])
    assert denials.forget(49.0) == []
    assert denials.is_denied("c")
    assert denials.forget(50.0) == [RenewalsGone(("c",))]
    assert denials.forget(HELD_S) == [DenialsGone(("a",))]
    assert denials.is_denied("b") and not denials.is_denied("a")
    assert denials.forget(HELD_S) == []


def test_there_may_be_so_many(monkeypatch):
    monkeypatch.setattr(module, "MOST_DENIED", 2)
    monkeypatch.setattr(module, "MOST_RENEWALS", 2)
    denials = Denials()
    for serial in ("a", "b", "a"):
        denials.deny(serial, 1.0)
    with pytest.raises(ValueError, match="2 certificates are denied, more are not. To shut out everybody"):
        denials.deny("c", 1.0)
    assert not denials.is_denied("c")
    for old, new in [("d", "e"), ("e", "f"), ("e", "f"), ("x", "y")]:
        denials.renewed(old, new, 10.0)
    with pytest.raises(ValueError, match="renewed 2 times in a year: join with a new token"):
        denials.renewed("f", "g", 10.0)
