"""Large results of jobs that somebody asked to keep are copied to the disk, and the copies go with them."""

import pytest

from tests.core.desk import Desk
from tests.core.test_objects import freed, name, stored, work
from tests.core.test_remaking import restore
from tests.core.test_restoring import job_of
from twistcluster.core.effects import CopyOut, RemoveCopies
from twistcluster.core.retention import UNNAMED_S
from twistcluster.testing.paper import Paper
from twistcluster.wire import messages as m


class Disk(Desk):
    """A desk beside a disk, on which copies are made when `copy` is called."""

    def __init__(self, *args, **options):
        self.asked, self.removed = [], []
        super().__init__(*args, **options)

    def carry_out(self, effects):
        for effect in effects:
            if isinstance(effect, CopyOut):
                self.asked += effect.ids
            elif isinstance(effect, RemoveCopies):
                self.removed += effect.ids
        super().carry_out(effects)

    def copy(self, missing=(), unwritten=(), trouble=""):
        """What was asked for is tried; the rest of it is written."""
        asked, self.asked = self.asked, []
        written = [each for each in asked if each not in (*missing, *unwritten)]
        missing = [each for each in asked if each in missing]
        self.carry_out(self.scheduler.copied(written, missing, list(unwritten), trouble, self.now))


def named(paper=None):
    return Disk("lab", paper or Paper())


def again(desk, *copies):
    """Another scheduler, which finds these copies."""
    desk = named(desk.paper)
    desk.scheduler.safekeeping.found([name(each) for each in copies])
    desk.carry_out(desk.scheduler.end_turn(desk.now))
    return desk


def keep(client, job, request=1):
    client.say(m.Ask(request, m.KeepJob(job.id)))


def done(desk, count=2, first=10, **options):
    """A job whose results are large, and its worker and client."""
    worker, client = desk.worker(1), desk.client()
    job = client.job(1, count=count, **options)
    work(worker, first)
    desk.write()
    client.take(m.Kept)
    return job, worker, client


def answers(client):
    return client.take(m.Answer) + client.take(m.Declined)


def test_what_is_there_is_copied_and_then_answered():
    desk = named()
    job, _, client = done(desk)
    keep(client, job)
    assert desk.asked == [name(10), name(11)]
    assert client.take(m.Kept) == [m.Kept(1, 2, False)], "not as a whole any more"
    desk.write()
    assert answers(client) == []
    client.take(m.Kept)
    desk.copy()
    assert client.take(m.Kept) == [m.Kept(1, 2, True)]
    assert answers(client) == [m.Answer(1)]
    keep(client, job, 2)
    assert answers(client) == [m.Answer(2)] and not desk.asked


def test_the_answer_waits_for_the_journal_too():
    desk = named()
    job, _, client = done(desk)
    keep(client, job)
    desk.copy()
    assert answers(client) == []
    desk.write()
    assert answers(client) == [m.Answer(1)]


def test_what_comes_later_is_copied_as_it_comes():
    desk = named()
    worker, client = desk.worker(1), desk.client()
    job = client.job(1, count=2)
    keep(client, job)
    desk.write()
    assert answers(client) == [m.Answer(1)]
    work(worker, 10)
    assert desk.asked == [name(10), name(11)]
    desk.write()
    assert not client.take(m.Kept)[-1].over
    desk.copy()
    assert client.take(m.Kept)[-1] == m.Kept(1, 2, True)


def test_two_who_ask_at_once_get_one_copy():
    desk = named()
    job, _, client = done(desk)
    other = desk.client()
    keep(client, job)
    keep(other, job, 7)
    assert desk.asked == [name(10), name(11)]
    desk.write()
    desk.copy()
    assert answers(client) == [m.Answer(1)] and answers(other) == [m.Answer(7)]


def test_copies_go_once_nobody_holds_the_values():
    desk = named()
    job, worker, client = done(desk)
    keep(client, job)
    desk.write()
    desk.copy()
    client.say(m.Ask(2, m.ForgetJob(job.id)))
    assert desk.removed == [], "the client can still ask for them"
    client.say(m.Drop([name(10), name(11)]))
    assert sorted(desk.removed) == sorted(freed(worker)) == [name(10), name(11)]


