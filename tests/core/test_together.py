"""Items that go together: how many wait in a slot, what they are taken to need, and who is blamed for a death."""

import pytest

from tests.core.desk import CONTEXT, FUNCTION, Desk
from tests.core.fake_slots import Driver
from twistcluster.core.slots import LastWords
from twistcluster.core.spans import Paces
from twistcluster.wire import messages as m


def asks(driver: Driver, count: int, **options: object) -> None:
    for _ in range(count):
        driver.job(1, **{"together": 32, **options})  # type: ignore[arg-type]


def waiting(driver: Driver, number: int = 1) -> int:
    return len(driver.slots[number].bites)


# ---- in a worker ----------------------------------------------------------------------------------------------------


def test_bites_of_a_few_items_wait_in_a_slot() -> None:
    driver = Driver(slots=1)
    job = driver.job(300, together=32)
    for _ in range(8):
        driver.run(1, each_s=0.003)
    bites = driver.in_flight()[1]
    assert len(bites) > 2  # the usual number of them
    assert 16 <= sum(stop - start for _, start, stop in bites) < 20
    assert {number for number, _, _ in bites} == {job}


def test_bites_of_one_item_wait_in_a_slot() -> None:
    driver = Driver(slots=1)
    asks(driver, 30, together=0)
    assert waiting(driver) == 2
    driver = Driver(slots=1)
    asks(driver, 30)
    assert waiting(driver) == 4  # nothing is known of how long they take
    driver.run(1, each_s=0.001)
    assert waiting(driver) == 16


def test_slots_share_them_in_turn() -> None:
    driver = Driver(slots=3)
    asks(driver, 7)
    assert sorted(waiting(driver, number) for number in driver.slots) == [2, 2, 3]


def test_the_longer_they_take_the_fewer_wait() -> None:
    for seconds, expected in ((0.001, 16), (0.02, 5), (0.045, 4), (0.06, 1)):
        driver = Driver(slots=1)
        asks(driver, 40)
        while waiting(driver) > 1 or len(driver.up(m.Report)) < 4:
            driver.run(1, each_s=seconds)
            if len(driver.up(m.Report)) >= 8:
                break
        assert waiting(driver) == expected, seconds


def test_no_more_than_go_together() -> None:
    driver = Driver(slots=1)
    asks(driver, 30, together=6)
    for _ in range(3):
        driver.run(1, each_s=0.0001)
    assert waiting(driver) == 6


def test_only_what_is_alike_waits() -> None:
    driver = Driver(slots=1)
    asks(driver, 3)
    driver.job(1, together=32, function=b"another")
    assert waiting(driver) == 3
    asks(driver, 3)  # what is next isn't alike, and nobody overtakes it
    assert waiting(driver) == 3
    other = Driver(slots=1)
    asks(other, 3)
    other.job(1, together=32, context=other.context(b"elsewhere"))
    assert waiting(other) == 3


def test_nobody_is_overtaken() -> None:
    driver = Driver(slots=1)
    driver.job(1, together=32)
    driver.job(1)
    asks(driver, 4)
    assert [job for job, _, _ in driver.in_flight()[1]] == [1, 2]


def test_the_more_urgent_goes_first() -> None:
    driver = Driver(slots=1, ready=False)
    asks(driver, 3)
    driver.job(1, together=32, priority=5)
    driver.all_ready()
    assert [job for job, _, _ in driver.in_flight()[1]] == [4, 1, 2, 3]


def test_bites_of_many_items_are_two_as_ever() -> None:
    driver = Driver(slots=1)
    driver.job(10_000, together=32)
    for _ in range(6):
        driver.run(1, each_s=0.0001)
    assert waiting(driver) == 2
    assert all(stop - start > 10 for _, start, stop in driver.in_flight()[1])


def test_the_pace_of_a_function_is_that_of_all_its_jobs() -> None:
    driver = Driver(slots=1)
    driver.job(1, together=32)
    driver.run(1, each_s=0.0005)
    job = driver.job(1000, together=32)
    assert driver.in_flight()[1][0] == (job, 0, 16)
    paces = Paces()
    first = paces.of((b"0", b""))
    for number in range(300):
        paces.of((b"%d" % number, b""))
    assert paces.of((b"0", b"")) is not first  # not all are remembered


def test_one_is_cancelled_while_it_waits() -> None:
    driver = Driver(slots=1)
    asks(driver, 3)
    driver.sample(1, 0)
    driver.hear(m.StopItems(2, 0, 1))
    driver.answer_limits(ordinal=0)
    assert [(message.lease, message.start, message.stop) for message in driver.up(m.Released)] == [(2, 0, 1)]
    driver.run(1)
    driver.slots[1].bites.clear()


# ---- who is blamed --------------------------------------------------------------------------------------------------


def test_a_death_in_company_is_nobodys_fault_and_each_runs_alone() -> None:
    driver = Driver(slots=1)
    driver.job(1, together=32)
    driver.run(1, each_s=0.0001)
    job = driver.job(100, together=32)
    (_, start, stop) = driver.in_flight()[1][0]
    assert stop - start > 4
    driver.die(1, 1 + 3, last=LastWords(group=1 + 1))  # items 1 to 3 went together
    assert not driver.up(m.Crashed)
    driver.all_ready()
    bites = [*driver.slots[2].bites]
    singly = [(0, 1, False), (1, 2, True), (2, 3, True), (3, 4, True)]
    assert [(bite.start, bite.stop, bite.alone) for bite in bites[:4]] == singly
    assert bites[4].stop > 8 and not bites[4].alone
    driver.run(2)
    driver.die(2, bites[1].ordinal, reason="exit code 3")
    assert [(message.lease, message.index) for message in driver.up(m.Crashed)] == [(job, 1)]


