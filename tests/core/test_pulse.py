"""A worker's own signs of life, and its look at slots that show none."""

import pytest

from tests.core.fake_slots import Driver
from twistcluster.core.effects import Log
from twistcluster.core.leaving import GRACE_S
from twistcluster.core.stillness import STILL_S
from twistcluster.wire.messages import (
    BiteDone,
    Crashed,
    Heartbeat,
    Lease,
    Released,
    Report,
    Revoke,
    Scale,
    SlotsChanged,
    Welcome,
)

WELCOME = Welcome("e", "c", "", "3", "0")


def joined(**options):
    driver = Driver(**options)
    driver.machine.pulse.beats = True
    driver.logged = []
    apply = driver.apply

    def applying(effects):
        driver.logged += [effect.event for effect in effects if isinstance(effect, Log)]
        apply(effects)

    driver.apply = applying
    driver.hear(WELCOME)
    return driver


def beats(driver):
    return len(driver.up(Heartbeat))


# ---- heartbeats ----------------------------------------------------------------------------------------------------------


def test_an_idle_worker_says_something_once_a_second():
    driver = joined()
    for number in range(1, 10):
        driver.later(1.0)
        assert beats(driver) == number
        driver.hear(Heartbeat())


def test_a_worker_that_says_and_hears_enough_needs_no_heartbeat():
    driver = joined(slots=1)
    driver.job(100)
    for _ in range(20):
        driver.run(1, 1, each_s=0.3)
        driver.hear(Revoke(99))
        driver.later(0.0)
    assert not beats(driver)


def test_one_that_hears_nothing_asks():
    driver = joined(slots=1)
    driver.job(100)
    for _ in range(20):
        driver.run(1, 1, each_s=0.5)
        driver.later(0.0)
    assert beats(driver) == pytest.approx(10, abs=2)


def test_none_without_a_link_nor_in_the_schedulers_process():
    driver = Driver()
    driver.hear(WELCOME)
    driver.later(10)
    assert not beats(driver)
    driver = joined()
    driver.apply(driver.machine.link_lost(driver.now))
    driver.later(10)
    assert not beats(driver)
    driver.hear(WELCOME)
    driver.later(1.5)
    assert beats(driver) == 1


def test_a_scheduler_that_does_not_answer_is_noted_and_work_goes_on():
    driver = joined(slots=1)
    driver.job(10)
    driver.later(4.9)
    assert not driver.logged
    driver.later(2)
    assert driver.logged == ["the scheduler doesn't answer; work goes on"]
    driver.run_all()
    assert len(driver.done()) == 10
    driver.later(60)
    driver.hear(Heartbeat())
    assert driver.logged == ["the scheduler doesn't answer; work goes on", "the scheduler answers again"]


def test_a_scheduler_whose_bytes_come_is_there():
    """A long message is on its way to the worker: nothing is whole yet, but that is no silence."""
    driver = joined(slots=1)
    for _ in range(30):
        driver.later(1.0)
        driver.machine.pulse.bytes_came(driver.now)
    assert not driver.logged
    assert beats(driver) == pytest.approx(30, abs=1), "it goes on to show that it lives itself"
    driver.later(8.0)
    assert driver.logged == ["the scheduler doesn't answer; work goes on"]
    driver.machine.pulse.bytes_came(driver.now)
    driver.later(0.1)
    assert driver.logged[-1] == "the scheduler answers again"


# ---- stopped slots ---------------------------------------------------------------------------------------------------------


def grown(slots=2, count=400):
    driver = joined(slots=slots)
    driver.job(count)
    for _ in range(6):
        for number in range(1, slots + 1):
            driver.run(number)
    return driver


def look(driver, stopped):
    for number in driver.machine.stillness.worth_a_look(driver.now):
        driver.apply(driver.machine.state_seen(number, number in stopped, driver.now))


def test_only_slots_that_have_stood_still_are_looked_at():
    driver = grown()
    ordinal = driver.slots[1].bites[0].ordinal
    driver.sample(1, ordinal)
    driver.sample(2, driver.slots[2].bites[0].ordinal, after=STILL_S - 0.01)
    assert not driver.machine.stillness.worth_a_look(driver.now)
    driver.sample(1, ordinal, after=0.02)
    assert driver.machine.stillness.worth_a_look(driver.now) == [1]