def test_what_was_forgotten_while_it_was_copied_leaves_no_copy():
    desk = named()
    job, _, client = done(desk)
    keep(client, job)
    client.say(m.Drop([name(10), name(11)]))
    client.say(m.Ask(2, m.ForgetJob(job.id)))
    assert desk.removed == []
    desk.copy()
    assert sorted(desk.removed) == [name(10), name(11)]
    desk.write()
    assert [each.code for each in client.take(m.Declined)] == ["unknown"], "who waited for it hears it"


@pytest.mark.parametrize("copies", [(10, 11), (10,)])
def test_a_scheduler_that_comes_back_knows_what_is_kept_and_copies_what_is_not(copies):
    desk = named()
    job, _, client = done(desk)
    keep(client, job)
    desk.write()
    desk = again(desk, *copies, 99)
    assert job_of(desk, 1).safe == {name(each) for each in {10, 11}.difference(copies)}
    assert desk.asked == [name(each) for each in (10, 11) if each not in copies]
    assert desk.removed == [name(99)], "nobody knows what that is"
    desk.copy()
    assert not job_of(desk, 1).safe
    client = desk.client()
    client.say(m.Ask(2, m.ForgetJob(job.id)))
    assert sorted(desk.removed) == [name(10), name(11), name(99)]


def test_a_disk_that_is_full_is_told_to_who_asks_else_to_all():
    desk = named()
    job, worker, client = done(desk)
    keep(client, job)
    desk.write()
    desk.copy(unwritten=[name(11)], trouble="It is full.")
    assert answers(client) == [m.Declined(1, "full", "It is full.")]
    assert job.safe == {name(11)}
    keep(client, job, 2)
    assert desk.asked == [name(11)]
    desk.copy()
    desk.write()
    assert answers(client) == [m.Answer(2)]
    keep(client, client.job(2, count=1), 3)
    desk.write()
    assert answers(client) == [m.Answer(3)]
    work(worker, 20)
    desk.copy(unwritten=[name(20)], trouble="It is full.")
    assert "job.keep() tries it again" in client.take(m.Notice)[-1].text


def test_a_journal_that_cannot_be_written_is_told_to_who_waits():
    desk = named()
    job, _, client = done(desk)
    keep(client, job)
    desk.carry_out(desk.scheduler.journal_trouble("no room", desk.now))
    assert [each.code for each in client.take(m.Declined)] == ["full"]
    other = client.job(2, count=1)
    keep(client, other, 2)
    assert [each.code for each in client.take(m.Declined)] == ["full"]
    desk.carry_out(desk.scheduler.journal_trouble("", desk.now))
    keep(client, other, 3)
    desk.write()
    assert answers(client) == [m.Answer(3)]


def test_a_value_that_is_lost_and_made_again_is_copied_again():
    desk = named()
    job, worker, client = done(desk)
    keep(client, job)
    desk.write()
    desk.copy(missing=[name(11)])
    assert answers(client) == [m.Answer(1)] and job.safe == {name(11)}
    restore(client, 11)
    (lease,) = worker.take(m.Lease)
    worker.say(m.Report(lease.lease, 1, 1, 1, 0.1, objects=[stored(0, 50)]), b"results")
    assert desk.asked == [name(11)]
    desk.copy()
    assert not job.safe


def test_one_without_a_name_that_is_kept_stays_as_one_with_a_name_does():
    desk = named()
    job, _, client = done(desk)
    keep(client, job)
    client.say(m.Release(1))
    client.leave()
    desk.wait(UNNAMED_S + 120)
    assert job in desk.scheduler.jobs.values()


def test_without_a_journal_nothing_is_kept():
    desk = Disk("lab")
    worker, client = desk.worker(1), desk.client()
    job = client.job(1, count=1)
    work(worker, 10)
    keep(client, job)
    assert [each.code for each in client.take(m.Declined)] == ["invalid"] and not desk.asked


def test_a_job_that_is_not_known_is_told():
    desk = named()
    client = desk.client()
    client.say(m.Ask(1, m.KeepJob("nobody-1")))
    assert [each.code for each in client.take(m.Declined)] == ["unknown"]


def test_who_waits_for_a_job_that_is_forgotten_meanwhile_hears_so():
    desk = named()
    job, _, client = done(desk)
    keep(client, job)
    desk.copy()
    client.say(m.Ask(2, m.ForgetJob(job.id)))
    desk.write()
    said = answers(client)
    assert m.Answer(2) in said
    assert [each.request for each in said if isinstance(each, m.Declined)] == [1]
