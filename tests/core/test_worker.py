"""The worker's machine, step by step, with slots that are records."""

import itertools

import pytest

from tests.core.fake_slots import NONE, Driver
from twistcluster.errors import ProtocolError
from twistcluster.wire.messages import (
    Bite,
    BiteDone,
    Blob,
    Context,
    Crashed,
    DropPages,
    EndJob,
    Failure,
    Forget,
    Lease,
    Page,
    Printed,
    Refused,
    Released,
    Report,
    RestartSlots,
    Revoke,
    Running,
    Scale,
    SlotsChanged,
    Step,
    StepDone,
    Stop,
    Welcome,
)


def items(start: int, stop: int, lease: int = 1) -> list[tuple[int, int]]:
    return [(lease, index) for index in range(start, stop)]


# ---- bites ----------------------------------------------------------------------------------------------------------


def test_first_bites_are_single_items_and_two_are_in_flight() -> None:
    driver = Driver(slots=2)
    driver.job(100)
    assert driver.in_flight() == {1: [(1, 0, 1), (1, 2, 3)], 2: [(1, 1, 2), (1, 3, 4)]}


def test_bites_grow_with_what_was_measured() -> None:
    driver = Driver(slots=1)
    driver.job(100_000)
    sizes = []
    for _ in range(8):
        bite = driver.slots[1].bites[0]
        sizes.append(bite.stop - bite.start)
        driver.run(1, each_s=1e-6)
    assert sizes[:2] == [1, 1]
    assert all(later <= 20 * (sum(sizes[: at + 1]) or 1) for at, later in enumerate(sizes[1:]))
    assert max(sizes) > 1000
    driver.run_all(each_s=1e-6)
    assert driver.done() == items(0, 100_000)


def test_bites_take_about_eight_milliseconds() -> None:
    driver = Driver(slots=1)
    driver.job(10_000)
    for _ in range(6):
        driver.run(1, each_s=0.001)
    assert driver.in_flight()[1][1][2] - driver.in_flight()[1][1][1] == 8


def test_near_the_end_work_is_spread() -> None:
    driver = Driver(slots=4)
    driver.job(200)
    for _ in range(5):
        for number in (1, 2, 3, 4):
            if driver.slots[number].bites:
                driver.run(number, each_s=0.0005)
    last = driver.in_flight()
    driver.run_all()
    assert all(stop - start <= 16 for bites in last.values() for _, start, stop in bites)
    assert driver.done() == items(0, 200)


def test_items_that_take_long_are_not_queued_behind_each_other() -> None:
    driver = Driver(slots=2)
    driver.job(100)
    for _ in range(3):
        for number in (1, 2):
            driver.run(number, each_s=0.2)
    assert {number: len(bites) for number, bites in driver.in_flight().items()} == {1: 1, 2: 1}


def test_ordinals_go_on_from_bite_to_bite() -> None:
    driver = Driver(slots=1)
    driver.job(40)
    driver.run_all()
    bites = [message for message in driver.slots[1].inbox if isinstance(message, Bite)]
    at = 0
    for bite in bites:
        assert bite.ordinal == at
        at += bite.stop - bite.start


def test_a_slot_gets_everything_once_and_before_it_is_needed() -> None:
    driver = Driver(slots=1)
    driver.job(10)
    driver.run_all()
    assert driver.slots[1].said[:4] == ["Context", "Blob", "OpenJob", "Page"]
    assert set(driver.slots[1].said[4:]) == {"Bite"}
    driver.job(10)
    driver.run_all()
    assert driver.slots[1].said.count("Context") == driver.slots[1].said.count("Blob") == 1


def test_pages_go_to_slots_that_need_them_with_their_definitions() -> None:
    driver = Driver(slots=1)
    job = driver.job(4)
    driver.hear(Blob(b"class"), b"definition")
    driver.hear(Page(job, 4, 4, 1, [b"class"]), b"table", b"pickles")
    driver.run_all()
    assert "Page" not in driver.slots[1].said[4:]
    driver.hear(Lease(2, job, 4, 8))
    assert driver.slots[1].said[-4:-2] == ["Blob", "Page"]


