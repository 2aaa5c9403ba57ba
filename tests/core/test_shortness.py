"""Workers that are short of memory: when they are, what they get then, and who is told."""

import pytest

from tests.core.desk import Desk
from tests.core.fake_slots import Driver
from twistcluster.core.effects import Log
from twistcluster.core.shortness import PAUSE_ABOVE, RESUME_BELOW, Shortness
from twistcluster.wire import messages as m

GIB = 1 << 30
TEXT = "short of memory: 93% of 24.0 GiB used; one item at a time until it is below 85%"


def sizes(leases):
    return [lease.stop - lease.start for lease in leases]


def short(worker, slots=2, text=TEXT):
    worker.say(m.SlotsChanged(slots, slots, 0, 0, text))


def enough(worker, slots=2):
    short(worker, slots, "")


# ---- when --------------------------------------------------------------------------------------------------------------


def test_it_begins_above_one_share_and_ends_below_another():
    memory = Shortness()
    shares = [PAUSE_ABOVE, PAUSE_ABOVE + 0.01, PAUSE_ABOVE, RESUME_BELOW, RESUME_BELOW - 0.01, RESUME_BELOW]
    said = []
    for share in shares:
        memory.look(round(share * 1000), 1000)
        said.append(bool(memory.text))
    assert said == [False, True, True, True, False, False]


def test_it_is_said_in_words_and_again_when_they_change():
    memory = Shortness()
    assert memory.look(round(22.32 * GIB), 24 * GIB)
    assert memory.text == TEXT
    assert not memory.look(round(22.33 * GIB), 24 * GIB)
    assert memory.look(round(22.8 * GIB), 24 * GIB)
    assert "95%" in memory.text
    assert memory.look(GIB, 24 * GIB)
    assert not memory.text
    assert memory.look(95 << 20, 100 << 20)
    assert "95% of 100 MiB" in memory.text


def test_a_worker_tells_it_at_once_and_once():
    driver = Driver(slots=1)
    told = len(driver.up(m.SlotsChanged))
    for used in (10, 93, 93, 10):
        driver.apply(driver.machine.memory_seen(used, 100, driver.now))
    assert [bool(message.short) for message in driver.up(m.SlotsChanged)[told:]] == [True, False]


def test_a_new_scheduler_is_told():
    driver = Driver(slots=1)
    driver.apply(driver.machine.memory_seen(93, 100, driver.now))
    told = len(driver.up(m.SlotsChanged))
    driver.hear(m.Welcome("e", "c", "", "3", "0"))
    assert [bool(message.short) for message in driver.up(m.SlotsChanged)[told:]] == [True]


# ---- what it gets ------------------------------------------------------------------------------------------------------


def test_a_short_worker_gets_nothing_beside_what_it_has_and_keeps_that():
    desk = Desk()
    worker = desk.worker(2)
    job = desk.client().job(count=100)
    [lease] = worker.take(m.Lease)
    short(worker)
    worker.report(lease, lease.start, lease.start + 1)
    assert not worker.got(m.Lease)
    assert not worker.got(m.Revoke)
    assert len(job.spans.pending) == 98


@pytest.mark.parametrize("needs", [{}, {"gpu": 1.0}])
def test_it_gets_one_item_at_a_time_and_never_hangs(needs):
    desk = Desk()
    worker = desk.worker(4, resources={"gpu": 4.0})
    short(worker, 4)
    job = desk.client().job(count=50, resources=needs)
    seen = []
    while leases := worker.take(m.Lease):
        seen.append(sizes(leases))
        worker.report(leases[0], seconds=1e-5)
    assert seen == [[1]] * 50
    assert job.state == "done"


def test_it_gets_its_fill_as_soon_as_it_recovers():
    desk = Desk()
    worker = desk.worker(4)
    short(worker, 4)
    desk.client().job(count=50)
    assert sizes(worker.take(m.Lease)) == [1]
    enough(worker, 4)
    assert sum(sizes(worker.take(m.Lease))) == 3


def test_nothing_is_taken_from_others_for_it():
    desk = Desk()
    victim, hungry = desk.worker(1), desk.worker(1)
    short(hungry, 1)
    job = desk.client().job(count=None, pages=[37])
    while job.spans.pending:
        for worker in (victim, hungry):
            for lease in worker.take(m.Lease):
                worker.report(lease, seconds=0.005)
    for lease in hungry.take(m.Lease):
        hungry.report(lease)
    assert victim.got(m.Lease)
    desk.wait(1.0)
    assert not victim.got(m.Revoke)
    enough(hungry, 1)
    desk.wait(1.0)
    assert victim.got(m.Revoke)


def test_others_take_over_what_it_has():
    desk = Desk()
    full = desk.worker(1)
    job = desk.client().job(count=None, pages=[37])
    while job.spans.pending:
        for lease in full.take(m.Lease):
            full.report(lease, seconds=0.005)
    short(full, 1)
    desk.worker(1)
    desk.wait(0.1)
    assert full.got(m.Revoke)


# ---- who is told -------------------------------------------------------------------------------------------------------


def test_status_says_which_worker_is_short():
    desk = Desk()
    desk.worker(2, name="roomy")
    short(desk.worker(2, name="full"))
    assert {each.name: each.short for each in desk.scheduler.status().workers} == {"roomy": "", "full": TEXT}


def test_a_job_says_so_where_all_workers_are_short():
    desk = Desk()
    worker, other, client = desk.worker(2, name="a"), desk.worker(2, name="b"), desk.client()
    short(worker)
    client.job(count=100)
    desk.wait(1.0)
    assert client.take(m.JobProgress)[-1].waiting == ""
    short(other)
    desk.wait(1.0)
    assert client.take(m.JobProgress)[-1].waiting == f"worker a (1 more as well) is {TEXT}"
    enough(worker)
    desk.wait(1.0)
    assert client.take(m.JobProgress)[-1].waiting == ""


def test_a_job_says_so_where_the_only_worker_with_its_resources_is_short():
    desk = Desk()
    desk.worker(2, name="plain")
    short(desk.worker(2, name="big", resources={"gpu": 1.0}))
    client = desk.client()
    client.job(0, count=1, resources={"gpu": 1.0})
    client.job(1, count=1, resources={"gpu": 1.0})
    desk.wait(1.0)
    waiting = {message.job: message.waiting for message in client.got(m.JobProgress)}
    assert waiting == {0: "", 1: f"worker big is {TEXT}"}


def test_it_is_logged_when_it_begins_and_when_it_ends():
    desk = Desk()
    worker = desk.worker(2)
    events = []
    for text in (TEXT, TEXT.replace("93", "94"), ""):
        effects = desk.scheduler.received(worker.number, m.SlotsChanged(2, 2, 0, 0, text), (), 0.0)
        events += [effect.event for effect in effects if isinstance(effect, Log)]
    assert events == ["worker is short of memory", "worker has enough memory again"]
