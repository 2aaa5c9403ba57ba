"""Stories that go wrong are seen, told and can be had again."""

import re

import pytest

from twistcluster.core import rows
from twistcluster.testing.clients import SimulatedJob
from twistcluster.testing.clock import StepClock
from twistcluster.testing.cluster import SimulatedCluster
from twistcluster.testing.network import SimulatedLink
from twistcluster.testing.paper import Book
from twistcluster.testing.soak import main, tell
from twistcluster.testing.stories import Story
from twistcluster.wire.codec import encode_message
from twistcluster.wire.messages import Heartbeat, Results


def test_one_seed(capsys):
    assert main(["--seed", "7"]) == 0
    assert "1 seeds ran" in capsys.readouterr().out


def test_seeds_for_some_time(capsys):
    assert main(["--seconds", "0.3"]) == 0
    out = capsys.readouterr().out
    assert re.match(r"\d+ seeds ran in \d s, and all that must hold did:\n( +[\d,]+  [a-z]|$)", out)


def test_a_story_that_fails_is_told_with_its_seed_and_ends_the_run(capsys, monkeypatch):
    monkeypatch.setattr(Story, "_open_job", lambda self: 1 / 0 if self.seed == 3 else None)
    assert tell(range(9)).failed == 3
    err = capsys.readouterr().err
    assert "ZeroDivisionError" in err and "seed 3, workers of kind machine" in err and "worker with" in err
    assert main(["--seed", "3"]) == 1
    assert "python -m twistcluster.testing.soak --seed 3" in capsys.readouterr().out


def test_a_book_sees_a_result_that_changes():
    book = Book()
    header = encode_message(Results(1, 0, 2, 0))
    book.record([rows.EntryRow(1, 0, "results", 0, 2, header, (b"one",))])
    with pytest.raises(AssertionError, match="item 0 of job 1"):
        book.record([rows.EntryRow(1, 1, "results", 0, 2, header, (b"another",))])


def test_a_client_sees_a_result_that_changes_or_is_lost():
    job = SimulatedJob(1, 1)
    job.told(0, b"one")
    job.check()
    job.known = dict(job.results)
    job.told_anew()
    with pytest.raises(AssertionError, match="was b'one', and is told as b'another'"):
        job.told(0, b"another")
    job.failed[0] = "lost"
    with pytest.raises(AssertionError, match="results were lost"):
        job.check()


def durable(**more):
    cluster = SimulatedCluster(1, commit_s=0.005, **more)
    cluster.add_worker(2)
    return cluster, cluster.add_client()


def test_a_scheduler_comes_back_and_goes_on():
    cluster, client = durable()
    job = client.open_job(50)
    cluster.run(lambda: len(job.results) > 20)
    before = dict(job.results)
    cluster.crash(1.0)
    assert not cluster.quiet()
    cluster.run()
    job.check()
    same = sum(job.results[index] == value for index, value in before.items())
    assert same >= 18 and job.kept == 50 and cluster.restarts == 1


def test_what_was_not_written_is_lost_with_the_scheduler():
    cluster, client = durable()
    job = client.open_job(50)
    cluster.run(lambda: client.link.up and not cluster.scheduler.jobs)
    cluster.crash(0.0)
    cluster.run()
    assert job.released and job.kept is None


def test_a_client_links_again_and_hears_the_same():
    cluster, client = durable()
    job = client.open_job(50)
    cluster.run(lambda: len(job.results) > 20)
    before = dict(job.results)
    client.link_again()
    assert len(cluster.links) == 3, "the old link is there, too"
    cluster.run()
    job.check()
    assert before.items() <= job.results.items()


@pytest.mark.parametrize("kind", ["lease", "machine"])
def test_a_worker_that_leaves_finishes_what_it_runs(kind):
    cluster = SimulatedCluster(1, item_seconds=lambda _job, _index: 0.5)
    leaving, other = cluster.add_worker(2, kind=kind), cluster.add_worker(2, kind=kind)
    job = cluster.add_client().open_job(40)
    cluster.run(lambda: len(job.results) > 4)
    leaving.leave()
    cluster.run(lambda: not leaving.alive)
    began = len(leaving.runs)
    cluster.run()
    job.check()
    assert len(leaving.runs) == began and len(leaving.runs) + len(other.runs) == 40, "something ran twice"


class Ear:
    def __init__(self):
        self.heard = []

    def received(self, message, buffers):
        self.heard.append(message)

    def lost(self):
        self.heard.append("lost")


def test_what_a_killed_process_said_still_arrives():
    clock, left, right = StepClock(), Ear(), Ear()
    link = SimulatedLink(clock, lambda: 1.0)
    link.connect(left, right)
    link.send(True, Heartbeat())
    link.send(False, Heartbeat())
    link.hang_up(right=False)
    link.send(False, Heartbeat())
    while clock.step():
        pass
    assert right.heard == [Heartbeat(), "lost"] and not left.heard and not link.up


def test_a_partition_delays_both_ends():
    clock, left, right = StepClock(), Ear(), Ear()
    link = SimulatedLink(clock, lambda: 0.0)
    link.connect(left, right)
    link.partition(5.0)
    link.send(True, Heartbeat())
    link.send(False, Heartbeat())
    assert clock.due() == 5.0
    while clock.step():
        pass
    assert left.heard == right.heard == [Heartbeat()]
