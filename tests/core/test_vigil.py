"""Workers that say nothing: when they are suspects, when they are lost, and when nobody is judged."""

import re

import pytest
from twisted.internet.task import Clock

from tests.core.desk import Desk
from twistcluster.core.effects import Close, Log
from twistcluster.core.vigil import LOST_AFTER_S, SUSPECT_AFTER_S
from twistcluster.nodes.ticker import Ticker
from twistcluster.wire import messages as m


def suspects(desk):
    return {each.name: each.suspect for each in desk.scheduler.status().workers if each.suspect}


def named(desk, name, slots=1, **more):
    return desk.worker(slots, name=name, **more)


def slept(desk, seconds):
    """The scheduler couldn't look for so long; then it looks, before it reads what came meanwhile."""
    desk.now += seconds
    desk.carry_out(desk.scheduler.tick(desk.now))


def test_a_heartbeat_is_answered():
    desk = Desk()
    worker = named(desk, "anna")
    assert worker.say(m.Heartbeat()) == [m.Heartbeat()]


def test_silence_makes_a_suspect_and_a_word_makes_it_none():
    desk = Desk()
    mute, other = named(desk, "mute"), named(desk, "other")
    mute.mute = True
    desk.wait(SUSPECT_AFTER_S - 0.5)
    assert not suspects(desk)
    desk.wait(2.5)
    assert list(suspects(desk)) == ["mute"] and "silent for" in suspects(desk)["mute"]
    assert desk.scheduler.leasing.slots == 1
    desk.client().job(count=10)
    assert not mute.got(m.Lease) and other.got(m.Lease)
    mute.say(m.Heartbeat())
    assert not suspects(desk)
    assert mute.got(m.Lease)


def test_what_a_suspect_has_stays_its_own_and_nobody_is_asked_for_its_sake():
    desk = Desk()
    mute = named(desk, "mute", 2)
    job = desk.client().job(count=2)
    [lease] = mute.take(m.Lease)
    mute.mute = True
    desk.wait(SUSPECT_AFTER_S + 2)
    named(desk, "idle", 2)
    desk.wait(3)
    assert not mute.got(m.Revoke)
    assert lease.lease in job.spans.leases
    mute.report(lease)
    assert job.state == "done" and not suspects(desk)


def test_the_lost_one_has_its_link_closed_and_is_heard_no_more():
    desk = Desk()
    mute, client = named(desk, "mute", 2), desk.client()
    job = client.job(count=2)
    [lease] = mute.take(m.Lease)
    mute.mute = True
    desk.wait(LOST_AFTER_S + 4)
    assert re.fullmatch(r"it said nothing for 3\d s", mute.closed)
    assert not desk.scheduler.leasing.workers and list(job.spans.pending) == [(0, 2)]
    told = client.got(m.Notice)[-1].text
    assert re.fullmatch(r"Worker mute said nothing for 3\d s; what it had is run elsewhere\.", told)
    mute.report(lease)  # it wakes up, and doesn't know yet
    assert not client.got(m.Results)
    again = named(desk, "mute", 2, process="1".zfill(12).ljust(32, "0"), link=2)
    again.work()
    assert job.state == "done" and len(client.got(m.Results)) == 1


def test_how_much_silence_is_a_loss_can_be_said():
    desk = Desk(lost_after_s=4.0)
    mute = named(desk, "mute")
    mute.mute = True
    desk.wait(3.5)
    assert suspects(desk) == {"mute": "silent for 2 s"} or suspects(desk) == {"mute": "silent for 3 s"}
    desk.wait(2)
    assert mute.closed


def test_no_answer_to_a_revoke_makes_a_suspect_whatever_else_it_says():
    desk = Desk()
    first, client = named(desk, "first"), desk.client()
    job = client.job(count=100, pages=[100])
    for _ in range(3):
        for lease in first.take(m.Lease):
            first.report(lease, seconds=0.01)
    second = named(desk, "second")
    while leases := second.take(m.Lease):
        for lease in leases:
            second.report(lease, seconds=0.01)
    desk.wait(0.5)
    [revoke] = first.take(m.Revoke)
    desk.wait(1.0)
    assert not suspects(desk)
    desk.wait(3.0)
    assert suspects(desk) == {"first": "it doesn't answer"}
    first.say(m.Heartbeat())
    assert suspects(desk)
    lease = job.spans.leases[revoke.lease]
    first.say(m.Released(revoke.lease, lease.stop - 1, lease.stop))
    assert not suspects(desk)
    desk.wait(100)
    assert not first.closed, "it talks"


