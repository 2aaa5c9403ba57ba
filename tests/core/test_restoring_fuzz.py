"""Any jobs, tied in any way, with crashes at any point: what was written down holds, and all comes to its end."""

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from tests.core.test_scheduler_fuzz import PLACE, TIED_EVENTS, Table, opens
from twistcluster.core.effects import ReadLog, Record, Send
from twistcluster.core.restoring import restore
from twistcluster.core.scheduler import Identity, Scheduler
from twistcluster.testing.invariants import check_restored
from twistcluster.testing.paper import Book
from twistcluster.wire import messages as m

ROUNDS = 200


def _items(message):
    return (
        (message.first, message.first + message.count)
        if isinstance(message, m.Results)
        else (message.index, message.index + 1)
    )


class Desk(Table):
    """A table whose scheduler has a journal, and dies."""

    def __init__(self, results_held_bytes):
        self.paper = Book()
        self.unwritten = []
        self.results_held_bytes = results_held_bytes
        self.results = 0
        self.told = {}
        """By seat, job and first item: what a client that lives was told became of them, with its buffers."""
        self.seen = {}
        """By job and item: what any client that lives was told first."""
        self.holds = {}
        """By seat: the jobs that it holds, by its numbers."""
        self.resumed = {}
        super().__init__("lab", results_held_bytes)
        self._begin()

    def _begin(self):
        identity = Identity(epoch="0", cluster="0", python="3.11", version="0", pid=0, name="lab")
        self.scheduler = Scheduler(identity, now=self.now, results_held_bytes=self.results_held_bytes, journal=True)
        restore(self.scheduler, self.paper)
        self.look(self.scheduler.end_turn(self.now))

    def look(self, effects, said_by=None):
        super().look(effects, said_by)
        for effect in effects:
            if isinstance(effect, Send):
                self.hear(effect)
            if isinstance(effect, Record):
                self.unwritten.append(effect)
            elif isinstance(effect, ReadLog):
                self.write()
                found = self.paper.read_log(effect.job.key, effect.place)
                self.look(self.scheduler.read(effect.job, found[:2], self.now))

    def hear(self, effect):
        """A client is told something: what it was told first never changes."""
        client, message = self.scheduler.clients.get(effect.peer), effect.message
        seat = next(seat for seat, peer in self.peers.items() if peer == effect.peer)
        if isinstance(message, m.Resumed):
            self.resumed[seat] = message
        if client is None or not isinstance(message, m.Results | m.Failed):
            return
        job = client.jobs.get(message.job)
        if job is None:
            return
        told = self.told.setdefault(seat, {}).setdefault(job.id, {})
        if isinstance(message, m.Failed):
            told[message.index] = (message, effect.buffers)
            return
        for index in range(message.first, message.first + message.count):
            before = self.seen.setdefault((job.id, index), (message.first, tuple(map(bytes, effect.buffers))))
            assert before == (message.first, tuple(map(bytes, effect.buffers))), f"{job.id}: item {index} changed"
        told[message.first] = (message, effect.buffers)

    def come_back(self, seat):
        """A client that lived through a crash says what it holds, and then what isn't known any more."""
        held, told = self.holds.get(seat, {}), self.told.get(seat, {})
        jobs = []
        for number, name in held.items():
            known = [_items(message) for message, _ in told.get(name, {}).values()]
            jobs.append(m.HeldJob(number, name, known))
        peer = self.peers[seat]
        self.look(self.scheduler.received(peer, m.Resume(jobs), (), self.now), said_by=peer)
        answer = self.resumed.pop(seat)
        for name in set(held.values()) - {
            held[known.job] for known in answer.jobs
        }:  # it is gone with all that was told
            told.pop(name, None)
            self.seen = {at: fate for at, fate in self.seen.items() if at[0] != name}
        for known in answer.jobs:
            for message, buffers in told.get(held[known.job], {}).values():
                first, stop = _items(message)
                if any(a < stop and first < b for a, b in known.untold):
                    said = structs.replace(message, job=known.job)
                    self.look(self.scheduler.received(peer, said, buffers, self.now), said_by=peer)
        self.look(self.scheduler.received(peer, m.Offered(), (), self.now), said_by=peer)

    def dies(self, seat):
        """A client is gone for good, with what it was told."""
        self.told.pop(seat, None)
        self.holds.pop(seat, None)
        still = {
            (name, index)
            for jobs in self.told.values()
            for name, told in jobs.items()
            for message, _ in told.values()
            for index in range(*_items(message))
        }
        self.seen = {at: fate for at, fate in self.seen.items() if at in still}

    def write(self, count=1 << 30):
        """Write down the first so many of what it was told."""
        written, self.unwritten = self.unwritten[:count], self.unwritten[count:]
        for effect in written:
            self.paper.record(effect.changes)
        for effect in written:
            self.look(self.scheduler.recorded(effect.marks, self.now))

    def check_paper(self):
        """It holds what the scheduler has, and no page that isn't needed."""
        if self.unwritten:
            return
        jobs = self.scheduler.jobs
        assert {row.key for row, _ in self.paper.jobs()} == set(jobs)
        for page in self.paper.pages():
            assert page.first in jobs[page.job].pages, f"page {page.first} of job {page.job} is kept in vain"
        for job in jobs.values():
            assert job.over == job.kept_whole

    def crash(self, back=(0, 1)):
        """All that was not written down is lost, and so are all links; these clients live."""
        for seat in (0, 1, 2):
            client = self.scheduler.clients.get(self.peers.get(seat))
            if client is not None and seat in back:
                self.holds[seat] = {number: job.id for number, job in client.jobs.items()}
            else:
                self.dies(seat)
        before = None if self.unwritten else self.scheduler
        self.unwritten, self.peers, self.wanted = [], {}, {}
        self._begin()
        if before is not None:
            check_restored(before, self.scheduler)
        for seat in back:
            self.join(seat)
            self.come_back(seat)
        self.gather()

    def gather(self):
        for seat in (0, 1, 3, 4):
            self.join(seat)
        for seat in (0, 1):
            for message in (m.Blob(b"a" * 16), m.Context(b"c" * 16, b"b" * 16, "/")):
                self.happen("say", seat, message, (b"a",))

    def report(self, peer, number, *, fails):
        worker = self.scheduler.leasing.workers.get(peer)
        leases = list(worker.leases.items()) if worker is not None else []
        if leases:
            number, (_, lease) = leases[number % len(leases)]
            start, stop = lease.left.first()
            self.results += 1
            said = m.Failure(number, start, 0.1, m.ErrorInfo("raised", "ValueError", "no"))
            if not fails:
                stored = range(stop - start) if self.results % 3 == 0 else ()
                objects = [m.Stored(item, b"%08d%08d" % (self.results, item), 1 << 20) for item in stored]
                said = m.Report(number, start, stop - start, 1 if stored else 0, 0.1, objects=objects)
            self.look(self.scheduler.received(peer, said, (b"%d" % self.results,), self.now), said_by=peer)

    def to_the_end(self):
        """Everybody does what is asked of them, until nothing is open."""
        for seat in (0, 1, 4, 5):
            self.join(seat)
        for _ in range(ROUNDS):
            for client in list(self.scheduler.clients.values()):
                for number, job in list(client.sending.items()):
                    if job.count is None:
                        message = m.CloseJob(number, job.arrived, "")
                    else:
                        message = m.Page(number, job.arrived, job.count - job.arrived, 0)
                    self.look(self.scheduler.received(client.peer, message, (b"a",), self.now), said_by=client.peer)
            for seat in list(self.peers):
                self.happen("resume", seat, None, ())
                while self.wanted.get(self.peers[seat]):
                    self.say_well("answer", seat, 0, 0)
            for peer in list(self.scheduler.leasing.workers):
                self.report(peer, 0, fails=False)
            self.write()
            self.check_paper()
            if not self.scheduler.open_jobs():
                return
            self.now += 0.3
            self.look(self.scheduler.tick(self.now))
        stuck = [
            (
                job.id,
                job.state,
                list(job.spans.pending),
                list(job.spans.waiting),
                job.spans.leases,
                job.arrived,
                job.count,
            )
            for job in self.scheduler.open_jobs()
        ]
        raise AssertionError(f"these hang: {stuck}")