def test_those_that_died_in_company_may_be_of_several_jobs() -> None:
    driver = Driver(slots=1)
    asks(driver, 4)
    driver.die(1, 2, last=LastWords(group=1))
    assert not driver.up(m.Crashed)
    driver.all_ready()
    assert {bite.job: bite.alone for bite in driver.slots[2].bites} == {1: False, 2: True, 3: True, 4: False}


def test_a_death_alone_is_blamed_as_ever() -> None:
    driver = Driver(slots=1)
    asks(driver, 3)
    driver.die(1, 1, last=LastWords(7, "its last words"))
    (crashed,) = driver.up(m.Crashed)
    assert (crashed.lease, crashed.index, crashed.peak_bytes, crashed.printed) == (2, 0, 7, "its last words")
    assert crashed.first


# ---- in a scheduler -------------------------------------------------------------------------------------------------


def one_worker(slots=1):
    desk = Desk()
    client, worker = desk.client(), desk.worker(slots)
    return desk, client, worker


def test_a_worker_is_given_more_of_what_goes_together() -> None:
    _, client, worker = one_worker()
    for number in range(1, 40):
        client.job(number, 1)
    assert len(worker.take(m.Lease)) == 1  # nothing is known: one a slot
    _, client, worker = one_worker()
    for number in range(1, 40):
        client.job(number, 1, together=32)
    leases = worker.take(m.Lease)
    assert 4 <= len(leases) <= 8
    for lease in leases:
        worker.report(lease, seconds=0.0005)
    assert len(worker.take(m.Lease)) > 16  # what one job took says what the next takes


def test_of_what_takes_long_one_a_slot() -> None:
    _, client, worker = one_worker()
    for number in range(1, 40):
        client.job(number, 1, together=32)
    for _ in range(8):
        for lease in worker.take(m.Lease):
            worker.report(lease, seconds=1.0)
    assert len(worker.take(m.Lease)) <= 1


def test_workers_share_them_in_turn() -> None:
    desk = Desk()
    client, workers = desk.client(), [desk.worker(1)]
    client.job(1, 1, together=32)
    workers[0].work(seconds=0.002)
    workers += [desk.worker(1), desk.worker(2)]
    for number in range(2, 14):  # they come in one turn
        for message in (
            m.OpenJob(number, [FUNCTION], CONTEXT.digest, count=1, together=32),
            m.Page(number, 0, 1, 0),
        ):
            desk.scheduler.received(client.number, message, (b"items",), desk.now, more=True)
    desk.carry_out(desk.scheduler.end_turn(desk.now))
    counts = sorted(len(worker.take(m.Lease)) for worker in workers)
    assert sum(counts) == 12 and counts[0] >= 3, counts


def test_the_time_of_those_that_run_counts_for_all_their_jobs() -> None:
    driver = Driver(slots=2)
    asks(driver, 2)
    for number in (1, 2):
        driver.sample(number, 0, after=0.0)
    driver.later(0.3)
    for number in (1, 2):
        driver.sample(number, 0, after=0.0)
    driver.later(0.3)
    (pace,) = {id(job.pace): job.pace for job in driver.machine.jobs.values()}.values()
    assert pace.unit(otherwise=0.0) >= 0.2


def test_what_is_charged_is_given_back() -> None:
    desk, client, worker = one_worker()
    for number in range(1, 10):
        client.job(number, 1, together=32)
    worker.work(seconds=0.002)
    (record,) = desk.scheduler.leasing.workers.values()
    assert not record.loads


def test_with_a_time_limit_each_goes_alone() -> None:
    _, client, worker = one_worker()
    client.job(1, 1, together=32, time_limit=1.0)
    client.job(2, 1, together=32)
    worker.work()
    assert [message.together for message in worker.got(m.OpenJob)] == [0, 32]


@pytest.mark.parametrize("together", [-1, 4097])
def test_how_many_go_together_has_limits(together: int) -> None:
    desk, client, _ = one_worker()
    client.say(m.OpenJob(1, [], CONTEXT.digest, count=0, together=together))
    assert "together" in client.closed
    assert not desk.scheduler.jobs


# ---- how many make a bite ---------------------------------------------------------------------------------------------


def bites_of(together: int, each_s: float, items: int = 2_000) -> list[int]:
    driver = Driver(slots=2)
    driver.job(items, together=together)
    sizes = []
    while any(slot.bites for slot in driver.slots.values()):
        for number, slot in driver.slots.items():
            if slot.bites:
                bite = slot.bites[0]
                sizes.append(bite.stop - bite.start)
                driver.run(number, each_s=each_s)
    assert sum(sizes) == items
    return sizes


def test_bites_are_whole_groups() -> None:
    sizes = bites_of(32, 0.0002)
    assert sum(size % 32 == 0 for size in sizes) > len(sizes) / 2
    assert sum(size % 32 == 0 for size in bites_of(0, 0.0002)) < len(sizes) / 2


def test_groups_get_more_than_other_bites_but_not_much_more() -> None:
    assert max(bites_of(32, 0.001)) == 20
    assert max(bites_of(0, 0.001)) == 8


def test_near_the_end_groups_are_shared_but_not_crumbled() -> None:
    assert min(bites_of(32, 0.0005)[-4:-1]) >= 5
