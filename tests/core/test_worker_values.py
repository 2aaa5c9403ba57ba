"""The worker's machine: results that items wait for go to each slot once."""

import pytest

from tests.core.fake_slots import Driver
from twistcluster.errors import ProtocolError
from twistcluster.wire.messages import Blob, DropValues, Edge, EndJob, Lease, OpenJob, Page, Report, Stored, Values


def waiting_job(driver: Driver, edges: list[Edge], items: int = 4) -> int:
    """A job whose items waited for others, its page and nothing leased yet."""
    driver.jobs += 1
    driver.hear(Blob(b"function"), b"blob")
    context = driver.context(b"context")
    driver.hear(OpenJob(driver.jobs, [b"function"], context.digest))
    driver.hear(Page(driver.jobs, 0, items, 0, edges=edges), b"page")
    return driver.jobs


def kinds(driver: Driver, number: int) -> list[str]:
    return driver.slots[number].said


def test_values_go_to_each_slot_once_and_before_the_bite() -> None:
    driver = Driver(slots=2)
    job = waiting_job(driver, [Edge(item, 0, 77, item % 2) for item in range(4)])
    driver.hear(Values(77, 0, 2, 0), b"values")
    driver.hear(Lease(1, job, 0, 4))
    driver.run_all()
    for number in driver.slots:
        said = kinds(driver, number)
        assert said.count("Values") == 1
        assert said.index("Page") < said.index("Values") < said.index("Bite")
    assert driver.done() == [(1, 0), (1, 1), (1, 2), (1, 3)]


def test_a_slot_gets_only_what_its_items_need() -> None:
    driver = Driver(slots=1)
    job = waiting_job(driver, [Edge(0, 0, 77, 5), Edge(2, 0, 77, -1)], items=3)
    for first in (5, 0, 3):
        driver.hear(Values(77, first, 2, 0, [b"class"] if first == 0 else []), b"values")
    driver.hear(Blob(b"class"), b"definition")
    driver.hear(Lease(1, job, 0, 1))
    driver.run_all()
    assert [m.first for m in driver.slots[1].inbox if isinstance(m, Values)] == [5]
    driver.hear(Lease(2, job, 2, 3))
    driver.run_all()
    assert [m.first for m in driver.slots[1].inbox if isinstance(m, Values)] == [5, 0, 3]
    said = kinds(driver, 1)
    assert said[said.index("Values", said.index("Values") + 1) - 1] == "Blob"


def test_values_outlive_their_job_and_are_dropped_where_they_are() -> None:
    driver = Driver(slots=2)
    source = driver.job(1)
    driver.run_all()
    driver.hear(EndJob(source))
    job = waiting_job(driver, [Edge(0, 0, source, 0)], items=1)
    driver.hear(Values(source, 0, 1, 0), b"values")
    driver.hear(Lease(7, job, 0, 1))
    driver.run_all()
    having = [number for number in driver.slots if "Values" in kinds(driver, number)]
    assert len(having) == 1
    driver.hear(DropValues(source, [0]))
    assert [number for number in driver.slots if "DropValues" in kinds(driver, number)] == having
    with pytest.raises(ProtocolError, match="never sent"):
        driver.hear(DropValues(source, [0]))


def test_what_was_dropped_is_sent_again() -> None:
    driver = Driver(slots=1)
    job = waiting_job(driver, [Edge(item, 0, 77, 0) for item in range(2)], items=2)
    for lease, item in ((1, 0), (2, 1)):
        driver.hear(Values(77, 0, 1, 0), b"values")
        driver.hear(Lease(lease, job, item, item + 1))
        driver.run_all()
        driver.hear(DropValues(77, [0]))
    assert [name for name in kinds(driver, 1) if "Values" in name] == ["Values", "DropValues"] * 2


def test_a_new_slot_is_sent_them_too() -> None:
    driver = Driver(slots=1)
    driver.job(1)
    driver.run_all()
    job = waiting_job(driver, [Edge(0, 0, 77, 0)], items=1)
    driver.hear(Values(77, 0, 1, 0), b"values")
    driver.hear(Lease(9, job, 0, 1))
    driver.die(1)
    driver.later(10.0)
    driver.run_all()
    [slot] = driver.slots.values()
    assert "Values" in slot.said


@pytest.mark.parametrize("values", [[], [Values(77, 0, 3, 0)], [Values(78, 0, 9, 0)]])
def test_a_lease_without_its_values_is_a_protocol_error(values: list[Values]) -> None:
    driver = Driver(slots=1)
    job = waiting_job(driver, [Edge(0, 0, 77, 3)])
    for message in values:
        driver.hear(message, b"values")
    with pytest.raises(ProtocolError, match="item"):
        driver.hear(Lease(1, job, 0, 1))


def test_what_a_report_says_of_stored_results_goes_up() -> None:
    driver = Driver(slots=1)
    driver.job(1)
    [bite] = driver.slots[1].bites
    stored = [Stored(0, b"o" * 16, 1 << 20)]
    driver.slot_says(1, Report(bite.bite, 0, 1, 1, 0.1, [], stored), b"table", b"row")
    assert driver.up(Report)[0].objects == stored