EVENTS = st.one_of(
    TIED_EVENTS,
    st.tuples(st.just("write"), st.integers(1, 9), st.none(), st.none()),
    st.tuples(st.just("crash"), PLACE, st.none(), st.none()),
)


@given(st.lists(EVENTS, min_size=10, max_size=70), st.sampled_from([300, 1 << 30]))
@settings(max_examples=200)
def test_what_was_written_holds_whatever_dies(events, results_held_bytes):
    desk = Desk(results_held_bytes)
    desk.gather()
    for seat in (0, 1):
        for message in (opens(1, 0), m.Page(1, 0, 9, 0)):
            desk.happen("say", seat, message, (b"a",))
    for what, seat, one, two in events:
        if what == "write":
            desk.write(seat)
            desk.check_paper()
        elif what == "crash":
            if seat % 2:
                desk.write()
            else:  # something is told, and not written
                for peer in list(desk.scheduler.leasing.workers):
                    desk.report(peer, seat, fails=seat == 4)
            desk.crash([(0, 1), (0,), (1,), ()][seat % 4])
        elif what in ("open", "page", "answer", "close", "cancel", "cancel all", "retry", "release", "adopt"):
            desk.say_well(what, seat, one, two)
        else:
            desk.happen(what, seat, one, two)
    desk.to_the_end()
    desk.crash()
    assert not desk.scheduler.open_jobs(), "what was over is open again"
    assert not desk.closed, "what was said was right, and cost a link"
