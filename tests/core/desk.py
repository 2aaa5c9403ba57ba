"""A scheduler on a desk: peers say things to it, and what it says to each is laid out beside it."""

from twistcluster.core.effects import Bring, Close, EndCluster, ReadLog, Record, Send
from twistcluster.core.restoring import restore
from twistcluster.core.returning import WITHHELD_S
from twistcluster.core.scheduler import Identity, Scheduler
from twistcluster.testing.invariants import check_scheduler
from twistcluster.wire import messages as m

__all__ = ["CONTEXT", "FUNCTION", "Desk", "Peer"]

FUNCTION = b"f" * 16
CONTEXT = m.Context(b"c" * 16, b"b" * 16, "/")


class Peer:
    """One link."""

    def __init__(self, desk, number):
        self.desk = desk
        self.number = number
        self.heard = []
        self.closed = ""
        self.mute = False
        """A worker that sends no heartbeats while time passes."""

    def say(self, message, *buffers):
        """Say something; returns what is said back in the same turn."""
        before = len(self.heard)
        desk = self.desk
        desk.carry_out(desk.scheduler.received(self.number, message, buffers, desk.now))
        return self.heard[before:]

    def leave(self):
        self.desk.carry_out(self.desk.scheduler.disconnected(self.number, self.desk.now))

    def pause(self):
        self.desk.carry_out(self.desk.scheduler.paused(self.number, self.desk.now))

    def resume(self):
        self.desk.carry_out(self.desk.scheduler.resumed(self.number, self.desk.now))

    def got(self, kind):
        """Messages of a kind, all that came."""
        return [message for message in self.heard if isinstance(message, kind)]

    def take(self, kind):
        """Messages of a kind that came since the last time."""
        found = self.got(kind)
        self.heard = [message for message in self.heard if not isinstance(message, kind)]
        return found

    def job(self, number=0, count=1, pages=None, **options):
        """Open a job with its pages."""
        self.say(m.OpenJob(number, [FUNCTION], CONTEXT.digest, count=count, **options))
        first = 0
        for items in pages if pages is not None else [count] if count else []:
            self.say(m.Page(number, first, items, 0), b"items")
            first += items
        jobs = self.desk.scheduler.jobs.values()
        return next((job for job in jobs if job.number == number and job.owner.peer == self.number), None)

    def report(self, lease, start=None, stop=None, seconds=0.01):
        """Items of a lease succeeded; all of them without `start`."""
        start = lease.start if start is None else start
        stop = lease.stop if stop is None else stop
        return self.say(m.Report(lease.lease, start, stop - start, 0, seconds * (stop - start)), b"results")

    def work(self, seconds=0.01):
        """Finish all leases, and those that come for it, until none is left."""
        while leases := self.take(m.Lease):
            for lease in leases:
                self.report(lease, seconds=seconds)


class Desk:
    def __init__(self, name="", paper=None, suspects=(), **options):
        self.now = 0.0
        self.paper = paper
        """Its journal."""
        self.unwritten = []
        """What it was told and hasn't written down."""
        self.ended = ""
        self.there = set()
        """Values that can be brought, each once: then they are lost again."""
        self.peers = {}
        identity = Identity(epoch="e", cluster="c", python="3.11", version="1", pid=1, name=name, owner="secret")
        self.scheduler = Scheduler(identity, now=0.0, journal=paper is not None, **options)
        if paper is not None:
            restore(self.scheduler, paper, suspects)
            self.carry_out(self.scheduler.end_turn(self.now))

    def carry_out(self, effects):
        for effect in effects:
            if isinstance(effect, Send):
                self.peers[effect.peer].heard.append(effect.message)
            elif isinstance(effect, Close):
                self.peers[effect.peer].closed = effect.reason
            elif isinstance(effect, EndCluster):
                self.ended = effect.reason
            elif isinstance(effect, Record):
                self.unwritten.append(effect)
            elif isinstance(effect, ReadLog):
                self.write()
                rows = self.paper.read_log(effect.job.key, effect.place)
                self.carry_out(self.scheduler.read(effect.job, rows[: self.rows_at_once], self.now))
            elif isinstance(effect, Bring):
                there = effect.name in self.there
                self.there.discard(effect.name)
                self.carry_out(self.scheduler.brought(effect.name, self.now, there=there))
        check_scheduler(self.scheduler)

    rows_at_once = 3

    def write(self):
        """Write down what it was told."""
        unwritten, self.unwritten = self.unwritten, []
        for effect in unwritten:
            self.paper.record(effect.changes)
            self.carry_out(self.scheduler.recorded(effect.marks, self.now))

    def again(self, *, waits=True, suspects=()):
        """The scheduler died: another one, from what was written down. `waits`: until it expects no clients any more."""
        desk = Desk(self.scheduler.identity.name, self.paper, suspects)
        if waits:
            desk.wait(WITHHELD_S)
        return desk

    def connect(self, role, *, local=False, serial="", **fields):
        number = len(self.peers) + 1
        peer = self.peers[number] = Peer(self, number)
        said = {
            "protocol": m.PROTOCOL,
            "python": "3.11",
            "version": "1",
            "process": f"{number:012x}".ljust(32, "0"),
            "link": 1,
        }
        hello = m.Hello(**{**said, "role": role, "host": "host", "pid": number, **fields})
        self.carry_out(self.scheduler.connected(number, hello, self.now, local=local, serial=serial))
        return peer

    def client(self, **fields):
        client = self.connect("client", **fields)
        client.say(m.Blob(FUNCTION), b"function")
        client.say(CONTEXT)
        return client

    def worker(self, slots=2, **fields):
        return self.connect("worker", slots=slots, **fields)

    def beat(self):
        """All workers show that they live, but those that are mute."""
        for number in list(self.scheduler.leasing.workers):
            if not self.peers[number].mute:
                said = self.scheduler.received(number, m.Heartbeat(), (), self.now)
                self.carry_out([e for e in said if not (isinstance(e, Send) and isinstance(e.message, m.Heartbeat))])

    def wait(self, seconds):
        """Let time pass, tick by tick."""
        end = self.now + seconds
        while (due := self.scheduler.next_tick()) <= end:
            self.now = max(self.now + 1e-6, due)
            self.beat()
            self.carry_out(self.scheduler.tick(self.now))
        self.now = end