def test_a_bite_lies_in_one_lease() -> None:
    driver = Driver(slots=1)
    job = driver.job(100, lease=1)
    driver.run_all()
    driver.hear(Page(job, 100, 100, 0), b"page")
    driver.hear(Lease(2, job, 100, 103))
    driver.hear(Lease(3, job, 103, 110))
    driver.run_all()
    assert [m for m in driver.done() if m[0] == 2] == items(100, 103, 2)
    assert [m for m in driver.done() if m[0] == 3] == items(103, 110, 3)


def test_failures_and_output_go_up_under_their_lease() -> None:
    driver = Driver(slots=1)
    driver.job(3, lease=17)
    bite = driver.slots[1].bites[0]
    driver.slot_says(1, Printed(bite.bite, 0, "hello"))
    driver.fail(1, 0)
    driver.slot_says(1, BiteDone(bite.bite, 1))
    assert driver.up(Printed) == [Printed(17, 0, "hello")]
    assert [(m.lease, m.index) for m in driver.up(Failure)] == [(17, 0)]


def test_items_that_were_given_back_may_come_again() -> None:
    driver = Driver(slots=1, ready=False)
    job = driver.job(10)
    driver.hear(Revoke(1, 0))
    assert driver.up(Released) == [Released(1, 0, 10)]
    driver.hear(Lease(2, job, 0, 10))
    driver.all_ready()
    driver.run_all()
    assert driver.done() == items(0, 10, 2)


# ---- between jobs ---------------------------------------------------------------------------------------------------


def test_a_higher_priority_goes_first() -> None:
    driver = Driver(slots=1)
    driver.job(1000)
    driver.job(5, priority=3)
    for _ in range(2):
        driver.run(1)
    assert {job for job, _, _ in driver.in_flight()[1]} == {2}


def test_jobs_of_one_priority_take_turns() -> None:
    driver = Driver(slots=1)
    driver.job(1000)
    driver.job(1000)
    order = []
    for _ in range(10):
        order.append(driver.slots[1].bites[0].job)
        driver.run(1)
    assert order[2:].count(1) == order[2:].count(2)


def test_resources_are_occupied_by_the_slot_that_runs_the_item() -> None:
    driver = Driver(slots=3, resources={"gpu": 1})
    driver.job(50, resources={"gpu": 1})
    assert list(driver.in_flight()) == [1]
    driver.job(50, resources={"gpu": 0.5})
    assert list(driver.in_flight()) == [1]
    driver.job(50)
    assert list(driver.in_flight()) == [1, 2, 3]
    driver.run_all()
    assert len(driver.done()) == 150


def test_resources_are_free_again_when_their_slot_dies() -> None:
    driver = Driver(slots=2, resources={"gpu": 1})
    driver.job(50, resources={"gpu": 1})
    driver.die(1, ordinal=0)
    assert list(driver.in_flight()) == [2]


def test_what_isnt_offered_is_never_run() -> None:
    driver = Driver(slots=1)
    driver.job(5, resources={"gpu": 1})
    assert driver.in_flight() == {}


# ---- taking back ----------------------------------------------------------------------------------------------------


def grown(slots: int = 2, count: int = 400) -> Driver:
    """A job in the middle: bites have grown."""
    driver = Driver(slots=slots)
    driver.job(count)
    for _ in range(3):
        for number in range(1, slots + 1):
            driver.run(number)
    return driver


def empty_but(driver: Driver, number: int) -> None:
    """Every slot but one runs until nothing is pending."""
    while driver.machine.pending:
        for other in driver.slots:
            if other != number and driver.slots[other].bites:
                driver.run(other)
    for other in driver.slots:
        while other != number and driver.slots[other].bites:
            driver.run(other)


