"""Any valid message in any order, from any peer: it works, or it costs that peer its link, and nobody else anything."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from twistcluster.core.effects import Bring, Close, Send
from twistcluster.core.scheduler import Identity, Scheduler
from twistcluster.core.vigil import AT_MOST_S
from twistcluster.testing.invariants import check_scheduler
from twistcluster.wire import messages as m

LOST_AFTER_S = 6.0
SMALL = st.integers(-1, 12)
NUMBERS = st.one_of(SMALL, st.sampled_from([-(2**63), 2**63 - 1, 4096]))
SECONDS = st.sampled_from([0.0, 0.1, -1.0, math.nan, math.inf, 1e300])
DIGESTS = st.sampled_from([b"a" * 16, b"b" * 16, b"c" * 16])
DIGEST_LISTS = st.lists(DIGESTS, max_size=3)
RESOURCES = st.dictionaries(
    st.sampled_from(["gpu", ""]), st.sampled_from([0.0, 1.0, 2.5, -1.0, math.nan, 1e-300]), max_size=2
)
IDS = st.sampled_from([b"v" * 16, b"w" * 16, b"x" * 16, b"short"])
STORED = st.lists(st.builds(m.Stored, st.integers(-1, 3), IDS, st.sampled_from([0, 1 << 20, -1])), max_size=3)
ERRORS = st.builds(m.ErrorInfo, st.sampled_from(["raised", "timeout", "stopped"]), st.just("E"), st.just("no"))
BUFFERS = st.lists(st.sampled_from([b"", b"buffer", bytearray(9)]), max_size=2).map(tuple)

QUESTIONS = st.one_of(
    st.builds(m.Status),
    st.builds(m.ListJobs, st.sampled_from(["", "0", "x"])),
    st.builds(m.Scale, NUMBERS),
    st.builds(m.RestartSlots),
    st.builds(m.Everywhere, DIGESTS, DIGESTS),
    st.builds(m.StopCluster, st.booleans()),
)
EDGES = st.lists(st.builds(m.Edge, st.integers(-1, 9), st.integers(0, 2), SMALL, st.integers(-2, 12)), max_size=4)
GOOD_EDGES = st.lists(
    st.builds(m.Edge, st.integers(0, 1), st.just(0), st.integers(1, 3), st.integers(-1, 9)), max_size=4
)
CLIENT = st.one_of(
    st.builds(m.OpenJob, SMALL, st.just([]), DIGESTS, count=st.none() | SMALL, source=SMALL),
    st.builds(m.Page, SMALL, SMALL, SMALL, st.just(0), st.just([]), st.just([]), EDGES),
    st.builds(m.Values, SMALL, NUMBERS, NUMBERS, st.sampled_from([0, 0, 1, 2]), DIGEST_LISTS),
    st.builds(m.Blob, DIGESTS),
    st.builds(m.Blob, DIGESTS),
    st.builds(m.Forget, DIGEST_LISTS),
    st.builds(m.Context, DIGESTS, DIGESTS, st.just("/"), steps=DIGEST_LISTS),
    st.builds(m.Context, DIGESTS, DIGESTS, st.just("/")),
    st.builds(m.OpenJob, SMALL, st.just([]), DIGESTS, count=st.none() | SMALL, priority=SMALL),
    st.builds(
        m.OpenJob, SMALL, DIGEST_LISTS, DIGESTS, count=st.none() | NUMBERS, priority=NUMBERS, resources=RESOURCES
    ),
    st.builds(
        m.OpenJob,
        SMALL,
        DIGEST_LISTS,
        DIGESTS,
        count=SMALL,
        retries=st.sampled_from([0, 1, -1, 2**62]),
        time_limit=SECONDS,
        max_crashes=st.sampled_from([1, 3, 0, -(2**60)]),
    ),
    st.builds(m.OpenJob, SMALL, st.just([]), DIGESTS, count=SMALL, retries=st.just(1), max_crashes=st.just(1)),
    st.builds(m.Page, SMALL, SMALL, SMALL, st.just(0)),
    st.builds(m.Page, SMALL, NUMBERS, NUMBERS, st.just(0), DIGEST_LISTS),
    st.builds(m.Page, SMALL, SMALL, SMALL, st.just(1), objects=STORED),
    st.builds(m.Keep, STORED),
    st.builds(m.Drop, st.lists(IDS, max_size=3)),
    st.builds(m.CloseJob, SMALL, NUMBERS, st.sampled_from(["", "broken"])),
    st.builds(m.Cancel, SMALL, NUMBERS, st.none() | NUMBERS),
    st.builds(m.Retry, SMALL),
    st.builds(m.Release, SMALL),
    st.builds(m.Adopt, SMALL, SMALL, st.sampled_from(["00000000000.1-0", "x", ""])),
    st.builds(m.Ask, SMALL, QUESTIONS),
    st.builds(m.Ask, SMALL, st.builds(m.Restore, IDS)),
    st.builds(m.Goodbye),
)
LEASES = st.integers(1, 12)
WORKER = st.one_of(
    st.builds(m.Report, LEASES, SMALL, SMALL, st.just(0), st.just(0.1)),
    st.builds(m.Report, LEASES, NUMBERS, NUMBERS, st.just(0), SECONDS),
    st.builds(m.Report, LEASES, SMALL, SMALL, st.just(1), st.just(0.1), objects=STORED),
    st.builds(m.Failure, LEASES, SMALL, SECONDS, ERRORS),
    st.builds(m.Failure, LEASES, SMALL, st.just(0.1), ERRORS, missing=IDS),
    st.builds(m.Bring, IDS),
    st.builds(m.Printed, LEASES, NUMBERS, st.just("text")),
    st.builds(m.Released, LEASES, NUMBERS, NUMBERS),
    st.builds(m.Released, LEASES, SMALL, SMALL),
    st.builds(m.Crashed, LEASES, SMALL, st.just("signal 9")),
    st.builds(m.Crashed, LEASES, SMALL, st.just("memory"), NUMBERS, st.just("a\nb"), st.booleans(), st.booleans()),
    st.builds(m.Running, st.lists(st.tuples(LEASES, SMALL, SECONDS), max_size=3)),
    st.builds(
        m.SlotsChanged,
        SMALL,
        SMALL,
        SMALL,
        SMALL,
        st.sampled_from(["", "short of memory"]),
        st.sampled_from([[], [7], [7, 8]]),
        st.booleans(),
    ),
    st.builds(m.Heartbeat),
    st.builds(m.StepDone, SMALL, st.sampled_from(["", "1"]), remaining=SMALL),
    st.builds(m.Goodbye),
)
EVENTS = st.one_of(
    st.tuples(st.just("say"), st.integers(0, 2), CLIENT, BUFFERS),
    st.tuples(st.just("say"), st.integers(0, 2), CLIENT, st.just((b"blob",))),
    st.tuples(st.just("say"), st.integers(3, 5), WORKER, BUFFERS),
    st.tuples(st.just("say"), st.integers(0, 5), CLIENT | WORKER, BUFFERS),
    st.tuples(
        st.sampled_from(["lose", "join", "pause", "resume", "wait", "doze", "sleep"]),
        st.integers(0, 5),
        st.just(None),
        st.just(()),
    ),
    st.tuples(st.just("say too late"), st.integers(3, 5), WORKER, BUFFERS),
)


class Table:
    """A scheduler and the peers that sit around it."""

    def __init__(self, name, results_held_bytes):
        identity = Identity(epoch="0", cluster="0", python="3.11", version="0", pid=0, name=name)
        self.scheduler = Scheduler(identity, now=0.0, results_held_bytes=results_held_bytes, lost_after_s=LOST_AFTER_S)
        self.peers = {}
        self.gone = {}
        """By seat: the last link that it had and has no more."""
        self.next_peer = 0
        self.now = 0.0
        self.wanted = {}
        self.closed = 0
        self.silent_s = dict.fromkeys(range(6), 0.0)
        self.brings = 0

    def look(self, effects, said_by=None):
        for effect in effects:
            if isinstance(effect, Send):
                assert effect.peer in self.peers.values()
                if isinstance(effect.message, m.Wanted):
                    self.wanted.setdefault(effect.peer, []).append(effect.message)
            elif isinstance(effect, Bring):
                self.brings += 1
                self.look(self.scheduler.brought(effect.name, self.now, there=self.brings % 2 == 0))
            elif isinstance(effect, Close):
                [seat] = [seat for seat, peer in self.peers.items() if peer == effect.peer]
                if said_by is None:
                    assert seat >= 3 and self.silent_s[seat] >= LOST_AFTER_S, "who spoke was lost"
                else:
                    assert effect.peer == said_by, "another's link was closed"
                    self.closed += 1
                self.gone[seat] = self.peers.pop(seat)
        check_scheduler(self.scheduler)

    def join(self, seat):
        if seat not in self.peers:
            self.next_peer += 1
            self.peers[seat] = self.next_peer
            self.silent_s[seat] = 0.0
            role = "client" if seat < 3 else "worker"
            hello = m.Hello(
                m.PROTOCOL, role, "3.11", "0", f"{seat:012x}".ljust(32, "0"), self.next_peer, "h", 1, slots=seat % 3
            )
            self.look(self.scheduler.connected(self.next_peer, hello, self.now))

    def say_well(self, what, seat, one, two):
        """A client says something that it may say, about one of its jobs."""
        peer = self.peers.get(seat)
        client = self.scheduler.clients.get(peer)
        if client is None or b"c" * 16 not in client.contexts:
            return
        known, sending = list(client.jobs), list(client.sending)
        number = known[one % len(known)] if known and one is not None else 0
        match what:
            case "open":
                count = None if number else two
                message = m.OpenJob(client.highest + 1, [b"a" * 16], b"c" * 16, count=count, source=max(number, 0))
            case "page" if sending:
                job = client.sending[sending[one % len(sending)]]
                count = min(4, job.count - job.arrived if job.count is not None else 4)
                edges = [
                    m.Edge(item % count, place, known[at % len(known)], index)
                    for place, (item, at, index) in enumerate(two)
                    if known
                    and (
                        client.jobs[known[at % len(known)]] is not job or index not in (-1, job.arrived + item % count)
                    )
                ]
                message = m.Page(job.number, job.arrived, count, 0, edges=edges)
            case "answer" if self.wanted.get(peer):
                wanted = self.wanted[peer].pop(one % len(self.wanted[peer]))
                for start, stop in wanted.ranges:
                    self.happen("say", seat, m.Values(wanted.job, start, stop - start, 0), (b"v",))
                return
            case "close" if sending:
                job = client.sending[sending[one % len(sending)]]
                message = m.CloseJob(job.number, job.arrived, "broken" if two > 7 else "")
            case "cancel":
                message = m.Cancel(number, two // 2, two)
            case "cancel all":
                message = m.Cancel(number, two // 2)
            case "retry":
                message = m.Retry(number)
            case "release" if two > 5:
                message = m.Release(number)
            case "adopt" if self.scheduler.jobs:
                jobs = list(self.scheduler.jobs.values())
                message = m.Adopt(1, client.highest + 1, jobs[one % len(jobs)].id)
            case _:
                return
        self.happen("say", seat, message, (b"a",))

    def report(self, peer, number, *, fails):
        """A worker says the right thing of one of its leases."""
        worker = self.scheduler.leasing.workers.get(peer)
        leases = list(worker.leases.items()) if worker is not None else []
        if leases:
            number, (_, lease) = leases[number % len(leases)]
            start, stop = lease.left.first()
            said = m.Failure(number, start, 0.1, m.ErrorInfo("raised", "ValueError", "no"))
            if not fails:
                said = m.Report(number, start, stop - start, 0, 0.1)
            self.silent_s = {seat: 0.0 if self.peers.get(seat) == peer else s for seat, s in self.silent_s.items()}
            self.look(self.scheduler.received(peer, said, (b"r",), self.now), said_by=peer)

    def wait(self, seconds):
        self.now += seconds
        self.silent_s = {seat: s + min(seconds, AT_MOST_S) for seat, s in self.silent_s.items()}
        self.look(self.scheduler.tick(self.now))
        assert self.scheduler.next_tick() <= self.now + 1.0

    def happen(self, what, seat, message, buffers):
        peer = self.peers.get(seat)
        if what == "join":
            self.join(seat)
        elif what == "wait":
            self.wait(0.3)
        elif what == "doze":
            for _ in range(3):
                self.wait(1.0)
        elif what == "sleep":
            self.wait(100.0)
        elif what == "say too late":
            if seat in self.gone and peer is None:
                before = self.scheduler.status()
                assert not [*self.scheduler.received(self.gone[seat], message, buffers, self.now)]
                assert self.scheduler.status() == before
        elif peer is None:
            return
        elif what == "report":
            self.report(peer, message, fails=buffers)
        elif what == "say":
            self.silent_s[seat] = 0.0
            self.look(self.scheduler.received(peer, message, buffers, self.now), said_by=peer)
        elif what == "lose":
            self.gone[seat] = self.peers.pop(seat)
            self.look(self.scheduler.disconnected(peer, self.now))
        elif what == "pause":
            self.look(self.scheduler.paused(peer, self.now))
        elif what == "resume":
            self.look(self.scheduler.resumed(peer, self.now))


def opens(number, source):
    return m.OpenJob(number, [b"a" * 16], b"c" * 16, source=source)


WAITS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(-1, 9)), max_size=4)
PLACE = st.integers(0, 9)
TIED_EVENTS = st.one_of(
    st.tuples(st.just("open"), st.integers(0, 1), st.none() | PLACE, st.none() | st.integers(0, 9)),
    st.tuples(st.just("page"), st.integers(0, 1), PLACE, WAITS),
    st.tuples(st.just("page"), st.integers(0, 1), PLACE, WAITS),
    st.tuples(st.just("report"), st.integers(3, 5), PLACE, st.sampled_from([True, False, False, False])),
    st.tuples(st.just("report"), st.integers(3, 5), PLACE, st.just(False)),
    st.tuples(st.just("answer"), st.integers(0, 1), PLACE, st.just(())),
    st.tuples(
        st.sampled_from(["close", "cancel", "cancel all", "retry", "release", "adopt"]), st.integers(0, 1), PLACE, PLACE
    ),
    st.tuples(
        st.sampled_from(["join", "pause", "resume", "wait", "doze"]), st.integers(0, 5), st.just(None), st.just(())
    ),
    st.tuples(st.just("lose"), st.integers(1, 5), st.just(None), st.just(())),
)


@given(st.lists(TIED_EVENTS, max_size=60), st.sampled_from(["", "lab"]), st.sampled_from([300, 1 << 30]))
@settings(max_examples=500)
def test_jobs_that_are_tied_in_any_way(events, name, results_held_bytes):
    table = Table(name, results_held_bytes)
    for seat in (0, 1, 3, 4, 5):
        table.join(seat)
    context = m.Context(b"c" * 16, b"b" * 16, "/")
    for seat in (0, 1):
        for message in (m.Blob(b"a" * 16), context, opens(1, 0), m.Page(1, 0, 9, 0)):
            table.happen("say", seat, message, (b"a",))
    for what, seat, one, two in events:
        if what in ("open", "page", "answer", "close", "cancel", "cancel all", "retry", "release", "adopt"):
            table.say_well(what, seat, one, two)
        else:
            table.happen(what, seat, one, two)
    assert not table.closed, "what was said was right, and cost a link"


@given(st.lists(EVENTS, max_size=60), st.sampled_from(["", "lab"]), st.sampled_from([300, 1 << 30]))
@settings(max_examples=300)
def test_any_messages_in_any_order(events, name, results_held_bytes):
    table = Table(name, results_held_bytes)
    for seat in (0, 1, 3, 4):
        table.join(seat)
    # A client that is far enough for its messages to mean something.
    context = m.Context(b"c" * 16, b"b" * 16, "/")
    for message in (m.Blob(b"a" * 16), context, m.OpenJob(0, [b"a" * 16], context.digest), m.Page(0, 0, 9, 0)):
        table.happen("say", 0, message, (b"a",))
    for event in events:
        table.happen(*event)