def sending(desk, worker, seconds):
    """Time passes, in which bytes of a long message come and nothing else."""
    worker.mute = True
    for _ in range(seconds):
        desk.scheduler.vigil.bytes_came({worker.number, 999})
        desk.wait(1.0)


def test_bytes_that_come_are_no_silence():
    """64 MiB at 1 MB/s: a report that takes twice as long as the longest silence."""
    desk = Desk()
    slow = named(desk, "slow")
    named(desk, "other")
    sending(desk, slow, 64)
    assert not slow.closed and not suspects(desk)
    desk.wait(SUSPECT_AFTER_S + 2)  # nothing more comes
    assert list(suspects(desk)) == ["slow"]
    sending(desk, slow, 2)
    assert not suspects(desk)
    desk.wait(LOST_AFTER_S + 4)
    assert slow.closed


def test_an_answer_behind_something_long_isnt_late():
    desk = Desk()
    first, client = named(desk, "first"), desk.client()
    client.job(count=100, pages=[100])
    for _ in range(3):
        for lease in first.take(m.Lease):
            first.report(lease, seconds=0.01)
    second = named(desk, "second")
    while leases := second.take(m.Lease):
        for lease in leases:
            second.report(lease, seconds=0.01)
    desk.wait(0.5)
    assert first.take(m.Revoke)
    sending(desk, first, 20)
    assert not suspects(desk)
    first.mute = False  # it has said all of that, and still doesn't answer
    desk.wait(4)
    assert suspects(desk) == {"first": "it doesn't answer"}
    sending(desk, first, 2)
    assert suspects(desk), "it owes an answer"


def test_who_is_waited_for_is_said_to_clients():
    desk = Desk()
    mute, client = named(desk, "mute"), desk.client()
    client.job(count=2)
    mute.mute = True
    desk.wait(SUSPECT_AFTER_S + 2)
    assert client.got(m.JobProgress)[-1].waiting.startswith("worker mute doesn't answer")
    # Its words change from second to second, and are told once.
    told = len(client.got(m.JobProgress))
    desk.wait(5)
    assert len(client.got(m.JobProgress)) == told
    client.job(1, count=1)
    desk.wait(1)
    assert client.got(m.JobProgress)[-1] == m.JobProgress(1, 0, client.got(m.JobProgress)[-1].waiting)
    assert "worker mute doesn't answer" in client.got(m.JobProgress)[-1].waiting


def test_clients_and_the_worker_in_the_schedulers_own_process_are_not_judged():
    desk = Desk()
    worker, client = desk.worker(local=True), desk.client()
    worker.mute = True
    desk.wait(10 * LOST_AFTER_S)
    assert not worker.closed and not client.closed and not suspects(desk)


def test_stopped_slots_are_told_and_their_work_waits_with_a_reason():
    desk = Desk()
    worker, client = named(desk, "anna", 2), desk.client()
    client.job(count=2)
    worker.say(m.SlotsChanged(1, 2, 2, 0, "", [77]))
    desk.wait(1)
    assert client.got(m.JobProgress)[-1].waiting.startswith("worker anna: a slot is stopped; kill -CONT 77 ")
    assert [(each.slots, each.stopped) for each in desk.scheduler.status().workers] == [(1, [77])]
    worker.say(m.SlotsChanged(2, 2, 2, 0))
    desk.wait(1)
    assert not client.got(m.JobProgress)[-1].waiting


@pytest.mark.parametrize("needs", [{}, {"gpu": 1.0}])
def test_the_item_of_a_stopped_slot_takes_nobodys_place(needs):
    desk = Desk()
    worker, client = named(desk, "anna", 2, resources={"gpu": 2.0}), desk.client()
    client.job(count=60, resources=needs)
    [first] = worker.take(m.Lease)
    worker.report(
        first, first.start + 1, seconds=1.0
    )  # and its first item, as long as these, is in a slot that is stopped
    worker.say(m.SlotsChanged(1, 2, 2, 0, "", [77], held=1))
    done = 1
    while leases := worker.take(m.Lease):
        for lease in leases:
            done += lease.stop - lease.start
            worker.report(lease, seconds=1.0)
    assert done == 59