def test_an_idle_slot_gets_what_waits_behind_a_long_item() -> None:
    driver = grown()
    behind = sum(stop - start for _, start, stop in driver.in_flight()[1]) - 1
    empty_but(driver, 1)
    ordinal = driver.slots[1].bites[0].ordinal
    driver.sample(1, ordinal)
    driver.sample(1, ordinal)
    assert driver.slots[1].limit == ordinal + 1
    assert 2 not in driver.in_flight()
    driver.answer_limits(ordinal)
    assert driver.in_flight()[2]
    while 2 in driver.in_flight():
        driver.run(2)
    assert len(driver.done()) == 399
    assert behind > 10
    driver.run(1)
    driver.run(1)
    assert driver.slots[1].limit == NONE
    assert driver.done() == items(0, 400)


def test_the_item_in_doubt_is_settled_by_the_slot() -> None:
    driver = grown()
    empty_but(driver, 1)
    ordinal = driver.slots[1].bites[0].ordinal
    driver.sample(1, ordinal)
    driver.sample(1, ordinal)
    # When the limit held, the slot stood at the first item behind it: whether it runs that one isn't known yet.
    driver.answer_limits(ordinal + 1)
    given = {index for _, start, stop in driver.in_flight()[2] for index in range(start, stop)}
    first = driver.slots[1].bites[0].start
    assert first + 1 not in given and first + 2 in given
    driver.run(1)
    driver.run(1)
    driver.run_all()
    assert driver.done() == items(0, 400)


def test_half_of_a_bite_that_turns_out_long_is_given_away() -> None:
    driver = grown()
    empty_but(driver, 1)
    first = driver.slots[1].bites[0]
    inside = sum(b.stop - b.start for b in driver.slots[1].bites)
    # Items took a millisecond; now they take ten.
    driver.run(1, count=2, each_s=0.010)
    driver.sample(1, first.ordinal + 2)
    for bite in driver.machine.crew.slots[1].bites.values():
        bite.job.pace.measured(100, 10.0)
    driver.sample(1, first.ordinal + 3)
    limit = driver.slots[1].limit
    assert first.ordinal + 4 < limit < first.ordinal + inside


def test_nothing_is_taken_back_where_no_slot_is_idle() -> None:
    driver = grown()
    ordinal = driver.slots[1].bites[0].ordinal
    for _ in range(5):
        driver.sample(1, ordinal)
    assert driver.slots[1].limit == NONE


def test_what_is_queued_behind_a_long_item_gives_way_to_more_urgent_items() -> None:
    driver = grown()
    driver.job(10, priority=1)
    ordinal = driver.slots[1].bites[0].ordinal
    driver.sample(1, ordinal)
    driver.sample(1, ordinal)
    assert driver.slots[1].limit == ordinal + 1


def test_what_a_slot_that_prepares_itself_has_goes_to_one_that_is_through_with_that() -> None:
    driver = Driver(slots=2)
    driver.job(100)
    driver.run(1)
    empty_but(driver, 2)
    assert driver.in_flight() == {2: [(1, 1, 2), (1, 3, 4)]}
    driver.sample(2, NONE)
    driver.sample(2, NONE)
    assert driver.slots[2].limit == 0
    driver.answer_limits(NONE)
    assert list(driver.in_flight()) == [2, 1] or list(driver.in_flight()) == [1, 2]
    driver.run_all()
    assert driver.done() == items(0, 100)


def test_a_slot_that_prepares_itself_keeps_its_items_from_one_that_must_do_so_too() -> None:
    driver = Driver(slots=2)
    driver.job(1)
    for _ in range(5):
        driver.sample(1, NONE)
    assert driver.slots[1].limit == NONE


def test_a_slot_with_a_limit_gets_no_bites_until_all_are_through() -> None:
    driver = grown()
    empty_but(driver, 1)
    ordinal = driver.slots[1].bites[0].ordinal
    driver.sample(1, ordinal)
    driver.sample(1, ordinal)
    driver.answer_limits(ordinal)
    driver.job(50)
    before = len(driver.slots[1].bites)
    driver.run(1)
    assert len(driver.slots[1].bites) == before - 1
    driver.run(1)
    assert driver.slots[1].limit == NONE
    assert len(driver.slots[1].bites) == 2


