"""Any valid message in any order, from any peer: it works, or it costs that peer its link, and nobody else anything."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from twistcluster.core.effects import Close, Send
from twistcluster.core.scheduler import Identity, Scheduler
from twistcluster.testing.invariants import check_scheduler
from twistcluster.wire import messages as m

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
ERRORS = st.just(m.ErrorInfo("raised", "ValueError", "no"))
BUFFERS = st.lists(st.sampled_from([b"", b"buffer", bytearray(9)]), max_size=2).map(tuple)

QUESTIONS = st.one_of(
    st.builds(m.Status),
    st.builds(m.ListJobs, st.sampled_from(["", "0", "x"])),
    st.builds(m.Scale, NUMBERS),
    st.builds(m.RestartSlots),
    st.builds(m.Everywhere, DIGESTS, DIGESTS),
    st.builds(m.StopCluster, st.booleans()),
)
CLIENT = st.one_of(
    st.builds(m.Blob, DIGESTS),
    st.builds(m.Blob, DIGESTS),
    st.builds(m.Forget, DIGEST_LISTS),
    st.builds(m.Context, DIGESTS, DIGESTS, st.just("/"), steps=DIGEST_LISTS),
    st.builds(m.Context, DIGESTS, DIGESTS, st.just("/")),
    st.builds(m.OpenJob, SMALL, st.just([]), DIGESTS, count=st.none() | SMALL, priority=SMALL),
    st.builds(
        m.OpenJob, SMALL, DIGEST_LISTS, DIGESTS, count=st.none() | NUMBERS, priority=NUMBERS, resources=RESOURCES
    ),
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
    st.builds(m.Printed, LEASES, NUMBERS, st.just("text")),
    st.builds(m.Released, LEASES, NUMBERS, NUMBERS),
    st.builds(m.Released, LEASES, SMALL, SMALL),
    st.builds(m.Crashed, LEASES, SMALL, st.just("signal 9")),
    st.builds(m.Running, st.lists(st.tuples(LEASES, SMALL, SECONDS), max_size=3)),
    st.builds(m.SlotsChanged, SMALL, SMALL, SMALL, SMALL),
    st.builds(m.StepDone, SMALL, st.sampled_from(["", "1"]), remaining=SMALL),
    st.builds(m.Goodbye),
)
EVENTS = st.one_of(
    st.tuples(st.just("say"), st.integers(0, 2), CLIENT, BUFFERS),
    st.tuples(st.just("say"), st.integers(0, 2), CLIENT, st.just((b"blob",))),
    st.tuples(st.just("say"), st.integers(3, 5), WORKER, BUFFERS),
    st.tuples(st.just("say"), st.integers(0, 5), CLIENT | WORKER, BUFFERS),
    st.tuples(
        st.sampled_from(["lose", "join", "pause", "resume", "wait"]), st.integers(0, 5), st.just(None), st.just(())
    ),
)


class Table:
    """A scheduler and the peers that sit around it."""

    def __init__(self, name, results_held_bytes):
        identity = Identity(epoch="0", cluster="0", python="3.11", version="0", pid=0, name=name)
        self.scheduler = Scheduler(identity, now=0.0, results_held_bytes=results_held_bytes)
        self.peers = {}
        self.next_peer = 0
        self.now = 0.0

    def look(self, effects, said_by=None):
        for effect in effects:
            if isinstance(effect, Send):
                assert effect.peer in self.peers.values()
            elif isinstance(effect, Close):
                assert effect.peer == said_by, "another's link was closed"
                self.peers = {seat: peer for seat, peer in self.peers.items() if peer != said_by}
        check_scheduler(self.scheduler)

    def join(self, seat):
        if seat not in self.peers:
            self.next_peer += 1
            self.peers[seat] = self.next_peer
            role = "client" if seat < 3 else "worker"
            hello = m.Hello(m.PROTOCOL, role, "3.11", "0", f"{seat:032x}", self.next_peer, "h", 1, slots=seat % 3)
            self.look(self.scheduler.connected(self.next_peer, hello, self.now))

    def happen(self, what, seat, message, buffers):
        peer = self.peers.get(seat)
        if what == "join":
            self.join(seat)
        elif what == "wait":
            self.now += 0.3
            self.look(self.scheduler.tick(self.now))
            assert self.scheduler.next_tick() <= self.now + 1.0
        elif peer is None:
            return
        elif what == "say":
            self.look(self.scheduler.received(peer, message, buffers, self.now), said_by=peer)
        elif what == "lose":
            del self.peers[seat]
            self.look(self.scheduler.disconnected(peer, self.now))
        elif what == "pause":
            self.look(self.scheduler.paused(peer, self.now))
        elif what == "resume":
            self.look(self.scheduler.resumed(peer, self.now))


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
