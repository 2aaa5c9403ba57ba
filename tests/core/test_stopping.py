"""The worker's machine stops items: cancelled ones, and those that run too long."""

import pytest

from tests.core.fake_slots import NONE, Driver
from twistcluster.core.slots import LastWords
from twistcluster.core.stopping import GRACE_S
from twistcluster.wire.messages import (
    BiteDone,
    Crashed,
    EndJob,
    ErrorInfo,
    Failure,
    Released,
    Report,
    RestartSlots,
    Revoke,
    StopItems,
)

STOPPED = ErrorInfo("stopped", "KeyboardInterrupt", "stopped", "where it was")


def running(slots: int = 1, items: int = 2, **options: float) -> Driver:
    """A driver whose first slot runs item 0."""
    driver = Driver(slots)
    driver.job(items, **options)  # type: ignore[arg-type]
    driver.sample(1, 0)
    return driver


def stopped(driver: Driver, index: int = 0) -> None:
    """The slot was interrupted, and is through with its bite."""
    bite = driver.slots[1].bites.pop(0)
    driver.slot_says(1, Failure(bite.bite, index, 0.5, STOPPED))
    driver.slot_says(1, BiteDone(bite.bite, index + 1))


def released(driver: Driver) -> list[int]:
    return sorted(index for message in driver.up(Released) for index in range(message.start, message.stop))


# ---- cancelling ------------------------------------------------------------------------------------------------------


def test_a_cancelled_item_that_runs_is_interrupted_at_each_sample_and_given_back() -> None:
    driver = running()
    driver.hear(StopItems(1, 0, 2))
    driver.sample(1, 0)
    driver.sample(1, 0)
    assert driver.interrupts == [(1, 0), (1, 0)]
    driver.answer_limits(0)
    assert released(driver) == [1]
    stopped(driver)
    assert released(driver) == [0, 1]
    assert not driver.up(Failure) and not driver.machine.leases and driver.slots[1].alive


def test_its_slot_serves_again() -> None:
    driver = running(items=1)
    driver.hear(StopItems(1, 0, 1))
    driver.sample(1, 0)
    stopped(driver)
    assert driver.slots[1].limit == NONE
    driver.job(3)
    driver.run_all()
    assert [index for lease, index in driver.done() if lease == 2] == [0, 1, 2]


def test_what_was_not_cancelled_is_given_back_too_and_not_interrupted() -> None:
    driver = running(slots=2, items=40)
    driver.hear(StopItems(1, 3, 4))
    driver.answer_limits(0)
    driver.sample(1, 0)
    driver.sample(2, 0)
    assert driver.interrupts == []
    driver.run_all()
    assert len(released(driver)) + len(driver.done()) == 40


def test_without_the_lease_nothing_happens() -> None:
    driver = running(items=1)
    driver.run(1)
    driver.hear(StopItems(1, 0, 1))
    driver.hear(StopItems(77, 0, 1))
    assert driver.interrupts == [] and released(driver) == []


def test_a_success_that_was_faster_counts() -> None:
    driver = running(items=1)
    driver.hear(StopItems(1, 0, 1))
    driver.sample(1, 0)
    driver.run(1, 1)
    assert driver.done() == [(1, 0)] and released(driver) == []


def test_the_next_item_is_not_interrupted() -> None:
    driver = Driver(1)
    driver.job(2)
    driver.sample(1, 0)
    driver.hear(StopItems(1, 0, 1))
    driver.sample(1, 1)
    assert driver.interrupts == []


def test_a_deaf_item_loses_its_slot_after_the_grace_period() -> None:
    driver = running(items=1)
    driver.hear(StopItems(1, 0, 1))
    driver.sample(1, 0)
    driver.sample(1, 0, after=GRACE_S - 0.1)
    assert driver.killed == []
    driver.sample(1, 0, after=0.1)
    assert driver.killed == [1] and released(driver) == [0] and not driver.up(Crashed)
    assert driver.machine.crew.crashes == 0
    driver.all_ready()
    driver.job(1)
    driver.run_all()
    assert driver.done() == [(2, 0)]


def test_others_of_its_bite_go_to_other_slots() -> None:
    driver = Driver(2)
    driver.job(1000)
    for _ in range(3):
        driver.run(1), driver.run(2)
    bite = driver.slots[1].bites[0]
    assert bite.stop - bite.start > 3
    driver.sample(1, bite.ordinal + 1)
    driver.hear(StopItems(1, bite.start + 1, bite.start + 2))
    driver.sample(1, bite.ordinal + 1)
    driver.answer_limits(bite.ordinal + 1)
    driver.slot_says(1, Report(bite.bite, bite.start, 1, 0, 0.001), b"results")
    driver.sample(1, bite.ordinal + 1, after=GRACE_S)
    assert driver.killed == [1]
    driver.run_all()
    done = [index for _, index in driver.done()]
    assert sorted([*done, *released(driver)]) == list(range(1000)) and bite.start in done
    assert bite.start + 1 in released(driver)