def test_what_a_slot_did_before_the_limit_and_nobody_has_heard_yet_isnt_given_away() -> None:
    driver = grown()
    driver.hear(Revoke(1, 0))
    # Both bites ended before the limit was written; what the slot said of them hasn't been read.
    slot = driver.slots[1]
    slot.reached = sum(bite.stop - bite.start for bite in slot.bites) + slot.bites[0].ordinal
    before = len(driver.up(Released))
    driver.limits = [limit for limit in driver.limits if limit.slot == 1]
    driver.answer_limits(NONE)
    assert len(driver.up(Released)) == before
    first = slot.bites[0].start
    slot.limit = NONE
    driver.run(1)
    driver.run(1)
    assert (1, first) in driver.done()


def test_an_answer_that_comes_too_late_does_nothing() -> None:
    driver = grown()
    empty_but(driver, 1)
    ordinal = driver.slots[1].bites[0].ordinal
    driver.sample(1, ordinal)
    driver.sample(1, ordinal)
    driver.run(1)
    driver.run(1)
    driver.answer_limits()
    driver.run_all()
    assert driver.done() == items(0, 400)


def test_a_revoked_lease_keeps_what_is_asked() -> None:
    driver = grown()
    in_slots = sum(stop - start for bites in driver.in_flight().values() for _, start, stop in bites)
    pending = 400 - len(driver.done()) - in_slots
    driver.hear(Revoke(1, 30))
    assert driver.up(Released) == [Released(1, 400 - pending + 30, 400)]
    driver.run_all()
    assert driver.done() == items(0, 400 - pending + 30)


def test_a_lease_revoked_whole_gives_back_what_slots_hadnt_started_too() -> None:
    driver = grown()
    driver.hear(Revoke(1, 0))
    assert len(driver.up(Released)) == 1
    assert driver.slots[1].limit == driver.slots[2].limit == 0
    driver.answer_limits(driver.slots[1].bites[0].ordinal)
    driver.run_all()
    released = {index for message in driver.up(Released) for index in range(message.start, message.stop)}
    done = {index for _, index in driver.done()}
    assert not released & done
    assert released | done == set(range(400))
    assert driver.slots[1].limit == NONE
    assert not driver.machine.leases


def test_a_revoke_is_always_answered() -> None:
    driver = Driver()
    driver.hear(Revoke(77, 0))
    assert driver.up(Released) == [Released(77, 0, 0)]
    driver.job(1, lease=5)
    driver.hear(Revoke(5, 3))
    assert driver.up(Released)[-1] == Released(5, 0, 0)


def test_an_ended_job_starts_nothing_more() -> None:
    driver = grown()
    done = len(driver.done())
    driver.hear(EndJob(1))
    assert not driver.machine.pending and not driver.machine.leases
    assert driver.slots[1].limit == 0
    assert driver.slots[1].said[-1] == "EndJob"
    driver.answer_limits(driver.slots[1].bites[0].ordinal)
    driver.run_all()
    assert len(driver.done()) == done
    driver.job(10)
    driver.run_all()
    assert len(driver.done()) == done + 10


def test_dropped_pages_are_dropped_in_slots() -> None:
    driver = Driver(slots=1)
    job = driver.job(3)
    driver.run_all()
    driver.hear(DropPages(job, [0]))
    assert driver.slots[1].inbox[-1] == DropPages(job, [0])
    driver.hear(Forget([b"function", b"never"]))
    assert driver.slots[1].inbox[-1] == Forget([b"function"])


# ---- deaths ---------------------------------------------------------------------------------------------------------


def test_the_item_that_ran_is_told_and_the_others_run_elsewhere() -> None:
    driver = grown()
    bite = driver.slots[1].bites[0]
    driver.run(1, count=3)
    driver.die(1, ordinal=bite.ordinal + 4)
    assert driver.up(Crashed) == [Crashed(1, bite.start + 4, "signal 9 (SIGKILL)")]
    driver.run_all()
    assert driver.done() == [item for item in items(0, 400) if item[1] != bite.start + 4]