def test_what_a_stopped_slot_has_not_started_is_taken_back_and_it_gets_nothing():
    driver = grown()
    slot = driver.slots[1]
    stuck = slot.bites[0]
    driver.sample(1, stuck.ordinal)
    driver.sample(1, stuck.ordinal, after=STILL_S)
    look(driver, {1})
    assert slot.limit != (1 << 64) - 1
    told = driver.up(SlotsChanged)[-1]
    assert (told.slots, told.stopped, told.held) == (1, [1001], 1)
    driver.answer_limits(stuck.ordinal)
    had = len(slot.bites)
    while driver.slots[2].bites:
        driver.run(2)
    assert driver.done() == [(1, index) for index in range(400) if index != stuck.start]
    assert len(slot.bites) == had
    # It goes on: the item that it ran counts, and it serves again.
    driver.slot_says(1, Report(stuck.bite, stuck.start, 1, 0, 5.0), b"late")
    assert not driver.machine.crew.slots[1].stopped
    for bite in slot.bites[:]:
        slot.bites.remove(bite)
        driver.slot_says(1, BiteDone(bite.bite, max(bite.start, stuck.start + 1)))
    assert len(driver.done()) == 400
    told = driver.up(SlotsChanged)[-1]
    assert (told.slots, told.stopped, told.held) == (2, [], 0)
    driver.job(100)
    assert set(driver.in_flight()) == {1, 2}


def test_a_slot_whose_page_moves_or_whose_process_runs_is_none():
    driver = grown()
    stuck = driver.slots[1].bites[0]
    driver.sample(1, stuck.ordinal)
    driver.sample(1, stuck.ordinal, after=STILL_S)
    look(driver, set())
    assert not driver.machine.crew.slots[1].stopped and driver.slots[1].limit == (1 << 64) - 1
    look(driver, {1})
    assert driver.machine.crew.slots[1].stopped
    driver.sample(1, stuck.ordinal + 1)
    assert not driver.machine.crew.slots[1].stopped
    look(driver, {1})
    assert not driver.machine.crew.slots[1].stopped


def test_the_only_slot_is_stopped_and_everything_goes_back():
    driver = joined(slots=1)
    driver.job(10)
    stuck = driver.slots[1].bites[0]
    driver.sample(1, stuck.ordinal)
    driver.sample(1, stuck.ordinal, after=STILL_S)
    look(driver, {1})
    assert driver.up(SlotsChanged)[-1].slots == 0
    driver.hear(Revoke(1))  # what a scheduler says to one without slots
    driver.answer_limits(stuck.ordinal)
    back = {i for r in driver.up(Released) for i in range(r.start, r.stop)}
    assert back == set(range(10)) - {stuck.start}
    assert driver.machine.leases[1].left


def test_a_stopped_slot_that_was_to_go_anyway_is_no_slot_less():
    driver = grown(slots=2)
    for number in (1, 2):
        driver.sample(number, driver.slots[number].bites[0].ordinal)
    driver.hear(Scale(1))
    [going] = [slot.number for slot in driver.machine.crew.slots.values() if slot.draining]
    driver.now += STILL_S
    look(driver, {going})
    told = driver.up(SlotsChanged)[-1]
    assert (told.slots, told.stopped, told.held) == (1, [1000 + going], 1)


# ---- leaving -----------------------------------------------------------------------------------------------------------------


def leave(driver):
    driver.apply(driver.machine.leave_soon(driver.now))


def test_an_idle_worker_leaves_at_once():
    driver = joined(slots=2)
    leave(driver)
    assert driver.ended and not driver.slots
    assert driver.up(SlotsChanged)[-1].leaving


def test_it_gives_back_what_has_not_started_and_finishes_what_runs():
    driver = grown(slots=1)
    leave(driver)
    told = driver.up(SlotsChanged)[-1]
    assert told.leaving and told.slots == 0
    running = driver.slots[1].bites[0]
    driver.answer_limits(running.ordinal)
    before = len(driver.done())
    assert not driver.ended
    driver.hear(Lease(7, 1, running.start, running.start))  # said before it was heard
    driver.slot_says(1, Report(running.bite, running.start, 1, 0, 0.1), b"last")
    for bite in driver.slots[1].bites[:]:
        driver.slot_says(1, BiteDone(bite.bite, max(bite.start, running.start + 1)))
    assert driver.ended and not driver.slots
    back = [i for r in driver.up(Released) for i in range(r.start, r.stop)]
    assert len(driver.done()) == before + 1
    assert sorted([*back, *(i for _, i in driver.done())]) == list(range(400))


def test_after_the_grace_it_ends_anyway():
    driver = grown(slots=1)
    leave(driver)
    driver.later(GRACE_S - 0.1)
    assert not driver.ended
    driver.later(0.2)
    assert "handed back" in driver.ended


def test_a_slot_that_dies_while_it_leaves_is_not_replaced():
    driver = grown(slots=1)
    running = driver.slots[1].bites[0]
    leave(driver)
    driver.die(1, running.ordinal)
    assert driver.ended and not driver.slots and not driver.starting
    assert [(c.index) for c in driver.up(Crashed)] == [running.start]
    back = [i for r in driver.up(Released) for i in range(r.start, r.stop)]
    assert sorted([*back, running.start, *(i for _, i in driver.done())]) == list(range(400))


def test_without_a_link_nothing_is_waited_for():
    driver = grown(slots=2)
    leave(driver)
    driver.apply(driver.machine.link_lost(driver.now))
    assert driver.ended