def test_a_cancelled_item_that_ends_its_slot_is_not_blamed() -> None:
    driver = running(items=1)
    driver.hear(StopItems(1, 0, 1))
    driver.die(1, 0, "signal 2 (SIGINT)")
    assert released(driver) == [0] and not driver.up(Crashed)


def test_a_slot_that_prepares_what_was_cancelled_is_replaced() -> None:
    driver = Driver(1)
    driver.job(2)
    driver.hear(StopItems(1, 0, 2))
    driver.answer_limits()
    assert released(driver) == [0, 1]
    driver.sample(1, NONE, after=GRACE_S - 0.1)
    assert driver.killed == []
    driver.sample(1, NONE, after=0.2)
    assert driver.killed == [1]


def test_a_slot_that_prepares_what_was_only_taken_back_goes_on() -> None:
    driver = Driver(1)
    driver.job(2)
    driver.hear(Revoke(1, 0))
    driver.answer_limits()
    driver.sample(1, NONE, after=10 * GRACE_S)
    assert driver.killed == []


# ---- time limits -----------------------------------------------------------------------------------------------------


def test_an_item_that_runs_too_long_is_interrupted_and_fails() -> None:
    driver = running(items=1, time_limit=1.0)
    driver.sample(1, 0, after=0.9)
    assert driver.interrupts == []
    driver.sample(1, 0, after=0.1)
    assert driver.interrupts == [(1, 0)]
    stopped(driver)
    (failure,) = driver.up(Failure)
    assert (failure.index, failure.error.why, failure.error.type) == (0, "timeout", "TaskTimeout")
    assert "0.5 s" in failure.error.message and "time_limit is 1 s" in failure.error.message
    assert failure.error.traceback == "where it was"
    assert not driver.machine.leases and driver.slots[1].alive


def test_time_is_that_of_one_item() -> None:
    driver = running(items=3, time_limit=1.0)
    driver.sample(1, 1, after=0.9)
    driver.sample(1, 1, after=0.9)
    assert driver.interrupts == []


def test_nothing_behind_it_starts_there() -> None:
    driver = running(slots=1, items=2, time_limit=1.0)
    driver.sample(1, 0, after=1.0)
    assert driver.slots[1].limit == 1
    driver.answer_limits(0)
    stopped(driver)
    driver.slot_says(1, BiteDone(driver.slots[1].bites.pop(0).bite, 1))
    driver.run_all()
    assert driver.done() == [(1, 1)]


def test_a_deaf_item_that_runs_too_long_fails_and_its_slot_is_replaced() -> None:
    driver = running(items=1, time_limit=1.0)
    driver.sample(1, 0, after=1.0)
    driver.sample(1, 0, after=GRACE_S)
    assert driver.killed == [1]
    (failure,) = driver.up(Failure)
    assert failure.error.why == "timeout" and failure.seconds == pytest.approx(1.0 + GRACE_S)
    assert not driver.up(Released) and not driver.up(Crashed)


@pytest.mark.parametrize("how", ["dies", "restart"])
def test_its_slots_end_is_its_time_out(how: str) -> None:
    driver = running(items=1, time_limit=1.0)
    driver.sample(1, 0, after=1.0)
    driver.die(1, 0) if how == "dies" else driver.hear(RestartSlots())
    assert [failure.error.why for failure in driver.up(Failure)] == ["timeout"] and not driver.up(Crashed)


def test_cancelled_while_its_time_is_up_is_cancelled() -> None:
    driver = running(items=1, time_limit=1.0)
    driver.sample(1, 0, after=1.0)
    driver.hear(StopItems(1, 0, 1))
    stopped(driver)
    assert released(driver) == [0] and not driver.up(Failure)


def test_its_own_error_counts_if_it_was_faster() -> None:
    driver = running(items=1, time_limit=1.0)
    driver.sample(1, 0, after=1.0)
    driver.fail(1, 0)
    assert [failure.error.why for failure in driver.up(Failure)] == ["raised"]


def test_an_item_of_a_job_that_ended_is_stopped_in_silence() -> None:
    driver = running(items=1, time_limit=1.0)
    driver.hear(EndJob(1))
    driver.sample(1, 0, after=1.0)
    stopped(driver)
    assert not driver.up(Failure) and released(driver) == []


# ---- crashes ---------------------------------------------------------------------------------------------------------


def test_a_crash_tells_what_is_known_of_it() -> None:
    driver = running(items=2)
    driver.die(1, 0, "exit code 3", LastWords(5 << 20, "the end", over_limit=True))
    assert driver.up(Crashed) == [Crashed(1, 0, "exit code 3", 5 << 20, "the end", over_limit=True, first=True)]


def test_it_tells_that_others_ran_there_before() -> None:
    driver = Driver(1)
    driver.job(2)
    driver.run(1)
    driver.die(1, 1)
    assert [(crashed.index, crashed.first) for crashed in driver.up(Crashed)] == [(1, False)]