def test_a_slot_that_dies_between_items_is_nobodys_fault() -> None:
    driver = grown()
    driver.die(1)
    driver.run_all()
    assert not driver.up(Crashed)
    assert driver.done() == items(0, 400)
    assert driver.up(SlotsChanged)[-1].crashes == 1


def test_a_slot_that_dies_before_its_first_item_was_killed_by_its_preparation() -> None:
    driver = Driver(slots=1)
    driver.job(10)
    driver.die(1)
    [crashed] = driver.up(Crashed)
    assert (crashed.lease, crashed.index) == (1, 0)
    assert crashed.reason.startswith("signal 9 (SIGKILL) before or after its own code ran (what it loads, ")


def test_a_dead_slots_successor_has_its_place_and_knows_nothing() -> None:
    driver = Driver(slots=2)
    driver.job(100)
    driver.die(2)
    driver.all_ready()
    assert driver.machine.crew.slots[3].place == 2
    assert driver.slots[3].said[:4] == ["Context", "Blob", "OpenJob", "Page"]


def test_what_a_dead_slot_said_is_heard_no_more() -> None:
    driver = Driver(slots=1)
    driver.job(10)
    bite = driver.slots[1].bites[0]
    driver.die(1, ordinal=0)
    driver.slots[1] = driver.slots[2]
    driver.slot_says(1, Report(bite.bite, 0, 1, 0, 0.1))
    assert driver.done() == []


def test_fresh_slots_that_keep_dying_are_started_ever_more_slowly() -> None:
    driver = Driver(slots=1, ready=False)
    for number in range(1, 8):
        driver.die(number)
    assert driver.delays == [0, 0, 0, 1, 2, 4, 8, 16]
    driver.all_ready()
    driver.die(8)
    assert driver.delays[-1] == 0


# ---- how many -------------------------------------------------------------------------------------------------------


def test_scale_up() -> None:
    driver = Driver(slots=1)
    driver.job(1000)
    driver.hear(Scale(3))
    driver.all_ready()
    assert list(driver.in_flight()) == [1, 2, 3]
    assert driver.up(SlotsChanged)[-1].slots == 3


def test_scale_down_begins_with_idle_slots_and_a_busy_one_finishes_its_item() -> None:
    driver = Driver(slots=3)
    driver.job(2)
    driver.run(2)
    assert list(driver.in_flight()) == [1]
    driver.hear(Scale(1))
    assert sorted(driver.killed) == [2, 3]
    driver.run_all()
    driver = grown()
    driver.hear(Scale(0))
    assert driver.slots[1].limit == 0 and not driver.killed
    ordinal = driver.slots[1].bites[0].ordinal
    driver.answer_limits(ordinal)
    number = driver.slots[1].bites[0].start
    driver.slot_says(1, Report(driver.slots[1].bites[0].bite, number, 1, 0, 0.001))
    for bite in driver.slots[1].bites:
        driver.slot_says(1, BiteDone(bite.bite, max(bite.start, number + 1)))
    assert driver.killed == [1]
    assert (1, number) in driver.done()
    driver.slots[2].limit = 0
    for bite in driver.slots[2].bites[:]:
        driver.slot_says(2, BiteDone(bite.bite, bite.start))
    assert not driver.slots
    driver.hear(Scale(2))
    driver.run_all()
    assert driver.done() == items(0, 400)


def test_slots_are_restarted_and_what_ran_is_run_again() -> None:
    driver = grown()
    driver.hear(RestartSlots())
    assert driver.killed == [1, 2]
    driver.run_all()
    assert driver.done() == items(0, 400)
    assert driver.up(SlotsChanged)[-1].crashes == 0