def test_no_worker_holds_less_than_nothing():
    desk = Desk()
    worker = named(desk, "anna", 2)
    worker.say(m.SlotsChanged(1, 2, 2, 0, "", [77], held=-1))
    assert "has 0 to" in worker.closed


def test_no_worker_has_so_many_stopped_slots():
    desk = Desk()
    worker = named(desk, "anna", 2)
    worker.say(m.SlotsChanged(1, 2, 2, 0, "", [*range(2000)]))
    assert "2,000 can't be stopped" in worker.closed


def test_a_worker_that_leaves_gets_nothing_and_is_asked_for_what_it_hasnt_begun():
    desk = Desk()
    worker, client = named(desk, "anna", 2), desk.client()
    client.job(count=2)
    [lease] = worker.take(m.Lease)
    said = worker.say(m.SlotsChanged(0, 2, 2, 0, "", [], True))
    assert said == [m.Revoke(lease.lease)]
    assert [each.leaving for each in desk.scheduler.status().workers] == [True]
    client.job(1, count=10)
    assert not worker.got(m.Lease)
    desk.wait(1)
    assert "every worker is leaving" in client.got(m.JobProgress)[-1].waiting


# ---- time that nobody is to blame for -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [4.9, 40.0, 1e6])
def test_what_the_scheduler_slept_is_nobodys_silence(seconds):
    desk = Desk()
    worker = named(desk, "anna")
    desk.wait(3)
    for _ in range(3):
        slept(desk, seconds)
        assert not suspects(desk) and not worker.closed
        desk.beat()


def test_a_computer_that_sleeps_makes_no_suspects():
    """With the clock of a node: its alarm is late, then comes what workers said meanwhile."""
    clock = Clock()
    desk = Desk()
    worker, client = named(desk, "anna"), desk.client()
    job = client.job(count=1)

    def tick():
        desk.carry_out(desk.scheduler.tick(ticker.now()))
        # On a clock that stands still an alarm that rings too early by a rounding error would ring for ever.
        ticker.wake_at(max(desk.scheduler.next_tick(), ticker.now() + 0.001))

    ticker = Ticker(clock, tick, clock.seconds)
    ticker.wake_at(desk.scheduler.next_tick())
    for _ in range(5):
        for _ in range(30):
            clock.advance(0.1)
            desk.now = ticker.now()
            desk.beat()
        clock.rightNow += 3600.0
        clock.advance(1e-6)
    assert not worker.closed and not suspects(desk)
    assert ticker.now() < 60
    worker.work()
    assert job.state == "done"


# ---- links ---------------------------------------------------------------------------------------------------------------


def test_the_newest_link_of_a_process_wins_in_any_order():
    desk = Desk()
    process = "a" * 32
    second = desk.worker(process=process, link=2)
    first = desk.worker(process=process, link=1)
    assert first.closed and not second.closed
    third = desk.worker(process=process, link=3)
    assert second.closed and not third.closed
    desk.client().job(count=2)
    assert not first.got(m.Lease) and not second.got(m.Lease) and third.got(m.Lease)
    first.say(m.Heartbeat())
    first.leave()
    assert len(desk.scheduler.leasing.workers) == 1


def test_a_process_that_comes_back_blames_no_item():
    desk = Desk()
    job = desk.client().job(count=1)
    for link in range(1, 12):
        worker = desk.worker(process="a" * 32, link=link)
    worker.work()
    assert job.state == "done"


def test_what_is_said_of_it_in_the_log():
    desk = Desk()
    worker = named(desk, "mute")
    effects = []
    carry_out = desk.carry_out
    desk.carry_out = lambda new: (effects.extend(new), carry_out(new))
    worker.mute = True
    desk.wait(LOST_AFTER_S + 4)
    events = [effect.event for effect in effects if isinstance(effect, Log)]
    assert events == ["worker is a suspect", "worker lost"]
    assert sum(isinstance(effect, Close) for effect in effects) == 1