def test_a_lost_link_replaces_slots_and_forgets_leases() -> None:
    driver = grown(slots=2)
    driver.hear(Scale(3))
    driver.all_ready()
    driver.apply(driver.machine.link_lost(driver.now))
    assert sorted(driver.killed) == [1, 2, 3]
    driver.all_ready()
    driver.ups.clear()
    driver.hear(Welcome("epoch", "c", "", "3.11", "0"))
    assert driver.up(SlotsChanged) == [SlotsChanged(3, 3, 0, 0)]
    driver.jobs = 0
    driver.job(10)
    driver.run_all()
    assert driver.done() == items(0, 10)


@pytest.mark.parametrize("message", [Stop(), Refused("protocol", "no")])
def test_it_ends_when_told(message: object) -> None:
    driver = Driver()
    driver.hear(message)
    assert driver.ended


def test_a_full_house_does_not_end_it() -> None:
    driver = Driver()
    driver.hear(Refused("limit", "4,096 connections are open"))
    assert not driver.ended


# ---- contexts -------------------------------------------------------------------------------------------------------


def test_an_idle_slot_of_another_context_is_replaced_at_once() -> None:
    driver = Driver(slots=1)
    driver.job(5)
    driver.run_all()
    driver.job(5, context=driver.context(b"other"))
    assert driver.killed == [1]
    driver.run_all()
    assert driver.done() == [*items(0, 5), *items(0, 5, 2)]
    assert driver.slots[2].inbox[0] == Context(b"other", b"base of other", "")


def test_two_contexts_share_slots() -> None:
    driver = Driver(slots=2)
    driver.job(10_000)
    for number in (1, 2):
        driver.run(number)
    driver.job(10_000, context=driver.context(b"other"))
    assert not driver.killed
    driver.later(0.2)
    assert driver.slots[1].limit == driver.slots[2].limit == NONE
    driver.later(0.1)
    draining = [number for number, slot in driver.slots.items() if slot.limit == 0]
    assert len(draining) == 1
    for bite in driver.slots[draining[0]].bites[:]:
        driver.slot_says(draining[0], BiteDone(bite.bite, bite.start))
    driver.all_ready()
    # From here on each has its share, and keeps it.
    for _ in range(30):
        driver.later(0.1)
        for number in driver.in_flight():
            driver.run(number)
    assert {bites[0][0] for bites in driver.in_flight().values()} == {1, 2}
    assert len([number for number in driver.killed if number < 3]) == 1


def test_a_single_slot_goes_to_and_fro() -> None:
    driver = Driver(slots=1)
    driver.job(100_000)
    driver.run(1)
    driver.job(100_000, context=driver.context(b"other"))
    jobs = []
    for _ in range(100):
        driver.later(0.02)
        driver.answer_limits()
        driver.all_ready()
        for number, bites in driver.in_flight().items():
            jobs.append(bites[0][0])
            driver.run(number)
    changes = sum(a != b for a, b in itertools.pairwise(jobs))
    assert {1, 2} <= set(jobs)
    assert 3 <= changes <= 12


def test_a_spare_process_takes_over_once_slots_change_hands() -> None:
    driver = Driver(slots=1)
    driver.job(1)
    driver.run_all()
    contexts = [driver.context(b"b"), driver.context(b"a")]
    driver.job(1, context=contexts[0])
    driver.run_all()
    assert driver.machine.crew.spare is not None
    driver.run_all()
    spare = driver.machine.crew.spare.number
    driver.job(1, context=contexts[1])
    assert spare in driver.in_flight()


def test_steps_that_follow_run_in_place_and_older_jobs_go_on() -> None:
    driver = Driver(slots=1)
    before = driver.context(b"c0", base=b"base")
    after = driver.context(b"c1", base=b"base", steps=(b"s1",))
    driver.job(100, context=before)
    driver.job(100, context=after)
    driver.job(100, context=before)
    driver.run_all()
    assert not driver.killed
    assert len(driver.done()) == 300


def test_steps_that_exclude_each_other_never_meet_in_a_slot() -> None:
    driver = Driver(slots=1)
    driver.job(3, context=driver.context(b"c1", base=b"base", steps=(b"s1",)))
    driver.run_all()
    driver.job(3, context=driver.context(b"c2", base=b"base", steps=(b"s2",)))
    assert driver.killed == [1]
    driver.run_all()
    assert len(driver.done()) == 6


def test_a_step_runs_in_every_slot_and_in_those_to_come() -> None:
    driver = Driver(slots=3, ready=False)
    driver.ready(1)
    driver.ready(2)
    context = driver.context(b"c1", base=b"base", steps=(b"s1",))
    driver.hear(Step(5, b"c1", b"s1"))
    driver.step_done(1, 5)
    driver.ready(3)
    driver.step_done(3, 5)
    driver.step_done(2, 5)
    assert driver.up(StepDone) == [StepDone(5, "1", None, 2), StepDone(5, "3", None, 1), StepDone(5, "2", None, 0)]
    driver.job(10, context=context)
    driver.run_all()
    assert len(driver.done()) == 10


def test_slots_of_others_are_passed_over_by_a_step() -> None:
    driver = Driver(slots=2)
    driver.job(1000)
    driver.run(1)
    mine = driver.context(b"mine", steps=(b"s",))
    driver.hear(Step(5, mine.digest, b"s"))
    assert driver.up(StepDone) == [StepDone(5, "")]


def test_where_nobody_uses_them_slots_change_hands_for_a_step() -> None:
    driver = Driver(slots=2)
    driver.job(10)
    driver.run_all()
    mine = driver.context(b"mine", steps=(b"s",))
    driver.hear(Step(5, mine.digest, b"s"))
    driver.all_ready()
    number = next(number for number, slot in driver.slots.items() if "Step" in slot.said)
    driver.step_done(number, 5)
    assert [message.remaining for message in driver.up(StepDone)] == [0]


def test_a_slot_that_dies_in_a_step_answers_with_that() -> None:
    driver = Driver(slots=1)
    driver.context(b"c1", steps=(b"s1",))
    driver.hear(Step(5, b"c1", b"s1"))
    driver.die(1)
    (answer,) = driver.up(StepDone)
    assert answer.error.why == "crashed" and answer.remaining == 0


# ---- what is told unasked -------------------------------------------------------------------------------------------


def test_slots_are_told_at_once_and_busy_ones_now_and_then() -> None:
    driver = Driver(slots=2)
    assert driver.up(SlotsChanged)[-1] == SlotsChanged(2, 2, 0, 0)
    told = len(driver.up(SlotsChanged))
    for _ in range(20):
        driver.job(1)
        driver.run_all()
    assert len(driver.up(SlotsChanged)) <= told + 1
    driver.later(1.0)
    assert driver.up(SlotsChanged)[-1].busy == 0


def test_items_that_run_long_are_told_at_most_five_times_a_second() -> None:
    driver = Driver(slots=2)
    driver.job(2)
    for _ in range(50):
        driver.sample(1, 0)
    told = driver.up(Running)
    assert told[0].items[0][:2] == (1, 0)
    assert 1 <= len(told) <= 3
    driver.run_all()
    driver.later(1.0)
    assert driver.up(Running)[-1].items == []
    assert driver.machine.next_tick() is None


# ---- what a scheduler must not say ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        Lease(1, 5, 0, 3),
        Page(5, 0, 1, 0),
        EndJob(5),
        DropPages(5, [0]),
        Step(1, b"never", b"never"),
        Report(1, 0, 1, 0, 0.0),
    ],
)
def test_what_was_never_sent_is_a_protocol_error(message: object) -> None:
    with pytest.raises(ProtocolError):
        Driver().hear(message)


def test_a_lease_without_its_page_is_a_protocol_error() -> None:
    driver = Driver()
    driver.job(10)
    with pytest.raises(ProtocolError, match="page"):
        driver.hear(Lease(2, 1, 10, 20))
    driver.run_all()
    assert driver.done() == items(0, 10)
